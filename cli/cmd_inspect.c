// SPDX-License-Identifier: ISC
// crenel inspect IMAGE [--json]: everything an image says about itself, checked.
#include "cli/build/build.h"
#include "cli/command.h"
#include "cli/report.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const lifetimes[] = {"message", "connection", "resident"};
static const char *const isolations[] = {"any", "process", "kvm", "enclave"};
static const char *const kinds[] = {"plain", "request", "reply"};
static const char *const segments[] = {"rodata", "text", "relro", "data"};
static const char *const permissions[] = {"r--", "r-x", "r-- after relocation", "rw-"};
static const char *const accesses[] = {"", "read", "write", "read, write"};

static void hex_format(const uint8_t *bytes, size_t count, char *text)
{
    for (size_t i = 0; i < count; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

// "sensor, hour"
static void fields_format(const struct schema *schema, const uint16_t *fields, size_t count,
                          char *text, size_t capacity)
{
    size_t used = 0;

    text[0] = 0;
    for (size_t i = 0; i < count && used < capacity; i++)
        used += (size_t)snprintf(text + used, capacity - used, "%s%s", i == 0 ? "" : ", ",
                                 schema->fields[fields[i]].name);
}

static void number_add(cJSON *object, const char *name, size_t value)
{
    cJSON_AddNumberToObject(object, name, (double)value);
}

static cJSON *flows_json(const struct image *image, const struct manifest_flow *flows, size_t count,
                         int is_output)
{
    const struct manifest *manifest = &image->manifest;
    const struct manifest_flow *partners = is_output ? manifest->inputs : manifest->outputs;
    cJSON *list = cJSON_CreateArray();

    for (size_t i = 0; i < count; i++) {
        const struct schema_header *schema = manifest->schemas[flows[i].schema].header;
        char digest[2 * SCHEMA_DIGEST_BYTES + 1];
        cJSON *flow = cJSON_CreateObject();
        hex_format(flows[i].schema_digest, SCHEMA_DIGEST_BYTES, digest);
        cJSON_AddStringToObject(flow, "flow", flows[i].name);
        cJSON_AddStringToObject(flow, "schema", schema->name);
        cJSON_AddStringToObject(flow, "schema_digest", digest);
        number_add(flow, "bytes_most", schema->struct_bytes);
        cJSON_AddStringToObject(flow, "kind", kinds[flows[i].kind]);
        if (flows[i].kind == MANIFEST_REQUEST)
            cJSON_AddStringToObject(flow, "reply", partners[flows[i].pair].name);
        if (is_output)
            number_add(flow, "most", flows[i].count_max);
        cJSON_AddItemToArray(list, flow);
    }
    return list;
}

static cJSON *namespaces_json(const struct manifest *manifest)
{
    cJSON *list = cJSON_CreateArray();

    for (size_t i = 0; i < manifest->header->namespace_count; i++) {
        const struct manifest_namespace *namespace = &manifest->namespaces[i];
        const struct schema *schema = &manifest->schemas[namespace->schema];
        char key[160], index[160];
        cJSON *item = cJSON_CreateObject();
        fields_format(schema, namespace->key_fields, namespace->key_count, key, sizeof key);
        fields_format(schema, namespace->index_fields, namespace->index_count, index, sizeof index);
        cJSON_AddStringToObject(item, "name", namespace->name);
        cJSON_AddStringToObject(item, "schema", schema->header->name);
        cJSON_AddStringToObject(item, "access", accesses[namespace->access]);
        cJSON_AddStringToObject(item, "key", key);
        cJSON_AddStringToObject(item, "index", index);
        cJSON_AddItemToArray(list, item);
    }
    return list;
}

static cJSON *segments_json(const struct image *image)
{
    cJSON *list = cJSON_CreateArray();

    for (size_t i = 0; i < image->segment_count; i++) {
        const struct image_segment *segment = &image->segments[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", segments[segment->kind]);
        cJSON_AddStringToObject(item, "permissions", permissions[segment->kind]);
        number_add(item, "address", segment->address);
        number_add(item, "memory_bytes", segment->memory_bytes);
        number_add(item, "file_bytes", segment->file_bytes);
        cJSON_AddItemToArray(list, item);
    }
    return list;
}

static cJSON *surface_json(const struct manifest_header *header)
{
    cJSON *surface = cJSON_CreateObject();

    number_add(surface, "application_code_bytes", header->application_text_bytes);
    number_add(surface, "application_data_bytes", header->application_data_bytes);
    number_add(surface, "library_code_bytes", header->library_text_bytes);
    number_add(surface, "library_data_bytes", header->library_data_bytes);
    return surface;
}

// For programs; the same facts as image_print.
static cJSON *image_json(const struct image *image, const uint8_t digest[32])
{
    const struct manifest_header *header = image->manifest.header;
    char text[65];
    cJSON *root = cJSON_CreateObject();
    cJSON *refusals = cJSON_CreateArray();

    hex_format(digest, 32, text);
    cJSON_AddStringToObject(root, "unikernel", header->name);
    cJSON_AddStringToObject(root, "release", header->release);
    cJSON_AddStringToObject(root, "digest", text);
    text[16] = 0;
    cJSON_AddStringToObject(root, "build", text);
    number_add(root, "security_version", header->security_version);
    number_add(root, "abi_version", header->abi_version);
    cJSON_AddStringToObject(root, "processor", "x86-64");
    cJSON_AddStringToObject(root, "lifetime", lifetimes[header->lifetime]);
    cJSON_AddStringToObject(root, "isolation", isolations[header->isolation]);
    cJSON_AddBoolToObject(root, "random", header->is_random);
    number_add(root, "image_bytes", image->size);
    number_add(root, "memory_bytes", image->span_bytes);
    number_add(root, "arena_bytes", header->arena_bytes);
    number_add(root, "stack_bytes", header->stack_bytes);
    number_add(root, "deadline_ms", header->deadline_ms);
    number_add(root, "writes_most", header->writes_max);
    cJSON_AddItemToObject(root, "inputs",
                          flows_json(image, image->manifest.inputs, header->input_count, 0));
    cJSON_AddItemToObject(root, "outputs",
                          flows_json(image, image->manifest.outputs, header->output_count, 1));
    cJSON_AddItemToObject(root, "namespaces", namespaces_json(&image->manifest));
    for (size_t i = 0; i < header->refusal_count; i++)
        cJSON_AddItemToArray(refusals, cJSON_CreateString(image->manifest.refusals[i].name));
    cJSON_AddItemToObject(root, "refusals", refusals);
    cJSON_AddItemToObject(root, "segments", segments_json(image));
    number_add(root, "relocations", image->relocation_count);
    cJSON_AddItemToObject(root, "attack_surface", surface_json(header));
    return root;
}

static void flows_print(const char *title, const struct manifest *manifest,
                        const struct manifest_flow *flows, size_t count,
                        const struct manifest_flow *partners)
{
    for (size_t i = 0; i < count; i++) {
        const struct schema_header *schema = manifest->schemas[flows[i].schema].header;
        printf("%-10s  %-24s %-24s up to %u bytes", i == 0 ? title : "", flows[i].name,
               schema->name, schema->struct_bytes);
        if (flows[i].count_max != 0)
            printf(", %u per event", flows[i].count_max);
        if (flows[i].kind == MANIFEST_REQUEST)
            printf(", answered by %s", partners[flows[i].pair].name);
        if (flows[i].kind == MANIFEST_REPLY)
            printf(", a reply");
        putchar('\n');
    }
}

static void namespaces_print(const struct manifest *manifest)
{
    for (size_t i = 0; i < manifest->header->namespace_count; i++) {
        const struct manifest_namespace *namespace = &manifest->namespaces[i];
        const struct schema *schema = &manifest->schemas[namespace->schema];
        char key[160], index[160];
        fields_format(schema, namespace->key_fields, namespace->key_count, key, sizeof key);
        fields_format(schema, namespace->index_fields, namespace->index_count, index, sizeof index);
        printf("%-10s  %-24s %-24s %s, key (%s)", i == 0 ? "store" : "", namespace->name,
               schema->header->name, accesses[namespace->access], key);
        printf(namespace->index_count != 0 ? ", index (%s)\n" : "%s\n", index);
    }
}

static void image_print(const struct image *image, const uint8_t digest[32])
{
    const struct manifest_header *header = image->manifest.header;
    char text[65];

    hex_format(digest, 32, text);
    printf("unikernel   %s %s, security version %u\n", header->name, header->release,
           header->security_version);
    printf("digest      sha256:%s\n", text);
    printf("lifetime    %s, isolation %s%s, abi %u, x86-64\n", lifetimes[header->lifetime],
           isolations[header->isolation], header->is_random ? ", random" : "", header->abi_version);
    printf("cost        arena %u, stack %u, image %u bytes of memory; %u ms and %u store writes per event\n",
           header->arena_bytes, header->stack_bytes, image->span_bytes, header->deadline_ms,
           header->writes_max);
    flows_print("inputs", &image->manifest, image->manifest.inputs, header->input_count,
                image->manifest.outputs);
    flows_print("outputs", &image->manifest, image->manifest.outputs, header->output_count,
                image->manifest.inputs);
    namespaces_print(&image->manifest);
    for (size_t i = 0; i < header->refusal_count; i++)
        printf("%-10s  %s\n", i == 0 ? "refuses" : "", image->manifest.refusals[i].name);
    printf("file        %zu bytes, %zu relocations\n", image->size, image->relocation_count);
    for (size_t i = 0; i < image->segment_count; i++)
        printf("%-10s  %-8s at 0x%05x  %7u bytes  %s\n", i == 0 ? "segments" : "",
               segments[image->segments[i].kind], image->segments[i].address,
               image->segments[i].memory_bytes, permissions[image->segments[i].kind]);
    printf("surface     application %7u bytes of code, %7u of data\n",
           header->application_text_bytes, header->application_data_bytes);
    printf("            library OS  %7u bytes of code, %7u of data\n", header->library_text_bytes,
           header->library_data_bytes);
}

int cmd_inspect(int argc, char **argv)
{
    const char *path = NULL;
    int is_json = 0;
    uint8_t *bytes, digest[32];
    struct image image;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            is_json = 1;
        else if (argv[i][0] != '-' && path == NULL)
            path = argv[i];
        else
            return EXIT_USAGE;
    }
    if (path == NULL)
        return EXIT_USAGE;
    enum status status = image_read(path, &bytes, &image, digest);
    if (status != STATUS_OK)
        return status == STATUS_ABSENT ? EXIT_ABSENT : EXIT_FAILED;
    if (is_json) {
        cJSON *root = image_json(&image, digest);
        char *text = cJSON_Print(root);
        puts(text == NULL ? "{}" : text);
        cJSON_free(text);
        cJSON_Delete(root);
    } else {
        image_print(&image, digest);
    }
    free(bytes);
    return EXIT_OK;
}
