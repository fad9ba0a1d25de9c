// SPDX-License-Identifier: ISC
// MQTT 3.1.1 control packets, decoded from and encoded to bytes (OASIS standard, sections 2 and 3).
#ifndef CRENEL_GUESTS_MQTT_PACKET_H
#define CRENEL_GUESTS_MQTT_PACKET_H

#include "bytes.h"

enum packet_type {
    PACKET_CONNECT = 1, PACKET_CONNACK, PACKET_PUBLISH, PACKET_PUBACK, PACKET_PUBREC, PACKET_PUBREL,
    PACKET_PUBCOMP, PACKET_SUBSCRIBE, PACKET_SUBACK, PACKET_UNSUBSCRIBE, PACKET_UNSUBACK,
    PACKET_PINGREQ, PACKET_PINGRESP, PACKET_DISCONNECT,
};

enum packet_connack { // return codes of CONNACK
    CONNACK_ACCEPTED = 0, CONNACK_VERSION = 1, CONNACK_IDENTIFIER = 2, CONNACK_UNAVAILABLE = 3,
    CONNACK_CREDENTIALS = 4, CONNACK_NOT_AUTHORIZED = 5,
};

enum packet_verdict { PACKET_GOOD, PACKET_INCOMPLETE, PACKET_BAD };

struct packet_frame { // the fixed header
    uint8_t type;     // enum packet_type
    uint8_t flags;
    uint32_t header_bytes; // 2..5
    uint32_t body_bytes;   // the "remaining length"
};

struct packet_connect {
    bool is_version_known; // false: nothing below is filled; the answer is CONNACK_VERSION
    bool is_clean, has_will, is_user_given, is_password_given;
    uint8_t will_qos;
    uint16_t keep_alive_s;
    struct bytes client, will_topic, will_payload, user, password;
};

struct packet_publish {
    uint8_t qos;
    bool is_duplicate;
    uint16_t id; // 0 with QoS 0
    struct bytes topic, payload;
};

struct packet_filters { // of SUBSCRIBE and UNSUBSCRIBE
    uint16_t id;
    struct bytes rest; // filters not yet taken
};

// Reads the fixed header at the start of bytes; its reserved flags are checked here.
enum packet_verdict packet_frame_read(struct packet_frame *frame, struct bytes bytes);

// Each decodes one whole body; false: malformed. The results point into the body.
bool packet_connect_read(struct packet_connect *connect, struct bytes body);
bool packet_publish_read(struct packet_publish *publish, uint8_t flags, struct bytes body);
bool packet_filters_read(struct packet_filters *filters, struct bytes body);
bool packet_id_read(uint16_t *id, struct bytes body); // PUBACK and the like: an id, nothing else

// The next filter (with its QoS in SUBSCRIBE, has_qos). 1: taken, 0: none left, -1: malformed.
int packet_filter_next(struct packet_filters *filters, bool has_qos, struct bytes *filter,
                       uint8_t *qos);

// Encoders write to out, which has room for the largest result, and return the bytes written.
size_t packet_connack_write(uint8_t *out, enum packet_connack code);
size_t packet_id_write(uint8_t *out, enum packet_type type, uint16_t id); // PUBACK, UNSUBACK
size_t packet_publish_bytes(const struct packet_publish *publish); // size of the encoding
size_t packet_publish_write(uint8_t *out, const struct packet_publish *publish);
size_t packet_header_write(uint8_t *out, enum packet_type type, uint8_t flags, uint32_t body_bytes);

#endif
