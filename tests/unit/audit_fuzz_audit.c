// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/audit.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_audit, 60000u)
