// SPDX-License-Identifier: ISC
// TLS 1.3 with certificates on both sides, over a non-blocking socket; and what carries it to a broker that wants TLS itself.
//
// OpenSSL, in this process alone: it reads no file by itself, needs no system call beyond those of a socket and
// getrandom (so the filter stays short), and is the one TLS library in Debian that gets fixes first. GnuTLS would bring
// p11-kit, which reads configuration and loads modules. Only version 1.3; no tickets and no resumption: each link proves anew who is
// at its ends; no early data.
//
// With a broker nothing depends on this TLS but what the broker alone may see (user, password, topic): so version 1.2 will do, which
// brokers have, and the broker proves who it is by its certificate, the courier by its password.
#ifndef CRENEL_COURIER_TLS_H
#define CRENEL_COURIER_TLS_H

#include "core/status.h"
#include "proto/system.h"

#include <stddef.h>
#include <stdint.h>

struct tls_context; // one side's certificate, key and authority
struct tls;         // one connection

// The descriptors are PEM files; all three are read and closed. NULL: *why says what is wrong with which.
struct tls_context *tls_context_new(int certificate_fd, int key_fd, int authority_fd, int is_listening, const char **why);

// Of a client of a broker, whose certificate must be one of this authority.
struct tls_context *tls_context_for_broker(int authority_fd, const char **why);

// fd stays the caller's. NULL: no memory.
struct tls *tls_new(struct tls_context *context, int fd, const struct system_courier *courier);
// address: "broker.example.org:8883", whose certificate it must be.
struct tls *tls_new_for_broker(struct tls_context *context, int fd, const char *address);
void tls_destroy(struct tls *tls);

// One step of the handshake. STATUS_OK: done, *peer is the index of who is there, among the courier's peers (a broker: 0). STATUS_AGAIN:
// *wants_write says what the socket must be ready for. STATUS_DENIED: the peer is not who it must be; else it failed.
enum status tls_handshake(struct tls *tls, uint16_t *peer, int *wants_write) MUST_USE;

// STATUS_OK with *done >= 1; STATUS_AGAIN; STATUS_CLOSED: the other side ended it, or it failed.
enum status tls_read(struct tls *tls, uint8_t *bytes, size_t capacity, size_t *done) MUST_USE;
enum status tls_write(struct tls *tls, const uint8_t *bytes, size_t size, size_t *done) MUST_USE;
// Whether OpenSSL has bytes that tls_read() gives: no epoll speaks of them.
int tls_has_more(const struct tls *tls);

// Why the last call failed, in words for an operator.
const char *tls_why(const struct tls *tls);

#endif
