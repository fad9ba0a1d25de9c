// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/operator.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_operator, 10000u)
