// SPDX-License-Identifier: ISC
// Fuzz target: the password service: requests from the router, and the password file. The cost of argon2id is left out:
// a password is right when it is the user's hash.
//
// Input: 0: packets from the router, each a byte of kind and a size, then bytes; else the password file as it is.
// What must hold: each request has one answer, the event's own, that no one enters with but a user and his password;
// what is read of a file is what a second reading of its lines gives, or nothing.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
#include "password/service.h"

#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>

static const struct {
    struct schema_header header;
    struct schema_field fields[2];
} request_block = {{.name = "password-request/1", .field_count = 2, .struct_bytes = 168, .is_cut = 1},
                   {{.name = "user", .type = SCHEMA_STRING, .class = SCHEMA_CLASS_TOKEN, .capacity = 32},
                    {.name = "password", .type = SCHEMA_BYTES, .offset = 34, .capacity = 128}}};
static const struct schema request_schema = {&request_block.header, request_block.fields, NULL, NULL};
static const struct system_principal principals[3] = {{"press-7"}, {"rig-2"}, {"nobody"}}; // the last has no password
static const struct system_view system_of = {.principals = principals, .principal_count = 3};
static struct service service = {.system = &system_of, .request = &request_schema,
                                 .link = {.capacity = SERVICE_CAPACITY, .take = service_take, .context = &service}};

static struct {
    struct take take;
    const uint8_t *file;
    size_t file_bytes, file_at;
    uint64_t handle;
    unsigned asked, answered;
    int principal; // that the request under way must give; -1: whatever
} world;

enum status __wrap_channel_receive(struct channel *channel, void *bytes, size_t capacity, size_t *size, int wait);
enum status __wrap_channel_send(struct channel *channel, const void *record, size_t size);
int __wrap_openat(int folder, const char *path, int flags, ...);
int __wrap_fstat(int fd, struct stat *stat);
ssize_t __wrap_read(int fd, void *bytes, size_t size);
ssize_t __wrap___read_chk(int fd, void *bytes, size_t size, size_t room); // what a fortified build calls
int __wrap_close(int fd);
int __wrap_crypto_pwhash_str_verify(const char *hash, const char *password, unsigned long long size);

static size_t make_request(uint8_t *to, unsigned what)
{
    static const char *const names[] = {"press-7", "rig-2", "nobody", "stranger", ""};
    struct link_deliver deliver = {.header = {0, LINK_DELIVER, 0, world.handle}};
    unsigned name = what % 5, password = what / 5 % 5;
    size_t at = sizeof deliver;
    memset(to, 0, 512);
    deliver.context_bytes = what % 4 == 3 ? 5 : 0;
    at += ABI_ALIGN8(deliver.context_bytes);
    size_t name_bytes = strlen(names[name]), password_bytes = strlen(names[password]);
    to[at] = (uint8_t)name_bytes;
    memcpy(to + at + 2, names[name], name_bytes);
    to[at + 34] = (uint8_t)password_bytes;
    memcpy(to + at + 36, names[password], password_bytes);
    deliver.payload_bytes = (uint32_t)ABI_ALIGN8(36 + password_bytes);
    // The hash is the name; "stranger" is no principal.
    world.principal = name == password && name < 2 ? (int)name + 1 : 0;
    for (unsigned i = what / 32 % 8; i > 4; i--) { // hardly ever
        world.principal = -1;
        to[sizeof deliver + take_byte(&world.take) % (at + deliver.payload_bytes - sizeof deliver)] ^=
            take_byte(&world.take);
    }
    at += deliver.payload_bytes;
    deliver.header.size = (uint32_t)at;
    memcpy(to, &deliver, sizeof deliver);
    return at;
}

enum status __wrap_channel_receive(struct channel *channel, void *bytes, size_t capacity, size_t *size, int wait)
{
    (void)channel, (void)wait, (void)capacity;
    must(world.answered == world.asked);
    if (world.take.left == 0)
        return STATUS_AGAIN;
    uint8_t kind = take_byte(&world.take);
    world.handle++;
    world.asked++;
    if (kind % 4 != 3) {
        *size = make_request(bytes, take_byte(&world.take));
        return STATUS_OK;
    }
    struct link_deliver deliver = {.header = {0, LINK_DELIVER, 0, world.handle}};
    world.principal = -1;
    memcpy(bytes, &deliver, sizeof deliver);
    size_t count = take_byte(&world.take), from = kind & 4 ? sizeof deliver.header : 0;
    *size = from + take_bytes(&world.take, (uint8_t *)bytes + from, count);
    if (kind & 8 && *size >= sizeof deliver.header)
        memcpy(bytes, &(uint32_t){(uint32_t)*size}, 4);
    return *size == 0 ? STATUS_CLOSED : STATUS_OK;
}

enum status __wrap_channel_send(struct channel *channel, const void *record, size_t size)
{
    struct link_effects effects;
    (void)channel;
    must(size >= sizeof effects && ++world.answered == world.asked);
    memcpy(&effects, record, sizeof effects);
    must(effects.header.size == size && effects.header.kind == LINK_EFFECTS);
    if (effects.outcome == LINK_CONTRACT) {
        must(size == sizeof effects && effects.record_bytes == 0 && effects.text[0] != 0);
        return STATUS_OK;
    }
    const uint8_t *reply = (const uint8_t *)record + sizeof effects + sizeof(struct abi_send);
    uint16_t principal;
    memcpy(&principal, reply + 2, sizeof principal);
    must(effects.outcome == LINK_ENDED && effects.record_bytes == size - sizeof effects);
    must(reply[0] == (principal != 0) && principal <= 2);
    must(world.principal < 0 || principal == world.principal);
    return STATUS_OK;
}

int __wrap_openat(int folder, const char *path, int flags, ...)
{
    (void)folder, (void)flags;
    must(strcmp(path, PASSWORD_FILE_NAME) == 0);
    world.file_at = 0;
    return 5000;
}

int __wrap_fstat(int fd, struct stat *stat)
{
    must(fd == 5000);
    *stat = (struct stat){.st_mode = S_IFREG | 0600, .st_ino = 1, .st_size = (off_t)world.file_bytes};
    return 0;
}

ssize_t __wrap_read(int fd, void *bytes, size_t size)
{
    must(fd == 5000);
    size_t count = world.file_bytes - world.file_at < size ? world.file_bytes - world.file_at : size;
    if (count != 0)
        memcpy(bytes, world.file + world.file_at, count);
    world.file_at += count;
    return (ssize_t)count;
}

ssize_t __wrap___read_chk(int fd, void *bytes, size_t size, size_t room)
{
    must(size <= room);
    return __wrap_read(fd, bytes, size);
}

int __wrap_close(int fd)
{
    must(fd == 5000);
    return 0;
}

// The hash's last part is the password that it is of, in the target.
int __wrap_crypto_pwhash_str_verify(const char *hash, const char *password, unsigned long long size)
{
    const char *of = strrchr(hash, '$');
    return of != NULL && strlen(of + 1) == size && memcmp(of + 1, password, size) == 0 ? 0 : -1;
}

static void add_user(const char *name, const char *password)
{
    struct user *user = &service.users.users[service.users.count++];
    memset(user, 0, sizeof *user);
    snprintf(user->name, sizeof user->name, "%s", name);
    snprintf(user->hash, sizeof user->hash, "$%s", password);
}

static void serve(void)
{
    enum status status;
    service.users.count = 0;
    memset(&service.users.seen, 0, sizeof service.users.seen);
    snprintf(service.users.decoy, sizeof service.users.decoy, "$nobody"); // and its password is known
    add_user("press-7", "press-7");
    add_user("rig-2", "rig-2");
    add_user("stranger", "stranger");
    world.file = (const uint8_t *)"";
    world.file_bytes = 0;
    __wrap_fstat(5000, &service.users.seen); // as it was read
    do
        status = service_link_serve(&service.link);
    while (status == STATUS_OK && world.take.left != 0);
    must(status == STATUS_OK || status == STATUS_MALFORMED || status == STATUS_CLOSED);
    must(world.answered == world.asked || status != STATUS_OK);
}

static void read_file(const uint8_t *text, size_t size)
{
    world.file = text;
    world.file_bytes = size;
    service.users.count = 77;
    memset(&service.users.seen, 0xff, sizeof service.users.seen);
    users_refresh(&service.users);
    must(service.users.count <= PASSWORD_USERS_MAX);
    const char *at = (const char *)text, *end = at + size;
    for (unsigned i = 0; i < service.users.count; i++) {
        const struct user *user = &service.users.users[i];
        size_t name_bytes = strnlen(user->name, sizeof user->name), hash_bytes = strnlen(user->hash, sizeof user->hash);
        must(name_bytes >= 1 && name_bytes < sizeof user->name && hash_bytes < sizeof user->hash);
        must(crypto_pwhash_str_needs_rehash(user->hash, PASSWORD_HASH_PASSES, PASSWORD_HASH_MEMORY_BYTES) >= 0);
        for (unsigned j = 0; j < i; j++)
            must(strcmp(service.users.users[j].name, user->name) != 0);
        for (;;) { // its line, behind lines without a user
            const char *stop = memchr(at, '\n', (size_t)(end - at));
            size_t length = (size_t)((stop != NULL ? stop : end) - at);
            const char *line = at;
            at = stop != NULL ? stop + 1 : end;
            if (length == 0 || line[0] == '#') {
                must(at < end);
                continue;
            }
            must(length == name_bytes + 1 + hash_bytes && memcmp(line, user->name, name_bytes) == 0);
            must(line[name_bytes] == ':' && memcmp(line + name_bytes + 1, user->hash, hash_bytes) == 0);
            break;
        }
    }
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static const char hash[] = "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$"
                               "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmE";
    if (index == 0) {
        for (unsigned i = 0; i < 60; i++) // every name with every password, and some of them changed
            bytes[1 + 2 * i] = 0, bytes[2 + 2 * i] = (uint8_t)(i < 25 ? i : i * 7);
        bytes[0] = 0;
        return 121;
    }
    if (index == 1) {
        memset(bytes, 0, 100);
        bytes[1] = 3 | 4 | 8;
        bytes[2] = 90;
        bytes[2 + 45] = 40;
        return 93;
    }
    if (index > 3)
        return 0;
    bytes[0] = 1;
    int length = index == 2 ? snprintf((char *)bytes + 1, 512, "# users\n\npress-7:%s\nrig-2:%s\n", hash, hash)
                            : snprintf((char *)bytes + 1, 512, "a:%s\na:%s", hash, hash);
    return 1 + (size_t)length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *nowhere;
    FILE *kept = stderr;
    if (nowhere == NULL)
        nowhere = fopen("/dev/null", "w");
    if (size == 0)
        return 0;
    stderr = nowhere;
    memset(&world, 0, sizeof world);
    world.take = (struct take){data + 1, size - 1};
    if (data[0] == 0)
        serve();
    else
        read_file(data + 1, size - 1);
    stderr = kept;
    return 0;
}
