// SPDX-License-Identifier: ISC
// What a store finds when it is started: power cuts at any byte of the journal, another system file, an
// audit log to catch up with.
#include "core/manifest.h"
#include "store/audit_rows.h"
#include "tests/unit/store_fixture.h"

#include <fcntl.h>

static int execute(const char *sql)
{
    return sqlite3_exec(fixture.store.db, sql, NULL, NULL, NULL);
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

// One commit does everything at once, so after a cut all tables tell the same number of commits.
TEST(a_cut_anywhere_in_the_journal_leaves_whole_commits)
{
    static uint8_t base[1 << 20], journal[1 << 20];
    static struct store copy;
    static struct store_page page;
    char path[160], key[8];
    fixture_begin();
    for (uint64_t i = 1; i <= 12; i++) {
        snprintf(key, sizeof key, "k%02d", (int)i);
        commit_new(i, 0);
        commit_put(SPACE_HOURS, key, "value");
        commit_add_send(FLOW_ALARM, UNIKERNEL_B, "", "m", 1, 0);
        commit_add_state(FLOW_READING, key, i);
        commit_add_counter(COUNTER_FLOW(FLOW_READING, REASON_DONE), 1);
        expect(commit_result_of() == COMMIT_OK);
    }
    snprintf(path, sizeof path, "%s-wal", fixture.path);
    size_t base_bytes = read_file(fixture.path, base, sizeof base);
    size_t journal_bytes = read_file(path, journal, sizeof journal);
    expect(journal_bytes > 20000 && journal_bytes < sizeof journal);
    int64_t former = -1;
    for (size_t cut = 0; cut <= journal_bytes; cut += cut + 997 < journal_bytes || cut == journal_bytes
                                                             ? 997
                                                             : journal_bytes - cut) {
        int is_torn = cut % 2 == 1; // the last bytes are garbage instead of missing
        snprintf(path, sizeof path, "%s/copy.db", fixture.folder);
        write_file(path, base, base_bytes);
        snprintf(path, sizeof path, "%s/copy.db-wal", fixture.folder);
        write_file(path, journal, cut);
        if (is_torn && cut > 600) {
            int fd = open(path, O_WRONLY);
            expect(pwrite(fd, base, 512, (off_t)cut - 512) == 512);
            close(fd);
        }
        snprintf(path, sizeof path, "%s/copy.db", fixture.folder);
        enum status status = store_open(&copy, path, &fixture.system, &page);
        expect(status == STATUS_OK);
        if (status != STATUS_OK)
            break;
        sqlite3 *kept = fixture.store.db;
        fixture.store.db = copy.db;
        int64_t count = scalar("SELECT count(*) FROM records");
        expect(count >= 0 && count <= 12);
        expect(is_torn || count >= former);
        former = is_torn ? former : count;
        expect(scalar("SELECT count(*) FROM outbox") == count);
        expect(scalar("SELECT count(*) FROM states") == count);
        expect(scalar("SELECT coalesce(max(value), 0) FROM counters") == count);
        expect(scalar("SELECT count(*) FROM audit") == count);
        expect(count == 0 || scalar("SELECT version FROM names WHERE name = 'hours'") == count);
        fixture.store.db = kept;
        store_close(&copy);
    }
    expect(former == 12); // the whole journal: everything
    fixture_end();
}

TEST(a_namespace_of_another_schema_is_refused_by_name)
{
    fixture_begin();
    commit_new(1, 0);
    commit_put(SPACE_MODELS, "a", "v");
    expect(commit_result_of() == COMMIT_OK);
    store_close(&fixture.store);
    fixture_schema.header.digest[5] ^= 1;
    expect(store_open(&fixture.store, fixture.path, &fixture.system, &fixture.page) == STATUS_CONFLICT);
    expect(strstr(fixture.store.error, "namespace models holds records (1)") != NULL);
    expect(strstr(fixture.store.error, "mend:") != NULL);
    fixture_schema.header.digest[5] ^= 1;
    fixture_namespaces[SPACE_MODELS].key_fields[0] = 1; // another key
    expect(store_open(&fixture.store, fixture.path, &fixture.system, &fixture.page) == STATUS_CONFLICT);
    fixture_namespaces[SPACE_MODELS].key_fields[0] = 0;
    fixture_namespaces[SPACE_HOURS].key_fields[0] = 1; // an empty one may change
    expect(store_open(&fixture.store, fixture.path, &fixture.system, &fixture.page) == STATUS_OK);
    fixture_namespaces[SPACE_HOURS].key_fields[0] = 0;
    fixture_end();
}

TEST(waiting_messages_keep_their_flow_whatever_its_index)
{
    fixture_begin();
    commit_new(1, 0);
    commit_put(SPACE_HOURS, "a", "v");
    commit_add_send(FLOW_ALARM, UNIKERNEL_B, "", "m", 1, 0);
    expect(commit_result_of() == COMMIT_OK);
    fixture_close();
    // The next version of the system names the same things in another order.
    struct system_flow flow = fixture_flows[0];
    struct system_unikernel unikernel = fixture_unikernels[0];
    struct system_namespace space = fixture_namespaces[0];
    fixture_flows[0] = fixture_flows[1];
    fixture_flows[1] = flow;
    fixture_unikernels[0] = fixture_unikernels[1];
    fixture_unikernels[1] = unikernel;
    fixture_namespaces[0] = fixture_namespaces[1];
    fixture_namespaces[1] = space;
    fixture_flows[0].receivers[0].index = 0;
    expect(fixture_open() == STATUS_OK);
    say_hello();
    while (receive() != NULL)
        ;
    give_credit(0, 5); // detect is now the first
    struct commit_packet *packet = receive();
    expect(packet != NULL && packet->kind == COMMIT_OUTBOX);
    struct commit_outbox outbox;
    memcpy(&outbox, fixture.packet, sizeof outbox);
    expect(outbox.send.flow == 0 && outbox.send.receiver == 0);
    expect(version_of(0, "a") == 1 && version_of(1, "a") == 0);
    fixture_close();
    // It no longer goes to that unikernel: refused, by name.
    fixture_flows[0].receivers[0].index = 1;
    expect(fixture_open() == STATUS_CONFLICT);
    expect(strstr(fixture.store.error, "messages wait on flow alarm for detect") != NULL);
    fixture_flows[0].receivers[0].index = 0;
    fixture_flows[0].is_durable = 0; // nobody would ever ask for them
    expect(fixture_open() == STATUS_CONFLICT);
    expect(strstr(fixture.store.error, "is no longer durable") != NULL);
    fixture_flows[0].is_durable = 1;
    snprintf(fixture_flows[0].name, sizeof fixture_flows[0].name, "other");
    expect(fixture_open() == STATUS_CONFLICT);
    snprintf(fixture_flows[0].name, sizeof fixture_flows[0].name, "alarm");
    expect(fixture_open() == STATUS_OK);
    fixture_flows[1] = fixture_flows[0];
    fixture_flows[0] = flow;
    fixture_unikernels[1] = fixture_unikernels[0];
    fixture_unikernels[0] = unikernel;
    fixture_namespaces[1] = fixture_namespaces[0];
    fixture_namespaces[0] = space;
    fixture_flows[1].receivers[0].index = UNIKERNEL_B;
    fixture_end();
}

static enum status reopen(void)
{
    fixture_close();
    return fixture_open();
}

// A message that waits is what it was sent as: a plain one is no request, nor for everybody; and who asked is who is answered.
TEST(waiting_messages_keep_their_kind)
{
    struct system_flow *flow = &fixture_flows[FLOW_ALARM];
    fixture_begin();
    commit_new(1, 0);
    commit_add_send(FLOW_ALARM, UNIKERNEL_B, "", "m", 1, 0);
    expect(commit_result_of() == COMMIT_OK);
    flow->is_broadcast = 1;
    expect(reopen() == STATUS_CONFLICT && strstr(fixture.store.error, "1 messages wait on flow alarm for detect") != NULL &&
           strstr(fixture.store.error, "is of another kind") != NULL);
    flow->is_broadcast = 0;
    flow->kind = SYSTEM_REQUEST;
    expect(fixture_open() == STATUS_CONFLICT);
    flow->kind = SYSTEM_PLAIN;
    fixture_unikernels[UNIKERNEL_B].lifetime = LIFETIME_CONNECTION;
    expect(fixture_open() == STATUS_CONFLICT);
    fixture_unikernels[UNIKERNEL_B].lifetime = LIFETIME_MESSAGE;
    flow->sender = UNIKERNEL_B; // a plain one may come from another
    expect(fixture_open() == STATUS_OK);
    flow->sender = UNIKERNEL_A;
    flow->kind = SYSTEM_REQUEST;
    int code = execute("UPDATE names SET version = 0 WHERE name = 'alarm'"); // an older store did not know
    expect(code == SQLITE_OK && reopen() == STATUS_OK);
    flow->sender = UNIKERNEL_B;
    expect(reopen() == STATUS_CONFLICT && strstr(fixture.store.error, "comes from another") != NULL);
    flow->sender = UNIKERNEL_A;
    expect(fixture_open() == STATUS_OK);
    code = execute("DELETE FROM outbox");
    flow->kind = SYSTEM_PLAIN; // nothing waits
    expect(code == SQLITE_OK && reopen() == STATUS_OK);
    fixture_end();
}

// What a version on trial leaves is what it found, so the version before can go on.
TEST(a_version_on_trial_changes_nothing)
{
    int is_more = 0;
    static const char all[] = "SELECT (SELECT count(*) FROM outbox) || ' ' || (SELECT count(*) FROM records) || ' ' ||"
                              " (SELECT count(*) FROM states) || ' ' || (SELECT count(*) FROM dead_letters) || ' ' ||"
                              " (SELECT sum(value) FROM counters) || ' ' || (SELECT count(*) FROM audit) || ' ' ||"
                              " (SELECT version FROM names WHERE name = 'reading')";
    fixture_begin();
    commit_new(1, 0);
    commit_put(SPACE_HOURS, "a", "v");
    commit_add_send(FLOW_ALARM, UNIKERNEL_B, "", "m", 1, 0);
    commit_add_state(FLOW_READING, "k", 1);
    commit_add_counter(COUNTER_FLOW(FLOW_READING, REASON_DONE), 1);
    expect(commit_result_of() == COMMIT_OK);
    // More dead letters than a flow's share will be in a system of more flows.
    int code = execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
                       " INSERT INTO dead_letters(time_ms, reason, unikernel, flow, number, attempt, principal, text, payload)"
                       " SELECT 1, 5, 1, (SELECT id FROM names WHERE name = 'reading'), i, 1, 0, x'74', x'' FROM n");
    expect(code == SQLITE_OK);
    char before[80] = "", after[80] = "";
    sqlite3_stmt *statement = NULL;
    for (int i = 0; i < 2; i++) {
        expect(sqlite3_prepare_v2(fixture.store.db, all, -1, &statement, NULL) == SQLITE_OK &&
               sqlite3_step(statement) == SQLITE_ROW);
        snprintf(i == 0 ? before : after, sizeof before, "%s", (const char *)sqlite3_column_text(statement, 0));
        sqlite3_finalize(statement);
        fixture_close();
        if (i != 0)
            break;
        fixture.is_on_trial = 1;
        fixture_flow_count = 3;
        fixture_flows[FLOW_ALARM].live_ms = 1;
        fixture_flows[FLOW_READING].kind = SYSTEM_REQUEST; // nothing waits on it
        expect(fixture_open() == STATUS_OK);
        say_hello();
        while (receive() != NULL)
            ;
        give_credit(UNIKERNEL_B, 5);
        expect(receive() == NULL); // nothing is given out
        commit_new(2, 0);
        commit_put(SPACE_HOURS, "b", "v");
        expect(commit_result_of() == COMMIT_NOT_NOW);
        expect(version_of(SPACE_HOURS, "a") == 1); // reads go on
        expect(router_link_expire(&fixture.link, &fixture.store, fixture.now_ms, &is_more) == STATUS_OK && receive() == NULL);
    }
    expect(before[0] != 0 && strcmp(before, after) == 0);
    // The version before goes on; one that is confirmed does, too.
    fixture.is_on_trial = 0;
    fixture_flow_count = 2;
    fixture_flows[FLOW_ALARM].live_ms = 0;
    fixture_flows[FLOW_READING].kind = SYSTEM_PLAIN;
    expect(fixture_open() == STATUS_OK);
    fixture_close();
    fixture.is_on_trial = 1;
    expect(fixture_open() == STATUS_OK);
    say_hello();
    while (receive() != NULL)
        ;
    give_credit(UNIKERNEL_B, 5);
    expect(receive() == NULL && store_confirm(&fixture.store) == STATUS_OK);
    expect(router_link_push(&fixture.link, &fixture.store, fixture.now_ms) == STATUS_OK && receive() != NULL);
    commit_new(3, 0);
    expect(commit_result_of() == COMMIT_OK);
    fixture_end();
}

// A program that cannot read the file says so and leaves it alone: it may be of a newer Crenel, or of a far older one.
TEST(a_foreign_or_damaged_file_is_refused)
{
    static uint8_t bytes[1 << 20], after[1 << 20];
    fixture_begin();
    store_close(&fixture.store);
    size_t size = read_file(fixture.path, bytes, sizeof bytes);
    for (uint8_t format = 1; format <= DATABASE_FORMAT + 1; format += DATABASE_FORMAT) {
        char words[64];
        bytes[63] = format; // user_version
        write_file(fixture.path, bytes, size);
        expect(store_open(&fixture.store, fixture.path, &fixture.system, &fixture.page) == STATUS_VERSION);
        snprintf(words, sizeof words, "has format %u, this program speaks %u; mend: start", format, DATABASE_FORMAT);
        expect(strstr(fixture.store.error, words) != NULL);
        expect(read_file(fixture.path, after, sizeof after) == size && memcmp(bytes, after, size) == 0);
    }
    memset(bytes, 'x', 100);
    write_file(fixture.path, bytes, size);
    expect(store_open(&fixture.store, fixture.path, &fixture.system, &fixture.page) == STATUS_SYSTEM);
    expect(fixture.store.error[0] != '\0');
    fixture_end();
}

// ---- The audit process's end of the feed ----
static struct audit_feed feed;
static struct channel audit_end;
static uint8_t feed_buffer[65536];

static void feed_open(void)
{
    static _Alignas(8) uint8_t inbox[AUDIT_PACKET_BYTES];
    int ends[2];
    expect(channel_pair(ends) == STATUS_OK);
    feed = (struct audit_feed){0};
    channel_init(&feed.channel, ends[0], feed_buffer, sizeof feed_buffer);
    channel_init(&audit_end, ends[1], NULL, 0);
    channel_gather(&audit_end, NULL, inbox, sizeof inbox);
}

static void feed_close(void)
{
    channel_close(&feed.channel);
    channel_close(&audit_end);
}

static enum status acknowledge(uint64_t sequence)
{
    struct audit_packet packet = {sizeof packet, AUDIT_ACK, AUDIT_SOURCE_STORE, sequence};
    expect(channel_send(&audit_end, &packet, sizeof packet) == STATUS_OK);
    return audit_feed_take(&feed, &fixture.store);
}

// How many RECORDs are there, which must follow on `sequence`.
static uint64_t records_after(uint64_t sequence)
{
    static uint8_t bytes[sizeof(struct audit_packet) + AUDIT_RECORD_BYTES_MAX];
    uint64_t count = 0;
    size_t size;
    expect(audit_feed_push(&feed, &fixture.store) == STATUS_OK);
    while (channel_receive(&audit_end, bytes, sizeof bytes, &size, 0) == STATUS_OK) {
        struct audit_packet packet;
        memcpy(&packet, bytes, sizeof packet);
        expect(packet.sequence == sequence + ++count && packet.size == size);
        (void)!channel_flush(&feed.channel);
        expect(audit_feed_push(&feed, &fixture.store) == STATUS_OK);
    }
    return count;
}

static void commit_many(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        commit_new(i, 0);
        expect(commit_result_of() == COMMIT_OK);
    }
}

TEST(audit_rows_stay_until_they_are_acknowledged)
{
    fixture_begin();
    feed_open();
    const uint64_t all = AUDIT_WINDOW + 188;
    commit_many(all);
    expect(records_after(0) == 0); // nothing before the audit process has said where it stands
    expect(acknowledge(0) == STATUS_OK);
    expect(records_after(0) == AUDIT_WINDOW && records_after(0) == 0);
    expect(acknowledge(all - 200) == STATUS_OK && records_after(AUDIT_WINDOW) == 188);
    expect(fixture.page.audit_waiting == 200);
    commit_many(1); // deletes what was acknowledged, too
    expect(scalar("SELECT min(sequence) FROM audit") == all - 199);
    // Started again, both: it goes on behind what the log has.
    feed_close();
    fixture_close();
    expect(fixture_open() == STATUS_OK);
    expect(fixture.page.audit_waiting == 201);
    feed_open();
    expect(acknowledge(all - 100) == STATUS_OK && records_after(all - 100) == 101);
    expect(acknowledge(all + 1) == STATUS_OK && fixture.page.audit_waiting == 0);
    // A sequence is not used again, not even when every row has gone.
    expect(store_begin(&fixture.store) == STATUS_OK && store_commit(&fixture.store) == STATUS_OK);
    expect(scalar("SELECT count(*) FROM audit") == 0);
    fixture_close();
    expect(fixture_open() == STATUS_OK);
    say_hello();
    while (receive() != NULL)
        ;
    commit_many(1);
    expect(scalar("SELECT max(sequence) FROM audit") == all + 2);
    // A log that knows more than this store ever wrote belongs to another one.
    feed.is_greeted = 0;
    expect(acknowledge(9999) == STATUS_CONFLICT);
    feed_close();
    fixture_end();
}

TEST(without_audit_a_system_that_says_stop_stops)
{
    int code;
    fixture_begin();
    fixture_header.stop_on_audit_failure = 1;
    code = execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100001)"
                        " INSERT INTO audit(text) SELECT '{}' FROM n");
    expect((code & 0xff) == SQLITE_CONSTRAINT); // STRICT: text is no blob
    code = execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100001)"
                        " INSERT INTO audit(text) SELECT x'7b7d' FROM n");
    expect(code == SQLITE_OK);
    fixture.store.state.audit_last = 100001;
    commit_new(1, 0);
    expect(commit_result_of() == COMMIT_NOT_NOW);
    expect(version_of(SPACE_HOURS, "a") == 0); // reads go on
    fixture_header.stop_on_audit_failure = 0;
    commit_new(1, 0);
    expect(commit_result_of() == COMMIT_OK);
    fixture_end();
}

int main(void)
{
    fixture_use_all();
    RUN(a_cut_anywhere_in_the_journal_leaves_whole_commits);
    RUN(a_namespace_of_another_schema_is_refused_by_name);
    RUN(waiting_messages_keep_their_flow_whatever_its_index);
    RUN(waiting_messages_keep_their_kind);
    RUN(a_version_on_trial_changes_nothing);
    RUN(a_foreign_or_damaged_file_is_refused);
    RUN(audit_rows_stay_until_they_are_acknowledged);
    RUN(without_audit_a_system_that_says_stop_stops);
    TEST_END();
}
