// SPDX-License-Identifier: ISC
// Effects: records in the output region, one behind the other.
//
// published_bytes always counts every whole record, so that the host finds the last log records
// of an instance that crashed. Of a batch, the events that have ended leave early when this one needs their room: each
// event has the whole output for itself.
#include "guest/library/guest.h"

static void ended_leave(struct guest *guest, struct abi_output *output)
{
    uint8_t *records = (uint8_t *)(output + 1);
    uint32_t own_bytes = output->published_bytes - guest->event_at;

    output->published_bytes = guest->event_at;
    guest_wait();
    memmove(records, records + guest->event_at, own_bytes);
    output->published_bytes = own_bytes;
    guest->event_at = 0;
}

void *guest_record(uint16_t kind, size_t size, const char *what)
{
    struct guest *guest = guest_state();
    struct abi_output *output = (struct abi_output *)guest->boot->output;
    size_t most = ABI_OUTPUT_BYTES - sizeof *output;

    if (!guest->is_in_event && !guest->is_failing)
        fail("%s in init: only an event has effects", what);
    if (kind == ABI_END)
        most -= GUEST_RESERVE_BYTES - sizeof(struct abi_end);
    else if (!guest->is_failing)
        most -= GUEST_RESERVE_BYTES;
    if (size > most - output->published_bytes && guest->event_at != 0 && !guest->is_failing)
        ended_leave(guest, output);
    if (size > most - output->published_bytes)
        fail("%s: needs %zu bytes of output, %zu are left in this event", what, size,
             most - output->published_bytes);
    struct abi_record *record =
        (struct abi_record *)((uint8_t *)(output + 1) + output->published_bytes);
    record->size = (uint32_t)size;
    record->kind = kind;
    record->zero = 0;
    output->published_bytes += (uint32_t)size;
    return record;
}

uint8_t *guest_copy(uint8_t *to, const void *from, size_t bytes)
{
    size_t padded = ABI_ALIGN8(bytes);

    memcpy(to, from, bytes);
    memset(to + bytes, 0, padded - bytes);
    return to + padded;
}

// Ends the event if a length or count is over its capacity; `message` is where the parts' offsets count from.
static void parts_check(const struct crenel_part *parts, unsigned part_count, const uint8_t *message, const char *what)
{
    for (unsigned i = 0; i < part_count; i += 1u + parts[i].inner_count) {
        const struct crenel_part *part = &parts[i];
        if (part->data == 0)
            continue;
        uint16_t count = *(const uint16_t *)(message + part->offset);
        if (count > part->capacity)
            fail("%s: a length or count of %u is over its capacity of %u", what, count,
                 part->capacity);
        for (unsigned j = 0; part->inner_count != 0 && j < count; j++)
            parts_check(part + 1, part->inner_count, message + j * part->element_bytes, what);
    }
}

// Bytes that the message takes on the wire, padding included, of which *used come from the struct.
static size_t message_bytes(const struct crenel_layout *layout, const uint8_t *message,
                            const char *what, size_t *used)
{
    *used = layout->struct_bytes;
    parts_check(layout->parts, layout->part_count, message, what);
    if (layout->is_cut) {
        const struct crenel_part *last = &layout->parts[layout->part_count - 1];
        *used = last->data + (size_t)*(const uint16_t *)(message + last->offset);
    }
    return ABI_ALIGN8(*used);
}

// Zeroes gaps and what is behind each length or count, in the first `used` bytes of `out`.
static void parts_clear(const struct crenel_part *parts, unsigned part_count, uint8_t *out, size_t used)
{
    for (unsigned i = 0; i < part_count; i += 1u + parts[i].inner_count) {
        const struct crenel_part *part = &parts[i];
        size_t from = part->offset, to = part->offset + (size_t)part->capacity;
        if (part->data != 0) {
            uint16_t count = *(const uint16_t *)(out + part->offset);
            from = part->data + (size_t)count * part->element_bytes;
            to = part->data + (size_t)part->capacity * part->element_bytes;
            for (unsigned j = 0; part->inner_count != 0 && j < count; j++)
                parts_clear(part + 1, part->inner_count, out + j * part->element_bytes, used);
        }
        if (to > used)
            to = used;
        if (from < to)
            memset(out + from, 0, to - from);
    }
}

// Writes the one encoding of the message: zero in gaps and behind each length or count.
static void message_encode(const struct crenel_layout *layout, const uint8_t *message, size_t used,
                           uint8_t *out)
{
    guest_copy(out, message, used);
    parts_clear(layout->parts, layout->part_count, out, used);
}

static void send_record(unsigned output, const struct crenel_layout *layout, const void *message, uint16_t flags,
                        uint32_t delay_ms, const void *context, size_t context_bytes)
{
    struct guest *guest = guest_state();
    size_t used;

    if (output >= crenel_limits()->output_count)
        fail("there is no output %u", output);
    const struct crenel_output *port = crenel_output(output);
    if (port->schema != layout->schema)
        fail("%s: sent a message of another schema", port->name);
    if (context_bytes > ABI_CONTEXT_BYTES_MAX)
        fail("%s: a context of %zu bytes, at most 256", port->name, context_bytes);
    if (guest->sent[output] >= port->most)
        fail("%s: more than %u messages in one event (unikernel.yaml: most)", port->name,
             port->most);
    size_t payload_bytes = message_bytes(layout, message, port->name, &used);
    size_t size = sizeof(struct abi_send) + ABI_ALIGN8(context_bytes) + payload_bytes;
    struct abi_send *send = guest_record(ABI_SEND, size, port->name);
    send->flow = (uint16_t)output;
    send->flags = port->is_reply ? ABI_SEND_REPLY : flags;
    send->delay_ms = delay_ms;
    send->context_bytes = (uint32_t)context_bytes;
    send->payload_bytes = (uint32_t)payload_bytes;
    message_encode(layout, message, used, guest_copy((uint8_t *)(send + 1), context, context_bytes));
    guest->sent[output]++;
}

void crenel_send(unsigned output, const struct crenel_layout *layout, const void *message,
                 uint32_t delay_ms, const void *context, size_t context_bytes)
{
    send_record(output, layout, message, 0, delay_ms, context, context_bytes);
}

void crenel_send_receipt(unsigned output, const struct crenel_layout *layout, const void *message, const void *context,
                         size_t context_bytes)
{
    send_record(output, layout, message, ABI_SEND_RECEIPT, 0, context, context_bytes);
}

static struct abi_write *write_record(unsigned namespace_index, uint16_t op,
                                      const struct crenel_key *key, size_t value_bytes)
{
    struct guest *guest = guest_state();
    const char *name = crenel_namespace_name(namespace_index);
    size_t size = sizeof(struct abi_write) + ABI_ALIGN8((size_t)key->size) + value_bytes;

    if (guest->writes >= crenel_limits()->writes_most)
        fail("%s: more than %u store writes in one event (unikernel.yaml: writes)", name,
             crenel_limits()->writes_most);
    struct abi_write *write = guest_record(ABI_WRITE, size, name);
    write->namespace_index = (uint16_t)namespace_index;
    write->op = op;
    write->key_bytes = key->size;
    write->value_bytes = (uint32_t)value_bytes;
    write->zero = 0;
    guest->writes++;
    return write;
}

void crenel_put(unsigned namespace_index, const struct crenel_key *key,
                const struct crenel_layout *layout, const void *record)
{
    size_t used;
    size_t size = message_bytes(layout, record, crenel_namespace_name(namespace_index), &used);
    struct abi_write *write = write_record(namespace_index, ABI_WRITE_PUT, key, size);

    message_encode(layout, record, used, guest_copy((uint8_t *)(write + 1), key->bytes, key->size));
}

void crenel_delete(unsigned namespace_index, const struct crenel_key *key)
{
    struct abi_write *write = write_record(namespace_index, ABI_WRITE_DELETE, key, 0);

    guest_copy((uint8_t *)(write + 1), key->bytes, key->size);
}
