// SPDX-License-Identifier: ISC
// Fresh means fresh: a secret is planted in every place that an instance can write, and the next event served by
// the same slot, and one in a new instance after a fault, find none of it. What they find is moreover the same, bit
// for bit, as what an instance finds that nothing was planted before.
#include "tests/attack/attack.h"

#include <stdio.h>
#include <string.h>

enum { PLANT = 1, LOOK, PLANT_AND_FAULT };
enum feature { AVX = 1, AVX512 = 2, FSGSBASE = 4, FEATURES = 3 };
enum place {
    GENERAL = 1 << 0, FLAGS = 1 << 1, X87 = 1 << 2, MXCSR = 1 << 3, SSE = 1 << 4, WIDE = 1 << 5, SELECTORS = 1 << 6,
    BASES = 1 << 7, STACK_POINTER = 1 << 8,
    DATA = 1 << 16, BSS = 1 << 17, ARENA = 1 << 18, STACK = 1 << 19, RED_ZONE = 1 << 20, OUTPUT = 1 << 21,
    PUBLISHED = 1 << 22,
};
#define SECRET 0x00005ec2e75ec2e7u // an address that exists nowhere, so that it may be a base as well

// What an instance finds in its registers right behind the gate. It lies in the guest's data.
struct register_dump {
    uint64_t general[16]; // rax rbx rcx rdx rsi rdi rbp rsp r8-r15
    uint64_t flags, ds, es, fs, gs, fs_base, gs_base, unused;
    uint8_t fx[512];      // x87, mxcsr, xmm
    uint8_t wide[32][64]; // ymm or zmm
    uint64_t masks[8];
};
_Static_assert(sizeof(struct register_dump) == 192 + 512 + 2048 + 64 && sizeof(struct register_dump) <= 4096, "dump");

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
// The dump's field at `at`, seen from code of the guest: data is two pages behind text.
#define DUMP(at) "__start_attack_registers+" TEXT(IMAGE_DATA_AT - IMAGE_TEXT_AT + 64 + at) "(%%rip)"
#define WIDE_SAVE(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%0)\n"
#define WIDE_SAVE_256(n) "vmovdqu %%ymm" #n ", " #n "*64(%0)\n"
#define ALL_16(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define ALL_HIGH_16(X) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
#define MASK_SAVE(n) "kmovq %%k" #n ", " #n "*8(%0)\n"
#define PLANT_XMM(n) "movq %%rax, %%xmm" #n "\n punpcklqdq %%xmm" #n ", %%xmm" #n "\n"
#define PLANT_YMM(n) "vmovq %%rax, %%xmm" #n "\n vpbroadcastq %%xmm" #n ", %%ymm" #n "\n"
#define PLANT_ZMM(n) "vpbroadcastq %%rax, %%zmm" #n "\n"
#define PLANT_MASK(n) "kmovq %%rax, %%k" #n "\n"

// Words: 0 what to do; 1 the secret's complement; 2 features; 3 places.
GUEST(registers)
{
    for (;;) {
        // Everything that arithmetic would change is stored first; rbx, the boot block, is kept over the gate.
        __asm__ volatile(
            "call *16(%%rbx)\n"
            "mov %%rax, " DUMP(0) "\n mov %%rbx, " DUMP(8) "\n mov %%rcx, " DUMP(16) "\n mov %%rdx, " DUMP(24) "\n"
            "mov %%rsi, " DUMP(32) "\n mov %%rdi, " DUMP(40) "\n mov %%rbp, " DUMP(48) "\n mov %%rsp, " DUMP(56) "\n"
            "mov %%r8, " DUMP(64) "\n mov %%r9, " DUMP(72) "\n mov %%r10, " DUMP(80) "\n mov %%r11, " DUMP(88) "\n"
            "mov %%r12, " DUMP(96) "\n mov %%r13, " DUMP(104) "\n mov %%r14, " DUMP(112) "\n mov %%r15, " DUMP(120) "\n"
            "pushfq\n popq " DUMP(128) "\n cld\n"
            "mov %%ds, %%eax\n mov %%rax, " DUMP(136) "\n mov %%es, %%eax\n mov %%rax, " DUMP(144) "\n"
            "mov %%fs, %%eax\n mov %%rax, " DUMP(152) "\n mov %%gs, %%eax\n mov %%rax, " DUMP(160) "\n"
            "fxsave64 " DUMP(192) "\n"
            : : "b"(boot) : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
        struct register_dump *dump = (struct register_dump *)(uintptr_t)(IMAGE_BASE_OF(registers) + IMAGE_DATA_AT + 64);
        const volatile uint64_t *words = event_words(boot);
        uint64_t act = words[0], secret = ~words[1], features = words[2], places = words[3];
        if (act == LOOK) {
            if ((features & FSGSBASE) != 0)
                __asm__ volatile("rdfsbase %0\n rdgsbase %1" : "=r"(dump->fs_base), "=r"(dump->gs_base));
            if ((features & AVX512) != 0)
                __asm__ volatile(ALL_16(WIDE_SAVE) ALL_HIGH_16(WIDE_SAVE) : : "r"(dump->wide) : "memory");
            else if ((features & AVX) != 0)
                __asm__ volatile(ALL_16(WIDE_SAVE_256) : : "r"(dump->wide) : "memory");
            if ((features & AVX512) != 0)
                __asm__ volatile("kmovq %%k0, 0(%0)\n kmovq %%k1, 8(%0)\n kmovq %%k2, 16(%0)\n kmovq %%k3, 24(%0)\n"
                                 "kmovq %%k4, 32(%0)\n kmovq %%k5, 40(%0)\n kmovq %%k6, 48(%0)\n kmovq %%k7, 56(%0)"
                                 : : "r"(dump->masks) : "memory");
            volatile uint64_t *to = put_send(boot, 0, sizeof *dump);
            for (uint64_t i = 0; i < sizeof *dump / 8; i++)
                to[i] = ((const uint64_t *)dump)[i];
            set_published(boot, put_end(boot, (uint32_t)(sizeof(struct abi_send) + sizeof *dump)));
            continue;
        }
        set_published(boot, put_end(boot, 0));
        if (act == HONEST)
            continue;
        if ((places & X87) != 0)
            __asm__ volatile("push %0\n fninit\n fildll (%%rsp)\n fildll (%%rsp)\n fildll (%%rsp)\n fildll (%%rsp)\n"
                             "fildll (%%rsp)\n fildll (%%rsp)\n movw $0x0c7f, (%%rsp)\n fldcw (%%rsp)\n pop %0"
                             : "+r"(secret) : : "memory");
        secret = ~words[1];
        if ((places & MXCSR) != 0)
            __asm__ volatile("push %0\n ldmxcsr (%%rsp)\n pop %0" : : "r"((uint64_t)0xffbf) : "memory");
        if ((places & SSE) != 0)
            __asm__ volatile(ALL_16(PLANT_XMM) : : "a"(secret));
        if ((places & WIDE) != 0 && (features & AVX512) != 0)
            __asm__ volatile(ALL_16(PLANT_ZMM) ALL_HIGH_16(PLANT_ZMM) PLANT_MASK(1) PLANT_MASK(2) PLANT_MASK(7)
                             : : "a"(secret));
        else if ((places & WIDE) != 0 && (features & AVX) != 0)
            __asm__ volatile(ALL_16(PLANT_YMM) : : "a"(secret));
        if ((places & SELECTORS) != 0)
            __asm__ volatile("mov %0, %%ds\n mov %0, %%es\n mov %0, %%fs\n mov %0, %%gs" : : "r"(0x2b));
        if ((places & BASES) != 0 && (features & FSGSBASE) != 0)
            __asm__ volatile("wrfsbase %0\n wrgsbase %0" : : "r"(secret));
        if (act == PLANT_AND_FAULT)
            __asm__ volatile("mov %0, %%rcx\n mov %0, %%rdx\n mov %0, %%r12\n ud2" : : "a"(secret));
        uint64_t stack = (places & STACK_POINTER) != 0 ? boot->arena + 4096 : 0;
        uint64_t flags = (places & FLAGS) != 0 ? 0x240cd5 : 0x202; // DF, AC, ID, and all of arithmetic
        uint64_t general = (places & GENERAL) != 0 ? secret : 0;
        // The gate is entered with nothing but the secret in the registers. Its return address is a place that stops.
        __asm__ volatile("test %[stack], %[stack]\n cmovnz %[stack], %%rsp\n"
                         "lea 1f(%%rip), %%rcx\n push %%rcx\n push %[gate]\n push %[flags]\n"
                         "mov %%rax, %%rcx\n mov %%rax, %%rdx\n mov %%rax, %%rsi\n mov %%rax, %%rdi\n mov %%rax, %%rbp\n"
                         "mov %%rax, %%r8\n mov %%rax, %%r9\n mov %%rax, %%r10\n mov %%rax, %%r11\n mov %%rax, %%r12\n"
                         "mov %%rax, %%r13\n mov %%rax, %%r14\n mov %%rax, %%r15\n mov %%rax, %%rbx\n popfq\n ret\n"
                         "1: ud2"
                         : : "a"(general), [stack] "r"(stack), [gate] "r"(boot->gate), [flags] "r"(flags) : "rcx", "memory");
        __builtin_unreachable();
    }
}

INLINE uint64_t hash_of(uint64_t hash, uint64_t from, uint64_t to)
{
    for (uint64_t at = from; at < to; at += 8)
        hash = (hash ^ *(const volatile uint64_t *)(uintptr_t)at) * 0x100000001b3u;
    return hash;
}

INLINE uint64_t found_in(uint64_t from, uint64_t to, uint64_t complement)
{
    uint64_t found = 0;
    for (uint64_t at = from; at < to; at += 8)
        found += (*(const volatile uint64_t *)(uintptr_t)at ^ complement) == UINT64_MAX;
    return found;
}

INLINE void plant_in(uint64_t from, uint64_t to, uint64_t complement)
{
    for (uint64_t at = from; at < to; at += 8)
        *(volatile uint64_t *)(uintptr_t)at = ~complement;
}

// Tells how often the secret was found, and a hash of all that the guest can write but for its own frame.
GUEST(memory)
{
    set_published(boot, 0);
    for (;;) {
        wait_for_host(boot);
        const volatile uint64_t *words = event_words(boot);
        uint64_t data = IMAGE_BASE_OF(memory) + IMAGE_DATA_AT, complement = words[1], places = words[3], sp;
        __asm__ volatile("mov %%rsp, %0" : "=r"(sp));
        uint64_t low = (sp & ~(uint64_t)4095) - 4096, top = low + 8192;
        uint64_t frame = ((uint64_t)(uintptr_t)__builtin_frame_address(0) + 16) & ~(uint64_t)7;
        uint64_t below = (sp - 136) & ~(uint64_t)7; // the red zone counts as memory when the guest looks for the secret
        if (words[0] == LOOK) {
            uint64_t found = found_in(data, data + IMAGE_DATA_BYTES, complement) +
                             found_in(boot->arena, boot->arena + boot->arena_bytes, complement) +
                             found_in(low, top, complement) +
                             found_in(boot->output, boot->output + ABI_OUTPUT_BYTES, complement);
            uint64_t hash = hash_of(14695981039346656037u, data, data + IMAGE_DATA_BYTES);
            hash = hash_of(hash, boot->arena, boot->arena + boot->arena_bytes);
            hash = hash_of(hash, low, below);
            hash = hash_of(hash, frame, top);
            hash = hash_of(hash, boot->output, boot->output + ABI_OUTPUT_BYTES);
            volatile uint64_t *answer = put_send(boot, 0, 16);
            answer[0] = found;
            answer[1] = hash;
            set_published(boot, put_end(boot, (uint32_t)sizeof(struct abi_send) + 16));
            continue;
        }
        set_published(boot, put_end(boot, 0));
        if (words[0] == HONEST)
            continue;
        if ((places & DATA) != 0)
            plant_in(data, data + 4096, complement);
        if ((places & BSS) != 0)
            plant_in(data + 4096, data + IMAGE_DATA_BYTES, complement);
        if ((places & ARENA) != 0)
            plant_in(boot->arena, boot->arena + boot->arena_bytes, complement);
        if ((places & STACK) != 0) {
            plant_in(low, below, complement);
            plant_in(frame + 64, top, complement); // not its way back, should it not be made fresh
        }
        if ((places & RED_ZONE) != 0)
            plant_in(below, sp & ~(uint64_t)7, complement);
        if ((places & OUTPUT) != 0)
            plant_in(boot->output + 64, boot->output + ABI_OUTPUT_BYTES, complement);
        if (words[0] == PLANT_AND_FAULT)
            __builtin_trap();
        if ((places & PUBLISHED) != 0) {
            volatile uint64_t *message = put_send(boot, 0, 4096);
            plant_in((uint64_t)(uintptr_t)message, (uint64_t)(uintptr_t)message + 4096, complement);
            set_published(boot, put_end(boot, (uint32_t)sizeof(struct abi_send) + 4096));
        }
    }
}

static uint64_t features_of(struct stage *stage)
{
    uint64_t features = 0;
    for (uint64_t feature = 1; feature < 1u << FEATURES; feature <<= 1) {
        stage_event(stage, (const uint64_t[ACT_WORDS]){LOOK, ~SECRET, feature});
        features |= stage->effects.outcome == LINK_ENDED ? feature : 0;
    }
    return features;
}

static int look(struct stage *stage, uint64_t features, void *to, size_t wanted)
{
    size_t bytes = 0;
    stage_event(stage, (const uint64_t[ACT_WORDS]){LOOK, ~SECRET, features});
    const uint64_t *found = stage_message(stage, &bytes);
    if (stage->effects.outcome != LINK_ENDED || found == NULL || bytes != wanted) {
        stage_fail(stage, "NOT CONTAINED: the event that looks does not meet a fresh instance");
        return 0;
    }
    memcpy(to, found, wanted);
    return 1;
}

static void name_word(size_t word, char name[32])
{
    static const char *const names[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
                                        "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
                                        "flags", "ds", "es", "fs", "gs", "fs base", "gs base", "?"};
    if (word < sizeof names / sizeof names[0])
        snprintf(name, 32, "%s", names[word]);
    else if (word < 88)
        snprintf(name, 32, "fxsave+%zu", (word - 24) * 8);
    else
        snprintf(name, 32, "vector %zu", (word - 88) / 8);
}

static void play_registers(struct stage *stage, const struct attack *attack)
{
    static struct register_dump before, after, renewed;
    uint64_t features = features_of(stage), places = attack->words[3];
    const uint64_t *a = (const uint64_t *)&before, *b = (const uint64_t *)&after, *c = (const uint64_t *)&renewed;
    if ((places & WIDE) != 0 && (features & (AVX | AVX512)) == 0)
        stage->skip_reason = "no AVX here";
    if ((places & BASES) != 0 && (features & FSGSBASE) == 0)
        stage->skip_reason = "no FSGSBASE here";
    if (stage->skip_reason != NULL || !look(stage, features, &before, sizeof before))
        return;
    stage_event(stage, (const uint64_t[ACT_WORDS]){PLANT, ~SECRET, features, places});
    if (stage->effects.outcome != LINK_ENDED)
        stage_fail(stage, "the secret could not be planted");
    if (!look(stage, features, &after, sizeof after))
        return;
    stage_event(stage, (const uint64_t[ACT_WORDS]){PLANT_AND_FAULT, ~SECRET, features, places});
    if (!look(stage, features, &renewed, sizeof renewed))
        return;
    for (size_t i = 0; i < sizeof before / 8; i++) {
        char name[32];
        name_word(i, name);
        if (a[i] != b[i])
            stage_fail(stage, "NOT CONTAINED: %s is 0x%llx, and 0x%llx in an instance that nobody used", name,
                       (unsigned long long)b[i], (unsigned long long)a[i]);
        if (b[i] == SECRET || c[i] == SECRET)
            stage_fail(stage, "NOT CONTAINED: the secret is in %s", name);
    }
    if (!stage->has_failed)
        stage_note(stage, "the next event finds all registers as they were");
}

static void play_memory(struct stage *stage, const struct attack *attack)
{
    uint64_t before[2], after[2], renewed[2], places = attack->words[3];
    if (!look(stage, 0, before, sizeof before))
        return;
    stage_event(stage, (const uint64_t[ACT_WORDS]){PLANT, ~SECRET, 0, places});
    if (stage->effects.outcome != LINK_ENDED)
        stage_fail(stage, "the secret could not be planted");
    if (!look(stage, 0, after, sizeof after))
        return;
    stage_event(stage, (const uint64_t[ACT_WORDS]){PLANT_AND_FAULT, ~SECRET, 0, places});
    if (!look(stage, 0, renewed, sizeof renewed))
        return;
    if (before[0] != 0 || after[0] != 0 || renewed[0] != 0)
        stage_fail(stage, "NOT CONTAINED: the secret was found %llu times, %llu after a fault",
                   (unsigned long long)after[0], (unsigned long long)renewed[0]);
    else if (before[1] != after[1])
        stage_fail(stage, "NOT CONTAINED: memory is not what it was before");
    else
        stage_note(stage, "the next event finds all memory as it was");
}

#define REGISTERS(NAME, PLACES)                                                                    \
    {                                                                                              \
        .name = "secret_in_" NAME, .mechanism = {"CLEAN_REGISTERS", "CLEAN_REGISTERS"}, .guest = &guest_registers, \
        .options = {.is_unscanned = 1}, .words = {0, 0, 0, PLACES}, .play = play_registers                                         \
    }
#define MEMORY(NAME, PLACES)                                                                       \
    {                                                                                              \
        .name = "secret_in_" NAME, .mechanism = {"RESTORE", "RESTORE"}, .guest = &guest_memory,     \
        .words = {0, 0, 0, PLACES}, .play = play_memory                                            \
    }

static const struct attack attacks[] = {
    REGISTERS("general_registers", GENERAL),
    REGISTERS("flags", FLAGS),
    REGISTERS("x87", X87),
    REGISTERS("mxcsr", MXCSR),
    REGISTERS("sse", SSE),
    REGISTERS("avx", WIDE),
    {.name = "secret_in_segment_selectors", .mechanism = {"CLEAN_REGISTERS", "all segment registers are loaded"},
     .guest = &guest_registers, .options = {.is_unscanned = 1}, .words = {0, 0, 0, SELECTORS}, .play = play_registers},
    REGISTERS("fs_and_gs_base", BASES),
    {.name = "secret_in_the_stack_pointer", .mechanism = {"RESTORE", "RESTORE"}, .guest = &guest_registers,
     .options = {.is_unscanned = 1}, .words = {0, 0, 0, STACK_POINTER}, .play = play_registers},
    REGISTERS("all_registers", GENERAL | FLAGS | X87 | MXCSR | SSE | WIDE | STACK_POINTER),
    MEMORY("data", DATA),
    MEMORY("bss", BSS),
    MEMORY("the_arena", ARENA),
    MEMORY("the_stack", STACK),
    MEMORY("the_red_zone", RED_ZONE),
    MEMORY("the_output", OUTPUT),
    MEMORY("a_message", PUBLISHED),
    MEMORY("all_memory", DATA | BSS | ARENA | STACK | RED_ZONE | OUTPUT | PUBLISHED),
};

struct attack_table attacks_fresh(void)
{
    return (struct attack_table){"fresh means fresh", attacks, sizeof attacks / sizeof attacks[0]};
}
