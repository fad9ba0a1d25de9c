// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/flowstate.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_flowstate, 20000u)
