// SPDX-License-Identifier: ISC
// Operators: queries, dead letters, who may do what, and the audit rows of it.
#include "store/dead_letters.h"
#include "store/operator.h"
#include "tests/unit/store_fixture.h"

#include <cjson/cJSON.h>
#include <sys/socket.h>

static int execute(const char *sql)
{
    return sqlite3_exec(fixture.store.db, sql, NULL, NULL, NULL);
}

static struct operator_session session;
static int operator_fd;

static cJSON *ask(const char *request)
{
    static char text[600000];
    size_t used = 0;
    expect(send(operator_fd, request, strlen(request), 0) == (ssize_t)strlen(request));
    for (int i = 0; i < 100; i++) {
        expect(operator_serve(&session, &fixture.store, &fixture.link, fixture.now_ms) == STATUS_AGAIN);
        ssize_t got = recv(operator_fd, text + used, sizeof text - 1 - used, MSG_DONTWAIT);
        used += got > 0 ? (size_t)got : 0;
        if (got <= 0)
            break;
    }
    text[used] = '\0';
    // All lines as one array.
    cJSON *lines = cJSON_CreateArray();
    char *rest = text;
    for (char *line; (line = strtok_r(rest, "\n", &rest)) != NULL;)
        cJSON_AddItemToArray(lines, cJSON_Parse(line));
    return lines;
}

static const cJSON *last_of(const cJSON *lines)
{
    return cJSON_GetArrayItem(lines, cJSON_GetArraySize(lines) - 1);
}

static double number_in(const cJSON *line, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(line, name);
    return cJSON_IsNumber(item) ? item->valuedouble : -1;
}

static void operator_begin(uint64_t rights)
{
    int ends[2];
    expect(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    operator_open(&session, ends[0], rights);
    operator_fd = ends[1];
}

static void operator_end(void)
{
    operator_close(&session);
    close(operator_fd);
}

static int is_ok(const char *request)
{
    cJSON *lines = ask(request);
    int is = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(last_of(lines), "ok"));
    cJSON_Delete(lines);
    return is;
}

TEST(operators_query_all_records_once)
{
    static char large[3000];
    char key[8];
    fixture_begin();
    operator_begin(1);
    for (int i = 0; i < 60; i++) {
        snprintf(key, sizeof key, "k%02d", i);
        commit_new((uint64_t)i, 0);
        commit_add_write(SPACE_HOURS, ABI_WRITE_PUT, key, i % 2 == 0 ? "even" : "odd", large, sizeof large);
        expect(commit_result_of() == COMMIT_OK);
    }
    cJSON *lines = ask("{\"op\":\"query\",\"namespace\":\"hours\"}\n");
    expect(cJSON_GetArraySize(lines) == 61 && number_in(last_of(lines), "count") == 60);
    for (int i = 0; i < 60; i++)
        expect(number_in(cJSON_GetArrayItem(lines, i), "version") == i + 1);
    cJSON_Delete(lines);
    lines = ask("{\"op\":\"query\",\"namespace\":\"hours\",\"index\":true,\"from\":\"6f\",\"limit\":7}\n");
    expect(cJSON_GetArraySize(lines) == 8 && number_in(cJSON_GetArrayItem(lines, 6), "version") == 14);
    cJSON_Delete(lines);
    lines = ask("{\"op\":\"query\",\"namespace\":\"hours\",\"from\":\"6b3130\",\"to\":\"6b3132\"}\n");
    expect(cJSON_GetArraySize(lines) == 3);
    cJSON_Delete(lines);
    expect(is_ok("{\"op\":\"describe\",\"namespace\":\"hours\"}\n"));
    expect(is_ok("{\"op\":\"counters\"}\n"));
    expect(!is_ok("{\"op\":\"query\",\"namespace\":\"absent\"}\n"));
    expect(!is_ok("{\"op\":\"query\",\"namespace\":\"hours\",\"from\":\"6\"}\n"));
    expect(!is_ok("nonsense\n") && !is_ok("{\"op\":7}\n") && !is_ok("\n"));
    expect(scalar("SELECT count(*) FROM audit WHERE CAST(text AS TEXT) LIKE '%operator%'") == 4);
    operator_end();
    fixture_end();
}

TEST(dead_letters_are_listed_shown_dropped_and_sent_again)
{
    static const struct { uint32_t sensor; int32_t value; } reading = {7, 42}, bad = {9999, 0};
    fixture_begin();
    operator_begin(3);
    commit_new(1, 0);
    commit_add_dead(REASON_FAULT, "fault at \"x\"\n", &reading, sizeof reading);
    expect(commit_result_of() == COMMIT_OK);
    commit_new(2, 0);
    commit_add_dead(REASON_RANGE, "range reading.sensor", &bad, sizeof bad);
    expect(commit_result_of() == COMMIT_OK);
    expect(fixture.page.dead_letters == 2);
    cJSON *lines = ask("{\"op\":\"deadletter\",\"action\":\"list\"}\n");
    expect(cJSON_GetArraySize(lines) == 3 && number_in(last_of(lines), "count") == 2);
    cJSON_Delete(lines);
    lines = ask("{\"op\":\"deadletter\",\"action\":\"show\",\"id\":1}\n");
    const char *payload = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(last_of(lines), "payload"));
    expect(payload != NULL && strcmp(payload, "070000002a000000") == 0);
    cJSON_Delete(lines);
    // What is no valid message of the flow does not enter it.
    expect(!is_ok("{\"op\":\"deadletter\",\"action\":\"resubmit\",\"id\":2}\n"));
    give_credit(UNIKERNEL_A, 1);
    give_credit(UNIKERNEL_B, 1);
    expect(is_ok("{\"op\":\"deadletter\",\"action\":\"resubmit\",\"id\":1}\n"));
    struct commit_packet *packet = receive();
    expect(packet != NULL && packet->kind == COMMIT_COUNTER);
    packet = receive();
    expect(packet != NULL && packet->kind == COMMIT_SPOOL && packet->handle == FLOW_READING);
    packet = receive();
    expect(packet != NULL && packet->kind == COMMIT_OUTBOX);
    struct commit_outbox outbox;
    memcpy(&outbox, fixture.packet, sizeof outbox);
    // To the unikernel where it failed, and to nobody else; with its principal and its key.
    expect(outbox.send.receiver == UNIKERNEL_A && outbox.send.principal == 1 && receive() == NULL);
    expect(outbox.send.key_bytes == 4 && memcmp(fixture.packet + sizeof outbox, "\0\0\0\7", 4) == 0);
    expect(!is_ok("{\"op\":\"deadletter\",\"action\":\"resubmit\",\"id\":1}\n"));
    expect(is_ok("{\"op\":\"deadletter\",\"action\":\"drop\",\"id\":2}\n"));
    expect(!is_ok("{\"op\":\"deadletter\",\"action\":\"drop\",\"id\":2}\n"));
    expect(fixture.page.dead_letters == 0 && scalar("SELECT count(*) FROM dead_letters") == 0);
    expect(scalar("SELECT value FROM counters WHERE code = 0") == 1);
    expect(scalar("SELECT count(*) FROM audit WHERE CAST(text AS TEXT) LIKE '%\"action\":\"resubmit\"%'") == 1);
    operator_end();
    operator_begin(1); // may only read
    expect(!is_ok("{\"op\":\"deadletter\",\"action\":\"drop\",\"id\":1}\n"));
    operator_end();
    fixture_end();
}

#define SHARE (DEAD_LETTERS_MAX / 3) // of two flows, and of those that are gone

static void give_dead(uint16_t flow, uint64_t count, const void *payload, size_t size)
{
    for (uint64_t i = 0; i < count; i++) {
        commit_new(i, 0);
        commit_add_dead(REASON_FAULT, "t", payload, size);
        struct commit_dead *dead = (struct commit_dead *)(void *)(building.bytes + sizeof(struct commit_header));
        dead->flow = flow;
        commit_send_it();
        if (i % 10 != 9 && i + 1 != count)
            continue;
        expect(take() == STATUS_OK);
        while (receive() != NULL)
            ;
    }
}

static int64_t dead_of(const char *flow)
{
    char sql[160];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM dead_letters WHERE flow = (SELECT id FROM names WHERE name = '%s')",
             flow);
    return scalar(sql);
}

static int64_t dropped(void)
{
    return scalar("SELECT coalesce(sum(json_extract(text, '$.count')), 0) FROM audit"
                  " WHERE json_extract(text, '$.kind') = 'dead_letter_dropped'");
}

// One flow's poison pushes out its own oldest, each of which is counted; nothing of another's.
TEST(dead_letters_of_one_flow_push_out_no_other)
{
    fixture_begin();
    give_dead(FLOW_ALARM, 3, "p", 1);
    give_dead(FLOW_READING, SHARE + 20, "p", 1);
    expect(dead_of("reading") == SHARE && dead_of("alarm") == 3 && dropped() == 20);
    expect(scalar("SELECT min(id) FROM dead_letters") == 1 && fixture.page.dead_letters == SHARE + 3);
    expect(scalar("SELECT min(id) FROM dead_letters WHERE id > 3") == 24); // the oldest went
    // What is known in memory is what is there, also after a start.
    fixture_close();
    expect(fixture_open() == STATUS_OK && fixture.store.state.dead[FLOW_READING].count == SHARE);
    expect(fixture.store.state.dead[FLOW_ALARM].bytes == 3 * (DEAD_LETTER_ROW_BYTES + 2) && dropped() == 20);
    fixture_end();
}

TEST(dead_letters_have_a_share_of_bytes)
{
    static uint8_t large[4000];
    uint64_t fit = DEAD_LETTERS_BYTES / 3 / (DEAD_LETTER_ROW_BYTES + 1 + sizeof large);
    fixture_begin();
    int code = execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)"
                   " INSERT INTO dead_letters(time_ms, reason, unikernel, flow, number, attempt, principal, text, payload)"
                   " SELECT 1, 5, 1, (SELECT id FROM names WHERE name = 'reading'), i, 1, 0, x'74', zeroblob(4000) FROM n");
    expect(code == SQLITE_OK);
    fixture_close();
    expect(fixture_open() == STATUS_OK); // more than the share: at once
    say_hello();
    while (receive() != NULL)
        ;
    expect(fit < SHARE * 2 && dead_of("reading") == (int64_t)(fit < SHARE ? fit : SHARE));
    give_dead(FLOW_READING, 1, large, sizeof large);
    expect(dead_of("reading") == (int64_t)(fit < SHARE ? fit : SHARE) && dropped() == 6001 - dead_of("reading"));
    fixture_end();
}

// Flows that the system no longer has share one part.
TEST(dead_letters_of_flows_that_are_gone)
{
    fixture_begin();
    give_dead(FLOW_ALARM, 2, "p", 1);
    int code = execute("INSERT INTO names(kind, name, digest, version) VALUES(1, 'old', x'00', 0), (1, 'older', x'00', 0);"
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)"
                   " INSERT INTO dead_letters(time_ms, reason, unikernel, flow, number, attempt, principal, text, payload)"
                   " SELECT 1, 5, 1, (SELECT id FROM names WHERE name = iif(i % 2, 'old', 'older')), i, 1, 0, x'74', x''"
                   " FROM n");
    expect(code == SQLITE_OK);
    fixture_close();
    expect(fixture_open() == STATUS_OK && dead_of("alarm") == 2 && dropped() == 4000 - SHARE);
    expect(dead_of("old") + dead_of("older") == SHARE && scalar("SELECT min(id) FROM dead_letters WHERE id > 2") == 3 + 4000 - SHARE);
    fixture_end();
}

// All of a flow, in order; a full flow takes what it can, what cannot enter it stays.
TEST(many_are_sent_again)
{
    static const struct { uint32_t sensor; int32_t value; } good = {7, 42}, bad = {9999, 0};
    fixture_begin();
    operator_begin(3);
    give_dead(FLOW_READING, 1, &bad, sizeof bad);
    give_dead(FLOW_READING, 5, &good, sizeof good);
    give_dead(FLOW_ALARM, 1, &good, sizeof good);
    fixture_flows[FLOW_READING].cap = 3;
    cJSON *lines = ask("{\"op\":\"deadletter\",\"action\":\"resubmit\",\"flow\":\"reading\"}\n");
    const cJSON *last = last_of(lines);
    expect(number_in(last, "count") == 3 && number_in(last, "kept") == 1);
    expect(cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(last, "is_more")));
    expect(strcmp(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(last, "why")), "its flow is full") == 0);
    cJSON_Delete(lines);
    expect(scalar("SELECT count(*) FROM outbox") == 3 && dead_of("reading") == 3 && dead_of("alarm") == 1);
    expect(scalar("SELECT value FROM counters WHERE code = 0") == 3 && fixture.page.spooled[FLOW_READING] == 3);
    expect(!is_ok("{\"op\":\"deadletter\",\"action\":\"resubmit\",\"id\":5}\n")); // full
    fixture_flows[FLOW_READING].cap = 100000;
    expect(is_ok("{\"op\":\"deadletter\",\"action\":\"resubmit\",\"flow\":\"reading\"}\n") && dead_of("reading") == 1);
    expect(is_ok("{\"op\":\"deadletter\",\"action\":\"drop\",\"flow\":\"reading\"}\n") && dead_of("reading") == 0);
    expect(!is_ok("{\"op\":\"deadletter\",\"action\":\"drop\",\"flow\":\"redaing\"}\n") && dead_of("alarm") == 1);
    lines = ask("{\"op\":\"deadletter\",\"action\":\"list\",\"flow\":\"alarm\"}\n");
    expect(cJSON_GetArraySize(lines) == 2);
    cJSON_Delete(lines);
    int64_t said = scalar("SELECT sum(json_extract(text, '$.count')) FROM audit WHERE"
                          " json_extract(text, '$.action') = 'resubmit' AND json_extract(text, '$.flow') = 'reading'");
    expect(said == 5);
    operator_end();
    fixture_end();
}

// Where the newest is kept a message that failed once pushes out nothing: it enters if there is room.
TEST(what_is_sent_again_displaces_nothing)
{
    static const struct { uint32_t sensor; int32_t value; } good = {7, 42};
    fixture_flows[FLOW_READING].cap = 6; // of three messages for two receivers
    fixture_flows[FLOW_READING].is_newest_kept = 1;
    fixture_begin();
    operator_begin(3);
    give_dead(FLOW_READING, 5, &good, sizeof good);
    for (int i = 0; i < 4; i++) {
        commit_new(1, 0);
        commit_add_send(FLOW_READING, UNIKERNEL_A, "", "fresh", 5, 0);
        expect(commit_result_of() == COMMIT_OK);
    }
    cJSON *lines = ask("{\"op\":\"deadletter\",\"action\":\"resubmit\",\"flow\":\"reading\"}\n");
    const cJSON *last = last_of(lines);
    expect(number_in(last, "count") == 2 && number_in(last, "left") == 3 && number_in(last, "kept") == 0);
    expect(strstr(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(last, "why")), "is full") != NULL);
    cJSON_Delete(lines);
    expect(!is_ok("{\"op\":\"deadletter\",\"action\":\"resubmit\",\"id\":5}\n"));
    expect(scalar("SELECT count(*) FROM outbox WHERE payload = x'6672657368'") == 4 && dead_of("reading") == 3);
    expect(scalar("SELECT count(*) FROM outbox") == 6);
    fixture_flows[FLOW_READING].cap = 100000;
    fixture_flows[FLOW_READING].is_newest_kept = 0;
    operator_end();
    fixture_end();
}

static struct commit_state forgotten; // of the last STATE without parts that the router got

static int is_told(const char *key)
{
    struct commit_packet *packet = receive();
    if (packet == NULL || packet->kind != COMMIT_STATE || packet->size != sizeof *packet + sizeof forgotten + 8)
        return 0;
    memcpy(&forgotten, fixture.packet + sizeof *packet, sizeof forgotten);
    return forgotten.flow == FLOW_READING && forgotten.part_bytes == 0 && forgotten.key_bytes == strlen(key) &&
           memcmp(fixture.packet + sizeof *packet + sizeof forgotten, key, strlen(key)) == 0;
}

TEST(states_of_keys_are_listed_and_forgotten)
{
    char key[8];
    fixture_begin();
    operator_begin(3);
    for (uint64_t i = 0; i < 700; i++) {
        snprintf(key, sizeof key, "k%03d", (int)i);
        commit_new(i, 0);
        commit_add_state(FLOW_READING, key, i);
        expect(commit_result_of() == COMMIT_OK);
    }
    commit_new(9, 0);
    commit_add_state(FLOW_ALARM, "", 9); // of a flow without key
    expect(commit_result_of() == COMMIT_OK);
    cJSON *lines = ask("{\"op\":\"state\",\"action\":\"list\",\"flow\":\"reading\"}\n");
    const cJSON *item = cJSON_GetArrayItem(lines, 699);
    expect(cJSON_GetArraySize(lines) == 701 && number_in(last_of(lines), "count") == 700);
    expect(strcmp(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "key")), "6b363939") == 0);
    expect(strcmp(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "parts")), "0100000008000000bb02000000000000") == 0);
    cJSON_Delete(lines);
    lines = ask("{\"op\":\"state\",\"action\":\"list\",\"flow\":\"alarm\"}\n");
    expect(cJSON_GetArraySize(lines) == 2);
    cJSON_Delete(lines);
    expect(is_ok("{\"op\":\"state\",\"action\":\"forget\",\"flow\":\"reading\",\"key\":\"6b303033\"}\n") && is_told("k003"));
    expect(scalar("SELECT count(*) FROM states WHERE key = x'6b303033'") == 0 && scalar("SELECT count(*) FROM states") == 700);
    expect(scalar("SELECT count(*) FROM audit WHERE json_extract(text, '$.key') = '6b303033'") == 1);
    expect(!is_ok("{\"op\":\"state\",\"action\":\"forget\",\"flow\":\"reading\",\"key\":\"6b303033\"}\n")); // nothing there
    expect(!is_ok("{\"op\":\"state\",\"action\":\"forget\",\"flow\":\"reading\",\"key\":\"6b3\"}\n"));
    expect(!is_ok("{\"op\":\"state\",\"action\":\"list\",\"flow\":\"redaing\"}\n") && receive() == NULL);
    session.rights = 1;
    expect(!is_ok("{\"op\":\"state\",\"action\":\"forget\",\"flow\":\"reading\",\"key\":\"6b303034\"}\n"));
    expect(scalar("SELECT count(*) FROM states") == 700);
    operator_end();
    fixture_end();
}

int main(void)
{
    fixture_use_all();
    RUN(operators_query_all_records_once);
    RUN(dead_letters_are_listed_shown_dropped_and_sent_again);
    RUN(dead_letters_of_one_flow_push_out_no_other);
    RUN(dead_letters_have_a_share_of_bytes);
    RUN(dead_letters_of_flows_that_are_gone);
    RUN(many_are_sent_again);
    RUN(what_is_sent_again_displaces_nothing);
    RUN(states_of_keys_are_listed_and_forgotten);
    TEST_END();
}
