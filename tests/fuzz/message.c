// SPDX-License-Identifier: ISC
// Fuzz target: messages under schemas that the input describes, so that nearly all of them are good. Three judges:
// the checker, the second checker (schema_oracle.h), and the way through JSON and back, which must give the same
// bytes for every message that the checker takes.
//
// Input: schema (make_schema), what it is: 0 values field by field, 1 raw bytes, 2 JSON text; the same.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/schema_oracle.h"
#include "tests/fuzz/take.h"

#include "cli/message_json.h"
#include "core/schema_layout.h"

#define MEMBERS_MOST 6u // each of up to four fields

static struct oracle draft; // the schema as it is made
static _Alignas(8) uint8_t block[sizeof(struct oracle)];
static struct schema schema;

static void make_bounds(struct take *take, struct schema_field *field, unsigned type)
{
    unsigned width = type_width(type), bits = 8 * width;
    uint64_t low = take_number(take, width), high = take_number(take, width);
    if (is_signed(type)) { // from the width to 64 bits
        low = (uint64_t)((int64_t)(low << (64 - bits)) >> (64 - bits));
        high = (uint64_t)((int64_t)(high << (64 - bits)) >> (64 - bits));
    }
    int is_exchanged = is_signed(type) ? (int64_t)low > (int64_t)high : low > high;
    field->minimum = (int64_t)(is_exchanged ? high : low);
    field->maximum = (int64_t)(is_exchanged ? low : high);
    field->decimals = (uint8_t)(take_byte(take) % 64 < 45 ? 0 : take_byte(take) % 19);
}

// One field behind those that are there; `record` NULL: in none, `stride` of the array that it is in or 0.
static struct schema_field *make_field(struct take *take, const char *record, int is_in_array)
{
    unsigned index = draft.header.field_count++;
    struct schema_field *field = &draft.fields[index];
    static const uint8_t types[] = {1, 2, 3, 4, 5, 6, 7, 8, SCHEMA_BOOL, SCHEMA_ENUM, SCHEMA_STRING, SCHEMA_BYTES,
                                    SCHEMA_SEALED, SCHEMA_ARRAY};
    unsigned type = types[take_byte(take) % (is_in_array ? 13 : 14)];
    field->type = (uint8_t)type;
    snprintf(field->name, sizeof field->name, "%s%s%c", record == NULL ? "" : record, record == NULL ? "" : ".",
             (char)('a' + index));
    if (type >= SCHEMA_STRING)
        field->capacity = (uint16_t)(1 + take_byte(take) % 40);
    if (type == SCHEMA_STRING) {
        field->class = take_byte(take) % (SCHEMA_CLASS_TOPIC + 1);
        field->deny = take_byte(take) % 3 == 0 ? take_byte(take) % 64 : 0;
    }
    if (type == SCHEMA_ARRAY)
        field->element = 1 + take_byte(take) % SCHEMA_ENUM;
    unsigned values = type == SCHEMA_ARRAY ? field->element : type;
    if (is_integer(values))
        make_bounds(take, field, values);
    if (values == SCHEMA_BOOL)
        field->maximum = 1;
    if (values == SCHEMA_ENUM) {
        field->label_first = draft.header.label_count;
        field->label_count = (uint16_t)(1 + take_byte(take) % 4);
        field->maximum = field->label_count - 1;
        for (unsigned i = 0; i < field->label_count; i++)
            snprintf(draft.labels[draft.header.label_count++].text, 24, "l%u", i);
    }
    return field;
}

static size_t place_field(struct schema_field *field, size_t end, unsigned more)
{
    field->offset = (uint16_t)align_up(end + more, field_alignment(field->type));
    if (field->offset - end > 7)
        field->offset = (uint16_t)align_up(end, field_alignment(field->type));
    return field_end(field);
}

// A field, a record or an array of records; returns where it ends.
static size_t make_member(struct take *take, size_t end)
{
    unsigned choice = take_byte(take), members = 1 + choice / 8 % 3;
    if (choice % 8 < 6)
        return place_field(make_field(take, NULL, 0), end, 0);
    char record[2] = {(char)('A' + draft.header.field_count + 32), 0};
    struct schema_field *array = choice % 8 == 7 ? &draft.fields[draft.header.field_count++] : NULL;
    if (array != NULL) {
        memcpy(array->name, record, 2);
        array->type = SCHEMA_ARRAY;
        array->element = SCHEMA_RECORD;
        array->capacity = 1 + take_byte(take) % 4;
        array->member_count = (uint8_t)members;
        end = place_field(array, end, 0);
    }
    struct schema_field *first = &draft.fields[draft.header.field_count];
    unsigned gap = take_byte(take) % 8;
    for (unsigned i = 0; i < members; i++, gap = 0)
        end = place_field(make_field(take, record, array != NULL), end, gap);
    if (array == NULL)
        return end;
    unsigned alignment = 1;
    for (unsigned i = 0; i < members; i++)
        alignment = field_alignment(first[i].type) > alignment ? field_alignment(first[i].type) : alignment;
    array->stride = (uint16_t)align_up(end - first->offset, alignment);
    for (unsigned i = 0; i < members; i++)
        first[i].stride = array->stride;
    return records_stop(array);
}

static size_t make_schema(struct take *take)
{
    memset(&draft, 0, sizeof draft);
    struct schema_header *header = &draft.header;
    unsigned choice = take_byte(take);
    memcpy(header->name, "made/1", 7);
    size_t end = 0;
    for (unsigned i = 0; i < 1 + choice % MEMBERS_MOST; i++)
        end = make_member(take, end);
    header->relation_count = header->field_count > 1 ? (uint16_t)(choice / MEMBERS_MOST % 4) : 0;
    for (unsigned i = 0; i < header->relation_count; i++) {
        unsigned sides = take_byte(take);
        draft.relations[i].left = (uint16_t)(sides % header->field_count);
        draft.relations[i].right = (uint16_t)(sides / 16 % header->field_count);
        draft.relations[i].operator= (uint16_t)(1 + take_byte(take) % 4);
    }
    header->struct_bytes = (uint16_t)align_up(end, 8);
    header->is_cut = (uint16_t)(is_text(draft.fields[header->field_count - 1].type) && !is_in_array(&draft.fields[header->field_count - 1]));
    const struct {
        const void *bytes;
        size_t size;
    } parts[] = {{header, sizeof *header},
                 {draft.fields, header->field_count * sizeof draft.fields[0]},
                 {draft.relations, header->relation_count * sizeof draft.relations[0]},
                 {draft.labels, header->label_count * sizeof draft.labels[0]}};
    size_t size = 0;
    for (int i = 0; i < 4; i++) {
        memcpy(block + size, parts[i].bytes, parts[i].size);
        size += parts[i].size;
        if (i == 0)
            header = (struct schema_header *)(void *)block;
    }
    header->block_bytes = (uint32_t)size;
    return size;
}

static uint64_t make_number(struct take *take, const struct schema_field *field, unsigned type)
{
    uint64_t low = (uint64_t)field->minimum, high = (uint64_t)field->maximum;
    switch (take_byte(take) % 8) {
    case 0: return low;
    case 1: return high;
    case 2: return low - 1;
    case 3: return high + 1;
    case 4: return 0;
    default: return high == low ? low : low + take_number(take, type_width(type)) % (high - low);
    }
}

static size_t make_text(struct take *take, const struct schema_field *field, uint8_t *to)
{
    static const char *const pieces[] = {"a", "Z9", "-", "_.:", "+", "#", " ", "~", "\x7f", "\xc2\xa0", "\xc2\x80",
                                         "\xe2\x82\xac", "\xed\xa0\x80", "\xf0\x9f\x98\x80", "\xc0\x80", "\xff",
                                         "\"", "\\", "--", "../", "${", "=", "\xe2\x80\xae", "\xef\xbc\x9d", "\xf4\x90\x80\x80", "\xe0\x80\x80"};
    unsigned choice = take_byte(take);
    size_t length = 0, wanted = choice % (field->capacity + 1u);
    while (length < wanted) {
        uint8_t which = take_byte(take);
        const char *piece = which < 128 ? "m" : pieces[which % (sizeof pieces / sizeof pieces[0])];
        size_t size = strlen(piece);
        if (size > wanted - length)
            break;
        memcpy(to + length, piece, size);
        length += size;
    }
    return choice >= 250 ? field->capacity + 1u : length;
}

static uint64_t make_scalar(struct take *take, const struct schema_field *field, unsigned type)
{
    if (is_integer(type))
        return make_number(take, field, type);
    return take_byte(take) % ((uint64_t)field->maximum + 2u);
}

// `message` is where the field's offset counts from. Returns its length or count.
static size_t make_value(struct take *take, const struct schema_field *field, uint8_t *message)
{
    uint8_t *at = message + field->offset;
    uint64_t value;
    if (field->type < SCHEMA_STRING)
        value = make_scalar(take, field, field->type);
    else if (is_text(field->type))
        value = make_text(take, field, at + 2);
    else
        value = take_byte(take) % (field->capacity + 1u);
    memcpy(at, &value, field->type >= SCHEMA_STRING ? 2 : type_width(field->type));
    for (size_t i = 0; field->type == SCHEMA_ARRAY && field->element != SCHEMA_RECORD && i < value; i++) {
        uint64_t element = make_scalar(take, field, field->element);
        memcpy(message + elements_start(field) + i * type_width(field->element), &element, type_width(field->element));
    }
    return value;
}

static size_t make_message(struct take *take, uint8_t *message)
{
    size_t size = schema.header->struct_bytes;
    memset(message, 0, size + 64);
    for (unsigned i = 0; i < schema.header->field_count; i += 1u + schema.fields[i].member_count) {
        const struct schema_field *field = &schema.fields[i];
        size_t length = make_value(take, field, message);
        for (size_t j = 0; field->member_count != 0 && j < length; j++)
            for (unsigned k = 1; k <= field->member_count; k++)
                make_value(take, field + k, message + j * field->stride);
        if (i + 1u == schema.header->field_count && schema.header->is_cut)
            size = align_up(field->offset + 2u + length, 8);
    }
    for (unsigned changes = take_byte(take) % 8; changes > 5; changes--) // hardly ever
        message[take_number(take, 2) % size] ^= take_byte(take);
    return size;
}

static void judge_json(const uint8_t *message, size_t size)
{
    static _Alignas(8) uint8_t again[8192];
    size_t again_bytes = 0;
    const char *why = NULL;
    cJSON *json = message_to_json(&schema, message, size);
    must(json != NULL);
    char *text = cJSON_PrintUnformatted(json);
    cJSON *read = cJSON_Parse(text);
    must(read != NULL);
    enum status status = message_from_json(&schema, read, again, sizeof again, &again_bytes, &why);
    if (status != STATUS_OK || again_bytes != size || memcmp(again, message, size) != 0)
        dprintf(2, "%s: %s\n", text, why != NULL ? why : "other bytes");
    must(status == STATUS_OK && again_bytes == size && memcmp(again, message, size) == 0);
    cJSON_free(text);
    cJSON_Delete(json);
    cJSON_Delete(read);
}

static void judge(const uint8_t *made, size_t size)
{
    uint8_t *message = malloc(size + (size == 0)); // of its own: reads too far are seen
    uint16_t field;
    unsigned wanted_field;
    must(message != NULL);
    memcpy(message, made, size);
    enum reason reason = schema_check(&schema, message, size, &field);
    must(oracle_check(&draft, message, size, &wanted_field) == reason);
    must(reason == REASON_DONE || field == wanted_field);
    if (reason == REASON_DONE)
        judge_json(message, size);
    free(message);
}

static void judge_text(const char *text, size_t length)
{
    static _Alignas(8) uint8_t message[8192];
    size_t size = 0;
    uint16_t field;
    const char *why = NULL;
    cJSON *json = cJSON_ParseWithLength(text, length);
    enum status status = message_from_json(&schema, json, message, sizeof message, &size, &why);
    cJSON_Delete(json);
    must((status == STATUS_OK) == (why == NULL));
    if (status != STATUS_OK)
        return;
    enum reason reason = schema_check(&schema, message, size, &field); // only values can be wrong
    must(reason == REASON_DONE || reason == REASON_RANGE || reason == REASON_CLASS || reason == REASON_RELATION);
    judge(message, size);
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static const char *const texts[] = {"{\"a\":5,\"b\":\"-0.5\",\"c\":true}", "{\"a\":\"l1\",\"b\":[1,2,3]}",
                                        "{\"a\":\"text\",\"b\":{\"hex\":\"00ff\"}}"};
    static const uint8_t schemas[][8] = {{2, SCHEMA_U8 - 1, 0, 200, 1, SCHEMA_I32 - 1}, {1, SCHEMA_ENUM - 1, 2},
                                         {1, SCHEMA_STRING - 1, 20, 0, SCHEMA_BYTES - 1, 9}};
    uint32_t state = index + 1;
    if (index < 3) {
        memset(bytes, 0, 64);
        memcpy(bytes, schemas[index], 8);
        if (index == 0)
            bytes[14] = 255, bytes[15] = 1, bytes[16] = SCHEMA_BOOL - 1, bytes[17] = 2;
        size_t at = index == 0 ? 17 : index == 1 ? 20 : 6;
        bytes[at] = 2;
        memcpy(bytes + at + 1, texts[index], strlen(texts[index]));
        return at + 1 + strlen(texts[index]);
    }
    if (index >= 128)
        return 0;
    for (size_t at = 0; at < 200; at++) {
        state = state * 1664525u + 1013904223u;
        bytes[at] = (uint8_t)(state >> 24);
    }
    return 200;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t message[8192];
    struct take take = {data, size};
    size_t block_bytes = make_schema(&take);
    int is_good = schema_open(&schema, block, block_bytes) == STATUS_OK;
    must(oracle_open(&draft, block, block_bytes) == is_good);
    if (!is_good)
        return 0; // a relation that its fields do not allow
    uint8_t kind = take_byte(&take) % 3;
    if (kind == 0) {
        size_t message_bytes = make_message(&take, message);
        judge(message, message_bytes);
    } else if (kind == 1 && take.left <= sizeof message) {
        judge(take.at, take.left);
    } else if (kind == 2) {
        judge_text((const char *)take.at, take.left);
    }
    return 0;
}
