// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/crash.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_crash, 30000u)
