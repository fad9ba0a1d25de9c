// SPDX-License-Identifier: ISC
// JSON by cJSON: the tree, then the checks.
#include "tests/bench/checker/checker.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

void peer_start(const char *argument) { (void)argument; }

size_t peer_encode(const struct reading *reading, uint8_t *bytes, size_t capacity)
{
    return (size_t)snprintf((char *)bytes, capacity,
                            "{\"time\":%llu,\"sequence\":%u,\"sensor\":%u,\"value\":%d,\"low\":%d,\"high\":%d,\"channel\":%u,"
                            "\"battery\":%u,\"state\":%u,\"is_test\":%s,\"site\":\"%s\"}",
                            (unsigned long long)reading->time, reading->sequence, reading->sensor, reading->value,
                            reading->low, reading->high, reading->channel, reading->battery, reading->state,
                            reading->is_test ? "true" : "false", reading->site);
}

// A whole number of [low, high]; else *is_bad.
static double number(const cJSON *json, const char *name, double low, double high, int *is_bad)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    double value = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!cJSON_IsNumber(item) || value < low || value > high || value != (double)(int64_t)value) {
        *is_bad = 1;
        return 0;
    }
    return value;
}

int peer_is_good(const uint8_t *bytes, size_t size)
{
    cJSON *json = cJSON_ParseWithLength((const char *)bytes, size);
    int is_bad = json == NULL || cJSON_GetArraySize(json) != 11;
    const cJSON *is_test = cJSON_GetObjectItemCaseSensitive(json, "is_test");
    const char *site = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "site"));
    uint64_t time = (uint64_t)number(json, "time", 0, 9007199254740991.0, &is_bad);
    (void)number(json, "sequence", 0, UINT32_MAX, &is_bad);
    uint32_t sensor = (uint32_t)number(json, "sensor", 0, UINT32_MAX, &is_bad);
    int32_t value = (int32_t)number(json, "value", INT32_MIN, INT32_MAX, &is_bad);
    int32_t low = (int32_t)number(json, "low", INT32_MIN, INT32_MAX, &is_bad);
    int32_t high = (int32_t)number(json, "high", INT32_MIN, INT32_MAX, &is_bad);
    uint32_t channel = (uint32_t)number(json, "channel", 0, UINT16_MAX, &is_bad);
    uint32_t battery = (uint32_t)number(json, "battery", 0, UINT8_MAX, &is_bad);
    uint32_t state = (uint32_t)number(json, "state", 0, UINT8_MAX, &is_bad);
    int is_good = !is_bad && cJSON_IsBool(is_test) && site != NULL &&
                  reading_is_good(time, sensor, value, low, high, channel, battery, state, (uint32_t)cJSON_IsTrue(is_test),
                                  (const uint8_t *)site, strlen(site));
    cJSON_Delete(json);
    return is_good;
}
