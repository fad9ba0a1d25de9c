// SPDX-License-Identifier: ISC
// What the supervisor hands over to each process.
#include "host/process.h"

#include "host/channel.h"
#include "proto/status_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *process_role = "crenel";

void process_begin(struct process *process, const char *role)
{
    struct stat stat;
    process_role = role;
    if (fstat(CONTROL_SYSTEM_FD, &stat) != 0 || stat.st_size <= 0 ||
        stat.st_size > SYSTEM_BYTES_MAX) {
        fprintf(stderr, "%s: this program is started by crenel-supervisor, not by hand\n", role);
        exit(2);
    }
    process->system_bytes = (size_t)stat.st_size;
    process->system =
        mmap(NULL, process->system_bytes, PROT_READ, MAP_SHARED, CONTROL_SYSTEM_FD, 0);
    process->page = mmap(NULL, STATUS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                         CONTROL_PAGE_FD, 0);
    if (process->system == MAP_FAILED || process->page == MAP_FAILED) {
        fprintf(stderr, "%s: cannot map what the supervisor handed over\n", role);
        exit(1);
    }
    close(CONTROL_SYSTEM_FD);
    close(CONTROL_PAGE_FD);
}

void process_fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", process_role, what, why);
    exit(1);
}

uint32_t process_index(int argc, char **argv, size_t count)
{
    char *end = NULL;
    unsigned long index = argc == 3 ? strtoul(argv[2], &end, 10) : 0;
    if (argc != 3 || end == argv[2] || *end != 0 || index >= count)
        process_fail("arguments", "expected the role's name and an index of the compiled system");
    return (uint32_t)index;
}

void process_attach(const struct process_attachment *wanted, size_t count)
{
    for (;;) {
        struct control_record record;
        int fd = -1;
        enum status status = process_control(&record, &fd, 1);
        if (status == STATUS_CLOSED)
            exit(0); // the supervisor is gone
        if (status != STATUS_OK || record.kind != CONTROL_ATTACH)
            process_fail("control link", "not a record that a start needs");
        if (record.what == CONTROL_START)
            break;
        size_t i = 0;
        while (i < count && (uint16_t)wanted[i].what != record.what)
            i++;
        if (i == count || *wanted[i].fd >= 0 || fd < 0)
            process_fail("control link", "an attachment that this process has no use for");
        *wanted[i].fd = fd;
    }
    for (size_t i = 0; i < count; i++)
        if (*wanted[i].fd < 0)
            process_fail("control link", "START came before everything was attached");
}

static void watch_ready(void *context, uint32_t events)
{
    struct control_record record;
    int fd = -1;
    (void)events;
    enum status status = process_control(&record, &fd, 0);
    if (fd >= 0)
        close(fd); // nothing is taken after START
    if (status != STATUS_AGAIN && status != STATUS_OK)
        loop_stop(context);
}

enum status process_watch(struct loop *loop, struct loop_watch *watch)
{
    return loop_add(loop, watch, CONTROL_FD, EPOLLIN, watch_ready, loop);
}

enum status process_control(struct control_record *record, int *fd, int wait)
{
    size_t size;
    enum status status =
        channel_receive_fd(CONTROL_FD, record, sizeof *record, &size, fd, wait);
    if (status != STATUS_OK)
        return status;
    if (size != sizeof *record || record->size != sizeof *record) {
        if (*fd >= 0)
            close(*fd);
        return STATUS_MALFORMED;
    }
    return STATUS_OK;
}

enum status process_ready(void)
{
    struct control_record record = {.size = sizeof record, .kind = CONTROL_READY};
    return channel_send_fd(CONTROL_FD, &record, sizeof record, -1);
}
