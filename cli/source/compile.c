// SPDX-License-Identifier: ISC
// system.yaml into the compiled system: reads the parts in order, then writes the flat file.
//
// Everything is copied in the order of the source, and the file's layout has no freedom (core/system.c), so
// the same sources and images give the same bytes.
#include "cli/source/compile.h"

#include "cli/source/compile_state.h"
#include "cli/report.h"
#include "core/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// `path` itself, or the system.yaml in it.
static int source_path(const char *path, char file[PATH_MAX])
{
    struct stat stat_of;
    int is_folder = stat(path, &stat_of) == 0 && S_ISDIR(stat_of.st_mode);
    int length = snprintf(file, PATH_MAX, "%s%s", path, is_folder ? "/system.yaml" : "");
    if (length < PATH_MAX)
        return 1;
    report_error(path, 0, "use a shorter path", "the path is too long");
    return 0;
}

// Makes the folder and those above it.
static int folder_make(const char *path)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof part)
        return 0;
    for (size_t i = 1; i <= length; i++)
        if (path[i] == '/' || path[i] == 0) {
            memcpy(part, path, i);
            part[i] = 0;
            if (mkdir(part, 0777) != 0 && errno != EEXIST)
                return 0;
        }
    return 1;
}

static enum status open_folders(struct compile *compile, const char *build_folder)
{
    char file[PATH_MAX];
    if (realpath(compile->file.path, file) == NULL) {
        report_error(compile->file.path, 0, NULL, "%s", strerror(errno));
        return STATUS_SYSTEM;
    }
    memcpy(compile->folder, file, sizeof file);
    *strrchr(compile->folder, '/') = 0;
    if (!folder_make(build_folder) || realpath(build_folder, compile->build_folder) == NULL) {
        report_error(build_folder, 0, "name a folder that you may write", "cannot make it: %s",
                     strerror(errno));
        return STATUS_SYSTEM;
    }
    return STATUS_OK;
}

static void compile_header(struct compile *compile)
{
    static const char *const limits[] = {"enforced", "best-effort"};
    static const char *const failures[] = {"continue", "stop"};
    struct yaml_file *file = &compile->file;
    struct yaml_node *root = file->root;
    const char *keys[] = {"system", "tenant"};
    char *names[] = {compile->header.name, compile->header.tenant};
    for (int i = 0; i < 2; i++) {
        const struct yaml_node *child = yaml_child(file, root, keys[i], YAML_SCALAR, 1);
        if (child == NULL)
            continue;
        compile_name(names[i], child->text);
        if (names[i][0] == 0)
            yaml_error(file, child, "use a-z 0-9 _ -, a letter first, at most 31 characters",
                       "bad name '%s'", child->text);
    }
    compile->header.security_version =
        (uint32_t)yaml_integer(file, root, "security_version", 1, UINT32_MAX, 0, 0);
    compile->header.is_best_effort = (uint8_t)yaml_choice(file, root, "limits", limits, 2, 0);
    compile->header.stop_on_audit_failure =
        (uint8_t)yaml_choice(file, root, "on_audit_failure", failures, 2, 0);
}

// ---- The flat file ----

struct writer {
    uint8_t *bytes; // zeroed
    size_t capacity, size;
};

static uint32_t write_part(struct writer *writer, const void *part, size_t size)
{
    writer->size = (writer->size + 7) & ~(size_t)7;
    uint32_t at = (uint32_t)writer->size;
    check(size <= writer->capacity - writer->size);
    if (size != 0)
        memcpy(writer->bytes + at, part, size);
    writer->size += size;
    return at;
}

static struct system_table write_table(struct writer *writer, const void *table, size_t entry,
                                       size_t count)
{
    uint32_t at = write_part(writer, table, entry * count);
    return (struct system_table){at, (uint32_t)count};
}

// Schema offsets are known before the blocks are written: they follow one behind the other.
static void write_schemas(struct compile *compile, struct writer *writer)
{
    uint32_t offsets[SYSTEM_SCHEMAS_MAX];
    size_t at = ((writer->size + 7) & ~(size_t)7) + compile->schema_count * sizeof offsets[0];
    for (size_t i = 0; i < compile->schema_count; i++) {
        at = (at + 7) & ~(size_t)7;
        offsets[i] = (uint32_t)at;
        at += compile->schemas[i].header->block_bytes;
    }
    compile->header.schemas =
        write_table(writer, offsets, sizeof offsets[0], compile->schema_count);
    for (size_t i = 0; i < compile->schema_count; i++)
        check(write_part(writer, compile->schemas[i].header,
                         compile->schemas[i].header->block_bytes) == offsets[i]);
}

// Configurations lie one behind the other in the last table.
static void write_configurations(struct compile *compile, struct writer *writer)
{
    uint32_t first = write_part(writer, NULL, 0);
    for (size_t i = 0; i < compile->unikernel_count; i++) {
        size_t size = compile->sources[i].configuration_bytes;
        check(size <= writer->capacity - writer->size);
        compile->unikernels[i].configuration_offset = (uint32_t)writer->size;
        compile->unikernels[i].configuration_bytes = (uint32_t)size;
        if (size != 0)
            memcpy(writer->bytes + writer->size, compile->sources[i].configuration, size);
        writer->size += size;
    }
    compile->header.configuration =
        (struct system_table){first, (uint32_t)(writer->size - first)};
    writer->size = (writer->size + 7) & ~(size_t)7;
}

static enum status assemble(struct compile *compile)
{
    struct writer writer = {calloc(1, SYSTEM_BYTES_MAX), SYSTEM_BYTES_MAX, 0};
    struct system_header *header = &compile->header;
    if (writer.bytes == NULL)
        return STATUS_SYSTEM;
    writer.size = sizeof(struct system_signature) + sizeof *header;
    header->unikernels = write_table(&writer, compile->unikernels, sizeof compile->unikernels[0],
                                     compile->unikernel_count);
    header->flows =
        write_table(&writer, compile->flows, sizeof compile->flows[0], compile->flow_count);
    header->namespaces = write_table(&writer, compile->namespaces, sizeof compile->namespaces[0],
                                     compile->namespace_count);
    header->principals = write_table(&writer, compile->principals, sizeof compile->principals[0],
                                     compile->principal_count);
    header->gateways = write_table(&writer, compile->gateways, sizeof compile->gateways[0],
                                   compile->gateway_count);
    header->services = write_table(&writer, compile->services, sizeof compile->services[0],
                                   compile->service_count);
    header->checks = write_table(&writer, compile->checks, sizeof compile->checks[0], compile->check_count);
    header->machines = write_table(&writer, compile->machines, sizeof compile->machines[0],
                                   compile->machine_count);
    header->couriers = write_table(&writer, compile->couriers, sizeof compile->couriers[0],
                                   compile->courier_count);
    write_schemas(compile, &writer);
    header->never = write_table(&writer, compile->never_text, 1, compile->never_bytes);
    write_configurations(compile, &writer);
    // Configuration offsets became known last.
    memcpy(writer.bytes + header->unikernels.offset, compile->unikernels,
           compile->unikernel_count * sizeof compile->unikernels[0]);
    memcpy(writer.bytes + sizeof(struct system_signature), header, sizeof *header);
    struct system_signature signature = {
        .magic = SYSTEM_MAGIC,
        .version = SYSTEM_VERSION,
        .body_bytes = (uint32_t)(writer.size - sizeof signature),
    };
    memcpy(writer.bytes, &signature, sizeof signature);
    compile->bytes = writer.bytes;
    compile->size = writer.size;
    const char *why;
    if (system_open(&compile->view, compile->bytes, compile->size, &why) == STATUS_OK)
        return STATUS_OK;
    report_error(compile->file.path, 0, "this is a bug of crenel: please report it with the file",
                 "the compiled system is not accepted: %s", why);
    return STATUS_MALFORMED;
}

enum status compile_open(struct compile *compile, const char *path, const char *build_folder)
{
    char file[PATH_MAX];
    memset(compile, 0, sizeof *compile);
    if (!source_path(path, file))
        return STATUS_TOO_LARGE;
    enum status status = yaml_read(&compile->file, file);
    if (status != STATUS_OK)
        return status;
    status = open_folders(compile, build_folder);
    if (status != STATUS_OK)
        return status;
    compile_header(compile);
    compile_unikernels(compile);
    compile_outside_names(compile);
    compile_machine_names(compile);
    compile_couriers(compile);
    compile_flows(compile);
    compile_state(compile);
    compile_outside(compile);
    compile_namespaces(compile);
    compile_unbound(compile);
    compile->never_bytes = compile_never(compile, compile->never_text);
    if (compile->file.error_count == 0 && (status = assemble(compile)) != STATUS_OK)
        return status;
    compile_policy(compile);
    yaml_finish(&compile->file);
    return compile->file.error_count == 0 ? STATUS_OK : STATUS_MALFORMED;
}

void compile_close(struct compile *compile)
{
    for (size_t i = 0; i < compile->unikernel_count; i++) {
        free(compile->sources[i].image_bytes);
        free(compile->sources[i].configuration);
    }
    for (size_t i = 0; i < compile->made_count; i++)
        free(compile->made_blocks[i]);
    free(compile->bytes);
    yaml_close(&compile->file);
    memset(compile, 0, sizeof *compile);
}

enum status system_name(const char *path, char name[32])
{
    char file_path[PATH_MAX];
    struct yaml_file file;
    if (!source_path(path, file_path))
        return STATUS_TOO_LARGE;
    enum status status = yaml_read(&file, file_path);
    if (status != STATUS_OK)
        return status;
    const struct yaml_node *child = yaml_child(&file, file.root, "system", YAML_SCALAR, 1);
    if (child != NULL) {
        compile_name(name, child->text);
        if (name[0] == 0)
            yaml_error(&file, child, "use a-z 0-9 _ -, a letter first, at most 31 characters",
                       "bad name '%s'", child->text);
    }
    status = file.error_count == 0 ? STATUS_OK : STATUS_MALFORMED;
    yaml_close(&file);
    return status;
}
