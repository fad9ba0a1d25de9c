// SPDX-License-Identifier: ISC
// Proposals: the least bounds that let pass what was measured, and a quarter more.
#include "cli/policy/learn.h"

#include "core/field_words.h"
#include "core/flow_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint64_t and_a_quarter(uint64_t peak)
{
    uint64_t more = peak / 4 + (peak % 4 != 0);
    return peak > UINT64_MAX - more ? UINT64_MAX : peak + more;
}

// A value of the field that lies `distance` from one of its bounds.
static void value_text(const struct schema_field *field, int is_above_minimum, uint64_t distance, char text[40])
{
    uint64_t bits = is_above_minimum ? (uint64_t)field->minimum + distance : (uint64_t)field->maximum - distance;
    field_number_text(field->type, field->decimals, (int64_t)bits, text, 40);
}

static const struct learned *find(const struct system_view *system, const struct system_flow *flow,
                                  const struct learned *learned, unsigned kind, uint16_t field, uint32_t per_second)
{
    for (uint16_t i = 0; i < flow->check_count; i++) {
        const struct system_check *check = &system->checks[flow->check_first + i];
        if (check->kind == kind && check->field == field && (per_second == 0 || check->per_second == per_second) &&
            learned[i].measured != 0)
            return &learned[i];
    }
    return NULL;
}

static void print_ranges(const struct system_view *system, const struct system_flow *flow, const struct learned *learned)
{
    const struct schema *schema = &system->schemas[flow->schema];
    for (uint16_t i = 0; i < schema->header->field_count; i++) {
        const struct learned *low = find(system, flow, learned, SYSTEM_CHECK_LOW, i, 0);
        const struct learned *high = find(system, flow, learned, SYSTEM_CHECK_HIGH, i, 0);
        char lowest[40], highest[40];
        if (low == NULL || high == NULL)
            continue;
        value_text(&schema->fields[i], 1, low->peak, highest);
        value_text(&schema->fields[i], 0, high->peak, lowest);
        printf("    # %s, field %s: from %s to %s\n", schema->header->name, schema->fields[i].name, lowest, highest);
    }
}

static void print_order(const char *field, const struct system_check *check, uint64_t peak)
{
    if (peak == UINT64_MAX)
        printf("    sequence: {field: %s, window: %u}    # some came twice: it takes each once, those that come late too\n", field,
               check->window);
    else if (check->window == 0 && peak == 0)
        printf("    sequence: {field: %s, order: strict}\n", field);
    else if (peak < SYSTEM_WINDOW_MAX)
        printf("    sequence: {field: %s, window: %u}    # %" PRIu64 " behind the highest\n", field,
               peak < 64 ? 64 : SYSTEM_WINDOW_MAX, peak);
    else
        printf("    # sequence: '%s' came %" PRIu64 " behind the highest: in no window\n", field, peak);
}

// Steps or slopes of all fields, as one list.
static void print_moves(const struct system_view *system, const struct system_flow *flow, const struct learned *learned,
                        unsigned kind)
{
    const struct schema *schema = &system->schemas[flow->schema];
    int count = 0;
    for (uint16_t i = 0; i < flow->check_count; i++) {
        const struct system_check *check = &system->checks[flow->check_first + i];
        char most[32];
        if (check->kind != kind || learned[i].measured == 0 || learned[i].peak == 0 || learned[i].peak == UINT64_MAX)
            continue;
        field_number_text(SCHEMA_U64, schema->fields[check->field].decimals, (int64_t)and_a_quarter(learned[i].peak), most, sizeof most);
        printf("%s{field: %s, most: %s", count++ == 0 ? kind == SYSTEM_CHECK_STEP ? "    steps: [" : "    slopes: [" : ", ",
               schema->fields[check->field].name, most);
        if (kind == SYSTEM_CHECK_SLOPE && check->time_field == SYSTEM_NONE)
            printf(", per: %" PRIu64 "ms", check->ticks);
        else if (kind == SYSTEM_CHECK_SLOPE) // `per` as it was written, which has become ticks of that field
            printf(", per: .., time: %s", schema->fields[check->time_field].name);
        putchar('}');
    }
    if (count != 0)
        printf("]\n");
}

// The least rate whose burst is not much more than what comes in some seconds.
static void print_rate(const struct system_view *system, const struct system_flow *flow, const struct learned *learned)
{
    for (uint32_t per_second = 1; per_second <= 1000; per_second *= 10) {
        const struct learned *one = find(system, flow, learned, SYSTEM_CHECK_RATE, SYSTEM_NONE, per_second);
        if (one == NULL || (one->peak > 5 + 2 * (uint64_t)per_second && per_second < 1000))
            continue;
        printf("    rate: {per_second: %u, burst: %" PRIu64 "%s}\n", per_second, and_a_quarter(one->peak),
               flow->key_field != SYSTEM_NONE ? ", per: key" : "");
        return;
    }
}

void learn_print(const struct system_view *system, const struct system_flow *flow, const struct learned *learned)
{
    const struct schema *schema = &system->schemas[flow->schema];
    uint64_t count = flow->check_count != 0 ? learned[0].measured : 0;
    printf("# Flow '%s', from %" PRIu64 " message%s. Bounds are what came and a quarter more; look at them before they refuse:\n"
           "# whatever was sent while this was learned counts as normal.\n",
           flow->name, count, count == 1 ? "" : "s");
    printf("  %s:\n", flow->name);
    for (uint16_t i = 0; i < flow->check_count; i++) {
        const struct system_check *check = &system->checks[flow->check_first + i];
        if (learned[i].measured == 0)
            continue;
        if (check->kind == SYSTEM_CHECK_FRESH)
            printf("    fresh: {field: %s, within: %" PRIu64 "ms}\n", schema->fields[check->field].name,
                   (uint64_t)((unsigned __int128)and_a_quarter(learned[i].peak) * 1000 / check->ticks) + 1);
        else if (check->kind == SYSTEM_CHECK_ORDER)
            print_order(schema->fields[check->field].name, check, learned[i].peak);
        else if (check->kind == SYSTEM_CHECK_MACHINE && learned[i].peak != 0)
            printf("    # machine %s: there was no transition for some\n", system->machines[check->machine].name);
    }
    print_moves(system, flow, learned, SYSTEM_CHECK_STEP);
    print_moves(system, flow, learned, SYSTEM_CHECK_SLOPE);
    print_rate(system, flow, learned);
    print_ranges(system, flow, learned);
}
