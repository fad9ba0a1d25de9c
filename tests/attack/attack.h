// SPDX-License-Identifier: ISC
// The attack suite: what an attack is, and the stage on which it plays.
//
// An attack is a guest (guest.h), what it is told to do, the mechanism (core/mechanism.h) that stops it, and
// the outcome that it must meet under each wall. The stage plays supervisor and router to the crenel-tender
// that ships, over the links that those use; so nothing between the guest and the outcome is the test's.
// After each attack the same tender must serve an honest event.
//
// Guests that hold an instruction which images may not hold are refused by that tender: that is an attack of its
// own. What stops them if one got in is tried on a tender that was built without that scan (IMAGE_SCAN off).
#ifndef CRENEL_TESTS_ATTACK_ATTACK_H
#define CRENEL_TESTS_ATTACK_ATTACK_H

#include "core/manifest.h"
#include "host/channel.h"
#include "proto/link.h"
#include "tests/attack/guest.h"

#include <signal.h>
#include <sys/types.h>

enum attack_wall { ATTACK_PROCESS, ATTACK_KVM, ATTACK_WALLS };

// What a stage is begun with; zero means the usual.
struct stage_options {
    uint32_t deadline_ms;   // 1000
    uint16_t instances;     // 1
    uint8_t lifetime;       // enum manifest_lifetime
    uint8_t is_unscanned;   // let the guest in although the scan would refuse it
    uint8_t is_unsealed;    // hand over an image file that can still be written
    uint32_t arena_bytes, stack_bytes; // 8 KiB each
    void (*damage)(uint8_t *image, size_t *size);
};

struct stage {
    enum attack_wall wall;
    int kvm_fd;                              // /dev/kvm, for that wall
    const char *program, *unscanned_program; // of the tender
    const char *error_path;                  // where the tender's stderr goes
    int silence_ms;                          // a tender that says nothing for so long is lost
    int is_without;                          // a mechanism: chance may take long to show it
    pid_t tender;
    int control_fd;
    struct channel link;
    uint8_t inbox[CHANNEL_PACKET_BYTES]; // of the link
    uint64_t next_handle;
    // What became of the last event.
    struct link_effects effects;
    struct link_crash crash;
    _Alignas(8) uint8_t records[ABI_OUTPUT_BYTES];
    // The verdict so far.
    int has_failed;
    const char *skip_reason;
    char seen[160]; // what contained it, or what went wrong
};

// Starts a tender with that guest. 0: it refused to start; what it said last is in stage->seen.
int stage_begin(struct stage *stage, const struct attack_guest *guest, const struct stage_options *options);
// Ends the tender. It must have lived until now.
void stage_end(struct stage *stage);
// Kills it.
void stage_kill(struct stage *stage);

// Sends an event; returns its handle. The payload is at most ABI_PAYLOAD_BYTES_MAX.
uint64_t stage_send(struct stage *stage, const void *payload, size_t bytes);
// Waits for the next EFFECTS (answering READs with an empty ANSWER) and returns its handle; 0: the tender is
// gone or silent, which fails the attack.
uint64_t stage_receive(struct stage *stage);
// One event from beginning to end.
void stage_event(struct stage *stage, const uint64_t words[ACT_WORDS]);
// The message that the last event's guest sent, or NULL; *bytes is its size.
const uint64_t *stage_message(const struct stage *stage, size_t *bytes);

// "SIGSYS: system call 59", "deadline of 200 ms passed", "contract: ..." of the last event.
void stage_describe(const struct stage *stage, char text[160]);
__attribute__((format(printf, 2, 3))) void stage_fail(struct stage *stage, const char *format, ...);
__attribute__((format(printf, 2, 3))) void stage_note(struct stage *stage, const char *format, ...);

struct attack_outcome {
    uint8_t is_ended;    // the event may end well: what it published is harmless
    uint8_t is_fault;    // the instance may be ended by a fault ...
    uint8_t is_deadline; // ... or by its deadline
    uint8_t is_contract; // ... or for a breach of the contract
    uint32_t signals;    // of a fault under the process wall, as bits; 0: any
    const char *text;    // part of the description; NULL: any
};

struct attack {
    const char *name;
    const char *mechanism[ATTACK_WALLS]; // that stops it under each wall; NULL: it means nothing there
    const struct attack_guest *guest;
    struct stage_options options;
    struct attack_outcome process, kvm;
    const char *alone;               // under process: why nothing stops it at run time
    const char *not_on_software_kvm; // what software KVM does not do
    uint64_t words[ACT_WORDS];       // of the event
    // Plays the attack on a stage that has begun; NULL: one event with those words.
    void (*play)(struct stage *stage, const struct attack *attack);
    // Plays it on a stage that has not begun.
    void (*play_alone)(struct stage *stage, const struct attack *attack);
    const void *detail; // for play
};

const struct attack_outcome *attack_expected(const struct stage *stage, const struct attack *attack);
// Fails the attack unless the last event ended as expected.
void stage_judge(struct stage *stage, const struct attack_outcome *expected, const char *what);

struct attack_table {
    const char *title;
    const struct attack *attacks;
    size_t count;
};

// One room of attacks a file.
struct attack_table attacks_calls(void);
struct attack_table attacks_doors(void);
struct attack_table attacks_processor(void);
struct attack_table attacks_images(void);
struct attack_table attacks_memory(void);
struct attack_table attacks_execution(void);
struct attack_table attacks_records(void);
struct attack_table attacks_races(void);
struct attack_table attacks_time(void);
struct attack_table attacks_fresh(void);
struct attack_table attacks_secrets(void);
struct attack_table attacks_outside(void);

// An image file made of one guest: returns its size and the manifest's header. `bytes` has room for
// IMAGE_BYTES_MAX.
size_t attack_image(const struct attack_guest *guest, const struct stage_options *options, uint8_t *bytes,
                    struct manifest_header *header);

#endif
