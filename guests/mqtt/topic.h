// SPDX-License-Identifier: ISC
// Topic names and topic filters (MQTT 3.1.1, sections 1.5.3 and 4.7).
#ifndef CRENEL_GUESTS_MQTT_TOPIC_H
#define CRENEL_GUESTS_MQTT_TOPIC_H

#include "bytes.h"

bool topic_is_utf8(struct bytes text);   // shortest form, no surrogates, no U+0000; may be empty
bool topic_is_name(struct bytes text);   // not empty, no + and #; text is UTF-8
bool topic_is_filter(struct bytes text); // not empty, + alone in its level, # alone and last
bool topic_has_controls(struct bytes text); // control characters: allowed by MQTT, not by publish/1

// Does the filter select the name? A wildcard at the start does not select names that begin with $.
bool topic_matches(struct bytes filter, struct bytes name);
// Is there a name that both filters select?
bool topic_filters_meet(struct bytes left, struct bytes right);

#endif
