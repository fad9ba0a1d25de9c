// SPDX-License-Identifier: ISC
// crenel schema show FILE: where each field lies and what it may hold.
// crenel schema cddl FILE: its messages as CDDL (RFC 8610).
// crenel schema encode|decode|check FILE [--raw] [INPUT]: messages, from INPUT or standard input.
//   encode: a JSON object a line -> the message in hex, a line each. --raw: one JSON object -> the message's bytes
//   decode: the other way round; check: messages in hex -> the verdict on each, a word and the field
// A bad message is reported with its line, and the others are done all the same; the exit code tells of it.
#include "cli/command.h"
#include "cli/message_json.h"
#include "cli/report.h"
#include "cli/source/schema_cddl.h"
#include "cli/source/schema_source.h"
#include "abi/abi.h"
#include "core/field_words.h"
#include "core/schema_layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_BYTES_MAX (1u << 20) // of a line, or of the one message with --raw

struct work { // encode, decode or check
    const struct schema *schema;
    int is_raw;
    FILE *in;
    const char *name; // of the input, for errors
    int line;
    int is_all_good;
};

// ---- show ----

static const char *const operators[] = {"", "<", "<=", "==", "!="};

static void show_field(const struct schema *schema, const struct schema_field *field)
{
    char may_be[400], type[32];
    field_may_be(schema, field, may_be, sizeof may_be);
    snprintf(type, sizeof type, "%s", field_type_name(field->type));
    printf("%6u  %-8s %-24s %s\n", field->offset, type, field->name, may_be);
    if (field->member_count != 0)
        printf("%41s %u bytes each, the first one at %u:\n", "", field->stride, field[1].offset);
    unsigned values = field->type == SCHEMA_ARRAY ? field->element : field->type;
    for (unsigned i = 0; values == SCHEMA_ENUM && i < field->label_count; i++)
        printf("%41s %u is %s\n", "", i, schema->labels[field->label_first + i].text);
    if (is_integer(values) && field->decimals != 0)
        printf("%41s as an integer in 10^-%u\n", "", field->decimals);
}

static int show(struct work *work)
{
    const struct schema *schema = work->schema;
    const struct schema_header *header = schema->header;
    printf("schema  %s\ndigest  sha256:", header->name);
    for (size_t i = 0; i < sizeof header->digest; i++)
        printf("%02x", header->digest[i]);
    printf("\nsize    %s%u bytes\n\n%6s  %-8s %-24s %s\n", header->is_cut ? "at most " : "",
           header->struct_bytes, "OFFSET", "TYPE", "FIELD", "MAY BE");
    for (unsigned i = 0; i < header->field_count; i++)
        show_field(schema, &schema->fields[i]);
    for (unsigned i = 0; i < header->relation_count; i++)
        printf("%s%s %s %s\n", i == 0 ? "\n" : "", schema->fields[schema->relations[i].left].name,
               operators[schema->relations[i].operator], schema->fields[schema->relations[i].right].name);
    return EXIT_OK;
}

static int cddl(struct work *work)
{
    schema_emit_cddl(work->schema, stdout);
    return EXIT_OK;
}

// ---- Messages ----

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void bad(struct work *work, const char *mend, const char *what)
{
    report_error(work->name, work->line, mend, "%s", what);
    work->is_all_good = 0;
}

// The bytes that a line of hex gives, in place; -1: it is none (reported).
static long bytes_of_hex(struct work *work, char *text, size_t length)
{
    for (size_t i = 0; i < length; i += 2) {
        int high = hex_digit(text[i]), low = i + 1 < length ? hex_digit(text[i + 1]) : -1;
        if (high < 0 || low < 0) {
            bad(work, "write pairs of 0-9 a-f, one message a line", "not a message in hex");
            return -1;
        }
        text[i / 2] = (char)(high << 4 | low);
    }
    return (long)(length / 2);
}

// Judges; what does not hold is reported, with what would.
static int judge(struct work *work, const uint8_t *message, size_t size)
{
    uint16_t index;
    enum reason reason = schema_check(work->schema, message, size, &index);
    if (reason == REASON_DONE)
        return 1;
    if (index >= work->schema->header->field_count) {
        bad(work, NULL, reason == REASON_LENGTH ? "length: no message of this schema is so long"
                                                : "padding: the bytes behind the last field are not zero");
        return 0;
    }
    const struct schema_field *field = &work->schema->fields[index];
    char what[320], may_be[200];
    field_may_be(work->schema, field, may_be, sizeof may_be);
    snprintf(what, sizeof what, "%s: field '%s' may be %s", reason_text(reason), field->name, may_be);
    size_t used = reason == REASON_RELATION ? (size_t)snprintf(what, sizeof what, "relation: '%s' is to be", field->name) : 0;
    for (unsigned i = 0; used != 0 && i < work->schema->header->relation_count && used < sizeof what; i++) {
        const struct schema_relation *relation = &work->schema->relations[i];
        if (relation->left == index)
            used += (size_t)snprintf(what + used, sizeof what - used, " %s '%s'", operators[relation->operator],
                                     work->schema->fields[relation->right].name);
    }
    if (reason == REASON_PADDING)
        snprintf(what, sizeof what, "padding: unused bytes at field '%s' are not zero", field->name);
    bad(work, NULL, what);
    return 0;
}

static void encode_one(struct work *work, char *text, size_t length)
{
    static _Alignas(8) uint8_t message[ABI_PAYLOAD_BYTES_MAX];
    size_t size;
    const char *why = NULL;
    cJSON *json = cJSON_ParseWithLength(text, length);
    if (memchr(text, 0, length) != NULL || strstr(text, "\\u0000") != NULL)
        bad(work, "leave it out; put such bytes as {\"hex\": \"00\"}", "a text with a zero byte");
    else if (json == NULL)
        bad(work, work->is_raw ? "write one JSON object" : "write one JSON object a line", "this is no JSON");
    else if (message_from_whole_json(work->schema, json, message, sizeof message, &size, &why) != STATUS_OK)
        bad(work, NULL, why);
    else if (judge(work, message, size)) {
        for (size_t i = 0; !work->is_raw && i < size; i++)
            printf("%02x", message[i]);
        if (work->is_raw)
            fwrite(message, 1, size, stdout);
        else
            puts("");
    }
    cJSON_Delete(json);
}

static void decode_one(struct work *work, char *text, size_t length)
{
    long size = work->is_raw ? (long)length : bytes_of_hex(work, text, length);
    if (size < 0 || !judge(work, (const uint8_t *)text, (size_t)size))
        return;
    cJSON *json = message_to_json(work->schema, (const uint8_t *)text, (size_t)size);
    char *line = cJSON_PrintUnformatted(json);
    puts(line != NULL ? line : "");
    cJSON_free(line);
    cJSON_Delete(json);
}

static void check_one(struct work *work, char *text, size_t length)
{
    uint16_t field;
    long size = work->is_raw ? (long)length : bytes_of_hex(work, text, length);
    if (size < 0)
        return;
    enum reason reason = schema_check(work->schema, (const uint8_t *)text, (size_t)size, &field);
    work->is_all_good &= reason == REASON_DONE;
    if (reason == REASON_DONE)
        puts("good");
    else
        printf("%s %s\n", reason_text(reason),
               field < work->schema->header->field_count ? work->schema->fields[field].name : "-");
}

// Every line, or with --raw the whole input, to `one`. Its text ends in a zero byte that is not counted.
static int each(struct work *work, void (*one)(struct work *work, char *text, size_t length))
{
    static char text[INPUT_BYTES_MAX + 2];
    work->is_all_good = 1;
    if (work->is_raw) {
        size_t length = fread(text, 1, sizeof text - 1, work->in);
        if (length == sizeof text - 1) {
            bad(work, "a message has at most 4 KiB", "the input is over 1 MiB");
            return EXIT_FAILED;
        }
        text[length] = 0;
        one(work, text, length);
        return work->is_all_good ? EXIT_OK : EXIT_DENIED;
    }
    for (work->line = 1;; work->line++) {
        size_t length = 0;
        int c = getc(work->in);
        if (c == EOF)
            return work->is_all_good ? EXIT_OK : EXIT_DENIED;
        for (; c != '\n' && c != EOF && length < sizeof text - 1; c = getc(work->in))
            text[length++] = (char)c;
        if (length == sizeof text - 1) {
            bad(work, "a message has at most 4 KiB", "the line is over 1 MiB");
            return EXIT_FAILED;
        }
        text[length] = 0;
        one(work, text, length);
    }
}

static int encode(struct work *work) { return each(work, encode_one); }
static int decode(struct work *work) { return each(work, decode_one); }
static int check_lines(struct work *work) { return each(work, check_one); }

static const struct {
    const char *name;
    int (*run)(struct work *work);
    int has_input;
} acts[] = {{"show", show, 0}, {"cddl", cddl, 0}, {"encode", encode, 1}, {"decode", decode, 1}, {"check", check_lines, 1}};

int cmd_schema(int argc, char **argv)
{
    struct work work = {.in = stdin, .name = "standard input"};
    size_t act = 0, act_count = sizeof acts / sizeof acts[0];
    const char *input = NULL;
    while (argc >= 3 && act < act_count && strcmp(acts[act].name, argv[1]) != 0)
        act++;
    if (argc < 3 || act == act_count)
        return EXIT_USAGE;
    for (int i = 3; i < argc; i++)
        if (strcmp(argv[i], "--raw") == 0 && acts[act].has_input)
            work.is_raw = 1;
        else if (argv[i][0] != '-' && input == NULL && acts[act].has_input)
            input = argv[i];
        else
            return EXIT_USAGE;
    uint8_t *block;
    size_t size;
    struct schema schema;
    if (schema_source_read(argv[2], &block, &size) != STATUS_OK)
        return EXIT_FAILED;
    int code = EXIT_FAILED;
    if (input != NULL) {
        work.in = fopen(input, "re");
        work.name = input;
    }
    work.schema = &schema;
    if (work.in == NULL)
        report_error(input, 0, "name a file that can be read", "it cannot be opened");
    else if (schema_open(&schema, block, size) == STATUS_OK)
        code = acts[act].run(&work);
    if (input != NULL && work.in != NULL)
        fclose(work.in);
    free(block);
    return code;
}
