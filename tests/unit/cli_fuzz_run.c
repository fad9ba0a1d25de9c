// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/run.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_run, 8000u)
