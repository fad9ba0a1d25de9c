// SPDX-License-Identifier: ISC
// Couriers in two versions: where another node is, and who may be there.
#include "cli/diff/diff.h"

#include <string.h>

static size_t peer_names(const struct system_courier *courier, const char *names[SYSTEM_PEERS_MAX])
{
    for (size_t i = 0; i < courier->peer_count; i++)
        names[i] = courier->peers[i].name;
    return courier->peer_count;
}

static const char *principal_of(const struct system_view *system, const struct system_peer *peer)
{
    return peer->principal == 0 ? "nobody" : system->principals[peer->principal - 1].name;
}

// Whom a peer that stays speaks for.
static void diff_peers(const struct diff_entry *entry, const struct system_courier *was, const struct system_courier *is)
{
    for (size_t i = 0; i < was->peer_count; i++)
        for (size_t j = 0; j < is->peer_count; j++) {
            const char *old = principal_of(&entry->diff->old->view, &was->peers[i]);
            const char *new = principal_of(&entry->diff->new->view, &is->peers[j]);
            if (strcmp(was->peers[i].name, is->peers[j].name) == 0 && strcmp(old, new) != 0)
                diff_add(entry, DIFF_MORE, "peer %s speaks for %s -> %s", is->peers[j].name, old, new);
        }
}

// Whose authority it is, or whose key, cannot be seen by a path; another path may be another one.
static void diff_courier(const struct diff_entry *entry, const struct system_courier *was, const struct system_courier *is)
{
    const char *old[SYSTEM_PEERS_MAX] = {NULL}, *new[SYSTEM_PEERS_MAX] = {NULL};
    if (strcmp(was->address, is->address) != 0)
        diff_add(entry, DIFF_MORE, "%s %s -> %s", is->is_listening ? "listens on" : "connects to", was->address, is->address);
    if (strcmp(was->authority, is->authority) != 0)
        diff_add(entry, DIFF_MORE, "authority %s -> %s", was->authority, is->authority);
    if (strcmp(was->certificate, is->certificate) != 0 || strcmp(was->key, is->key) != 0)
        diff_add(entry, DIFF_OTHER, "certificate and key %s, %s -> %s, %s", was->certificate, was->key, is->certificate, is->key);
    if (strcmp(was->topic, is->topic) != 0)
        diff_add(entry, DIFF_MORE, "topic %s -> %s", was->topic[0] != 0 ? was->topic : "none", is->topic[0] != 0 ? is->topic : "none");
    if (strcmp(was->broker_authority, is->broker_authority) != 0)
        diff_add(entry, DIFF_MORE, "authority of the broker %s -> %s", was->broker_authority[0] != 0 ? was->broker_authority : "none (no TLS to it)",
                 is->broker_authority[0] != 0 ? is->broker_authority : "none (no TLS to it)");
    if (strcmp(was->user, is->user) != 0 || strcmp(was->password, is->password) != 0)
        diff_add(entry, DIFF_OTHER, "user and password at the broker %s, %s -> %s, %s", was->user, was->password, is->user, is->password);
    size_t old_count = peer_names(was, old), new_count = peer_names(is, new);
    diff_names(entry, "peer", old, old_count, new, new_count);
    diff_peers(entry, was, is);
    diff_fields(entry, TABLE_COURIER, was, is);
}

void diff_couriers(struct diff *diff)
{
    const struct system_view *old = &diff->old->view, *new = &diff->new->view;
    const struct compile *source = diff->new->compile;
    for (size_t i = 0; i < new->courier_count; i++) {
        const struct system_courier *is = &new->couriers[i];
        struct diff_entry entry = {diff, "courier", is->name, source != NULL ? source->courier_nodes[i]->line : 0};
        int was = diff_find(old->couriers, sizeof *is, old->courier_count, is->name);
        if (was >= 0)
            diff_courier(&entry, &old->couriers[was], is);
        else
            diff_add(&entry, DIFF_MORE, "+ %s %s", is->is_listening ? "listens on" : "connects to", is->address);
    }
    for (size_t i = 0; i < old->courier_count; i++) {
        struct diff_entry entry = {diff, "courier", old->couriers[i].name, 0};
        if (diff_find(new->couriers, sizeof *new->couriers, new->courier_count, entry.name) < 0)
            diff_add(&entry, DIFF_LESS, "- removed");
    }
}
