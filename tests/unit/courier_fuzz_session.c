// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/session.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_session, 20000u)
