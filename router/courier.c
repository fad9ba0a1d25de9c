// SPDX-License-Identifier: ISC
// What couriers bring from other nodes (proto/link.h).
//
// BRING becomes a message to the courier's arrivals, a receiver that nobody is behind. It waits there in order, as all
// messages wait: for tokens of its flow and room at the flow's receivers. Then its event is made here, as if the
// courier had sent that one message: judged, committed with its source, and told to the courier (BROUGHT).
//
// Many of a flow are under way at once, also where its checks keep state: each is judged by the state that the one before
// it will leave, although that one is not committed yet. This is sound where nothing can come between the two:
//   - What has begun on such a flow is one row, of neighbours in one peer's stream: each names the one before it as
//     `previous`. COMMITs are offered in that order, and the store takes none whose `previous` it has not had. So if one
//     is not taken now, because the disk is full, none behind it is: they keep their keys and their verdicts, and are
//     offered again in order. One that is refused has its place in the row, as a dead letter that changes no state.
//   - What the store has had before (DUPLICATE) leaves no state, but was judged as if it would; nobody may go on from it.
//     A peer sends such messages at the beginning of a line. So the flow comes *in step* with the first message that the
//     store took: it begins alone, and what stands behind it in the stream the store cannot have had.
//   - If the first of a row is EARLY, what stands before it was lost on the way here (LOST), and may stand behind it in the
//     queue: it is given up, and brought again.
//   - Who is not next in the row (of another peer, of a new line) waits until all of it has ended, and begins another.
//     Of the row only those go before him that were there when he had to wait, so peers take turns.
#include "router/state.h"

#include "core/flow_check.h"

#include <string.h>

static struct receiver *arrivals_of(const struct engine *engine, uint32_t place)
{
    return &engine->receivers[place + engine->system->courier_count];
}

void courier_attach(struct engine *engine, uint32_t place)
{
    if (!is_courier(engine, place))
        return;
    struct receiver *arrivals = arrivals_of(engine, place);
    arrivals->capacity = arrivals->instances_max = arrivals->is->instances_max;
    arrivals->batch = 1;
    arrivals->is_attached = 1;
}

static void answer(struct engine *engine, uint32_t place, uint64_t handle, uint32_t reason)
{
    struct link_brought brought = {.reason = reason};
    tell(engine, ENGINE_RECEIVER, place, LINK_BROUGHT, handle, &brought.reason,
         sizeof brought - offsetof(struct link_brought, reason));
}

enum status bring_receive(struct engine *engine, const struct packet *packet)
{
    const struct system_view *system = engine->system;
    struct link_bring bring;
    memcpy(&bring, packet->bytes, sizeof bring);
    if (!is_courier(engine, packet->index) || !engine->receivers[packet->index].is_attached ||
        bring.flow >= system->flow_count || bring.payload_bytes > ABI_PAYLOAD_BYTES_MAX ||
        packet->size != sizeof bring + ABI_ALIGN8(bring.payload_bytes))
        return STATUS_MALFORMED;
    uint32_t courier = packet->index - (uint32_t)(system->unikernel_count + system->service_count);
    const struct system_flow *flow = &system->flows[bring.flow];
    if (flow->sender_kind != SYSTEM_COURIER || flow->sender != courier ||
        bring.source.peer >= system->couriers[courier].peer_count)
        return STATUS_MALFORMED;
    if (engine->flows[bring.flow].brought == LINK_BRINGS_MAX) { // also what the process before this one left
        answer(engine, packet->index, packet->handle, REASON_LOST);
        return STATUS_OK;
    }
    struct sending sending = {
        .send = {.flow = bring.flow,
                 .receiver = (uint16_t)(packet->index + system->courier_count),
                 .context_bytes = sizeof bring.source,
                 .payload_bytes = bring.payload_bytes,
                 .principal = system->couriers[courier].peers[bring.source.peer].principal,
                 .connection = packet->handle},
        .context = (const uint8_t *)&bring.source,
        .payload = packet->bytes + sizeof bring};
    struct message *message = message_new(engine, &sending);
    message->is_brought = 1;
    if (flow_state_words(system, flow) != 0)
        message->bucket = bring.flow;
    engine->flows[bring.flow].brought++;
    message_enqueue(engine, message);
    return STATUS_OK;
}

static int is_neighbour(const struct flow_state *flow, const struct link_source *source)
{
    const struct link_source *last = &flow->last;
    return flow->is_in_step && source->peer == last->peer && source->stream == last->stream &&
           source->previous == last->sequence && source->sequence > last->sequence;
}

static struct link_source source_of(const struct message *message)
{
    struct link_source source;
    memcpy(&source, message->body + ABI_ALIGN8(message->send.payload_bytes), sizeof source);
    return source;
}

int brought_is_next(struct engine *engine, const struct message *message)
{
    struct flow_state *flow = &engine->flows[message->send.flow];
    struct link_source source = source_of(message);
    if (!is_neighbour(flow, &source)) {
        flow->turn = flow->turn != 0 ? flow->turn : engine->order;
        return 0;
    }
    return flow->turn == 0 || message->order <= flow->turn;
}

// The row on a flow whose checks keep state.
static void row_join(struct engine *engine, const struct message *message)
{
    struct flow_state *flow = &engine->flows[message->send.flow];
    struct link_source source = source_of(message);
    if (receiver_of(engine, message)->busy[message->bucket] == 1) { // it is the first
        flow->is_in_step = is_neighbour(flow, &source) != 0;
        flow->turn = 0;
    }
    flow->last = source;
}

int brought_is_orphan(const struct engine *engine, const struct message *message)
{
    return message->is_brought && message->bucket != ROUTER_BUCKETS && !engine->flows[message->send.flow].is_in_step;
}

void brought_start(struct engine *engine, struct message *message)
{
    if (message->bucket != ROUTER_BUCKETS)
        row_join(engine, message);
    const struct system_unikernel *is = receiver_of(engine, message)->is;
    struct event *event = message->event;
    uint32_t padded = ABI_ALIGN8(message->send.payload_bytes);
    struct abi_send send = {.record = {.size = (uint32_t)sizeof send + padded, .kind = ABI_SEND},
                            .payload_bytes = message->send.payload_bytes};
    struct abi_end end = {.record = {.size = sizeof end, .kind = ABI_END}, .verdict = ABI_END_DONE};
    while (is->outputs[send.flow] != message->send.flow)
        send.flow++;
    memcpy(event->records, &send, sizeof send);
    memset(event->records + sizeof send, 0, padded);
    memcpy(event->records + sizeof send, message->body, message->send.payload_bytes);
    memcpy(event->records + send.record.size, &end, sizeof end);
    event->record_bytes = send.record.size + end.record.size;
    event->failure = REASON_DONE;
    event->is_paid = 1; // at its start
    event_judge(engine, message);
}

void brought_finish(struct engine *engine, const struct message *message)
{
    engine->flows[message->send.flow].brought--;
    answer(engine, message->send.receiver - (uint32_t)engine->system->courier_count, message->send.connection,
           message->reason);
}

void courier_close(struct engine *engine, uint32_t place)
{
    if (!is_courier(engine, place))
        return;
    struct receiver *arrivals = arrivals_of(engine, place);
    arrivals->is_attached = 0;
    // What has not begun is brought again by whoever sent it; what has begun ends.
    while (arrivals->queue.next != &arrivals->queue) {
        struct message *message = arrivals->queue.next;
        message_dequeue(engine, message);
        message->reason = REASON_LOST;
        message_finish(engine, message);
    }
}
