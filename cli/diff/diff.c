// SPDX-License-Identifier: ISC
// crenel policy diff OLD NEW: what became more open, what less, and what is merely different.
//
// Exit code 0: nothing is more open; 1: something is; 3: one of the two cannot be read.
#include "cli/diff/diff.h"
#include "cli/policy/policy.h"
#include "cli/report.h"

#include "abi/abi.h"
#include "core/check.h"
#include "core/manifest.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const titles[DIFF_KINDS] = {"more open", "less open", "different"};

void diff_add(const struct diff_entry *entry, enum diff_kind kind, const char *format, ...)
{
    struct diff *diff = entry->diff;
    struct diff_row row = {.kind = kind, .line = entry->line};
    va_list list;
    diff->rows = realloc(diff->rows, (diff->count + 1) * sizeof row);
    check(diff->rows != NULL); // a few hundred lines of text
    int length = entry->name[0] != 0 ? asprintf(&row.what, "%s %s", entry->what, entry->name)
                                     : asprintf(&row.what, "%s", entry->what);
    va_start(list, format);
    check(length > 0 && vasprintf(&row.text, format, list) >= 0);
    va_end(list);
    diff->rows[diff->count++] = row;
    diff->counts[kind]++;
}

int diff_find(const void *table, size_t entry, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp((const char *)table + i * entry, name) == 0)
            return (int)i;
    return -1;
}

static int holds(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return 1;
    return 0;
}

void diff_names(const struct diff_entry *entry, const char *what, const char *const *old, size_t old_count,
                const char *const *new, size_t new_count)
{
    for (size_t i = 0; i < new_count; i++)
        if (!holds(old, old_count, new[i]))
            diff_add(entry, DIFF_MORE, "+ %s %s", what, new[i]);
    for (size_t i = 0; i < old_count; i++)
        if (!holds(new, new_count, old[i]))
            diff_add(entry, DIFF_LESS, "- %s %s", what, old[i]);
}

// ---- The system as a whole ----

static void diff_header(struct diff *diff)
{
    const struct system_header *old = diff->old->view.header, *new = diff->new->view.header;
    struct diff_entry entry = {diff, "system", new->name, 0};
    if (strcmp(old->name, new->name) != 0)
        diff_add(&entry, DIFF_OTHER, "name %s -> %s", old->name, new->name);
    if (strcmp(old->tenant, new->tenant) != 0)
        diff_add(&entry, DIFF_MORE, "tenant %s -> %s", old->tenant, new->tenant);
    diff_fields(&entry, TABLE_HEADER, old, new);
}

// Does the text hold this line (length with its newline)?
static int has_line(const struct system_view *system, const char *line, size_t length)
{
    const char *end = system->never + system->never_bytes;
    for (const char *at = system->never; at < end;) {
        size_t own = (size_t)((const char *)memchr(at, '\n', (size_t)(end - at)) + 1 - at);
        if (own == length && memcmp(at, line, length) == 0)
            return 1;
        at += own;
    }
    return 0;
}

// Rules of `from` that `in` does not have. More rules are less open.
static void never_missing(struct diff *diff, const struct system_view *from, const struct system_view *in,
                          enum diff_kind kind)
{
    struct diff_entry entry = {diff, "never", "", 0};
    const char *end = from->never + from->never_bytes;
    for (const char *at = from->never; at < end;) {
        size_t length = (size_t)((const char *)memchr(at, '\n', (size_t)(end - at)) + 1 - at);
        const char *to = memchr(at, '\t', length), *through = NULL;
        if (to != NULL)
            through = memchr(to + 1, '\t', length - (size_t)(to + 1 - at));
        const char *to_end = through != NULL ? through : at + length - 1;
        if (to != NULL && !has_line(in, at, length)) {
            char names[512] = "";
            if (through != NULL)
                snprintf(names, sizeof names, " unless through %.*s", (int)(at + length - 2 - through), through + 1);
            for (char *tab = names; *tab != 0; tab++)
                *tab = *tab == '\t' ? ' ' : *tab;
            diff_add(&entry, kind, "%s from %.*s to %.*s%s", kind == DIFF_MORE ? "-" : "+", (int)(to - at), at,
                     (int)(to_end - to - 1), to + 1, names);
        }
        at += length;
    }
}

// ---- Unikernels ----

struct text {
    size_t size;
    char bytes[ABI_CONFIGURATION_BYTES_MAX + 1];
};

// Without the topics, which are compared one by one.
static void configuration_text(const struct system_view *system, size_t index, struct text *text)
{
    const struct system_unikernel *unikernel = &system->unikernels[index];
    struct topic_walk walk = {.unikernel = (uint16_t)index};
    struct system_topic topic;
    const char *line;
    size_t length;
    text->size = 0;
    if (!topic_line(system, &walk, &topic, &line, &length) || topic.unikernel != index) {
        text->size = unikernel->configuration_bytes;
        memcpy(text->bytes, system->bytes + unikernel->configuration_offset, text->size);
        return;
    }
    do {
        if (topic.flow == SYSTEM_NONE) {
            memcpy(text->bytes + text->size, line, length);
            text->size += length;
            text->bytes[text->size++] = '\n';
        }
    } while (topic_line(system, &walk, &topic, &line, &length) && topic.unikernel == index);
}

static const char *namespace_name(const struct system_view *system, uint16_t index)
{
    return index == SYSTEM_NONE ? "none" : system->namespaces[index].name;
}

static void diff_unikernel(struct diff *diff, size_t old, size_t new, int line)
{
    static const int strength[] = {[ISOLATION_PROCESS] = 0, [ISOLATION_ANY] = 1, [ISOLATION_KVM] = 2, [ISOLATION_ENCLAVE] = 3};
    static const char *const isolations[] = {"any", "process", "kvm", "enclave"};
    const struct system_unikernel *was = &diff->old->view.unikernels[old], *is = &diff->new->view.unikernels[new];
    struct diff_entry entry = {diff, "unikernel", is->name, line};
    struct text old_text, new_text;
    if (memcmp(was->image_digest, is->image_digest, sizeof is->image_digest) != 0)
        diff_add(&entry, DIFF_OTHER, "image %02x%02x%02x%02x... -> %02x%02x%02x%02x...", was->image_digest[0],
                 was->image_digest[1], was->image_digest[2], was->image_digest[3], is->image_digest[0],
                 is->image_digest[1], is->image_digest[2], is->image_digest[3]);
    if (was->isolation != is->isolation)
        diff_add(&entry, strength[is->isolation] < strength[was->isolation] ? DIFF_MORE : DIFF_LESS,
                 "isolation %s -> %s", isolations[was->isolation], isolations[is->isolation]);
    configuration_text(&diff->old->view, old, &old_text);
    configuration_text(&diff->new->view, new, &new_text);
    if (old_text.size != new_text.size || memcmp(old_text.bytes, new_text.bytes, new_text.size) != 0)
        diff_add(&entry, DIFF_OTHER, "configuration");
    for (unsigned i = 0; i < was->namespace_count && i < is->namespace_count; i++) {
        const char *names[2] = {namespace_name(&diff->old->view, was->namespaces[i]),
                                namespace_name(&diff->new->view, is->namespaces[i])};
        if (strcmp(names[0], names[1]) != 0) // whether it may, the namespace says
            diff_add(&entry, DIFF_OTHER, "its namespace %u is %s -> %s", i, names[0], names[1]);
    }
    diff_fields(&entry, TABLE_UNIKERNEL, was, is);
}

static void diff_unikernels(struct diff *diff)
{
    const struct system_view *old = &diff->old->view, *new = &diff->new->view;
    for (size_t i = 0; i < new->unikernel_count; i++) {
        const struct compile *source = diff->new->compile;
        int line = source != NULL ? source->sources[i].node->line : 0;
        int was = diff_find(old->unikernels, sizeof *old->unikernels, old->unikernel_count, new->unikernels[i].name);
        struct diff_entry entry = {diff, "unikernel", new->unikernels[i].name, line};
        if (was < 0) // what it may say and read stands in its flows and namespaces
            diff_add(&entry, DIFF_OTHER, "+ new, %u KiB, %u %% cpu, %u instances", new->unikernels[i].memory_kib,
                     new->unikernels[i].cpu_percent, new->unikernels[i].instances_max);
        else
            diff_unikernel(diff, (size_t)was, i, line);
    }
    for (size_t i = 0; i < old->unikernel_count; i++) {
        struct diff_entry entry = {diff, "unikernel", old->unikernels[i].name, 0};
        if (diff_find(new->unikernels, sizeof *new->unikernels, new->unikernel_count, entry.name) < 0)
            diff_add(&entry, DIFF_LESS, "- removed");
    }
}

void diff_make(struct diff *diff, const struct policy_system *old, const struct policy_system *new)
{
    *diff = (struct diff){.old = old, .new = new};
    diff_header(diff);
    never_missing(diff, &old->view, &new->view, DIFF_MORE);
    never_missing(diff, &new->view, &old->view, DIFF_LESS);
    diff_outside(diff);
    diff_flows(diff);
    diff_namespaces(diff);
    diff_unikernels(diff);
}

void diff_clean_up(struct diff *diff)
{
    for (size_t i = 0; i < diff->count; i++) {
        free(diff->rows[i].what);
        free(diff->rows[i].text);
    }
    free(diff->rows);
}

// ---- What people see ----

void diff_print(const struct diff *diff, int to_errors)
{
    FILE *out = to_errors ? stderr : stdout;
    if (to_errors)
        fflush(stdout);
    for (int kind = 0; kind < DIFF_KINDS; kind++) {
        if (diff->counts[kind] == 0)
            continue;
        fprintf(out, "%s (%zu):\n", titles[kind], diff->counts[kind]);
        for (size_t i = 0; i < diff->count; i++) {
            const struct diff_row *row = &diff->rows[i];
            if ((int)row->kind != kind)
                continue;
            fprintf(out, "  %s: %s", row->what, row->text);
            if (row->line != 0)
                fprintf(out, "   (%s:%d)", diff->new->title, row->line);
            fputc('\n', out);
        }
    }
    if (diff->count == 0)
        fprintf(out, "nothing differs\n");
}

static void diff_json(const struct diff *diff)
{
    static const char *const keys[DIFF_KINDS] = {"more_open", "less_open", "different"};
    cJSON *root = cJSON_CreateObject();
    for (int kind = 0; kind < DIFF_KINDS; kind++) {
        cJSON *array = cJSON_AddArrayToObject(root, keys[kind]);
        for (size_t i = 0; i < diff->count; i++) {
            if ((int)diff->rows[i].kind != kind)
                continue;
            cJSON *row = cJSON_CreateObject();
            cJSON_AddStringToObject(row, "what", diff->rows[i].what);
            cJSON_AddStringToObject(row, "change", diff->rows[i].text);
            if (diff->rows[i].line != 0)
                cJSON_AddNumberToObject(row, "line", diff->rows[i].line);
            cJSON_AddItemToArray(array, row);
        }
    }
    char *text = cJSON_Print(root);
    puts(text);
    cJSON_free(text);
    cJSON_Delete(root);
}

int policy_diff(const struct policy_system *systems, const struct policy_options *options)
{
    struct diff diff;
    diff_make(&diff, &systems[0], &systems[1]);
    if (options->is_json)
        diff_json(&diff);
    else
        diff_print(&diff, 0);
    int is_more = diff.counts[DIFF_MORE] != 0;
    diff_clean_up(&diff);
    return is_more ? EXIT_FAILED : EXIT_OK;
}
