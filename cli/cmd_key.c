// SPDX-License-Identifier: ISC
// crenel key new FILE: a key for the two ends of a channel (services of kind seal, open, sign and verify).
//
// 32 random bytes as hexadecimal digits, in a new file that only its owner may read. It is never shown, and never in a system file.
#include "cli/command.h"
#include "cli/report.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KEY_BYTES 32u

int cmd_key(int argc, char **argv)
{
    uint8_t key[KEY_BYTES];
    char text[2 * KEY_BYTES + 2];
    if (argc != 3 || strcmp(argv[1], "new") != 0)
        return EXIT_USAGE;
    int fd = open(argv[2], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        report_error(argv[2], 0, errno == EEXIST ? "a key is never replaced: name a new file" : NULL, "%s", strerror(errno));
        return EXIT_FAILED;
    }
    randombytes_buf(key, sizeof key);
    sodium_bin2hex(text, sizeof text, key, sizeof key);
    memcpy(text + 2 * KEY_BYTES, "\n", 2);
    size_t size = strlen(text);
    int is_written = write(fd, text, size) == (ssize_t)size && fsync(fd) == 0;
    int error = errno;
    sodium_memzero(key, sizeof key);
    sodium_memzero(text, sizeof text);
    close(fd);
    if (is_written)
        return EXIT_OK;
    (void)unlink(argv[2]);
    report_error(argv[2], 0, NULL, "%s", strerror(error));
    return EXIT_FAILED;
}
