// SPDX-License-Identifier: ISC
// One instance of tests/unit/library inside the test's process: built, mapped, entered on a stack of its
// own, left through the gate or a fault.
#ifndef CRENEL_TESTS_LIBRARY_INSTANCE_H
#define CRENEL_TESTS_LIBRARY_INSTANCE_H

#include "abi/abi.h"
#include "cli/build/build.h"
#include "cli/build/build_tool.h"
#include "tests/unit/test.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK_BYTES 65536u

enum { RESULT = 0, OTHER_RESULT = 1, ANSWER = 2, QUESTION = 3 };

struct instance {
    uint8_t *base;
    ucontext_t guest, host;
    struct abi_boot boot;
    int is_faulted;
    uint8_t *input, *output, *arena, *stack;
};

static struct image image;
static uint8_t *image_bytes;
static struct instance instance; // the one that runs
static char image_path[] = "/tmp/crenel-library-XXXXXX/library.img";
static const char configuration[] = "other 9\nlimit  42\nword abc\nlimit 43\nlim";

static void gate(void)
{
    swapcontext(&instance.guest, &instance.host);
}

static void on_fault(int signal)
{
    (void)signal;
    instance.is_faulted = 1;
    setcontext(&instance.host);
}

static void *pages(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    return memory;
}

static void image_map(void)
{
    instance.base = pages(image.span_bytes);
    for (size_t i = 0; i < image.segment_count; i++)
        memcpy(instance.base + image.segments[i].address, image_bytes + image.segments[i].file_offset,
               image.segments[i].file_bytes);
    for (size_t i = 0; i < image.relocation_count; i++) {
        uint64_t word;
        memcpy(&word, instance.base + image.relocations[i], sizeof word);
        word += (uint64_t)instance.base;
        memcpy(instance.base + image.relocations[i], &word, sizeof word);
    }
    for (size_t i = 0; i < image.segment_count; i++) {
        int protection = PROT_READ;
        if (image.segments[i].kind == IMAGE_TEXT)
            protection |= PROT_EXEC;
        if (image.segments[i].kind == IMAGE_DATA)
            protection |= PROT_WRITE;
        size_t bytes = (image.segments[i].memory_bytes + 4095u) & ~4095u;
        if (mprotect(instance.base + image.segments[i].address, bytes, protection) != 0)
            abort();
    }
}

static void guest_enter(unsigned low, unsigned high)
{
    uint64_t address = (uint64_t)high << 32 | low;
    ((void (*)(const struct abi_boot *))address)(&instance.boot);
}

// A new instance that has come to its first wait.
static void start(void)
{
    if (instance.base != NULL) {
        munmap(instance.base, image.span_bytes);
        munmap(instance.input, ABI_INPUT_BYTES);
        munmap(instance.output, ABI_OUTPUT_BYTES);
        munmap(instance.arena, image.manifest.header->arena_bytes);
        munmap(instance.stack, STACK_BYTES);
    }
    memset(&instance, 0, sizeof instance);
    image_map();
    instance.input = pages(ABI_INPUT_BYTES);
    instance.output = pages(ABI_OUTPUT_BYTES);
    instance.arena = pages(image.manifest.header->arena_bytes);
    memset(instance.arena, 0x55, image.manifest.header->arena_bytes);
    instance.stack = pages(STACK_BYTES);
    instance.boot = (struct abi_boot){
        .magic = ABI_BOOT_MAGIC, .version = ABI_VERSION, .size = sizeof instance.boot,
        .gate = (uint64_t)gate, .input = (uint64_t)instance.input, .output = (uint64_t)instance.output,
        .arena = (uint64_t)instance.arena, .arena_bytes = image.manifest.header->arena_bytes,
        .canary = 0x1122334455667700, .configuration = (uint64_t)configuration,
        .configuration_bytes = sizeof configuration - 1};
    getcontext(&instance.guest);
    instance.guest.uc_stack.ss_sp = instance.stack;
    instance.guest.uc_stack.ss_size = STACK_BYTES;
    uint64_t entry = (uint64_t)instance.base + image.entry;
    makecontext(&instance.guest, (void (*)(void))guest_enter, 2, (unsigned)entry,
                (unsigned)(entry >> 32));
    swapcontext(&instance.host, &instance.guest);
}

static void resume(void)
{
    swapcontext(&instance.host, &instance.guest);
}

static void event_place(uint16_t flow, const void *context, size_t context_bytes,
                        const void *payload, size_t payload_bytes)
{
    struct abi_event *event = (struct abi_event *)(void *)instance.input;
    size_t size = sizeof *event + ABI_ALIGN8(context_bytes) + ABI_ALIGN8(payload_bytes);

    memset(instance.input, 0x77, ABI_INPUT_BYTES); // nothing may depend on what lies behind
    *event = (struct abi_event){.record = {.size = (uint32_t)size, .kind = ABI_EVENT}, .number = 5,
                                .flow = flow, .attempt = 2, .principal = 3,
                                .context_bytes = (uint32_t)context_bytes,
                                .payload_bytes = (uint32_t)payload_bytes};
    uint8_t *at = (uint8_t *)(event + 1);
    if (context_bytes != 0)
        memcpy(at, context, context_bytes);
    memcpy(at + ABI_ALIGN8(context_bytes), payload, payload_bytes);
}

// One event on input `flow` with a command message.
static void command(uint16_t flow, uint8_t what, const char *text)
{
    struct {
        uint8_t what, zero;
        uint16_t text_length;
        char text[68];
    } message = {.what = what, .text_length = (uint16_t)strlen(text)};

    memcpy(message.text, text, message.text_length);
    event_place(flow, NULL, 0, &message, ABI_ALIGN8(4u + message.text_length));
    resume();
}

// The index-th record of that kind among those published, or NULL.
static const struct abi_record *record_find(uint16_t kind, unsigned index)
{
    const struct abi_output *output = (const struct abi_output *)(const void *)instance.output;
    const uint8_t *at = (const uint8_t *)(output + 1), *end = at + output->published_bytes;

    while (at < end) {
        const struct abi_record *record = (const struct abi_record *)(const void *)at;
        if (record->size < sizeof *record || record->size % 8 != 0 || record->size > (size_t)(end - at))
            return NULL;
        if (record->kind == kind && index-- == 0)
            return record;
        at += record->size;
    }
    return NULL;
}

static const struct abi_send *send_find(unsigned index)
{
    return (const struct abi_send *)(const void *)record_find(ABI_SEND, index);
}

static int ended(uint16_t verdict, uint16_t code)
{
    const struct abi_end *end = (const struct abi_end *)(const void *)record_find(ABI_END, 0);
    return !instance.is_faulted && end != NULL && end->verdict == verdict && end->code == code;
}

// The message of a SEND is valid, and its last field is this text.
static int said(const struct abi_send *send, const char *text)
{
    uint16_t field;
    const uint8_t *bytes;

    if (send == NULL)
        return 0;
    const struct manifest_flow *flow = &image.manifest.outputs[send->flow];
    const struct schema *schema = &image.manifest.schemas[flow->schema];
    const uint8_t *payload = (const uint8_t *)(send + 1) + ABI_ALIGN8(send->context_bytes);
    if (schema_check(schema, payload, send->payload_bytes, &field) != REASON_DONE)
        return 0;
    size_t length = schema_bytes(schema, (uint16_t)(schema->header->field_count - 1), payload,
                                 send->payload_bytes, &bytes);
    if (length == strlen(text) && memcmp(bytes, text, length) == 0)
        return 1;
    printf("# said: %.*s\n", (int)length, (const char *)bytes);
    return 0;
}

// It faulted, and its last log record holds this text.
static int failed_with(const char *text)
{
    const struct abi_log *log = NULL;
    const struct abi_record *next;
    char found[ABI_LOG_BYTES_MAX + 1];

    for (unsigned i = 0; (next = record_find(ABI_LOG, i)) != NULL; i++)
        log = (const struct abi_log *)(const void *)next;
    if (!instance.is_faulted || log == NULL || log->level != ABI_LOG_ERROR ||
        log->text_bytes > ABI_LOG_BYTES_MAX)
        return 0;
    memcpy(found, log + 1, log->text_bytes);
    found[log->text_bytes] = 0;
    if (strstr(found, text) != NULL)
        return 1;
    printf("# log: %s\n", found);
    return 0;
}

static int prepare(void)
{
    static uint8_t signal_stack[65536];
    const char *build = getenv("CRENEL_BUILD");
    char guest[512];
    uint8_t digest[32];
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK};
    stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};

    sigaltstack(&stack, NULL);
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
    snprintf(guest, sizeof guest, "%s/guest", build == NULL ? "build" : build);
    setenv("CRENEL_GUEST", guest, 1);
    char *slash = strrchr(image_path, '/');
    *slash = 0;
    if (mkdtemp(image_path) == NULL)
        return 0;
    *slash = '/';
    return build_unikernel("tests/unit/library", image_path) == STATUS_OK &&
           image_read(image_path, &image_bytes, &image, digest) == STATUS_OK;
}

static void clean_up(void)
{
    char program[] = "rm", options[] = "-rf";
    char *arguments[] = {program, options, image_path, NULL};

    *strrchr(image_path, '/') = 0;
    if (tool_run(arguments, NULL) != STATUS_OK)
        abort();
}

#endif
