// SPDX-License-Identifier: ISC
// A system while it is compiled: the tables that will be written, and where in the source each came from.
#ifndef CRENEL_CLI_COMPILE_STATE_H
#define CRENEL_CLI_COMPILE_STATE_H

#include "cli/source/policy_graph.h"
#include "cli/source/yaml.h"
#include "core/image.h"
#include "core/system.h"

#include <limits.h>

struct compile_unikernel {
    struct yaml_node *node;
    uint8_t *image_bytes;
    struct image image;
    int is_loaded; // 0: its image was refused and reported; checks of its ports are skipped
    char *configuration; // own text, then the lines from topics
    size_t configuration_bytes;
};

#define COMPILE_MADE_MAX (2 * SYSTEM_FLOWS_MAX)

struct compile {
    struct yaml_file file;
    char folder[PATH_MAX];       // of the system file, absolute
    char build_folder[PATH_MAX]; // absolute
    struct system_header header;
    struct system_unikernel unikernels[SYSTEM_UNIKERNELS_MAX];
    struct compile_unikernel sources[SYSTEM_UNIKERNELS_MAX];
    struct system_flow flows[SYSTEM_FLOWS_MAX];
    struct yaml_node *flow_nodes[SYSTEM_FLOWS_MAX];
    struct system_namespace namespaces[SYSTEM_NAMESPACES_MAX];
    struct yaml_node *namespace_nodes[SYSTEM_NAMESPACES_MAX];
    struct system_principal principals[SYSTEM_PRINCIPALS_MAX];
    struct system_gateway gateways[SYSTEM_GATEWAYS_MAX];
    struct yaml_node *gateway_nodes[SYSTEM_GATEWAYS_MAX];
    struct system_service services[SYSTEM_SERVICES_MAX];
    struct yaml_node *service_nodes[SYSTEM_SERVICES_MAX];
    struct system_courier couriers[SYSTEM_COURIERS_MAX];
    struct yaml_node *courier_nodes[SYSTEM_COURIERS_MAX];
    struct system_check checks[SYSTEM_CHECKS_MAX];
    struct system_machine machines[SYSTEM_MACHINES_MAX];
    struct yaml_node *machine_nodes[SYSTEM_MACHINES_MAX]; // as they are written, whoever uses them
    int are_machines_used[SYSTEM_MACHINES_MAX];
    struct schema schemas[SYSTEM_SCHEMAS_MAX]; // views into images, and into what follows
    uint8_t *made_blocks[COMPILE_MADE_MAX];    // schemas that were derived
    struct schema made[COMPILE_MADE_MAX];
    size_t made_count;
    uint8_t is_flow_read[SYSTEM_FLOWS_MAX]; // its schema is known
    size_t unikernel_count, flow_count, namespace_count, principal_count, gateway_count,
        service_count, courier_count, check_count, machine_count, machine_node_count, schema_count;
    struct yaml_node *never; // sequence or NULL
    char never_text[SYSTEM_NEVER_BYTES_MAX];
    size_t never_bytes;
    uint8_t *bytes; // the compiled system, once there were no errors
    size_t size;
    struct system_view view; // of it
    struct policy_graph graph; // of the view
};

// Compiles the system in `path` (a folder with system.yaml, or the file itself). Unikernels given by `source:` are built
// into build_folder/NAME.img first. The signature block of the result is not yet filled. All errors are reported with
// file, line and mend. The caller closes in any case.
enum status compile_open(struct compile *compile, const char *path, const char *build_folder) MUST_USE;
void compile_close(struct compile *compile);

// The parts, in this order. Each reports its errors and goes on.
void compile_unikernels(struct compile *compile);
void compile_outside_names(struct compile *compile); // principals, gateways, services: names and limits
void compile_machine_names(struct compile *compile);
void compile_couriers(struct compile *compile);
void compile_flows(struct compile *compile);
void compile_outside(struct compile *compile); // what gateways and services say about flows; topics
void compile_namespaces(struct compile *compile);
void compile_state(struct compile *compile); // what concerns the checks of all flows
void compile_unbound(struct compile *compile); // ports that no flow feeds or takes
// The `never` rules as lines of the compiled system (proto/system.h); returns their bytes.
size_t compile_never(struct compile *compile, char text[SYSTEM_NEVER_BYTES_MAX]);
void compile_policy(struct compile *compile);  // cycles and `never`, on compile->view

// Index of the entry with this name in a table whose entries begin with their name, or -1.
int compile_find(const void *table, size_t entry, size_t count, const char *name);
// The same; an unknown name is an error at `node` with the nearest name as mend. what: "unikernel".
int compile_refer(struct compile *compile, const struct yaml_node *node, const char *what,
                  const void *table, size_t entry, size_t count, const char *name);

// Children of an optional mapping of named entries, at most `most`; 0 when it is absent. Reports bad names.
size_t compile_entries(struct compile *compile, const char *key, size_t most,
                       struct yaml_node **mapping);
void compile_name(char to[SYSTEM_NAME_BYTES], const char *name);

// Index of the schema in the system's table, added when it is new.
uint16_t compile_schema(struct compile *compile, const struct yaml_node *node,
                        const struct schema *schema);

// An end of a flow that carries `schema` takes `taken`: the same, or an older version if it is a receiver (else NULL).
// sender, taker: what the source calls the two ends.
void compile_receiver_schema(struct compile *compile, const struct yaml_node *node, const char *sender,
                             const struct schema *schema, const char *taker, const struct schema *taken,
                             struct system_receiver *receiver);
// `sealed: allowed`; the flow's actuator mark is known.
void compile_sealed(struct compile *compile, struct yaml_node *node, struct system_flow *flow,
                    const struct schema *schema);

// "anyone" or a list of principals -> mask; *is_open: anyone.
uint64_t compile_principals(struct compile *compile, struct yaml_node *mapping, uint8_t *is_open);

// How much of a durable flow may wait in the store, for how long, and what gives way. schema may be NULL: was reported.
void compile_durable(struct compile *compile, struct yaml_node *durable, struct system_flow *flow,
                     const struct schema *schema, int may_end);
// Key, checks, rates and budgets of a flow whose ends and schema are known (schema NULL: they were refused).
void compile_checks(struct compile *compile, struct yaml_node *node, struct system_flow *flow,
                    const struct schema *schema);
// Index of that machine for messages of the flow's schema, or -1 (reported).
int compile_machine(struct compile *compile, const struct yaml_node *node, const char *name,
                    const struct system_flow *flow, const struct schema *schema);

// What needs receipts has them, and flows of receipts have room: when all flows are known.
void compile_receipts(struct compile *compile);

// Services that seal, open, sign or verify: is it one; its own keys; the schema of a flow at one of them that has no port (NULL:
// reported, or there is none); and whether its flows fit.
int compile_is_turning(const struct compile *compile, unsigned kind, unsigned index);
void compile_turning(struct compile *compile, struct yaml_node *node, struct system_service *service);
const struct schema *compile_derived_schema(struct compile *compile, const struct yaml_node *node, const struct system_flow *flow);
void compile_turning_check(struct compile *compile, size_t service);

// Is it "127.0.0.1:1883" or "[::1]:1883"?
int compile_is_address(const char *text);
// A file that the system file names, as an absolute path; left empty when it is missing or too long (reported).
void compile_path(struct compile *compile, struct yaml_node *node, const char *key, char path[SYSTEM_PATH_BYTES]);

// Appends one line to a unikernel's configuration.
void compile_configure(struct compile *compile, size_t unikernel, const struct yaml_node *node,
                       const char *line);

// Field indices of a list of field names; returns their count.
uint16_t compile_fields(struct compile *compile, struct yaml_node *mapping, const char *key,
                        const struct schema *schema, uint16_t fields[SYSTEM_KEY_FIELDS_MAX],
                        int is_required);

#endif
