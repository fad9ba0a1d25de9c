// SPDX-License-Identifier: ISC
// An attacker in an instance, who knows the gate and the output region: the message's number says which act.
// 0 is an honest answer, for the instance after the broken one.
#include "breach.h"

struct head { // of a record (abi/abi.h)
    uint32_t size;
    uint16_t kind, zero;
};
enum { LOG = 19, END = 20, LOG_BYTES = 16, END_BYTES = 16 };

void *guest_state(void); // of the library OS; begins with the address of the boot block

static const uint64_t *boot(void)
{
    return *(const uint64_t *const *)guest_state();
}

static void publish(uint32_t bytes)
{
    *(volatile uint32_t *)(uintptr_t)boot()[4] = bytes;
    ((void (*)(void))(uintptr_t)boot()[2])();
}

static uint32_t put(uint32_t at, uint32_t size, uint16_t kind, uint32_t bytes)
{
    uint8_t *record = (uint8_t *)(uintptr_t)boot()[4] + 8 + at;
    memset(record, 0, bytes);
    ((struct head *)record)->size = size;
    ((struct head *)record)->kind = kind;
    return at + bytes;
}

// To wait()'s own `syscall`, with a call of our choice.
static void jump(uint64_t call)
{
    const uint8_t *gate = (const uint8_t *)(uintptr_t)boot()[2];
    while (gate[0] != 0x0f || gate[1] != 0x05)
        gate++;
    __asm__ volatile("jmp *%0" : : "r"(gate), "a"(call), "D"(1L), "S"(boot()), "d"(8L) : "memory");
}

void on_ask(const struct event *event, const struct word *message)
{
    struct word answer = {.number = message->number};
    uint32_t used = 0;
    (void)event;
    switch (message->number) {
    case 1: publish(32768); break;                                 // beyond the region
    case 2: publish(4); break;                                     // half a record
    case 3: publish(put(0, 64, END, END_BYTES)); break;            // a record that ends behind what is published
    case 4: publish(put(put(0, END_BYTES, END, END_BYTES), END_BYTES, END, END_BYTES)); break;
    case 5: publish(put(put(0, END_BYTES, END, END_BYTES), LOG_BYTES, LOG, LOG_BYTES)); break;
    case 6: publish(0); break;                                     // a wait for nothing
    case 7: jump(1); break;                                        // write
    case 8: jump(57); break;                                       // fork
    case 9:                                                        // logs to the last byte
        while (used + LOG_BYTES + END_BYTES <= 32760)
            used = put(used, LOG_BYTES, LOG, LOG_BYTES);
        publish(put(used, END_BYTES, END, END_BYTES));
        break;
    default: break;
    }
    send_answer(&answer);
}
