// SPDX-License-Identifier: ISC
// What `ps` and `status` answer: the members and their status pages as JSON.
#ifndef CRENEL_SUPERVISOR_REPORT_H
#define CRENEL_SUPERVISOR_REPORT_H

#include "supervisor/supervisor.h"

#include <cjson/cJSON.h>

// Adds to `reply` (an object).
void report_ps(struct supervisor *s, cJSON *reply);
void report_status(struct supervisor *s, cJSON *reply);

// Name for --json and audit records: "0123456789ab…" of n bytes.
void report_hex(const uint8_t *bytes, size_t size, char *text);

#endif
