// SPDX-License-Identifier: ISC
// What a receiver of an older version of a flow's schema is shown, and what is kept meanwhile.
#include "tests/unit/router_fake.h"

static struct fake_records records;

// Connection 7 speaks; front answers with one raw message.
static void publish(uint32_t value, uint32_t key)
{
    if (fake.page->connections == 0)
        expect(fake_gateway(LINK_OPEN, 7, "peer") == STATUS_OK);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    fake_item(&records, OUT_RAW, value, key, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
}

// A receiver of an older version, which knows the first field only, sees no byte of what was added; the message that waits,
// is tried again and becomes a dead letter is whole.
TEST(older_version)
{
    static struct schema_header older_header;
    fake_clear();
    older_header = (struct schema_header){.field_count = 1, .struct_bytes = 8};
    fake.system.schemas[4] = (struct schema){.header = &older_header, .fields = fake_fields[SCHEMA_ITEM]};
    fake_flows[RAW].receivers[0].older_schema = 5;
    fake_start();
    publish(7, 0x01020304);
    const struct fake_delivery *shown = &fake.deliveries[DECODE][0];
    expect(fake.delivery_count[DECODE] == 1 && shown->deliver.payload_bytes == 8);
    expect(memcmp(shown->payload, "\x07\0\0\0\0\0\0\0", 8) == 0); // the key takes a part of the older one's padding
    expect(fake_fail(DECODE, LINK_FAULT) == STATUS_OK);
    fake_store();
    expect(fake.dead_count == 1 && fake_count(RAW, REASON_FAULT) == 1);
    expect(fake.rows[0].send.payload_bytes == 16 && memcmp(fake.rows[0].payload + 4, "\x04\x03\x02\x01", 4) == 0);
    publish(1001, 1); // judged as what was sent
    expect(fake.delivery_count[DECODE] == 0 && fake_count(WIRE_IN, REASON_RANGE) == 1);
    fake_stop();
}

int main(void)
{
    RUN(older_version);
    TEST_END();
}
