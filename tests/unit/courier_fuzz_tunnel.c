// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/tunnel.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_tunnel, 10000u)
