// SPDX-License-Identifier: ISC
// Checking a whole transparency log, offline, from nothing but its folder and a public key.
#ifndef CRENEL_HOST_LOG_VERIFY_H
#define CRENEL_HOST_LOG_VERIFY_H

#include "host/log_files.h"

struct log_verdict {
    struct checkpoint checkpoint; // valid when has_checkpoint
    int has_checkpoint;           // its signature is good
    uint64_t first_bad;           // first entry known to differ, or UINT64_MAX
    uint64_t last_bad;            // it is somewhere in first_bad .. last_bad
    char why[160];                // empty: everything agrees
};

// Checks the checkpoint's signature, recomputes every leaf from the entries, and compares every tile and
// the root. STATUS_OK if and only if all agree.
enum status log_verify(struct log_verdict *verdict, int directory,
                       const struct log_key *key) MUST_USE;

#endif
