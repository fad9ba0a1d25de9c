// SPDX-License-Identifier: ISC
// Learning by repetition: the canary byte by byte, and the base, over many messages that each cost an instance.
//
// A server that forks for each connection gives all its children one canary: an attacker overwrites its first byte
// with each value in turn, sees which child lives, goes on to the next byte, and knows all of it in some hundred
// messages. Here each instance has a canary of its own, so that what lived once does not live again.
#include "tests/attack/attack.h"

#include <stdlib.h>

// A server with an overflow: word 1 says how many bytes of the canary the message overwrites, word 2 with what.
GUEST(overflow)
{
    const volatile uint64_t *words = next_act(boot);
    uint64_t mask = words[1] == 8 ? UINT64_MAX : ((uint64_t)1 << 8 * words[1]) - 1;
    uint64_t canary = (boot->canary & ~mask) | (words[2] & mask);
    if (canary != boot->canary)
        __builtin_trap(); // what the library OS does when it finds its canary changed
    set_published(boot, put_end(boot, 0));
    wait_for_host(boot);
    serve(boot);
}

// Word 0: 1 tell the gate's address and the canary, 2 fault.
GUEST(confess)
{
    const volatile uint64_t *words = next_act(boot);
    if (words[0] == 2)
        __builtin_trap();
    tell(boot, boot->gate, boot->canary, (uint64_t)(uintptr_t)__builtin_frame_address(0));
}

#define MESSAGES 1200u // a forking server's canary was learnt in fewer than 600
#define CONFIRMATIONS 4u

static int lives(struct stage *stage, uint64_t bytes, uint64_t value, unsigned *messages)
{
    stage_event(stage, (const uint64_t[ACT_WORDS]){1, bytes, value});
    (*messages)++;
    return stage->effects.outcome == LINK_ENDED;
}

static void play_canary(struct stage *stage, const struct attack *attack)
{
    unsigned messages = 0, hits = 0, confirmed = 0;
    uint64_t known_bytes = 1, known = 0; // its low byte is zero, everybody knows
    (void)attack;
    for (uint64_t value = 0; messages < MESSAGES && known_bytes < 8 && !stage->has_failed; value++) {
        uint64_t guess = known | (value & 0xff) << 8 * known_bytes;
        if (!lives(stage, known_bytes + 1, guess, &messages))
            continue;
        hits++;
        // What lived must live again in another instance: the one that lived is made to die first.
        unsigned again = 0;
        for (unsigned i = 0; i < CONFIRMATIONS; i++) {
            (void)lives(stage, 8, 0x4141414141414141, &messages);
            again += lives(stage, known_bytes + 1, guess, &messages) != 0;
        }
        confirmed += again;
        if (again == CONFIRMATIONS) {
            known = guess;
            known_bytes++;
        }
    }
    if (stage->has_failed)
        return;
    if (known_bytes > 1)
        stage_fail(stage, "NOT CONTAINED: %u bytes of the canary learnt in %u messages", (unsigned)known_bytes, messages);
    else
        stage_note(stage, "%u messages: %u guesses lived (%u by chance), %u of %u lived again, no byte is learnt", messages,
                   hits, messages / 256, confirmed, hits * CONFIRMATIONS);
}

#define BASES 32u

// The base, and the canary, after each of many faults.
static void play_again(struct stage *stage, const struct attack *attack)
{
    uint64_t seen[BASES], word = attack->words[1], all_or = 0, all_and = UINT64_MAX;
    unsigned repeats = 0;
    for (unsigned i = 0; i < BASES; i++) {
        size_t bytes = 0;
        stage_event(stage, (const uint64_t[ACT_WORDS]){1});
        const uint64_t *told = stage_message(stage, &bytes);
        if (told == NULL || bytes != 24) {
            stage_fail(stage, "the guest does not tell");
            return;
        }
        seen[i] = told[word];
        all_or |= seen[i];
        all_and &= seen[i];
        for (unsigned k = 0; k < i; k++)
            repeats += seen[k] == seen[i];
        stage_event(stage, (const uint64_t[ACT_WORDS]){2});
    }
    // A repeat among 32 of 2^26 is one in 100,000.
    if (repeats > 1)
        stage_fail(stage, "NOT CONTAINED: %u of %u were there before", repeats, BASES);
    else
        stage_note(stage, "%u faults, %u values, %u bits of them change", BASES, BASES - repeats,
                   (unsigned)__builtin_popcountll(all_or & ~all_and));
}

// All instances at once: each its own canary.
static void play_siblings(struct stage *stage, const struct attack *attack)
{
    uint64_t seen[64];
    unsigned repeats = 0;
    (void)attack;
    for (unsigned i = 0; i < 64; i++) {
        size_t bytes = 0;
        stage_event(stage, (const uint64_t[ACT_WORDS]){1});
        const uint64_t *told = stage_message(stage, &bytes);
        if (told == NULL || bytes != 24) {
            stage_fail(stage, "the guest does not tell");
            return;
        }
        seen[i] = told[1];
        if ((seen[i] & 0xff) != 0 || seen[i] == 0)
            stage_fail(stage, "NOT CONTAINED: a canary that a string may copy: 0x%llx", (unsigned long long)seen[i]);
        for (unsigned k = 0; k < i; k++)
            repeats += seen[k] == seen[i];
    }
    if (repeats != 0)
        stage_fail(stage, "NOT CONTAINED: %u canaries were there before", repeats);
    else if (!stage->has_failed)
        stage_note(stage, "64 events, 64 canaries, no two alike, the low byte zero");
}

static const struct attack attacks[] = {
    {.name = "canary_by_repetition", .mechanism = {"OWN_CANARY", "OWN_CANARY"}, .guest = &guest_overflow,
     .play = play_canary},
    {.name = "canary_of_a_sibling", .mechanism = {"OWN_CANARY", "OWN_CANARY"}, .guest = &guest_confess,
     .options = {.instances = 4}, .play = play_siblings},
    {.name = "canary_after_a_fault", .mechanism = {"OWN_CANARY", "OWN_CANARY"}, .guest = &guest_confess,
     .words = {1, 1}, .play = play_again},
    {.name = "base_by_repetition", .mechanism = {"NEW_BASE", "NEW_BASE"}, .guest = &guest_confess, .words = {1, 0},
     .play = play_again},
};

struct attack_table attacks_secrets(void)
{
    return (struct attack_table){"learning by repetition", attacks, sizeof attacks / sizeof attacks[0]};
}
