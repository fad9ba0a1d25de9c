#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""kill -9 of everything, in mid-stream: counts stay exact, effects happen once, nothing is orphaned."""
import os
import random
import time

import checks
import clients
import crenel
from machine_watch_stream import CSV, Stream, check_counts, check_store

PART = 700  # readings of each of the three parts


def kill_some(tenders, noise):
    """One instance of each tender, whichever it is; the zygote, which is each tender's oldest child, lives."""
    tree, killed = crenel.children_of(), 0
    for name, tender in tenders.items():
        instances = sorted(tree.get(tender, []), key=lambda pid: (crenel.start_of(pid) or (0,))[0])[1:]
        if instances and (name != "mqtt" or noise.random() < 0.1):
            killed += crenel.kill_child(tender, noise.choice(instances))
    return killed


def kill_instances(system, stream):
    tenders = {row["unikernel"]: row["pid"] for row in system.ps()["unikernels"]}
    noise, killed = random.Random(1), 0
    while stream.is_alive():
        killed += kill_some(tenders, noise)
        time.sleep(0.1)  # seldom enough that no event loses three instances, which is its end
    return killed


def test_instances(system, readings):
    stream = Stream(system, "press-7-instances", readings[:PART])
    stream.start()
    killed = kill_instances(system, stream)
    stream.end()
    rows = system.ps()["unikernels"]
    killed_by_ps = sum(row["killed"] for row in rows)
    if any(row["isolation"] == "process" for row in rows):
        checks.expect("instances_were_killed_in_mid_stream", killed > 0 and killed_by_ps > 0,
                      f"{killed} killed, ps counts {killed_by_ps}")
    else:
        checks.skip("instances_were_killed_in_mid_stream", "nothing outside can kill a virtual machine alone")
    check_counts("instances_killed", system, PART, stream.device.resent)
    check_store("instances_killed", system, readings[:PART])
    return stream.device.resent


def test_tender(system, readings, resent):
    stream = Stream(system, "press-7-tender", readings[PART:2 * PART])
    stream.start()
    for _ in range(3):
        time.sleep(0.7)
        crenel.kill(system.unikernel("decode")["pid"])
    stream.end()
    checks.expect("decode_tender_was_started_again", system.unikernel("decode")["restarts"] >= 1,
                  system.unikernel("decode"))
    check_counts("tender_killed", system, 2 * PART, resent + stream.device.resent)
    check_store("tender_killed", system, readings[:2 * PART])
    return resent + stream.device.resent


def test_host_processes(system, readings, resent):
    """Router, store and supervisor: each end is followed by a start from the store."""
    stream = Stream(system, "press-7-host", readings[2 * PART:3 * PART])
    stream.start()
    for process in ("router", "store"):
        time.sleep(1)
        supervisor = system.supervisor_pid()
        before = crenel.identities(pid for pid in crenel.family(supervisor) if pid != supervisor)
        victim = system.process_pid(process)
        crenel.kill(victim)
        system.wait_running()
        kept = {row["pid"] for row in system.ps()["processes"]}
        checks.expect_equal(f"{process}_killed_leaves_no_orphan",
                            [left for left in crenel.wait_gone(before, 5) if left[0] not in kept], [])
    time.sleep(1)
    supervisor = system.supervisor_pid()
    before = crenel.identities(crenel.family(supervisor))
    crenel.kill(supervisor)
    checks.expect_equal("supervisor_killed_leaves_no_orphan", crenel.wait_gone(before), [])
    system.up()
    stream.end()
    check_counts("host_killed", system, 3 * PART, resent + stream.device.resent)
    check_store("host_killed", system, readings[:3 * PART])
    checks.expect("audit_log_verifies_after_kills", *system.audit_verify())


def main():
    system = crenel.System(os.path.join(checks.BUILD, "tests", "machine-watch-crash"), checks.BUILD,
                           first_port=18833)
    readings = clients.recording(CSV)
    resent = [0]  # so far, by all streams

    def tender():
        resent.append(test_tender(system, readings, resent[-1]))
    try:
        system.prepare()
        system.up()
        checks.run("instances", lambda: resent.append(test_instances(system, readings)))
        checks.run("tender", tender)
        checks.run("host_processes", lambda: test_host_processes(system, readings, resent[-1]))
        processes = crenel.identities(crenel.family(system.supervisor_pid()))
        checks.expect_equal("down_after_kills_ends_well", system.down(), 0)
        checks.expect_equal("down_after_kills_leaves_no_process", crenel.wait_gone(processes), [])
    except Exception as failure:  # reported
        checks.expect("machine_watch_crash_runs", False, failure)
    finally:
        system.down()
    checks.finish()


main()
