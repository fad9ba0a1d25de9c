// SPDX-License-Identifier: ISC
// What only a kernel may execute, and the ways out of an instance.
#include "acts.h"

// Each ends in ret, so that one which does nothing is seen to have lived on.
#define INSTRUCTION(code) ".balign 16\n" code "\n ret\n"
__asm__(".pushsection .text.privileged, \"ax\"\n"
        "privileged:\n"
        INSTRUCTION("hlt")
        INSTRUCTION("cli")
        INSTRUCTION("sti")
        INSTRUCTION("in $0x64, %al")
        INSTRUCTION("out %al, $0x64")
        INSTRUCTION("mov $0xcf9, %edx\n mov $6, %eax\n out %al, %dx")
        INSTRUCTION("mov $0x604, %edx\n mov $0x2000, %eax\n out %ax, %dx")
        INSTRUCTION("mov %cr0, %rax")
        INSTRUCTION("mov %cr3, %rax")
        INSTRUCTION("mov %rax, %cr3")
        INSTRUCTION("mov %rax, %cr4")
        INSTRUCTION("mov %dr7, %rax")
        INSTRUCTION("mov $0xc0000080, %ecx\n rdmsr")
        INSTRUCTION("mov $0xc0000080, %ecx\n wrmsr")
        INSTRUCTION("lgdt (%rsp)")
        INSTRUCTION("lidt (%rsp)")
        INSTRUCTION("ltr %ax")
        INSTRUCTION("invlpg (%rsp)")
        INSTRUCTION("wbinvd")
        INSTRUCTION("clts")
        INSTRUCTION("swapgs")
        INSTRUCTION("xor %ecx, %ecx\n xsetbv")
        INSTRUCTION("mov $20, %eax\n int $0x80")
        INSTRUCTION("int $0x20")
        INSTRUCTION("int3")
        INSTRUCTION(".byte 0xf1") // int1
        "privileged_end:\n"
        "plain:\n" // no endbr64: no indirect branch should come here
        "    ret\n"
        ".popsection\n");
extern const uint8_t privileged[], privileged_end[], plain[];

struct send { // of abi/abi.h, with a flow that the manifest does not have
    uint32_t size;
    uint16_t kind, zero, flow, flags;
    uint32_t delay_ms, context_bytes, payload_bytes;
};

static void call_plain(const uint8_t *code)
{
    ((void (*)(void))(uintptr_t)launder((uintptr_t)code))();
}

static void privileged_do(unsigned key)
{
    const uint8_t *code = privileged + 16 * (size_t)key;
    if (code >= privileged_end)
        fail("that was the last");
    log_info("instruction=%u", key);
    call_plain(code);
}

// A system call of our choice, with the instruction that the gate has for its own.
static void call(unsigned number)
{
    volatile uint8_t *gate = launder(boot_words()[BOOT_GATE]);
    for (unsigned i = 0; i < 512; i++)
        if (gate[i] == 0x0f && gate[i + 1] == 0x05) {
            log_info("call=%u at gate+%u", number, i);
            __asm__ volatile("xor %%esi, %%esi\n xor %%edx, %%edx\n jmp *%0"
                             : : "r"(gate + i), "a"((uint64_t)number), "D"(0ul) : "memory", "rsi", "rdx");
        }
    log_info("the gate holds no system call");
}

extern const uint8_t image_end_text[]; // guest/image.ld

// What can be executed besides the code that was looked at: behind it on its last page, and in the gate's.
static void code_pages(void)
{
    const volatile uint8_t *at = launder((uintptr_t)image_end_text), *gate = launder(boot_words()[BOOT_GATE]);
    unsigned tail = 0, odd = 0, used = 0, calls = 0;
    for (; (uintptr_t)at % 4096 != 0; at++, tail++)
        odd += *at != 0;
    for (unsigned i = 0; i < 4096; i++) {
        used = gate[i] != 0 ? i + 1 : used;
        calls += i != 0 && gate[i - 1] == 0x0f && (gate[i] == 0x05 || gate[i] == 0x34);
    }
    log_info("tail=%x odd=%x used=%x calls=%x", tail, odd, used, calls);
}

static void undeclared(void)
{
    uint64_t output = boot_words()[BOOT_OUTPUT];
    volatile uint32_t *published = (volatile uint32_t *)launder(output);
    struct send *send = (struct send *)(uintptr_t)launder(output + 8 + *published);
    *send = (struct send){.size = 24, .kind = 17, .flow = 9};
    *published += 24;
}

void act_on_processor(unsigned act, unsigned key)
{
    switch (act) {
    case INDIRECT: call_plain(plain); break;
    case PRIVILEGED: privileged_do(key); break;
    case CALL: call(key); break;
    case UNDECLARED: undeclared(); break;
    case CODE_PAGES: code_pages(); break;
    default: fail("there is no act %u", act);
    }
}
