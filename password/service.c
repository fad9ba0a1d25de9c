// SPDX-License-Identifier: ISC
// DELIVER password-request/1 -> EFFECTS with SEND password-reply/1 and END. A request that does not
// pass its schema is answered with a refusal of the event, never with an entry.
#include "password/service.h"

#include "proto/builtin.h"

#include <string.h>

struct answer {
    struct link_effects effects;
    struct abi_send send;
    struct builtin_password_reply reply;
    struct abi_end end;
};
_Static_assert(sizeof(struct answer) == sizeof(struct link_effects) + sizeof(struct abi_send) +
                                            sizeof(struct builtin_password_reply) + sizeof(struct abi_end),
               "answer");

static enum status refuse(struct service *service, uint64_t handle)
{
    struct link_effects effects = {.header = {sizeof effects, LINK_EFFECTS, 0, handle},
                                   .outcome = LINK_CONTRACT};
    strncpy(effects.text, "not a password-request/1", sizeof effects.text - 1);
    return channel_send(&service->link.channel, &effects, sizeof effects);
}

static enum status reply(struct service *service, uint64_t handle, uint16_t principal)
{
    struct answer answer = {
        .effects = {.header = {sizeof answer, LINK_EFFECTS, 0, handle},
                    .outcome = LINK_ENDED,
                    .record_bytes = sizeof answer - sizeof answer.effects},
        .send = {.record = {sizeof answer.send + sizeof answer.reply, ABI_SEND, 0},
                 .flags = ABI_SEND_REPLY,
                 .payload_bytes = sizeof answer.reply},
        .reply = {.is_accepted = principal != 0, .principal = principal},
        .end = {.record = {sizeof answer.end, ABI_END, 0}, .verdict = ABI_END_DONE},
    };
    return channel_send(&service->link.channel, &answer, sizeof answer);
}

enum status service_take(void *context, const struct link_deliver *deliver, const uint8_t *message)
{
    struct service *service = context;
    const uint8_t *name, *password;
    uint16_t field;
    if (schema_check(service->request, message, deliver->payload_bytes, &field) != REASON_DONE)
        return refuse(service, deliver->header.handle);
    int user_field = schema_field_index(service->request, "user");
    int password_field = schema_field_index(service->request, "password");
    size_t name_bytes = schema_bytes(service->request, (uint16_t)user_field, message,
                                     deliver->payload_bytes, &name);
    size_t password_bytes = schema_bytes(service->request, (uint16_t)password_field, message,
                                         deliver->payload_bytes, &password);
    users_refresh(&service->users);
    uint16_t principal = users_check(&service->users, service->system, name, name_bytes, password,
                                     password_bytes);
    return reply(service, deliver->header.handle, principal);
}

enum status service_init(struct service *service, const struct system_view *system, uint32_t index,
                         int directory_fd, int link_fd)
{
    const struct system_service *own = &system->services[index];
    service->system = system;
    service->request = &system->schemas[system->flows[own->request_flow].schema];
    service->link.capacity = SERVICE_CAPACITY;
    service->link.take = service_take;
    service->link.context = service;
    service_link_init(&service->link, link_fd);
    return users_init(&service->users, directory_fd);
}
