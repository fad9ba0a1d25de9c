// SPDX-License-Identifier: ISC
// libsodium does the work; here is what goes into it.
#include "seal/box.h"

#include "core/check.h"

#include <sodium.h>
#include <string.h>

_Static_assert(BOX_NONCE_BYTES == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES &&
                   BOX_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES &&
                   BOX_MORE_BYTES == BOX_SALT_BYTES + BOX_NONCE_BYTES + crypto_aead_xchacha20poly1305_ietf_ABYTES &&
                   BOX_TAG_BYTES == crypto_generichash_BYTES, "libsodium");

// A key made from the key, for one purpose and salt.
static void derive(const struct box *box, const char *purpose, const uint8_t *salt, size_t salt_bytes,
                   uint8_t key[BOX_KEY_BYTES])
{
    crypto_generichash_state state;
    check(crypto_generichash_init(&state, box->key, sizeof box->key, BOX_KEY_BYTES) == 0);
    crypto_generichash_update(&state, (const uint8_t *)purpose, strlen(purpose) + 1);
    crypto_generichash_update(&state, salt, salt_bytes);
    crypto_generichash_final(&state, key, BOX_KEY_BYTES);
    sodium_memzero(&state, sizeof state);
}

enum status box_init(struct box *box, const char *text, size_t size, const uint8_t label[BOX_LABEL_BYTES])
{
    size_t used = 0;
    const char *end = NULL;
    memset(box, 0, sizeof *box);
    if (size < 2 * BOX_KEY_BYTES || sodium_hex2bin(box->key, sizeof box->key, text, 2 * BOX_KEY_BYTES, NULL, &used, &end) != 0 ||
        used != sizeof box->key || (size != 2 * BOX_KEY_BYTES && (size != 2 * BOX_KEY_BYTES + 1 || text[size - 1] != '\n')))
        return STATUS_MALFORMED;
    memcpy(box->label, label, sizeof box->label);
    derive(box, "tag", NULL, 0, box->tag_key);
    randombytes_buf(box->salt, sizeof box->salt);
    derive(box, "epoch", box->salt, sizeof box->salt, box->epoch);
    memcpy(box->seen_salt, box->salt, sizeof box->salt);
    memcpy(box->seen, box->epoch, sizeof box->epoch);
    return STATUS_OK;
}

static void associate(const struct box *box, uint64_t serial, uint8_t data[BOX_LABEL_BYTES + 8])
{
    memcpy(data, box->label, BOX_LABEL_BYTES);
    memcpy(data + BOX_LABEL_BYTES, &serial, sizeof serial); // little-endian, as all files and records
}

void box_seal(const struct box *box, uint64_t serial, const uint8_t *message, size_t size, uint8_t *out)
{
    uint8_t data[BOX_LABEL_BYTES + 8], *nonce = out + BOX_SALT_BYTES;
    associate(box, serial, data);
    memcpy(out, box->salt, BOX_SALT_BYTES);
    randombytes_buf(nonce, BOX_NONCE_BYTES);
    check(crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + BOX_NONCE_BYTES, NULL, message, size, data, sizeof data, NULL,
                                                     nonce, box->epoch) == 0);
}

enum status box_open(struct box *box, uint64_t serial, const uint8_t *sealed, size_t size, uint8_t *out)
{
    uint8_t data[BOX_LABEL_BYTES + 8], key[BOX_KEY_BYTES];
    const uint8_t *nonce = sealed + BOX_SALT_BYTES;
    if (size < BOX_MORE_BYTES)
        return STATUS_SIGNATURE;
    if (memcmp(box->seen_salt, sealed, BOX_SALT_BYTES) == 0)
        memcpy(key, box->seen, sizeof key);
    else
        derive(box, "epoch", sealed, BOX_SALT_BYTES, key);
    associate(box, serial, data);
    int result = crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, nonce + BOX_NONCE_BYTES,
                                                            size - BOX_SALT_BYTES - BOX_NONCE_BYTES, data, sizeof data,
                                                            nonce, key);
    if (result == 0) {
        memcpy(box->seen_salt, sealed, BOX_SALT_BYTES);
        memcpy(box->seen, key, sizeof key);
    }
    sodium_memzero(key, sizeof key);
    return result == 0 ? STATUS_OK : STATUS_SIGNATURE;
}

void box_tag(const struct box *box, uint64_t serial, const uint8_t *message, size_t size, uint8_t tag[BOX_TAG_BYTES])
{
    uint8_t data[BOX_LABEL_BYTES + 8];
    crypto_generichash_state state;
    associate(box, serial, data);
    check(crypto_generichash_init(&state, box->tag_key, sizeof box->tag_key, BOX_TAG_BYTES) == 0);
    crypto_generichash_update(&state, data, sizeof data);
    crypto_generichash_update(&state, message, size);
    crypto_generichash_final(&state, tag, BOX_TAG_BYTES);
    sodium_memzero(&state, sizeof state);
}
