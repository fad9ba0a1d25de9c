// SPDX-License-Identifier: ISC
// unikernel.yaml as the tables of the manifest, and the files that go into the build.
#ifndef CRENEL_CLI_BUILD_SOURCE_H
#define CRENEL_CLI_BUILD_SOURCE_H

#include "core/manifest.h"

#include <limits.h>

#define BUILD_SOURCES_MAX 64u
#define BUILD_DEFINES_MAX 32u

struct build_source {
    char folder[PATH_MAX]; // absolute
    char path[PATH_MAX];   // of unikernel.yaml
    struct manifest_header header; // all but bytes and the attack surface
    struct manifest_flow inputs[MANIFEST_FLOWS_MAX], outputs[MANIFEST_FLOWS_MAX];
    struct manifest_namespace namespaces[MANIFEST_NAMESPACES_MAX];
    struct manifest_refusal refusals[MANIFEST_REFUSALS_MAX];
    struct schema schemas[MANIFEST_SCHEMAS_MAX]; // over blocks, in the order of the manifest
    uint8_t *blocks[MANIFEST_SCHEMAS_MAX];
    char *schema_paths[MANIFEST_SCHEMAS_MAX];
    char *sources[BUILD_SOURCES_MAX]; // absolute paths
    char *defines[BUILD_DEFINES_MAX];
    size_t source_count, define_count;
    int is_whole_folder; // sources are every .c in the folder
};

// Reads and checks; errors are reported with file and line. schema_folder: where `crenel/NAME.yaml` is found.
enum status build_source_read(struct build_source *source, const char *folder,
                              const char *schema_folder) MUST_USE;
void build_source_clean_up(struct build_source *source);

// The manifest that goes into the image: header as it is now, then the tables. Returns its size, or 0 if
// it is over the limit (reported).
size_t build_source_manifest(const struct build_source *source, uint8_t bytes[MANIFEST_BYTES_MAX]);

#endif
