// SPDX-License-Identifier: ISC
// The system call filter of zygote and instances: a table of rules, compiled into BPF.
#ifndef CRENEL_TENDER_PROCESS_FILTER_H
#define CRENEL_TENDER_PROCESS_FILTER_H

#include "tender/layout.h"
#include "tender/process/gate.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

#define FILTER_RULES_MAX (3 + ZYGOTE_CALLS_MAX)
#define FILTER_CODE_MAX 512u // BPF instructions

// One call that is allowed, from one instruction, with these arguments.
struct filter_rule {
    struct seccomp_data call;
    unsigned pinned;  // arguments, the first ones; the others may be anything
    uint32_t verdict; // SECCOMP_RET_ALLOW, or SECCOMP_RET_USER_NOTIF: the tender is told, nothing is carried out
};

// All that the zygote's page calls, in order.
void filter_calls(const struct layout *layout, struct zygote_call calls[ZYGOTE_CALLS_MAX]);

// The rules for a layout; returns how many.
size_t filter_rules(const struct layout *layout, struct filter_rule rules[FILTER_RULES_MAX]);

// Compiles rules into `code`; returns the number of BPF instructions. What no rule allows ends in
// SIGSYS; a call under another ABI (int 0x80, x32) too.
size_t filter_compile(const struct filter_rule *rules, size_t rule_count,
                      struct sock_filter code[FILTER_CODE_MAX]);

#endif
