// SPDX-License-Identifier: ISC
// crenel up DIR: compile, compare with what is installed, sign, start, wait until everything serves; stay until Ctrl-C, or
// --detach. A system that runs already is replaced by its new version.
#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/report.h"
#include "cli/source/compile.h"
#include "cli/state.h"
#include "cli/up/install.h"
#include "cli/up/replace.h"
#include "cli/up/start.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t supervisor_pid;

// Ctrl-C means: end in order. The supervisor runs in a session of its own and hears only this.
static void pass_on(int signal_number)
{
    int error = errno;
    (void)signal_number;
    if (supervisor_pid > 0)
        (void)kill((pid_t)supervisor_pid, SIGTERM);
    errno = error;
}

static enum status find_supervisor(char path[PATH_MAX])
{
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 32);
    if (length > 0) {
        path[length] = 0;
        char *slash = strrchr(path, '/');
        if (slash != NULL) {
            snprintf(slash, sizeof "/crenel-supervisor", "/crenel-supervisor");
            if (access(path, X_OK) == 0)
                return STATUS_OK;
        }
    }
    report_error(path, 0, "install all programs of one build into one folder (make, build/bin)",
                 "the supervisor is not beside this program: %s", strerror(errno));
    return STATUS_ABSENT;
}

static pid_t start_supervisor(const char *path, const char *folder, const char *public_path,
                              int is_detached, int notify[2])
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    char number[16];
    (void)setsid();
    if (chdir("/") != 0)
        _exit(1);
    close(notify[0]);
    (void)fcntl(notify[1], F_SETFD, 0);
    snprintf(number, sizeof number, "%d", notify[1]);
    if (is_detached)
        execl(path, path, "--notify", number, folder, public_path, (char *)NULL);
    else
        execl(path, path, "--notify", number, "--tied", folder, public_path, (char *)NULL);
    dprintf(notify[1], "error cannot execute %s: %s\t\n", path, strerror(errno));
    _exit(1);
}

static void print_summary(const char *folder, int is_json, int is_detached)
{
    cJSON *reply = NULL;
    if (client_ask(folder, "ps", NULL, NULL, &reply, NULL, NULL) != STATUS_OK)
        return;
    if (is_json) {
        char *text = cJSON_PrintUnformatted(reply);
        if (text != NULL)
            puts(text);
        cJSON_free(text);
    } else {
        const cJSON *endpoint;
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(reply, "system"));
        printf("system   %s, running\n", name);
        cJSON_ArrayForEach(endpoint, cJSON_GetObjectItemCaseSensitive(reply, "endpoints"))
            printf("endpoint %s on %s\n",
                   cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(endpoint, "gateway")),
                   cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(endpoint, "listen")));
        const cJSON *problem;
        cJSON_ArrayForEach(problem, cJSON_GetObjectItemCaseSensitive(reply, "problems"))
            printf("PROBLEM  %s\n", cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(problem, "problem")));
        printf("state    %s\nlogs     crenel logs %s   (files: %s/logs)\nstop     %s\n", folder, name, folder,
               is_detached ? "crenel down" : "Ctrl-C, or crenel down elsewhere");
    }
    fflush(stdout);
    cJSON_Delete(reply);
}

static int stay(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status))
        return WEXITSTATUS(status) == 0 ? EXIT_OK : EXIT_FAILED;
    report_error(NULL, 0, "run `crenel up` again: it continues from the store", "the supervisor was killed by signal %d",
                 WTERMSIG(status));
    return EXIT_FAILED;
}

static int run(const char *folder, const char *path, const char *public_path, int is_detached,
               int is_json)
{
    int notify[2];
    if (pipe2(notify, O_CLOEXEC) != 0) {
        report_error(NULL, 0, NULL, "cannot make a pipe: %s", strerror(errno));
        return EXIT_FAILED;
    }
    struct sigaction action = {.sa_handler = pass_on};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
    pid_t pid = start_supervisor(path, folder, public_path, is_detached, notify);
    close(notify[1]);
    if (pid < 0) {
        report_error(NULL, 0, NULL, "cannot start the supervisor: %s", strerror(errno));
        return EXIT_FAILED;
    }
    supervisor_pid = pid;
    int is_error;
    if (!start_relay(notify[0], &is_error)) {
        (void)stay(pid);
        return EXIT_FAILED;
    }
    print_summary(folder, is_json, is_detached);
    if (is_detached)
        return EXIT_OK;
    int code = stay(pid);
    report_progress("ended");
    return code;
}

// The version that runs is replaced; whoever started it stays the one who ends it.
static int replace_running(const struct install *install, int is_json)
{
    if (install->is_same) {
        report_progress("system '%s' is running already, and nothing has changed", install->new.view.header->name);
        return EXIT_OK;
    }
    int code = replace_run(install);
    if (code == EXIT_OK)
        print_summary(install->folder, is_json, 1);
    return code;
}

int cmd_up(int argc, char **argv)
{
    int is_detached = 0, is_json = 0, is_yes = 0;
    const char *state = NULL, *source = ".";
    size_t count;
    const struct argument table[] = {
        {"--detach", &is_detached, NULL}, {"--json", &is_json, NULL}, {"--state", NULL, &state},
        {"--yes", &is_yes, NULL}};
    char root[PATH_MAX], folder[PATH_MAX], full[PATH_MAX], path[PATH_MAX], name[32];
    int code = arguments_read(argc, argv, table, sizeof table / sizeof table[0], &source, 1, &count);
    if (code != 0)
        return code;
    if (state_root(state, root) != STATUS_OK || find_supervisor(path) != STATUS_OK ||
        system_name(source, name) != STATUS_OK)
        return EXIT_FAILED;
    if (snprintf(folder, sizeof folder, "%s/%s", root, name) >= PATH_MAX - 32) {
        report_error(root, 0, "give a shorter path with --state", "the path is too long");
        return EXIT_FAILED;
    }
    if (state_make(folder) != STATUS_OK)
        return EXIT_DENIED;
    if (realpath(folder, full) == NULL) {
        report_error(folder, 0, NULL, "%s", strerror(errno));
        return EXIT_FAILED;
    }
    report_progress("state and logs of system %s: %s", name, full);
    struct install install;
    enum status status = install_prepare(&install, source, name, full, is_yes);
    if (status != STATUS_OK)
        code = status == STATUS_DENIED ? EXIT_DENIED : EXIT_FAILED;
    else if (state_is_running(full))
        code = replace_running(&install, is_json);
    else if (install_first(&install) != STATUS_OK)
        code = EXIT_FAILED;
    else
        code = run(full, path, install.public_path, is_detached, is_json);
    install_close(&install);
    return code;
}
