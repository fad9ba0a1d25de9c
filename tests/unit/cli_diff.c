// SPDX-License-Identifier: ISC
// crenel policy diff against change after change: no byte of a compiled system that still is one differs in silence.
#include "cli/diff/diff.h"
#include "cli/policy/words.h"
#include "tests/unit/system_sample.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static struct policy_system before, after;
static alignas(8) struct file changed;
static struct diff diff;

static int open_file(struct policy_system *system, const struct file *from)
{
    const char *why = "";
    if (system->graph == NULL)
        system->graph = malloc(sizeof *system->graph);
    if (system_open(&system->view, (const uint8_t *)from, sizeof *from, &why) != STATUS_OK)
        return 0;
    policy_graph_init(system->graph, &system->view);
    return 1;
}

static void begin(void)
{
    fill();
    expect(open_file(&before, &good));
    changed = good;
}

// Rows of that kind between `good` and `changed`, or of all kinds with DIFF_KINDS. -1: it is no system.
static long rows(enum diff_kind kind)
{
    if (!open_file(&after, &changed))
        return -1;
    diff_make(&diff, &before, &after);
    long count = (long)(kind == DIFF_KINDS ? diff.count : diff.counts[kind]);
    diff_clean_up(&diff);
    return count;
}

// Says where something stands that nobody decides by, so that a difference in it is none.
static int is_exempt(size_t at)
{
#define IS_IN(table, type, member)                                                                                     \
    (at >= offsetof(struct file, table) && at < offsetof(struct file, table) + sizeof good.table &&                    \
     (at - offsetof(struct file, table)) % sizeof(struct type) - offsetof(struct type, member) <                       \
         sizeof(((struct type *)0)->member))
    const size_t tables = offsetof(struct file, header.unikernels);
    return IS_IN(unikernels, system_unikernel, line) || IS_IN(flows, system_flow, line) || IS_IN(namespaces, system_namespace, line) ||
           IS_IN(checks, system_check, line) || IS_IN(unikernels, system_unikernel, image_path) ||
           // of the image, whose digest differs then
           IS_IN(unikernels, system_unikernel, input_count) || IS_IN(unikernels, system_unikernel, output_count) ||
           IS_IN(unikernels, system_unikernel, namespace_count) || IS_IN(unikernels, system_unikernel, refusal_count) ||
           IS_IN(unikernels, system_unikernel, refusals) ||
           // places in the file
           (at >= tables && at < tables + sizeof good.header - offsetof(struct system_header, unikernels)) ||
           IS_IN(unikernels, system_unikernel, configuration_offset) || IS_IN(blocks, schema_block, header.digest) ||
           IS_IN(unikernels, system_unikernel, configuration_bytes);
}

// A receiver of an older schema that is the flow's own: in other words the same.
static int is_cut_to_itself(void)
{
    for (size_t i = 0; i < FLOWS; i++)
        for (size_t j = 0; j < changed.flows[i].receiver_count && j < SYSTEM_RECEIVERS_MAX; j++)
            if (changed.flows[i].receivers[j].older_schema == changed.flows[i].schema + 1)
                return 1;
    return 0;
}

TEST(no_byte_is_silent)
{
    static const uint8_t values[] = {0, 1, 2, 3, 7, 64, 255};
    begin();
    uint8_t *bytes = (uint8_t *)&changed;
    size_t accepted = 0, silent = 0;
    for (size_t at = sizeof good.signature; at < sizeof good; at++) {
        uint8_t was = bytes[at];
        for (size_t i = 0; i < sizeof values + 3 && !is_exempt(at); i++) {
            bytes[at] = i < sizeof values ? values[i] : i == sizeof values ? (uint8_t)(was + 1)
                                                : i == sizeof values + 1   ? (uint8_t)(was - 1) : was ^ 0x20;
            long count = bytes[at] != was && !is_cut_to_itself() ? rows(DIFF_KINDS) : -1;
            accepted += count >= 0;
            if (count == 0 && silent++ < 40)
                printf("# byte %zu: %u -> %u is silent\n", at, was, bytes[at]);
        }
        bytes[at] = was;
    }
    printf("# %zu changes\n", accepted);
    expect(accepted > 1000 && silent == 0);
}

// ---- Changes of several bytes, after which a file is still a system ----

static void swap_outputs(void)
{
    changed.unikernels[MQTT].outputs[3] = ALIVE;
    changed.unikernels[MQTT].outputs[4] = RAW;
    changed.flows[ALIVE].sender_port = 3;
    changed.flows[RAW].sender_port = 4;
}

static void swap_inputs(void)
{
    changed.unikernels[MQTT].inputs[2] = ALIVE;
    changed.unikernels[MQTT].inputs[3] = ALARMS;
    changed.flows[ALIVE].receivers[0].port = 2;
    changed.flows[ALARMS].receivers[0].port = 3;
}

// The condition names the same place of the schema, and another field stands there; the schema itself is narrower.
static void swap_fields(void)
{
    struct schema_field *fields = changed.blocks[PUBLISH].fields;
    struct schema_field first = fields[0], second = fields[1];
    memcpy(fields[0].name, second.name, sizeof second.name);
    memcpy(fields[1].name, first.name, sizeof first.name);
    fields[0].maximum = fields[1].maximum = 8;
}

TEST(ports_and_places)
{
    void (*const changes[])(void) = {swap_outputs, swap_inputs};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        begin();
        changes[i]();
        expect(rows(DIFF_KINDS) > 0);
    }
    begin();
    good.blocks[PUBLISH].fields[0].type = SCHEMA_U64;
    expect(open_file(&before, &good));
    changed = good;
    swap_fields();
    expect(rows(DIFF_MORE) > 0);
}

// The longest names of all principals: the last one is seen, too.
TEST(many_principals)
{
    static struct system_principal principals[SYSTEM_PRINCIPALS_MAX];
    static char texts[2][PRINCIPALS_BYTES];
    struct system_view system = {.principals = principals, .principal_count = SYSTEM_PRINCIPALS_MAX};
    for (size_t i = 0; i < SYSTEM_PRINCIPALS_MAX; i++)
        snprintf(principals[i].name, sizeof principals[i].name, "press-with-a-very-long-name-%03zu", i);
    principals_text(&system, UINT64_MAX >> 1, texts[0], sizeof texts[0]);
    principals_text(&system, UINT64_MAX >> 2 | 1ull << 63, texts[1], sizeof texts[1]);
    expect(strcmp(texts[0], texts[1]) != 0 && strstr(texts[1], "name-063") != NULL);
}

int main(void)
{
    RUN(no_byte_is_silent);
    RUN(ports_and_places);
    RUN(many_principals);
    TEST_END();
}
