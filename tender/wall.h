// SPDX-License-Identifier: ISC
// The border between the pool and what isolates instances: process/ now, kvm/ beside it.
//
// A wall runs at most one instance per slot. The pool calls the functions below; the wall answers
// through the wall_* callbacks of struct wall_events, never from inside a call of the pool's.
#ifndef CRENEL_TENDER_WALL_H
#define CRENEL_TENDER_WALL_H

#include "core/image.h"
#include "host/loop.h"
#include "proto/link.h"
#include "tender/guest_memory.h"

#define WALL_SLOTS_MAX GUEST_MEMORY_SLOTS_MAX

struct wall; // of the kind that made it

struct wall_events {
    void *context;
    // The instance waits in its gate, and stays there until it is woken.
    void (*published)(void *context, unsigned slot);
    // The guest did something that it cannot survive. It is stopped; the pool kills it. crash has no log
    // yet.
    void (*crashed)(void *context, unsigned slot, const struct link_crash *crash);
    // The instance is dead and its memory may be used again: after kill, or because something outside ended it.
    // memory_bytes: private pages that it touched.
    void (*gone)(void *context, unsigned slot, uint64_t memory_bytes);
    // Nothing can be created any more; why was printed. The tender ends.
    void (*failed)(void *context);
};

struct wall_config { // the pool has the same
    struct loop *loop;
    const struct image *image;
    struct guest_memory *memory;
    const struct system_unikernel *unikernel;
    const uint8_t *configuration; // of unikernel->configuration_bytes
    struct wall_events events;
};

struct wall_calls {
    // Begins a pristine instance in a slot that is free. `published` follows when it waits for its first event: the
    // first one after renew has run the guest's init by then, others begin with the memory that it left.
    void (*create)(struct wall *wall, unsigned slot);
    // The next input record is shown: the guest's turn. Only a waiting instance is woken.
    void (*wake)(struct wall *wall, unsigned slot);
    // Makes a waiting instance pristine: memory, registers, canary. False: it must be killed and created anew
    // (its base is an old one, or it is not known to wait).
    int (*restore)(struct wall *wall, unsigned slot);
    // Ends the instance; `gone` follows.
    void (*kill)(struct wall *wall, unsigned slot);
    // Processor time that it has used since it began, in ms.
    int64_t (*spent_ms)(struct wall *wall, unsigned slot);
    // Stops it and says where it is (deadline passed), as far as it is still there; the pool kills it next.
    void (*examine)(struct wall *wall, unsigned slot, struct link_crash *crash);
    // New base addresses for all instances created from now on; those that live are not restored any more.
    void (*renew)(struct wall *wall);
};

struct wall {
    const struct wall_calls *calls;
};

// Makes the process wall; it opens all that it will ever need. NULL: errno, and *step says where.
struct wall *wall_process_open(const struct wall_config *config, const char **step);
// The same for the kvm wall. kvm_fd is /dev/kvm; taken.
struct wall *wall_kvm_open(const struct wall_config *config, int kvm_fd, const char **step);

#endif
