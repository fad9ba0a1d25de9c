// SPDX-License-Identifier: ISC
// What a durable flow may keep: caps of messages and bytes, oldest or newest, a time to live; and the counts of it.
#include "proto/builtin.h"
#include "store/spool.h"
#include "tests/unit/store_fixture.h"

#include <fcntl.h>

#define ROW (COMMIT_ROW_BYTES + 1 + 4) // of what send_one() sends

static struct system_flow *const alarm_flow = &fixture_flows[FLOW_ALARM];

static void limits(uint32_t cap, uint64_t bytes, int is_newest_kept, uint64_t live_ms)
{
    alarm_flow->cap = cap;
    alarm_flow->bytes_max = bytes;
    alarm_flow->is_newest_kept = is_newest_kept != 0;
    alarm_flow->live_ms = live_ms;
}

// One event that sends one alarm, accepted now.
static int send_one(uint64_t i)
{
    char payload[5];
    snprintf(payload, sizeof payload, "m%03u", (unsigned)(i % 1000));
    commit_new(i, 0);
    head()->time_ms = fixture.now_ms;
    commit_add_send(FLOW_ALARM, UNIKERNEL_B, "k", payload, 4, 0);
    commit_add_counter(COUNTER_FLOW(FLOW_ALARM, REASON_ENTERED), 1);
    return commit_result_of();
}

// An event that takes a message in, and ends well.
static int consume(uint64_t id)
{
    commit_new(1000 + id, id);
    head()->unikernel = UNIKERNEL_B;
    head()->flow = FLOW_ALARM;
    commit_add_counter(COUNTER_FLOW(FLOW_ALARM, REASON_DONE), 1);
    return commit_result_of();
}

// The next LEFT: how many, 0 when there is none next.
static uint64_t left_of(uint32_t reason)
{
    struct commit_left left;
    struct commit_packet *packet = receive();
    if (packet == NULL || packet->kind != COMMIT_LEFT || packet->handle != FLOW_ALARM)
        return 0;
    memcpy(&left, fixture.packet, sizeof left);
    expect(left.reason == reason && left.bytes == left.count * ROW);
    return left.count;
}

static int64_t counter(uint32_t reason)
{
    char sql[160];
    snprintf(sql, sizeof sql, "SELECT coalesce(sum(value), 0) FROM counters WHERE scope = 0 AND code = %u AND id ="
             " (SELECT id FROM names WHERE name = 'alarm')", reason);
    return scalar(sql);
}

// What is written fits together, and with what is known in memory.
static int is_exact(void)
{
    int64_t rows = scalar("SELECT count(*) FROM outbox");
    return counter(REASON_ENTERED) ==
               counter(REASON_DONE) + counter(REASON_DISPLACED) + counter(REASON_EXPIRED) + rows &&
           fixture.store.state.spool[FLOW_ALARM].count == (uint64_t)rows &&
           fixture.page.spooled[FLOW_ALARM] == (uint64_t)rows &&
           fixture.page.spooled_bytes[FLOW_ALARM] == (uint64_t)rows * ROW;
}

static void begin(void)
{
    fixture_begin();
}

static void end(void)
{
    fixture_end();
    limits(100000, 1 << 30, 0, 0);
}

static int64_t next_id(void)
{
    struct commit_packet *packet = receive();
    return packet != NULL && packet->kind == COMMIT_OUTBOX ? (int64_t)packet->handle : -1;
}

// To the message, and to the byte.
TEST(a_full_flow_takes_nothing)
{
    limits(3, 1 << 20, 0, 0);
    begin();
    for (uint64_t i = 1; i <= 3; i++)
        expect(send_one(i) == COMMIT_OK);
    expect(send_one(4) == COMMIT_NOT_NOW && is_exact() && fixture.page.spooled[FLOW_ALARM] == 3);
    end();
    limits(100, 3 * ROW + ROW - 1, 0, 0);
    begin();
    for (uint64_t i = 1; i <= 3; i++)
        expect(send_one(i) == COMMIT_OK);
    expect(send_one(4) == COMMIT_NOT_NOW && is_exact());
    alarm_flow->bytes_max++;
    expect(send_one(4) == COMMIT_OK && is_exact() && send_one(5) == COMMIT_NOT_NOW);
    // What an event consumes makes room for what it sends.
    give_credit(UNIKERNEL_B, 1);
    expect(next_id() == 1);
    commit_new(9, 1);
    head()->unikernel = UNIKERNEL_B;
    head()->flow = FLOW_ALARM;
    commit_add_send(FLOW_ALARM, UNIKERNEL_B, "k", "m009", 4, 0);
    commit_add_counter(COUNTER_FLOW(FLOW_ALARM, REASON_DONE), 1);
    commit_add_counter(COUNTER_FLOW(FLOW_ALARM, REASON_ENTERED), 1);
    expect(commit_result_of() == COMMIT_OK && is_exact());
    end();
}

// Several sends of one event fit together or not at all; another flow's commits of the same batch stand.
TEST(one_event_fits_as_a_whole)
{
    limits(3, 1 << 20, 0, 0);
    begin();
    commit_new(1, 0);
    for (int i = 0; i < 4; i++)
        commit_add_send(FLOW_ALARM, UNIKERNEL_B, "k", "m000", 4, 0);
    commit_send_it();
    commit_new(2, 0);
    commit_put(SPACE_HOURS, "a", "v");
    commit_send_it();
    expect(take() == STATUS_OK);
    expect(done_of(1) == COMMIT_NOT_NOW && done_of(2) == COMMIT_OK);
    expect(scalar("SELECT count(*) FROM outbox") == 0 && scalar("SELECT count(*) FROM records") == 1);
    end();
}

TEST(the_oldest_give_way_to_newer_ones)
{
    limits(5, 1 << 20, 1, 0);
    begin();
    for (uint64_t i = 1; i <= 12; i++) {
        expect(send_one(i) == COMMIT_OK);
        if (i > 5)
            expect(left_of(REASON_DISPLACED) == 1);
        expect(is_exact() && fixture.page.spooled[FLOW_ALARM] <= 5);
    }
    expect(scalar("SELECT min(id) FROM outbox") == 8 && scalar("SELECT max(id) FROM outbox") == 12);
    // Never silently: an audit record for each interval, whose counts add up.
    expect(scalar("SELECT sum(json_extract(text, '$.count')) FROM audit WHERE json_extract(text, '$.kind') = 'left_out'"
                  " AND json_extract(text, '$.reason') = 'displaced' AND json_extract(text, '$.flow') = 'alarm'") == 7);
    // They come in order; what is with the router does not give way, but leaves room that can be made.
    give_credit(UNIKERNEL_B, 64);
    for (int64_t id = 8; id <= 11; id++)
        expect(next_id() == id);
    expect(next_id() == -1);
    expect(send_one(13) == COMMIT_OK && left_of(REASON_DISPLACED) == 1);
    expect(scalar("SELECT group_concat(id) = '8,9,10,11,13' FROM outbox") == 1 && is_exact());
    expect(consume(8) == COMMIT_OK && next_id() == 13 && is_exact());
    for (int64_t id = 9; id <= 13; id += id == 11 ? 2 : 1)
        expect(consume((uint64_t)id) == COMMIT_OK);
    expect(is_exact() && fixture.page.spooled[FLOW_ALARM] == 0);
    expect(fixture.link.push.taken[FLOW_ALARM].count == 0 && fixture.link.push.taken[FLOW_ALARM].bytes == 0);
    end();
}

TEST(by_bytes_as_many_give_way_as_must)
{
    static char large[300];
    limits(100, 4 * ROW, 1, 0);
    memset(large, 'x', sizeof large);
    begin();
    for (uint64_t i = 1; i <= 4; i++)
        expect(send_one(i) == COMMIT_OK);
    commit_new(5, 0);
    commit_add_send(FLOW_ALARM, UNIKERNEL_B, "k", large, 2 * ROW - COMMIT_ROW_BYTES, 0); // needs a bit more than two
    commit_add_counter(COUNTER_FLOW(FLOW_ALARM, REASON_ENTERED), 1);
    expect(commit_result_of() == COMMIT_OK && left_of(REASON_DISPLACED) == 3);
    expect(fixture.page.spooled[FLOW_ALARM] == 2 && fixture.page.spooled_bytes[FLOW_ALARM] <= 4 * ROW);
    expect(fixture.store.state.spool[FLOW_ALARM].bytes == fixture.page.spooled_bytes[FLOW_ALARM]);
    end();
}

// A batch that fails takes back what it pushed out, and what it counted of it.
TEST(nothing_gives_way_to_what_is_not_written)
{
    limits(2, 1 << 20, 1, 0);
    begin();
    expect(send_one(1) == COMMIT_OK && send_one(2) == COMMIT_OK);
    expect(store_begin(&fixture.store) == STATUS_OK);
    store_rollback(&fixture.store);
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %d", (int)scalar("PRAGMA page_count"));
    expect(sqlite3_exec(fixture.store.db, sql, NULL, NULL, NULL) == SQLITE_OK);
    static char large[4000];
    int result = COMMIT_OK;
    for (uint64_t i = 3; i < 12 && result == COMMIT_OK; i++) {
        commit_new(i, 0);
        commit_add_send(FLOW_ALARM, UNIKERNEL_B, "k", large, sizeof large, 0);
        commit_add_counter(COUNTER_FLOW(FLOW_ALARM, REASON_ENTERED), 1);
        result = commit_result_of();
        while (receive() != NULL)
            ;
    }
    expect(result == COMMIT_NOT_NOW && !fixture.store.state.has_left);
    expect(counter(REASON_ENTERED) ==
           counter(REASON_DISPLACED) + scalar("SELECT count(*) FROM outbox"));
    expect(fixture.store.state.spool[FLOW_ALARM].count == 2);
    end();
}

TEST(what_is_too_late_ends)
{
    int is_more = 0;
    limits(100000, 1 << 30, 0, 10000);
    begin();
    for (uint64_t i = 1; i <= 10; i++) {
        expect(send_one(i) == COMMIT_OK);
        fixture.now_ms += 1000;
    }
    // Nobody takes them; two are with the router, which ends these itself.
    give_credit(UNIKERNEL_B, 2);
    expect(next_id() == 1 && next_id() == 2 && next_id() == -1);
    expect(router_link_expire(&fixture.link, &fixture.store, fixture.now_ms, &is_more) == STATUS_OK);
    expect(receive() == NULL && is_exact() && !is_more); // the third is 8 s old
    fixture.now_ms += 4000;
    expect(router_link_expire(&fixture.link, &fixture.store, fixture.now_ms, &is_more) == STATUS_OK);
    expect(left_of(REASON_EXPIRED) == 3 && receive() == NULL && is_exact());
    expect(scalar("SELECT group_concat(id) = '1,2,6,7,8,9,10' FROM outbox") == 1);
    // A clock that goes back ends nothing, and brings nothing back.
    expect(router_link_expire(&fixture.link, &fixture.store, 1000, &is_more) == STATUS_OK && receive() == NULL);
    fixture.now_ms += 100000;
    expect(router_link_expire(&fixture.link, &fixture.store, fixture.now_ms, &is_more) == STATUS_OK);
    expect(left_of(REASON_EXPIRED) == 5 && is_exact() && scalar("SELECT count(*) FROM outbox") == 2);
    end();
}

// A clock that was wrong for a moment costs what was waiting then, and nothing that comes when it is right again.
TEST(a_clock_that_was_ahead)
{
    int is_more = 0;
    const int64_t right_ms = 1000000, wrong_ms = 1000000 + 86400000;
    limits(100000, 1 << 30, 0, 10000);
    begin();
    expect(send_one(1) == COMMIT_OK);
    fixture.now_ms = wrong_ms;
    expect(router_link_expire(&fixture.link, &fixture.store, fixture.now_ms, &is_more) == STATUS_OK);
    expect(left_of(REASON_EXPIRED) == 1);
    fixture.now_ms = right_ms + 1000;
    expect(send_one(2) == COMMIT_OK);
    expect(router_link_expire(&fixture.link, &fixture.store, fixture.now_ms, &is_more) == STATUS_OK && receive() == NULL);
    fixture.now_ms += 9999;
    expect(router_link_expire(&fixture.link, &fixture.store, fixture.now_ms, &is_more) == STATUS_OK && receive() == NULL);
    fixture.now_ms++;
    expect(router_link_expire(&fixture.link, &fixture.store, fixture.now_ms, &is_more) == STATUS_OK);
    expect(left_of(REASON_EXPIRED) == 1 && is_exact());
    end();
}

// In bounded steps; also when no router is there, which then finds the sums.
TEST(a_long_queue_ends_in_steps)
{
    int is_more = 1, steps = 0;
    limits(100000, 1 << 30, 0, 1000);
    begin();
    for (uint64_t i = 1; i <= SPOOL_EXPIRE_MAX + 76; i++) {
        commit_new(i, 0);
        head()->time_ms = fixture.now_ms;
        commit_add_send(FLOW_ALARM, UNIKERNEL_B, "k", "m000", 4, 0);
        commit_add_counter(COUNTER_FLOW(FLOW_ALARM, REASON_ENTERED), 1);
        commit_send_it();
        if (i % 100 == 0)
            expect(take() == STATUS_OK);
    }
    expect(take() == STATUS_OK);
    while (receive() != NULL)
        ;
    fixture_close();
    expect(fixture_open() == STATUS_OK && is_exact() && fixture.page.spooled[FLOW_ALARM] == SPOOL_EXPIRE_MAX + 76);
    fixture.now_ms += 5000;
    for (; is_more && steps < 9; steps++)
        expect(router_link_expire(&fixture.link, &fixture.store, fixture.now_ms, &is_more) == STATUS_OK && is_exact());
    expect(steps == 2 && receive() == NULL && fixture.page.spooled[FLOW_ALARM] == 0);
    end();
}

#define HOURS 24
#define STEP_MINUTES 4

// Nobody takes what comes once a second for a day, on a clock of our own. Within the caps at every moment, the oldest
// give way, nothing is older than its time to live; then all that is left comes in order, to one that is poisoned once.
TEST(acceptance_8)
{
    uint64_t sent = 0, taken = 0, poisoned = 0;
    int64_t last = 0, oldest_ms = INT64_MAX;
    struct commit_packet *packet;
    int is_more;
    limits(20000, 15000 * ROW, 1, 4 * 3600 * 1000); // four hours of it are fewer than that
    begin();
    for (int minute = 0; minute < HOURS * 60; minute += STEP_MINUTES) {
        if (minute == 6 * 60)
            limits(20000, 10000 * ROW, 1, 4 * 3600 * 1000); // from then on bytes are what is short
        for (int i = 0; i < STEP_MINUTES * 60; i++) {
            commit_new(++sent, 0);
            head()->time_ms = fixture.now_ms + i * 1000;
            commit_add_send(FLOW_ALARM, UNIKERNEL_B, "k", "m000", 4, 0);
            commit_add_counter(COUNTER_FLOW(FLOW_ALARM, REASON_ENTERED), 1);
            commit_send_it();
        }
        expect(take() == STATUS_OK);
        while (receive() != NULL)
            ;
        fixture.now_ms += STEP_MINUTES * 60000;
        expect(router_link_expire(&fixture.link, &fixture.store, fixture.now_ms, &is_more) == STATUS_OK && !is_more);
        while (receive() != NULL)
            ;
        expect(fixture.page.spooled[FLOW_ALARM] <= alarm_flow->cap);
        expect(fixture.page.spooled_bytes[FLOW_ALARM] <= alarm_flow->bytes_max);
    }
    expect(is_exact() && counter(REASON_EXPIRED) > 0 && counter(REASON_DISPLACED) > 0);
    expect(fixture.page.spooled[FLOW_ALARM] == 10000);
    fixture_close(); // the power went, too
    expect(fixture_open() == STATUS_OK && is_exact());
    say_hello();
    give_credit(UNIKERNEL_B, 64);
    for (uint64_t before = 1; before != taken;) {
        before = taken;
        while ((packet = receive()) != NULL) {
            struct commit_outbox outbox;
            if (packet->kind != COMMIT_OUTBOX)
                continue;
            memcpy(&outbox, fixture.packet, sizeof outbox);
            oldest_ms = outbox.time_ms < oldest_ms ? outbox.time_ms : oldest_ms;
            expect((int64_t)packet->handle > last);
            last = (int64_t)packet->handle;
            commit_new(5000000 + packet->handle, packet->handle);
            head()->unikernel = UNIKERNEL_B;
            head()->flow = FLOW_ALARM;
            int is_poison = ++taken == 5000;
            poisoned += is_poison != 0;
            commit_add_counter(COUNTER_FLOW(FLOW_ALARM, is_poison ? REASON_FAULT : REASON_DONE), 1);
            if (is_poison)
                commit_add_dead(REASON_FAULT, "poison", "m000", 4);
            commit_send_it();
        }
        expect(take() == STATUS_OK);
    }
    expect(taken == 10000 && fixture.page.spooled[FLOW_ALARM] == 0 && fixture.page.spooled_bytes[FLOW_ALARM] == 0);
    expect(fixture.now_ms - oldest_ms <= 4 * 3600 * 1000 && last == (int64_t)sent && sent == HOURS * 3600);
    expect(counter(REASON_DONE) + (int64_t)poisoned + counter(REASON_EXPIRED) + counter(REASON_DISPLACED) == (int64_t)sent);
    end();
}

static size_t read_file(const char *path, uint8_t *bytes, size_t capacity)
{
    int fd = open(path, O_RDONLY);
    ssize_t size = fd >= 0 ? read(fd, bytes, capacity) : 0;
    if (fd >= 0)
        close(fd);
    return size > 0 ? (size_t)size : 0;
}

static void write_file(const char *path, const uint8_t *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    expect(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    close(fd);
}

// ---- Receipts ----
static int send_with_receipt(uint64_t i, const char *context)
{
    struct commit_send send = {.flow = FLOW_ALARM, .receiver = UNIKERNEL_B, .context_bytes = (uint16_t)strlen(context),
                               .payload_bytes = 4, .principal = 2, .flags = COMMIT_RECEIPT, .connection = 77};
    commit_new(i, 0);
    head()->time_ms = fixture.now_ms;
    add(&send, sizeof send);
    add(context, strlen(context));
    add("m000", 4);
    head()->send_count++;
    commit_add_counter(COUNTER_FLOW(FLOW_ALARM, REASON_ENTERED), 1);
    return commit_result_of();
}

static int64_t receipts_entered(void)
{
    return scalar("SELECT coalesce(sum(value), 0) FROM counters WHERE scope = 0 AND code = 0 AND id ="
                  " (SELECT id FROM names WHERE name = 'receipt')");
}

// The next OUTBOX is a receipt with that context.
static int is_receipt(uint16_t reason, const char *context)
{
    struct commit_outbox outbox;
    struct builtin_receipt receipt;
    struct commit_packet *packet = receive();
    if (packet == NULL || packet->kind != COMMIT_OUTBOX)
        return 0;
    memcpy(&outbox, fixture.packet, sizeof outbox);
    memcpy(&receipt, fixture.packet + sizeof outbox + ABI_ALIGN8((size_t)outbox.send.context_bytes), sizeof receipt);
    return outbox.send.flow == FLOW_RECEIPT && outbox.send.receiver == UNIKERNEL_A && outbox.send.connection == 77 &&
           outbox.send.principal == 2 && outbox.send.flags == 0 && outbox.send.context_bytes == strlen(context) &&
           memcmp(fixture.packet + sizeof outbox, context, strlen(context)) == 0 && receipt.reason == reason &&
           !receipt.is_taken && receipt.output == 0;
}

// Wherever the power goes, the counts of what was displaced and of what expired fit what is left.
TEST(a_cut_anywhere_keeps_the_counts)
{
    static uint8_t base[1 << 20], journal[1 << 21];
    char path[160];
    int is_more;
    fixture_flow_count = 3;
    limits(5, 1 << 20, 1, 60000);
    begin();
    for (uint64_t i = 1; i <= 12; i++) {
        expect(send_with_receipt(i, "k") == COMMIT_OK); // as many bytes as with a key
        fixture.now_ms += 10000;
        expect(router_link_expire(&fixture.link, &fixture.store, fixture.now_ms, &is_more) == STATUS_OK);
        while (receive() != NULL)
            ;
    }
    fixture.now_ms += 35000;
    expect(router_link_expire(&fixture.link, &fixture.store, fixture.now_ms, &is_more) == STATUS_OK);
    expect(counter(REASON_DISPLACED) > 0 && counter(REASON_EXPIRED) > 0);
    snprintf(path, sizeof path, "%s-wal", fixture.path);
    size_t base_bytes = read_file(fixture.path, base, sizeof base);
    size_t journal_bytes = read_file(path, journal, sizeof journal);
    expect(journal_bytes > 20000 && journal_bytes < sizeof journal);
    int64_t ended = 0;
    for (size_t cut = 0; cut <= journal_bytes; cut += 2003) {
        static struct store copy;
        static struct store_page page;
        snprintf(path, sizeof path, "%s/copy.db-wal", fixture.folder);
        write_file(path, journal, cut);
        snprintf(path, sizeof path, "%s/copy.db", fixture.folder);
        write_file(path, base, base_bytes);
        expect(store_open(&copy, path, &fixture.system, &page) == STATUS_OK);
        sqlite3 *kept = fixture.store.db;
        fixture.store.db = copy.db;
        int64_t rows = scalar("SELECT count(*) FROM outbox WHERE receipt = 1");
        int64_t now = counter(REASON_DISPLACED) + counter(REASON_EXPIRED);
        expect(counter(REASON_ENTERED) == now + rows && rows <= 5 && now >= ended);
        expect(now == scalar("SELECT coalesce(sum(json_extract(text, '$.count')), 0) FROM audit"
                             " WHERE json_extract(text, '$.kind') = 'left_out'"));
        expect(page.spooled[FLOW_ALARM] == (uint64_t)rows && page.spooled_bytes[FLOW_ALARM] == (uint64_t)rows * ROW);
        // Each left its receipt, no more and no less.
        expect(scalar("SELECT count(*) FROM outbox WHERE receipt = 0") == now && receipts_entered() == now);
        ended = now;
        fixture.store.db = kept;
        store_close(&copy);
    }
    end();
    fixture_flow_count = 2;
}

// What the store ends itself leaves the receipt that it promised, in the same transaction.
TEST(what_gives_way_or_is_too_late_leaves_its_receipt)
{
    struct commit_left left;
    int is_more;
    fixture_flow_count = 3;
    limits(2, 1 << 20, 1, 60000);
    begin();
    give_credit(UNIKERNEL_A, 9);
    expect(send_with_receipt(1, "first") == COMMIT_OK && send_with_receipt(2, "") == COMMIT_OK);
    expect(fixture.store.state.spool[FLOW_ALARM].receipts == 2 && send_with_receipt(3, "third") == COMMIT_OK);
    struct commit_packet *packet = receive();
    expect(packet != NULL && packet->kind == COMMIT_LEFT);
    memcpy(&left, fixture.packet, sizeof left);
    expect(left.count == 1 && left.receipts == 1 && left.receipt_bytes == COMMIT_ROW_BYTES + 5 + 8);
    expect(is_receipt(REASON_DISPLACED, "first") && receipts_entered() == 1);
    fixture.now_ms += 60000;
    expect(router_link_expire(&fixture.link, &fixture.store, fixture.now_ms, &is_more) == STATUS_OK);
    packet = receive();
    expect(packet != NULL && packet->kind == COMMIT_LEFT);
    expect(router_link_push(&fixture.link, &fixture.store, fixture.now_ms) == STATUS_OK);
    expect(is_receipt(REASON_EXPIRED, "") && is_receipt(REASON_EXPIRED, "third") && receive() == NULL);
    expect(receipts_entered() == 3 && fixture.store.state.spool[FLOW_ALARM].receipts == 0);
    expect(scalar("SELECT count(*) FROM outbox") == 3 && fixture.page.spooled[FLOW_RECEIPT] == 3);
    end();
    fixture_flow_count = 2;
}

// After a start the router learns what is promised; a system in which nobody takes it is refused.
TEST(promises_outlast_a_start)
{
    struct commit_spool spool = {.promised = 99};
    fixture_flow_count = 3;
    limits(100, 1 << 20, 0, 0);
    begin();
    expect(send_with_receipt(1, "a") == COMMIT_OK && send_with_receipt(2, "b") == COMMIT_OK && send_one(3) == COMMIT_OK);
    fixture_close();
    expect(fixture_open() == STATUS_OK);
    say_hello();
    for (struct commit_packet *packet = receive(); packet != NULL && packet->kind != COMMIT_READY; packet = receive())
        if (packet->kind == COMMIT_SPOOL && packet->handle == FLOW_RECEIPT)
            memcpy(&spool, fixture.packet, sizeof spool);
    expect(spool.promised == 2 && spool.waiting == 0);
    fixture_close();
    fixture_flow_count = 2;
    expect(fixture_open() == STATUS_CONFLICT && strstr(fixture.store.error, "takes the receipts") != NULL);
    fixture_flow_count = 3;
    expect(fixture_open() == STATUS_OK);
    end();
    fixture_flow_count = 2;
    // What nobody may ask for closes the link.
    begin();
    struct commit_send send = {.flow = FLOW_ALARM, .receiver = UNIKERNEL_B, .payload_bytes = 4, .flags = COMMIT_RECEIPT};
    commit_new(1, 0);
    add(&send, sizeof send);
    add("m000", 4);
    head()->send_count++;
    commit_send_it();
    expect(take() == STATUS_MALFORMED);
    end();
}

// A store of the last format is brought up to this one, with all that it holds.
TEST(a_store_of_format_2_opens)
{
    limits(100, 1 << 20, 0, 0);
    begin();
    for (uint64_t i = 1; i <= 3; i++)
        expect(send_one(i) == COMMIT_OK);
    static const char format_2[] =
        "ALTER TABLE outbox DROP COLUMN receipt; PRAGMA user_version = 2; DROP TABLE states; DROP TABLE arrivals;"
        "DROP INDEX dead_letters_flow; DROP INDEX outbox_number; ALTER TABLE outbox DROP COLUMN number; DROP TABLE journal;"
        "CREATE TABLE cursors(flow INTEGER NOT NULL, key BLOB NOT NULL, sequence INTEGER NOT NULL,"
        " PRIMARY KEY(flow, key)) STRICT, WITHOUT ROWID;"
        "INSERT INTO cursors VALUES(1, x'0102', 258), (1, x'0103', 3)";
    expect(sqlite3_exec(fixture.store.db, format_2, NULL, NULL, NULL) == SQLITE_OK);
    fixture_close();
    expect(fixture_open() == STATUS_OK && is_exact());
    expect(scalar("PRAGMA user_version") == DATABASE_FORMAT && scalar("SELECT sum(receipt) FROM outbox") == 0);
    expect(scalar("SELECT state = x'00000000080000000201000000000000' FROM states WHERE key = x'0102'") == 1);
    expect(scalar("SELECT count(*) FROM states") == 2);
    say_hello();
    while (receive() != NULL)
        ;
    give_credit(UNIKERNEL_B, 9);
    expect(next_id() == 1 && next_id() == 2 && next_id() == 3 && send_one(4) == COMMIT_OK && is_exact());
    end();
}

int main(void)
{
    fixture_use_all();
    fixture_schema.header.struct_bytes = 8;
    RUN(a_full_flow_takes_nothing);
    RUN(one_event_fits_as_a_whole);
    RUN(the_oldest_give_way_to_newer_ones);
    RUN(by_bytes_as_many_give_way_as_must);
    RUN(nothing_gives_way_to_what_is_not_written);
    RUN(what_is_too_late_ends);
    RUN(a_clock_that_was_ahead);
    RUN(a_long_queue_ends_in_steps);
    RUN_AS(acceptance_8, "acceptance 8: a day of messages that nobody takes: caps, order, time to live, counts, one poison");
    RUN(a_cut_anywhere_keeps_the_counts);
    RUN(what_gives_way_or_is_too_late_leaves_its_receipt);
    RUN(promises_outlast_a_start);
    RUN(a_store_of_format_2_opens);
    TEST_END();
}
