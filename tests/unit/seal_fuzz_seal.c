// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/seal.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_seal, 10000u)
