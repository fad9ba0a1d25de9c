// SPDX-License-Identifier: ISC
// The result of what may fail through bad input or through the operating system.
#ifndef CRENEL_CORE_STATUS_H
#define CRENEL_CORE_STATUS_H

enum status {
    STATUS_OK = 0,
    STATUS_SYSTEM,    // the operating system refused; errno says why
    STATUS_AGAIN,     // not now; try again when told
    STATUS_CLOSED,    // the peer is gone
    STATUS_TRUNCATED, // bytes end too early
    STATUS_MALFORMED, // bytes break their format
    STATUS_TOO_LARGE, // over a named limit
    STATUS_VERSION,   // a version that this program does not speak
    STATUS_SIGNATURE, // a signature or digest does not match
    STATUS_ABSENT,    // no such thing
    STATUS_DENIED,    // not allowed
    STATUS_CONFLICT,  // changed meanwhile, or exists already
    STATUS_FULL,      // no space under the declared cap
};

#define MUST_USE __attribute__((warn_unused_result))

static inline const char *status_text(enum status status)
{
    static const char *const texts[] = {
        "ok",        "system error", "not now",   "closed", "truncated", "malformed", "too large",
        "version",   "signature",    "not found", "denied", "conflict",  "full"};
    unsigned i = (unsigned)status;
    return i < sizeof texts / sizeof texts[0] ? texts[i] : "unknown";
}

#endif
