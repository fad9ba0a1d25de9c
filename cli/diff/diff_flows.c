// SPDX-License-Identifier: ISC
// Flows and namespaces of two versions: who sends, who receives, on whose behalf, with which checks; who may read
// and write.
#include "cli/diff/diff.h"
#include "cli/policy/words.h"

#include <stdio.h>
#include <string.h>

// ---- Flows ----

static const char *field_name(const struct system_view *system, const struct system_flow *flow, uint16_t field)
{
    return field == SYSTEM_NONE ? "none" : system->schemas[flow->schema].fields[field].name;
}

// A check that hangs on a field: without it, or on another field, something may pass that could not before.
static void diff_field_check(const struct diff_entry *entry, const char *check, const char *old, const char *new)
{
    if (strcmp(old, new) == 0)
        return;
    diff_add(entry, strcmp(old, "none") == 0 ? DIFF_LESS : DIFF_MORE, "%s %s -> %s", check, old, new);
}

static void diff_principals(const struct diff_entry *entry, const struct system_view *old, uint64_t was, int was_open,
                            const struct system_view *new, uint64_t is, int is_open)
{
    const char *was_names[SYSTEM_PRINCIPALS_MAX] = {NULL}, *is_names[SYSTEM_PRINCIPALS_MAX] = {NULL};
    size_t was_count = 0, is_count = 0;
    char text[256];
    if (was_open && is_open)
        return;
    if (was_open || is_open) {
        principals_text(was_open ? new : old, was_open ? is : was, text, sizeof text);
        diff_add(entry, is_open ? DIFF_MORE : DIFF_LESS, "principals %s -> %s", was_open ? "anyone" : text,
                 was_open ? text : "anyone");
        return;
    }
    for (size_t i = 0; i < old->principal_count; i++)
        if ((was >> i & 1) != 0)
            was_names[was_count++] = old->principals[i].name;
    for (size_t i = 0; i < new->principal_count; i++)
        if ((is >> i & 1) != 0)
            is_names[is_count++] = new->principals[i].name;
    diff_names(entry, "principal", was_names, was_count, is_names, is_count);
}

// Of what that receiver takes: the flow's, or an older one.
static const char *schema_name(const struct system_view *system, const struct system_flow *flow, int receiver)
{
    uint16_t older = flow->receivers[receiver].older_schema;
    return system->schemas[older != 0 ? older - 1 : flow->schema].header->name;
}

// The same unikernels, and other ports of them: what a guest means by the flow may be another thing.
static void diff_ports(const struct diff_entry *entry, const struct system_flow *was, const struct system_flow *is)
{
    const struct system_view *old = &entry->diff->old->view, *new = &entry->diff->new->view;
    char was_end[END_BYTES], is_end[END_BYTES];
    end_text(old, was, -1, was_end);
    end_text(new, is, -1, is_end);
    if (strcmp(was_end, is_end) == 0 && was->sender_port != is->sender_port)
        diff_add(entry, DIFF_OTHER, "output %u -> %u of %s", was->sender_port, is->sender_port, is_end);
    for (int i = 0; i < is->receiver_count; i++) {
        int is_known = 0, is_same = 0;
        end_text(new, is, i, is_end);
        for (int j = 0; j < was->receiver_count; j++) {
            end_text(old, was, j, was_end);
            int is_it = strcmp(was_end, is_end) == 0;
            is_known |= is_it;
            is_same |= is_it && was->receivers[j].port == is->receivers[i].port;
        }
        if (is_known && !is_same)
            diff_add(entry, DIFF_OTHER, "input %u of %s", is->receivers[i].port, is_end);
    }
    if (was->kind == SYSTEM_REQUEST && is->kind == SYSTEM_REQUEST &&
        strcmp(old->flows[was->pair].name, new->flows[is->pair].name) != 0)
        diff_add(entry, DIFF_MORE, "replies on %s -> %s", old->flows[was->pair].name, new->flows[is->pair].name);
}

static void diff_ends(const struct diff_entry *entry, const struct system_view *old, const struct system_flow *was,
                      const struct system_view *new, const struct system_flow *is)
{
    char texts[2][SYSTEM_RECEIVERS_MAX][END_BYTES], from[2][END_BYTES];
    const char *names[2][SYSTEM_RECEIVERS_MAX] = {{NULL}, {NULL}};
    end_text(old, was, -1, from[0]);
    end_text(new, is, -1, from[1]);
    if (strcmp(from[0], from[1]) != 0)
        diff_add(entry, DIFF_MORE, "sender %s -> %s", from[0], from[1]);
    for (int i = 0; i < was->receiver_count; i++) {
        end_text(old, was, i, texts[0][i]);
        names[0][i] = texts[0][i];
    }
    for (int i = 0; i < is->receiver_count; i++) {
        end_text(new, is, i, texts[1][i]);
        names[1][i] = texts[1][i];
    }
    for (int i = 0; i < was->receiver_count; i++)
        for (int j = 0; j < is->receiver_count; j++)
            if (strcmp(texts[0][i], texts[1][j]) == 0 &&
                strcmp(schema_name(old, was, i), schema_name(new, is, j)) != 0)
                diff_add(entry, DIFF_OTHER, "receiver %s takes %s -> %s", texts[0][i], schema_name(old, was, i),
                         schema_name(new, is, j));
    diff_names(entry, "receiver", names[0], was->receiver_count, names[1], is->receiver_count);
}

static void diff_caps(const struct diff_entry *entry, const struct system_flow *was, const struct system_flow *is)
{
    const struct system_view *old = &entry->diff->old->view, *new = &entry->diff->new->view;
    if (was->cap != is->cap)
        diff_add(entry, is->cap > was->cap ? DIFF_MORE : DIFF_LESS, "cap %u -> %u", was->cap, is->cap);
    // Without a cap of its own in bytes a flow has room for `cap` messages: then that says all.
    if (was->bytes_max != is->bytes_max && (was->bytes_max != was->cap * system_row_bytes(&old->schemas[was->schema]) ||
                                            is->bytes_max != is->cap * system_row_bytes(&new->schemas[is->schema])))
        diff_add(entry, is->bytes_max > was->bytes_max ? DIFF_MORE : DIFF_LESS, "cap %llu -> %llu bytes",
                 (unsigned long long)was->bytes_max, (unsigned long long)is->bytes_max);
}

static void diff_flow(const struct diff_entry *entry, const struct system_flow *was, const struct system_flow *is)
{
    const struct system_view *old = &entry->diff->old->view, *new = &entry->diff->new->view;
    diff_ends(entry, old, was, new, is);
    diff_ports(entry, was, is);
    diff_principals(entry, old, was->principals, was->is_open, new, is->principals, is->is_open);
    diff_field_check(entry, "order by", field_name(old, was, was->key_field), field_name(new, is, is->key_field));
    diff_checks(entry, was, is);
    if (was->keys_max != 0 && is->keys_max != 0 && was->keys_max != is->keys_max)
        diff_add(entry, is->keys_max > was->keys_max ? DIFF_MORE : DIFF_LESS, "keys %u -> %u", was->keys_max, is->keys_max);
    if (was->is_durable && is->is_durable)
        diff_caps(entry, was, is);
    diff_fields(entry, TABLE_FLOW, was, is);
    const char *was_schema = old->schemas[was->schema].header->name, *is_schema = new->schemas[is->schema].header->name;
    if (strcmp(was_schema, is_schema) != 0) // what that opens, the schemas say
        diff_add(entry, DIFF_OTHER, "schema %s -> %s", was_schema, is_schema);
    diff_schemas(entry->diff, was->schema, is->schema);
}

static void flow_text(const struct system_view *system, const struct system_flow *flow, char *text, size_t capacity)
{
    char from[END_BYTES], to[512], principals[256];
    end_text(system, flow, -1, from);
    receivers_text(system, flow, to, sizeof to);
    principals_text(system, flow->principals, principals, sizeof principals);
    snprintf(text, capacity, "%s -> %s, %s, principals %s", from, to, system->schemas[flow->schema].header->name, principals);
}

void diff_flows(struct diff *diff)
{
    const struct system_view *old = &diff->old->view, *new = &diff->new->view;
    char text[1024];
    for (size_t i = 0; i < new->flow_count; i++) {
        const struct system_flow *is = &new->flows[i];
        struct diff_entry entry = {diff, "flow", is->name, policy_flow_line(diff->new, i)};
        int was = diff_find(old->flows, sizeof *old->flows, old->flow_count, is->name);
        flow_text(new, is, text, sizeof text);
        if (was < 0)
            diff_add(&entry, DIFF_MORE, "+ %s", text);
        else
            diff_flow(&entry, &old->flows[was], is);
    }
    for (size_t i = 0; i < old->flow_count; i++) {
        struct diff_entry entry = {diff, "flow", old->flows[i].name, 0};
        flow_text(old, &old->flows[i], text, sizeof text);
        if (diff_find(new->flows, sizeof *new->flows, new->flow_count, entry.name) < 0)
            diff_add(&entry, DIFF_LESS, "- %s", text);
    }
}

// ---- Namespaces ----

static size_t right_names(const struct system_view *system, uint32_t mask, const char *names[SYSTEM_UNIKERNELS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < system->unikernel_count; i++)
        if ((mask >> i & 1) != 0)
            names[count++] = system->unikernels[i].name;
    return count;
}

// was or is may be NULL: it is new, or removed.
static void diff_rights(const struct diff_entry *entry, const struct system_namespace *was, const struct system_namespace *is)
{
    const struct system_view *old = &entry->diff->old->view, *new = &entry->diff->new->view;
    const char *was_names[SYSTEM_UNIKERNELS_MAX] = {NULL}, *is_names[SYSTEM_UNIKERNELS_MAX] = {NULL};
    size_t was_count = was == NULL ? 0 : right_names(old, was->readers, was_names);
    size_t is_count = is == NULL ? 0 : right_names(new, is->readers, is_names);
    diff_names(entry, "may be read by", was_names, was_count, is_names, is_count);
    was_count = was == NULL ? 0 : right_names(old, was->writers, was_names);
    is_count = is == NULL ? 0 : right_names(new, is->writers, is_names);
    diff_names(entry, "may be written by", was_names, was_count, is_names, is_count);
}

static void key_text(const struct system_view *system, const struct system_namespace *space, char text[300])
{
    const struct schema *schema = &system->schemas[space->schema];
    size_t used = (size_t)snprintf(text, 300, "key");
    for (size_t i = 0; i < space->key_count; i++)
        used += (size_t)snprintf(text + used, 300 - used, " %s", schema->fields[space->key_fields[i]].name);
    for (size_t i = 0; i < space->index_count; i++)
        used += (size_t)snprintf(text + used, 300 - used, "%s %s", i == 0 ? " index" : "",
                                 schema->fields[space->index_fields[i]].name);
}

void diff_namespaces(struct diff *diff)
{
    const struct system_view *old = &diff->old->view, *new = &diff->new->view;
    char keys[2][300];
    for (size_t i = 0; i < new->namespace_count; i++) {
        const struct system_namespace *is = &new->namespaces[i];
        const struct compile *source = diff->new->compile;
        struct diff_entry entry = {diff, "namespace", is->name, source != NULL ? source->namespace_nodes[i]->line : 0};
        int at = diff_find(old->namespaces, sizeof *is, old->namespace_count, is->name);
        const struct system_namespace *was = at < 0 ? NULL : &old->namespaces[at];
        diff_rights(&entry, was, is);
        if (was == NULL)
            continue;
        key_text(old, was, keys[0]);
        key_text(new, is, keys[1]);
        if (strcmp(keys[0], keys[1]) != 0)
            diff_add(&entry, DIFF_OTHER, "%s -> %s", keys[0], keys[1]);
        diff_fields(&entry, TABLE_NAMESPACE, was, is);
        diff_schemas(diff, was->schema, is->schema);
    }
    for (size_t i = 0; i < old->namespace_count; i++) {
        struct diff_entry entry = {diff, "namespace", old->namespaces[i].name, 0};
        if (diff_find(new->namespaces, sizeof *old->namespaces, new->namespace_count, entry.name) < 0)
            diff_rights(&entry, &old->namespaces[i], NULL);
    }
}
