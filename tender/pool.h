// SPDX-License-Identifier: ISC
// The pool: which instance meets which event, for each lifetime; and the link to the router.
//
//   message     ready instances wait; each is made pristine after each event
//   connection  an instance is created when a connection is first named, and ends with it
//   resident    instances are kept between events; a failed event ends its instance
//
// Events wait here until an instance is ready. Who keeps its memory anyway, and reads no namespace, is shown all that
// wait for it at once (abi/abi.h): one wake-up for many.
// Of lifetimes message and resident it holds as many instances as had events at once in the last ten seconds, and
// at least one.
// It knows nothing of processes or virtual machines (wall.h) and opens nothing.
#ifndef CRENEL_TENDER_POOL_H
#define CRENEL_TENDER_POOL_H

#include "host/channel.h"
#include "proto/status_page.h"
#include "core/records.h"
#include "tender/wall.h"

struct pool;

// One pool per process; NULL: no memory. It fills in config->events, with which the wall is made then.
struct pool *pool_new(struct wall_config *config, struct channel *router, struct tender_page *page);

// Says HELLO and creates the first instances.
enum status pool_start(struct pool *pool, struct wall *wall) MUST_USE;

// One record from the router. STATUS_MALFORMED: the link cannot go on.
enum status pool_packet(struct pool *pool, const uint8_t *packet, size_t size) MUST_USE;
// Shows what waits to instances that are ready, and makes those that are missing: at the end of each turn of the loop,
// after any number of records and of callbacks of the wall.
void pool_turn(struct pool *pool);
// As of the last turn: an instance was given events in the last millisecond and has not answered.
int pool_is_behind(const struct pool *pool);

// True when the wall or the link failed: the tender ends.
int pool_has_failed(const struct pool *pool);

#endif
