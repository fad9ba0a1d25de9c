// SPDX-License-Identifier: ISC
// From a folder to an image: read, generate, compile, link, pack, check. And back from a file.
#include "cli/build/build.h"

#include "cli/build/build_tool.h"
#include "cli/build/generate.h"
#include "cli/build/pack.h"
#include "cli/report.h"
#include "cli/source/schema_source.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKED_BYTES_MAX (64u * 1024u * 1024u)

static enum status system_error(const char *path)
{
    report_error(path, 0, NULL, "%s", strerror(errno));
    return STATUS_SYSTEM;
}

// Makes the folder and those above it.
static enum status folder_make(const char *path)
{
    char partial[PATH_MAX];

    if (tool_path(partial, "%s", path) != STATUS_OK)
        return STATUS_TOO_LARGE;
    for (char *slash = partial; slash != NULL;) {
        slash = strchr(slash + 1, '/');
        if (slash != NULL)
            *slash = 0;
        if (mkdir(partial, 0755) != 0 && errno != EEXIST)
            return system_error(partial);
        if (slash != NULL)
            *slash = '/';
    }
    return STATUS_OK;
}

// DIR/NAME.img -> DIR/NAME.d and DIR/NAME.debug
static enum status places_name(struct tool_build *build, const char *image_path)
{
    size_t length = strlen(image_path);

    if (length > 4 && strcmp(image_path + length - 4, ".img") == 0)
        length -= 4;
    enum status status = tool_path(build->work, "%.*s.d", (int)length, image_path);
    if (status == STATUS_OK)
        status = tool_path(build->debug, "%.*s.debug", (int)length, image_path);
    if (status == STATUS_OK)
        status = tool_guest_folder(build->guest);
    return status;
}

static int is_older(const struct timespec *image, const char *path)
{
    struct stat info;

    if (stat(path, &info) != 0)
        return 0;
    return info.st_mtim.tv_sec != image->tv_sec ? info.st_mtim.tv_sec < image->tv_sec
                                                : info.st_mtim.tv_nsec < image->tv_nsec;
}

// Every file that the compiler read, from the make rule it wrote.
static int are_dependencies_older(const struct timespec *image, const char *rule_path)
{
    char *text, *rest;
    size_t size;

    if (tool_read(rule_path, 1 << 20, &text, &size) != STATUS_OK)
        return 0;
    int result = 1;
    char *colon = strchr(text, ':');
    for (char *word = strtok_r(colon == NULL ? text : colon + 1, " \\\n", &rest);
         word != NULL && result; word = strtok_r(NULL, " \\\n", &rest))
        result = is_older(image, word);
    free(text);
    return result;
}

// The work folder remembers which unikernel.yaml it was made from: another folder's older files, built into the
// same image, are a change too.
static int is_same_origin(const struct tool_build *build)
{
    char path[PATH_MAX], origin[PATH_MAX], *text = NULL;
    size_t size;

    if (realpath(build->source->path, origin) == NULL ||
        tool_path(path, "%s/origin", build->work) != STATUS_OK ||
        tool_read(path, PATH_MAX, &text, &size) != STATUS_OK)
        return 0;
    int result = size == strlen(origin) && memcmp(text, origin, size) == 0;
    free(text);
    return result;
}

// The image is newer than everything that it is made of.
static int is_current(const struct tool_build *build, const char *image_path)
{
    static const char *const ours[] = {"libcrenel.a", "image.ld", "compile.flags", "compile.gcc.flags",
                                       "compile.clang.flags"};
    const struct build_source *source = build->source;
    struct stat info;
    char path[PATH_MAX];

    if (stat(image_path, &info) != 0 || access(build->debug, R_OK) != 0 || !is_same_origin(build) ||
        !is_older(&info.st_mtim, source->path) || !is_older(&info.st_mtim, "/proc/self/exe") ||
        (source->is_whole_folder && !is_older(&info.st_mtim, source->folder)))
        return 0;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (tool_path(path, "%s/%s", build->guest, ours[i]) != STATUS_OK ||
            !is_older(&info.st_mtim, path))
            return 0;
    for (size_t i = 0; i < source->header.schema_count; i++)
        if (!is_older(&info.st_mtim, source->schema_paths[i]))
            return 0;
    for (size_t i = 0; i <= source->source_count; i++)
        if (tool_path(path, "%s/%zu.d", build->work, i) != STATUS_OK ||
            !are_dependencies_older(&info.st_mtim, path))
            return 0;
    return 1;
}

static enum status file_generate(const struct tool_build *build, const char *suffix,
                                 void (*generate)(const struct build_source *, FILE *))
{
    char path[PATH_MAX];

    enum status status =
        tool_path(path, "%s/%s%s", build->work, build->source->header.name, suffix);
    if (status != STATUS_OK)
        return status;
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return system_error(path);
    generate(build->source, file);
    if (ferror(file) | fclose(file))
        return system_error(path);
    return STATUS_OK;
}

// Written beside its place, then moved there: nobody sees half an image.
static enum status file_write(const char *path, const uint8_t *bytes, size_t size)
{
    char partial[PATH_MAX];

    if (tool_path(partial, "%s.%d", path, (int)getpid()) != STATUS_OK)
        return STATUS_TOO_LARGE;
    FILE *file = fopen(partial, "we");
    if (file == NULL)
        return system_error(partial);
    size_t written = fwrite(bytes, 1, size, file);
    if (fclose(file) != 0 || written != size || rename(partial, path) != 0) {
        enum status status = system_error(path);
        unlink(partial);
        return status;
    }
    return STATUS_OK;
}

static enum status origin_write(const struct tool_build *build)
{
    char path[PATH_MAX], origin[PATH_MAX];

    if (realpath(build->source->path, origin) == NULL)
        return system_error(build->source->path);
    if (tool_path(path, "%s/origin", build->work) != STATUS_OK)
        return STATUS_TOO_LARGE;
    return file_write(path, (const uint8_t *)origin, strlen(origin));
}

// Says which instruction is not allowed, and where it came from.
static void forbidden_explain(const struct tool_build *build, const struct pack *pack)
{
    char place[512], file[512] = "";
    const char *name = "";
    int line = 0;
    size_t offset = image_forbidden(pack->parts[PACK_TEXT].bytes,
                                    pack->parts[PACK_TEXT].memory_bytes, 0, &name);

    tool_symbolize(build->debug, pack->parts[PACK_TEXT].address + offset, place, sizeof place);
    char *tab = strchr(place, '\t');
    if (tab != NULL) {
        *tab = 0;
        snprintf(file, sizeof file, "%s", tab + 1);
        char *colon = strrchr(file, ':');
        if (colon != NULL) {
            *colon = 0;
            line = (int)strtol(colon + 1, NULL, 10);
        }
    }
    report_error(file[0] != 0 ? file : build->source->path, line,
                 "a unikernel has no use for it; if no such instruction is meant, change the constant or "
                 "expression on that line",
                 "%s %s", place[0] != 0 ? place : "the code", name);
}

static int is_retried(const struct tool_build *build, struct layout *layout, const struct pack *pack)
{
    char map[PATH_MAX];

    return tool_path(map, "%s/map", build->work) == STATUS_OK && layout_next(layout, pack, map);
}

// Packs the linker's result with its manifest. STATUS_DENIED: a forbidden instruction, reported; STATUS_AGAIN:
// the same, and the layout is that of the next attempt.
static enum status image_pack(struct tool_build *build, struct build_source *source,
                              struct layout *layout, uint8_t *image, size_t *size)
{
    static struct pack pack; // too large for a stack
    _Alignas(8) static uint8_t manifest[MANIFEST_BYTES_MAX];
    const char *why;
    char *linked;
    size_t linked_bytes;

    enum status status = tool_read(build->debug, LINKED_BYTES_MAX, &linked, &linked_bytes);
    if (status != STATUS_OK)
        return system_error(build->debug);
    status = pack_read(&pack, (uint8_t *)linked, linked_bytes, &why);
    if (status != STATUS_OK) {
        report_error(source->path, 0, NULL, "%s", why);
        goto out;
    }
    source->header.application_text_bytes = pack.application_text_bytes;
    source->header.application_data_bytes = pack.application_data_bytes;
    source->header.library_text_bytes = pack.library_text_bytes;
    source->header.library_data_bytes = pack.library_data_bytes;
    size_t manifest_bytes = build_source_manifest(source, manifest);
    *size = manifest_bytes == 0 ? 0 : pack_write(&pack, manifest, manifest_bytes, image);
    status = STATUS_TOO_LARGE;
    if (*size == 0) {
        if (manifest_bytes != 0)
            report_error(source->path, 0, NULL, "the image would be larger than 1 MiB");
        goto out;
    }
    struct image check;
    status = image_open(&check, image, *size, &why);
    if (status == STATUS_DENIED && is_retried(build, layout, &pack))
        status = STATUS_AGAIN;
    else if (status == STATUS_DENIED)
        forbidden_explain(build, &pack);
    else if (status != STATUS_OK)
        report_error(source->path, 0, NULL, "the image breaks its format: %s", why);
out:
    free(linked);
    return status;
}

static enum status image_make(struct tool_build *build, struct build_source *source,
                              const char *image_path)
{
    uint8_t *image = aligned_alloc(16, IMAGE_BYTES_MAX);
    size_t size = 0;
    enum status status = STATUS_SYSTEM;

    if (image == NULL)
        return system_error(image_path);
    struct layout layout;
    layout_init(&layout);
    do { // what fails was reported
        status = tool_compile(build, &layout);
        if (status == STATUS_OK)
            status = tool_link(build, &layout);
        if (status == STATUS_OK)
            status = image_pack(build, source, &layout, image, &size);
    } while (status == STATUS_AGAIN);
    if (status == STATUS_OK)
        status = origin_write(build);
    if (status == STATUS_OK)
        status = file_write(image_path, image, size);
    free(image);
    return status;
}

enum status build_unikernel(const char *folder, const char *image_path)
{
    struct tool_build build;
    static struct build_source source; // too large for a stack

    enum status status = places_name(&build, image_path);
    if (status != STATUS_OK)
        return status;
    build.source = &source;
    char schemas[PATH_MAX];
    status = tool_path(schemas, "%s/schemas", build.guest);
    if (status == STATUS_OK)
        status = build_source_read(&source, folder, schemas);
    if (status == STATUS_OK && !is_current(&build, image_path)) {
        status = folder_make(build.work);
        if (status == STATUS_OK)
            status = file_generate(&build, ".h", generate_header);
        if (status == STATUS_OK)
            status = file_generate(&build, "_dispatch.c", generate_dispatch);
        if (status == STATUS_OK)
            status = image_make(&build, &source, image_path);
    }
    build_source_clean_up(&source);
    return status;
}

// The digests inside are those of the schemas inside (core has no hash).
static int are_digests_right(const struct manifest *manifest)
{
    for (size_t i = 0; i < manifest->header->schema_count; i++) {
        const struct schema_header *header = manifest->schemas[i].header;
        uint8_t digest[SCHEMA_DIGEST_BYTES];
        schema_digest((const uint8_t *)header, header->block_bytes, digest);
        if (memcmp(digest, header->digest, sizeof digest) != 0)
            return 0;
    }
    return 1;
}

enum status image_read(const char *path, uint8_t **bytes, struct image *image, uint8_t digest[32])
{
    const char *why = "larger than 1 MiB";
    char *file = NULL;
    size_t size;

    enum status status = tool_read(path, IMAGE_BYTES_MAX, &file, &size);
    if (status == STATUS_SYSTEM) {
        int error = errno;
        report_error(path, 0, "name an image; crenel build DIR makes one", "%s", strerror(error));
        return error == ENOENT ? STATUS_ABSENT : STATUS_SYSTEM;
    }
    if (status == STATUS_OK)
        status = image_open(image, (uint8_t *)file, size, &why);
    if (status == STATUS_OK && !are_digests_right(&image->manifest)) {
        why = "a schema in it does not match its digest";
        status = STATUS_SIGNATURE;
    }
    if (status != STATUS_OK) {
        report_error(path, 0, "build it with: crenel build DIR", "not an image: %s", why);
        free(file);
        return status;
    }
    crypto_hash_sha256(digest, (uint8_t *)file, size);
    *bytes = (uint8_t *)file;
    return STATUS_OK;
}
