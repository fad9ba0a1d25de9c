// SPDX-License-Identifier: ISC
// Audit records of events that ended well at their first attempt. Those of one transaction that are of the same unikernel and
// flow are told in one record (docs/audit.md): the number of the first, what to add for each that follows, sums, and SHA-256
// over the effects of all, one behind the other. A record for each would be most of what the store and the log write.
#ifndef CRENEL_STORE_AUDIT_EVENTS_H
#define CRENEL_STORE_AUDIT_EVENTS_H

#include "store/audit_text.h"

struct audit_events;

enum status audit_events_open(struct store *store) MUST_USE;
void audit_events_close(struct store *store);

// Is it told so? The others have a record each.
int audit_events_are(const struct audit_facts *facts);
// In the open transaction, at whose end they are written, or dropped.
enum status audit_events_add(struct store *store, const struct audit_facts *facts) MUST_USE;
enum status audit_events_settle(struct store *store) MUST_USE;
void audit_events_drop(struct store *store);

#endif
