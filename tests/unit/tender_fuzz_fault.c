// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/fault.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_fault, 10000u)
