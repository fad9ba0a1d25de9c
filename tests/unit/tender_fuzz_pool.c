// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/pool.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_pool, 10000u)
