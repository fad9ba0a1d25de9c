// SPDX-License-Identifier: ISC
// The user ids of system mode, and whether this host lets us have them.
#ifndef CRENEL_HOST_USERS_H
#define CRENEL_HOST_USERS_H

// 64 per system out of 2000000..3048575.
#define USERS_FIRST 2000000u
#define USERS_PER_SYSTEM 64u
#define USERS_SLOTS 16384u

// Why processes cannot have user ids of their own here; NULL when they can. Then system mode is out of reach even
// for user 0, and the supervisor runs rootless.
const char *users_why_not(void);

#endif
