// SPDX-License-Identifier: ISC
// Fuzz target: the router's inspector. The input becomes the effects of an event that each receiver has in hand;
// the verdict must be one, must name its reason, and what passes is looked at again with simple means. What an honest
// tender lets through has a form that the inspector can read: a guest cannot make it the tender's fault.
//
// Input: receiver (two bits), principal, 6 bytes for nothing, records.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
#include "router/state.h"
#include "tests/unit/router_fake.h"

static struct message *event_of[4]; // in the hands of each receiver

// One event at FRONT from the gateway; its effects give DECODE and SINK and the service one each.
static void begin(void)
{
    static struct fake_records records;
    static int is_begun;
    if (is_begun)
        return;
    is_begun = 1;
    fake_clear();
    fake_start();
    must(fake_gateway(LINK_OPEN, 1, "p") == STATUS_OK && fake_gateway(LINK_INPUT, 1, "input") == STATUS_OK);
    fake_tick(1);
    fake_item(&records, OUT_RAW, 1, 1, 1);
    fake_item(&records, OUT_NOTE, 1, 1, 1);
    fake_item(&records, OUT_LOGIN, 1, 1, 1);
    must(fake_end(FRONT, &records) == STATUS_OK);
    for (int i = 0; i < 10; i++) {
        fake_store();
        fake_tick(1);
    }
    must(fake_gateway(LINK_INPUT, 1, "more") == STATUS_OK);
    fake_tick(1);
    for (uint32_t i = 0; i < 4; i++) {
        must(fake.delivery_count[i] == 1);
        event_of[i] = message_with(fake.engine, i, fake.deliveries[i][0].deliver.header.handle);
        must(event_of[i] != NULL);
    }
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static struct fake_records records;
    const uint8_t reply[8] = {1, 0, 2, 0};
    const struct abi_log log = {.record.kind = ABI_LOG, .level = ABI_LOG_REFUSAL, .text_bytes = 3};
    const struct abi_end end = {.record.kind = ABI_END};
    const struct item item = {1, 1, 1};
    begin();
    records.size = 0;
    switch (index) {
    case FRONT:
        fake_item(&records, OUT_RAW, 1000, 5, 1);
        fake_item(&records, OUT_NOTE, 3, 5, 1);
        fake_join(&records, 2, 1);
        fake_send_record(&records, OUT_TICK, 300, "context", &item, sizeof item);
        fake_wire(&records, "some bytes", 0);
        break;
    case DECODE:
        fake_item(&records, OUT_READING, 7, 5, 100);
        fake_item(&records, OUT_ALARM, 7, 5, 100);
        fake_record(&records, &log, sizeof log, "why", 3, NULL, 0);
        break;
    case SINK:
        fake_put(&records, 9, 5, 5);
        fake_send_record(&records, 0, 400, "", &item, sizeof item);
        break;
    case LOGIN:
        fake_send_record(&records, 0, 0, "", reply, sizeof reply);
        break;
    default:
        return 0;
    }
    fake_record(&records, &end, sizeof end, NULL, 0, NULL, 0);
    memset(bytes, 0, 8);
    bytes[0] = (uint8_t)index;
    memcpy(bytes + 8, records.bytes, records.size);
    return 8 + records.size;
}

static void judge_passed(const struct event *event, uint32_t receiver)
{
    static const uint16_t outputs[4] = {6, 2, 1, 1};
    unsigned sends[8] = {0}, writes = 0;
    size_t at = 0;
    for (int is_end = 0; !is_end;) {
        struct guest_record effect;
        must(guest_record_next(event->records, event->record_bytes, &at, UINT16_MAX, &effect) == NULL);
        must(effect.first >= event->records && effect.second <= event->records + event->record_bytes);
        is_end = effect.kind == ABI_END;
        writes += effect.kind == ABI_WRITE;
        must(effect.kind != ABI_WRITE || receiver == SINK);
        if (effect.kind != ABI_SEND)
            continue;
        must(effect.send.flow < outputs[receiver] && effect.send.payload_bytes <= 2056);
        sends[effect.send.flow]++;
        if (receiver != FRONT || effect.send.flow > OUT_SUBSCRIBE) {
            uint32_t value;
            memcpy(&value, effect.second, sizeof value);
            must(receiver == LOGIN || value <= 1000);
        }
    }
    must(at == event->record_bytes && writes == event->write_count && writes <= 1);
    for (uint32_t i = 0; i < outputs[receiver]; i++)
        must(sends[i] == event->outputs[i].count && sends[i] <= 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin();
    if (size < 8 || size - 8 > ABI_OUTPUT_BYTES)
        return 0;
    uint32_t receiver = data[0] & 3u;
    struct event *event = event_of[receiver]->event;
    memset(event->text, 0x55, sizeof event->text);
    memcpy(event->records, data + 8, size - 8);
    event->record_bytes = (uint32_t)(size - 8);
    event->principal = data[1];
    enum reason reason = judge(fake.engine, event_of[receiver]);
    if (reason == REASON_DONE) {
        judge_passed(event, receiver);
        return 0;
    }
    must((reason >= REASON_FLOW && reason <= REASON_RELATION) || reason == REASON_PRINCIPAL ||
         reason == REASON_BUDGET || reason == REASON_NAMESPACE || reason == REASON_KEY_TABLE);
    must(memchr(event->text, 0, sizeof event->text) != NULL &&
         strncmp(event->text, reason_text(reason), strlen(reason_text(reason))) == 0);
    return 0;
}
