// SPDX-License-Identifier: ISC
// Merkle tree, tiles, notes: vectors of RFC 6962 and C2SP, and a naive tree beside the tiled one.
#include "core/base64.h"
#include "core/json_line.h"
#include "core/tlog_note.h"
#include "host/log_files.h"
#include "tests/unit/test.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static struct tlog_tree tree;

static void hex(char text[65], const uint8_t bytes[32])
{
    sodium_bin2hex(text, 65, bytes, 32);
}

TEST(roots_of_rfc_6962)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *root;
    } vectors[] = {
        {"", 0, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
        {"\x00", 1, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
        {"\x10", 1, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
        {"\x20\x21", 2, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"},
        {"\x30\x31", 2, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"},
        {"\x40\x41\x42\x43", 4, "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"},
        {"PQRSTUVW", 8, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"},
        {"`abcdefghijklmno", 16, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
    };
    uint8_t root[32], leaf[32];
    char text[65];
    memset(&tree, 0, sizeof tree);
    tlog_root(&tree, root, log_hash);
    hex(text, root);
    expect(strcmp(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") == 0);
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        tlog_leaf(leaf, vectors[i].bytes, vectors[i].size, log_hash);
        expect(tlog_push(&tree, leaf, log_hash) == 0);
        tlog_root(&tree, root, log_hash);
        hex(text, root);
        expect(strcmp(text, vectors[i].root) == 0);
    }
}

// MTH(D[0:n]) by its definition: split at the largest power of two below n.
static void naive(uint8_t out[32], const uint8_t (*leaves)[32], size_t count)
{
    if (count == 1) {
        memcpy(out, leaves[0], 32);
        return;
    }
    size_t split = 1;
    while (split * 2 < count)
        split *= 2;
    uint8_t pair[65] = {0x01};
    naive(pair + 1, leaves, split);
    naive(pair + 33, leaves + split, count - split);
    log_hash(out, pair, sizeof pair, NULL, 0);
}

// Every tile that fills, and the roots, against the definition, at sizes up to 70,000.
TEST(tiles_and_roots_of_70000_sizes)
{
    enum { COUNT = 70000 };
    uint8_t(*leaves)[32] = malloc(COUNT * sizeof *leaves);
    uint8_t want[32], root[32];
    unsigned full_0 = 0, full_1 = 0;
    memset(&tree, 0, sizeof tree);
    for (uint32_t i = 0; i < COUNT; i++) {
        tlog_leaf(leaves[i], &i, sizeof i, log_hash);
        unsigned full = tlog_push(&tree, leaves[i], log_hash);
        full_0 += full >= 1;
        full_1 += full >= 2;
        if (full >= 1)
            expect(memcmp(tree.tiles[0], leaves[i - 255], 8192) == 0);
        if (full >= 2)
            for (unsigned j = 0; j < 256; j += 51) {
                naive(want, (const uint8_t(*)[32])leaves + j * 256, 256);
                expect(memcmp(tree.tiles[1][j], want, 32) == 0);
            }
        if (i < 600 || i % 9973 == 0 || (i >= 65530 && i < 65545) || i == COUNT - 1) {
            naive(want, (const uint8_t(*)[32])leaves, i + 1);
            tlog_root(&tree, root, log_hash);
            expect(memcmp(root, want, 32) == 0);
        }
        // The tiles of every size: the counts of the specification.
        uint64_t size = i + 1;
        expect(tlog_width(size, 0) == size % 256 && tlog_index(size, 0) == size / 256);
        expect(tlog_width(size, 1) == size / 256 % 256 && tlog_index(size, 1) == size / 65536);
        expect(tlog_width(size, TLOG_ENTRIES) == size % 256);
    }
    expect(full_0 == 273 && full_1 == 1);
    expect(tlog_width(COUNT, 0) == 112 && tlog_width(COUNT, 1) == 17 && tlog_width(COUNT, 2) == 1 &&
           tlog_width(COUNT, 3) == 0);
    free(leaves);
}

TEST(paths)
{
    char path[TLOG_PATH_BYTES];
    tlog_path(path, 0, 0, 256);
    expect(strcmp(path, "tile/0/000") == 0);
    tlog_path(path, 1, 1234067, 256);
    expect(strcmp(path, "tile/1/x001/x234/067") == 0);
    tlog_path(path, 0, 273, 112);
    expect(strcmp(path, "tile/0/273.p/112") == 0);
    tlog_path(path, TLOG_ENTRIES, 1000, 1);
    expect(strcmp(path, "tile/entries/x001/000.p/1") == 0);
    tlog_path(path, 5, (1ull << 48) - 1, 255);
    expect(strcmp(path, "tile/5/x281/x474/x976/x710/655.p/255") == 0);
}

static const char vkey[] = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
static const char note[] =
    "This is an example message.\n\n\xe2\x80\x94 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

TEST(note_of_the_specification)
{
    char name[NOTE_NAME_BYTES], again[NOTE_VKEY_BYTES], signed_again[NOTE_TEXT_BYTES_MAX];
    uint8_t id[4], computed[4], key[32], signature[64];
    size_t text_length = 0;
    expect(note_key_decode(vkey, "", name, id, key) == STATUS_OK);
    expect(strcmp(name, "example.com/foo") == 0);
    note_key_id(computed, name, key, log_hash);
    expect(memcmp(id, computed, 4) == 0);
    note_key_encode(again, "", name, id, key);
    expect(strcmp(again, vkey) == 0);
    expect(note_open(note, sizeof note - 1, name, id, &text_length, signature) == STATUS_OK);
    expect(text_length == 28);
    expect(crypto_sign_ed25519_verify_detached(signature, (const uint8_t *)note, text_length, key) == 0);
    memcpy(signed_again, note, text_length);
    expect(note_sign(signed_again, text_length, name, id, signature) == sizeof note - 1 &&
           memcmp(signed_again, note, sizeof note - 1) == 0);
}

TEST(note_flipped_anywhere_is_refused)
{
    char name[NOTE_NAME_BYTES], bad[sizeof note];
    uint8_t id[4], key[32], signature[64];
    expect(note_key_decode(vkey, "", name, id, key) == STATUS_OK);
    for (size_t i = 0; i < sizeof note - 1; i++)
        for (int bit = 0; bit < 8; bit++) {
            size_t length = 0;
            memcpy(bad, note, sizeof note);
            bad[i] = (char)(bad[i] ^ (1 << bit));
            expect(note_open(bad, sizeof note - 1, name, id, &length, signature) != STATUS_OK ||
                   crypto_sign_ed25519_verify_detached(signature, (const uint8_t *)bad, length,
                                                       key) != 0);
        }
}

TEST(note_ignores_other_keys)
{
    char name[NOTE_NAME_BYTES], text[512];
    uint8_t id[4], key[32], signature[64];
    size_t length = 0;
    expect(note_key_decode(vkey, "", name, id, key) == STATUS_OK);
    snprintf(text, sizeof text, "%s\xe2\x80\x94 other.example/witness AAAAAAAAAAAAAAA=\n", note);
    expect(note_open(text, strlen(text), name, id, &length, signature) == STATUS_OK);
    id[0] ^= 1;
    expect(note_open(text, strlen(text), name, id, &length, signature) == STATUS_ABSENT);
    expect(note_open("no note\n", 8, name, id, &length, signature) == STATUS_MALFORMED);
    expect(note_open("", 0, name, id, &length, signature) == STATUS_MALFORMED);
}

TEST(checkpoint_has_one_encoding)
{
    struct checkpoint checkpoint = {.origin = "crenel/plant/watch", .size = 70000}, found;
    char text[NOTE_TEXT_BYTES_MAX];
    memset(checkpoint.root, 7, 32);
    size_t length = checkpoint_encode(&checkpoint, text);
    expect(length == strlen("crenel/plant/watch\n70000\n") + 45);
    expect(checkpoint_decode(&found, text, length) == STATUS_OK);
    expect(found.size == 70000 && memcmp(found.root, checkpoint.root, 32) == 0);
    for (size_t cut = 0; cut < length; cut++)
        expect(checkpoint_decode(&found, text, cut) == STATUS_MALFORMED);
    static const char zero[] = "a\n01\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n";
    expect(checkpoint_decode(&found, zero, sizeof zero - 1) == STATUS_MALFORMED);
    static const char spare[] = "a\n1\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwd=\n";
    expect(checkpoint_decode(&found, spare, sizeof spare - 1) == STATUS_MALFORMED);
    static const char extension[] = "a\n1\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\nx\n";
    expect(checkpoint_decode(&found, extension, sizeof extension - 1) == STATUS_MALFORMED);
    static const char huge[] = "a\n99999999999999999999\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n";
    expect(checkpoint_decode(&found, huge, sizeof huge - 1) == STATUS_MALFORMED);
}

TEST(json_line_escapes_and_never_overruns)
{
    char text[64];
    struct json_line line;
    json_begin(&line, text, sizeof text);
    json_text(&line, "a", "\"\\\n\xff", 4);
    json_integer(&line, "b", INT64_MIN);
    json_hex(&line, "c", (const uint8_t *)"\x01\xfe", 2);
    expect(json_end(&line) != 0);
    expect(strcmp(text, "{\"a\":\"\\\"\\\\\\u000a\\u00ff\",\"b\":-9223372036854775808,\"c\":\"01fe\"}") == 0);
    for (size_t capacity = 1; capacity < 20; capacity++) {
        memset(text, 'x', sizeof text);
        json_begin(&line, text, capacity);
        json_string(&line, "key", "0123456789");
        size_t length = json_end(&line);
        expect(length == 0 || length == 20);
        expect(text[capacity] == 'x' && text[length] == '\0');
    }
}

int main(void)
{
    RUN(roots_of_rfc_6962);
    RUN(tiles_and_roots_of_70000_sizes);
    RUN(paths);
    RUN(note_of_the_specification);
    RUN(note_flipped_anywhere_is_refused);
    RUN(note_ignores_other_keys);
    RUN(checkpoint_has_one_encoding);
    RUN(json_line_escapes_and_never_overruns);
    TEST_END();
}
