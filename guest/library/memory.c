// SPDX-License-Identifier: ISC
// The memory of an event, and the byte functions that compiler and applications call.
//
// The arena is a row of blocks, each behind a mark that holds its place and size under the instance's canary; one more
// mark stands behind the last block. What writes past the end of a block changes the mark behind it, and the event fails
// before its effects are published. Marks keep the canary's low byte, zero, so that text cannot be read across one.
#include "guest/library/guest.h"

struct mark {
    uint64_t place; // offset in the arena
    uint64_t bytes; // of the block behind it
};

static struct mark mark_make(const struct guest *guest, size_t place, size_t bytes)
{
    return (struct mark){guest->boot->canary ^ place << 8, guest->boot->canary ^ bytes << 8};
}

static size_t block_bytes(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

void *arena_allocate(size_t bytes)
{
    struct guest *guest = guest_state();
    size_t left = arena_free_bytes(), place = guest->arena_used;

    if (!guest->is_in_event)
        fail("arena_allocate in init: the arena belongs to an event");
    if (bytes > left)
        fail("arena_allocate: %zu bytes, %zu are left (unikernel.yaml: memory.arena)", bytes, left);
    struct mark *mark = (struct mark *)((uint8_t *)guest->boot->arena + place);
    *mark = mark_make(guest, place, bytes);
    guest->arena_used = place + sizeof *mark + block_bytes(bytes);
    mark[1 + block_bytes(bytes) / sizeof *mark] = mark_make(guest, guest->arena_used, 0);
    return memset(mark + 1, 0, bytes);
}

size_t arena_free_bytes(void)
{
    const struct guest *guest = guest_state();
    size_t taken = guest->arena_used + 2 * sizeof(struct mark);

    return taken < guest->boot->arena_bytes ? (size_t)guest->boot->arena_bytes - taken : 0;
}

void arena_check(void)
{
    const struct guest *guest = guest_state();

    for (size_t place = 0; guest->arena_used != 0;) {
        const struct mark *mark = (const struct mark *)((const uint8_t *)guest->boot->arena + place);
        size_t left = guest->arena_used - place, block = block_bytes((size_t)(mark->bytes ^ guest->boot->canary) >> 8);
        if (mark->place != mark_make(guest, place, 0).place || (left != 0 && block + sizeof *mark > left))
            fail("the arena is overwritten: a write went past the end of what arena_allocate gave");
        if (left == 0)
            return;
        place += sizeof *mark + block;
    }
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    void *at = to;

    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(bytes)::"memory");
    return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    uint8_t *target = to;
    const uint8_t *source = from;

    if (target <= source || target >= source + bytes)
        return memcpy(to, from, bytes);
    for (size_t i = bytes; i > 0; i--) { // overlapping from above: from the end, opaque to the compiler
        target[i - 1] = source[i - 1];
        __asm__ volatile("" ::: "memory");
    }
    return to;
}

void *memset(void *to, int byte, size_t bytes)
{
    void *at = to;

    __asm__ volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(byte) : "memory");
    return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const uint8_t *left = a, *right = b;

    for (size_t i = 0; i < bytes; i++)
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
    return 0;
}

void *memchr(const void *bytes, int byte, size_t size)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i < size; i++)
        if (at[i] == (uint8_t)byte)
            return (void *)(uintptr_t)(at + i);
    return NULL;
}

size_t strlen(const char *text)
{
    size_t length = 0;

    while (text[length] != 0) {
        length++;
        __asm__ volatile("" : "+r"(length)); // keeps the compiler from calling strlen here
    }
    return length;
}

int strcmp(const char *a, const char *b)
{
    while (*a != 0 && *a == *b) {
        a++;
        b++;
    }
    return (uint8_t)*a - (uint8_t)*b;
}

// What crenel.h calls where the compiler knows how much room there is, and not that the bytes fit.
static void room_check(const char *name, size_t bytes, size_t room)
{
    if (bytes > room)
        fail("%s: %zu bytes into %zu", name, bytes, room);
}

void *__memcpy_chk(void *restrict to, const void *restrict from, size_t bytes, size_t room)
{
    room_check("memcpy", bytes, room);
    return memcpy(to, from, bytes);
}

void *__memmove_chk(void *to, const void *from, size_t bytes, size_t room)
{
    room_check("memmove", bytes, room);
    return memmove(to, from, bytes);
}

void *__memset_chk(void *to, int byte, size_t bytes, size_t room)
{
    room_check("memset", bytes, room);
    return memset(to, byte, bytes);
}
