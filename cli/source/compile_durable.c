// SPDX-License-Identifier: ISC
// What a durable flow may keep in the store: messages, bytes, for how long, and what gives way when it is full; and the
// flows that bring receipts.
#include "cli/source/compile_state.h"

#include <stdio.h>

void compile_durable(struct compile *compile, struct yaml_node *durable, struct system_flow *flow,
                     const struct schema *schema, int may_end)
{
    static const char *const keeps[] = {"oldest", "newest"};
    struct yaml_file *file = &compile->file;
    char mend[80];
    flow->is_durable = 1;
    flow->cap = (uint32_t)yaml_integer(file, durable, "cap", 1, 100000000, 0, 0);
    flow->is_newest_kept = (uint8_t)yaml_choice(file, durable, "keep", keeps, 2, 0);
    flow->live_ms = (uint64_t)yaml_ms(file, durable, "time_to_live", 1000, SYSTEM_LIVE_MS_MAX, 1, 0);
    int64_t bytes = yaml_bytes(file, durable, "bytes", 1, INT64_MAX / 2, 1, 0);
    if ((flow->is_newest_kept || flow->live_ms != 0 || bytes != 0) && !may_end)
        yaml_error(file, durable, "name a 'cap' only; a request may have a 'deadline' beside 'durable'",
                   "flow '%s' carries requests, replies or timers, and none of them may be left out", flow->name);
    if (schema == NULL || flow->receiver_count == 0)
        return;
    // Where the newest is kept, one message of each receiver may be under way and cannot give way.
    uint64_t need = system_flow_need(flow), row = system_row_bytes(schema);
    uint64_t rows = need + (flow->is_newest_kept ? flow->receiver_count : 0);
    snprintf(mend, sizeof mend, "make it at least %llu", (unsigned long long)rows);
    if (flow->cap < rows)
        yaml_error(file, durable, mend, "the cap of flow '%s' has no room for the %llu messages that one event may send%s",
                   flow->name, (unsigned long long)need, rows > need ? " beside one that is under way" : "");
    flow->bytes_max = bytes != 0 ? (uint64_t)bytes : (flow->cap < rows ? rows : flow->cap) * row;
    snprintf(mend, sizeof mend, "make it at least %lluB", (unsigned long long)(rows * row));
    if (flow->bytes_max < rows * row)
        yaml_error(file, durable, mend, "the bytes of flow '%s' have no room for what one event may send", flow->name);
}

// A flow of receipts: who takes them asks for so many with one event at most.
static void receipts_check(struct compile *compile, size_t index)
{
    struct system_flow *flow = &compile->flows[index];
    struct yaml_file *file = &compile->file;
    const struct yaml_node *node = compile->flow_nodes[index];
    const struct system_view view = {.flows = compile->flows, .flow_count = compile->flow_count};
    uint64_t need = 0;
    char mend[64];
    if (flow->receiver_count == 0 || flow->receivers[0].kind != SYSTEM_UNIKERNEL)
        return;
    if (flow->receiver_count != 1)
        yaml_error(file, node, "make a flow for each of them", "flow '%s' brings receipts to several", flow->name);
    if (!flow->is_durable)
        yaml_error(file, node, "add 'durable: {cap: N}'", "flow '%s' brings receipts, which wait in the store", flow->name);
    if (system_receipts(&view, flow->receivers[0].index) != index)
        yaml_error(file, node, "keep one of them", "two flows bring receipts to '%s'",
                   compile->unikernels[flow->receivers[0].index].name);
    for (size_t i = 0; i < compile->flow_count; i++)
        if (system_has_receipts(&compile->flows[i]) && compile->flows[i].sender == flow->receivers[0].index)
            need += system_flow_need(&compile->flows[i]);
    snprintf(mend, sizeof mend, "make it at least %llu", (unsigned long long)need);
    if (flow->is_durable && flow->cap < need)
        yaml_error(file, node, mend, "the cap of flow '%s' has no room for the %llu receipts that one event may ask for",
                   flow->name, (unsigned long long)need);
}

void compile_receipts(struct compile *compile)
{
    const struct system_view view = {.flows = compile->flows, .flow_count = compile->flow_count};
    char mend[160];
    for (size_t i = 0; i < compile->flow_count; i++) {
        const struct system_flow *flow = &compile->flows[i];
        if (flow->sender_kind == SYSTEM_RECEIPTS)
            receipts_check(compile, i);
        if (flow->kind != SYSTEM_REQUEST || flow->live_ms == 0 || flow->sender_kind != SYSTEM_UNIKERNEL ||
            system_receipts(&view, flow->sender) != SYSTEM_NONE)
            continue;
        const char *name = compile->unikernels[flow->sender].name;
        snprintf(mend, sizeof mend, "give '%s' an input of schema receipt/1 and a flow to it from router:receipts", name);
        yaml_error(&compile->file, compile->flow_nodes[i], mend,
                   "request '%s' has a deadline, but '%s' takes no receipts and would not learn of it", flow->name, name);
    }
}
