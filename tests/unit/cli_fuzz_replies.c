// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/replies.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_replies, 6000u)
