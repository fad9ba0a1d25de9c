// SPDX-License-Identifier: ISC
// YAML source files as a tree of nodes that know their line, read through libyaml.
//
// A plain subset: mappings, sequences, scalars; no anchors, aliases, tags or duplicate keys (refused with
// line). The reader takes values by name and type, remembers which keys were asked for, and
// yaml_finish() refuses the rest, so an unknown key is an error with its line everywhere.
#ifndef CRENEL_CLI_YAML_H
#define CRENEL_CLI_YAML_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

struct yaml_node {
    enum yaml_kind kind;
    int line; // from 1
    char *text; // scalar
    char *key;  // in a mapping
    int is_used;
    size_t count; // children
    struct yaml_node **children;
    size_t asked_count; // keys that somebody asked for, for did-you-mean
    char **asked;
};

struct yaml_file {
    char *path;
    struct yaml_node *root;
    int error_count; // errors reported so far (report_error); everything is reported, not only the first
};

// Reads and parses; errors are reported with file and line.
enum status yaml_read(struct yaml_file *file, const char *path) MUST_USE;
void yaml_close(struct yaml_file *file);

// Reports an error at the node and counts it.
void yaml_error(struct yaml_file *file, const struct yaml_node *node, const char *mend,
                const char *what, ...) __attribute__((format(printf, 4, 5)));

// Child of a mapping by key (marks it used), or NULL. `required`: absence is reported.
struct yaml_node *yaml_child(struct yaml_file *file, struct yaml_node *mapping, const char *key,
                             enum yaml_kind kind, int required);
// Child of a mapping by key, of any kind (marks it used), or NULL.
struct yaml_node *yaml_any(struct yaml_node *mapping, const char *key);
// Text of a scalar child, or fallback (NULL fallback: required).
const char *yaml_text(struct yaml_file *file, struct yaml_node *mapping, const char *key,
                      const char *fallback);
// Integer in [minimum, maximum]; `has_fallback` 0: required.
int64_t yaml_integer(struct yaml_file *file, struct yaml_node *mapping, const char *key,
                     int64_t minimum, int64_t maximum, int has_fallback, int64_t fallback);
// Quantities with a mandatory unit: "16MiB", "64KiB", "512B" -> bytes; "100ms", "5s", "2min", "10d" -> ms; "50%" -> 50.
int64_t yaml_bytes(struct yaml_file *file, struct yaml_node *mapping, const char *key,
                   int64_t minimum, int64_t maximum, int has_fallback, int64_t fallback);
int64_t yaml_ms(struct yaml_file *file, struct yaml_node *mapping, const char *key, int64_t minimum,
                int64_t maximum, int has_fallback, int64_t fallback);
int64_t yaml_percent(struct yaml_file *file, struct yaml_node *mapping, const char *key,
                     int64_t minimum, int64_t maximum, int has_fallback, int64_t fallback);
// Index of a scalar child's text in names[0..count), fallback -1: required.
int yaml_choice(struct yaml_file *file, struct yaml_node *mapping, const char *key,
                const char *const *names, int count, int fallback);
// The name that `word` most likely was meant to be, or NULL.
const char *yaml_nearest(const char *word, const char *const *names, size_t count);
// Reports every key of the tree that nobody asked for, with a did-you-mean.
void yaml_finish(struct yaml_file *file);

#endif
