// SPDX-License-Identifier: ISC
// Three kinds: `commit`, the facts of an event that ended well or was refused, with SHA-256 over its writes and sends
// in place of any payload; `fault`, what a crash, a deadline or a broken contract left behind; `interval`, the sums of
// a COMMIT without an event, which carries the counts of volatile events.
#include "store/audit_text.h"

#include "core/check.h"
#include "core/crash.h"
#include "core/json_line.h"

#include <sodium.h>
#include <string.h>

static void put_names(struct json_line *line, const struct system_view *system, uint16_t unikernel, uint16_t flow,
                      uint64_t number)
{
    if (unikernel < system_places(system))
        json_string(line, "unikernel", system_place_name(system, unikernel));
    if (flow < system->flow_count)
        json_string(line, "flow", system->flows[flow].name);
    json_unsigned(line, "number", number);
}

static size_t text_interval(const struct audit_facts *facts, char *text)
{
    uint64_t entered = 0, done = 0, ended = 0;
    for (unsigned i = 0; i < facts->header->counter_count; i++) {
        struct commit_counter counter;
        memcpy(&counter, facts->counters + i * sizeof counter, sizeof counter);
        uint32_t reason = counter.index % REASON_COUNT;
        if (counter.index >= COUNTER_REFUSAL(0, 0) || (reason != REASON_ENTERED && !reason_is_end(reason)))
            continue;
        *(reason == REASON_ENTERED ? &entered : reason == REASON_DONE ? &done : &ended) += counter.value;
    }
    struct json_line line;
    json_begin(&line, text, AUDIT_RECORD_BYTES_MAX);
    json_string(&line, "kind", "interval"); // of what is volatile
    json_integer(&line, "time_ms", facts->header->time_ms);
    json_unsigned(&line, "entered", entered);
    json_unsigned(&line, "done", done);
    json_unsigned(&line, "failed", ended);
    return json_end(&line);
}

// Without the guest's own words the record always fits.
static size_t text_fault(const struct system_view *system, const struct audit_facts *facts, int has_words,
                         char *text)
{
    const struct link_crash *crash = facts->crash;
    struct json_line line;
    json_begin(&line, text, AUDIT_RECORD_BYTES_MAX);
    json_string(&line, "kind", "fault");
    json_integer(&line, "time_ms", facts->header->time_ms);
    put_names(&line, system, facts->header->unikernel, facts->header->flow, facts->header->number);
    json_string(&line, "reason", facts->dead->reason == REASON_ENVELOPE ? "contract" : reason_text(facts->dead->reason));
    if (has_words)
        json_text(&line, "text", facts->text, facts->dead->text_bytes);
    if (crash != NULL) {
        json_unsigned(&line, "address", crash_address(crash));
        json_unsigned(&line, "instruction", crash_instruction(crash));
        json_hex(&line, "build", crash->build_id, sizeof crash->build_id);
        if (has_words)
            json_text(&line, "last_log", crash->last_log, strnlen(crash->last_log, sizeof crash->last_log));
    }
    return json_end(&line);
}

size_t audit_text_commit(const struct system_view *system, const struct audit_sum *sum, char text[AUDIT_RECORD_BYTES_MAX])
{
    struct json_line line;
    json_begin(&line, text, AUDIT_RECORD_BYTES_MAX);
    json_string(&line, "kind", "commit");
    put_names(&line, system, sum->unikernel, sum->flow, sum->number);
    if (sum->then_bytes != 0)
        json_raw(&line, "then", sum->then, sum->then_bytes);
    json_unsigned(&line, "attempt", sum->attempt);
    json_string(&line, "outcome", sum->outcome);
    json_unsigned(&line, "reads", sum->reads);
    json_unsigned(&line, "writes", sum->writes);
    json_unsigned(&line, "sends", sum->sends);
    json_hex(&line, "effects", sum->effects, sizeof sum->effects);
    return json_end(&line);
}

static size_t text_one(const struct system_view *system, const struct audit_facts *facts, char *text)
{
    const struct commit_header *header = facts->header;
    struct audit_sum sum = {.unikernel = header->unikernel,
                            .flow = header->flow,
                            .attempt = header->attempt,
                            .outcome = reason_text(facts->dead != NULL ? facts->dead->reason : header->reason),
                            .number = header->number,
                            .reads = header->read_count,
                            .writes = header->write_count,
                            .sends = header->send_count};
    crypto_hash_sha256(sum.effects, facts->effects, facts->effect_bytes);
    return audit_text_commit(system, &sum, text);
}

size_t audit_text(const struct system_view *system, const struct audit_facts *facts,
                  char text[AUDIT_RECORD_BYTES_MAX])
{
    size_t length = 0;
    uint32_t reason = facts->dead != NULL ? facts->dead->reason : REASON_DONE;
    if (facts->header->flow == SYSTEM_NONE)
        length = text_interval(facts, text);
    else if (reason != REASON_FAULT && reason != REASON_DEADLINE && reason != REASON_ENVELOPE)
        length = text_one(system, facts, text);
    else if ((length = text_fault(system, facts, 1, text)) == 0)
        length = text_fault(system, facts, 0, text);
    check(length != 0);
    return length;
}
