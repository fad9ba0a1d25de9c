// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/manifest.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_manifest, 30000u)
