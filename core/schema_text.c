// SPDX-License-Identifier: ISC
// What a string may hold: its class says which characters, `deny` takes away what a sink would obey.
//
// Every class is shortest-form UTF-8 without surrogates and without control characters (0x00..0x1f, 0x7f, 0x80..0x9f),
// so no line ends and no tabs, or a part of that:
//   utf8 all of it      printable 0x20..0x7e      token A-Z a-z 0-9 - _ . :      host a-z 0-9 - .      topic no + and #
// A field that denies a sink moreover holds, anywhere:
//   sql    none of ' " ` ; \ #  and no -- /* */
//   shell  none of ' " ` ; \ # $ & | < > ( ) { } [ ] * ? ! ~ ^ %
//   html   none of ' " ` < > &
//   csv    none of " , ; |
//   log    no ${ , and none of U+061C U+200B..U+200F U+2028..U+202E U+2060..U+2069 U+FEFF (invisible, or they turn lines round)
//   path   none of \ : * ? " < > |  and no ..
// and does not begin with:
//   shell  -      csv  = + - @, a space, or the wide forms of = + - @ (U+FF1D U+FF0B U+FF0D U+FF20)      path  / ~ - or a space
// What that is good for: sql in a quoted literal, shell as one quoted or separate argument, html as text or in a quoted
// attribute that is no address and no script, csv as a field, log as a part of a line, path below a folder.
#include "core/schema_text.h"

#include "core/schema.h"

// Bits of a character's kind: the classes that have it, above them the sinks that it means something to.
enum {
    PLAIN = 1 << SCHEMA_CLASS_UTF8 | 1 << SCHEMA_CLASS_PRINTABLE, // of the classes that hold free text
    TEXT = PLAIN | 1 << SCHEMA_CLASS_TOPIC,
    TOKEN = TEXT | 1 << SCHEMA_CLASS_TOKEN,
    WORD = TOKEN | 1 << SCHEMA_CLASS_HOST,
    SINKS_AT = 8,
    SQL = SCHEMA_DENY_SQL << SINKS_AT,
    SHELL = SCHEMA_DENY_SHELL << SINKS_AT,
    HTML = SCHEMA_DENY_HTML << SINKS_AT,
    CSV = SCHEMA_DENY_CSV << SINKS_AT,
    LOG = SCHEMA_DENY_LOG << SINKS_AT,
    PATH = SCHEMA_DENY_PATH << SINKS_AT,
};

static const uint16_t kinds[256] = { // none of what is not ASCII
    [' '] = TEXT,
    ['!'] = TEXT | SHELL,
    ['"'] = TEXT | SQL | SHELL | HTML | CSV | PATH,
    ['#'] = PLAIN | SQL | SHELL,
    ['$'] = TEXT | SHELL,
    ['%'] = TEXT | SHELL,
    ['&'] = TEXT | SHELL | HTML,
    ['\''] = TEXT | SQL | SHELL | HTML,
    ['('] = TEXT | SHELL,
    [')'] = TEXT | SHELL,
    ['*'] = TEXT | SHELL | PATH,
    ['+'] = PLAIN,
    [','] = TEXT | CSV,
    ['-'] = WORD,
    ['.'] = WORD,
    ['/'] = TEXT,
    ['0' ... '9'] = WORD,
    [':'] = TOKEN | PATH,
    [';'] = TEXT | SQL | SHELL | CSV,
    ['<'] = TEXT | SHELL | HTML | PATH,
    ['='] = TEXT,
    ['>'] = TEXT | SHELL | HTML | PATH,
    ['?'] = TEXT | SHELL | PATH,
    ['@'] = TEXT,
    ['A' ... 'Z'] = TOKEN,
    ['['] = TEXT | SHELL,
    ['\\'] = TEXT | SQL | SHELL | PATH,
    [']'] = TEXT | SHELL,
    ['^'] = TEXT | SHELL,
    ['_'] = TOKEN,
    ['`'] = TEXT | SQL | SHELL | HTML,
    ['a' ... 'z'] = WORD,
    ['{'] = TEXT | SHELL,
    ['|'] = TEXT | SHELL | CSV | PATH,
    ['}'] = TEXT | SHELL,
    ['~'] = TEXT | SHELL,
};

// Sinks that a pair of characters means something to.
//@ assigns \nothing;
static unsigned pair_kind(uint32_t first, uint32_t second)
{
    if ((first == '-' && second == '-') || (first == '/' && second == '*') || (first == '*' && second == '/'))
        return SQL;
    if (first == '.' && second == '.')
        return PATH;
    return first == '$' && second == '{' ? LOG : 0;
}

// Sinks to which a text that begins so means something.
//@ assigns \nothing;
static unsigned first_kind(uint32_t first)
{
    switch (first) {
    case '-':
        return SHELL | CSV | PATH;
    case ' ':
        return CSV | PATH;
    case '=': case '+': case '@': case 0xff0b: case 0xff0d: case 0xff1d: case 0xff20:
        return CSV;
    case '/': case '~':
        return PATH;
    default:
        return 0;
    }
}

// The kind of a character that is not ASCII.
//@ assigns \nothing;
static unsigned wide_kind(uint32_t c)
{
    const unsigned free_text = 1 << SCHEMA_CLASS_UTF8 | 1 << SCHEMA_CLASS_TOPIC;
    if (c < 0xa0) // a control character
        return 0;
    int is_hidden = c == 0x61c || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
                    (c >= 0x2060 && c <= 0x2069) || c == 0xfeff;
    return is_hidden ? free_text | LOG : free_text;
}

// Bytes of the character at the start of `bytes`, which begins with one that is not ASCII; 0: it is not UTF-8.
/*@ requires length > 0 && \valid_read(bytes + (0 .. length - 1)) && \valid(character);
    assigns *character;
    ensures \result <= length; */
static size_t wide_size(const uint8_t *bytes, size_t length, uint32_t *character)
{
    static const uint32_t shortest[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = bytes[0];
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || size > length)
        return 0;
    uint32_t c = first & (0x7fu >> size);
    /*@ loop invariant 1 <= i <= size;
        loop assigns i, c;
        loop variant size - i; */
    for (size_t i = 1; i < size; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (bytes[i] & 0x3f);
    }
    if (c < shortest[size] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *character = c;
    return size;
}

// The classes that have all of eight bytes.
/*@ requires \valid_read(bytes + (0 .. 7));
    assigns \nothing; */
static inline unsigned kinds_of_8(const uint8_t *bytes)
{
    return kinds[bytes[0]] & kinds[bytes[1]] & kinds[bytes[2]] & kinds[bytes[3]] & kinds[bytes[4]] & kinds[bytes[5]] &
           kinds[bytes[6]] & kinds[bytes[7]];
}

// Are all these bytes ASCII of the class? Eight at a time, the last eight once more in part.
/*@ requires length <= 0xffff && (length > 0 ==> \valid_read(bytes + (0 .. length - 1)));
    assigns \nothing; */
static int is_plain(unsigned wanted, const uint8_t *bytes, size_t length)
{
    if (length < 8)
        return 0;
    /*@ loop invariant 8 <= i <= length + 7;
        loop assigns i, wanted;
        loop variant length - i; */
    for (size_t i = 8; i < length; i += 8)
        wanted &= kinds_of_8(bytes + (i - 8));
    return (kinds_of_8(bytes + (length - 8)) & wanted) != 0;
}

int text_is_good(unsigned class, unsigned deny, const uint8_t *bytes, size_t length)
{
    const unsigned wanted = class <= SCHEMA_CLASS_TOPIC ? 1u << class : 0, denied = deny << SINKS_AT;
    uint32_t before = 0, c = 0;
    size_t size;
    if (denied == 0 && is_plain(wanted, bytes, length)) // what most texts are
        return 1;
    /*@ loop invariant i <= length;
        loop assigns i, size, before, c;
        loop variant length - i; */
    for (size_t i = 0; i < length; i += size, before = c) {
        unsigned kind;
        size = 1;
        c = bytes[i];
        if (c < 0x80) {
            kind = kinds[c];
        } else {
            size = wide_size(bytes + i, length - i, &c);
            if (size == 0)
                return 0;
            kind = wide_kind(c);
        }
        if (denied != 0)
            kind |= i == 0 ? first_kind(c) : pair_kind(before, c);
        if ((kind & wanted) == 0 || (kind & denied) != 0)
            return 0;
    }
    return 1;
}
