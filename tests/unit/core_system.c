// SPDX-License-Identifier: ISC
// Compiled systems: one that is accepted, and what must be refused: every rule of system_check.c broken once, every
// cut, and every byte changed.
#include "proto/commit.h"
#include "tests/unit/system_sample.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static const char *why_not(size_t size)
{
    const char *why = "";
    enum status status = system_open(&view, (const uint8_t *)&file, size, &why);
    if (status == STATUS_OK)
        return why == NULL ? NULL : "accepted with a reason";
    return why == NULL ? "refused without a reason" : why;
}

static int is_refused(const char *why)
{
    const char *found = why_not(sizeof file);
    if (found != NULL && strcmp(found, why) == 0)
        return 1;
    fprintf(stderr, "found '%s', wanted '%s'\n", found == NULL ? "accepted" : found, why);
    return 0;
}

TEST(a_good_system)
{
    fill();
    expect(why_not(sizeof file) == NULL);
    expect(view.flow_count == FLOWS && view.unikernel_count == UNIKERNELS && view.schema_count == SCHEMAS);
    expect(strcmp(view.schemas[REPLY].header->name, "password-reply/1") == 0);
    expect(view.flows == (const void *)file.flows && view.services == (const void *)file.services);
}

TEST(every_other_size)
{
    fill();
    for (size_t size = 0; size < sizeof file; size++) {
        expect(why_not(size) != NULL);
        file.signature.body_bytes = (uint32_t)(size - sizeof file.signature); // not only for that
        expect(why_not(size) != NULL);
        file.signature.body_bytes = good.signature.body_bytes;
    }
}

// Breaks one thing, wants that reason, mends it.
#define REFUSE(statement, why)                                                                     \
    do {                                                                                           \
        statement;                                                                                 \
        expect(is_refused(why));                                                                   \
        file = good;                                                                               \
    } while (0)

TEST(header_rules)
{
    fill();
    REFUSE(file.signature.magic++, "not a compiled system");
    REFUSE(file.signature.version++, "a version that this program does not speak");
    REFUSE(file.signature.zero[3] = 1, "reserved bytes of the signature block are not zero");
    REFUSE(file.header.name[0] = 'P', "the system's name or tenant is malformed");
    REFUSE(file.header.tenant[20] = 'x', "the system's name or tenant is malformed");
    REFUSE(file.header.is_best_effort = 2, "a flag of the header is malformed");
    REFUSE(file.header.zero[1] = 2, "a flag of the header is malformed");
    REFUSE(file.header.flows.offset += 8, "the table of flows is out of place");
    REFUSE(file.header.unikernels.count = 33, "the table of unikernels is out of place");
    REFUSE(file.header.services.count = 0xffffffff, "the table of services is out of place");
    REFUSE(file.schemas[1] += 8, "a schema is out of place");
    REFUSE(file.zero = 1, "a schema is out of place");
    REFUSE(file.blocks[1].header.block_bytes = 0x7fffffff, "a schema is malformed");
    REFUSE(file.blocks[1].fields[1].offset = 4, "a schema is malformed");
    REFUSE(file.header.never.count = SYSTEM_NEVER_BYTES_MAX + 1, "the 'never' rules are out of place");
    REFUSE(file.header.never.count = 11, "the 'never' rules are malformed");
    REFUSE(file.never[3] = 1, "the 'never' rules are malformed");
    REFUSE(file.never[14] = 1, "the configuration is out of place");
    REFUSE(file.end[0] = 1, "bytes behind the end");
    REFUSE(file.header.configuration.count = 20, "the configuration is out of place");
    REFUSE(file.header.configuration.count = 4, "bytes behind the end");
    REFUSE(memcpy(file.unikernels[1].name, "mqtt\0\0", 6), "a name is malformed or used twice");
    REFUSE(file.principals[1].name[0] = '\n', "a name is malformed or used twice");
}

TEST(unikernel_rules)
{
    static const char ports[] = "a unikernel's port and its flow do not agree";
    static const char limit[] = "a unikernel's limit is missing or malformed";
    static const char place[] = "a unikernel's configuration is out of place";
    fill();
    struct system_unikernel *unikernel = &file.unikernels[DETECT];
    REFUSE(unikernel->image_path[0] = 'i', "a unikernel's image path is malformed");
    REFUSE(unikernel->memory_kib = 0, limit);
    REFUSE(unikernel->cpu_percent = 0, limit);
    REFUSE(unikernel->deadline_ms = 0, limit);
    REFUSE(unikernel->instances_max = 0, limit);
    REFUSE(unikernel->instances_max = SYSTEM_INSTANCES_MAX + 1, limit);
    REFUSE(unikernel->lifetime = 3, limit);
    REFUSE(unikernel->isolation = 4, limit);
    REFUSE(unikernel->writes_max = 257, limit);
    REFUSE(unikernel->configuration_bytes = 13, place);
    REFUSE(unikernel->configuration_offset--, place);
    REFUSE(unikernel->configuration_offset += 13, place);
    REFUSE(unikernel->configuration_offset = 0xffffffff, place);
    REFUSE(unikernel->inputs[0] = WIRE_IN, ports);
    REFUSE(unikernel->inputs[0] = 200, ports);
    REFUSE(unikernel->inputs[31] = READING, ports);
    REFUSE(unikernel->inputs[0] = SYSTEM_NONE, "a flow's receiver does not agree with it");
    REFUSE(unikernel->outputs[0] = SYSTEM_NONE, "a flow's sender does not agree with it");
    REFUSE(unikernel->outputs[0] = RAW, ports);
    REFUSE(unikernel->input_count = 1, ports);
    REFUSE(unikernel->output_count = 0, ports);
    REFUSE(unikernel->input_count = 33, ports);
    REFUSE(unikernel->namespaces[0] = 1, "a unikernel's namespace does not exist");
    REFUSE(unikernel->namespace_count = 9, "a unikernel's namespace does not exist");
    REFUSE(unikernel->namespace_count = 0, "a unikernel's namespace does not exist");
    REFUSE(unikernel->namespaces[0] = SYSTEM_NONE, "a namespace and its users do not agree");
    REFUSE((unikernel->namespace_count = 2, unikernel->namespaces[1] = 0),
           "a unikernel's namespace does not exist"); // the same one twice
    REFUSE(unikernel->refusal_count = 17, "a unikernel has too many refusals");
    REFUSE(unikernel->refusal_count = 1, "a refusal's name is malformed");
    REFUSE(unikernel->refusals[3][0] = 'a', "a refusal's name is malformed");
}

TEST(flow_rules)
{
    static const char sender[] = "a flow's sender does not agree with it";
    static const char receiver[] = "a flow's receiver does not agree with it";
    static const char checks[] = "a flow's key, caps, rate or principals are malformed";
    static const char pair[] = "a request and its reply do not agree";
    static const char broadcast[] = "a flow's broadcast flag does not agree with its receivers";
    fill();
    struct system_flow *flow = &file.flows[RAW];
    REFUSE(flow->schema = SCHEMAS, "a flow's schema does not exist");
    REFUSE(flow->is_payload_kept = 2, "a flag of a flow is malformed");
    REFUSE(flow->is_actuator = 2, "a flag of a flow is malformed");
    REFUSE(file.flows[SUBSCRIBE].receiver_count = 0, "a flow has no receivers or too many");
    REFUSE(flow->receiver_count = 9, "a flow has no receivers or too many");
    REFUSE(file.flows[SUBSCRIBE].sender_kind = 5, "a unikernel's port and its flow do not agree");
    REFUSE(file.flows[WIRE_IN].sender_kind = SYSTEM_SERVICE, sender);
    REFUSE(file.flows[WIRE_IN].sender = 1, sender);
    REFUSE(file.flows[WIRE_IN].schema = PUBLISH, sender);
    // The name of a built-in schema with other fields.
    REFUSE((file.blocks[WIRE].fields[1].capacity = 2047, file.blocks[WIRE].header.struct_bytes = 2056), sender);
    REFUSE(memcpy(file.blocks[REPLY].fields[1].name, "principle", 9), sender);
    REFUSE((file.flows[WIRE_IN].is_durable = 1, file.flows[WIRE_IN].cap = 1), sender);
    REFUSE(file.gateways[0].unikernel = DECODE, sender);
    REFUSE(file.flows[WIRE_OUT].receivers[0].index = 1, receiver);
    REFUSE(file.flows[WIRE_OUT].schema = PUBLISH, receiver);
    REFUSE(file.flows[SUBSCRIBE].schema = PUBLISH, receiver);
    REFUSE(file.blocks[SUBSCRIPTION].fields[0].maximum = 30, receiver);
    REFUSE(file.blocks[REQUEST].fields[0].class = SCHEMA_CLASS_UTF8, receiver);
    REFUSE(file.flows[SUBSCRIBE].receivers[0].kind = SYSTEM_COURIER, receiver); // it is volatile
    REFUSE(file.flows[SUBSCRIBE].receivers[0].kind = 5, receiver);
    REFUSE(flow->receivers[0].older_schema = WIRE + 1, receiver); // the flow's schema does not extend it
    REFUSE(flow->receivers[0].older_schema = 100, receiver);
    REFUSE(file.flows[SUBSCRIBE].receivers[0].older_schema = SUBSCRIPTION + 1, receiver); // no unikernel
    static const char sealed[] = "a flow has a sealed field that is not allowed";
    REFUSE(flow->is_sealed = 1, sealed);
    const struct schema_field secret = {.name = "number", .type = SCHEMA_SEALED, .offset = 4, .capacity = 4};
    struct schema_block *publish = &file.blocks[PUBLISH];
    REFUSE((publish->fields[1] = secret, publish->header.is_cut = 1), sealed);
    REFUSE((publish->fields[1] = secret, publish->header.is_cut = 1, flow->is_sealed = flow->is_actuator = 1), sealed);
    REFUSE(flow->receivers[5].index = 1, "an unused receiver is not zero");
    REFUSE((flow->receiver_count = 2, flow->receivers[1] = flow->receivers[0]),
           "a flow has a receiver twice");
    REFUSE(file.flows[ALARMS].is_broadcast = 0, broadcast);
    REFUSE(flow->is_broadcast = 1, broadcast);
    REFUSE(file.flows[ALIVE].is_broadcast = 1, broadcast);
    REFUSE(file.flows[LOGIN].pair = RAW, pair);
    REFUSE(file.flows[LOGIN].pair = 200, pair);
    REFUSE(flow->pair = LOGIN_REPLY, pair);
    REFUSE(flow->kind = 3, pair);
    REFUSE((file.flows[READING].kind = SYSTEM_REQUEST, file.flows[READING].pair = RAW), pair);
    REFUSE((file.flows[SUBSCRIBE].is_durable = 1, file.flows[SUBSCRIBE].cap = 1), receiver);
    REFUSE(file.unikernels[MQTT].lifetime = LIFETIME_MESSAGE, receiver);
    REFUSE(flow->count_max = 257, "a flow's count per event is malformed");
    REFUSE(flow->count_max = 0, "a flow's count per event is malformed");
    REFUSE(flow->key_field = 2, checks);
    REFUSE((file.blocks[PUBLISH].fields[0] = (struct schema_field){
                .name = "key", .type = SCHEMA_STRING, .capacity = SYSTEM_KEY_BYTES_MAX + 1},
            file.blocks[PUBLISH].fields[1].offset = 144, file.blocks[PUBLISH].header.struct_bytes = 152),
           checks); // a key that may be too long
    REFUSE(flow->cap = 0, checks);
    expect(why_not(sizeof file) == NULL);
    uint64_t row = COMMIT_ROW_BYTES + good.blocks[PUBLISH].header.struct_bytes + SYSTEM_KEY_BYTES_MAX + ABI_CONTEXT_BYTES_MAX;
    REFUSE(flow->bytes_max = row - 1, checks); // no room for one event
    flow->bytes_max = row;
    expect(why_not(sizeof file) == NULL);
    file = good;
    REFUSE(file.flows[READING].bytes_max = 1, checks); // it is volatile
    REFUSE(file.flows[READING].is_newest_kept = 1, checks);
    REFUSE(file.flows[READING].live_ms = 1000, checks);
    REFUSE(flow->live_ms = SYSTEM_LIVE_MS_MAX + 1, checks);
    REFUSE((flow->is_newest_kept = 1, flow->cap = 1), checks); // one under way beside one event's
    flow->is_newest_kept = 1;
    flow->live_ms = 1000;
    expect(why_not(sizeof file) == NULL);
    file = good;
    REFUSE(flow->is_newest_kept = 2, "a flag of a flow is malformed");
    REFUSE(flow->zero2[0] = 1, "a flag of a flow is malformed");
    REFUSE(flow->is_durable = 0, checks);
    REFUSE(flow->rate_per_second = 0, checks);
    REFUSE(flow->rate_burst = 0, checks);
    REFUSE(flow->bytes_burst = 1, checks);
    REFUSE(flow->bytes_per_second = 1, checks);
    REFUSE(flow->is_bytes_per_connection = 1, checks);
    REFUSE(flow->principals = 4, checks);
    REFUSE(flow->principals = 0, checks);
    REFUSE(flow->is_open = 1, checks);
}

TEST(check_rules)
{
    static const char bad[] = "a flow's checks are malformed", keys[] = "a flow's number of keys is malformed";
    fill();
    struct system_flow *flow = &file.flows[RAW];
    struct system_check *order = &file.checks[0], *machine = &file.checks[1];
    REFUSE(flow->key_field = SYSTEM_NONE, keys); // then there is one
    REFUSE(flow->keys_max = SYSTEM_KEYS_MAX + 1, keys);
    REFUSE(flow->keys_max = 0, keys);
    REFUSE(flow->check_first = 1, bad);
    REFUSE(flow->check_count = 3, bad);
    REFUSE(flow->check_count = SYSTEM_FLOW_CHECKS_MAX + 1, bad);
    REFUSE((flow->check_count = 0, flow->keys_max = 0), bad); // the next flow's are elsewhere
    REFUSE((file.flows[READING].check_first = 0), bad);
    REFUSE(order->kind = SYSTEM_CHECK_KINDS, bad);
    REFUSE(order->kind = 0, bad);
    REFUSE(order->kind = SYSTEM_CHECK_RATE, bad);
    REFUSE(order->zero = 1, bad);
    REFUSE(order->field = 2, bad);
    REFUSE(order->field = SYSTEM_NONE, bad);
    REFUSE(order->time_field = 0, bad);
    REFUSE(order->machine = 0, bad);
    REFUSE(order->id = 2, bad);
    REFUSE(order->window = 65, bad);
    REFUSE(order->per_second = 1, bad);
    REFUSE(order->ticks = 1, bad);
    REFUSE((order->line = 0, order->most = 5), bad);
    REFUSE((order->kind = SYSTEM_CHECK_FRESH, order->ticks = 0), bad);
    REFUSE((order->kind = SYSTEM_CHECK_FRESH, order->ticks = 1000000001), bad);
    REFUSE((order->kind = SYSTEM_CHECK_SLOPE, order->ticks = 1, order->time_field = 2), bad);
    REFUSE((file.checks[0] = file.checks[1], order->id = 1, file.checks[1] = good.checks[0]), bad); // not in order
    REFUSE(machine->machine = 1, bad);
    REFUSE(machine->machine = SYSTEM_NONE, bad);
    REFUSE(machine->field = 0, bad);
    REFUSE(machine->window = 64, bad);
    REFUSE(file.machines[0].schema = WIRE, bad);
    REFUSE((file.blocks[PUBLISH].fields[1] = (struct schema_field){
                .name = "number", .type = SCHEMA_BOOL, .offset = 4, .maximum = 1},
            file.blocks[PUBLISH].header.struct_bytes = 8),
           bad); // a sequence that is no number
    static const char actuator[] = "a flow that leads to an actuator is not checked as it must be";
    REFUSE((flow->is_actuator = flow->is_observed = 1), actuator);
    REFUSE((flow->is_actuator = 1, flow->is_durable = 0, flow->cap = 0, flow->bytes_max = 0), actuator);
    REFUSE((file.flows[READING].is_actuator = flow->is_observed = 1), actuator); // decode acts on what it saw
}

TEST(machine_rules)
{
    static const char bad[] = "a machine is malformed";
    fill();
    struct system_machine *machine = &file.machines[0];
    REFUSE(machine->name[0] = 'V', bad);
    REFUSE(machine->state_count = 0, bad);
    REFUSE(machine->state_count = SYSTEM_STATES_MAX + 1, bad);
    REFUSE(machine->state_count = 3, bad);
    REFUSE(machine->start = 2, bad);
    REFUSE(machine->transition_count = SYSTEM_TRANSITIONS_MAX + 1, bad);
    REFUSE(machine->transition_count = 1, bad); // what is behind is not zero
    REFUSE(machine->states[0][0] = ' ', bad);
    REFUSE(memcpy(machine->states[0], "open\0\0", 6), bad);
    REFUSE(machine->states[5][0] = 'x', bad);
    REFUSE(machine->transitions[0].from = 1, bad);
    REFUSE(machine->transitions[0].to = 1, bad);
    REFUSE(machine->transitions[0].zero = 1, bad);
    REFUSE(machine->transitions[0].condition_count = SYSTEM_CONDITIONS_MAX + 1, bad);
    REFUSE(machine->transitions[0].conditions[0].field = 2, bad);
    REFUSE(machine->transitions[0].conditions[0].low = 4, bad);
    REFUSE(machine->transitions[0].conditions[0].zero[1] = 1, bad);
    REFUSE(machine->transitions[1].conditions[2].high = 1, bad);
}

TEST(other_rules)
{
    static const char key[] = "a namespace's key, index or size is malformed";
    static const char limit[] = "a gateway's address or limit is malformed";
    fill();
    REFUSE(file.namespaces[0].schema = SCHEMAS, "a namespace's schema does not exist");
    REFUSE(file.namespaces[0].key_count = 0, key);
    REFUSE(file.namespaces[0].key_count = 5, key);
    REFUSE(file.namespaces[0].key_count = 2, key); // the same field twice
    file.namespaces[0].key_count = 2;
    file.namespaces[0].key_fields[1] = 1;
    expect(why_not(sizeof file) == NULL);
    file = good;
    REFUSE(file.namespaces[0].key_fields[0] = 2, key);
    REFUSE(file.namespaces[0].index_fields[3] = 1, key);
    REFUSE(file.namespaces[0].records_max = 0, key);
    REFUSE(file.namespaces[0].writers = 1u << 3, "a namespace's reader or writer does not exist");
    REFUSE(file.namespaces[0].writers = 1u << DECODE, "a namespace and its users do not agree");
    REFUSE(file.gateways[0].listen[0] = 0, limit);
    REFUSE(file.gateways[0].connections_max = 0, limit);
    REFUSE(file.gateways[0].slow_ms = 0, limit);
    REFUSE(file.gateways[0].input_flow = 200, "a flow's sender does not agree with it");
    REFUSE(file.gateways[0].output_flow = RAW, "a flow's receiver does not agree with it");
    REFUSE(file.header.gateways.count = 0, "the table of services is out of place");
    REFUSE(file.services[0].kind = 0, "a flow's receiver does not agree with it");
    REFUSE(file.services[0].kind = 6, "a flow's receiver does not agree with it");
    REFUSE(file.services[0].channel[0] = 'a', "a service's kind, path or channel is malformed");
    REFUSE(file.services[0].kind = SYSTEM_SERVICE_SIGN, "a flow's receiver does not agree with it"); // its flows are a request and a reply
    REFUSE(file.services[0].path[0] = 'x', "a service's kind, path or channel is malformed");
    REFUSE(file.services[0].request_flow = SYSTEM_NONE, "a flow's receiver does not agree with it");
    REFUSE(file.services[0].reply_flow = RAW, "a flow's sender does not agree with it");
}

TEST(courier_rules)
{
    static const char sender[] = "a flow's sender does not agree with it";
    static const char receiver[] = "a flow's receiver does not agree with it";
    static const char peer[] = "a courier's peer is malformed", count[] = "a courier has no peers or too many";
    fill();
    struct system_courier *courier = &file.couriers[0];
    REFUSE(file.flows[BROUGHT].sender = 1, sender);
    REFUSE(file.flows[BROUGHT].sender_port = 1, sender);
    REFUSE(file.flows[BROUGHT].count_max = 2, sender);
    REFUSE((file.flows[BROUGHT].is_durable = 0, file.flows[BROUGHT].cap = 0), sender);
    REFUSE((file.flows[BROUGHT].receivers[0] = file.flows[CARRIED].receivers[0], file.unikernels[DETECT].inputs[2] = SYSTEM_NONE),
           receiver); // from one node to another
    REFUSE(file.flows[CARRIED].receivers[0].index = 1, receiver);
    REFUSE(file.flows[CARRIED].receivers[0].port = 1, receiver);
    REFUSE(courier->address[0] = 0, "a courier's address or transport is malformed");
    REFUSE(courier->transport = 3, "a courier's address or transport is malformed");
    REFUSE(courier->is_listening = 2, "a courier's address or transport is malformed");
    REFUSE(courier->topic[0] = 'a', "a courier's topic or user is malformed");
    REFUSE(courier->transport = SYSTEM_MQTT5, "a courier's topic or user is malformed");
    REFUSE((courier->transport = SYSTEM_MQTT5, courier->topic[0] = '#'), "a courier's topic or user is malformed");
    REFUSE((courier->transport = SYSTEM_MQTT5, courier->topic[0] = 'a', courier->user[0] = 'u'), "a courier's user and password file do not agree");
    REFUSE(courier->password[0] = '/', "a courier's user and password file do not agree");
    REFUSE(courier->broker_authority[0] = '/', "a courier's authority of the broker is malformed");
    REFUSE((courier->transport = SYSTEM_MQTT5, courier->topic[0] = 'a', courier->broker_authority[0] = 'b'), "a courier's authority of the broker is malformed");
    REFUSE(courier->zero[0] = 1, "a courier's address or transport is malformed");
    REFUSE(courier->is_named = 2, "a courier's address or transport is malformed");
    REFUSE(courier->resolver[0] = '1', "a courier's address or transport is malformed");
    REFUSE(courier->key[0] = 'k', "a courier's path is malformed");
    REFUSE(courier->peer_count = 0, receiver);
    REFUSE(courier->peer_count = 17, count);
    REFUSE(courier->peers[0].principal = 3, peer);
    REFUSE(courier->peers[0].name[3] = ' ', peer);
    REFUSE(courier->peers[0].zero[2] = 1, peer);
    REFUSE(courier->peers[9].principal = 1, peer);
    REFUSE((courier->peer_count = 2, courier->peers[1].name[0] = 'x', file.flows[CARRIED].receivers[0].port = 2), receiver);
    file.flows[CARRIED].receivers[0] = (struct system_receiver){SYSTEM_UNIKERNEL, 0, DECODE, 1, 0};
    file.unikernels[DECODE].input_count = 2;
    file.unikernels[DECODE].inputs[1] = CARRIED;
    good = file; // the courier takes nothing now
    REFUSE((courier->peer_count = 2, courier->peers[1] = courier->peers[0], courier->is_listening = 1),
           "a courier has a peer twice");
    REFUSE((courier->peer_count = 2, courier->peers[1].name[0] = 'x'), count); // it connects
    REFUSE(courier->peer_count = 0, count);
    REFUSE(courier->peer_count = 17, count);
}

TEST(every_byte_changed)
{
    static const uint8_t changes[] = {0x01, 0x80, 0xff, 0x07};
    uint8_t *bytes = malloc(sizeof file); // of its own, so that a sanitizer sees what is read behind it
    unsigned accepted = 0, refused = 0;
    expect(bytes != NULL);
    fill();
    memcpy(bytes, &good, sizeof good);
    for (size_t at = 0; at < sizeof good; at++)
        for (size_t i = 0; i < sizeof changes; i++) {
            const char *why, *again;
            bytes[at] ^= changes[i];
            enum status status = system_open(&view, bytes, sizeof good, &why);
            (status == STATUS_OK ? accepted++ : refused++);
            if (status == STATUS_OK)
                (void)use_all();
            else
                expect(why != NULL && view.flows == NULL); // nothing to misuse
            expect(system_open(&view, bytes, sizeof good, &again) == status && why == again);
            bytes[at] ^= changes[i];
        }
    free(bytes);
    // Digests, limits and names may be others; most bytes are bound by a rule.
    expect(accepted > 0 && refused > 3 * accepted);
}

int main(void)
{
    RUN(a_good_system);
    RUN(every_other_size);
    RUN(header_rules);
    RUN(unikernel_rules);
    RUN(flow_rules);
    RUN(check_rules);
    RUN(machine_rules);
    RUN(other_rules);
    RUN(courier_rules);
    RUN(every_byte_changed);
    TEST_END();
}
