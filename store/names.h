// SPDX-License-Identifier: ISC
// Names of the system file as stable ids. An index in the compiled system may mean something else in its
// next version; a name does not.
#ifndef CRENEL_STORE_NAMES_H
#define CRENEL_STORE_NAMES_H

#include "store/database.h"

enum name_kind {
    NAME_NAMESPACE = 0, NAME_FLOW = 1, NAME_UNIKERNEL = 2, NAME_PRINCIPAL = 3, NAME_SERVICE = 4, NAME_COURIER = 5,
    NAME_STORE = 6, // one, whose digest is random: the store's identity
    NAME_CLOCK = 7, // one, whose digest is none (store/clock.c)
};

// At start: gives every name its id, loads versions and counts of the namespaces. Refuses a system under
// which stored bytes would mean something else: a namespace that holds records of another schema, key or
// index, or waiting messages whose flow is gone or means something else (system_misfit). store->error names it and the mend.
enum status names_load(struct store *store) MUST_USE;
// From now on they mean what they mean in this version. STATUS_FULL: not now.
enum status names_confirm(struct store *store) MUST_USE;

// Index of an id in the system file, or -1: it is not in this version.
int names_flow(const struct store *store, int64_t id);
int names_place(const struct store *store, int64_t id); // unikernels, services, couriers (core/system.h)
// A principal as the fabric writes it (index + 1, 0: nobody) to an id (0: nobody) and back; one that is gone is nobody.
int64_t names_principal_id(const struct store *store, uint32_t principal);
uint32_t names_principal(const struct store *store, int64_t id);

// 32 bytes under a name, in place of a digest. STATUS_ABSENT: there are none. Noted in the open transaction.
enum status names_noted(struct store *store, enum name_kind kind, const char *name, uint8_t bytes[32]) MUST_USE;
enum status names_note(struct store *store, enum name_kind kind, const char *name, const uint8_t bytes[32]) MUST_USE;

#endif
