// SPDX-License-Identifier: ISC
// The pool's states.
//
//   FREE -> STARTING  created; the guest's init may run
//   STARTING -> READY  it waits: nothing published
//   READY -> BUSY      an event is shown
//   BUSY <-> READING   READs went to the router; the ANSWER is shown
//   BUSY -> READY      END; lifetime message: made pristine first
//   any -> DYING       killed by us; -> FREE when the wall says that it is gone
//
// Invariants: the router sends no more events than there are slots, and each is given to a slot at once, where it
// waits if the instance is not READY. Each DELIVER gets exactly one EFFECTS. Each published byte is copied
// out once; a slot's `records` is that private copy.
// An instance that breaks in STARTING takes the event that waits for it with it, so that a broken init ends in
// dead letters and not in silence; with none waiting it is tried again after a second.
#include "tender/pool.h"

#include "core/check.h"
#include "core/mechanism.h"
#include "tender/pool_state.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define RETRY_MS 1000
#define SHRINK_MS 10000
#define GRACES_MAX 9u // times that a starved instance gets its deadline again
#define SHARE_LEAST 16u // of a batch: with one processor for all instances, to share fewer gains nothing

static int64_t clock_interval(const struct pool *pool) { return pool->config.unikernel->deadline_ms / 16; }

// The guest has the turn: its time runs.
void pool_give_turn(struct pool *pool, unsigned index, enum state state)
{
    struct slot *slot = &pool->slots[index];
    slot->state = state;
    slot->given_ms = pool->config.loop->now_ms;
    slot->due_ms = slot->given_ms + (slot->left_ms > 0 ? slot->left_ms : 1);
}

void pool_kill(struct pool *pool, unsigned index)
{
    struct slot *slot = &pool->slots[index];
    slot->state = DYING;
    slot->due_ms = 0;
    slot->record_bytes = 0;
    queue_prepend(pool->lifetime == LIFETIME_CONNECTION ? &slot->waiting : &pool->waiting, &slot->shown);
    pool->wall->calls->kill(pool->wall, index);
}

// The event that an instance's end is put down to: the first that is shown, or while it starts the first that waits.
static struct queue *victims_of(struct pool *pool, struct slot *slot)
{
    struct queue *waiting = pool->lifetime == LIFETIME_CONNECTION ? &slot->waiting : &pool->waiting;
    return slot->state == STARTING ? waiting : &slot->shown;
}

// Ends a slot's guest for something that it did.
static void fail(struct pool *pool, unsigned index, struct link_effects effects,
                 const struct link_crash *crash)
{
    struct slot *slot = &pool->slots[index];
    struct queue *victims = victims_of(pool, slot);
    if (victims->count != 0)
        pool_send_effects(pool, victims, effects, crash, pool->buffer);
    if (slot->state == STARTING)
        pool->create_after_ms = loop_clock_ms() + RETRY_MS;
    pool_kill(pool, index);
}

void pool_fail_contract(struct pool *pool, unsigned index, const char *why)
{
    struct link_effects effects = {.outcome = LINK_CONTRACT};
    snprintf(effects.text, sizeof effects.text, "%s", why);
    fail(pool, index, effects, NULL);
}

// Crash report of a guest that is stopped: adds what it logged, sends, renews all addresses.
static void fail_crash(struct pool *pool, unsigned index, enum link_outcome outcome,
                       const struct link_crash *found)
{
    struct tender_page *page = pool->page;
    struct link_crash crash = *found;
    if (pool->slots[index].state == BUSY)
        (void)pool_take_ended(pool, index); // of a batch: these are not to blame
    uint32_t event_at = pool->slots[index].event_at;
    memcpy(crash.build_id, pool->config.unikernel->image_digest, sizeof crash.build_id);
    guest_memory_copy(pool->config.memory, index, pool->buffer);
    struct link_effects effects = {.outcome = (uint16_t)outcome};
    memmove(pool->buffer, pool->buffer + event_at, ABI_OUTPUT_BYTES - sizeof(struct abi_output) - event_at);
    effects.record_bytes = (uint32_t)records_salvage(
        pool->buffer, ABI_OUTPUT_BYTES - sizeof(struct abi_output) - event_at, crash.last_log);
    page->last_fault = crash;
    page->fault_time_ms = loop_wall_clock_ms();
    __atomic_store_n(&page->fault_count, page->fault_count + 1, __ATOMIC_RELEASE);
    fail(pool, index, effects, &crash);
    if (outcome == LINK_DEADLINE) {
        page_count(&pool->page->deadlines);
        return;
    }
    page_count(&pool->page->faults);
    if (MECHANISM(NEW_BASE))
        pool->wall->calls->renew(pool->wall);
    for (unsigned i = 0; i < pool->slot_count; i++) // idle ones have the old base
        if (pool->lifetime != LIFETIME_CONNECTION &&
            (pool->slots[i].state == READY || pool->slots[i].state == STARTING))
            pool_kill(pool, i);
}

// The processor time that an instance has used when an event begins. To ask costs as much as to be asked for the event: so
// now and then, and what is_excused counts as the event's is too much by at most this interval.
static void look_at_clock(struct pool *pool, unsigned index)
{
    struct slot *slot = &pool->slots[index];
    int64_t now = pool->config.loop->now_ms;
    if (now - slot->looked_ms < clock_interval(pool))
        return;
    slot->looked_ms = now;
    slot->spent_ms = pool->wall->calls->spent_ms(pool->wall, index);
}

// Shows so many of the events that wait, as far as they fit: each as if it were the longest, for a guest may read the
// struct of a message to its end, also of one that was sent without its tail.
static void show(struct pool *pool, unsigned index, struct queue *waiting, unsigned count)
{
    struct slot *slot = &pool->slots[index];
    uint32_t bytes = 0;
    guest_memory_forget(pool->config.memory, index, slot->taken_bytes);
    for (; count > 0 && waiting->count != 0 && bytes <= ABI_INPUT_BYTES - POOL_EVENT_BYTES; count--) {
        memcpy(pool->buffer + bytes, waiting->first->record, waiting->first->bytes);
        bytes += waiting->first->bytes;
        queue_push(&slot->shown, queue_pop(waiting));
    }
    guest_memory_show(pool->config.memory, index, pool->buffer, bytes);
    slot->taken_bytes = slot->event_at = slot->record_bytes = slot->rounds = slot->ended = 0;
    slot->left_ms = pool->config.unikernel->deadline_ms;
    slot->graces = 0;
    look_at_clock(pool, index);
    pool_give_turn(pool, index, BUSY);
    pool->wall->calls->wake(pool->wall, index);
}

void pool_create(struct pool *pool, unsigned index, uint64_t connection)
{
    struct slot *slot = &pool->slots[index];
    slot->connection = connection;
    slot->left_ms = pool->config.unikernel->deadline_ms;
    slot->taken_bytes = slot->event_at = slot->graces = 0;
    slot->spent_ms = slot->looked_ms = 0;
    page_count(&pool->page->created);
    pool_give_turn(pool, index, STARTING);
    pool->wall->calls->create(pool->wall, index);
}

// What waits goes to those that are ready, in equal shares; for the rest instances are made.
static void distribute(struct pool *pool)
{
    unsigned ready = 0, starting = 0, least = pool->config.unikernel->cpu_percent > 100 ? 1 : SHARE_LEAST;
    for (unsigned i = 0; i < pool->slot_count; i++) {
        ready += pool->slots[i].state == READY;
        starting += pool->slots[i].state == STARTING;
    }
    for (unsigned i = 0; i < pool->slot_count && ready != 0; i++) {
        struct slot *slot = &pool->slots[i];
        struct queue *waiting = pool->lifetime == LIFETIME_CONNECTION ? &slot->waiting : &pool->waiting;
        if (slot->state != READY)
            continue;
        unsigned share = waiting == &slot->waiting ? waiting->count : (waiting->count + ready - 1) / ready;
        ready--;
        share = share < least ? least : share;
        if (waiting->count != 0)
            show(pool, i, waiting, share < pool->batch ? share : pool->batch);
    }
    for (unsigned i = 0; i < pool->slot_count && pool->waiting.count > starting; i++)
        if (pool->slots[i].state == FREE) {
            pool_create(pool, i, 0);
            starting++;
        }
}

// Ends instances that the busiest moment of the last SHRINK_MS did not need; one stays.
static void shrink(struct pool *pool, unsigned alive)
{
    for (unsigned i = pool->slot_count; i-- > 0 && alive > 1 && alive > pool->peak;)
        if (pool->slots[i].state == READY) {
            pool_kill(pool, i);
            alive--;
        }
    pool->peak = 0;
    pool->shrink_ms = loop_clock_ms() + SHRINK_MS;
}

static int64_t sooner(int64_t a, int64_t b) { return a == 0 || b < a ? b : a; }

void pool_turn(struct pool *pool)
{
    int64_t now = pool->config.loop->now_ms = loop_clock_ms(), next = 0;
    distribute(pool);
    pool->is_behind = 0;
    unsigned is_free = pool->slot_count, alive = 0, live = 0, busy = 0, wanted = 0;
    for (unsigned i = pool->slot_count; i-- > 0;) {
        const struct slot *slot = &pool->slots[i];
        if (slot->due_ms != 0)
            next = sooner(next, slot->due_ms);
        if (slot->state == FREE)
            is_free = i;
        alive += slot->state != FREE && slot->state != DYING;
        live += slot->state != FREE;
        busy += slot->state == BUSY || slot->state == READING;
        pool->is_behind |= slot->state == BUSY && now - slot->given_ms <= 1;
        wanted += slot->shown.count != 0;
    }
    wanted += pool->waiting.count;
    pool->peak = wanted > pool->peak ? wanted : pool->peak;
    if (pool->lifetime != LIFETIME_CONNECTION) {
        if (alive > 1 && now >= pool->shrink_ms)
            shrink(pool, alive);
        if (alive > 1)
            next = sooner(next, pool->shrink_ms);
        if (alive == 0 && is_free < pool->slot_count && now < pool->create_after_ms)
            next = sooner(next, pool->create_after_ms);
        else if (alive == 0 && is_free < pool->slot_count) {
            pool_create(pool, is_free, 0);
            live++;
            next = sooner(next, pool->slots[is_free].due_ms);
        }
    }
    page_set(&pool->page->live, live);
    page_set(&pool->page->busy, busy);
    loop_timer_set(pool->config.loop, &pool->timer, next == 0 ? 0 : next > now ? next - now : 1);
}

// The clock on the wall says that the time is up, but the host ran the instance for less than half of it: that is
// the host's doing. It gets its time again, and is given up as lost in the end. (A guest cannot sleep: it waits only in
// the gate, and then the turn is ours.)
static int is_excused(struct pool *pool, unsigned index)
{
    struct slot *slot = &pool->slots[index];
    int64_t spent = pool->wall->calls->spent_ms(pool->wall, index) - slot->spent_ms;
    if (spent > pool->config.unikernel->deadline_ms / 2 + clock_interval(pool))
        return 0;
    if (slot->graces++ < GRACES_MAX) {
        slot->due_ms = loop_clock_ms() + pool->config.unikernel->deadline_ms;
        return 1;
    }
    fprintf(stderr, "%s: starved: %u times its deadline passed, it ran for %lld ms\n", pool->config.unikernel->name,
            GRACES_MAX + 1, (long long)spent);
    page_count(&pool->page->killed);
    if (slot->state == BUSY)
        pool_send_effects(pool, &slot->shown, (struct link_effects){.outcome = LINK_LOST}, NULL, NULL);
    pool_kill(pool, index);
    return 1;
}

// Each event has the deadline for itself: those of a batch that have ended meanwhile leave, and the next has its time.
static int is_advancing(struct pool *pool, unsigned index)
{
    struct slot *slot = &pool->slots[index];
    if (slot->state != BUSY || !pool_take_ended(pool, index))
        return 0;
    slot->due_ms = loop_clock_ms() + pool->config.unikernel->deadline_ms;
    return 1;
}

static void on_timer(void *context)
{
    struct pool *pool = context;
    int64_t now = loop_clock_ms();
    for (unsigned i = 0; i < pool->slot_count; i++) {
        if (pool->slots[i].due_ms == 0 || pool->slots[i].due_ms > now || !MECHANISM(DEADLINE) ||
            is_advancing(pool, i) || is_excused(pool, i))
            continue;
        struct link_crash crash = {0};
        pool->wall->calls->examine(pool->wall, i, &crash);
        crash.cause = pool->slots[i].state == STARTING ? LINK_CAUSE_DEADLINE_IN_INIT : LINK_CAUSE_DEADLINE;
        crash.number = pool->config.unikernel->deadline_ms;
        crash.signal = 0;
        fail_crash(pool, i, LINK_DEADLINE, &crash);
    }
}

static void on_published(void *context, unsigned index)
{
    struct pool *pool = context;
    struct slot *slot = &pool->slots[index];
    uint32_t size;
    if (slot->state == FREE || slot->state == DYING)
        return;
    check(slot->state == STARTING || slot->state == BUSY); // in all others it waits already
    if (slot->state == BUSY) {
        pool_take(pool, index);
    } else if (guest_memory_take(pool->config.memory, index, 0, pool->buffer, &size) != STATUS_OK ||
               (MECHANISM(SILENT_INIT) && size != 0)) {
        pool_fail_contract(pool, index, "init published records");
    } else {
        slot->state = READY;
        slot->due_ms = 0;
    }
}

static void on_crashed(void *context, unsigned index, const struct link_crash *crash)
{
    struct pool *pool = context;
    if (pool->slots[index].state == FREE || pool->slots[index].state == DYING)
        return;
    fail_crash(pool, index, LINK_FAULT, crash);
}

static void on_gone(void *context, unsigned index, uint64_t memory_bytes)
{
    struct pool *pool = context;
    struct slot *slot = &pool->slots[index];
    check(slot->state != FREE);
    if (slot->state != DYING)
        page_count(&pool->page->killed);
    if (slot->shown.count != 0)
        pool_send_effects(pool, &slot->shown, (struct link_effects){.outcome = LINK_LOST}, NULL, NULL);
    queue_prepend(pool->lifetime == LIFETIME_CONNECTION ? &slot->waiting : &pool->waiting, &slot->shown);
    // GONE ends a connection for the router: another instance for what waits would never be closed.
    pool_send_lost(pool, &slot->waiting);
    if (memory_bytes != 0)
        page_set(&pool->page->instance_bytes, memory_bytes);
    page_count(&pool->page->destroyed);
    slot->state = FREE;
    slot->due_ms = 0;
    if (slot->connection != 0)
        pool_send_header(pool, LINK_GONE, slot->connection);
    slot->connection = 0;
}

static void on_failed(void *context)
{
    struct pool *pool = context;
    pool->has_failed = 1;
    loop_stop(pool->config.loop);
}

int pool_is_behind(const struct pool *pool) { return pool->is_behind; }

int pool_has_failed(const struct pool *pool) { return pool->has_failed; }

struct pool *pool_new(struct wall_config *config, struct channel *router, struct tender_page *page)
{
    // Not by calloc, which looks at each page; most are never used.
    size_t slots_end = (sizeof(struct pool) + config->memory->slot_count * sizeof(struct slot) + 7) / 8 * 8;
    size_t deliveries = (size_t)config->memory->slot_count * LINK_BATCH_MAX * sizeof(struct delivery);
    uint8_t *bytes = mmap(NULL, slots_end + deliveries, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        return NULL;
    struct pool *pool = (struct pool *)(void *)bytes;
    pool->deliveries = (struct delivery *)(void *)(bytes + slots_end);
    config->events = (struct wall_events){pool, on_published, on_crashed, on_gone, on_failed};
    pool->config = *config;
    pool->router = router;
    pool->page = page;
    pool->slot_count = config->memory->slot_count;
    const struct manifest *manifest = &config->image->manifest;
    pool->lifetime = manifest->header->lifetime;
    int is_reading = 0;
    for (unsigned i = 0; i < manifest->header->namespace_count; i++)
        is_reading |= manifest->namespaces[i].access & 1;
    pool->batch = pool->lifetime == LIFETIME_MESSAGE || is_reading ? 1 : ABI_BATCH_MAX;
    loop_timer_add(config->loop, &pool->timer, on_timer, pool);
    return pool;
}
