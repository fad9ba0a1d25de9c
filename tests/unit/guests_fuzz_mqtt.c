// SPDX-License-Identifier: ISC
// Replays the fuzz target tests/fuzz/mqtt.c.
#include "tests/unit/fuzz_replay.h"

REPLAY(no_input_breaks_mqtt, 60000u)
