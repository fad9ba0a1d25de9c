// SPDX-License-Identifier: ISC
// Messages to JSON and back. What came from a message goes back into the same bytes.
#include "cli/message_json.h"

#include "cli/source/schema_source.h"
#include "core/schema_layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_MAX (INT64_C(1) << 53) // integers up to here are exact in a JSON number
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
    char text[320];
    if (field->decimals == 0)
        snprintf(text, sizeof text, "%s%" PRIu64, is_negative ? "-" : "", magnitude);
    else
        snprintf(text, sizeof text, "%s%" PRIu64 ".%0*" PRIu64, is_negative ? "-" : "",
                 magnitude / scale, (int)field->decimals, magnitude % scale);
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

static cJSON *array_to_json(const struct schema_field *field, const uint8_t *message, size_t count)
{
    cJSON *json = cJSON_CreateArray();
    const uint8_t *at = message + elements_start(field);
    for (size_t i = 0; i < count; i++, at += type_width(field->element))
        cJSON_AddItemToArray(json, number_to_json(field, field->element, load_element(at, field->element)));
    return json;
}

static cJSON *field_to_json(const struct schema *schema, uint16_t index, const uint8_t *message,
                            size_t size)
{
    const struct schema_field *field = &schema->fields[index];
    int64_t value = schema_value(schema, index, message, size);
    if (is_text(field->type)) {
        const uint8_t *bytes;
        size_t length = schema_bytes(schema, index, message, size, &bytes);
        return bytes_to_json(bytes, length, field->type == SCHEMA_STRING);
    }
    if (field->type == SCHEMA_ARRAY)
        return array_to_json(field, message, (size_t)value);
    if (field->type == SCHEMA_BOOL)
        return cJSON_CreateBool(value != 0);
    if (field->type == SCHEMA_ENUM)
        return cJSON_CreateString(schema->labels[field->label_first + value].text);
    return number_to_json(field, field->type, value);
}

cJSON *message_to_json(const struct schema *schema, const uint8_t *message, size_t size)
{
    uint16_t field;
    if (schema_check(schema, message, size, &field) != REASON_DONE)
        return NULL;
    cJSON *json = cJSON_CreateObject();
    for (uint16_t i = 0; i < schema->header->field_count; i++)
        cJSON_AddItemToObject(json, schema->fields[i].name, field_to_json(schema, i, message, size));
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

// Bytes of a string or {"hex": ..} into to; returns their number, or capacity + 1.
static size_t json_to_bytes(const cJSON *json, int is_string, uint8_t *to, size_t capacity)
{
    if (cJSON_IsString(json)) {
        size_t length = strlen(json->valuestring);
        if (length <= capacity)
            memcpy(to, json->valuestring, length);
        return length <= capacity ? length : capacity + 1;
    }
    const char *hex = is_string || !cJSON_IsObject(json) || json->child == NULL || json->child->next != NULL
                          ? NULL
                          : cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "hex"));
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

static int json_to_array(const struct schema_field *field, const cJSON *json, uint8_t *message)
{
    int count = cJSON_GetArraySize(json);
    uint8_t *at = message + elements_start(field);
    const cJSON *item;
    if (!cJSON_IsArray(json) || count > field->capacity)
        return 0;
    cJSON_ArrayForEach(item, json) {
        int64_t value;
        if (!json_to_number(field, field->element, item, &value))
            return 0;
        store_element(at, field->element, value);
        at += type_width(field->element);
    }
    store_element(message + field->offset, SCHEMA_U16, count);
    return 1;
}

static int json_to_field(const struct schema *schema, const struct schema_field *field,
                         const cJSON *json, uint8_t *message)
{
    uint8_t *at = message + field->offset;
    int64_t value = 0;
    if (is_text(field->type)) {
        size_t length = json_to_bytes(json, field->type == SCHEMA_STRING, at + 2, field->capacity);
        store_element(at, SCHEMA_U16, (int64_t)length);
        return length <= field->capacity;
    }
    if (field->type == SCHEMA_ARRAY)
        return json_to_array(field, json, message);
    if (field->type == SCHEMA_BOOL) {
        at[0] = cJSON_IsTrue(json) != 0;
        return cJSON_IsBool(json) != 0;
    }
    if (field->type == SCHEMA_ENUM) {
        const char *label = cJSON_GetStringValue(json);
        for (uint8_t i = 0; label != NULL && i < field->label_count; i++)
            if (strcmp(schema->labels[field->label_first + i].text, label) == 0) {
                at[0] = i;
                return 1;
            }
        return 0;
    }
    if (!json_to_number(field, field->type, json, &value))
        return 0;
    store_element(at, field->type, value);
    return 1;
}

enum status message_from_json(const struct schema *schema, const cJSON *json, uint8_t *message,
                              size_t capacity, size_t *size, const char **why)
{
    static char text[160];
    uint8_t is_seen[SCHEMA_FIELDS_MAX] = {0};
    const struct schema_header *header = schema->header;
    const cJSON *member;
    *why = text;
    snprintf(text, sizeof text, "not a JSON object of %s", header->name);
    if (!cJSON_IsObject(json) || capacity < header->struct_bytes)
        return STATUS_MALFORMED;
    memset(message, 0, header->struct_bytes);
    cJSON_ArrayForEach(member, json) {
        int index = schema_field_index(schema, member->string);
        if (index < 0 || is_seen[index]) {
            snprintf(text, sizeof text, "%s '%.64s' in %s", index < 0 ? "there is no field" : "twice field",
                     member->string, header->name);
            return STATUS_MALFORMED;
        }
        is_seen[index] = 1;
        if (!json_to_field(schema, &schema->fields[index], member, message)) {
            snprintf(text, sizeof text, "field '%s' of %s does not hold this value", member->string, header->name);
            return STATUS_MALFORMED;
        }
    }
    *size = header->struct_bytes;
    if (header->is_cut) {
        const struct schema_field *last = &schema->fields[header->field_count - 1];
        size_t length = (size_t)load_element(message + last->offset, SCHEMA_U16);
        *size = align_up(last->offset + 2u + length, 8);
    }
    *why = NULL;
    return STATUS_OK;
}
