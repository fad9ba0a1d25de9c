// SPDX-License-Identifier: ISC
// Fuzz target: `crenel run` between the lines that it is given and a tender that was taken over by its guest.
//
// Input: a byte n, n * 4 bytes of lines for standard input, then what the tender sends: packets, each a byte of kind and
// what it needs (make_packet). What must hold: each answer has the form that guests are promised; what is printed is lines
// of JSON that a terminal can show.
#include "tests/fuzz/answer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/manifest_sample.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#include "cli/build/build.h"
#include "cli/command.h"
#include "cli/report.h"
#include "cli/run_event.h"
#include "cli/run_tender.h"
#include "host/channel.h"
#include "proto/link.h"

#include <cjson/cJSON.h>
#include <stdarg.h>

#define DELIVERIES_MOST 200u // a timer that sets itself again has no end

static struct manifest_sample sample;
static struct manifest manifest;
static struct {
    struct take take;
    unsigned delivered, answered, reads;
    char line[1 << 16];
    size_t line_bytes;
} world;

// Room for the timers of a run is a megabyte: here always the same.
static struct run_timer timers[RUN_TIMERS_MAX];
void *__wrap_calloc(size_t count, size_t size);
void *__real_calloc(size_t count, size_t size);
void __wrap_free(void *bytes);
void __real_free(void *bytes);

void *__wrap_calloc(size_t count, size_t size)
{
    return count == RUN_TIMERS_MAX && size == sizeof timers[0] ? timers : __real_calloc(count, size);
}

void __wrap_free(void *bytes)
{
    if (bytes != timers)
        __real_free(bytes);
}

enum status __wrap_image_read(const char *path, uint8_t **bytes, struct image *image, uint8_t digest[32]);
enum status __wrap_run_tender_start(struct run_tender *tender, const struct run_config *config);
void __wrap_run_tender_stop(struct run_tender *tender);
enum status __wrap_channel_receive(struct channel *channel, void *bytes, size_t capacity, size_t *size, int wait);
enum status __wrap_channel_send_parts(struct channel *channel, const struct channel_part *parts, size_t count);
void __wrap_report_error(const char *file, int line, const char *mend, const char *what, ...);

enum status __wrap_image_read(const char *path, uint8_t **bytes, struct image *image, uint8_t digest[32])
{
    (void)path;
    *bytes = NULL;
    *image = (struct image){.manifest = manifest};
    memset(digest, 7, 32);
    return STATUS_OK;
}

enum status __wrap_run_tender_start(struct run_tender *tender, const struct run_config *config)
{
    (void)tender;
    must(config->deadline_ms != 0);
    return STATUS_OK;
}

void __wrap_run_tender_stop(struct run_tender *tender) { (void)tender; }

void __wrap_report_error(const char *file, int line, const char *mend, const char *what, ...)
{
    char text[1024];
    va_list arguments;
    (void)file, (void)mend;
    va_start(arguments, what);
    must(vsnprintf(text, sizeof text, what, arguments) > 0 && line >= 0);
    va_end(arguments);
}

static size_t put_record(uint8_t *at, const void *fixed, size_t fixed_bytes, const void *a, size_t a_bytes,
                         const void *b, size_t b_bytes)
{
    uint32_t size = (uint32_t)(fixed_bytes + ABI_ALIGN8(a_bytes) + ABI_ALIGN8(b_bytes));
    memset(at, 0, size);
    memcpy(at, fixed, fixed_bytes);
    memcpy(at, &size, sizeof size);
    memcpy(at + fixed_bytes, a, a_bytes);
    memcpy(at + fixed_bytes + ABI_ALIGN8(a_bytes), b, b_bytes);
    return size;
}

static size_t make_record(struct take *take, uint8_t *at, unsigned kind)
{
    uint8_t what = take_byte(take), value = take_byte(take);
    struct {
        uint32_t value, key;
        uint64_t sequence;
    } item = {value * 4u, what % 4u, value};
    const uint8_t key[4] = {0, 0, 0, what % 4u};
    struct abi_send send = {.record.kind = ABI_SEND, .flow = what % 4, .delay_ms = what > 128 ? value : 0,
                            .context_bytes = what % 16 == 3 ? 5 : 0, .payload_bytes = sizeof item};
    struct abi_write write = {.record.kind = ABI_WRITE, .op = what > 200 ? ABI_WRITE_DELETE : ABI_WRITE_PUT,
                              .key_bytes = 4, .value_bytes = what > 200 ? 0 : sizeof item};
    struct abi_log log = {.record.kind = ABI_LOG, .level = what % 5, .code = what % 5 == 4 ? value % 3 : 0,
                          .text_bytes = 9};
    struct abi_read read = {.record.kind = ABI_READ, .op = 1 + what % 3, .limit = what % 3 == 0 ? 1 : 1 + value % 64,
                            .from_bytes = 4, .end_bytes = what > 128 ? 4 : 0};
    switch (kind) {
    case 0: return put_record(at, &send, sizeof send, "conte", send.context_bytes, &item, sizeof item);
    case 1: return put_record(at, &write, sizeof write, key, 4, &item, write.value_bytes);
    case 2: return put_record(at, &log, sizeof log, what & 8 ? "a \x1b[2J\x9bm" : "some text", 9, "", 0);
    default: return put_record(at, &read, sizeof read, key, 4, "\xff\xff\xff\xff", read.end_bytes);
    }
}

// READs, or the EFFECTS of an event, nearly right; or whatever the input holds.
static size_t make_packet(struct take *take, uint8_t *packet)
{
    uint8_t kind = take_byte(take);
    int is_read = kind % 4 == 0;
    struct link_effects effects = {.header = {0, LINK_EFFECTS, 0, 1}, .outcome = kind >> 3 & 7, .text = "out of \x1bturn"};
    const struct abi_end end = {.record = {sizeof end, ABI_END, 0}};
    if (kind % 4 == 3) {
        size_t size = take_bytes(take, packet, take_byte(take));
        return size == 0 ? 1 : size;
    }
    effects.outcome = effects.outcome > LINK_LOST + 1 ? LINK_ENDED : effects.outcome;
    size_t head = is_read ? sizeof effects.header : sizeof effects, at;
    if (!is_read && (effects.outcome == LINK_FAULT || effects.outcome == LINK_DEADLINE)) {
        struct link_crash crash = {.signal = 11, .frame_count = kind, .address = kind};
        memset(crash.last_log, kind, kind & 64 ? sizeof crash.last_log : 3);
        memcpy(packet + head, &crash, sizeof crash);
        head += sizeof crash;
    }
    at = head;
    for (unsigned left = take_byte(take) % 6; left > 0; left--)
        at += make_record(take, packet + at, is_read ? 3 : take_byte(take) % 3);
    if (!is_read && effects.outcome == LINK_ENDED)
        at += put_record(packet + at, &end, sizeof end, "", 0, "", 0);
    for (unsigned changes = take_byte(take) % 8; changes > 5 && at > head; changes--)
        packet[head + take_number(take, 2) % (at - head)] ^= take_byte(take);
    effects.record_bytes = (uint32_t)(at - head);
    effects.header.size = (uint32_t)at;
    if (is_read)
        effects.header.kind = LINK_READ;
    memcpy(packet, &effects, is_read ? sizeof effects.header : sizeof effects);
    return at;
}

enum status __wrap_channel_receive(struct channel *channel, void *bytes, size_t capacity, size_t *size, int wait)
{
    static uint8_t packet[LINK_BYTES_MAX];
    (void)channel;
    must(wait && capacity == LINK_BYTES_MAX);
    if (world.take.left == 0)
        return STATUS_CLOSED;
    *size = make_packet(&world.take, packet);
    memcpy(bytes, packet, *size);
    return STATUS_OK;
}

enum status __wrap_channel_send_parts(struct channel *channel, const struct channel_part *parts, size_t count)
{
    struct link_header header;
    size_t size = 0;
    (void)channel;
    for (size_t i = 0; i < count; i++)
        size += parts[i].size;
    memcpy(&header, parts[0].bytes, sizeof header);
    must(header.size == size && size <= LINK_BYTES_MAX);
    if (header.kind == LINK_ANSWER) {
        judge_answer(parts[1].bytes, parts[1].size);
        return STATUS_OK;
    }
    struct link_deliver deliver;
    uint16_t field;
    must(header.kind == LINK_DELIVER && parts[0].size == sizeof deliver && count == 2);
    memcpy(&deliver, parts[0].bytes, sizeof deliver);
    must(deliver.flow < manifest.header->input_count && deliver.context_bytes <= ABI_CONTEXT_BYTES_MAX);
    const uint8_t *payload = (const uint8_t *)parts[1].bytes + ABI_ALIGN8((size_t)deliver.context_bytes);
    must(ABI_ALIGN8((size_t)deliver.context_bytes) + deliver.payload_bytes <= parts[1].size);
    must(schema_check(&manifest.schemas[manifest.inputs[deliver.flow].schema], payload, deliver.payload_bytes,
                      &field) == REASON_DONE);
    return ++world.delivered < DELIVERIES_MOST ? STATUS_OK : STATUS_CLOSED;
}

// ---- What is printed ----
static ssize_t print(void *cookie, const char *bytes, size_t size)
{
    (void)cookie;
    for (size_t i = 0; i < size; i++) {
        must(world.line_bytes < sizeof world.line && ((uint8_t)bytes[i] >= 0x20 || bytes[i] == '\n'));
        must(bytes[i] != 0x7f);
        world.line[world.line_bytes++] = bytes[i];
        if (bytes[i] != '\n')
            continue;
        cJSON *json = cJSON_ParseWithLength(world.line, world.line_bytes);
        must(cJSON_IsObject(json));
        cJSON_Delete(json);
        world.line_bytes = 0;
    }
    return (ssize_t)size;
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static const char *const lines[] = {
        "{\"flow\":\"in\",\"message\":{\"value\":7,\"key\":1}}\n{\"flow\":\"in\",\"message\":{\"value\":8},\"time_ms\":9}\n",
        "{\"flow\":\"answer\",\"message\":{\"text\":\"yes\"},\"context\":\"ctx\",\"principal\":2}\n{\"x\":1}\n",
        "{\"flow\":\"in\",\"message\":{\"value\":7},\"time_ms\":1e300}\nno json\n{\"flow\":7}\n",
    };
    uint32_t state = index + 1;
    if (index >= 48)
        return 0;
    const char *text = lines[index % 3];
    size_t size = (strlen(text) + 3) / 4 * 4;
    memset(bytes, ' ', size + 1);
    bytes[0] = (uint8_t)(size / 4);
    memcpy(bytes + 1, text, strlen(text));
    for (size_t i = 0; i < 100; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[1 + size + i] = (uint8_t)(state >> 24);
    }
    return 1 + size + 100;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *out;
    char *arguments[] = {(char[]){"run"}, (char[]){"sample.img"}, NULL};
    if (size < 2)
        return 0;
    if (out == NULL) {
        manifest_sample_make(&sample);
        must(manifest_open(&manifest, (const uint8_t *)&sample, sizeof sample) == STATUS_OK);
        out = fopencookie(NULL, "w", (cookie_io_functions_t){.write = print});
    }
    size_t lines = data[0] * 4u < size - 1 ? data[0] * 4u : size - 1;
    world.take = (struct take){data + 1 + lines, size - 1 - lines};
    world.delivered = 0;
    world.line_bytes = 0;
    FILE *kept_in = stdin, *kept_out = stdout;
    FILE *in = lines == 0 ? NULL : fmemopen((void *)(uintptr_t)(data + 1), lines, "r");
    if (in == NULL)
        return 0;
    stdin = in;
    stdout = out;
    int code = cmd_run(2, arguments);
    fflush(out);
    stdin = kept_in;
    stdout = kept_out;
    fclose(in);
    must(code == EXIT_OK || code == EXIT_FAILED);
    must(world.line_bytes == 0);
    return 0;
}
