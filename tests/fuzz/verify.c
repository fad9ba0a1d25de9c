// SPDX-License-Identifier: ISC
// Fuzz target: `crenel audit verify` over a log that somebody edited. The logs are made at the start, by the audit
// process's own writer, and lie in memory; a signature is checked for real when it is not the one that was made. Hashes
// are a stand-in's, much quicker than SHA-256 and not one-way: nobody here looks for collisions.
//
// Input: which log, then edits: a file of it, what happens to it, where. What must hold: a log verifies as long as every
// file that its checkpoint covers is as it was written, and only then; what is named as bad lies inside the log.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#include "audit/log.h"
#include "host/durable_file.h"
#include "host/log_verify.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>

#define FILES_MOST 24u
#define LOGS 6u

struct file {
    char path[TLOG_PATH_BYTES];
    uint8_t *bytes;
    size_t size;
    int is_read; // by a verification: its checkpoint covers it
};

static struct log {
    struct file files[FILES_MOST];
    size_t count;
    struct log_key key;
    uint8_t signature[64];
} logs[LOGS];
static const unsigned log_sizes[LOGS] = {0, 1, 3, 40, 256, 259};
static struct log *current; // whose files are read and written
static struct file edited[FILES_MOST];
static int is_making, is_noting;

static struct file *file_of(struct log *log, const char *path)
{
    for (size_t i = 0; i < log->count; i++)
        if (strcmp(log->files[i].path, path) == 0)
            return &log->files[i];
    return NULL;
}

enum status __wrap_durable_write(int folder, const char *path, const void *bytes, size_t size, unsigned mode);
enum status __wrap_durable_read(int folder, const char *path, void *bytes, size_t capacity, size_t *size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__real_malloc(size_t size);
void __wrap_free(void *bytes);
void __real_free(void *bytes);
void __wrap_log_hash(uint8_t digest[TLOG_HASH_BYTES], const void *a, size_t a_bytes, const void *b, size_t b_bytes);
int __wrap_fstatat(int folder, const char *path, struct stat *stat, int flags);
int __wrap_openat(int folder, const char *path, int flags, ...);
int __wrap_crypto_sign_ed25519_verify_detached(const unsigned char *signature, const unsigned char *text,
                                               unsigned long long size, const unsigned char *key);
int __real_crypto_sign_ed25519_verify_detached(const unsigned char *signature, const unsigned char *text,
                                               unsigned long long size, const unsigned char *key);

// A verification takes room for the largest log: here always the same.
static uint8_t walk_room[1 << 20] __attribute__((aligned(16)));
static uint8_t bundle_rooms[2][LOG_BUNDLE_BYTES_MAX]; // the partial bundle, and one of the others
static int is_room_used[2];

void *__wrap_calloc(size_t count, size_t size)
{
    if (count * size < 65536)
        return __real_calloc(count, size);
    must(count * size <= sizeof walk_room);
    return memset(walk_room, 0, count * size);
}

void *__wrap_malloc(size_t size)
{
    if (size != LOG_BUNDLE_BYTES_MAX)
        return __real_malloc(size);
    int which = is_room_used[0];
    must(!is_room_used[which]);
    is_room_used[which] = 1;
    return bundle_rooms[which];
}

void __wrap_free(void *bytes)
{
    for (int i = 0; i < 2; i++)
        if (bytes == bundle_rooms[i]) {
            must(is_room_used[i]);
            is_room_used[i] = 0;
            return;
        }
    if (bytes != walk_room)
        __real_free(bytes);
}

static uint64_t mix(uint64_t state, const uint8_t *bytes, size_t size)
{
    for (; size >= 8; bytes += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, bytes, sizeof word);
        state = (state ^ word) * 0x9e3779b97f4a7c15u;
        state ^= state >> 29;
    }
    for (; size > 0; bytes++, size--)
        state = (state ^ *bytes) * 0x100000001b3u;
    return state ^ state >> 32;
}

void __wrap_log_hash(uint8_t digest[TLOG_HASH_BYTES], const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    uint64_t state = mix(a_bytes * 31 + b_bytes, a, a_bytes);
    state = mix(state, b, b_bytes);
    for (unsigned i = 0; i < TLOG_HASH_BYTES / 8; i++) {
        memcpy(digest + 8 * i, &state, sizeof state);
        state = (state ^ state >> 30) * 0xbf58476d1ce4e5b9u + i;
    }
}

enum status __wrap_durable_write(int folder, const char *path, const void *bytes, size_t size, unsigned mode)
{
    (void)folder, (void)mode;
    struct file *file = file_of(current, path);
    if (file == NULL) {
        must(current->count < FILES_MOST);
        file = &current->files[current->count++];
        snprintf(file->path, sizeof file->path, "%s", path);
    }
    free(file->bytes);
    file->bytes = malloc(size + 1);
    memcpy(file->bytes, bytes, size);
    file->size = size;
    return STATUS_OK;
}

enum status __wrap_durable_read(int folder, const char *path, void *bytes, size_t capacity, size_t *size)
{
    (void)folder;
    struct file *file = file_of(current, path);
    errno = ENOENT;
    if (file == NULL)
        return STATUS_ABSENT;
    file->is_read |= is_noting;
    const struct file *now = is_making || is_noting ? file : &edited[file - current->files];
    if (now->bytes == NULL)
        return STATUS_ABSENT;
    if (now->size > capacity)
        return STATUS_TOO_LARGE;
    memcpy(bytes, now->bytes, now->size);
    *size = now->size;
    return STATUS_OK;
}

int __wrap_fstatat(int folder, const char *path, struct stat *stat, int flags)
{
    (void)folder, (void)stat, (void)flags;
    return file_of(current, path) != NULL ? 0 : -1;
}

int __wrap_openat(int folder, const char *path, int flags, ...)
{
    (void)folder, (void)path, (void)flags;
    return -1; // what an older checkpoint covered stays
}

int __wrap_crypto_sign_ed25519_verify_detached(const unsigned char *signature, const unsigned char *text,
                                               unsigned long long size, const unsigned char *key)
{
    const struct file *checkpoint = file_of(current, LOG_CHECKPOINT);
    if (!is_noting && memcmp(signature, current->signature, sizeof current->signature) == 0 &&
        size <= checkpoint->size && memcmp(text, checkpoint->bytes, size) == 0)
        return 0; // it was checked when the log was made
    int result = __real_crypto_sign_ed25519_verify_detached(signature, text, size, key);
    if (is_noting && result == 0)
        memcpy(current->signature, signature, sizeof current->signature);
    return result;
}

static void make(struct log *log, unsigned entries)
{
    static struct audit_log writer;
    const char *why = NULL;
    struct log_verdict verdict;
    current = log;
    is_making = 1;
    must(audit_log_open(&writer, 0, "log.example/7", &why) == STATUS_OK);
    for (unsigned i = 0; i < entries; i++) {
        char text[64];
        int length = snprintf(text, sizeof text, "{\"kind\":\"commit\",\"number\":%u}", i);
        must(audit_log_append(&writer, i % 2, i / 2 + 1, 1700000000000 + i, text, (size_t)length) == STATUS_OK);
        if (i % 50 == 49)
            must(audit_log_commit(&writer) == STATUS_OK);
    }
    must(audit_log_commit(&writer) == STATUS_OK);
    log->key = writer.key;
    is_making = 0;
    is_noting = 1;
    must(log_verify(&verdict, 0, &log->key) == STATUS_OK && verdict.checkpoint.size == entries);
    is_noting = 0;
}

static void edit(struct take *take)
{
    uint8_t which = take_byte(take) % (uint8_t)current->count, what = take_byte(take);
    struct file *file = &edited[which];
    size_t at = file->size == 0 ? 0 : take_number(take, 2) % file->size, count = 1 + take_byte(take) % 40;
    const struct file *other = &current->files[what / 8 % current->count];
    uint8_t *bytes = file->bytes == NULL ? NULL : malloc(file->size + 64);
    if (bytes == NULL)
        return; // it is gone already
    memcpy(bytes, file->bytes, file->size);
    size_t size = file->size;
    switch (what % 8) {
    case 0:
    case 1:
    case 2: // a byte
        if (size != 0)
            bytes[at] ^= take_byte(take);
        break;
    case 3:
        size = at;
        break;
    case 4: // more
        memset(bytes + size, (int)count, count);
        size += count;
        break;
    case 5: // some of it in another place
        count = count < size - at ? count : size - at;
        memmove(bytes, bytes + at, count);
        break;
    case 6: // another file of the log
        free(bytes);
        bytes = malloc(other->size + 64);
        memcpy(bytes, other->bytes, other->size);
        size = other->size;
        break;
    default:
        free(bytes);
        bytes = NULL;
        size = 0;
    }
    if (file->bytes != current->files[which].bytes)
        free(file->bytes);
    file->bytes = bytes;
    file->size = size;
}

static void judge(void)
{
    struct log_verdict verdict;
    enum status status = log_verify(&verdict, 0, &current->key);
    int is_whole = 1, is_checkpoint_whole = 1;
    uint64_t entries = log_sizes[current - logs];
    for (size_t i = 0; i < current->count; i++) {
        const struct file *file = &current->files[i];
        int is_same = edited[i].bytes != NULL && edited[i].size == file->size &&
                      memcmp(edited[i].bytes, file->bytes, file->size) == 0;
        if (strcmp(file->path, LOG_CHECKPOINT) == 0)
            is_checkpoint_whole = is_same; // lines of other signatures may be added
        else if (file->is_read)
            is_whole &= is_same;
    }
    must(memchr(verdict.why, 0, sizeof verdict.why) != NULL);
    if (status == STATUS_OK)
        must(is_whole && verdict.has_checkpoint && verdict.checkpoint.size == entries);
    else
        must((!is_whole || !is_checkpoint_whole) && verdict.why[0] != 0);
    if (status != STATUS_OK && verdict.first_bad != UINT64_MAX)
        must(verdict.has_checkpoint && verdict.first_bad <= verdict.last_bad &&
             verdict.first_bad < (entries == 0 ? 1 : entries));
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    uint32_t state = index + 1;
    if (index >= 8 * LOGS)
        return 0;
    bytes[0] = (uint8_t)(index % LOGS);
    for (size_t i = 1; i < 16; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24);
    }
    return index < LOGS ? 1 : 16;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct take take = {data, size};
    if (logs[0].count == 0) {
        must(sodium_init() >= 0);
        for (unsigned i = 0; i < LOGS; i++)
            make(&logs[i], log_sizes[i]);
    }
    current = &logs[take_byte(&take) % LOGS];
    memcpy(edited, current->files, sizeof edited);
    for (unsigned edits = 0; take.left != 0 && edits < 8; edits++)
        edit(&take);
    judge();
    for (size_t i = 0; i < current->count; i++)
        if (edited[i].bytes != current->files[i].bytes)
            free(edited[i].bytes);
    return 0;
}
