// SPDX-License-Identifier: ISC
// libyaml's events into a tree of nodes; the plain subset and its limits are enforced here.
//
// Refused with their line: anchors, aliases, tags, duplicate keys, keys that are not scalars, more than
// one document, scalars with zero bytes, nesting deeper than YAML_DEPTH_MAX, files over YAML_BYTES_MAX.
#include "cli/source/yaml.h"

#include "cli/report.h"
#include "core/check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define YAML_DEPTH_MAX 16
#define YAML_BYTES_MAX (1024u * 1024u)

struct reader {
    struct yaml_file *file;
    yaml_parser_t parser;
};

static void *allocate(void *old, size_t size)
{
    void *bytes = realloc(old, size);
    if (bytes == NULL) {
        report_error(NULL, 0, NULL, "no memory");
        exit(EXIT_FAILED);
    }
    return bytes;
}

static char *text_copy(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(allocate(NULL, size), text, size);
}

static int event_line(const yaml_event_t *event)
{
    return (int)event->start_mark.line + 1;
}

static void refuse(struct reader *reader, int line, const char *mend, const char *what)
{
    report_error(reader->file->path, line, mend, "%s", what);
    reader->file->error_count++;
}

static int next_event(struct reader *reader, yaml_event_t *event)
{
    if (yaml_parser_parse(&reader->parser, event))
        return 1;
    int line = (int)reader->parser.problem_mark.line + 1;
    report_error(reader->file->path, line, "see docs/files.md for how this file is written",
                 "not YAML: %s", reader->parser.problem ? reader->parser.problem : "unreadable");
    reader->file->error_count++;
    return 0;
}

static struct yaml_node *node_new(enum yaml_kind kind, int line)
{
    struct yaml_node *node = allocate(NULL, sizeof *node);
    *node = (struct yaml_node){.kind = kind, .line = line};
    return node;
}

static void node_destroy(struct yaml_node *node)
{
    if (node == NULL)
        return;
    for (size_t i = 0; i < node->count; i++)
        node_destroy(node->children[i]);
    for (size_t i = 0; i < node->asked_count; i++)
        free(node->asked[i]);
    free(node->children);
    free(node->asked);
    free(node->text);
    free(node->key);
    free(node);
}

static void node_add(struct yaml_node *parent, struct yaml_node *child)
{
    if ((parent->count & (parent->count + 1)) == 0) // grows at 0, 1, 3, 7 ...
        parent->children =
            allocate(parent->children, (2 * parent->count + 1) * sizeof *parent->children);
    parent->children[parent->count++] = child;
}

// Anchors and tags make a document mean something else than it shows.
static int is_plain(struct reader *reader, const yaml_event_t *event)
{
    const void *anchor = NULL, *tag = NULL;
    if (event->type == YAML_ALIAS_EVENT)
        anchor = event->data.alias.anchor;
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    }
    if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    }
    if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    }
    if (anchor != NULL)
        refuse(reader, event_line(event), "write the value out", "anchors and aliases are not allowed");
    else if (tag != NULL)
        refuse(reader, event_line(event), "remove the tag", "tags (!...) are not allowed");
    return anchor == NULL && tag == NULL;
}

static struct yaml_node *read_node(struct reader *reader, yaml_event_t *event, int depth);

static char *scalar_text(struct reader *reader, const yaml_event_t *event)
{
    const char *value = (const char *)event->data.scalar.value;
    if (strlen(value) != event->data.scalar.length) {
        refuse(reader, event_line(event), "remove it", "a zero byte inside text");
        return NULL;
    }
    return text_copy(value);
}

static int read_sequence(struct reader *reader, struct yaml_node *sequence, int depth)
{
    for (;;) {
        yaml_event_t event;
        if (!next_event(reader, &event))
            return 0;
        int is_end = event.type == YAML_SEQUENCE_END_EVENT;
        struct yaml_node *child = is_end ? NULL : read_node(reader, &event, depth + 1);
        yaml_event_delete(&event);
        if (is_end)
            return 1;
        if (child == NULL)
            return 0;
        node_add(sequence, child);
    }
}

// The key of a mapping's next entry, or NULL: the mapping ended (*is_end) or was refused.
static char *read_key(struct reader *reader, const struct yaml_node *mapping, int *line, int *is_end)
{
    yaml_event_t event;
    char *key = NULL;
    *is_end = 0;
    if (!next_event(reader, &event))
        return NULL;
    *line = event_line(&event);
    if (event.type == YAML_MAPPING_END_EVENT)
        *is_end = 1;
    else if (!is_plain(reader, &event))
        ;
    else if (event.type != YAML_SCALAR_EVENT)
        refuse(reader, *line, "write a name", "a key that is not a plain word");
    else
        key = scalar_text(reader, &event);
    yaml_event_delete(&event);
    for (size_t i = 0; key != NULL && i < mapping->count; i++)
        if (strcmp(mapping->children[i]->key, key) == 0) {
            report_error(reader->file->path, *line, "keep one of them", "'%s' is here twice (first in line %d)",
                         key, mapping->children[i]->line);
            reader->file->error_count++;
            free(key);
            key = NULL;
        }
    return key;
}

static int read_mapping(struct reader *reader, struct yaml_node *mapping, int depth)
{
    for (;;) {
        int line, is_end;
        char *key = read_key(reader, mapping, &line, &is_end);
        if (key == NULL)
            return is_end;
        yaml_event_t event;
        if (!next_event(reader, &event)) {
            free(key);
            return 0;
        }
        struct yaml_node *child = read_node(reader, &event, depth + 1);
        yaml_event_delete(&event);
        if (child == NULL) {
            free(key);
            return 0;
        }
        child->key = key;
        child->line = line;
        node_add(mapping, child);
    }
}

// The node that begins with this event, or NULL when it was refused.
static struct yaml_node *read_node(struct reader *reader, yaml_event_t *event, int depth)
{
    if (!is_plain(reader, event))
        return NULL;
    if (depth > YAML_DEPTH_MAX) {
        refuse(reader, event_line(event), "flatten the file", "nested deeper than 16 levels");
        return NULL;
    }
    if (event->type == YAML_SCALAR_EVENT) {
        char *text = scalar_text(reader, event);
        struct yaml_node *scalar = text == NULL ? NULL : node_new(YAML_SCALAR, event_line(event));
        if (scalar != NULL)
            scalar->text = text;
        return scalar;
    }
    int is_mapping = event->type == YAML_MAPPING_START_EVENT;
    check(is_mapping || event->type == YAML_SEQUENCE_START_EVENT);
    struct yaml_node *node = node_new(is_mapping ? YAML_MAPPING : YAML_SEQUENCE, event_line(event));
    if (is_mapping ? read_mapping(reader, node, depth) : read_sequence(reader, node, depth))
        return node;
    node_destroy(node);
    return NULL;
}

// STREAM-START DOCUMENT-START node DOCUMENT-END STREAM-END.
static void read_document(struct reader *reader)
{
    yaml_event_t event;
    do {
        if (!next_event(reader, &event))
            return;
        if (event.type == YAML_STREAM_END_EVENT) {
            refuse(reader, 1, "see docs/files.md for what belongs here", "the file is empty");
            yaml_event_delete(&event);
            return;
        }
        if (event.type != YAML_STREAM_START_EVENT && event.type != YAML_DOCUMENT_START_EVENT)
            break;
        yaml_event_delete(&event);
    } while (1);
    struct yaml_node *root = read_node(reader, &event, 1);
    yaml_event_delete(&event);
    reader->file->root = root;
    if (root == NULL)
        return;
    if (root->kind != YAML_MAPPING)
        refuse(reader, root->line, "write 'name: value' lines", "the file is not a mapping");
    do {
        if (!next_event(reader, &event))
            return;
        int is_end = event.type == YAML_STREAM_END_EVENT;
        int is_second = event.type == YAML_DOCUMENT_START_EVENT;
        if (is_second)
            refuse(reader, event_line(&event), "use one file for each", "a second document");
        yaml_event_delete(&event);
        if (is_end || is_second)
            return;
    } while (1);
}

static enum status read_bytes(struct yaml_file *file, uint8_t **bytes, size_t *size)
{
    FILE *in = fopen(file->path, "re");
    if (in == NULL) {
        report_error(file->path, 0, "name a folder or file that is there: a system has a system.yaml, a unikernel a unikernel.yaml", "cannot open: %s", strerror(errno));
        return STATUS_SYSTEM;
    }
    *bytes = allocate(NULL, YAML_BYTES_MAX + 1);
    *size = fread(*bytes, 1, YAML_BYTES_MAX + 1, in);
    int is_failed = ferror(in);
    fclose(in);
    if (!is_failed && *size <= YAML_BYTES_MAX)
        return STATUS_OK;
    if (is_failed)
        report_error(file->path, 0, "check that it is a file", "cannot read: %s", strerror(errno));
    else
        report_error(file->path, 0, "split it", "larger than 1 MiB");
    free(*bytes);
    return is_failed ? STATUS_SYSTEM : STATUS_TOO_LARGE;
}

enum status yaml_read(struct yaml_file *file, const char *path)
{
    struct reader reader = {.file = file};
    uint8_t *bytes;
    size_t size;
    *file = (struct yaml_file){.path = text_copy(path)};
    enum status status = read_bytes(file, &bytes, &size);
    if (status != STATUS_OK) {
        yaml_close(file);
        return status;
    }
    check(yaml_parser_initialize(&reader.parser));
    yaml_parser_set_input_string(&reader.parser, bytes, size);
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    read_document(&reader);
    yaml_parser_delete(&reader.parser);
    free(bytes);
    if (file->error_count == 0)
        return STATUS_OK;
    yaml_close(file);
    return STATUS_MALFORMED;
}

void yaml_close(struct yaml_file *file)
{
    node_destroy(file->root);
    free(file->path);
    *file = (struct yaml_file){.path = NULL};
}

void yaml_error(struct yaml_file *file, const struct yaml_node *node, const char *mend,
                const char *what, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, what);
    vsnprintf(text, sizeof text, what, arguments);
    va_end(arguments);
    report_error(file->path, node == NULL ? 0 : node->line, mend, "%s", text);
    file->error_count++;
}
