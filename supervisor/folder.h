// SPDX-License-Identifier: ISC
// The state folder of one system, as the supervisor keeps it:
//   system.bin  operator.pub's signature on it was checked      lock        flock: one supervisor
//   images/DIGEST   of the unikernels                           epoch       decimal, raised at each epoch
//   store/ audit/ password/NAME/   of their processes
//   logs/system.log (.1)  logs/host.log (.1)                    user_base   decimal, first of 64 user ids
//   system.next, system.old   of a replacement (replace.h)      security_version   decimal, highest that served
//   control     unix socket                                     root/       empty, where sandboxes begin
#ifndef CRENEL_SUPERVISOR_FOLDER_H
#define CRENEL_SUPERVISOR_FOLDER_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Makes `name` (mode 0700, owned by uid unless it is (uid_t)-1) below folder_fd if it is not there.
enum status folder_make(int folder_fd, const char *name, uid_t uid) MUST_USE;

// A decimal number kept durably in a file; absent: 0. Writing replaces the file atomically.
enum status folder_read_number(int folder_fd, const char *name, uint64_t *value) MUST_USE;
enum status folder_write_number(int folder_fd, const char *name, uint64_t value) MUST_USE;

// First user id of the system: remembered, else one that no other system beside it has.
enum status folder_user_base(int folder_fd, const char *system, uid_t *base) MUST_USE;

// Opens for appending; is_large says that it outgrew LOG_BYTES_MAX.
#define LOG_BYTES_MAX (16u * 1024u * 1024u)
enum status folder_open_log(int folder_fd, const char *name, uid_t uid, int *fd) MUST_USE;
int folder_log_is_large(int fd);
// name -> name.1
enum status folder_rotate_log(int folder_fd, const char *name) MUST_USE;

// The same for a log that many processes hold open: copied to name.1, then emptied in place.
enum status folder_empty_log(int folder_fd, const char *name) MUST_USE;

// Reads at most size_max bytes of a regular file into a sealed memfd and into *bytes (caller frees).
enum status folder_seal_file(const char *path, size_t size_max, int *memfd, uint8_t **bytes, size_t *size) MUST_USE;

#endif
