#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""A new version of a system: what needs the operator's consent; how it takes the place of the one that runs, with
traffic, with kill -9 at any moment, with a new version that does not start or does not fit what the store holds."""
import fcntl
import hashlib
import json
import os
import pty
import random
import socket
import subprocess
import tempfile
import threading
import time

import checks
import clients
import crenel
from machine_watch_stream import CSV, Stream, check_counts, check_store

PART = 400


def edit(system, old, new):
    with open(system.file, encoding="utf-8") as file:
        text = file.read()
    assert text.count(old) == 1, f"{old!r} is in the system file {text.count(old)} times"
    with open(system.file, "w", encoding="utf-8") as file:
        file.write(text.replace(old, new))


def installed(system):
    with open(os.path.join(system.state, system.name, "system.bin"), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def up(system, *options, answer=None):
    """Exit code, and what it said. answer: what somebody at a terminal types."""
    master = slave = None
    if answer is not None:
        master, slave = pty.openpty()
        os.write(master, answer.encode())
    done = subprocess.run([system.program, "up", "--detach", *options, system.file], env=system.environment, cwd=system.work,
                          stdin=slave if slave is not None else subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    for fd in (master, slave):
        if fd is not None:
            os.close(fd)
    return done.returncode, done.stdout + done.stderr


SLOW, FAST = "rate: {per_second: 50, burst: 100}", "rate: {per_second: 51, burst: 100}"


def test_consent(system):
    code, said = up(system)
    checks.expect("the_first_version_needs_no_consent", code == 0 and "against what is installed" not in said, said)
    system.down()
    before = installed(system)
    edit(system, SLOW, FAST)
    code, said = up(system)
    checks.expect("more_open_without_a_terminal_is_refused",
                  code == 5 and "flow raw_rig: rate 50 -> 51 a second" in said and "mend: " in said and "--yes" in said, said)
    code, said = up(system, answer="n\n")
    checks.expect("more_open_is_shown_and_asked", code == 5 and "more open (1):" in said and "[y/N]" in said, said)
    checks.expect_equal("what_was_refused_is_not_installed", installed(system), before)
    code, said = up(system, answer="y\n")
    checks.expect("yes_at_the_terminal_starts_it", code == 0 and installed(system) != before, said)
    system.down()
    edit(system, FAST, SLOW)
    code, said = up(system)
    checks.expect("less_open_is_shown_and_not_asked", code == 0 and "less open (1):" in said and installed(system) == before, said)
    system.down()
    edit(system, SLOW, FAST)
    edit(system, "security_version: 1\n", "security_version: 2\n")
    code, said = up(system, "--yes")
    checks.expect("yes_on_the_command_line_starts_it", code == 0 and "rate 50 -> 51 a second" in said, said)
    system.down()
    edit(system, "security_version: 2\n", "security_version: 1\n")
    code, said = up(system, "--yes")
    checks.expect("a_lower_security_version_is_refused", code == 5 and "security_version 1 is below 2" in said and "mend: " in said, said)


def answer_offer(listener, digests, asked):
    """A supervisor that offers those digests, and remembers what it is asked."""
    while True:
        try:
            line, _ = listener.accept()
        except OSError:
            return
        with line:
            asked.append(json.loads(line.makefile().readline())["op"])
            line.sendall(json.dumps({"ok": asked[-1] == "offer", "error": "no", **digests}).encode() + b"\n")


def test_another_offer(system):
    """Between the look at the difference and the offer somebody put another version there: that one nobody consented to."""
    folder = os.path.join(system.state, system.name)
    path = os.path.join(folder, "control")
    edit(system, FAST, SLOW)
    edit(system, "security_version: 1\n", "security_version: 2\n")
    asked = []
    if os.path.exists(path):
        os.unlink(path)
    with open(os.path.join(folder, "lock"), "r", encoding="utf-8") as lock, socket.socket(socket.AF_UNIX) as listener:
        fcntl.flock(lock, fcntl.LOCK_EX)
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=answer_offer, args=(listener, {"digest": "1" * 64, "running": installed(system)}, asked))
        thread.start()
        code, said = up(system, "--yes")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    os.unlink(path)
    checks.expect("a_version_that_nobody_was_shown_is_not_installed",
                  code != 0 and asked == ["offer"] and "is not what was looked at" in said and "mend: " in said, (code, asked, said))


def running(system):
    return system.ps()["digest"]


def change(system, number):
    """Another version: one rate is another number, up and down."""
    with open(system.file, encoding="utf-8") as file:
        text = file.read()
    head, tail = text.split("raw_rig: {", 1)
    before, after = tail.split("per_second: ", 1)
    with open(system.file, "w", encoding="utf-8") as file:
        file.write(head + "raw_rig: {" + before + f"per_second: {number}" + after[after.index(","):])


def whats(system, what):
    """Audit records of that kind, once they have arrived."""
    for _ in range(50):
        found = [row for row in map(record_of, system.audit_records()) if row.get("what") == what]
        if found:
            return found
        time.sleep(0.1)
    return []


def record_of(row):
    for name in ("record", "entry"):
        if isinstance(row.get(name), dict):
            return row[name]
    return row


def ask(system, **request):
    """One line to the supervisor, past the crenel program."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(os.path.join(system.state, system.name, "control"))
        line.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(line.makefile().readline())


def test_replacement(system, readings):
    """Three versions follow each other while a device publishes at QoS 1."""
    system.up()
    first = running(system)
    code, said = up(system)
    checks.expect("an_unchanged_system_runs_on", code == 0 and "nothing has changed" in said and running(system) == first, said)
    stream = Stream(system, "press-7-replaced", readings[:PART])
    stream.start()
    digests = {first}
    for number in (60, 61, 62):
        time.sleep(0.5)
        change(system, number)
        code, said = up(system, "--yes")
        digests.add(running(system))
        checks.expect(f"version_{number}_takes_over", code == 0 and "another version follows" in said and
                      running(system) == installed(system), said)
    stream.end()
    checks.expect_equal("each_was_another_version", len(digests), 4)
    checks.expect("the_device_connected_again", stream.device.reconnects >= 1, stream.device.reconnects)
    check_counts("replaced", system, PART, stream.device.resent)
    check_store("replaced", system, readings[:PART])
    alive = system.status().flows
    checks.expect("nothing_volatile_was_lost", sum(flow["lost"] for flow in alive.values()) == 0,
                  {name: flow["lost"] for name, flow in alive.items()})
    records = whats(system, "system-replaced")
    checks.expect("audit_names_both_versions", len(records) == 3 and records[0]["old"] == first, records)
    checks.expect_equal("audit_names_who", [row["uid"] for row in whats(system, "system-replacing")], [os.getuid()] * 3)
    left = set(os.listdir(os.path.join(system.state, system.name)))
    checks.expect("nothing_of_the_old_version_is_left", not left & {"system.old", "system.next"}, left)
    return stream.device.resent


def test_refused(system):
    """The running version is untouched by what does not compile, is not signed, or was not offered."""
    before, bytes_before = running(system), installed(system)
    with open(system.file, encoding="utf-8") as file:
        good = file.read()
    with open(system.file, "w", encoding="utf-8") as file:
        file.write(good.replace("flows:\n", "flows: [\n", 1))
    code, said = up(system, "--yes")
    with open(system.file, "w", encoding="utf-8") as file:
        file.write(good)
    checks.expect("acceptance 5: a syntax error leaves the running policy untouched",
                  code == 1 and "not YAML" in said and running(system) == before and installed(system) == bytes_before, said)
    path = os.path.join(system.state, system.name, "system.next")
    with open(os.path.join(system.state, system.name, "system.bin"), "rb") as file:
        forged = bytearray(file.read())
    forged[200] ^= 1
    with open(path, "wb") as file:
        file.write(forged)
    reply = ask(system, op="offer")
    checks.expect("a_version_that_is_not_signed_is_refused", not reply["ok"] and "signature" in reply["error"], reply)
    reply = ask(system, op="replace", digest=hashlib.sha256(forged).hexdigest())
    checks.expect("a_version_that_was_not_offered_is_refused", not reply["ok"] and "not offered" in reply["error"], reply)
    os.unlink(path)
    checks.expect_equal("the_running_version_serves_on", running(system), before)


def test_fall_back(system):
    """A version that compiles and does not start: its passwords are not there."""
    before = running(system)
    edit(system, "file: passwords", "file: nowhere")
    code, said = up(system, "--yes")
    checks.expect("a_version_that_does_not_start_gives_way", code == 1 and "service login: password file" in said and
                  "the one before it does" in said, said)
    system.wait_running()
    checks.expect("the_one_before_serves", running(system) == before == installed(system), system.ps())
    records = whats(system, "system-fell-back")
    checks.expect("audit_says_that_it_fell_back", len(records) == 1 and records[0]["serves"] == before and
                  "password file" in records[0]["why"], records)
    edit(system, "file: nowhere", "file: passwords")


def test_misfit(system, readings):
    """Messages wait on a flow that the new version does not have."""
    before = running(system)
    system.command("stop", system.name, "decode")
    device = clients.Device(system.port, "press-7", system.passwords["press-7"], "press-7-waits").connect()
    device.publish([(clients.TOPIC, clients.reading_text(7, *reading)) for reading in readings[PART:PART + 3]])
    device.close()
    edit(system, "publish: raw,", "publish: raw_new,")
    edit(system, "  raw:     {", "  raw_new: {")
    code, said = up(system, "--yes")
    checks.expect("what_waits_binds_the_next_version", code == 4 and "mend: keep the flow" in said and
                  "3 messages wait on flow raw for decode, but the flow is not in the new version" in said, said)
    checks.expect_equal("it_was_refused_before_anything_changed", running(system), before)
    system.command("restart", system.name, "decode")
    system.wait_drained(60)
    code, said = up(system, "--yes")
    checks.expect("once_nothing_waits_it_takes_over", code == 0 and running(system) != before, said)
    edit(system, "publish: raw_new,", "publish: raw,")
    edit(system, "  raw_new: {", "  raw:     {")
    code, said = up(system, "--yes")
    checks.expect("and_back", code == 0, said)


def test_killed(system, readings, resent):
    """kill -9 of the supervisor in the midst of a replacement: then the old version is installed, or the new one."""
    first = PART + 3
    stream = Stream(system, "press-7-killed", readings[first:first + PART])
    stream.start()
    noise, problems, seen = random.Random(4), [], set()
    for number in range(70, 74):
        old = installed(system)
        supervisor = system.supervisor_pid()
        family = crenel.identities(crenel.family(supervisor))
        change(system, number)
        process = subprocess.Popen([system.program, "up", "--detach", "--yes", system.file], env=system.environment,
                                   cwd=system.work, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        for line in process.stderr:
            if line.startswith("another version follows"):
                break
        while number % 2 and installed(system) == old and process.poll() is None:
            time.sleep(0.005)  # every second time it has been put in place
        time.sleep(noise.random() * 0.3)
        crenel.kill(supervisor)
        process.communicate(timeout=60)
        left = crenel.wait_gone(family, 10)
        after = installed(system)
        seen.add("old" if after == old else "new")
        code, said = up(system, "--yes")
        if left or code != 0 or running(system) != installed(system):
            problems.append((number, left, code, said[-300:]))
    stream.end()
    checks.expect("killed_at_any_moment_one_whole_version_is_installed", not problems, problems)
    checks.expect_equal("both_were_met", seen, {"old", "new"})
    counted = 2 * PART + 3
    check_counts("killed", system, counted, resent + stream.device.resent)
    check_store("killed", system, readings[:counted])
    checks.expect("audit_log_verifies_after_replacements", *system.audit_verify())


with tempfile.TemporaryDirectory(prefix="crenel-upgrade-") as work:
    machine = crenel.System(work, checks.BUILD)
    recording = clients.recording(CSV)
    again = [0]  # messages that were sent again
    try:
        machine.prepare()
        checks.run("consent", lambda: test_consent(machine))
        machine.down()
        checks.run("another_offer", lambda: test_another_offer(machine))
        machine.prepare()
        checks.run("replacement", lambda: again.append(test_replacement(machine, recording)))
        checks.run("refused", lambda: test_refused(machine))
        checks.run("fall_back", lambda: test_fall_back(machine))
        checks.run("misfit", lambda: test_misfit(machine, recording))
        checks.run("killed", lambda: test_killed(machine, recording, again[-1]))
    finally:
        machine.down()
checks.finish()
