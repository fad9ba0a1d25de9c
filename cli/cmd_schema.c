// SPDX-License-Identifier: ISC
// crenel schema show FILE: where each field lies and what it may hold.
// crenel schema check FILE: one message in hex for each line of standard input; one verdict for each line.
#include "cli/command.h"
#include "cli/report.h"
#include "cli/source/schema_source.h"
#include "abi/abi.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void range_text(const struct schema_field *field, char *text, size_t capacity)
{
    static const char *const classes[] = {"utf8", "token", "host", "printable", "topic"};
    unsigned type = field->type == SCHEMA_ARRAY ? field->element : field->type;
    if (field->type == SCHEMA_STRING)
        snprintf(text, capacity, "at most %u bytes, %s", field->capacity, classes[field->class]);
    else if (field->type == SCHEMA_BYTES)
        snprintf(text, capacity, "at most %u bytes", field->capacity);
    else if (type == SCHEMA_U64)
        snprintf(text, capacity, "%" PRIu64 " to %" PRIu64, (uint64_t)field->minimum,
                 (uint64_t)field->maximum);
    else
        snprintf(text, capacity, "%" PRId64 " to %" PRId64, field->minimum, field->maximum);
    size_t used = strlen(text);
    if (field->type == SCHEMA_ARRAY)
        used += (size_t)snprintf(text + used, capacity - used, ", at most %u of them", field->capacity);
    if (field->decimals != 0)
        used += (size_t)snprintf(text + used, capacity - used, ", in 10^-%u", field->decimals);
    if (field->unit[0] != 0)
        snprintf(text + used, capacity - used, " %s", field->unit);
}

static void show(const struct schema *schema)
{
    static const char *const types[] = {"",    "u8",  "u16",  "u32",  "u64",    "i8",    "i16",
                                        "i32", "i64", "bool", "enum", "string", "bytes", "array"};
    static const char *const operators[] = {"", "<", "<=", "==", "!="};
    const struct schema_header *header = schema->header;
    printf("schema  %s\ndigest  sha256:", header->name);
    for (size_t i = 0; i < sizeof header->digest; i++)
        printf("%02x", header->digest[i]);
    printf("\nsize    %s%u bytes\n\n%6s  %-8s %-24s %s\n", header->is_cut ? "at most " : "",
           header->struct_bytes, "OFFSET", "TYPE", "FIELD", "MAY BE");
    for (unsigned i = 0; i < header->field_count; i++) {
        const struct schema_field *field = &schema->fields[i];
        char text[160];
        range_text(field, text, sizeof text);
        printf("%6u  %-8s %-24s %s\n", field->offset, types[field->type], field->name, text);
        for (unsigned j = 0; j < field->label_count; j++)
            printf("%41s %u is %s\n", "", j, schema->labels[field->label_first + j].text);
    }
    for (unsigned i = 0; i < header->relation_count; i++)
        printf("\n%s %s %s", schema->fields[schema->relations[i].left].name,
               operators[schema->relations[i].operator],
               schema->fields[schema->relations[i].right].name);
    if (header->relation_count != 0)
        puts("");
}

static int hex_digit(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Reads one line; its bytes' number, -1 at the end of input, -2: not hex or too long.
static int read_hex_line(uint8_t *bytes, int capacity)
{
    int count = 0, c = getchar();
    if (c == EOF)
        return -1;
    for (; c != '\n' && c != EOF; c = getchar()) {
        int high = hex_digit(c), low = hex_digit(getchar());
        if (high < 0 || low < 0 || count == capacity)
            return -2;
        bytes[count++] = (uint8_t)(high << 4 | low);
    }
    return count;
}

static int check_lines(const struct schema *schema)
{
    static uint8_t bytes[ABI_PAYLOAD_BYTES_MAX + 64];
    int is_all_good = 1;
    for (int line = 1;; line++) {
        int count = read_hex_line(bytes, (int)sizeof bytes);
        if (count == -1)
            return is_all_good ? EXIT_OK : EXIT_DENIED;
        if (count == -2) {
            report_error("standard input", line, "write pairs of 0-9 a-f, one message a line",
                         "not a message in hex");
            return EXIT_FAILED;
        }
        uint16_t field;
        enum reason reason = schema_check(schema, bytes, (size_t)count, &field);
        is_all_good &= reason == REASON_DONE;
        if (reason == REASON_DONE)
            puts("good");
        else
            printf("%s %s\n", reason_text(reason), field == UINT16_MAX ? "-" : schema->fields[field].name);
    }
}

int cmd_schema(int argc, char **argv)
{
    if (argc != 3 || (strcmp(argv[1], "show") != 0 && strcmp(argv[1], "check") != 0))
        return EXIT_USAGE;
    uint8_t *block;
    size_t size;
    if (schema_source_read(argv[2], &block, &size) != STATUS_OK)
        return EXIT_FAILED;
    struct schema schema;
    int code = EXIT_FAILED;
    if (schema_open(&schema, block, size) == STATUS_OK && strcmp(argv[1], "check") == 0)
        code = check_lines(&schema);
    else if (strcmp(argv[1], "show") == 0) {
        show(&schema);
        code = EXIT_OK;
    }
    free(block);
    return code;
}
