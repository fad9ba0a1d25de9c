// SPDX-License-Identifier: ISC
// Several events of one connection with its tender: effects are judged in the order of the events, whatever order
// they come in, and a failure takes along what came behind it.
#include "tests/unit/router_fake.h"

static struct fake_records records;

// Three events of connection 7 are with FRONT: two ticks of its own, and an input.
static void begin(void)
{
    struct item item = {1, 1, 0};
    fake_clear();
    fake_flows[TICK].count_max = 2;
    fake_gateways[0].output_bytes_max = 65536;
    fake_batch = 4;
    fake_start();
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    records.size = 0;
    for (int i = 0; i < 2; i++)
        fake_send_record(&records, OUT_TICK, 0, "c", &item, sizeof item);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "y") == STATUS_OK && fake.delivery_count[FRONT] == 3);
}

static void end(uint32_t place, const char *text)
{
    records.size = 0;
    fake_wire(&records, text, 0);
    expect(fake_end_at(FRONT, place, LINK_ENDED, 0, &records) == STATUS_OK);
}

TEST(effects_leave_in_the_order_of_events)
{
    begin();
    end(2, "333");
    end(1, "22");
    expect(fake.output_bytes == 0 && fake.taken == 1 && fake.page->in_flight == 3);
    end(0, "1");
    expect(fake.output_bytes == 6 && fake.taken == 2 && fake.page->in_flight == 0 && fake_is_exact());
    fake_stop();
}

TEST(a_commit_holds_back_what_follows)
{
    begin();
    records.size = 0;
    fake_item(&records, OUT_RAW, 1, 1, 1); // durable
    expect(fake_end_at(FRONT, 0, LINK_ENDED, 0, &records) == STATUS_OK);
    end(0, "22");
    expect(fake.output_bytes == 0 && fake.page->in_flight == 4); // what was sent has begun
    fake_store();
    expect(fake.output_bytes == 2 && fake.page->in_flight == 2 && fake_is_exact()); // the third, and what was sent
    fake_stop();
}

// The second event closes the connection while it is released: what is queued there ends, and that is nobody's turn.
TEST(an_event_has_its_turn_once)
{
    struct item item = {1, 1, 0};
    begin();
    records.size = 0;
    fake_item(&records, OUT_RAW, 1, 1, 1);
    fake_send_record(&records, OUT_TICK, 5000, "c", &item, sizeof item); // is queued until then
    expect(fake_end_at(FRONT, 0, LINK_ENDED, 0, &records) == STATUS_OK);
    records.size = 0;
    fake_wire(&records, "bye", 1);
    fake_wire(&records, "never", 0);
    expect(fake_end_at(FRONT, 0, LINK_ENDED, 0, &records) == STATUS_OK);
    fake_store();
    expect(fake.output_bytes == 3 && fake.last_ended == 7 && fake_count(TICK, REASON_DONE) == 2);
    expect(fake_count(TICK, REASON_CONNECTION) == 1 && fake_is_exact());
    fake_stop();
}

TEST(a_failure_drops_what_follows)
{
    begin();
    end(2, "333");
    end(1, "22");
    expect(fake_end_at(FRONT, 0, LINK_CONTRACT, 0, NULL) == STATUS_OK);
    fake_store();
    expect(fake.output_bytes == 0 && fake.last_ended == 7 && fake.dead_count == 1 && fake.close_count == 1);
    expect(fake_count(TICK, REASON_ENVELOPE) == 1 && fake_count(TICK, REASON_CONNECTION) == 1 &&
           fake_count(WIRE_IN, REASON_CONNECTION) == 1 && fake.page->in_flight == 0 && fake_is_exact());
    fake_stop();
}

TEST(a_tender_that_dies_takes_all_along)
{
    begin();
    end(1, "22"); // has ended, behind one that has not
    engine_closed(fake.engine, ENGINE_RECEIVER, FRONT);
    expect(fake.output_bytes == 0 && fake.last_ended == 7 && fake.page->in_flight == 0 && fake_is_exact());
    fake_stop();
}

int main(void)
{
    RUN(effects_leave_in_the_order_of_events);
    RUN(a_commit_holds_back_what_follows);
    RUN(an_event_has_its_turn_once);
    RUN(a_failure_drops_what_follows);
    RUN(a_tender_that_dies_takes_all_along);
    TEST_END();
}
