// SPDX-License-Identifier: ISC
// Fuzz target: the readers of the audit log. What is taken must give the same bytes when it is written again;
// and whatever a source says becomes an entry that can be read back.
//
// Input: what it is (0 entry, 1 record, 2 checkpoint, 3 note, 4 key, 5 bundle), 7 bytes for nothing, the text.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"

#include "audit/entry.h"

#include <cjson/cJSON.h>
#include <string.h>

#define ROOT "NNmBbdiLbkXOExkwgDCeF0pmIL+7iTKjEsMPxrm8ORc="

static struct log_key key = {.name = "log.example/7", .id = {1, 2, 3, 4}};

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static const char *const seeds[] = {
        "{\"source\":\"store\",\"sequence\":257,\"time_ms\":1700000000000,\"highest\":[256,3],\"record\":{\"a\":1}}",
        "{\"kind\":\"commit\",\"unikernel\":\"decode\",\"number\":7,\"text\":\"\\u00e9\"}",
        "log.example/7\n12\n" ROOT "\n",
        NULL,
        NULL,
        "\0\5hello\0\0\0\3abc",
        "{\"source\":\"supervisor\",\"sequence\":1,\"time_ms\":0,\"record\":\"no object\"}",
    };
    static const uint8_t signature[NOTE_SIGNATURE_BYTES] = {7, 7};
    char *text = (char *)bytes + 8;
    if (index >= sizeof seeds / sizeof seeds[0])
        return 0;
    memset(bytes, 0, 8);
    bytes[0] = (uint8_t)(index == 6 ? 0 : index);
    if (index == 3) {
        memcpy(text, seeds[2], strlen(seeds[2]) + 1);
        return 8 + note_sign(text, strlen(seeds[2]), key.name, key.id, signature);
    }
    if (index == 4) {
        note_key_encode(text, "", key.name, key.id, key.public_key);
        return 8 + strlen(text);
    }
    size_t size = index == 5 ? 12 : strlen(seeds[index]);
    memcpy(text, seeds[index], size);
    return 8 + size;
}

static void try_entry(const uint8_t *text, size_t size)
{
    uint64_t highest[AUDIT_SOURCES] = {5, 6};
    if (entry_highest(text, size, highest) == STATUS_OK)
        must(highest[0] <= 1ull << 53 && highest[1] <= 1ull << 53);
    else
        must(highest[0] == 5 && highest[1] == 6);
}

static void try_record(const char *record, size_t size)
{
    static char text[AUDIT_ENTRY_BYTES_MAX];
    const uint64_t before[AUDIT_SOURCES] = {11, 12};
    uint64_t highest[AUDIT_SOURCES] = {0, 0};
    if (size > AUDIT_RECORD_BYTES_MAX)
        return;
    size_t length = entry_encode(text, AUDIT_SOURCE_SUPERVISOR, 99, -1, before, record, size);
    must(length > 0 && length < sizeof text && memchr(text, '\n', length) == NULL);
    must(entry_highest((const uint8_t *)text, length, highest) == STATUS_OK);
    must(highest[0] == 11 && highest[1] == 99); // whatever the record holds
    cJSON *json = cJSON_ParseWithLength(text, length);
    must(cJSON_GetArraySize(json) == 5 && cJSON_HasObjectItem(json, "record"));
    cJSON_Delete(json);
}

static void try_checkpoint(const char *text, size_t size)
{
    struct checkpoint checkpoint;
    char again[NOTE_TEXT_BYTES_MAX];
    if (checkpoint_decode(&checkpoint, text, size) == STATUS_OK)
        must(checkpoint_encode(&checkpoint, again) == size && memcmp(again, text, size) == 0);
}

static void try_note(const char *note, size_t size)
{
    size_t text_length = 0;
    uint8_t signature[NOTE_SIGNATURE_BYTES];
    enum status status = note_open(note, size, key.name, key.id, &text_length, signature);
    must(status == STATUS_OK || status == STATUS_ABSENT || status == STATUS_MALFORMED);
    if (status != STATUS_OK)
        return;
    must(text_length > 0 && text_length < size && note[text_length - 1] == '\n' && note[text_length] == '\n');
    try_checkpoint(note, text_length);
}

static void try_key(const char *bytes, size_t size)
{
    char text[NOTE_VKEY_BYTES + 64], again[NOTE_VKEY_BYTES];
    struct log_key read;
    if (size >= sizeof text)
        return;
    memcpy(text, bytes, size);
    text[size] = 0;
    if (note_key_decode(text, "", read.name, read.id, read.public_key) != STATUS_OK)
        return;
    note_key_encode(again, "", read.name, read.id, read.public_key);
    text[strcspn(text, "\n")] = 0;
    must(strcmp(again, text) == 0 && note_name_is_valid(read.name));
}

static void try_bundle(const uint8_t *bytes, size_t size)
{
    size_t offset = 0, entry_bytes = 0;
    for (const uint8_t *entry; (entry = log_bundle_next(bytes, size, &offset, &entry_bytes)) != NULL;)
        must(offset <= size && entry + entry_bytes == bytes + offset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8)
        return 0;
    const char *text = (const char *)data + 8;
    switch (data[0] % 6) {
    case 0: try_entry(data + 8, size - 8); break;
    case 1: try_record(text, size - 8); break;
    case 2: try_checkpoint(text, size - 8); break;
    case 3: try_note(text, size - 8); break;
    case 4: try_key(text, size - 8); break;
    default: try_bundle(data + 8, size - 8);
    }
    return 0;
}
