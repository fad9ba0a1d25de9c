// SPDX-License-Identifier: ISC
// Forging what the host reads: published_bytes, record headers, sizes, counts and padding, and the order of things.
// What a well-formed record may say (flows, schemas, rates) is the router's to judge: flows.c.
#include "tests/attack/attack.h"

#include "core/check.h"

#include <string.h>

// Word 0: 1. Word 1: bytes of records behind the words, copied to the output as they are. Word 2: published_bytes.
// Word 3: published_bytes of a second wait(), if the first was answered. Word 4: how often to wait in all.
GUEST(forge)
{
    const volatile uint64_t *words = next_act(boot);
    uint64_t bytes = words[1], first = words[2], second = words[3], waits = words[4];
    volatile uint64_t *to = (volatile uint64_t *)(uintptr_t)(boot->output + 8);
    for (uint64_t i = 0; i < bytes / 8; i++)
        to[i] = words[5 + i];
    set_published(boot, (uint32_t)first);
    wait_for_host(boot);
    for (uint64_t i = 1; i < waits; i++) {
        set_published(boot, (uint32_t)(second * i));
        wait_for_host(boot);
    }
    serve(boot);
}

// Asks the store, word 1 times in each wait(), as long as there is room.
GUEST(ask)
{
    const volatile uint64_t *words = next_act(boot);
    uint64_t each = words[1];
    for (uint32_t at = 0;;) {
        for (uint64_t i = 0; i < each && at < 32000; i++, at += (uint32_t)sizeof(struct abi_read)) {
            volatile uint64_t *read = (volatile uint64_t *)(records(boot) + at);
            read[0] = sizeof(struct abi_read) | (uint64_t)ABI_READ << 32;
            read[1] = (uint64_t)ABI_READ_GET << 16 | (uint64_t)1 << 32;
            read[2] = 0;
        }
        set_published(boot, at);
        wait_for_host(boot);
    }
}

// What a forged output is made of; all that is not named is zero.
struct forgery {
    uint32_t bytes;                 // of records below
    uint32_t published, second, waits; // published: 0 means all of them; NOTHING means none
    union {
        struct abi_record record;
        struct abi_read read;
        struct abi_send send;
        struct abi_write write;
        struct abi_log log;
        struct abi_end end;
        uint64_t raw[24];
    } first;
    struct abi_end end; // behind the first, if `has_end`
    int has_end;
};
#define NOTHING 0xfffffff0u

static void play_forgery(struct stage *stage, const struct attack *attack)
{
    const struct forgery *forgery = attack->detail;
    uint64_t payload[64] = {1, forgery->bytes, forgery->published, forgery->second, forgery->waits};
    check(forgery->bytes <= sizeof forgery->first);
    memcpy(&payload[5], &forgery->first, forgery->bytes);
    if (forgery->has_end) {
        memcpy((uint8_t *)&payload[5] + forgery->bytes, &forgery->end, sizeof forgery->end);
        payload[1] += sizeof forgery->end;
    }
    if (forgery->published == 0)
        payload[2] = payload[1];
    if (forgery->published == NOTHING)
        payload[2] = 0;
    (void)stage_send(stage, payload, sizeof payload);
    (void)stage_receive(stage);
    const struct attack_outcome *expected = attack_expected(stage, attack);
    stage_judge(stage, expected, "");
    // Believed, and the guest's next word then broke another rule.
    if (expected->text == NULL && (strstr(stage->seen, "published_bytes") != NULL || strstr(stage->seen, "waits") != NULL))
        stage_fail(stage, "NOT CONTAINED: the record was taken for one");
}

#define RECORD(SIZE, KIND) {.size = SIZE, .kind = KIND}
#define GOOD_END {.record = RECORD(16, ABI_END)}
#define FORGE(NAME, MECHANISM, TEXT, ...)                                                          \
    {                                                                                              \
        .name = NAME, .mechanism = {MECHANISM, MECHANISM}, .guest = &guest_forge, .play = play_forgery, \
        .options = {.deadline_ms = 500}, .process = {.is_contract = 1, .text = TEXT},              \
        .kvm = {.is_contract = 1, .text = TEXT}, .detail = &(const struct forgery){__VA_ARGS__}    \
    }
#define FORGE_RECORD(NAME, TEXT, BYTES, ...)                                                       \
    FORGE(NAME, "RECORDS", TEXT, .bytes = BYTES, .first = __VA_ARGS__, .has_end = 1, .end = GOOD_END)
// A READ of the record whose key is nothing.
#define READ(...) {.read = {.record = RECORD(24, ABI_READ), .op = ABI_READ_GET, .limit = 1, __VA_ARGS__}}

static const struct attack attacks[] = {
    FORGE("published_beyond_the_output", "PUBLISHED_RANGE", "published_bytes out of range", .bytes = 16,
          .first = {.end = GOOD_END}, .published = ABI_OUTPUT_BYTES),
    FORGE("published_4_gib", "PUBLISHED_RANGE", "published_bytes out of range", .bytes = 16, .first = {.end = GOOD_END},
          .published = 0xfffffff8),
    FORGE("published_half_a_word", "PUBLISHED_RANGE", "published_bytes out of range", .bytes = 16,
          .first = {.end = GOOD_END}, .published = 20),
    FORGE("published_less_than_before", "PUBLISHED_RANGE", "published_bytes out of range", .bytes = 24,
          .first = READ(0), .second = 16, .waits = 2),
    FORGE("published_nothing", "RECORDS", "wait without READ or END", .published = NOTHING),
    FORGE("record_of_size_0", "RECORDS", NULL, .bytes = 16, .first = {.record = RECORD(0, ABI_END)}),
    FORGE("record_of_size_4", "RECORDS", NULL, .bytes = 16, .first = {.record = RECORD(4, ABI_END)}),
    FORGE("record_of_odd_size", "RECORDS", NULL, .bytes = 24, .first = {.record = RECORD(17, ABI_END)}),
    FORGE("record_larger_than_published", "RECORDS", NULL, .bytes = 16,
          .first = {.record = RECORD(64, ABI_END)}),
    FORGE("record_of_size_4_gib", "RECORDS", NULL, .bytes = 16,
          .first = {.record = RECORD(0xfffffff8, ABI_END)}),
    FORGE_RECORD("record_of_unknown_kind", NULL, 16, {.record = RECORD(16, 21)}),
    FORGE_RECORD("record_of_kind_0", NULL, 16, {.record = RECORD(16, 0)}),
    FORGE_RECORD("record_that_only_hosts_write", NULL, 72, {.record = RECORD(72, ABI_EVENT)}),
    FORGE_RECORD("record_answer_forged", NULL, 16, {.record = RECORD(16, ABI_ANSWER)}),
    FORGE_RECORD("record_with_reserved_bits", NULL, 16,
                 {.record = {.size = 16, .kind = ABI_LOG, .zero = 1}}),
    FORGE_RECORD("record_behind_end", "record behind END", 16, {.end = GOOD_END}),
    FORGE("end_with_unknown_verdict", "RECORDS", NULL, .bytes = 16,
          .first = {.end = {.record = RECORD(16, ABI_END), .verdict = 2}}),
    FORGE("end_with_a_refusal_that_is_not", "RECORDS", NULL, .bytes = 16,
          .first = {.end = {.record = RECORD(16, ABI_END), .verdict = ABI_END_REFUSED, .code = 7}}),
    FORGE("end_with_padding", "RECORDS", NULL, .bytes = 16,
          .first = {.end = {.record = RECORD(16, ABI_END), .zero = 0x41414141}}),
    FORGE_RECORD("send_with_unknown_flags", NULL, 24,
                 {.send = {.record = RECORD(24, ABI_SEND), .flags = 4}}),
    FORGE_RECORD("send_longer_than_a_message", NULL, 24,
                 {.send = {.record = RECORD(24, ABI_SEND), .payload_bytes = ABI_PAYLOAD_BYTES_MAX + 8}}),
    FORGE_RECORD("send_longer_than_its_record", NULL, 24,
                 {.send = {.record = RECORD(24, ABI_SEND), .payload_bytes = 4096}}),
    FORGE_RECORD("send_of_4_gib", NULL, 24,
                 {.send = {.record = RECORD(24, ABI_SEND), .payload_bytes = 0xffffffff}}),
    FORGE_RECORD("send_whose_lengths_wrap", NULL, 32,
                 {.send = {.record = RECORD(32, ABI_SEND), .context_bytes = 0xfffffff8, .payload_bytes = 16}}),
    FORGE_RECORD("send_with_bytes_in_the_padding", NULL, 32,
                 {.raw = {32 | (uint64_t)ABI_SEND << 32, 0, (uint64_t)3 << 32, 0x4141414141414141}}),
    FORGE_RECORD("send_shorter_than_a_send", NULL, 16, {.record = RECORD(16, ABI_SEND)}),
    FORGE_RECORD("write_of_unknown_kind", NULL, 24,
                 {.write = {.record = RECORD(24, ABI_WRITE), .op = 3}}),
    FORGE_RECORD("write_with_a_long_key", NULL, 24,
                 {.write = {.record = RECORD(24, ABI_WRITE), .op = ABI_WRITE_PUT, .key_bytes = 65}}),
    FORGE_RECORD("write_that_deletes_a_value", NULL, 32,
                 {.write = {.record = RECORD(32, ABI_WRITE), .op = ABI_WRITE_DELETE, .value_bytes = 8}}),
    FORGE_RECORD("write_longer_than_its_record", NULL, 24,
                 {.write = {.record = RECORD(24, ABI_WRITE), .op = ABI_WRITE_PUT, .value_bytes = 64}}),
    FORGE_RECORD("log_of_unknown_level", NULL, 16,
                 {.log = {.record = RECORD(16, ABI_LOG), .level = 5}}),
    FORGE_RECORD("log_longer_than_its_record", NULL, 16,
                 {.log = {.record = RECORD(16, ABI_LOG), .level = ABI_LOG_INFO, .text_bytes = 240}}),
    FORGE_RECORD("log_of_4_gib", NULL, 16,
                 {.log = {.record = RECORD(16, ABI_LOG), .level = ABI_LOG_INFO, .text_bytes = 0xffffffff}}),
    FORGE_RECORD("log_counts_a_refusal_that_is_not", NULL, 16,
                 {.log = {.record = RECORD(16, ABI_LOG), .level = ABI_LOG_REFUSAL, .code = 9}}),
    FORGE("read_without_limit", "RECORDS", NULL, .bytes = 24,
          .first = {.read = {.record = RECORD(24, ABI_READ), .op = ABI_READ_RANGE, .limit = 65535}}),
    FORGE("read_of_unknown_kind", "RECORDS", NULL, .bytes = 24,
          .first = {.read = {.record = RECORD(24, ABI_READ), .op = 9, .limit = 1}}),
    FORGE("read_with_a_long_key", "RECORDS", NULL, .bytes = 24,
          .first = {.read = {.record = RECORD(24, ABI_READ), .op = ABI_READ_GET, .limit = 1, .from_bytes = 65535}}),
    FORGE_RECORD("read_together_with_end", "READ together with END", 24, READ(0)),
    {.name = "read_without_end", .mechanism = {"ROUNDS", "ROUNDS"}, .guest = &guest_ask, .words = {1, 1},
     .process = {.is_contract = 1, .text = "too many waits in one event"}, .kvm = {.is_contract = 1}},
    {.name = "read_too_much_at_once", .mechanism = {"RECORDS", "RECORDS"}, .guest = &guest_ask, .words = {1, 17},
     .process = {.is_contract = 1, .text = "too many READs in one wait"}, .kvm = {.is_contract = 1}},
};

struct attack_table attacks_records(void)
{
    return (struct attack_table){"forged records", attacks, sizeof attacks / sizeof attacks[0]};
}
