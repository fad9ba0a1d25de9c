// SPDX-License-Identifier: ISC
// Couriers: where another node is, and how each side knows the other (docs/nodes.md).
#include "cli/source/compile_state.h"

#include <stdio.h>
#include <string.h>

static int is_peer_name(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++)
        if (name[i] < 0x21 || name[i] > 0x7e)
            return 0;
    return length != 0 && length < sizeof((struct system_peer *)0)->name;
}

static void peer_add(struct compile *compile, struct system_courier *courier, const struct yaml_node *node)
{
    if (node->kind != YAML_SCALAR || !is_peer_name(node->text)) {
        yaml_error(&compile->file, node, "write the name in the peer's certificate, at most 63 characters without blanks",
                   "not the name of a peer");
        return;
    }
    for (unsigned i = 0; i < courier->peer_count; i++)
        if (strcmp(courier->peers[i].name, node->text) == 0)
            yaml_error(&compile->file, node, "name it once", "peer '%s' is here twice", node->text);
    if (courier->peer_count == SYSTEM_PEERS_MAX)
        return;
    struct system_peer *peer = &courier->peers[courier->peer_count++];
    memcpy(peer->name, node->text, strlen(node->text));
    peer->principal = (uint16_t)(compile_find(compile->principals, sizeof compile->principals[0],
                                              compile->principal_count, node->text) + 1);
}

static void peers_read(struct compile *compile, struct yaml_node *node, struct system_courier *courier)
{
    struct yaml_file *file = &compile->file;
    if (courier->is_listening) {
        const struct yaml_node *list = yaml_child(file, node, "peers", YAML_SEQUENCE, 1);
        if (list != NULL && (list->count == 0 || list->count > SYSTEM_PEERS_MAX))
            yaml_error(file, list, "between 1 and 16 names of certificates", "%zu peers", list->count);
        for (size_t i = 0; list != NULL && i < list->count; i++)
            peer_add(compile, courier, list->children[i]);
        return;
    }
    const struct yaml_node *peer = yaml_child(file, node, "peer", YAML_SCALAR, 1);
    if (peer != NULL)
        peer_add(compile, courier, peer);
}

static int is_topic(const char *topic)
{
    size_t length = strlen(topic);
    for (size_t i = 0; i < length; i++)
        if (topic[i] < 0x21 || topic[i] > 0x7e || strchr("+#$", topic[i]) != NULL)
            return 0;
    return length != 0 && length < sizeof((struct system_courier *)0)->topic;
}

// Both sides connect to the broker; which one says `connect` and which `listen` tells their directions apart.
static void broker_read(struct compile *compile, struct yaml_node *node, struct system_courier *courier)
{
    struct yaml_file *file = &compile->file;
    const char *topic = yaml_text(file, node, "topic", NULL), *user = yaml_text(file, node, "user", "");
    if (topic != NULL && !is_topic(topic))
        yaml_error(file, node, "write for example plant-7/hub-1: at most 63 characters, without blanks, +, # and $",
                   "'%s' is not a topic", topic);
    else if (topic != NULL)
        memcpy(courier->topic, topic, strlen(topic));
    if (courier->peer_count > 1)
        yaml_error(file, node, "make a courier with a topic of its own for each peer", "courier '%s' is at a broker and has several peers",
                   courier->name);
    if (*yaml_text(file, node, "broker_authority", "") != 0)
        compile_path(compile, node, "broker_authority", courier->broker_authority);
    if (*user == 0)
        return; // a password_file without a user is a key too many
    if (!is_peer_name(user) || strlen(user) >= sizeof courier->user)
        yaml_error(file, node, "use the broker's name for this node, at most 31 characters without blanks", "'%s' is not a user", user);
    else
        memcpy(courier->user, user, strlen(user));
    compile_path(compile, node, "password_file", courier->password);
}

// "cloud.example.org:8883": labels of letters, digits and hyphens; the last has a letter, so that 192.0.2.777 is none.
static int is_named_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    size_t length = colon == NULL ? 0 : (size_t)(colon - text), label = 0;
    int has_letter = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        int is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'), is_digit = c >= '0' && c <= '9';
        if (c == '.' ? label == 0 : !is_letter && !is_digit && (c != '-' || label == 0))
            return 0;
        label = c == '.' ? 0 : label + 1;
        has_letter = c != '.' && (has_letter || is_letter);
        if (label > 63)
            return 0;
    }
    if (length == 0 || label == 0 || !has_letter || text[length - 1] == '-' || strlen(text) >= sizeof((struct system_courier *)0)->address)
        return 0;
    char as_number[16]; // the port is written as that of an address
    return (size_t)snprintf(as_number, sizeof as_number, "192.0.2.1%s", colon) < sizeof as_number && compile_is_address(as_number);
}

static void address_read(struct compile *compile, struct yaml_node *node, struct system_courier *courier, const char *address)
{
    struct yaml_file *file = &compile->file;
    int may_be_name = !courier->is_listening || courier->transport == SYSTEM_MQTT5;
    courier->is_named = may_be_name && is_named_address(address);
    if (!courier->is_named && !compile_is_address(address))
        yaml_error(file, node, may_be_name ? "write for example 192.0.2.7:8883 or cloud.example.org:8883" : "write for example 0.0.0.0:8883",
                   may_be_name ? "'%s' is not an address or name with a port" : "'%s' is not an address with a port", address);
    else
        memcpy(courier->address, address, strlen(address));
    const char *resolver = courier->is_named ? yaml_text(file, node, "resolver", "") : "";
    if (*resolver != 0 && !compile_is_address(resolver))
        yaml_error(file, node, "write for example 192.0.2.53:53", "'resolver: %s' is not an address with a port", resolver);
    else
        memcpy(courier->resolver, resolver, strlen(resolver));
}

static void courier_read(struct compile *compile, struct yaml_node *node, struct system_courier *courier)
{
    static const char *const transports[] = {"tls", "mqtt5"};
    struct yaml_file *file = &compile->file;
    const char *connect = yaml_text(file, node, "connect", ""), *listen = yaml_text(file, node, "listen", "");
    const char *address = *connect != 0 ? connect : listen;
    courier->is_listening = *listen != 0;
    if ((*connect != 0) == (*listen != 0))
        yaml_error(file, node, "one side connects, the other listens: add one of 'connect: ADDRESS:PORT' and 'listen: ADDRESS:PORT'",
                   "courier '%s' has %s", courier->name, *connect != 0 ? "both" : "neither");
    courier->transport = (uint8_t)(SYSTEM_TLS + yaml_choice(file, node, "transport", transports, 2, 0));
    if ((*connect != 0) != (*listen != 0))
        address_read(compile, node, courier, address);
    compile_path(compile, node, "certificate", courier->certificate);
    compile_path(compile, node, "key", courier->key);
    compile_path(compile, node, "authority", courier->authority);
    peers_read(compile, node, courier);
    if (courier->transport == SYSTEM_MQTT5)
        broker_read(compile, node, courier);
}

void compile_couriers(struct compile *compile)
{
    struct yaml_node *mapping;
    compile->courier_count = compile_entries(compile, "couriers", SYSTEM_COURIERS_MAX, &mapping);
    for (size_t i = 0; i < compile->courier_count; i++) {
        compile->courier_nodes[i] = mapping->children[i];
        compile_name(compile->couriers[i].name, mapping->children[i]->key);
        if (mapping->children[i]->kind == YAML_MAPPING)
            courier_read(compile, mapping->children[i], &compile->couriers[i]);
    }
}
