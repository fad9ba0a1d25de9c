// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/courier.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_courier, 10000u)
