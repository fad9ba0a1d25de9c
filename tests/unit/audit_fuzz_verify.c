// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/verify.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_verify, 3000u)
