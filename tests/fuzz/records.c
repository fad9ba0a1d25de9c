// SPDX-License-Identifier: ISC
// Fuzz target: what a guest publishes, as the tender judges, splits and salvages it.
//
// Input: number of refusals the manifest names, 7 bytes for nothing, records.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"

#include "core/records.h"

#include <string.h>

static size_t seed_add(uint8_t *bytes, size_t at, const void *record, size_t size, const char *first,
                       const char *second)
{
    uint32_t whole = (uint32_t)(size + ABI_ALIGN8(strlen(first)) + ABI_ALIGN8(strlen(second)));
    memset(bytes + at, 0, whole);
    memcpy(bytes + at, record, size);
    memcpy(bytes + at, &whole, sizeof whole);
    memcpy(bytes + at + size, first, strlen(first));
    memcpy(bytes + at + size + ABI_ALIGN8(strlen(first)), second, strlen(second));
    return at + whole;
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    const struct abi_read get = {.record.kind = ABI_READ, .op = ABI_READ_GET, .limit = 1, .from_bytes = 3};
    const struct abi_read range = {.record.kind = ABI_READ, .op = ABI_READ_RANGE, .limit = 9, .from_bytes = 1,
                                   .end_bytes = 9};
    const struct abi_send send = {.record.kind = ABI_SEND, .flow = 1, .context_bytes = 5, .payload_bytes = 16};
    const struct abi_write put = {.record.kind = ABI_WRITE, .op = ABI_WRITE_PUT, .key_bytes = 3, .value_bytes = 8};
    const struct abi_log log = {.record.kind = ABI_LOG, .level = ABI_LOG_INFO, .text_bytes = 11};
    const struct abi_log refusal = {.record.kind = ABI_LOG, .level = ABI_LOG_REFUSAL, .code = 2, .text_bytes = 2};
    const struct abi_end end = {.record.kind = ABI_END, .verdict = index == 2 ? ABI_END_REFUSED : ABI_END_DONE,
                                .code = index == 2 ? 1 : 0};
    if (index > 3)
        return 0;
    memset(bytes, 0, 8);
    bytes[0] = 3;
    size_t at = seed_add(bytes, 8, &log, sizeof log, "hello world", "");
    at = seed_add(bytes, at, &send, sizeof send, "conte", "payload.payload.");
    if (index == 1 || index == 3) { // the last one is refused: it ends, too
        at = seed_add(bytes, at, &get, sizeof get, "key", "");
        at = seed_add(bytes, at, &range, sizeof range, "a", "abcdefghi");
        return index == 1 ? at : seed_add(bytes, at, &end, sizeof end, "", "");
    }
    at = seed_add(bytes, at, &put, sizeof put, "key", "valueabc");
    at = seed_add(bytes, at, &refusal, sizeof refusal, "no", "");
    return seed_add(bytes, at, &end, sizeof end, "", "");
}

// Walks records that were accepted; returns their bytes of a kind, or of all others.
static size_t bytes_of(const uint8_t *bytes, size_t size, int is_read)
{
    size_t found = 0;
    for (size_t at = 0; at < size;) {
        struct abi_record record;
        must(size - at >= sizeof record);
        memcpy(&record, bytes + at, sizeof record);
        must(record.size >= sizeof record && record.size % 8 == 0 && record.size <= size - at);
        if ((record.kind == ABI_READ) == is_read)
            found += record.size;
        at += record.size;
    }
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8 || size - 8 > ABI_OUTPUT_BYTES)
        return 0;
    size_t record_bytes = size - 8;
    uint8_t *bytes = malloc(record_bytes + 1), *reads = malloc(record_bytes + 1);
    struct records_verdict verdict = {.code = 0xffff};
    must(bytes != NULL && reads != NULL);
    memcpy(bytes, data + 8, record_bytes);
    if (records_judge(bytes, record_bytes, data[0], &verdict) == STATUS_OK) {
        must(verdict.bytes >= 8 && verdict.bytes <= record_bytes);
        record_bytes = verdict.bytes; // the rest is of the next event
        must(verdict.why == NULL && (verdict.kind != RECORDS_REFUSED || verdict.code < data[0]));
        size_t wanted = bytes_of(bytes, record_bytes, 1), read_bytes;
        must((wanted != 0) == (verdict.kind == RECORDS_READ));
        size_t kept = records_split(bytes, record_bytes, reads, &read_bytes);
        must(read_bytes == wanted && kept + read_bytes == record_bytes);
        must(bytes_of(reads, read_bytes, 0) == 0 && bytes_of(bytes, kept, 1) == 0);
    } else {
        must(verdict.why != NULL);
    }
    char text[ABI_LOG_BYTES_MAX], again[ABI_LOG_BYTES_MAX];
    record_bytes = size - 8;
    memcpy(bytes, data + 8, record_bytes);
    size_t logs = records_salvage(bytes, record_bytes, text);
    must(logs <= record_bytes && memchr(text, 0, sizeof text) != NULL);
    for (const char *at = text; *at != 0; at++)
        must(*at >= 0x20 && *at < 0x7f);
    must(records_salvage(bytes, logs, again) == logs && strcmp(text, again) == 0);
    free(bytes);
    free(reads);
    return 0;
}
