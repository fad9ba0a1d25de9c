// SPDX-License-Identifier: ISC
// What the courier of the engine's target (tests/fuzz/engine.c) has brought, and what it may be told of that.
#ifndef CRENEL_TESTS_ENGINE_BRINGS_H
#define CRENEL_TESTS_ENGINE_BRINGS_H

#include "core/reason.h"
#include "proto/link.h"
#include "tests/fuzz/must.h"

static uint64_t brings[LINK_BRINGS_MAX + 1]; // handles that wait for their BROUGHT, 0: none
static unsigned bring_raws; // that were made up in this input
static int bring_early; // the store has said in it that what came before one has not come
static uint64_t bring_last, bring_first, bring_old; // handles; up to bring_old they are of a courier that has ended

static unsigned brings_waiting(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i <= LINK_BRINGS_MAX; i++)
        count += brings[i] != 0;
    return count;
}

static void take_brought(uint64_t handle, uint32_t reason)
{
    unsigned i = 0;
    if (handle != 0 && (handle <= bring_old || handle == UINT64_MAX))
        return; // the one that is there now knows nothing of it; or it was made up
    must(reason != REASON_LOST || bring_early || bring_old > bring_first || brings_waiting() + bring_raws > LINK_BRINGS_MAX);
    while (i <= LINK_BRINGS_MAX && brings[i] != handle)
        i++;
    must(i <= LINK_BRINGS_MAX);
    brings[i] = 0;
}

#endif
