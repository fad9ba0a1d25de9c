// SPDX-License-Identifier: ISC
// Messages that the router keeps (store/kept.h): in the journal while it lives, in the outbox after it died.
#include "tests/unit/store_fixture.h"

#define NUMBER(n) (UINT64_C(1) << 40 | (n) * COMMIT_NUMBER_STEP)

// One event that sends alarms of these numbers, and consumes that one (0: none). Payloads begin with the number.
static void kept_build(uint64_t first, unsigned count, uint64_t consume, size_t payload_bytes)
{
    static char payload[ABI_PAYLOAD_BYTES_MAX];
    commit_new(first + 1000 * consume, consume);
    head()->is_kept = consume != 0;
    head()->first = NUMBER(first);
    head()->flow = FLOW_ALARM;
    head()->unikernel = UNIKERNEL_B;
    if (consume != 0)
        head()->consume = NUMBER(consume);
    for (unsigned i = 0; i < count; i++) {
        struct commit_send send = {.flow = FLOW_ALARM, .receiver = UNIKERNEL_B, .key_bytes = 1, .principal = 2,
                                   .payload_bytes = (uint32_t)payload_bytes, .flags = COMMIT_KEPT};
        snprintf(payload, sizeof payload, "%06llu", (unsigned long long)(first + i));
        add(&send, sizeof send);
        add("k", 1);
        add(payload, payload_bytes);
        head()->send_count++;
    }
}

static int kept_result(uint64_t first, unsigned count, uint64_t consume, size_t payload_bytes)
{
    kept_build(first, count, consume, payload_bytes);
    return commit_result_of();
}

static int consume(uint64_t number) { return kept_result(0, 0, number, 0); }

static uint64_t waiting(void) { return fixture.page.spooled[FLOW_ALARM]; }

// What comes from the outbox next: its number.
static uint64_t next_number(void)
{
    struct commit_outbox outbox;
    struct commit_packet *packet = receive();
    if (packet == NULL || packet->kind != COMMIT_OUTBOX)
        return 0;
    memcpy(&outbox, packet, sizeof outbox);
    return outbox.number;
}

static void reopen(void)
{
    fixture_close();
    expect(fixture_open() == STATUS_OK);
    say_hello();
    while (receive() != NULL)
        ;
    give_credit(UNIKERNEL_B, 200);
}

TEST(what_is_consumed_leaves_no_row)
{
    fixture_begin();
    give_credit(UNIKERNEL_B, 9);
    expect(kept_result(1, 3, 0, 6) == COMMIT_OK && waiting() == 3);
    expect(next_number() == 0 && scalar("SELECT count(*) FROM outbox") == 0 && scalar("SELECT count(*) FROM journal") == 1);
    expect(kept_result(4, 1, 2, 6) == COMMIT_OK && waiting() == 3);
    expect(consume(2) == COMMIT_NOT_NOW && consume(99) == COMMIT_NOT_NOW); // was, and never was
    expect(consume(1) == COMMIT_OK && consume(3) == COMMIT_OK && consume(4) == COMMIT_OK && waiting() == 0);
    expect(scalar("SELECT count(*) FROM journal") == 0 && scalar("SELECT count(*) FROM outbox") == 0);
    expect(fixture.page.spooled_bytes[FLOW_ALARM] == 0);
    fixture_end();
}

// In the places that they would have had, under the numbers that they had.
TEST(what_waits_comes_from_the_outbox_after_a_restart)
{
    fixture_begin();
    expect(kept_result(1, 3, 0, 6) == COMMIT_OK);
    commit_new(50, 0);
    commit_add_send(FLOW_ALARM, UNIKERNEL_B, "k", "row", 3, 0);
    expect(commit_result_of() == COMMIT_OK);
    expect(kept_result(4, 2, 0, 6) == COMMIT_OK && consume(2) == COMMIT_OK && consume(4) == COMMIT_OK && waiting() == 4);
    uint64_t bytes = fixture.page.spooled_bytes[FLOW_ALARM];
    reopen();
    expect(waiting() == 4 && fixture.page.spooled_bytes[FLOW_ALARM] == bytes && scalar("SELECT count(*) FROM journal") == 0);
    expect(next_number() == NUMBER(1) && next_number() == NUMBER(3) && next_number() == 4 && next_number() == NUMBER(5));
    expect(next_number() == 0);
    expect(scalar("SELECT CAST(payload AS TEXT) = '000005' FROM outbox ORDER BY id DESC LIMIT 1") == 1);
    commit_new(60, 1); // they are rows now
    head()->flow = FLOW_ALARM;
    head()->unikernel = UNIKERNEL_B;
    expect(commit_result_of() == COMMIT_OK && waiting() == 3);
    reopen(); // and stay
    expect(next_number() == NUMBER(3) && next_number() == 4 && next_number() == NUMBER(5) && next_number() == 0);
    fixture_end();
}

// Those of one transaction stand or fall together; a consumed one that was rolled back waits again.
TEST(a_full_disk_changes_nothing)
{
    fixture_begin();
    expect(kept_result(1, 2, 0, 4096) == COMMIT_OK);
    expect(scalar("PRAGMA max_page_count = 30") == 30);
    int not_now = 0, ok = 0;
    for (uint64_t i = 10; i < 40 && not_now < 3; i++) {
        int result = kept_result(i, 1, 0, 4096);
        ok += result == COMMIT_OK;
        not_now += result == COMMIT_NOT_NOW;
        expect(waiting() == 2 + (uint64_t)ok);
    }
    expect(not_now == 3 && kept_result(100, 1, 1, 4096) == COMMIT_NOT_NOW && waiting() == 2 + (uint64_t)ok);
    kept_build(200, 4, 0, 4096); // one that is added and consumed in the same transaction
    commit_send_it();
    kept_build(300, 1, 200, 4096);
    commit_send_it();
    expect(take() == STATUS_OK && waiting() == 2 + (uint64_t)ok);
    while (receive() != NULL)
        ;
    expect(scalar("PRAGMA max_page_count = 1000") == 1000);
    expect(kept_result(100, 1, 1, 4096) == COMMIT_OK && waiting() == 2 + (uint64_t)ok && consume(1) == COMMIT_NOT_NOW);
    reopen();
    expect(next_number() == NUMBER(2));
    for (int i = 0; i < ok; i++)
        expect(next_number() == NUMBER(10 + (uint64_t)i));
    expect(next_number() == NUMBER(100) && next_number() == 0);
    fixture_end();
}

// One that nobody consumes does not make the journal grow, nor is it lost.
TEST(one_that_waits_long)
{
    fixture_begin();
    expect(kept_result(1, 1, 0, 6) == COMMIT_OK);
    for (uint64_t i = 10; i < 6000; i++)
        expect(kept_result(i, 1, i > 10 ? i - 1 : 0, i % 2 == 0 ? 4096 : 6) == COMMIT_OK);
    expect(waiting() == 2 && scalar("SELECT count(*) FROM journal") <= 2100);
    expect(scalar("SELECT sum(length(body)) FROM journal") <= 5 << 20);
    reopen();
    expect(next_number() == NUMBER(1) && next_number() == NUMBER(5999) && next_number() == 0);
    fixture_end();
}

// After a power cut at whatever transaction: the journal says what the COMMITs said.
TEST(at_random)
{
    uint64_t state = 88172645463325252u, next = 1;
    uint8_t is_waiting[4000] = {0};
    fixture_begin();
    for (int i = 0; i < 1500; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        uint64_t at = 1 + state % next, consumed = 0;
        for (uint64_t j = at; j < at + 20 && j < next && state % 3 != 0; j++)
            if (is_waiting[j])
                consumed = j;
        unsigned count = (unsigned)(state >> 20) % 4;
        if (next + count >= sizeof is_waiting || waiting() > 200)
            count = 0;
        expect(kept_result(next, count, consumed, 6 + (state >> 30) % 900) == COMMIT_OK);
        for (unsigned j = 0; j < count; j++)
            is_waiting[next++] = 1;
        is_waiting[consumed] = 0;
    }
    reopen();
    uint64_t count = waiting(), found = 0;
    for (uint64_t i = 1; i < next; i++)
        found += is_waiting[i];
    expect(found == count && found > 0 && scalar("SELECT count(*) FROM outbox") == (int64_t)count);
    for (uint64_t i = 1, shown = 0; i < next && shown < 200; i++)
        if (is_waiting[i]) {
            shown++;
            expect(next_number() == NUMBER(i));
        }
    fixture_end();
}

// What such a COMMIT may not say closes the link.
TEST(what_may_not_be_kept)
{
    for (int what = 0; what < 6; what++) {
        fixture_begin();
        commit_new(1, 0);
        head()->first = what == 0 ? 0 : NUMBER(1);
        if (what == 1)
            commit_add_read(SPACE_MODELS, ABI_READ_GET, "a", 0);
        if (what == 2)
            commit_put(SPACE_MODELS, "b", "two");
        struct commit_send send = {.flow = what == 3 ? FLOW_READING : FLOW_ALARM, .receiver = UNIKERNEL_B, .key_bytes = 1,
                                   .flags = what == 4 ? COMMIT_KEPT | COMMIT_RECEIPT : COMMIT_KEPT,
                                   .due_ms = what == 5 ? 5000 : 0};
        add(&send, sizeof send);
        add("k", 1);
        head()->send_count++;
        commit_send_it();
        expect(take() == STATUS_MALFORMED);
        fixture_end();
    }
    fixture_begin();
    commit_new(1, 0);
    head()->is_kept = 1; // nothing
    commit_send_it();
    expect(take() == STATUS_MALFORMED);
    fixture_end();
}

int main(void)
{
    RUN(what_is_consumed_leaves_no_row);
    RUN(what_waits_comes_from_the_outbox_after_a_restart);
    RUN(a_full_disk_changes_nothing);
    RUN(one_that_waits_long);
    RUN(at_random);
    RUN(what_may_not_be_kept);
    TEST_END();
}
