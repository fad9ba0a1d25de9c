// SPDX-License-Identifier: ISC
// The host's clock is set while messages and timers wait: they have the time left that they had.
#include "store/clock.h"
#include "store/spool.h"
#include "tests/unit/store_fixture.h"

#define DAY_MS 86400000

static uint64_t boot = 7;
static int64_t boot_ms, ahead_ms; // time since the boot; the host's clock is so far ahead of it

// Time passes, the store looks at the clock, and does what is due.
static void pass(int64_t ms)
{
    int is_more;
    boot_ms += ms;
    struct clock_reading now = {boot, boot_ms, boot_ms + ahead_ms};
    expect(clock_follow(&fixture.store, &fixture.link, &now, &fixture.now_ms) == STATUS_OK);
    expect(router_link_expire(&fixture.link, &fixture.store, fixture.now_ms, &is_more) == STATUS_OK);
    expect(router_link_push(&fixture.link, &fixture.store, fixture.now_ms) == STATUS_OK);
}

static void set(int64_t by_ms)
{
    ahead_ms += by_ms;
    pass(0);
}

static void hello(void)
{
    say_hello();
    while (receive() != NULL)
        ;
    give_credit(UNIKERNEL_A, 9);
}

// Another process.
static void restart(void)
{
    fixture_close();
    memset(&fixture.link, 0, sizeof fixture.link);
    expect(fixture_open() == STATUS_OK);
}

static void begin(void)
{
    boot_ms = 1000;
    ahead_ms = 1000000000000;
    fixture_flows[FLOW_ALARM].live_ms = 10000;
    fixture_begin();
    give_credit(UNIKERNEL_A, 9);
    pass(0);
}

static void end(void)
{
    fixture_end();
    fixture_flows[FLOW_ALARM].live_ms = 0;
}

// A timer that is due in so long, and a message that may wait for 10 s, for a unikernel that is not there.
static void send(int64_t in_ms)
{
    commit_new(1, 0);
    head()->time_ms = fixture.now_ms;
    commit_add_send(FLOW_READING, UNIKERNEL_A, "", "t", 1, fixture.now_ms + in_ms);
    commit_add_send(FLOW_ALARM, UNIKERNEL_B, "", "m", 1, 0);
    expect(commit_result_of() == COMMIT_OK);
}

// What the router got since the last look: timers, and messages that expired.
static int got(int timers, int expired)
{
    struct commit_packet *packet;
    while ((packet = receive()) != NULL) {
        struct commit_left left;
        memcpy(&left, fixture.packet, sizeof left);
        timers -= packet->kind == COMMIT_OUTBOX;
        expired -= packet->kind == COMMIT_LEFT ? (int)left.count : 0;
    }
    return timers == 0 && expired == 0;
}

TEST(set_ahead_and_back)
{
    begin();
    send(5000);
    pass(1000);
    set(DAY_MS);
    expect(got(0, 0) && fixture.link.next_due_ms == fixture.now_ms + 4000);
    set(-2 * DAY_MS);
    expect(got(0, 0) && fixture.link.next_due_ms == fixture.now_ms + 4000);
    pass(3999);
    expect(got(0, 0));
    pass(1);
    expect(got(1, 0));
    set(DAY_MS / 2); // what the router has is not given again
    expect(got(0, 0));
    send(100);
    pass(4999);
    expect(got(1, 0));
    pass(1);
    expect(got(0, 1)); // the first message
    pass(5000);
    expect(got(0, 1) && scalar("SELECT count(*) FROM outbox") == 2);
    expect(scalar("SELECT count(*) FROM audit WHERE json_extract(text, '$.kind') = 'clock_set'") == 3);
    end();
}

TEST(over_starts_of_the_store_but_not_of_the_host)
{
    begin();
    send(5000);
    restart();
    ahead_ms += DAY_MS; // while no store ran
    boot_ms += 1000;
    pass(0);
    hello();
    expect(got(0, 0));
    pass(4000);
    expect(got(1, 0));
    pass(5000);
    expect(got(0, 1));
    // After the next boot the clock says how long the host was off.
    send(5000);
    restart();
    boot++;
    ahead_ms += boot_ms + 1000000;
    boot_ms = 1;
    pass(0);
    expect(got(0, 0) && scalar("SELECT count(*) FROM outbox WHERE flow = (SELECT id FROM names WHERE name = 'alarm')") == 0);
    hello();
    expect(got(2, 0));
    end();
}

// A host without a battery for its clock begins in 1970, until somebody tells it the time. What waits from before is of the
// time to come and goes on by the right clock; what it sent meanwhile has the time left that it had.
TEST(a_clock_that_is_set_right_after_the_boot)
{
    begin();
    set(50LL * 365 * DAY_MS);
    send(20000);
    int64_t right_ms = ahead_ms + boot_ms;
    restart();
    boot++;
    boot_ms = 1000;
    ahead_ms = 5000;
    pass(0);
    hello();
    send(20000);
    pass(2000);
    expect(got(0, 0));
    set(right_ms + 6000 - boot_ms - ahead_ms); // it was off for 4 s
    expect(got(0, 0));
    pass(4000);
    expect(got(0, 1)); // 10 s
    pass(4000);
    expect(got(0, 1));
    pass(6000);
    expect(got(1, 0)); // 20 s
    pass(4000);
    expect(got(1, 0) && scalar("SELECT count(*) FROM outbox") == 2);
    end();
}

int main(void)
{
    fixture_use_all();
    fixture_schema.header.struct_bytes = 8;
    RUN(set_ahead_and_back);
    RUN(over_starts_of_the_store_but_not_of_the_host);
    RUN(a_clock_that_is_set_right_after_the_boot);
    TEST_END();
}
