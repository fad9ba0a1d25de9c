// SPDX-License-Identifier: ISC
// Checks of flow state in two versions. A check is the same if it has the same id in its flow: kind and field.
#include "cli/diff/diff.h"

#include "cli/source/policy_checks.h"

#include <string.h>

static const struct system_check *check_find(const struct system_view *system, const struct system_flow *flow, uint32_t id)
{
    for (size_t i = 0; i < flow->check_count; i++)
        if (system->checks[flow->check_first + i].id == id)
            return &system->checks[flow->check_first + i];
    return NULL;
}

// A check that somebody wrote, and that refuses something.
static int is_real(const struct system_check *check) { return check->line != 0 && check->most != UINT64_MAX; }

static const char *field_name(const struct system_view *system, const struct system_flow *flow, uint16_t field)
{
    return field != SYSTEM_NONE ? system->schemas[flow->schema].fields[field].name : "";
}

// Conditions go by the names of fields: a place in the schema may hold another one now.
static int are_transitions_same(const struct system_view *old, const struct system_machine *was,
                                const struct system_view *new, const struct system_machine *is)
{
    for (size_t i = 0; i < is->transition_count; i++) {
        struct system_transition rest[2] = {was->transitions[i], is->transitions[i]};
        for (size_t j = 0; j < SYSTEM_CONDITIONS_MAX; j++) {
            const char *was_field = old->schemas[was->schema].fields[rest[0].conditions[j].field].name;
            const char *is_field = new->schemas[is->schema].fields[rest[1].conditions[j].field].name;
            if (j < is->transitions[i].condition_count && strcmp(was_field, is_field) != 0)
                return 0;
            rest[0].conditions[j].field = rest[1].conditions[j].field = 0;
        }
        if (memcmp(&rest[0], &rest[1], sizeof rest[0]) != 0)
            return 0;
    }
    return 1;
}

static void diff_machine(const struct diff_entry *at, const struct system_machine *was, const struct system_machine *is)
{
    const struct system_view *old = &at->diff->old->view, *new = &at->diff->new->view;
    struct diff_entry entry = {at->diff, "machine", is->name, at->line};
    if (strcmp(was->name, is->name) != 0 || was->state_count != is->state_count || was->start != is->start ||
        was->transition_count != is->transition_count || memcmp(was->states, is->states, sizeof is->states) != 0 ||
        !are_transitions_same(old, was, new, is))
        diff_add(&entry, DIFF_MORE, "other states or transitions");
}

static void diff_check(const struct diff_entry *entry, const struct system_flow *was_flow, const struct system_check *was,
                       const struct system_flow *is_flow, const struct system_check *is)
{
    const struct system_view *views[2] = {&entry->diff->old->view, &entry->diff->new->view};
    const struct system_flow *flows[2] = {was_flow, is_flow};
    struct system_check rest[2] = {*was, *is};
    const char *fields[2], *times[2];
    char name[64], texts[2][256];
    for (int i = 0; i < 2; i++) {
        policy_check_text(views[i], flows[i], i == 0 ? was : is, name, texts[i], sizeof texts[i]);
        fields[i] = field_name(views[i], flows[i], rest[i].field);
        times[i] = field_name(views[i], flows[i], rest[i].time_field);
        // Indices and lines may be others; the numbers are looked at by themselves.
        rest[i].field = rest[i].time_field = rest[i].machine = 0;
        rest[i].line = rest[i].window = rest[i].per_second = 0;
        rest[i].most = 0;
    }
    // Another unit, or another clock, may open it whatever the numbers are.
    int is_other = memcmp(&rest[0], &rest[1], sizeof rest[0]) != 0 || strcmp(times[0], times[1]) != 0 ||
                   strcmp(fields[0], fields[1]) != 0;
    int is_more = is->most > was->most || is->window > was->window || is->per_second > was->per_second;
    int is_less = is->most < was->most || is->window < was->window || is->per_second < was->per_second;
    if (is_other || is_more || is_less)
        diff_add(entry, is_other || is_more ? DIFF_MORE : DIFF_LESS, "%s: %s -> %s", name, texts[0], texts[1]);
    if (is->machine != SYSTEM_NONE)
        diff_machine(entry, &views[0]->machines[was->machine], &views[1]->machines[is->machine]);
}

void diff_checks(const struct diff_entry *entry, const struct system_flow *was, const struct system_flow *is)
{
    const struct system_view *old = &entry->diff->old->view, *new = &entry->diff->new->view;
    struct diff_entry at = *entry;
    char name[64], text[256];
    for (size_t i = 0; i < is->check_count; i++) {
        const struct system_check *check = &new->checks[is->check_first + i], *other = check_find(old, was, check->id);
        at.line = (int)check->line;
        if (other != NULL && is_real(other) && is_real(check)) {
            diff_check(&at, was, other, is, check);
        } else if (is_real(check)) {
            policy_check_text(new, is, check, name, text, sizeof text);
            diff_add(&at, DIFF_LESS, "+ check %s: %s", name, text);
        }
    }
    for (size_t i = 0; i < was->check_count; i++) {
        const struct system_check *check = &old->checks[was->check_first + i], *other = check_find(new, is, check->id);
        if (!is_real(check) || (other != NULL && is_real(other)))
            continue;
        policy_check_text(old, was, check, name, text, sizeof text);
        diff_add(entry, DIFF_MORE, "- check %s: %s", name, text);
    }
}
