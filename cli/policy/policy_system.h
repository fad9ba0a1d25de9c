// SPDX-License-Identifier: ISC
// A system that somebody names to look at: its source, or what was compiled from it.
#ifndef CRENEL_CLI_POLICY_SYSTEM_H
#define CRENEL_CLI_POLICY_SYSTEM_H

#include "cli/source/compile_state.h"

struct policy_system {
    struct system_view view;
    struct policy_graph *graph;    // of the view
    const struct compile *compile; // NULL: only the compiled file is known, and no line of its source
    char title[PATH_MAX];          // what was opened
    // owned
    struct compile *owned;
    uint8_t *bytes;
};

// `which`: a folder with system.yaml or the file itself (images are built into build_folder; NULL: build/NAME), a
// compiled system, or the name of an installed system, whose system.bin lies below the state root. `state` is the
// value of --state or NULL. Errors are reported. The caller closes in any case.
enum status policy_system_open(struct policy_system *system, const char *which, const char *build_folder,
                               const char *state) MUST_USE;
void policy_system_close(struct policy_system *system);

// Only the compiled file at `path`, whose signature is not looked at. STATUS_ABSENT, not reported, when there is none.
enum status policy_system_read(struct policy_system *system, const char *path) MUST_USE;

// Line of the flow in the source, 0 when that is not known.
int policy_flow_line(const struct policy_system *system, size_t flow);

#endif
