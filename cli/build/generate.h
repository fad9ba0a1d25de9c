// SPDX-License-Identifier: ISC
// The C that stands between an application and the library OS, written from unikernel.yaml.
#ifndef CRENEL_CLI_GENERATE_H
#define CRENEL_CLI_GENERATE_H

#include "cli/build/build_source.h"

#include <stdio.h>

// NAME.h: schemas as structs, flows and refusals as enumerations, handlers, send, reply and store functions.
void generate_header(const struct build_source *source, FILE *out);

// NAME_dispatch.c: the tables behind them, and the call of the handler of each input.
void generate_dispatch(const struct build_source *source, FILE *out);

// '-' becomes '_'.
void generate_c_name(const char *name, char c_name[MANIFEST_NAME_BYTES]);

#endif
