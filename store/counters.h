// SPDX-License-Identifier: ISC
// Counters: what a transaction adds is summed up in memory and written once, at its end.
#ifndef CRENEL_STORE_COUNTERS_H
#define CRENEL_STORE_COUNTERS_H

#include "store/database.h"

int counter_is_valid(const struct store *store, uint32_t index); // COUNTER_FLOW or COUNTER_REFUSAL of this system
void counter_add(struct store *store, uint32_t index, uint64_t value); // a valid one, in the open transaction
enum status counters_settle(struct store *store) MUST_USE; // writes what was added, before the transaction ends
void counters_drop(struct store *store);                   // it is rolled back

#endif
