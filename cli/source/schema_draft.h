// SPDX-License-Identifier: ISC
// A schema while its file is read: the parts of its block, and which fields are together in a record.
#ifndef CRENEL_CLI_SCHEMA_DRAFT_H
#define CRENEL_CLI_SCHEMA_DRAFT_H

#include "cli/source/yaml.h"
#include "core/schema.h"

struct schema_draft {
    struct yaml_file file;
    struct schema_header header;
    struct schema_field fields[SCHEMA_FIELDS_MAX];
    uint8_t records[SCHEMA_FIELDS_MAX]; // of each field: number of the record that it is a member of, 0: of none
    unsigned record_count;
    struct schema_relation relations[SCHEMA_RELATIONS_MAX];
    struct schema_label labels[SCHEMA_LABELS_MAX];
};

// Reads `fields`, and gives each its offset. Errors are reported.
void draft_fields(struct schema_draft *draft, struct yaml_node *fields);
void draft_lay_out(struct schema_draft *draft);

#endif
