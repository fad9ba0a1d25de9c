// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/storelink.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_storelink, 6000u)
