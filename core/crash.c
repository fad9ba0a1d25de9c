// SPDX-License-Identifier: ISC
// Crash reports as text.
#include "core/crash.h"

#include "core/image.h"
#include "core/words.h"

#include <string.h>

// Signals of Linux on x86-64 and aarch64; core has no signal.h of its own. Codes of SIGSEGV.
enum { ILL = 4, TRAP = 5, ABRT = 6, BUS = 7, FPE = 8, KILL = 9, SEGV = 11, SYS = 31 };
#define SEGV_FORBIDDEN 2u // something is there, to be touched in another way
#define BY_KERNEL 0x80u   // SI_KERNEL: #GP, which has no address

// Vectors of exceptions, and bits of a page fault's error code.
enum { DIVIDE = 0, INVALID_OPCODE = 6, STACK = 12, PROTECTION = 13, PAGE = 14 };
#define PAGE_WRITE 2u
#define PAGE_FETCH 16u

enum kind { OTHER, ACCESS, REFUSAL, UNKNOWN, ARITHMETIC, CALL };

static const char *signal_name(uint32_t signal)
{
    switch (signal) {
    case ILL: return "SIGILL: ";
    case TRAP: return "SIGTRAP: ";
    case ABRT: return "SIGABRT: ";
    case BUS: return "SIGBUS: ";
    case FPE: return "SIGFPE: ";
    case KILL: return "SIGKILL: ";
    case SEGV: return "SIGSEGV: ";
    case SYS: return "SIGSYS: ";
    default: return signal == 0 ? "" : "signal: ";
    }
}

static int is_in(uint64_t address, uint64_t start, uint64_t bytes)
{
    return address - start < bytes;
}

static int is_in_segment(const struct layout *layout, enum image_segment_kind kind, uint64_t address)
{
    return is_in(address, layout->segments[kind].address, layout->segments[kind].bytes);
}

static const char *place_of(const struct layout *layout, uint64_t address)
{
    static const char *const segments[LAYOUT_SEGMENTS] = {
        [IMAGE_RODATA] = "in read-only data",
        [IMAGE_TEXT] = "in text",
        [IMAGE_RELRO] = "in relocated read-only data",
        [IMAGE_DATA] = "in data",
    };
    const struct {
        uint64_t start, end;
        const char *name;
    } places[] = {
        {0, LAYOUT_PAGE, "in page 0"},
        {layout->zygote, layout->zygote + LAYOUT_PAGE, "in the zygote's page"},
        {layout->gate, layout->gate + LAYOUT_PAGE, "in the gate"},
        {layout->image, layout->image + layout->image_bytes, "between segments"},
        {layout->image + layout->image_bytes, layout->arena, "behind the image"},
        {layout->arena, layout->arena + layout->arena_bytes, "in the arena"},
        {layout->arena + layout->arena_bytes, layout->stack, "below the stack"},
        {layout->stack, layout->stack + layout->stack_bytes, "in the stack"},
        {layout->stack + layout->stack_bytes, layout->boot, "behind the stack"},
        {layout->boot, layout->input, "in the boot block"},
        {layout->input, layout->input + ABI_INPUT_BYTES, "in the input"},
        {layout->output - LAYOUT_PAGE, layout->output, "behind the input"},
        {layout->output, layout->end, "in the output"},
        {layout->end, layout->end + LAYOUT_PAGE, "behind the output"},
    };
    for (unsigned i = 0; i < LAYOUT_SEGMENTS; i++)
        if (is_in_segment(layout, i, address))
            return segments[i];
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (address >= places[i].start && address < places[i].end)
            return places[i].name;
    return "outside its memory";
}

static int is_read_only(const struct layout *layout, uint64_t address)
{
    return is_in_segment(layout, IMAGE_RODATA, address) || is_in_segment(layout, IMAGE_TEXT, address) ||
           is_in_segment(layout, IMAGE_RELRO, address) || is_in(address, layout->gate, LAYOUT_PAGE) ||
           is_in(address, layout->boot, ABI_BOOT_BYTES + ABI_INPUT_BYTES);
}

// Whether the x86-64 instruction in code stores to memory (1), loads (0), or who knows (-1).
static int is_store(const uint8_t code[LINK_CODE_BYTES])
{
    unsigned i = 0;
    // Prefixes: REX, segments, operand and address size, repeat, lock.
    while (i < 8 && ((code[i] & 0xf0) == 0x40 || (code[i] & 0xe7) == 0x26 ||
                     (code[i] & 0xfc) == 0x64 || (code[i] & 0xfe) == 0xf2 || code[i] == 0xf0))
        i++;
    uint8_t op = code[i], second = code[i + 1];
    unsigned reg = code[i + 1] >> 3 & 7;
    if (op == 0x88 || op == 0x89 || op == 0xc6 || op == 0xc7 || op == 0xaa || op == 0xab ||
        (op & 0xf8) == 0x50 || op == 0xe8 || op == 0x86 || op == 0x87)
        return 1; // mov to memory, stos, push, call, xchg
    if (op < 0x40 && (op & 7) < 2)
        return (op & 0x38) != 0x38; // add .. xor to memory; cmp only reads
    if (op == 0x80 || op == 0x81 || op == 0x83)
        return reg != 7;
    if (op == 0xfe || op == 0xff)
        return reg < 2 ? 1 : reg == 6 ? -1 : 0; // inc, dec; push of memory may be either
    if (op == 0x0f && (second == 0x11 || second == 0x29 || second == 0x7f || second == 0xe7 ||
                       second == 0xd6 || second == 0x7e || second == 0x13 || second == 0x17))
        return 1; // vector stores
    if (op == 0x8a || op == 0x8b || op == 0x63 || op == 0x84 || op == 0x85 || (op & 0xf8) == 0x58 ||
        op == 0xc3 || (op < 0x40 && ((op & 7) == 2 || (op & 7) == 3)) ||
        (op == 0x0f && (second == 0xb6 || second == 0xb7 || second == 0xbe || second == 0xbf ||
                        second == 0x10 || second == 0x28 || second == 0x6f)))
        return 0;
    return -1;
}

static const char *instruction_name(const uint8_t code[LINK_CODE_BYTES])
{
    static const struct {
        uint8_t bytes[3];
        uint8_t size;
        const char *name;
    } known[] = {
        {{0x0f, 0x31}, 2, "rdtsc"},   {{0x0f, 0x01, 0xf9}, 3, "rdtscp"},
        {{0x0f, 0xa2}, 2, "cpuid"},   {{0xf4}, 1, "hlt"},
        {{0xfa}, 1, "cli"},           {{0xcd}, 1, "int"},
        {{0x0f, 0x33}, 2, "rdpmc"},   {{0xec}, 1, "in"},
        {{0xee}, 1, "out"},           {{0xe6}, 1, "out"},
        {{0x0f, 0x05}, 2, "syscall"}, {{0x0f, 0x34}, 2, "sysenter"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (memcmp(code, known[i].bytes, known[i].size) == 0)
            return known[i].name;
    return NULL;
}

static enum kind kind_of(const struct link_crash *crash)
{
    if (crash->cause == LINK_CAUSE_SIGNAL)
        switch (crash->signal) {
        case SYS: return CALL;
        case ILL: return UNKNOWN;
        case FPE: return ARITHMETIC;
        case SEGV:
        case BUS: return crash->number == BY_KERNEL ? REFUSAL : ACCESS;
        default: return OTHER;
        }
    if (crash->cause == LINK_CAUSE_EXCEPTION)
        switch (crash->number) {
        case PAGE: return ACCESS;
        case STACK: // an address that no memory can have, by way of the stack pointer
        case PROTECTION: return REFUSAL;
        case INVALID_OPCODE: return UNKNOWN;
        case DIVIDE: return ARITHMETIC;
        default: return OTHER;
        }
    return OTHER;
}

// A page fault says what was tried. A signal does not; the instruction does, mostly.
static const char *verb_of(const struct link_crash *crash)
{
    int store = is_store(crash->code);
    if (crash->cause == LINK_CAUSE_EXCEPTION)
        return (crash->detail & PAGE_FETCH) != 0 ? "jump to" : (crash->detail & PAGE_WRITE) != 0 ? "write to" : "read of";
    if (crash->address == crash->rip && !is_in_segment(&crash->layout, IMAGE_TEXT, crash->address))
        return "jump to";
    if (crash->signal == SEGV && crash->number == SEGV_FORBIDDEN && is_read_only(&crash->layout, crash->address))
        return "write to";
    return store < 0 ? "access to" : store ? "write to" : "read of";
}

static void put_other(struct words *line, const struct link_crash *crash)
{
    switch (crash->cause) {
    case LINK_CAUSE_DEADLINE: words_add(line, "deadline of %u ms passed", crash->number); break;
    case LINK_CAUSE_DEADLINE_IN_INIT: words_add(line, "deadline of %u ms passed in init", crash->number); break;
    case LINK_CAUSE_MACHINE: words_add(line, "what its virtual machine cannot do (exit %u)", crash->number); break;
    case LINK_CAUSE_EXCEPTION: words_add(line, "exception %u", crash->number); break;
    default: words_add(line, "signal %u", crash->signal); break;
    }
}

void crash_words(const struct link_crash *crash, char text[CRASH_WORDS_BYTES])
{
    struct words line = {text, CRASH_WORDS_BYTES, 0};
    enum kind kind = kind_of(crash);
    const char *name = kind == REFUSAL || kind == UNKNOWN ? instruction_name(crash->code) : NULL;
    if (name != NULL)
        words_add(&line, "forbidden instruction %s", name);
    else if (kind == REFUSAL)
        words_add(&line, "address or instruction that the processor refuses");
    else if (kind == UNKNOWN && crash->code[0] == 0x0f && crash->code[1] == 0x0b) // ud2: the library OS found a mistake
        words_add(&line, "stopped itself%s", crash->last_log[0] != 0 ? "" : ", no reason in its log");
    else if (kind == UNKNOWN)
        words_add(&line, "unknown instruction");
    else if (kind == ACCESS)
        words_add(&line, "%s 0x%llx %s", verb_of(crash), (unsigned long long)crash->address,
            place_of(&crash->layout, crash->address));
    else if (kind == CALL)
        words_add(&line, "system call %d", (int)crash->number);
    else if (kind == ARITHMETIC)
        words_add(&line, "arithmetic error (division)");
    else
        put_other(&line, crash);
}

uint64_t crash_instruction(const struct link_crash *crash)
{
    if (is_in_segment(&crash->layout, IMAGE_TEXT, crash->rip))
        return crash->rip - crash->layout.image;
    if (is_in(crash->rip, crash->layout.gate, LAYOUT_PAGE) && crash->frame_count != 0)
        return crash->frames[0];
    return UINT64_MAX;
}

uint64_t crash_address(const struct link_crash *crash)
{
    const struct layout *layout = &crash->layout;
    if (kind_of(crash) != ACCESS)
        return 0;
    return is_in(crash->address, layout->image, layout->image_bytes) ? crash->address - layout->image : crash->address;
}

void crash_text(const struct link_crash *crash, const char *name, char *text, size_t capacity)
{
    struct words line = {text, capacity, 0};
    char words[CRASH_WORDS_BYTES];
    uint64_t instruction = crash_instruction(crash);
    crash_words(crash, words);
    words_add(&line, "%s%s", signal_name(crash->signal), words);
    if (instruction != UINT64_MAX)
        words_add(&line, " at %s+0x%llx", name, (unsigned long long)instruction);
    for (unsigned i = 0; i < crash->frame_count && i < LINK_FRAMES_MAX && i < 3; i++)
        words_add(&line, "%s+0x%x", i == 0 ? ", called from " : " ", crash->frames[i] - 1);
    words_add(&line, " (build ");
    for (unsigned i = 0; i < sizeof crash->build_id; i++)
        words_add(&line, "%02x", crash->build_id[i]);
    words_add(&line, ")");
    size_t log = strnlen(crash->last_log, sizeof crash->last_log);
    if (crash->signal == ILL && log != 0)
        words_add(&line, ": %.*s", (int)log, crash->last_log);
    for (size_t i = 0; i < line.used; i++)
        if (text[i] < ' ' || text[i] > '~')
            text[i] = '?';
}
