// SPDX-License-Identifier: ISC
// The router's end of it, and what its lines say. A router that breaks its protocol, or ends, ends this process.
#include "courier/courier.h"

#include "core/check.h"
#include "courier/dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>

#define PACKETS_PER_TURN 64

// ---- To the router ----

// What was said in this turn leaves in one packet.
static void on_settled(void *context)
{
    struct courier *courier = context;
    if (channel_flush(&courier->link) != STATUS_OK)
        loop_stop(courier->loop);
}

static void say(struct courier *courier, const struct channel_part *parts, size_t count)
{
    if (channel_send_parts(&courier->link, parts, count) != STATUS_OK)
        loop_stop(courier->loop);
}

// What became of a message that was delivered, as the effects of an event.
static void say_ended(struct courier *courier, uint64_t handle, uint32_t reason)
{
    struct abi_end end = {.record = {sizeof end, ABI_END, 0}, .verdict = ABI_END_DONE};
    struct link_effects effects = {.header = {.kind = LINK_EFFECTS, .handle = handle}, .outcome = LINK_ENDED};
    int is_done = reason == REASON_DONE;
    effects.record_bytes = is_done ? sizeof end : 0;
    effects.header.size = (uint32_t)sizeof effects + effects.record_bytes;
    if (!is_done) {
        effects.outcome = LINK_CONTRACT;
        snprintf(effects.text, sizeof effects.text, "the other node refused it: %s", reason_text(reason));
    }
    const struct channel_part parts[] = {{&effects, sizeof effects}, {&end, effects.record_bytes}};
    say(courier, parts, is_done ? 2 : 1);
}

static uint16_t own_flow(const struct courier_peer *peer, uint16_t flow)
{
    for (uint16_t i = 0; i < peer->terms.hello.flow_count; i++)
        if (peer->flows[i] == flow)
            return i;
    return SYSTEM_NONE;
}

static void pump(struct courier *courier)
{
    for (uint32_t i = 0; i < courier->line_count && courier->outgoing.first != NULL; i++) {
        struct line *line = &courier->lines[i];
        if (line->state == LINE_OPEN && line->is_agreed && outgoing_pump(&courier->outgoing, line->peer, &line->session) != 0)
            line_flush(line);
    }
}

static enum status take_deliver(struct courier *courier, const uint8_t *record, size_t size)
{
    struct link_deliver deliver;
    if (size < sizeof deliver)
        return STATUS_MALFORMED;
    memcpy(&deliver, record, sizeof deliver);
    uint16_t peer = deliver.flow < courier->system->flow_count
                        ? system_port(courier->system, &courier->system->flows[deliver.flow], courier->place) : SYSTEM_NONE;
    uint16_t flow = peer < courier->is->peer_count ? own_flow(&courier->peers[peer], deliver.flow) : SYSTEM_NONE;
    size_t at = sizeof deliver + ABI_ALIGN8((size_t)deliver.context_bytes);
    if (deliver.context_bytes > ABI_CONTEXT_BYTES_MAX || deliver.payload_bytes > ABI_PAYLOAD_BYTES_MAX ||
        flow == SYSTEM_NONE || courier->peers[peer].terms.flows[flow].window != 0 || at + deliver.payload_bytes > size)
        return STATUS_MALFORMED;
    struct outgoing_message *message = outgoing_add(&courier->outgoing);
    if (message == NULL)
        return STATUS_MALFORMED; // more than HELLO allows
    message->handle = deliver.header.handle;
    message->peer = peer;
    message->flow = flow;
    message->head = (struct session_message){
        .stream = deliver.connection, .sequence = deliver.number, .payload_bytes = deliver.payload_bytes};
    memcpy(message->payload, record + at, deliver.payload_bytes);
    return STATUS_OK;
}

static enum status take_brought(struct courier *courier, const uint8_t *record, size_t size)
{
    struct link_brought brought;
    if (size != sizeof brought)
        return STATUS_MALFORMED;
    memcpy(&brought, record, sizeof brought);
    struct courier_bring *bring = courier->brings, *end = bring + courier->bring_count;
    while (bring < end && (bring->handle == 0 || bring->handle != brought.header.handle))
        bring++;
    if (bring == end)
        return STATUS_OK; // of the process before this one
    struct line *line = bring->line;
    struct session_ack ack = {.sequence = bring->sequence, .reason = brought.reason};
    bring->handle = 0;
    if (line == NULL)
        return STATUS_OK;
    courier->page->received++;
    if (brought.reason == REASON_LOST)
        line_end(line, "this node's router has no room for what came before; it is sent again");
    else if (session_acknowledge(&line->session, bring->flow, &ack) != STATUS_OK)
        line_end(line, line->session.why);
    return STATUS_OK;
}

static enum status take_record(struct courier *courier, const uint8_t *record, size_t size)
{
    struct link_header header;
    if (size < sizeof header)
        return STATUS_MALFORMED;
    memcpy(&header, record, sizeof header);
    if (header.size != size)
        return STATUS_MALFORMED;
    if (header.kind == LINK_DELIVER)
        return take_deliver(courier, record, size);
    return header.kind == LINK_BROUGHT ? take_brought(courier, record, size) : STATUS_MALFORMED;
}

static void on_link(void *context, uint32_t events)
{
    static _Alignas(8) uint8_t record[LINK_BYTES_MAX];
    struct courier *courier = context;
    enum status status = STATUS_OK;
    (void)events;
    for (int i = 0; (i < PACKETS_PER_TURN || channel_has_more(&courier->link)) && status == STATUS_OK; i++) {
        size_t size = 0;
        status = channel_receive(&courier->link, record, sizeof record, &size, 0);
        if (status == STATUS_OK)
            status = take_record(courier, record, size);
    }
    if (status != STATUS_OK && status != STATUS_AGAIN) {
        if (status != STATUS_CLOSED)
            fprintf(stderr, "crenel-courier: the router: %s\n", status_text(status));
        loop_stop(courier->loop);
        return;
    }
    pump(courier);
    for (uint32_t i = 0; i < courier->line_count; i++) // ACKs of this turn
        line_flush(&courier->lines[i]);
    on_settled(courier);
}

// ---- From the lines ----

static void on_known(void *context, struct line *line)
{
    struct courier *courier = context;
    line->terms = &courier->peers[line->peer].terms;
    for (uint32_t i = 0; i < courier->line_count; i++) {
        struct line *other = &courier->lines[i];
        if (other != line && other->state == LINE_OPEN && other->peer == line->peer)
            line_end(other, "the peer has made a new connection");
    }
}

static void on_agreed(void *context, struct line *line)
{
    struct courier *courier = context;
    fprintf(stderr, "crenel-courier: %s: linked with %s (system %s at %s)\n", courier->is->name,
            courier->is->peers[line->peer].name, line->session.peer, line->address);
    courier->page->links++;
    courier->page->connects++;
    courier->page->last[0] = 0;
    courier->retry_ms = RETRY_LEAST_MS;
    resolve_forget(&courier->resolve);
    pump(courier);
}

static void on_take(void *context, struct line *line, uint16_t flow, const struct session_message *message,
                    const uint8_t *payload)
{
    static const uint8_t zero[8];
    struct courier *courier = context;
    struct courier_bring *bring = courier->brings, *end = bring + courier->bring_count;
    while (bring < end && bring->handle != 0)
        bring++;
    if (bring == end) {
        line_end(line, "this node's router has not ended what came before; it is sent again");
        return;
    }
    *bring = (struct courier_bring){line, ++courier->serial, message->sequence, flow};
    size_t padded = ABI_ALIGN8(message->payload_bytes);
    struct link_bring record = {
        .header = {(uint32_t)(sizeof record + padded), LINK_BRING, 0, bring->handle},
        .source = {message->stream, message->sequence, line->brought[flow], line->peer, {0}},
        .flow = courier->peers[line->peer].flows[flow],
        .payload_bytes = message->payload_bytes};
    line->brought[flow] = message->sequence;
    const struct channel_part parts[] = {{&record, sizeof record},
                                         {payload, message->payload_bytes},
                                         {zero, padded - message->payload_bytes}};
    say(courier, parts, 3);
}

static void on_acknowledged(void *context, struct line *line, uint16_t flow, const struct session_ack *ack)
{
    struct courier *courier = context;
    uint64_t handle;
    if (!outgoing_take(&courier->outgoing, line->peer, flow, ack->sequence, &handle)) {
        line_end(line, "an ACK of what was not sent");
        return;
    }
    courier->page->sent++;
    say_ended(courier, handle, ack->reason);
    pump(courier);
}

static void on_ended(void *context, struct line *line, const char *why, int is_known)
{
    struct courier *courier = context;
    if (strcmp(courier->page->last, why) != 0) // a peer that is away does not fill the log
        fprintf(stderr, "crenel-courier: %s: no link with %s (%s): %s\n", courier->is->name,
                is_known ? courier->is->peers[line->peer].name : "whoever is there", line->address, why);
    snprintf(courier->page->last, sizeof courier->page->last, "%s", why);
    for (uint32_t i = 0; i < courier->bring_count; i++)
        if (courier->brings[i].line == line)
            courier->brings[i].line = NULL;
    if (is_known && line->is_agreed) {
        courier->page->links--;
        outgoing_rewind(&courier->outgoing, line->peer);
    }
    if (!courier->is->is_listening)
        dial_later(courier);
}

static void on_sweep(void *context)
{
    struct courier *courier = context;
    for (uint32_t i = 0; i < courier->line_count; i++) {
        struct line *line = &courier->lines[i];
        if (line->state != LINE_FREE && line->deadline_ms != 0 && line->deadline_ms <= courier->loop->now_ms)
            line_expire(line);
    }
    loop_timer_set(courier->loop, &courier->sweep, COURIER_SWEEP_MS);
}

// ---- The start ----

static void terms_make(struct courier *courier, uint32_t index, uint16_t at)
{
    const struct system_view *system = courier->system;
    struct courier_peer *peer = &courier->peers[at];
    struct session_terms *terms = &peer->terms;
    terms->hello = (struct session_hello){.magic = SESSION_MAGIC, .version = SESSION_VERSION};
    memcpy(terms->hello.system, system->header->name, sizeof terms->hello.system);
    memcpy(terms->hello.tenant, system->header->tenant, sizeof terms->hello.tenant);
    for (uint16_t i = 0; i < system->flow_count; i++) {
        const struct system_flow *flow = &system->flows[i];
        const struct schema_header *schema = system->schemas[flow->schema].header;
        int is_taken = flow->sender_kind == SYSTEM_COURIER && flow->sender == index;
        if (!is_taken && system_port(system, flow, courier->place) != at)
            continue;
        struct session_flow *entry = &terms->flows[terms->hello.flow_count];
        peer->flows[terms->hello.flow_count++] = i;
        memcpy(entry->name, flow->name, sizeof entry->name);
        memcpy(entry->schema, schema->name, sizeof entry->schema);
        memcpy(entry->digest, schema->digest, sizeof entry->digest);
        // All peers together may have as many under way as the router takes.
        entry->window = is_taken ? (uint16_t)(LINK_BRINGS_MAX / courier->is->peer_count) : 0;
    }
}

enum status courier_init(struct courier *courier, struct loop *loop, const struct system_view *system, uint32_t index,
                         struct tls_context *context, int link_fd, const struct courier_files *files,
                         struct courier_page *page)
{
    courier->loop = loop; // all else is zero, but for what resolve_prepare() made
    courier->system = system;
    courier->is = &system->couriers[index];
    courier->page = page;
    courier->files = *files;
    courier->retry_ms = RETRY_LEAST_MS;
    courier->owner = (struct line_owner){courier,  on_known,        on_agreed, on_take,
                                         on_acknowledged, on_settled, on_ended};
    channel_init(&courier->link, link_fd, NULL, 0);
    channel_gather(&courier->link, courier->gathered, courier->inbox, CHANNEL_PACKET_BYTES);
    outgoing_init(&courier->outgoing);
    courier->place = (uint16_t)(system->unikernel_count + system->service_count + index);
    courier->peers = calloc(courier->is->peer_count, sizeof *courier->peers);
    uint32_t flows = 0;
    for (uint16_t i = 0; courier->peers != NULL && i < courier->is->peer_count; i++) {
        terms_make(courier, index, i);
        flows = flows > courier->peers[i].terms.hello.flow_count ? flows : courier->peers[i].terms.hello.flow_count;
    }
    page->links = 0;
    courier->line_count = courier->is->is_listening ? courier->is->peer_count + COURIER_STRANGERS_MAX : 2; // one may be closing
    courier->bring_count = 2 * LINK_BRINGS_MAX * flows; // and what lines that ended left
    courier->lines = calloc(courier->line_count, sizeof *courier->lines);
    courier->brings = calloc(courier->bring_count + 1, sizeof *courier->brings);
    if (courier->peers == NULL || courier->lines == NULL || courier->brings == NULL ||
        getrandom(&courier->serial, sizeof courier->serial, 0) != (ssize_t)sizeof courier->serial)
        return STATUS_SYSTEM;
    courier->serial = courier->serial >> 2 | 1; // it never comes to 0
    for (uint32_t i = 0; i < courier->line_count; i++) {
        struct line *line = &courier->lines[i];
        line->loop = loop;
        line->owner = &courier->owner;
        line->courier = courier->is;
        line->context = context;
        line->fd = -1;
    }
    loop_timer_add(loop, &courier->sweep, on_sweep, courier);
    loop_timer_set(loop, &courier->sweep, COURIER_SWEEP_MS);
    return loop_add(loop, &courier->link_watch, link_fd, EPOLLIN, on_link, courier);
}

enum status courier_begin(struct courier *courier)
{
    uint32_t capacity = 0;
    for (uint16_t i = 0; i < courier->system->flow_count; i++)
        capacity += system_port(courier->system, &courier->system->flows[i], courier->place) != SYSTEM_NONE ? OUTGOING_MAX / 4 : 0;
    struct link_hello hello = {.header = {sizeof hello, LINK_HELLO, 0, 0}, .version = LINK_VERSION, .batch = 1};
    hello.instances = (uint16_t)(capacity == 0 ? 1 : capacity < OUTGOING_MAX ? capacity : OUTGOING_MAX);
    enum status status = channel_send(&courier->link, &hello, sizeof hello);
    if (status == STATUS_OK)
        status = channel_flush(&courier->link);
    return status == STATUS_OK ? dial_begin(courier) : status;
}
