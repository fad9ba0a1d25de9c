// SPDX-License-Identifier: ISC
// From the entry point to the event loop, and back out of a refused event.
//
// The order of a life: entry, init, then for each batch of events: wait, and for each event handler and END. The
// first wait publishes nothing. The functions below that are live across a wait for an event carry no stack
// canary: the host may copy an instance while it waits there and give the copy a canary of its own.
#include "guest/library/guest.h"

#define STACK_UNGUARDED __attribute__((no_stack_protector))

__attribute__((used)) uintptr_t __stack_chk_guard;

void __stack_chk_fail(void);
__attribute__((noreturn)) void crenel_start(const struct abi_boot *boot);

__asm__(".pushsection .text._start,\"ax\",@progbits\n"
        ".globl _start\n"
        ".hidden _start\n"
        ".type _start, @function\n"
        "_start:\n"
        "    endbr64\n"
        "    xorl %ebp, %ebp\n"
        "    andq $-16, %rsp\n"
        "    call crenel_start\n"
        "    ud2\n"
        ".size _start, . - _start\n"
        ".popsection\n");

struct guest *guest_state(void)
{
    static struct guest guest;
    return &guest;
}

// An application without init of its own gets this one.
__attribute__((weak)) void init(void)
{
}

__attribute__((used, noreturn)) void __stack_chk_fail(void)
{
    fail("the stack is overwritten: a write went past the end of a local array");
}

STACK_UNGUARDED const struct abi_record *guest_wait(void)
{
    const struct abi_boot *boot = guest_state()->boot;

    ((void (*)(void))boot->gate)();
    __asm__ volatile("" ::: "memory"); // the input is new
    return (const struct abi_record *)boot->input;
}

static void event_begin(struct guest *guest)
{
    guest->event_at = ((struct abi_output *)guest->boot->output)->published_bytes;
    guest->arena_used = 0;
    guest->waits = 0;
    guest->writes = 0;
    memset(guest->sent, 0, sizeof guest->sent);
}

static void event_end(uint16_t verdict, uint16_t code)
{
    arena_check();
    struct abi_end *end = guest_record(ABI_END, sizeof *end, "END");

    end->verdict = verdict;
    end->code = code;
    end->zero = 0;
}

// The message and its context: where they lie, or in the arena when answers of the store will overwrite the input.
static const uint8_t *event_bytes(const struct abi_event *wire)
{
    const uint8_t *bytes = (const uint8_t *)(wire + 1);
    size_t size = ABI_ALIGN8(wire->context_bytes) + ABI_ALIGN8(wire->payload_bytes);

    if (!crenel_limits()->is_reading)
        return bytes;
    return memcpy(arena_allocate(size), bytes, size);
}

// False: it was refused.
STACK_UNGUARDED static bool event_run(struct guest *guest, const struct abi_event *wire)
{
    bool is_done = false;

    event_begin(guest);
    guest->is_in_event = true;
    if (__builtin_setjmp(guest->unwind) == 0) {
        uint8_t seed[sizeof wire->seed];
        const uint8_t *bytes = event_bytes(wire);
        struct event event = {
            .number = wire->number,
            .time_ms = wire->time_ms,
            .input = wire->flow,
            .attempt = wire->attempt,
            .principal = wire->principal,
            .context = bytes,
            .context_bytes = wire->context_bytes,
        };
        if (crenel_limits()->is_random)
            event.seed = memcpy(seed, wire->seed, sizeof seed);
        crenel_dispatch(&event, bytes + ABI_ALIGN8(wire->context_bytes));
        event_end(ABI_END_DONE, 0);
        is_done = true;
    } else {
        event_end(ABI_END_REFUSED, guest->refusal);
    }
    guest->is_in_event = false;
    return is_done;
}

// All events that one wait brought, or up to one that is refused. False: there is none.
STACK_UNGUARDED static bool batch_run(struct guest *guest, const struct abi_record *record)
{
    const uint8_t *at = (const uint8_t *)record, *end = at + ABI_INPUT_BYTES;

    if (record->kind != ABI_EVENT)
        return false;
    while (event_run(guest, (const struct abi_event *)at)) {
        at += ((const struct abi_record *)at)->size;
        if ((size_t)(end - at) < sizeof *record || ((const struct abi_record *)at)->kind != ABI_EVENT)
            break;
    }
    return true;
}

void event_refuse(unsigned code)
{
    struct guest *guest = guest_state();

    if (!guest->is_in_event)
        fail("event_refuse in init: there is no event to refuse");
    guest->refusal = (uint16_t)code;
    __builtin_longjmp(guest->unwind, 1);
}

STACK_UNGUARDED __attribute__((used)) void crenel_start(const struct abi_boot *boot)
{
    struct guest *guest = guest_state();

    if (boot->magic != ABI_BOOT_MAGIC || boot->version != ABI_VERSION || boot->size < sizeof *boot)
        __builtin_trap();
    __stack_chk_guard = boot->canary;
    guest->boot = boot;
    struct abi_output *output = (struct abi_output *)boot->output;
    output->published_bytes = 0;
    init();
    const struct abi_record *record;
    do {
        record = guest_wait();
        __stack_chk_guard = boot->canary;
        output->published_bytes = 0;
    } while (batch_run(guest, record));
    guest_wait(); // STOP: the host does not come back
    __builtin_trap();
}
