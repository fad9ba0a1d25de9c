// SPDX-License-Identifier: ISC
// The table. Every pair is written out; what cannot happen is harmless (NONE, same state).
#include "supervisor/table.h"

#include "core/check.h"

static const struct member_step table[MEMBER_STATES][EVENT_COUNT] = {
    [MEMBER_IDLE] = {
        [EVENT_START] = {MEMBER_STARTING, ACTION_SPAWN},
        [EVENT_READY] = {MEMBER_IDLE, ACTION_NONE},
        [EVENT_EXIT] = {MEMBER_IDLE, ACTION_NONE},
        [EVENT_TIMER] = {MEMBER_IDLE, ACTION_NONE},
        [EVENT_END] = {MEMBER_IDLE, ACTION_NONE},
    },
    [MEMBER_STARTING] = {
        [EVENT_START] = {MEMBER_STARTING, ACTION_NONE},
        [EVENT_READY] = {MEMBER_UP, ACTION_SERVE},
        [EVENT_EXIT] = {MEMBER_WAITING, ACTION_FAIL},
        [EVENT_TIMER] = {MEMBER_STARTING, ACTION_KILL}, // took too long to get READY
        [EVENT_END] = {MEMBER_ENDING, ACTION_CLOSE},
    },
    [MEMBER_UP] = {
        [EVENT_START] = {MEMBER_UP, ACTION_NONE},
        [EVENT_READY] = {MEMBER_UP, ACTION_NONE},
        [EVENT_EXIT] = {MEMBER_WAITING, ACTION_FAIL},
        [EVENT_TIMER] = {MEMBER_UP, ACTION_HEALTHY},
        [EVENT_END] = {MEMBER_ENDING, ACTION_CLOSE},
    },
    [MEMBER_ENDING] = {
        [EVENT_START] = {MEMBER_ENDING, ACTION_NONE}, // started again once it is gone
        [EVENT_READY] = {MEMBER_ENDING, ACTION_NONE},
        [EVENT_EXIT] = {MEMBER_IDLE, ACTION_GONE},
        [EVENT_TIMER] = {MEMBER_ENDING, ACTION_KILL},
        [EVENT_END] = {MEMBER_ENDING, ACTION_NONE},
    },
    [MEMBER_WAITING] = {
        [EVENT_START] = {MEMBER_STARTING, ACTION_SPAWN}, // an operator is not made to wait
        [EVENT_READY] = {MEMBER_WAITING, ACTION_NONE},
        [EVENT_EXIT] = {MEMBER_WAITING, ACTION_NONE},
        [EVENT_TIMER] = {MEMBER_STARTING, ACTION_SPAWN},
        [EVENT_END] = {MEMBER_IDLE, ACTION_CANCEL},
    },
};

struct member_step member_step(enum member_state state, enum member_event event)
{
    check(state < MEMBER_STATES && event < EVENT_COUNT);
    return table[state][event];
}

const char *member_state_text(enum member_state state)
{
    static const char *const texts[MEMBER_STATES] = {"stopped", "starting", "running", "ending",
                                                     "waiting"};
    check(state < MEMBER_STATES);
    return texts[state];
}

int64_t backoff_next(int64_t backoff_ms)
{
    if (backoff_ms == 0)
        return BACKOFF_FIRST_MS;
    return backoff_ms * 2 > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : backoff_ms * 2;
}
