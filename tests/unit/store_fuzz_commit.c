// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/commit.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_commit, 20000u)
