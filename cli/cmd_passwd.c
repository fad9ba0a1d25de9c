// SPDX-License-Identifier: ISC
// crenel passwd SYSTEM USER, crenel passwd --file FILE USER: the password of a user of the password service.
//
// It comes from the terminal without echo, or as one line of standard input; never from an argument,
// which every user of the machine could see.
#include "cli/command.h"
#include "cli/password_file.h"
#include "cli/report.h"
#include "cli/source/yaml.h"
#include "proto/password.h"

#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

// One line without its end. -1: none, or too long.
static int line_read(char *line, size_t capacity)
{
    size_t size = 0;
    char c;
    ssize_t got;
    while ((got = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n') {
        if (size + 1 >= capacity || c == 3) // 3: ^C, which is no signal while there is no echo
            return -1;
        line[size++] = c;
    }
    if (got == 0 && size == 0)
        return -1;
    line[size] = 0;
    return (int)size;
}

static int prompt(const char *text, char *line, size_t capacity)
{
    struct termios old, quiet;
    if (tcgetattr(STDIN_FILENO, &old) != 0)
        return line_read(line, capacity);
    quiet = old;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    fputs(text, stderr);
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) != 0)
        return -1;
    int size = line_read(line, capacity);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
    fputc('\n', stderr);
    return size;
}

static enum status password_read(char password[PASSWORD_BYTES_MAX + 2], size_t *size)
{
    char again[PASSWORD_BYTES_MAX + 2] = "";
    int got = prompt("Password: ", password, PASSWORD_BYTES_MAX + 2);
    if (got < 1 || got > (int)PASSWORD_BYTES_MAX) {
        report_error(NULL, 0, "type it, or give it as one line of standard input",
                     "no password of 1 to %u bytes", PASSWORD_BYTES_MAX);
        return STATUS_MALFORMED;
    }
    *size = (size_t)got;
    if (isatty(STDIN_FILENO)) {
        int repeated = prompt("Again: ", again, sizeof again);
        int is_same = repeated == got && sodium_memcmp(password, again, *size) == 0;
        sodium_memzero(again, sizeof again);
        if (!is_same) {
            report_error(NULL, 0, "type the same twice", "the two passwords differ");
            return STATUS_MALFORMED;
        }
    }
    return STATUS_OK;
}

// Where the system file says that the passwords are, and whether it knows the user.
static enum status system_look_up(const char *system, const char *user, char path[PATH_MAX])
{
    struct yaml_file file;
    struct stat stat_;
    char source[PATH_MAX];
    int is_folder = stat(system, &stat_) == 0 && S_ISDIR(stat_.st_mode);
    snprintf(source, sizeof source, is_folder ? "%s/system.yaml" : "%s", system);
    if (yaml_read(&file, source) != STATUS_OK)
        return STATUS_ABSENT;
    const char *name = NULL;
    struct yaml_node *services = yaml_child(&file, file.root, "services", YAML_MAPPING, 0);
    for (size_t i = 0; services != NULL && i < services->count && name == NULL; i++)
        if (services->children[i]->kind == YAML_MAPPING &&
            strcmp(yaml_text(&file, services->children[i], "kind", ""), "password") == 0)
            name = yaml_text(&file, services->children[i], "file", PASSWORD_FILE_NAME);
    struct yaml_node *principals = yaml_child(&file, file.root, "principals", YAML_SEQUENCE, 0);
    int is_known = 0;
    for (size_t i = 0; principals != NULL && i < principals->count; i++)
        if (principals->children[i]->text != NULL &&
            strcmp(principals->children[i]->text, user) == 0)
            is_known = 1;
    enum status status = STATUS_ABSENT;
    const char *slash = strrchr(source, '/');
    if (name == NULL)
        report_error(source, 0, "add `services: login: {kind: password, ...}`",
                     "this system has no password service");
    else if (!is_known)
        report_error(source, principals != NULL ? principals->line : 0, "add it to `principals`",
                     "'%s' is no principal of this system", user);
    else if (snprintf(path, PATH_MAX, "%.*s%s",
                      name[0] == '/' || slash == NULL ? 0 : (int)(slash - source + 1), source,
                      name) < PATH_MAX)
        status = STATUS_OK;
    yaml_close(&file);
    return status;
}

int cmd_passwd(int argc, char **argv)
{
    int is_file = argc == 4 && strcmp(argv[1], "--file") == 0;
    if ((argc != 3 && !is_file) || argv[argc - 2][0] == '-' || argv[argc - 1][0] == '-')
        return EXIT_USAGE;
    const char *target = argv[argc - 2], *user = argv[argc - 1];
    char path[PATH_MAX], password[PASSWORD_BYTES_MAX + 2];
    size_t size;
    if (!password_user_is_valid(user)) {
        report_error(NULL, 0, "use 1 to 32 of A-Z a-z 0-9 - _ .", "'%s' cannot be a user name",
                     user);
        return EXIT_FAILED;
    }
    if (is_file)
        snprintf(path, sizeof path, "%s", target);
    else if (system_look_up(target, user, path) != STATUS_OK)
        return EXIT_FAILED;
    if (sodium_init() < 0 || password_read(password, &size) != STATUS_OK)
        return EXIT_FAILED;
    enum status status = password_file_set(path, user, password, size);
    sodium_memzero(password, sizeof password);
    if (status != STATUS_OK)
        return EXIT_FAILED;
    if (!is_file)
        fprintf(stderr, "crenel: %s: takes effect when the system is started\n", path);
    return EXIT_OK;
}
