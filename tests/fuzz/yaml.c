// SPDX-License-Identifier: ISC
// Fuzz target: YAML source files into a tree, and every kind of question to it. Errors go nowhere.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"

#include "cli/source/yaml.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *nowhere;
    struct yaml_file file;
    char path[64];

    if (nowhere == NULL) {
        nowhere = fopen("/dev/null", "w");
        must(nowhere != NULL);
    }
    int fd = memfd_create("yaml", MFD_CLOEXEC);
    must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    FILE *kept = stderr;
    stderr = nowhere;
    enum status status = yaml_read(&file, path);
    if (status == STATUS_OK) {
        must(file.root != NULL && file.error_count == 0);
        ask(&file, file.root, 0);
        yaml_finish(&file);
        yaml_close(&file);
    }
    stderr = kept;
    close(fd);
    return 0;
}
