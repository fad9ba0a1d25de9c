// SPDX-License-Identifier: ISC
// What a flow carries: one schema, older versions of it for some receivers, sealed fields only where its source allows them.
#include "cli/source/compile_state.h"
#include "cli/source/schema_source.h"

#include <stdio.h>
#include <string.h>

void compile_receiver_schema(struct compile *compile, const struct yaml_node *node, const char *sender,
                             const struct schema *schema, const char *taker, const struct schema *taken,
                             struct system_receiver *receiver)
{
    const char *name = schema->header->name, *taken_name = taken->header->name;
    int is_same_name = strcmp(name, taken_name) == 0;
    if (memcmp(schema->header->digest, taken->header->digest, SCHEMA_DIGEST_BYTES) == 0)
        return;
    if (receiver != NULL && schema_is_older(taken_name, name)) {
        if (schema_extends_or_error(&compile->file, node, schema, taken))
            receiver->older_schema = (uint16_t)(compile_schema(compile, node, taken) + 1);
        return;
    }
    yaml_error(&compile->file, node,
               is_same_name                         ? "build both with the same schema file"
               : schema_is_older(name, taken_name) ? "build the sender with the newer version: nobody can make up the fields it added"
                                                    : "connect ports of the same schema",
               "'%s' carries %s, but '%s' carries %s%s", sender, name, taker, taken_name,
               is_same_name ? " of another content" : "");
}

void compile_sealed(struct compile *compile, struct yaml_node *node, struct system_flow *flow,
                    const struct schema *schema)
{
    static const char *const words[] = {"refused", "allowed"};
    int is_allowed = yaml_choice(&compile->file, node, "sealed", words, 2, 0);
    const char *sealed = NULL;
    for (unsigned i = 0; schema != NULL && i < schema->header->field_count && sealed == NULL; i++)
        if (schema->fields[i].type == SCHEMA_SEALED)
            sealed = schema->fields[i].name;
    flow->is_sealed = sealed != NULL;
    if (sealed != NULL && !is_allowed)
        yaml_error(&compile->file, node, "add 'sealed: allowed' if it may carry what nobody can inspect",
                   "flow '%s' carries %s, whose field '%s' is sealed", flow->name, schema->header->name, sealed);
    if (sealed == NULL && is_allowed && schema != NULL)
        yaml_error(&compile->file, node, "remove 'sealed: allowed'", "flow '%s' carries %s, which has no sealed field",
                   flow->name, schema->header->name);
    if (sealed != NULL && flow->is_actuator)
        yaml_error(&compile->file, node, "send it in fields that can be inspected",
                   "flow '%s' leads to an actuator, but its field '%s' is sealed", flow->name, sealed);
}
