// SPDX-License-Identifier: ISC
// crenel policy mud SYSTEM [URL]: what the enterprise's switches may let through to and from the node, as a MUD file
// (RFC 8520; access lists of RFC 8519).
//
// A switch sees addresses and ports, nothing of what a message says. In comes TCP to the port of each gateway whose
// address is not loopback, from local networks; out goes what belongs to those connections. The node itself begins none.
// URL is where the file will be served; without one it is a name that nobody can have.
#include "cli/policy/policy.h"
#include "cli/report.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define URL_BYTES_MAX 253u       // RFC 8520, 2.1: of a MUD URL
#define SYSTEMINFO_BYTES_MAX 60u // the same

enum way { TO_DEVICE, FROM_DEVICE };

struct list { // one access list
    enum way way;
    int is_v6;
    char name[64];
};

static int is_v6(const char *listen) { return listen[0] == '['; }

static int is_loopback(const char *listen)
{
    return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]", 5) == 0;
}

static cJSON *port_make(const char *listen)
{
    cJSON *port = cJSON_CreateObject();
    cJSON_AddStringToObject(port, "operator", "eq");
    cJSON_AddNumberToObject(port, "port", (double)strtol(strrchr(listen, ':') + 1, NULL, 10));
    return port;
}

static cJSON *entry_make(const struct system_gateway *gateway, const struct list *list)
{
    char name[64];
    cJSON *entry = cJSON_CreateObject(), *actions = cJSON_CreateObject();
    snprintf(name, sizeof name, "%s-%s", gateway->name, list->way == TO_DEVICE ? "to" : "from");
    cJSON_AddStringToObject(entry, "name", name);
    cJSON *matches = cJSON_AddObjectToObject(entry, "matches");
    cJSON *networks = cJSON_AddArrayToObject(cJSON_AddObjectToObject(matches, "ietf-mud:mud"), "local-networks");
    cJSON_AddItemToArray(networks, cJSON_CreateNull()); // how RFC 7951 writes a leaf of type empty
    cJSON *network = cJSON_AddObjectToObject(matches, list->is_v6 ? "ipv6" : "ipv4");
    cJSON_AddNumberToObject(network, "protocol", 6);
    cJSON *tcp = cJSON_AddObjectToObject(matches, "tcp");
    cJSON_AddStringToObject(tcp, "ietf-mud:direction-initiated", "to-device");
    cJSON_AddItemToObject(tcp, list->way == TO_DEVICE ? "destination-port" : "source-port", port_make(gateway->listen));
    cJSON_AddStringToObject(actions, "forwarding", "accept");
    cJSON_AddItemToObject(entry, "actions", actions);
    return entry;
}

static cJSON *list_make(const struct system_view *system, const struct list *list)
{
    cJSON *acl = cJSON_CreateObject();
    cJSON_AddStringToObject(acl, "name", list->name);
    cJSON_AddStringToObject(acl, "type", list->is_v6 ? "ipv6-acl-type" : "ipv4-acl-type");
    cJSON *entries = cJSON_AddArrayToObject(cJSON_AddObjectToObject(acl, "aces"), "ace");
    for (size_t i = 0; i < system->gateway_count; i++) {
        const char *listen = system->gateways[i].listen;
        // "[::]" takes IPv4 as well.
        int is_of_list = is_v6(listen) == list->is_v6 || strncmp(listen, "[::]:", 5) == 0;
        if (is_of_list && !is_loopback(listen))
            cJSON_AddItemToArray(entries, entry_make(&system->gateways[i], list));
    }
    return acl;
}

static void header_add(cJSON *mud, const struct system_header *header, const char *url)
{
    char text[256], now[32];
    time_t seconds = time(NULL);
    struct tm broken;
    if (gmtime_r(&seconds, &broken) == NULL || strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", &broken) == 0)
        snprintf(now, sizeof now, "1970-01-01T00:00:00Z");
    cJSON_AddNumberToObject(mud, "mud-version", 1);
    snprintf(text, sizeof text, "https://mud.invalid/%s/%s.json", header->tenant, header->name);
    cJSON_AddStringToObject(mud, "mud-url", url != NULL ? url : text);
    cJSON_AddStringToObject(mud, "last-update", now);
    cJSON_AddNumberToObject(mud, "cache-validity", 48);
    cJSON_AddTrueToObject(mud, "is-supported");
    snprintf(text, SYSTEMINFO_BYTES_MAX + 1, "%.28s of %.28s", header->name, header->tenant);
    cJSON_AddStringToObject(mud, "systeminfo", text);
    snprintf(text, sizeof text, "%u", header->security_version);
    cJSON_AddStringToObject(mud, "software-rev", text);
}

static cJSON *mud_make(const struct system_view *system, const char *url)
{
    static const char *const policies[] = {"to-device-policy", "from-device-policy"};
    cJSON *root = cJSON_CreateObject(), *mud = cJSON_AddObjectToObject(root, "ietf-mud:mud");
    cJSON *acls = cJSON_AddArrayToObject(cJSON_AddObjectToObject(root, "ietf-access-control-list:acls"), "acl");
    header_add(mud, system->header, url);
    for (int way = FROM_DEVICE; way >= TO_DEVICE; way--) {
        cJSON *policy = cJSON_AddObjectToObject(mud, policies[way]);
        cJSON *names = cJSON_AddArrayToObject(cJSON_AddObjectToObject(policy, "access-lists"), "access-list");
        for (int v6 = 0; v6 <= 1; v6++) {
            struct list list = {.way = (enum way)way, .is_v6 = v6};
            snprintf(list.name, sizeof list.name, "mud-%s-v%d%s", system->header->name, v6 ? 6 : 4,
                     way == TO_DEVICE ? "to" : "fr");
            cJSON *name = cJSON_CreateObject();
            cJSON_AddStringToObject(name, "name", list.name);
            cJSON_AddItemToArray(names, name);
            cJSON_AddItemToArray(acls, list_make(system, &list));
        }
    }
    return root;
}

int policy_mud(const struct policy_system *systems, const struct policy_options *options)
{
    const char *url = options->word_count > 1 ? options->words[1] : NULL;
    if (url != NULL && (strncmp(url, "https://", 8) != 0 || url[8] == 0 || strlen(url) > URL_BYTES_MAX ||
                        strpbrk(url, " <>\"{}|\\^`") != NULL)) {
        report_error(NULL, 0, "RFC 8520 wants https, at most 253 bytes: https://example.com/device.json",
                     "'%s' is no MUD URL", url);
        return EXIT_USAGE;
    }
    cJSON *root = mud_make(&systems->view, url);
    char *text = cJSON_Print(root);
    puts(text);
    cJSON_free(text);
    cJSON_Delete(root);
    return EXIT_OK;
}
