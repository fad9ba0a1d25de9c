// SPDX-License-Identifier: ISC
// Files of the state folder: durable numbers, user ids that never meet, sealed copies, logs.
#include "host/users.h"
#include "supervisor/folder.h"
#include "supervisor/replace.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char base[64];

static int begin(const char *system)
{
    char path[128];
    if (base[0] == 0) {
        snprintf(base, sizeof base, "/tmp/crenel-folder-XXXXXX");
        expect(mkdtemp(base) != NULL);
    }
    snprintf(path, sizeof path, "%s/%s", base, system);
    (void)mkdir(path, 0700);
    return open(path, O_RDONLY | O_DIRECTORY);
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat;
    (void)kind;
    (void)place;
    return remove(path);
}

static void end(void)
{
    expect(nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
    base[0] = 0;
}

static void put(int folder, const char *name, const char *text)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    expect(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

TEST(numbers_survive_and_nonsense_is_refused)
{
    int folder = begin("a");
    uint64_t value = 99;
    expect(folder_read_number(folder, "epoch", &value) == STATUS_OK && value == 0);
    expect(folder_write_number(folder, "epoch", 18446744073709551615u) == STATUS_OK);
    expect(folder_read_number(folder, "epoch", &value) == STATUS_OK && value == 18446744073709551615u);
    const char *const bad[] = {"", "12", "x\n", "12x\n", "99999999999999999999999\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put(folder, "epoch", bad[i]);
        value = 5;
        expect(folder_read_number(folder, "epoch", &value) == STATUS_MALFORMED && value == 5);
    }
    close(folder);
    end();
}

TEST(no_two_systems_share_user_ids)
{
    uid_t first = 0, second = 0, again = 0;
    int a = begin("a"), b = begin("b");
    expect(folder_user_base(a, "same", &first) == STATUS_OK);
    expect(folder_user_base(b, "same", &second) == STATUS_OK); // the same name begins at the same slot
    expect(second == first + USERS_PER_SYSTEM || second == USERS_FIRST);
    expect(folder_user_base(a, "same", &again) == STATUS_OK && again == first);
    put(a, "user_base", "0\n");
    put(b, "user_base", "1000\n"); // somebody's own user
    expect(folder_user_base(b, "same", &again) == STATUS_MALFORMED);
    close(a);
    close(b);
    end();
}

TEST(a_sealed_copy_cannot_change)
{
    char path[128];
    uint8_t *bytes = NULL;
    size_t size = 0;
    int memfd = -1, folder = begin("a");
    put(folder, "image", "hello");
    snprintf(path, sizeof path, "%s/a/image", base);
    expect(folder_seal_file(path, 5, &memfd, &bytes, &size) == STATUS_OK);
    expect(size == 5 && memcmp(bytes, "hello", 5) == 0);
    expect(pwrite(memfd, "x", 1, 0) < 0 && ftruncate(memfd, 0) != 0);
    expect(mmap(NULL, 5, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0) == MAP_FAILED);
    free(bytes);
    close(memfd);
    expect(folder_seal_file(path, 4, &memfd, &bytes, &size) == STATUS_TOO_LARGE);
    put(folder, "image", "");
    expect(folder_seal_file(path, 4, &memfd, &bytes, &size) == STATUS_MALFORMED);
    expect(mkfifoat(folder, "pipe", 0600) == 0);
    snprintf(path, sizeof path, "%s/a/pipe", base);
    expect(folder_seal_file(path, 4, &memfd, &bytes, &size) == STATUS_MALFORMED); // and does not hang
    snprintf(path, sizeof path, "%s/a/none", base);
    expect(folder_seal_file(path, 4, &memfd, &bytes, &size) == STATUS_SYSTEM && errno == ENOENT);
    close(folder);
    end();
}

TEST(logs_are_turned_over)
{
    struct stat stat;
    int fd = -1, next = -1, folder = begin("a");
    expect(folder_open_log(folder, "system.log", (uid_t)-1, &fd) == STATUS_OK && !folder_log_is_large(fd));
    expect(ftruncate(fd, LOG_BYTES_MAX + 1) == 0 && folder_log_is_large(fd));
    expect(folder_rotate_log(folder, "system.log") == STATUS_OK);
    expect(folder_open_log(folder, "system.log", (uid_t)-1, &next) == STATUS_OK && !folder_log_is_large(next));
    expect(fstatat(folder, "system.log.1", &stat, 0) == 0 && stat.st_size == LOG_BYTES_MAX + 1);
    expect(write(next, "line\n", 5) == 5);
    expect(folder_empty_log(folder, "system.log") == STATUS_OK);
    expect(fstatat(folder, "system.log.1", &stat, 0) == 0 && stat.st_size == 5);
    expect(write(next, "more\n", 5) == 5 && fstat(next, &stat) == 0 && stat.st_size == 5); // appends at the new end
    close(fd);
    close(next);
    close(folder);
    end();
}

// A version is on trial if the one before is another file: renaming one name of a file over another would do nothing, and
// a version that falls back to itself would do so for ever.
TEST(only_another_version_is_fallen_back_to)
{
    int folder = begin("a");
    put(folder, "system.bin", "one");
    expect(!replace_is_trial(folder));
    expect(linkat(folder, "system.bin", folder, "system.old", 0) == 0 && !replace_is_trial(folder));
    expect(faccessat(folder, "system.old", F_OK, 0) != 0 && faccessat(folder, "system.bin", F_OK, 0) == 0);
    expect(linkat(folder, "system.bin", folder, "system.old", 0) == 0);
    put(folder, "system.next", "two");
    expect(renameat(folder, "system.next", folder, "system.bin") == 0 && replace_is_trial(folder));
    expect(renameat(folder, "system.old", folder, "system.bin") == 0 && !replace_is_trial(folder));
    close(folder);
    end();
}

int main(void)
{
    RUN(numbers_survive_and_nonsense_is_refused);
    RUN(no_two_systems_share_user_ids);
    RUN(a_sealed_copy_cannot_change);
    RUN(only_another_version_is_fallen_back_to);
    RUN(logs_are_turned_over);
    TEST_END();
}
