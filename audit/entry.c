// SPDX-License-Identifier: ISC
// Wrapping records, and reading back where each source stands.
#include "audit/entry.h"

#include "core/check.h"
#include "core/json_line.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

static const char *const source_names[AUDIT_SOURCES] = {"store", "supervisor"};

static int is_object(const char *record, size_t length)
{
    if (memchr(record, '\n', length) != NULL || memchr(record, '\0', length) != NULL)
        return 0;
    cJSON *json = cJSON_ParseWithLength(record, length);
    // cJSON takes an object followed by anything: the last byte must close it.
    int is = cJSON_IsObject(json) && length > 0 && record[0] == '{' && record[length - 1] == '}';
    if (is) {
        const char *end = NULL;
        char copy[AUDIT_RECORD_BYTES_MAX + 1];
        memcpy(copy, record, length);
        copy[length] = '\0';
        cJSON *again = cJSON_ParseWithOpts(copy, &end, 1);
        is = again != NULL;
        cJSON_Delete(again);
    }
    cJSON_Delete(json);
    return is;
}

size_t entry_encode(char text[AUDIT_ENTRY_BYTES_MAX], enum audit_source source, uint64_t sequence,
                    int64_t time_ms, const uint64_t highest[AUDIT_SOURCES], const char *record,
                    size_t length)
{
    check((unsigned)source < AUDIT_SOURCES && length <= AUDIT_RECORD_BYTES_MAX);
    struct json_line line;
    json_begin(&line, text, AUDIT_ENTRY_BYTES_MAX);
    json_string(&line, "source", source_names[source]);
    json_unsigned(&line, "sequence", sequence);
    json_integer(&line, "time_ms", time_ms);
    if (highest != NULL) {
        char list[48];
        int size = snprintf(list, sizeof list, "[%llu,%llu]", (unsigned long long)highest[0],
                            (unsigned long long)highest[1]);
        json_raw(&line, "highest", list, (size_t)size);
    }
    if (is_object(record, length))
        json_raw(&line, "record", record, length);
    else
        json_text(&line, "record", record, length);
    size_t size = json_end(&line);
    check(size != 0);
    return size;
}

static int take_number(const cJSON *item, uint64_t *value)
{
    if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > 9007199254740992.0)
        return 0;
    *value = (uint64_t)item->valuedouble;
    return 1;
}

enum status entry_highest(const uint8_t *text, size_t length, uint64_t highest[AUDIT_SOURCES])
{
    cJSON *json = cJSON_ParseWithLength((const char *)text, length);
    const cJSON *source = cJSON_GetObjectItemCaseSensitive(json, "source");
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, "highest");
    uint64_t found[AUDIT_SOURCES], sequence;
    memcpy(found, highest, sizeof found);
    int is_good = take_number(cJSON_GetObjectItemCaseSensitive(json, "sequence"), &sequence) &&
                  cJSON_IsString(source);
    if (list != NULL)
        for (int i = 0; i < (int)AUDIT_SOURCES && is_good; i++)
            is_good = take_number(cJSON_GetArrayItem(list, i), &found[i]);
    int is_known = 0;
    for (unsigned i = 0; i < AUDIT_SOURCES && is_good; i++) {
        if (strcmp(source->valuestring, source_names[i]) != 0)
            continue;
        is_known = 1;
        found[i] = sequence;
    }
    cJSON_Delete(json);
    if (!is_good || !is_known)
        return STATUS_MALFORMED;
    memcpy(highest, found, sizeof found);
    return STATUS_OK;
}
