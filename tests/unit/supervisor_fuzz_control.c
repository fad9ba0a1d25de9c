// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/control.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_control, 20000u)
