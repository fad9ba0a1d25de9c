// SPDX-License-Identifier: ISC
// The queue of audit records.
#include "supervisor/records.h"

#include "host/channel.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static void send_waiting(struct records *records)
{
    while (records->fd >= 0 && records->is_acknowledged &&
           records->sent < records->acknowledged + records->count) {
        size_t offset = (size_t)(records->sent - records->acknowledged);
        const struct record *record = &records->ring[(records->head + offset) % RECORDS_MAX];
        uint8_t packet[sizeof(struct audit_packet) + RECORD_TEXT_MAX];
        struct audit_packet header = {.size = (uint32_t)sizeof header + record->length,
                                      .kind = AUDIT_RECORD,
                                      .source = AUDIT_SOURCE_SUPERVISOR,
                                      .sequence = records->sent + 1};
        memcpy(packet, &header, sizeof header);
        memcpy(packet + sizeof header, record->text, record->length);
        // The link is non-blocking: what does not fit now is sent after the next ACK.
        if (channel_send_fd(records->fd, packet, header.size, -1) != STATUS_OK)
            return;
        records->sent++;
    }
}

static void take_ack(struct records *records, uint64_t sequence)
{
    if (!records->is_acknowledged) {
        records->is_acknowledged = 1;
        records->acknowledged = records->sent = sequence;
    } else if (sequence > records->acknowledged) {
        uint64_t done = sequence - records->acknowledged;
        if (done > records->count)
            done = records->count; // audit knows more than we sent: only of an earlier life of ours
        records->head = (records->head + (size_t)done) % RECORDS_MAX;
        records->count -= (size_t)done;
        records->acknowledged = sequence;
        if (records->sent < sequence)
            records->sent = sequence;
    }
}

static void link_ready(void *context, uint32_t events)
{
    struct records *records = context;
    (void)events;
    for (;;) {
        struct audit_packet packet;
        size_t size;
        int fd;
        enum status status =
            channel_receive_fd(records->fd, &packet, sizeof packet, &size, &fd, 0);
        if (fd >= 0)
            close(fd);
        if (status == STATUS_AGAIN)
            break;
        if (status != STATUS_OK) {
            records_detach(records);
            return;
        }
        if (size == sizeof packet && packet.kind == AUDIT_ACK)
            take_ack(records, packet.sequence);
    }
    if (records->lost != 0 && records->count < RECORDS_MAX / 2) {
        uint64_t lost = records->lost;
        records->lost = 0;
        records_add(records, "gap", "\"records\":%llu", (unsigned long long)lost);
    }
    send_waiting(records);
    if (records_are_settled(records))
        records->settled(records->context);
}

void records_init(struct records *records, struct loop *loop, void (*settled)(void *context), void *context)
{
    *records = (struct records){.fd = -1, .loop = loop, .settled = settled, .context = context};
}

void records_attach(struct records *records, int fd)
{
    records_detach(records);
    int flags = fcntl(fd, F_GETFL);
    (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    records->fd = fd;
    records->sent = records->acknowledged;
    if (loop_add(records->loop, &records->watch, fd, EPOLLIN, link_ready, records) != STATUS_OK)
        records_detach(records);
    send_waiting(records);
}

void records_detach(struct records *records)
{
    if (records->fd < 0)
        return;
    loop_remove(records->loop, &records->watch);
    close(records->fd);
    records->fd = -1;
}

void records_add(struct records *records, const char *what, const char *format, ...)
{
    if (records->count == RECORDS_MAX) {
        records->lost++;
        return;
    }
    struct record *record = &records->ring[(records->head + records->count) % RECORDS_MAX];
    char members[RECORD_TEXT_MAX - 120];
    va_list list;
    va_start(list, format);
    int length = vsnprintf(members, sizeof members, format, list);
    va_end(list);
    if (length < 0 || (size_t)length >= sizeof members)
        snprintf(members, sizeof members, "\"is_cut\":true"); // half a member would not be JSON
    length = snprintf(record->text, sizeof record->text,
                      "{\"time_ms\":%lld,\"source\":\"supervisor\",\"what\":\"%s\"%s%s}",
                      (long long)loop_wall_clock_ms(), what, members[0] != 0 ? "," : "", members);
    record->length = (uint16_t)length;
    records->count++;
    send_waiting(records);
}

void record_escape(const char *text, char *out, size_t capacity)
{
    size_t used = 0;
    for (; *text != 0 && used + 7 < capacity; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            used += (size_t)snprintf(out + used, capacity - used, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            used += (size_t)snprintf(out + used, capacity - used, "\\u%04x", c);
        else
            out[used++] = (char)c;
    }
    out[used] = 0;
}
