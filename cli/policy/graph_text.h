// SPDX-License-Identifier: ISC
// Text inside the picture of a system.
#ifndef CRENEL_CLI_GRAPH_TEXT_H
#define CRENEL_CLI_GRAPH_TEXT_H

#include "core/system.h"

#include <stdio.h>

#define GRAPH_LONG_MAX 10u   // unikernels; with more, flows run downwards and their checks show when one points at them
#define GRAPH_TOPICS_MAX 12u // of one gateway
#define GRAPH_RULES_MAX 8u   // 'never'

// For graphviz' HTML-like labels; what is longer than `most` bytes ends in "...".
void graph_escape(FILE *out, const char *text, size_t most);

// The lines that stand for a flow on its edge: name and schema, and its checks unless it is to be short.
void graph_flow(FILE *out, const struct system_view *system, const struct system_flow *flow, int is_short);
// Its checks, for who points at the edge.
void graph_tooltip(FILE *out, const struct system_view *system, const struct system_flow *flow);

#endif
