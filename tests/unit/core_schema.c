// SPDX-License-Identifier: ISC
// The schema checker: every type at its edges, every length, every class, relations, keys.
#include "core/schema_version.h"
#include "tests/unit/schema_block.h"
#include "tests/unit/test.h"

#include <stdalign.h>

// ---- Integers ----

static void expect_edges(unsigned type, unsigned width, int64_t minimum, int64_t maximum)
{
    alignas(8) uint8_t message[16] = {0};
    start();
    add("first", SCHEMA_U8, 0, 0, 0);
    add("value", type, width, minimum, maximum);
    expect(opens(width < 8 ? 8 : 16, 0));
    size_t size = schema.header->struct_bytes;
    put(message + width, width, (uint64_t)minimum);
    expect(verdict(message, size) == 0);
    expect(schema_value(&schema, 1, message, size) == minimum);
    put(message + width, width, (uint64_t)maximum);
    expect(verdict(message, size) == 0);
    expect(schema_value(&schema, 1, message, size) == maximum);
    put(message + width, width, (uint64_t)minimum - 1);
    expect(verdict(message, size) == REFUSED(REASON_RANGE, 1));
    put(message + width, width, (uint64_t)maximum + 1);
    expect(verdict(message, size) == REFUSED(REASON_RANGE, 1));
}

TEST(integers_at_their_edges)
{
    expect_edges(SCHEMA_U8, 1, 10, 20);
    expect_edges(SCHEMA_U8, 1, 1, 254);
    expect_edges(SCHEMA_U16, 2, 10, 60000);
    expect_edges(SCHEMA_U32, 4, 10, INT64_C(4000000000));
    expect_edges(SCHEMA_U64, 8, 10, (int64_t)UINT64_C(0xfffffffffffffff0));
    expect_edges(SCHEMA_U64, 8, (int64_t)UINT64_C(0x8000000000000001), -16);
    expect_edges(SCHEMA_I8, 1, -100, 100);
    expect_edges(SCHEMA_I8, 1, -127, -3);
    expect_edges(SCHEMA_I16, 2, -30000, 30000);
    expect_edges(SCHEMA_I32, 4, -40000, 125000);
    expect_edges(SCHEMA_I64, 8, INT64_MIN + 1, INT64_MAX - 1);
}

TEST(bool_and_enumeration)
{
    alignas(8) uint8_t message[8] = {0};
    start();
    add("flag", SCHEMA_BOOL, 0, 0, 1);
    struct schema_field *state = add("state", SCHEMA_ENUM, 1, 0, 2);
    state->label_count = 3;
    label_count = 3;
    memcpy(labels[0].text, "ok", 2);
    memcpy(labels[1].text, "stale", 5);
    memcpy(labels[2].text, "fault", 5);
    expect(opens(8, 0));
    message[0] = 1;
    message[1] = 2;
    expect(verdict(message, 8) == 0);
    message[0] = 2;
    expect(verdict(message, 8) == REFUSED(REASON_RANGE, 0));
    message[0] = 0;
    message[1] = 3;
    expect(verdict(message, 8) == REFUSED(REASON_ENUMERATION, 1));
}

// ---- Lengths and padding ----

TEST(every_other_length_is_refused)
{
    alignas(8) uint8_t message[64] = {0};
    start();
    add("value", SCHEMA_U32, 0, 0, 5);
    add("other", SCHEMA_U64, 8, 0, 5);
    expect(opens(16, 0));
    for (size_t size = 0; size < 64; size++)
        expect(verdict(message, size) == (size == 16 ? 0 : REFUSED(REASON_LENGTH, NO_FIELD)));
}

TEST(padding_is_zero)
{
    alignas(8) uint8_t message[24] = {0};
    start();
    add("a", SCHEMA_U8, 0, 0, 5);
    add("b", SCHEMA_U32, 4, 0, 5);
    add_text("c", SCHEMA_STRING, 8, 3, SCHEMA_CLASS_TOKEN);
    add("d", SCHEMA_U8, 13, 0, 5);
    expect(opens(16, 0));
    put(message + 8, 2, 1);
    message[10] = 'x';
    expect(verdict(message, 16) == 0);
    static const struct {
        unsigned at, field;
    } gaps[] = {{1, 1}, {2, 1}, {3, 1}, {11, 2}, {12, 2}, {14, NO_FIELD}, {15, NO_FIELD}};
    for (size_t i = 0; i < sizeof gaps / sizeof gaps[0]; i++) {
        message[gaps[i].at] = 1;
        expect(verdict(message, 16) == REFUSED(REASON_PADDING, gaps[i].field));
        message[gaps[i].at] = 0;
    }
}

TEST(cut_tail_has_one_length)
{
    alignas(8) uint8_t message[64];
    start();
    add("a", SCHEMA_U32, 0, 0, 5);
    add_text("text", SCHEMA_BYTES, 4, 20, 0);
    expect(opens(32, 1));
    for (unsigned length = 0; length <= 20; length++) {
        memset(message, 0, sizeof message);
        put(message + 4, 2, length);
        memset(message + 6, 'x', length);
        size_t right = (6 + length + 7) / 8 * 8;
        for (size_t size = 0; size < sizeof message; size++)
            expect(verdict(message, size) ==
                   (size == right ? 0 : REFUSED(REASON_LENGTH, NO_FIELD)));
        for (size_t at = 6 + length; at < right; at++) {
            message[at] = 1;
            expect(verdict(message, right) == REFUSED(REASON_PADDING, at < 26 ? 1 : NO_FIELD));
            message[at] = 0;
        }
    }
    memset(message, 0, sizeof message);
    put(message + 4, 2, 21); // ends within the struct's last 8 bytes, but is over the capacity
    expect(verdict(message, 32) == REFUSED(REASON_LENGTH, 1));
    put(message + 4, 2, 40); // consistent, but larger than the struct
    expect(verdict(message, 48) == REFUSED(REASON_LENGTH, NO_FIELD));
}

TEST(arrays)
{
    alignas(8) uint8_t message[40] = {0};
    start();
    add("a", SCHEMA_U8, 0, 0, 5);
    struct schema_field *list = add("list", SCHEMA_ARRAY, 2, -3, 3);
    list->element = SCHEMA_I64;
    list->capacity = 4;
    expect(opens(40, 0));
    put(message + 2, 2, 2);
    put(message + 8, 8, (uint64_t)-3);
    put(message + 16, 8, 3);
    expect(verdict(message, 40) == 0);
    expect(schema_value(&schema, 1, message, 40) == 2);
    put(message + 16, 8, 4);
    expect(verdict(message, 40) == REFUSED(REASON_RANGE, 1));
    put(message + 16, 8, 3);
    put(message + 24, 8, 1); // behind the count
    expect(verdict(message, 40) == REFUSED(REASON_PADDING, 1));
    put(message + 24, 8, 0);
    message[5] = 1; // between count and elements
    expect(verdict(message, 40) == REFUSED(REASON_PADDING, 1));
    message[5] = 0;
    put(message + 2, 2, 5);
    expect(verdict(message, 40) == REFUSED(REASON_LENGTH, 1));
    put(message + 2, 2, 4);
    expect(verdict(message, 40) == 0);
}

// ---- Classes ----

static int in_class(unsigned class, const char *text, size_t length)
{
    alignas(8) uint8_t message[24] = {0};
    start();
    add_text("text", SCHEMA_STRING, 0, 20, class);
    if (!opens(24, 1))
        return -1;
    put(message, 2, length);
    memcpy(message + 2, text, length);
    unsigned found = verdict(message, (2 + length + 7) / 8 * 8);
    return found == 0 ? 1 : found == REFUSED(REASON_CLASS, 0) ? 0 : -1;
}
#define IN(class, text) in_class(SCHEMA_CLASS_##class, text, sizeof text - 1)

TEST(every_byte_in_every_class)
{
    for (unsigned c = 0; c < 256; c++) {
        char text = (char)c;
        int is_alpha = (c >= 'a' && c <= 'z'), is_upper = c >= 'A' && c <= 'Z';
        int is_digit = c >= '0' && c <= '9';
        int is_token = is_alpha || is_upper || is_digit || (c != 0 && strchr("-_.:", (int)c) != NULL);
        int is_host = is_alpha || is_digit || c == '-' || c == '.';
        int is_printable = c >= 0x20 && c <= 0x7e;
        expect(in_class(SCHEMA_CLASS_TOKEN, &text, 1) == is_token);
        expect(in_class(SCHEMA_CLASS_HOST, &text, 1) == is_host);
        expect(in_class(SCHEMA_CLASS_PRINTABLE, &text, 1) == is_printable);
        expect(in_class(SCHEMA_CLASS_UTF8, &text, 1) == is_printable);
        expect(in_class(SCHEMA_CLASS_TOPIC, &text, 1) == (is_printable && c != '+' && c != '#'));
    }
}

TEST(utf8)
{
    expect(IN(UTF8, "") == 1);
    expect(IN(UTF8, "K\xc3\xa4se \xe2\x82\xac \xf0\x9f\x98\x80") == 1);
    expect(IN(UTF8, "\xc2\xa0") == 1);
    expect(IN(UTF8, "\xc2\x9f") == 0);             // C1 control
    expect(IN(UTF8, "\xc0\x80") == 0);             // zero in two bytes
    expect(IN(UTF8, "\xc1\xbf") == 0);             // not shortest
    expect(IN(UTF8, "\xe0\x9f\xbf") == 0);         // not shortest
    expect(IN(UTF8, "\xf0\x8f\xbf\xbf") == 0);     // not shortest
    expect(IN(UTF8, "\xed\xa0\x80") == 0);         // surrogate
    expect(IN(UTF8, "\xed\xbf\xbf") == 0);         // surrogate
    expect(IN(UTF8, "\xee\x80\x80") == 1);
    expect(IN(UTF8, "\xf4\x8f\xbf\xbf") == 1);     // the last character
    expect(IN(UTF8, "\xf4\x90\x80\x80") == 0);     // beyond it
    expect(IN(UTF8, "\xf8\x88\x80\x80\x80") == 0); // five bytes
    expect(IN(UTF8, "\xe2\x82") == 0);             // cut
    expect(IN(UTF8, "\xe2\x28\xa1") == 0);
    expect(IN(UTF8, "\x80") == 0);
    expect(IN(TOPIC, "plant/\xc3\xa4/1") == 1);
    expect(IN(TOPIC, "plant/+/1") == 0);
    expect(IN(TOPIC, "plant/#") == 0);
}

// A character does not continue in the field behind its string.
TEST(utf8_ends_with_its_string)
{
    alignas(8) uint8_t message[8] = {2, 0, 'a', 0xe2, 0x82, 0xac};
    start();
    add_text("text", SCHEMA_STRING, 0, 2, SCHEMA_CLASS_UTF8);
    add("next", SCHEMA_U16, 4, 0, 0xffff);
    expect(opens(8, 0));
    expect(verdict(message, 8) == REFUSED(REASON_CLASS, 0));
}

// ---- Relations ----

static int related(unsigned operator, uint64_t left, uint64_t right, unsigned left_type,
                   unsigned right_type)
{
    alignas(8) uint8_t message[16];
    int64_t low[] = {0, 0, 0, 0, 0, 0, 0, 0, INT64_MIN};
    int64_t high[] = {0, 0, 0, 0, -1, 0, 0, 0, INT64_MAX};
    start();
    add("left", left_type, 0, low[left_type], high[left_type]);
    add("right", right_type, 8, low[right_type], high[right_type]);
    relations[0] = (struct schema_relation){0, 1, (uint16_t) operator, 0};
    relation_count = 1;
    if (!opens(16, 0))
        return -1;
    put(message, 8, left);
    put(message + 8, 8, right);
    unsigned found = verdict(message, 16);
    return found == 0 ? 1 : found == REFUSED(REASON_RELATION, 0) ? 0 : -1;
}

TEST(relations_between_integers)
{
    static const int wanted[4][3] = {{1, 0, 0}, {1, 1, 0}, {0, 1, 0}, {1, 0, 1}}; // < <= == !=
    for (unsigned o = SCHEMA_LESS; o <= SCHEMA_NOT_EQUAL; o++) {
        const int *row = wanted[o - SCHEMA_LESS];
        expect(related(o, 1, 2, SCHEMA_U64, SCHEMA_U64) == row[0]);
        expect(related(o, 2, 2, SCHEMA_U64, SCHEMA_U64) == row[1]);
        expect(related(o, 3, 2, SCHEMA_U64, SCHEMA_U64) == row[2]);
        expect(related(o, (uint64_t)-1, 2, SCHEMA_I64, SCHEMA_I64) == row[0]);
        // -1 is below everything unsigned, and a huge unsigned above everything signed.
        expect(related(o, (uint64_t)-1, 2, SCHEMA_I64, SCHEMA_U64) == row[0]);
        expect(related(o, (uint64_t)-1, (uint64_t)-1, SCHEMA_U64, SCHEMA_I64) == row[2]);
        expect(related(o, (uint64_t)-1, (uint64_t)-1, SCHEMA_I64, SCHEMA_U64) == row[0]);
        expect(related(o, 5, (uint64_t)-2, SCHEMA_I64, SCHEMA_U64) == row[0]);
        expect(related(o, (uint64_t)-2, (uint64_t)-2, SCHEMA_U64, SCHEMA_U64) == row[1]);
    }
}

TEST(relations_with_lengths)
{
    alignas(8) uint8_t message[16] = {0};
    start();
    add("count", SCHEMA_U8, 0, 0, 9);
    add_text("text", SCHEMA_STRING, 2, 4, SCHEMA_CLASS_TOKEN);
    add("end", SCHEMA_U8, 8, 0, 0);
    relations[0] = (struct schema_relation){0, 1, SCHEMA_EQUAL, 0};
    relation_count = 1;
    expect(opens(16, 0));
    message[0] = 2;
    put(message + 2, 2, 2);
    memcpy(message + 4, "ab", 2);
    expect(verdict(message, 16) == 0);
    message[0] = 3;
    expect(verdict(message, 16) == REFUSED(REASON_RELATION, 0));
}

// ---- Keys ----

static size_t key_of(int64_t number, const char *text, uint8_t *key, size_t capacity)
{
    alignas(8) uint8_t message[24] = {0};
    static const uint16_t both[] = {1, 0};
    size_t length = strlen(text);
    put(message, 8, (uint64_t)number);
    put(message + 8, 2, length);
    memcpy(message + 10, text, length);
    return schema_key(&schema, both, 2, message, 24, key, capacity);
}

TEST(keys_order_as_values)
{
    static const int64_t numbers[] = {INT64_MIN, -256, -2, -1, 0, 1, 255, 256, INT64_MAX};
    static const char *const texts[] = {"", "a", "a.b", "aa", "b"}; // as their bytes order
    uint8_t before[64], key[64];
    size_t before_size = 0;
    start();
    add("number", SCHEMA_I64, 0, INT64_MIN, INT64_MAX);
    add_text("text", SCHEMA_STRING, 8, 8, SCHEMA_CLASS_TOKEN);
    add("end", SCHEMA_U8, 18, 0, 0);
    expect(opens(24, 0));
    for (size_t t = 0; t < 5; t++)
        for (size_t n = 0; n < 9; n++) {
            size_t size = key_of(numbers[n], texts[t], key, sizeof key);
            expect(size == strlen(texts[t]) + 1 + 8);
            if (before_size != 0) {
                size_t least = size < before_size ? size : before_size;
                int order = memcmp(before, key, least);
                expect(order < 0 || (order == 0 && before_size < size));
            }
            memcpy(before, key, size);
            before_size = size;
        }
    expect(key_of(1, "abc", key, 11) == 0);
    expect(key_of(1, "abc", key, 12) == 12);
    expect(memcmp(key, "abc\0\x80\0\0\0\0\0\0\1", 12) == 0);
}

// ---- Records, arrays of records, sealed fields, denied sinks, versions ----

// list: two bytes of count, records of 12 bytes from 4 on, capacity 3; then a byte.
static void add_list(void)
{
    start();
    struct schema_field *list = add("list", SCHEMA_ARRAY, 0, 0, 0);
    list->element = SCHEMA_RECORD;
    list->capacity = 3;
    list->stride = 12;
    list->member_count = 3;
    add("list.when", SCHEMA_U32, 4, 1, 9)->stride = 12;
    add("list.is_on", SCHEMA_BOOL, 8, 0, 1)->stride = 12;
    add_text("list.name", SCHEMA_STRING, 10, 3, SCHEMA_CLASS_TOKEN)->stride = 12;
    add("end", SCHEMA_U8, 40, 0, 5);
}

TEST(records_in_an_array)
{
    alignas(8) uint8_t message[48] = {0};
    add_list();
    expect(opens(48, 0));
    expect(verdict(message, 48) == 0); // no records: their minimum is not asked for
    put(message, 2, 2);
    expect(verdict(message, 48) == REFUSED(REASON_RANGE, 1));
    put(message + 4, 4, 9);
    put(message + 16, 4, 1);
    expect(verdict(message, 48) == 0);
    put(message + 16, 4, 10);
    expect(verdict(message, 48) == REFUSED(REASON_RANGE, 1));
    put(message + 16, 4, 9);
    message[20] = 2;
    expect(verdict(message, 48) == REFUSED(REASON_RANGE, 2));
    message[20] = 1;
    put(message + 22, 2, 4);
    expect(verdict(message, 48) == REFUSED(REASON_LENGTH, 3));
    put(message + 22, 2, 2);
    memcpy(message + 24, "ab", 2);
    expect(verdict(message, 48) == 0);
    message[26] = 'c';
    expect(verdict(message, 48) == REFUSED(REASON_PADDING, 3)); // behind the text
    message[26] = 0;
    message[27] = 1;
    expect(verdict(message, 48) == REFUSED(REASON_PADDING, 0)); // behind the last record
    message[27] = 0;
    message[15] = 1;
    expect(verdict(message, 48) == REFUSED(REASON_PADDING, 1)); // between two
    message[15] = 0;
    message[9] = 1;
    expect(verdict(message, 48) == REFUSED(REASON_PADDING, 3)); // in one
    message[9] = 0;
    message[39] = 1;
    expect(verdict(message, 48) == REFUSED(REASON_PADDING, 0));
    message[39] = 0;
    put(message, 2, 4);
    expect(verdict(message, 48) == REFUSED(REASON_LENGTH, 0));
    put(message, 2, 2);
    expect(verdict(message, 48) == 0 && verdict(message, 40) == REFUSED(REASON_LENGTH, NO_FIELD));
    uint8_t key[16];
    for (uint16_t i = 0; i < 5; i++) {
        expect(schema_has_value(&schema, i) == (i == 4));
        expect((schema_key(&schema, &i, 1, message, 48, key, sizeof key) != 0) == (i == 4));
    }
}

TEST(lists_that_are_refused)
{
    add_list();
    expect(opens(48, 0));
#define REFUSES_LIST(change) (add_list(), (change), !opens(48, 0))
    expect(REFUSES_LIST(fields[0].member_count = 0));
    expect(REFUSES_LIST(fields[0].member_count = 2));
    expect(REFUSES_LIST(fields[0].member_count = 5)); // more than there are
    expect(REFUSES_LIST(fields[0].element = SCHEMA_STRING));
    expect(REFUSES_LIST(fields[0].element = SCHEMA_ARRAY));
    expect(REFUSES_LIST(fields[0].maximum = 1));
    expect(REFUSES_LIST(fields[0].stride = 11));
    expect(REFUSES_LIST(fields[2].stride = 0));
    expect(REFUSES_LIST(fields[4].stride = 12));
    expect(REFUSES_LIST((fields[2].type = SCHEMA_ARRAY, fields[2].element = SCHEMA_U8, fields[2].capacity = 1)));
    expect(REFUSES_LIST(fields[0].capacity = 400)); // over the largest message
    for (unsigned i = 0; i < 4; i++) // records that are nearer than they are long, or too far from each other
        expect(REFUSES_LIST(fields[i].stride = 20));
    add_list();
    for (unsigned i = 0; i < 4; i++)
        fields[i].stride = 10;
    expect(!opens(48, 0));
    relations[relation_count++] = (struct schema_relation){1, 4, SCHEMA_LESS, 0};
    expect(REFUSES_LIST((relation_count = 1, relations[0] = (struct schema_relation){1, 4, SCHEMA_LESS, 0})));
    add_list();
    relation_count = 1;
    relations[0] = (struct schema_relation){0, 4, SCHEMA_LESS, 0}; // a count may be compared
    expect(opens(48, 0));
    field_count = 4;
    relation_count = 0;
    expect(opens(40, 0) && !opens(40, 1)); // a text in an array is not cut
}

TEST(arrays_of_bool_and_enumeration)
{
    alignas(8) uint8_t message[16] = {0};
    start();
    struct schema_field *flags = add("flags", SCHEMA_ARRAY, 0, 0, 1);
    flags->element = SCHEMA_BOOL;
    flags->capacity = 3;
    struct schema_field *states = add("states", SCHEMA_ARRAY, 6, 0, 1);
    states->element = SCHEMA_ENUM;
    states->capacity = 3;
    states->label_count = 2;
    label_count = 2;
    memcpy(labels[0].text, "ok", 2);
    memcpy(labels[1].text, "no", 2);
    expect(opens(16, 0));
    put(message, 2, 2);
    message[3] = 1;
    put(message + 6, 2, 1);
    message[8] = 1;
    expect(verdict(message, 16) == 0);
    message[3] = 2;
    expect(verdict(message, 16) == REFUSED(REASON_RANGE, 0));
    message[3] = 1;
    message[8] = 2;
    expect(verdict(message, 16) == REFUSED(REASON_ENUMERATION, 1));
    message[8] = 0;
    message[10] = 1;
    expect(verdict(message, 16) == REFUSED(REASON_PADDING, 1));
    fields[0].maximum = 2;
    expect(!opens(16, 0));
    fields[0].maximum = 1;
    fields[1].maximum = 0;
    expect(!opens(16, 0));
}

TEST(sealed_fields_are_bytes_that_nobody_reads)
{
    alignas(8) uint8_t message[16] = {3, 0, 0xff, 0x00, 0x80};
    uint16_t field = 0;
    uint8_t key[16];
    start();
    add_text("secret", SCHEMA_SEALED, 0, 10, 0);
    expect(opens(16, 1));
    expect(verdict(message, 8) == 0);
    message[5] = 1;
    expect(verdict(message, 8) == REFUSED(REASON_PADDING, 0));
    message[5] = 0;
    message[0] = 11;
    expect(verdict(message, 16) == REFUSED(REASON_LENGTH, 0));
    message[0] = 3;
    expect(!schema_has_value(&schema, 0) && schema_key(&schema, &field, 1, message, 8, key, sizeof key) == 0);
    fields[0].class = 1;
    expect(!opens(16, 1));
    fields[0].class = 0;
    fields[0].deny = 1;
    expect(!opens(16, 1));
}

// Is the text good for a field that denies all these sinks?
static int is_taken(unsigned class, unsigned deny, const char *text)
{
    alignas(8) uint8_t message[40] = {0};
    size_t length = strlen(text);
    start();
    add_text("text", SCHEMA_STRING, 0, 32, class)->deny = (uint8_t)deny;
    expect(opens(40, 1));
    put(message, 2, length);
    memcpy(message + 2, text, length);
    unsigned said = verdict(message, (2 + length + 7) / 8 * 8);
    expect(said == 0 || said == REFUSED(REASON_CLASS, 0));
    return said == 0;
}

TEST(sinks_that_are_denied)
{
    static const struct {
        unsigned deny;
        const char *bytes, *first;   // no text may hold one of these, begin with one of those
        const char *sequences[24], *good[8];
    } sinks[] = {
        {SCHEMA_DENY_SQL, "'\"`;\\#", "", {"--", "/*", "*/"}, {"-", "a-b", "/ *", "=1", "a,b", "$(x)", "<"}},
        {SCHEMA_DENY_SHELL, "'\"`;\\#$&|<>(){}[]*?!~^%", "-", {0}, {"a-", "a b", "=+@", "/etc/..", "a,b"}},
        {SCHEMA_DENY_HTML, "'\"`<>&", "", {0}, {"a=b", "$(x);", "--", "../"}},
        {SCHEMA_DENY_CSV, "\",;|", "=+-@ ", {0}, {"a=b", "a b", "1-1", "<x>", "'a'", "a\xef\xbc\x9d"}},
        {SCHEMA_DENY_LOG, "", "", {"${", "\xd8\x9c", "\xe2\x80\x8b", "\xe2\x80\x8f", "\xe2\x80\xa8", "\xe2\x80\xae",
                                 "\xe2\x81\xa0", "\xe2\x81\xa9", "\xef\xbb\xbf"},
         {"$", "{", "$ {", "%s", "\xe2\x80\x90", "\xe2\x80\xaf", "\xe2\x81\x9f"}},
        {SCHEMA_DENY_PATH, "\\:*?\"<>|", "/~- ", {".."}, {"a/b", "a.b", ".a", "a b", "a-b", "./a", "'a'"}},
    };
    for (size_t i = 0; i < sizeof sinks / sizeof sinks[0]; i++) {
        char text[40];
        for (const char *c = sinks[i].bytes; *c != 0; c++)
            for (int at = 0; at < 3; at++) {
                snprintf(text, sizeof text, "%.*s%c%s", at, "xx", *c, at == 2 ? "" : "y");
                expect(!is_taken(SCHEMA_CLASS_UTF8, sinks[i].deny, text) && is_taken(SCHEMA_CLASS_UTF8, 0, text));
                expect(!is_taken(SCHEMA_CLASS_PRINTABLE, sinks[i].deny, text));
            }
        for (const char *c = sinks[i].first; *c != 0; c++) {
            snprintf(text, sizeof text, "%cx", *c);
            expect(!is_taken(SCHEMA_CLASS_UTF8, sinks[i].deny, text) && is_taken(SCHEMA_CLASS_UTF8, 0, text));
        }
        for (size_t j = 0; sinks[i].sequences[j] != NULL; j++) {
            snprintf(text, sizeof text, "\xc3\xa4%s", sinks[i].sequences[j]);
            expect(!is_taken(SCHEMA_CLASS_UTF8, sinks[i].deny, text) && is_taken(SCHEMA_CLASS_UTF8, 0, text));
            expect(!is_taken(SCHEMA_CLASS_UTF8, sinks[i].deny, sinks[i].sequences[j]));
        }
        for (size_t j = 0; sinks[i].good[j] != NULL; j++)
            expect(is_taken(SCHEMA_CLASS_UTF8, sinks[i].deny, sinks[i].good[j]));
        expect(is_taken(SCHEMA_CLASS_UTF8, sinks[i].deny, "K\xc3\xa4se 9"));
    }
    expect(!is_taken(SCHEMA_CLASS_UTF8, SCHEMA_DENY_CSV, "\xef\xbc\x9d" "1"));
    expect(is_taken(SCHEMA_CLASS_TOKEN, SCHEMA_DENY_ALL & ~(unsigned)SCHEMA_DENY_PATH, "a:b-1"));
    start();
    add_text("text", SCHEMA_STRING, 0, 32, 0)->deny = SCHEMA_DENY_ALL + 1;
    expect(!opens(40, 1));
}

// Opens what is in `fields` as the older of two schemas.
static struct block older_block;
static struct schema older;

static void keep_as_older(unsigned struct_bytes, unsigned is_cut)
{
    size_t size = make(&older_block, struct_bytes, is_cut);
    expect(schema_open(&older, (const uint8_t *)&older_block, size) == STATUS_OK);
}

TEST(a_newer_message_is_cut_to_an_older_schema)
{
    alignas(8) uint8_t message[24] = {0}, shown[24] = {0};
    size_t kept = 0;
    uint16_t field;
    start();
    add("a", SCHEMA_U16, 0, 0, 9);
    add("b", SCHEMA_U8, 2, 0, 9);
    keep_as_older(8, 0);
    add("c", SCHEMA_U8, 3, 0, 255);
    add_text("d", SCHEMA_BYTES, 4, 4, 0);
    expect(opens(16, 1) && schema_extends(&schema, &older) && !schema_extends(&older, &schema));
    memcpy(message, "\x05\0\x06\x07\x04\0abcd", 10);
    expect(verdict(message, 16) == 0);
    expect(schema_cut(&schema, &older, message, 16, &kept) == 8 && kept == 3); // c takes a byte of the older's padding
    memcpy(shown, message, kept);
    expect(schema_check(&older, shown, 8, &field) == REASON_DONE);
    fields[1].maximum = 8; // not the same field
    expect(opens(16, 1) && !schema_extends(&schema, &older) && schema_fields_shared(&schema, &older) == 1);
    fields[1].maximum = 9;
    // The older one ends in a text, of which it sends no tail.
    start();
    add_text("text", SCHEMA_STRING, 0, 9, SCHEMA_CLASS_TOKEN);
    keep_as_older(16, 1);
    add("more", SCHEMA_U8, 11, 1, 9);
    expect(opens(16, 0) && schema_extends(&schema, &older));
    memset(message, 0, sizeof message);
    memcpy(message, "\x03\0abc", 5);
    message[11] = 5;
    expect(verdict(message, 16) == 0);
    expect(schema_cut(&schema, &older, message, 16, &kept) == 8 && kept == 5);
    memcpy(message, "\x09\0abcdefghi", 11);
    expect(verdict(message, 16) == 0);
    expect(schema_cut(&schema, &older, message, 16, &kept) == 16 && kept == 11);
    memset(shown, 0, sizeof shown);
    memcpy(shown, message, kept);
    expect(schema_check(&older, shown, 16, &field) == REASON_DONE);
    // Relations are kept, too.
    start();
    add("a", SCHEMA_U16, 0, 0, 9);
    add("b", SCHEMA_U16, 2, 0, 9);
    relations[relation_count++] = (struct schema_relation){0, 1, SCHEMA_LESS, 0};
    keep_as_older(8, 0);
    relations[0].operator= SCHEMA_LESS_EQUAL;
    expect(opens(8, 0) && !schema_extends(&schema, &older));
    relation_count = 0;
    expect(opens(8, 0) && !schema_extends(&schema, &older));
    relation_count = 1;
    relations[0].operator= SCHEMA_LESS;
    relations[relation_count++] = (struct schema_relation){1, 0, SCHEMA_NOT_EQUAL, 0};
    expect(opens(8, 0) && schema_extends(&schema, &older));
}

int main(void)
{
    RUN(integers_at_their_edges);
    RUN(bool_and_enumeration);
    RUN(every_other_length_is_refused);
    RUN(padding_is_zero);
    RUN(cut_tail_has_one_length);
    RUN(arrays);
    RUN(every_byte_in_every_class);
    RUN(utf8);
    RUN(utf8_ends_with_its_string);
    RUN(relations_between_integers);
    RUN(relations_with_lengths);
    RUN(keys_order_as_values);
    RUN(records_in_an_array);
    RUN(lists_that_are_refused);
    RUN(arrays_of_bool_and_enumeration);
    RUN(sealed_fields_are_bytes_that_nobody_reads);
    RUN(sinks_that_are_denied);
    RUN(a_newer_message_is_cut_to_an_older_schema);
    TEST_END();
}
