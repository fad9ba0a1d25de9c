// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/system.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_system, 60000u)
