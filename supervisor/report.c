// SPDX-License-Identifier: ISC
// Members and status pages as JSON. Pages are written by processes that may be hostile: numbers are shown
// as they are, text is cut and made printable.
#include "supervisor/report.h"

#include "core/crash.h"
#include "core/manifest.h"
#include "supervisor/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SHORT_DIGEST_BYTES 8u
#define DISK_LOW_BYTES (1024u * 1024u) // less is as good as nothing

void report_hex(const uint8_t *bytes, size_t size, char *text)
{
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static void add_number(cJSON *object, const char *name, uint64_t value)
{
    cJSON_AddNumberToObject(object, name, (double)value);
}

static void add_memory(cJSON *object, pid_t pid)
{
    struct memory memory = memory_of(pid);
    add_number(object, "processes", memory.processes);
    add_number(object, "rss_bytes", memory.rss_bytes);
    if (memory.is_pss_known && memory.processes != 0)
        add_number(object, "pss_bytes", memory.pss_bytes);
}

static void add_last_fault(cJSON *object, const char *name, const struct link_crash *last)
{
    struct link_crash crash;
    char text[CRASH_TEXT_BYTES];
    for (size_t i = 0; i < sizeof crash; i++) // read once: its writer may change it at any moment
        ((uint8_t *)&crash)[i] = ((const volatile uint8_t *)last)[i];
    crash_text(&crash, name, text, sizeof text);
    cJSON_AddStringToObject(object, "last_fault", text);
}

static void add_process(cJSON *array, const struct member *m)
{
    static const char *const roles[ROLES] = {"audit", "store", "router", "service", "tender", "gateway", "courier"};
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "process", roles[m->role]);
    cJSON_AddStringToObject(row, "name", m->name);
    cJSON_AddStringToObject(row, "state", member_state_text(m->state));
    cJSON_AddNumberToObject(row, "pid", m->pid);
    add_number(row, "restarts", m->restarts);
    if (m->last_end[0] != 0)
        cJSON_AddStringToObject(row, "last_end", m->last_end);
    add_memory(row, m->pid);
    cJSON_AddItemToArray(array, row);
}

static void add_unikernel(struct supervisor *s, cJSON *array, const struct member *m)
{
    static const char *const lifetimes[] = {"message", "connection", "resident"};
    const struct system_unikernel *unikernel = &s->system.unikernels[m->index];
    const struct tender_page *page = (const struct tender_page *)(const void *)m->page;
    char digest[2 * sizeof unikernel->image_digest + 1];
    report_hex(unikernel->image_digest, sizeof unikernel->image_digest, digest);
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "unikernel", unikernel->name);
    cJSON_AddStringToObject(row, "image", unikernel->image_path);
    cJSON_AddStringToObject(row, "digest", digest);
    cJSON_AddStringToObject(row, "isolation", isolation_level_text(m->isolation));
    cJSON_AddStringToObject(row, "lifetime", unikernel->lifetime < 3 ? lifetimes[unikernel->lifetime] : "?");
    cJSON_AddStringToObject(row, "state", m->is_operator_stopped && m->state == MEMBER_IDLE
                                              ? "stopped by operator" : member_state_text(m->state));
    cJSON_AddNumberToObject(row, "pid", m->pid);
    add_number(row, "instances_live", page->live);
    add_number(row, "instances_busy", page->busy);
    add_number(row, "instances_max", unikernel->instances_max);
    add_number(row, "instances_created", page->created);
    add_number(row, "instances_destroyed", page->destroyed);
    add_number(row, "instance_bytes", page->instance_bytes);
    add_number(row, "events", page->events);
    add_number(row, "faults", page->faults);
    add_number(row, "deadlines", page->deadlines);
    add_number(row, "killed", page->killed);
    add_number(row, "restarts", m->restarts);
    if (page->fault_count != 0) {
        add_last_fault(row, unikernel->name, &page->last_fault);
        add_number(row, "last_fault_time_ms", (uint64_t)page->fault_time_ms);
    }
    if (m->last_end[0] != 0)
        cJSON_AddStringToObject(row, "last_end", m->last_end);
    add_number(row, "memory_limit_bytes", (uint64_t)unikernel->memory_kib * 1024);
    add_number(row, "cpu_limit_percent", unikernel->cpu_percent);
    cJSON_AddBoolToObject(row, "is_limited", m->cgroup.count != 0);
    add_memory(row, m->pid);
    cJSON_AddItemToArray(array, row);
}

static void add_system(struct supervisor *s, cJSON *reply)
{
    char digest[2 * sizeof s->digest + 1];
    report_hex(s->digest, sizeof s->digest, digest);
    cJSON_AddStringToObject(reply, "system", s->system.header->name);
    cJSON_AddStringToObject(reply, "tenant", s->system.header->tenant);
    cJSON_AddStringToObject(reply, "digest", digest);
    cJSON_AddStringToObject(reply, "phase", phase_text(s->phase));
    cJSON_AddStringToObject(reply, "mode", s->is_rootless ? "rootless" : "system");
    cJSON_AddStringToObject(reply, "state", s->state_path);
    add_number(reply, "epoch", s->epoch);
    add_number(reply, "since_ms", (uint64_t)s->started_ms);
}

__attribute__((format(printf, 3, 4))) static void add_problem(cJSON *array, const char *mend, const char *format, ...)
{
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "problem", text);
    cJSON_AddStringToObject(row, "mend", mend);
    cJSON_AddItemToArray(array, row);
}

static const struct store_page *store_page_of(struct supervisor *s)
{
    return (const struct store_page *)(const void *)member_of(s, ROLE_STORE, 0)->page;
}

// A durable flow with no room for another event: whoever sends on it is held back, or the oldest messages give way.
static void add_full_flow(struct supervisor *s, cJSON *array, size_t index)
{
    const struct system_flow *flow = &s->system.flows[index];
    uint64_t need = system_flow_need(flow), row = system_row_bytes(&s->system.schemas[flow->schema]);
    uint64_t waiting = store_page_of(s)->spooled[index], bytes = store_page_of(s)->spooled_bytes[index];
    if (!flow->is_durable || waiting == 0 || (waiting + need <= flow->cap && bytes + need * row <= flow->bytes_max))
        return;
    char mend[200] = "look at who receives it: more instances, more cpu, or a larger cap";
    for (size_t i = 0; i < flow->receiver_count; i++)
        if (flow->receivers[i].kind == SYSTEM_UNIKERNEL &&
            member_of(s, ROLE_TENDER, flow->receivers[i].index)->state != MEMBER_UP)
            snprintf(mend, sizeof mend, "%s takes nothing: `crenel restart %s`",
                     s->system.unikernels[flow->receivers[i].index].name,
                     s->system.unikernels[flow->receivers[i].index].name);
    add_problem(array, mend, "flow %s is full: %llu of %llu messages wait, %llu of %llu bytes; %s", flow->name,
                (unsigned long long)waiting, (unsigned long long)flow->cap, (unsigned long long)bytes,
                (unsigned long long)flow->bytes_max,
                flow->is_newest_kept ? "its oldest messages are left out, and counted as displaced"
                                     : "its senders are held back, nothing is lost");
}

static void add_observed(struct supervisor *s, cJSON *array, size_t index)
{
    const struct router_page *page = (const struct router_page *)(const void *)member_of(s, ROLE_ROUTER, 0)->page;
    const struct system_flow *flow = &s->system.flows[index];
    if (flow->is_observed)
        add_problem(array, "`crenel policy learn` proposes bounds; write them, remove `observe: true`, and `crenel up` again",
                    "flow %s ONLY OBSERVES: it refuses nothing for order, freshness, step, slope, state or rate of a key; "
                    "%llu messages would have been refused", flow->name,
                    (unsigned long long)page->counters[COUNTER_FLOW(index, REASON_OBSERVED)]);
}

static const char *sender_name(const struct system_view *system, size_t sender)
{
    size_t unikernel = sender - SYSTEM_PRINCIPALS_MAX, service = unikernel - SYSTEM_UNIKERNELS_MAX;
    if (sender < SYSTEM_PRINCIPALS_MAX)
        return sender < system->principal_count ? system->principals[sender].name : "?";
    if (unikernel < SYSTEM_UNIKERNELS_MAX)
        return unikernel < system->unikernel_count ? system->unikernels[unikernel].name : "?";
    size_t courier = service - SYSTEM_SERVICES_MAX;
    if (service < SYSTEM_SERVICES_MAX)
        return service < system->service_count ? system->services[service].name : "?";
    return courier < system->courier_count ? system->couriers[courier].name : "?";
}

// Senders whose messages a unikernel is not shown now: who must wait longest, and how many others.
static void add_rationed(struct supervisor *s, cJSON *array, size_t index)
{
    const struct router_page *page =
        (const struct router_page *)(const void *)member_of(s, ROLE_ROUTER, 0)->page;
    int64_t longest_ms = 0;
    size_t worst = 0, senders = 0;
    char others[40] = "";
    for (size_t i = 0; i < SENDERS_MAX; i++) {
        int64_t ration_ms = fault_ration_ms(page->faults_ms[index][i], s->loop.now_ms);
        senders += ration_ms > 0;
        worst = ration_ms > longest_ms ? i : worst;
        longest_ms = ration_ms > longest_ms ? ration_ms : longest_ms;
    }
    if (senders == 0)
        return;
    if (senders > 1)
        snprintf(others, sizeof others, " (and of %zu others)", senders - 1);
    add_problem(array, "`crenel deadletter list`: reason fault says what to mend in it; then `crenel deadletter resubmit`",
                "messages of %s%s made %s fault too often: for another %lld s they are dead letters (rationed); "
                "other senders are served",
                sender_name(&s->system, worst), others, s->system.unikernels[index].name,
                (long long)(longest_ms / 1000 + 1));
}

// Its own words are printable: they come from a process that may be hostile.
static void courier_last(const struct courier_page *page, char text[sizeof page->last])
{
    size_t i = 0;
    for (; i + 1 < sizeof page->last && page->last[i] != 0; i++)
        text[i] = page->last[i] >= 0x20 && page->last[i] <= 0x7e ? page->last[i] : '?';
    text[i] = 0;
}

static const struct courier_page *courier_page(struct supervisor *s, size_t index)
{
    return (const struct courier_page *)(const void *)member_of(s, ROLE_COURIER, (unsigned)index)->page;
}

static void add_unlinked(struct supervisor *s, cJSON *array, size_t index)
{
    const struct courier_page *page = courier_page(s, index);
    char last[sizeof page->last];
    courier_last(page, last);
    if (page->links == 0 && member_of(s, ROLE_COURIER, (unsigned)index)->state == MEMBER_UP)
        add_problem(array, "look at the other node, and at what lies between; messages wait, nothing is lost",
                    "courier %s has no link: %.120s", s->system.couriers[index].name,
                    last[0] != 0 ? last : "nobody has come yet");
}

// What stands in the way now, and the mend.
static void add_problems(struct supervisor *s, cJSON *reply)
{
    cJSON *array = cJSON_AddArrayToObject(reply, "problems");
    const struct store_page *store =
        (const struct store_page *)(const void *)member_of(s, ROLE_STORE, 0)->page;
    struct statvfs disk;
    int is_full = fstatvfs(s->state_fd, &disk) == 0 && disk.f_blocks != 0 &&
                  (uint64_t)disk.f_bavail * disk.f_frsize < DISK_LOW_BYTES;
    if (store->is_full != 0 || s->is_epoch_unwritten || is_full)
        add_problem(array, "make room there; everything goes on by itself, nothing acknowledged is lost",
                    "the disk of %.120s is %s", s->state_path,
                    store->is_full != 0 || s->is_epoch_unwritten ? "full: nothing is committed or acknowledged"
                                                                 : "almost full");
    for (size_t i = 0; i < s->member_count; i++)
        if (s->members[i].state == MEMBER_WAITING)
            add_problem(array, "`crenel logs --host` says why", "%s ended (%s) and waits to be started again",
                        member_title(&s->members[i]), s->members[i].last_end);
    for (size_t i = 0; i < s->system.flow_count; i++)
        add_full_flow(s, array, i);
    for (size_t i = 0; i < s->system.flow_count; i++)
        add_observed(s, array, i);
    for (size_t i = 0; i < s->system.unikernel_count; i++)
        add_rationed(s, array, i);
    for (size_t i = 0; i < s->system.courier_count; i++)
        add_unlinked(s, array, i);
}

void report_ps(struct supervisor *s, cJSON *reply)
{
    add_system(s, reply);
    add_problems(s, reply);
    cJSON *unikernels = cJSON_AddArrayToObject(reply, "unikernels");
    cJSON *processes = cJSON_AddArrayToObject(reply, "processes");
    for (size_t i = 0; i < s->member_count; i++) {
        if (s->members[i].role == ROLE_TENDER)
            add_unikernel(s, unikernels, &s->members[i]);
        else
            add_process(processes, &s->members[i]);
    }
    cJSON *self = cJSON_CreateObject();
    struct memory memory = {.is_pss_known = 1};
    char path[40];
    snprintf(path, sizeof path, "/proc/self/statm");
    FILE *file = fopen(path, "re");
    unsigned long long total, resident = 0;
    if (file != NULL && fscanf(file, "%llu %llu", &total, &resident) == 2)
        memory.rss_bytes = resident * (uint64_t)sysconf(_SC_PAGESIZE);
    if (file != NULL)
        fclose(file);
    cJSON_AddStringToObject(self, "process", "supervisor");
    cJSON_AddStringToObject(self, "name", "supervisor");
    cJSON_AddStringToObject(self, "state", "running");
    cJSON_AddNumberToObject(self, "pid", getpid());
    add_number(self, "restarts", 0);
    add_number(self, "rss_bytes", memory.rss_bytes);
    cJSON_AddItemToArray(processes, self);
    cJSON *endpoints = cJSON_AddArrayToObject(reply, "endpoints");
    for (size_t i = 0; i < s->system.gateway_count; i++) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "gateway", s->system.gateways[i].name);
        cJSON_AddStringToObject(row, "listen", s->system.gateways[i].listen);
        cJSON_AddItemToArray(endpoints, row);
    }
}

// What each check refused, or would have, and what it measured: numbers of 64 bits are texts.
static void add_checks(struct supervisor *s, cJSON *row, const struct system_flow *flow, const struct router_page *page)
{
    cJSON *array = cJSON_AddArrayToObject(row, "checks");
    for (size_t i = flow->check_first; i < (size_t)flow->check_first + flow->check_count; i++) {
        const struct check_page *check = &page->checks[i];
        const uint64_t numbers[] = {check->refused, check->measured, check->peak};
        static const char *const names[] = {"refused", "measured", "peak"};
        cJSON *one = cJSON_CreateObject();
        cJSON_AddNumberToObject(one, "line", s->system.checks[i].line);
        for (int j = 0; j < 3; j++) {
            char text[24];
            snprintf(text, sizeof text, "%llu", (unsigned long long)numbers[j]);
            cJSON_AddStringToObject(one, names[j], text);
        }
        cJSON_AddItemToArray(array, one);
    }
}

static void add_flow(struct supervisor *s, cJSON *array, size_t flow, const struct router_page *page)
{
    const struct system_flow *declared = &s->system.flows[flow];
    cJSON *row = cJSON_CreateObject(), *failed = cJSON_CreateObject();
    uint64_t failures = 0;
    uint64_t entered = page->counters[COUNTER_FLOW(flow, REASON_ENTERED)];
    uint64_t done = page->counters[COUNTER_FLOW(flow, REASON_DONE)];
    for (uint32_t reason = REASON_DONE + 1; reason < REASON_COUNT; reason++) {
        uint64_t count = reason_is_end(reason) ? page->counters[COUNTER_FLOW(flow, reason)] : 0;
        failures += count;
        if (count != 0)
            add_number(failed, reason_text(reason), count);
    }
    cJSON_AddStringToObject(row, "flow", declared->name);
    const struct schema_header *schema = s->system.schemas[declared->schema].header;
    char digest[2 * SCHEMA_DIGEST_BYTES + 1], named[SCHEMA_NAME_BYTES + sizeof digest];
    report_hex(schema->digest, sizeof schema->digest, digest);
    snprintf(named, sizeof named, "%s %s", schema->name, digest);
    cJSON_AddStringToObject(row, "schema", named);
    cJSON_AddBoolToObject(row, "is_durable", declared->is_durable);
    add_number(row, "entered", entered);
    add_number(row, "done", done);
    add_number(row, "failed", failures);
    // entered = done + failed + waiting; below zero only while the page is being written
    add_number(row, "waiting", entered >= done + failures ? entered - done - failures : 0);
    add_number(row, "spooled", store_page_of(s)->spooled[flow]);
    if (declared->is_durable) {
        add_number(row, "spooled_bytes", store_page_of(s)->spooled_bytes[flow]);
        add_number(row, "cap", declared->cap);
        add_number(row, "cap_bytes", declared->bytes_max);
    }
    add_number(row, "throttled", page->counters[COUNTER_FLOW(flow, REASON_THROTTLED)]);
    add_number(row, "redelivered", page->counters[COUNTER_FLOW(flow, REASON_REDELIVERED)]);
    cJSON_AddItemToObject(row, "failed_by", failed);
    cJSON_AddBoolToObject(row, "is_observed", declared->is_observed);
    add_number(row, "observed", page->counters[COUNTER_FLOW(flow, REASON_OBSERVED)]);
    add_checks(s, row, declared, page);
    cJSON_AddItemToArray(array, row);
}

static void add_refusals(struct supervisor *s, cJSON *reply, const struct router_page *page)
{
    cJSON *all = cJSON_AddObjectToObject(reply, "refusals");
    cJSON *waiting = cJSON_AddObjectToObject(reply, "waiting");
    for (size_t i = 0; i < s->system.unikernel_count; i++) {
        const struct system_unikernel *unikernel = &s->system.unikernels[i];
        cJSON *row = cJSON_AddObjectToObject(all, unikernel->name);
        for (uint32_t code = 0; code < unikernel->refusal_count && code < 16; code++)
            add_number(row, unikernel->refusals[code], page->counters[COUNTER_REFUSAL(i, code)]);
        add_number(waiting, unikernel->name, page->waiting[i]);
    }
}

static void add_couriers(struct supervisor *s, cJSON *reply)
{
    cJSON *array = cJSON_AddArrayToObject(reply, "couriers");
    for (size_t i = 0; i < s->system.courier_count; i++) {
        const struct courier_page *page = courier_page(s, i);
        char last[sizeof page->last];
        courier_last(page, last);
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "courier", s->system.couriers[i].name);
        cJSON_AddStringToObject(row, s->system.couriers[i].is_listening ? "listen" : "connect", s->system.couriers[i].address);
        add_number(row, "links", page->links);
        add_number(row, "connects", page->connects);
        add_number(row, "sent", page->sent);
        add_number(row, "received", page->received);
        add_number(row, "refused", page->refused);
        if (last[0] != 0)
            cJSON_AddStringToObject(row, "last", last);
        cJSON_AddItemToArray(array, row);
    }
}

void report_status(struct supervisor *s, cJSON *reply)
{
    const struct router_page *router =
        (const struct router_page *)(const void *)member_of(s, ROLE_ROUTER, 0)->page;
    const struct store_page *store = store_page_of(s);
    const struct audit_page *audit =
        (const struct audit_page *)(const void *)member_of(s, ROLE_AUDIT, 0)->page;
    add_system(s, reply);
    add_problems(s, reply);
    cJSON *flows = cJSON_AddArrayToObject(reply, "flows");
    for (size_t i = 0; i < s->system.flow_count; i++)
        add_flow(s, flows, i, router);
    cJSON *isolation = cJSON_AddObjectToObject(reply, "isolation");
    for (size_t i = 0; i < s->system.unikernel_count; i++)
        cJSON_AddStringToObject(isolation, s->system.unikernels[i].name,
                                isolation_level_text(member_of(s, ROLE_TENDER, (unsigned)i)->isolation));
    add_refusals(s, reply, router);
    add_number(reply, "in_flight", router->in_flight);
    add_number(reply, "connections", router->connections);
    cJSON *object = cJSON_AddObjectToObject(reply, "store");
    add_number(object, "commits", store->commits);
    add_number(object, "transactions", store->transactions);
    add_number(object, "conflicts", store->conflicts);
    add_number(object, "audit_waiting", store->audit_waiting);
    add_number(object, "dead_letters", store->dead_letters);
    add_number(object, "not_now", store->not_now);
    char root[2 * sizeof audit->root + 1];
    report_hex(audit->root, sizeof audit->root, root);
    object = cJSON_AddObjectToObject(reply, "audit");
    add_number(object, "size", audit->size);
    add_number(object, "time_ms", (uint64_t)audit->time_ms);
    cJSON_AddStringToObject(object, "root", root);
    add_couriers(s, reply);
    cJSON *gateways = cJSON_AddArrayToObject(reply, "gateways");
    for (size_t i = 0; i < s->system.gateway_count; i++) {
        const struct gateway_page *page =
            (const struct gateway_page *)(const void *)member_of(s, ROLE_GATEWAY, (unsigned)i)->page;
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "gateway", s->system.gateways[i].name);
        cJSON_AddStringToObject(row, "listen", s->system.gateways[i].listen);
        add_number(row, "accepted", page->accepted);
        add_number(row, "refused", page->refused);
        add_number(row, "open", page->open);
        add_number(row, "bytes_in", page->bytes_in);
        add_number(row, "bytes_out", page->bytes_out);
        cJSON_AddItemToArray(gateways, row);
    }
}
