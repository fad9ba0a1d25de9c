// SPDX-License-Identifier: ISC
// Supervisor -> its processes, and CLI <-> supervisor.
//
// Start of a process. The supervisor starts each process with: file descriptor 3 = its control
// link (SOCK_SEQPACKET), 4 = the compiled system file (sealed memfd, read-only), 5 = its status page
// (memfd), 0 = /dev/null, 1 and 2 = the host log. argv: program, role name, and numbers only
// (unikernel, gateway or service index); a tender's role, `tender` or `tender-kvm`, names its wall. Environment: empty. Everything else arrives as ATTACH
// records with one file descriptor each. End of file on descriptor 3 means: end now.
//
// ATTACH `what`        who gets it       descriptor
//   ROUTER_LINK        tender, service, gateway, courier   seqpacket to the router (proto/link.h)
//   TENDER_LINK        router            index = unikernel       } each anew when the peer
//   SERVICE_LINK       router            index = service         } was restarted; the old
//   GATEWAY_LINK       router            index = gateway         } one has ended by then
//   COURIER_LINK       router            index = courier         }
//   STORE_LINK         router            seqpacket to the store (proto/commit.h)
//   ROUTER_STORE_LINK  store             seqpacket to the router (proto/commit.h)
//   AUDIT_LINK         store             seqpacket to audit (struct audit_packet)
//   STORE_AUDIT_LINK   audit             seqpacket to the store
//   LOG                router            append-only log file: JSON lines (see below)
//   DIRECTORY          store, audit, service   their own directory
//   IMAGE              tender            the image: a sealed memfd, its digest compared with the system's
//   KVM                tender-kvm        /dev/kvm
//   LISTENER           gateway, courier  bound, listening TCP socket
//   CERTIFICATE, KEY, AUTHORITY  courier sealed memfds: PEM files of the operator
//   PASSWORD           courier           the same: its own at a broker
//   SERVERS, HOSTS     courier           the same, where it connects to a name: /etc/resolv.conf, /etc/hosts
//   OPERATOR           store, audit      stream socket to an authorised CLI (see below)
//   START              all               no descriptor: everything needed has been attached; begin
//   CONFIRM            store             no descriptor, after START: this version of the system is not on trial (any
//                                        more). Until then the store changes nothing that is stored
// `value` of START to the router is its epoch, to the store the identity of this boot of the host (0: not known); of OPERATOR the operator's rights.
//
// Log lines, written by the router when effects are taken or an event fails:
//   {"time_ms":1,"unikernel":"decode","level":"info","text":"…"}   text escaped as JSON, never raw
//
// CLI <-> supervisor: unix stream socket <state>/control (mode 0600 of the owner). One request line,
// JSON object {"op":"ps"|"status"|"stop"|"restart"|"down"|"query"|"deadletter"|"state"|"audit"|"logs"|"reload", ...};
// one reply line, JSON object with "ok":true or "ok":false,"error":"…","mend":"…". For query,
// deadletter, state, audit and logs a descriptor comes with the reply line (SCM_RIGHTS): for logs the file,
// else a stream socket to the process, which takes request lines and gives reply lines, JSON, the last
// with "end":true. To replace the system the CLI puts the new one into <state>/system.next and asks "offer", which is
// answered with its digest and that of the one that runs; "replace" with the digest begins, and lines as for `crenel up`
// follow the reply until one says ready, or the connection ends (supervisor/replace.h).
#ifndef CRENEL_PROTO_CONTROL_H
#define CRENEL_PROTO_CONTROL_H

#include <stdint.h>

#define CONTROL_FD 3
#define CONTROL_SYSTEM_FD 4
#define CONTROL_PAGE_FD 5

enum control_kind {
    CONTROL_ATTACH = 1, // supervisor -> process
    CONTROL_READY = 2,  // process -> supervisor: START is done, the process serves
};

enum control_what {
    CONTROL_START = 0,
    CONTROL_ROUTER_LINK, CONTROL_TENDER_LINK, CONTROL_SERVICE_LINK, CONTROL_GATEWAY_LINK,
    CONTROL_STORE_LINK, CONTROL_ROUTER_STORE_LINK, CONTROL_AUDIT_LINK, CONTROL_STORE_AUDIT_LINK,
    CONTROL_SUPERVISOR_AUDIT_LINK, // audit: seqpacket to the supervisor, struct audit_packet
    CONTROL_LOG, CONTROL_DIRECTORY, CONTROL_IMAGE, CONTROL_LISTENER, CONTROL_OPERATOR,
    CONTROL_KVM,
    CONTROL_COURIER_LINK, CONTROL_CERTIFICATE, CONTROL_KEY, CONTROL_AUTHORITY, CONTROL_PASSWORD, CONTROL_BROKER_AUTHORITY,
    CONTROL_SERVERS, CONTROL_HOSTS,
    CONTROL_CONFIRM,
};

enum control_right { // bits of OPERATOR's value
    CONTROL_RIGHT_READ = 1,   // query, list, show
    CONTROL_RIGHT_CHANGE = 2, // resubmit, drop
};

struct control_record {
    uint32_t size; // sizeof(struct control_record)
    uint16_t kind; // enum control_kind
    uint16_t what; // enum control_what
    uint32_t index;
    uint32_t zero;
    uint64_t value;
};

_Static_assert(sizeof(struct control_record) == 24, "control_record");

#endif
