// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/diff.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_diff, 5000u)
