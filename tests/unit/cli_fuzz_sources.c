// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/sources.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_sources, 3000u)
