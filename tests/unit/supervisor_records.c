// SPDX-License-Identifier: ISC
// The supervisor's audit records: numbering from the first ACK, sending again, counting what had no room.
#include "supervisor/records.h"

#include "host/channel.h"
#include "tests/unit/test.h"

#include <string.h>
#include <unistd.h>

static struct loop loop;
static struct records records;
static int audit_fd;
static unsigned settled; // how often it was said that nothing is left

static void attach(void)
{
    int fds[2];
    expect(channel_pair(fds) == STATUS_OK);
    records_attach(&records, fds[0]);
    audit_fd = fds[1];
}

static void acknowledge(uint64_t sequence)
{
    struct audit_packet packet = {.size = sizeof packet, .kind = AUDIT_ACK, .source = AUDIT_SOURCE_SUPERVISOR,
                                  .sequence = sequence};
    expect(channel_send_fd(audit_fd, &packet, sizeof packet, -1) == STATUS_OK);
    expect(loop_once(&loop, 1000) == STATUS_OK);
}

// Sequence of the next record, 0: none there.
static uint64_t take(char *text, size_t capacity)
{
    static uint8_t bytes[2048];
    struct audit_packet packet;
    size_t size;
    int fd;
    if (channel_receive_fd(audit_fd, bytes, sizeof bytes - 1, &size, &fd, 0) != STATUS_OK)
        return 0;
    memcpy(&packet, bytes, sizeof packet);
    expect(packet.kind == AUDIT_RECORD && packet.source == AUDIT_SOURCE_SUPERVISOR && packet.size == size);
    bytes[size] = 0;
    snprintf(text, capacity, "%.600s", (const char *)bytes + sizeof packet);
    return packet.sequence;
}

static void on_settled(void *context) { (*(unsigned *)context)++; }

static void begin(void)
{
    expect(loop_init(&loop) == STATUS_OK);
    settled = 0;
    records_init(&records, &loop, on_settled, &settled);
    attach();
}

static void end(void)
{
    records_detach(&records);
    close(audit_fd);
    loop_clean_up(&loop);
}

TEST(numbers_continue_where_audit_stands)
{
    char text[700];
    begin();
    records_add(&records, "system-starting", "\"epoch\":%d", 3);
    expect(take(text, sizeof text) == 0); // not before audit has told
    acknowledge(41);
    expect(take(text, sizeof text) == 42 && strstr(text, "\"what\":\"system-starting\",\"epoch\":3}") != NULL);
    records_add(&records, "plain", "%s", "");
    expect(take(text, sizeof text) == 43 && strstr(text, "\"what\":\"plain\"}") != NULL);
    expect(settled == 0);
    acknowledge(43);
    expect(records_are_settled(&records) && settled == 1);
    end();
}

TEST(a_new_audit_gets_again_what_was_not_acknowledged)
{
    char text[700];
    begin();
    acknowledge(0);
    for (int i = 0; i < 3; i++)
        records_add(&records, "n", "\"n\":%d", i);
    for (uint64_t i = 1; i <= 3; i++)
        expect(take(text, sizeof text) == i);
    acknowledge(1);
    close(audit_fd);
    expect(loop_once(&loop, 1000) == STATUS_OK && records.fd < 0);
    attach();
    expect(take(text, sizeof text) == 2 && take(text, sizeof text) == 3);
    acknowledge(2); // the new one had 2 already
    acknowledge(3);
    expect(records_are_settled(&records));
    end();
}

TEST(what_has_no_room_is_counted)
{
    char text[700];
    uint64_t sequence = 0, last = 0;
    begin();
    for (unsigned i = 0; i < RECORDS_MAX + 5; i++)
        records_add(&records, "n", "\"n\":%u", i);
    expect(records.lost == 5);
    acknowledge(0);
    while ((sequence = take(text, sizeof text)) != 0)
        last = sequence;
    acknowledge(last);
    expect(last <= RECORDS_MAX);
    while ((sequence = take(text, sizeof text)) != 0) {
        last = sequence;
        if (strstr(text, "\"what\":\"gap\"") != NULL)
            break;
        acknowledge(last);
    }
    expect(strstr(text, "\"what\":\"gap\",\"records\":5}") != NULL);
    end();
}

TEST(text_is_escaped)
{
    char out[64];
    record_escape("a\"b\\c\n\xc3\xa9", out, sizeof out);
    expect(strcmp(out, "a\\\"b\\\\c\\u000a\\u00c3\\u00a9") == 0);
    record_escape("aaaaaaaaaaaaaaaaaaaaaaaa", out, 12);
    expect(strlen(out) < 12);
}

int main(void)
{
    RUN(numbers_continue_where_audit_stands);
    RUN(a_new_audit_gets_again_what_was_not_acknowledged);
    RUN(what_has_no_room_is_counted);
    RUN(text_is_escaped);
    TEST_END();
}
