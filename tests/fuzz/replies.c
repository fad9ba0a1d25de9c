// SPDX-License-Identifier: ISC
// Fuzz target: what the command line prints of what it is told: replies of the supervisor and the store, logs, the audit
// log's entries. Input: which command, what it is told.
//
// What must hold: whatever comes, nothing is printed that a terminal would obey, --json gives lines of JSON, and the exit
// code is one of those that exist.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/schema_oracle.h"
#include "tests/fuzz/words.h"

#include "cli/client.h"
#include "cli/command.h"
#include "cli/report.h"
#include "cli/state.h"
#include "cli/store_client.h"
#include "host/log_files.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

static const struct command_line {
    int (*run)(int argc, char **argv);
    int count;
    const char *words[6];
} commands[] = {
    {cmd_ps, 2, {"ps", "plant"}},
    {cmd_ps, 3, {"ps", "plant", "--json"}},
    {cmd_status, 2, {"status", "plant"}},
    {cmd_deadletter, 3, {"deadletter", "list", "plant"}},
    {cmd_deadletter, 4, {"deadletter", "list", "plant", "--json"}},
    {cmd_deadletter, 4, {"deadletter", "show", "plant", "7"}},
    {cmd_deadletter, 5, {"deadletter", "show", "plant", "7", "--json"}},
    {cmd_deadletter, 4, {"deadletter", "drop", "plant", "7"}},
    {cmd_query, 3, {"query", "plant", "hours"}},
    {cmd_query, 6, {"query", "plant", "hours", "--json", "--from", "{\"key\":7}"}},
    {cmd_query, 6, {"query", "plant", "hours", "--index", "--to", "{\"value\":7}"}},
    {cmd_logs, 2, {"logs", "plant"}},
    {cmd_logs, 3, {"logs", "plant", "--json"}},
    {cmd_logs, 3, {"logs", "plant", "--host"}},
    {cmd_audit, 3, {"audit", "show", "plant"}},
    {cmd_audit, 4, {"audit", "show", "plant", "--json"}},
};
#define FD 5000 // every descriptor
#define COMMANDS (sizeof commands / sizeof commands[0])

static const char *const words[] = {
    "\"ok\":true", "\"ok\":false", "\"end\":true", "\"error\":\"e\"", "null", "true", "7", "-1", "1e300", "[]", "{}", "\"\"",
    "\\u001b[2J", "\\u009b2J", "\xc2\x9b", "\x1b", "\x7f", "\"key\":[0]", "\"key\":[1,99]", "\"index\":[0.5]", "\"count\":1",
    "\"id\":1", "\"time_ms\":1700000000000", "\"time_ms\":-9e99", "\"payload\":\"00\"", "\"value\":\"0000000000000000\"",
    "\"schema\":\"00\"", "\"unikernels\":[{}]", "\"flows\":[{\"flow\":\"a\"}]", "\"problems\":[{}]", "\"refusals\":{\"a\":{\"b\":1}}",
    "\"last_fault\":\"x\"", "\"unikernel\":\"decode\"", "\"level\":\"info\"", "\"text\":\"t\"", "\"source\":\"store\"", "\"record\":{}"};

static struct {
    const uint8_t *bytes;
    size_t size, at;
    int is_json;
    char line[1 << 17];
    size_t line_bytes;
} told;
static FILE *out;

// ---- Stand-ins ----
enum status __wrap_state_find(const char *state, const char *system, char folder[]);
int __wrap_state_is_running(const char *folder);
int __wrap_socket(int domain, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
enum status __wrap_channel_receive_fd(int channel_fd, void *bytes, size_t capacity, size_t *size, int *fd, int wait);
ssize_t __wrap_read(int fd, void *bytes, size_t size);
ssize_t __real_read(int fd, void *bytes, size_t size);
ssize_t __wrap___read_chk(int fd, void *bytes, size_t size, size_t room); // what a fortified build calls
enum status __wrap_store_client_open(struct store_client *client, const char *folder, const char *op);
ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__real_fopen(const char *path, const char *mode);
int __wrap_access(const char *path, int mode);
int __real_access(const char *path, int mode);
int __wrap_open(const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
int __wrap_close(int fd);
int __real_close(int fd);
enum status __wrap_log_key_read(struct log_key *key, int directory, const char **why);
enum status __wrap_log_checkpoint_read(struct checkpoint *checkpoint, int directory, const struct log_key *key,
                                       const char **why);
enum status __wrap_log_bundle_read(uint8_t **bytes, size_t *size, int directory, uint64_t index, unsigned width);
void __wrap_report_error(const char *file, int line, const char *mend, const char *what, ...);
void __wrap_report_progress(const char *what, ...);

enum status __wrap_state_find(const char *state, const char *system, char folder[])
{
    (void)state, (void)system;
    memcpy(folder, "/w/plant", 9);
    return STATUS_OK;
}

int __wrap_state_is_running(const char *folder)
{
    (void)folder;
    return 0; // logs are read from their file
}

int __wrap_socket(int domain, int type, int protocol)
{
    (void)domain, (void)type, (void)protocol;
    return FD;
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    (void)address, (void)size;
    return fd == FD ? 0 : -1;
}

// The supervisor's reply comes in pieces.
ssize_t __wrap_read(int fd, void *bytes, size_t size)
{
    if (fd != FD)
        return __real_read(fd, bytes, size);
    size_t count = told.size - told.at < size ? told.size - told.at : size;
    count = count > 100 ? 100 : count;
    memcpy(bytes, told.bytes + told.at, count);
    told.at += count;
    return (ssize_t)count;
}

ssize_t __wrap___read_chk(int fd, void *bytes, size_t size, size_t room)
{
    must(size <= room);
    return __wrap_read(fd, bytes, size);
}

enum status __wrap_channel_receive_fd(int channel_fd, void *bytes, size_t capacity, size_t *size, int *fd, int wait)
{
    (void)wait;
    *fd = -1;
    *size = (size_t)__wrap_read(channel_fd, bytes, capacity);
    return *size == 0 ? STATUS_CLOSED : STATUS_OK;
}

static FILE *told_file(void)
{
    return told.size == 0 ? NULL : fmemopen((void *)(uintptr_t)told.bytes, told.size, "r");
}

enum status __wrap_store_client_open(struct store_client *client, const char *folder, const char *op)
{
    (void)folder, (void)op;
    *client = (struct store_client){.lines = told_file()};
    return client->lines != NULL ? STATUS_OK : STATUS_SYSTEM;
}

ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags)
{
    (void)fd, (void)flags;
    cJSON *json = cJSON_ParseWithLength(bytes, size);
    must(cJSON_IsObject(json) && ((const char *)bytes)[size - 1] == '\n');
    cJSON_Delete(json);
    return (ssize_t)size;
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    return strncmp(path, "/w/", 3) == 0 ? told_file() : __real_fopen(path, mode);
}

int __wrap_access(const char *path, int mode)
{
    return out != NULL && stdout == out ? -1 : __real_access(path, mode); // not an image that is named in a reply
}

int __wrap_open(const char *path, int flags, ...)
{
    return strncmp(path, "/w/", 3) == 0 ? FD : __real_open(path, flags, 0600);
}

int __wrap_close(int fd) { return fd == FD ? 0 : __real_close(fd); }

enum status __wrap_log_key_read(struct log_key *key, int directory, const char **why)
{
    (void)key, (void)directory, (void)why;
    return STATUS_OK;
}

static unsigned entry_count(void)
{
    size_t offset = 0, entry_bytes;
    unsigned count = 0;
    while (count < 256 && log_bundle_next(told.bytes, told.size, &offset, &entry_bytes) != NULL)
        count++;
    return count;
}

enum status __wrap_log_checkpoint_read(struct checkpoint *checkpoint, int directory, const struct log_key *key,
                                       const char **why)
{
    (void)directory, (void)key, (void)why;
    *checkpoint = (struct checkpoint){.size = entry_count()};
    return STATUS_OK;
}

enum status __wrap_log_bundle_read(uint8_t **bytes, size_t *size, int directory, uint64_t index, unsigned width)
{
    (void)directory;
    must(index == 0 && width == entry_count());
    *bytes = malloc(told.size + 1);
    memcpy(*bytes, told.bytes, told.size);
    *size = told.size;
    return STATUS_OK;
}

void __wrap_report_error(const char *file, int line, const char *mend, const char *what, ...)
{
    char text[4096];
    va_list arguments;
    (void)file, (void)line, (void)mend;
    va_start(arguments, what);
    (void)vsnprintf(text, sizeof text, what, arguments);
    va_end(arguments);
}

void __wrap_report_progress(const char *what, ...) { (void)what; }

static ssize_t print(void *cookie, const char *bytes, size_t size)
{
    (void)cookie;
    for (size_t i = 0; i < size; i++) {
        uint8_t c = (uint8_t)bytes[i], before = told.line_bytes == 0 ? 0 : (uint8_t)told.line[told.line_bytes - 1];
        must((c >= 0x20 || c == '\n') && c != 0x7f && !(before == 0xc2 && c < 0xa0));
        must(told.line_bytes < sizeof told.line);
        told.line[told.line_bytes++] = (char)c;
        if (c != '\n')
            continue;
        if (told.is_json) {
            cJSON *json = cJSON_ParseWithLength(told.line, told.line_bytes);
            must(json != NULL || told.line_bytes == 1);
            cJSON_Delete(json);
        }
        told.line_bytes = 0;
    }
    return (ssize_t)size;
}

// ---- The target ----
size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static const char *const texts[] = {
        "{\"ok\":true,\"system\":\"plant\",\"unikernels\":[{\"unikernel\":\"decode\",\"instances_live\":1,\"last_fault\":\"x\"}],"
        "\"processes\":[{\"process\":\"store\",\"pid\":7}],\"problems\":[{\"problem\":\"p\",\"mend\":\"m\"}]}",
        "{\"ok\":true,\"flows\":[{\"flow\":\"raw\",\"failed_by\":{\"range\":2}}],\"refusals\":{\"decode\":{\"bad\":1}},\"store\":{},"
        "\"audit\":{\"root\":\"00\"}}",
        "{\"id\":7,\"time_ms\":1700000000000,\"reason\":\"range\",\"text\":\"a \\u009bb\"}\n{\"ok\":true,\"count\":1,\"end\":true}\n",
        "{\"ok\":true,\"id\":7,\"time_ms\":1,\"text\":\"t\",\"payload\":\"0102\",\"end\":true}\n",
        "", // made below
        "{\"time_ms\":1700000000123,\"unikernel\":\"decode\",\"level\":\"info\",\"text\":\"caf\\u00e9 \\u009b2J\"}\nno json\n",
        "\0\x4c{\"source\":\"store\",\"sequence\":1,\"time_ms\":1700000000000,\"record\":{\"a\":\"\\u009b\"}}\0\2[]",
    };
    static const uint8_t text_of[COMMANDS] = {0, 0, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6};
    if (index >= COMMANDS)
        return 0;
    bytes[0] = (uint8_t)index;
    unsigned which = text_of[index];
    if (which == 6) {
        memcpy(bytes + 1, texts[6], 82);
        return 83;
    }
    if (which != 4) {
        memcpy(bytes + 1, texts[which], strlen(texts[which]));
        return 1 + strlen(texts[which]);
    }
    struct {
        struct schema_header header;
        struct schema_field fields[2];
    } block = {{.name = "x/1", .block_bytes = sizeof block, .field_count = 2, .struct_bytes = 8},
               {{.name = "key", .type = SCHEMA_U32, .maximum = 9},
                {.name = "value", .type = SCHEMA_U32, .offset = 4, .maximum = 99}}};
    char hex[2 * sizeof block + 1];
    for (size_t i = 0; i < sizeof block; i++)
        snprintf(hex + 2 * i, 3, "%02x", ((const uint8_t *)&block)[i]);
    return 1 + (size_t)snprintf((char *)bytes + 1, 4096,
                                "{\"ok\":true,\"schema\":\"%s\",\"key\":[0],\"index\":[1],\"end\":true}\n"
                                "{\"key\":\"00\",\"version\":1,\"value\":\"0700000009000000\"}\n"
                                "{\"ok\":true,\"count\":1,\"end\":true}\n", hex);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    return words_mutate(data, size, max_size, seed, 1, words, sizeof words / sizeof words[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char copies[6][24], *arguments[7] = {NULL};
    if (size < 2)
        return 0;
    if (out == NULL)
        out = fopencookie(NULL, "w", (cookie_io_functions_t){.write = print});
    const struct command_line *command = &commands[data[0] % COMMANDS];
    told.bytes = data + 1;
    told.size = size - 1;
    told.at = told.line_bytes = 0;
    told.is_json = 0;
    for (int i = 0; i < command->count; i++) {
        told.is_json |= strcmp(command->words[i], "--json") == 0 && command->run != cmd_logs; // which are lines as they are
        snprintf(copies[i], sizeof copies[i], "%s", command->words[i]);
        arguments[i] = copies[i];
    }
    FILE *kept = stdout;
    stdout = out;
    int code = command->run(command->count, arguments);
    fflush(out);
    stdout = kept;
    must(code >= EXIT_OK && code <= EXIT_DENIED);
    return 0;
}
