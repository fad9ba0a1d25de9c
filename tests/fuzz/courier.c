// SPDX-License-Identifier: ISC
// Fuzz target: a courier between a router and peers that may each say anything; TLS and the kernel are played.
//
// Input: a byte with the side that connects; steps: what the router delivers and answers, what peers say (honest frames or raw
// bytes), sockets that fill, fail and end, time. What must hold: each delivered message ends once, and only after its peer acknowledged
// it; over one line it is sent once, in order, within the peer's window; each BRING is a message that came, in order and
// named by its line; each ACK repeats the router's answer, once, on the line that the message came on; one line for each
// peer; the page counts links; descriptors are closed once; only a router that breaks its protocol ends the process.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/courier_router.h"

#include <stdio.h>

#define SIDES 3u

static struct system_header header = {.name = "hub", .tenant = "plant"};
static struct schema_header reading_1 = {.name = "reading/1", .digest = {3}};
static struct system_flow flows[FLOWS] = {
    {.name = "reading", .sender_kind = SYSTEM_COURIER, .receiver_count = 1, .receivers = {{.kind = SYSTEM_UNIKERNEL}}},
    {.name = "orders", .sender_kind = SYSTEM_UNIKERNEL, .receiver_count = 1, .receivers = {{.kind = SYSTEM_COURIER}}}};
static struct system_courier named[SIDES] = { // orders are for the first of two
    {.name = "hub", .address = "192.0.2.7:8883", .is_listening = 1, .peer_count = 2, .peers = {{.name = "a"}, {.name = "b"}}},
    {.name = "rig", .address = "192.0.2.7:8883", .peer_count = 1, .peers = {{.name = "a"}}},
    {.name = "dam", .address = "[2001:db8::7]:8883", .is_listening = 1, .peer_count = 1, .peers = {{.name = "a"}}}};
static struct system_view systems[SIDES];
static struct courier couriers[SIDES];
static struct courier_page page;

// ---- What the courier says to a peer ----
static void judge_message(struct peer *peer, const struct session_frame *frame, const uint8_t *body)
{
    struct session_message message;
    memcpy(&message, body, sizeof message);
    must(frame->flow == ORDERS && message.stream == 55 && name_of(peer) == 0);
    must(message.sequence > peer->told_last);
    must(frame->size == sizeof *frame + sizeof message + ABI_ALIGN8(message.payload_bytes));
    must(router.state[message.sequence % HANDLES] != ABSENT && body[sizeof message] == (uint8_t)message.sequence);
    peer->told_last = message.sequence;
    must(peer->told_count < sizeof peer->told / sizeof peer->told[0]);
    must(peer->is_forged || peer->told_count < 1u + (peer->manner >> 5 & 3u)); // its window
    peer->told[peer->told_count++] = message.sequence;
}

static void judge_frame(struct peer *peer, const struct session_frame *frame, const uint8_t *body)
{
    struct session_ack ack;
    must((frame->kind == SESSION_HELLO) == (peer->frames++ == 0));
    if (frame->kind == SESSION_HELLO || frame->kind == SESSION_REFUSE)
        return;
    must(peer->has_agreed || peer->is_forged);
    if (frame->kind == SESSION_MESSAGE) {
        judge_message(peer, frame, body);
        return;
    }
    must(frame->kind == SESSION_ACK && frame->size == sizeof *frame + sizeof ack);
    memcpy(&ack, body, sizeof ack);
    for (unsigned i = 0; i < router.brings_used; i++) {
        struct bring *bring = &router.brings[i];
        if (bring->handle != 0 && bring->peer == (int)(peer - world.peers) && bring->sequence == ack.sequence && bring->reason == ack.reason) {
            bring->handle = 0;
            return;
        }
    }
    must(!"an ACK without an answer");
}

// ---- Peers ----
static void say(struct peer *peer, const void *bytes, size_t size)
{
    if (peer->in_at == peer->in_size)
        peer->in_at = peer->in_size = 0;
    if (size > sizeof peer->in - peer->in_size)
        return;
    memcpy(peer->in + peer->in_size, bytes, size);
    peer->in_size += size;
}

static void say_frame(struct peer *peer, uint16_t kind, uint16_t flow, const void *body, size_t size)
{
    struct session_frame frame = {(uint32_t)(sizeof frame + size), kind, flow};
    if (sizeof frame + size > sizeof peer->in - (peer->in_at == peer->in_size ? 0 : peer->in_size))
        return;
    say(peer, &frame, sizeof frame);
    say(peer, body, size);
}

static void say_hello(struct peer *peer)
{
    struct {
        struct session_hello hello;
        struct session_flow flows[FLOWS];
    } theirs;
    if (peer->said != 0 || peer->has_agreed)
        peer->is_forged = 1; // a second one is not honest
    const struct session_terms *terms = &courier->peers[name_of(peer)].terms;
    memcpy(&theirs, terms, sizeof theirs);
    memcpy(theirs.hello.system, "far\0", 4);
    theirs.flows[READING].window = 0;
    theirs.flows[ORDERS].window = (uint16_t)(1 + (peer->manner >> 5 & 3));
    say_frame(peer, SESSION_HELLO, 0, &theirs, sizeof theirs.hello + terms->hello.flow_count * sizeof theirs.flows[0]);
    peer->has_agreed = 1;
}

static void say_message(struct peer *peer, uint8_t size)
{
    struct {
        struct session_message head;
        uint8_t payload[256];
    } message = {{.stream = 77, .sequence = ++peer->said, .payload_bytes = size}, {0}};
    memset(message.payload, (int)(uint8_t)peer->said, size);
    say_frame(peer, SESSION_MESSAGE, READING, &message, sizeof message.head + ABI_ALIGN8((size_t)size));
}

static void say_ack(struct peer *peer, uint8_t what)
{
    struct session_ack ack = {.reason = (what & 64) != 0 ? REASON_RANGE : REASON_DONE};
    if (peer->told_count == 0)
        return;
    unsigned place = (what & 63) % peer->told_count;
    ack.sequence = peer->told[place];
    peer->told[place] = peer->told[--peer->told_count];
    if (router.state[ack.sequence % HANDLES] != ABSENT) {
        router.state[ack.sequence % HANDLES] = ACKNOWLEDGED;
        router.acks[ack.sequence % HANDLES] |= ack.reason == REASON_DONE ? 1 : 2;
    }
    say_frame(peer, SESSION_ACK, ORDERS, &ack, sizeof ack);
}

static void peer_step(uint8_t what, uint8_t more)
{
    struct peer *peer = &world.peers[what & 15];
    uint8_t bytes[256];
    if (!peer->is_there || peer->is_shut)
        return;
    switch (more % 16) {
    case 0:
    case 1:
        say_hello(peer);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        say_message(peer, take_byte(&world.take));
        break;
    case 6:
    case 7:
    case 8:
        say_ack(peer, take_byte(&world.take));
        break;
    case 9:
        peer->is_full ^= 1;
        break;
    case 10:
        peer->is_shut = 1;
        break;
    case 11: // much at once
        for (unsigned i = 0; i < more; i += 4)
            say_message(peer, 8);
        break;
    case 12:
        peer->is_forged = 1;
        say_frame(peer, more >> 4 & 7, take_byte(&world.take) % 3, bytes, take_bytes(&world.take, bytes, take_byte(&world.take)));
        break;
    default:
        peer->is_forged = 1;
        say(peer, bytes, take_bytes(&world.take, bytes, take_byte(&world.take)));
    }
}

// ---- The router ----
static void deliver(uint8_t payload)
{
    uint64_t sequence = router.sequence + 1, place = sequence % HANDLES;
    if (router.state[place] != ABSENT || router.delivered >= OUTGOING_MAX / 4)
        return;
    struct link_deliver deliver = {.header = {0, LINK_DELIVER, 0, sequence}, .connection = 55, .number = sequence, .flow = ORDERS,
                                   .context_bytes = payload & 7, .payload_bytes = 1u + payload};
    size_t at = sizeof deliver + ABI_ALIGN8((size_t)deliver.context_bytes);
    router.record_bytes = at + ABI_ALIGN8((size_t)deliver.payload_bytes);
    deliver.header.size = (uint32_t)router.record_bytes;
    memset(router.record, 0, router.record_bytes);
    memcpy(router.record, &deliver, sizeof deliver);
    memset(router.record + at, (int)(uint8_t)sequence, deliver.payload_bytes);
    router.sequence = sequence;
    router.state[place] = DELIVERED;
    router.acks[place] = 0;
    router.delivered++;
}

static void answer(uint8_t what)
{
    static const uint32_t reasons[] = {REASON_DONE, REASON_DONE, REASON_RANGE, REASON_LOST};
    unsigned skip = what & 7;
    for (unsigned i = 0; i < router.brings_used; i++) {
        struct bring *bring = &router.brings[i];
        if (bring->handle == 0 || bring->reason != 0 || (skip != 0 && skip-- != 0))
            continue;
        struct link_brought brought = {.header = {sizeof brought, LINK_BROUGHT, 0, bring->handle}, .reason = reasons[what >> 3 & 3]};
        bring->reason = brought.reason;
        if (bring->peer < 0 || brought.reason == REASON_LOST)
            bring->handle = 0; // nobody is told
        memcpy(router.record, &brought, sizeof brought);
        router.record_bytes = sizeof brought;
        return;
    }
}

static void router_step(uint8_t what, uint8_t more)
{
    if (what < 24) {
        deliver(more);
    } else if (what < 48) {
        answer(more);
    } else if (what < 62) { // of a process before this one, or simply wrong
        struct link_header raw = {0, (uint16_t)(what % 2 != 0 ? LINK_BROUGHT : more % 12), 0, more};
        size_t size = sizeof raw + take_bytes(&world.take, router.record + sizeof raw, take_byte(&world.take));
        raw.size = (uint32_t)size;
        memcpy(router.record, &raw, sizeof raw);
        router.record_bytes = size;
        router.is_bad = raw.kind != LINK_BROUGHT || size != sizeof(struct link_brought);
    } else {
        router.is_closed = 1;
    }
}

// ---- The loop ----
static void judge(void)
{
    uint64_t links = 0;
    for (uint32_t i = 0; i < courier->line_count; i++) {
        const struct line *line = &courier->lines[i];
        links += line->state == LINE_OPEN && line->is_agreed;
        must((line->state == LINE_FREE) == (line->fd < 0));
        for (uint32_t j = 0; j < i && line->state == LINE_OPEN; j++)
            must(courier->lines[j].state != LINE_OPEN || courier->lines[j].peer != line->peer);
    }
    must(page.links == links && courier->outgoing.count <= OUTGOING_MAX);
    for (unsigned i = 0; i < router.brings_used; i++) // whose socket is gone
        if (router.brings[i].handle != 0 && router.brings[i].peer >= 0 && !world.peers[router.brings[i].peer].is_there) {
            router.brings[i].peer = -1;
            if (router.brings[i].reason != 0)
                router.brings[i].handle = 0;
        }
}

// At rest: what a peer has room for is not kept back.
static void judge_rest(void)
{
    uint64_t last = 0;
    for (unsigned i = 0; i < HANDLES && router.delivered != 0; i++) {
        uint64_t sequence = router.sequence - i;
        if (i < router.sequence && router.state[sequence % HANDLES] != ABSENT && last == 0)
            last = sequence;
    }
    for (uint32_t i = 0; i < courier->line_count && last != 0; i++) {
        const struct line *line = &courier->lines[i];
        if (line->state != LINE_OPEN || !line->is_agreed || line->peer != 0)
            continue;
        const struct peer *peer = peer_of(line->fd);
        must(peer->is_forged || peer->is_full || peer->told_count >= 1u + (peer->manner >> 5 & 3u) || peer->told_last >= last);
    }
}

static int wake(struct loop_watch *watch, uint32_t events)
{
    if (watch == NULL || (events &= watch->events | EPOLLHUP) == 0)
        return 0;
    watch->ready(watch->context, events);
    return 1;
}

static void settle(void)
{
    int is_busy = 1;
    for (unsigned rounds = 0; is_busy && !loop.is_stopping; rounds++) {
        must(rounds < 3000);
        is_busy = wake(world.link, router.record_bytes != 0 || router.is_closed ? EPOLLIN : 0);
        is_busy |= wake(world.listener, world.callers != 0 ? EPOLLIN : 0);
        for (unsigned i = 0; i < FDS && !loop.is_stopping; i++) {
            const struct peer *peer = &world.peers[i];
            if (!peer->is_there || peer->watch == NULL)
                continue;
            is_busy |= wake(peer->watch, (peer->in_at != peer->in_size || peer->is_shut ? EPOLLIN : 0u) |
                                             (peer->is_full && !peer->is_shut ? 0u : EPOLLOUT) | (peer->is_shut ? EPOLLHUP : 0u));
        }
        judge();
    }
    must(!loop.is_stopping || router.is_bad || router.is_closed);
    if (!loop.is_stopping)
        judge_rest();
}

static void pass_time(int64_t ms)
{
    struct loop_timer *timers[] = {&courier->sweep, &courier->retry};
    loop.now_ms += ms;
    for (unsigned i = 0; i < 2; i++)
        if (timers[i]->at_ms != 0 && timers[i]->at_ms <= loop.now_ms) {
            timers[i]->at_ms = 0;
            timers[i]->due(timers[i]->context);
        }
}

static void begin(uint8_t side)
{
    side %= SIDES;
    memset(&router, 0, offsetof(__typeof__(router), record));
    router.record_bytes = 0;
    router.is_closed = router.is_bad = 0;
    world.callers = 0;
    world.reading = 0;
    loop.is_stopping = 0;
    loop.now_ms = 1000;
    courier = &couriers[side];
    page = (struct courier_page){0};
    world.listener = world.link = NULL;
    if (courier->lines == NULL) {
        systems[side] = (struct system_view){.header = &header, .flows = flows, .flow_count = FLOWS, .couriers = &named[side], .courier_count = 1};
        systems[side].schemas[0].header = &reading_1;
        const struct courier_files files = {named[side].is_listening ? FD_LISTENER : -1, -1, -1, -1, NULL};
        must(courier_init(courier, &loop, &systems[side], 0, NULL, FD_LINK, &files, &page) == STATUS_OK);
    } else {
        must(loop_add(&loop, &courier->link_watch, FD_LINK, EPOLLIN, courier->link_watch.ready, courier) == STATUS_OK);
        memset(courier->brings, 0, courier->bring_count * sizeof *courier->brings);
        courier->retry_ms = RETRY_LEAST_MS;
    }
    loop.timer_count = 0; // the target calls them
    courier->sweep.at_ms = loop.now_ms + COURIER_SWEEP_MS;
    must(courier_begin(courier) == STATUS_OK);
}

static void finish(void)
{
    world.take = (struct take){NULL, 0};
    for (uint32_t i = 0; i < courier->line_count; i++) {
        line_end(&courier->lines[i], "the end");
        if (courier->lines[i].state == LINE_CLOSING)
            line_expire(&courier->lines[i]);
    }
    judge();
    for (unsigned i = 0; i < FDS; i++)
        must(!world.peers[i].is_there);
    unsigned left = 0; // what was not acknowledged is still there
    for (unsigned i = 0; i < HANDLES; i++)
        left += router.state[i] == DELIVERED;
    must(courier->outgoing.count >= left || router.is_closed || router.is_bad);
    if (courier->outgoing.count != 0)
        outgoing_init(&courier->outgoing);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *nowhere;
    FILE *kept = stderr;
    if (size == 0)
        return 0;
    if (nowhere == NULL)
        nowhere = fopen("/dev/null", "w");
    stderr = nowhere;
    world.take = (struct take){data + 1, size - 1};
    begin(data[0]);
    settle();
    while (world.take.left != 0 && !loop.is_stopping) {
        uint8_t what = take_byte(&world.take), more = take_byte(&world.take);
        if (what < 64)
            router_step(what, more);
        else if (what < 208)
            peer_step(what, more);
        else if (what < 232)
            world.callers += courier->is->is_listening != 0;
        else
            pass_time(what < 248 ? 500 : more * 200);
        settle();
    }
    finish();
    stderr = kept;
    return 0;
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    // A peer that is accepted (or was connected to) and agrees; messages in both directions, ACKs, answers.
    static const uint8_t script[] = {208, 0, 0x20, 64, 0, 10, 5, 10, 6, 64, 2, 9, 64, 3, 30, 64, 6, 0, 24, 0, 24, 16, 10, 9, 64, 7, 64};
    // An answer for a socket that is gone, when another one is there.
    static const uint8_t late[] = {2, 208, 0, 0x20, 64, 0, 64, 2, 8, 64, 10, 208, 0, 0x20, 64, 0, 64, 2, 8, 24, 0, 24, 0};
    uint32_t state = index + 1;
    if (index == 64) {
        memcpy(bytes, late, sizeof late);
        return sizeof late;
    }
    if (index > 64)
        return 0;
    bytes[0] = (uint8_t)index;
    size_t size = 1;
    memcpy(bytes + size, script + (index % SIDES == 1 ? 2 : 0), sizeof script - (index % SIDES == 1 ? 2 : 0));
    size += sizeof script - (index % SIDES == 1 ? 2 : 0);
    for (unsigned i = 0; index >= 4 && i < 80; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[size++] = (uint8_t)(state >> 24);
    }
    return size;
}
