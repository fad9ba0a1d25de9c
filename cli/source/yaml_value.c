// SPDX-License-Identifier: ISC
// Values out of a YAML tree: by name, with type, unit and bounds; and what nobody asked for.
#include "cli/source/yaml.h"

#include "cli/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *kind_text(enum yaml_kind kind)
{
    return kind == YAML_SCALAR ? "a plain value" : kind == YAML_SEQUENCE ? "a list [..]" : "a mapping {..}";
}

static void remember_asked(struct yaml_node *mapping, const char *key)
{
    for (size_t i = 0; i < mapping->asked_count; i++)
        if (strcmp(mapping->asked[i], key) == 0)
            return;
    char **asked = realloc(mapping->asked, (mapping->asked_count + 1) * sizeof *asked);
    char *copy = strdup(key);
    if (asked == NULL || copy == NULL) {
        report_error(NULL, 0, NULL, "no memory");
        exit(EXIT_FAILED);
    }
    mapping->asked = asked;
    mapping->asked[mapping->asked_count++] = copy;
}

struct yaml_node *yaml_child(struct yaml_file *file, struct yaml_node *mapping, const char *key,
                             enum yaml_kind kind, int required)
{
    char mend[96];
    if (mapping == NULL)
        return NULL; // reported where it was taken
    if (mapping->kind != YAML_MAPPING) { // an item of a list
        if (required && mapping->asked_count == 0) {
            yaml_error(file, mapping, "write {name: value, ...}", "%s where '%s' and others are asked for",
                       kind_text(mapping->kind), key);
            remember_asked(mapping, key); // said once
        }
        return NULL;
    }
    remember_asked(mapping, key);
    for (size_t i = 0; i < mapping->count; i++) {
        struct yaml_node *child = mapping->children[i];
        if (strcmp(child->key, key) != 0)
            continue;
        child->is_used = 1;
        if (child->kind == kind && (kind != YAML_SCALAR || child->text[0] != 0))
            return child;
        snprintf(mend, sizeof mend, "write %s behind '%.40s:'", kind_text(kind), key);
        yaml_error(file, child, mend, child->kind == kind ? "'%s' has no value" : "'%s' has the wrong form", key);
        return NULL;
    }
    if (required) {
        snprintf(mend, sizeof mend, "add '%.40s: ...' here (docs/files.md)", key);
        if (mapping->key != NULL)
            yaml_error(file, mapping, mend, "'%s' is missing in '%s'", key, mapping->key);
        else
            yaml_error(file, mapping, mend, "'%s' is missing", key);
    }
    return NULL;
}

struct yaml_node *yaml_any(struct yaml_node *mapping, const char *key)
{
    if (mapping == NULL || mapping->kind != YAML_MAPPING)
        return NULL;
    remember_asked(mapping, key);
    for (size_t i = 0; i < mapping->count; i++)
        if (strcmp(mapping->children[i]->key, key) == 0) {
            mapping->children[i]->is_used = 1;
            return mapping->children[i];
        }
    return NULL;
}

const char *yaml_text(struct yaml_file *file, struct yaml_node *mapping, const char *key,
                      const char *fallback)
{
    const struct yaml_node *child = yaml_child(file, mapping, key, YAML_SCALAR, fallback == NULL);
    return child == NULL ? fallback : child->text;
}

struct unit {
    const char *text;
    int64_t factor;
};

// An integer with one of the units; empty units: without.
static int64_t quantity(struct yaml_file *file, struct yaml_node *mapping, const char *key,
                        const struct unit *units, const char *example, int64_t minimum,
                        int64_t maximum, int has_fallback, int64_t fallback)
{
    const struct yaml_node *child = yaml_child(file, mapping, key, YAML_SCALAR, !has_fallback);
    char mend[128];
    if (child == NULL)
        return has_fallback ? fallback : minimum;
    char *end;
    errno = 0;
    int64_t value = strtoll(child->text, &end, 10);
    int is_number = end != child->text && errno == 0 && (child->text[0] == '-' || (child->text[0] >= '0' && child->text[0] <= '9'));
    const struct unit *unit = units;
    while (unit->text != NULL && strcmp(unit->text, end) != 0)
        unit++;
    snprintf(mend, sizeof mend, "write for example %s", example);
    if (!is_number)
        yaml_error(file, child, mend, "'%s: %s' is not a number", key, child->text);
    else if (unit->text == NULL && *end == 0)
        yaml_error(file, child, mend, "'%s: %s' has no unit", key, child->text);
    else if (unit->text == NULL)
        yaml_error(file, child, mend, "'%s: %s' has the wrong unit", key, child->text);
    else if (__builtin_mul_overflow(value, unit->factor, &value) || value < minimum || value > maximum) {
        if (units->text[0] == 0)
            snprintf(mend, sizeof mend, "write a number from %lld to %lld", (long long)minimum, (long long)maximum);
        else
            snprintf(mend, sizeof mend, "write at least %lld%s and at most %lld%s", (long long)minimum,
                     units->text, (long long)maximum, units->text);
        yaml_error(file, child, mend, "'%s: %s' is out of range", key, child->text);
    } else {
        return value;
    }
    return minimum;
}

int64_t yaml_integer(struct yaml_file *file, struct yaml_node *mapping, const char *key,
                     int64_t minimum, int64_t maximum, int has_fallback, int64_t fallback)
{
    static const struct unit units[] = {{"", 1}, {NULL, 0}};
    return quantity(file, mapping, key, units, "100, without a unit", minimum, maximum, has_fallback,
                    fallback);
}

int64_t yaml_bytes(struct yaml_file *file, struct yaml_node *mapping, const char *key,
                   int64_t minimum, int64_t maximum, int has_fallback, int64_t fallback)
{
    static const struct unit units[] = {
        {"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {NULL, 0}};
    return quantity(file, mapping, key, units, "512B, 64KiB or 16MiB", minimum, maximum,
                    has_fallback, fallback);
}

int64_t yaml_ms(struct yaml_file *file, struct yaml_node *mapping, const char *key, int64_t minimum,
                int64_t maximum, int has_fallback, int64_t fallback)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
    return quantity(file, mapping, key, units, "100ms, 5s or 2min", minimum, maximum, has_fallback,
                    fallback);
}

int64_t yaml_percent(struct yaml_file *file, struct yaml_node *mapping, const char *key,
                     int64_t minimum, int64_t maximum, int has_fallback, int64_t fallback)
{
    static const struct unit units[] = {{"%", 1}, {NULL, 0}};
    return quantity(file, mapping, key, units, "50%", minimum, maximum, has_fallback, fallback);
}

int yaml_choice(struct yaml_file *file, struct yaml_node *mapping, const char *key,
                const char *const *names, int count, int fallback)
{
    const struct yaml_node *child = yaml_child(file, mapping, key, YAML_SCALAR, fallback < 0);
    if (child == NULL)
        return fallback < 0 ? 0 : fallback;
    char mend[256] = "write one of:";
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], child->text) == 0)
            return i;
        size_t used = strlen(mend);
        snprintf(mend + used, sizeof mend - used, " %s", names[i]);
    }
    yaml_error(file, child, mend, "'%s: %s' is not known", key, child->text);
    return fallback < 0 ? 0 : fallback;
}

// Edit distance, up to a limit where it no longer matters.
static unsigned distance(const char *a, const char *b)
{
    unsigned row[64];
    size_t length = strlen(b);
    if (length >= 64 || strlen(a) >= 64)
        return 64;
    for (unsigned j = 0; j <= length; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1] != 0; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= length; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[length];
}

const char *yaml_nearest(const char *word, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    unsigned least = strlen(word) < 4 ? 2 : 3; // more edits than that is another word
    for (size_t i = 0; i < count; i++) {
        unsigned edits = distance(word, names[i]);
        if (edits < least) {
            least = edits;
            nearest = names[i];
        }
    }
    return nearest;
}

static void finish_node(struct yaml_file *file, const struct yaml_node *node)
{
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml_node *child = node->children[i];
        if (node->kind == YAML_SEQUENCE || child->is_used) {
            finish_node(file, child);
            continue;
        }
        char mend[96] = "remove it, or see docs/files.md for the keys that exist";
        const char *nearest =
            yaml_nearest(child->key, (const char *const *)node->asked, node->asked_count);
        if (nearest != NULL)
            snprintf(mend, sizeof mend, "did you mean '%.40s'?", nearest);
        yaml_error(file, child, mend, "unknown key '%s'", child->key);
    }
}

void yaml_finish(struct yaml_file *file)
{
    finish_node(file, file->root);
}
