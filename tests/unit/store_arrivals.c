// SPDX-License-Identifier: ISC
// What peers on other nodes send, as the store takes it: once, in order, each peer and flow by itself.
#include "tests/unit/store_fixture.h"

static const struct system_courier courier = {.name = "hubs", .peer_count = 2, .peers = {{.name = "hub-1"}, {.name = "hub-2"}}};

static void begin(void)
{
    fixture_flows[FLOW_ALARM].sender_kind = SYSTEM_COURIER;
    fixture_courier = &courier;
    fixture_begin();
}

static void end(void)
{
    fixture_end();
    fixture_flows[FLOW_ALARM].sender_kind = SYSTEM_UNIKERNEL;
}

static void build(uint16_t peer, uint64_t stream, uint64_t sequence, uint64_t previous, int is_dead)
{
    struct link_source source = {stream, sequence, previous, peer, {0}};
    commit_new(sequence, 0);
    head()->flow = FLOW_ALARM;
    head()->unikernel = SYSTEM_NONE;
    if (!is_dead)
        commit_add_send(FLOW_ALARM, UNIKERNEL_B, "", "12345678", 8, 0);
    else
        commit_add_dead(REASON_RANGE, "range alarm.value", "", 0);
    add(&source, sizeof source);
    head()->source_count = 1;
}

static int arrive(uint16_t peer, uint64_t stream, uint64_t sequence, uint64_t previous)
{
    build(peer, stream, sequence, previous, 0);
    return commit_result_of();
}

TEST(each_is_taken_once_and_in_order)
{
    begin();
    expect(arrive(0, 9, 5, 0) == COMMIT_OK);
    expect(arrive(0, 9, 5, 0) == COMMIT_DUPLICATE);
    expect(arrive(0, 9, 4, 0) == COMMIT_DUPLICATE);
    expect(arrive(0, 9, 8, 7) == COMMIT_EARLY); // the one before it is still on its way
    expect(arrive(0, 9, 7, 5) == COMMIT_OK);
    expect(arrive(0, 9, 8, 7) == COMMIT_OK);
    expect(arrive(0, 9, 9, 5) == COMMIT_OK); // sent again with what came between
    expect(scalar("SELECT count(*) FROM outbox") == 4 && scalar("SELECT sequence FROM arrivals") == 9);
    end();
}

TEST(what_was_refused_has_its_place_too)
{
    begin();
    build(0, 9, 5, 0, 1);
    expect(commit_result_of() == COMMIT_OK && scalar("SELECT count(*) FROM dead_letters") == 1);
    build(0, 9, 5, 0, 1);
    expect(commit_result_of() == COMMIT_DUPLICATE && scalar("SELECT count(*) FROM dead_letters") == 1);
    expect(arrive(0, 9, 6, 5) == COMMIT_OK);
    end();
}

TEST(peers_and_streams_are_apart)
{
    begin();
    expect(arrive(0, 9, 100, 0) == COMMIT_OK && arrive(1, 9, 3, 0) == COMMIT_OK);
    expect(arrive(1, 9, 3, 0) == COMMIT_DUPLICATE && arrive(0, 9, 100, 0) == COMMIT_DUPLICATE);
    expect(arrive(0, 10, 1, 0) == COMMIT_OK); // its store is a new one
    expect(arrive(0, 10, 3, 2) == COMMIT_EARLY && arrive(0, 10, 1, 0) == COMMIT_DUPLICATE);
    end();
}

TEST(both_come_back_after_a_restart)
{
    begin();
    uint64_t identity = fixture.store.identity;
    expect(identity != 0 && arrive(0, 9, 5, 0) == COMMIT_OK);
    fixture_close();
    expect(fixture_open() == STATUS_OK);
    say_hello();
    struct commit_packet *packet;
    uint64_t said = 0;
    while ((packet = receive()) != NULL)
        if (packet->kind == COMMIT_READY)
            said = packet->handle;
    expect(fixture.store.identity == identity && said == identity);
    expect(arrive(0, 9, 5, 0) == COMMIT_DUPLICATE && arrive(0, 9, 6, 5) == COMMIT_OK);
    end();
    begin();
    expect(fixture.store.identity != identity); // another store
    end();
}

TEST(a_batch_that_fails_leaves_nothing)
{
    begin();
    build(0, 9, 5, 0, 0);
    commit_send_it();
    build(0, 9, 6, 5, 0);
    commit_send_it();
    build(0, 9, 6, 5, 0); // in the same transaction
    commit_send_it();
    expect(take() == STATUS_OK);
    expect(done_of(5) == COMMIT_OK && done_of(6) == COMMIT_OK && done_of(6) == COMMIT_DUPLICATE);
    expect(sqlite3_exec(fixture.store.db, "PRAGMA max_page_count = 1", NULL, NULL, NULL) == SQLITE_OK);
    int result = COMMIT_OK;
    uint64_t sequence = 7;
    for (; result == COMMIT_OK && sequence < 5000; sequence++) // until its pages are full
        result = arrive(0, 9, sequence, sequence - 1);
    expect(result == COMMIT_NOT_NOW);
    expect(sqlite3_exec(fixture.store.db, "PRAGMA max_page_count = 1000000", NULL, NULL, NULL) == SQLITE_OK);
    expect((uint64_t)scalar("SELECT sequence FROM arrivals") == sequence - 2);
    expect(arrive(0, 9, sequence, sequence - 1) == COMMIT_EARLY); // the one that failed comes first
    expect(arrive(0, 9, sequence - 1, sequence - 2) == COMMIT_OK && arrive(0, 9, sequence, sequence - 1) == COMMIT_OK);
    end();
}

TEST(sources_that_are_malformed)
{
    begin();
    build(2, 9, 5, 0, 0); // a peer that is none
    commit_send_it();
    expect(take() == STATUS_MALFORMED);
    end();
    begin();
    build(0, 9, 5, 0, 0);
    head()->flow = FLOW_READING; // not from another node
    commit_send_it();
    expect(take() == STATUS_MALFORMED);
    end();
    begin();
    build(0, 9, 5, 0, 0);
    head()->source_count = 2;
    commit_send_it();
    expect(take() == STATUS_MALFORMED);
    end();
}

int main(void)
{
    RUN(each_is_taken_once_and_in_order);
    RUN(what_was_refused_has_its_place_too);
    RUN(peers_and_streams_are_apart);
    RUN(both_come_back_after_a_restart);
    RUN(a_batch_that_fails_leaves_nothing);
    RUN(sources_that_are_malformed);
    TEST_END();
}
