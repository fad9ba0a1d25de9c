// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/image.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_image, 60000u)
