// SPDX-License-Identifier: ISC
// What a supervisor says while it brings a system up.
#ifndef CRENEL_CLI_START_H
#define CRENEL_CLI_START_H

// Relays its lines from fd until one says that everything serves (1), or they end (0). *is_error: an error was among
// them. Errors are reported, and so is an end without any.
int start_relay(int fd, int *is_error);

#endif
