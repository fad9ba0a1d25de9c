// SPDX-License-Identifier: ISC
// The rules of the configuration. It is signed with the system, yet read as if it were not.
#include "rules.h"

#include "topic.h"

static bool number_read(struct bytes word, unsigned base, uint64_t maximum, uint64_t *value)
{
    uint64_t total = 0;
    for (size_t i = 0; i < word.size; i++) {
        uint8_t c = word.at[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : base;
        if (digit >= base || digit > maximum || total > (maximum - digit) / base)
            return false;
        total = total * base + digit;
    }
    *value = total;
    return word.size != 0;
}

static bool is_word(struct bytes word, const char *text)
{
    size_t size = __builtin_strlen(text);
    return bytes_equal(word, (struct bytes){(const uint8_t *)text, size});
}

static bool rule_read(struct rule *rule, struct bytes line)
{
    struct bytes kind = bytes_cut(&line, ' ');
    if (is_word(kind, "publish"))
        rule->kind = RULE_PUBLISH;
    else if (is_word(kind, "publish0"))
        rule->kind = RULE_PUBLISH_QOS0;
    else if (is_word(kind, "subscribe"))
        rule->kind = RULE_SUBSCRIBE;
    else
        return false;
    uint64_t port, durable, maximum;
    if (!number_read(bytes_cut(&line, ' '), 10, 255, &port) ||
        !number_read(bytes_cut(&line, ' '), 10, 1, &durable) ||
        !number_read(bytes_cut(&line, ' '), 10, UINT32_MAX, &maximum) ||
        !number_read(bytes_cut(&line, ' '), 16, UINT64_MAX, &rule->principals))
        return false;
    uint64_t first = rule->kind == RULE_SUBSCRIBE ? RULES_INPUT_FIRST : RULES_OUTPUT_FIRST;
    rule->port = (uint16_t)port;
    rule->payload_bytes_max = (uint32_t)maximum;
    rule->filter = line;
    return port >= first && port < first + RULES_PORTS && topic_is_utf8(line) &&
           topic_is_filter(line);
}

bool rules_read(struct rules *rules, struct bytes text, unsigned *line)
{
    rules->count = 0;
    for (*line = 1; text.size != 0; ++*line) {
        struct bytes one = bytes_cut(&text, '\n');
        if (one.size == 0)
            continue;
        if (rules->count == RULES_MAX || !rule_read(&rules->rules[rules->count], one)) {
            rules->count = 0;
            return false;
        }
        rules->count++;
    }
    return true;
}

static bool may(const struct rule *rule, uint32_t principal)
{
    return principal >= 1 && principal <= 64 && (rule->principals >> (principal - 1) & 1) != 0;
}

static const struct rule *find(const struct rules *rules, enum rule_kind kind, uint32_t principal,
                               struct bytes topic)
{
    for (size_t i = 0; i < rules->count; i++) {
        const struct rule *rule = &rules->rules[i];
        if (rule->kind == kind && may(rule, principal) && topic_matches(rule->filter, topic))
            return rule;
    }
    return NULL;
}

const struct rule *rules_publish(const struct rules *rules, uint8_t qos, uint32_t principal,
                                 struct bytes topic)
{
    const struct rule *rule =
        qos == 0 ? find(rules, RULE_PUBLISH_QOS0, principal, topic) : NULL;
    return rule != NULL ? rule : find(rules, RULE_PUBLISH, principal, topic);
}

uint32_t rules_subscribe(const struct rules *rules, uint32_t principal, struct bytes filter)
{
    uint32_t ports = 0;
    for (size_t i = 0; i < rules->count; i++) {
        const struct rule *rule = &rules->rules[i];
        if (rule->kind == RULE_SUBSCRIBE && may(rule, principal) &&
            topic_filters_meet(rule->filter, filter))
            ports |= 1u << (rule->port - RULES_INPUT_FIRST);
    }
    return ports;
}

bool rules_deliver(const struct rules *rules, uint32_t principal, uint16_t input,
                   struct bytes topic)
{
    for (size_t i = 0; i < rules->count; i++) {
        const struct rule *rule = &rules->rules[i];
        if (rule->kind == RULE_SUBSCRIBE && rule->port == input && may(rule, principal) &&
            topic_matches(rule->filter, topic))
            return true;
    }
    return false;
}
