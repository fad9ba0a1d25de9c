// SPDX-License-Identifier: ISC
// Fuzz target: streams through an MQTT 5 broker that says anything, with lines that read and write when they like.
//
// Input: a byte with the side; steps: packets of an honest broker and of a made-up other side, raw bytes, what lines and the
// kernel do, time. What must hold: a stream's line gets the bytes of DATA 0, 1, 2.. once and in order, and nothing behind a gap; what
// a line says goes out as it was said, numbered from 0, in packets that this side may send; a stream that has ended is not named
// by DATA again; every descriptor is closed once; a lost broker ends every stream; the loop comes to rest.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/tunnel_world.h"

// ---- The owner ----
static void on_dial(void *context)
{
    static const struct sockaddr_storage address;
    (void)context;
    if (take_byte(&world.take) % 16 == 15)
        tunnel_unreachable(&tunnel);
    else
        tunnel_connect(&tunnel, &address, sizeof address);
}

static void open_one(void)
{
    int fd = tunnel.is_listening ? -1 : tunnel_open(&tunnel);
    must(fd < 0 || of(fd)->end == LINE);
}

static void on_ready(void *context)
{
    (void)context;
    must(!tunnel.is_listening);
    if (world.opens_when_ready)
        open_one();
}

static void on_accept(void *context, int fd)
{
    (void)context;
    must(tunnel.is_listening && of(fd)->end == LINE);
    if (take_byte(&world.take) % 8 == 7) // no line is free
        must(__wrap_close(fd) == 0);
}

static void on_lost(void *context, const char *why)
{
    (void)context;
    must(why[0] != 0 && tunnel.fd < 0);
    for (unsigned i = 0; i < FDS; i++)
        must(world.fds[i].end != OURS && world.fds[i].end != BROKER);
    world.losses++;
}

// ---- The world's steps ----
static void settle(void)
{
    for (unsigned rounds = 0, is_busy = 1; is_busy; rounds++) {
        must(rounds < 2000);
        is_busy = 0;
        for (unsigned i = 0; i < world.fds_used; i++) {
            struct descriptor *descriptor = &world.fds[i];
            uint32_t events = 0;
            if (descriptor->watch == NULL)
                continue;
            if (descriptor->end == BROKER) {
                events |= world.in_at != world.in_size || descriptor->is_shut ? EPOLLIN : 0u;
                events |= descriptor->is_shut || world.has_failed ? EPOLLHUP : 0u;
                events |= !world.is_full ? EPOLLOUT : 0u;
            } else {
                events |= descriptor->pending != 0 || descriptor->is_shut ? EPOLLIN : 0u;
                events |= descriptor->is_shut ? EPOLLHUP : 0u;
                events |= !descriptor->is_full ? EPOLLOUT : 0u;
            }
            events &= descriptor->watch->events | EPOLLHUP | EPOLLERR;
            if (events == 0)
                continue;
            if (rounds > 1000 && descriptor->end == BROKER && world.in_at == world.in_size && events == EPOLLHUP)
                continue;
            descriptor->watch->ready(descriptor->watch->context, events);
            is_busy = 1;
        }
    }
}

static void say(const void *bytes, size_t size)
{
    if (world.in_at == world.in_size)
        world.in_at = world.in_size = 0;
    if (size > sizeof world.in - world.in_size)
        return;
    memcpy(world.in + world.in_size, bytes, size);
    world.in_size += size;
}

static void say_publish(const struct tunnel_head *head, size_t bytes)
{
    uint8_t packet[512];
    size_t topic = strlen(tunnel.terms.subscribe), length = 2 + topic + 3 + sizeof *head + bytes, at = 0;
    packet[at++] = 0x32;
    packet[at++] = (uint8_t)(length & 127) | 128;
    packet[at++] = (uint8_t)(length >> 7);
    packet[at++] = 0;
    packet[at++] = (uint8_t)topic;
    memcpy(packet + at, tunnel.terms.subscribe, topic);
    at += topic;
    world.packet = (uint16_t)(world.packet % 60000 + 1);
    packet[at++] = (uint8_t)(world.packet >> 8);
    packet[at++] = (uint8_t)world.packet;
    packet[at++] = 0;
    memcpy(packet + at, head, sizeof *head);
    memset(packet + at + sizeof *head, (int)(uint8_t)(head->number + 1), bytes);
    if (length >= 128)
        say(packet, at + sizeof *head + bytes);
    else { // the length in its shortest form
        packet[2] = packet[0], packet[1] = 0x32;
        packet[2] = (uint8_t)length;
        say(packet + 1, at - 1 + sizeof *head + bytes);
    }
}

static void other_side(uint8_t what)
{
    struct tunnel_head head = {TUNNEL_MAGIC, 1 + (what >> 4), 0, 0, 0};
    uint8_t more = take_byte(&world.take);
    struct descriptor *stream;
    name_streams();
    stream = stream_of(head.stream);
    switch (what & 15) {
    case 0:
        head.kind = TUNNEL_KNOCK, head.stream = 0;
        break;
    case 1:
    case 2:
        head.kind = TUNNEL_OPEN;
        break;
    case 3:
        head.kind = TUNNEL_END;
        break;
    case 4:
    case 5:
        head.kind = TUNNEL_ALIVE, head.number = more % 8;
        break;
    default:
        head.kind = TUNNEL_DATA, head.number = more % 16 == 15 ? more >> 4 : stream != NULL ? stream->got_number : 0;
    }
    say_publish(&head, head.kind == TUNNEL_DATA ? data_bytes(head.number) : 0);
    for (unsigned left = more >> 5; head.kind == TUNNEL_DATA && more % 16 != 15 && left > 4; left--) { // several at once
        head.number++;
        say_publish(&head, data_bytes(head.number));
    }
}

static void line_step(uint8_t what)
{
    struct descriptor *ours = &world.fds[2u + 2u * (what >> 3 & 7u)], *line = ours + 1;
    if (line->end != LINE)
        return;
    if ((what & 7) < 4)
        ours->pending += ours->end == OURS ? 1 + take_byte(&world.take) * 9u : 0;
    else if ((what & 7) < 6)
        ours->is_full ^= 1;
    else
        must(__wrap_close((int)(line - world.fds) + FD_FIRST) == 0);
}

static void pass_time(int64_t ms)
{
    struct loop_timer *timers[] = {&tunnel.tick, &tunnel.retry};
    loop.now_ms += ms;
    for (unsigned i = 0; i < 2; i++)
        if (timers[i]->at_ms != 0 && timers[i]->at_ms <= loop.now_ms) {
            timers[i]->at_ms = 0;
            timers[i]->due(timers[i]->context);
        }
}

static void broker_step(uint8_t what)
{
    static const uint8_t welcome[] = {0x20, 3, 0, 0, 0}, small[] = {0x20, 6, 0, 0, 3, 0x21, 0, 2}, granted[] = {0x90, 4, 0, 1, 0, 1};
    uint8_t bytes[256];
    switch (what & 7) {
    case 0:
        say(welcome, sizeof welcome);
        say(granted, sizeof granted);
        break;
    case 1:
        say(small, sizeof small); // a window of two
        say(granted, sizeof granted);
        break;
    case 2:
    case 3:
    case 4:
        for (unsigned i = 1u + (what >> 3 & 3u); i > 0 && world.ack_count != 0; i--) {
            const uint8_t ack[] = {0x40, 2, 0, world.acks[0]};
            memmove(world.acks, world.acks + 1, --world.ack_count);
            say(ack, sizeof ack);
        }
        break;
    case 5:
        world.is_full ^= 1;
        break;
    case 6:
        if (tunnel.fd >= 0 && what > 200)
            of(tunnel.fd)->is_shut = 1;
        break;
    default:
        world.is_forged = 1;
        say(bytes, take_bytes(&world.take, bytes, take_byte(&world.take)));
    }
}

static void begin(uint8_t side)
{
    static struct system_courier courier = {.topic = "t", .peer_count = 1};
    const struct tunnel_owner owner = {NULL, on_dial, on_ready, on_accept, on_lost};
    courier.is_listening = side & 1;
    memset(world.fds, 0, sizeof world.fds);
    world.fds_used = 0;
    world.in_size = world.in_at = world.out_size = world.ack_count = world.losses = 0;
    world.is_forged = world.is_full = world.has_failed = 0;
    world.ids = world.packet = 0;
    memset(world.was_there, 0, sizeof world.was_there);
    world.opens_when_ready = side >> 1 & 1;
    loop = (struct loop){.now_ms = 1000};
    page = (struct courier_page){0};
    must(tunnel_begin(&tunnel, &loop, &courier, NULL, -1, &page, &owner) == STATUS_OK);
    settle();
}

static void finish(void)
{
    world.take = (struct take){NULL, 0};
    if (tunnel.fd >= 0) {
        of(tunnel.fd)->is_shut = 1; // the broker is gone
        world.in_at = world.in_size;
        settle();
        if (tunnel.fd >= 0) { // it could not even be read: it was not connected, or its owner holds
            pass_time(1000000);
            settle();
        }
    }
    must(tunnel.fd < 0);
    for (unsigned i = 0; i < FDS; i++)
        if (world.fds[i].end == LINE)
            must(world.fds[i].is_shut && __wrap_close((int)i + FD_FIRST) == 0);
    for (unsigned i = 0; i < FDS; i++)
        must(world.fds[i].end == NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    world.take = (struct take){data + 1, size - 1};
    begin(data[0]);
    while (world.take.left != 0) {
        uint8_t what = take_byte(&world.take), more = take_byte(&world.take);
        if (what < 60)
            broker_step(more);
        else if (what < 140)
            other_side(more);
        else if (what < 200)
            line_step(more);
        else if (what < 220)
            open_one();
        else
            pass_time(what < 240 ? 1000 : more * 100);
        settle();
    }
    finish();
    return 0;
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    // Both sides: a broker that takes them, streams, DATA in both directions, ACKs.
    static const uint8_t script[] = {0, 0, 0, 100, 0x01, 0, 205, 0, 100, 0x16, 0, 100, 0x06, 0, 100, 0x06, 0xe0, 150, 0, 40, 150, 8, 200,
                                     10, 0x1a, 10, 0x1a, 150, 4, 100, 0x06, 0, 150, 4, 225, 0, 100, 0x04, 0, 100, 0x03, 0, 150, 14};
    uint32_t state = index + 1;
    if (index >= 64)
        return 0;
    bytes[0] = (uint8_t)index;
    size_t size = 1;
    memcpy(bytes + size, script, sizeof script);
    size += sizeof script;
    for (unsigned i = 0; index >= 4 && i < 80; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[size++] = (uint8_t)(state >> 24);
    }
    return size;
}
