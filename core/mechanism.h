// SPDX-License-Identifier: ISC
// The mechanisms that hold a guest, by name: docs/attacks.md says which attack each one stops.
//
// MECHANISM(NAME) is true in every program that is built for use. `make attack` builds tenders with one of
// them switched off (-DMECHANISMS_OFF=MECHANISM_NAME) and demands that the attacks which name it then get
// through: so no attack is stopped by something else than it says, and no mechanism is there for nothing.
// Works in #if too.
#ifndef CRENEL_CORE_MECHANISM_H
#define CRENEL_CORE_MECHANISM_H

#ifndef MECHANISMS_OFF
#define MECHANISMS_OFF 0
#endif
#define MECHANISM(name) ((MECHANISMS_OFF & MECHANISM_##name) == 0)

// What comes in.
#define MECHANISM_IMAGE_SCAN 0x1          // no instruction that a process cannot be stopped from using
#define MECHANISM_IMAGE_SEALED 0x2        // nobody changes the image behind whoever compared its digest
// What an instance may ask the kernel for.
#define MECHANISM_FILTER 0x4              // what no rule allows ends in SIGSYS
#define MECHANISM_FILTER_ADDRESS 0x8      // each rule holds for one instruction
#define MECHANISM_FILTER_NUMBER 0x10      // and one call
#define MECHANISM_FILTER_ARGUMENTS 0x20   // with these arguments
#define MECHANISM_NO_DESCRIPTORS 0x40     // an instance holds none
#define MECHANISM_TSC_FAULT 0x80          // kvm: rdtsc faults
#define MECHANISM_SPECULATION 0x100       // speculation controls, where the processor has them
#define MECHANISM_DIE_WITH_TENDER 0x200   // no instance outlives its tender
// What it has mapped, and how.
#define MECHANISM_UNMAP_TENDER 0x400
#define MECHANISM_UNMAP_ZYGOTE 0x800
#define MECHANISM_TEXT_READ_ONLY 0x1000
#define MECHANISM_CONSTANTS_READ_ONLY 0x2000 // rodata and RELRO
#define MECHANISM_INPUT_READ_ONLY 0x4000     // boot block and input
#define MECHANISM_DATA_NO_EXECUTE 0x8000     // all but text and gate
#define MECHANISM_GUARDS 0x10000
// What it can learn.
#define MECHANISM_NEW_BASE 0x20000        // a fault moves all addresses
#define MECHANISM_OWN_CANARY 0x40000      // a fresh one for each instance and each restore
#define MECHANISM_CLEAN_REGISTERS 0x80000 // the gate loads constants
#define MECHANISM_RESTORE 0x100000        // a used instance is made pristine
#define MECHANISM_CLEAN_SLOT 0x200000     // and so is memory that another one used
#define MECHANISM_INPUT_ZEROED 0x400000   // behind a record nothing is left of a longer one
// What the host believes, and how long it waits.
#define MECHANISM_PUBLISHED_RANGE 0x800000
#define MECHANISM_READ_ONCE 0x1000000     // published_bytes is read once; only the copy of the records is looked at
#define MECHANISM_RECORDS 0x2000000       // the form of each record
#define MECHANISM_ROUNDS 0x4000000        // of READs in one event
#define MECHANISM_SILENT_INIT 0x8000000   // nothing is published before the first event
#define MECHANISM_DEADLINE 0x10000000

#endif
