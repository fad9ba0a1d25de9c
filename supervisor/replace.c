// SPDX-License-Identifier: ISC
// The steps of a replacement (supervisor/replace.h).
#include "supervisor/replace.h"

#include "core/image.h"
#include "host/durable_file.h"
#include "supervisor/folder.h"
#include "supervisor/installed.h"
#include "supervisor/listener.h"
#include "supervisor/report.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DRAIN_MOST_MS 5000
#define DRAIN_LEAST_MS 100 // what a gateway said last is still on its link
#define ARGUMENTS_MAX (16u + 2u * LISTENERS_MAX + KEYS_MAX)

// ---- Offer ----

static enum status check_images(struct supervisor *s, const struct system_view *next, char why[512], const char **mend)
{
    for (size_t i = 0; i < next->unikernel_count; i++) {
        int fd = -1;
        enum status status = installed_image(s, &next->unikernels[i], &fd, why);
        if (fd >= 0)
            close(fd);
        if (status != STATUS_OK) {
            *mend = "run `crenel up` again";
            return status;
        }
    }
    return STATUS_OK;
}

// An address that is new must be free.
static enum status check_listeners(struct supervisor *s, const struct system_view *next, char why[512], const char **mend)
{
    for (size_t i = 0; i < next->gateway_count; i++) {
        const char *address = next->gateways[i].listen;
        int is_ours = 0, fd = -1;
        for (size_t j = 0; j < s->listener_count; j++)
            is_ours |= strcmp(s->listeners[j].address, address) == 0;
        enum status status = is_ours ? STATUS_OK : listener_open(address, &fd);
        if (fd >= 0)
            close(fd);
        if (status != STATUS_OK) {
            snprintf(why, 512, "gateway %s: cannot listen on %s: %s", next->gateways[i].name, address,
                     status == STATUS_SYSTEM ? strerror(errno) : "it is not an address");
            *mend = "stop the program that listens there (ss -ltnp), or change `listen` of the gateway";
            return status;
        }
    }
    return STATUS_OK;
}

static enum status check_next(struct supervisor *s, const struct system_view *next, char why[512], const char **mend)
{
    const struct system_header *header = next->header;
    if (strcmp(header->name, s->system.header->name) != 0) {
        snprintf(why, 512, "it is system '%s', not '%s'", header->name, s->system.header->name);
        *mend = "give the right folder";
        return STATUS_CONFLICT;
    }
    if (header->security_version < s->system.header->security_version) {
        snprintf(why, 512, "security_version %u is below %u, which runs", header->security_version,
                 s->system.header->security_version);
        *mend = "raise security_version: what it fenced off must not come back";
        return STATUS_DENIED;
    }
    enum status status = check_images(s, next, why, mend);
    return status == STATUS_OK ? check_listeners(s, next, why, mend) : status;
}

enum status replace_offer(struct supervisor *s, char why[512], const char **mend)
{
    char path[PATH_MAX + 16];
    uint8_t *bytes = NULL;
    size_t size = 0;
    int fd = -1;
    struct system_view next;
    snprintf(path, sizeof path, "%s/system.next", s->state_path);
    *mend = "run `crenel up` again";
    enum status status = folder_seal_file(path, SYSTEM_BYTES_MAX, &fd, &bytes, &size);
    if (fd >= 0)
        close(fd);
    if (status != STATUS_OK)
        snprintf(why, 512, "%.400s: %s", path, status == STATUS_SYSTEM ? strerror(errno) : status_text(status));
    else
        status = installed_open(s, bytes, size, &next, why);
    if (status == STATUS_OK)
        status = check_next(s, &next, why, mend);
    if (status != STATUS_OK) {
        free(bytes);
        return status;
    }
    free(s->next.bytes);
    s->next.bytes = bytes;
    s->next.size = size;
    crypto_hash_sha256(s->next.digest, bytes, size);
    return STATUS_OK;
}

// ---- Replace ----

enum status replace_begin(struct supervisor *s, const char *digest, uid_t uid, int connection, char why[512],
                          const char **mend)
{
    char next[65], running[65];
    report_hex(s->next.digest, sizeof s->next.digest, next);
    report_hex(s->digest, sizeof s->digest, running);
    if (s->next.bytes == NULL || digest == NULL || strcmp(digest, next) != 0) {
        snprintf(why, 512, "that version was not offered, or another one since");
        *mend = "run `crenel up` again";
        return STATUS_CONFLICT;
    }
    if (s->phase != PHASE_RUNNING) {
        snprintf(why, 512, "the system is %s now", phase_text(s->phase));
        *mend = "try again when `crenel ps` shows it running";
        return STATUS_AGAIN;
    }
    // What was verified, not what may lie there by now; and if the disk is full, nothing has happened.
    if (durable_write(s->state_fd, "system.next", s->next.bytes, s->next.size, 0600) != STATUS_OK) {
        snprintf(why, 512, "cannot write %.300s/system.next: %s", s->state_path, strerror(errno));
        *mend = "make room there";
        return STATUS_SYSTEM;
    }
    records_add(&s->records, "system-replacing", "\"uid\":%u,\"old\":\"%s\",\"new\":\"%s\"", (unsigned)uid, running, next);
    if (s->notify_fd >= 0)
        close(s->notify_fd);
    s->notify_fd = connection;
    phases_replace(s);
    return STATUS_OK;
}

int replace_is_drained(struct supervisor *s)
{
    const struct router_page *page = (const struct router_page *)(const void *)member_of(s, ROLE_ROUTER, 0)->page;
    int64_t passed_ms = loop_clock_ms() - s->replace_began_ms;
    uint64_t waiting = 0;
    for (size_t i = 0; i < s->system.flow_count; i++) {
        if (s->system.flows[i].is_durable)
            continue;
        waiting += page->counters[COUNTER_FLOW(i, REASON_ENTERED)] - page->counters[COUNTER_FLOW(i, REASON_DONE)];
        for (uint32_t reason = REASON_DONE + 1; reason < REASON_COUNT; reason++)
            waiting -= reason_is_end(reason) ? page->counters[COUNTER_FLOW(i, reason)] : 0;
    }
    return passed_ms >= DRAIN_MOST_MS || (waiting == 0 && passed_ms >= DRAIN_LEAST_MS);
}

// ---- Switch ----

static char option_notify[] = "--notify", option_tied[] = "--tied", option_lock[] = "--lock",
            option_listener[] = "--listener", option_failed[] = "--failed";

// Executes this program for the state folder as it is now. Returns only if that is impossible.
static void execute(struct supervisor *s, const char *failed, const char *why)
{
    char path[PATH_MAX + 32], numbers[2 + LISTENERS_MAX][80], failed_text[65], why_text[256];
    char *argv[ARGUMENTS_MAX];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/crenel-supervisor", s->programs_path);
    argv[count++] = path;
    if (s->notify_fd >= 0) {
        snprintf(numbers[0], sizeof numbers[0], "%d", s->notify_fd);
        (void)fcntl(s->notify_fd, F_SETFD, 0);
        argv[count++] = option_notify;
        argv[count++] = numbers[0];
    }
    if (s->is_tied)
        argv[count++] = option_tied;
    snprintf(numbers[1], sizeof numbers[1], "%d", s->lock_fd);
    (void)fcntl(s->lock_fd, F_SETFD, 0);
    argv[count++] = option_lock;
    argv[count++] = numbers[1];
    for (size_t i = 0; i < s->listener_count; i++) {
        snprintf(numbers[2 + i], sizeof numbers[0], "%d=%s", s->listeners[i].fd, s->listeners[i].address);
        (void)fcntl(s->listeners[i].fd, F_SETFD, 0);
        argv[count++] = option_listener;
        argv[count++] = numbers[2 + i];
    }
    if (failed != NULL) {
        snprintf(failed_text, sizeof failed_text, "%s", failed);
        snprintf(why_text, sizeof why_text, "%s", why);
        argv[count++] = option_failed;
        argv[count++] = failed_text;
        argv[count++] = why_text;
    }
    argv[count++] = s->state_path;
    for (int i = 0; i < s->key_count; i++)
        argv[count++] = s->keys[i];
    argv[count] = NULL;
    fprintf(stderr, "crenel-supervisor: executing %s\n", path);
    (void)execv(path, argv);
    fail(s, "run `crenel up` again", "cannot execute %s: %s", path, strerror(errno));
}

void replace_switch(struct supervisor *s)
{
    (void)unlinkat(s->state_fd, "system.old", 0);
    if (linkat(s->state_fd, "system.bin", s->state_fd, "system.old", 0) != 0 || fsync(s->state_fd) != 0 ||
        durable_write(s->state_fd, "system.bin", s->next.bytes, s->next.size, 0600) != STATUS_OK) {
        char why[200];
        snprintf(why, sizeof why, "cannot put it in place in %.100s: %s", s->state_path, strerror(errno));
        notify(s, "error", "%s\t", why);
        char digest[65];
        report_hex(s->next.digest, sizeof s->next.digest, digest);
        (void)unlinkat(s->state_fd, "system.next", 0);
        (void)unlinkat(s->state_fd, "system.bin.tmp", 0);
        execute(s, digest, why);
        return;
    }
    execute(s, NULL, "");
}

int replace_fall_back(struct supervisor *s)
{
    char failed[65];
    if (!s->is_trial)
        return 0;
    s->is_trial = 0;
    report_hex(s->digest, sizeof s->digest, failed);
    if (renameat(s->state_fd, "system.old", s->state_fd, "system.bin") != 0 || fsync(s->state_fd) != 0) {
        fprintf(stderr, "crenel-supervisor: cannot put the version before back: %s\n", strerror(errno));
        return 0;
    }
    notify(s, "progress", "it did not come to serve; the version before is started again");
    execute(s, failed, s->failure);
    return 1;
}

// ---- Confirm ----

int replace_is_trial(int state_fd)
{
    struct stat new, old;
    if (fstatat(state_fd, "system.old", &old, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    // Cut off between its second name and the rename. To rename one name of a file over another does nothing.
    int is_same = fstatat(state_fd, "system.bin", &new, AT_SYMLINK_NOFOLLOW) == 0 && new.st_dev == old.st_dev &&
                  new.st_ino == old.st_ino;
    return !is_same || unlinkat(state_fd, "system.old", 0) != 0;
}

static void record_fall_back(struct supervisor *s, const char *serves)
{
    char text[300];
    record_escape(s->failed_why, text, sizeof text);
    records_add(&s->records, "system-fell-back", "\"failed\":\"%.64s\",\"why\":\"%s\",\"serves\":\"%s\"", s->failed, text,
                serves);
    s->failed = NULL;
}

// Digest of the version before, in hex; empty: there is none to name.
static void old_digest(const struct supervisor *s, char hex[65])
{
    char path[PATH_MAX + 16];
    uint8_t *bytes = NULL, digest[32];
    size_t size = 0;
    int fd = -1;
    hex[0] = 0;
    snprintf(path, sizeof path, "%s/system.old", s->state_path);
    if (!s->is_trial || folder_seal_file(path, SYSTEM_BYTES_MAX, &fd, &bytes, &size) != STATUS_OK)
        return;
    crypto_hash_sha256(digest, bytes, size);
    report_hex(digest, sizeof digest, hex);
    free(bytes);
    close(fd);
}

enum status replace_confirm(struct supervisor *s)
{
    char old[65], new[65];
    uint64_t version;
    old_digest(s, old);
    report_hex(s->digest, sizeof s->digest, new);
    // Before anything is done that the version before could not live with. What `crenel up` removed or made is flushed, too.
    if ((unlinkat(s->state_fd, "system.old", 0) != 0 && errno != ENOENT) || fsync(s->state_fd) != 0) {
        fail(s, "make the state folder writable", "cannot end the trial of this version in %s: %s", s->state_path,
             strerror(errno));
        phases_stop(s);
        return STATUS_SYSTEM;
    }
    if (s->is_trial)
        member_give(member_of(s, ROLE_STORE, 0), CONTROL_CONFIRM, 0, 0, -1);
    s->is_trial = 0;
    if (s->failed != NULL)
        record_fall_back(s, new);
    else if (old[0] != 0)
        records_add(&s->records, "system-replaced", "\"old\":\"%s\",\"new\":\"%s\"", old, new);
    (void)unlinkat(s->state_fd, "system.next", 0);
    if (folder_read_number(s->state_fd, "security_version", &version) != STATUS_OK ||
        (version < s->system.header->security_version &&
         folder_write_number(s->state_fd, "security_version", s->system.header->security_version) != STATUS_OK))
        fprintf(stderr, "crenel-supervisor: cannot note the security version: %s\n", strerror(errno));
    installed_remove_images(s);
    return STATUS_OK;
}
