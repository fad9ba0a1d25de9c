// SPDX-License-Identifier: ISC
// Fuzz target: what an operator sends to the store, on a real database. Its socket is a piece of memory, and a commit
// is rolled back, so that one input is like any other.
//
// Input: the operator's rights (two bits), where the socket has a short moment (two bytes), the request lines.
// What must hold: each whole line gets its reply, lines of JSON of which the last alone says "end"; nothing is changed
// without the right to.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
#include "proto/control.h"
#include "store/audit_rows.h"
#include "store/commit.h"
#include "store/operator.h"
#include "tests/fuzz/sqlite_memory.h"
#include "tests/unit/store_fixture.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <sys/socket.h>

static struct {
    const uint8_t *bytes; // the requests
    size_t size, at, pause;
    char reply[1 << 20];
    size_t reply_bytes;
} wire;

ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags);
enum status __wrap_store_commit(struct store *store);

ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags)
{
    (void)fd, (void)flags;
    size_t count = wire.size - wire.at < size ? wire.size - wire.at : size;
    if (count > wire.pause)
        count = wire.pause;
    errno = EAGAIN;
    if (count == 0)
        return -1;
    memcpy(bytes, wire.bytes + wire.at, count);
    wire.at += count;
    return (ssize_t)count;
}

ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags)
{
    (void)fd, (void)flags;
    size_t count = size < wire.pause * 16 ? size : wire.pause * 16;
    must(sizeof wire.reply - wire.reply_bytes > count);
    memcpy(wire.reply + wire.reply_bytes, bytes, count);
    wire.reply_bytes += count;
    return (ssize_t)count;
}

// A resubmission looks at the count of transactions to see whether it was done.
enum status __wrap_store_commit(struct store *store)
{
    audit_rows_settled(store);
    store_rollback(store);
    store->page->transactions++;
    return STATUS_OK;
}

static void begin(void)
{
    static const uint8_t reading[8] = {1, 0, 0, 0, 2};
    static int is_open;
    if (is_open)
        return;
    is_open = 1;
    must(sqlite_memory_use());
    fixture_begin();
    must(test_why == NULL);
    atexit(fixture_end);
    must(store_begin(&fixture.store) == STATUS_OK);
    for (uint64_t i = 0; i < 12; i++) {
        struct commit_done_facts done;
        char key[8];
        snprintf(key, sizeof key, "k%llu", (unsigned long long)i);
        commit_new(i + 1, 0);
        commit_add_write(SPACE_HOURS, ABI_WRITE_PUT, key, i % 2 == 0 ? key : "", reading, sizeof reading);
        if (i < 3)
            commit_put(SPACE_MODELS, key, "x");
        commit_add_counter(COUNTER_FLOW(FLOW_READING, REASON_DONE), 1);
        if (i % 3 == 0)
            commit_add_dead(REASON_RANGE, "range reading.value", reading, i == 0 ? 0 : sizeof reading);
        head()->packet.size = (uint32_t)building.size;
        must(commit_apply(&fixture.store, building.bytes, building.size, 1000, &done) == STATUS_OK &&
             done.result == COMMIT_OK);
    }
    must(sqlite3_exec(fixture.store.db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK);
    fixture.store.is_in_transaction = 0;
    channel_close(&fixture.link.channel); // no router: it asks at its start
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static const char *const seeds[] = {
        "{\"op\":\"describe\",\"namespace\":\"hours\"}\n{\"op\":\"describe\",\"namespace\":\"none\"}\n",
        "{\"op\":\"query\",\"namespace\":\"hours\",\"from\":\"6b31\",\"to\":\"6b39\",\"limit\":3}\n",
        "{\"op\":\"query\",\"namespace\":\"hours\",\"index\":true}\n{\"op\":\"query\",\"namespace\":\"models\"}\n",
        "{\"op\":\"deadletter\",\"action\":\"list\",\"after\":1,\"limit\":2}\n",
        "{\"op\":\"deadletter\",\"action\":\"show\",\"id\":2}\n{\"op\":\"deadletter\",\"action\":\"show\",\"id\":99}\n",
        "{\"op\":\"deadletter\",\"action\":\"resubmit\",\"id\":2}\n{\"op\":\"deadletter\",\"action\":\"drop\",\"id\":1}\n",
        "{\"op\":\"deadletter\",\"action\":\"resubmit\",\"id\":1}\n",
        "{\"op\":\"counters\"}\nno json\n[1]\n{\"op\":7}\n",
    };
    if (index >= 2 * sizeof seeds / sizeof seeds[0])
        return 0;
    const char *text = seeds[index / 2];
    bytes[0] = index % 2 == 0 ? CONTROL_RIGHT_READ | CONTROL_RIGHT_CHANGE : CONTROL_RIGHT_READ;
    bytes[1] = 0, bytes[2] = 1;
    memcpy(bytes + 3, text, strlen(text));
    return 3 + strlen(text);
}

static void judge(unsigned rights, unsigned requests)
{
    unsigned ends = 0;
    char *line = wire.reply, *end;
    must(wire.reply_bytes == 0 || wire.reply[wire.reply_bytes - 1] == '\n');
    for (; line < wire.reply + wire.reply_bytes; line = end + 1) {
        end = memchr(line, '\n', wire.reply_bytes - (size_t)(line - wire.reply));
        must((size_t)(end - line) < OPERATOR_LINE_BYTES);
        cJSON *json = cJSON_ParseWithLength(line, (size_t)(end - line));
        must(cJSON_IsObject(json));
        int is_last = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "end"));
        int is_ok = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "ok"));
        must(is_last || (!cJSON_HasObjectItem(json, "end") && !cJSON_HasObjectItem(json, "ok")));
        must(is_ok || !is_last || cJSON_IsString(cJSON_GetObjectItemCaseSensitive(json, "error")));
        must((rights & CONTROL_RIGHT_READ) != 0 || (is_last && !is_ok));
        ends += is_last != 0;
        cJSON_Delete(json);
    }
    must(ends == requests);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct operator_session session;
    if (size < 3)
        return 0;
    begin();
    unsigned rights = data[0] & 3u, requests = 0;
    wire.bytes = data + 3;
    wire.size = size - 3;
    wire.at = wire.reply_bytes = 0;
    wire.pause = 16u + 256u * data[2] + data[1];
    operator_open(&session, -1, rights);
    int before = sqlite3_total_changes(fixture.store.db);
    enum status status;
    do
        status = operator_serve(&session, &fixture.store, &fixture.link, fixture.now_ms);
    while (status == STATUS_AGAIN && wire.at < wire.size);
    must(status == STATUS_AGAIN || (status == STATUS_CLOSED && session.request_bytes == sizeof session.request));
    must((rights & CONTROL_RIGHT_CHANGE) != 0 || sqlite3_total_changes(fixture.store.db) == before);
    must(!fixture.store.is_in_transaction);
    for (size_t i = 0; i < wire.at; i++)
        requests += wire.bytes[i] == '\n';
    judge(rights, requests);
    return 0;
}
