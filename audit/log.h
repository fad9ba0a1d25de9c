// SPDX-License-Identifier: ISC
// The audit log as its writer sees it: append records, commit batches. Formats: docs/audit.md.
#ifndef CRENEL_AUDIT_LOG_H
#define CRENEL_AUDIT_LOG_H

#include "host/log_files.h"
#include "proto/commit.h"

#define AUDIT_SOURCES 2u // enum audit_source
// A record's text in its wrapper; a malformed one is escaped, six characters for a byte at most.
#define AUDIT_ENTRY_BYTES_MAX (6u * AUDIT_RECORD_BYTES_MAX + 256u)

struct audit_log {
    int directory; // not owned
    struct log_key key;
    uint8_t secret_key[64];
    struct tlog_tree tree;
    uint64_t signed_size;             // of the checkpoint on disk
    uint8_t signed_root[TLOG_HASH_BYTES];
    uint64_t highest[AUDIT_SOURCES];  // sequence appended so far
    size_t bundle_bytes;              // of the entries that no full bundle on disk holds
    uint8_t bundle[TLOG_TILE_WIDTH * (2u + AUDIT_ENTRY_BYTES_MAX)];
};

// Opens the log in the folder, or begins a new one (key pair and the checkpoint of the empty log).
// Fails closed: a checkpoint whose signature, last tiles, last entries or root do not agree is not
// continued. *why then says what is wrong. Ignores and later overwrites what lies beyond the checkpoint.
enum status audit_log_open(struct audit_log *log, int directory, const char *origin,
                           const char **why) MUST_USE;

// Appends one record unless its sequence is not above the source's highest. Nothing is promised before
// audit_log_commit. After an error the object is unusable: end, start again.
enum status audit_log_append(struct audit_log *log, enum audit_source source, uint64_t sequence,
                             int64_t time_ms, const char *text, size_t length) MUST_USE;

// Makes everything appended durable under a new signed checkpoint. Does nothing when there is nothing new.
enum status audit_log_commit(struct audit_log *log) MUST_USE;

#endif
