// SPDX-License-Identifier: ISC
// What a durable flow may keep in the store: messages, bytes, for how long, and what gives way when it is full.
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
