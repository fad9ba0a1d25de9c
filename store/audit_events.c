// SPDX-License-Identifier: ISC
// Groups of the open transaction, few enough to look through them.
#include "store/audit_events.h"

#include "core/check.h"
#include "core/json_line.h"
#include "store/audit_rows.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#define GROUPS 16u
#define THEN_BYTES 480u // with the longest names a record still fits

struct group {
    struct audit_sum sum;
    uint64_t last;
    size_t then_bytes;
    char then[THEN_BYTES];
    crypto_hash_sha256_state effects;
};

struct audit_events {
    unsigned count;
    struct group groups[GROUPS];
};

enum status audit_events_open(struct store *store)
{
    store->events = calloc(1, sizeof *store->events);
    return store->events != NULL ? STATUS_OK : STATUS_SYSTEM;
}

void audit_events_close(struct store *store)
{
    free(store->events);
    store->events = NULL;
}

int audit_events_are(const struct audit_facts *facts)
{
    return facts->dead == NULL && facts->header->flow != SYSTEM_NONE && facts->header->reason == REASON_DONE &&
           facts->header->attempt == 1;
}

// Writes the group; its place is free.
static enum status group_write(struct store *store, struct group *group)
{
    char text[AUDIT_RECORD_BYTES_MAX];
    if (group->then_bytes != 0)
        group->then[group->then_bytes++] = ']';
    group->sum.then = group->then;
    group->sum.then_bytes = group->then_bytes;
    crypto_hash_sha256_final(&group->effects, group->sum.effects);
    size_t length = audit_text_commit(store->system, &group->sum, text);
    *group = store->events->groups[--store->events->count];
    return audit_rows_add(store, text, length);
}

static struct group *group_of(struct store *store, const struct commit_header *header)
{
    struct group *group = store->events->groups, *end = group + store->events->count;
    while (group < end && (group->sum.unikernel != header->unikernel || group->sum.flow != header->flow))
        group++;
    return group < end ? group : NULL;
}

enum status audit_events_add(struct store *store, const struct audit_facts *facts)
{
    const struct commit_header *header = facts->header;
    struct audit_events *events = store->events;
    struct group *group = group_of(store, header);
    check(store->is_in_transaction);
    int is_full = group != NULL && (header->number <= group->last || THEN_BYTES - group->then_bytes < 24);
    enum status status = STATUS_OK;
    if (is_full || (group == NULL && events->count == GROUPS)) {
        status = group_write(store, group != NULL ? group : events->groups);
        group = NULL;
    }
    if (status != STATUS_OK)
        return status;
    if (group == NULL) {
        group = &events->groups[events->count++];
        group->sum = (struct audit_sum){.unikernel = header->unikernel,
                                        .flow = header->flow,
                                        .attempt = header->attempt,
                                        .outcome = reason_text(REASON_DONE),
                                        .number = header->number};
        group->then_bytes = 0;
        (void)crypto_hash_sha256_init(&group->effects);
    } else {
        int length = snprintf(group->then + group->then_bytes, THEN_BYTES - group->then_bytes, "%c%llu",
                              group->then_bytes == 0 ? '[' : ',', (unsigned long long)(header->number - group->last));
        group->then_bytes += (size_t)length;
    }
    group->last = header->number;
    group->sum.reads += header->read_count;
    group->sum.writes += header->write_count;
    group->sum.sends += header->send_count;
    (void)crypto_hash_sha256_update(&group->effects, facts->effects, facts->effect_bytes);
    return STATUS_OK;
}

enum status audit_events_settle(struct store *store)
{
    enum status status = STATUS_OK;
    while (store->events->count != 0 && status == STATUS_OK)
        status = group_write(store, store->events->groups);
    return status;
}

void audit_events_drop(struct store *store) { store->events->count = 0; }
