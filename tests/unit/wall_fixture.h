// SPDX-License-Identifier: ISC
// A wall with guests made of a few lines of C, mostly one at a time.
#ifndef CRENEL_TESTS_WALL_FIXTURE_H
#define CRENEL_TESTS_WALL_FIXTURE_H

#include "tests/unit/test.h"

#include "core/check.h"
#include "tender/wall.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#ifndef WALL_FIXTURE_SLOTS
#define WALL_FIXTURE_SLOTS 4
#endif

// Guests. They live in a section of their own, are copied as the image's text, and know nothing but the
// boot block.
#define GUEST                                                                                      \
    __attribute__((section("guest_text"), used, noreturn, no_stack_protector,                      \
                   no_sanitize("address", "undefined")))
extern const uint8_t __start_guest_text[], __stop_guest_text[];

#define WAIT(boot) ((void (*)(void))(uintptr_t)(boot)->gate)()
#define PUBLISHED(boot) ((volatile struct abi_output *)(uintptr_t)(boot)->output)->published_bytes
#define HANG() for (;;) __asm__ volatile("pause")

static struct loop loop;
static struct image image;
static struct manifest_header header = {.arena_bytes = 8192, .stack_bytes = 8192};
static struct guest_memory memory;
static struct wall *wall;
static unsigned published, crashed, gone;
static uint64_t last_bytes;
static struct link_crash last_crash;

static void on_published(void *context, unsigned slot)
{
    (void)context, (void)slot;
    published++;
}
static void on_crashed(void *context, unsigned slot, const struct link_crash *crash)
{
    (void)context;
    crashed++;
    last_crash = *crash;
    wall->calls->kill(wall, slot);
}
static void on_gone(void *context, unsigned slot, uint64_t bytes)
{
    (void)context, (void)slot;
    gone++;
    last_bytes = bytes;
}
static void on_failed(void *context)
{
    (void)context;
    check(0 && "the wall failed");
}

static void make_image(void (*entry)(const struct abi_boot *))
{
    size_t size = (size_t)(__stop_guest_text - __start_guest_text);
    image = (struct image){
        .bytes = __start_guest_text,
        .size = size,
        .entry = (uint32_t)((uintptr_t)entry - (uintptr_t)__start_guest_text),
        .span_bytes = (uint32_t)((size + 4095) & ~(size_t)4095),
        .segment_count = 1,
        .segments = {{IMAGE_TEXT, 0, (uint32_t)size, 0, (uint32_t)size}},
        .manifest = {.header = &header},
    };
}

// Runs the loop until *counter reaches `wanted`; gives up after 5 seconds.
static int until(const unsigned *counter, unsigned wanted)
{
    int64_t end = loop_clock_ms() + 5000;
    while (*counter < wanted && loop_clock_ms() < end)
        check(loop_once(&loop, 100) == STATUS_OK);
    return *counter >= wanted;
}

static int begin(void (*entry)(const struct abi_boot *), unsigned slot)
{
    make_image(entry);
    wall->calls->renew(wall);
    published = crashed = gone = 0;
    memset(&last_crash, 0, sizeof last_crash);
    wall->calls->create(wall, slot);
    return until(&published, 1);
}

typedef struct wall *wall_opener(const struct wall_config *config, const char **step);

static inline struct wall *open_kvm(const struct wall_config *config, const char **step)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    *step = "/dev/kvm";
    return fd < 0 ? NULL : wall_kvm_open(config, fd, step);
}

// False: this host does not let a process do that; why was printed.
static int open_wall(void (*entry)(const struct abi_boot *), wall_opener *opener)
{
    const char *step = NULL;
    struct layout layout;
    make_image(entry);
    layout_make(&layout, &image, 0);
    check(loop_init(&loop) == STATUS_OK &&
          guest_memory_init(&memory, guest_memory_file(), WALL_FIXTURE_SLOTS, &layout) == STATUS_OK);
    static const struct system_unikernel unikernel;
    struct wall_config config = {
        .unikernel = &unikernel,
        .loop = &loop,
        .image = &image,
        .memory = &memory,
        .events = {NULL, on_published, on_crashed, on_gone, on_failed},
    };
    wall = opener(&config, &step);
    if (wall == NULL)
        fprintf(stderr, "%s\n", step);
    return wall != NULL;
}

#endif
