// SPDX-License-Identifier: ISC
// The signature of a compiled system: Ed25519 over every byte behind struct system_signature.
//
// The public key in the block only says whose signature it claims to be; trust comes from the key
// that the caller gives. A file is good if and only if its block is well formed, names that key, and the
// signature over exactly body_bytes bytes, which end with the file, verifies under it.
#include "host/system_file.h"

#include "core/check.h"
#include "core/flow_check.h"
#include "core/manifest.h"
#include "proto/system.h"

#include <sodium.h>
#include <string.h>

void system_sign(uint8_t *bytes, size_t size, const uint8_t secret_key[64])
{
    struct system_signature signature = {.magic = SYSTEM_MAGIC, .version = SYSTEM_VERSION};
    check(size > sizeof signature && size <= SYSTEM_BYTES_MAX);
    check(sodium_init() >= 0);
    signature.body_bytes = (uint32_t)(size - sizeof signature);
    check(crypto_sign_ed25519_sk_to_pk(signature.public_key, secret_key) == 0);
    check(crypto_sign_detached(signature.signature, NULL, bytes + sizeof signature,
                               signature.body_bytes, secret_key) == 0);
    memcpy(bytes, &signature, sizeof signature);
}

enum status system_verify(const uint8_t *bytes, size_t size, const uint8_t public_key[32],
                          const char **why)
{
    static const uint8_t zero[64];
    struct system_signature signature;
    *why = "the file is too short or too long for a compiled system";
    if (size <= sizeof signature || size > SYSTEM_BYTES_MAX)
        return STATUS_MALFORMED;
    memcpy(&signature, bytes, sizeof signature);
    *why = "not a compiled system";
    if (signature.magic != SYSTEM_MAGIC)
        return STATUS_MALFORMED;
    *why = "a version that this program does not speak";
    if (signature.version != SYSTEM_VERSION)
        return STATUS_VERSION;
    *why = "the file does not have the length that it names";
    if (signature.body_bytes != size - sizeof signature)
        return STATUS_TRUNCATED;
    *why = "reserved bytes of the signature block are not zero";
    if (memcmp(signature.zero, zero, sizeof signature.zero) != 0)
        return STATUS_MALFORMED;
    *why = "the compiled system is not signed";
    if (memcmp(signature.signature, zero, sizeof zero) == 0)
        return STATUS_SIGNATURE;
    *why = "the compiled system is signed with another key";
    if (memcmp(signature.public_key, public_key, sizeof signature.public_key) != 0)
        return STATUS_SIGNATURE;
    *why = "the signature does not match: the compiled system was changed after it was signed";
    if (sodium_init() < 0 ||
        crypto_sign_verify_detached(signature.signature, bytes + sizeof signature,
                                    signature.body_bytes, public_key) != 0)
        return STATUS_SIGNATURE;
    *why = NULL;
    return STATUS_OK;
}

void system_namespace_digest(const struct system_view *system, size_t index, uint8_t digest[32])
{
    const struct system_namespace *space = &system->namespaces[index];
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, system->schemas[space->schema].header->digest, 32);
    crypto_hash_sha256_update(&state, (const uint8_t *)&space->key_count, 4); // key_count, index_count
    crypto_hash_sha256_update(&state, (const uint8_t *)space->key_fields,
                              space->key_count * sizeof space->key_fields[0]);
    crypto_hash_sha256_update(&state, (const uint8_t *)space->index_fields,
                              space->index_count * sizeof space->index_fields[0]);
    crypto_hash_sha256_final(&state, digest);
}

#define FORM_KIND_BITS 0xffu

static int goes_to_connections(const struct system_view *system, const struct system_flow *flow)
{
    const struct system_receiver *receiver = &flow->receivers[0]; // all are, or none
    return receiver->kind == SYSTEM_UNIKERNEL && system->unikernels[receiver->index].lifetime == LIFETIME_CONNECTION;
}

uint64_t system_flow_form(const struct system_view *system, size_t index)
{
    const struct system_flow *flow = &system->flows[index];
    struct system_receiver sender = {.kind = flow->sender_kind, .index = flow->sender};
    uint16_t place = system_place(system, &sender);
    const char *name = place != SYSTEM_NONE ? system_place_name(system, place) : "";
    uint64_t kind = 1 | (uint64_t)flow->kind << 1 | (uint64_t)(flow->is_broadcast != 0) << 3 |
                    (uint64_t)(goes_to_connections(system, flow) != 0) << 4;
    return kind | (uint64_t)flow_name_hash(flow_name_hash(FLOW_NAME_HASH, name), place != SYSTEM_NONE ? "." : "") << 8;
}

const char *system_misfit(const struct system_view *system, const struct system_waiting *waiting)
{
    if (waiting->flow < 0)
        return "is not in the new version";
    const struct system_flow *flow = &system->flows[waiting->flow];
    uint64_t differs = waiting->form != 0 ? waiting->form ^ system_flow_form(system, (size_t)waiting->flow) : 0;
    if (memcmp(waiting->digest, system->schemas[flow->schema].header->digest, 32) != 0)
        return "has another schema in the new version";
    if (waiting->place < 0 || system_port(system, flow, (uint16_t)waiting->place) == SYSTEM_NONE)
        return "no longer goes there";
    if (!flow->is_durable)
        return "is no longer durable";
    if ((differs & FORM_KIND_BITS) != 0)
        return "is of another kind in the new version (plain, request, reply, to each connection that joined)";
    if (waiting->receipts != 0 &&
        (!system_has_receipts(flow) || system_receipts(system, flow->sender) == SYSTEM_NONE))
        return "no longer comes from one who takes the receipts that they promise";
    if (differs != 0 && (flow->kind == SYSTEM_REQUEST || waiting->receipts != 0))
        return "comes from another in the new version, who would get what is meant for the one who sent them";
    return NULL;
}
