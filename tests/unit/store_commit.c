// SPDX-License-Identifier: ISC
// The semantics of proto/commit.h on a real database: validation, duplicates, groups, the full disk.
#include "store/commit.h"
#include "tests/unit/store_fixture.h"

TEST(put_get_delete_and_versions)
{
    fixture_begin();
    expect(version_of(SPACE_MODELS, "a") == 0);
    commit_new(1, 0);
    commit_add_read(SPACE_MODELS, ABI_READ_GET, "a", 0);
    commit_put(SPACE_MODELS, "a", "one");
    expect(commit_result_of() == COMMIT_OK);
    uint64_t first = version_of(SPACE_MODELS, "a");
    expect(first > 0);
    commit_new(2, 0);
    commit_add_read(SPACE_MODELS, ABI_READ_GET, "a", first);
    commit_put(SPACE_MODELS, "a", "two");
    expect(commit_result_of() == COMMIT_OK);
    uint64_t second = version_of(SPACE_MODELS, "a");
    expect(second > first);
    commit_new(3, 0);
    commit_add_write(SPACE_MODELS, ABI_WRITE_DELETE, "a", "", NULL, 0);
    expect(commit_result_of() == COMMIT_OK);
    expect(version_of(SPACE_MODELS, "a") == 0);
    // A version never comes back, not even over a delete.
    commit_new(4, 0);
    commit_put(SPACE_MODELS, "a", "one");
    expect(commit_result_of() == COMMIT_OK);
    expect(version_of(SPACE_MODELS, "a") > second);
    fixture_end();
}

TEST(stale_read_conflicts_and_changes_nothing)
{
    fixture_begin();
    commit_new(1, 0);
    commit_put(SPACE_MODELS, "a", "one");
    expect(commit_result_of() == COMMIT_OK);
    commit_new(2, 0);
    commit_add_read(SPACE_MODELS, ABI_READ_GET, "a", 0);
    commit_put(SPACE_MODELS, "b", "two");
    commit_add_send(FLOW_ALARM, UNIKERNEL_B, "", "x", 1, 0);
    commit_add_counter(COUNTER_FLOW(FLOW_READING, REASON_DONE), 1);
    expect(commit_result_of() == COMMIT_CONFLICT);
    expect(version_of(SPACE_MODELS, "b") == 0);
    expect(scalar("SELECT count(*) FROM outbox") == 0);
    expect(scalar("SELECT count(*) FROM counters") == 0);
    expect(scalar("SELECT count(*) FROM audit") == 1);
    expect(fixture.page.conflicts == 1);
    fixture_end();
}

TEST(one_flush_for_all_that_have_arrived)
{
    fixture_begin();
    uint64_t before = fixture.page.transactions;
    char key[2] = "a";
    for (uint64_t i = 0; i < 100; i++) {
        commit_new(i, 0);
        key[0] = (char)('0' + i % 50);
        // From the 50th on each sees what an earlier one of the same batch wrote: stale.
        commit_add_read(SPACE_HOURS, ABI_READ_GET, key, 0);
        commit_put(SPACE_HOURS, key, "value");
        commit_send_it();
    }
    expect(take() == STATUS_OK);
    for (uint64_t i = 0; i < 100; i++)
        expect(done_of(i) == (i < 50 ? COMMIT_OK : COMMIT_CONFLICT));
    expect(fixture.page.transactions == before + 1);
    expect(scalar("SELECT count(*) FROM records") == 50);
    fixture_end();
}

TEST(a_batch_is_bounded)
{
    fixture_begin();
    uint64_t before = fixture.page.transactions;
    for (uint64_t i = 0; i < ROUTER_BATCH_MAX + 10; i++) {
        commit_new(i, 0);
        commit_add_counter(COUNTER_FLOW(FLOW_READING, REASON_DONE), 1);
        commit_send_it();
    }
    expect(take() == STATUS_OK);
    for (uint64_t i = 0; i < ROUTER_BATCH_MAX + 10; i++)
        expect(done_of(i) == COMMIT_OK);
    expect(fixture.page.transactions == before + 2);
    expect(scalar("SELECT value FROM counters") == ROUTER_BATCH_MAX + 10);
    fixture_end();
}

TEST(a_read_in_the_middle_sees_only_what_is_committed)
{
    static struct builder reads;
    struct item items[2];
    fixture_begin();
    commit_new(1, 0);
    commit_put(SPACE_MODELS, "a", "one");
    commit_send_it();
    reads.size = 0;
    read_add(&reads, SPACE_MODELS, ABI_READ_GET, 1, "a", "");
    read_send(&reads, 5);
    commit_new(2, 0);
    commit_put(SPACE_MODELS, "b", "two");
    commit_send_it();
    // The disk is full: the batch fails as a whole, and the answer shows nothing of it.
    expect(sqlite3_exec(fixture.store.db, "PRAGMA max_page_count = 1", NULL, NULL, NULL) == SQLITE_OK);
    int64_t pages = scalar("PRAGMA page_count");
    expect(pages > 1);
    expect(take() == STATUS_OK);
    int first = done_of(1), second = done_of(2);
    expect(first == second); // they share a fate
    expect(answer_items(5, items, 2) == 1);
    expect((items[0].status == ABI_ITEM_FOUND) == (first == COMMIT_OK));
    fixture_end();
}

TEST(an_input_is_consumed_once)
{
    fixture_begin();
    commit_new(1, 0);
    commit_add_send(FLOW_READING, UNIKERNEL_A, "k", "payload", 7, 0);
    commit_send_it();
    expect(take() == STATUS_OK);
    struct commit_done done;
    expect(receive() != NULL);
    memcpy(&done, fixture.packet, sizeof done);
    expect(done.result == COMMIT_OK && done.first_id > 0);
    for (int i = 0; i < 3; i++) {
        commit_new(2, done.first_id);
        commit_put(SPACE_MODELS, "a", "one");
        commit_add_counter(COUNTER_FLOW(FLOW_READING, REASON_DONE), 1);
        expect(commit_result_of() == (i == 0 ? COMMIT_OK : COMMIT_DUPLICATE));
    }
    // Duplicate goes before conflict: whatever it read, it was done.
    commit_new(3, done.first_id);
    commit_add_read(SPACE_MODELS, ABI_READ_GET, "a", 4711);
    expect(commit_result_of() == COMMIT_DUPLICATE);
    expect(scalar("SELECT value FROM counters") == 1);
    fixture_end();
}

TEST(twice_in_one_batch_is_a_duplicate_too)
{
    fixture_begin();
    commit_new(1, 0);
    commit_add_send(FLOW_READING, UNIKERNEL_A, "", "p", 1, 0);
    expect(commit_result_of() == COMMIT_OK);
    for (uint64_t i = 2; i < 4; i++) {
        commit_new(i, 1);
        commit_add_counter(COUNTER_REFUSAL(UNIKERNEL_B, 3), 1);
        commit_send_it();
    }
    expect(take() == STATUS_OK);
    expect(done_of(2) == COMMIT_OK && done_of(3) == COMMIT_DUPLICATE);
    expect(scalar("SELECT value FROM counters WHERE scope = 1 AND code = 3") == 1);
    fixture_end();
}

TEST(a_full_namespace_refuses)
{
    fixture_begin();
    static const char *const keys[] = {"a", "b", "c"};
    for (uint64_t i = 0; i < 3; i++) {
        commit_new(i, 0);
        commit_put(SPACE_MODELS, keys[i], "v");
        expect(commit_result_of() == COMMIT_OK);
    }
    commit_new(4, 0);
    commit_put(SPACE_MODELS, "d", "v");
    commit_add_state(FLOW_READING, "k", 9);
    expect(commit_result_of() == COMMIT_REFUSED);
    expect(scalar("SELECT count(*) FROM states") == 0);
    commit_new(5, 0); // an old record may change, and a delete makes room
    commit_put(SPACE_MODELS, "c", "w");
    commit_add_write(SPACE_MODELS, ABI_WRITE_DELETE, "a", "", NULL, 0);
    expect(commit_result_of() == COMMIT_OK);
    commit_new(6, 0);
    commit_put(SPACE_MODELS, "d", "v");
    expect(commit_result_of() == COMMIT_OK);
    expect(scalar("SELECT count(*) FROM records") == 3);
    fixture_end();
}

TEST(a_full_disk_is_not_now_and_nothing_half_done)
{
    static char large[4096];
    char key[8];
    int ok = 0, not_now = 0;
    memset(large, 'x', sizeof large);
    fixture_begin();
    expect(scalar("PRAGMA max_page_count = 40") == 40);
    for (uint64_t i = 0; i < 60; i++) {
        snprintf(key, sizeof key, "k%03d", (int)i);
        commit_new(i, 0);
        commit_add_write(SPACE_HOURS, ABI_WRITE_PUT, key, "i", large, sizeof large);
        commit_add_send(FLOW_ALARM, UNIKERNEL_B, key, "p", 1, 0);
        commit_add_state(FLOW_READING, key, i + 1);
        commit_add_counter(COUNTER_FLOW(FLOW_READING, REASON_DONE), 1);
        commit_add_dead(REASON_RANGE, "text", "payload", 7);
        int result = commit_result_of();
        expect(result == COMMIT_OK || result == COMMIT_NOT_NOW);
        ok += result == COMMIT_OK;
        not_now += result == COMMIT_NOT_NOW;
    }
    expect(ok > 3 && not_now > 3);
    // Everything of those that were taken, nothing of the others.
    expect(scalar("SELECT count(*) FROM records") == ok);
    expect(scalar("SELECT count(*) FROM outbox") == ok);
    expect(scalar("SELECT count(*) FROM states") == ok);
    expect(scalar("SELECT value FROM counters") == ok);
    expect(scalar("SELECT count(*) FROM dead_letters") == ok);
    expect(scalar("SELECT count(*) FROM audit") == 2 * ok);
    expect(fixture.page.not_now == (uint64_t)not_now);
    // Reads go on, and when there is room again so do commits.
    expect(version_of(SPACE_HOURS, "k000") > 0);
    expect(scalar("PRAGMA max_page_count = 10000") == 10000);
    commit_new(1000, 0);
    commit_add_read(SPACE_HOURS, ABI_READ_GET, "k059", 0);
    commit_put(SPACE_HOURS, "k059", "v");
    expect(commit_result_of() == COMMIT_OK);
    expect(scalar("SELECT version FROM names WHERE name = 'hours'") == ok + 1);
    fixture_end();
}

TEST(a_batch_that_does_not_fit_is_not_now_for_all)
{
    static char large[4096];
    char key[8];
    memset(large, 'x', sizeof large);
    fixture_begin();
    expect(scalar("PRAGMA max_page_count = 40") == 40);
    for (int attempt = 0; attempt < 2; attempt++) {
        for (uint64_t i = 0; i < 60; i++) {
            snprintf(key, sizeof key, "k%03d", (int)i);
            commit_new(i, 0);
            commit_add_write(SPACE_HOURS, ABI_WRITE_PUT, key, "", large, sizeof large);
            commit_send_it();
        }
        // The disk fills in mid-batch; those before it shared its transaction.
        expect(take() == STATUS_OK);
        int ok = 0;
        for (uint64_t i = 0; i < 60; i++) {
            int result = done_of(i);
            expect(result == COMMIT_OK || result == COMMIT_NOT_NOW);
            ok += result == COMMIT_OK;
        }
        expect(scalar("SELECT count(*) FROM records") == (attempt == 0 ? ok : 60));
        expect(attempt == 0 ? ok < 60 : ok == 60);
        expect(scalar("PRAGMA max_page_count = 10000") == 10000);
    }
    fixture_end();
}

TEST(every_commit_is_flushed)
{
    fixture_begin();
    expect(scalar("PRAGMA synchronous") == 2); // FULL
    expect(scalar("PRAGMA wal_autocheckpoint") == 1000 && scalar("PRAGMA trusted_schema") == 0);
    fixture_end();
}

TEST(malformed_commits_close_the_link_and_change_nothing)
{
    fixture_begin();
    commit_new(1, 0);
    commit_add_read(SPACE_MODELS, ABI_READ_RANGE, "a", 0);
    commit_put(SPACE_MODELS, "abcdefghi", "value");
    commit_add_send(FLOW_ALARM, UNIKERNEL_B, "key", "payload", 7, 0);
    commit_add_state(FLOW_READING, "k", 9);
    commit_add_counter(0, 1);
    commit_add_dead(REASON_FAULT, "text", "payload", 7);
    static uint8_t good[4096];
    size_t size = building.size;
    head()->packet.size = (uint32_t)size;
    memcpy(good, building.bytes, size);
    struct commit_done_facts facts;
    expect(store_begin(&fixture.store) == STATUS_OK);
    // Cut anywhere; any 16-bit word of the header set high; every byte of the sections set to 0xff.
    for (size_t cut = 0; cut < size; cut++) {
        memcpy(building.bytes, good, size);
        head()->packet.size = (uint32_t)cut;
        expect(commit_apply(&fixture.store, building.bytes, cut, 1, &facts) == STATUS_MALFORMED);
    }
    store_rollback(&fixture.store);
    for (size_t at = 40; at < size; at++) {
        expect(store_begin(&fixture.store) == STATUS_OK);
        memcpy(building.bytes, good, size);
        building.bytes[at] = 0xff;
        enum status status = commit_apply(&fixture.store, building.bytes, size, 1, &facts);
        expect(status == STATUS_OK || status == STATUS_MALFORMED);
        store_rollback(&fixture.store);
    }
    memcpy(building.bytes, good, size);
    head()->packet.size = (uint32_t)size - 8;
    expect(channel_send(&fixture.router, building.bytes, size - 8) == STATUS_OK);
    expect(take() == STATUS_MALFORMED);
    expect(scalar("SELECT count(*) FROM audit") == 0);
    fixture_end();
}

TEST(a_counter_cannot_leap_out_of_its_range)
{
    fixture_begin();
    for (uint64_t handle = 1; handle <= 2; handle++) {
        commit_new(handle, 0);
        commit_add_counter(COUNTER_FLOW(FLOW_READING, REASON_DONE), 1ull << 40);
        expect(commit_result_of() == COMMIT_OK);
    }
    commit_new(3, 0);
    commit_add_counter(COUNTER_FLOW(FLOW_READING, REASON_DONE), INT64_MAX);
    commit_send_it();
    expect(take() == STATUS_MALFORMED);
    fixture_end();
}

static const char *last_audit(void)
{
    static char text[AUDIT_RECORD_BYTES_MAX + 1];
    sqlite3_stmt *statement = NULL;
    text[0] = 0;
    if (sqlite3_prepare_v2(fixture.store.db, "SELECT text FROM audit ORDER BY sequence DESC LIMIT 1", -1, &statement,
                           NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        snprintf(text, sizeof text, "%.*s", sqlite3_column_bytes(statement, 0),
                 (const char *)sqlite3_column_blob(statement, 0));
    sqlite3_finalize(statement);
    return text;
}

static void commit_crash(const char *text, const struct link_crash *crash)
{
    commit_new(1, 0);
    struct commit_dead dead = {.reason = REASON_FAULT, .unikernel = UNIKERNEL_A, .flow = FLOW_READING,
                               .text_bytes = (uint16_t)strlen(text), .crash_bytes = sizeof *crash};
    add(&dead, sizeof dead);
    add(text, strlen(text));
    add(crash, sizeof *crash);
    head()->dead_count = 1;
    expect(commit_result_of() == COMMIT_OK);
}

// Those of one transaction and kind, but for one that was tried before.
TEST(events_of_one_transaction_share_a_record)
{
    const uint64_t numbers[] = {7, 8, 11, 12};
    fixture_begin();
    for (size_t i = 0; i < 4; i++) {
        commit_new(numbers[i], 0);
        head()->attempt = numbers[i] == 12 ? 2 : 1;
        commit_add_send(FLOW_ALARM, UNIKERNEL_B, "k", "p", 1, 0);
        commit_send_it();
    }
    expect(take() == STATUS_OK && scalar("SELECT count(*) FROM audit") == 2);
    expect(strstr(last_audit(), "\"number\":7,\"then\":[1,3],\"attempt\":1,\"outcome\":\"done\",\"reads\":0,\"writes\":0,"
                                "\"sends\":3,") != NULL);
    expect(scalar("SELECT count(*) FROM audit WHERE json_extract(text, '$.number') = 12") == 1);
    for (uint64_t i = 0; i < 250; i++) { // as many as fit
        commit_new(1000 * i, 0);
        commit_send_it();
    }
    expect(take() == STATUS_OK);
    expect(scalar("SELECT sum(json_array_length(text, '$.then') + 1) FROM audit WHERE json_extract(text, '$.sends') = 0") == 250);
    expect(scalar("SELECT max(length(text)) FROM audit") < AUDIT_RECORD_BYTES_MAX);
    fixture_end();
}

TEST(each_commit_leaves_its_record)
{
    fixture_begin();
    struct link_crash crash = {.signal = 11, .address = 16, .rip = 0x1a3, .layout.segments[1].bytes = 4096, .build_id = {1, 2}, .last_log = "the \x1b last"};
    commit_new(1, 0);
    expect(commit_result_of() == COMMIT_OK);
    expect(strstr(last_audit(), "{\"kind\":\"commit\",\"unikernel\":\"decode\",\"flow\":\"reading\"") == last_audit());
    commit_crash("SIGSEGV: write to 0x10", &crash);
    expect(strstr(last_audit(), "{\"kind\":\"fault\",\"time_ms\":999,\"unikernel\":\"decode\"") == last_audit());
    expect(strstr(last_audit(), "\"reason\":\"fault\",\"text\":\"SIGSEGV: write to 0x10\",\"address\":16,"
                                "\"instruction\":419,\"build\":\"0102000000000000\"") != NULL);
    expect(strstr(last_audit(), "last\"") != NULL && strchr(last_audit(), 0x1b) == NULL);
    // Words that do not fit are left out; the facts stay.
    char words[COMMIT_TEXT_BYTES_MAX + 1] = {0};
    memset(words, 1, COMMIT_TEXT_BYTES_MAX);
    commit_crash(words, &crash);
    expect(strstr(last_audit(), "\"build\":\"0102000000000000\"}") != NULL && strstr(last_audit(), "\"text\"") == NULL);
    commit_new(1, 0);
    head()->flow = head()->unikernel = SYSTEM_NONE;
    commit_add_counter(COUNTER_FLOW(FLOW_READING, REASON_ENTERED), 7);
    commit_add_counter(COUNTER_FLOW(FLOW_READING, REASON_DONE), 4);
    commit_add_counter(COUNTER_FLOW(FLOW_READING, REASON_FAULT), 2);
    commit_add_counter(COUNTER_FLOW(FLOW_READING, REASON_THROTTLED), 9);
    commit_add_counter(COUNTER_REFUSAL(UNIKERNEL_A, 1), 9);
    expect(commit_result_of() == COMMIT_OK);
    expect(strcmp(last_audit(), "{\"kind\":\"interval\",\"time_ms\":999,\"entered\":7,\"done\":4,\"failed\":2}") == 0);
    fixture_end();
}

// What an ANSWER says was seen goes into the COMMIT as it is.
TEST(what_was_seen_is_validated)
{
    static struct builder reads;
    struct item items[4];
    fixture_begin();
    commit_new(1, 0);
    commit_put(SPACE_MODELS, "a", "one");
    expect(commit_result_of() == COMMIT_OK);
    for (int is_stale = 0; is_stale < 2; is_stale++) {
        reads.size = 0;
        read_add(&reads, SPACE_MODELS, ABI_READ_GET, 1, "a", "");
        read_add(&reads, SPACE_MODELS, ABI_READ_GET, 1, "none", "");
        read_add(&reads, SPACE_MODELS, ABI_READ_RANGE, 1, "z", "");
        read_send(&reads, 5);
        expect(take() == STATUS_OK && answer_items(5, items, 4) == 3 && fixture.seen_count == 3);
        commit_new(2, 0);
        add(fixture.seen, fixture.seen_bytes);
        head()->read_count = (uint16_t)fixture.seen_count;
        static struct builder kept;
        kept = building;
        if (is_stale) {
            commit_new(3, 0);
            commit_put(SPACE_MODELS, "none", "now it is there");
            expect(commit_result_of() == COMMIT_OK);
        }
        building = kept;
        expect(commit_result_of() == (is_stale ? COMMIT_CONFLICT : COMMIT_OK));
    }
    fixture_end();
}

int main(void)
{
    RUN(events_of_one_transaction_share_a_record);
    RUN(each_commit_leaves_its_record);
    RUN(what_was_seen_is_validated);
    fixture_use_all();
    RUN(put_get_delete_and_versions);
    RUN(stale_read_conflicts_and_changes_nothing);
    RUN(one_flush_for_all_that_have_arrived);
    RUN(a_batch_is_bounded);
    RUN(a_read_in_the_middle_sees_only_what_is_committed);
    RUN(an_input_is_consumed_once);
    RUN(twice_in_one_batch_is_a_duplicate_too);
    RUN(a_full_namespace_refuses);
    RUN(a_full_disk_is_not_now_and_nothing_half_done);
    RUN(a_batch_that_does_not_fit_is_not_now_for_all);
    RUN(every_commit_is_flushed);
    RUN(malformed_commits_close_the_link_and_change_nothing);
    RUN(a_counter_cannot_leap_out_of_its_range);
    TEST_END();
}
