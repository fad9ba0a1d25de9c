// SPDX-License-Identifier: ISC
// How much of a flow may wait in the store, and for how long, in a compiled system.
//
// - cap and bytes_max are set exactly for durable flows. They hold what one event may send and, where the newest is kept,
//   one message more for each receiver; of a flow of receipts all that one event of their receiver may ask for.
// - Only plain durable flows that do not lead back to their sender, and no receipts, keep the newest, have a time to live
//   or a bytes_max below what cap messages can take. A request may have a deadline.
#include "core/system_check.h"

static uint64_t receipts_of_one_event(const struct system_view *system, const struct system_flow *receipts)
{
    uint64_t count = 0;
    for (size_t i = 0; i < system->flow_count; i++)
        if (system_has_receipts(&system->flows[i]) && system->flows[i].sender == receipts->receivers[0].index)
            count += system_flow_need(&system->flows[i]);
    return count;
}

int system_check_spool(const struct system_view *system, const struct system_flow *flow)
{
    int is_receipts = flow->sender_kind == SYSTEM_RECEIPTS, is_back = 0;
    uint64_t rows = system_flow_need(flow) + (flow->is_newest_kept ? flow->receiver_count : 0);
    for (size_t i = 0; i < flow->receiver_count; i++)
        is_back |= flow->sender_kind == flow->receivers[i].kind && flow->sender == flow->receivers[i].index;
    int is_plain = flow->is_durable && flow->kind == SYSTEM_PLAIN && !is_back && !is_receipts;
    if (flow->is_newest_kept && !is_plain)
        return 0;
    if (flow->live_ms > SYSTEM_LIVE_MS_MAX || (flow->live_ms != 0 && !is_plain && flow->kind != SYSTEM_REQUEST))
        return 0;
    if (!flow->is_durable)
        return flow->bytes_max == 0;
    uint64_t row = system_row_bytes(&system->schemas[flow->schema]);
    return flow->cap >= rows && (is_plain ? flow->bytes_max >= rows * row : flow->bytes_max == flow->cap * row) &&
           (!is_receipts || flow->cap >= receipts_of_one_event(system, flow));
}
