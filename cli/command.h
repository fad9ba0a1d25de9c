// SPDX-License-Identifier: ISC
// The commands of `crenel`: one file each (cmd_NAME.c), one row each in the table in main.c.
#ifndef CRENEL_CLI_COMMAND_H
#define CRENEL_CLI_COMMAND_H

struct command {
    const char *name;
    int (*run)(int argc, char **argv); // argv[0] is the command's name; returns an exit code
    const char *arguments;             // "IMAGE [--json]"
    const char *help;                  // one line
};

int cmd_new(int argc, char **argv);
int cmd_build(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_symbolize(int argc, char **argv);
int cmd_key(int argc, char **argv);
int cmd_passwd(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_policy(int argc, char **argv);
int cmd_schema(int argc, char **argv);
int cmd_up(int argc, char **argv);
int cmd_down(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_logs(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_restart(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_query(int argc, char **argv);
int cmd_deadletter(int argc, char **argv);
int cmd_state(int argc, char **argv);
int cmd_audit(int argc, char **argv);

#endif
