// SPDX-License-Identifier: ISC
// The password service between a password file and a router that this test plays.
#include "core/schema.h"
#include "password/service.h"
#include "tests/unit/test.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// --- A system of two principals, with the two schemas -------------------------------------------

struct block {
    struct schema_header header;
    struct schema_field fields[2];
};
static _Alignas(8) struct block request_block = {
    {.name = "password-request/1", .block_bytes = sizeof(struct block), .field_count = 2, .struct_bytes = 168, .is_cut = 1},
    {{.name = "user", .type = SCHEMA_STRING, .class = SCHEMA_CLASS_TOKEN, .offset = 0, .capacity = 32},
     {.name = "password", .type = SCHEMA_BYTES, .offset = 34, .capacity = 128}}};
static _Alignas(8) struct block reply_block = {
    {.name = "password-reply/1", .block_bytes = sizeof(struct block), .field_count = 2, .struct_bytes = 8},
    {{.name = "is_accepted", .type = SCHEMA_BOOL, .offset = 0, .maximum = 1},
     {.name = "principal", .type = SCHEMA_U16, .offset = 2, .maximum = 64}}};
static const struct system_flow flows[2] = {{.schema = 0}, {.schema = 1}};
static const struct system_principal principals[2] = {{"press-7"}, {"rig-2"}};
static const struct system_service services[1] = {{.request_flow = 0, .reply_flow = 1}};
static struct system_view system_view;
static struct service service;
static struct channel router;
static char folder[] = "/tmp/crenel-password-XXXXXX";
static char hashes[2][PASSWORD_HASH_BYTES];

static void write_file(const char *text, mode_t mode)
{
    char path[128];
    snprintf(path, sizeof path, "%s/new", folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    expect(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    expect(fchmod(fd, mode) == 0 && close(fd) == 0);
    char target[128];
    snprintf(target, sizeof target, "%s/" PASSWORD_FILE_NAME, folder);
    expect(rename(path, target) == 0);
}

static void write_users(void)
{
    char text[1024];
    snprintf(text, sizeof text, "# users\npress-7:%s\n\nghost:%s\nrig-2:%s\n", hashes[0], hashes[0],
             hashes[1]);
    write_file(text, 0600);
}

static void start(void)
{
    int fds[2];
    expect(channel_pair(fds) == STATUS_OK);
    static uint8_t inbox[CHANNEL_PACKET_BYTES];
    channel_init(&router, fds[1], NULL, 0);
    channel_gather(&router, NULL, inbox, CHANNEL_PACKET_BYTES);
    int directory = open(folder, O_RDONLY | O_DIRECTORY);
    expect(service_init(&service, &system_view, 0, directory, fds[0]) == STATUS_OK);
}

static void stop(void)
{
    channel_close(&router);
    channel_close(&service.link.channel);
    close(service.users.directory_fd);
}

static struct {
    struct link_effects effects;
    struct abi_send send;
    uint8_t reply[8];
    struct abi_end end;
} answer;

static enum status deliver(const void *payload, size_t size, uint32_t context_bytes)
{
    struct link_deliver header = {.header = {0, LINK_DELIVER, 0, 77},
                                  .number = 1,
                                  .attempt = 1,
                                  .context_bytes = context_bytes,
                                  .payload_bytes = (uint32_t)size};
    static const uint8_t context[264];
    header.header.size = (uint32_t)(sizeof header + context_bytes + size);
    struct channel_part parts[] = {{&header, sizeof header}, {context, context_bytes}, {payload, size}};
    expect(channel_send_parts(&router, parts, 3) == STATUS_OK);
    enum status status = service_link_serve(&service.link);
    size_t got = 0;
    memset(&answer, 0, sizeof answer);
    if (status == STATUS_OK) {
        expect(channel_receive(&router, &answer, sizeof answer, &got, 0) == STATUS_OK);
        expect(answer.effects.header.size == got && answer.effects.header.handle == 77);
        expect(answer.effects.header.kind == LINK_EFFECTS);
    }
    return status;
}

// The principal that was let in; 0: refused; -1: no well-formed answer.
static int ask(const char *user, const char *password)
{
    uint8_t message[168] = {0};
    uint16_t user_bytes = (uint16_t)strlen(user), password_bytes = (uint16_t)strlen(password);
    memcpy(message, &user_bytes, 2);
    memcpy(message + 2, user, user_bytes);
    memcpy(message + 34, &password_bytes, 2);
    memcpy(message + 36, password, password_bytes);
    if (deliver(message, (36u + password_bytes + 7u) & ~7u, 0) != STATUS_OK)
        return -1;
    uint16_t field, principal;
    memcpy(&principal, answer.reply + 2, 2);
    int is_good = answer.effects.outcome == LINK_ENDED && answer.effects.record_bytes == 48 &&
                  answer.send.record.size == 32 && answer.send.record.kind == ABI_SEND &&
                  answer.send.flags == ABI_SEND_REPLY && answer.send.flow == 0 &&
                  answer.send.payload_bytes == 8 && answer.end.record.kind == ABI_END &&
                  schema_check(&system_view.schemas[1], answer.reply, 8, &field) == REASON_DONE;
    return is_good && answer.reply[0] == (principal != 0) ? principal : -1;
}

TEST(says_hello)
{
    struct link_hello hello;
    size_t size;
    write_users();
    start();
    expect(service_link_begin(&service.link) == STATUS_OK);
    expect(channel_receive(&router, &hello, sizeof hello, &size, 0) == STATUS_OK);
    expect(size == sizeof hello && hello.header.kind == LINK_HELLO && hello.instances == SERVICE_CAPACITY);
    stop();
}

TEST(answers_who_may_enter)
{
    write_users();
    start();
    expect(ask("press-7", "secret") == 1);
    expect(ask("rig-2", "other") == 2);
    expect(ask("press-7", "other") == 0);
    expect(ask("press-7", "") == 0);
    expect(ask("nobody", "secret") == 0);
    expect(ask("ghost", "secret") == 0); // in the file, but no principal of the system
    stop();
}

TEST(takes_a_new_file)
{
    char text[512];
    write_users();
    start();
    expect(ask("press-7", "secret") == 1);
    snprintf(text, sizeof text, "press-7:%s\n", hashes[1]);
    write_file(text, 0600);
    expect(ask("press-7", "secret") == 0 && ask("press-7", "other") == 1 && ask("rig-2", "other") == 0);
    stop();
}

TEST(a_bad_file_lets_nobody_in)
{
    char text[1024];
    static const char *const lines[] = {"press-7", "press-7:plain", ":x", "a b:x", "rig-2:"};
    start();
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        snprintf(text, sizeof text, "press-7:%s\n%s\n", hashes[0], lines[i]);
        write_file(text, 0600);
        expect(ask("press-7", "secret") == 0);
    }
    snprintf(text, sizeof text, "press-7:%s\n", hashes[0]);
    write_file(text, 0666); // writable by others
    expect(ask("press-7", "secret") == 0);
    write_file(text, 0400);
    expect(ask("press-7", "secret") == 1);
    snprintf(text, sizeof text, "press-7:%s\npress-7:%s\n", hashes[1], hashes[0]);
    write_file(text, 0600); // twice
    expect(ask("press-7", "secret") == 0);
    snprintf(text, sizeof text, "%s/" PASSWORD_FILE_NAME, folder);
    expect(unlink(text) == 0);
    expect(ask("press-7", "secret") == 0);
    stop();
}

TEST(a_message_that_is_no_request_is_refused)
{
    uint8_t message[168] = {0};
    write_users();
    start();
    message[0] = 200; // longer than it may be
    expect(deliver(message, sizeof message, 0) == STATUS_OK);
    expect(answer.effects.outcome == LINK_CONTRACT && answer.effects.record_bytes == 0);
    message[0] = 1; // user "\0"
    expect(deliver(message, 40, 0) == STATUS_OK && answer.effects.outcome == LINK_CONTRACT);
    expect(deliver(message, 0, 0) == STATUS_OK && answer.effects.outcome == LINK_CONTRACT);
    expect(deliver(message, 40, 257) == STATUS_MALFORMED); // the router's own fault ends the link
    channel_close(&router);
    expect(service_link_serve(&service.link) == STATUS_CLOSED);
    stop();
}

// As many as may wait come in one packet, and nothing after them: what was answered leaves all the same.
TEST(as_many_as_may_wait_are_answered)
{
    static uint8_t gathered[CHANNEL_PACKET_BYTES], inbox[CHANNEL_PACKET_BYTES];
    const struct {
        struct link_deliver deliver;
        uint8_t payload[8];
    } nothing = {.deliver = {.header = {sizeof nothing, LINK_DELIVER, 0, 77}, .number = 1, .attempt = 1, .payload_bytes = 8}};
    write_users();
    start();
    channel_gather(&router, gathered, inbox, CHANNEL_PACKET_BYTES);
    for (unsigned i = 0; i < SERVICE_CAPACITY; i++)
        expect(channel_send(&router, &nothing, sizeof nothing) == STATUS_OK);
    expect(channel_flush(&router) == STATUS_OK && service_link_serve(&service.link) == STATUS_OK);
    for (unsigned i = 0; i < SERVICE_CAPACITY; i++) {
        size_t got = 0;
        expect(channel_receive(&router, &answer, sizeof answer, &got, 0) == STATUS_OK && got == sizeof answer.effects);
    }
    stop();
}

int main(void)
{
    static const char *const passwords[] = {"secret", "other"};
    if (sodium_init() < 0 || mkdtemp(folder) == NULL)
        return 1;
    for (int i = 0; i < 2; i++)
        if (crypto_pwhash_str(hashes[i], passwords[i], strlen(passwords[i]), PASSWORD_HASH_PASSES,
                              PASSWORD_HASH_MEMORY_BYTES) != 0)
            return 1;
    system_view = (struct system_view){.flows = flows, .flow_count = 2, .principals = principals,
                                       .principal_count = 2, .services = services, .service_count = 1};
    if (schema_open(&system_view.schemas[0], (const uint8_t *)&request_block, sizeof request_block) != STATUS_OK ||
        schema_open(&system_view.schemas[1], (const uint8_t *)&reply_block, sizeof reply_block) != STATUS_OK)
        return 1;
    RUN(says_hello);
    RUN(answers_who_may_enter);
    RUN(takes_a_new_file);
    RUN(a_bad_file_lets_nobody_in);
    RUN(a_message_that_is_no_request_is_refused);
    RUN(as_many_as_may_wait_are_answered);
    char path[128];
    snprintf(path, sizeof path, "%s/" PASSWORD_FILE_NAME, folder);
    (void)unlink(path);
    (void)rmdir(folder);
    TEST_END();
}
