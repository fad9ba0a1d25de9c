// SPDX-License-Identifier: ISC
// System call filters of our own programs: allow-lists as tables, each row with its reason
// (tools/filters/generate.c), compiled when Crenel is built.
// Anything else ends the process (SIGSYS). The filter of guests is the tender's own.
#ifndef CRENEL_HOST_FILTER_H
#define CRENEL_HOST_FILTER_H

#include "core/status.h"

enum filter_role {
    FILTER_ROUTER,
    FILTER_STORE,
    FILTER_AUDIT,
    FILTER_PASSWORD,
    FILTER_GATEWAY,
    FILTER_COURIER_LISTEN,
    FILTER_COURIER_CONNECT,
    FILTER_TENDER,     // process wall
    FILTER_TENDER_KVM, // kvm wall
    FILTER_ROLES,
};

// Installs the filter of that role for this process and all it starts. no_new_privs must be set.
enum status filter_install(enum filter_role role) MUST_USE;

#endif
