// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/records.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_records, 60000u)
