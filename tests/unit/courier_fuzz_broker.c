// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/broker.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_broker, 20000u)
