// SPDX-License-Identifier: ISC
// Fuzz target: what the store takes from the router, on a real database. Every transaction is rolled back, so
// that one input is like any other.
//
// Input: 0: a COMMIT; 1: READ records; 7 bytes for nothing; the packet or the records.
#include "tests/fuzz/answer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
#include "store/commit.h"
#include "store/records.h"
#include "tests/unit/store_fixture.h"

static void begin(void)
{
    static int is_open;
    if (is_open)
        return;
    is_open = 1;
    fixture_begin();
    must(test_why == NULL);
    atexit(fixture_end);
    commit_new(1, 0); // a record and a waiting message, to be met
    commit_put(SPACE_MODELS, "a", "one");
    commit_add_send(FLOW_READING, UNIKERNEL_A, "k", "payload", 7, 0);
    must(commit_result_of() == COMMIT_OK);
}

static size_t commit_seed(unsigned index)
{
    commit_new(2, index == 1 ? 1 : 0);
    commit_add_read(SPACE_MODELS, ABI_READ_GET, "a", index == 2 ? 7 : version_of(SPACE_MODELS, "a"));
    if (index == 0)
        commit_add_read(SPACE_HOURS, ABI_READ_RANGE, "h", 0);
    commit_put(SPACE_MODELS, "a", "two");
    commit_add_write(SPACE_HOURS, ABI_WRITE_PUT, "h1", "i1", "some value", 10);
    commit_add_write(SPACE_MODELS, ABI_WRITE_DELETE, "a", "", NULL, 0);
    commit_add_send(FLOW_READING, UNIKERNEL_B, "key", "payload!", 8, 0);
    commit_add_send(FLOW_ALARM, UNIKERNEL_B, "", "x", 1, 2000000);
    commit_add_state(FLOW_READING, "key", 77);
    commit_add_counter(COUNTER_FLOW(FLOW_READING, REASON_DONE), 1);
    commit_add_counter(COUNTER_FLOW(FLOW_ALARM, REASON_ENTERED), 3);
    if (index == 1)
        commit_add_dead(REASON_RANGE, "range reading.value", "payload!", 8);
    head()->packet.size = (uint32_t)building.size;
    return building.size;
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static struct builder builder;
    begin();
    memset(bytes, 0, 8);
    if (index > 3)
        return 0;
    if (index < 3) {
        size_t size = commit_seed(index);
        memcpy(bytes + 8, building.bytes, size);
        return 8 + size;
    }
    builder.size = 0;
    read_add(&builder, SPACE_MODELS, ABI_READ_GET, 1, "a", "");
    read_add(&builder, SPACE_HOURS, ABI_READ_RANGE, 9, "a", "z");
    read_add(&builder, SPACE_HOURS, ABI_READ_INDEX, 64, "", "");
    bytes[0] = 1;
    memcpy(bytes + 8, builder.bytes + sizeof(struct commit_packet), builder.size - sizeof(struct commit_packet));
    return 8 + builder.size - sizeof(struct commit_packet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin();
    if (size < 8 || size - 8 > COMMIT_BYTES_MAX)
        return 0;
    if (data[0] == 1) {
        static struct records_answer answer;
        enum status status = records_answer(&fixture.store, data + 8, size - 8, &answer);
        must(status == STATUS_OK || status == STATUS_MALFORMED);
        if (status == STATUS_OK) {
            judge_answer(answer.answer, answer.answer_bytes);
            must(answer.seen_count <= ABI_READS_PER_WAIT_MAX && answer.seen_bytes <= sizeof answer.seen);
        }
        return 0;
    }
    struct commit_done_facts done = {.result = COMMIT_NOT_NOW};
    must(store_begin(&fixture.store) == STATUS_OK);
    int before = sqlite3_total_changes(fixture.store.db);
    enum status status = commit_apply(&fixture.store, data + 8, size - 8, fixture.now_ms, &done);
    if (status != STATUS_OK && status != STATUS_MALFORMED)
        dprintf(2, "%s: %s\n", status_text(status), sqlite3_errmsg(fixture.store.db));
    must(status == STATUS_OK || status == STATUS_MALFORMED);
    if (status == STATUS_MALFORMED || done.result != COMMIT_OK)
        must(sqlite3_total_changes(fixture.store.db) == before); // nothing was written
    must(status == STATUS_MALFORMED || done.result <= COMMIT_REFUSED);
    store_rollback(&fixture.store);
    return 0;
}
