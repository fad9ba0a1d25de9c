// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/schema.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_schema, 60000u)
