// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/password.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_password, 20000u)
