// SPDX-License-Identifier: ISC
// The life of one supervised process as a table: state and event give the next state and one action.
#ifndef CRENEL_SUPERVISOR_TABLE_H
#define CRENEL_SUPERVISOR_TABLE_H

#include <stdint.h>

enum member_state {
    MEMBER_IDLE,     // no process and none wanted now
    MEMBER_STARTING, // a process runs and has not said READY
    MEMBER_UP,       // it serves
    MEMBER_ENDING,   // it was told to end
    MEMBER_WAITING,  // it failed; started again when the back-off is over
    MEMBER_STATES,
};

enum member_event {
    EVENT_START, // somebody wants it
    EVENT_READY, // it said so
    EVENT_EXIT,  // its process ended, or could not be started
    EVENT_TIMER, // the timer of its state is due
    EVENT_END,   // nobody wants it now
    EVENT_COUNT,
};

enum member_action {
    ACTION_NONE,
    ACTION_SPAWN,   // start a process
    ACTION_SERVE,   // it serves: tell, and begin to count healthy time
    ACTION_HEALTHY, // healthy long enough: forget the back-off
    ACTION_CLOSE,   // close its control link, which means: end now
    ACTION_KILL,    // it had its time
    ACTION_FAIL,    // it ended unasked: record it and wait
    ACTION_GONE,    // it ended as it was told
    ACTION_CANCEL,  // no process; turn the timer off
};

struct member_step {
    uint8_t next;   // enum member_state
    uint8_t action; // enum member_action
};

struct member_step member_step(enum member_state state, enum member_event event);

const char *member_state_text(enum member_state state);

// Back-off: 100 ms, doubled at each failure, 10 s at most.
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MOST_MS 10000
#define HEALTHY_MS 30000 // of service after which the back-off starts anew
int64_t backoff_next(int64_t backoff_ms);

#endif
