// SPDX-License-Identifier: ISC
// Fuzz target: YAML source files into a tree, and every kind of question to it. Whatever is refused has a report.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"

#include "cli/source/yaml.h"

#include <stdarg.h>
#include <string.h>

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static const char *const seeds[] = {
        "name: hot\nversion: 1.0.0\nlifetime: message\nmemory: 64KiB\ndeadline: 100ms\n"
        "inputs:\n  reading: {schema: reading/1}\noutputs:\n  alert: {schema: alert/1, most: 1}\n",
        "system: plant\nlimits: best-effort\nflows:\n  - from: a.b\n    to: [c.d, e.f]\n    rate: 10/s\n"
        "    text: 'it''s'\n    more: \"a\\tb\\x41\\u263a\"\n    long: |\n      one\n      two\n",
        "schema: x/1\nfields:\n  - {name: a, type: u16, minimum: 0, maximum: 0x10}\n  - name: b\n    share: 50%\n",
        "- 1\n- [2, [3, [4, {a: ~}]]]\n- &x y\n- *x\n- !t z\n- ? [complex]\n  : no\n# end\n...\n---\nsecond: 1\n",
    };
    if (index >= sizeof seeds / sizeof seeds[0])
        return 0;
    memcpy(bytes, seeds[index], strlen(seeds[index]));
    return strlen(seeds[index]);
}

static void ask(struct yaml_file *file, struct yaml_node *node, int depth)
{
    static const char *const names[] = {"message", "connection", "resident"};
    must(depth <= 32 && node->line >= 1);
    must((node->kind == YAML_SCALAR) == (node->text != NULL));
    for (size_t i = 0; i < node->count; i++) {
        must(node->children[i] != NULL && (node->kind == YAML_MAPPING) == (node->children[i]->key != NULL));
        ask(file, node->children[i], depth + 1);
    }
    if (node->kind != YAML_MAPPING)
        return;
    for (size_t i = 0; i < node->count; i += 2) {
        const char *key = node->children[i]->key;
        struct yaml_node *child = yaml_child(file, node, key, node->children[i]->kind, 1);
        const char *text = node->children[i]->text;
        must(child == node->children[i] || (text != NULL && text[0] == 0)); // keys are unique, values not empty
        (void)yaml_text(file, node, key, "");
        int64_t value = yaml_integer(file, node, key, -5, 70000, 1, 3);
        must(value >= -5 && value <= 70000);
        value = yaml_bytes(file, node, key, 0, 1 << 20, 1, 0);
        must(value >= 0 && value <= 1 << 20);
        value = yaml_ms(file, node, key, 1, 600000, 1, 5);
        must(value >= 1 && value <= 600000);
        value = yaml_percent(file, node, key, 1, 100, 1, 50);
        must(value >= 1 && value <= 100);
        int choice = yaml_choice(file, node, key, names, 3, 1);
        must(choice >= 0 && choice <= 2);
    }
    (void)yaml_text(file, node, "deadlin", "");
}

static const uint8_t *text;
static size_t text_bytes;

FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__real_fopen(const char *path, const char *mode);
void *__wrap_realloc(void *old, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__real_malloc(size_t size);
void __wrap_free(void *bytes);
void __real_free(void *bytes);
void __wrap_report_error(const char *file, int line, const char *mend, const char *what, ...);

FILE *__wrap_fopen(const char *path, const char *mode)
{
    if (strcmp(path, "/w/file.yaml") != 0)
        return __real_fopen(path, mode);
    return text_bytes == 0 ? __real_fopen("/dev/null", mode)
                           : fmemopen((void *)(uintptr_t)text, text_bytes, mode);
}

// The reader takes room for the largest file: here always the same.
static uint8_t room[(1u << 20) + 1];
void *__wrap_realloc(void *old, size_t size)
{
    return old == NULL && size == sizeof room ? room : __real_realloc(old, size);
}

// Compilers make this of the one above.
void *__wrap_malloc(size_t size) { return size == sizeof room ? room : __real_malloc(size); }

void __wrap_free(void *bytes)
{
    if (bytes != room)
        __real_free(bytes);
}

static unsigned reports;
void __wrap_report_error(const char *file, int line, const char *mend, const char *what, ...)
{
    char message[1024];
    va_list arguments;
    va_start(arguments, what);
    must(vsnprintf(message, sizeof message, what, arguments) > 0);
    va_end(arguments);
    must(file != NULL && line >= 0 && (mend == NULL || mend[0] != 0));
    reports++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct yaml_file file;
    text = data;
    text_bytes = size;
    reports = 0;
    enum status status = yaml_read(&file, "/w/file.yaml");
    must((status == STATUS_OK) == (reports == 0));
    if (status != STATUS_OK)
        return 0;
    must(file.root != NULL && file.error_count == 0);
    ask(&file, file.root, 0);
    yaml_finish(&file);
    must((unsigned)file.error_count == reports);
    yaml_close(&file);
    return 0;
}
