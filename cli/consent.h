// SPDX-License-Identifier: ISC
// The operator says yes to what opens something.
#ifndef CRENEL_CLI_CONSENT_H
#define CRENEL_CLI_CONSENT_H

#include "core/status.h"

// Asks on the terminal. STATUS_DENIED: no (`refused` is reported), or nobody is there to ask (`unasked` with its mend).
enum status consent_ask(const char *unasked, const char *mend, const char *refused) MUST_USE;

#endif
