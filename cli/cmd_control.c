// SPDX-License-Identifier: ISC
// crenel down, stop, restart: what an operator does to a running system.
#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/report.h"
#include "cli/state.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void print_reply(const cJSON *reply)
{
    char *text = cJSON_PrintUnformatted(reply);
    if (text != NULL)
        puts(text);
    cJSON_free(text);
}

int cmd_down(int argc, char **argv)
{
    int is_json = 0, connection = -1;
    const char *state = NULL, *system = NULL;
    size_t count;
    const struct argument table[] = {{"--json", &is_json, NULL}, {"--state", NULL, &state}};
    char folder[PATH_MAX], byte;
    cJSON *reply = NULL;
    int code = arguments_read(argc, argv, table, 2, &system, 1, &count);
    if (code != 0)
        return code;
    enum status status = state_find(state, system, folder);
    if (status == STATUS_OK)
        status = client_ask(folder, "down", NULL, NULL, &reply, NULL, &connection);
    if (status != STATUS_OK)
        return client_exit_code(status);
    report_progress("stopping: gateways first, audit last");
    while (read(connection, &byte, 1) > 0) // its end of file says that everything has ended
        ;
    close(connection);
    for (int i = 0; i < 500 && state_is_running(folder); i++)
        usleep(10000);
    int is_down = !state_is_running(folder);
    if (is_json)
        print_reply(reply);
    cJSON_Delete(reply);
    if (!is_down)
        report_error(folder, 0, "see logs/host.log there", "the supervisor still holds its lock");
    else
        report_progress("ended");
    return is_down ? EXIT_OK : EXIT_FAILED;
}

// stop [SYSTEM] UNIKERNEL: the last operand is the unikernel.
static int act_on_unikernel(int argc, char **argv, const char *done)
{
    int is_json = 0;
    const char *state = NULL, *operands[2] = {NULL, NULL};
    size_t count;
    const struct argument table[] = {{"--json", &is_json, NULL}, {"--state", NULL, &state}};
    char folder[PATH_MAX];
    cJSON *reply = NULL;
    int code = arguments_read(argc, argv, table, 2, operands, 2, &count);
    if (code == 0 && count == 0) {
        report_error(NULL, 0, "crenel ps lists them", "%s: name a unikernel, as in `crenel %s UNIKERNEL`", argv[0], argv[0]);
        code = EXIT_USAGE;
    }
    if (code != 0)
        return code;
    const char *unikernel = operands[count - 1];
    enum status status = state_find(state, count == 2 ? operands[0] : NULL, folder);
    if (status == STATUS_OK)
        status = client_ask(folder, argv[0], "unikernel", unikernel, &reply, NULL, NULL);
    if (status != STATUS_OK)
        return client_exit_code(status);
    if (is_json)
        print_reply(reply);
    else
        report_progress("%s%s %s", strchr(unikernel, ':') == NULL ? "unikernel " : "", unikernel, done);
    cJSON_Delete(reply);
    return EXIT_OK;
}

int cmd_stop(int argc, char **argv) { return act_on_unikernel(argc, argv, "stops; its messages wait"); }

int cmd_restart(int argc, char **argv) { return act_on_unikernel(argc, argv, "starts anew"); }
