// SPDX-License-Identifier: ISC
// Images that must not come in: each instruction that a process cannot be stopped from using, plain and hidden
// in an immediate; and files made to be let in with more rights than an image has.
#include "tests/attack/attack.h"

#include <elf.h>
#include <string.h>

#define HOLDS(NAME, CODE)                                                                          \
    GUEST(NAME)                                                                                    \
    {                                                                                              \
        (void)next_act(boot);                                                                      \
        __asm__ volatile(CODE : : : "rax", "rbx", "rcx", "rdx", "r11", "memory", "cc");            \
        escaped(boot, 1);                                                                          \
    }

HOLDS(holds_syscall, "syscall")
HOLDS(holds_sysenter, "sysenter")
HOLDS(holds_sysret, "sysretq")
HOLDS(holds_sysexit, "sysexitq")
HOLDS(holds_rdtsc, "rdtsc")
HOLDS(holds_rdtscp, "rdtscp")
HOLDS(holds_rdrand, "rdrand %%rax")
HOLDS(holds_rdseed, "rdseed %%rax")
HOLDS(holds_rdpid, "rdpid %%rax")
HOLDS(holds_lsl, "mov $0x7b, %%eax\n lsl %%eax, %%eax")
HOLDS(holds_xgetbv, "xor %%ecx, %%ecx\n xgetbv")
HOLDS(holds_cpuid, "cpuid")
HOLDS(holds_vmcall, "vmcall")
HOLDS(holds_vmmcall, "vmmcall")
HOLDS(holds_rdpkru, "xor %%ecx, %%ecx\n rdpkru")
HOLDS(holds_wrpkru, "xor %%ecx, %%ecx\n xor %%edx, %%edx\n wrpkru")
HOLDS(holds_rdpru, "xor %%ecx, %%ecx\n .byte 0x0f, 0x01, 0xfd")
HOLDS(holds_tpause, ".byte 0x66, 0x0f, 0xae, 0xf1")
HOLDS(holds_umwait, ".byte 0xf2, 0x0f, 0xae, 0xf1")
HOLDS(holds_xbegin, "xbegin 1f\n1:")
HOLDS(holds_smsw, "smsw %%eax")
HOLDS(holds_rdpmc, "xor %%ecx, %%ecx\n rdpmc")
HOLDS(holds_vmfunc, "vmfunc")
HOLDS(holds_wrfsbase, "wrfsbase %%rax")
HOLDS(holds_xsave, "xsave64 (%%rsp)")
HOLDS(holds_xrstor, "xrstor64 (%%rsp)")
HOLDS(holds_xsavec, "xsavec64 (%%rsp)")
HOLDS(holds_xsaveopt, "xsaveopt64 (%%rsp)")
HOLDS(holds_mwaitx, ".byte 0x0f, 0x01, 0xfb")
HOLDS(holds_xstore, ".byte 0x0f, 0xa7, 0xc0")
HOLDS(holds_sgdt, "sgdt -64(%%rsp)")
HOLDS(holds_sidt, "sidt -64(%%rsp)")
// `mov $0x...c3310f, %eax`: whoever jumps behind its first byte reads the clock.
HOLDS(hidden_in_an_immediate, "mov $0x00c3310f, %%eax")
HOLDS(hidden_in_an_address, "lea 0x310f(%%rax), %%rax")
HOLDS(hidden_across_two, "mov $0x0f, %%al\n xor %%eax, (%%rbx)\n .byte 0x0f\n xor %%eax, %%eax")
HOLDS(hidden_behind_rex2, ".byte 0xd5, 0x80, 0x31")
HOLDS(plain, "nop")

static Elf64_Phdr *segment(uint8_t *image, size_t index)
{
    return (Elf64_Phdr *)(void *)(image + sizeof(Elf64_Ehdr)) + index;
}

static void make_text_writable(uint8_t *image, size_t *size)
{
    (void)size;
    segment(image, 1)->p_flags |= PF_W;
}
static void make_data_executable(uint8_t *image, size_t *size)
{
    (void)size;
    segment(image, 3)->p_flags |= PF_X;
}
static void move_data_over_text(uint8_t *image, size_t *size)
{
    (void)size;
    segment(image, 3)->p_vaddr = segment(image, 3)->p_paddr = IMAGE_TEXT_AT;
}
static void enter_in_data(uint8_t *image, size_t *size)
{
    (void)size;
    ((Elf64_Ehdr *)(void *)image)->e_entry = IMAGE_DATA_AT;
}
static void relocate_text(uint8_t *image, size_t *size)
{
    (void)size;
    const uint32_t at = IMAGE_TEXT_AT;
    memcpy(image + segment(image, 5)->p_offset + 24, &at, sizeof at);
}
static void reach_out_of_the_file(uint8_t *image, size_t *size)
{
    (void)size;
    segment(image, 3)->p_filesz = segment(image, 3)->p_memsz;
}
static void grow_the_span(uint8_t *image, size_t *size)
{
    (void)size;
    segment(image, 3)->p_memsz = 1ull << 46;
}
// It must not start, and say why.
static void play_refused(struct stage *stage, const struct attack *attack)
{
    static const struct attack_outcome any = {0};
    if (!stage_begin(stage, attack->guest, &attack->options)) {
        if (strstr(stage->seen, attack->detail) == NULL)
            stage_fail(stage, "refused for another reason than '%s'", (const char *)attack->detail);
        return;
    }
    stage_judge(stage, &any, "it was let in");
    stage_fail(stage, "NOT CONTAINED: it was let in");
    stage_end(stage);
}

#define REFUSED(NAME, GUEST_NAME, WHY, ...)                                                        \
    {                                                                                              \
        .name = NAME, .mechanism = {__VA_ARGS__}, .guest = &guest_##GUEST_NAME, .play_alone = play_refused, \
        .detail = WHY                                                                              \
    }
#define SCAN "IMAGE_SCAN", "IMAGE_SCAN"
#define HELD(NAME) REFUSED("image_holds_" #NAME, holds_##NAME, "holds the instruction " #NAME, SCAN)
#define DAMAGED(NAME, DAMAGE, WHY)                                                                 \
    {                                                                                              \
        .name = NAME, .mechanism = {"image_open", "image_open"}, .guest = &guest_plain,            \
        .options = {.damage = DAMAGE}, .play_alone = play_refused, .detail = WHY                   \
    }
static const struct attack attacks[] = {
    HELD(syscall), HELD(sysenter), HELD(sysret), HELD(sysexit), HELD(rdtsc), HELD(rdtscp), HELD(rdrand),
    REFUSED("image_holds_rdseed", holds_rdseed, "rdseed", SCAN),
    REFUSED("image_holds_rdpid", holds_rdpid, "rdpid", SCAN),
    HELD(lsl), HELD(xgetbv), HELD(cpuid), HELD(vmcall), HELD(vmmcall), HELD(rdpkru), HELD(wrpkru), HELD(rdpru),
    REFUSED("image_holds_tpause", holds_tpause, "tpause", SCAN), REFUSED("image_holds_umwait", holds_umwait, "umwait", SCAN), HELD(xbegin), HELD(sgdt),
    HELD(sidt), HELD(smsw), HELD(rdpmc), HELD(vmfunc), REFUSED("image_holds_wrfsbase", holds_wrfsbase, "wrfsbase", SCAN),
    HELD(xsave), HELD(xrstor), HELD(xsavec), HELD(xsaveopt), REFUSED("image_holds_mwaitx", holds_mwaitx, "mwaitx", SCAN),
    HELD(xstore),
    REFUSED("image_hides_in_an_immediate", hidden_in_an_immediate, "holds the instruction rdtsc", SCAN),
    REFUSED("image_hides_in_an_address", hidden_in_an_address, "holds the instruction rdtsc", SCAN),
    REFUSED("image_hides_across_two", hidden_across_two, "holds the instruction rdtsc", SCAN),
    REFUSED("image_hides_behind_rex2", hidden_behind_rex2, "holds the instruction rdtsc", SCAN),
    DAMAGED("image_with_writable_text", make_text_writable, "permissions"),
    DAMAGED("image_with_executable_data", make_data_executable, "permissions"),
    DAMAGED("image_with_data_over_text", move_data_over_text, "overlap"),
    DAMAGED("image_entered_in_data", enter_in_data, "entry point outside text"),
    DAMAGED("image_that_relocates_text", relocate_text, "a relocation outside RELRO"),
    DAMAGED("image_beyond_its_file", reach_out_of_the_file, "outside the file"),
    DAMAGED("image_of_64_tib", grow_the_span, "segment size"),
    {.name = "image_that_can_be_edited", .mechanism = {"IMAGE_SEALED", "IMAGE_SEALED"}, .guest = &guest_plain,
     .options = {.is_unsealed = 1}, .play_alone = play_refused, .detail = "is not sealed"},
};

struct attack_table attacks_images(void)
{
    return (struct attack_table){"hostile images", attacks, sizeof attacks / sizeof attacks[0]};
}
