// SPDX-License-Identifier: ISC
// Who may publish and subscribe what: the configuration that the system compiler writes.
//
// Text, one rule a line, fields apart by one space, the filter reaching to the end of the line:
//   publish OUTPUT DURABLE MAXIMUM PRINCIPALS FILTER     publications of QoS 1 (and 0, see below)
//   publish0 OUTPUT DURABLE MAXIMUM PRINCIPALS FILTER    publications of QoS 0
//   subscribe INPUT 0 0 PRINCIPALS FILTER
// OUTPUT and INPUT are manifest indices; DURABLE is 0 or 1 and changes nothing here; MAXIMUM is the
// largest payload in bytes; PRINCIPALS is a hexadecimal mask, bit i for the system's principal i.
// The first rule that fits decides. A publication of QoS 0 that no publish0 rule covers is
// looked up among the publish rules. What no rule allows is not allowed.
#ifndef CRENEL_GUESTS_MQTT_RULES_H
#define CRENEL_GUESTS_MQTT_RULES_H

#include "bytes.h"

#define RULES_MAX 128u

// Manifest indices, in the order of unikernel.yaml.
#define RULES_OUTPUT_FIRST 4u // publish_0
#define RULES_INPUT_FIRST 3u  // deliver_0
#define RULES_PORTS 8u        // of each

enum rule_kind { RULE_PUBLISH, RULE_PUBLISH_QOS0, RULE_SUBSCRIBE };

struct rule {
    enum rule_kind kind;
    uint16_t port; // manifest index
    uint32_t payload_bytes_max;
    uint64_t principals;
    struct bytes filter; // into the configuration
};

struct rules {
    size_t count;
    struct rule rules[RULES_MAX];
};

// Reads the whole text, which outlives the rules. false: *line (from 1) is not a rule, and no rule holds.
bool rules_read(struct rules *rules, struct bytes text, unsigned *line);

// principal is 1 for the system's first; 0 is nobody and may do nothing.
const struct rule *rules_publish(const struct rules *rules, uint8_t qos, uint32_t principal,
                                 struct bytes topic);
// The inputs whose messages this filter could select: bit i for deliver_i.
uint32_t rules_subscribe(const struct rules *rules, uint32_t principal, struct bytes filter);
// May a message with this topic that came in on `input` be shown to the principal?
bool rules_deliver(const struct rules *rules, uint32_t principal, uint16_t input,
                   struct bytes topic);

#endif
