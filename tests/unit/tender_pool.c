// SPDX-License-Identifier: ISC
// The pool's states for each lifetime, with a wall that only remembers what it was told.
#include "tests/unit/test.h"

#include "core/check.h"
#include "tender/pool.h"
#include "tender/pool_state.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLOTS 3u

static struct {
    unsigned created[SLOTS], woken[SLOTS], restored[SLOTS], killed[SLOTS], renewed, alive;
    int is_stale; // what lives cannot be restored
    unsigned asked;
    int64_t spent_ms, spends_ms; // more each time it is asked
} wall_saw;

static void wall_create(struct wall *wall, unsigned slot)
{
    (void)wall;
    wall_saw.created[slot]++;
    wall_saw.alive |= 1u << slot;
}
static void wall_wake(struct wall *wall, unsigned slot)
{
    (void)wall;
    wall_saw.woken[slot]++;
}
static int wall_restore(struct wall *wall, unsigned slot)
{
    (void)wall;
    wall_saw.restored[slot]++;
    return !wall_saw.is_stale;
}
static void wall_kill(struct wall *wall, unsigned slot)
{
    (void)wall;
    wall_saw.killed[slot]++;
}
static void wall_examine(struct wall *wall, unsigned slot, struct link_crash *crash)
{
    (void)wall, (void)slot;
    crash->rip = 0x123;
}
static void wall_renew(struct wall *wall)
{
    (void)wall;
    wall_saw.renewed++;
}
static int64_t wall_spent_ms(struct wall *wall, unsigned slot)
{
    (void)wall;
    (void)slot;
    wall_saw.asked++;
    return wall_saw.spent_ms += wall_saw.spends_ms;
}
static const struct wall_calls calls = {wall_create,   wall_wake,    wall_restore, wall_kill,
                                        wall_spent_ms, wall_examine, wall_renew};
static struct wall wall = {&calls};

static struct loop loop;
static struct manifest_header header = {.refusal_count = 1};
static struct image image = {.manifest = {.header = &header}};
static const struct layout layout = {.stack_bytes = 4096};
static struct guest_memory memory;
static struct tender_page page;
static struct channel tender_end, router_end;
static struct pool *pool, *pools[256]; // all of them: a pool lives as long as its process
static unsigned pool_count;
static struct wall_events events;
static _Alignas(8) uint8_t packet[LINK_BYTES_MAX];
static size_t packet_bytes;

static struct system_unikernel unikernel = {.name = "guest", .cpu_percent = 100};

static void begin(enum manifest_lifetime lifetime, uint32_t deadline_ms)
{
    int fds[2];
    struct wall_config config = {.loop = &loop, .image = &image, .memory = &memory, .unikernel = &unikernel};
    unikernel.deadline_ms = deadline_ms;
    header.lifetime = (uint8_t)lifetime;
    memset(&wall_saw, 0, sizeof wall_saw);
    wall_saw.spends_ms = 1000000;
    memset(&page, 0, sizeof page);
    check(loop_init(&loop) == STATUS_OK && guest_memory_init(&memory, guest_memory_file(), SLOTS, &layout) == STATUS_OK);
    check(channel_pair(fds) == STATUS_OK);
    channel_init(&tender_end, fds[0], NULL, 0);
    channel_init(&router_end, fds[1], NULL, 0);
    pool = pool_new(&config, &tender_end, &page);
    check(pool != NULL && pool_count < 256);
    pools[pool_count++] = pool;
    events = config.events;
    check(pool_start(pool, &wall) == STATUS_OK);
}

// Next packet that the router got: its kind, or 0.
static unsigned next(void)
{
    struct link_header got = {0};
    if (channel_receive(&router_end, packet, sizeof packet, &packet_bytes, 0) != STATUS_OK)
        return 0;
    memcpy(&got, packet, sizeof got);
    check(got.size == packet_bytes);
    return got.kind;
}

// Kind EFFECTS of that event, with that outcome.
static int next_effects(uint64_t handle, enum link_outcome outcome)
{
    struct link_effects effects;
    if (next() != LINK_EFFECTS)
        return 0;
    memcpy(&effects, packet, sizeof effects);
    return effects.header.handle == handle && effects.outcome == outcome;
}

static enum status give(const void *record, size_t size)
{
    enum status status = pool_packet(pool, record, size);
    pool_turn(pool);
    return status;
}

static void deliver(uint64_t handle, uint64_t connection)
{
    struct {
        struct link_deliver header;
        char payload[8];
    } message = {.header = {.header = {sizeof message, LINK_DELIVER, 0, handle},
                            .record = {sizeof(struct abi_event) + 8, ABI_EVENT, 0},
                            .number = handle, .connection = connection, .attempt = 1, .payload_bytes = 5},
                 .payload = "hello"};
    check(give(&message, sizeof message) == STATUS_OK);
}

static void link_send(enum link_kind kind, uint64_t handle)
{
    struct link_header message = {sizeof message, (uint16_t)kind, 0, handle};
    check(give(&message, sizeof message) == STATUS_OK);
}

static uint8_t *output(unsigned slot) { return memory.bytes + (size_t)slot * memory.slice_bytes + GUEST_MEMORY_OUTPUT; }

static void publish(unsigned slot, uint32_t bytes)
{
    memcpy(output(slot), &bytes, sizeof bytes);
    events.published(events.context, slot);
    pool_turn(pool);
}

static uint32_t put(unsigned slot, uint32_t at, const void *record, uint32_t size)
{
    memcpy(output(slot) + sizeof(struct abi_output) + at, record, size);
    return at + size;
}

static uint32_t put_end(unsigned slot, uint32_t at, uint16_t verdict)
{
    struct abi_end end = {.record = {sizeof end, ABI_END, 0}, .verdict = verdict};
    return put(slot, at, &end, sizeof end);
}

static uint32_t put_log(unsigned slot, uint32_t at)
{
    struct {
        struct abi_log log;
        char text[8];
    } record = {{.record = {sizeof record, ABI_LOG, 0}, .level = ABI_LOG_INFO, .text_bytes = 4}, "word"};
    return put(slot, at, &record, sizeof record);
}

static void dies(unsigned slot)
{
    wall_saw.alive &= ~(1u << slot);
    events.gone(events.context, slot, 4096);
    pool_turn(pool);
}

static void crashes(unsigned slot, const struct link_crash *crash)
{
    events.crashed(events.context, slot, crash);
    pool_turn(pool);
}

// One round of the loop, as main makes them.
static void round_of_loop(void)
{
    check(loop_once(&loop, 10) == STATUS_OK);
    pool_turn(pool);
}

static int is_shown(unsigned slot, uint64_t number)
{
    struct abi_event event;
    const uint8_t *input = memory.bytes + (size_t)slot * memory.slice_bytes + GUEST_MEMORY_INPUT;
    memcpy(&event, input, sizeof event);
    return event.record.kind == ABI_EVENT && event.number == number && event.payload_bytes == 5 &&
           memcmp(input + sizeof event, "hello\0\0", 8) == 0;
}

TEST(message_meets_a_pristine_instance)
{
    begin(LIFETIME_MESSAGE, 10000);
    expect(next() == LINK_HELLO && wall_saw.alive == 1); // more only when they are needed
    deliver(1, 0); // nothing is ready yet
    expect(wall_saw.woken[0] == 0);
    publish(0, 0);
    expect(wall_saw.woken[0] == 1 && is_shown(0, 1) && page.busy == 1);
    publish(0, put_end(0, put_log(0, 0), ABI_END_DONE));
    expect(next_effects(1, LINK_ENDED) && packet_bytes == sizeof(struct link_effects) + 24 + 16);
    expect(wall_saw.restored[0] == 1 && wall_saw.killed[0] == 0 && page.busy == 0);
    deliver(2, 0);
    expect(wall_saw.woken[0] == 2 && is_shown(0, 2));
    wall_saw.is_stale = 1; // it cannot be made pristine: it is not used again
    publish(0, put_end(0, 0, ABI_END_REFUSED));
    expect(next_effects(2, LINK_REFUSED) && wall_saw.restored[0] == 2 && wall_saw.killed[0] == 1);
    dies(0);
    expect(wall_saw.created[0] == 1 && wall_saw.created[1] == 1 && page.destroyed == 1 && page.killed == 0 && page.busy == 0);
    expect(page.created == 2 && page.live == 1 && page.events == 2 && page.instance_bytes == 4096);
}

// Effects wait for those of an instance that was given its turn just now, not for one that takes its time.
TEST(effects_go_together_while_others_end_soon)
{
    begin(LIFETIME_MESSAGE, 10000);
    next();
    deliver(1, 0);
    deliver(2, 0);
    publish(0, 0);
    publish(1, 0);
    expect(wall_saw.woken[0] == 1 && wall_saw.woken[1] == 1 && pool_is_behind(pool));
    publish(0, put_end(0, 0, ABI_END_DONE));
    expect(pool_is_behind(pool));
    publish(1, put_end(1, 0, ABI_END_DONE));
    expect(!pool_is_behind(pool) && next_effects(1, LINK_ENDED) && next_effects(2, LINK_ENDED));
    deliver(3, 0);
    expect(pool_is_behind(pool));
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    pool_turn(pool);
    expect(!pool_is_behind(pool));
}

TEST(reads_are_answered)
{
    begin(LIFETIME_MESSAGE, 10000);
    next();
    publish(0, 0);
    deliver(7, 0);
    struct abi_read read = {.record = {sizeof read, ABI_READ, 0}, .op = ABI_READ_GET, .limit = 1};
    uint32_t used = put(0, put_log(0, 0), &read, sizeof read);
    publish(0, used);
    expect(next() == LINK_READ && packet_bytes == sizeof(struct link_header) + sizeof read);
    struct {
        struct link_header header;
        struct abi_answer answer;
    } answer = {{sizeof answer, LINK_ANSWER, 0, 7}, {.record = {sizeof answer.answer, ABI_ANSWER, 0}}};
    expect(give(&answer, sizeof answer) == STATUS_OK);
    expect(wall_saw.woken[0] == 2);
    publish(0, put_end(0, used, ABI_END_DONE));
    expect(next_effects(7, LINK_ENDED));
    // LOG of the first round and END: the READ is not an effect.
    expect(packet_bytes == sizeof(struct link_effects) + 24 + 16);
    // An answer that nobody waits for any more is no breach; one at the wrong time is.
    expect(give(&answer, sizeof answer) == STATUS_OK);
    deliver(7, 0);
    expect(give(&answer, sizeof answer) == STATUS_MALFORMED);
}

TEST(earlier_bytes_cannot_be_changed_later)
{
    begin(LIFETIME_MESSAGE, 10000);
    next();
    publish(0, 0);
    deliver(7, 0);
    struct abi_read read = {.record = {sizeof read, ABI_READ, 0}, .op = ABI_READ_GET, .limit = 1};
    uint32_t used = put(0, put_log(0, 0), &read, sizeof read);
    publish(0, used);
    memset(output(0) + sizeof(struct abi_output), 0xff, used);
    struct {
        struct link_header header;
        struct abi_answer answer;
    } answer = {{sizeof answer, LINK_ANSWER, 0, 7}, {.record = {sizeof answer.answer, ABI_ANSWER, 0}}};
    expect(next() == LINK_READ && give(&answer, sizeof answer) == STATUS_OK);
    publish(0, put_end(0, used, ABI_END_DONE));
    expect(next_effects(7, LINK_ENDED));
    expect(memcmp(packet + sizeof(struct link_effects) + sizeof(struct abi_log), "word", 4) == 0);
}

TEST(breaches_of_the_contract)
{
    begin(LIFETIME_MESSAGE, 10000);
    next();
    deliver(1, 0);
    deliver(2, 0);
    publish(0, 0);
    publish(1, 0);
    publish(0, 12);
    expect(next_effects(1, LINK_CONTRACT) && wall_saw.killed[0] == 1 && wall_saw.restored[0] == 0);
    publish(1, ABI_OUTPUT_BYTES);
    expect(next_effects(2, LINK_CONTRACT) && wall_saw.killed[1] == 1);
    struct link_effects effects;
    memcpy(&effects, packet, sizeof effects);
    expect(strcmp(effects.text, "published_bytes out of range") == 0 && effects.record_bytes == 0);
}

TEST(too_many_rounds)
{
    begin(LIFETIME_MESSAGE, 10000);
    next();
    publish(0, 0);
    deliver(7, 0);
    struct abi_read read = {.record = {sizeof read, ABI_READ, 0}, .op = ABI_READ_GET, .limit = 1};
    struct {
        struct link_header header;
        struct abi_answer answer;
    } answer = {{sizeof answer, LINK_ANSWER, 0, 7}, {.record = {sizeof answer.answer, ABI_ANSWER, 0}}};
    uint32_t used = 0;
    for (unsigned i = 0; i < ABI_WAITS_PER_EVENT_MAX; i++) {
        used = put(0, used, &read, sizeof read);
        publish(0, used);
        expect(next() == LINK_READ);
        expect(give(&answer, sizeof answer) == STATUS_OK);
    }
    used = put(0, used, &read, sizeof read);
    publish(0, used);
    expect(next_effects(7, LINK_CONTRACT));
}

TEST(crash_retires_the_base)
{
    begin(LIFETIME_MESSAGE, 10000);
    next();
    deliver(1, 0);
    deliver(2, 0);
    deliver(3, 0);
    publish(0, 0);
    publish(1, 0); // busy, goes on; slot 2 has not even begun
    put_log(0, 0);
    struct link_crash crash = {.signal = SIGSEGV, .address = 8, .rip = 0x5005,
                               .layout = {.image = 0x5000, .segments = {[IMAGE_TEXT] = {0x5000, 4096}}}};
    crashes(0, &crash);
    expect(next_effects(1, LINK_FAULT));
    memcpy(&crash, packet + sizeof(struct link_effects), sizeof crash);
    expect(strcmp(crash.last_log, "word") == 0 && crash.address == 8);
    expect(wall_saw.renewed == 1 && wall_saw.killed[0] == 1 && wall_saw.killed[1] == 0 && wall_saw.killed[2] == 1);
    expect(page.faults == 1 && page.fault_count == 1 && memcmp(&page.last_fault, &crash, sizeof crash) == 0);
    wall_saw.is_stale = 1; // of the old base
    publish(1, put_end(1, 0, ABI_END_DONE));
    expect(next_effects(2, LINK_ENDED) && wall_saw.killed[1] == 1);
}

TEST(deadline)
{
    begin(LIFETIME_MESSAGE, 1);
    next();
    deliver(1, 0);
    deliver(2, 0);
    publish(0, 0);
    for (int i = 0; i < 100 && page.deadlines == 0; i++)
        round_of_loop();
    // Slot 1 never came out of init: it takes the event that waits with it.
    expect(next_effects(1, LINK_DEADLINE));
    struct link_crash crash;
    memcpy(&crash, packet + sizeof(struct link_effects), sizeof crash);
    expect(crash.signal == 0 && crash.rip == 0x123 && crash.number == 1);
    expect(wall_saw.killed[0] == 1 && wall_saw.renewed == 0);
}

TEST(starved_is_the_hosts_doing)
{
    begin(LIFETIME_MESSAGE, 1);
    wall_saw.spends_ms = 0;
    next();
    publish(0, 0);
    deliver(1, 0);
    for (int i = 0; i < 1000 && wall_saw.killed[0] == 0; i++)
        round_of_loop();
    expect(next_effects(1, LINK_LOST) && page.deadlines == 0 && page.fault_count == 0);
    expect(page.killed >= 1 && wall_saw.asked > 9);
}

TEST(killed_from_outside)
{
    begin(LIFETIME_MESSAGE, 10000);
    next();
    publish(0, 0);
    deliver(1, 0);
    dies(0);
    expect(next_effects(1, LINK_LOST) && page.killed == 1 && wall_saw.created[0] == 2);
    dies(0); // with no event
    expect(next() == 0 && page.killed == 2);
}

TEST(broken_init_fails_what_waits)
{
    begin(LIFETIME_MESSAGE, 10000);
    next();
    struct link_crash crash = {.signal = SIGSEGV};
    crashes(0, &crash);
    expect(next() == 0); // nobody to blame
    dies(0);
    expect(wall_saw.created[0] == 1); // not at once again
    deliver(1, 0);
    expect(wall_saw.created[0] == 2);
    crashes(0, &crash);
    expect(next_effects(1, LINK_FAULT));
}

TEST(connection_has_an_instance_of_its_own)
{
    begin(LIFETIME_CONNECTION, 10000);
    next();
    expect(wall_saw.alive == 0);
    deliver(1, 100);
    deliver(2, 200);
    expect(wall_saw.alive == 3);
    publish(1, 0);
    publish(0, 0);
    expect(is_shown(0, 1) && is_shown(1, 2));
    publish(0, put_end(0, 0, ABI_END_DONE));
    expect(next_effects(1, LINK_ENDED) && wall_saw.killed[0] == 0);
    deliver(3, 100);
    expect(is_shown(0, 3) && wall_saw.created[0] == 1);
    publish(0, put_end(0, 0, ABI_END_REFUSED));
    expect(next_effects(3, LINK_REFUSED) && wall_saw.killed[0] == 0);
    link_send(LINK_CLOSE, 100);
    expect(wall_saw.killed[0] == 1 && next() == 0);
    dies(0);
    expect(next() == LINK_GONE && page.killed == 0);
    link_send(LINK_CLOSE, 999); // never had an instance
    expect(next() == LINK_GONE);
    struct link_crash crash = {.signal = SIGSEGV};
    crashes(1, &crash);
    dies(1);
    expect(next_effects(2, LINK_FAULT) && next() == LINK_GONE);
}

TEST(close_during_an_event)
{
    begin(LIFETIME_CONNECTION, 10000);
    next();
    deliver(1, 100);
    publish(0, 0);
    link_send(LINK_CLOSE, 100);
    expect(next_effects(1, LINK_LOST));
    dies(0);
    expect(next() == LINK_GONE);
    deliver(2, 200); // waits for its instance when it is closed
    link_send(LINK_CLOSE, 200);
    expect(next_effects(2, LINK_LOST));
}

TEST(gone_takes_what_waits_along)
{
    begin(LIFETIME_CONNECTION, 10000);
    next();
    deliver(1, 100);
    dies(0); // in init, by somebody outside
    expect(next_effects(1, LINK_LOST) && next() == LINK_GONE);
    expect(wall_saw.created[0] == 1 && page.live == 0);
}

TEST(resident_is_kept)
{
    begin(LIFETIME_RESIDENT, 10000);
    next();
    expect(wall_saw.alive == 1); // more only when they are needed
    publish(0, 0);
    deliver(1, 0);
    publish(0, put_end(0, 0, ABI_END_DONE));
    expect(next_effects(1, LINK_ENDED) && wall_saw.killed[0] == 0);
    deliver(2, 0);
    deliver(3, 0);
    expect(wall_saw.alive == 3 && is_shown(0, 2));
    publish(0, put_end(0, 0, ABI_END_REFUSED));
    expect(next_effects(2, LINK_REFUSED) && wall_saw.restored[0] == 1 && wall_saw.killed[0] == 0);
}

// Three events are shown to slot 0.
static void begin_batch(enum manifest_lifetime lifetime, uint32_t deadline_ms)
{
    begin(lifetime, deadline_ms);
    next();
    for (uint64_t i = 1; i <= 3; i++)
        deliver(i, lifetime == LIFETIME_CONNECTION ? 100 : 0);
    publish(0, 0);
    uint32_t bytes = sizeof(struct abi_event) + 8, kind = 1;
    const uint8_t *input = memory.bytes + GUEST_MEMORY_INPUT;
    for (uint32_t i = 0; i < 3; i++) {
        struct abi_event event;
        memcpy(&event, input + i * bytes, sizeof event);
        check(event.record.kind == ABI_EVENT && event.number == i + 1 && event.record.size == bytes);
    }
    memcpy(&kind, input + 3 * bytes, sizeof kind);
    check(kind == 0 && wall_saw.woken[0] == 1);
}

TEST(batch_is_shown_at_once)
{
    begin_batch(LIFETIME_RESIDENT, 10000);
    publish(0, put_end(0, put_log(0, put_end(0, 0, ABI_END_DONE)), ABI_END_DONE));
    expect(next_effects(1, LINK_ENDED) && packet_bytes == sizeof(struct link_effects) + 16);
    expect(next_effects(2, LINK_ENDED) && packet_bytes == sizeof(struct link_effects) + 24 + 16);
    expect(next() == 0 && wall_saw.woken[0] == 2 && is_shown(0, 1)); // goes on with the third
    uint32_t used = put_end(0, 0, ABI_END_DONE);
    publish(0, put_end(0, used, ABI_END_DONE));
    expect(next_effects(3, LINK_CONTRACT)); // there was no fourth
    begin_batch(LIFETIME_RESIDENT, 10000);
    struct abi_read read = {.record = {sizeof read, ABI_READ, 0}, .op = ABI_READ_GET, .limit = 1};
    publish(0, put(0, put_end(0, 0, ABI_END_DONE), &read, sizeof read));
    expect(next_effects(1, LINK_ENDED) && next_effects(2, LINK_CONTRACT));
}

// So many events of that size come in one packet.
static void wait_for_turn(unsigned count, uint32_t bytes)
{
    for (unsigned i = 0; i < count; i++) {
        struct delivery *delivery = delivery_take(pool);
        *delivery = (struct delivery){.handle = 100 + i, .bytes = bytes};
        queue_push(&pool->waiting, delivery);
    }
    pool_turn(pool);
}

// A guest may copy the struct of a message, which was sent without its tail, as a whole.
TEST(behind_the_last_of_a_batch_is_room)
{
    for (uint32_t bytes = sizeof(struct abi_event); bytes <= POOL_EVENT_BYTES; bytes += 8) {
        begin(LIFETIME_RESIDENT, 10000);
        next();
        publish(0, 0);
        wait_for_turn(LINK_BATCH_MAX, bytes);
        unsigned shown = pool->slots[0].shown.count;
        expect((shown - 1) * bytes + POOL_EVENT_BYTES <= ABI_INPUT_BYTES);
        expect(shown == ABI_BATCH_MAX || shown * bytes + POOL_EVENT_BYTES > ABI_INPUT_BYTES);
        if (bytes > 1024)
            bytes += 512;
    }
}

// Two instances are ready when four events come in one packet. One processor for both: the first is shown all.
TEST(small_batch_is_shared_among_processors)
{
    for (uint32_t processors = 1; processors <= 2; processors++) {
        unikernel.cpu_percent = processors * 100;
        begin(LIFETIME_RESIDENT, 10000);
        next();
        deliver(1, 0);
        deliver(2, 0);
        for (unsigned i = 0; i < 2; i++)
            publish(i, 0);
        publish(0, put_end(0, put_end(0, 0, ABI_END_DONE), ABI_END_DONE));
        expect(next_effects(1, LINK_ENDED) && next_effects(2, LINK_ENDED));
        wait_for_turn(4, sizeof(struct abi_event));
        expect(pool->slots[0].shown.count + pool->slots[1].shown.count == 4);
        expect(pool->slots[0].shown.count == (processors == 1 ? 4 : 2));
    }
    unikernel.cpu_percent = 100;
}

TEST(batch_of_a_refused_event_is_shown_again)
{
    begin_batch(LIFETIME_RESIDENT, 10000);
    publish(0, put_end(0, put_end(0, 0, ABI_END_DONE), ABI_END_REFUSED));
    expect(next_effects(1, LINK_ENDED) && next_effects(2, LINK_REFUSED));
    expect(wall_saw.restored[0] == 1 && wall_saw.woken[0] == 2 && is_shown(0, 3));
    begin_batch(LIFETIME_RESIDENT, 10000);
    publish(0, put_end(0, put_end(0, 0, ABI_END_REFUSED), ABI_END_DONE));
    expect(next_effects(1, LINK_CONTRACT) && next() == 0);
}

TEST(batch_fails_at_the_event_that_failed)
{
    begin_batch(LIFETIME_RESIDENT, 10000);
    uint32_t used = put_log(0, put_end(0, 0, ABI_END_DONE));
    memcpy(output(0), &used, sizeof used);
    struct link_crash crash = {.signal = SIGSEGV};
    crashes(0, &crash);
    expect(next_effects(1, LINK_ENDED) && next_effects(2, LINK_FAULT));
    struct link_effects effects;
    memcpy(&effects, packet, sizeof effects);
    expect(effects.record_bytes == 24); // its own log line
    dies(1); // of the old base
    publish(1, 0); // another instance meets the third
    expect(is_shown(1, 3));
    begin_batch(LIFETIME_CONNECTION, 10000);
    crashes(0, &crash);
    expect(next_effects(1, LINK_FAULT) && next() == 0);
    dies(0);
    expect(next_effects(2, LINK_LOST) && next_effects(3, LINK_LOST) && next() == LINK_GONE);
}

TEST(each_event_of_a_batch_has_its_deadline)
{
    begin_batch(LIFETIME_RESIDENT, 1);
    uint32_t used = put_end(0, 0, ABI_END_DONE);
    memcpy(output(0), &used, sizeof used); // it runs on
    for (int i = 0; i < 100 && wall_saw.killed[0] == 0; i++)
        round_of_loop();
    expect(next_effects(1, LINK_ENDED) && next_effects(2, LINK_DEADLINE));
}

TEST(pool_grows_and_shrinks)
{
    begin(LIFETIME_MESSAGE, 10000);
    next();
    for (uint64_t i = 1; i <= 3; i++)
        deliver(i, 0);
    expect(wall_saw.alive == 7);
    for (unsigned i = 0; i < 3; i++)
        publish(i, 0);
    for (unsigned i = 0; i < 3; i++) {
        publish(i, put_end(i, 0, ABI_END_DONE));
        expect(next_effects(i + 1, LINK_ENDED));
    }
    pool->shrink_ms = 0; // some time later: three were needed at once
    deliver(4, 0);
    publish(0, put_end(0, 0, ABI_END_DONE));
    expect(wall_saw.killed[0] + wall_saw.killed[1] + wall_saw.killed[2] == 0);
    pool->shrink_ms = 0; // and later still: one was
    deliver(5, 0);
    publish(0, put_end(0, 0, ABI_END_DONE));
    expect(wall_saw.killed[0] == 0 && wall_saw.killed[1] == 1 && wall_saw.killed[2] == 1);
    dies(1);
    dies(2);
    expect(page.live == 1 && wall_saw.created[1] == 1);
}

TEST(router_breaches)
{
    begin(LIFETIME_MESSAGE, 10000);
    next();
    for (uint64_t i = 1; i <= SLOTS * LINK_BATCH_MAX; i++)
        deliver(i, 0);
    struct link_deliver message = {.header = {sizeof message, LINK_DELIVER, 0, 9},
                                   .record = {sizeof(struct abi_event), ABI_EVENT, 0}};
    // One more than HELLO allowed; then sizes and kinds that are wrong.
    expect(give(&message, sizeof message) == STATUS_MALFORMED);
    begin(LIFETIME_MESSAGE, 10000);
    for (size_t size = 0; size < sizeof message; size++) {
        message.header.size = (uint32_t)size;
        expect(give(&message, size) == STATUS_MALFORMED);
    }
    message.header.size = sizeof message;
    message.record.kind = ABI_ANSWER;
    expect(give(&message, sizeof message) == STATUS_MALFORMED);
    message.record.kind = ABI_EVENT;
    message.record.size -= 8;
    expect(give(&message, sizeof message) == STATUS_MALFORMED);
    message.record.size += 8;
    message.payload_bytes = 1;
    expect(give(&message, sizeof message) == STATUS_MALFORMED);
    message.payload_bytes = UINT32_MAX;
    expect(give(&message, sizeof message) == STATUS_MALFORMED);
    message.payload_bytes = 0;
    message.connection = 1;
    expect(give(&message, sizeof message) == STATUS_MALFORMED);
    message.header.kind = LINK_EFFECTS;
    expect(give(&message, sizeof message) == STATUS_MALFORMED);
}

int main(void)
{
    RUN(message_meets_a_pristine_instance);
    RUN(effects_go_together_while_others_end_soon);
    RUN(reads_are_answered);
    RUN(earlier_bytes_cannot_be_changed_later);
    RUN(breaches_of_the_contract);
    RUN(too_many_rounds);
    RUN(crash_retires_the_base);
    RUN(deadline);
    RUN(starved_is_the_hosts_doing);
    RUN(killed_from_outside);
    RUN(broken_init_fails_what_waits);
    RUN(connection_has_an_instance_of_its_own);
    RUN(close_during_an_event);
    RUN(gone_takes_what_waits_along);
    RUN(resident_is_kept);
    RUN(batch_is_shown_at_once);
    RUN(behind_the_last_of_a_batch_is_room);
    RUN(small_batch_is_shared_among_processors);
    RUN(batch_of_a_refused_event_is_shown_again);
    RUN(batch_fails_at_the_event_that_failed);
    RUN(each_event_of_a_batch_has_its_deadline);
    RUN(pool_grows_and_shrinks);
    RUN(router_breaches);
    TEST_END();
}
