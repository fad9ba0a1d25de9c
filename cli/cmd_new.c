// SPDX-License-Identifier: ISC
// crenel new NAME: a unikernel project that builds and runs at once.
#include "cli/command.h"
#include "cli/report.h"
#include "core/manifest.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct file {
    const char *path; // in the new folder; @ stands for the unikernel's name
    const char *text;
};

static const struct file files[] = {
    {"unikernel.yaml",
     "unikernel: @\n"
     "release: 0.1.0\n"
     "security_version: 1\n"
     "lifetime: message            # each reading meets a fresh instance\n"
     "memory: {arena: 16KiB, stack: 16KiB}\n"
     "deadline: 100ms\n"
     "schemas: [reading.yaml, alert.yaml]\n"
     "inputs:\n"
     "  - {flow: reading, schema: reading/1}\n"
     "outputs:\n"
     "  - {flow: alert, schema: alert/1, most: 1}\n"
     "refusals: [unknown-sensor]\n"},
    {"reading.yaml",
     "schema: reading/1\n"
     "fields:\n"
     "  - {name: sensor, type: u32, min: 0, max: 4096}\n"
     "  - {name: value, type: i32, decimals: 1, min: -100.0, max: 500.0, unit: Cel}\n"},
    {"alert.yaml",
     "schema: alert/1\n"
     "fields:\n"
     "  - {name: sensor, type: u32, min: 1, max: 4096}\n"
     "  - {name: text, type: string, most: 64, class: printable}\n"},
    {"@.c",
     "// A reading comes in; if it is too hot, an alert goes out.\n"
     "#include \"@.h\" // written by crenel build: the schemas as structs, on_..., send_...\n"
     "\n"
     "void on_reading(const struct event *event, const struct reading *message)\n"
     "{\n"
     "    int64_t limit = configuration_integer(\"limit\", 80) * READING_VALUE_SCALE;\n"
     "\n"
     "    if (message->sensor == 0)\n"
     "        event_refuse(REFUSE_UNKNOWN_SENSOR);\n"
     "    log_info(\"reading %llu of sensor %u\", (unsigned long long)event->number, message->sensor);\n"
     "    if (message->value <= limit)\n"
     "        return;\n"
     "    struct alert alert = {.sensor = message->sensor};\n"
     "    alert.text_length = (uint16_t)text_format(alert.text, sizeof alert.text, \"sensor %u is at %d degrees\",\n"
     "                                              message->sensor, message->value / READING_VALUE_SCALE);\n"
     "    send_alert(&alert);\n"
     "}\n"},
    {"README.md",
     "# @\n\n"
     "A unikernel: takes a `reading`, sends an `alert` when it is too hot.\n\n"
     "    crenel build @\n"
     "    echo '{\"flow\": \"reading\", \"message\": {\"sensor\": 1, \"value\": 93.5}}' | crenel run build/@.img\n\n"
     "`unikernel.yaml` says what it may take, send and cost; the other `.yaml` files are its messages; `@.c` is\n"
     "all of its code. What it can call is in crenel.h.\n"},
};

// Copies with @ replaced by the name.
static void expand(const char *text, const char *name, FILE *out)
{
    for (; *text != 0; text++) {
        if (*text == '@')
            fputs(name, out);
        else
            fputc(*text, out);
    }
}

static int file_write(const struct file *file, const char *name)
{
    char path[2 * MANIFEST_NAME_BYTES + 64];
    const char *at = strchr(file->path, '@');

    if (at == NULL)
        snprintf(path, sizeof path, "%s/%s", name, file->path);
    else
        snprintf(path, sizeof path, "%s/%s%s", name, name, at + 1);
    FILE *out = fopen(path, "wxe");
    if (out != NULL) {
        expand(file->text, name, out);
        int is_bad = ferror(out);
        if (fclose(out) == 0 && !is_bad)
            return 1;
    }
    report_error(path, 0, NULL, "%s", strerror(errno));
    return 0;
}

int cmd_new(int argc, char **argv)
{
    if (argc != 2 || argv[1][0] == '-')
        return EXIT_USAGE;
    const char *name = argv[1];
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    if (name[0] < 'a' || name[0] > 'z' || name[length] != 0 || length >= MANIFEST_NAME_BYTES) {
        report_error(NULL, 0, "names are [a-z][a-z0-9_-]*, at most 31 characters",
                     "'%s' is not a name for a unikernel", name);
        return EXIT_USAGE;
    }
    if (mkdir(name, 0755) != 0) {
        int is_there = errno == EEXIST;
        report_error(name, 0, is_there ? "choose another name, or remove it" : NULL, "%s",
                     strerror(errno));
        return is_there ? EXIT_CONFLICTS : EXIT_FAILED;
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (!file_write(&files[i], name))
            return EXIT_FAILED;
    printf("%s/ is ready:\n  crenel build %s\n"
           "  echo '{\"flow\": \"reading\", \"message\": {\"sensor\": 1, \"value\": 93.5}}' | crenel run build/%s.img\n",
           name, name, name);
    return EXIT_OK;
}
