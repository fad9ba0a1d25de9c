// SPDX-License-Identifier: ISC
// The library OS and the builder: builds tests/unit/library and runs it inside this process, with a gate
// that switches stacks. So each record that a guest makes can be looked at, and each fault.
#include "tests/unit/library_instance.h"

TEST(starts_and_keeps_a_resident)
{
    start();
    expect(!instance.is_faulted);
    command(0, 0, "hello");
    expect(ended(ABI_END_DONE, 0) && said(send_find(0), "1 7 one 2 3 hello"));
    command(0, 0, "");
    expect(ended(ABI_END_DONE, 0) && said(send_find(0), "2 7 two 2 3 "));
    expect(send_find(1) == NULL); // effects of the first event are gone
}

TEST(sends_the_one_encoding)
{
    start();
    command(0, 1, "");
    const struct abi_send *send = send_find(0);
    expect(ended(ABI_END_DONE, 0) && said(send, "canonical") && send->flow == RESULT);
    expect(send != NULL && send->payload_bytes < 100);
}

TEST(fails_on_limits_with_a_reason)
{
    start();
    command(0, 2, "");
    expect(failed_with("result: more than 2 messages in one event"));
    start();
    command(0, 3, "");
    expect(failed_with("result: a length or count of 6 is over its capacity of 5"));
    start();
    command(0, 6, "");
    expect(failed_with("arena_allocate: 1000 bytes,"));
    start();
    command(0, 9, "");
    expect(failed_with("of output,"));
    start();
    command(0, 13, "");
    expect(failed_with("configuration: word is no integer: abc"));
    start();
    command(0, 15, "");
    expect(failed_with("question: sent a message of another schema"));
    start();
    command(0, 18, "");
    expect(failed_with("records: more than 2 store writes"));
    start();
    command(0, 99, "");
    expect(failed_with("no such command: 99"));
}

// The index-th END among the records published.
static int ended_at(unsigned index, uint16_t verdict)
{
    const struct abi_end *end = (const struct abi_end *)(const void *)record_find(ABI_END, index);
    return end != NULL && end->verdict == verdict;
}

// `count` commands behind one another.
static void batch(unsigned count, uint8_t what, const char *text)
{
    struct {
        uint8_t what, zero;
        uint16_t text_length;
        char text[68];
    } message = {.what = what, .text_length = (uint16_t)strlen(text)};
    memcpy(message.text, text, message.text_length);
    event_place(0, NULL, 0, &message, ABI_ALIGN8(4u + message.text_length));
    struct abi_record record;
    memcpy(&record, instance.input, sizeof record);
    for (unsigned i = 1; i < count; i++)
        memcpy(instance.input + i * record.size, instance.input, record.size);
}

TEST(handles_a_batch)
{
    start();
    batch(3, 0, "more");
    resume();
    expect(ended_at(2, ABI_END_DONE) && record_find(ABI_END, 3) == NULL && said(send_find(2), "3 7 none 2 3 more"));
    batch(3, 4, ""); // refuses: the rest must be shown again
    resume();
    expect(ended_at(0, ABI_END_REFUSED) && record_find(ABI_END, 1) == NULL);
}

TEST(an_event_of_a_batch_has_all_of_the_output)
{
    start();
    batch(7, 21, ""); // each fills a third of it
    unsigned found = 0;
    for (unsigned waits = 0; found < 7 && waits < 9; waits++) {
        resume();
        expect(!instance.is_faulted);
        unsigned ends = 0;
        while (record_find(ABI_END, ends) != NULL)
            ends++;
        expect(ends != 0);
        found += ends;
    }
    expect(found == 7);
}

TEST(refuses_and_goes_on)
{
    start();
    command(0, 4, "");
    expect(ended(ABI_END_REFUSED, 1));
    command(0, 0, "after");
    expect(ended(ABI_END_DONE, 0) && said(send_find(0), "2 7 two 2 3 after"));
}

TEST(resets_the_arena)
{
    start();
    for (int i = 0; i < 300; i++) {
        command(0, 5, "");
        expect(ended(ABI_END_DONE, 0) && said(send_find(0), "good"));
    }
}

TEST(notices_a_smashed_stack)
{
    start();
    command(0, 7, "longer than eight bytes, and over the canary of its frame");
    expect(failed_with("the stack is overwritten"));
    start();
    command(0, 7, "short");
    expect(!instance.is_faulted);
}

TEST(notices_a_write_beyond_what_it_knows_to_be_room)
{
    start();
    command(0, 19, "copy too much");
    expect(failed_with("memcpy: 13 bytes into 8"));
    start();
    command(0, 19, "set too much");
    expect(failed_with("memset: 12 bytes into 8"));
    start();
    command(0, 19, "move");
    expect(failed_with("memmove: 4 bytes into 3"));
    start();
    command(0, 19, "index out of bounds");
    expect(instance.is_faulted && send_find(0) == NULL);
    start();
    command(0, 19, "inside");
    expect(ended(ABI_END_DONE, 0));
}

TEST(notices_a_write_behind_a_block_of_the_arena)
{
    static const char *const blocks[] = {"", "1", "22"};
    for (size_t i = 0; i < 3; i++) {
        start();
        command(0, 20, blocks[i]);
        expect(failed_with("the arena is overwritten"));
    }
}

TEST(cannot_write_constants)
{
    start();
    command(0, 17, "");
    expect(instance.is_faulted);
}

static int is_guard(uint64_t canary)
{
    for (size_t i = 0; i < image.segment_count; i++) {
        if (image.segments[i].kind != IMAGE_DATA)
            continue;
        for (size_t at = 0; at + 8 <= image.segments[i].memory_bytes; at += 8)
            if (memcmp(instance.base + image.segments[i].address + at, &canary, 8) == 0)
                return 1;
    }
    return 0;
}

TEST(takes_the_canary_of_the_host)
{
    start();
    expect(is_guard(0x1122334455667700));
    instance.boot.canary = 0x99aabbccddeeff00; // a copy of the instance gets its own
    command(0, 0, "");
    expect(ended(ABI_END_DONE, 0) && is_guard(0x99aabbccddeeff00) && !is_guard(0x1122334455667700));
}

static size_t item_place(size_t at, int32_t number, uint16_t level)
{
    struct {
        struct abi_item item;
        uint8_t key[8];
        int32_t number;
        uint16_t level, site_length;
        char site[8];
    } found = {.item = {.status = ABI_ITEM_FOUND, .key_bytes = 7, .value_bytes = 16, .version = 1},
               .number = number, .level = level, .site_length = 2, .site = "ab"};

    memcpy(instance.input + at, &found, sizeof found);
    return at + sizeof found;
}

static void answer_place(unsigned count, int with_end)
{
    struct abi_answer answer = {.record = {.kind = ABI_ANSWER}, .item_count = count + (unsigned)with_end};
    size_t at = sizeof answer;

    memset(instance.input, 0x66, ABI_INPUT_BYTES);
    for (unsigned i = 0; i < count; i++)
        at = item_place(at, (int32_t)i, (uint16_t)(70 + i));
    struct abi_item end = {.status = with_end ? ABI_ITEM_END : ABI_ITEM_ABSENT};
    memcpy(instance.input + at, &end, sizeof end);
    at += sizeof end;
    answer.record.size = (uint32_t)at;
    memcpy(instance.input, &answer, sizeof answer);
}

TEST(reads_and_writes_the_store)
{
    // The key of ("ab", -3): text, zero, then the number with its sign flipped, big-endian.
    static const uint8_t key[8] = {'a', 'b', 0, 0x7f, 0xff, 0xff, 0xfd};

    start();
    command(0, 8, "");
    const struct abi_read *get = (const struct abi_read *)(const void *)record_find(ABI_READ, 0);
    expect(get != NULL && get->op == ABI_READ_GET && get->from_bytes == 7 && get->limit == 1);
    expect(get != NULL && memcmp(get + 1, key, 7) == 0);
    answer_place(1, 0);
    resume();
    const struct abi_read *range = (const struct abi_read *)(const void *)record_find(ABI_READ, 1);
    expect(range != NULL && range->op == ABI_READ_RANGE && range->end_bytes == 0 && range->limit == 4);
    answer_place(3, 1);
    resume();
    const struct abi_read *index = (const struct abi_read *)(const void *)record_find(ABI_READ, 2);
    expect(index != NULL && index->op == ABI_READ_INDEX && index->from_bytes == 0);
    answer_place(0, 1);
    resume();
    expect(ended(ABI_END_DONE, 0) && said(send_find(0), "1 70 3 0"));
    const struct abi_write *put = (const struct abi_write *)(const void *)record_find(ABI_WRITE, 0);
    const struct abi_write *delete = (const struct abi_write *)(const void *)record_find(ABI_WRITE, 1);
    expect(put != NULL && put->op == ABI_WRITE_PUT && put->key_bytes == 6 && put->value_bytes == 16);
    uint16_t field;
    expect(put != NULL && schema_check(&image.manifest.schemas[2], (const uint8_t *)(put + 1) + 8,
                                       put->value_bytes, &field) == REASON_DONE);
    expect(delete != NULL && delete->op == ABI_WRITE_DELETE && memcmp(delete + 1, key, 8) == 0);
}

TEST(writes_keys_as_the_host_reads_them)
{
    start();
    command(0, 8, "");
    answer_place(0, 0);
    resume();
    answer_place(0, 1);
    resume();
    answer_place(0, 1);
    resume();
    expect(said(send_find(0), "0 0 0 0"));
    const struct abi_write *put = (const struct abi_write *)(const void *)record_find(ABI_WRITE, 0);
    const struct manifest_namespace *records = &image.manifest.namespaces[0];
    uint8_t key[ABI_KEY_BYTES_MAX];
    size_t size = put == NULL ? 0
                              : schema_key(&image.manifest.schemas[2], records->key_fields,
                                           records->key_count, (const uint8_t *)(put + 1) + 8,
                                           put->value_bytes, key, sizeof key);
    expect(put != NULL && size == put->key_bytes && memcmp(key, put + 1, size) == 0);
}

TEST(carries_context_and_delay)
{
    start();
    command(0, 10, "");
    const struct abi_send *with = send_find(0), *after = send_find(1), *other = send_find(2);
    expect(ended(ABI_END_DONE, 0) && said(with, "") && said(after, "") && said(other, ""));
    expect(with != NULL && with->context_bytes == 7 && memcmp(with + 1, "context", 8) == 0);
    expect(after != NULL && after->delay_ms == 1500 && other != NULL && other->flow == OTHER_RESULT);
    command(1, 44, "");
    const struct abi_send *reply = send_find(0);
    expect(reply != NULL && reply->flow == ANSWER && reply->flags == ABI_SEND_REPLY && said(reply, ""));
    static const uint8_t told[56] = {12};
    event_place(2, "back again", 10, told, 40);
    resume();
    expect(ended(ABI_END_DONE, 0) && said(send_find(0), "back again"));
}

TEST(reads_numbers_and_configuration)
{
    start();
    command(0, 11, "");
    expect(said(send_find(0), "good"));
    command(0, 12, "");
    expect(said(send_find(0), "42 1"));
}

TEST(formats)
{
    start();
    command(0, 16, "");
    expect(said(send_find(0), "-12|  -12|-0012|4000000000|beef|05|-9223372036854775808|"
                              "18446744073709551615|3|text|ab|c|%|  z|"));
}

TEST(logs_and_counts)
{
    start();
    command(0, 14, "");
    const struct abi_log *refusal = (const struct abi_log *)(const void *)record_find(ABI_LOG, 0);
    const struct abi_log *warning = (const struct abi_log *)(const void *)record_find(ABI_LOG, 1);
    expect(refusal != NULL && refusal->level == ABI_LOG_REFUSAL && refusal->code == 0 &&
           refusal->text_bytes == 11);
    expect(warning != NULL && warning->level == ABI_LOG_WARNING &&
           warning->text_bytes == ABI_LOG_BYTES_MAX &&
           memcmp((const char *)(warning + 1) + ABI_LOG_BYTES_MAX - 4, "x...", 4) == 0);
}

TEST(stays_out_of_an_unknown_input)
{
    start();
    command(9, 0, "");
    expect(failed_with("there is no input 9"));
}

int main(void)
{
    if (!prepare()) {
        printf("not ok library_builds - see standard error\n");
        return 1;
    }
    printf("ok library_builds\n");
    RUN(starts_and_keeps_a_resident);
    RUN(sends_the_one_encoding);
    RUN(fails_on_limits_with_a_reason);
    RUN(handles_a_batch);
    RUN(an_event_of_a_batch_has_all_of_the_output);
    RUN(refuses_and_goes_on);
    RUN(resets_the_arena);
    RUN(notices_a_smashed_stack);
    RUN(takes_the_canary_of_the_host);
    RUN(notices_a_write_beyond_what_it_knows_to_be_room);
    RUN(notices_a_write_behind_a_block_of_the_arena);
    RUN(cannot_write_constants);
    RUN(reads_and_writes_the_store);
    RUN(writes_keys_as_the_host_reads_them);
    RUN(carries_context_and_delay);
    RUN(reads_numbers_and_configuration);
    RUN(formats);
    RUN(logs_and_counts);
    RUN(stays_out_of_an_unknown_input);
    clean_up();
    TEST_END();
}
