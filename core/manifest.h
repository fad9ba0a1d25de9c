// SPDX-License-Identifier: ISC
// The manifest inside an image: who the unikernel is, what it may say, and what it may cost.
//
// Layout: struct manifest_header, then input_count + output_count struct manifest_flow (inputs
// first), namespace_count struct manifest_namespace, refusal_count struct manifest_refusal, and
// schema_count schema blocks one after the other (core/schema.h). All parts are 8-byte aligned.
// Strings are zero-terminated and zero-filled. Valid if and only if manifest_open() accepts it.
#ifndef CRENEL_CORE_MANIFEST_H
#define CRENEL_CORE_MANIFEST_H

#include "core/schema.h"

#define MANIFEST_MAGIC 0x74666d4cu // "Lmft"
#define MANIFEST_VERSION 1u
#define MANIFEST_NAME_BYTES 32u
#define MANIFEST_FLOWS_MAX 32u // inputs and outputs each
#define MANIFEST_NAMESPACES_MAX 8u
#define MANIFEST_REFUSALS_MAX 16u
#define MANIFEST_SCHEMAS_MAX 16u
#define MANIFEST_KEY_FIELDS_MAX 4u
#define MANIFEST_EFFECTS_MAX 256u // count_max of an output, writes_max
#define MANIFEST_ARENA_BYTES_MAX (16u * 1024u * 1024u) // multiples of 4096, at least one
#define MANIFEST_STACK_BYTES_MAX (1024u * 1024u)       // the same
#define MANIFEST_DEADLINE_MS_MAX 600000u
#define MANIFEST_BYTES_MAX 32768u

enum manifest_lifetime { LIFETIME_MESSAGE = 0, LIFETIME_CONNECTION = 1, LIFETIME_RESIDENT = 2 };
enum manifest_isolation { ISOLATION_ANY = 0, ISOLATION_PROCESS = 1, ISOLATION_KVM = 2, ISOLATION_ENCLAVE = 3 };
enum manifest_flow_kind { MANIFEST_PLAIN = 0, MANIFEST_REQUEST = 1, MANIFEST_REPLY = 2 };

struct manifest_header {
    uint32_t magic;
    uint16_t version;     // MANIFEST_VERSION
    uint16_t abi_version; // ABI_VERSION it was built for
    uint32_t bytes;       // of the whole manifest
    uint32_t security_version; // never goes down within a name
    char name[MANIFEST_NAME_BYTES];
    char release[16];  // its version for people: "1.4.0"
    uint8_t lifetime;  // enum manifest_lifetime
    uint8_t isolation; // enum manifest_isolation
    uint8_t is_random; // 1: wants a seed per event
    uint8_t zero;
    uint16_t input_count, output_count, namespace_count, refusal_count, schema_count;
    uint16_t writes_max; // store writes per event
    uint32_t arena_bytes;
    uint32_t stack_bytes;
    uint32_t deadline_ms; // wall time of one event, longest that the author admits
    // Attack surface: bytes by origin, measured when the image was linked.
    uint32_t application_text_bytes, application_data_bytes;
    uint32_t library_text_bytes, library_data_bytes;
    uint32_t zero2;
};

struct manifest_flow {
    char name[MANIFEST_NAME_BYTES];
    uint8_t schema_digest[SCHEMA_DIGEST_BYTES];
    uint16_t schema;    // index into this manifest's schema blocks
    uint16_t kind;      // enum manifest_flow_kind. REQUEST output: its reply arrives on input `pair`.
    uint16_t pair;      // REQUEST: index of the input that takes the reply; REQUEST input: index of the output that replies; else 0xffff
    uint16_t count_max; // outputs: messages per event at most; inputs: 0
};

// The image holds code that lays out keys, so it names the fields; the system must name the same ones.
struct manifest_namespace {
    char name[MANIFEST_NAME_BYTES];
    uint8_t schema_digest[SCHEMA_DIGEST_BYTES];
    uint16_t schema;
    uint16_t access; // bit 0 read, bit 1 write
    uint16_t key_count;   // 1..MANIFEST_KEY_FIELDS_MAX
    uint16_t index_count; // 0: no secondary index
    uint16_t key_fields[MANIFEST_KEY_FIELDS_MAX];   // schema field indices; 0 behind the count
    uint16_t index_fields[MANIFEST_KEY_FIELDS_MAX];
};

struct manifest_refusal {
    char name[MANIFEST_NAME_BYTES]; // "malformed-json"
};

_Static_assert(sizeof(struct manifest_header) == 112, "manifest_header");
_Static_assert(sizeof(struct manifest_flow) == 72, "manifest_flow");
_Static_assert(sizeof(struct manifest_namespace) == 88, "manifest_namespace");

struct manifest { // a view into accepted bytes; they outlive it
    const struct manifest_header *header;
    const struct manifest_flow *inputs, *outputs;
    const struct manifest_namespace *namespaces;
    const struct manifest_refusal *refusals;
    struct schema schemas[MANIFEST_SCHEMAS_MAX];
};

// Checks everything, schema blocks included (not their digests: core has no hash; hosts compare).
// bytes is 8-byte aligned.
enum status manifest_open(struct manifest *manifest, const uint8_t *bytes, size_t size) MUST_USE;

#endif
