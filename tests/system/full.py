#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""What is full holds back, says so, and loses nothing: a namespace, a flow's cap, the disk."""
import os
import re
import subprocess
import threading
import time

import checks
import clients
import crenel
from machine_watch_hours import hours_of

CSV = os.path.join(crenel.EXAMPLE, "data", "machine_temperature_system_failure.csv")
DISK = "24m"
HOURS, CAP = 3, 64  # of the namespace, of the flow
IN_HOURS, AT_FIRST, BY_CAP = 33, 60, 200  # readings: of the first three hours; of each part


class System(crenel.System):
    def prepare(self):
        super().prepare()
        self.change(r"records: 100000", f"records: {HOURS}")
        self.change(r"(  raw: .*)cap: 20000", rf"\1cap: {CAP}")

    def change(self, what, to):
        with open(self.file, encoding="utf-8") as file:
            text = file.read()
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(re.sub(what, to, text))

    def problems(self):
        return self.json("status", *self.named())["problems"]

    def wait_problem(self, words, deadline_s=20):
        """The first problem that holds these words, once there is one."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            for row in self.problems():
                if words in row["problem"]:
                    return row
            time.sleep(0.1)
        raise crenel.Failed(f"no problem says {words}: {self.problems()}")


class Stream(threading.Thread):
    """Publishes readings of press-7, each with its PUBACK."""

    def __init__(self, system, readings):
        super().__init__(daemon=True)
        self.device = clients.Device(system.port, "press-7", system.passwords["press-7"], "press-7-full")
        self.readings, self.acknowledged, self.failure = readings, 0, None
        self.is_over = False

    def run(self):
        try:
            self.device.connect()
            for reading in self.readings:
                if self.is_over:
                    break
                self.device.publish([(clients.TOPIC, clients.reading_text(7, *reading))])
                self.acknowledged += 1
            self.device.close()
        except Exception as failure:  # looked at by end()
            self.failure = failure

    def end(self):
        self.join()
        if self.failure:
            raise self.failure


def check_held(name, stream):
    """Nothing is acknowledged any more, and the client is still there."""
    before, end = -1, time.monotonic() + 20  # the last free pages may still take a few
    while before != stream.acknowledged and time.monotonic() < end:
        before = stream.acknowledged
        time.sleep(1)
    checks.expect(f"{name}_holds_publishers_back",
                  stream.is_alive() and stream.acknowledged == before and stream.device.reconnects == 0,
                  f"{before}, then {stream.acknowledged} acknowledged; {stream.device.reconnects} reconnects")


def check_stored(name, system, readings):
    system.wait_drained(60)
    wanted, found = hours_of(readings, 7), system.hours()
    wrong = [key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)]
    checks.expect(f"{name}_loses_nothing", not wrong,
                  [(key, found.get(key), wanted.get(key)) for key in wrong[:3]])
    checks.expect_equal(f"{name}_is_over", system.problems(), [])


def test_records(system, readings):
    stream = Stream(system, readings[:AT_FIRST])
    stream.start()
    stream.end()
    system.wait_drained(30)
    letters = system.dead_letters()
    checks.expect_equal("records_full_is_a_dead_letter_each",
                        [(letter["reason"], letter["unikernel"], letter["flow"]) for letter in letters],
                        [("namespace", "rollup", "reading")] * (AT_FIRST - IN_HOURS))
    shown = system.command("deadletter", "show", *system.named(), str(letters[0]["id"]))
    checks.expect("records_full_is_named", "namespace is full" in shown and '"sensor":7' in shown, shown)
    system.down()
    system.change(rf"records: {HOURS}\b", "records: 1000")
    system.up()
    for letter in letters:
        system.command("deadletter", "resubmit", *system.named(), str(letter["id"]))
    code = subprocess.run([system.program, "deadletter", "resubmit", *system.named(), str(letters[0]["id"])],
                          env=system.environment, capture_output=True, check=False).returncode
    checks.expect_equal("a_dead_letter_is_sent_again_once", code, 3)
    check_stored("records_full", system, readings[:AT_FIRST])
    checks.expect_equal("no_dead_letter_is_left", system.dead_letters(), [])


def test_cap(system, readings):
    system.command("stop", *system.named(), "decode")
    stream = Stream(system, readings[AT_FIRST:BY_CAP])
    stream.start()
    row = system.wait_problem("flow raw is full")
    checks.expect("full_flow_names_its_mend", "crenel restart decode" in row["mend"], row)
    check_held("full_flow", stream)
    checks.expect("full_flow_keeps_its_cap", stream.acknowledged <= CAP, stream.acknowledged)
    rig = clients.Device(system.port, "rig-2", system.passwords["rig-2"], "rig-2-full").connect()
    rig.publish([(clients.RIG_TOPIC, "not for press-7")], deadline_s=10)
    rig.close()
    checks.expect("full_flow_holds_back_nobody_else", True)
    said = system.command("ps", *system.named())
    checks.expect("full_flow_is_named_by_ps", "PROBLEM: flow raw is full" in said, said)
    system.command("restart", *system.named(), "decode")
    stream.end()
    check_stored("full_flow", system, readings[:BY_CAP])


def test_disk(system, readings):
    stream = Stream(system, readings[BY_CAP:])
    filler = os.path.join(system.state, "filler")
    stream.start()
    time.sleep(0.3)
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536) if os.statvfs(system.state).f_bavail > 32 else bytes(4096))
        except OSError:
            pass
    # The database has room of its own; what the audit log cannot take fills that.
    row = system.wait_problem("is full: nothing is committed", 60)
    checks.expect("full_disk_names_its_mend", "make room" in row["mend"], row)
    check_held("full_disk", stream)
    entered = system.status().flows["raw"]["entered"]
    checks.expect_equal("full_disk_counts_exactly", entered, BY_CAP + stream.acknowledged)
    crenel.kill(system.process_pid("router"))  # the next epoch's number finds no room either
    time.sleep(1)
    checks.expect("full_disk_does_not_end_the_system", system.wait_problem("is full: nothing is committed"))
    os.unlink(filler)
    system.wait_running()
    stream.is_over = True
    stream.end()
    check_stored("full_disk", system, readings[:BY_CAP + stream.acknowledged])
    checks.expect("full_disk_leaves_a_good_audit_log", *system.audit_verify())


def mount(folder):
    """A small disk for the state; the reason if there is none."""
    if os.geteuid() != 0:
        return "needs root to mount a small disk"
    os.makedirs(folder, mode=0o755, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0755", "tmpfs", folder],
                          capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode != 0 else ""


def main():
    system = System(os.path.join(checks.BUILD, "tests", "full"), checks.BUILD, first_port=18866)
    why = "not tried"
    try:
        if os.path.ismount(system.state):  # a run that was killed
            system.down()
            subprocess.run(["umount", system.state], check=False)
        system.prepare()
        why = mount(system.state)
        system.up()
        readings = clients.recording(CSV)
        checks.run("records", lambda: test_records(system, readings))
        checks.run("cap", lambda: test_cap(system, readings))
        if why:
            checks.skip("full_disk", why)
        else:
            checks.run("disk", lambda: test_disk(system, readings))
        checks.expect_equal("down_after_full_ends_well", system.down(), 0)
    except Exception as failure:  # reported
        checks.expect("full_runs", False, failure)
    finally:
        system.down()
        if not why:
            subprocess.run(["umount", system.state], check=False)
    checks.finish()


main()
