// SPDX-License-Identifier: ISC
// Listening TCP sockets for the gateways.
#ifndef CRENEL_SUPERVISOR_LISTENER_H
#define CRENEL_SUPERVISOR_LISTENER_H

#include "core/status.h"

// Binds and listens on "ADDRESS:PORT" ("127.0.0.1:1883", "[::1]:1883"; no names). STATUS_MALFORMED: not such an
// address. STATUS_SYSTEM: errno of bind (EADDRINUSE, EACCES).
enum status listener_open(const char *address, int *fd) MUST_USE;

#endif
