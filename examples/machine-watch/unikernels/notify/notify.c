// SPDX-License-Identifier: ISC
// Turns an alarm into what people's programs understand: JSON on an MQTT topic.
#include "notify.h"

#define TOPIC "plant/alarms"

// The Gregorian calendar, the other way than decode: years begin in March, 146097 days are 400 years.
static void instant_format(char *text, size_t capacity, int64_t time_ms)
{
    int64_t seconds = time_ms / 1000; // time_ms > 0, says the schema
    int64_t days = seconds / 86400 + 719468;
    unsigned of_day = (unsigned)(seconds % 86400);
    unsigned of_era = (unsigned)(days % 146097);
    unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned from_march = (5 * of_year + 2) / 153;
    unsigned day = of_year - (153 * from_march + 2) / 5 + 1;
    unsigned month = from_march < 10 ? from_march + 3 : from_march - 9;
    unsigned year = (unsigned)(days / 146097) * 400 + year_of_era + (month <= 2);
    text_format(text, capacity, "%04u-%02u-%02uT%02u:%02u:%02uZ", year, month, day, of_day / 3600,
                of_day / 60 % 60, of_day % 60);
}

// Thousandths as a decimal number: -4096 is -4.096.
static void thousandths_format(char *text, size_t capacity, int64_t value)
{
    uint64_t size = value < 0 ? (uint64_t)-value : (uint64_t)value;
    text_format(text, capacity, "%s%llu.%03llu", value < 0 ? "-" : "", (unsigned long long)(size / 1000),
                (unsigned long long)(size % 1000));
}

void on_alarm(const struct event *event, const struct alarm *alarm)
{
    (void)event;
    struct publish publish = {.qos = 1};
    char time[32], celsius[24], level[24], usual[24], deviations[24];
    instant_format(time, sizeof time, alarm->time_ms);
    thousandths_format(celsius, sizeof celsius, alarm->value);
    thousandths_format(level, sizeof level, alarm->level);
    thousandths_format(usual, sizeof usual, alarm->usual);
    thousandths_format(deviations, sizeof deviations, alarm->deviations);
    memcpy(publish.topic, TOPIC, strlen(TOPIC));
    publish.topic_length = (uint16_t)strlen(TOPIC);
    size_t length = text_format((char *)publish.payload, sizeof publish.payload,
                                "{\"alarm\":\"falling\",\"sensor\":%u,\"sequence\":%llu,\"time\":\"%s\","
                                "\"celsius\":%s,\"level\":%s,\"usual\":%s,\"deviations\":%s}",
                                (unsigned)alarm->sensor, (unsigned long long)alarm->sequence, time,
                                celsius, level, usual, deviations);
    publish.payload_length = (uint16_t)length;
    send_publish(&publish);
}
