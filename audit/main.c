// SPDX-License-Identifier: ISC
// crenel-audit: takes audit records from the store and the supervisor into the transparency log.
//
// Records are appended as they come and committed at most BATCH_MS later, then acknowledged. Any failure to
// write ends the process: what was not acknowledged comes again when it is started again.
#include "audit/log.h"
#include "core/system.h"
#include "host/channel.h"
#include "host/loop.h"
#include "host/process.h"
#include "host/sandbox.h"
#include "proto/status_page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <unistd.h>

#define BATCH_MS 200
#define BATCH_ENTRIES_MAX 4096u // a batch this large is committed at once
#define ACK_BUFFER_BYTES 4096u

struct link {
    struct audit *audit;
    struct channel channel;
    struct loop_watch watch;
    enum audit_source source;
    uint64_t acknowledged; // last ACK sent
    int is_greeted;        // an ACK was sent on this link
    uint8_t buffer[ACK_BUFFER_BYTES];
    _Alignas(8) uint8_t inbox[AUDIT_PACKET_BYTES];
};

struct audit {
    struct loop loop;
    struct loop_watch control;
    struct loop_timer timer;
    struct process process;
    struct system_view system;
    struct audit_page *page;
    int directory;
    int is_started;
    uint64_t durable[AUDIT_SOURCES]; // highest sequence under the checkpoint on disk
    struct link links[AUDIT_SOURCES];
    struct audit_log log;
};

__attribute__((noreturn)) static void fail(const char *what, const char *why)
{
    fprintf(stderr, "crenel-audit: %s%s%s%s%s\n", what, why != NULL ? ": " : "",
            why != NULL ? why : "", errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
    exit(1);
}

// Whatever was not acknowledged comes again from the store.
__attribute__((noreturn)) static void fail_write(void)
{
    int is_full = errno == ENOSPC || errno == EDQUOT;
    fail("the log cannot be written", is_full ? "make room on its disk, the store keeps the records" : NULL);
}

static void link_close(struct link *link)
{
    if (link->channel.fd < 0)
        return;
    loop_remove(&link->audit->loop, &link->watch);
    channel_close(&link->channel);
}

static void link_acknowledge(struct link *link)
{
    uint64_t highest = link->audit->durable[link->source];
    if (link->channel.fd < 0 || (link->is_greeted && highest == link->acknowledged))
        return;
    struct audit_packet packet = {.size = sizeof packet,
                                  .kind = AUDIT_ACK,
                                  .source = (uint16_t)link->source,
                                  .sequence = highest};
    enum status status = channel_send(&link->channel, &packet, sizeof packet);
    if (status == STATUS_OK) {
        link->acknowledged = highest;
        link->is_greeted = 1;
    } else if (status != STATUS_FULL) { // FULL: the next ACK says it all
        link_close(link);
        return;
    }
    loop_change(&link->audit->loop, &link->watch,
                EPOLLIN | (channel_is_waiting(&link->channel) ? EPOLLOUT : 0u));
}

static void commit(void *context)
{
    struct audit *audit = context;
    errno = 0;
    if (audit_log_commit(&audit->log) != STATUS_OK)
        fail_write();
    memcpy(audit->durable, audit->log.highest, sizeof audit->durable);
    audit->page->time_ms = loop_wall_clock_ms();
    memcpy(audit->page->root, audit->log.signed_root, sizeof audit->page->root);
    __atomic_store_n(&audit->page->size, audit->log.signed_size, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < AUDIT_SOURCES; i++)
        link_acknowledge(&audit->links[i]);
}

static enum status take_record(struct audit *audit, struct link *link, const uint8_t *bytes,
                               size_t size)
{
    struct audit_packet packet;
    if (size < sizeof packet || size > sizeof packet + AUDIT_RECORD_BYTES_MAX)
        return STATUS_MALFORMED;
    memcpy(&packet, bytes, sizeof packet);
    if (packet.size != size || packet.kind != AUDIT_RECORD || packet.source != link->source)
        return STATUS_MALFORMED;
    errno = 0;
    if (audit_log_append(&audit->log, link->source, packet.sequence, loop_wall_clock_ms(),
                         (const char *)bytes + sizeof packet, size - sizeof packet) != STATUS_OK)
        fail_write();
    return STATUS_OK;
}

static void link_ready(void *context, uint32_t events)
{
    struct link *link = context;
    struct audit *audit = link->audit;
    if ((events & EPOLLOUT) != 0 && channel_flush(&link->channel) != STATUS_AGAIN)
        link_acknowledge(link);
    for (int i = 0; (i < 256 || channel_has_more(&link->channel)) && link->channel.fd >= 0; i++) {
        uint8_t bytes[sizeof(struct audit_packet) + AUDIT_RECORD_BYTES_MAX];
        size_t size;
        enum status status = channel_receive(&link->channel, bytes, sizeof bytes, &size, 0);
        if (status == STATUS_AGAIN)
            break;
        if (status == STATUS_OK)
            status = take_record(audit, link, bytes, size);
        if (status == STATUS_MALFORMED || status == STATUS_TOO_LARGE)
            fprintf(stderr, "crenel-audit: malformed record from source %u, link closed\n",
                    (unsigned)link->source);
        if (status != STATUS_OK)
            link_close(link);
    }
    uint64_t waiting = audit->log.tree.size - audit->log.signed_size;
    if (waiting >= BATCH_ENTRIES_MAX)
        commit(audit);
    else if (waiting > 0 && audit->timer.at_ms == 0)
        loop_timer_set(&audit->loop, &audit->timer, BATCH_MS);
    else if (waiting == 0)
        link_acknowledge(link); // what it sent we had: say so again
}

static void link_open(struct audit *audit, enum audit_source source, int fd)
{
    struct link *link = &audit->links[source];
    link_close(link);
    link->is_greeted = 0;
    channel_init(&link->channel, fd, link->buffer, sizeof link->buffer);
    channel_gather(&link->channel, NULL, link->inbox, sizeof link->inbox);
    if (loop_add(&audit->loop, &link->watch, fd, EPOLLIN, link_ready, link) != STATUS_OK)
        fail("cannot watch a link", NULL);
    // Only what is under a checkpoint is acknowledged.
    commit(audit);
}

static void start(struct audit *audit)
{
    char origin[NOTE_NAME_BYTES];
    const char *why = "";
    errno = 0;
    if (audit->directory < 0)
        fail("the supervisor handed over no folder", NULL);
    if (flock(audit->directory, LOCK_EX | LOCK_NB) != 0)
        fail("another process writes this log", NULL);
    snprintf(origin, sizeof origin, "crenel/%s/%s", audit->system.header->tenant,
             audit->system.header->name);
    if (audit_log_open(&audit->log, audit->directory, origin, &why) != STATUS_OK)
        fail("refuses to continue the audit log", why);
    audit->is_started = 1;
    commit(audit);
}

// An operator reads the log's files; there is nothing to ask for here.
static void refuse_operator(int fd)
{
    static const char answer[] = "{\"ok\":false,\"error\":\"the audit log is read from its files\","
                                 "\"mend\":\"crenel audit show\",\"end\":true}\n";
    (void)!write(fd, answer, sizeof answer - 1);
    close(fd);
}

static void take_control(struct audit *audit, const struct control_record *record, int fd)
{
    if (record->kind != CONTROL_ATTACH) {
        if (fd >= 0)
            close(fd);
    } else if (record->what == CONTROL_DIRECTORY && fd >= 0 && audit->directory < 0) {
        audit->directory = fd;
    } else if (record->what == CONTROL_STORE_AUDIT_LINK && fd >= 0) {
        if (audit->is_started)
            link_open(audit, AUDIT_SOURCE_STORE, fd);
        else
            channel_init(&audit->links[AUDIT_SOURCE_STORE].channel, fd, NULL, 0);
    } else if (record->what == CONTROL_SUPERVISOR_AUDIT_LINK && fd >= 0) {
        if (audit->is_started)
            link_open(audit, AUDIT_SOURCE_SUPERVISOR, fd);
        else
            channel_init(&audit->links[AUDIT_SOURCE_SUPERVISOR].channel, fd, NULL, 0);
    } else if (record->what == CONTROL_OPERATOR && fd >= 0) {
        refuse_operator(fd);
    } else if (record->what == CONTROL_START && !audit->is_started) {
        start(audit);
        for (unsigned i = 0; i < AUDIT_SOURCES; i++) {
            int early = audit->links[i].channel.fd;
            audit->links[i].channel.fd = -1;
            if (early >= 0)
                link_open(audit, (enum audit_source)i, early);
        }
        if (process_ready() != STATUS_OK)
            exit(0);
    } else if (fd >= 0) {
        close(fd);
    }
}

static void control_ready(void *context, uint32_t events)
{
    struct audit *audit = context;
    struct control_record record;
    int fd;
    (void)events;
    enum status status = process_control(&record, &fd, 0);
    if (status == STATUS_OK)
        take_control(audit, &record, fd);
    else if (status != STATUS_AGAIN)
        loop_stop(&audit->loop); // the supervisor is gone
}

int main(void)
{
    static struct audit audit = {.directory = -1};
    const char *why = "";
    process_begin(&audit.process, "crenel-audit");
    sandbox_enter(FILTER_AUDIT);
    audit.page = audit.process.page;
    for (unsigned i = 0; i < AUDIT_SOURCES; i++) {
        audit.links[i].audit = &audit;
        audit.links[i].source = (enum audit_source)i;
        audit.links[i].channel.fd = -1;
    }
    if (system_open(&audit.system, audit.process.system, audit.process.system_bytes, &why) !=
        STATUS_OK)
        fail("the compiled system is not valid", why);
    if (loop_init(&audit.loop) != STATUS_OK ||
        loop_add(&audit.loop, &audit.control, CONTROL_FD, EPOLLIN, control_ready, &audit) !=
            STATUS_OK)
        fail("cannot watch the control link", NULL);
    loop_timer_add(&audit.loop, &audit.timer, commit, &audit);
    if (loop_run(&audit.loop) != STATUS_OK)
        fail("the event loop stopped", NULL);
    commit(&audit); // what has arrived stays
    return 0;
}
