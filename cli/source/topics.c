// SPDX-License-Identifier: ISC
// Topics from the configuration of the unikernels that serve gateways: the lines that compile_outside.c writes.
#include "cli/source/topics.h"

#include <stdio.h>
#include <string.h>

static int serves_gateway(const struct system_view *system, uint16_t unikernel)
{
    for (size_t i = 0; i < system->gateway_count; i++)
        if (system->gateways[i].unikernel == unikernel)
            return 1;
    return 0;
}

// KIND PORT DURABLE MAXIMUM PRINCIPALS FILTER; anything else leaves the topic without a flow.
static void line_read(const struct system_view *system, uint16_t unikernel, const char *line, struct system_topic *topic)
{
    static const char *const kinds[] = {"publish", "publish0", "subscribe"};
    const struct system_unikernel *server = &system->unikernels[unikernel];
    char word[16];
    unsigned port, durable, most;
    unsigned long long principals;
    int filter = 0;
    if (sscanf(line, "%15s %u %u %u %llx %n", word, &port, &durable, &most, &principals, &filter) != 5 ||
        filter == 0 || line[filter] == 0 || strlen(line + filter) >= TOPIC_FILTER_BYTES || port >= 32)
        return;
    int kind = TOPIC_SUBSCRIBE;
    while (kind >= 0 && strcmp(word, kinds[kind]) != 0)
        kind--;
    if (kind < 0)
        return;
    topic->kind = (uint8_t)kind;
    topic->flow = kind == TOPIC_SUBSCRIBE ? server->inputs[port] : server->outputs[port];
    topic->most = most;
    topic->principals = principals;
    snprintf(topic->filter, sizeof topic->filter, "%s", line + filter);
}

int topic_line(const struct system_view *system, struct topic_walk *walk, struct system_topic *topic, const char **begin,
               size_t *length)
{
    for (; walk->unikernel < system->unikernel_count; walk->unikernel++, walk->at = 0) {
        const struct system_unikernel *server = &system->unikernels[walk->unikernel];
        size_t left = server->configuration_bytes - walk->at;
        if (!serves_gateway(system, walk->unikernel) || left == 0)
            continue;
        char line[256];
        *begin = (const char *)system->bytes + server->configuration_offset + walk->at;
        const char *end = memchr(*begin, '\n', left);
        *length = end != NULL ? (size_t)(end - *begin) : left;
        walk->at += (uint32_t)(*length + (end != NULL));
        snprintf(line, sizeof line, "%.*s", (int)*length, *begin);
        *topic = (struct system_topic){.unikernel = walk->unikernel, .flow = SYSTEM_NONE};
        if (*length < sizeof line)
            line_read(system, walk->unikernel, line, topic);
        return 1;
    }
    return 0;
}

int topic_next(const struct system_view *system, struct topic_walk *walk, struct system_topic *topic)
{
    const char *begin;
    size_t length;
    while (topic_line(system, walk, topic, &begin, &length))
        if (topic->flow != SYSTEM_NONE)
            return 1;
    return 0;
}

int topic_filters_meet(const char *one, const char *other)
{
    for (;;) {
        if (strcmp(one, "#") == 0 || strcmp(other, "#") == 0)
            return 1;
        size_t length = strcspn(one, "/"), other_length = strcspn(other, "/");
        int is_any = (length == 1 && *one == '+') || (other_length == 1 && *other == '+');
        if (!is_any && (length != other_length || memcmp(one, other, length) != 0))
            return 0;
        one += length;
        other += other_length;
        // "a/#" also stands for "a".
        if (*one == 0 || *other == 0)
            return strcmp(one, other) == 0 || strcmp(one, "/#") == 0 || strcmp(other, "/#") == 0;
        one++;
        other++;
    }
}
