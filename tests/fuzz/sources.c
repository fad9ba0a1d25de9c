// SPDX-License-Identifier: ISC
// Fuzz target: what people write: schema files, unikernel.yaml, system.yaml. Files are in memory; the images that a
// system names are those of three small unikernels.
//
// Input: 's', 'u' or 'y', the file. What must hold: a file is refused with a report that says what is wrong, or gives what
// the readers of the hosts take (both schema checkers, the manifest's, the compiled system's); never "a bug of crenel".
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/schema_oracle.h"
#include "tests/fuzz/words.h"

#include "cli/build/build.h"
#include "cli/build/build_source.h"
#include "cli/report.h"
#include "cli/source/compile_state.h"
#include "cli/source/schema_source.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/stat.h>

#define YAML_ALLOCATION ((1u << 20) + 1)

static const struct file {
    const char *path, *text;
} files[] = {
    {"/w/wire.yaml", "schema: wire/1\nfields:\n  - {name: is_closed, type: bool}\n  - {name: bytes, type: bytes, most: 2048}\n"},
    {"/w/request.yaml", "schema: password-request/1\nfields:\n  - {name: user, type: string, most: 32, class: token}\n"
                        "  - {name: password, type: bytes, most: 128}\n"},
    {"/w/reply.yaml", "schema: password-reply/1\nfields:\n  - {name: is_accepted, type: bool}\n"
                      "  - {name: principal, type: u16, min: 0, max: 64}\n"},
    {"/w/publish.yaml", "schema: publish/1\nfields:\n  - {name: qos, type: u8, min: 0, max: 1}\n  - {name: is_duplicate, type: bool}\n"
                        "  - {name: topic, type: string, most: 128, class: topic}\n  - {name: payload, type: bytes, most: 1024}\n"},
    {"/w/reading.yaml", "schema: reading/1\nfields:\n  - {name: sensor, type: u32, min: 1, max: 4096}\n"
                        "  - {name: value, type: i32, decimals: 3, min: -40.000, max: 150.000, unit: Cel}\n"
                        "  - {name: sequence, type: u64, min: 1, max: 9007199254740991}\n"},
    {"/w/mqtt/unikernel.yaml",
     "unikernel: mqtt\nrelease: 1.0.0\nsecurity_version: 1\nlifetime: connection\nisolation: any\nrandom: false\n"
     "memory: {arena: 4KiB, stack: 16KiB}\ndeadline: 1s\nsources: [mqtt.c]\nschemas: [../wire.yaml, ../request.yaml, ../reply.yaml, ../publish.yaml]\n"
     "inputs:\n  - {flow: wire, schema: wire/1}\n  - {flow: login_reply, schema: password-reply/1}\n"
     "  - {flow: deliver_0, schema: publish/1}\noutputs:\n  - {flow: wire, schema: wire/1, most: 1}\n"
     "  - {flow: login, schema: password-request/1, most: 1, reply: login_reply}\n  - {flow: publish_0, schema: publish/1, most: 16}\n"},
    {"/w/decode/unikernel.yaml",
     "unikernel: decode\nrelease: 1.0.0\nsecurity_version: 1\nlifetime: message\nisolation: any\nrandom: false\n"
     "memory: {arena: 4KiB, stack: 16KiB}\ndeadline: 100ms\nsources: [decode.c]\ndefines: [A=1]\n"
     "schemas: [../publish.yaml, ../reading.yaml]\ninputs:\n  - {flow: raw, schema: publish/1}\noutputs:\n"
     "  - {flow: reading, schema: reading/1, most: 1}\nrefusals: [malformed-json, bad-time]\n"},
    {"/w/detect/unikernel.yaml",
     "unikernel: detect\nrelease: 1.0.0\nsecurity_version: 1\nlifetime: resident\nisolation: process\nrandom: false\n"
     "memory: {arena: 4KiB, stack: 8KiB}\ndeadline: 100ms\nsources: [detect.c]\nschemas: [../reading.yaml, ../publish.yaml]\ninputs:\n"
     "  - {flow: reading, schema: reading/1}\noutputs:\n  - {flow: alarm, schema: publish/1, most: 1}\nnamespaces:\n"
     "  - {name: models, schema: reading/1, key: [sensor], index: [value], access: [read, write]}\nwrites: 1\n"},
};
static const char system_text[] =
    "system: plant\ntenant: works\nsecurity_version: 1\nlimits: best-effort\nprincipals: [press-7, rig-2]\nunikernels:\n"
    "  mqtt: {image: mqtt.img, memory: 16MiB, cpu: 100%, instances: 4, deadline: 1s}\n"
    "  decode: {image: decode.img, memory: 16MiB, cpu: 50%, instances: 2, deadline: 100ms}\n"
    "  detect: {image: detect.img, memory: 16MiB, cpu: 50%, instances: 1, deadline: 100ms}\ngateways:\n"
    "  tcp: {listen: 127.0.0.1:1883, unikernel: mqtt, connections: 4, input: wire_in, output: wire_out,\n"
    "    topics: [{filter: plant/+, publish: raw, principals: [press-7]}, {filter: alarms, subscribe: alarms, principals: anyone}]}\n"
    "services:\n  login: {kind: password, request: login, reply: login_reply, file: passwords}\nflows:\n"
    "  wire_in: {from: gateway:tcp, to: [mqtt.wire], rate: {per_second: 20, burst: 20, per: connection}, principals: anyone}\n"
    "  wire_out: {from: mqtt.wire, to: [gateway:tcp], rate: {per_second: 20, burst: 20}, principals: anyone}\n"
    "  login: {from: mqtt.login, to: [service:login], rate: {per_second: 9, burst: 9}, principals: anyone}\n"
    "  login_reply: {from: service:login, to: [mqtt.login_reply], rate: {per_second: 9, burst: 9}, principals: anyone}\n"
    "  raw: {from: mqtt.publish_0, to: [decode.raw], durable: {cap: 200}, key: topic, rate: {per_second: 50, burst: 50}, principals: [press-7]}\n"
    "  reading: {from: decode.reading, to: [detect.reading], durable: {cap: 200}, key: sensor, sequence: sequence, keys: 40,\n"
    "    rate: {per_second: 50, burst: 5}, principals: [press-7, rig-2]}\n"
    "  alarms: {from: detect.alarm, to: [mqtt.deliver_0], rate: {per_second: 50, burst: 5}, principals: anyone}\n"
    "namespaces:\n  models: {schema: reading/1, key: [sensor], index: [value], records: 96, read: [detect], write: [detect]}\n"
    "never:\n  - {from: outside, to: detect, unless_through: [decode]}\n";

static const char small_text[] =
    "system: plant\ntenant: works\nsecurity_version: 1\nunikernels:\n"
    "  decode: {image: decode.img, memory: 16MiB, cpu: 50%, instances: 2, deadline: 100ms, unused: [raw]}\n"
    "  detect: {image: detect.img, memory: 16MiB, cpu: 50%, instances: 1, deadline: 100ms, unused: [alarm]}\nflows:\n"
    "  reading: {from: decode.reading, to: [detect.reading], durable: {cap: 200}, key: sensor,\n"
    "    rate: {per_second: 50, burst: 5}, principals: anyone}\n"
    "namespaces:\n  models: {schema: reading/1, key: [sensor], index: [value], records: 96, read: [detect], write: [detect]}\n";

static const char *const words[] = {
    "u8", "u64", "i64", "i8", "bool", "enum", "string", "bytes", "array", "most", "class", "of", "min", "max", "decimals",
    "unit", "relations", "0", "-1", "1", "64", "65536", "18446744073709551615", "9223372036854775808", "999999999999999999999",
    "utf8", "topic", "mqtt", "decode", "detect", "decode.raw", "mqtt.wire", "gateway:tcp", "service:login", "router:subscription",
    "message", "connection", "resident", "reply", "request", "anyone", "outside", "per", "connection", "durable", "timer",
    "1KiB", "16MiB", "100%", "1s", "100ms", "[]", "{}", "~", "''", "''\n", "- ", "{name: a, type: u8, min: 0, max: 1}", "a < b",
    "unless_through", "enforced", "kvm", "process", "key", "index", "sequence", "keys", "unused", "configuration", "isolation",
    "127.0.0.1:1883", "[::1]:80", "reading/1", "wire/1", "publish/1", "dead_letters", "without-payload", "random", "true"};

static const char *fuzz_text;
static size_t fuzz_bytes;
static const char *fuzz_path; // the file that the input is
static unsigned reports;
static struct image images[3];
static _Alignas(8) uint8_t manifests[3][8192];
static FILE *nowhere;

// ---- Stand-ins. Only what is below /w/ is theirs: libFuzzer's own calls come here too. ----
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__real_fopen(const char *path, const char *mode);
char *__wrap_realpath(const char *path, char *resolved);
char *__wrap___realpath_chk(const char *path, char *resolved, size_t size); // what a fortified build calls
int __wrap_stat(const char *path, struct stat *stat);
int __real_stat(const char *path, struct stat *stat);
int __wrap_mkdir(const char *path, mode_t mode);
int __real_mkdir(const char *path, mode_t mode);
int __wrap_access(const char *path, int mode);
int __real_access(const char *path, int mode);
void *__wrap_realloc(void *old, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__real_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_calloc(size_t count, size_t size);
void __wrap_free(void *bytes);
void __real_free(void *bytes);
enum status __wrap_build_unikernel(const char *folder, const char *image_path);
enum status __wrap_image_read(const char *path, uint8_t **bytes, struct image *image, uint8_t digest[32]);
void __wrap_report_error(const char *file, int line, const char *mend, const char *what, ...);

FILE *__wrap_fopen(const char *path, const char *mode)
{
    if (strncmp(path, "/w", 2) != 0)
        return __real_fopen(path, mode);
    if (fuzz_path != NULL && strcmp(path, fuzz_path) == 0)
        return fmemopen((void *)(uintptr_t)fuzz_text, fuzz_bytes, "r");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (strcmp(path, files[i].path) == 0)
            return fmemopen((void *)(uintptr_t)files[i].text, strlen(files[i].text), "r");
    errno = ENOENT;
    return NULL;
}

// Takes "x/../" out; what is not below /w/ does not exist.
char *__wrap_realpath(const char *path, char *resolved)
{
    char text[2 * PATH_MAX];
    snprintf(text, sizeof text, "%s", path);
    for (char *up; (up = strstr(text + 1, "/../")) != NULL;) {
        char *before = up;
        while (before > text && before[-1] != '/')
            before--;
        memmove(before, up + 4, strlen(up + 4) + 1);
    }
    errno = ENOENT;
    if (strncmp(text, "/w/", 3) != 0 || strlen(text) >= PATH_MAX)
        return NULL;
    if (resolved == NULL)
        return strdup(text);
    memcpy(resolved, text, strlen(text) + 1);
    return resolved;
}

char *__wrap___realpath_chk(const char *path, char *resolved, size_t size)
{
    must(size >= PATH_MAX);
    return __wrap_realpath(path, resolved);
}

int __wrap_stat(const char *path, struct stat *stat)
{
    return strncmp(path, "/w", 2) == 0 ? -1 : __real_stat(path, stat);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    return strncmp(path, "/w", 2) == 0 ? 0 : __real_mkdir(path, mode);
}

int __wrap_access(const char *path, int mode)
{
    return strncmp(path, "/w", 2) == 0 ? -1 : __real_access(path, mode);
}

// The reader of YAML takes room for the largest file: here always the same.
static uint8_t yaml_room[YAML_ALLOCATION];
void *__wrap_realloc(void *old, size_t size)
{
    return old == NULL && size == sizeof yaml_room ? yaml_room : __real_realloc(old, size);
}

// Compilers make this of the one above.
void *__wrap_malloc(size_t size) { return size == sizeof yaml_room ? yaml_room : __real_malloc(size); }

// And so does the compiler for the largest system.
static uint8_t system_room[SYSTEM_BYTES_MAX] __attribute__((aligned(8)));
static size_t system_room_used;
void *__wrap_calloc(size_t count, size_t size)
{
    if (count * size != sizeof system_room)
        return __real_calloc(count, size);
    memset(system_room, 0, system_room_used);
    system_room_used = sizeof system_room;
    return system_room;
}

void __wrap_free(void *bytes)
{
    if (bytes != yaml_room && bytes != system_room)
        __real_free(bytes);
}

enum status __wrap_build_unikernel(const char *folder, const char *image_path)
{
    (void)folder, (void)image_path;
    return STATUS_DENIED;
}

enum status __wrap_image_read(const char *path, uint8_t **bytes, struct image *image, uint8_t digest[32])
{
    static const char *const names[] = {"/w/mqtt.img", "/w/decode.img", "/w/detect.img"};
    for (size_t i = 0; i < 3; i++)
        if (strcmp(path, names[i]) == 0) {
            *bytes = NULL;
            *image = images[i];
            memset(digest, (int)i + 1, 32);
            return STATUS_OK;
        }
    __wrap_report_error(path, 0, NULL, "no such image");
    return STATUS_ABSENT;
}

void __wrap_report_error(const char *file, int line, const char *mend, const char *what, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, what);
    must(vsnprintf(text, sizeof text, what, arguments) > 0);
    va_end(arguments);
    if (getenv("FUZZ_TELL") != NULL)
        dprintf(2, "%s:%d: %s\n", file != NULL ? file : "", line, text);
    must(line >= 0 && (file == NULL || file[0] != 0));
    must(mend == NULL || strncmp(mend, "this is a bug", 13) != 0);
    reports++;
}

// ---- The target ----
static void read_schema(void)
{
    uint8_t *block = NULL;
    size_t size = 0;
    struct schema schema;
    static struct oracle oracle;
    uint8_t digest[SCHEMA_DIGEST_BYTES];
    fuzz_path = "/w/fuzz.yaml";
    if (schema_source_read(fuzz_path, &block, &size) != STATUS_OK) {
        must(reports != 0);
        return;
    }
    must(reports == 0 && schema_open(&schema, block, size) == STATUS_OK && oracle_open(&oracle, block, size));
    schema_digest(block, size, digest);
    must(memcmp(digest, schema.header->digest, sizeof digest) == 0);
    schema_emit_c(&schema, nowhere);
    rewind(nowhere);
    __real_free(block);
}

static size_t read_unikernel(const char *folder, uint8_t *bytes, struct manifest *manifest)
{
    static struct build_source source;
    static _Alignas(8) uint8_t made[MANIFEST_BYTES_MAX];
    size_t size = 0;
    enum status status = build_source_read(&source, folder, "/w");
    must((status == STATUS_OK) == (reports == 0));
    if (status == STATUS_OK)
        size = build_source_manifest(&source, made);
    must(size != 0 || reports != 0);
    if (size != 0) {
        must(size <= sizeof made && manifest_open(manifest, made, size) == STATUS_OK);
        if (bytes != NULL) {
            memcpy(bytes, made, size);
            must(manifest_open(manifest, bytes, size) == STATUS_OK);
        }
    }
    build_source_clean_up(&source);
    return size;
}

static void read_system(void)
{
    static struct compile compile;
    const char *why = NULL;
    fuzz_path = "/w/system.yaml";
    enum status status = compile_open(&compile, fuzz_path, "/w/build");
    must((status == STATUS_OK) == (reports == 0));
    if (status == STATUS_OK)
        must(system_open(&compile.view, compile.bytes, compile.size, &why) == STATUS_OK);
    if (compile.bytes != NULL)
        system_room_used = compile.size;
    compile_close(&compile);
}

static void start(void)
{
    static const char *const folders[] = {"/w/mqtt", "/w/decode", "/w/detect"};
    nowhere = fmemopen(NULL, 1 << 20, "w");
    must(nowhere != NULL);
    for (int i = 0; i < 3; i++) {
        must(read_unikernel(folders[i], manifests[i], &images[i].manifest) != 0);
        images[i].span_bytes = 8192;
    }
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    const unsigned count = sizeof files / sizeof files[0];
    const char *text = index < count ? files[index].text : index == count ? system_text : small_text;
    if (index > count + 1)
        return 0;
    bytes[0] = index < 5 ? 's' : index < count ? 'u' : 'y';
    memcpy(bytes + 1, text, strlen(text));
    return 1 + strlen(text);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    return words_mutate(data, size, max_size, seed, 1, words, sizeof words / sizeof words[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int is_started;
    struct manifest manifest;
    if (!is_started)
        start();
    is_started = 1;
    if (size < 2)
        return 0;
    fuzz_text = (const char *)data + 1;
    fuzz_bytes = size - 1;
    reports = 0;
    if (data[0] == 's')
        read_schema();
    else if (data[0] == 'u') {
        fuzz_path = "/w/fuzz/unikernel.yaml";
        (void)read_unikernel("/w/fuzz", NULL, &manifest);
    } else if (data[0] == 'y')
        read_system();
    fuzz_path = NULL;
    return 0;
}
