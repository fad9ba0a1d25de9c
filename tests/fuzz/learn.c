// SPDX-License-Identifier: ISC
// Fuzz target: `crenel policy learn SYSTEM FLOW`: messages as lines of JSON, and bounds of checks that are proposed from them.
//
// Input: the checks that the flow has; then lines: of a message with values near the last one's, or any text. What must hold:
// it ends well, whatever the lines are; what is printed is lines that can be printed, a comment or part of a system file; a line
// that is no message is left out, and one that is was not; what came twice proposes the same again.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#include "cli/policy/policy.h"
#include "cli/report.h"
#include "core/flow_check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define TEXT_BYTES 32768u

static struct schema_header schema_header = {.name = "m/1", .field_count = 3, .struct_bytes = 16};
static struct schema_field fields[3] = {
    {.name = "number", .type = SCHEMA_U64, .maximum = -1},
    {.name = "value", .type = SCHEMA_I32, .decimals = 2, .offset = 8, .minimum = INT32_MIN, .maximum = INT32_MAX},
    {.name = "time", .type = SCHEMA_U32, .offset = 12, .maximum = UINT32_MAX}};
enum { NUMBER, VALUE, TIME };
static struct system_header header = {.name = "works"};
static struct system_flow flow;
static struct system_check checks[4];
static struct system_machine machine;
static struct policy_system policy;

static char text[TEXT_BYTES];
static size_t text_bytes;
static unsigned errors, good_lines;
static int has_raw;

void __wrap_report_error(const char *where, int line, const char *mend, const char *format, ...);

void __wrap_report_error(const char *where, int line, const char *mend, const char *format, ...)
{
    char said[512];
    va_list list;
    va_start(list, format);
    must(where != NULL && mend != NULL && line >= 0 && vsnprintf(said, sizeof said, format, list) > 0);
    va_end(list);
    errors++;
}

static void make(struct take *take)
{
    unsigned kinds = take_byte(take);
    flow = (struct system_flow){.name = "m", .key_field = kinds % 8 == 7 ? TIME : SYSTEM_NONE, .keys_max = 1, .is_observed = 1};
    policy.view = (struct system_view){.header = &header, .flows = &flow, .flow_count = 1, .checks = checks, .machines = &machine};
    policy.view.schemas[0] = (struct schema){.header = &schema_header, .fields = fields};
    machine = (struct system_machine){.name = "m", .state_count = 2, .states = {"a", "b"}, .transition_count = 1};
    machine.transitions[0] = (struct system_transition){flow_name_hash(FLOW_NAME_HASH, "a"), flow_name_hash(FLOW_NAME_HASH, "b"), 1, 0,
                                                        {{VALUE, {0}, -1, 100}}};
    for (unsigned kind = SYSTEM_CHECK_FRESH; kind < SYSTEM_CHECK_KINDS && flow.check_count < 4; kind++) {
        if ((kinds >> (kind - SYSTEM_CHECK_FRESH) & 1) == 0)
            continue;
        struct system_check *check = &checks[flow.check_count++];
        *check = (struct system_check){.kind = (uint8_t)kind, .field = VALUE, .time_field = SYSTEM_NONE, .id = kind};
        check->field = kind == SYSTEM_CHECK_ORDER ? NUMBER : kind == SYSTEM_CHECK_FRESH ? TIME : VALUE;
        check->ticks = kind == SYSTEM_CHECK_STEP ? 0 : 1 + take_number(take, 2);
        check->per_second = 1 + take_byte(take);
        check->window = kind == SYSTEM_CHECK_ORDER ? 64 : 0;
        check->most = kind == SYSTEM_CHECK_MACHINE ? 0 : kind == SYSTEM_CHECK_ORDER ? 63 : UINT64_MAX; // as an observed one that is to be learned
        if (kind == SYSTEM_CHECK_SLOPE && take_byte(take) % 2 != 0)
            check->time_field = TIME;
    }
}

static void add(const char *line)
{
    size_t length = strlen(line);
    if (length > sizeof text - text_bytes)
        return;
    memcpy(text + text_bytes, line, length);
    text_bytes += length;
}

static void make_lines(struct take *take)
{
    uint64_t number = 0, ms = 1700000000000;
    int32_t value = 0;
    uint32_t time = 0;
    char line[300];
    text_bytes = 0;
    good_lines = 0;
    has_raw = 0;
    while (take->left != 0) {
        uint8_t what = take_byte(take);
        if (what >= 224) {
            size_t count = take_bytes(take, line, take_byte(take));
            line[count] = 0;
            has_raw = 1;
            add(line);
            add("\n");
            continue;
        }
        number += (what & 3) == 3 ? take_number(take, 8) : what & 3;
        value = (int32_t)((uint32_t)value + ((what & 4) != 0 ? (uint32_t)take_number(take, 4) : (uint32_t)(what >> 4)));
        time += (what & 8) != 0 ? take_byte(take) : 0;
        ms += what >> 5;
        snprintf(line, sizeof line, "{\"time_ms\": %" PRIu64 ", \"message\": {\"number\": \"%" PRIu64 "\", \"value\": %s%" PRIu64 ".%02u, \"time\": %" PRIu32 "}}\n",
                 ms, number, value < 0 ? "-" : "", (uint64_t)(value < 0 ? -(int64_t)value : value) / 100,
                 (unsigned)((uint64_t)(value < 0 ? -(int64_t)value : value) % 100), time);
        add(line);
        good_lines++;
    }
}

static char *learn(size_t *size)
{
    const struct policy_options options = {.words = {"works", "m"}, .word_count = 2};
    FILE *in = stdin, *out = stdout;
    char *said = NULL;
    errors = 0;
    stdin = fmemopen(text, text_bytes == 0 ? 1 : text_bytes, "r");
    stdout = open_memstream(&said, size);
    must(stdin != NULL && stdout != NULL);
    must(policy_learn(&policy, &options) == EXIT_OK);
    fclose(stdin);
    fclose(stdout);
    stdin = in;
    stdout = out;
    must(errors <= 1 && (errors == 0 || has_raw || text_bytes == 0)); // what is a message is not left out
    return said;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct take take = {data, size};
    size_t first_bytes, second_bytes;
    make(&take);
    make_lines(&take);
    char *first = learn(&first_bytes), *second = size % 8 == 0 ? learn(&second_bytes) : NULL;
    must(second == NULL || (first_bytes == second_bytes && memcmp(first, second, first_bytes) == 0));
    must(first_bytes == 0 || first[first_bytes - 1] == '\n');
    for (size_t i = 0; i < first_bytes; i++)
        must(first[i] == '\n' || (first[i] >= 0x20 && first[i] < 0x7f));
    free(first);
    free(second);
    return 0;
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static const char raw[] = "{\"time_ms\": 1, \"message\": {\"number\": 18446744073709551615, \"value\": -21474836.48, \"time\": 0}}";
    uint32_t state = index + 1;
    if (index >= 48)
        return 0;
    bytes[0] = (uint8_t)(index * 5 + 1);
    size_t size = 1;
    for (; size < 60; size++) {
        state = state * 1664525u + 1013904223u;
        bytes[size] = (uint8_t)(state >> 24) & (index % 2 == 0 ? 0x7b : 0xdf);
    }
    if (index % 3 == 0) {
        bytes[size++] = 224;
        bytes[size++] = sizeof raw - 1;
        memcpy(bytes + size, raw, sizeof raw - 1);
        size += sizeof raw - 1;
    }
    return size;
}
