// SPDX-License-Identifier: ISC
// The memory of an event, and the byte functions that compiler and applications call.
#include "guest/library/guest.h"

void *arena_allocate(size_t bytes)
{
    struct guest *guest = guest_state();
    size_t left = arena_free_bytes();

    if (!guest->is_in_event)
        fail("arena_allocate in init: the arena belongs to an event");
    if (bytes > left)
        fail("arena_allocate: %zu bytes, %zu are left (unikernel.yaml: memory.arena)", bytes, left);
    uint8_t *memory = (uint8_t *)guest->boot->arena + guest->arena_used;
    guest->arena_used += (bytes + 15) & ~(size_t)15;
    return memset(memory, 0, bytes);
}

size_t arena_free_bytes(void)
{
    const struct guest *guest = guest_state();

    return guest->arena_used < guest->boot->arena_bytes
               ? (size_t)guest->boot->arena_bytes - guest->arena_used
               : 0;
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
