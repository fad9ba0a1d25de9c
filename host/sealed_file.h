// SPDX-License-Identifier: ISC
// Bytes that were checked, on their way to another process: a memfd that nobody can change any more.
#ifndef CRENEL_HOST_SEALED_FILE_H
#define CRENEL_HOST_SEALED_FILE_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

// A sealed copy of bytes; *memfd is the caller's. STATUS_SYSTEM: errno.
enum status sealed_file(const uint8_t *bytes, size_t size, int *memfd) MUST_USE;

// Maps a sealed file read-only: *bytes, until the process ends. STATUS_DENIED: it is not sealed.
// STATUS_TOO_LARGE: it is empty or over size_max.
enum status sealed_file_map(int fd, size_t size_max, const uint8_t **bytes, size_t *size) MUST_USE;

#endif
