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

static int has_check(const struct system_view *system, const struct system_flow *flow, unsigned kind)
{
    for (size_t i = 0; i < flow->check_count; i++)
        if (system->checks[flow->check_first + i].kind == kind)
            return 1;
    return 0;
}

// "5000/s each, 20000 wait, by sensor, no replay, for press-7"
static void checks_text(const struct system_view *system, const struct system_flow *flow, char *text, size_t capacity)
{
    const struct schema *schema = &system->schemas[flow->schema];
    char principals[256], wait[32] = "", key[48] = "";
    principals_text(system, flow->principals, principals, sizeof principals);
    if (flow->is_durable)
        snprintf(wait, sizeof wait, ", %u wait", flow->cap);
    if (flow->key_field != SYSTEM_NONE)
        snprintf(key, sizeof key, ", by %s", schema->fields[flow->key_field].name);
    snprintf(text, capacity, "%u/s%s%s%s%s%s%s", flow->rate_per_second, flow->is_rate_per_connection ? " each" : "",
             wait, key, has_check(system, flow, SYSTEM_CHECK_ORDER) ? ", no replay" : "", flow->is_open ? "" : ", for ",
             flow->is_open ? "" : principals);
}

void graph_flow(FILE *out, const struct system_view *system, const struct system_flow *flow, int is_short)
{
    char checks[400];
    fprintf(out, "%s: %s<br align=\"left\"/>", flow->name, system->schemas[flow->schema].header->name);
    if (flow->is_actuator)
        fputs("<font color=\"#b04030\"><b>acts on the world</b></font><br align=\"left\"/>", out);
    if (flow->is_observed)
        fputs("<font color=\"#c07000\"><b>OBSERVED: its checks refuse nothing</b></font><br align=\"left\"/>", out);
    if (is_short)
        return;
    checks_text(system, flow, checks, sizeof checks);
    fputs("<font color=\"#6a7783\">", out);
    graph_escape(out, checks, 60);
    fputs("</font><br align=\"left\"/>", out);
}

void graph_tooltip(FILE *out, const struct system_view *system, const struct system_flow *flow)
{
    char checks[400];
    checks_text(system, flow, checks, sizeof checks);
    fprintf(out, "%s: ", flow->name);
    graph_escape(out, checks, sizeof checks);
    fputs("&#10;", out);
}
