// SPDX-License-Identifier: ISC
// What a new version of a system allows that the old one did not, and the other way round.
//
// Everything is compared by name. Each table of fields (diff_fields.c) says which way a number opens; a difference
// for which there are no words here counts as more open, so that nothing new slips through an old comparison.
#ifndef CRENEL_CLI_DIFF_H
#define CRENEL_CLI_DIFF_H

#include "cli/policy/policy_system.h"

enum diff_kind { DIFF_MORE, DIFF_LESS, DIFF_OTHER, DIFF_KINDS };

struct diff_row {
    enum diff_kind kind;
    int line;         // in the new source, 0: not known
    char *what, *text; // "flow raw", "rate 10 -> 20 a second"
};

struct diff {
    const struct policy_system *old, *new;
    struct diff_row *rows;
    size_t count, counts[DIFF_KINDS];
    uint8_t is_compared[SYSTEM_SCHEMAS_MAX][SYSTEM_SCHEMAS_MAX / 8]; // bits: schema of the old, of the new system
};

void diff_make(struct diff *diff, const struct policy_system *old, const struct policy_system *new);
void diff_clean_up(struct diff *diff);
// To standard output, or standard error.
void diff_print(const struct diff *diff, int to_errors);

// ---- For the parts ----

struct diff_entry { // what rows are about
    struct diff *diff;
    const char *what; // "flow"
    const char *name;
    int line;
};

void diff_add(const struct diff_entry *entry, enum diff_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// The structs that are compared field by field (diff_fields.c).
enum diff_table { TABLE_HEADER, TABLE_UNIKERNEL, TABLE_FLOW, TABLE_NAMESPACE, TABLE_GATEWAY, TABLE_SERVICE, TABLE_COURIER, TABLES };

// A row for each field that differs. A difference between the two that no row of the table names is one, too.
void diff_fields(const struct diff_entry *entry, enum diff_table table, const void *old, const void *new);

// Index of the entry of that name, or -1; each entry of the table begins with its name.
int diff_find(const void *table, size_t entry, size_t count, const char *name);
// Names in one set and not in the other, each a row: "receiver + NAME".
void diff_names(const struct diff_entry *entry, const char *what, const char *const *old, size_t old_count,
                const char *const *new, size_t new_count);

void diff_flows(struct diff *diff);
// The checks of flow state of a flow, and the machines that they name.
void diff_checks(const struct diff_entry *entry, const struct system_flow *was, const struct system_flow *is);
void diff_outside(struct diff *diff);    // gateways, services, couriers, principals, topics
void diff_couriers(struct diff *diff);
void diff_namespaces(struct diff *diff); // with their rights
// Schemas of a flow or namespace; the same pair is compared once.
void diff_schemas(struct diff *diff, uint16_t old, uint16_t new);

#endif
