// SPDX-License-Identifier: ISC
// Fuzz target: `ps` and `status` over status pages that hostile processes have written. What comes out is JSON whose
// texts are printable and whose numbers are numbers.
//
// Input: pieces for the pages: which page, from where, so many bytes; what is left fills the last fault of each tender.
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/must.h"
#include "tests/fuzz/take.h"

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
#include "supervisor/memory.h"
#include "supervisor/report.h"
#include "supervisor/supervisor.h"
#include "tests/unit/system_sample.h"

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/statvfs.h>

#define PAGES 9u

#define ARENA_BYTES (4u << 20)

static struct supervisor supervisor;
static _Alignas(8) uint8_t pages[PAGES][STATUS_PAGE_BYTES];
static size_t touched[PAGES]; // bytes of it that may differ from zero

// Reports are made of hundreds of small pieces: memory that is only taken, and given back at once, is faster.
static _Alignas(16) uint8_t arena[ARENA_BYTES];
static size_t arena_used;

static void *arena_take(size_t size)
{
    size_t at = arena_used;
    arena_used += (size + 15) & ~(size_t)15;
    must(arena_used <= sizeof arena);
    return arena + at;
}

static void arena_give(void *bytes) { (void)bytes; }

struct memory __wrap_memory_of(pid_t pid);
int __wrap_fstatvfs(int fd, struct statvfs *stat);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__real_fopen(const char *path, const char *mode);

struct memory __wrap_memory_of(pid_t pid)
{
    (void)pid;
    return (struct memory){.processes = 1, .rss_bytes = 4096};
}

int __wrap_fstatvfs(int fd, struct statvfs *stat)
{
    (void)fd;
    *stat = (struct statvfs){.f_blocks = 1};
    return 0;
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    return strncmp(path, "/proc/", 6) == 0 ? NULL : __real_fopen(path, mode); // the replay's own files
}

static void add_member(enum role role, unsigned index, const char *name)
{
    struct member *m = &supervisor.members[supervisor.member_count];
    *m = (struct member){.supervisor = &supervisor, .role = role, .index = (uint16_t)index, .name = name,
                         .state = MEMBER_UP, .page = pages[supervisor.member_count]};
    must(supervisor.member_count++ < PAGES);
}

static void start(void)
{
    const char *why = NULL;
    cJSON_InitHooks(&(cJSON_Hooks){arena_take, arena_give});
    fill();
    must(system_open(&supervisor.system, (const uint8_t *)&good, sizeof good, &why) == STATUS_OK);
    add_member(ROLE_AUDIT, 0, "audit");
    add_member(ROLE_STORE, 0, "store");
    add_member(ROLE_ROUTER, 0, "router");
    add_member(ROLE_SERVICE, 0, "login");
    add_member(ROLE_GATEWAY, 0, "mqtt");
    add_member(ROLE_COURIER, 0, "cloud");
    for (unsigned i = 0; i < UNIKERNELS; i++)
        add_member(ROLE_TENDER, i, supervisor.system.unikernels[i].name);
    snprintf(supervisor.state_path, sizeof supervisor.state_path, "/state");
}

static void judge(const cJSON *json)
{
    for (const char *at = json->string; at != NULL && *at != 0; at++)
        must(*at >= 0x20 && *at < 0x7f);
    for (const char *at = cJSON_GetStringValue(json); at != NULL && *at != 0; at++)
        must(*at >= 0x20 && *at < 0x7f);
    must(!cJSON_IsNumber(json) || (json->valuedouble >= 0 && json->valuedouble <= 18446744073709551616.0));
    for (const cJSON *child = json->child; child != NULL; child = child->next)
        judge(child);
}

static void report(void (*make)(struct supervisor *, cJSON *))
{
    arena_used = 0;
    cJSON *reply = cJSON_CreateObject();
    make(&supervisor, reply);
    judge(reply);
    must(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(reply, "unikernels")) ==
         (make == report_ps ? UNIKERNELS : 0));
}

size_t fuzz_seed(unsigned index, uint8_t bytes[FUZZ_BYTES_MAX])
{
    static const char fault[] = "SIGSEGV: write to 0x8 in page 0 at decode+0x1a3 (build 0123456789abcdef)";
    size_t size = 0;
    if (index > PAGES)
        return 0;
    for (unsigned i = 0; i < 4; i++) { // a few numbers in a page
        bytes[size++] = (uint8_t)index;
        bytes[size++] = (uint8_t)(i * 16);
        bytes[size++] = 0;
        bytes[size++] = 8;
        memset(bytes + size, i == 3 ? 0xff : (int)i, 8);
        size += 8;
    }
    bytes[size++] = 0xff;
    memcpy(bytes + size, fault, sizeof fault);
    return size + sizeof fault;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int is_started;
    struct take take = {data, size};
    if (!is_started)
        start();
    is_started = 1;
    for (unsigned i = 0; i < PAGES; i++) {
        memset(pages[i], 0, touched[i]);
        touched[i] = 0;
    }
    while (take.left != 0) {
        uint8_t which = take_byte(&take);
        if (which >= PAGES)
            break;
        size_t at = take_number(&take, 2) * 8 % sizeof(struct router_page);
        size_t most = sizeof pages[0] - at, count = take_byte(&take);
        at += take_bytes(&take, pages[which] + at, count < most ? count : most);
        touched[which] = at > touched[which] ? at : touched[which];
    }
    for (size_t i = PAGES - UNIKERNELS; take.left != 0 && i < PAGES; i++) {
        struct tender_page *page = (struct tender_page *)(void *)pages[i];
        page->fault_count = 1;
        take_bytes(&take, (uint8_t *)&page->last_fault, sizeof page->last_fault);
        touched[i] = touched[i] > sizeof *page ? touched[i] : sizeof *page;
    }
    report(report_ps);
    report(report_status);
    return 0;
}
