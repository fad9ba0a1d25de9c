// SPDX-License-Identifier: ISC
// The topics of a compiled system, as the unikernels that serve its gateways read them (docs/mqtt.md).
#ifndef CRENEL_CLI_TOPICS_H
#define CRENEL_CLI_TOPICS_H

#include "core/system.h"

#define TOPIC_FILTER_BYTES 136u // with the terminating zero

enum topic_kind { TOPIC_PUBLISH, TOPIC_PUBLISH0, TOPIC_SUBSCRIBE };

struct system_topic {
    char filter[TOPIC_FILTER_BYTES];
    uint8_t kind;       // enum topic_kind
    uint16_t unikernel; // that serves the connections
    uint16_t flow;      // that carries what is published, or what subscribers get
    uint32_t most;      // payload bytes of a publish
    uint64_t principals; // bit i: principal i; all bits: anyone
};

struct topic_walk { // zero before the first step
    uint16_t unikernel;
    uint32_t at;
};

// The next topic of the system, in the order of its configuration; 0: that was all. Lines that are no topics of
// its ports are passed over, as their reader does.
int topic_next(const struct system_view *system, struct topic_walk *walk, struct system_topic *topic);

// The next line of their configuration, with topic->unikernel; topic->flow is SYSTEM_NONE when it is no topic.
int topic_line(const struct system_view *system, struct topic_walk *walk, struct system_topic *topic, const char **begin,
               size_t *length);

// Is there a topic that both MQTT filters match?
int topic_filters_meet(const char *one, const char *other);

#endif
