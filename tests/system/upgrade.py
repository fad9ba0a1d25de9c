#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""A new version of a system: what needs the operator's consent."""
import hashlib
import os
import pty
import subprocess
import tempfile

import checks
import crenel


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


with tempfile.TemporaryDirectory(prefix="crenel-upgrade-") as work:
    machine = crenel.System(work, checks.BUILD)
    try:
        machine.prepare()
        checks.run("consent", lambda: test_consent(machine))
    finally:
        machine.down()
checks.finish()
