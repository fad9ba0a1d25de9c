// SPDX-License-Identifier: ISC
// State folders and the operator's key.
#include "cli/state.h"

#include "cli/source/compile.h"
#include "cli/report.h"
#include "host/durable_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const state_mend = "give another folder with --state DIR, or run as a user who may write there";

static enum status too_long(const char *path)
{
    report_error(path, 0, "give a shorter path with --state", "the path is too long");
    return STATUS_TOO_LARGE;
}

enum status state_root(const char *option, char root[PATH_MAX])
{
    const char *environment = getenv("CRENEL_STATE"), *home = getenv("HOME");
    const char *xdg = getenv("XDG_STATE_HOME");
    int length;
    if (option != NULL)
        length = snprintf(root, PATH_MAX, "%s", option);
    else if (environment != NULL && environment[0] != 0)
        length = snprintf(root, PATH_MAX, "%s", environment);
    else if (geteuid() == 0)
        length = snprintf(root, PATH_MAX, "/var/lib/crenel");
    else if (xdg != NULL && xdg[0] == '/')
        length = snprintf(root, PATH_MAX, "%s/crenel", xdg);
    else if (home != NULL && home[0] == '/')
        length = snprintf(root, PATH_MAX, "%s/.local/state/crenel", home);
    else {
        report_error(NULL, 0, "set HOME, or give --state DIR", "no place for state is known");
        return STATUS_ABSENT;
    }
    return length > 0 && length < PATH_MAX - 64 ? STATUS_OK : too_long(root);
}

int state_each(const char *root, int (*each)(const char *folder, const char *name, void *context),
               void *context)
{
    DIR *directory = opendir(root);
    int result = 0;
    struct dirent *entry;
    while (directory != NULL && result == 0 && (entry = readdir(directory)) != NULL) {
        char folder[PATH_MAX], file[PATH_MAX];
        struct stat stat_of;
        if (entry->d_name[0] == '.' ||
            snprintf(folder, sizeof folder, "%s/%s", root, entry->d_name) >= PATH_MAX - 16)
            continue;
        snprintf(file, sizeof file, "%.*s/system.bin", PATH_MAX - 16, folder);
        if (stat(file, &stat_of) == 0)
            result = each(folder, entry->d_name, context);
    }
    if (directory != NULL)
        closedir(directory);
    return result;
}

struct running {
    char folder[PATH_MAX];
    int count;
};

static int note_running(const char *folder, const char *name, void *context)
{
    struct running *running = context;
    (void)name;
    if (state_is_running(folder) && running->count++ == 0)
        snprintf(running->folder, sizeof running->folder, "%s", folder);
    return 0;
}

static int is_folder_with_system(const char *which)
{
    char path[PATH_MAX];
    struct stat stat_of;
    size_t length = strlen(which);
    if (length > 5 && strcmp(which + length - 5, ".yaml") == 0)
        return 1;
    return snprintf(path, sizeof path, "%s/system.yaml", which) < PATH_MAX && stat(path, &stat_of) == 0;
}

enum status state_find(const char *option, const char *which, char folder[PATH_MAX])
{
    char root[PATH_MAX], name[32];
    struct stat stat_of;
    errno = 0;
    enum status status = state_root(option, root);
    if (status != STATUS_OK)
        return status;
    if (which == NULL) {
        struct running running = {.count = 0};
        (void)state_each(root, note_running, &running);
        if (running.count == 1) {
            snprintf(folder, PATH_MAX, "%s", running.folder);
            return STATUS_OK;
        }
        report_error(NULL, 0, running.count == 0 ? "start one with `crenel up DIR`; --state DIR looks elsewhere"
                                                 : "name one: crenel ps lists them",
                     running.count == 0 ? "no system runs in %s" : "more than one system runs in %s", root);
        return STATUS_ABSENT;
    }
    if (is_folder_with_system(which)) {
        status = system_name(which, name);
        if (status != STATUS_OK)
            return status;
        which = name;
    }
    int is_named = strchr(which, '/') == NULL && which[0] != '.' &&
                   snprintf(folder, PATH_MAX, "%s/%s", root, which) < PATH_MAX - 32;
    int is_there = is_named && stat(folder, &stat_of) == 0;
    if (is_named && ((!is_there && errno == EACCES) || (is_there && access(folder, X_OK) != 0))) {
        report_error(folder, 0, "run the command as root or as the user who started the system",
                     "no permission to look into the state of '%s'", which);
        return STATUS_DENIED;
    }
    if (!is_there) {
        report_error(NULL, 0, "crenel ps lists them; --state DIR looks elsewhere",
                     "there is no system '%s' in %s", which, root);
        return STATUS_ABSENT;
    }
    return STATUS_OK;
}

// So that a folder is still there after a power cut, with what was acknowledged in it.
static void flush_parent(const char *path)
{
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    slash[slash == parent] = 0;
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return; // not ours to read: its owner made it long ago
    (void)fsync(fd);
    close(fd);
}

enum status state_make(const char *folder)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/keys/", folder) >= PATH_MAX - 32)
        return too_long(folder);
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        // The root may be shared by systems of several users; each system's folder is its owner's.
        mode_t mode = strlen(path) < strlen(folder) ? 0755 : 0700;
        int is_made = mkdir(path, mode) == 0;
        if (!is_made && errno != EEXIST) {
            report_error(path, 0, state_mend, "cannot make this folder: %s", strerror(errno));
            return STATUS_SYSTEM;
        }
        if (is_made && strchr(path, '/') != NULL)
            flush_parent(path);
        *slash = '/';
    }
    if (access(folder, W_OK) == 0)
        return STATUS_OK;
    report_error(folder, 0, state_mend, "no permission: %s", strerror(errno));
    return STATUS_SYSTEM;
}

int state_is_running(const char *folder)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/lock", folder) >= PATH_MAX)
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    int is_held = flock(fd, LOCK_SH | LOCK_NB) != 0;
    close(fd);
    return is_held;
}

enum status state_write(const char *folder, const char *name, const void *bytes, size_t size,
                        unsigned mode)
{
    char path[PATH_MAX], temporary[DURABLE_PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= PATH_MAX - 8 ||
        snprintf(temporary, sizeof temporary, "%s.tmp", name) >= (int)sizeof temporary)
        return too_long(path);
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum status status = folder_fd >= 0 ? durable_write(folder_fd, name, bytes, size, mode) : STATUS_SYSTEM;
    int error = errno;
    if (status != STATUS_OK && folder_fd >= 0)
        (void)unlinkat(folder_fd, temporary, 0);
    if (folder_fd >= 0)
        close(folder_fd);
    if (status == STATUS_OK)
        return STATUS_OK;
    report_error(path, 0, state_mend, "cannot write this file: %s", strerror(error));
    errno = error;
    return STATUS_SYSTEM;
}

static enum status read_key(const char *path, uint8_t secret_key[64])
{
    char text[160] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? STATUS_ABSENT : STATUS_SYSTEM;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    size_t size = 0;
    if (got < 128 || sodium_hex2bin(secret_key, 64, text, 128, NULL, &size, NULL) != 0 || size != 64)
        return STATUS_MALFORMED;
    return STATUS_OK;
}

enum status state_operator_key(const char *folder, uint8_t secret_key[64], char public_path[PATH_MAX])
{
    char path[PATH_MAX], text[132];
    uint8_t public_key[32];
    if (sodium_init() < 0 || snprintf(path, sizeof path, "%s/keys/operator.key", folder) >= PATH_MAX)
        return too_long(folder);
    snprintf(public_path, PATH_MAX, "%s/keys/operator.pub", folder);
    enum status status = read_key(path, secret_key);
    if (status == STATUS_OK && access(public_path, R_OK) == 0)
        return STATUS_OK;
    if (status == STATUS_ABSENT) {
        (void)crypto_sign_keypair(public_key, secret_key);
        sodium_bin2hex(text, sizeof text, secret_key, 64);
        text[128] = '\n'; // in place of the zero
        status = state_write(folder, "keys/operator.key", text, 129, 0600);
        sodium_memzero(text, sizeof text);
    } else if (status != STATUS_OK) {
        report_error(path, 0, "restore it from your backup; without it the system cannot be signed as the same operator",
                     "the operator's key cannot be read: %s",
                     status == STATUS_SYSTEM ? strerror(errno) : "it is not 128 hex digits");
        return status;
    }
    if (status != STATUS_OK)
        return status;
    (void)crypto_sign_ed25519_sk_to_pk(public_key, secret_key);
    sodium_bin2hex(text, sizeof text, public_key, 32);
    text[64] = '\n';
    return state_write(folder, "keys/operator.pub", text, 65, 0644);
}
