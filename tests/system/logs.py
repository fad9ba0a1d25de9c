#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Logs: a flood is bounded and counted, and `logs -f` follows over rotation."""
import json
import os
import re
import subprocess
import time

import checks
import clients
import crenel

FLOOD = 3000        # lines that decode writes at once
BURST, PER_S = 1000, 200
ROTATED_BYTES = 17 << 20  # more than a log may have


class Follower:
    """A `crenel logs -f` and what it has said."""

    def __init__(self, system, *options):
        self.path = os.path.join(system.folder, "follow" + "".join(options))
        with open(self.path, "wb") as output:
            self.process = subprocess.Popen([system.program, "logs", "-f", *system.named(), *options],
                                            env=system.environment, stdout=output)

    def wait(self, words, deadline_s=15):
        """Whether it says these words in time."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            with open(self.path, "rb") as said:
                if words.encode() in said.read():
                    return True
            time.sleep(0.1)
        return False

    def end(self):
        self.process.terminate()
        self.process.wait()


def publish(system, payloads, name):
    device = clients.Device(system.port, "press-7", system.passwords["press-7"], name).connect()
    device.publish([(clients.TOPIC, payload) for payload in payloads], window=100)
    device.close()


def test_flood(system):
    began = time.monotonic()
    publish(system, ["{"] * FLOOD, "press-7-flood")
    system.wait_drained(60)
    seconds = time.monotonic() - began
    time.sleep(1.2)  # what was dropped is said once a second
    records = [json.loads(line) for line in system.command("logs", *system.named(), "--json").splitlines()]
    texts = [record["text"] for record in records if record["unikernel"] == "decode"]
    dropped = sum(int(match.group(1)) for match in (re.match(r"(\d+) lines dropped$", text) for text in texts) if match)
    written = sum("lines dropped" not in text for text in texts)
    checks.expect_equal("flood_of_lines_is_counted", written + dropped, FLOOD)
    checks.expect("flood_of_lines_is_bounded", written <= BURST + PER_S * (seconds + 2), (written, seconds))


def grow(path):
    """As if it had been written for long."""
    line = json.dumps({"time_ms": 1, "unikernel": "decode", "level": "info", "text": "x" * 4000}) + "\n"
    with open(path, "a", encoding="ascii") as log:
        log.write(line * (ROTATED_BYTES // len(line) + 1))


def test_rotation(system):
    logs = os.path.join(system.state, system.name, "logs")
    guests, host = Follower(system), Follower(system, "--host")
    try:
        there = json.loads(system.command("logs", *system.named(), "--json").splitlines()[-1])["text"]  # where it is slow, nothing was dropped
        checks.expect("follower_sees_what_is_there", guests.wait(there), there)
        for name in ("system.log", "host.log"):
            grow(os.path.join(logs, name))
        end = time.monotonic() + 15
        while time.monotonic() < end and not all(
                os.path.exists(os.path.join(logs, name + ".1")) and os.path.getsize(os.path.join(logs, name)) < 1 << 20
                for name in ("system.log", "host.log")):
            time.sleep(0.1)
        sizes = {name: os.path.getsize(os.path.join(logs, name)) for name in sorted(os.listdir(logs))}
        checks.expect("logs_are_turned_over", all(name + ".1" in sizes and sizes[name] < 1 << 20
                                                  for name in ("system.log", "host.log")), sizes)
        publish(system, ['{"sensor":7}'], "press-7-after")
        crenel.kill(system.unikernel("notify")["pid"])
        checks.expect("follower_goes_on_after_rotation", guests.wait("missing-member"))
        checks.expect("host_follower_goes_on_after_rotation", host.wait("unikernel notify ended"))
    finally:
        guests.end()
        host.end()


def main():
    system = crenel.System(os.path.join(checks.BUILD, "tests", "logs"), checks.BUILD, first_port=18868)
    try:
        system.prepare()
        system.up()
        checks.run("flood", lambda: test_flood(system))
        checks.run("rotation", lambda: test_rotation(system))
    except Exception as failure:  # reported
        checks.expect("logs_run", False, failure)
    finally:
        system.down()
    checks.finish()


main()
