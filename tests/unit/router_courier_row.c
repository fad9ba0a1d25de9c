// SPDX-License-Identifier: ISC
// What couriers bring on a flow whose checks keep state: many at once, and each verdict as if they came one by one.
// note comes from the courier to sink, keyed; its sequence rises and its value moves by 100 at most.
#include "router/state.h"
#include "tests/unit/router_fake.h"

#define KEYS 3u
#define PEERS 2u
#define STEP 100u

static struct system_courier courier;
static struct arrivals {
    uint64_t stream, last;
} arrivals[PEERS]; // that the store has had
static uint64_t handles;
static int is_one_packet; // with the next

// As store/commit.c does it.
static uint32_t arrive(const struct commit_header *header, const struct link_source *source)
{
    struct arrivals *at = &arrivals[source->peer];
    uint64_t last = at->stream == source->stream ? at->last : 0;
    if (source->sequence <= last)
        return COMMIT_DUPLICATE;
    if (source->previous > last)
        return COMMIT_EARLY;
    *at = (struct arrivals){source->stream, source->sequence};
    (void)header;
    return COMMIT_OK;
}

static void begin(void)
{
    fake_clear();
    memset(arrivals, 0, sizeof arrivals);
    courier = (struct system_courier){.name = "hubs", .peer_count = PEERS, .peers = {{.name = "a"}, {.name = "b"}}};
    fake.system.couriers = &courier;
    fake.system.courier_count = 1;
    fake.arrive = arrive;
    fake_unikernels[FRONT].outputs[OUT_NOTE] = SYSTEM_NONE;
    struct system_flow *flow = &fake_flows[NOTE];
    flow->sender_kind = SYSTEM_COURIER;
    flow->sender = 0;
    flow->count_max = 1;
    flow->is_durable = 1;
    flow->cap = 1000;
    flow->bytes_max = 1 << 20;
    flow->key_field = 1;
    flow->keys_max = 64;
    fake_check(NOTE, SYSTEM_CHECK_ORDER)->field = 2;
    struct system_check *step = fake_check(NOTE, SYSTEM_CHECK_STEP);
    step->field = 0;
    step->most = STEP;
    fake_start();
    expect(fake_hello(COURIER, 64) == STATUS_OK);
    fake_store();
}

static void bring_of(uint16_t peer, uint64_t stream, uint64_t sequence, uint64_t previous, struct item item)
{
    struct {
        struct link_bring bring;
        struct item item;
    } record = {{.header = {sizeof record, LINK_BRING, 0, ++handles}, .source = {stream, sequence, previous, peer, {0}},
                 .flow = NOTE, .payload_bytes = sizeof(struct item)}, item};
    expect((is_one_packet ? engine_receive(fake.engine, ENGINE_RECEIVER, COURIER, (const uint8_t *)&record, sizeof record)
                          : fake_give(ENGINE_RECEIVER, COURIER, &record, sizeof record)) == STATUS_OK);
}

// Of peer a, the next one of its stream after `previous`.
static void bring(uint64_t previous, uint32_t value, uint32_t key, uint64_t number)
{
    bring_of(0, 9, previous + 1, previous, (struct item){value, key, number});
}

static int was_brought(uint32_t at, uint32_t reason)
{
    return at < fake.brought_count && fake.brought[at].reason == reason;
}

static void end(void)
{
    for (int i = 0; fake.page->spooled[NOTE] != 0 && i < 10000; i++) {
        if (fake.delivery_count[SINK] != 0)
            expect(fake_end(SINK, NULL) == STATUS_OK);
        fake_tick(1);
    }
    expect(fake_is_exact() && fake.page->in_flight == 0 && fake.page->spooled[NOTE] == 0);
    fake_stop();
}

TEST(they_wait_neither_for_their_key_nor_for_another)
{
    begin();
    bring(0, 500, 1, 1);
    for (uint64_t i = 1; i < 10; i++)
        bring(i, 500 + 10 * (uint32_t)i, i % 2 == 0 ? 1 : 2, 1 + i);
    expect(fake.commit_count == 1); // whether the store has had the first is not known
    fake_store();
    expect(fake.brought_count == 10);
    for (uint64_t i = 10; i < 20; i++)
        bring(i, 590, 1, 1 + i);
    expect(fake.commit_count == 10);
    fake_store();
    expect(fake.brought_count == 20 && fake.dead_count == 0 && fake_count(NOTE, REASON_ENTERED) == 20);
    end();
}

TEST(each_is_judged_by_what_the_one_before_it_leaves)
{
    begin();
    bring(0, 500, 1, 1);
    fake_store();
    is_one_packet = 1;
    bring(1, 600, 1, 2);
    bring(2, 650, 1, 2);  // replayed
    bring(3, 1001, 1, 3); // out of range
    bring(4, 750, 1, 3);  // further than from what was taken
    bring(5, 700, 1, 3);
    is_one_packet = 0;
    bring(6, 0, 2, 1);    // another key
    expect(fake.commit_count == 6);
    fake_store();
    expect(was_brought(1, REASON_DONE) && was_brought(2, REASON_REPLAY) && was_brought(3, REASON_RANGE) &&
           was_brought(4, REASON_STEP) && was_brought(5, REASON_DONE) && was_brought(6, REASON_DONE));
    expect(fake.last_refusal.check == SYSTEM_NONE || fake.last_refusal_state[1] == 2); // what 600 left, not yet committed
    end();
}

TEST(what_is_not_taken_now_is_taken_in_order)
{
    begin();
    bring(0, 500, 1, 1);
    fake_store();
    fake.next_result = COMMIT_NOT_NOW; // the disk is full, and then is not
    fake.result_count = 2;
    for (uint64_t i = 1; i < 6; i++)
        bring(i, 500 + 50 * (uint32_t)i, 1, i == 4 ? 1 : 1 + i);
    fake_store();
    expect(fake.brought_count == 1 && arrivals[0].last == 1); // those behind it were not taken either
    for (int i = 0; i < 3; i++)
        fake_tick(ROUTER_RETRY_MS);
    expect(fake.brought_count == 6 && was_brought(4, REASON_REPLAY) && was_brought(5, REASON_DONE) && fake.dead_count == 1);
    end();
}

TEST(what_the_store_has_had_is_not_gone_on_from)
{
    begin();
    bring(0, 500, 1, 1);
    fake_store();
    bring(1, 580, 1, 2);
    fake_store();
    fake_checks[fake_flows[NOTE].check_first].most = UINT64_MAX; // order refuses nothing: what was taken could be again
    bring_of(0, 9, 1, 0, (struct item){500, 1, 1}); // over a new line
    bring(1, 580, 1, 2);
    bring(2, 660, 1, 3); // 160 from what the store has had before: from 580 it is not too far
    expect(fake.commit_count == 1);
    fake_store();
    expect(fake.brought_count == 5 && was_brought(2, REASON_DONE) && was_brought(4, REASON_DONE) && fake.dead_count == 0);
    bring(3, 740, 1, 4);
    bring(4, 820, 1, 5);
    expect(fake.commit_count == 2); // in step again
    fake_store();
    expect(fake.brought_count == 7 && fake.dead_count == 0 && fake_count(NOTE, REASON_ENTERED) == 5);
    end();
}

TEST(who_lies_about_his_place_gains_nothing)
{
    begin();
    bring(0, 500, 1, 1);
    fake_store();
    bring_of(0, 9, 1, 1, (struct item){600, 1, 2}); // the store has had it
    bring(1, 690, 1, 3);
    bring_of(0, 10, 3, 2, (struct item){500, 1, 2}); // of another stream
    bring(2, 500, 1, 2);
    fake_store();
    expect(fake.brought_count == 5 && was_brought(1, REASON_DONE) && was_brought(2, REASON_STEP));
    expect(was_brought(3, REASON_LOST) && was_brought(4, REASON_DONE) && fake_count(NOTE, REASON_ENTERED) == 3);
    end();
}

// What came before it was not taken, for the flow had as much under way as it may have.
TEST(what_has_lost_the_one_before_it_is_brought_again)
{
    begin();
    bring(0, 500, 1, 1);
    fake_store();
    bring(2, 500, 1, 3);
    bring(3, 500, 1, 4);
    bring_of(0, 9, 2, 0, (struct item){500, 1, 2}); // over a new line
    bring(2, 500, 1, 3);
    fake_store();
    expect(fake.brought_count == 5 && was_brought(1, REASON_LOST) && was_brought(2, REASON_LOST));
    expect(was_brought(3, REASON_DONE) && was_brought(4, REASON_DONE) && fake_count(NOTE, REASON_ENTERED) == 3);
    end();
}

TEST(peers_take_turns)
{
    begin();
    bring(0, 500, 1, 1);
    fake_store();
    for (uint64_t i = 1; i < 5; i++)
        bring(i, 500, 1, 1 + i);
    bring_of(1, 3, 1, 0, (struct item){500, 2, 1}); // of b: is not next
    for (uint64_t i = 5; i < 8; i++)
        bring(i, 500, 1, 1 + i); // came after b had to wait
    expect(fake.commit_count == 4 && fake.brought_count == 1);
    fake_store();
    expect(fake.brought_count == 9 && fake.dead_count == 0);
    expect(fake.brought[5].header.handle == handles - 3); // b before those
    end();
}

// ---- At random: each verdict is the one that judging in the order of the commits gives ----

#define MESSAGES 400u
#define OPEN_MAX 24u

static uint64_t state;
static struct peer {
    struct item sent[MESSAGES + 1]; // by sequence
    uint8_t is_acknowledged[MESSAGES + 1];
    uint64_t made, on_line; // the last sequences: made, and brought over this line; 0: it is a new one
    uint64_t acknowledged;  // all up to here
} peers[PEERS];
static struct known {
    uint64_t handle, sequence;
    uint16_t peer;
} known[4096]; // brought over lines that are still there
static struct item last[KEYS]; // that was taken; sequence 0: none
static struct item planned[KEYS];
static uint32_t looked, fails, committed;
static int is_ordered; // else what the store has had would be taken again

static uint32_t below(uint32_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20) % limit;
}

static uint32_t arrive_at_random(const struct commit_header *header, const struct link_source *source)
{
    if (fails != 0) {
        fails--;
        return COMMIT_NOT_NOW;
    }
    uint32_t result = arrive(header, source);
    if (result != COMMIT_OK)
        return result;
    const struct item *item = &peers[source->peer].sent[source->sequence];
    struct item *before = &last[item->key];
    uint32_t far = item->value > before->value ? item->value - before->value : before->value - item->value;
    uint32_t reason = item->value > 1000 ? REASON_RANGE
                      : is_ordered && before->sequence != 0 && item->sequence <= before->sequence ? REASON_REPLAY
                      : before->sequence != 0 && far > STEP ? REASON_STEP : REASON_DONE;
    expect(header->reason == reason);
    if (reason == REASON_DONE)
        *before = *item;
    committed++;
    return COMMIT_OK;
}

static void forget_line(uint16_t peer)
{
    for (uint32_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].peer == peer)
            known[i].handle = 0;
    peers[peer].on_line = 0;
}

// What the router has answered since the last time.
static void look(void)
{
    for (; looked < fake.brought_count; looked++) {
        const struct link_brought *brought = &fake.brought[looked % FAKE_PENDING];
        struct known *it = &known[brought->header.handle % (sizeof known / sizeof known[0])];
        if (it->handle != brought->header.handle)
            continue;
        struct peer *peer = &peers[it->peer];
        it->handle = 0;
        if (brought->reason == REASON_LOST)
            forget_line(it->peer);
        else
            peer->is_acknowledged[it->sequence] = 1;
        while (peer->acknowledged < peer->made && peer->is_acknowledged[peer->acknowledged + 1])
            peer->acknowledged++;
    }
}

static void make(struct peer *peer)
{
    uint32_t key = below(5) == 0 ? PEERS : (uint32_t)(peer - peers); // the last is of both
    struct item *before = &planned[key];
    struct item item = {450 + below(90), key, before->sequence + below(8) + (before->sequence == 0)};
    if (below(20) == 0)
        item.value = below(1010);
    else
        *before = item;
    peer->sent[++peer->made] = item;
}

static void send_next(uint16_t index)
{
    struct peer *peer = &peers[index];
    if (peer->made < MESSAGES && peer->made - peer->acknowledged < OPEN_MAX &&
        (peer->on_line == peer->made || peer->acknowledged == peer->made))
        make(peer);
    uint64_t sequence = peer->on_line;
    do
        sequence = sequence == 0 ? peer->acknowledged + 1 : sequence + 1;
    while (sequence <= peer->made && peer->is_acknowledged[sequence]);
    if (sequence > peer->made)
        return;
    bring_of(index, 9, sequence, peer->on_line, peer->sent[sequence]);
    known[handles % (sizeof known / sizeof known[0])] = (struct known){handles, sequence, index};
    peer->on_line = sequence;
}

static void step(void)
{
    uint32_t what = below(400);
    uint16_t peer = (uint16_t)below(PEERS);
    if (what < 4)
        forget_line(peer);
    else if (what < 8)
        fails = below(30);
    else if (what < 10) // one is lost on the way to the router, as when it has too many
        peers[peer].on_line += peers[peer].on_line != 0 && peers[peer].on_line < peers[peer].made;
    else if (what < 11) {
        engine_closed(fake.engine, ENGINE_RECEIVER, COURIER);
        for (uint16_t i = 0; i < PEERS; i++)
            forget_line(i);
        expect(fake_hello(COURIER, 64) == STATUS_OK);
    } else if (what < 40)
        fake_tick(below(2 * ROUTER_RETRY_MS));
    else if (what < 80)
        fake_store();
    else if (what < 130 && fake.delivery_count[SINK] != 0)
        expect(fake_end(SINK, NULL) == STATUS_OK);
    else
        for (uint32_t i = below(6); i > 0; i--)
            send_next(peer);
    look();
}

TEST(verdicts_are_those_of_one_by_one)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        begin();
        state = seed * 0x9e3779b97f4a7c15u;
        memset(peers, 0, sizeof peers);
        memset(known, 0, sizeof known);
        memset(last, 0, sizeof last);
        memset(planned, 0, sizeof planned);
        looked = fails = committed = 0;
        fake.arrive = arrive_at_random;
        is_ordered = seed % 2 == 0;
        fake_checks[fake_flows[NOTE].check_first].most = is_ordered ? 0 : UINT64_MAX;
        for (uint32_t i = 0; i < 100000 && peers[0].acknowledged + peers[1].acknowledged < PEERS * MESSAGES; i++)
            step();
        expect(peers[0].acknowledged == MESSAGES && peers[1].acknowledged == MESSAGES);
        expect(committed == PEERS * MESSAGES && arrivals[0].last == MESSAGES && arrivals[1].last == MESSAGES);
        expect(fake.dead_count > 10 && fake.dead_count < committed && fake_count(NOTE, REASON_ENTERED) == committed);
        end();
    }
}

int main(void)
{
    RUN(they_wait_neither_for_their_key_nor_for_another);
    RUN(each_is_judged_by_what_the_one_before_it_leaves);
    RUN(what_is_not_taken_now_is_taken_in_order);
    RUN(what_the_store_has_had_is_not_gone_on_from);
    RUN(who_lies_about_his_place_gains_nothing);
    RUN(what_has_lost_the_one_before_it_is_brought_again);
    RUN(peers_take_turns);
    RUN(verdicts_are_those_of_one_by_one);
    TEST_END();
}
