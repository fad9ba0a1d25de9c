// SPDX-License-Identifier: ISC
// From a stopped instance to a crash report; the same words for every wall.
#ifndef CRENEL_TENDER_FAULT_H
#define CRENEL_TENDER_FAULT_H

#include "proto/link.h"
#include "tender/layout.h"

#define FAULT_CODE_BYTES 16u

struct fault_view { // of a stopped instance
    const struct layout *layout;
    const struct image *image;
    uint64_t rip, rsp, rbp;
    // Reads a word of its memory; false if nothing is there.
    int (*peek)(void *context, uint64_t address, uint64_t *word);
    void *context;
};

// Where the instance stands: instruction and frames, as offsets into the image. True if it is in the image's text.
int fault_place(const struct fault_view *view, struct link_crash *crash);

enum fault_access { FAULT_READS, FAULT_WRITES, FAULT_JUMPS, FAULT_TOUCHES }; // FAULT_TOUCHES: not known

// Says what it did in crash->what: touched memory that it may not touch so;
void fault_describe_access(const struct fault_view *view, enum fault_access access, uint64_t address,
                           struct link_crash *crash);
// ran an instruction that the processor refuses, without an address;
void fault_describe_refusal(const struct fault_view *view, struct link_crash *crash);
// ran an instruction that the processor does not know, or has been told not to.
void fault_describe_unknown(const struct fault_view *view, struct link_crash *crash);

// The bytes at its instruction; zero where nothing is.
void fault_code(const struct fault_view *view, uint8_t code[FAULT_CODE_BYTES]);

// Whether the x86-64 instruction in code stores to memory (1), loads (0), or who knows (-1).
int fault_is_store(const uint8_t code[FAULT_CODE_BYTES]);

#endif
