// SPDX-License-Identifier: ISC
// The outbox under credit, timers, ranges and the index.
#include "tests/unit/store_fixture.h"

// The next packet, expected to be an OUTBOX; its id, or -1 when nothing is there.
static int64_t outbox_id(struct commit_outbox *outbox, char payload[16])
{
    struct commit_packet *packet = receive();
    if (packet == NULL || packet->kind != COMMIT_OUTBOX)
        return -1;
    memcpy(outbox, fixture.packet, sizeof *outbox);
    memset(payload, 0, 16);
    size_t at = sizeof *outbox + ABI_ALIGN8((size_t)outbox->send.key_bytes) +
                ABI_ALIGN8((size_t)outbox->send.context_bytes);
    memcpy(payload, fixture.packet + at, outbox->send.payload_bytes < 15 ? outbox->send.payload_bytes : 15);
    return (int64_t)packet->handle;
}

TEST(each_flow_has_its_own_credit)
{
    struct commit_outbox outbox;
    char payload[16];
    fixture_begin();
    for (uint64_t i = 0; i < 3; i++) {
        commit_new(i, 0);
        commit_add_send(i == 2 ? FLOW_ALARM : FLOW_READING, UNIKERNEL_B, "", "m", 1, 0);
        expect(commit_result_of() == COMMIT_OK);
    }
    struct commit_credit credit = {{sizeof credit, COMMIT_CREDIT, 0, 0}, UNIKERNEL_B, FLOW_ALARM, 5};
    expect(channel_send(&fixture.router, &credit, sizeof credit) == STATUS_OK && take() == STATUS_OK);
    expect(outbox_id(&outbox, payload) == 3 && receive() == NULL); // the readings before it have no credit
    credit.flow = FLOW_READING;
    credit.count = 1;
    expect(channel_send(&fixture.router, &credit, sizeof credit) == STATUS_OK && take() == STATUS_OK);
    expect(outbox_id(&outbox, payload) == 1 && receive() == NULL);
    fixture_end();
}

TEST(messages_come_in_order_and_under_credit)
{
    struct commit_outbox outbox;
    char payload[16], text[16];
    fixture_begin();
    for (int i = 0; i < 10; i++) {
        commit_new((uint64_t)i, 0);
        snprintf(text, sizeof text, "m%d", i);
        commit_add_send(FLOW_READING, (uint16_t)(i % 2), "key", text, strlen(text), 0);
        expect(commit_result_of() == COMMIT_OK);
    }
    expect(receive() == NULL); // no credit, no message
    give_credit(UNIKERNEL_B, 3);
    for (int64_t id = 2; id <= 6; id += 2) {
        expect(outbox_id(&outbox, payload) == id);
        snprintf(text, sizeof text, "m%d", (int)id - 1);
        expect(strcmp(payload, text) == 0 && outbox.send.receiver == UNIKERNEL_B);
        expect(outbox.send.principal == 2 && outbox.time_ms == 999 && outbox.send.key_bytes == 3);
    }
    expect(receive() == NULL);
    give_credit(UNIKERNEL_B, 100);
    expect(outbox_id(&outbox, payload) == 8 && outbox_id(&outbox, payload) == 10);
    expect(receive() == NULL);
    // Credit that is left serves what comes later; the answer goes before the message.
    commit_new(20, 0);
    commit_add_send(FLOW_READING, UNIKERNEL_B, "key", "late", 4, 0);
    expect(commit_result_of() == COMMIT_OK);
    expect(outbox_id(&outbox, payload) == 11 && strcmp(payload, "late") == 0);
    fixture_end();
}

// What a commit consumes makes room for the next, also when it is consumed a second time; a conflict does not.
TEST(a_commit_gives_credit_back)
{
    struct commit_outbox outbox;
    char payload[16];
    fixture_begin();
    for (uint64_t i = 0; i < 4; i++) {
        commit_new(i, 0);
        commit_add_send(FLOW_READING, UNIKERNEL_A, "", "m", 1, 0);
        expect(commit_result_of() == COMMIT_OK);
    }
    give_credit(UNIKERNEL_A, 1);
    expect(outbox_id(&outbox, payload) == 1 && receive() == NULL);
    commit_new(7, 1);
    commit_add_read(SPACE_MODELS, ABI_READ_GET, "a", 99);
    expect(commit_result_of() == COMMIT_CONFLICT && receive() == NULL);
    commit_new(7, 1);
    expect(commit_result_of() == COMMIT_OK);
    expect(outbox_id(&outbox, payload) == 2 && receive() == NULL);
    commit_new(7, 1);
    expect(commit_result_of() == COMMIT_DUPLICATE);
    expect(outbox_id(&outbox, payload) == 3 && receive() == NULL);
    fixture_end();
}

TEST(timers_come_when_due_and_in_order)
{
    struct commit_outbox outbox;
    char payload[16];
    fixture_begin();
    give_credit(UNIKERNEL_A, 10);
    static const int64_t due[] = {1000300, 1000100, 1000200, 5};
    for (uint64_t i = 0; i < 4; i++) {
        commit_new(i, 0);
        commit_add_send(FLOW_READING, UNIKERNEL_A, "", "t", 1, due[i]);
        expect(commit_result_of() == COMMIT_OK);
    }
    // The last one was due before it was sent: at once.
    expect(outbox_id(&outbox, payload) == 4 && receive() == NULL);
    expect(fixture.link.next_due_ms == 1000100);
    fixture.now_ms = 1000250;
    expect(router_link_push(&fixture.link, &fixture.store, fixture.now_ms) == STATUS_OK);
    expect(outbox_id(&outbox, payload) == 2 && outbox_id(&outbox, payload) == 3 && receive() == NULL);
    // A clock that goes back shows nothing twice and loses nothing.
    fixture.now_ms = 1000;
    expect(router_link_push(&fixture.link, &fixture.store, fixture.now_ms) == STATUS_OK && receive() == NULL);
    commit_new(9, 0);
    commit_add_send(FLOW_READING, UNIKERNEL_A, "", "t", 1, 1000150);
    expect(commit_result_of() == COMMIT_OK);
    expect(outbox_id(&outbox, payload) == 5);
    fixture.now_ms = 2000000;
    expect(router_link_push(&fixture.link, &fixture.store, fixture.now_ms) == STATUS_OK);
    expect(outbox_id(&outbox, payload) == 1 && receive() == NULL);
    expect(fixture.link.next_due_ms == INT64_MAX);
    fixture_end();
}

TEST(a_new_link_gets_everything_that_is_not_consumed)
{
    struct commit_outbox outbox;
    char payload[16];
    fixture_begin();
    for (uint64_t i = 0; i < 4; i++) {
        commit_new(i, 0);
        commit_add_send(FLOW_ALARM, UNIKERNEL_B, "", "m", 1, i == 3 ? 1000001 : 0);
        commit_add_state(FLOW_READING, "press-7", 40 + i);
        commit_add_counter(COUNTER_FLOW(FLOW_ALARM, REASON_ENTERED), 1);
        expect(commit_result_of() == COMMIT_OK);
    }
    fixture.now_ms += 10;
    give_credit(UNIKERNEL_B, 9);
    for (int i = 0; i < 4; i++)
        expect(outbox_id(&outbox, payload) > 0);
    commit_new(7, 2);
    expect(commit_result_of() == COMMIT_OK);
    // The store is started again; so is the router.
    fixture_close();
    expect(fixture_open() == STATUS_OK);
    say_hello();
    struct commit_packet *packet = receive();
    struct commit_state state;
    expect(packet != NULL && packet->kind == COMMIT_STATE);
    memcpy(&state, fixture.packet + sizeof *packet, sizeof state);
    expect(state.flow == FLOW_READING && state.part_bytes == 16 && fixture.packet[sizeof *packet + sizeof state + 16] == 43 &&
           memcmp(fixture.packet + sizeof *packet + sizeof state, "press-7", 8) == 0);
    struct commit_counter counter;
    expect(receive() != NULL);
    memcpy(&counter, fixture.packet + sizeof *packet, sizeof counter);
    expect(counter.index == COUNTER_FLOW(FLOW_ALARM, REASON_ENTERED) && counter.value == 4);
    struct commit_spool spool;
    uint64_t waiting[2] = {99, 99};
    for (int i = 0; i < 2; i++) {
        expect(receive() != NULL);
        memcpy(&spool, fixture.packet, sizeof spool);
        expect(spool.packet.kind == COMMIT_SPOOL && spool.packet.handle < 2);
        waiting[spool.packet.handle & 1] = spool.waiting;
    }
    expect(waiting[FLOW_READING] == 0 && waiting[FLOW_ALARM] == 3);
    packet = receive();
    expect(packet != NULL && packet->kind == COMMIT_READY);
    give_credit(UNIKERNEL_B, 9);
    expect(outbox_id(&outbox, payload) == 4); // the timer is due: timers first
    expect(outbox_id(&outbox, payload) == 1 && outbox_id(&outbox, payload) == 3 && receive() == NULL);
    fixture_end();
}

TEST(ranges_give_order_ends_and_the_namespace_version)
{
    struct item items[8];
    fixture_begin();
    static const char *const keys[] = {"b", "d", "a", "c"}, *const index_keys[] = {"3", "1", "3", "2"};
    expect(read_items(SPACE_HOURS, ABI_READ_RANGE, "", "", items, 8) == 1);
    expect(items[0].status == ABI_ITEM_END && items[0].version == 0);
    for (int i = 0; i < 4; i++) {
        commit_new((uint64_t)i, 0);
        commit_add_write(SPACE_HOURS, ABI_WRITE_PUT, keys[i], index_keys[i], keys[i], 1);
        expect(commit_result_of() == COMMIT_OK);
    }
    expect(read_items(SPACE_HOURS, ABI_READ_RANGE, "", "", items, 8) == 5);
    for (int i = 0; i < 4; i++)
        expect(items[i].status == ABI_ITEM_FOUND && items[i].key[0] == 'a' + i && items[i].value[0] == 'a' + i);
    expect(items[4].status == ABI_ITEM_END && items[4].version == 4);
    expect(read_items(SPACE_HOURS, ABI_READ_RANGE, "b", "d", items, 8) == 3);
    expect(items[0].key[0] == 'b' && items[1].key[0] == 'c');
    expect(read_items(SPACE_HOURS, ABI_READ_INDEX, "2", "", items, 8) == 4);
    expect(items[0].key[0] == 'c' && items[1].key[0] == 'a' && items[2].key[0] == 'b');
    // The other namespace is another world.
    expect(read_items(SPACE_MODELS, ABI_READ_RANGE, "", "", items, 8) == 1 && items[0].version == 0);
    // A range is stale once anything in the namespace was written, a delete included.
    commit_new(10, 0);
    commit_add_read(SPACE_HOURS, ABI_READ_RANGE, "b", 4);
    commit_add_write(SPACE_HOURS, ABI_WRITE_DELETE, "d", "", NULL, 0);
    expect(commit_result_of() == COMMIT_OK);
    commit_new(11, 0);
    commit_add_read(SPACE_HOURS, ABI_READ_RANGE, "b", 4);
    expect(commit_result_of() == COMMIT_CONFLICT);
    commit_new(12, 0); // a delete of nothing changes nothing
    commit_add_write(SPACE_HOURS, ABI_WRITE_DELETE, "zz", "", NULL, 0);
    expect(commit_result_of() == COMMIT_OK);
    commit_new(13, 0);
    commit_add_read(SPACE_HOURS, ABI_READ_INDEX, "", 5);
    expect(commit_result_of() == COMMIT_OK);
    fixture_end();
}

TEST(an_answer_never_exceeds_the_input_region)
{
    static char large[4096];
    static struct builder reads;
    struct item items[64];
    char key[2] = "a";
    memset(large, 'v', sizeof large);
    fixture_begin();
    for (uint64_t i = 0; i < 6; i++) {
        commit_new(i, 0);
        key[0] = (char)('a' + i);
        commit_add_write(SPACE_HOURS, ABI_WRITE_PUT, key, "", large, sizeof large);
        expect(commit_result_of() == COMMIT_OK);
    }
    // A range ends early, with its END.
    expect(read_items(SPACE_HOURS, ABI_READ_RANGE, "", "", items, 64) == 4);
    expect(items[2].status == ABI_ITEM_FOUND && items[3].status == ABI_ITEM_END && items[3].version == 6);
    // Six items would fill it to the last byte; the END takes the place of one.
    for (uint64_t i = 0; i < 6; i++) {
        commit_new(i, 0);
        key[0] = (char)('a' + i);
        commit_add_write(SPACE_HOURS, ABI_WRITE_PUT, key, "", large, 2704);
        expect(commit_result_of() == COMMIT_OK);
    }
    expect(read_items(SPACE_HOURS, ABI_READ_RANGE, "", "", items, 64) == 6);
    expect(items[5].status == ABI_ITEM_END);
    for (uint64_t i = 0; i < 6; i++) {
        commit_new(i, 0);
        key[0] = (char)('a' + i);
        commit_add_write(SPACE_HOURS, ABI_WRITE_PUT, key, "", large, sizeof large);
        expect(commit_result_of() == COMMIT_OK);
    }
    // GETs that do not fit get no item, nor do those behind them.
    reads.size = 0;
    for (int i = 0; i < 6; i++) {
        key[0] = (char)('a' + i);
        read_add(&reads, SPACE_HOURS, ABI_READ_GET, 1, i == 4 ? "none" : key, "");
    }
    read_send(&reads, 5);
    expect(take() == STATUS_OK);
    expect(answer_items(5, items, 64) == 3);
    // The limit is the limit.
    reads.size = 0;
    read_add(&reads, SPACE_HOURS, ABI_READ_RANGE, 2, "b", "");
    read_send(&reads, 6);
    expect(take() == STATUS_OK && answer_items(6, items, 64) == 3 && items[1].key[0] == 'c');
    fixture_end();
}

TEST(malformed_reads_close_the_link)
{
    static struct builder reads;
    static const size_t offsets[] = {0, 4, 8, 10, 12, 14, 16}; // size, kind, namespace, op, limit, from, end
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        fixture_begin();
        reads.size = 0;
        read_add(&reads, SPACE_HOURS, ABI_READ_RANGE, 2, "b", "c");
        reads.bytes[sizeof(struct commit_packet) + offsets[i] + 1] = 0x77;
        read_send(&reads, 6);
        expect(take() == STATUS_MALFORMED && receive() == NULL);
        fixture_end();
    }
}

int main(void)
{
    fixture_use_all();
    RUN(each_flow_has_its_own_credit);
    RUN(messages_come_in_order_and_under_credit);
    RUN(a_commit_gives_credit_back);
    RUN(timers_come_when_due_and_in_order);
    RUN(a_new_link_gets_everything_that_is_not_consumed);
    RUN(ranges_give_order_ends_and_the_namespace_version);
    RUN(an_answer_never_exceeds_the_input_region);
    RUN(malformed_reads_close_the_link);
    TEST_END();
}
