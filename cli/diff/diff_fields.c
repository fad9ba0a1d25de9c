// SPDX-License-Identifier: ISC
// Which way each number of the compiled system opens it.
//
// A field that is new in proto/system.h gets a row here. Until then a difference in it is shown as one without
// words, and counts as more open.
#include "cli/diff/diff.h"

#include "core/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum rule {
    UP_OPENS,     // a larger number is more open
    DOWN_OPENS,   // a smaller one
    LIMIT,        // like UP_OPENS, and 0 means that there is no limit
    OTHER,        // neither
    CHANGE_OPENS, // each change may open something
    BY_NAME,      // compared elsewhere by name, or follows from what is
};

struct field {
    size_t offset, size; // a number of 1, 2, 4 or 8 bytes, but with BY_NAME
    enum rule rule;
    const char *name, *unit;    // "rate" "a second"
    const char *const *values;  // words for 0, 1, ..., or NULL
    size_t value_count;
};

static const char *const off_on[] = {"off", "on"};
static const char *const limits[] = {"enforced", "best-effort"};
static const char *const failures[] = {"continue", "stop"};
static const char *const lifetimes[] = {"message", "connection", "resident"};
static const char *const kinds[] = {"plain", "request", "reply"};
static const char *const kept[] = {"volatile", "durable"};
static const char *const fulls[] = {"senders wait", "the oldest gives way"};
static const char *const dead[] = {"is a dead letter", "is only counted"};
static const char *const payloads[] = {"without-payload", "with-payload"};

#define VALUES(words) words, sizeof words / sizeof words[0]
#define NUMBER(type, member, rule, name, unit)                                                     \
    {offsetof(struct type, member), sizeof(((struct type *)0)->member), rule, name, unit, NULL, 0}
#define CHOICE(type, member, rule, name, words)                                                    \
    {offsetof(struct type, member), sizeof(((struct type *)0)->member), rule, name, "", VALUES(words)}
#define NAMED(type, member)                                                                        \
    {offsetof(struct type, member), sizeof(((struct type *)0)->member), BY_NAME, "", "", NULL, 0}

static const struct field header_fields[] = {
    NAMED(system_header, name), NAMED(system_header, tenant),
    NUMBER(system_header, security_version, DOWN_OPENS, "security version", ""),
    CHOICE(system_header, is_best_effort, UP_OPENS, "limits", limits),
    CHOICE(system_header, stop_on_audit_failure, DOWN_OPENS, "on audit failure", failures),
    NAMED(system_header, unikernels), NAMED(system_header, flows), NAMED(system_header, namespaces),
    NAMED(system_header, principals), NAMED(system_header, gateways), NAMED(system_header, services),
    NAMED(system_header, couriers),
    NAMED(system_header, checks), NAMED(system_header, machines),
    NAMED(system_header, schemas), NAMED(system_header, never), NAMED(system_header, configuration),
};

static const struct field unikernel_fields[] = {
    NAMED(system_unikernel, name), NAMED(system_unikernel, image_path), NAMED(system_unikernel, image_digest),
    NAMED(system_unikernel, configuration_offset), NAMED(system_unikernel, configuration_bytes),
    NUMBER(system_unikernel, memory_kib, UP_OPENS, "memory", "KiB"),
    NUMBER(system_unikernel, cpu_percent, UP_OPENS, "cpu", "%"),
    NUMBER(system_unikernel, deadline_ms, UP_OPENS, "deadline", "ms"),
    NUMBER(system_unikernel, instances_max, UP_OPENS, "instances", ""),
    CHOICE(system_unikernel, lifetime, UP_OPENS, "lifetime", lifetimes),
    NAMED(system_unikernel, isolation), // its numbers are in no order
    NAMED(system_unikernel, input_count), NAMED(system_unikernel, output_count), // of the image
    NAMED(system_unikernel, inputs), NAMED(system_unikernel, outputs),
    NAMED(system_unikernel, namespace_count), NAMED(system_unikernel, namespaces),
    NUMBER(system_unikernel, writes_max, UP_OPENS, "writes for each event", ""),
    NUMBER(system_unikernel, fan_out, LIMIT, "messages of one event", ""),
    NAMED(system_unikernel, line), NAMED(system_unikernel, refusal_count), NAMED(system_unikernel, refusals),
};

static const struct field flow_fields[] = {
    NAMED(system_flow, name), NAMED(system_flow, sender_kind), NAMED(system_flow, sender),
    NAMED(system_flow, sender_port), NAMED(system_flow, pair), NAMED(system_flow, schema),
    NAMED(system_flow, receiver_count), NAMED(system_flow, receivers),
    CHOICE(system_flow, kind, CHANGE_OPENS, "kind", kinds),
    CHOICE(system_flow, is_durable, OTHER, "kept", kept),
    CHOICE(system_flow, is_broadcast, UP_OPENS, "to every connection that joined", off_on),
    CHOICE(system_flow, is_payload_kept, UP_OPENS, "dead letters", payloads),
    CHOICE(system_flow, is_rate_per_connection, UP_OPENS, "rate for each connection", off_on),
    NUMBER(system_flow, count_max, UP_OPENS, "messages for each event", ""),
    NAMED(system_flow, key_field), NAMED(system_flow, check_first), NAMED(system_flow, check_count),
    NAMED(system_flow, keys_max), NAMED(system_flow, line),
    NAMED(system_flow, cap), NAMED(system_flow, bytes_max),
    NUMBER(system_flow, live_ms, LIMIT, "time to live", "ms"),
    CHOICE(system_flow, is_newest_kept, OTHER, "when it is full", fulls),
    NUMBER(system_flow, rate_per_second, UP_OPENS, "rate", "a second"),
    NUMBER(system_flow, rate_burst, UP_OPENS, "burst", ""),
    NUMBER(system_flow, bytes_per_second, LIMIT, "payload", "bytes a second"),
    NUMBER(system_flow, bytes_burst, LIMIT, "payload burst", "bytes"),
    CHOICE(system_flow, is_bytes_per_connection, UP_OPENS, "payload for each connection", off_on),
    CHOICE(system_flow, is_observed, UP_OPENS, "only observed", off_on),
    CHOICE(system_flow, is_actuator, DOWN_OPENS, "actuator", off_on),
    CHOICE(system_flow, is_sealed, UP_OPENS, "sealed", off_on),
    CHOICE(system_flow, is_dead_counted, OTHER, "what fails", dead),
    NAMED(system_flow, principals), NAMED(system_flow, is_open),
};

static const struct field namespace_fields[] = {
    NAMED(system_namespace, name), NAMED(system_namespace, schema),
    NAMED(system_namespace, key_count), NAMED(system_namespace, key_fields),
    NAMED(system_namespace, index_count), NAMED(system_namespace, index_fields),
    NUMBER(system_namespace, records_max, UP_OPENS, "records", ""),
    NAMED(system_namespace, readers), NAMED(system_namespace, writers), NAMED(system_namespace, line),
};

static const struct field gateway_fields[] = {
    NAMED(system_gateway, name), NAMED(system_gateway, listen), NAMED(system_gateway, unikernel),
    NAMED(system_gateway, input_flow), NAMED(system_gateway, output_flow),
    NUMBER(system_gateway, connections_max, UP_OPENS, "connections", ""),
    NUMBER(system_gateway, output_bytes_max, UP_OPENS, "bytes that wait for a slow connection", ""),
    NUMBER(system_gateway, slow_ms, UP_OPENS, "time for a slow connection", "ms"),
};

static const struct field service_fields[] = {
    NAMED(system_service, name), NAMED(system_service, request_flow), NAMED(system_service, reply_flow),
    NAMED(system_service, path), NAMED(system_service, channel),
    NUMBER(system_service, kind, CHANGE_OPENS, "kind", ""),
};

static const char *const directions[] = {"connects", "listens"};
static const char *const transports[] = {"none", "tls", "mqtt5"};
static const struct field courier_fields[] = {
    NAMED(system_courier, name), NAMED(system_courier, address), NAMED(system_courier, peer_count),
    NAMED(system_courier, peers), NAMED(system_courier, certificate), NAMED(system_courier, key),
    NAMED(system_courier, authority), NAMED(system_courier, topic), NAMED(system_courier, user), NAMED(system_courier, password),
    NAMED(system_courier, broker_authority),
    CHOICE(system_courier, is_listening, UP_OPENS, "it", directions),
    CHOICE(system_courier, transport, CHANGE_OPENS, "transport", transports),
};

#define ROWS(table, type) {table, sizeof table / sizeof table[0], sizeof(struct type)}
static const struct {
    const struct field *fields;
    size_t count, bytes;
} tables[TABLES] = {
    [TABLE_HEADER] = ROWS(header_fields, system_header),
    [TABLE_UNIKERNEL] = ROWS(unikernel_fields, system_unikernel),
    [TABLE_FLOW] = ROWS(flow_fields, system_flow),
    [TABLE_NAMESPACE] = ROWS(namespace_fields, system_namespace),
    [TABLE_GATEWAY] = ROWS(gateway_fields, system_gateway),
    [TABLE_SERVICE] = ROWS(service_fields, system_service),
    [TABLE_COURIER] = ROWS(courier_fields, system_courier),
};
#define STRUCT_BYTES_MAX 4096u
_Static_assert(sizeof(struct system_unikernel) <= STRUCT_BYTES_MAX && sizeof(struct system_courier) <= STRUCT_BYTES_MAX,
               "the largest");

static uint64_t number_at(const void *from, const struct field *field)
{
    uint64_t value = 0;
    memcpy(&value, (const uint8_t *)from + field->offset, field->size); // little-endian, as the file is
    return value;
}

static void value_text(const struct field *field, uint64_t value, char text[32])
{
    if (value < field->value_count)
        snprintf(text, 32, "%s", field->values[value]);
    else if (field->rule == LIMIT && value == 0)
        snprintf(text, 32, "none");
    else
        snprintf(text, 32, "%" PRIu64, value);
}

static void compare(const struct diff_entry *entry, const struct field *field, uint64_t old, uint64_t new)
{
    char old_text[32], new_text[32];
    if (old == new)
        return;
    value_text(field, old, old_text);
    value_text(field, new, new_text);
    if (field->rule == LIMIT) { // none is above all
        old--;
        new--;
    }
    enum diff_kind kind = DIFF_OTHER;
    if (field->rule == CHANGE_OPENS)
        kind = DIFF_MORE;
    else if (field->rule == UP_OPENS || field->rule == LIMIT)
        kind = new > old ? DIFF_MORE : DIFF_LESS;
    else if (field->rule == DOWN_OPENS)
        kind = new < old ? DIFF_MORE : DIFF_LESS;
    diff_add(entry, kind, "%s %s -> %s%s%s", field->name, old_text, new_text, field->unit[0] != 0 ? " " : "",
             field->unit);
}

void diff_fields(const struct diff_entry *entry, enum diff_table table, const void *old, const void *new)
{
    uint8_t rest[2][STRUCT_BYTES_MAX];
    size_t bytes = tables[table].bytes;
    memcpy(rest[0], old, bytes);
    memcpy(rest[1], new, bytes);
    for (size_t i = 0; i < tables[table].count; i++) {
        const struct field *field = &tables[table].fields[i];
        if (field->rule != BY_NAME)
            compare(entry, field, number_at(old, field), number_at(new, field));
        memset(rest[0] + field->offset, 0, field->size);
        memset(rest[1] + field->offset, 0, field->size);
    }
    if (memcmp(rest[0], rest[1], bytes) != 0)
        diff_add(entry, DIFF_MORE, "differs in something that this comparison has no words for");
}
