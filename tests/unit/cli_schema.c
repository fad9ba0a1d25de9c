// SPDX-License-Identifier: ISC
// Schemas from YAML, messages to and from JSON, and the plain YAML that is allowed.
#include "cli/source/compile_state.h"
#include "cli/message_json.h"
#include "cli/source/schema_source.h"
#include "cli/source/yaml.h"
#include "core/schema_builtin.h"
#include "tests/unit/test.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/crenel-schema-XXXXXX";
static uint8_t *block;
static size_t block_size;
static struct schema schema;

static void write_file(const char *text)
{
    FILE *out = fopen(path, "we");
    fputs(text, out);
    fclose(out);
}

static enum status read_text(const char *text)
{
    free(block);
    block = NULL;
    write_file(text);
    enum status status = schema_source_read(path, &block, &block_size);
    if (status == STATUS_OK && schema_open(&schema, block, block_size) != STATUS_OK)
        status = STATUS_VERSION; // never
    return status;
}

static enum status read_field(const char *field)
{
    char text[512];
    snprintf(text, sizeof text, "schema: a/1\nfields:\n  - %s\n", field);
    return read_text(text);
}

TEST(builtins_are_the_files)
{
    static const char *const names[] = {"wire", "subscription", "password-request", "password-reply", "receipt"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char file[64], name[64];
        snprintf(file, sizeof file, "schemas/%s.yaml", names[i]);
        snprintf(name, sizeof name, "%s/1", names[i]);
        free(block);
        block = NULL;
        expect(schema_source_read(file, &block, &block_size) == STATUS_OK);
        expect(schema_open(&schema, block, block_size) == STATUS_OK);
        expect(schema_builtin_differs(&schema, name) == NULL);
        expect(schema_builtin_differs(&schema, "wire/2") != NULL);
    }
    expect(read_text("schema: wire/1\nfields:\n  - {name: is_closed, type: bool}\n"
                     "  - {name: bytes, type: bytes, most: 2047}\n") == STATUS_OK);
    expect(schema_builtin_differs(&schema, "wire/1") != NULL);
}

TEST(one_source_one_digest)
{
    uint8_t first[SCHEMA_DIGEST_BYTES], digest[SCHEMA_DIGEST_BYTES];
    expect(read_field("{name: a, type: u8, min: 0, max: 9}") == STATUS_OK);
    memcpy(first, schema.header->digest, sizeof first);
    schema_digest(block, block_size, digest);
    expect(memcmp(first, digest, sizeof first) == 0);
    expect(read_field("{max: 9, min: 0, name: a, type: u8} # in another order") == STATUS_OK);
    expect(memcmp(first, schema.header->digest, sizeof first) == 0);
    expect(read_field("{name: a, type: u8, min: 0, max: 8}") == STATUS_OK);
    expect(memcmp(first, schema.header->digest, sizeof first) != 0);
}

TEST(fields_that_are_refused)
{
    static const char *const bad[] = {
        "{name: a, type: u8, min: 0}",
        "{name: a, type: u8, min: 0, max: 256}",
        "{name: a, type: u8, min: -1, max: 5}",
        "{name: a, type: u8, min: 5, max: 4}",
        "{name: a, type: i8, min: -129, max: 4}",
        "{name: a, type: u64, min: 0, max: 18446744073709551616}",
        "{name: a, type: i64, min: -9223372036854775809, max: 0}",
        "{name: a, type: i32, decimals: 2, min: 0.001, max: 5}",
        "{name: a, type: i32, min: 0.5, max: 5}",
        "{name: a, type: i32, min: 1e3, max: 5000}",
        "{name: a, type: f32, min: 0, max: 5}",
        "{name: a, type: string, most: 5}",
        "{name: a, type: string, class: token}",
        "{name: a, type: string, class: regex, most: 5}",
        "{name: a, type: bytes, most: 4095}",
        "{name: a, type: bytes, most: 0}",
        "{name: a, type: enum, of: []}",
        "{name: a, type: enum, of: [x, x]}",
        "{name: a, type: enum, of: [X]}",
        "{name: a, type: array, of: string, most: 5, min: 0, max: 5}",
        "{name: A, type: bool}",
        "{name: int, type: bool}",
        "{name: a, type: bool, min: 0}",
        "{name: a, type: bool, unit: much too long a unit}",
        "{name: a, type: bool}\n  - {name: a, type: bool}",
        "{name: a, type: bytes, most: 4}\n  - {name: a_length, type: bool}",
        "{name: a, type: bool}\nrelations: [a < a]",
        "{name: a, type: u8, min: 0, max: 9}\n  - {name: b, type: u8, decimals: 1, min: 0, max: 9}\n"
        "relations: [a < b]",
        "{name: a, type: u8, min: 0, max: 9}\nrelations: [a < c]",
        "bool",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int is_refused = read_field(bad[i]) == STATUS_MALFORMED;
        if (!is_refused)
            fprintf(stderr, "accepted: %s\n", bad[i]);
        expect(is_refused);
    }
    expect(read_text("schema: a\nfields:\n  - {name: a, type: bool}\n") == STATUS_MALFORMED);
    expect(read_text("schema: a/01\nfields:\n  - {name: a, type: bool}\n") == STATUS_MALFORMED);
    expect(read_text("schema: a/1\nfields: []\n") == STATUS_MALFORMED);
    expect(read_text("schema: a/1\n") == STATUS_MALFORMED);
    expect(schema_source_read("/nowhere", &block, &block_size) == STATUS_SYSTEM);
}

// ---- JSON ----

static const char json_schema[] =
    "schema: all/1\nfields:\n"
    "  - {name: small, type: i8, min: -5, max: 5}\n"
    "  - {name: big, type: u64, min: 0, max: 18446744073709551615}\n"
    "  - {name: low, type: i64, decimals: 3, min: -9223372036854775.808, max: 9}\n"
    "  - {name: celsius, type: i32, decimals: 3, min: -40.000, max: 125}\n"
    "  - {name: is_on, type: bool}\n"
    "  - {name: state, type: enum, of: [ok, stale]}\n"
    "  - {name: list, type: array, of: u16, most: 3, min: 0, max: 9}\n"
    "  - {name: site, type: string, most: 8, class: utf8}\n"
    "  - {name: raw, type: bytes, most: 8}\n";

// JSON -> message -> JSON.
static int comes_back(const char *given, const char *wanted)
{
    alignas(8) uint8_t message[4096];
    size_t size;
    const char *why;
    uint16_t field;
    cJSON *json = cJSON_Parse(given), *again = NULL;
    char *text = NULL;
    int is_same = 0;
    if (json != NULL &&
        message_from_json(&schema, json, message, sizeof message, &size, &why) == STATUS_OK &&
        schema_check(&schema, message, size, &field) == REASON_DONE) {
        again = message_to_json(&schema, message, size);
        text = cJSON_PrintUnformatted(again);
        is_same = strcmp(text, wanted) == 0;
    }
    if (!is_same)
        fprintf(stderr, "%s became %s\n", given, text == NULL ? "nothing" : text);
    cJSON_free(text);
    cJSON_Delete(again);
    cJSON_Delete(json);
    return is_same;
}

TEST(json_there_and_back)
{
    static const char full[] =
        "{\"small\":-5,\"big\":\"18446744073709551615\",\"low\":\"-9223372036854775.808\","
        "\"celsius\":-12.345,\"is_on\":true,\"state\":\"stale\",\"list\":[1,9],"
        "\"site\":\"K\xc3\xa4se\",\"raw\":{\"hex\":\"00ff\"}}";
    static const char empty[] =
        "{\"small\":0,\"big\":0,\"low\":0,\"celsius\":0,\"is_on\":false,\"state\":\"ok\","
        "\"list\":[],\"site\":\"\",\"raw\":\"\"}";
    expect(read_text(json_schema) == STATUS_OK);
    expect(comes_back(full, full));
    expect(comes_back("{}", empty));
    // the most that a number says exactly, and one more
    for (int64_t big = 999999999999999; big <= 1000000000000000; big++) {
        char given[64], wanted[160];
        const char *quote = big == 999999999999999 ? "" : "\"";
        snprintf(given, sizeof given, "{\"big\":%lld}", (long long)big);
        snprintf(wanted, sizeof wanted, "{\"small\":0,\"big\":%s%lld%s%s", quote, (long long)big, quote,
                 strstr(empty, ",\"low\""));
        expect(comes_back(given, wanted));
    }
    expect(comes_back("{\"big\":7039160208446283,\"celsius\":0}",
                      "{\"small\":0,\"big\":\"7039160208446283\",\"low\":0,\"celsius\":0,\"is_on\":false,"
                      "\"state\":\"ok\",\"list\":[],\"site\":\"\",\"raw\":\"\"}"));
    expect(comes_back("{\"raw\":{\"hex\":\"6162\"}}",
                      "{\"small\":0,\"big\":0,\"low\":0,\"celsius\":0,\"is_on\":false,"
                      "\"state\":\"ok\",\"list\":[],\"site\":\"\",\"raw\":\"ab\"}"));
}

TEST(json_that_is_refused)
{
    static const char *const bad[] = {
        "[]", "{\"smal\":1}", "{\"small\":1,\"small\":1}", "{\"small\":1.5}", "{\"small\":128}",
        "{\"small\":\"x\"}", "{\"small\":null}", "{\"big\":-1}", "{\"big\":\"-1\"}",
        "{\"big\":\"18446744073709551616\"}", "{\"big\":1e300}", "{\"celsius\":1.0005}",
        "{\"celsius\":\"1.0005\"}", "{\"is_on\":1}", "{\"state\":\"fault\"}", "{\"state\":1}",
        "{\"list\":[1,2,3,4]}", "{\"list\":1}", "{\"list\":[\"a\"]}", "{\"site\":\"123456789\"}",
        "{\"site\":{\"hex\":\"00\"}}", "{\"raw\":{\"hex\":\"0\"}}", "{\"raw\":{\"hex\":\"zz\"}}",
        "{\"raw\":{\"hex\":\"000000000000000000\"}}", "{\"raw\":[]}"};
    alignas(8) uint8_t message[4096];
    size_t size;
    expect(read_text(json_schema) == STATUS_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *why = NULL;
        cJSON *json = cJSON_Parse(bad[i]);
        int is_refused = message_from_json(&schema, json, message, sizeof message, &size, &why) ==
                             STATUS_MALFORMED && why != NULL;
        if (!is_refused)
            fprintf(stderr, "accepted: %s\n", bad[i]);
        expect(json != NULL && is_refused);
        cJSON_Delete(json);
    }
}

// ---- YAML ----

static int yaml_accepts(const char *text)
{
    struct yaml_file file;
    write_file(text);
    if (yaml_read(&file, path) != STATUS_OK)
        return 0;
    yaml_close(&file);
    return 1;
}

TEST(yaml_that_is_refused)
{
    static const char *const bad[] = {"",           "# only a comment\n", "a",           "[a]",
                                      "a: &x 1",    "a: *x",              "a: !!int 1",  "a: !x {b: 1}",
                                      "a: 1\na: 2", "[a]: 1",             "? {a: b}\n: 1", "a: 1\n---\nb: 2",
                                      "a: \"\\0\"", "a: [1",              "a: {b: 1",    "a: \xff\xfe",
                                      "a: %x",      "\ta: 1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int is_refused = !yaml_accepts(bad[i]);
        if (!is_refused)
            fprintf(stderr, "accepted: %s\n", bad[i]);
        expect(is_refused);
    }
    expect(yaml_accepts("a: 1 # one\nb: [x, {c: d}]\nc:\n  d: \"e\"\n"));
}

TEST(yaml_limits)
{
    char deep[128] = "a: ";
    for (int i = 0; i < 14; i++)
        strncat(deep, "[", sizeof deep - strlen(deep) - 1);
    size_t opened = strlen(deep);
    memset(deep + opened, ']', 14);
    expect(yaml_accepts(deep)); // with the mapping and the innermost list: 15 levels
    snprintf(deep, sizeof deep, "a: [[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]");
    expect(!yaml_accepts(deep));
    size_t size = 1024 * 1024;
    char *large = malloc(size + 2);
    memset(large, ' ', size);
    memcpy(large, "a: 1\n#", 6);
    large[size] = 0;
    expect(yaml_accepts(large));
    large[size] = ' ';
    large[size + 1] = 0;
    expect(!yaml_accepts(large));
    free(large);
}

// An item of a list that should be a mapping is refused once, however much is asked of it.
TEST(items_that_are_no_mapping)
{
    struct yaml_file file;
    write_file("list:\n  -\n  - [x]\n  - {name: a}\n");
    expect(yaml_read(&file, path) == STATUS_OK);
    struct yaml_node *list = yaml_child(&file, file.root, "list", YAML_SEQUENCE, 1);
    expect(list != NULL && list->count == 3);
    for (size_t i = 0; i < 3; i++) {
        expect(yaml_text(&file, list->children[i], "unit", "none") != NULL); // nobody has to write it
        expect((yaml_text(&file, list->children[i], "name", NULL) != NULL) == (i == 2));
        (void)yaml_text(&file, list->children[i], "other", i == 2 ? "" : NULL);
    }
    expect(file.error_count == 2);
    yaml_close(&file);
}

TEST(values_and_units)
{
    struct yaml_file file;
    write_file("size: 64KiB\ntime: 2min\nshare: 50%\ncount: -3\nlist: [a]\nnone:\nextra: 1\n");
    expect(yaml_read(&file, path) == STATUS_OK);
    expect(yaml_bytes(&file, file.root, "size", 0, 1 << 20, 0, 0) == 65536);
    expect(yaml_ms(&file, file.root, "time", 0, 1 << 20, 0, 0) == 120000);
    expect(yaml_percent(&file, file.root, "share", 0, 100, 0, 0) == 50);
    expect(yaml_integer(&file, file.root, "count", -5, 5, 0, 0) == -3);
    expect(yaml_integer(&file, file.root, "absent", -5, 5, 1, 4) == 4);
    expect(file.error_count == 0);
    yaml_integer(&file, file.root, "size", 0, 1 << 20, 0, 0); // a unit where none belongs
    expect(file.error_count == 1);
    yaml_ms(&file, file.root, "size", 0, 1 << 20, 0, 0);
    expect(file.error_count == 2);
    yaml_integer(&file, file.root, "count", 0, 5, 0, 0);
    expect(file.error_count == 3);
    expect(yaml_text(&file, file.root, "list", NULL) == NULL && file.error_count == 4);
    expect(yaml_text(&file, file.root, "none", NULL) == NULL && file.error_count == 5);
    expect(yaml_text(&file, file.root, "absent", NULL) == NULL && file.error_count == 6);
    yaml_finish(&file); // extra
    expect(file.error_count == 7);
    yaml_close(&file);
    static const char *const names[] = {"memory", "cpu", "deadline"};
    const char *nearest = yaml_nearest("memroy", names, 3);
    expect(nearest != NULL && strcmp(nearest, "memory") == 0);
    expect(yaml_nearest("colour", names, 3) == NULL);
}

int main(void)
{
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    RUN(builtins_are_the_files);
    RUN(one_source_one_digest);
    RUN(fields_that_are_refused);
    RUN(json_there_and_back);
    RUN(json_that_is_refused);
    RUN(yaml_that_is_refused);
    RUN(yaml_limits);
    RUN(items_that_are_no_mapping);
    RUN(values_and_units);
    free(block);
    unlink(path);
    TEST_END();
}
