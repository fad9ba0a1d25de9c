// SPDX-License-Identifier: ISC
// Hands a new version to the supervisor that runs the old one.
//
// What the store holds binds the new version: a waiting message must mean there what it means here (system_misfit); records
// need their namespace's schema, key and index. The store refuses a system that breaks this when it starts; asked
// before, nothing has to be taken back.
#include "cli/up/replace.h"

#include "cli/client.h"
#include "cli/diff/diff.h"
#include "cli/report.h"
#include "cli/store_client.h"
#include "cli/up/start.h"
#include "host/system_file.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *text_of(const cJSON *row, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, name));
    return text != NULL ? text : "";
}

static double number_of(const cJSON *row, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(row, name);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static int is_digest(const cJSON *row, const uint8_t digest[32])
{
    char hex[65];
    sodium_bin2hex(hex, sizeof hex, digest, 32);
    return strcmp(text_of(row, "digest"), hex) == 0;
}

// Why messages that wait do not fit, or NULL.
static const char *flow_misfit(const struct system_view *new, const cJSON *row)
{
    uint8_t digest[32] = {0};
    size_t place = 0, places = system_places(new), size = 0;
    (void)sodium_hex2bin(digest, sizeof digest, text_of(row, "digest"), strlen(text_of(row, "digest")), NULL, &size, NULL);
    int flow = diff_find(new->flows, sizeof *new->flows, new->flow_count, text_of(row, "flow"));
    // Names of different kinds may be the same: of those the one that takes the flow.
    while (place < places && (strcmp(system_place_name(new, place), text_of(row, "receiver")) != 0 || flow < 0 ||
                              system_port(new, &new->flows[flow], (uint16_t)place) == SYSTEM_NONE))
        place++;
    struct system_waiting waiting = {.flow = flow,
                                     .place = place < places ? (int)place : -1,
                                     .digest = digest,
                                     .form = (uint64_t)number_of(row, "form"),
                                     .receipts = (uint64_t)number_of(row, "receipts")};
    return system_misfit(new, &waiting);
}

static int namespace_fits(const struct system_view *new, const cJSON *row)
{
    uint8_t digest[32];
    int at = diff_find(new->namespaces, sizeof *new->namespaces, new->namespace_count, text_of(row, "namespace"));
    if (at < 0)
        return 1; // its records stay, and nobody reads them
    system_namespace_digest(new, (size_t)at, digest);
    return is_digest(row, digest);
}

// Returns the number of things that do not fit; each is reported.
static int row_check(const struct system_view *new, const cJSON *row)
{
    if (cJSON_HasObjectItem(row, "namespace") && !namespace_fits(new, row)) {
        report_error(NULL, 0, "give the changed namespace a new name",
                     "namespace %s holds records (%.0f) of another schema, key or index than in the new version",
                     text_of(row, "namespace"), number_of(row, "records"));
        return 1;
    }
    const char *why = cJSON_HasObjectItem(row, "flow") ? flow_misfit(new, row) : NULL;
    if (why != NULL)
        report_error(NULL, 0, "keep the flow until they are done (`crenel status`), or give the changed flow a new name",
                     "%.0f messages wait on flow %s for %s, but the flow %s", number_of(row, "messages"),
                     text_of(row, "flow"), text_of(row, "receiver"), why);
    return why != NULL;
}

static int held_check(const struct install *install)
{
    struct store_client client;
    int is_last = 0, misfits = 0;
    if (store_client_open(&client, install->folder, "query") != STATUS_OK)
        return EXIT_FAILED;
    cJSON *request = cJSON_CreateObject();
    cJSON_AddStringToObject(request, "op", "held");
    int is_asked = store_client_ask(&client, request) == STATUS_OK;
    while (is_asked && !is_last) {
        cJSON *row = store_client_next(&client, &is_last);
        is_asked = row != NULL;
        misfits += is_asked ? row_check(&install->new.view, row) : 0;
        cJSON_Delete(row);
    }
    store_client_close(&client);
    if (misfits != 0)
        report_progress("nothing was changed: the version before serves on");
    return !is_asked ? EXIT_FAILED : misfits != 0 ? EXIT_CONFLICTS : EXIT_OK;
}

static int is_file(const struct system_view *system, const char *digest)
{
    uint8_t own[32];
    char hex[65];
    if (system->bytes == NULL)
        return 0;
    crypto_hash_sha256(own, system->bytes, system->size);
    sodium_bin2hex(hex, sizeof hex, own, sizeof own);
    return strcmp(hex, digest) == 0;
}

// What was compared is what runs, and what would take its place?
static int is_consented(const struct install *install, const cJSON *offer)
{
    int is_running = is_file(&install->old.view, text_of(offer, "running"));
    if (!is_running)
        report_error(install->folder, 0, "`crenel down`, then `crenel up`",
                     "system.bin there is not what runs, so nobody knows what is more open");
    else if (!is_file(&install->new.view, text_of(offer, "digest")))
        report_error(install->folder, 0, "run `crenel up` again when nobody else does",
                     "system.next there is not what was looked at, so nobody knows what is more open");
    else
        return 1;
    return 0;
}

static int replace(const struct install *install, const char *digest)
{
    cJSON *reply = NULL;
    int connection = -1, is_error = 0;
    cJSON *request = cJSON_CreateObject();
    cJSON_AddStringToObject(request, "op", "replace");
    cJSON_AddStringToObject(request, "digest", digest);
    enum status status = client_request(install->folder, request, &reply, NULL, &connection);
    cJSON_Delete(request);
    if (status != STATUS_OK)
        return client_exit_code(status);
    cJSON_Delete(reply);
    int is_ready = start_relay(connection, &is_error);
    close(connection);
    if (is_ready && is_error)
        report_error(NULL, 0, "mend what is reported above and run `crenel up` again",
                     "the new version does not serve: the one before it does");
    else if (!is_ready)
        report_progress("`crenel ps` shows what runs; `crenel up` starts it again");
    return is_ready && !is_error ? EXIT_OK : EXIT_FAILED;
}

int replace_run(const struct install *install)
{
    cJSON *offer = NULL;
    if (install_write(install, "system.next") != STATUS_OK)
        return EXIT_FAILED;
    enum status status = client_ask(install->folder, "offer", NULL, NULL, &offer, NULL, NULL);
    if (status != STATUS_OK)
        return client_exit_code(status);
    int code = is_consented(install, offer) ? held_check(install) : EXIT_FAILED;
    if (code == EXIT_OK)
        code = replace(install, text_of(offer, "digest"));
    cJSON_Delete(offer);
    return code;
}
