// SPDX-License-Identifier: ISC
// Kept messages (proto/commit.h): they begin before they are stored, and nothing that they bring about leaves before.
#include "tests/unit/router_fake.h"

static struct fake_records records;

static void begin(void)
{
    fake_clear();
    fake_flows[RAW].count_max = 16;
    fake_gateways[0].output_bytes_max = 1 << 20;
    fake_start();
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK);
}

// An event of the connection sends so many raw messages of keys from `key` on; the store has not heard of it.
static void publish(uint32_t key, uint32_t count, const char *text)
{
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    records.size = 0;
    for (uint32_t i = 0; i < count; i++)
        fake_item(&records, OUT_RAW, 5, key + i, 1);
    fake_wire(&records, text, 0);
    expect(fake_end(FRONT, &records) == STATUS_OK);
}

TEST(it_begins_before_it_is_stored_and_nothing_leaves)
{
    begin();
    publish(1, 1, "ack");
    expect(fake.delivery_count[DECODE] == 1 && fake.kept_count == 0 && fake.output_bytes == 0 && fake.taken == 0);
    expect(fake.deliveries[DECODE][0].deliver.number >> 40 == 1); // the router's
    fake_item(&records, OUT_READING, 5, 1, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    expect(fake.delivery_count[SINK] == 1); // the next step, too
    records.size = 0;
    fake_put(&records, 3, 9, 9);
    expect(fake_end(SINK, &records) == STATUS_OK);
    expect(fake.output_bytes == 0 && fake_count(RAW, REASON_ENTERED) == 0 && fake_count(RAW, REASON_DONE) == 0);
    fake_store();
    expect(fake.kept_count == 2 && fake.output_bytes == 3 && fake.taken == 1);
    expect(fake_count(RAW, REASON_DONE) == 1 && fake_count(READING, REASON_DONE) == 1 && fake_is_exact());
    expect(fake.page->spooled[RAW] == 0 && fake.page->spooled[READING] == 0 && fake.page->in_flight == 0);
    fake_stop();
}

// COMMITs that are not now come again, in whatever order: what is consumed waits for what sends it.
TEST(not_now)
{
    begin();
    publish(1, 1, "ack");
    fake.next_result = COMMIT_NOT_NOW;
    fake.result_count = 1;
    fake_item(&records, OUT_READING, 5, 1, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store(); // the first is not now, so the second is not either
    expect(fake.row_count == 0 && fake.output_bytes == 0 && fake.delivery_count[DECODE] == 0 && fake.delivery_count[SINK] == 1);
    for (int i = 0; i < 3; i++)
        fake_tick(150);
    expect(fake.row_count == 2 && fake.kept_count == 2 && fake.output_bytes == 3);
    expect(fake.delivery_count[SINK] == 1); // once
    expect(fake_end(SINK, NULL) == STATUS_OK);
    fake_store();
    expect(fake_count(RAW, REASON_DONE) == 1 && fake_count(READING, REASON_DONE) == 1 && fake_is_exact());
    fake_stop();
}

// What another connection's copies bring about has no COMMIT of its own: they wait for that of the broadcast.
TEST(a_broadcast_waits_until_it_is_stored)
{
    begin();
    expect(fake_gateway(LINK_OPEN, 8, "q") == STATUS_OK && fake_gateway(LINK_INPUT, 8, "s") == STATUS_OK);
    records.size = 0;
    fake_join(&records, 2, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    publish(1, 1, "b");
    records.size = 0;
    fake_item(&records, OUT_ALARM, 5, 1, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    expect(fake.delivery_count[FRONT] == 0);
    fake_store();
    expect(fake.kept_count == 2 && fake.delivery_count[FRONT] == 1);
    records.size = 0;
    fake_wire(&records, "alarm", 0);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    expect(fake.output_bytes >= 5 && fake_count(ALARM, REASON_DONE) == 1 && fake_is_exact());
    fake_stop();
}

// Behind one that lies in the store alone none is kept: it would overtake.
TEST(none_overtakes_what_lies_in_the_store)
{
    begin();
    for (uint32_t i = 0; i < 40; i++) { // decode is slow
        publish(10 * i, 10, "a");
        fake_store();
    }
    uint32_t kept = fake.kept_count;
    expect(kept <= COMMIT_KEPT_MAX && kept > COMMIT_KEPT_MAX - 10 && fake.row_count == 400);
    uint32_t last = UINT32_MAX, seen = 0;
    uint64_t number = 0;
    while (seen < 400) {
        expect(fake.delivery_count[DECODE] != 0);
        struct item item;
        memcpy(&item, fake.deliveries[DECODE][0].payload, sizeof item);
        expect(fake.deliveries[DECODE][0].deliver.number > number); // rises, whether it was kept or not
        number = fake.deliveries[DECODE][0].deliver.number;
        expect(item.key == last + 1); // keys differ, so many are under way; each is shown in its order
        last = item.key;
        seen++;
        expect(fake_end(DECODE, NULL) == STATUS_OK);
        fake_store();
        if (seen == 200) { // many of them wait in the store
            publish(400, 1, "a");
            fake_store();
            expect(fake.kept_count == kept);
        }
    }
    fake_end(DECODE, NULL);
    fake_store();
    publish(401, 1, "a");
    expect(fake.delivery_count[DECODE] == 1); // now again
    fake_store();
    expect(fake.kept_count == kept + 1 && fake_is_exact());
    fake_stop();
}

// A store that says of such a COMMIT what cannot be is not believed.
TEST(a_store_that_lies)
{
    begin();
    publish(1, 1, "ack");
    struct commit_packet head;
    memcpy(&head, fake.commits[fake.commit_count - 1].bytes, sizeof head);
    expect(head.kind == COMMIT_COMMIT);
    struct commit_done done = {{sizeof done, COMMIT_DONE, 0, head.handle}, COMMIT_CONFLICT, 0, 0};
    expect(fake_give(ENGINE_STORE, 0, &done, sizeof done) == STATUS_MALFORMED);
    fake_store();
    expect(fake.output_bytes == 3 && fake_is_exact());
    fake_stop();
}

int main(void)
{
    RUN(it_begins_before_it_is_stored_and_nothing_leaves);
    RUN(not_now);
    RUN(a_broadcast_waits_until_it_is_stored);
    RUN(none_overtakes_what_lies_in_the_store);
    RUN(a_store_that_lies);
    TEST_END();
}
