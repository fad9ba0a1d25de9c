// SPDX-License-Identifier: ISC
// The bytes of a key are those of schema_key(): integers with the highest byte first, of signed ones the sign flipped.
#include "cli/key_state.h"

#include "cli/message_json.h"
#include "cli/printable.h"
#include "cli/report.h"
#include "cli/source/policy_checks.h"
#include "cli/store_client.h"
#include "core/field_words.h"
#include "core/flow_check.h"
#include "proto/commit.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum status key_state_key(const struct system_view *system, const struct system_flow *flow, const char *text,
                          char hex[2 * SYSTEM_KEY_BYTES_MAX + 1])
{
    const struct schema *schema = &system->schemas[flow->schema];
    uint8_t key[SYSTEM_KEY_BYTES_MAX];
    hex[0] = 0;
    if (flow->key_field == SYSTEM_NONE) {
        if (strcmp(text, "-") == 0)
            return STATUS_OK;
        report_error(NULL, 0, "write - for its one state", "flow %s has no key", flow->name);
        return STATUS_ABSENT;
    }
    const struct schema_field *field = &schema->fields[flow->key_field];
    cJSON *value = field->type < SCHEMA_ENUM ? cJSON_Parse(text) : NULL, *json = cJSON_CreateObject();
    cJSON_AddItemToObject(json, field->name, value != NULL ? value : cJSON_CreateString(text));
    uint8_t *message = calloc(1, ABI_PAYLOAD_BYTES_MAX + 8);
    const char *why = "no memory";
    size_t size = 0, key_bytes = 0;
    enum status status = STATUS_SYSTEM;
    if (message != NULL)
        status = message_from_json(schema, json, message, ABI_PAYLOAD_BYTES_MAX, &size, &why);
    if (status == STATUS_OK) {
        key_bytes = schema_key(schema, &flow->key_field, 1, message, size, key, sizeof key);
        sodium_bin2hex(hex, 2 * SYSTEM_KEY_BYTES_MAX + 1, key, key_bytes);
    } else {
        report_error(NULL, 0, "write it as the message has it: 7, or site-1", "%s %s: %s", field->name, text, why);
    }
    free(message);
    cJSON_Delete(json);
    return status;
}

// An ordered integer (flow_ordered) with the decimals of its field.
static void number_text(const struct schema_field *field, uint64_t ordered, char text[40])
{
    field_number_text(field->type, field->decimals, (int64_t)flow_ordered(field, (int64_t)ordered), text, 40);
}

static cJSON *key_json(const struct system_view *system, const struct system_flow *flow, const uint8_t *key, size_t size)
{
    const struct schema *schema = &system->schemas[flow->schema];
    char text[2 * SYSTEM_KEY_BYTES_MAX + 1];
    uint64_t number = 0;
    if (flow->key_field == SYSTEM_NONE || size > SYSTEM_KEY_BYTES_MAX)
        return cJSON_CreateString("-");
    const struct schema_field *field = &schema->fields[flow->key_field];
    for (size_t i = 0; i < size; i++)
        number = number << 8 | key[i];
    if (field->type == SCHEMA_ENUM && number < field->label_count)
        return cJSON_CreateString(schema->labels[field->label_first + number].text);
    if (field->type < SCHEMA_ENUM && size == flow_key_bytes(system, flow)) {
        uint64_t sign = flow_ordered(field, 0);
        number_text(field, sign != 0 ? number - (UINT64_C(1) << (8 * size - 1)) + sign : number, text);
        return cJSON_CreateRaw(text);
    }
    if (field->type == SCHEMA_STRING && memchr(key, 0, size) == NULL) {
        memcpy(text, key, size);
        text[size] = 0;
        printable_clean(text);
    } else {
        sodium_bin2hex(text, sizeof text, key, size);
    }
    return cJSON_CreateString(text);
}

// What a check remembers; empty: nothing worth a word.
static void part_text(const struct system_view *system, const struct system_flow *flow, const struct system_check *check,
                      const uint64_t *words, char text[80])
{
    const struct schema *schema = &system->schemas[flow->schema];
    const struct schema_field *field = check->field != SYSTEM_NONE ? &schema->fields[check->field] : NULL;
    char number[40] = "", when[32];
    if (field != NULL)
        number_text(field, words[0], number);
    switch ((enum system_check_kind)check->kind) {
    case SYSTEM_CHECK_ORDER:
        snprintf(text, 80, "highest %s", number);
        return;
    case SYSTEM_CHECK_STEP:
        printable_time((double)words[1], when);
        snprintf(text, 80, "%s at %s", number, when);
        return;
    case SYSTEM_CHECK_SLOPE:
        snprintf(text, 80, "%s", number);
        return;
    case SYSTEM_CHECK_MACHINE: {
        const char *name = flow_state_name(&system->machines[check->machine], words[0]);
        snprintf(text, 80, "%s", name != NULL ? name : "in a state that the machine has no more");
        return;
    }
    case SYSTEM_CHECK_RATE:
    case SYSTEM_CHECK_BYTES:
        snprintf(text, 80, "%llu used at its last message", (unsigned long long)(words[0] + 999) / 1000);
        return;
    case SYSTEM_CHECK_LOW:
    case SYSTEM_CHECK_HIGH:
    case SYSTEM_CHECK_FRESH:
    case SYSTEM_CHECK_KINDS:
        break;
    }
    text[0] = 0;
}

static void part_add(const struct system_view *system, const struct system_flow *flow, uint32_t id, const uint8_t *bytes,
                     size_t size, cJSON *state)
{
    for (uint16_t i = 0; i < flow->check_count; i++) {
        const struct system_check *check = &system->checks[flow->check_first + i];
        uint64_t words[FLOW_STATE_WORDS_MAX] = {0};
        char name[64], demand[160], text[80];
        int is_old = id == COMMIT_PART_SEQUENCE && check->kind == SYSTEM_CHECK_ORDER; // of a store of format 2
        if ((check->id != id && !is_old) || flow_check_words(check) == 0 || size < 8)
            continue;
        memcpy(words, bytes, size < sizeof words ? size : sizeof words);
        if (is_old)
            words[0] = flow_ordered(&system->schemas[flow->schema].fields[check->field], (int64_t)words[0]);
        policy_check_text(system, flow, check, name, demand, sizeof demand);
        part_text(system, flow, check, words, text);
        cJSON_AddStringToObject(state, name, text);
        return;
    }
}

cJSON *key_state_describe(const struct system_view *system, const struct system_flow *flow, const cJSON *item)
{
    size_t key_bytes = 0, size = 0;
    uint8_t *key = store_client_hex(item, "key", &key_bytes), *parts = store_client_hex(item, "parts", &size);
    cJSON *row = cJSON_CreateObject(), *state = cJSON_CreateObject();
    struct commit_part part;
    if (key != NULL)
        cJSON_AddItemToObject(row, "key", key_json(system, flow, key, key_bytes));
    for (size_t at = 0; parts != NULL && size - at >= sizeof part; at += part.bytes) {
        memcpy(&part, parts + at, sizeof part);
        at += sizeof part;
        if (part.bytes > size - at)
            break;
        part_add(system, flow, part.id, parts + at, part.bytes, state);
    }
    cJSON_AddItemToObject(row, "state", state);
    free(key);
    free(parts);
    return row;
}
