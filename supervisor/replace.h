// SPDX-License-Identifier: ISC
// A new version of the system takes the place of the one that runs, all or nothing.
//
//   offer     the CLI has put system.next into the state folder. Signature, name, security version, images and addresses
//             are looked at. Nothing changes
//   replace   the gateways end, so nothing more comes in; events that are under way get DRAIN_MOST_MS to end, and volatile
//             messages with them; then unikernels, services, router, store and audit end, as `down` ends them. What is
//             durable and not done waits in the store
//   switch    system.bin gets a second name, system.old; what was offered, whatever system.next holds by now, is written over
//             system.bin (host/durable_file.h); this process executes itself anew, with the lock, the listening sockets (clients that connect meanwhile wait) and the operator
//             who waits for the outcome
//   trial     a version is on trial as long as system.old is there, another file than system.bin. The store changes
//             nothing meanwhile: it gives out no message that waits, and answers every commit with "not now"
//   confirm   as soon as everything serves: system.old is removed, for good (fsync), and only then the store begins, old
//             images are removed, and the security version can not go down any more
//   fall back a version on trial that does not come to serve: system.old is renamed over system.bin, and this process
//             executes itself anew
//
// So system.bin holds exactly one whole version at any moment, whatever is cut off; whoever starts on a version that
// is still on trial falls back in the same way; and the version before finds in the store what it left there, so it can
// start. No message is judged by two versions: between the epoch of the one and that of the other no router runs.
#ifndef CRENEL_SUPERVISOR_REPLACE_H
#define CRENEL_SUPERVISOR_REPLACE_H

#include "supervisor/supervisor.h"

// Looks at system.next. On STATUS_OK it is s->next; else *mend and the text in why.
enum status replace_offer(struct supervisor *s, char why[512], const char **mend) MUST_USE;

// Begins with what was offered, if that is its digest in hex. connection: of the operator, who gets the lines of
// supervisor/notify.c until all is decided; taken on STATUS_OK.
enum status replace_begin(struct supervisor *s, const char *digest, uid_t uid, int connection, char why[512],
                          const char **mend) MUST_USE;

// Has everything that came in been done, or had its time?
int replace_is_drained(struct supervisor *s);

// After every process has ended: puts the offered version in place and executes it. Returns when that failed.
void replace_switch(struct supervisor *s);

// At the end of a start that failed: 0 unless the version was on trial; then the one before is executed.
int replace_fall_back(struct supervisor *s);

// Is the installed version on trial? A version before that is the same file was never replaced, and is removed.
int replace_is_trial(int state_fd);

// Everything serves: no way back from here. Otherwise the system is being ended, and will fall back.
enum status replace_confirm(struct supervisor *s) MUST_USE;

#endif
