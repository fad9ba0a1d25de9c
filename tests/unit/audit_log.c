// SPDX-License-Identifier: ISC
// The audit log on disk: restart anywhere, torn writes, tampering with any byte.
#include "audit/entry.h"
#include "audit/log.h"
#include "host/durable_file.h"
#include "host/log_verify.h"
#include "tests/unit/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ORIGIN "crenel/plant/watch"

static struct audit_log audit; // too large for a stack
static char folder[64];
static int directory = -1;

static void remove_tree(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (stream == NULL) {
        (void)unlinkat(parent, name, 0);
        return;
    }
    for (struct dirent *item; (item = readdir(stream)) != NULL;)
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0)
            remove_tree(fd, item->d_name);
    closedir(stream);
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}

static void begin(void)
{
    snprintf(folder, sizeof folder, "/tmp/crenel-audit-XXXXXX");
    expect(mkdtemp(folder) != NULL);
    directory = open(folder, O_RDONLY | O_DIRECTORY);
    expect(directory >= 0);
}

static void end(void)
{
    close(directory);
    remove_tree(AT_FDCWD, folder);
}

static enum status reopen(void)
{
    const char *why;
    return audit_log_open(&audit, directory, ORIGIN, &why);
}

static enum status append(enum audit_source source, uint64_t sequence)
{
    char text[64];
    snprintf(text, sizeof text, "{\"kind\":\"test\",\"n\":%d}", (int)sequence);
    return audit_log_append(&audit, source, sequence, 1000 + (int64_t)sequence, text, strlen(text));
}

static void fill(uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++)
        expect(append(AUDIT_SOURCE_STORE, i) == STATUS_OK);
    expect(audit_log_commit(&audit) == STATUS_OK);
}

static struct log_verdict verdict;

static enum status verify(void)
{
    struct log_key key;
    const char *why;
    enum status status = log_key_read(&key, directory, &why);
    return status == STATUS_OK ? log_verify(&verdict, directory, &key) : status;
}

static int exists(const char *path)
{
    return faccessat(directory, path, F_OK, 0) == 0;
}

TEST(a_new_log_is_empty_and_verifies)
{
    struct stat stat;
    begin();
    expect(reopen() == STATUS_OK);
    expect(verify() == STATUS_OK && verdict.checkpoint.size == 0);
    expect(!exists("tile"));
    expect(fstatat(directory, LOG_SECRET_KEY, &stat, 0) == 0 && (stat.st_mode & 0777) == 0600);
    end();
}

TEST(sizes_around_tiles_verify_and_leave_no_old_partials)
{
    static const uint64_t sizes[] = {1, 2, 255, 256, 257, 511, 512, 700, 1024};
    uint64_t at = 0;
    begin();
    expect(reopen() == STATUS_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        fill(at + 1, sizes[i]);
        at = sizes[i];
        expect(verify() == STATUS_OK && verdict.checkpoint.size == at);
        expect(reopen() == STATUS_OK && audit.highest[AUDIT_SOURCE_STORE] == at);
    }
    expect(exists("tile/0/000") && exists("tile/entries/003") && exists("tile/1/000.p/4"));
    expect(!exists("tile/0/000.p") && !exists("tile/entries/002.p") && !exists("tile/1/000.p/2"));
    end();
}

TEST(each_record_once_from_each_source)
{
    begin();
    expect(reopen() == STATUS_OK);
    for (uint64_t i = 1; i <= 300; i++) {
        expect(append(AUDIT_SOURCE_STORE, i) == STATUS_OK);
        if (i == 3)
            expect(append(AUDIT_SOURCE_SUPERVISOR, 41) == STATUS_OK);
        expect(append(AUDIT_SOURCE_STORE, i) == STATUS_OK); // again: dropped
    }
    expect(audit_log_commit(&audit) == STATUS_OK);
    expect(audit.tree.size == 301);
    // The supervisor's record lies in an earlier bundle; the last one still tells of it.
    expect(reopen() == STATUS_OK);
    expect(audit.highest[AUDIT_SOURCE_STORE] == 300 && audit.highest[AUDIT_SOURCE_SUPERVISOR] == 41);
    expect(append(AUDIT_SOURCE_SUPERVISOR, 41) == STATUS_OK && audit.tree.size == 301);
    fill(301, 511);
    expect(audit.tree.size == 512 && verify() == STATUS_OK);
    expect(reopen() == STATUS_OK && audit.highest[AUDIT_SOURCE_SUPERVISOR] == 41);
    end();
}

TEST(a_record_that_is_no_json_object_is_kept_as_text)
{
    static const char *const bad[] = {"", "7", "{\"a\":1}x", "{\"a\":1}\n", "{\"a\":}", "{\"a\":1}{\"b\":2}", "\"\\"};
    uint64_t highest[AUDIT_SOURCES] = {0};
    char text[AUDIT_ENTRY_BYTES_MAX], worst[AUDIT_RECORD_BYTES_MAX];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t size = entry_encode(text, AUDIT_SOURCE_STORE, 7, 1, NULL, bad[i], strlen(bad[i]));
        expect(strstr(text, "\"record\":\"") != NULL);
        expect(entry_highest((const uint8_t *)text, size, highest) == STATUS_OK && highest[0] == 7);
    }
    memset(worst, 0xff, sizeof worst);
    expect(entry_encode(text, AUDIT_SOURCE_SUPERVISOR, UINT64_MAX, INT64_MIN,
                        (const uint64_t[]){UINT64_MAX, UINT64_MAX}, worst, sizeof worst) > 6000);
    size_t good = entry_encode(text, AUDIT_SOURCE_STORE, 7, 1, NULL, "{\"a\":{}}", 8);
    expect(good > 0 && strstr(text, "\"record\":{\"a\":{}}}") != NULL);
}

// Copies the whole folder, so that a test can damage the copy.
static void copy_tree(int from, int to)
{
    static uint8_t bytes[1 << 20];
    DIR *stream = fdopendir(dup(from));
    rewinddir(stream);
    for (struct dirent *item; (item = readdir(stream)) != NULL;) {
        struct stat stat;
        if (item->d_name[0] == '.' || fstatat(from, item->d_name, &stat, 0) != 0)
            continue;
        if (S_ISDIR(stat.st_mode)) {
            expect(mkdirat(to, item->d_name, 0700) == 0 || errno == EEXIST);
            int a = openat(from, item->d_name, O_RDONLY), b = openat(to, item->d_name, O_RDONLY);
            copy_tree(a, b);
            close(a);
            close(b);
            continue;
        }
        size_t size = 0;
        expect(durable_read(from, item->d_name, bytes, sizeof bytes, &size) == STATUS_OK);
        int fd = openat(to, item->d_name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        expect(write(fd, bytes, size) == (ssize_t)size);
        close(fd);
    }
    closedir(stream);
}

// A power cut between two batches: every file of the new batch that has been written is there, or torn in its
// .tmp, but the checkpoint is still the old one.
TEST(a_cut_before_the_checkpoint_loses_only_what_was_not_acknowledged)
{
    static const uint64_t before[] = {1, 255, 256, 300, 510};
    static const uint64_t added[] = {1, 2, 260};
    for (size_t i = 0; i < sizeof before / sizeof before[0]; i++)
        for (size_t j = 0; j < sizeof added / sizeof added[0]; j++) {
            uint8_t old[1024];
            size_t old_bytes = 0;
            begin();
            expect(reopen() == STATUS_OK);
            fill(1, before[i]);
            char copy_path[80];
            snprintf(copy_path, sizeof copy_path, "%s-copy", folder);
            expect(mkdir(copy_path, 0700) == 0);
            int copy = open(copy_path, O_RDONLY | O_DIRECTORY);
            copy_tree(directory, copy);
            expect(durable_read(copy, LOG_CHECKPOINT, old, sizeof old, &old_bytes) == STATUS_OK);
            // The whole batch, then the old files over it: old partials were not yet removed, either.
            fill(before[i] + 1, before[i] + added[j]);
            remove_tree(directory, LOG_CHECKPOINT);
            copy_tree(copy, directory);
            int torn = openat(directory, "checkpoint.tmp", O_WRONLY | O_CREAT, 0600);
            expect(write(torn, "crenel/pl", 9) == 9);
            close(torn);
            expect(verify() == STATUS_OK && verdict.checkpoint.size == before[i]);
            expect(reopen() == STATUS_OK && audit.highest[AUDIT_SOURCE_STORE] == before[i]);
            // The same records come again, with another time: another tree over the leftovers.
            fill(before[i] + 1, before[i] + added[j] + 3);
            expect(verify() == STATUS_OK && verdict.checkpoint.size == before[i] + added[j] + 3);
            close(copy);
            remove_tree(AT_FDCWD, copy_path);
            end();
        }
}

// Visits every regular file below a folder.
static int each_file(int from, const char *prefix, int (*visit)(const char *path))
{
    DIR *stream = fdopendir(dup(from));
    int count = 0;
    rewinddir(stream);
    for (struct dirent *item; (item = readdir(stream)) != NULL;) {
        char path[192];
        struct stat stat;
        if (item->d_name[0] == '.' || fstatat(from, item->d_name, &stat, 0) != 0)
            continue;
        snprintf(path, sizeof path, "%s%.60s%s", prefix, item->d_name, S_ISDIR(stat.st_mode) ? "/" : "");
        if (S_ISDIR(stat.st_mode)) {
            int fd = openat(from, item->d_name, O_RDONLY);
            count += each_file(fd, path, visit);
            close(fd);
        } else {
            count += visit(path);
        }
    }
    closedir(stream);
    return count;
}

static void put(const char *path, const uint8_t *bytes, size_t size)
{
    int fd = openat(directory, path, O_WRONLY | O_TRUNC);
    expect(write(fd, bytes, size) == (ssize_t)size);
    close(fd);
}

static unsigned step; // visit every step-th byte

static int flip_each(const char *path)
{
    static uint8_t good[1 << 20], bad[1 << 20];
    size_t size = 0;
    if (strcmp(path, LOG_SECRET_KEY) == 0)
        return 0;
    expect(durable_read(directory, path, good, sizeof good, &size) == STATUS_OK && size > 0);
    for (size_t i = 0; i < size; i += step) {
        memcpy(bad, good, size);
        bad[i] ^= (uint8_t)(1u << (i % 8));
        put(path, bad, size);
        expect(verify() != STATUS_OK);
    }
    put(path, good, size - 1); // cut
    // Only the newline behind the key may go.
    expect(verify() != STATUS_OK || strcmp(path, LOG_PUBLIC_KEY) == 0);
    memcpy(bad, good, size);
    bad[size] = 'x'; // longer
    put(path, bad, size + 1);
    expect(verify() != STATUS_OK);
    put(path, good, size);
    expect(verify() == STATUS_OK);
    return 1;
}

TEST(every_flipped_byte_of_a_small_log_is_found)
{
    begin();
    expect(reopen() == STATUS_OK);
    fill(1, 5);
    step = 1;
    expect(each_file(directory, "", flip_each) == 4); // checkpoint, key, tile, entries
    end();
}

TEST(flipped_bytes_of_a_log_with_full_tiles_are_found)
{
    begin();
    expect(reopen() == STATUS_OK);
    fill(1, 520);
    step = 97;
    expect(each_file(directory, "", flip_each) == 9);
    end();
}

TEST(the_first_bad_entry_is_named)
{
    static uint8_t bytes[1 << 20];
    size_t size = 0;
    begin();
    expect(reopen() == STATUS_OK);
    fill(1, 300);
    expect(durable_read(directory, "tile/entries/001.p/44", bytes, sizeof bytes, &size) == STATUS_OK);
    size_t offset = 0, entry_bytes = 0;
    for (int i = 0; i < 8; i++) // entry 263
        expect(log_bundle_next(bytes, size, &offset, &entry_bytes) != NULL);
    bytes[offset - 3] ^= 1;
    put("tile/entries/001.p/44", bytes, size);
    expect(verify() != STATUS_OK && verdict.first_bad == 263 && verdict.last_bad == 263);
    const char *why = "";
    expect(audit_log_open(&audit, directory, ORIGIN, &why) != STATUS_OK);
    expect(strstr(why, "entries differ") != NULL);
    end();
}

// Whoever changes an entry and its hash alike still has no signature for the new root.
TEST(a_consistent_forgery_is_found)
{
    static uint8_t bytes[1 << 20], tile[8192];
    size_t size = 0, tile_bytes = 0, offset = 0, entry_bytes = 0;
    const char *why = "";
    begin();
    expect(reopen() == STATUS_OK);
    fill(1, 5);
    expect(durable_read(directory, "tile/entries/000.p/5", bytes, sizeof bytes, &size) == STATUS_OK);
    expect(durable_read(directory, "tile/0/000.p/5", tile, sizeof tile, &tile_bytes) == STATUS_OK);
    const uint8_t *entry = log_bundle_next(bytes, size, &offset, &entry_bytes);
    bytes[offset - 3] = '9';
    tlog_leaf(tile, entry, entry_bytes, log_hash);
    put("tile/entries/000.p/5", bytes, size);
    put("tile/0/000.p/5", tile, tile_bytes);
    expect(verify() == STATUS_SIGNATURE && strstr(verdict.why, "another root") != NULL);
    expect(audit_log_open(&audit, directory, ORIGIN, &why) == STATUS_SIGNATURE);
    end();
}

TEST(a_writer_refuses_what_it_cannot_continue)
{
    static uint8_t bytes[1 << 20];
    size_t size = 0;
    begin();
    expect(reopen() == STATUS_OK);
    fill(1, 3);
    // another system's folder
    const char *why;
    expect(audit_log_open(&audit, directory, "crenel/plant/other", &why) != STATUS_OK);
    // a changed tile
    expect(durable_read(directory, "tile/0/000.p/3", bytes, sizeof bytes, &size) == STATUS_OK);
    bytes[40] ^= 4;
    put("tile/0/000.p/3", bytes, size);
    expect(reopen() == STATUS_SIGNATURE);
    bytes[40] ^= 4;
    put("tile/0/000.p/3", bytes, size);
    expect(reopen() == STATUS_OK);
    // the key is gone, the checkpoint is gone, a tile is gone
    expect(renameat(directory, LOG_SECRET_KEY, directory, "kept") == 0);
    expect(reopen() == STATUS_ABSENT);
    expect(renameat(directory, "kept", directory, LOG_SECRET_KEY) == 0);
    expect(renameat(directory, LOG_CHECKPOINT, directory, "kept") == 0);
    expect(reopen() == STATUS_ABSENT && verify() == STATUS_ABSENT);
    expect(renameat(directory, "kept", directory, LOG_CHECKPOINT) == 0);
    expect(unlinkat(directory, "tile/0/000.p/3", 0) == 0);
    expect(reopen() == STATUS_ABSENT && verify() != STATUS_OK);
    end();
}

int main(void)
{
    RUN(a_new_log_is_empty_and_verifies);
    RUN(sizes_around_tiles_verify_and_leave_no_old_partials);
    RUN(each_record_once_from_each_source);
    RUN(a_record_that_is_no_json_object_is_kept_as_text);
    RUN(a_cut_before_the_checkpoint_loses_only_what_was_not_acknowledged);
    RUN(every_flipped_byte_of_a_small_log_is_found);
    RUN(flipped_bytes_of_a_log_with_full_tiles_are_found);
    RUN(the_first_bad_entry_is_named);
    RUN(a_consistent_forgery_is_found);
    RUN(a_writer_refuses_what_it_cannot_continue);
    TEST_END();
}
