// SPDX-License-Identifier: ISC
// The password file: written by `crenel passwd`, read by the password service.
//
// Text, one user a line: NAME:HASH and a newline. NAME is 1..32 of A-Z a-z 0-9 - _ . and HASH is an
// argon2id string as libsodium's crypto_pwhash_str() makes it. Valid if and only if every line is so
// and no name comes twice. Empty lines and lines that begin with # are left out. Mode 0600.
#ifndef CRENEL_PROTO_PASSWORD_H
#define CRENEL_PROTO_PASSWORD_H

#define PASSWORD_FILE_NAME "passwords" // in the directory of the service
#define PASSWORD_FILE_BYTES 32768u
#define PASSWORD_USERS_MAX 128u
#define PASSWORD_USER_BYTES_MAX 32u // as in password-request/1
#define PASSWORD_BYTES_MAX 128u     // as in password-request/1
#define PASSWORD_HASH_BYTES 128u    // crypto_pwhash_STRBYTES, with the terminating zero

// Cost of one attempt. All of Crenel shall run in 64 MiB on an IoT hub, and a fleet that reconnects after
// a power cut must get in within seconds; so the memory is small, and three passes are the least that
// argon2id's authors advise with so little of it. About 10 ms; the rate of the request flow bounds guessing.
#define PASSWORD_HASH_MEMORY_BYTES (4u * 1024u * 1024u)
#define PASSWORD_HASH_PASSES 3u

#endif
