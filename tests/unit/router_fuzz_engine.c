// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/engine.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_engine, 10000u)
