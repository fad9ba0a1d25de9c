// SPDX-License-Identifier: ISC
// For proofs only: what Frama-C's C library does not know of Linux ("Cannot resolve variable": it belongs here).
// Nothing is proved about what uses it.
#ifndef CRENEL_PROOF_LINUX_H
#define CRENEL_PROOF_LINUX_H

#include <stddef.h>

#define MFD_CLOEXEC 1u
#define MFD_ALLOW_SEALING 2u
#define F_ADD_SEALS 1033
#define F_SEAL_SEAL 1
#define F_SEAL_SHRINK 2
#define F_SEAL_GROW 4
#define MAP_NORESERVE 0x4000
#define MAP_POPULATE 0x8000
#define MADV_WILLNEED 3
#define MADV_DONTNEED 4
#define MADV_REMOVE 9
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23

int memfd_create(const char *name, unsigned flags);
int madvise(void *address, size_t size, int advice);
int mincore(void *address, size_t size, unsigned char *is_there);

#endif
