// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/member.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_member, 20000u)
