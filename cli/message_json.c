// SPDX-License-Identifier: ISC
// Messages to JSON and back. What came from a message goes back into the same bytes.
#include "cli/message_json.h"

#include "cli/source/schema_source.h"
#include "core/base64.h"
#include "core/field_words.h"
#include "core/schema_layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_MAX ((INT64_C(1) << 53) - 1) // integers up to here are exact in a JSON number, and no other is read as them
#define WRITTEN_MAX INT64_C(999999999999999) // and up to here when cJSON writes it: it gives 15 digits

static int64_t load_element(const uint8_t *bytes, unsigned type)
{
    unsigned width = type_width(type);
    uint64_t raw = 0;
    for (unsigned i = 0; i < width; i++)
        raw |= (uint64_t)bytes[i] << (8 * i);
    unsigned shift = 64 - 8 * width;
    return is_signed(type) ? (int64_t)(raw << shift) >> shift : (int64_t)raw;
}

static void store_element(uint8_t *bytes, unsigned type, int64_t value)
{
    for (unsigned i = 0; i < type_width(type); i++)
        bytes[i] = (uint8_t)((uint64_t)value >> (8 * i));
}

static uint64_t power_of_ten(unsigned exponent)
{
    uint64_t power = 1;
    while (exponent-- > 0)
        power *= 10;
    return power;
}

// ---- To JSON ----

static cJSON *number_to_json(const struct schema_field *field, unsigned type, int64_t value)
{
    int is_negative = type != SCHEMA_U64 && value < 0;
    uint64_t magnitude = is_negative ? 0 - (uint64_t)value : (uint64_t)value;
    uint64_t scale = power_of_ten(field->decimals);
    if (magnitude <= WRITTEN_MAX) {
        double number = (double)magnitude / (double)scale;
        return cJSON_CreateNumber(is_negative ? -number : number);
    }
    char text[32];
    field_number_text(type, field->decimals, value, text, sizeof text);
    return cJSON_CreateString(text);
}

static cJSON *bytes_to_json(const uint8_t *bytes, size_t length, int is_string)
{
    int is_printable = 1;
    char *text = malloc(2 * length + 1);
    if (text == NULL)
        return NULL;
    for (size_t i = 0; i < length; i++)
        is_printable &= bytes[i] >= 0x20 && bytes[i] <= 0x7e;
    cJSON *json;
    if (is_printable || is_string) {
        memcpy(text, bytes, length);
        text[length] = 0;
        json = cJSON_CreateString(text);
    } else {
        for (size_t i = 0; i < length; i++)
            snprintf(text + 2 * i, 3, "%02x", bytes[i]);
        json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "hex", text);
    }
    free(text);
    return json;
}

static cJSON *scalar_to_json(const struct schema *schema, const struct schema_field *field, unsigned type,
                             const uint8_t *at)
{
    int64_t value = load_element(at, type);
    if (type == SCHEMA_BOOL)
        return cJSON_CreateBool(value != 0);
    if (type == SCHEMA_ENUM)
        return cJSON_CreateString(schema->labels[field->label_first + value].text);
    return number_to_json(field, type, value);
}

// One field; `message` is where its offset counts from.
static cJSON *field_to_json(const struct schema *schema, const struct schema_field *field, const uint8_t *message)
{
    const uint8_t *at = message + field->offset;
    if (field->type < SCHEMA_STRING)
        return scalar_to_json(schema, field, field->type, at);
    size_t count = (size_t)load_element(at, SCHEMA_U16);
    if (is_text(field->type))
        return bytes_to_json(at + 2, count, field->type == SCHEMA_STRING);
    cJSON *json = cJSON_CreateArray();
    at = message + elements_start(field);
    for (size_t i = 0; i < count; i++, at += type_width(field->element))
        cJSON_AddItemToArray(json, scalar_to_json(schema, field, field->element, at));
    return json;
}

// Where the name of a member begins in its field's name, and the record's ends; 0: it is in no record.
static size_t member_at(const struct schema_field *field)
{
    const char *dot = strchr(field->name, '.');
    return dot == NULL ? 0 : (size_t)(dot - field->name) + 1;
}

static cJSON *records_to_json(const struct schema *schema, const struct schema_field *array, const uint8_t *message)
{
    cJSON *json = cJSON_CreateArray();
    int64_t count = load_element(message + array->offset, SCHEMA_U16);
    for (; count > 0; count--, message += array->stride) {
        cJSON *record = cJSON_CreateObject();
        for (unsigned i = 1; i <= array->member_count; i++)
            cJSON_AddItemToObject(record, array[i].name + member_at(&array[i]),
                                  field_to_json(schema, &array[i], message));
        cJSON_AddItemToArray(json, record);
    }
    return json;
}

// The object that a field outside of arrays belongs into: its record's, made when it is the first, or the message's.
static cJSON *object_of(cJSON *json, const struct schema_field *field)
{
    size_t at = member_at(field);
    if (at == 0)
        return json;
    char record[SCHEMA_FIELD_NAME_BYTES];
    snprintf(record, sizeof record, "%.*s", (int)(at - 1), field->name);
    cJSON *object = cJSON_GetObjectItemCaseSensitive(json, record);
    return cJSON_IsObject(object) ? object : cJSON_AddObjectToObject(json, record);
}

cJSON *message_to_json(const struct schema *schema, const uint8_t *message, size_t size)
{
    uint16_t index;
    if (schema_check(schema, message, size, &index) != REASON_DONE)
        return NULL;
    cJSON *json = cJSON_CreateObject();
    for (unsigned i = 0; i < schema->header->field_count; i += 1u + schema->fields[i].member_count) {
        const struct schema_field *field = &schema->fields[i];
        cJSON_AddItemToObject(object_of(json, field), field->name + member_at(field),
                              field->member_count != 0 ? records_to_json(schema, field, message)
                                                       : field_to_json(schema, field, message));
    }
    return json;
}

// ---- From JSON ----

static int json_to_number(const struct schema_field *field, unsigned type, const cJSON *json,
                          int64_t *value)
{
    if (cJSON_IsString(json)) {
        if (!schema_number_read(json->valuestring, type, field->decimals, value))
            return 0;
    } else if (cJSON_IsNumber(json)) {
        double scaled = json->valuedouble * (double)power_of_ten(field->decimals);
        if (!(scaled >= -(double)EXACT_MAX && scaled <= (double)EXACT_MAX)) // false for no number, too
            return 0;
        *value = (int64_t)scaled;
        double rest = scaled - (double)*value; // exact; adding 0.5 to a large number is not
        *value += rest >= 0.5 ? 1 : rest <= -0.5 ? -1 : 0;
        // A decimal fraction is not exact in binary: allow for the rounding of one product.
        double off = scaled - (double)*value, allowed = 1e-9 + (scaled < 0 ? -scaled : scaled) * 1e-15;
        if (off > allowed || off < -allowed)
            return 0;
    } else {
        return 0;
    }
    unsigned bits = 8 * type_width(type);
    if (bits == 64)
        return type != SCHEMA_U64 || !cJSON_IsNumber(json) || *value >= 0;
    int64_t most = is_signed(type) ? (INT64_C(1) << (bits - 1)) - 1 : (INT64_C(1) << bits) - 1;
    return *value <= most && *value >= (is_signed(type) ? -most - 1 : 0);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Bytes of a string, {"hex": ..} or {"base64": ..} into to; returns their number, or capacity + 1.
static size_t json_to_bytes(const cJSON *json, int is_string, uint8_t *to, size_t capacity)
{
    if (cJSON_IsString(json)) {
        size_t length = strlen(json->valuestring);
        if (length <= capacity)
            memcpy(to, json->valuestring, length);
        return length <= capacity ? length : capacity + 1;
    }
    if (is_string || !cJSON_IsObject(json) || json->child == NULL || json->child->next != NULL)
        return capacity + 1;
    const char *hex = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "hex"));
    const char *base64 = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "base64"));
    if (base64 != NULL) {
        size_t length = strlen(base64), size = length / 4 * 3;
        size -= length > 0 && base64[length - 1] == '=';
        size -= length > 1 && base64[length - 2] == '=';
        return size <= capacity && base64_decode(to, size, base64, length) ? size : capacity + 1;
    }
    size_t length = hex == NULL ? 1 : strlen(hex);
    if (length % 2 != 0 || length / 2 > capacity)
        return capacity + 1;
    for (size_t i = 0; i < length / 2; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return capacity + 1;
        to[i] = (uint8_t)(high << 4 | low);
    }
    return length / 2;
}

struct reader {
    const struct schema *schema;
    uint8_t *message;
    int is_whole;   // a field that is missing is an error
    size_t shift;   // bytes from the first record of an array to the one that is read
    char path[112]; // of the object that is read: "" or "samples[3]."
    char why[512];
};

// "WHAT 'samples[3].value' of reading/1 REST".
static int refuse(struct reader *reader, const char *what, const char *name, const char *rest)
{
    snprintf(reader->why, sizeof reader->why, "%s '%s%.64s' of %s%s", what, reader->path, name,
             reader->schema->header->name, rest);
    return 0;
}

static int refuse_value(struct reader *reader, const struct schema_field *field, const char *name)
{
    char may_be[160], rest[200];
    field_may_be(reader->schema, field, may_be, sizeof may_be);
    snprintf(rest, sizeof rest, " does not hold this value: it may be %s", may_be);
    return refuse(reader, "field", name, rest);
}

static int json_to_scalar(const struct reader *reader, const struct schema_field *field, unsigned type,
                          const cJSON *json, uint8_t *at)
{
    int64_t value = 0;
    if (type == SCHEMA_BOOL) {
        at[0] = cJSON_IsTrue(json) != 0;
        return cJSON_IsBool(json) != 0;
    }
    if (type == SCHEMA_ENUM) {
        const char *label = cJSON_GetStringValue(json);
        for (uint8_t i = 0; label != NULL && i < field->label_count; i++)
            if (strcmp(reader->schema->labels[field->label_first + i].text, label) == 0) {
                at[0] = i;
                return 1;
            }
        return 0;
    }
    if (!json_to_number(field, type, json, &value))
        return 0;
    store_element(at, type, value);
    return 1;
}

// A field that is no array of records.
static int json_to_field(const struct reader *reader, const struct schema_field *field, const cJSON *json)
{
    uint8_t *at = reader->message + reader->shift + field->offset;
    if (field->type < SCHEMA_STRING)
        return json_to_scalar(reader, field, field->type, json, at);
    if (is_text(field->type)) {
        size_t length = json_to_bytes(json, field->type == SCHEMA_STRING, at + 2, field->capacity);
        store_element(at, SCHEMA_U16, (int64_t)length);
        return length <= field->capacity;
    }
    int count = cJSON_GetArraySize(json);
    const cJSON *item;
    if (!cJSON_IsArray(json) || count > field->capacity)
        return 0;
    store_element(at, SCHEMA_U16, count);
    at = reader->message + reader->shift + elements_start(field);
    cJSON_ArrayForEach(item, json) {
        if (!json_to_scalar(reader, field, field->element, item, at))
            return 0;
        at += type_width(field->element);
    }
    return 1;
}

static int json_to_object(struct reader *reader, const char *record, const cJSON *json);

static int json_to_records(struct reader *reader, const struct schema_field *array, const cJSON *json)
{
    const cJSON *item;
    int index = 0;
    if (!cJSON_IsArray(json) || cJSON_GetArraySize(json) > array->capacity)
        return refuse_value(reader, array, array->name);
    store_element(reader->message + array->offset, SCHEMA_U16, cJSON_GetArraySize(json));
    cJSON_ArrayForEach(item, json) {
        snprintf(reader->path, sizeof reader->path, "%s[%d].", array->name, index++);
        if (!json_to_object(reader, array->name, item))
            return 0;
        reader->shift += array->stride;
    }
    reader->shift = 0;
    reader->path[0] = 0;
    return 1;
}

// Is the field in this record ("": in none)? Then *name is what it is called there.
static int is_in_record(const struct schema_field *field, const char *record, const char **name)
{
    size_t at = member_at(field);
    *name = field->name + at;
    return at == 0 ? *record == 0 : strlen(record) == at - 1 && strncmp(field->name, record, at - 1) == 0;
}

// The first field with this record and name, or the first one of the record with this name: 2.
static int find_member(const struct reader *reader, const char *record, const char *name,
                       const struct schema_field **found)
{
    const char *own;
    for (unsigned i = 0; i < reader->schema->header->field_count; i++) {
        const struct schema_field *field = *found = &reader->schema->fields[i];
        if (is_in_record(field, record, &own) && strcmp(own, name) == 0)
            return 1;
        if (*record == 0 && is_in_record(field, name, &own) && !is_in_array(field) && *name != 0)
            return 2;
    }
    return 0;
}

static int has_all_fields(struct reader *reader, const char *record, const cJSON *json)
{
    for (unsigned i = 0; i < reader->schema->header->field_count; i++) {
        const struct schema_field *field = &reader->schema->fields[i];
        const char *own;
        char top[SCHEMA_FIELD_NAME_BYTES];
        if (!is_in_record(field, record, &own)) {
            if (*record != 0 || is_in_array(field))
                continue;
            snprintf(top, sizeof top, "%.*s", (int)member_at(field) - 1, field->name); // its record's
            own = top;
        }
        if (cJSON_GetObjectItemCaseSensitive(json, own) == NULL)
            return refuse(reader, "field", own, " is missing");
    }
    return 1;
}

// The object of the message ("") or of a record in it.
static int json_to_object(struct reader *reader, const char *record, const cJSON *json)
{
    const cJSON *member;
    if (!cJSON_IsObject(json) && *record != 0)
        return refuse(reader, "record", "", " is no JSON object");
    if (!cJSON_IsObject(json)) {
        snprintf(reader->why, sizeof reader->why, "not a JSON object of %s", reader->schema->header->name);
        return 0;
    }
    cJSON_ArrayForEach(member, json) {
        const struct schema_field *field;
        int is_record = find_member(reader, record, member->string, &field);
        if (is_record == 0)
            return refuse(reader, "there is no field", member->string, "");
        for (const cJSON *other = json->child; other != member; other = other->next)
            if (strcmp(other->string, member->string) == 0)
                return refuse(reader, "twice field", member->string, "");
        if (is_record == 2) {
            snprintf(reader->path, sizeof reader->path, "%s.", member->string);
            if (!json_to_object(reader, member->string, member))
                return 0;
            reader->path[0] = 0;
        } else if (field->member_count != 0) {
            if (!json_to_records(reader, field, member))
                return 0;
        } else if (!json_to_field(reader, field, member)) {
            return refuse_value(reader, field, member->string);
        }
    }
    return !reader->is_whole || has_all_fields(reader, record, json);
}

static enum status read_message(const struct schema *schema, const cJSON *json, int is_whole, uint8_t *message,
                                size_t capacity, size_t *size, const char **why)
{
    static struct reader reader;
    const struct schema_header *header = schema->header;
    reader = (struct reader){.schema = schema, .message = message, .is_whole = is_whole};
    *why = reader.why;
    if (capacity < header->struct_bytes)
        return STATUS_MALFORMED;
    memset(message, 0, header->struct_bytes);
    if (!json_to_object(&reader, "", json))
        return STATUS_MALFORMED;
    *size = header->struct_bytes;
    if (header->is_cut) {
        const struct schema_field *last = &schema->fields[header->field_count - 1];
        size_t length = (size_t)load_element(message + last->offset, SCHEMA_U16);
        *size = align_up(last->offset + 2u + length, 8);
    }
    *why = NULL;
    return STATUS_OK;
}

enum status message_from_json(const struct schema *schema, const cJSON *json, uint8_t *message,
                              size_t capacity, size_t *size, const char **why)
{
    return read_message(schema, json, 0, message, capacity, size, why);
}

enum status message_from_whole_json(const struct schema *schema, const cJSON *json, uint8_t *message,
                                    size_t capacity, size_t *size, const char **why)
{
    return read_message(schema, json, 1, message, capacity, size, why);
}
