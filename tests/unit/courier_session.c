// SPDX-License-Identifier: ISC
// The protocol between couriers: two sessions with the bytes of one in the other, and one session against bytes made by hand.
#include "courier/session.h"
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

struct side {
    struct session_terms terms;
    struct session session;
    int is_agreed;
    unsigned taken, acknowledged;
    struct session_message last;
    uint8_t payload[ABI_PAYLOAD_BYTES_MAX];
    struct session_ack ack;
    uint16_t flow;
};
static struct side hub, cloud;

static void on_agreed(void *context) { ((struct side *)context)->is_agreed++; }

static void on_take(void *context, uint16_t flow, const struct session_message *message, const uint8_t *payload)
{
    struct side *side = context;
    side->taken++;
    side->flow = flow;
    side->last = *message;
    memcpy(side->payload, payload, message->payload_bytes);
}

static void on_acknowledged(void *context, uint16_t flow, const struct session_ack *ack)
{
    struct side *side = context;
    side->acknowledged++;
    side->flow = flow;
    side->ack = *ack;
}

static void terms(struct side *side, const char *system)
{
    memset(&side->terms, 0, sizeof side->terms);
    side->terms.hello = (struct session_hello){.magic = SESSION_MAGIC, .version = SESSION_VERSION};
    snprintf(side->terms.hello.system, sizeof side->terms.hello.system, "%s", system);
    snprintf(side->terms.hello.tenant, sizeof side->terms.hello.tenant, "plant");
}

static void flow(struct side *side, const char *name, uint8_t digest, uint16_t window)
{
    struct session_flow *entry = &side->terms.flows[side->terms.hello.flow_count++];
    snprintf(entry->name, sizeof entry->name, "%s", name);
    snprintf(entry->schema, sizeof entry->schema, "reading/1");
    entry->digest[0] = digest;
    entry->window = window;
}

static void begin(struct side *side)
{
    const struct session_owner owner = {side, on_agreed, on_take, on_acknowledged};
    side->is_agreed = 0;
    side->taken = side->acknowledged = 0;
    session_begin(&side->session, &side->terms, &owner);
}

// Both sides' terms as two systems would have them: in another order, and one that only the cloud knows.
static void fill(void)
{
    terms(&hub, "hub");
    flow(&hub, "reading", 7, 0);
    flow(&hub, "orders", 9, 2);
    terms(&cloud, "cloud");
    flow(&cloud, "unused", 1, 8);
    flow(&cloud, "orders", 9, 0);
    flow(&cloud, "reading", 7, 4);
}

// Gives all that waits to the other side, in pieces of `piece` bytes.
static enum status move(struct side *from, struct side *to, size_t piece)
{
    const uint8_t *bytes;
    size_t size;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && (size = session_output(&from->session, &bytes)) != 0) {
        size = size < piece ? size : piece;
        uint8_t *copy = malloc(size); // of its own, so that a sanitizer sees what is read behind it
        memcpy(copy, bytes, size);
        session_sent(&from->session, size);
        status = session_receive(&to->session, copy, size);
        free(copy);
    }
    return status;
}

static void agree(void)
{
    fill();
    begin(&hub);
    begin(&cloud);
    expect(move(&hub, &cloud, 100000) == STATUS_OK && move(&cloud, &hub, 100000) == STATUS_OK);
    expect(hub.is_agreed == 1 && cloud.is_agreed == 1);
}

static void send(struct side *side, uint16_t own, uint64_t sequence, uint32_t size)
{
    struct session_message message = {.stream = 5, .sequence = sequence, .payload_bytes = size};
    uint8_t payload[ABI_PAYLOAD_BYTES_MAX];
    memset(payload, (int)sequence, sizeof payload);
    expect(session_may_send(&side->session, own));
    session_send(&side->session, own, &message, payload);
}

static enum status acknowledge(struct side *side, uint16_t own, uint64_t sequence, uint32_t reason)
{
    struct session_ack ack = {.sequence = sequence, .reason = reason};
    return session_acknowledge(&side->session, own, &ack);
}

TEST(both_agree_and_messages_go_both_ways)
{
    for (size_t piece = 1; piece < 400; piece += 13) {
        fill();
        begin(&hub);
        begin(&cloud);
        expect(move(&hub, &cloud, piece) == STATUS_OK && move(&cloud, &hub, piece) == STATUS_OK);
        expect(hub.is_agreed == 1 && cloud.is_agreed == 1 && strcmp(cloud.session.peer, "hub") == 0);
        send(&hub, 0, 41, 13); // "reading", which is 2 of the cloud
        expect(move(&hub, &cloud, piece) == STATUS_OK && cloud.taken == 1 && cloud.flow == 2);
        expect(cloud.last.stream == 5 && cloud.last.sequence == 41 && cloud.last.payload_bytes == 13 && cloud.payload[12] == 41);
        send(&cloud, 1, 8, 4096); // "orders", which is 1 of the hub
        expect(acknowledge(&cloud, 2, 41, REASON_DONE) == STATUS_OK && move(&cloud, &hub, piece) == STATUS_OK);
        expect(hub.taken == 1 && hub.flow == 0 && hub.acknowledged == 1 && hub.ack.sequence == 41 && hub.ack.reason == REASON_DONE);
        expect(acknowledge(&hub, 1, 8, REASON_RANGE) == STATUS_OK && move(&hub, &cloud, piece) == STATUS_OK);
        expect(cloud.acknowledged == 1 && cloud.flow == 1 && cloud.ack.reason == REASON_RANGE);
    }
}

// A flow whose window is used up holds up no other, and no ACK.
TEST(windows_are_of_flows)
{
    agree();
    for (uint64_t i = 1; i <= 4; i++)
        send(&hub, 0, i, 8);
    expect(!session_may_send(&hub.session, 0) && session_may_send(&cloud.session, 1));
    send(&cloud, 1, 1, 8);
    send(&cloud, 1, 2, 8);
    expect(!session_may_send(&cloud.session, 1)); // of the hub's window
    expect(move(&hub, &cloud, 99999) == STATUS_OK && move(&cloud, &hub, 99999) == STATUS_OK && cloud.taken == 4 && hub.taken == 2);
    expect(acknowledge(&hub, 1, 2, REASON_DONE) == STATUS_OK && move(&hub, &cloud, 99999) == STATUS_OK); // in any order
    expect(session_may_send(&cloud.session, 1) && !session_may_send(&hub.session, 0));
}

static const char *why(struct side *side)
{
    return side->session.state == SESSION_ENDING ? side->session.why : "";
}

// Both sides end it, with words that name both. Whose terms differ says it first.
static int is_refused(const char *here, const char *there)
{
    begin(&hub);
    begin(&cloud);
    expect(move(&hub, &cloud, 99999) != STATUS_OK && !cloud.is_agreed);
    (void)move(&cloud, &hub, 99999);
    if (strstr(why(&cloud), here) == NULL || strstr(why(&hub), there) == NULL)
        fprintf(stderr, "cloud: %s\nhub: %s\n", why(&cloud), why(&hub));
    return strstr(why(&cloud), here) != NULL && strstr(why(&hub), there) != NULL;
}

TEST(what_does_not_fit_is_named_on_both_sides)
{
    fill();
    cloud.terms.flows[2].digest[0] = 8;
    expect(is_refused("flow 'reading' carries reading/1 (08000000..) in cloud, but reading/1 (07000000..) in hub",
                      "flow 'reading' carries reading/1 (07000000..) in hub, but reading/1 (08000000..) in cloud"));
    fill();
    snprintf(hub.terms.flows[0].name, SYSTEM_NAME_BYTES, "readings");
    expect(is_refused("hub sends flow 'readings' here, which cloud does not have", "hub sends flow 'readings' here, which cloud does not"));
    fill();
    hub.terms.flows[0].window = 3;
    expect(is_refused("cloud and hub both take flow 'reading'", "both take flow 'reading'"));
    fill();
    hub.terms.hello.flow_count = 1; // nobody takes the cloud's orders
    expect(is_refused("cloud sends flow 'orders' here, which hub does not take", "cloud sends flow 'orders' here"));
    fill();
    snprintf(hub.terms.hello.tenant, SYSTEM_NAME_BYTES, "other");
    expect(is_refused("cloud belongs to tenant plant, but hub to tenant other", "hub belongs to tenant other, but cloud to tenant plant"));
    fill();
    hub.terms.hello.version = 2;
    expect(is_refused("version 1 of the couriers' protocol here, 2 there", "version 1 of the couriers' protocol here"));
    fill();
    hub.terms.hello.magic++;
    expect(is_refused("the other side is no courier of Crenel", ""));
}

// A session that has agreed, given a frame made by hand.
static enum status give(uint16_t kind, uint16_t own, const void *body, size_t size, int32_t more)
{
    uint8_t bytes[8192] = {0};
    struct session_frame frame = {(uint32_t)((int32_t)(sizeof frame + size) + more), kind, own};
    memcpy(bytes, &frame, sizeof frame);
    if (size != 0)
        memcpy(bytes + sizeof frame, body, size);
    return session_receive(&cloud.session, bytes, sizeof frame + size);
}

struct carried {
    struct session_message head;
    uint8_t payload[16];
};

static int is_ended_by(uint16_t kind, uint16_t own, const void *body, size_t size)
{
    agree();
    enum status status = give(kind, own, body, size, 0);
    return status != STATUS_OK && cloud.session.state == SESSION_ENDING && cloud.session.why[0] != 0 && cloud.taken == 0 &&
           cloud.acknowledged == 0;
}

TEST(every_rule_broken_once)
{
    struct carried good = {{.stream = 1, .sequence = 1, .payload_bytes = 12}, {0}}, bad;
    struct session_ack ack = {.sequence = 1, .reason = REASON_DONE};
    agree();
    expect(give(SESSION_MESSAGE, 0, &good, sizeof good, 0) == STATUS_OK && cloud.taken == 1);
    bad = good, bad.head.zero = 1;
    expect(is_ended_by(SESSION_MESSAGE, 0, &bad, sizeof bad));
    bad = good, bad.head.sequence = 0;
    expect(is_ended_by(SESSION_MESSAGE, 0, &bad, sizeof bad));
    bad = good, bad.head.payload_bytes = 17;
    expect(is_ended_by(SESSION_MESSAGE, 0, &bad, sizeof bad));
    bad = good, bad.head.payload_bytes = 8;
    expect(is_ended_by(SESSION_MESSAGE, 0, &bad, sizeof bad));
    bad = good, bad.head.payload_bytes = UINT32_MAX;
    expect(is_ended_by(SESSION_MESSAGE, 0, &bad, sizeof bad));
    expect(is_ended_by(SESSION_MESSAGE, 0, &good, sizeof good.head - 1));
    expect(is_ended_by(SESSION_MESSAGE, 1, &good, sizeof good)); // a flow that the cloud sends
    expect(is_ended_by(SESSION_MESSAGE, 2, &good, sizeof good)); // the hub named two
    expect(is_ended_by(SESSION_ACK, 1, &ack, sizeof ack));       // nothing was sent
    expect(is_ended_by(SESSION_ACK, 2, &ack, sizeof ack));       // a flow that the cloud takes
    expect(is_ended_by(SESSION_ACK, 3, &ack, sizeof ack));
    expect(is_ended_by(SESSION_HELLO, 0, &hub.terms.hello, sizeof hub.terms.hello));
    expect(is_ended_by(5, 0, NULL, 0));
    expect(is_ended_by(SESSION_REFUSE, 0, "\x1b[2J", 4) && strstr(cloud.session.why, "?[2J") != NULL);
    agree();
    send(&cloud, 1, 1, 8);
    ack.reason = REASON_ENTERED;
    expect(give(SESSION_ACK, 1, &ack, sizeof ack, 0) != STATUS_OK); // that is no end
    agree();
    expect(give(SESSION_MESSAGE, 0, NULL, 0, -1) != STATUS_OK); // a frame smaller than its header
    agree();
    expect(give(SESSION_MESSAGE, 0, NULL, 0, SESSION_FRAME_MAX) != STATUS_OK);
    agree();
    for (uint64_t i = 1; i <= 4; i++) {
        good.head.sequence = i;
        expect(give(SESSION_MESSAGE, 0, &good, sizeof good, 0) == STATUS_OK);
    }
    expect(give(SESSION_MESSAGE, 0, &good, sizeof good, 0) != STATUS_OK && cloud.taken == 4); // over the window
    fill();
    begin(&cloud);
    expect(give(SESSION_MESSAGE, 0, &good, sizeof good, 0) != STATUS_OK && cloud.taken == 0); // before HELLO
}

TEST(hellos_that_are_malformed)
{
    static const size_t ends[] = {sizeof(struct session_hello) - 1, sizeof(struct session_hello),
                                  sizeof(struct session_hello) + sizeof(struct session_flow)};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) { // cut
        fill();
        begin(&cloud);
        expect(give(SESSION_HELLO, 0, &hub.terms, ends[i], 0) != STATUS_OK && !cloud.is_agreed);
    }
    size_t whole = sizeof hub.terms.hello + 2 * sizeof hub.terms.flows[0];
    fill();
    begin(&cloud);
    expect(give(SESSION_HELLO, 0, &hub.terms, whole, 0) == STATUS_OK && cloud.is_agreed);
    fill();
    hub.terms.flows[1] = hub.terms.flows[0]; // the same twice
    begin(&cloud);
    expect(give(SESSION_HELLO, 0, &hub.terms, whole, 0) != STATUS_OK && !cloud.is_agreed);
    fill();
    hub.terms.hello.flow_count = UINT32_MAX;
    begin(&cloud);
    expect(give(SESSION_HELLO, 0, &hub.terms, whole, 0) != STATUS_OK);
    fill();
    hub.terms.hello.system[0] = '\n'; // it would be shown
    begin(&cloud);
    expect(give(SESSION_HELLO, 0, &hub.terms, whole, 0) != STATUS_OK);
}

// Who does not read is left, and what he was owed is not piled up.
TEST(the_output_is_bounded)
{
    struct carried good = {{.stream = 1, .sequence = 1, .payload_bytes = 12}, {0}};
    agree();
    enum status status = STATUS_OK;
    for (unsigned i = 0; i < SESSION_OUTPUT_BYTES && status == STATUS_OK; i++) {
        expect(give(SESSION_MESSAGE, 0, &good, sizeof good, 0) == STATUS_OK);
        status = acknowledge(&cloud, 2, 1, REASON_DONE);
    }
    expect(status == STATUS_FULL && cloud.session.state == SESSION_ENDING);
}

// What is given away in small parts makes room for more, over and over.
TEST(the_output_goes_round)
{
    agree();
    uint64_t sequence = 0;
    for (unsigned round = 0; round < 2000; round++) {
        while (session_may_send(&hub.session, 0))
            send(&hub, 0, ++sequence, 4000);
        expect(move(&hub, &cloud, 5003) == STATUS_OK && cloud.last.sequence == sequence);
        for (uint64_t i = sequence - 3; i <= sequence; i++)
            expect(acknowledge(&cloud, 2, i, REASON_DONE) == STATUS_OK);
        expect(move(&cloud, &hub, 7) == STATUS_OK);
    }
    expect(cloud.taken == sequence && hub.acknowledged == sequence);
}

int main(void)
{
    RUN(both_agree_and_messages_go_both_ways);
    RUN(windows_are_of_flows);
    RUN(what_does_not_fit_is_named_on_both_sides);
    RUN(every_rule_broken_once);
    RUN(hellos_that_are_malformed);
    RUN(the_output_is_bounded);
    RUN(the_output_goes_round);
    TEST_END();
}
