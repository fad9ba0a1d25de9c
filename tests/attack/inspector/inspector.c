// SPDX-License-Identifier: ISC
// What an attacker makes a unikernel say, in records of perfect form: flows that are not his, values that no schema
// allows, another's name, another's records, what was said before. It is the router that judges it, the same for
// both walls; here it stands between fake endpoints (tests/unit/router_fake.h).
//
// After each attack its input is a dead letter with the reason, nothing of the event has left or is stored, and the
// counts are exact.
#include "tests/unit/router_fake.h"

#include <string.h>

static struct fake_records records;

struct attack {
    const char *name, *mechanism;
    uint32_t receiver; // who was taken over: it is given an event, and says what `say` makes
    void (*say)(void);
    uint32_t reason;
    void (*prepare)(void); // between fake_clear and fake_start
};

static void item(uint16_t port, uint32_t value) { fake_item(&records, port, value, 1, 9); }

static void say_no_such_flow(void) { item(6, 1); }
static void say_flow_65535(void) { item(65535, 1); }
static void say_flow_of_another(void) { item(OUT_ALARM + 1, 1); }
static void say_short(void) { fake_send_record(&records, OUT_NOTE, 0, "", "12345678", 8); }
static void say_long(void) { fake_send_record(&records, OUT_NOTE, 0, "", "123456781234567812345678", 24); }
static void say_out_of_range(void) { item(OUT_NOTE, 1001); }
static void say_padding(void)
{
    uint8_t wire[16] = {0, 1, 4, 0, 'a', 'b', 'c', 'd'};
    fake_send_record(&records, OUT_WIRE, 0, "", wire, 8);
}
static void say_behind_the_length(void)
{
    uint8_t wire[16] = {0, 0, 1, 0, 'a', 'b', 'c', 'd'};
    fake_send_record(&records, OUT_WIRE, 0, "", wire, 8);
}
static void say_no_boolean(void)
{
    uint8_t wire[16] = {2, 0, 4, 0, 'a', 'b', 'c', 'd'};
    fake_send_record(&records, OUT_WIRE, 0, "", wire, 8);
}
static void say_too_often(void)
{
    for (int i = 0; i < 3; i++)
        item(OUT_NOTE, 1);
}
static void say_later_to_another(void)
{
    struct item late = {1, 1, 1};
    fake_send_record(&records, OUT_NOTE, 1000, "", &late, sizeof late);
}
static void say_answer_to_nothing(void)
{
    struct item reply = {1, 1, 1};
    fake_send_record(&records, OUT_NOTE, 0, "", &reply, sizeof reply);
    ((struct abi_send *)(void *)records.bytes)->flags = ABI_SEND_REPLY;
}
static void say_write(void) { fake_put(&records, 1, 9, 9); }
static void say_write_under_anothers_key(void) { fake_put(&records, 1, 9, 8); }
static void say_write_twice(void)
{
    fake_put(&records, 1, 9, 9);
    fake_put(&records, 1, 8, 8);
}
static void say_write_out_of_range(void) { fake_put(&records, 5000, 9, 9); }
static void say_raw(void) { item(OUT_RAW, 1); }
static void say_reading(void) { item(OUT_READING, 1); }
static void say_subscribe_to_another(void) { fake_join(&records, 0, 1); }
static void only_the_second_principal(void)
{
    fake_flows[RAW].is_open = 0;
    fake_flows[RAW].principals = 2;
}

static const struct attack attacks[] = {
    {"say_on_a_flow_that_is_not", "default deny", FRONT, say_no_such_flow, REASON_FLOW, NULL},
    {"say_on_flow_65535", "default deny", FRONT, say_flow_65535, REASON_FLOW, NULL},
    {"say_on_a_flow_of_another", "default deny", DECODE, say_flow_of_another, REASON_FLOW, NULL},
    {"say_less_than_the_schema", "schema checker", FRONT, say_short, REASON_LENGTH, NULL},
    {"say_more_than_the_schema", "schema checker", FRONT, say_long, REASON_LENGTH, NULL},
    {"say_a_value_out_of_range", "schema checker", FRONT, say_out_of_range, REASON_RANGE, NULL},
    {"say_something_in_the_padding", "schema checker", FRONT, say_padding, REASON_PADDING, NULL},
    {"say_something_behind_the_length", "schema checker", FRONT, say_behind_the_length, REASON_PADDING, NULL},
    {"say_a_boolean_of_2", "schema checker", FRONT, say_no_boolean, REASON_RANGE, NULL},
    {"say_it_too_often", "budget of the manifest", FRONT, say_too_often, REASON_BUDGET, NULL},
    {"say_it_later_to_another", "timers go to oneself", FRONT, say_later_to_another, REASON_ENVELOPE, NULL},
    {"say_an_answer_to_nothing", "a reply needs its request", FRONT, say_answer_to_nothing, REASON_ENVELOPE, NULL},
    {"say_it_in_anothers_name", "the host writes the principal", FRONT, say_raw, REASON_PRINCIPAL, only_the_second_principal},
    {"say_it_again", "sequence for each key", DECODE, say_reading, REASON_REPLAY, NULL},
    {"listen_where_nobody_may", "default deny", FRONT, say_subscribe_to_another, REASON_FLOW, NULL},
    {"write_without_a_right", "rights for each namespace", FRONT, say_write, REASON_NAMESPACE, NULL},
    {"write_under_anothers_key", "the key is the record's own", SINK, say_write_under_anothers_key, REASON_NAMESPACE, NULL},
    {"write_too_often", "budget of the manifest", SINK, say_write_twice, REASON_BUDGET, NULL},
    {"write_a_value_out_of_range", "schema checker", SINK, say_write_out_of_range, REASON_RANGE, NULL},
};

// Brings an event to that receiver.
static void lead_to(uint32_t receiver)
{
    expect(fake_gateway(LINK_OPEN, 7, "p") == STATUS_OK || receiver != FRONT);
    expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
    if (receiver == FRONT)
        return;
    fake_item(&records, OUT_RAW, 1, 1, 1);
    expect(fake_end(FRONT, &records) == STATUS_OK);
    fake_store();
    if (receiver == DECODE)
        return;
    fake_item(&records, OUT_READING, 5, 1, 1);
    expect(fake_end(DECODE, &records) == STATUS_OK);
    fake_store();
}

static void play(const struct attack *attack)
{
    fake_clear();
    if (attack->prepare != NULL)
        attack->prepare();
    fake_start();
    lead_to(attack->receiver);
    if (attack->reason == REASON_REPLAY) { // the same was said before
        attack->say();
        expect(fake_end(DECODE, &records) == STATUS_OK);
        fake_store();
        expect(fake_end(SINK, NULL) == STATUS_OK);
        fake_store();
        expect(fake_gateway(LINK_INPUT, 7, "x") == STATUS_OK);
        fake_item(&records, OUT_RAW, 1, 1, 1);
        expect(fake_end(FRONT, &records) == STATUS_OK);
        fake_store();
    }
    uint32_t rows = fake.row_count, sink = fake.delivery_count[SINK], login = fake.delivery_count[LOGIN];
    uint64_t output = fake.output_bytes;
    attack->say();
    expect(fake_end(attack->receiver, &records) == STATUS_OK);
    fake_store();
    expect(fake.dead_count == 1 && fake.last_dead_reason == attack->reason);
    expect(fake.row_count == rows && fake.output_bytes == output && fake.delivery_count[LOGIN] == login);
    expect(fake.delivery_count[SINK] == sink - (attack->receiver == SINK) && fake.last_header.write_count == 0);
    expect(fake_is_exact());
}

int main(void)
{
    unsigned contained = 0;
    size_t count = sizeof attacks / sizeof attacks[0];
    printf("# what a message may say\n");
    for (size_t i = 0; i < count; i++) {
        test_why = NULL;
        play(&attacks[i]);
        if (test_why == NULL)
            printf("ok %-28s - %s: dead letter: %s\n", attacks[i].name, attacks[i].mechanism, fake.last_dead_text);
        else
            printf("not ok %-28s - %s: %s: reason %s, '%s'\n", attacks[i].name, attacks[i].mechanism, test_why,
                   reason_text(fake.last_dead_reason), fake.last_dead_text);
        contained += test_why == NULL;
        fake_stop();
    }
    printf("# by the router: %u contained, %zu not\n", contained, count - contained);
    return contained != count;
}
