// SPDX-License-Identifier: ISC
// The table of a process's life, over every state and event, and every short sequence of events.
#include "supervisor/table.h"
#include "tests/unit/test.h"

// Does a member in this state have a process?
static int has_process(enum member_state state)
{
    return state == MEMBER_STARTING || state == MEMBER_UP || state == MEMBER_ENDING;
}

TEST(every_pair_leads_to_a_state)
{
    for (int state = 0; state < MEMBER_STATES; state++)
        for (int event = 0; event < EVENT_COUNT; event++) {
            struct member_step step = member_step((enum member_state)state, (enum member_event)event);
            expect(step.next < MEMBER_STATES && step.action <= ACTION_CANCEL);
        }
}

// A process comes to be by SPAWN only, and is gone by EXIT only: nothing is ever forgotten while it runs.
TEST(processes_are_neither_forgotten_nor_doubled)
{
    for (int state = 0; state < MEMBER_STATES; state++)
        for (int event = 0; event < EVENT_COUNT; event++) {
            struct member_step step = member_step((enum member_state)state, (enum member_event)event);
            int before = has_process((enum member_state)state), after = has_process((enum member_state)step.next);
            expect((step.action == ACTION_SPAWN) == (!before && after));
            expect((before && !after) == (event == EVENT_EXIT && before));
        }
}

// Whatever happened before: END, then EXIT if there is a process, leads to IDLE. `down` always works.
TEST(down_always_works)
{
    for (unsigned sequence = 0; sequence < 5 * 5 * 5 * 5 * 5 * 5; sequence++) {
        enum member_state state = MEMBER_IDLE;
        unsigned rest = sequence;
        for (int i = 0; i < 6; i++, rest /= EVENT_COUNT)
            state = (enum member_state)member_step(state, (enum member_event)(rest % EVENT_COUNT)).next;
        state = (enum member_state)member_step(state, EVENT_END).next;
        if (has_process(state))
            state = (enum member_state)member_step(state, EVENT_EXIT).next;
        expect(state == MEMBER_IDLE);
    }
}

TEST(a_failure_waits_and_starts_again)
{
    struct member_step step = member_step(MEMBER_UP, EVENT_EXIT);
    expect(step.next == MEMBER_WAITING && step.action == ACTION_FAIL);
    step = member_step(MEMBER_WAITING, EVENT_TIMER);
    expect(step.next == MEMBER_STARTING && step.action == ACTION_SPAWN);
    step = member_step(MEMBER_STARTING, EVENT_READY);
    expect(step.next == MEMBER_UP && step.action == ACTION_SERVE);
}

TEST(back_off_doubles_to_its_most)
{
    static const int64_t expected[] = {100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
    int64_t backoff_ms = 0;
    for (unsigned i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        backoff_ms = backoff_next(backoff_ms);
        expect(backoff_ms == expected[i]);
    }
}

int main(void)
{
    RUN(every_pair_leads_to_a_state);
    RUN(processes_are_neither_forgotten_nor_doubled);
    RUN(down_always_works);
    RUN(a_failure_waits_and_starts_again);
    RUN(back_off_doubles_to_its_most);
    TEST_END();
}
