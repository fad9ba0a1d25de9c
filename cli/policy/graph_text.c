// SPDX-License-Identifier: ISC
// Text inside the picture of a system.
#include "cli/policy/graph_text.h"

#include "cli/policy/words.h"

#include <string.h>

void graph_escape(FILE *out, const char *text, size_t most)
{
    size_t length = strlen(text), shown = length;
    if (length > most) {
        shown = most - 3;
        while (shown > 0 && ((uint8_t)text[shown] & 0xc0) == 0x80) // not inside a character
            shown--;
    }
    for (size_t i = 0; i < shown; i++)
        switch (text[i]) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc(text[i], out);
        }
    if (shown < length)
        fputs("...", out);
}

// "no replay, fresh, step, machine valve", or nothing. A check that stands there twice (for two fields) is said once.
static void kinds_text(const struct system_view *system, const struct system_flow *flow, char *text, size_t capacity)
{
    static const char *const words[SYSTEM_CHECK_KINDS] = {
        [SYSTEM_CHECK_ORDER] = "no replay", [SYSTEM_CHECK_FRESH] = "fresh", [SYSTEM_CHECK_STEP] = "step",
        [SYSTEM_CHECK_SLOPE] = "slope", [SYSTEM_CHECK_MACHINE] = "machine ", [SYSTEM_CHECK_RATE] = "rate of a key",
        [SYSTEM_CHECK_BYTES] = "bytes of a key"};
    size_t used = 0;
    unsigned seen = 0;
    text[0] = 0;
    for (size_t i = 0; i < flow->check_count && used < capacity; i++) {
        const struct system_check *is = &system->checks[flow->check_first + i];
        if (words[is->kind] == NULL || is->line == 0 || (seen >> is->kind & 1) != 0)
            continue;
        seen |= 1u << is->kind;
        used += (size_t)snprintf(text + used, capacity - used, "%s%s%s", used == 0 ? "" : ", ", words[is->kind],
                                 is->kind == SYSTEM_CHECK_MACHINE ? system->machines[is->machine].name : "");
    }
}

// "5000/s each, 20000 wait, by sensor, for press-7"
static void limits_text(const struct system_view *system, const struct system_flow *flow, char *text, size_t capacity)
{
    const struct schema *schema = &system->schemas[flow->schema];
    char principals[256], wait[32] = "", key[48] = "";
    principals_text(system, flow->principals, principals, sizeof principals);
    if (flow->is_durable)
        snprintf(wait, sizeof wait, ", %u wait", flow->cap);
    if (flow->key_field != SYSTEM_NONE)
        snprintf(key, sizeof key, ", by %s", schema->fields[flow->key_field].name);
    snprintf(text, capacity, "%u/s%s%s%s%s%s", flow->rate_per_second, flow->is_rate_per_connection ? " each" : "",
             wait, key, flow->is_open ? "" : ", for ", flow->is_open ? "" : principals);
}

void graph_flow(FILE *out, const struct system_view *system, const struct system_flow *flow, int is_short)
{
    char limits[400], kinds[128];
    fprintf(out, "%s: %s<br align=\"left\"/>", flow->name, system->schemas[flow->schema].header->name);
    if (flow->is_actuator)
        fputs("<font color=\"#b04030\"><b>acts on the world</b></font><br align=\"left\"/>", out);
    if (flow->is_observed)
        fputs("<font color=\"#c07000\"><b>OBSERVED: its checks refuse nothing</b></font><br align=\"left\"/>", out);
    if (is_short)
        return;
    limits_text(system, flow, limits, sizeof limits);
    fputs("<font color=\"#6a7783\">", out);
    graph_escape(out, limits, 60);
    fputs("<br align=\"left\"/>", out);
    kinds_text(system, flow, kinds, sizeof kinds);
    graph_escape(out, kinds, 60);
    fputs(kinds[0] != 0 ? "<br align=\"left\"/></font>" : "</font>", out);
}

void graph_tooltip(FILE *out, const struct system_view *system, const struct system_flow *flow)
{
    char limits[400], kinds[128];
    limits_text(system, flow, limits, sizeof limits);
    kinds_text(system, flow, kinds, sizeof kinds);
    fprintf(out, "%s: ", flow->name);
    graph_escape(out, limits, sizeof limits);
    fputs(kinds[0] != 0 ? ", " : "", out);
    graph_escape(out, kinds, sizeof kinds);
    fputs("&#10;", out);
}
