// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/decode.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_decode, 30000u)
