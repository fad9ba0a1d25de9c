// SPDX-License-Identifier: ISC
// The password file as `crenel passwd` writes it.
#include "cli/command.h"
#include "cli/password_file.h"
#include "proto/password.h"
#include "tests/unit/test.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/crenel-passwd-XXXXXX";
static char path[64];
static char text[PASSWORD_FILE_BYTES];

static void file_read(void)
{
    FILE *file = fopen(path, "r");
    memset(text, 0, sizeof text);
    expect(file != NULL && fread(text, 1, sizeof text - 1, file) > 0);
    if (file != NULL)
        fclose(file);
}

static int is_password(const char *user, const char *password)
{
    file_read();
    const char *line = strstr(text, user);
    if (line == NULL)
        return 0;
    char hash[PASSWORD_HASH_BYTES];
    snprintf(hash, sizeof hash, "%.*s", (int)strcspn(line + strlen(user) + 1, "\n"), line + strlen(user) + 1);
    return crypto_pwhash_str_verify(hash, password, strlen(password)) == 0;
}

// The command with this text as its standard input.
static int passwd(const char *input, const char *user)
{
    char passwd_word[] = "passwd", file_word[] = "--file", user_word[64];
    char *argv[] = {passwd_word, file_word, path, user_word, NULL};
    int pipe_fds[2], saved = dup(STDIN_FILENO);
    snprintf(user_word, sizeof user_word, "%s", user);
    expect(pipe(pipe_fds) == 0 && write(pipe_fds[1], input, strlen(input)) == (ssize_t)strlen(input));
    close(pipe_fds[1]);
    dup2(pipe_fds[0], STDIN_FILENO);
    close(pipe_fds[0]);
    int code = cmd_passwd(4, argv);
    dup2(saved, STDIN_FILENO);
    close(saved);
    return code;
}

TEST(sets_and_replaces)
{
    struct stat stat_;
    expect(passwd("one\n", "press-7") == 0);
    expect(stat(path, &stat_) == 0 && (stat_.st_mode & 0777) == 0600);
    expect(is_password("press-7", "one"));
    expect(passwd("two\n", "rig-2") == 0 && passwd("three", "press-7") == 0);
    expect(is_password("press-7", "three") && is_password("rig-2", "two"));
    expect(!is_password("press-7", "one"));
    int lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    expect(lines == 2);
    expect(strstr(text, "m=4096,t=3,p=1") != NULL);
}

TEST(keeps_what_is_not_its_own)
{
    int fd = open(path, O_WRONLY | O_TRUNC);
    expect(fd >= 0 && write(fd, "# plant 7\npress-70:x", 20) == 20);
    close(fd);
    expect(passwd("one\n", "press-7") == 0);
    file_read();
    expect(strncmp(text, "# plant 7\npress-70:x\npress-7:$argon2id$", 39) == 0);
}

TEST(refuses)
{
    file_read();
    char before[512];
    snprintf(before, sizeof before, "%.500s", text);
    expect(passwd("", "press-7") == 1 && passwd("\n", "press-7") == 1);
    expect(passwd("x\n", "a:b") == 1 && passwd("x\n", "") == 1 && passwd("x\n", "a b") == 1);
    char longest[PASSWORD_BYTES_MAX + 2];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    expect(passwd(longest, "press-7") == 1);
    file_read();
    expect(strncmp(before, text, 500) == 0);
    longest[PASSWORD_BYTES_MAX] = 0;
    expect(passwd(longest, "press-7") == 0 && is_password("press-7:", "") == 0);
}

int main(void)
{
    if (sodium_init() < 0 || mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/passwords", folder);
    RUN(sets_and_replaces);
    RUN(keeps_what_is_not_its_own);
    RUN(refuses);
    (void)unlink(path);
    (void)rmdir(folder);
    TEST_END();
}
