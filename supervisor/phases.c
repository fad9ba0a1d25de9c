// SPDX-License-Identifier: ISC
// The whole system: phases of start, epochs, and the orderly end.
//
//   STARTING       members are started role by role; all serve -> RUNNING
//   RUNNING        members heal by their own table; router or store fails -> EPOCH_ENDING
//   EPOCH_ENDING   everything but audit ends; all gone -> EPOCH_WAITING (back-off) -> STARTING, epoch + 1
//   STOPPING       gateways and couriers end, then tenders and services, router, store, audit; all gone -> ENDED. When another
//                  version is to follow, what the gateways brought is waited for first (supervisor/replace.h)
//
// A failure during the first start ends the system: what never served is an error of its author, not
// something to try for ever.
#include "supervisor/replace.h"

#include "core/check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define EPOCH_RETRY_MS 1000
#define DRAIN_LOOK_MS 20
#define SETTLE_MOST_MS 2000 // audit gets so long to take the last records at the end

static int phase_of(enum role role)
{
    static const int phases[ROLES] = {[ROLE_AUDIT] = 1,   [ROLE_STORE] = 2,  [ROLE_ROUTER] = 2,
                                      [ROLE_SERVICE] = 2, [ROLE_TENDER] = 2, [ROLE_GATEWAY] = 3, [ROLE_COURIER] = 3};
    return phases[role];
}

const char *phase_text(enum phase phase)
{
    static const char *const texts[] = {"starting", "running", "restarting", "restarting", "stopping", "stopped"};
    return texts[phase];
}

static int is_due(const struct member *m) { return m->is_wanted && !m->is_operator_stopped; }

static void step_start(struct supervisor *s)
{
    for (int phase = 1; phase <= 3; phase++) {
        int all_serve = 1;
        for (size_t i = 0; i < s->member_count && s->phase == PHASE_STARTING; i++) {
            struct member *m = &s->members[i];
            if (phase_of(m->role) != phase || !is_due(m))
                continue;
            if (m->state == MEMBER_IDLE)
                member_event(m, EVENT_START);
            all_serve &= m->state == MEMBER_UP;
        }
        if (!all_serve || s->phase != PHASE_STARTING)
            return;
    }
    if (s->is_first_start && replace_confirm(s) != STATUS_OK)
        return;
    s->phase = PHASE_RUNNING;
    s->running_since_ms = loop_clock_ms();
    records_add(&s->records, "system-serves", "\"epoch\":%llu", (unsigned long long)s->epoch);
    if (s->is_first_start)
        notify(s, "ready", "all %zu processes serve", s->member_count);
    s->is_first_start = 0;
}

static int all_are_gone(const struct supervisor *s, int with_audit)
{
    for (size_t i = 0; i < s->member_count; i++)
        if ((with_audit || s->members[i].role != ROLE_AUDIT) &&
            s->members[i].state != MEMBER_IDLE)
            return 0;
    return 1;
}

static void begin_epoch(void *context)
{
    struct supervisor *s = context;
    if (s->phase != PHASE_EPOCH_WAITING)
        return;
    if (resources_next_epoch(s) != STATUS_OK) {
        // A full disk, most likely. Everything durable is kept; it goes on as soon as there is room.
        if (!s->is_epoch_unwritten)
            fprintf(stderr, "crenel-supervisor: cannot write the epoch to %s: %s; tried again\n", s->state_path,
                    strerror(errno));
        s->is_epoch_unwritten = 1;
        loop_timer_set(&s->loop, &s->epoch_timer, EPOCH_RETRY_MS);
        return;
    }
    s->is_epoch_unwritten = 0;
    records_add(&s->records, "epoch", "\"epoch\":%llu", (unsigned long long)s->epoch);
    for (size_t i = 0; i < s->member_count; i++)
        s->members[i].is_wanted = !s->members[i].is_operator_stopped;
    s->phase = PHASE_STARTING;
    phases_step(s);
}

static void end_member(struct member *m, int grace_ms)
{
    m->is_wanted = 0;
    if (grace_ms >= 0)
        m->grace_ms = grace_ms;
    member_event(m, EVENT_END);
}

static void end_epoch(struct supervisor *s, const struct member *cause)
{
    if (loop_clock_ms() - s->running_since_ms > HEALTHY_MS && s->phase == PHASE_RUNNING)
        s->epoch_backoff_ms = 0;
    s->epoch_backoff_ms = backoff_next(s->epoch_backoff_ms);
    s->phase = PHASE_EPOCH_ENDING;
    fprintf(stderr, "crenel-supervisor: epoch %llu ends: %s ended (%s)\n",
            (unsigned long long)s->epoch, member_title(cause), cause->last_end);
    for (size_t i = 0; i < s->member_count; i++) // the store may finish its commit; nobody else has state
        if (s->members[i].role != ROLE_AUDIT)
            end_member(&s->members[i], s->members[i].role == ROLE_STORE ? 2000 : 0);
}

void phases_member_failed(struct member *m)
{
    struct supervisor *s = m->supervisor;
    if (s->is_first_start && (s->phase == PHASE_STARTING)) {
        fail(s, "see logs/host.log in the state folder", "%s did not start: %s", member_title(m), m->last_end);
        phases_stop(s);
        return;
    }
    if (s->phase != PHASE_STARTING && s->phase != PHASE_RUNNING)
        return;
    int ends_epoch = m->role == ROLE_ROUTER || m->role == ROLE_STORE ||
                     (m->role == ROLE_AUDIT && s->system.header->stop_on_audit_failure);
    if (ends_epoch)
        end_epoch(s, m);
}

static int step_stop_role(struct supervisor *s, enum role first, enum role last)
{
    int all_gone = 1;
    for (size_t i = 0; i < s->member_count; i++) {
        struct member *m = &s->members[i];
        if (m->role < first || m->role > last)
            continue;
        if (m->is_wanted || m->state == MEMBER_WAITING)
            end_member(m, -1);
        all_gone &= m->state == MEMBER_IDLE;
    }
    return all_gone;
}

static void stop_settled(void *context)
{
    struct supervisor *s = context;
    if (s->phase != PHASE_STOPPING)
        return;
    (void)step_stop_role(s, ROLE_AUDIT, ROLE_AUDIT);
    phases_step(s);
}

static void stop(struct supervisor *s);

static void drain_due(void *context)
{
    struct supervisor *s = context;
    if (s->phase == PHASE_STOPPING) {
        phases_step(s);
    } else if (s->is_replacing && s->phase != PHASE_ENDED) {
        notify(s, "progress", "another version follows: nothing comes in any more, what is under way is being finished");
        s->replace_began_ms = loop_clock_ms();
        stop(s);
    }
}

static void step_stop(struct supervisor *s)
{
    if (!step_stop_role(s, ROLE_GATEWAY, ROLE_COURIER))
        return;
    if (s->is_replacing && member_of(s, ROLE_ROUTER, 0)->state == MEMBER_UP && !replace_is_drained(s)) {
        loop_timer_set(&s->loop, &s->drain_timer, DRAIN_LOOK_MS);
        return;
    }
    if (!step_stop_role(s, ROLE_SERVICE, ROLE_TENDER) ||
        !step_stop_role(s, ROLE_ROUTER, ROLE_ROUTER) || !step_stop_role(s, ROLE_STORE, ROLE_STORE))
        return;
    struct member *audit = member_of(s, ROLE_AUDIT, 0);
    if (audit->state == MEMBER_UP && audit->is_wanted && !records_are_settled(&s->records)) {
        if (s->stop_timer.at_ms == 0)
            loop_timer_set(&s->loop, &s->stop_timer, SETTLE_MOST_MS);
        return;
    }
    if (step_stop_role(s, ROLE_AUDIT, ROLE_AUDIT) && all_are_gone(s, 1)) {
        s->phase = PHASE_ENDED;
        loop_stop(&s->loop);
    }
}

void phases_step(struct supervisor *s)
{
    switch (s->phase) {
    case PHASE_STARTING:
        step_start(s);
        break;
    case PHASE_EPOCH_ENDING:
        if (all_are_gone(s, 0)) {
            s->phase = PHASE_EPOCH_WAITING;
            loop_timer_set(&s->loop, &s->epoch_timer, s->epoch_backoff_ms);
        }
        break;
    case PHASE_STOPPING:
        step_stop(s);
        break;
    case PHASE_RUNNING:
    case PHASE_EPOCH_WAITING:
    case PHASE_ENDED:
        break;
    }
}

void phases_start(struct supervisor *s)
{
    loop_timer_add(&s->loop, &s->epoch_timer, begin_epoch, s);
    loop_timer_add(&s->loop, &s->stop_timer, stop_settled, s);
    loop_timer_add(&s->loop, &s->drain_timer, drain_due, s);
    s->is_first_start = 1;
    for (size_t i = 0; i < s->member_count; i++)
        s->members[i].is_wanted = 1;
    s->phase = PHASE_STARTING;
    phases_step(s);
}

static void stop(struct supervisor *s)
{
    check(s->member_count != 0);
    s->phase = PHASE_STOPPING;
    records_add(&s->records, "system-stopping", "\"epoch\":%llu", (unsigned long long)s->epoch);
    phases_step(s);
}

void phases_stop(struct supervisor *s)
{
    s->is_replacing = 0; // whoever ends the system ends it also in the midst of that
    if (s->phase == PHASE_STOPPING)
        phases_step(s);
    else if (s->phase != PHASE_ENDED)
        stop(s);
}

void phases_replace(struct supervisor *s)
{
    s->is_replacing = 1;
    loop_timer_set(&s->loop, &s->drain_timer, 1); // the operator gets his answer first
}
