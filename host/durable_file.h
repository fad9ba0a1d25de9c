// SPDX-License-Identifier: ISC
// Whole files that a power cut leaves either as they were or as they shall be.
//
// Written beside the target as PATH.tmp, flushed, renamed over it, and the folder flushed. A PATH.tmp that
// is found later is a write that did not end; the next one overwrites it.
#ifndef CRENEL_HOST_DURABLE_FILE_H
#define CRENEL_HOST_DURABLE_FILE_H

#include "core/status.h"

#include <stddef.h>
#include <sys/types.h>

#define DURABLE_PATH_BYTES 160u // with the terminating zero

// Writes the file at `path` below the open folder `directory`; missing folders on the way are created
// (0700) and flushed into theirs. STATUS_SYSTEM: errno says why, the old file stands. After a failed
// flush nobody knows what the disk holds: the caller ends and starts again from what it can read.
enum status durable_write(int directory, const char *path, const void *bytes, size_t size,
                          mode_t mode) MUST_USE;

// Reads the whole file; *size is its length. STATUS_ABSENT, STATUS_TOO_LARGE (over capacity), STATUS_SYSTEM.
enum status durable_read(int directory, const char *path, void *bytes, size_t capacity,
                         size_t *size) MUST_USE;

#endif
