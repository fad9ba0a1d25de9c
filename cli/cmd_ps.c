// SPDX-License-Identifier: ISC
// crenel ps, crenel status: what runs, and what became of the messages.
#include "cli/arguments.h"
#include "cli/build/build.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/report.h"
#include "cli/state.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *text_of(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    return text != NULL ? text : "";
}

static double number_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

// "1.2 MiB"
static const char *bytes_text(double bytes)
{
    static char texts[4][16];
    static unsigned next;
    char *text = texts[next++ % 4];
    if (bytes >= 1024 * 1024)
        snprintf(text, sizeof texts[0], "%.1f MiB", bytes / (1024 * 1024));
    else
        snprintf(text, sizeof texts[0], "%.0f KiB", bytes / 1024);
    return text;
}

// The release stands in the image's manifest, which the supervisor does not read.
static void add_releases(cJSON *reply)
{
    cJSON *row;
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(reply, "unikernels"))
    {
        const char *path = text_of(row, "image");
        uint8_t *bytes = NULL, digest[32];
        char hex[65];
        struct image image;
        if (access(path, R_OK) != 0 || image_read(path, &bytes, &image, digest) != STATUS_OK)
            continue;
        sodium_bin2hex(hex, sizeof hex, digest, sizeof digest);
        if (strcmp(hex, text_of(row, "digest")) == 0) // the file may be a newer build
            cJSON_AddStringToObject(row, "release", image.manifest.header->release);
        free(bytes);
    }
}

static void print_json(const cJSON *reply)
{
    char *text = cJSON_PrintUnformatted(reply);
    if (text != NULL)
        puts(text);
    cJSON_free(text);
}

static void print_problems(const cJSON *reply)
{
    const cJSON *row;
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(reply, "problems"))
        printf("PROBLEM: %s\n  mend: %s\n", text_of(row, "problem"), text_of(row, "mend"));
}

static void print_ps(const cJSON *reply)
{
    const cJSON *row;
    printf("system %s: %s, epoch %.0f, %s mode, %.12s\n", text_of(reply, "system"), text_of(reply, "phase"),
           number_of(reply, "epoch"), text_of(reply, "mode"), text_of(reply, "digest"));
    printf("%-16s %-9s %-12s %-12s %-10s %-9s %9s %9s %9s %7s %8s %10s\n", "UNIKERNEL", "RELEASE", "IMAGE",
           "ISOLATION", "LIFETIME", "STATE", "INSTANCES", "CREATED", "EVENTS", "FAULTS", "RESTARTS", "MEMORY");
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(reply, "unikernels"))
    {
        char instances[24];
        snprintf(instances, sizeof instances, "%.0f/%.0f", number_of(row, "instances_live"),
                 number_of(row, "instances_max"));
        double memory = number_of(row, "pss_bytes");
        printf("%-16s %-9s %-12.12s %-12s %-10s %-9s %9s %9.0f %9.0f %7.0f %8.0f %10s\n",
               text_of(row, "unikernel"), text_of(row, "release"), text_of(row, "digest"),
               text_of(row, "isolation"), text_of(row, "lifetime"), text_of(row, "state"), instances,
               number_of(row, "instances_created"), number_of(row, "events"), number_of(row, "faults"),
               number_of(row, "restarts"), bytes_text(memory > 0 ? memory : number_of(row, "rss_bytes")));
        if (*text_of(row, "last_fault") != 0)
            printf("  last fault: %s\n", text_of(row, "last_fault"));
        if (*text_of(row, "last_end") != 0)
            printf("  last end of its tender: %s\n", text_of(row, "last_end"));
    }
    printf("%-12s %-16s %-9s %8s %8s %10s\n", "PROCESS", "NAME", "STATE", "PID", "RESTARTS", "MEMORY");
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(reply, "processes"))
    {
        double memory = number_of(row, "pss_bytes");
        printf("%-12s %-16s %-9s %8.0f %8.0f %10s\n", text_of(row, "process"), text_of(row, "name"),
               text_of(row, "state"), number_of(row, "pid"), number_of(row, "restarts"),
               bytes_text(memory > 0 ? memory : number_of(row, "rss_bytes")));
    }
    print_problems(reply);
}

struct listing {
    int is_json, count;
    cJSON *systems;
};

static int list_system(const char *folder, const char *name, void *context)
{
    struct listing *listing = context;
    cJSON *reply = NULL;
    if (!state_is_running(folder)) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "system", name);
        cJSON_AddStringToObject(row, "phase", "stopped");
        cJSON_AddStringToObject(row, "state", folder);
        cJSON_AddItemToArray(listing->systems, row);
        if (!listing->is_json)
            printf("system %s: stopped (state in %s)\n", name, folder);
    } else if (client_ask(folder, "ps", NULL, NULL, &reply, NULL, NULL) == STATUS_OK) {
        add_releases(reply);
        if (!listing->is_json)
            print_ps(reply);
        cJSON_AddItemToArray(listing->systems, reply);
    }
    listing->count++;
    return 0;
}

int cmd_ps(int argc, char **argv)
{
    struct listing listing = {.is_json = 0};
    const char *state = NULL, *system = NULL;
    size_t count;
    const struct argument table[] = {{"--json", &listing.is_json, NULL}, {"--state", NULL, &state}};
    char folder[PATH_MAX];
    int code = arguments_read(argc, argv, table, 2, &system, 1, &count);
    if (code != 0)
        return code;
    if (system == NULL) { // all systems below the root
        enum status status = state_root(state, folder);
        if (status != STATUS_OK)
            return EXIT_FAILED;
        listing.systems = cJSON_CreateArray();
        (void)state_each(folder, list_system, &listing);
        if (listing.is_json)
            print_json(listing.systems);
        else if (listing.count == 0)
            printf("no systems in %s\n", folder);
        cJSON_Delete(listing.systems);
        return EXIT_OK;
    }
    cJSON *reply = NULL;
    enum status status = state_find(state, system, folder);
    if (status == STATUS_OK)
        status = client_ask(folder, "ps", NULL, NULL, &reply, NULL, NULL);
    if (status != STATUS_OK)
        return client_exit_code(status);
    add_releases(reply);
    if (listing.is_json)
        print_json(reply);
    else
        print_ps(reply);
    cJSON_Delete(reply);
    return EXIT_OK;
}

static void print_status(const cJSON *reply)
{
    const cJSON *row, *item;
    printf("system %s: %s, epoch %.0f, %.0f in flight, connections: %.0f\n", text_of(reply, "system"),
           text_of(reply, "phase"), number_of(reply, "epoch"), number_of(reply, "in_flight"),
           number_of(reply, "connections"));
    printf("%-20s %10s %10s %10s %9s %9s %10s\n", "FLOW", "ENTERED", "DONE", "FAILED", "WAITING", "SPOOLED", "BYTES");
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(reply, "flows"))
    {
        printf("%-20s %10.0f %10.0f %10.0f %9.0f %9.0f %10s", text_of(row, "flow"), number_of(row, "entered"),
               number_of(row, "done"), number_of(row, "failed"), number_of(row, "waiting"), number_of(row, "spooled"),
               bytes_text(number_of(row, "spooled_bytes")));
        const char *separator = "  ";
        cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(row, "failed_by"))
        {
            printf("%s%s %.0f", separator, item->string, item->valuedouble);
            separator = ", ";
        }
        putchar('\n');
        cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(row, "checks"))
            if (strcmp(text_of(item, "refused"), "0") != 0)
                printf("  %s by system.yaml:%.0f since the router started: %s\n",
                       cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(row, "is_observed")) ? "OBSERVED, not refused," : "refused",
                       number_of(item, "line"), text_of(item, "refused"));
    }
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(reply, "refusals"))
        cJSON_ArrayForEach(item, row)
            if (item->valuedouble > 0)
                printf("refused by %s: %s %.0f\n", row->string, item->string, item->valuedouble);
    printf("isolation:");
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(reply, "isolation"))
        printf(" %s %s%s", item->string, cJSON_GetStringValue(item), item->next != NULL ? "," : "\n");
    const cJSON *store = cJSON_GetObjectItemCaseSensitive(reply, "store");
    const cJSON *audit = cJSON_GetObjectItemCaseSensitive(reply, "audit");
    printf("store: %.0f commits in %.0f transactions, %.0f conflicts, %.0f dead letters\n",
           number_of(store, "commits"), number_of(store, "transactions"), number_of(store, "conflicts"),
           number_of(store, "dead_letters"));
    printf("audit: %.0f entries, root %s\n", number_of(audit, "size"), text_of(audit, "root"));
    print_problems(reply);
}

int cmd_status(int argc, char **argv)
{
    int is_json = 0;
    const char *state = NULL, *system = NULL;
    size_t count;
    const struct argument table[] = {{"--json", &is_json, NULL}, {"--state", NULL, &state}};
    char folder[PATH_MAX];
    cJSON *reply = NULL;
    int code = arguments_read(argc, argv, table, 2, &system, 1, &count);
    if (code != 0)
        return code;
    enum status status = state_find(state, system, folder);
    if (status == STATUS_OK)
        status = client_ask(folder, "status", NULL, NULL, &reply, NULL, NULL);
    if (status != STATUS_OK)
        return client_exit_code(status);
    if (is_json)
        print_json(reply);
    else
        print_status(reply);
    cJSON_Delete(reply);
    return EXIT_OK;
}
