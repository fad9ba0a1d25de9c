// SPDX-License-Identifier: ISC
// Signatures of compiled systems: every changed byte, another key, no signature.
#include "host/system_file.h"
#include "proto/system.h"
#include "tests/unit/test.h"

#include <sodium.h>
#include <string.h>

static uint8_t bytes[sizeof(struct system_signature) + 300];
static uint8_t public_key[32], secret_key[64], other_public[32], other_secret[64];
static const char *why;

static void make(void)
{
    memset(bytes, 7, sizeof bytes);
    system_sign(bytes, sizeof bytes, secret_key);
}

TEST(a_signed_system)
{
    make();
    expect(system_verify(bytes, sizeof bytes, public_key, &why) == STATUS_OK && why == NULL);
}

TEST(every_changed_byte)
{
    make();
    for (size_t at = 0; at < sizeof bytes; at++) {
        bytes[at] ^= 1;
        expect(system_verify(bytes, sizeof bytes, public_key, &why) != STATUS_OK && why != NULL);
        bytes[at] ^= 1;
    }
    expect(system_verify(bytes, sizeof bytes, public_key, &why) == STATUS_OK);
}

TEST(every_cut)
{
    make();
    for (size_t size = 0; size < sizeof bytes; size++)
        expect(system_verify(bytes, size, public_key, &why) != STATUS_OK && why != NULL);
}

TEST(another_key)
{
    make();
    expect(system_verify(bytes, sizeof bytes, other_public, &why) == STATUS_SIGNATURE);
    system_sign(bytes, sizeof bytes, other_secret);
    expect(system_verify(bytes, sizeof bytes, public_key, &why) == STATUS_SIGNATURE);
    // Claiming the right key does not help.
    memcpy(bytes + offsetof(struct system_signature, public_key), public_key, sizeof public_key);
    expect(system_verify(bytes, sizeof bytes, public_key, &why) == STATUS_SIGNATURE);
}

TEST(not_signed)
{
    make();
    memset(bytes + offsetof(struct system_signature, public_key), 0, 96);
    expect(system_verify(bytes, sizeof bytes, public_key, &why) == STATUS_SIGNATURE &&
           strcmp(why, "the compiled system is not signed") == 0);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    crypto_sign_keypair(public_key, secret_key);
    crypto_sign_keypair(other_public, other_secret);
    RUN(a_signed_system);
    RUN(every_changed_byte);
    RUN(every_cut);
    RUN(another_key);
    RUN(not_signed);
    TEST_END();
}
