// SPDX-License-Identifier: ISC
// crenel policy graph SYSTEM: the system as a picture (SVG, drawn by graphviz), or with --dot the text that is drawn.
//
// One edge joins two ends, however many flows go that way: each is a few lines on it. Replies lie on the edge of their
// request. Timers, receipts and joining a subscription are not drawn: they leave nobody's hands.
#include "cli/policy/policy.h"
#include "cli/policy/graph_text.h"
#include "cli/policy/words.h"
#include "cli/report.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define GRAPHVIZ_MEND "as root: apt-get install -y graphviz; or take its source with --dot"

// ---- Nodes ----

static void gateway_draw(FILE *out, const struct policy_graph *graph, size_t index)
{
    static const char *const words[] = {"publishes", "publishes", "gets"};
    const struct system_view *system = graph->system;
    const struct system_gateway *gateway = &system->gateways[index];
    size_t shown = 0, hidden = 0;
    char principals[256];
    fprintf(out, "  \"gateway:%s\" [shape=plain label=<<table border=\"0\" cellborder=\"1\" cellspacing=\"0\" "
                 "cellpadding=\"5\" color=\"#b04030\" bgcolor=\"#fbeae6\">"
                 "<tr><td><b>%s</b><br/><font point-size=\"9\">gateway, %s<br/>%u connections at most</font></td></tr>",
            gateway->name, gateway->name, gateway->listen, gateway->connections_max);
    for (size_t i = 0; i < graph->topic_count; i++) {
        const struct system_topic *topic = &graph->topics[i];
        if (topic->unikernel != gateway->unikernel)
            continue;
        if (shown == GRAPH_TOPICS_MAX) {
            hidden++;
            continue;
        }
        principals_text(system, topic->principals, principals, sizeof principals);
        fprintf(out, "<tr><td align=\"left\"><font point-size=\"9\">");
        graph_escape(out, principals, 28);
        fprintf(out, " %s <i>%s</i><br align=\"left\"/>", words[topic->kind], system->flows[topic->flow].name);
        graph_escape(out, topic->filter, 44);
        fprintf(out, "<br align=\"left\"/></font></td></tr>");
        shown++;
    }
    if (hidden != 0)
        fprintf(out, "<tr><td><font point-size=\"9\">and %zu more topics</font></td></tr>", hidden);
    fprintf(out, "</table>>];\n");
}

static void unikernel_draw(FILE *out, const struct system_unikernel *unikernel)
{
    static const char *const lifetimes[] = {"an instance for each message", "an instance for each connection", "resident"};
    static const char *const isolations[] = {"", ", isolation process", ", isolation kvm", ", isolation enclave"};
    fprintf(out, "    \"%s\" [label=<<b>%s</b><br/><font point-size=\"9\">%s%s<br/>%u at once, %u MiB, %u %% cpu</font>>];\n",
            unikernel->name, unikernel->name, lifetimes[unikernel->lifetime], isolations[unikernel->isolation],
            unikernel->instances_max, (unikernel->memory_kib + 1023) / 1024, unikernel->cpu_percent);
}

static void nodes_draw(FILE *out, const struct policy_graph *graph)
{
    const struct system_view *system = graph->system;
    fprintf(out, "  subgraph cluster_outside { label=\"outside\" style=\"rounded,dashed\" color=\"#b04030\" fontcolor=\"#b04030\";\n");
    for (size_t i = 0; i < system->gateway_count; i++)
        gateway_draw(out, graph, i);
    for (size_t i = 0; i < system->courier_count; i++)
        fprintf(out, "    \"courier:%s\" [shape=cds style=\"filled\" fillcolor=\"#fbeee8\" color=\"#b04030\" "
                     "label=<<b>%s</b><br/><font point-size=\"9\">other nodes, %s %s</font>>];\n",
                system->couriers[i].name, system->couriers[i].name, system->couriers[i].is_listening ? "at" : "to",
                system->couriers[i].address);
    fprintf(out, "  }\n  subgraph cluster_inside { label=\"\" style=\"rounded\" color=\"#8898a8\" bgcolor=\"#f7f9fb\";\n"
                 "    node [shape=box style=\"rounded,filled\" fillcolor=\"white\" color=\"#2b5b84\"];\n");
    for (size_t i = 0; i < system->unikernel_count; i++)
        unikernel_draw(out, &system->unikernels[i]);
    for (size_t i = 0; i < system->service_count; i++)
        fprintf(out, "    \"service:%s\" [shape=component fillcolor=\"#eef0e4\" color=\"#6b7040\" "
                     "label=<<b>%s</b><br/><font point-size=\"9\">host service</font>>];\n",
                system->services[i].name, system->services[i].name);
    for (size_t i = 0; i < system->namespace_count; i++)
        fprintf(out, "    \"namespace:%s\" [shape=cylinder fillcolor=\"#fdf6d8\" color=\"#96812a\" "
                     "label=<<b>%s</b><br/><font point-size=\"9\">%s<br/>%u records at most</font>>];\n",
                system->namespaces[i].name, system->namespaces[i].name,
                system->schemas[system->namespaces[i].schema].header->name, system->namespaces[i].records_max);
    fprintf(out, "  }\n");
}

// ---- Edges ----

static int is_drawn(const struct system_flow *flow, int receiver)
{
    const struct system_receiver *to = &flow->receivers[receiver];
    int is_timer = flow->sender_kind == SYSTEM_UNIKERNEL && to->kind == SYSTEM_UNIKERNEL && to->index == flow->sender;
    return to->kind != SYSTEM_SUBSCRIPTION && flow->sender_kind != SYSTEM_RECEIPTS && !is_timer && flow->kind != SYSTEM_REPLY;
}

struct edge {
    const struct system_view *system;
    char from[END_BYTES], to[END_BYTES];
    size_t count;
    uint16_t flows[SYSTEM_FLOWS_MAX];
};

// All flows that join the ends of this one.
static void edge_collect(struct edge *edge, const struct system_view *system, size_t flow, int receiver)
{
    char from[END_BYTES], to[END_BYTES];
    edge->system = system;
    edge->count = 0;
    end_text(system, &system->flows[flow], -1, edge->from);
    end_text(system, &system->flows[flow], receiver, edge->to);
    for (size_t i = 0; i < system->flow_count; i++)
        for (int j = 0; j < system->flows[i].receiver_count; j++) {
            end_text(system, &system->flows[i], -1, from);
            end_text(system, &system->flows[i], j, to);
            if (is_drawn(&system->flows[i], j) && strcmp(from, edge->from) == 0 && strcmp(to, edge->to) == 0)
                edge->flows[edge->count++] = (uint16_t)i;
        }
}

static void edge_draw(FILE *out, const struct edge *edge)
{
    int is_durable = 0, is_request = 1;
    const char *color = "#44525f";
    fprintf(out, "  \"%s\" -> \"%s\" [label=<", edge->from, edge->to);
    for (size_t i = 0; i < edge->count; i++) {
        const struct system_flow *flow = &edge->system->flows[edge->flows[i]];
        graph_flow(out, edge->system, flow, edge->system->unikernel_count > GRAPH_LONG_MAX);
        color = flow->is_observed ? "#c07000" : flow->is_actuator ? "#b04030" : color;
        is_durable |= flow->is_durable;
        is_request &= flow->kind == SYSTEM_REQUEST;
    }
    fputs("> edgetooltip=\"", out);
    for (size_t i = 0; i < edge->count; i++)
        graph_tooltip(out, edge->system, &edge->system->flows[edge->flows[i]]);
    fputs("\" labeltooltip=\"", out);
    for (size_t i = 0; i < edge->count; i++)
        graph_tooltip(out, edge->system, &edge->system->flows[edge->flows[i]]);
    fprintf(out, "\" color=\"%s\" penwidth=%s%s];\n", color, is_durable ? "2" : "1",
            is_request ? " dir=both arrowtail=vee style=dashed" : "");
}

static void edges_draw(FILE *out, const struct system_view *system)
{
    for (size_t i = 0; i < system->flow_count; i++)
        for (int j = 0; j < system->flows[i].receiver_count; j++)
            if (is_drawn(&system->flows[i], j)) {
                struct edge edge;
                edge_collect(&edge, system, i, j);
                if (edge.flows[0] == i) // else it was drawn with an earlier flow
                    edge_draw(out, &edge);
            }
    for (size_t i = 0; i < system->namespace_count; i++)
        for (size_t j = 0; j < system->unikernel_count; j++) {
            const struct system_namespace *space = &system->namespaces[i];
            int reads = (space->readers >> j & 1) != 0, writes = (space->writers >> j & 1) != 0;
            if (reads || writes)
                fprintf(out, "  \"%s\" -> \"namespace:%s\" [dir=%s color=\"#96812a\" fontcolor=\"#96812a\" label=<%s>];\n",
                        system->unikernels[j].name, space->name, reads && writes ? "both" : reads ? "back" : "forward",
                        reads && writes ? "reads, writes" : reads ? "reads" : "writes");
        }
}

// One line for each rule, as far as they help.
static void never_draw(FILE *out, const struct system_view *system)
{
    const char *end = system->never + system->never_bytes;
    size_t rules = 0;
    for (const char *at = system->never; at < end; at++)
        rules += *at == '\n';
    for (const char *at = system->never; at < end && rules <= GRAPH_RULES_MAX;) {
        char line[1024];
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        snprintf(line, sizeof line, "%.*s", (int)(stop - at), at);
        at = stop + 1;
        char *rest = line, *from = strsep(&rest, "\t"), *to = strsep(&rest, "\t"), *through;
        fputs("<font point-size=\"9\" color=\"#b04030\">never from ", out);
        graph_escape(out, from, 60);
        fputs(" to ", out);
        graph_escape(out, to != NULL ? to : "?", 60);
        for (const char *word = " unless through "; (through = strsep(&rest, "\t")) != NULL; word = ", ") {
            fputs(word, out);
            graph_escape(out, through, 60);
        }
        fputs("</font><br align=\"left\"/>", out);
    }
    if (rules > GRAPH_RULES_MAX)
        fprintf(out, "<font point-size=\"9\" color=\"#b04030\">%zu 'never' rules hold</font><br align=\"left\"/>", rules);
}

static void graph_draw(FILE *out, const struct policy_graph *graph)
{
    const struct system_header *header = graph->system->header;
    fprintf(out, "digraph \"%s\" {\n  rankdir=%s; fontname=\"Helvetica\"; fontsize=11; nodesep=0.35; ranksep=0.7;\n"
                 "  labelloc=t; labeljust=l; label=<<font point-size=\"16\"><b>%s</b></font><br align=\"left\"/>tenant %s, version %u"
                 "%s<br align=\"left\"/><font point-size=\"9\">thick: durable; thin: volatile; dashed: request and reply. "
                 "Timers, receipts and subscriptions are not drawn; what else is not, is not allowed.</font><br align=\"left\"/>",
            header->name, graph->system->unikernel_count > GRAPH_LONG_MAX ? "TB" : "LR", header->name, header->tenant, header->security_version,
            header->is_best_effort ? ", limits best-effort" : "");
    never_draw(out, graph->system);
    fprintf(out, ">;\n  node [fontname=\"Helvetica\" fontsize=12 margin=\"0.12,0.07\"]; "
                 "edge [fontname=\"Helvetica\" fontsize=9 color=\"#44525f\" arrowsize=0.7];\n");
    nodes_draw(out, graph);
    edges_draw(out, graph->system);
    fprintf(out, "}\n");
}

// ---- Graphviz ----

static int render(const char *text, size_t size, int out_fd)
{
    int ends[2], status = 0;
    pid_t pid;
    posix_spawn_file_actions_t actions;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out_fd, 1);
    char *argv[] = {(char[]){"dot"}, (char[]){"-Tsvg"}, NULL};
    int error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[0]);
    for (size_t at = 0; error == 0 && at < size;) {
        ssize_t wrote = write(ends[1], text + at, size - at);
        if (wrote <= 0)
            break;
        at += (size_t)wrote;
    }
    close(ends[1]);
    if (error != 0)
        return error;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EIO;
}

int policy_graph(const struct policy_system *systems, const struct policy_options *options)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (memory == NULL)
        return EXIT_FAILED;
    graph_draw(memory, systems->graph);
    if (fclose(memory) != 0)
        return EXIT_FAILED;
    int fd = options->output == NULL ? STDOUT_FILENO
                                     : open(options->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int error = fd < 0 ? errno : 0;
    if (error != 0)
        report_error(options->output, 0, "name a file that you may write", "cannot write: %s", strerror(error));
    else if (options->is_dot)
        error = write(fd, text, size) == (ssize_t)size ? 0 : errno;
    else if ((error = render(text, size, fd)) != 0)
        report_error(NULL, 0, GRAPHVIZ_MEND, error == ENOENT ? "the picture is drawn by graphviz, which is not installed"
                                                             : "graphviz (dot -Tsvg) failed: %s", strerror(error));
    if (fd >= 0 && fd != STDOUT_FILENO && close(fd) != 0)
        error = errno;
    free(text);
    return error == 0 ? EXIT_OK : EXIT_FAILED;
}
