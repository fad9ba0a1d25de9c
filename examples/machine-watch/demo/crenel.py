# SPDX-License-Identifier: ISC
"""The crenel command, as the demo and the system tests use it. All knowledge of its JSON is here."""
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time

EXAMPLE = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))


class Failed(Exception):
    """A command did not do what it was asked; the text is what it said."""


class Counts:
    """The counters of one moment: flows[name][reason], refusals[unikernel][code]."""

    # "guest" is how the ledger calls a refusal by the unikernel itself.
    failures = ("flow", "envelope", "length", "range", "enumeration", "class", "padding", "relation", "replay",
                "principal", "budget", "namespace", "key-table", "guest", "fault", "deadline", "conflict",
                "attempts", "no-subscriber", "connection", "lost", "rationed", "step", "slope", "state", "stale",
                "expired", "displaced", "late", "seal", "rate")

    def __init__(self, status):
        self.flows, self.refusals = {}, status["refusals"]
        for row in status["flows"]:
            flow = dict.fromkeys(self.failures, 0)
            for reason, number in row["failed_by"].items():
                flow["guest" if reason == "refused" else reason] = number
            for name in ("entered", "done", "waiting", "spooled", "throttled", "redelivered"):
                flow[name] = row[name]
            self.flows[row["flow"]] = flow
        self.in_flight = status["in_flight"]
        self.dead_letters = status["store"]["dead_letters"]
        self.audit_waiting = status["store"]["audit_waiting"]
        self.commits, self.transactions = status["store"]["commits"], status["store"]["transactions"]
        self.audit_size, self.audit_root = status["audit"]["size"], status["audit"]["root"]

    def waiting(self, *flows):
        return sum(self.flows[flow]["waiting"] for flow in flows)

    def is_drained(self):
        """`alive` holds timers: one waits for each connection that is open."""
        return self.in_flight == 0 and self.audit_waiting == 0 and all(flow["waiting"] == 0 and flow["spooled"] == 0
                                           for name, flow in self.flows.items() if name != "alive")


def free_port(first):
    """`first` if nobody listens there, else one that is free now."""
    for port in (first, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return probe.getsockname()[1]
    raise OSError("no free port")


class System:
    """One system in a folder of its own: its file, its passwords, its state. Fresh each time."""

    def __init__(self, folder, build, source=EXAMPLE, first_port=18830):
        self.folder, self.build, self.source = os.path.abspath(folder), os.path.abspath(build), source
        self.program = os.path.join(self.build, "bin", "crenel")
        self.file = os.path.join(self.folder, "system.yaml")
        self.password_file = os.path.join(self.folder, "passwords")
        self.state = os.path.join(self.folder, "state")
        self.environment = dict(os.environ, CRENEL_STATE=self.state)
        self.work = os.path.dirname(self.build)  # `crenel up` puts images into build/SYSTEM/ under it
        self.first_port, self.port, self.ports = first_port, 0, []
        self.passwords, self.name = {}, ""

    def command(self, *arguments, feed=None, timeout=120, ok=(0,)):
        done = subprocess.run([self.program, *arguments], input=feed, env=self.environment, cwd=self.work,
                              capture_output=True, text=True, timeout=timeout)
        if done.returncode not in ok:
            raise Failed(f"crenel {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def json(self, *arguments, **options):
        return json.loads(self.command(*arguments, "--json", **options))

    def prepare(self):
        """Ends an earlier run in this folder, and writes everything anew."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        self.down()
        for name in ("state", "clients"):
            shutil.rmtree(os.path.join(self.folder, name), ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.password_file)
        self.ports = []
        with open(os.path.join(self.source, "system.yaml"), encoding="utf-8") as file:
            text = file.read()
        self.name = re.search(r"^system: (\S+)", text, re.M).group(1)
        text = re.sub(r"source: ([^/,}\s][^,}\s]*)", lambda m: "source: " + os.path.normpath(
            os.path.join(self.source, m.group(1))), text)
        text = re.sub(r"(listen: 127\.0\.0\.1):\d+", self.listen, text)
        self.port = self.ports[0]
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(text)
        users = re.search(r"^principals: \[(.*)\]", text, re.M).group(1).split(",") if "kind: password" in text else []
        self.passwords = {user.strip(): secrets.token_urlsafe(18) for user in users}
        for user, password in self.passwords.items():
            self.command("passwd", self.file, user, feed=password + "\n")

    def listen(self, match):
        self.ports.append(free_port(self.first_port + len(self.ports)))
        return f"{match.group(1)}:{self.ports[-1]}"

    def up(self):
        self.command("up", "--detach", "--yes", self.file, timeout=180)

    def down(self):
        """Ends it, if it runs. Says nothing when there was nothing to end."""
        if os.path.exists(self.program) and os.path.isdir(self.state) and os.path.exists(self.file):
            done = subprocess.run([self.program, "down", *self.named()], env=self.environment, cwd=self.work,
                                  capture_output=True, text=True, timeout=120)
            return done.returncode
        return 0

    def named(self):
        return [self.name] if self.name else []

    def status(self):
        return Counts(self.json("status", *self.named()))

    def ps(self):
        return self.json("ps", *self.named())

    def hours(self):
        """(sensor, hour_ms) -> (count, sum, minimum, maximum) in thousandths, as the store has them."""
        def thousandths(number):
            return round(float(number) * 1000)
        return {(row["sensor"], int(row["hour_ms"])): (row["count"], thousandths(row["sum"]),
                                                       thousandths(row["minimum"]), thousandths(row["maximum"]))
                for row in self.records("hours")}

    def records(self, namespace):
        return [row.get("record", row) for row in self.lines("query", *self.named(), namespace, "--limit", "100000000")]

    def dead_letters(self):
        return self.lines("deadletter", "list", *self.named())

    def audit_records(self):
        return self.lines("audit", "show", *self.named(), "--limit", "100000000")

    def lines(self, *arguments):
        """A listing as a list, whether it comes as one array or as one object a line."""
        text = self.command(*arguments, "--json").strip()
        if text.startswith("["):
            return json.loads(text)
        return [json.loads(line) for line in text.splitlines()]

    def audit_verify(self):
        """Whether `crenel audit verify` is content, and what it says."""
        done = subprocess.run([self.program, "audit", "verify", *self.named()], env=self.environment, cwd=self.work,
                              capture_output=True, text=True, timeout=60)
        return done.returncode == 0, (done.stdout + done.stderr).strip()

    def symbolize(self, row):
        """Function and line of every address in the fault that a row of `ps` names, innermost first."""
        places = re.findall(r"\+(0x[0-9a-f]+)", row.get("last_fault", ""))
        if not places:
            return []
        said = self.command("symbolize", row["image"], *places, ok=(0, 1, 3))
        return [line.split(": ", 1)[-1] for line in said.splitlines()]

    def wait_running(self, deadline_s=60):
        """Until every process serves."""
        end = time.monotonic() + deadline_s
        while True:
            ps = self.ps()
            states = {row["state"] for row in ps["processes"] + ps["unikernels"]}
            if ps["phase"] == "running" and states == {"running"}:
                return
            if time.monotonic() > end:
                raise Failed(f"not running again in {deadline_s} s: {ps['phase']}, {states}")
            time.sleep(0.1)

    def unikernel(self, name):
        return next(row for row in self.ps()["unikernels"] if row["unikernel"] == name)

    def wait_drained(self, deadline_s=120, progress=None):
        """Until no message waits anywhere, three times in a row."""
        end, quiet = time.monotonic() + deadline_s, 0
        while True:
            counts = self.status()
            quiet = quiet + 1 if counts.is_drained() else 0
            if quiet == 3:
                return counts
            if time.monotonic() > end:
                waiting = {name: flow["waiting"] for name, flow in counts.flows.items() if flow["waiting"]}
                raise Failed(f"not drained in {deadline_s} s: in flight {counts.in_flight}, waiting {waiting}")
            if progress and not quiet:
                progress(f"{sum(flow['waiting'] for flow in counts.flows.values())} messages still on their way")
            time.sleep(0.1)

    # ---- Processes ----

    def supervisor_pid(self):
        return next(row["pid"] for row in self.ps()["processes"] if row["process"] == "supervisor")

    def process_pid(self, process):
        return next(row["pid"] for row in self.ps()["processes"] if row["process"] == process)


def children_of():
    """pid -> pids of its children, of all processes that can be seen."""
    tree = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
                if fields[0] != b"Z":
                    tree.setdefault(int(fields[1]), []).append(int(entry))
    return tree


def family(pid):
    """pid and all below it."""
    tree, found = children_of(), [pid]
    for member in found:
        found += tree.get(member, [])
    return found


def memory_of(pids):
    """(resident bytes, proportional bytes) of these processes together."""
    resident = proportional = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Rss:"):
                    resident += int(line.split()[1]) * 1024
                elif line.startswith("Pss:"):
                    proportional += int(line.split()[1]) * 1024
    return resident, proportional


def start_of(pid):
    """When the process began, in ticks, and its parent; None if it is no more. pids are used again quickly."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
            return None if fields[0] in (b"Z", b"X") else (int(fields[19]), int(fields[1]))
    except (OSError, IndexError):
        return None


def identities(pids):
    """(pid, start) of those that live."""
    return [(pid, start[0]) for pid in pids if (start := start_of(pid))]


def kill_child(parent, pid):
    """kill -9, only if pid is (still) a child of parent. True if it was."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        start = start_of(pid)
        if start is None or start[1] != parent:
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_gone(processes, deadline_s=20):
    """Those (pid, start) that still live when the time is over."""
    end = time.monotonic() + deadline_s
    while True:
        left = [(pid, start) for pid, start in processes if (start_of(pid) or (0,))[0] == start]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.05)
