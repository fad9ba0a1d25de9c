// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/gateway.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_gateway, 20000u)
