// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/learn.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_learn, 3000u)
