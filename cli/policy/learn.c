// SPDX-License-Identifier: ISC
// crenel policy learn SYSTEM [FLOW]: bounds for the checks of flow state, proposed from messages that were seen.
//   Without FLOW: of each flow of the running system that observes, from what its router has measured since it started.
//   With FLOW: from messages on standard input, a line each: {"time_ms": 1700000000000, "message": {..}}.
//
// What is proposed lets all pass that came, and a quarter more. It is text to look at and to paste: whoever could
// send while it was learned has had a say in it.
#include "cli/policy/learn.h"
#include "cli/policy/policy.h"

#include "cli/client.h"
#include "cli/message_json.h"
#include "cli/report.h"
#include "cli/source/policy_checks.h"
#include "cli/state.h"
#include "core/flow_check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- From the running system ----

static size_t flow_index(const struct system_view *system, const char *name)
{
    size_t i = 0;
    while (i < system->flow_count && strcmp(system->flows[i].name, name) != 0)
        i++;
    return i;
}

static uint64_t number_of(const cJSON *row, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(row, name);
    return cJSON_IsString(item) ? strtoull(item->valuestring, NULL, 10) : 0;
}

static int learn_running(const struct system_view *system, const cJSON *status)
{
    const cJSON *row, *check;
    int flows = 0;
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(status, "flows"))
    {
        struct learned learned[SYSTEM_FLOW_CHECKS_MAX] = {{0}};
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "flow"));
        size_t index = name != NULL ? flow_index(system, name) : system->flow_count, i = 0;
        if (index == system->flow_count || !system->flows[index].is_observed)
            continue;
        cJSON_ArrayForEach(check, cJSON_GetObjectItemCaseSensitive(row, "checks"))
        {
            if (i < SYSTEM_FLOW_CHECKS_MAX)
                learned[i++] = (struct learned){number_of(check, "measured"), number_of(check, "peak")};
        }
        learn_print(system, &system->flows[index], learned);
        flows++;
    }
    if (flows != 0)
        return EXIT_OK;
    report_error(system->header->name, 0, "write `observe: true` at the flow to learn from, and `crenel up` again",
                 "no flow of the running system observes");
    return EXIT_ABSENT;
}

// ---- From standard input ----

struct known { // a key
    struct known *next;
    size_t key_bytes;
    uint8_t key[SYSTEM_KEY_BYTES_MAX];
    uint64_t state[FLOW_STATE_WORDS_MAX];
};

struct lesson {
    const struct system_view *system;
    const struct system_flow *flow;
    struct known *known[4096];
    struct learned learned[SYSTEM_FLOW_CHECKS_MAX];
    size_t line, skipped;
};

static struct known *known_of(struct lesson *lesson, const uint8_t *message, size_t size)
{
    const struct schema *schema = &lesson->system->schemas[lesson->flow->schema];
    uint8_t key[SYSTEM_KEY_BYTES_MAX];
    size_t key_bytes = 0;
    uint32_t hash = FLOW_NAME_HASH;
    if (lesson->flow->key_field != SYSTEM_NONE)
        key_bytes = schema_key(schema, &lesson->flow->key_field, 1, message, size, key, sizeof key);
    for (size_t i = 0; i < key_bytes; i++)
        hash = (hash ^ key[i]) * 16777619u;
    struct known **head = &lesson->known[hash % 4096];
    for (struct known *known = *head; known != NULL; known = known->next)
        if (known->key_bytes == key_bytes && memcmp(known->key, key, key_bytes) == 0)
            return known;
    struct known *known = calloc(1, sizeof *known);
    if (known == NULL) {
        report_error(NULL, 0, NULL, "no memory");
        exit(EXIT_FAILED);
    }
    known->key_bytes = key_bytes;
    memcpy(known->key, key, key_bytes);
    known->next = *head;
    return *head = known;
}

static void take_message(struct lesson *lesson, int64_t time_ms, const uint8_t *message, size_t size)
{
    struct known *known = known_of(lesson, message, size);
    struct flow_clock clock = {time_ms, time_ms, time_ms};
    uint64_t state[FLOW_STATE_WORDS_MAX], measured[SYSTEM_FLOW_CHECKS_MAX];
    memcpy(state, known->state, sizeof state);
    uint16_t refused = flow_check(lesson->system, lesson->flow, message, size, &clock, state, measured);
    for (uint16_t i = 0; i < lesson->flow->check_count; i++) {
        lesson->learned[i].measured++;
        if (measured[i] > lesson->learned[i].peak)
            lesson->learned[i].peak = measured[i];
    }
    if (refused == SYSTEM_NONE)
        memcpy(known->state, state, sizeof state);
}

static void take_line(struct lesson *lesson, const char *text)
{
    const struct schema *schema = &lesson->system->schemas[lesson->flow->schema];
    uint8_t message[4096];
    size_t size;
    uint16_t field = UINT16_MAX;
    const char *why = "not {\"time_ms\": .., \"message\": {..}}";
    cJSON *json = cJSON_Parse(text);
    const cJSON *time = cJSON_GetObjectItemCaseSensitive(json, "time_ms");
    const cJSON *said = cJSON_GetObjectItemCaseSensitive(json, "message");
    int is_good = cJSON_IsNumber(time) && time->valuedouble > 0 && time->valuedouble < 1e15 && cJSON_IsObject(said) &&
                  message_from_json(schema, said, message, sizeof message, &size, &why) == STATUS_OK;
    enum reason reason = is_good ? schema_check(schema, message, size, &field) : REASON_ENVELOPE;
    if (reason == REASON_DONE)
        take_message(lesson, (int64_t)time->valuedouble, message, size);
    else if (lesson->skipped++ == 0) // the first says how they are wrong
        report_error("standard input", (int)lesson->line, "it is left out", "%s",
                     is_good ? reason_text(reason) : why);
    cJSON_Delete(json);
}

static int learn_lines(const struct system_view *system, const char *name)
{
    size_t index = flow_index(system, name), capacity = 0;
    if (index == system->flow_count || !system->flows[index].is_observed) {
        report_error(system->header->name, 0, "write `observe: true` at a flow, which says what is measured",
                     index == system->flow_count ? "there is no flow '%s'" : "flow '%s' does not observe", name);
        return EXIT_ABSENT;
    }
    struct lesson *lesson = calloc(1, sizeof *lesson);
    char *line = NULL;
    if (lesson == NULL)
        return EXIT_FAILED;
    lesson->system = system;
    lesson->flow = &system->flows[index];
    while (getline(&line, &capacity, stdin) > 0) {
        lesson->line++;
        take_line(lesson, line);
    }
    free(line);
    learn_print(system, lesson->flow, lesson->learned);
    if (lesson->skipped != 0)
        printf("# %zu of %zu lines were left out\n", lesson->skipped, lesson->line);
    for (size_t i = 0; i < 4096; i++)
        while (lesson->known[i] != NULL) {
            struct known *next = lesson->known[i]->next;
            free(lesson->known[i]);
            lesson->known[i] = next;
        }
    free(lesson);
    return EXIT_OK;
}

int policy_learn(const struct policy_system *systems, const struct policy_options *options)
{
    char folder[PATH_MAX], path[PATH_MAX + 16];
    cJSON *reply = NULL;
    if (options->word_count == 2)
        return learn_lines(&systems->view, options->words[1]);
    enum status status = state_find(options->state, systems->view.header->name, folder);
    if (status == STATUS_OK)
        status = client_ask(folder, "status", NULL, NULL, &reply, NULL, NULL);
    if (status != STATUS_OK)
        return client_exit_code(status);
    // What runs, whatever its source says by now.
    struct policy_system running = {.bytes = NULL};
    snprintf(path, sizeof path, "%s/system.bin", folder);
    status = policy_system_read(&running, path);
    int code = status == STATUS_OK ? learn_running(&running.view, reply) : EXIT_FAILED;
    policy_system_close(&running);
    cJSON_Delete(reply);
    return code;
}
