// SPDX-License-Identifier: ISC
// A mutator for text of words: takes a word of the input or a line of it, and puts it, or a word of a table, in the
// place of another. Half of the time it leaves the work to libFuzzer.
#ifndef CRENEL_TESTS_WORDS_H
#define CRENEL_TESTS_WORDS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

// libFuzzer's own; not there in a replay, which does not mutate this way.
__attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

struct words_piece {
    const uint8_t *at;
    size_t size;
};

static inline int words_is_inside(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

// The word (or the line, with its newline) around or behind `from`.
static inline struct words_piece words_find(const uint8_t *data, size_t size, size_t from, int is_line)
{
    size_t begin = from, end;
    if (is_line) {
        while (begin > 0 && data[begin - 1] != '\n')
            begin--;
        for (end = begin; end < size && data[end] != '\n'; end++)
            ;
        end += end < size;
    } else {
        while (begin < size && !words_is_inside(data[begin]))
            begin++;
        while (begin > 0 && begin < size && words_is_inside(data[begin - 1]))
            begin--;
        for (end = begin; end < size && words_is_inside(data[end]); end++)
            ;
    }
    return (struct words_piece){data + begin, end - begin};
}

// The first `kept` bytes are no text.
static inline size_t words_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed, size_t kept,
                                  const char *const *words, size_t word_count)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
#define WORDS_BELOW(n) ((size_t)((state = state * 6364136223846793005u + 1442695040888963407u) >> 33) % (n))
    if (size <= kept || LLVMFuzzerMutate == NULL)
        return size;
    if (WORDS_BELOW(2) == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    static uint8_t copy[65536];
    uint8_t *text = data + kept;
    size_t text_bytes = size - kept, what = WORDS_BELOW(6);
    int is_line = what >= 4;
    struct words_piece to = words_find(text, text_bytes, WORDS_BELOW(text_bytes), is_line), from = {text, 0};
    if (what < 2) {
        const char *word = words[WORDS_BELOW(word_count)];
        from = (struct words_piece){(const uint8_t *)word, strlen(word)};
    } else if (what < 3 || what == 4) {
        from = words_find(text, text_bytes, WORDS_BELOW(text_bytes), is_line);
    } // else it is taken out
    size_t before = (size_t)(to.at - text), replaced = what == 4 ? 0 : to.size; // a line is put in between
    if (size - replaced + from.size > max_size || from.size > sizeof copy)
        return size;
    memcpy(copy, from.at, from.size);
    memmove(text + before + from.size, text + before + replaced, text_bytes - before - replaced);
    memcpy(text + before, copy, from.size);
#undef WORDS_BELOW
    return size - replaced + from.size;
}

#endif
