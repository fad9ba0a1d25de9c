// SPDX-License-Identifier: ISC
// Compiling an application and linking it with the library OS.
//
// An attempt to avoid a forbidden byte sequence has its own layout: cli/build/build_layout.h.
#include "cli/build/build_tool.h"

#include "cli/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS_MAX 192u

struct arguments {
    char *list[ARGUMENTS_MAX + 1];
    size_t count;
    int is_too_many;
};

static void argument_add(struct arguments *arguments, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void argument_add(struct arguments *arguments, const char *format, ...)
{
    va_list values;
    char *text = NULL;

    if (arguments->count == ARGUMENTS_MAX) {
        arguments->is_too_many = 1;
        return;
    }
    va_start(values, format);
    if (vasprintf(&text, format, values) < 0)
        arguments->is_too_many = 1;
    else
        arguments->list[arguments->count++] = text;
    va_end(values);
}

static void arguments_clean_up(struct arguments *arguments)
{
    for (size_t i = 0; i < arguments->count; i++)
        free(arguments->list[i]);
    memset(arguments, 0, sizeof *arguments);
}

static enum status arguments_run(struct arguments *arguments, const char *output)
{
    enum status status = STATUS_TOO_LARGE;

    if (arguments->is_too_many)
        report_error(NULL, 0, NULL, "too many arguments for %s", arguments->list[0]);
    else
        status = tool_run(arguments->list, output);
    arguments_clean_up(arguments);
    return status;
}

static const char *compiler(void)
{
    const char *name = getenv("CRENEL_CC");
    return name == NULL || name[0] == 0 ? "gcc" : name;
}

static int is_clang(void)
{
    return strstr(compiler(), "clang") != NULL;
}

// Other code for the same source. Clang knows few of the options that the layout names, but levels and alignments.
static void variant_add(struct arguments *arguments, const struct layout *layout, size_t index)
{
    static const char *const levels[] = {"-O2", "-Os", "-O1", "-O3", "-Oz"};
    unsigned variant = layout->variant[index], level_count = sizeof levels / sizeof levels[0];
    size_t option_count;
    const char *const *options = layout_options(layout, index, &option_count);

    if (variant == 0)
        return;
    argument_add(arguments, "-w"); // the plain way has warned
    if (is_clang()) {
        argument_add(arguments, "%s", levels[variant % level_count]);
        argument_add(arguments, "-falign-functions=%u", 16u << variant / level_count);
        return;
    }
    for (size_t i = 0; i < option_count; i++)
        argument_add(arguments, "%s", options[i]);
}

// The compiler's own headers (stdint.h and the like) are the only ones besides ours.
static enum status compiler_headers(const struct tool_build *build, char folder[PATH_MAX])
{
    struct arguments arguments = {0};
    char output[PATH_MAX];
    char *text;
    size_t size;

    if (tool_path(output, "%s/headers", build->work) != STATUS_OK)
        return STATUS_TOO_LARGE;
    argument_add(&arguments, "%s", compiler());
    argument_add(&arguments, "-print-file-name=include");
    enum status status = arguments_run(&arguments, output);
    if (status == STATUS_OK)
        status = tool_read(output, PATH_MAX - 1, &text, &size);
    if (status != STATUS_OK) {
        report_error(NULL, 0, NULL, "%s does not say where its headers are", compiler());
        return status;
    }
    text[strcspn(text, "\n")] = 0;
    status = tool_path(folder, "%s", text);
    free(text);
    return status;
}

// __FILE__ reaches the image and must not depend on where the folder lies. Debug information does not.
static void prefix_map_add(struct arguments *arguments, const struct tool_build *build,
                           const char *path)
{
    const char *slash = strrchr(path, '/');

    argument_add(arguments, "-fmacro-prefix-map=%.*s=%s", (int)(slash - path), path,
                 build->source->header.name);
}

static enum status file_compile(const struct tool_build *build, const struct layout *layout,
                                const char *headers, const char *path, size_t index)
{
    const struct build_source *source = build->source;
    struct arguments arguments = {0};

    argument_add(&arguments, "%s", compiler());
    argument_add(&arguments, "@%s/compile.flags", build->guest);
    argument_add(&arguments, "@%s/compile.%s.flags", build->guest,
                 is_clang() ? "clang" : "gcc");
    argument_add(&arguments, "-isystem");
    argument_add(&arguments, "%s", headers);
    argument_add(&arguments, "-I%s/include", build->guest);
    argument_add(&arguments, "-I%s", build->work);
    argument_add(&arguments, "-fmacro-prefix-map=%s=%s", build->work, source->header.name);
    prefix_map_add(&arguments, build, path);
    for (size_t i = 0; i < source->define_count; i++)
        argument_add(&arguments, "-D%s", source->defines[i]);
    variant_add(&arguments, layout, index);
    argument_add(&arguments, "-MMD");
    argument_add(&arguments, "-MF%s/%zu.d", build->work, index);
    argument_add(&arguments, "-c");
    argument_add(&arguments, "-o%s/%zu.o", build->work, index);
    argument_add(&arguments, "%s", path);
    enum status status = arguments_run(&arguments, NULL);
    if (status == STATUS_DENIED)
        report_error(path, 0, NULL, "does not compile (see above)");
    return status;
}

enum status tool_compile(const struct tool_build *build, const struct layout *layout)
{
    char headers[PATH_MAX], dispatch[PATH_MAX];
    size_t count = build->source->source_count;

    if (memchr(layout->is_due, 1, count + 1) == NULL)
        return STATUS_OK;
    enum status status = compiler_headers(build, headers);
    if (status == STATUS_OK)
        status = tool_path(dispatch, "%s/%s_dispatch.c", build->work, build->source->header.name);
    for (size_t i = 0; status == STATUS_OK && i <= count; i++)
        if (layout->is_due[i])
            status = file_compile(build, layout, headers,
                                  i == count ? dispatch : build->source->sources[i], i);
    return status;
}

// Says what the linker missed in the words of the author.
static void link_explain(const struct tool_build *build, const char *output)
{
    static const char reference[] = "undefined reference to `";
    const struct build_source *source = build->source;
    char *text, mend[160];
    size_t size;

    if (tool_read(output, 1 << 20, &text, &size) != STATUS_OK)
        return;
    const char *at = strstr(text, reference);
    if (at == NULL)
        fputs(text, stderr);
    for (; at != NULL; at = strstr(at, reference)) {
        at += sizeof reference - 1;
        int length = (int)strcspn(at, "'");
        if (strncmp(at, "on_", 3) == 0)
            snprintf(mend, sizeof mend,
                     "write: void %.*s(const struct event *event, const struct ... *message)", length,
                     at);
        else
            snprintf(mend, sizeof mend, "there is no libc here: crenel.h lists what there is");
        report_error(source->path, 0, mend, "nothing defines %.*s", length, at);
    }
    free(text);
}

enum status tool_link(const struct tool_build *build, const struct layout *layout)
{
    struct arguments arguments = {0};
    char output[PATH_MAX];

    if (tool_path(output, "%s/link", build->work) != STATUS_OK)
        return STATUS_TOO_LARGE;
    argument_add(&arguments, "%s", compiler());
    argument_add(&arguments, "-nostdlib");
    argument_add(&arguments, "-static-pie");
    argument_add(&arguments, "-Wl,-T,%s/image.ld", build->guest);
    argument_add(&arguments, "-Wl,--defsym=image_slide=%u", layout_slide(layout));
    if (layout_order(layout) != NULL)
        argument_add(&arguments, "-Wl,--sort-section=%s", layout_order(layout));
    argument_add(&arguments, "-Wl,-Map=%s/map", build->work);
    argument_add(&arguments, "-Wl,--gc-sections,--build-id=none,-z,norelro,-z,noexecstack,-z,text");
    argument_add(&arguments, "-o%s", build->debug);
    for (size_t i = 0; i <= build->source->source_count; i++)
        argument_add(&arguments, "%s/%zu.o", build->work, i);
    argument_add(&arguments, "%s/libcrenel.a", build->guest);
    enum status status = arguments_run(&arguments, output);
    if (status == STATUS_DENIED)
        link_explain(build, output);
    return status;
}
