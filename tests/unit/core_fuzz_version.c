// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/version.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_version, 20000u)
