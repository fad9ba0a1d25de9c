// SPDX-License-Identifier: ISC
// The unikernels of a system: their images, limits and configuration; and the namespaces they use.
#include "cli/source/compile_state.h"

#include "cli/build/build.h"
#include "cli/source/schema_source.h"
#include "abi/abi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Besides what its manifest asks for, all of which a hostile guest will touch. Were it not there for all instances at
// once, the kernel would kill some, perhaps of an innocent event, perhaps the tender.
#define TENDER_BYTES (2u << 20)
#define INSTANCE_BYTES (128u << 10) // its slice of the pool, page tables, kernel stack
#define MACHINE_BYTES (768u << 10)  // the same under kvm, with what the kernel keeps of a virtual machine
#define CPU_PERCENT_MAX 6400

static const char *const isolations[] = {"any", "process", "kvm", "enclave"};

// Beside the system file, unless absolute.
static int path_join(struct compile *compile, const struct yaml_node *node, const char *path,
                     char joined[PATH_MAX])
{
    int length = path[0] == '/' ? snprintf(joined, PATH_MAX, "%s", path)
                                : snprintf(joined, PATH_MAX, "%s/%s", compile->folder, path);
    if (length < PATH_MAX)
        return 1;
    yaml_error(&compile->file, node, "use a shorter path", "the path is too long");
    return 0;
}

// The image's path after it was built, or as it was given; 0 when that failed and was reported.
static int image_make(struct compile *compile, struct yaml_node *node, char path[PATH_MAX])
{
    struct yaml_file *file = &compile->file;
    const char *source = yaml_text(file, node, "source", "");
    const char *image = yaml_text(file, node, "image", "");
    char given[PATH_MAX];
    if ((*source == 0) == (*image == 0)) {
        yaml_error(file, node, "write 'source: FOLDER' to build it, or 'image: FILE.img' to take it as it is",
                   *source == 0 ? "'%s' has neither source nor image" : "'%s' has both source and image", node->key);
        return 0;
    }
    if (!path_join(compile, node, *source ? source : image, given))
        return 0;
    if (*image != 0) {
        if (realpath(given, path) != NULL)
            return 1;
        yaml_error(file, node, "check the path; it is relative to this file", "there is no image '%s'", image);
        return 0;
    }
    if (access(given, F_OK) != 0) {
        yaml_error(file, node, "check the path; it is relative to this file", "there is no folder '%s'", source);
        return 0;
    }
    if (snprintf(path, PATH_MAX, "%s/%s.img", compile->build_folder, node->key) >= PATH_MAX) {
        yaml_error(file, node, "use a shorter build folder", "the path of its image is too long");
        return 0;
    }
    if (build_unikernel(given, path) == STATUS_OK)
        return 1;
    yaml_error(file, node, "mend what is reported above", "'%s' could not be built", node->key);
    return 0;
}

// core cannot hash, so it is here that a schema's digest is held against its block.
static int are_digests_true(const struct manifest *manifest)
{
    uint8_t digest[SCHEMA_DIGEST_BYTES];
    for (size_t i = 0; i < manifest->header->schema_count; i++) {
        const struct schema_header *header = manifest->schemas[i].header;
        schema_digest((const uint8_t *)header, header->block_bytes, digest);
        if (memcmp(digest, header->digest, sizeof digest) != 0)
            return 0;
    }
    return 1;
}

static void image_take(struct compile *compile, struct yaml_node *node,
                       struct system_unikernel *unikernel, struct compile_unikernel *source)
{
    char path[PATH_MAX];
    if (!image_make(compile, node, path))
        return;
    size_t length = strlen(path);
    if (length >= sizeof unikernel->image_path) {
        yaml_error(&compile->file, node, "use a shorter build folder or move the image",
                   "the path of its image is over %zu bytes", sizeof unikernel->image_path - 1);
        return;
    }
    memcpy(unikernel->image_path, path, length);
    if (image_read(path, &source->image_bytes, &source->image, unikernel->image_digest) != STATUS_OK) {
        yaml_error(&compile->file, node, "build it anew", "the image of '%s' is not accepted", node->key);
        return;
    }
    source->is_loaded = are_digests_true(&source->image.manifest);
    if (!source->is_loaded)
        yaml_error(&compile->file, node, "build it anew",
                   "the image of '%s' holds a schema whose digest does not match", node->key);
}

// The stricter of what the image and the system ask for.
static uint8_t isolation_choose(struct compile *compile, struct yaml_node *node,
                                const struct compile_unikernel *source)
{
    int asked = yaml_choice(&compile->file, node, "isolation", isolations, 4, ISOLATION_ANY);
    int needed = source->is_loaded ? source->image.manifest.header->isolation : ISOLATION_ANY;
    if (asked != ISOLATION_ANY && needed != ISOLATION_ANY && asked != needed)
        yaml_error(&compile->file, node, "use the isolation that the image asks for",
                   "'%s' asks for isolation %s here and %s in its image", node->key,
                   isolations[asked], isolations[needed]);
    return (uint8_t)(asked != ISOLATION_ANY ? asked : needed);
}

static void limits_take(struct compile *compile, struct yaml_node *node,
                        struct system_unikernel *unikernel, const struct compile_unikernel *source)
{
    struct yaml_file *file = &compile->file;
    int before = file->error_count;
    unikernel->memory_kib =
        (uint32_t)(yaml_bytes(file, node, "memory", 64 * 1024, INT64_C(1) << 40, 0, 0) / 1024);
    unikernel->cpu_percent = (uint32_t)yaml_percent(file, node, "cpu", 1, CPU_PERCENT_MAX, 0, 0);
    unikernel->instances_max =
        (uint16_t)yaml_integer(file, node, "instances", 1, SYSTEM_INSTANCES_MAX, 0, 0);
    unikernel->fan_out = (uint16_t)yaml_integer(file, node, "fan_out", 1, UINT16_MAX, 1, 0);
    unikernel->line = (uint32_t)node->line;
    unikernel->deadline_ms =
        (uint32_t)yaml_ms(file, node, "deadline", 1, MANIFEST_DEADLINE_MS_MAX, 0, 0);
    if (!source->is_loaded || file->error_count != before)
        return;
    const struct manifest_header *manifest = source->image.manifest.header;
    uint64_t least = TENDER_BYTES + unikernel->instances_max *
                                        ((uint64_t)manifest->arena_bytes + manifest->stack_bytes +
                                         source->image.span_bytes +
                                         (unikernel->isolation == ISOLATION_PROCESS ? INSTANCE_BYTES : MACHINE_BYTES));
    char mend[96];
    if (unikernel->deadline_ms > manifest->deadline_ms) {
        snprintf(mend, sizeof mend, "write at most %ums, or raise it in unikernel.yaml", manifest->deadline_ms);
        yaml_error(file, node, mend, "the deadline of '%s' is above the one in its manifest", node->key);
    }
    if ((uint64_t)unikernel->memory_kib * 1024 < least) {
        snprintf(mend, sizeof mend, "write at least %lluKiB", (unsigned long long)(least + 1023) / 1024);
        yaml_error(file, node, mend, "the memory of '%s' does not hold its %u instances", node->key,
                   (unsigned)unikernel->instances_max);
    }
}

static void manifest_take(struct system_unikernel *unikernel, const struct manifest *manifest)
{
    const struct manifest_header *header = manifest->header;
    unikernel->lifetime = header->lifetime;
    unikernel->input_count = header->input_count;
    unikernel->output_count = header->output_count;
    unikernel->namespace_count = header->namespace_count;
    unikernel->writes_max = header->writes_max;
    unikernel->refusal_count = header->refusal_count;
    for (size_t i = 0; i < header->refusal_count; i++)
        memcpy(unikernel->refusals[i], manifest->refusals[i].name, SYSTEM_NAME_BYTES);
}

void compile_unikernels(struct compile *compile)
{
    struct yaml_node *mapping;
    struct yaml_file *file = &compile->file;
    compile->unikernel_count = compile_entries(compile, "unikernels", SYSTEM_UNIKERNELS_MAX, &mapping);
    if (compile->unikernel_count == 0)
        yaml_error(file, file->root, "add 'unikernels:' (docs/files.md)", "a system without unikernels");
    for (size_t i = 0; i < compile->unikernel_count; i++) {
        struct yaml_node *node = mapping->children[i];
        struct system_unikernel *unikernel = &compile->unikernels[i];
        struct compile_unikernel *source = &compile->sources[i];
        source->node = node;
        compile_name(unikernel->name, node->key);
        memset(unikernel->inputs, 0xff, sizeof unikernel->inputs);
        memset(unikernel->outputs, 0xff, sizeof unikernel->outputs);
        memset(unikernel->namespaces, 0xff, sizeof unikernel->namespaces);
        if (node->kind != YAML_MAPPING || unikernel->name[0] == 0)
            continue;
        image_take(compile, node, unikernel, source);
        if (source->is_loaded)
            manifest_take(unikernel, &source->image.manifest);
        unikernel->isolation = isolation_choose(compile, node, source);
        limits_take(compile, node, unikernel, source);
        compile_configure(compile, i, node, yaml_text(file, node, "configuration", ""));
    }
}

// ---- Ports that nothing is bound to ----

static int is_unused(struct compile *compile, struct yaml_node *node, const char *port)
{
    const struct yaml_node *unused = yaml_child(&compile->file, node, "unused", YAML_SEQUENCE, 0);
    for (size_t i = 0; unused != NULL && i < unused->count; i++)
        if (unused->children[i]->kind == YAML_SCALAR && strcmp(unused->children[i]->text, port) == 0)
            return 1;
    return 0;
}

static void ports_check(struct compile *compile, struct yaml_node *node,
                        const struct manifest_flow *ports, size_t count, const uint16_t *bound,
                        const char *what)
{
    char mend[160];
    for (size_t i = 0; i < count; i++) {
        int unused = is_unused(compile, node, ports[i].name);
        if (bound[i] == SYSTEM_NONE && !unused) {
            snprintf(mend, sizeof mend, "add a flow %s %s.%s, or 'unused: [%s]' to '%s'",
                     what[0] == 'i' ? "to" : "from", node->key, ports[i].name, ports[i].name, node->key);
            yaml_error(&compile->file, node, mend, "%s '%s' of '%s' is in no flow", what, ports[i].name, node->key);
        }
        if (bound[i] != SYSTEM_NONE && unused)
            yaml_error(&compile->file, node, "remove it from 'unused'",
                       "%s '%s' of '%s' is called unused but is in flow '%s'", what, ports[i].name,
                       node->key, compile->flows[bound[i]].name);
    }
}

// Every word of `unused` is a port.
static void unused_check(struct compile *compile, struct yaml_node *node, const struct manifest *manifest)
{
    const struct yaml_node *unused = yaml_child(&compile->file, node, "unused", YAML_SEQUENCE, 0);
    for (size_t i = 0; unused != NULL && i < unused->count; i++) {
        const struct yaml_node *word = unused->children[i];
        const char *text = word->kind == YAML_SCALAR ? word->text : "";
        if (compile_find(manifest->inputs, sizeof *manifest->inputs, manifest->header->input_count, text) < 0 &&
            compile_find(manifest->outputs, sizeof *manifest->outputs, manifest->header->output_count, text) < 0)
            yaml_error(&compile->file, word, "name inputs or outputs of its manifest (crenel inspect shows them)",
                       "'%s' has no port '%s'", node->key, text);
    }
}

void compile_unbound(struct compile *compile)
{
    for (size_t i = 0; i < compile->unikernel_count; i++) {
        const struct compile_unikernel *source = &compile->sources[i];
        const struct manifest *manifest = &source->image.manifest;
        if (!source->is_loaded) {
            yaml_child(&compile->file, source->node, "unused", YAML_SEQUENCE, 0);
            continue;
        }
        unused_check(compile, source->node, manifest);
        ports_check(compile, source->node, manifest->inputs, manifest->header->input_count,
                    compile->unikernels[i].inputs, "input");
        ports_check(compile, source->node, manifest->outputs, manifest->header->output_count,
                    compile->unikernels[i].outputs, "output");
    }
}
