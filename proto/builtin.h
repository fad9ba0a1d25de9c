// SPDX-License-Identifier: ISC
// Messages of the built-in schemas as structs. system_open() accepts no flow at a gateway, at a service or at the
// router's subscriptions with another schema (core/schema_builtin.c), so a checked message can be read as one of these.
#ifndef CRENEL_PROTO_BUILTIN_H
#define CRENEL_PROTO_BUILTIN_H

#include <stdint.h>

struct builtin_wire { // wire/1, without its bytes: they follow
    uint8_t is_closed;
    uint8_t zero;
    uint16_t size;
};

struct builtin_subscription { // subscription/1
    uint16_t port;
    uint8_t is_joined;
    uint8_t zero[5];
};

struct builtin_password_reply { // password-reply/1
    uint8_t is_accepted;
    uint8_t zero;
    uint16_t principal;
    uint8_t zero2[4];
};

struct builtin_receipt { // receipt/1
    uint16_t output;
    uint16_t reason; // enum reason
    uint8_t is_taken;
    uint8_t zero[3];
};

_Static_assert(sizeof(struct builtin_receipt) == 8, "builtin_receipt");

#define BUILTIN_BOX_BYTES_MAX 3072u
#define BUILTIN_SEALED_BYTES 10u
struct builtin_sealed { // sealed/1, without its box: that follows at BUILTIN_SEALED_BYTES
    uint64_t serial;
    uint16_t box_bytes;
    uint8_t zero[6];
};

#define BUILTIN_TAG_BYTES 32u
struct builtin_signature { // what an envelope has behind the message in it (core/schema_builtin.h)
    uint64_t serial;
    uint16_t tag_bytes; // BUILTIN_TAG_BYTES
    uint8_t tag[BUILTIN_TAG_BYTES];
    uint8_t zero[6];
};

_Static_assert(sizeof(struct builtin_sealed) == 16, "builtin_sealed");
_Static_assert(sizeof(struct builtin_signature) == 48, "builtin_signature");
_Static_assert(sizeof(struct builtin_wire) == 4, "builtin_wire");
_Static_assert(sizeof(struct builtin_subscription) == 8, "builtin_subscription");
_Static_assert(sizeof(struct builtin_password_reply) == 8, "builtin_password_reply");

#endif
