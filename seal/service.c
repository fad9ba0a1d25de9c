// SPDX-License-Identifier: ISC
// DELIVER -> EFFECTS with one SEND, or a refusal: what does not open, or is not what it says.
#include "seal/service.h"

#include "core/check.h"
#include "core/schema_builtin.h"
#include "proto/builtin.h"

#include <sodium.h>
#include <string.h>

_Static_assert(BOX_TAG_BYTES == BUILTIN_TAG_BYTES, "a tag fills its field");

static size_t turn_seal(struct service *service, uint64_t number, const uint8_t *message, size_t size, uint8_t *out)
{
    struct builtin_sealed head = {.serial = number, .box_bytes = (uint16_t)(size + BOX_MORE_BYTES)};
    if (size + BOX_MORE_BYTES > BUILTIN_BOX_BYTES_MAX)
        return 0; // the compiler refuses such schemas
    memcpy(out, &head, BUILTIN_SEALED_BYTES);
    box_seal(&service->box, number, message, size, out + BUILTIN_SEALED_BYTES);
    return ABI_ALIGN8(BUILTIN_SEALED_BYTES + head.box_bytes);
}

static size_t turn_open(struct service *service, const uint8_t *message, size_t size, uint8_t *out)
{
    struct builtin_sealed head = {0};
    memcpy(&head, message, BUILTIN_SEALED_BYTES);
    if (head.box_bytes < BOX_MORE_BYTES || BUILTIN_SEALED_BYTES + head.box_bytes > size ||
        box_open(&service->box, head.serial, message + BUILTIN_SEALED_BYTES, head.box_bytes, out) != STATUS_OK)
        return 0;
    return head.box_bytes - BOX_MORE_BYTES;
}

static size_t turn_sign(struct service *service, uint64_t number, const uint8_t *message, size_t size, uint8_t *out)
{
    size_t inner_bytes = service->inner->header->struct_bytes;
    struct builtin_signature *signature = (void *)(out + inner_bytes);
    memcpy(out, message, size); // the unused tail of its last text is zero
    signature->serial = number;
    signature->tag_bytes = BOX_TAG_BYTES;
    box_tag(&service->box, number, out, inner_bytes, signature->tag);
    return inner_bytes + sizeof *signature;
}

static size_t turn_verify(struct service *service, const uint8_t *message, size_t size, uint8_t *out)
{
    size_t inner_bytes = service->inner->header->struct_bytes;
    struct builtin_signature signature;
    uint8_t tag[BOX_TAG_BYTES];
    if (size != inner_bytes + sizeof signature)
        return 0;
    memcpy(&signature, message + inner_bytes, sizeof signature);
    box_tag(&service->box, signature.serial, message, inner_bytes, tag);
    if (signature.tag_bytes != BOX_TAG_BYTES || sodium_memcmp(tag, signature.tag, sizeof tag) != 0)
        return 0;
    memcpy(out, message, inner_bytes);
    return schema_envelope_inner_bytes(service->inner, message, size);
}

size_t service_turn(struct service *service, uint64_t number, const uint8_t *message, size_t size, uint8_t *out)
{
    memset(out, 0, ABI_PAYLOAD_BYTES_MAX);
    switch (service->is->kind) {
    case SYSTEM_SERVICE_SEAL:
        return turn_seal(service, number, message, size, out);
    case SYSTEM_SERVICE_OPEN:
        return turn_open(service, message, size, out);
    case SYSTEM_SERVICE_SIGN:
        return turn_sign(service, number, message, size, out);
    default:
        return turn_verify(service, message, size, out);
    }
}

static enum status answer(struct service *service, uint64_t handle, const uint8_t *payload, size_t size)
{
    struct link_effects effects = {.header = {sizeof effects, LINK_EFFECTS, 0, handle}, .outcome = LINK_REFUSED};
    size_t padded = ABI_ALIGN8(size);
    struct abi_send send = {.record = {(uint32_t)(sizeof send + padded), ABI_SEND, 0}, .payload_bytes = (uint32_t)size};
    struct abi_end end = {.record = {sizeof end, ABI_END, 0}, .verdict = ABI_END_DONE};
    if (size == 0)
        return channel_send(&service->link.channel, &effects, sizeof effects);
    effects.outcome = LINK_ENDED;
    effects.record_bytes = send.record.size + end.record.size;
    effects.header.size += effects.record_bytes;
    const struct channel_part parts[] = {{&effects, sizeof effects}, {&send, sizeof send}, {payload, padded}, {&end, sizeof end}};
    return channel_send_parts(&service->link.channel, parts, 4);
}

static enum status take(void *context, const struct link_deliver *deliver, const uint8_t *message)
{
    static _Alignas(8) uint8_t out[ABI_PAYLOAD_BYTES_MAX];
    struct service *service = context;
    const struct schema *schema = &service->system->schemas[service->system->flows[service->is->request_flow].schema];
    uint16_t field;
    if (schema_check(schema, message, deliver->payload_bytes, &field) != REASON_DONE) // the router has checked it
        return STATUS_MALFORMED;
    size_t made = service_turn(service, deliver->number, message, deliver->payload_bytes, out);
    enum status status = answer(service, deliver->header.handle, out, made);
    sodium_memzero(out, sizeof out);
    return status;
}

enum status service_init(struct service *service, const struct system_view *system, uint32_t index, const char *key,
                         size_t key_bytes, int link_fd)
{
    uint8_t label[BOX_LABEL_BYTES] = {0};
    const struct system_service *is = service->is = &system->services[index];
    int is_sender = is->kind == SYSTEM_SERVICE_SEAL || is->kind == SYSTEM_SERVICE_SIGN;
    service->system = system;
    service->inner = &system->schemas[system->flows[is_sender ? is->request_flow : is->reply_flow].schema];
    memcpy(label, is->channel, sizeof is->channel);
    memcpy(label + sizeof is->channel, service->inner->header->digest, SCHEMA_DIGEST_BYTES);
    service->link.capacity = SERVICE_CAPACITY;
    service->link.take = take;
    service->link.context = service;
    service_link_init(&service->link, link_fd);
    return box_init(&service->box, key, key_bytes, label);
}
