// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/message.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_message, 40000u)
