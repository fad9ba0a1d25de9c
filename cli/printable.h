// SPDX-License-Identifier: ISC
// Text of guests, clients and files, so that nothing of it drives the operator's terminal.
#ifndef CRENEL_CLI_PRINTABLE_H
#define CRENEL_CLI_PRINTABLE_H

#include <cjson/cJSON.h>

// In place: control characters (also those from U+0080 on) and what is no UTF-8 become '?'.
void printable_clean(char *text);
// The same for all texts and names of a value that was read.
void printable_clean_json(cJSON *json);

// Milliseconds since 1970 as "2026-01-02T03:04:05Z"; "?" for what is no time before the year 10000.
void printable_time(double time_ms, char text[32]);

#endif
