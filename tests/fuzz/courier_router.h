// SPDX-License-Identifier: ISC
// The router of a courier (tests/fuzz/courier.c): what it has delivered and what was brought to it, and a judge of each record.
#ifndef CRENEL_TESTS_COURIER_ROUTER_H
#define CRENEL_TESTS_COURIER_ROUTER_H

#include "tests/fuzz/courier_world.h"

#include "core/records.h"

enum { READING, ORDERS, FLOWS }; // taken; sent
#define HANDLES 512u

static struct {
    uint64_t sequence;                                         // of the last message that was delivered
    enum { ABSENT, DELIVERED, ACKNOWLEDGED } state[HANDLES];   // by handle: the low bits of the sequence
    unsigned acks[HANDLES]; // that were said of it, over any line: 1 done, 2 refused
    unsigned delivered;
    struct bring {
        uint64_t handle, sequence; // 0: none
        int peer;                  // -1: it was answered, or its socket is gone
        uint32_t reason;           // 0: no answer yet
    } brings[HANDLES];
    unsigned brings_used; // the rest is empty
    uint8_t record[8192]; // for the courier
    size_t record_bytes;
    int is_closed, is_bad; // the router: it has ended; it has said something wrong
} router;

// ---- What the courier says to the router ----
enum status __wrap_channel_receive(struct channel *channel, void *bytes, size_t capacity, size_t *size, int wait);
enum status __wrap_channel_send(struct channel *channel, const void *record, size_t size);
enum status __wrap_channel_send_parts(struct channel *channel, const struct channel_part *parts, size_t count);
enum status __wrap_channel_flush(struct channel *channel);

enum status __wrap_channel_flush(struct channel *channel) { return channel == &courier->link ? STATUS_OK : STATUS_CLOSED; }
enum status __wrap_channel_send(struct channel *channel, const void *record, size_t size)
{
    (void)record, (void)size; // HELLO
    return channel == &courier->link ? STATUS_OK : STATUS_CLOSED;
}

enum status __wrap_channel_receive(struct channel *channel, void *bytes, size_t capacity, size_t *size, int wait)
{
    (void)channel, (void)wait;
    must(router.record_bytes <= capacity);
    if (router.record_bytes == 0)
        return router.is_closed ? STATUS_CLOSED : STATUS_AGAIN;
    memcpy(bytes, router.record, router.record_bytes);
    *size = router.record_bytes;
    router.record_bytes = 0;
    return STATUS_OK;
}

static void take_effects(const uint8_t *record, size_t size)
{
    struct link_effects effects;
    struct records_verdict verdict;
    memcpy(&effects, record, sizeof effects);
    size_t place = effects.header.handle % HANDLES;
    must(size == sizeof effects + effects.record_bytes && memchr(effects.text, 0, sizeof effects.text) != NULL);
    must(router.state[place] == ACKNOWLEDGED);
    must((router.acks[place] & (effects.outcome == LINK_ENDED ? 1u : 2u)) != 0);
    if (effects.outcome == LINK_ENDED)
        must(records_judge(record + sizeof effects, effects.record_bytes, 0, &verdict) == STATUS_OK && verdict.kind == RECORDS_DONE);
    else
        must(effects.outcome == LINK_CONTRACT && effects.record_bytes == 0);
    router.state[place] = ABSENT;
    router.delivered--;
}

static void take_bring(const uint8_t *record, size_t size)
{
    struct link_bring bring;
    memcpy(&bring, record, sizeof bring);
    struct peer *peer = &world.peers[world.reading];
    must(size == sizeof bring + ABI_ALIGN8(bring.payload_bytes) && bring.payload_bytes <= ABI_PAYLOAD_BYTES_MAX);
    must(bring.flow == READING && bring.header.handle != 0 && peer->is_there && bring.source.peer == name_of(peer));
    must(bring.source.sequence != 0 && bring.source.previous == peer->brought);
    must(peer->is_forged || (bring.source.sequence == peer->brought + 1 && bring.source.stream == 77));
    for (size_t i = bring.payload_bytes; i < ABI_ALIGN8(bring.payload_bytes); i++)
        must(record[sizeof bring + i] == 0);
    for (size_t i = 0; i < bring.payload_bytes; i++)
        must(peer->is_forged || record[sizeof bring + i] == (uint8_t)bring.source.sequence);
    peer->brought = bring.source.sequence;
    struct bring *place = NULL;
    for (unsigned i = 0; i < router.brings_used; i++) {
        must(router.brings[i].handle != bring.header.handle);
        place = router.brings[i].handle == 0 ? &router.brings[i] : place;
    }
    if (place == NULL) {
        must(router.brings_used < HANDLES);
        place = &router.brings[router.brings_used++];
    }
    *place = (struct bring){bring.header.handle, bring.source.sequence, world.reading, 0};
}

enum status __wrap_channel_send_parts(struct channel *channel, const struct channel_part *parts, size_t count)
{
    static _Alignas(8) uint8_t record[LINK_BYTES_MAX];
    struct link_header head;
    size_t size = 0;
    must(channel == &courier->link);
    for (size_t i = 0; i < count; size += parts[i++].size)
        if (parts[i].size != 0)
            memcpy(record + size, parts[i].bytes, parts[i].size);
    memcpy(&head, record, sizeof head);
    must(head.size == size && head.zero == 0 && (head.kind == LINK_EFFECTS || head.kind == LINK_BRING));
    if (head.kind == LINK_EFFECTS)
        take_effects(record, size);
    else
        take_bring(record, size);
    return STATUS_OK;
}

#endif
