// SPDX-License-Identifier: ISC
// crenel run IMAGE: one unikernel alone, its messages as JSON lines on standard input and output.
//
// Each input line is one event, served to its end before the next is read:
//   {"flow":"NAME","message":{...},"context":"...","principal":1,"connection":1,"time_ms":1}
// `connection` is for lifetime connection: each number has an instance of its own until the run ends, at most 16.
// `flow` may be left out, or the whole line be the message, when there is one input. Output lines: see
// run_event.h. The store is in memory and ends with the run.
//
// Time is the host's clock, unless lines carry time_ms. A message to oneself with a delay (a timer) is
// delivered when the next line's time has reached it, to the connection that set it. At the end of the
// input the timers that are still pending are delivered, in order of due time, as if that time had come;
// timers that these set are only printed, so that a periodic timer ends.
//
// An instance that something outside kills is the host's failure: its event is delivered again, up to three
// times, as in a system. The exit code is 1 if any event failed or any line was no good.
#include "cli/build/build.h"
#include "cli/command.h"
#include "cli/message_json.h"
#include "cli/report.h"
#include "cli/run_event.h"
#include "cli/run_tender.h"
#include "core/records.h"
#include "host/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ATTEMPTS_MAX 3
#define TIME_MS_MAX 9e15 // what a JSON number says exactly

struct event {
    struct link_deliver header;
    uint8_t bytes[ABI_CONTEXT_BYTES_MAX + ABI_PAYLOAD_BYTES_MAX]; // context padded, payload padded
};

struct run {
    struct image image;
    struct run_tender tender;
    struct run_store store;
    struct run_timers timers;
    uint64_t number;
    uint64_t connections[RUN_CONNECTIONS_MAX]; // that lines have named
    size_t connection_count;
    int has_failed;
    uint8_t packet[LINK_BYTES_MAX];
};

// Are these READs, in the form that a guest must keep? A tender that was taken over may send anything.
static int are_reads(const uint8_t *records, size_t size)
{
    struct records_verdict verdict;
    return records_judge(records, size, 0, &verdict) == STATUS_OK && verdict.kind == RECORDS_READ;
}

// READs until the EFFECTS of the event. STATUS_CLOSED: the tender is gone.
static enum status wait_effects(struct run *run, size_t *size)
{
    static uint8_t answer[ABI_INPUT_BYTES];
    for (;;) {
        struct link_header header;
        enum status status =
            channel_receive(&run->tender.link, run->packet, sizeof run->packet, size, 1);
        if (status != STATUS_OK)
            return status;
        if (*size < sizeof header)
            return STATUS_TRUNCATED;
        memcpy(&header, run->packet, sizeof header);
        if (header.kind == LINK_EFFECTS && *size >= sizeof(struct link_effects))
            return STATUS_OK;
        if (header.kind == LINK_GONE)
            continue;
        if (header.kind != LINK_READ || !are_reads(run->packet + sizeof header, *size - sizeof header))
            return STATUS_MALFORMED;
        size_t bytes = run_store_answer(&run->store, run->packet + sizeof header,
                                        *size - sizeof header, answer);
        header.kind = LINK_ANSWER;
        header.size = (uint32_t)(sizeof header + bytes);
        status = channel_send_parts(
            &run->tender.link,
            (struct channel_part[]){{&header, sizeof header}, {answer, bytes}}, 2);
        if (status != STATUS_OK)
            return status;
    }
}

static enum status serve(struct run *run, struct event *event, struct run_timers *timers)
{
    struct link_deliver *header = &event->header;
    size_t size = ABI_ALIGN8((size_t)header->context_bytes) + ABI_ALIGN8((size_t)header->payload_bytes);
    header->header = (struct link_header){(uint32_t)(sizeof *header + size), LINK_DELIVER, 0, 1};
    header->record = (struct abi_record){(uint32_t)(sizeof(struct abi_event) + size), ABI_EVENT, 0};
    header->number = ++run->number;
    run->timers.now_ms = header->time_ms;
    run->timers.connection = header->connection;
    for (header->attempt = 1;; header->attempt++) {
        size_t effects_size = 0;
        enum status status = channel_send_parts(
            &run->tender.link,
            (struct channel_part[]){{header, sizeof *header}, {event->bytes, size}}, 2);
        if (status == STATUS_OK)
            status = wait_effects(run, &effects_size);
        if (status != STATUS_OK) {
            report_error(NULL, 0, "the lines above say why", "the tender ended (%s)", status_text(status));
            return status;
        }
        struct link_effects effects;
        memcpy(&effects, run->packet, sizeof effects);
        if (effects.outcome == LINK_LOST && header->attempt < ATTEMPTS_MAX)
            continue;
        if (!run_event_take(&run->image.manifest, run->packet, effects_size, &run->store, timers))
            run->has_failed = 1;
        return STATUS_OK;
    }
}

// Delivers timers that are due by `until_ms`, in order.
static enum status serve_timers(struct run *run, int64_t until_ms, struct run_timers *timers)
{
    for (;;) {
        struct run_timer *first = NULL;
        for (size_t i = 0; i < run->timers.count; i++) {
            struct run_timer *timer = &run->timers.timers[i];
            if (timer->due_ms <= until_ms &&
                (first == NULL || timer->due_ms < first->due_ms ||
                 (timer->due_ms == first->due_ms && timer->order < first->order)))
                first = timer;
        }
        if (first == NULL)
            return STATUS_OK;
        struct event event = {.header = {.time_ms = first->due_ms,
                                         .flow = first->input,
                                         .connection = first->connection,
                                         .context_bytes = first->context_bytes,
                                         .payload_bytes = first->payload_bytes}};
        memcpy(event.bytes, first->bytes, sizeof first->bytes);
        *first = run->timers.timers[--run->timers.count];
        enum status status = serve(run, &event, timers);
        if (status != STATUS_OK)
            return status;
    }
}

static int find_input(const struct manifest *manifest, const char *name)
{
    for (unsigned i = 0; i < manifest->header->input_count; i++)
        if (strcmp(manifest->inputs[i].name, name) == 0)
            return (int)i;
    return -1;
}

static double number_of(const cJSON *object, const char *key, double fallback)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : fallback;
}

// 0: reported.
static int take_number(const cJSON *line, int number, const char *key, double most, double *value)
{
    double given = number_of(line, key, *value);
    int is_good = given >= 0 && given <= most;
    if (is_good)
        *value = given;
    else
        report_error("standard input", number, "a number that is not negative", "\"%s\" is not right", key);
    return is_good;
}

static int take_context(const cJSON *item, struct event *event)
{
    if (item == NULL)
        return 1;
    if (!cJSON_IsString(item) || strlen(item->valuestring) > ABI_CONTEXT_BYTES_MAX)
        return 0;
    event->header.context_bytes = (uint32_t)strlen(item->valuestring);
    memcpy(event->bytes, item->valuestring, event->header.context_bytes);
    return 1;
}

// A connection keeps its instance to the end of the run, so one too many would wait for ever. 0: reported.
static int take_connection(struct run *run, const cJSON *line, int number, uint64_t *connection)
{
    double given = number_of(line, "connection", 1);
    if (!(given >= 1 && given <= UINT32_MAX)) {
        report_error("standard input", number, "a number from 1 on", "\"connection\" is not right");
        return 0;
    }
    *connection = (uint64_t)given;
    for (size_t i = 0; i < run->connection_count; i++)
        if (run->connections[i] == *connection)
            return 1;
    if (run->connection_count == RUN_CONNECTIONS_MAX) {
        report_error("standard input", number, "start another run for more",
                     "a run serves at most %u connections", RUN_CONNECTIONS_MAX);
        return 0;
    }
    run->connections[run->connection_count++] = *connection;
    return 1;
}

// One line into an event. 0: reported. *is_refused: the message is well formed but not valid.
static int parse_event(struct run *run, const cJSON *line, int number, struct event *event, int *is_refused)
{
    const struct manifest *manifest = &run->image.manifest;
    const cJSON *message = cJSON_GetObjectItemCaseSensitive(line, "message");
    const cJSON *flow = cJSON_GetObjectItemCaseSensitive(line, "flow");
    int input = message != NULL && cJSON_IsString(flow) ? find_input(manifest, flow->valuestring)
                : manifest->header->input_count == 1    ? 0
                                                        : -1;
    if (input < 0) {
        report_error("standard input", number, "crenel inspect IMAGE lists the inputs",
                     cJSON_IsString(flow) ? "no input '%s'" : "no \"flow\" and more than one input%s",
                     cJSON_IsString(flow) ? flow->valuestring : "");
        return 0;
    }
    if (message == NULL)
        message = line;
    double time_ms = (double)loop_wall_clock_ms(), principal = 0;
    if (!take_number(line, number, "time_ms", TIME_MS_MAX, &time_ms) ||
        !take_number(line, number, "principal", UINT32_MAX, &principal))
        return 0;
    *event = (struct event){.header = {
        .time_ms = (int64_t)time_ms,
        .flow = (uint16_t)input,
        .principal = (uint32_t)principal,
    }};
    if (manifest->header->lifetime == LIFETIME_CONNECTION &&
        !take_connection(run, line, number, &event->header.connection))
        return 0;
    if (!take_context(cJSON_GetObjectItemCaseSensitive(line, "context"), event)) {
        report_error("standard input", number, "a text of at most 256 bytes", "\"context\" is not right");
        return 0;
    }
    const struct schema *schema = &manifest->schemas[manifest->inputs[input].schema];
    uint8_t *payload = event->bytes + ABI_ALIGN8((size_t)event->header.context_bytes);
    const char *why = "?";
    size_t size = 0;
    if (message_from_json(schema, message, payload, ABI_PAYLOAD_BYTES_MAX, &size, &why) != STATUS_OK) {
        report_error("standard input", number, NULL, "message of '%s': %s",
                     manifest->inputs[input].name, why);
        return 0;
    }
    event->header.payload_bytes = (uint32_t)size;
    uint16_t field = UINT16_MAX;
    enum reason reason = schema_check(schema, payload, size, &field);
    *is_refused = reason != REASON_DONE;
    if (*is_refused)
        run_print_refused(reason_text(reason),
                          field < schema->header->field_count ? schema->fields[field].name : "",
                          "the input does not fit its schema");
    return 1;
}

static enum status take_line(struct run *run, const char *text, int number)
{
    struct event event;
    int is_refused = 0;
    cJSON *line = cJSON_Parse(text);
    if (!cJSON_IsObject(line))
        report_error("standard input", number, "one JSON object per line", "this is no JSON object");
    int is_good = cJSON_IsObject(line) &&
                  parse_event(run, line, number, &event, &is_refused);
    cJSON_Delete(line);
    if (!is_good || is_refused) {
        run->has_failed = 1;
        return STATUS_OK;
    }
    enum status status = serve_timers(run, event.header.time_ms, &run->timers);
    return status == STATUS_OK ? serve(run, &event, &run->timers) : status;
}

static enum status serve_input(struct run *run)
{
    char *text = NULL;
    size_t capacity = 0;
    enum status status = STATUS_OK;
    for (int number = 1; status == STATUS_OK && getline(&text, &capacity, stdin) >= 0; number++)
        if (text[strspn(text, " \t\r\n")] != 0)
            status = take_line(run, text, number);
    free(text);
    return status == STATUS_OK ? serve_timers(run, INT64_MAX, NULL) : status;
}

// Configuration text of at most 8 KiB.
static int read_configuration(const char *path, char *text, size_t *size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        report_error(path, 0, NULL, "cannot read the configuration: %s", strerror(errno));
        return 0;
    }
    *size = fread(text, 1, ABI_CONFIGURATION_BYTES_MAX + 1, file);
    fclose(file);
    if (*size > ABI_CONFIGURATION_BYTES_MAX)
        report_error(path, 0, "keep it within 8 KiB", "the configuration is too long");
    return *size <= ABI_CONFIGURATION_BYTES_MAX;
}

static int run_image(struct run_config *config)
{
    uint8_t digest[32], *bytes = NULL;
    struct run *run = calloc(1, sizeof *run);
    if (run == NULL || image_read(config->image_path, &bytes, &run->image, digest) != STATUS_OK) {
        free(run);
        return EXIT_FAILED;
    }
    config->image = &run->image;
    config->digest = digest;
    if (config->deadline_ms == 0)
        config->deadline_ms = run->image.manifest.header->deadline_ms;
    run->store.manifest = &run->image.manifest;
    run->timers.timers = calloc(RUN_TIMERS_MAX, sizeof *run->timers.timers);
    enum status status = run->timers.timers == NULL ? STATUS_SYSTEM : run_tender_start(&run->tender, config);
    if (status == STATUS_OK)
        status = serve_input(run);
    int has_failed = status != STATUS_OK || run->has_failed;
    run_tender_stop(&run->tender);
    run_store_clean_up(&run->store);
    free(run->timers.timers);
    free(bytes);
    free(run);
    return has_failed ? EXIT_FAILED : EXIT_OK;
}

static int read_isolation(const char *text, uint8_t *isolation)
{
    static const char *const names[] = {
        [ISOLATION_ANY] = "auto", [ISOLATION_PROCESS] = "process", [ISOLATION_KVM] = "kvm"};
    for (uint8_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(text, names[i]) == 0) {
            *isolation = i;
            return 1;
        }
    report_error(NULL, 0, "auto, process or kvm", "--isolation %s", text);
    return 0;
}

int cmd_run(int argc, char **argv)
{
    static char configuration[ABI_CONFIGURATION_BYTES_MAX + 1];
    struct run_config config = {.configuration = configuration};
    for (int i = 1; i < argc; i++) {
        char *end = NULL;
        if (strcmp(argv[i], "--json") == 0)
            continue; // it always is; every command takes it
        if (strcmp(argv[i], "--configuration") == 0 && i + 1 < argc) {
            if (!read_configuration(argv[++i], configuration, &config.configuration_bytes))
                return EXIT_FAILED;
        } else if (strcmp(argv[i], "--isolation") == 0 && i + 1 < argc) {
            if (!read_isolation(argv[++i], &config.isolation))
                return EXIT_USAGE;
        } else if (strcmp(argv[i], "--deadline") == 0 && i + 1 < argc) {
            unsigned long ms = strtoul(argv[++i], &end, 10);
            if (*end != 0 || ms == 0 || ms > MANIFEST_DEADLINE_MS_MAX) {
                report_error(NULL, 0, "a number of milliseconds, like 100", "--deadline %s", argv[i]);
                return EXIT_USAGE;
            }
            config.deadline_ms = (uint32_t)ms;
        } else if (argv[i][0] == '-' || config.image_path != NULL) {
            report_error(NULL, 0, NULL, "unexpected '%s'", argv[i]);
            return EXIT_USAGE;
        } else {
            config.image_path = argv[i];
        }
    }
    return config.image_path == NULL ? EXIT_USAGE : run_image(&config);
}
