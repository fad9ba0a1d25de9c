// SPDX-License-Identifier: ISC
// The MQTT engine: subscriptions, deliveries, wills, time, topics and the configuration.
#include "tests/unit/mqtt_client.h"

TEST(subscribe_within_what_is_allowed)
{
    connect_as(3);
    // plant/alarms 1, plant/# 2 (granted 1), secret/+ refused, plant/x/status 0
    FEED("\x82\x37\0\5\0\x0cplant/alarms\1\0\7plant/#\2\0\x08secret/+\0\0\x0eplant/x/status\0");
    expect(SENT("\x90\6\0\5\1\1\x80\0") && seen.joined == 3);
    connect_as(1);
    FEED("\x82\x11\0\6\0\x0cplant/alarms\1");
    expect(SENT("\x90\3\0\6\x80") && seen.joined == 0);
    FEED("\x82\6\0\7\0\1#\1"); // whatever there is for this principal
    expect(SENT("\x90\3\0\7\1") && seen.joined == 2);
    FEED("\xa2\5\0\x08\0\1#");
    expect(SENT("\xb0\2\0\x08") && seen.left == 2);
}

TEST(deliveries)
{
    connect_as(3);
    FEED("\x82\x1b\0\5\0\x0cplant/alarms\0\0\7plant/#\1");
    deliver(3, 1, "plant/alarms", "hot");
    expect(SENT("\x32\x13\0\x0cplant/alarms\0\1hot")); // once, with the higher QoS
    deliver(3, 0, "plant/alarms", "hot");
    expect(SENT("\x30\x11\0\x0cplant/alarmshot"));
    deliver(3, 1, "plant/secret", "x"); // the flow carries it, no rule shows it
    expect(seen.wire_count == 0);
    deliver(5, 1, "plant/alarms", "x"); // an input that nobody joined
    expect(seen.wire_count == 0);
    deliver(4, 1, "plant/p/status", "ok");
    expect(SENT("\x32\x14\0\x0eplant/p/status\0\2ok"));
    FEED("\x40\2\0\1");
    expect(!seen.is_closed);
    // All ids unacknowledged but one: that one comes next.
    for (int i = 0; i < 65534; i++)
        deliver(3, 1, "plant/alarms", "x");
    expect(!seen.is_closed && seen.wire[16] == 0 && seen.wire[17] == 1);
    deliver(3, 1, "plant/alarms", "x");
    expect(seen.is_closed);
}

TEST(will_and_keep_alive)
{
    start();
    FEED(CONNECT_WILL);
    login(1);
    uint32_t serial = seen.watch_serial;
    now_ms += 10000;
    FEED("\xc0\0");
    expect(SENT("\xd0\0"));
    now_ms += 5000;
    tick(TICK_WATCH, serial - 1); // an older watch
    expect(seen.watches == 0 && !seen.is_closed);
    tick(TICK_WATCH, serial);
    expect(seen.watches == 1 && seen.watch_ms == 10000 && !seen.is_closed);
    now_ms += 10000;
    tick(TICK_WATCH, seen.watch_serial);
    expect(seen.is_closed && seen.publications == 1 && seen.last.output == 7);
    expect(seen.last.payload_bytes == 3 && strcmp(seen.last.topic, "last/will") == 0);

    start(); // the outside vanishes
    FEED(CONNECT_WILL);
    login(1);
    shut();
    expect(seen.publications == 1);

    start(); // DISCONNECT: no will
    FEED(CONNECT_WILL);
    login(1);
    FEED("\xe0\0");
    expect(seen.is_closed && seen.publications == 0 && seen.refused[0] == 0);

    start(); // never let in: no will
    FEED(CONNECT_WILL);
    login(0);
    expect(seen.is_closed && seen.publications == 0);
}

TEST(silence_before_connack_ends)
{
    start();
    feed(connect_plain, 3);
    tick(TICK_WATCH, seen.watch_serial);
    expect(seen.is_closed && seen.wire_bytes == 0);
    start();
    feed(connect_plain, sizeof connect_plain - 1);
    tick(TICK_WATCH, seen.watch_serial);
    expect(seen.is_closed && SENT("\x20\2\0\3"));
    login(1);
    expect(seen.wire_count == 0);
}

TEST(topics)
{
    static const struct {
        const char *left, *right;
        bool is_meeting;
    } cases[] = {
        {"a/b", "a/b", true},   {"a/b", "a/c", false}, {"a/+", "a/b", true},  {"a/+", "a", false},
        {"a/+", "a/b/c", false}, {"a/#", "a", true},   {"a/#", "a/b/c", true}, {"#", "a/b", true},
        {"+", "a/b", false},    {"+/+", "/a", true},   {"/+", "/a", true},    {"+", "/a", false},
        {"a/", "a", false},     {"a/+", "a/", true},   {"#", "$SYS/x", false}, {"+/x", "$SYS/x", false},
        {"$SYS/#", "$SYS/x", true}, {"a/+/c", "+/b/+", true}, {"a/+/c", "+/b/d", false},
        {"a/#", "+/b/#", true}, {"a/#", "b/#", false}, {"a", "b", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes left = text(cases[i].left), right = text(cases[i].right);
        expect(topic_filters_meet(left, right) == cases[i].is_meeting);
        expect(topic_filters_meet(right, left) == cases[i].is_meeting);
    }
    expect(topic_is_filter(text("+/a/#")) && topic_is_filter(text("#")));
    expect(!topic_is_filter(text("a+")) && !topic_is_filter(text("#/a")) && !topic_is_filter(text("a/b#")));
    expect(topic_is_utf8(text("\xe2\x82\xac\xf0\x9f\x98\x80")));
    expect(!topic_is_utf8(text("\xed\xa0\x80")) && !topic_is_utf8(text("\xe2\x82")));
    expect(!topic_is_utf8(text("\xf4\x90\x80\x80")) && !topic_is_utf8(text("\x80")));
    expect(!topic_is_utf8(text("\xc1\x81")) && !topic_is_utf8(text("\xe0\x81\x81")));
}

TEST(configurations)
{
    static const char *const bad[] = {
        "publish 4 1 1024 1",           "publish 3 1 1024 1 a",     "publish 12 1 1024 1 a",
        "publish 4 2 1024 1 a",         "publish 4 1 -1 1 a",       "publish 4 1 1024 G a",
        "publish 4 1 1024 1 a/#/b",     "subscribe 2 0 0 1 a",      "subscribe 11 0 0 1 a",
        "allow 4 1 1024 1 a",           "publish 4 1 99999999999 1 a", "publish 4 1 1024 10000000000000000 a",
        "publish 4 1 1 1 a\nnonsense\n",
    };
    unsigned line;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect(!rules_read(&rules, text(bad[i]), &line) && rules.count == 0);
    expect(line == 2);
    expect(rules_read(&rules, text("publish 4 1 9 ffffffffffffffff a b/c"), &line));
    expect(rules_publish(&rules, 1, 64, text("a b/c")) != NULL);
    expect(rules_publish(&rules, 1, 0, text("a b/c")) == NULL);
    expect(rules_publish(&rules, 1, 65, text("a b/c")) == NULL);
}

int main(void)
{
    RUN(subscribe_within_what_is_allowed);
    RUN(deliveries);
    RUN(will_and_keep_alive);
    RUN(silence_before_connack_ends);
    RUN(topics);
    RUN(configurations);
    TEST_END();
}
