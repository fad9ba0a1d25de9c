// SPDX-License-Identifier: ISC
// Fuzz target: the tender's pool between its router and guests that publish anything. A scripted wall stands behind it;
// it knows only what tender/wall.h promises, and holds the pool to it.
//
// Input: lifetime; steps: the router delivers, answers, closes or sends raw bytes; a guest's turn ends in records of all
// kinds, raw bytes, a crash, or its death; time passes. What must hold: each DELIVER has exactly one EFFECTS; what it and
// a READ carry has the form of guest records; a connection that was closed is gone once; the wall is asked only for what it
// can do then; the counts of the status page; a guest sees one record and zeros behind it.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#include "tender/pool_state.h"

#include <stdio.h>
#include <string.h>

#define SLOTS 3u
#define HANDLES 64u
#define CONNECTIONS 5u
#define SLICE (GUEST_MEMORY_OUTPUT + ABI_OUTPUT_BYTES)

enum life { NONE, RUNNING, WAITING, ENDING };

static _Alignas(8) uint8_t slices[SLOTS][SLICE];
static uint32_t shown[SLOTS]; // largest record since the slot's input was empty
static struct guest_memory memory = {.bytes = slices[0], .slot_count = SLOTS, .slice_bytes = SLICE};
static struct manifest_header header = {.refusal_count = 2};
static struct image image = {.manifest = {.header = &header}};
static struct loop loop;
static struct channel router;
static struct tender_page page;
static struct pool *pool;
static struct wall_events events;
static int64_t now_ms;
static int is_link_over;

static struct {
    struct take take;
    enum life life[SLOTS];
    uint64_t next_handle;
    enum { IDLE, DELIVERED, READS } handle[HANDLES]; // as the router knows them
    unsigned outstanding;
    int is_closing[CONNECTIONS]; // GONE is owed
    int is_known[CONNECTIONS];   // was named, and is not gone
    int has_failed[CONNECTIONS]; // nothing but CLOSE comes any more
    uint64_t event[CONNECTIONS]; // of the connection that is with the tender, 0: none
} world;

// ---- The wall ----
static void wall_create(struct wall *wall, unsigned slot)
{
    (void)wall;
    must(slot < SLOTS && world.life[slot] == NONE);
    world.life[slot] = RUNNING;
    memset(slices[slot] + GUEST_MEMORY_OUTPUT, 0, sizeof(struct abi_output));
}

static void wall_wake(struct wall *wall, unsigned slot)
{
    struct abi_record record;
    const uint8_t *input = slices[slot] + GUEST_MEMORY_INPUT;
    (void)wall;
    must(slot < SLOTS && world.life[slot] == WAITING);
    world.life[slot] = RUNNING;
    memcpy(&record, input, sizeof record);
    must((record.kind == ABI_EVENT || record.kind == ABI_ANSWER) && record.size <= ABI_INPUT_BYTES);
    uint32_t end = 0; // of the batch, or of the answer
    do {
        memcpy(&record, input + end, sizeof record);
        must(record.size >= sizeof record && record.size <= ABI_INPUT_BYTES - end);
        end += record.size;
        memcpy(&record, input + end, sizeof record);
    } while (end < shown[slot] && record.kind == ABI_EVENT);
    for (uint32_t i = end; i < shown[slot]; i++)
        must(input[i] == 0);
    shown[slot] = end > shown[slot] ? end : shown[slot];
}

static int wall_restore(struct wall *wall, unsigned slot)
{
    (void)wall;
    must(slot < SLOTS && world.life[slot] == WAITING);
    if (take_byte(&world.take) % 8 == 7)
        return 0;
    memset(slices[slot] + GUEST_MEMORY_OUTPUT, 0, ABI_OUTPUT_BYTES);
    return 1;
}

static void wall_kill(struct wall *wall, unsigned slot)
{
    (void)wall;
    must(slot < SLOTS && world.life[slot] != NONE && world.life[slot] != ENDING);
    world.life[slot] = ENDING;
}

static int64_t wall_spent_ms(struct wall *wall, unsigned slot)
{
    (void)wall;
    must(slot < SLOTS && world.life[slot] != NONE);
    return now_ms / 2;
}

static void wall_examine(struct wall *wall, unsigned slot, struct link_crash *crash)
{
    (void)wall;
    must(slot < SLOTS && world.life[slot] == RUNNING);
    crash->rip = 0x123;
}

static void wall_renew(struct wall *wall) { (void)wall; }

static const struct wall_calls calls = {wall_create,   wall_wake,    wall_restore, wall_kill,
                                        wall_spent_ms, wall_examine, wall_renew};
static struct wall wall = {&calls};

// ---- The router ----
enum status __wrap_channel_send_parts(struct channel *channel, const struct channel_part *parts, size_t count);
int64_t __wrap_loop_clock_ms(void);
void __wrap_loop_timer_set(struct loop *l, struct loop_timer *timer, int64_t in_ms);

int64_t __wrap_loop_clock_ms(void) { return now_ms; }

void __wrap_loop_timer_set(struct loop *l, struct loop_timer *timer, int64_t in_ms)
{
    (void)l;
    timer->at_ms = in_ms == 0 ? 0 : now_ms + in_ms;
}

static void take_effects(const uint8_t *packet, size_t size)
{
    struct link_effects effects;
    struct records_verdict verdict;
    must(size >= sizeof effects);
    memcpy(&effects, packet, sizeof effects);
    int has_crash = effects.outcome == LINK_FAULT || effects.outcome == LINK_DEADLINE;
    size_t head = sizeof effects + (has_crash ? sizeof(struct link_crash) : 0);
    must(size == head + effects.record_bytes && effects.record_bytes <= ABI_OUTPUT_BYTES);
    must(memchr(effects.text, 0, sizeof effects.text) != NULL);
    must(effects.header.handle < HANDLES && world.handle[effects.header.handle] != IDLE);
    world.handle[effects.header.handle] = IDLE;
    world.outstanding--;
    for (unsigned i = 0; i < CONNECTIONS; i++)
        if (world.event[i] == effects.header.handle) { // a failure ends the connection
            world.event[i] = 0;
            world.has_failed[i] = effects.outcome != LINK_ENDED && effects.outcome != LINK_REFUSED;
        }
    enum status status = records_judge(packet + head, effects.record_bytes, header.refusal_count, &verdict);
    if (effects.outcome == LINK_ENDED || effects.outcome == LINK_REFUSED)
        must(status == STATUS_OK && verdict.kind == (effects.outcome == LINK_ENDED ? RECORDS_DONE : RECORDS_REFUSED));
    for (size_t at = head; effects.outcome != LINK_ENDED && effects.outcome != LINK_REFUSED && at < size;) {
        struct abi_record record; // logs, as far as they can be read
        memcpy(&record, packet + at, sizeof record);
        must(record.kind == ABI_LOG && record.size >= sizeof record && record.size <= size - at);
        at += record.size;
    }
}

enum status __wrap_channel_send_parts(struct channel *channel, const struct channel_part *parts, size_t count)
{
    static uint8_t packet[LINK_BYTES_MAX];
    struct link_header head;
    struct records_verdict verdict;
    size_t size = 0;
    must(channel == &router);
    for (size_t i = 0; i < count; size += parts[i++].size) {
        must(size + parts[i].size <= sizeof packet);
        if (parts[i].size != 0)
            memcpy(packet + size, parts[i].bytes, parts[i].size);
    }
    memcpy(&head, packet, sizeof head);
    must(head.size == size && head.zero == 0);
    switch (head.kind) {
    case LINK_HELLO:
        break;
    case LINK_EFFECTS:
        take_effects(packet, size);
        break;
    case LINK_READ:
        must(head.handle < HANDLES && world.handle[head.handle] == DELIVERED);
        world.handle[head.handle] = READS;
        must(records_judge(packet + sizeof head, size - sizeof head, 0, &verdict) == STATUS_OK);
        must(verdict.kind == RECORDS_READ);
        break;
    default:
        must(head.kind == LINK_GONE && head.handle > 0 && head.handle < CONNECTIONS);
        must(world.is_known[head.handle] || world.is_closing[head.handle]);
        world.is_known[head.handle] = world.is_closing[head.handle] = world.has_failed[head.handle] = 0;
    }
    return STATUS_OK;
}

static void give(const void *bytes, size_t size)
{
    if (!is_link_over && pool_packet(pool, bytes, size) != STATUS_OK)
        is_link_over = 1;
    pool_turn(pool);
}

// A router names no more connections than there are instances; those that it has closed are there until GONE.
static int has_place(uint64_t connection)
{
    unsigned instances = 0;
    for (unsigned i = 1; i < CONNECTIONS; i++)
        instances += world.is_known[i] || world.is_closing[i];
    return connection == 0 || world.is_known[connection] || instances < SLOTS;
}

static void router_step(uint8_t what)
{
    static struct {
        struct link_deliver deliver;
        uint8_t bytes[512];
    } message;
    uint64_t connection = header.lifetime == LIFETIME_CONNECTION ? 1 + (what & 3u) : 0;
    if (what < 96 && world.outstanding < 3 * SLOTS && !world.is_closing[connection] && has_place(connection) &&
        (connection == 0 || (world.event[connection] == 0 && !world.has_failed[connection]))) {
        uint64_t handle = 1 + world.next_handle++ % (HANDLES - 1);
        if (world.handle[handle] != IDLE)
            return;
        uint32_t context = what & 4 ? 5 : 0, payload = what & 8 ? 200 : 3;
        message.deliver = (struct link_deliver){.header = {0, LINK_DELIVER, 0, handle}, .connection = connection,
                                                .context_bytes = context, .payload_bytes = payload};
        message.deliver.header.size = (uint32_t)(sizeof message.deliver + ABI_ALIGN8(context) +
                                                 ABI_ALIGN8(payload));
        message.deliver.record = (struct abi_record){
            message.deliver.header.size - (uint32_t)offsetof(struct link_deliver, record), ABI_EVENT, 0};
        memset(message.bytes, what, sizeof message.bytes);
        world.handle[handle] = DELIVERED;
        world.outstanding++;
        world.is_known[connection] = connection != 0;
        world.event[connection] = connection != 0 ? handle : 0;
        give(&message, message.deliver.header.size);
        must(!is_link_over);
    } else if (what < 128 && connection != 0 && world.is_known[connection] && !world.is_closing[connection]) {
        struct link_header close = {sizeof close, LINK_CLOSE, 0, connection};
        world.is_closing[connection] = 1;
        give(&close, sizeof close);
    } else if (what >= 224) { // raw, but never a CLOSE or DELIVER that the model does not know of
        struct link_header raw = {0, LINK_ANSWER, 0, what & 7u};
        size_t size = sizeof raw + take_bytes(&world.take, message.bytes, take_byte(&world.take));
        static uint8_t packet[512];
        raw.kind = what & 8 ? LINK_ANSWER : (uint16_t)(LINK_CLOSE + 1 + what % 16);
        raw.size = (uint32_t)(what & 16 ? size : size + 1);
        memcpy(packet, &raw, sizeof raw);
        memcpy(packet + sizeof raw, message.bytes, size - sizeof raw);
        give(packet, size);
        if (!is_link_over && raw.kind == LINK_ANSWER && raw.handle < HANDLES && world.handle[raw.handle] == READS)
            world.handle[raw.handle] = DELIVERED;
    } else {
        for (uint64_t handle = 1; handle < HANDLES; handle++)
            if (world.handle[handle] == READS) {
                struct {
                    struct link_header header;
                    struct abi_answer answer;
                    struct abi_item items[9];
                } packet = {.answer = {{0, ABI_ANSWER, 0}, what % 10, 0}};
                packet.answer.record.size = (uint32_t)(sizeof packet.answer + what % 10 * sizeof packet.items[0]);
                packet.header = (struct link_header){packet.answer.record.size + sizeof packet.header, LINK_ANSWER, 0, handle};
                world.handle[handle] = DELIVERED;
                give(&packet, packet.header.size);
                return;
            }
    }
}

// ---- The guests ----
static size_t put_record(uint8_t *at, const void *fixed, size_t fixed_bytes, size_t variable_bytes)
{
    uint32_t size = (uint32_t)(fixed_bytes + ABI_ALIGN8(variable_bytes));
    memset(at, 0, size);
    memcpy(at, fixed, fixed_bytes);
    memset(at + fixed_bytes, 'x', variable_bytes);
    memcpy(at, &size, sizeof size);
    return size;
}

static size_t make_record(uint8_t *at, uint8_t kind)
{
    struct abi_send send = {.record.kind = ABI_SEND, .payload_bytes = 9};
    struct abi_write write = {.record.kind = ABI_WRITE, .op = ABI_WRITE_DELETE, .key_bytes = 3};
    struct abi_log log = {.record.kind = ABI_LOG, .level = kind & 8 ? ABI_LOG_REFUSAL : ABI_LOG_INFO,
                          .code = kind & 8 ? kind >> 4 & 3 : 0, .text_bytes = 7};
    struct abi_read read = {.record.kind = ABI_READ, .op = ABI_READ_GET, .limit = 1, .from_bytes = 4};
    struct abi_end end = {.record.kind = ABI_END, .verdict = kind & 8 ? ABI_END_REFUSED : ABI_END_DONE,
                          .code = kind & 8 ? kind >> 4 & 3 : 0};
    switch (kind % 8) {
    case 0: return put_record(at, &send, sizeof send, send.payload_bytes);
    case 1: return put_record(at, &write, sizeof write, write.key_bytes);
    case 2: return put_record(at, &log, sizeof log, log.text_bytes);
    case 3: return put_record(at, &read, sizeof read, read.from_bytes);
    default: return put_record(at, &end, sizeof end, 0);
    }
}

// What it publishes lies behind what it has published before.
static void publish(unsigned slot, uint8_t what)
{
    struct abi_output *output = (struct abi_output *)(void *)(slices[slot] + GUEST_MEMORY_OUTPUT);
    uint8_t *records = slices[slot] + GUEST_MEMORY_OUTPUT + sizeof *output;
    size_t room = ABI_OUTPUT_BYTES - sizeof *output, at = output->published_bytes;
    if (at > room)
        at = 0; // it lied before
    size_t begin = at;
    for (unsigned left = what & 7; left > 0 && room - at >= 128; left--)
        at += make_record(records + at, take_byte(&world.take));
    for (unsigned changes = what >> 3 & 7; changes > 5 && at != begin; changes--)
        records[begin + take_number(&world.take, 2) % (at - begin)] ^= take_byte(&world.take);
    output->published_bytes = (what & 0xc0) == 0xc0 ? (uint32_t)take_number(&world.take, 4) : (uint32_t)at;
    world.life[slot] = WAITING;
    events.published(events.context, slot);
    pool_turn(pool);
}

static void guest_step(uint8_t what)
{
    unsigned slot = what % SLOTS;
    struct link_crash crash = {.signal = 11, .rip = 0x99};
    if (world.life[slot] == ENDING || (world.life[slot] != NONE && what >= 250)) {
        world.life[slot] = NONE; // dead: killed by us, or by somebody outside
        shown[slot] = 0;
        memset(slices[slot] + GUEST_MEMORY_INPUT, 0, ABI_INPUT_BYTES);
        memory.shown[slot] = 0;
        memset(slices[slot] + GUEST_MEMORY_OUTPUT, 0, ABI_OUTPUT_BYTES);
        events.gone(events.context, slot, what & 1 ? 4096 : 0);
        pool_turn(pool);
    } else if (world.life[slot] == RUNNING && what >= 240) {
        events.crashed(events.context, slot, &crash);
        pool_turn(pool);
    } else if (world.life[slot] == RUNNING) {
        publish(slot, take_byte(&world.take));
    }
}

static void pass_time(int64_t ms)
{
    now_ms += ms;
    if (pool->timer.at_ms != 0 && pool->timer.at_ms <= now_ms) {
        pool->timer.at_ms = 0;
        pool->timer.due(pool->timer.context);
        pool_turn(pool);
    }
}

static void judge(void)
{
    unsigned live = 0, busy = 0, events_held = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        const struct slot *slot = &pool->slots[i];
        int is_shown = slot->state == BUSY || slot->state == READING;
        live += world.life[i] != NONE;
        busy += (unsigned)is_shown;
        events_held += slot->shown.count + slot->waiting.count;
        must((slot->state == FREE) == (world.life[i] == NONE));
        must(is_shown == (slot->shown.count != 0) && slot->shown.count <= pool->batch);
        must(slot->waiting.count == 0 || (slot->state != READY && slot->state != FREE));
        must(pool->waiting.count == 0 || slot->state != READY);
    }
    must(page.live == live && page.busy == busy && page.created - page.destroyed == live);
    must(events_held + pool->waiting.count == world.outstanding);
    must(!pool_has_failed(pool));
}

static void begin(uint8_t lifetime)
{
    header.lifetime = lifetime % 3;
    if (pool == NULL) {
        static const struct system_unikernel unikernel = {.name = "guest", .deadline_ms = 100};
        struct wall_config config = {.loop = &loop, .image = &image, .memory = &memory, .unikernel = &unikernel};
        pool = pool_new(&config, &router, &page);
        events = config.events;
        must(pool != NULL);
    }
    for (unsigned i = 0; i < SLOTS; i++) { // as it was made
        memset(&pool->slots[i], 0, sizeof pool->slots[i]);
        memset(slices[i] + GUEST_MEMORY_INPUT, 0, shown[i]);
        memset(slices[i] + GUEST_MEMORY_OUTPUT, 0, ABI_OUTPUT_BYTES);
        shown[i] = memory.shown[i] = 0;
    }
    pool->lifetime = (enum manifest_lifetime)header.lifetime;
    pool->create_after_ms = pool->shrink_ms = pool->timer.at_ms = 0;
    pool->peak = pool->used = 0;
    pool->waiting = (struct queue){0};
    pool->free = NULL;
    pool->batch = pool->lifetime == LIFETIME_MESSAGE ? 1 : ABI_BATCH_MAX;
    memset(&page, 0, sizeof page);
    memset(&world, 0, sizeof world);
    now_ms = 1000;
    is_link_over = 0;
    must(pool_start(pool, &wall) == STATUS_OK);
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    uint32_t state = index + 1;
    if (index >= 60)
        return 0;
    bytes[0] = (uint8_t)index;
    for (size_t i = 1; i < 120; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24);
    }
    return 120;
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
    begin(data[0]);
    world.take = (struct take){data + 1, size - 1};
    while (world.take.left != 0 && !is_link_over) {
        uint8_t what = take_byte(&world.take);
        if (what < 100)
            router_step(take_byte(&world.take));
        else if (what < 240)
            guest_step(take_byte(&world.take));
        else
            pass_time(what < 250 ? 5 : take_byte(&world.take) * 10);
        if (!is_link_over)
            judge();
    }
    for (unsigned round = 0; round < 64 && !is_link_over && world.outstanding != 0; round++) { // all are killed from outside
        world.take = (struct take){NULL, 0};
        for (unsigned slot = 0; slot < SLOTS; slot++)
            guest_step((uint8_t)(250 + (slot + 2) % 3));
        router_step(200); // and READs are answered
        for (unsigned slot = 0; slot < SLOTS; slot++)
            if (world.life[slot] == RUNNING) // init
                publish(slot, 0);
        judge();
    }
    must(is_link_over || world.outstanding == 0);
    stderr = kept;
    return 0;
}
