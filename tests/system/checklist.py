#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The hardening checklist of the public studies of unikernels (docs/hardening.md), and more: each line has a verdict and the
evidence for it, under each kind of isolation. Most acts end the instance, so each is an event of its own, done by
tests/guests/checklist. With arguments: those kinds of isolation alone."""
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

import checks

ACTS = ("WHERE READ WRITE EXECUTE WALK_UP WALK_DOWN FAR SMASH BIG_FRAME RECURSE ARENA_OVER INDEX COPY FORMAT STALE INDIRECT "
        "PRIVILEGED CALL UNDECLARED CODE_PAGES").split()  # tests/guests/checklist/acts.h
PLACES = "PAGE_0 PAGE_15 TEXT RODATA RELRO DATA BSS STACK ARENA INPUT OUTPUT BOOT GATE".split()
PARTS = ["text", "rodata", "relro", "data", "stack", "arena", "input", "output", "gate"]
PRIVILEGED = ("hlt", "cli", "sti", "in 0x64", "out 0x64", "out 0xcf9 (reset)", "out 0x604 (power off)", "read cr0", "read cr3",
              "write cr3", "write cr4", "read dr7", "rdmsr", "wrmsr", "lgdt", "lidt", "ltr", "invlpg", "wbinvd", "clts", "swapgs",
              "xsetbv", "int 0x80", "int 0x20", "int3", "int1")
CALLS = {"mprotect": 10, "mmap": 9, "open": 2, "socket": 41, "clone": 56, "fork": 57, "execve": 59, "kill": 62, "ptrace": 101,
         "arch_prctl": 158, "reboot": 169, "prctl": 157, "process_vm_writev": 311, "bpf": 321, "memfd_create": 319, "io_uring_setup": 425}
FORBIDDEN = {"rdrand": "0fc7f0", "rdseed": "0fc7f8", "rdtsc": "0f31", "rdtscp": "0f01f9", "rdpid": "f30fc7f8", "cpuid": "0fa2",
             "syscall": "0f05", "sysenter": "0f34", "vmcall": "0f01c1", "wrpkru": "0f01ef", "xrstor": "0fae28", "wrfsbase": "f30faed0"}
STARTS, TENDERS = 256, 16  # of which so many are of tenders of their own
CRENEL = os.path.join(checks.BUILD, "bin", "crenel")


class Event:
    """What came of one event: its log, how it ended (flow, fault, contract, refused, deadline), and what was said."""

    def __init__(self, log, kind, said):
        self.log, self.kind, self.said = log, kind, said

    def value(self, name):
        return int(re.search(rf"\b{name}=([0-9a-f]+)", self.log)[1], 16)


class Tender:
    def __init__(self, isolation, image, folder):
        self.isolation, self.image, self.folder = isolation, image, folder
        options = subprocess.run([CRENEL, "help", "run"], capture_output=True, text=True).stdout
        self.arguments = ["--isolation", isolation] if "--isolation" in options else []
        if not self.arguments and isolation != "process":
            raise RuntimeError("crenel run has no --isolation")

    def run(self, lines, image=None):
        text = "".join(json.dumps({"number": ACTS.index(act) + 1, "key": key}) + "\n" for act, key in lines)
        out = subprocess.run([CRENEL, "run", image or self.image] + self.arguments, input=text, capture_output=True, text=True,
                             timeout=120)
        events, log = [], ""
        for line in out.stdout.splitlines():
            kind, said = next(iter(json.loads(line).items()))
            if kind == "log":
                log += said["text"] + " "
            else:
                events.append(Event(log, kind, line if kind == "flow" else said["what"]))
                log = ""
        if len(events) != len(lines):
            raise RuntimeError(f"{len(lines)} events, {len(events)} ends: {out.stderr.strip()}")
        return events

    def act(self, act, key=0):
        return self.run([(act, PLACES.index(key) if isinstance(key, str) else key)])[0]


def died(event, act="", place=""):
    """The verdict that an event ended as a fault whose report names the act and the place."""
    return event.kind == "fault" and re.search(f"{act}.*{place}", event.said) is not None, f"{event.kind}: {event.said}"


def failed_with(event, reason):
    return event.kind == "fault" and reason in event.log, f"{event.kind}: {event.log.strip() or event.said}"


def spread(values):
    """How many bits of the values vary, and how many of these are even: 1 in 35 to 65 per cent."""
    shares = [100 * sum(value >> bit & 1 for value in values) / len(values) for bit in range(64)]
    return sum(0 < share < 100 for share in shares), sum(35 <= share <= 65 for share in shares)


def starts(tender):
    """Where the parts of so many starts lie: each faults, so the next one has another base."""
    events = [tender.act("WHERE", 1) for _ in range(TENDERS)]
    return events + tender.run([("WHERE", 1)] * (STARTS - TENDERS))


def addresses(tender, row):
    events = starts(tender)
    for part in PARTS:
        found = [event.value(part) for event in events]
        bits, even = spread(found)
        row(f"aslr_{part}", "NCC X41", len(set(found)) == STARTS and even >= 26,
            f"{STARTS} starts, {len(set(found))} addresses, {bits} bits vary, {even} of them evenly: "
            f"{found[0]:#x}, {found[1]:#x}, {found[2]:#x}")
    distances = {tuple(event.value(part) - event.value("text") for part in ("data", "stack", "arena")) for event in events}
    if len(distances) == 1:
        row("aslr_distances", "", None, "the parts lie at fixed distances within a start: one address that leaks gives them all")
    else:
        row("aslr_distances", "", len(distances) > STARTS // 4, f"{len(distances)} arrangements of data, stack and arena in {STARTS} starts")


def canaries(tender, row):
    found = [event.value("canary") for event in tender.run([("WHERE", 0)] * STARTS)]
    bits, even = spread(found)
    ones = 100 * sum(bin(canary).count("1") for canary in found) / (56 * len(found))
    row("canary_random", "NCC X41", even == 56, f"{bits} bits vary, {even} of them evenly")
    row("canary_each_instance", "", len(set(found)) == STARTS, f"{STARTS} events of one start, {len(set(found))} canaries: {found[0]:#x}, {found[1]:#x}")
    row("canary_ends_text", "", all(canary & 0xff == 0 for canary in found),
        f"{sum(canary & 0xff == 0 for canary in found)} of {len(found)} begin with a zero byte in memory")
    row("random_numbers", "NCC X41", 47 < ones < 53, f"{56 * len(found)} bits drawn by the host's kernel, {ones:.1f} % ones")
    row("canary_present", "NCC X41", *failed_with(tender.act("SMASH", 40), "the stack is overwritten"))
    row("canary_only_then", "", tender.act("SMASH", 16).kind == "flow", "an array that is filled to its end returns")


def memory(tender, row):
    places = {"TEXT": "in text", "RODATA": "in read-only data", "RELRO": "in relocated read-only data", "DATA": "in data",
              "BSS": "in data", "STACK": "in the stack", "ARENA": "in the arena", "INPUT": "in the input",
              "OUTPUT": "in the output", "BOOT": "in the boot block", "GATE": "in the gate"}
    studies = {"TEXT": "NCC X41", "RODATA": "NCC", "DATA": "NCC X41", "BSS": "NCC X41", "STACK": "NCC X41", "ARENA": "NCC X41"}
    for place in ("TEXT", "RODATA", "RELRO", "INPUT", "BOOT", "GATE"):
        row(f"write_{place.lower()}", studies.get(place, ""), *died(tender.act("WRITE", place), "write to", places[place]))
    for place in ("DATA", "BSS", "STACK", "ARENA", "RODATA", "RELRO", "INPUT", "OUTPUT", "BOOT"):
        row(f"execute_{place.lower()}", studies.get(place, ""), *died(tender.act("EXECUTE", place), "jump to", places[place]))
    for act in ("READ", "WRITE", "EXECUTE"):
        row(f"page_0_{act.lower()}", "NCC", *died(tender.act(act, "PAGE_0"), place="in page 0"))
    row("page_15_read", "", *died(tender.act("READ", "PAGE_15")))
    for name, act, start, place in (("below_stack", "RECURSE", 0, "below the stack"),
                                    ("below_stack_not_jumped", "BIG_FRAME", 0, "below the stack"),
                                    ("behind_stack", "WALK_UP", "STACK", "behind the stack"),
                                    ("behind_heap", "WALK_UP", "ARENA", "below the stack"),
                                    ("before_heap", "WALK_DOWN", "ARENA", "behind the image"),
                                    ("behind_data", "WALK_UP", "DATA", "behind the image"),
                                    ("behind_output", "WALK_UP", "OUTPUT", "behind the output"),
                                    ("before_output", "WALK_DOWN", "OUTPUT", "behind the input")):
        row(f"guard_{name}", "NCC", *died(tender.act(act, start), place=place))
    far = tender.run([("FAR", key) for key in range(1, 25)])
    row("nothing_else_mapped", "", all(event.kind == "fault" for event in far),
        f"{len(far)} addresses far and wide, {sum(event.kind == 'fault' for event in far)} faults")


def objects(tender, row):
    row("heap_overflow", "NCC", *failed_with(tender.act("ARENA_OVER", 33), "the arena is overwritten"))
    row("heap_overflow_into_the_next", "NCC", *failed_with(tender.act("ARENA_OVER", 80), "the arena is overwritten"))
    full = tender.act("ARENA_OVER", 32)
    row("heap_is_zero", "", full.kind == "flow" and full.value("victim") == 0, "a block that is filled to its end leaves the next one zero")
    row("array_bounds", "", *died(tender.act("INDEX", 16)))
    row("copy_checked", "NCC", *failed_with(tender.act("COPY", 17), "memcpy: 17 bytes into 16"))
    row("format_writes_nothing", "NCC", *failed_with(tender.act("FORMAT"), "conversion that crenel.h does not name"))
    stale = tender.act("STALE")
    row("stack_is_zero", "", stale.kind == "flow" and stale.value("stale") == 0,
        f"of 64 words that one call left, an array of the next holds {stale.value('stale')}")


def processor(tender, row):
    row("ring", "NCC", tender.act("WHERE").value("ring") == 3, "guest code runs in ring 3")
    events = tender.run([("PRIVILEGED", key) for key in range(len(PRIVILEGED) + 1)])
    done = [name for name, event in zip(PRIVILEGED, events) if event.kind not in ("fault", "contract")]
    row("privileged_instructions", "NCC", not done and "that was the last" in events[-1].log,
        f"{len(PRIVILEGED)} tried, {len(PRIVILEGED) - len(done)} ended the instance: {', '.join(done or PRIVILEGED)}")
    events = dict(zip(CALLS, tender.run([("CALL", number) for number in CALLS.values()])))
    has_call = [name for name, event in events.items() if "gate holds no system call" not in event.log]
    lives = [name for name in has_call if events[name].kind not in ("fault", "contract")]
    row("system_calls", "NCC", not lives, f"{len(has_call)} tried by the gate's own instruction, refused: {', '.join(CALLS)}"
        if has_call else "the gate holds no system call")
    pages = tender.act("CODE_PAGES")
    row("nothing_else_executable", "", pages.value("odd") == 0 and pages.value("used") <= 1024 and pages.value("calls") <= 2,
        f"{pages.value('tail')} bytes behind the code on its last page, {pages.value('odd')} of them not zero; the gate uses "
        f"{pages.value('used')} bytes of its page and holds {pages.value('calls')} system calls")
    event = tender.act("UNDECLARED")
    row("messages_only_where_a_flow_leads", "NCC", event.kind in ("refused", "contract"), f"a message to a tenth output: {event.kind}: {event.said}")
    if tender.act("INDIRECT").kind == "fault":
        row("branches_checked", "", True, "an indirect call to code without endbr64 faults")
    else:
        flags = set(open("/proc/cpuinfo", encoding="utf-8").read().split())
        row("branches_checked", "", None, "every target of a branch is marked (image_branch_marks), but Linux checks them for no process"
            if tender.isolation == "process" or "ibt" in flags else "the processor has no indirect branch tracking")


def image_rows(tender, row):
    """What the file holds; nothing runs."""
    image = open(tender.image, "rb").read()
    flags, kinds, text = {1: "x", 2: "w", 4: "r"}, [], b""
    offset, = struct.unpack_from("<Q", image, 32)
    size, count, _, sections = struct.unpack_from("<HHHH", image, 54)
    for at in range(offset, offset + size * count, size):
        kind, flag, begin, _, _, length = struct.unpack_from("<IIQQQQ", image, at)
        if kind == 1:
            kinds.append("".join(letter for bit, letter in sorted(flags.items(), reverse=True) if flag & bit) +
                         (" until relocated" if flag & 0x00100000 else ""))
            text = image[begin:begin + length] if flag & 1 else text
    row("image_writable_or_executable", "NCC X41", not any("w" in kind and "x" in kind for kind in kinds), ", ".join(kinds))
    said = subprocess.run([CRENEL, "inspect", tender.image], capture_output=True, text=True).stdout
    row("image_relocations", "NCC", "rw until relocated" in kinds and "relocations" in said,
        f"{re.search(r'[0-9]+ relocations', said)[0]}, of one kind, in the part that is read-only before the guest runs (write_relro); "
        "no dynamic linker, no PLT, no GOT that could be written")
    names = [name for name in ("on_ask", "place_address", "act_on_memory", "crenel_start") if name.encode() in image]
    row("image_symbols", "", sections == 0 and not names, f"{sections} section headers, {len(names)} names of functions")
    row("image_branch_marks", "", text.count(b"\xf3\x0f\x1e\xfa") > 1, f"{text.count(bytes.fromhex('f30f1efa'))} endbr64 in {len(text)} bytes of code")
    refused = []
    for name, code in FORBIDDEN.items():
        path = os.path.join(tender.folder, "changed.img")
        with open(path, "wb") as file:
            file.write(image.replace(text, text[:1000] + bytes.fromhex(code) + text[1000 + len(code) // 2:]))
        out = subprocess.run([CRENEL, "inspect", path], capture_output=True, text=True)
        if out.returncode != 0 and re.search(f"holds the instruction.*{name}", out.stderr):
            refused.append(name)
    row("image_instructions", "NCC X41", len(refused) == len(FORBIDDEN), f"an image that holds one is refused: {', '.join(refused)}")


def checklist(isolation, image, folder):
    def row(name, studies, is_good, evidence):
        title = f"{isolation}.{name}"
        if is_good is None:
            checks.skip(title, evidence)
        elif is_good:
            print(f"ok {title} - {studies + ': ' if studies else ''}{' '.join(evidence.split())}", flush=True)
        else:
            checks.expect(title, False, evidence)

    try:
        tender = Tender(isolation, image, folder)
        tender.run([("WHERE", 0)])
    except RuntimeError as why:
        if isolation == "process":
            raise
        checks.skip(isolation, why)
        return
    for rows in (addresses, memory, canaries, objects, processor, image_rows):
        rows(tender, row)


with tempfile.TemporaryDirectory() as work:
    guest = os.path.join(work, "checklist.img")
    build = subprocess.run([CRENEL, "build", os.path.join(checks.TREE, "tests", "guests", "checklist"), "-o", guest],
                           capture_output=True, text=True)
    if checks.expect("builds", build.returncode == 0, build.stderr):
        for kind in sys.argv[1:] or ["process", "kvm"]:
            checks.run(kind, lambda kind=kind: checklist(kind, guest, work))
checks.finish()
