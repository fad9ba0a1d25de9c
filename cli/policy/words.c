// SPDX-License-Identifier: ISC
// Ends, principals and checks of flows in words.
#include "cli/policy/words.h"

#include "cli/source/policy_checks.h"

#include <stdio.h>
#include <string.h>

void end_text(const struct system_view *system, const struct system_flow *flow, int receiver, char text[END_BYTES])
{
    unsigned kind = receiver < 0 ? flow->sender_kind : flow->receivers[receiver].kind;
    unsigned index = receiver < 0 ? flow->sender : flow->receivers[receiver].index;
    switch (kind) {
    case SYSTEM_UNIKERNEL:
        snprintf(text, END_BYTES, "%s", system->unikernels[index].name);
        return;
    case SYSTEM_GATEWAY:
        snprintf(text, END_BYTES, "gateway:%s", system->gateways[index].name);
        return;
    case SYSTEM_SERVICE:
        snprintf(text, END_BYTES, "service:%s", system->services[index].name);
        return;
    case SYSTEM_RECEIPTS:
        snprintf(text, END_BYTES, "router:receipts");
        return;
    case SYSTEM_COURIER:
        snprintf(text, END_BYTES, "courier:%s", system->couriers[index].name);
        return;
    default:
        snprintf(text, END_BYTES, "router:subscription");
    }
}

void receivers_text(const struct system_view *system, const struct system_flow *flow, char *text, size_t capacity)
{
    char one[END_BYTES];
    size_t used = 0;
    for (int i = 0; i < flow->receiver_count && used < capacity; i++) {
        end_text(system, flow, i, one);
        used += (size_t)snprintf(text + used, capacity - used, "%s%s", i == 0 ? "" : ", ", one);
    }
}

void principals_text(const struct system_view *system, uint64_t principals, char *text, size_t capacity)
{
    size_t used = 0;
    snprintf(text, capacity, "anyone");
    for (size_t i = 0; i < system->principal_count && used < capacity && principals != UINT64_MAX; i++)
        if ((principals >> i & 1) != 0)
            used += (size_t)snprintf(text + used, capacity - used, "%s%s", used == 0 ? "" : ", ",
                                     system->principals[i].name);
}

void checks_add(const struct system_view *system, const struct system_flow *flow, cJSON *checks)
{
    const struct schema *schema = &system->schemas[flow->schema];
    char text[512];
    cJSON_AddStringToObject(checks, "schema", schema->header->name);
    snprintf(text, sizeof text, "%u a second, burst %u%s", flow->rate_per_second, flow->rate_burst,
             flow->is_rate_per_connection ? ", for each connection" : "");
    cJSON_AddStringToObject(checks, "rate", text);
    if (flow->bytes_per_second != 0) {
        snprintf(text, sizeof text, "%u bytes a second, burst %u%s", flow->bytes_per_second, flow->bytes_burst,
                 flow->is_bytes_per_connection ? ", for each connection" : "");
        cJSON_AddStringToObject(checks, "bytes", text);
    }
    principals_text(system, flow->principals, text, sizeof text);
    cJSON_AddStringToObject(checks, "principals", text);
    snprintf(text, sizeof text, "at most %u for each event of the sender", flow->count_max);
    cJSON_AddStringToObject(checks, "count", text);
    if (flow->key_field != SYSTEM_NONE)
        cJSON_AddStringToObject(checks, "order", schema->fields[flow->key_field].name);
    policy_checks_add(system, flow, checks);
    size_t used = (size_t)snprintf(text, sizeof text, "volatile");
    if (flow->is_durable)
        used = (size_t)snprintf(text, sizeof text, "durable, at most %u messages or %llu bytes wait in the store; a full one %s",
                                flow->cap, (unsigned long long)flow->bytes_max,
                                flow->is_newest_kept ? "leaves out the oldest" : "makes senders wait");
    if (flow->live_ms != 0)
        snprintf(text + used, sizeof text - used, "; what waits for %llu s is ended",
                 (unsigned long long)(flow->live_ms + 999) / 1000);
    cJSON_AddStringToObject(checks, "keeping", text);
}

