// SPDX-License-Identifier: ISC
// A guest that rewrites its output while the tender takes it: a second thread writes records, halves of records and
// sizes all over what was published, at every moment. What leaves for the router is what was checked.
#include "tests/unit/test.h"

#include "core/check.h"
#include "tender/pool.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#define ROUNDS 20000u
#define ATTACKED_WORDS 64u // of the output region, its published_bytes among them

static unsigned killed;
static void wall_create(struct wall *wall, unsigned slot) { (void)wall, (void)slot; }
static void wall_wake(struct wall *wall, unsigned slot) { (void)wall, (void)slot; }
static int wall_restore(struct wall *wall, unsigned slot) { return (void)wall, (void)slot, 1; }
static void wall_kill(struct wall *wall, unsigned slot) { (void)wall, (void)slot, killed++; }
static int64_t wall_spent_ms(struct wall *wall, unsigned slot) { return (void)wall, (void)slot, 0; }
static void wall_examine(struct wall *wall, unsigned slot, struct link_crash *crash) { (void)wall, (void)slot, (void)crash; }
static void wall_renew(struct wall *wall) { (void)wall; }
static const struct wall_calls calls = {wall_create,   wall_wake,    wall_restore, wall_kill,
                                        wall_spent_ms, wall_examine, wall_renew};
static struct wall wall = {&calls};

static struct loop loop;
static struct manifest_header header = {.refusal_count = 1};
static struct image image = {.manifest = {.header = &header}};
static const struct layout layout = {.stack_bytes = 4096};
static struct system_unikernel unikernel = {.name = "guest", .deadline_ms = 100000};
static struct guest_memory memory;
static struct tender_page page;
static struct channel tender_end, router_end;
static struct pool *pool;
static struct wall_events events;

static void begin(enum manifest_lifetime lifetime)
{
    int fds[2];
    struct wall_config config = {.loop = &loop, .image = &image, .memory = &memory, .unikernel = &unikernel};
    header.lifetime = (uint8_t)lifetime;
    killed = 0;
    check(loop_init(&loop) == STATUS_OK && guest_memory_init(&memory, guest_memory_file(), 1, &layout) == STATUS_OK);
    check(channel_pair(fds) == STATUS_OK);
    channel_init(&tender_end, fds[0], NULL, 0);
    channel_init(&router_end, fds[1], NULL, 0);
    pool = pool_new(&config, &tender_end, &page);
    check(pool != NULL);
    events = config.events;
    check(pool_start(pool, &wall) == STATUS_OK);
}

static uint64_t *output(void) { return (uint64_t *)(void *)(memory.bytes + GUEST_MEMORY_OUTPUT); }

// ---- The guest's second thread ----
static int turn; // 0: it waits, 1: it writes, 2: it ends

static uint64_t word_of(uint64_t random)
{
    static const uint64_t words[] = {
        24 | (uint64_t)ABI_LOG << 32, 16 | (uint64_t)ABI_END << 32, 32 | (uint64_t)ABI_SEND << 32, // headers
        40 | (uint64_t)ABI_SEND << 32, 16 | (uint64_t)ABI_LOG << 32, 8, 16, 40, 56, 96,            // sizes
        (uint64_t)8 << 32, 4, 0x6464726f77, 0, UINT64_MAX,
    };
    return words[random % (sizeof words / sizeof words[0])];
}

static void *rewrite(void *seed)
{
    uint64_t random = (uint64_t)(uintptr_t)seed;
    while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != 2) {
        if (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) == 0) {
            sched_yield();
            continue;
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        __atomic_store_n(output() + random % ATTACKED_WORDS, word_of(random >> 32), __ATOMIC_RELAXED);
    }
    return NULL;
}

// ---- Its first thread, which publishes what is good ----
static uint32_t put_good(void)
{
    struct {
        struct abi_log log;
        char text[8];
        struct abi_send send;
        uint8_t payload[8];
        struct abi_end end;
    } records[3];
    memset(records, 0, sizeof records);
    for (unsigned i = 0; i < 3; i++) {
        records[i].log = (struct abi_log){.record = {24, ABI_LOG, 0}, .level = ABI_LOG_INFO, .text_bytes = 4};
        memcpy(records[i].text, "word", 4);
        records[i].send = (struct abi_send){.record = {32, ABI_SEND, 0}, .payload_bytes = 8};
        records[i].end = (struct abi_end){.record = {16, ABI_END, 0}};
    }
    uint32_t bytes = header.lifetime == LIFETIME_MESSAGE ? sizeof records[0] : sizeof records;
    memcpy(output() + 1, records, bytes);
    return bytes;
}

static void deliver(uint64_t handle)
{
    struct link_deliver deliver = {.header = {sizeof deliver, LINK_DELIVER, 0, handle},
                                   .record = {sizeof(struct abi_event), ABI_EVENT, 0}, .attempt = 1};
    check(pool_packet(pool, (const uint8_t *)&deliver, sizeof deliver) == STATUS_OK);
}

// What left. The effects of every event that ended are whole, and one event's.
static void take(unsigned *good)
{
    static _Alignas(8) uint8_t packet[LINK_BYTES_MAX];
    for (size_t size; channel_receive(&router_end, packet, sizeof packet, &size, 0) == STATUS_OK;) {
        struct link_effects effects;
        struct records_verdict verdict = {0};
        memcpy(&effects, packet, sizeof effects);
        if (effects.header.kind != LINK_EFFECTS || (effects.outcome != LINK_ENDED && effects.outcome != LINK_REFUSED))
            continue;
        expect(records_judge(packet + sizeof effects, effects.record_bytes, header.refusal_count, &verdict) == STATUS_OK);
        expect(verdict.bytes == effects.record_bytes && sizeof effects + effects.record_bytes == size);
        expect(verdict.kind == (effects.outcome == LINK_ENDED ? RECORDS_DONE : RECORDS_REFUSED));
        ++*good;
    }
}

static void attack(enum manifest_lifetime lifetime)
{
    pthread_t thread;
    unsigned good = 0, events_of_turn = lifetime == LIFETIME_MESSAGE ? 1 : 3;
    begin(lifetime);
    take(&good);
    turn = 0;
    check(pthread_create(&thread, NULL, rewrite, (void *)(uintptr_t)0x9e3779b9) == 0);
    events.published(events.context, 0); // its first wait
    for (uint64_t round = 1; round <= ROUNDS && test_why == NULL; round++) {
        for (unsigned i = 0; i < events_of_turn; i++)
            deliver(round * 4 + i);
        pool_turn(pool);
        uint32_t bytes = put_good();
        memcpy(output(), &bytes, sizeof bytes);
        __atomic_store_n(&turn, 1, __ATOMIC_RELEASE);
        for (unsigned left = 0; left < round % 4; left++) // sometimes it has had a moment, sometimes none
            sched_yield();
        events.published(events.context, 0);
        pool_turn(pool);
        __atomic_store_n(&turn, 0, __ATOMIC_RELEASE);
        take(&good);
        for (unsigned i = 0; i < 8 && (killed != 0 || page.busy != 0); i++) { // in peace, until all have ended
            bytes = killed != 0 ? 0 : put_good();
            if (killed != 0) {
                killed = 0;
                events.gone(events.context, 0, 0);
                pool_turn(pool);
            }
            memcpy(output(), &bytes, sizeof bytes);
            events.published(events.context, 0);
            pool_turn(pool);
            take(&good);
        }
    }
    __atomic_store_n(&turn, 2, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    expect(good > 100);
}

TEST(acceptance_2)
{
    attack(LIFETIME_MESSAGE);
}

TEST(acceptance_2_batches)
{
    attack(LIFETIME_RESIDENT);
}

int main(void)
{
    RUN_AS(acceptance_2, "acceptance 2: what a guest rewrites while it is checked is not what leaves");
    RUN_AS(acceptance_2_batches, "acceptance 2: nor of a batch");
    TEST_END();
}
