// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/router.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_router, 60000u)
