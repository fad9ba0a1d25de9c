// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/yaml.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_yaml, 20000u)
