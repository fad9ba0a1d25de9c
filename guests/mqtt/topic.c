// SPDX-License-Identifier: ISC
// Topic names and filters, compared level by level.
#include "topic.h"

// Reads one character at text[at]; 0 when it is not well formed. Returns its length, value in *value.
static size_t utf8_read(struct bytes text, size_t at, uint32_t *value)
{
    static const struct {
        uint8_t mask, lead;
        uint32_t least;
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t more = 0; more < 4; more++) {
        uint8_t mask = forms[more].mask;
        if ((text.at[at] & mask) != forms[more].lead)
            continue;
        if (at + more >= text.size)
            return 0;
        uint32_t code = text.at[at] & (uint8_t)~mask;
        for (size_t i = 1; i <= more; i++) {
            if ((text.at[at + i] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (text.at[at + i] & 0x3f);
        }
        if (code < forms[more].least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
            return 0;
        *value = code;
        return more + 1;
    }
    return 0;
}

bool topic_is_utf8(struct bytes text)
{
    for (size_t at = 0; at < text.size;) {
        uint32_t value;
        size_t length = utf8_read(text, at, &value);
        if (length == 0 || value == 0)
            return false;
        at += length;
    }
    return true;
}

bool topic_has_controls(struct bytes text)
{
    for (size_t at = 0; at < text.size;) {
        uint32_t value;
        size_t length = utf8_read(text, at, &value);
        if (length == 0 || value < 0x20 || (value >= 0x7f && value < 0xa0))
            return true;
        at += length;
    }
    return false;
}

bool topic_is_name(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.at[i] == '+' || text.at[i] == '#')
            return false;
    return text.size != 0;
}

bool topic_is_filter(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] != '+' && text.at[i] != '#')
            continue;
        bool is_first = i == 0 || text.at[i - 1] == '/';
        bool is_last = i + 1 == text.size;
        if (!is_first || (!is_last && (text.at[i] == '#' || text.at[i + 1] != '/')))
            return false;
    }
    return text.size != 0;
}

static bool is_level(struct bytes level, char wildcard)
{
    return level.size == 1 && level.at[0] == (uint8_t)wildcard;
}

static bool is_dollar(struct bytes text) { return text.size != 0 && text.at[0] == '$'; }
static bool is_wild(struct bytes text)
{
    return text.size != 0 && (text.at[0] == '+' || text.at[0] == '#');
}

// What is left of a topic; a trailing '/' is followed by one more, empty level.
struct levels {
    struct bytes rest;
    bool has_more;
};

static struct bytes next_level(struct levels *levels)
{
    size_t before = levels->rest.size;
    struct bytes level = bytes_cut(&levels->rest, '/');
    levels->has_more = level.size < before;
    return level;
}

// With names as filters without wildcards, selecting a name is meeting it.
bool topic_filters_meet(struct bytes left, struct bytes right)
{
    if ((is_dollar(left) && is_wild(right)) || (is_dollar(right) && is_wild(left)))
        return false;
    struct levels a = {left, true}, b = {right, true};
    while (a.has_more && b.has_more) {
        struct bytes one = next_level(&a), other = next_level(&b);
        if (is_level(one, '#') || is_level(other, '#'))
            return true;
        if (!is_level(one, '+') && !is_level(other, '+') && !bytes_equal(one, other))
            return false;
    }
    // "a/#" also selects its parent "a".
    if (a.has_more)
        return is_level(next_level(&a), '#');
    if (b.has_more)
        return is_level(next_level(&b), '#');
    return true;
}

bool topic_matches(struct bytes filter, struct bytes name)
{
    return topic_filters_meet(filter, name);
}
