// SPDX-License-Identifier: ISC
// The lines of crenel doctor: each is ok, degraded (works, with less) or missing (something refuses to start without it).
#ifndef CRENEL_CLI_DOCTOR_H
#define CRENEL_CLI_DOCTOR_H

#include <cjson/cJSON.h>

enum verdict { VERDICT_OK, VERDICT_DEGRADED, VERDICT_MISSING };

struct doctor {
    int is_json, missing, degraded;
    const char *mend; // of the last line
    cJSON *rows;
};

__attribute__((format(printf, 5, 6))) void doctor_say(struct doctor *doctor, const char *what, enum verdict verdict,
                                                      const char *mend, const char *format, ...);

// True if a line of the file holds the word.
int doctor_file_has(const char *path, const char *word);

// cli/doctor_isolation.c: what holds a guest here.
void doctor_isolation(struct doctor *doctor);

#endif
