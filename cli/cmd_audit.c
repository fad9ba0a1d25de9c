// SPDX-License-Identifier: ISC
// crenel audit: reads and checks a transparency log from its files; no process has to run.
#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/printable.h"
#include "cli/report.h"
#include "cli/state.h"
#include "host/durable_file.h"
#include "host/log_verify.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct audit {
    int is_json, directory;
    const char *from, *limit, *key_option;
    struct log_key key;
};

// A folder that holds a checkpoint, or has one in audit/, is taken as it is; anything else names a system.
static enum status open_log(struct audit *audit, const char *state, const char *which)
{
    char folder[PATH_MAX], path[PATH_MAX];
    static const char *const below[] = {"", "/audit"};
    for (int i = 0; which != NULL && i < 2; i++) {
        snprintf(path, sizeof path, "%.4000s%s/" LOG_CHECKPOINT, which, below[i]);
        if (access(path, F_OK) != 0)
            continue;
        snprintf(path, sizeof path, "%.4000s%s", which, below[i]);
        audit->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (audit->directory >= 0)
            return STATUS_OK;
    }
    enum status status = state_find(state, which, folder);
    if (status != STATUS_OK)
        return status;
    snprintf(path, sizeof path, "%.4000s/audit", folder);
    audit->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (audit->directory >= 0)
        return STATUS_OK;
    report_error(path, 0, errno == EACCES ? "read it as root or as the user who started the system" : NULL,
                 "the audit log cannot be opened: %s", strerror(errno));
    return errno == EACCES ? STATUS_DENIED : STATUS_ABSENT;
}

// From --key (the key itself or a file with it), else from the log's own folder.
static enum status find_key(struct audit *audit)
{
    char text[NOTE_VKEY_BYTES] = "";
    const char *why = "", *given = audit->key_option;
    size_t size = 0;
    enum status status;
    if (given == NULL) {
        status = log_key_read(&audit->key, audit->directory, &why);
    } else {
        if (strchr(given, '+') == NULL) {
            status = durable_read(AT_FDCWD, given, text, sizeof text - 1, &size);
            if (status != STATUS_OK) {
                report_error(given, 0, NULL, "the key cannot be read: %s", strerror(errno));
                return status;
            }
            text[size] = 0;
            given = text;
        }
        status = log_key_decode(&audit->key, given, &why);
    }
    if (status != STATUS_OK)
        report_error(audit->key_option, 0, "the log's folder has it in log.vkey", "%s", why);
    return status;
}

static void print_verdict(const struct audit *audit, const struct log_verdict *verdict, int is_good)
{
    char root[65] = "", id[9];
    if (verdict->has_checkpoint)
        sodium_bin2hex(root, sizeof root, verdict->checkpoint.root, 32);
    sodium_bin2hex(id, sizeof id, audit->key.id, 4);
    if (audit->is_json) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddBoolToObject(json, "ok", is_good);
        cJSON_AddStringToObject(json, "origin", audit->key.name);
        cJSON_AddStringToObject(json, "key", id);
        cJSON_AddBoolToObject(json, "key_is_given", audit->key_option != NULL);
        if (verdict->has_checkpoint) {
            cJSON_AddNumberToObject(json, "size", (double)verdict->checkpoint.size);
            cJSON_AddStringToObject(json, "root", root);
        }
        if (!is_good) {
            cJSON_AddStringToObject(json, "error", verdict->why);
            if (verdict->first_bad != UINT64_MAX) {
                cJSON_AddNumberToObject(json, "first_bad", (double)verdict->first_bad);
                cJSON_AddNumberToObject(json, "last_bad", (double)verdict->last_bad);
            }
        }
        char *text = cJSON_PrintUnformatted(json);
        puts(text != NULL ? text : "");
        cJSON_free(text);
        cJSON_Delete(json);
        return;
    }
    if (is_good) {
        printf("audit log %s: %llu entries, all agree with the signed checkpoint\n", audit->key.name,
               (unsigned long long)verdict->checkpoint.size);
        printf("root %s\n", root);
        printf("key  %s%s\n", id, audit->key_option != NULL ? "" : " (from the log's own folder; --key pins it)");
        return;
    }
    printf("audit log %s: DOES NOT VERIFY: %s\n", audit->key.name, verdict->why);
    if (verdict->first_bad != UINT64_MAX && verdict->first_bad == verdict->last_bad)
        printf("first bad entry: %llu\n", (unsigned long long)verdict->first_bad);
    else if (verdict->first_bad != UINT64_MAX)
        printf("first bad entry: one of %llu to %llu\n", (unsigned long long)verdict->first_bad,
               (unsigned long long)verdict->last_bad);
}

static int run_verify(struct audit *audit)
{
    struct log_verdict verdict;
    enum status status = log_verify(&verdict, audit->directory, &audit->key);
    print_verdict(audit, &verdict, status == STATUS_OK);
    return status == STATUS_OK ? EXIT_OK : EXIT_FAILED;
}

static void print_entry(const struct audit *audit, uint64_t index, const uint8_t *entry, size_t size)
{
    cJSON *json = cJSON_ParseWithLength((const char *)entry, size);
    char *text = NULL;
    if (!cJSON_IsObject(json)) { // never written by us
        cJSON_Delete(json);
        json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "record", "not JSON");
    }
    printable_clean_json(json);
    if (audit->is_json) {
        cJSON_AddNumberToObject(json, "index", (double)index);
        text = cJSON_PrintUnformatted(json);
        puts(text != NULL ? text : "");
    } else {
        const cJSON *time_ms = cJSON_GetObjectItemCaseSensitive(json, "time_ms");
        const char *source = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "source"));
        char when[32];
        printable_time(cJSON_IsNumber(time_ms) ? time_ms->valuedouble : -1, when);
        text = cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(json, "record"));
        printf("%8llu %s %-10s %s\n", (unsigned long long)index, when, source != NULL ? source : "-",
               text != NULL ? text : "");
    }
    cJSON_free(text);
    cJSON_Delete(json);
}

// Prints entries [*from, end) of one bundle. The last, partial one may be replaced while a live log is read.
static enum status show_bundle(const struct audit *audit, uint64_t *from, uint64_t end, uint64_t size)
{
    uint64_t index = *from / TLOG_TILE_WIDTH, first = index * TLOG_TILE_WIDTH;
    uint64_t left = size - first;
    uint8_t *bytes;
    size_t bundle_bytes, offset = 0, entry_bytes;
    const uint8_t *entry;
    enum status status =
        log_bundle_read(&bytes, &bundle_bytes, audit->directory, index,
                        left < TLOG_TILE_WIDTH ? (unsigned)left : TLOG_TILE_WIDTH);
    if (status != STATUS_OK)
        return status;
    for (uint64_t i = first;
         (entry = log_bundle_next(bytes, bundle_bytes, &offset, &entry_bytes)) != NULL && i < end; i++) {
        if (i < *from)
            continue;
        print_entry(audit, i, entry, entry_bytes);
        *from = i + 1;
    }
    free(bytes);
    return STATUS_OK;
}

static int run_show(struct audit *audit)
{
    struct checkpoint checkpoint;
    uint64_t at = audit->from != NULL ? strtoull(audit->from, NULL, 10) : 0;
    uint64_t limit = audit->limit != NULL ? strtoull(audit->limit, NULL, 10) : UINT64_MAX;
    uint64_t end = limit > UINT64_MAX - at ? UINT64_MAX : at + limit;
    uint64_t former = UINT64_MAX;
    for (;;) {
        const char *why = "";
        enum status status = log_checkpoint_read(&checkpoint, audit->directory, &audit->key, &why);
        if (status != STATUS_OK) {
            report_error(NULL, 0, "crenel audit verify tells more", "%s", why);
            return EXIT_FAILED;
        }
        if (end > checkpoint.size)
            end = checkpoint.size;
        while (at < end && status == STATUS_OK)
            status = show_bundle(audit, &at, end, checkpoint.size);
        if (status == STATUS_OK)
            return EXIT_OK;
        if (checkpoint.size == former) {
            report_error(NULL, 0, "crenel audit verify tells more",
                         "the entries from %llu on cannot be read", (unsigned long long)at);
            return EXIT_FAILED;
        }
        former = checkpoint.size;
    }
}

static int is_number(const char *text)
{
    return text == NULL || (*text != 0 && text[strspn(text, "0123456789")] == 0);
}

int cmd_audit(int argc, char **argv)
{
    struct audit audit = {.directory = -1};
    const char *state = NULL, *operands[2] = {NULL, NULL};
    size_t count;
    const struct argument table[] = {{"--json", &audit.is_json, NULL}, {"--state", NULL, &state},
                                     {"--from", NULL, &audit.from},    {"--limit", NULL, &audit.limit},
                                     {"--key", NULL, &audit.key_option}};
    int code = arguments_read(argc, argv, table, 5, operands, 2, &count);
    if (code != 0)
        return code;
    // The action comes first; behind the system it is understood, too.
    int action = -1;
    for (int i = 0; i < (int)count && action < 0; i++)
        if (strcmp(operands[i], "show") == 0 || strcmp(operands[i], "verify") == 0)
            action = i;
    if (action < 0 || !is_number(audit.from) || !is_number(audit.limit)) {
        report_error(NULL, 0, "crenel audit show, crenel audit verify; --from and --limit take numbers",
                     "what to do with the audit log?");
        return EXIT_USAGE;
    }
    if (sodium_init() < 0)
        return EXIT_FAILED;
    enum status status = open_log(&audit, state, count == 2 ? operands[1 - action] : NULL);
    if (status == STATUS_OK && (status = find_key(&audit)) != STATUS_OK)
        status = STATUS_MALFORMED;
    if (status != STATUS_OK)
        return client_exit_code(status);
    code = strcmp(operands[action], "verify") == 0 ? run_verify(&audit) : run_show(&audit);
    close(audit.directory);
    return code;
}
