// SPDX-License-Identifier: ISC
// The parser of guest records: every truncation and many mutations; salvage of a crashed guest's log.
#include "tests/unit/test.h"

#include "core/records.h"

#include <stdlib.h>
#include <string.h>

#define REFUSALS 2u

static _Alignas(8) uint8_t bytes[ABI_OUTPUT_BYTES];
static size_t used;
static struct records_verdict verdict;

static void put(const void *fixed, size_t size, const void *a, size_t a_size, const void *b, size_t b_size)
{
    struct abi_record header;
    memset(bytes + used, 0, size + ABI_ALIGN8(a_size) + ABI_ALIGN8(b_size));
    memcpy(bytes + used, fixed, size);
    memcpy(&header, fixed, sizeof header);
    header.size = (uint32_t)(size + ABI_ALIGN8(a_size) + ABI_ALIGN8(b_size));
    memcpy(bytes + used, &header, sizeof header);
    if (a_size != 0)
        memcpy(bytes + used + size, a, a_size);
    if (b_size != 0)
        memcpy(bytes + used + size + ABI_ALIGN8(a_size), b, b_size);
    used += header.size;
}

static void put_read(uint16_t op, uint16_t limit)
{
    struct abi_read read = {.record = {.kind = ABI_READ}, .op = op, .limit = limit, .from_bytes = 3};
    put(&read, sizeof read, "abc", 3, NULL, 0);
}
static void put_send(void)
{
    struct abi_send send = {.record = {.kind = ABI_SEND}, .context_bytes = 5, .payload_bytes = 16};
    put(&send, sizeof send, "12345", 5, "0123456789abcdef", 16);
}
static void put_write(uint16_t op)
{
    struct abi_write write = {.record = {.kind = ABI_WRITE}, .op = op, .key_bytes = 4,
                              .value_bytes = op == ABI_WRITE_PUT ? 8 : 0};
    put(&write, sizeof write, "key1", 4, "value...", write.value_bytes);
}
static void put_log(const char *text, size_t size)
{
    struct abi_log log = {.record = {.kind = ABI_LOG}, .level = ABI_LOG_INFO, .text_bytes = (uint32_t)size};
    put(&log, sizeof log, text, size, NULL, 0);
}
static void put_end(uint16_t end_verdict, uint16_t code)
{
    struct abi_end end = {.record = {.kind = ABI_END}, .verdict = end_verdict, .code = code};
    put(&end, sizeof end, NULL, 0, NULL, 0);
}
static enum status judge(void) { return records_judge(bytes, used, REFUSALS, &verdict); }

static void put_all(void)
{
    used = 0;
    put_send();
    put_write(ABI_WRITE_PUT);
    put_write(ABI_WRITE_DELETE);
    put_log("hello", 5);
    put_end(ABI_END_DONE, 0);
}

TEST(good_records)
{
    put_all();
    expect(judge() == STATUS_OK && verdict.kind == RECORDS_DONE);
    used = 0;
    put_end(ABI_END_REFUSED, 1);
    expect(judge() == STATUS_OK && verdict.kind == RECORDS_REFUSED && verdict.code == 1);
    used = 0;
    put_log("asking", 6);
    put_read(ABI_READ_GET, 1);
    put_read(ABI_READ_RANGE, 64);
    expect(judge() == STATUS_OK && verdict.kind == RECORDS_READ);
}

TEST(order_and_number)
{
    used = 0;
    expect(judge() != STATUS_OK); // a wait that says nothing
    put_log("x", 1);
    expect(judge() != STATUS_OK); // neither READ nor END
    put_end(ABI_END_DONE, 0);
    size_t first_bytes = used;
    put_log("x", 1);
    expect(judge() == STATUS_OK && verdict.bytes == first_bytes); // the rest is of the next event
    used = 0;
    put_read(ABI_READ_GET, 1);
    put_end(ABI_END_DONE, 0);
    expect(judge() != STATUS_OK && strcmp(verdict.why, "READ together with END") == 0);
    used = 0;
    for (unsigned i = 0; i < ABI_READS_PER_WAIT_MAX; i++)
        put_read(ABI_READ_GET, 1);
    expect(judge() == STATUS_OK);
    put_read(ABI_READ_GET, 1);
    expect(judge() != STATUS_OK);
}

TEST(limits)
{
    used = 0;
    put_read(ABI_READ_GET, 2);
    expect(judge() != STATUS_OK);
    used = 0;
    put_read(4, 1);
    expect(judge() != STATUS_OK);
    used = 0;
    put_read(ABI_READ_RANGE, 65);
    expect(judge() != STATUS_OK);
    used = 0;
    put_end(ABI_END_REFUSED, REFUSALS);
    expect(judge() != STATUS_OK);
    used = 0;
    put_end(2, 0);
    expect(judge() != STATUS_OK);
    used = 0;
    static const char text[ABI_LOG_BYTES_MAX + 1] = {'x'};
    put_log(text, ABI_LOG_BYTES_MAX);
    put_end(ABI_END_DONE, 0);
    expect(judge() == STATUS_OK);
    used = 0;
    put_log(text, ABI_LOG_BYTES_MAX + 1);
    put_end(ABI_END_DONE, 0);
    expect(judge() != STATUS_OK);
}

// No prefix of a good batch is good, and none is read past its end: each is judged in a buffer of
// exactly its size, which the address sanitizer guards.
TEST(every_truncation)
{
    put_all();
    for (size_t size = 0; size < used; size++) {
        uint8_t *copy = malloc(size + 1);
        memcpy(copy, bytes, size);
        expect(records_judge(copy, size, REFUSALS, &verdict) != STATUS_OK && verdict.why != NULL);
        free(copy);
    }
}

// Whatever one byte becomes, what is accepted still adds up: sizes fill the batch, END is last.
TEST(every_mutation_of_a_byte)
{
    put_all();
    unsigned refused = 0;
    for (size_t at = 0; at < used; at++) {
        for (unsigned change = 1; change < 256; change++) {
            bytes[at] ^= (uint8_t)change;
            if (judge() == STATUS_OK) {
                static _Alignas(8) uint8_t reads[ABI_OUTPUT_BYTES], copy[ABI_OUTPUT_BYTES];
                size_t read_bytes;
                memcpy(copy, bytes, used);
                expect(records_split(copy, used, reads, &read_bytes) + read_bytes == used);
                expect(verdict.kind != RECORDS_READ && read_bytes == 0);
            } else {
                refused++;
            }
            bytes[at] ^= (uint8_t)change;
        }
    }
    // The header of each of the five records alone is eight bytes in which hardly a change is good.
    expect(refused > 5u * 8u * 240u);
}

TEST(padding_must_be_zero)
{
    used = 0;
    put_log("hello", 5);
    size_t log_bytes = used;
    put_end(ABI_END_DONE, 0);
    expect(judge() == STATUS_OK);
    for (size_t i = log_bytes - 3; i < log_bytes; i++) {
        bytes[i] = 1;
        expect(judge() != STATUS_OK);
        bytes[i] = 0;
    }
}

TEST(split)
{
    static _Alignas(8) uint8_t reads[ABI_OUTPUT_BYTES];
    size_t read_bytes = 0;
    used = 0;
    put_log("one", 3);
    put_read(ABI_READ_GET, 1);
    put_send();
    put_read(ABI_READ_INDEX, 7);
    expect(judge() == STATUS_OK);
    size_t kept = records_split(bytes, used, reads, &read_bytes);
    struct abi_record first, second;
    memcpy(&first, bytes, sizeof first);
    memcpy(&second, bytes + first.size, sizeof second);
    expect(first.kind == ABI_LOG && second.kind == ABI_SEND && kept == first.size + second.size);
    memcpy(&first, reads, sizeof first);
    memcpy(&second, reads + first.size, sizeof second);
    expect(first.kind == ABI_READ && second.kind == ABI_READ && read_bytes == first.size + second.size);
}

TEST(salvage)
{
    char last[ABI_LOG_BYTES_MAX];
    used = 0;
    put_log("first", 5);
    put_send();
    put_log("bad \x1b[0m \"end\"", 14);
    size_t logs = 2 * sizeof(struct abi_log) + 8 + 16;
    memset(bytes + used, 0xee, 64); // what the crash left
    expect(records_salvage(bytes, used + 64, last) == logs);
    expect(strcmp(last, "bad \\x1b[0m \"end\"") == 0);
    memset(bytes, 0xff, sizeof bytes);
    expect(records_salvage(bytes, sizeof bytes, last) == 0 && last[0] == 0);
}

int main(void)
{
    RUN(good_records);
    RUN(order_and_number);
    RUN(limits);
    RUN(every_truncation);
    RUN(every_mutation_of_a_byte);
    RUN(padding_must_be_zero);
    RUN(split);
    RUN(salvage);
    TEST_END();
}
