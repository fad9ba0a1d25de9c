// SPDX-License-Identifier: ISC
// What the supervisor hands over to each process.
#include "host/process.h"

#include "host/channel.h"
#include "proto/status_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void process_begin(struct process *process, const char *role)
{
    struct stat stat;
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
