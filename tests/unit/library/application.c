// SPDX-License-Identifier: ISC
// Does what the command names.
#include "library.h"
#include "numbers.h"

static unsigned events; // kept between events: lifetime resident
static unsigned after_init;
static const char *const words[] = {"none", "one", "two"}; // pointers: relocated in RELRO

void init(void)
{
    after_init = 7;
}

static void result_set(struct result *result, const char *text)
{
    result->text_length = (uint16_t)strlen(text);
    memcpy(result->text, text, result->text_length);
}

static void say(const char *text)
{
    struct result result = {0};
    result_set(&result, text);
    send_result(&result);
}

static void send_dirty(void)
{
    struct result result;
    memset(&result, 0xee, sizeof result); // gaps and tails hold garbage
    result.what = 1;
    result.total = 1000;
    result.state = RESULT_STATE_BAD;
    result.history_count = 2;
    result.history[0] = -5;
    result.history[1] = 5;
    result.site_length = 0;
    result_set(&result, "canonical");
    send_result(&result);
}

__attribute__((noinline)) static void overflow(const char *text, size_t length)
{
    char small[8];
    volatile char *to = small;
    __asm__ volatile("" : "+r"(to)); // the compiler does not know how much room is there
    for (volatile size_t i = 0; i < length; i++)
        to[i] = text[i];
    log_info("%s", small);
}

// Like that, but to memory whose room the compiler knows.
static void overflow_known(const struct command *message)
{
    static char fixed[8];
    volatile size_t length = message->text_length;
    switch (message->text[0]) {
    case 'i': ((volatile char *)fixed)[length] = 1; break;
    case 'c': memcpy(fixed, message->text, length); break;
    case 'm': say(memmove(arena_allocate(length - 1), message->text, length)); break;
    case 's': memset(fixed, 0, length); break;
    default: break;
    }
}

// Writes one byte behind the block given of three, in the arena.
static void overflow_arena(unsigned block)
{
    volatile char *blocks[3] = {arena_allocate(16), arena_allocate(40), arena_allocate(0)};
    static const unsigned room[3] = {16, 48, 0}; // blocks end on 16 bytes
    blocks[block][room[block]] = 1;
}

static void use_store(void)
{
    struct record record, found[4], from = {.number = -3, .site_length = 2, .site = "ab"};
    char text[64];

    bool is_there = records_get("ab", 2, -3, &record);
    size_t count = records_range(&from, 0, found, 4);
    size_t indexed = records_index(0, 0, found, 4);
    text_format(text, sizeof text, "%d %d %zu %zu", is_there, is_there ? record.level : 0, count, indexed);
    say(text);
    record = (struct record){.number = 1, .level = 2, .site_length = 1, .site = "x"};
    records_put(&record);
    records_delete("ab", 2, -3);
}

static void use_arena(void)
{
    uint8_t *first = arena_allocate(3), *second = arena_allocate(100);
    bool is_good = (uintptr_t)first % 16 == 0 && second == first + 32;

    for (size_t i = 0; i < 100; i++)
        is_good = is_good && second[i] == 0;
    memset(second, 0xaa, 100);
    say(is_good ? "good" : "bad");
}

static void format(void)
{
    char text[120];
    size_t length = text_format(text, sizeof text, "%d|%5d|%05d|%u|%x|%02x|%lld|%llu|%zu|%s|%.*s|%c|%%|%3s|",
                                -12, -12, -12, 4000000000u, 0xbeefu, 5, (long long)INT64_MIN,
                                (unsigned long long)UINT64_MAX, (size_t)3, "text", 2, "abcdef", 'c', "z");
    say(length < sizeof text ? text : "too long");
}

void on_command(const struct event *event, const struct command *message)
{
    struct result result = {0};
    char text[300];

    events++;
    switch (message->what) {
    case 0:
        text_format(text, sizeof text, "%u %u %s %u %u %.*s", events, after_init, words[events % 3],
                    event->attempt, event->principal, message->text_length, message->text);
        say(text);
        break;
    case 1: send_dirty(); break;
    case 2: // the third is one too many
        for (int i = 0; i < 3; i++)
            send_result(&result);
        break;
    case 3: result.site_length = 6; send_result(&result); break;
    case 4: say("dropped"); event_refuse(REFUSE_SECOND);
    case 5: use_arena(); break;
    case 6: for (;;) arena_allocate(1000);
    case 7: overflow(message->text, message->text_length); break;
    case 8: use_store(); break;
    case 9: for (;;) log_info("again and again, until the output is full");
    case 10:
        result.what = 9;
        send_result_with(&result, "context", 7);
        send_result_after(&result, 1500);
        result_send(OUTPUT_OTHER_RESULT, &result);
        break;
    case 11: say(numbers_check()); break;
    case 12:
        text_format(text, sizeof text, "%lld %lld", (long long)configuration_integer("limit", 1),
                    (long long)configuration_integer("lim", 1));
        say(text);
        break;
    case 13: configuration_integer("word", 0); break;
    case 14:
        count_refusal(REFUSE_FIRST, "turned down");
        memset(text, 'x', sizeof text);
        log_warning("%.*s", 300, text);
        break;
    case 15: result_send(OUTPUT_QUESTION, &result); break;
    case 16: format(); break;
    case 17: *(volatile char *)(uintptr_t)words = 1; break; // RELRO is read-only
    case 18: records_delete("a", 1, 1); records_delete("a", 1, 2); records_delete("a", 1, 3); break;
    case 19: overflow_known(message); break;
    case 20: overflow_arena(message->text_length); break;
    case 21:
        for (int i = 0; i < 180; i++)
            log_info("a third of the output in lines of sixty bytes, this is %d", i);
        break;
    default: fail("no such command: %u", message->what);
    }
}

void on_ask_me(const struct event *event, const struct command *message)
{
    struct result result = {.what = message->what};
    (void)event;
    reply_answer(&result);
}

void on_told(const struct event *event, const struct result *message)
{
    struct result result = {.what = message->what};
    result.text_length = (uint16_t)event->context_bytes;
    memcpy(result.text, event->context, event->context_bytes);
    send_result(&result);
}
