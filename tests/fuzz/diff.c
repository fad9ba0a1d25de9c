// SPDX-License-Identifier: ISC
// Fuzz target: `crenel policy diff` between two compiled systems that are both accepted and both made by somebody hostile.
//
// Input: changes to a good system, each 5 bytes: in which of the two, how, where (uint16_t), what. What must hold: a system does not
// differ from itself; what differs one way differs the other way, and what is less open one way is more open the other; every
// row has its words, all of which can be printed.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
#include "cli/diff/diff.h"
#include "tests/unit/system_sample.h"

#define CHANGES_MOST 24u

static struct policy_system systems[2], unchanged;
static alignas(8) struct file files[2];

static int open_file(struct policy_system *system, const struct file *from)
{
    const char *why = "";
    if (system->graph == NULL)
        system->graph = malloc(sizeof *system->graph);
    must(system->graph != NULL);
    if (system_open(&system->view, (const uint8_t *)from, sizeof *from, &why) != STATUS_OK)
        return 0;
    policy_graph_init(system->graph, &system->view);
    return 1;
}

static void compare(const struct policy_system *old, const struct policy_system *new, size_t counts[DIFF_KINDS])
{
    static struct diff diff;
    size_t seen[DIFF_KINDS] = {0};
    diff_make(&diff, old, new);
    for (size_t i = 0; i < diff.count; i++) {
        const struct diff_row *row = &diff.rows[i];
        const char *texts[] = {row->what, row->text};
        must(row->kind < DIFF_KINDS && row->what[0] != 0 && row->text[0] != 0);
        seen[row->kind]++;
        for (unsigned j = 0; j < 2; j++)
            for (const char *c = texts[j]; *c != 0; c++)
                must((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
    must(memcmp(seen, diff.counts, sizeof seen) == 0 && seen[0] + seen[1] + seen[2] == diff.count);
    memcpy(counts, seen, sizeof seen);
    diff_clean_up(&diff);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct take take = {data, size};
    size_t there[DIFF_KINDS], back[DIFF_KINDS];
    const struct policy_system *of[2];
    int is_changed[2] = {0, 0};
    if (unchanged.graph == NULL) {
        fill();
        must(open_file(&unchanged, &good));
    }
    for (unsigned changes = 0; take.left >= 5 && changes < CHANGES_MOST; changes++) {
        uint8_t which = take_byte(&take), how = take_byte(&take);
        size_t begin = sizeof good.signature, at = begin + take_number(&take, 2) % (sizeof good - begin);
        if (!is_changed[which & 1])
            files[which & 1] = good;
        is_changed[which & 1] = 1;
        uint8_t *byte = (uint8_t *)&files[which & 1] + at, value = take_byte(&take);
        *byte = how % 4 == 0 ? value : how % 4 == 1 ? (uint8_t)(*byte ^ 1u << value % 8) : how % 4 == 2 ? (uint8_t)(*byte + value) : 0;
    }
    for (int i = 0; i < 2; i++) {
        of[i] = is_changed[i] ? &systems[i] : &unchanged;
        if (is_changed[i] && !open_file(&systems[i], &files[i]))
            return 0;
    }
    compare(of[0], of[1], there);
    compare(of[1], of[0], back);
    must((there[0] + there[1] + there[2] == 0) == (back[0] + back[1] + back[2] == 0));
    must(there[DIFF_LESS] <= back[DIFF_MORE] && back[DIFF_LESS] <= there[DIFF_MORE]);
    compare(of[size & 1], of[size & 1], there);
    must(there[0] + there[1] + there[2] == 0);
    return 0;
}

// Single bytes that may be another number, in either of the two.
size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static uint16_t places[200];
    static unsigned count;
    const char *why;
    if (count == 0)
        fill();
    for (size_t at = sizeof good.signature; at < sizeof good && count < sizeof places / sizeof places[0]; at += 7) {
        files[0] = good;
        ((uint8_t *)&files[0])[at] ^= 1;
        if (system_open(&systems[0].view, (const uint8_t *)&files[0], sizeof good, &why) == STATUS_OK)
            places[count++] = (uint16_t)(at - sizeof good.signature);
    }
    if (index >= count)
        return 0;
    const uint8_t change[] = {index & 1, 1, (uint8_t)places[index], (uint8_t)(places[index] >> 8), 0};
    memcpy(bytes, change, sizeof change);
    return sizeof change;
}
