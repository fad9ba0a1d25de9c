// SPDX-License-Identifier: ISC
// One COMMIT. It is walked three times: to check every bound, to validate, to write; the last two use the
// same walk on bytes that the first has accepted.
#include "store/commit.h"

#include "core/check.h"
#include "store/audit_events.h"
#include "store/audit_rows.h"
#include "store/audit_text.h"
#include "store/counters.h"
#include "store/dead_letters.h"
#include "store/kept.h"
#include "store/names.h"
#include "store/records.h"
#include "store/refusal.h"
#include "store/spool.h"

#include <string.h>

#define COUNTER_STEP_MAX (1ull << 40) // of one counter in one COMMIT: far from where the sum leaves 63 bits

// Takes parts off the front of bytes; is_bad stays set once something did not fit.
struct walk {
    const uint8_t *bytes;
    size_t size, at;
    int is_bad;
};

static const uint8_t *take(struct walk *walk, size_t size)
{
    size_t padded = ABI_ALIGN8(size);
    if (walk->is_bad || padded < size || padded > walk->size - walk->at) {
        walk->is_bad = 1;
        return NULL;
    }
    const uint8_t *part = walk->bytes + walk->at;
    walk->at += padded;
    return part;
}

static int take_struct(struct walk *walk, void *out, size_t size)
{
    const uint8_t *part = take(walk, size);
    if (part != NULL)
        memcpy(out, part, size);
    return part != NULL;
}

struct view {
    struct commit_header header;
    size_t reads, writes, sends, states, counters, dead; // offsets of the sections
    struct link_source source; // if the header says that there is one
};

static void check_reads(struct walk *walk, const struct store *store, unsigned count)
{
    struct commit_read read;
    for (; count > 0 && take_struct(walk, &read, sizeof read); count--) {
        (void)take(walk, read.from_bytes);
        if (read.namespace_index >= store->system->namespace_count || read.op < ABI_READ_GET ||
            read.op > ABI_READ_INDEX || read.from_bytes > ABI_KEY_BYTES_MAX)
            walk->is_bad = 1;
    }
}

static void check_writes(struct walk *walk, const struct store *store, unsigned count)
{
    struct commit_write write;
    for (; count > 0 && take_struct(walk, &write, sizeof write); count--) {
        (void)take(walk, write.key_bytes);
        (void)take(walk, write.index_bytes);
        (void)take(walk, write.value_bytes);
        if (write.namespace_index >= store->system->namespace_count ||
            (write.op != ABI_WRITE_PUT && write.op != ABI_WRITE_DELETE) || write.key_bytes == 0 ||
            write.key_bytes > ABI_KEY_BYTES_MAX || write.value_bytes > ABI_PAYLOAD_BYTES_MAX)
            walk->is_bad = 1;
    }
}

// Such a COMMIT can be neither stale nor too much: what its sends have begun is never taken back.
static int may_be_kept(const struct store *store, const struct commit_header *header, const struct commit_send *send)
{
    const struct system_flow *flow = &store->system->flows[send->flow];
    return system_flow_is_keepable(flow) && send->receiver == flow->receivers[0].index && send->due_ms == 0 &&
           send->key_bytes <= SYSTEM_KEY_BYTES_MAX && header->first != 0 && header->read_count == 0 &&
           header->write_count == 0 && header->source_count == 0;
}

static void check_sends(struct walk *walk, const struct store *store, const struct commit_header *header)
{
    struct commit_send send;
    for (unsigned count = header->send_count; count > 0 && take_struct(walk, &send, sizeof send); count--) {
        (void)take(walk, send.key_bytes);
        (void)take(walk, send.context_bytes);
        (void)take(walk, send.payload_bytes);
        if (send.flow >= store->system->flow_count ||
            send.receiver >= system_places(store->system) ||
            send.payload_bytes > ABI_PAYLOAD_BYTES_MAX || send.context_bytes > ABI_CONTEXT_BYTES_MAX ||
            (send.flags == COMMIT_RECEIPT && !spool_makes_receipts(store, send.flow)) ||
            (send.flags == COMMIT_KEPT && !may_be_kept(store, header, &send)) || send.flags > COMMIT_KEPT)
            walk->is_bad = 1;
    }
}

// Name of the peer that sent it; NULL: there is none.
static const char *arrival_peer(const struct store *store, const struct view *view)
{
    uint16_t flow = view->header.flow;
    if (flow >= store->system->flow_count || store->system->flows[flow].sender_kind != SYSTEM_COURIER)
        return NULL;
    const struct system_courier *courier = &store->system->couriers[store->system->flows[flow].sender];
    return view->source.peer < courier->peer_count ? courier->peers[view->source.peer].name : NULL;
}

static sqlite3_stmt *arrival_statement(struct store *store, const struct view *view, enum statement which)
{
    sqlite3_stmt *statement = store_statement(store, which);
    bind_integer(statement, 1, store->flow_ids[view->header.flow]);
    check(sqlite3_bind_text(statement, 2, arrival_peer(store, view), -1, SQLITE_STATIC) == SQLITE_OK);
    return statement;
}

// Is it the next one of its stream? Another stream begins with whatever comes first.
static enum status validate_source(struct store *store, const struct view *view, enum commit_result *result)
{
    sqlite3_stmt *row = arrival_statement(store, view, STATEMENT_ARRIVAL_GET);
    enum status status = store_step(store, row);
    uint64_t last = 0;
    if (status == STATUS_OK && (uint64_t)sqlite3_column_int64(row, 0) == view->source.stream)
        last = (uint64_t)sqlite3_column_int64(row, 1);
    sqlite3_reset(row);
    if (status != STATUS_OK && status != STATUS_ABSENT)
        return status;
    if (view->source.sequence <= last)
        *result = COMMIT_DUPLICATE;
    else if (view->source.previous > last)
        *result = COMMIT_EARLY;
    return STATUS_OK;
}

static enum status apply_source(struct store *store, const struct view *view)
{
    if (view->header.source_count == 0)
        return STATUS_OK;
    sqlite3_stmt *statement = arrival_statement(store, view, STATEMENT_ARRIVAL_SET);
    bind_integer(statement, 3, (int64_t)view->source.stream);
    bind_integer(statement, 4, (int64_t)view->source.sequence);
    return store_run(store, statement);
}

static void take_refusal(struct walk *walk, const struct store *store, const struct commit_dead *dead, struct refusal *refusal)
{
    if (dead->refusal_bytes == 0 || !take_struct(walk, &refusal->is, sizeof refusal->is))
        return;
    refusal->state = take(walk, refusal->is.state_bytes);
    refusal->message = take(walk, refusal->is.message_bytes);
    walk->is_bad |= dead->refusal_bytes != sizeof refusal->is || !refusal_is_valid(store->system, refusal);
}

static enum status parse(struct view *view, const struct store *store, const uint8_t *packet,
                         size_t size)
{
    struct walk walk = {packet, size, 0, 0};
    struct commit_header *header = &view->header;
    if (!take_struct(&walk, header, sizeof *header) || header->packet.size != size)
        return STATUS_MALFORMED;
    view->reads = walk.at;
    check_reads(&walk, store, header->read_count);
    view->writes = walk.at;
    check_writes(&walk, store, header->write_count);
    view->sends = walk.at;
    check_sends(&walk, store, header);
    view->states = walk.at;
    struct commit_state state;
    for (unsigned i = 0; i < header->state_count && take_struct(&walk, &state, sizeof state); i++) {
        (void)take(&walk, state.key_bytes);
        (void)take(&walk, state.part_bytes);
        walk.is_bad |= state.flow >= store->system->flow_count || state.key_bytes > SYSTEM_KEY_BYTES_MAX ||
                       state.part_bytes > COMMIT_PARTS_BYTES_MAX;
    }
    view->counters = walk.at;
    struct commit_counter counter;
    for (unsigned i = 0; i < header->counter_count && take_struct(&walk, &counter, sizeof counter); i++)
        walk.is_bad |= !counter_is_valid(store, counter.index) || counter.value > COUNTER_STEP_MAX;
    view->dead = walk.at;
    struct commit_dead dead;
    struct refusal refusal;
    if (header->dead_count == 1 && take_struct(&walk, &dead, sizeof dead)) {
        (void)take(&walk, dead.text_bytes);
        (void)take(&walk, dead.crash_bytes);
        take_refusal(&walk, store, &dead, &refusal);
        (void)take(&walk, dead.payload_bytes);
        walk.is_bad |= dead.crash_bytes != 0 && dead.crash_bytes != sizeof(struct link_crash);
        walk.is_bad |= dead.text_bytes > COMMIT_TEXT_BYTES_MAX;
    }
    if (header->source_count == 1 && take_struct(&walk, &view->source, sizeof view->source))
        walk.is_bad |= arrival_peer(store, view) == NULL;
    return walk.is_bad || walk.at != size || header->dead_count > 1 || header->source_count > 1 ||
                   header->is_kept > 1 || (header->is_kept != 0 && header->consume == 0) ? STATUS_MALFORMED
                                                                                               : STATUS_OK;
}

static enum status validate_reads(struct store *store, const struct view *view, struct walk walk,
                                  enum commit_result *result)
{
    struct commit_read read;
    for (unsigned i = 0; i < view->header.read_count; i++) {
        check(take_struct(&walk, &read, sizeof read));
        const uint8_t *key = take(&walk, read.from_bytes);
        uint64_t version = store->state.versions[read.namespace_index];
        if (read.op == ABI_READ_GET) {
            enum status status = records_version(store, read.namespace_index, key,
                                                 read.from_bytes, &version);
            if (status != STATUS_OK)
                return status;
        }
        if (version != read.version)
            *result = COMMIT_CONFLICT;
    }
    return STATUS_OK;
}

// Would the writes exceed records_max? Deletes of the same commit make no room: the bound is kept at each write.
static enum status validate_writes(struct store *store, const struct view *view, struct walk walk,
                                   enum commit_result *result)
{
    uint64_t added[SYSTEM_NAMESPACES_MAX] = {0};
    struct commit_write write;
    for (unsigned i = 0; i < view->header.write_count; i++) {
        check(take_struct(&walk, &write, sizeof write));
        const uint8_t *key = take(&walk, write.key_bytes);
        (void)take(&walk, write.index_bytes);
        (void)take(&walk, write.value_bytes);
        if (write.op != ABI_WRITE_PUT)
            continue;
        uint64_t version;
        unsigned space = write.namespace_index;
        enum status status = records_version(store, space, key, write.key_bytes, &version);
        if (status != STATUS_OK)
            return status;
        if (version == 0 && store->state.records[space] + ++added[space] >
                                store->system->namespaces[space].records_max)
            *result = COMMIT_REFUSED;
    }
    return STATUS_OK;
}

// What the sends add to each flow must fit it, the consumed input left out: the router holds room for it, or what can
// give way makes some.
static int has_room(const struct store *store, const struct view *view, struct walk walk,
                    const struct outbox_row *consumed)
{
    struct spooled added[SYSTEM_FLOWS_MAX] = {{0, 0, 0}};
    struct commit_send send;
    for (unsigned i = 0; i < view->header.send_count; i++) {
        check(take_struct(&walk, &send, sizeof send));
        (void)take(&walk, send.key_bytes);
        (void)take(&walk, send.context_bytes);
        (void)take(&walk, send.payload_bytes);
        added[send.flow].count++;
        added[send.flow].bytes += commit_row_bytes(send.key_bytes, send.context_bytes, send.payload_bytes);
    }
    for (unsigned i = 0; i < store->system->flow_count; i++) {
        if (added[i].count != 0 && consumed->flow == (int)i) {
            added[i].count--;
            added[i].bytes -= consumed->bytes < added[i].bytes ? consumed->bytes : added[i].bytes;
        }
        if (added[i].count != 0 && !spool_has_room(store, i, added[i], 1))
            return 0;
    }
    return 1;
}

static enum status apply_writes(struct store *store, const struct view *view, struct walk walk)
{
    struct commit_write write;
    for (unsigned i = 0; i < view->header.write_count; i++) {
        check(take_struct(&walk, &write, sizeof write));
        const uint8_t *key = take(&walk, write.key_bytes);
        const uint8_t *index_key = take(&walk, write.index_bytes);
        const uint8_t *value = take(&walk, write.value_bytes);
        enum status status =
            write.op == ABI_WRITE_PUT
                ? records_put(store, write.namespace_index, key, write.key_bytes, index_key,
                              write.index_bytes, value, write.value_bytes)
                : records_delete(store, write.namespace_index, key, write.key_bytes);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status apply_sends(struct store *store, const struct view *view, struct walk walk,
                               int64_t now_ms, uint64_t *first_id)
{
    struct commit_send send;
    uint64_t next = view->header.first;
    *first_id = 0;
    for (unsigned i = 0; i < view->header.send_count; i++) {
        check(take_struct(&walk, &send, sizeof send));
        const uint8_t *key = take(&walk, send.key_bytes);
        const uint8_t *context = take(&walk, send.context_bytes);
        const uint8_t *payload = take(&walk, send.payload_bytes);
        int64_t id = 0;
        uint64_t number = system_flow_is_keepable(&store->system->flows[send.flow]) ? next : 0;
        next += number != 0 ? COMMIT_NUMBER_STEP : 0;
        store->state.numbered = number > store->state.numbered ? number : store->state.numbered;
        enum status status =
            send.flags == COMMIT_KEPT
                ? kept_add(store, &send, number, view->header.time_ms, key, context, payload, &id)
                : outbox_add(store, &send, number, view->header.time_ms, now_ms, key, context, payload, &id);
        if (status != STATUS_OK)
            return status;
        check(*first_id == 0 || (uint64_t)id == *first_id + i); // as COMMIT_DONE promises
        if (i == 0)
            *first_id = (uint64_t)id;
    }
    return spool_make_room(store, now_ms);
}

static enum status apply_states(struct store *store, const struct view *view, struct walk walk)
{
    struct commit_state state;
    for (unsigned i = 0; i < view->header.state_count; i++) {
        check(take_struct(&walk, &state, sizeof state));
        const uint8_t *key = take(&walk, state.key_bytes);
        const uint8_t *parts = take(&walk, state.part_bytes);
        int is_set = state.part_bytes != 0;
        sqlite3_stmt *statement = store_statement(store, is_set ? STATEMENT_STATE_SET : STATEMENT_STATE_DELETE);
        bind_integer(statement, 1, store->flow_ids[state.flow]);
        bind_bytes(statement, 2, key, state.key_bytes);
        if (is_set)
            bind_bytes(statement, 3, parts, state.part_bytes);
        enum status status = store_run(store, statement);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static void apply_counters(struct store *store, const struct view *view, struct walk walk)
{
    struct commit_counter counter;
    for (unsigned i = 0; i < view->header.counter_count; i++) {
        check(take_struct(&walk, &counter, sizeof counter));
        counter_add(store, counter.index, counter.value);
    }
}

static enum status apply_dead(struct store *store, const struct view *view, struct walk walk,
                              const uint8_t *packet)
{
    struct commit_dead dead;
    struct link_crash crash;
    struct refusal refusal;
    struct audit_facts facts = {.header = &view->header,
                                .effects = packet + view->writes,
                                .effect_bytes = view->states - view->writes,
                                .counters = packet + view->counters};
    if (view->header.dead_count != 0) {
        check(take_struct(&walk, &dead, sizeof dead));
        facts.dead = &dead;
        facts.text = take(&walk, dead.text_bytes);
        if (dead.crash_bytes != 0 && take_struct(&walk, &crash, sizeof crash))
            facts.crash = &crash;
        take_refusal(&walk, store, &dead, &refusal);
        int is_counted = dead.flow < store->system->flow_count && store->system->flows[dead.flow].is_dead_counted;
        enum status status = is_counted ? STATUS_OK : dead_letter_add(store, &facts, &refusal, take(&walk, dead.payload_bytes));
        if (status != STATUS_OK)
            return status;
    }
    if (audit_events_are(&facts))
        return audit_events_add(store, &facts);
    char text[AUDIT_RECORD_BYTES_MAX];
    return audit_rows_add(store, text, audit_text(store->system, &facts, text));
}

static enum status apply_all(struct store *store, const struct view *view, const uint8_t *packet,
                             size_t size, int64_t now_ms, uint64_t *first_id)
{
    struct walk walk = {packet, size, 0, 0};
    walk.at = view->writes;
    enum status status = apply_writes(store, view, walk);
    walk.at = view->sends;
    if (status == STATUS_OK)
        status = apply_sends(store, view, walk, now_ms, first_id);
    walk.at = view->states;
    if (status == STATUS_OK)
        status = apply_states(store, view, walk);
    walk.at = view->counters;
    if (status == STATUS_OK)
        apply_counters(store, view, walk);
    walk.at = view->dead;
    if (status == STATUS_OK)
        status = apply_dead(store, view, walk, packet);
    return status == STATUS_OK ? apply_source(store, view) : status;
}

enum status commit_apply(struct store *store, const uint8_t *packet, size_t size, int64_t now_ms,
                         struct commit_done_facts *done)
{
    struct view view;
    check(store->is_in_transaction);
    enum status status = parse(&view, store, packet, size);
    if (status != STATUS_OK)
        return status;
    enum commit_result result = COMMIT_OK;
    struct walk walk = {packet, size, view.reads, 0};
    // Duplicate first: what was consumed is done, whatever became of the records since.
    int is_consumed = view.header.consume != 0;
    struct outbox_row consumed = {-1, 0, 0};
    if (is_consumed) {
        status = view.header.is_kept ? kept_get(store, view.header.consume, &consumed)
                                     : outbox_get(store, view.header.consume, &consumed);
        if (status == STATUS_ABSENT) { // of a kept one: what sends it was not now
            *done = (struct commit_done_facts){.result = view.header.is_kept ? COMMIT_NOT_NOW : COMMIT_DUPLICATE};
            return STATUS_OK;
        }
        if (status != STATUS_OK)
            return status;
    }
    if (view.header.source_count != 0)
        status = validate_source(store, &view, &result);
    if (status == STATUS_OK && result == COMMIT_OK)
        status = validate_reads(store, &view, walk, &result);
    walk.at = view.writes;
    if (status == STATUS_OK && result == COMMIT_OK)
        status = validate_writes(store, &view, walk, &result);
    if (status != STATUS_OK)
        return status;
    walk.at = view.sends;
    if (result == COMMIT_OK && !has_room(store, &view, walk, &consumed))
        result = COMMIT_NOT_NOW;
    if (result != COMMIT_OK) {
        *done = (struct commit_done_facts){.result = result};
        store->page->conflicts += result == COMMIT_CONFLICT;
        return STATUS_OK;
    }
    uint64_t first_id = 0;
    if (view.header.is_kept)
        kept_end(store, view.header.consume);
    else if (is_consumed)
        status = outbox_delete(store, view.header.consume, &consumed);
    if (status == STATUS_OK)
        status = apply_all(store, &view, packet, size, now_ms, &first_id);
    if (status == STATUS_OK)
        *done = (struct commit_done_facts){COMMIT_OK, first_id, consumed};
    return status;
}
