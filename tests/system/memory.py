#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Memory is constant: the recording of the machine-watch example, again and again at full speed, and what all processes of
the system hold after the first tenth of it and at the end.

CRENEL_MESSAGES: how many messages (3000; a million and more for days of it). In the short form the store's page cache, which
SQLite bounds, has not filled yet when the first tenth is over, so its size comes on top."""
import os
import time

import checks
import clients
import crenel

MESSAGES = int(os.environ.get("CRENEL_MESSAGES", "3000"))
CACHE_BYTES = 2000 << 10  # SQLite's default
CACHE_MESSAGES = 10000    # that fill it
GROWTH_BYTES_MAX = (1 << 20) + (CACHE_BYTES if MESSAGES // 10 < CACHE_MESSAGES else 0)
PART = min(20000, MESSAGES // 10)  # messages of one connection
CSV = os.path.join(crenel.EXAMPLE, "data", "machine_temperature_system_failure.csv")


def held(system):
    """Bytes of each process, what they share divided among them, when nothing is under way."""
    system.wait_drained(300)
    time.sleep(1)  # the least that a flush of counters and the log take
    ps = system.ps()
    pids = {row["process"]: row["pid"] for row in ps["processes"]}
    family = crenel.family(system.supervisor_pid())
    return crenel.memory_of(family)[1], {name: crenel.memory_of([pid])[1] for name, pid in pids.items()}


def publish(system, readings, first, count):
    """`count` of the recording from message `first` on: behind its end it begins anew, its sequence goes on."""
    lines = []
    for number in range(first, first + count):
        _, when, celsius = readings[number % len(readings)]
        lines.append(clients.reading_text(7, number + 1, when, celsius))
    publisher = clients.Mosquitto(system.folder, system.port).publisher(
        "press-7", system.passwords["press-7"], clients.TOPIC, 1, lines)
    if publisher.wait(600) != 0:
        raise crenel.Failed("mosquitto_pub: " + publisher.stderr.read())


def test_constant(system):
    readings, tenth, before = clients.recording(CSV), MESSAGES // 10, None
    for first in range(0, MESSAGES, PART):
        publish(system, readings, first, min(PART, MESSAGES - first))
        if before is None and first + PART >= tenth:
            before = held(system)
    after = held(system)
    raw = system.status().flows["raw"]
    checks.expect_equal(f"all_{MESSAGES}_messages_are_done", (raw["entered"], raw["done"]), (MESSAGES, MESSAGES))
    grown = {name: after[1][name] - size for name, size in before[1].items() if name in after[1]}
    checks.expect("memory_is_constant_over_the_recording_at_full_speed", after[0] <= before[0] + GROWTH_BYTES_MAX,
                  f"{before[0]} bytes after a tenth, {after[0]} at the end; by process {grown}")
    print(f"# {before[0]} bytes after a tenth, {after[0]} at the end of {MESSAGES} messages; by process {grown}")


def main():
    system = crenel.System(os.path.join(checks.BUILD, "tests", "memory"), checks.BUILD, first_port=18895)
    try:
        system.prepare()
        system.up()
        checks.run("memory_is_constant_over_the_recording_at_full_speed", lambda: test_constant(system))
        checks.expect("memory_leaves_a_good_audit_log", *system.audit_verify())
    except Exception as failure:  # reported
        checks.expect("memory_runs", False, failure)
    finally:
        system.down()
    checks.finish()


main()
