// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/pages.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_pages, 5000u)
