// SPDX-License-Identifier: ISC
// The supervisor's own state: the compiled system, one member per process, the phases of the whole.
//
// Phases of a start: 1 audit; 2 store, router, services, tenders; 3 gateways, couriers. A phase begins when all of
// the one before serve. An end goes the other way, audit last (supervisor/phases.c).
// The supervisor never looks at a payload. It holds every pair of links until both owners have theirs.
#ifndef CRENEL_SUPERVISOR_SUPERVISOR_H
#define CRENEL_SUPERVISOR_SUPERVISOR_H

#include "core/system.h"
#include "host/cgroup.h"
#include "host/isolation.h"
#include "host/loop.h"
#include "proto/control.h"
#include "proto/status_page.h"
#include "supervisor/records.h"
#include "supervisor/table.h"

#include <limits.h>
#include <sys/types.h>

#define MEMBERS_MAX (3u + SYSTEM_SERVICES_MAX + SYSTEM_UNIKERNELS_MAX + SYSTEM_GATEWAYS_MAX + SYSTEM_COURIERS_MAX)
#define PENDING_MAX (MEMBERS_MAX + 4u)
#define CLIENTS_MAX 16u
#define LISTENERS_MAX (2u * (SYSTEM_GATEWAYS_MAX + SYSTEM_COURIERS_MAX)) // of one version and the next
#define KEYS_MAX 8u

enum role { ROLE_AUDIT, ROLE_STORE, ROLE_ROUTER, ROLE_SERVICE, ROLE_TENDER, ROLE_GATEWAY, ROLE_COURIER, ROLES };

struct pending { // an attachment that waits for its owner's process
    uint16_t what; // enum control_what
    uint32_t index;
    int fd;
};

struct supervisor;

struct member {
    struct supervisor *supervisor;
    enum role role;
    uint16_t index;   // of the unikernel, service, gateway or courier
    const char *name; // "router", or the unikernel's, service's, gateway's, courier's name
    enum member_state state;
    int is_wanted;
    int is_operator_stopped;
    int is_linked; // a fresh pair to the router (store: too) waits for its next start or is in use
    pid_t pid;
    int pidfd, control_fd; // -1: none
    struct loop_watch exit_watch, control_watch;
    struct loop_timer timer;
    int64_t backoff_ms, started_ms;
    int grace_ms; // between "end now" and SIGKILL
    uint64_t restarts;
    char last_end[160]; // why it ended last
    uint8_t *page;
    int page_fd;
    uid_t uid;
    struct cgroup cgroup;
    int resource_fd; // image (tender), listener (gateway, courier that listens), or -1
    enum isolation_level isolation; // of a tender: what is in force
    struct pending pending[PENDING_MAX];
    size_t pending_count;
};

enum phase { PHASE_STARTING, PHASE_RUNNING, PHASE_EPOCH_ENDING, PHASE_EPOCH_WAITING, PHASE_STOPPING, PHASE_ENDED };

struct client { // of the control socket
    struct supervisor *supervisor;
    int fd; // -1: free
    uid_t uid;
    struct loop_watch watch;
    char line[4096];
    size_t used;
    int is_waiting_for_end; // asked `down`; closed when everything has ended
};

struct supervisor {
    struct system_view system;
    uint8_t digest[32]; // of the system file
    int system_fd;      // sealed memfd
    char state_path[PATH_MAX], programs_path[PATH_MAX], root_path[PATH_MAX];
    int state_fd;
    int is_rootless;
    uid_t uid_base, owner; // owner: who may use the control socket besides root
    struct cgroup_host cgroups;
    char cgroup_name[80];
    struct loop loop;
    struct member members[MEMBERS_MAX];
    size_t member_count;
    enum phase phase;
    uint64_t epoch;
    int is_first_start; // until everything served once; a failure then ends it all
    int is_audit_linked;
    int is_epoch_unwritten; // the next epoch waits for the state folder to take its number
    int64_t epoch_backoff_ms, running_since_ms, started_ms;
    struct loop_timer epoch_timer, log_timer, stop_timer;
    struct loop_watch signal_watch, listen_watch;
    int signal_fd, listen_fd;
    int log_fd;    // system.log, for the router
    int notify_fd; // progress for `crenel up`, -1: none
    int exit_code;
    // ---- Versions (supervisor/replace.h) ----
    char **keys; // paths of public keys
    int key_count, lock_fd, is_tied;
    struct {
        int fd;
        char address[64];
    } listeners[LISTENERS_MAX]; // open ones, of this version and of the one before
    size_t listener_count;
    struct {
        uint8_t *bytes; // NULL: none was offered
        size_t size;
        uint8_t digest[32];
    } next;
    int is_replacing; // the phase STOPPING ends in the next version
    int is_trial;     // this version has not served yet, and the one before is at hand
    int64_t replace_began_ms;
    struct loop_timer drain_timer;
    const char *failed, *failed_why; // digest of the version that this one came back for
    char failure[512]; // why it ended by itself
    struct records records;
    struct client clients[CLIENTS_MAX];
};

// ---- member.c: one process ----
void member_event(struct member *member, enum member_event event);
// Hands an attachment to the member's process, or keeps it for its next one. Takes fd.
void member_give(struct member *member, uint16_t what, uint32_t index, uint64_t value, int fd);
void member_drop_pending(struct member *member);
static inline int member_has_process(const struct member *m) { return m->pidfd >= 0; }
// "unikernel decode", "router"
const char *member_title(const struct member *member);
struct member *member_of(struct supervisor *s, enum role role, unsigned index);

// ---- launch.c: what each role is started with ----
enum status launch_member(struct member *member) MUST_USE;
// Makes every pair of links that is missing among the wanted members.
void launch_links(struct supervisor *s);

// ---- resources.c: what is opened once, before anything starts ----
enum status resources_open(struct supervisor *s) MUST_USE;
enum status resources_listener(struct supervisor *s, const char *address, int *fd) MUST_USE;
void resources_close(struct supervisor *s);
enum status resources_rotate_log(struct supervisor *s) MUST_USE; // opens a new log when the old one is large
enum status resources_next_epoch(struct supervisor *s) MUST_USE; // raises the durable counter

// ---- couriers.c: what a courier needs of the operator ----
enum status courier_open(struct supervisor *s, struct member *member) MUST_USE;
void courier_give_files(struct member *member); // as they are now
enum status key_open(struct supervisor *s, struct member *member) MUST_USE; // of a service that seals or signs
void key_give(struct member *member);

// ---- phases.c: the whole ----
void phases_start(struct supervisor *s);
void phases_step(struct supervisor *s); // call after any member changed state
void phases_member_failed(struct member *member);
void phases_stop(struct supervisor *s);
void phases_replace(struct supervisor *s); // ends everything for the next version
const char *phase_text(enum phase phase);

// ---- server.c: the control socket ----
enum status server_open(struct supervisor *s) MUST_USE;
void server_close(struct supervisor *s);

// ---- notify.c: to whoever ran `crenel up` ----
void notify(struct supervisor *s, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Keeps the first reason, for the exit.
void fail(struct supervisor *s, const char *mend, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
