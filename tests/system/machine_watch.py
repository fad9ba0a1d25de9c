#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The main job, smaller: real MQTT clients, a tenth of the recording, everything hostile mixed in."""
import json
import os
import threading
import time

import checks
import clients
import crenel
import plant
import summary
from machine_watch_hours import hours_of

READINGS = 2300  # the first labelled failure lies within
IMAGE_BYTES_MAX = 32 * 1024
SMALLEST_BYTES_MAX = 8 * 1024
FAULTS_MAX, FAULT_FORGOTTEN_S = 3, 20  # proto/status_page.h
OVERFLOWS, CALM = 60, 200
RESIDENT_BYTES_MAX = 64 * 1024 * 1024
CSV = os.path.join(crenel.EXAMPLE, "data", "machine_temperature_system_failure.csv")


def test_images(system):
    sizes = {row["unikernel"]: os.path.getsize(row["image"]) for row in system.ps()["unikernels"]}
    checks.expect("each_image_at_most_32_kib", max(sizes.values()) <= IMAGE_BYTES_MAX, sizes)
    checks.expect("smallest_image_at_most_8_kib", min(sizes.values()) <= SMALLEST_BYTES_MAX, sizes)


def test_stream(system, day):
    pids = crenel.family(system.supervisor_pid())
    day.run()
    resident, _ = crenel.memory_of(crenel.family(pids[0]))
    counts = system.wait_drained(60)
    problems = summary.reconcile(day.kinds, counts)
    checks.expect("sent_is_accepted_plus_refused_by_reason", not problems, problems)
    checks.expect("resident_memory_at_most_64_mib", resident <= RESIDENT_BYTES_MAX, resident)
    for what, tried, refused in day.connections:
        checks.expect_equal(what.replace(" ", "_").lower() + "_turned_away", refused, tried)
    checks.expect_equal("malformed_packets_counted", counts.refusals["mqtt"]["malformed-packet"], 24)
    wanted = hours_of(day.readings, 7)
    found = {key: value for key, value in system.hours().items() if key[0] == 7}
    wrong = [key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)]
    checks.expect("hours_are_exact", not wrong, [(k, found.get(k), wanted.get(k)) for k in wrong[:3]])


def test_alarm(day):
    with open(day.alarm_path, encoding="utf-8") as lines:
        alarms = [json.loads(line) for line in lines]
    checks.expect_equal("first_failure_is_published_once", [alarm["time"] for alarm in alarms],
                        ["2013-12-10T12:00:00Z"])


def test_overflow(system):
    row = system.unikernel("decode")
    checks.expect("overflow_is_named_by_ps", row["faults"] == 1 and "decode+0x" in row.get("last_fault", ""), row)
    places = system.symbolize(row)
    checks.expect("overflow_is_symbolized", any("is_celsius" in place for place in places), places)
    letters = [letter for letter in system.dead_letters() if "fault" in json.dumps(letter)]
    checks.expect_equal("overflow_is_one_dead_letter", len(letters), 1)
    records = [record for record in system.audit_records() if "fault" in json.dumps(record)]
    checks.expect("overflow_is_in_the_audit_log", len(records) >= 1, "no record names a fault")


def test_rationed(system, day):
    """rig-2 sends nothing but what overflows decode's buffer, as fast as it can; press-7 goes on with its readings."""
    before, faults_before = system.status(), system.unikernel("decode")["faults"]
    began, problems = time.monotonic(), set()
    rig, press = day.device("rig-2", "rig-2-storm"), day.device("press-7", "press-7-calm")
    flood = threading.Thread(target=rig.publish, args=(clients.overflow(1) * OVERFLOWS, 10), daemon=True)
    flood.start()
    later = 10 * len(day.readings)
    for first in range(0, CALM, 20):
        press.publish([(clients.TOPIC, clients.reading_text(7, later + first + i, "2014-03-01T00:00:00", 80))
                       for i in range(20)])
        problems |= {row["problem"] for row in system.ps()["problems"]}
    flood.join()
    problems |= {row["problem"] for row in system.ps()["problems"]}
    for device in (rig, press):
        device.close()
    after, faults = system.wait_drained(60), system.unikernel("decode")["faults"] - faults_before
    most = FAULTS_MAX + 1 + (time.monotonic() - began) / FAULT_FORGOTTEN_S
    checks.expect("faults_of_one_sender_are_rationed", 0 < faults <= most, f"{faults} faults, at most {most:.0f}")
    said = [text for text in problems if "rig-2" in text and "decode" in text and "rationed" in text]
    checks.expect("ps_says_who_is_rationed_where", said, problems)
    checks.expect("and_nobody_else_is", not [text for text in problems if "press-7" in text], problems)
    more = {name: after.flows["raw_rig"][name] - before.flows["raw_rig"][name] for name in after.flows["raw_rig"]}
    checks.expect_equal("each_of_them_is_a_fault_or_rationed",
                        (more["entered"], more["fault"], more["rationed"]), (OVERFLOWS, faults, OVERFLOWS - faults))
    wanted = dict(before.flows["raw"], entered=before.flows["raw"]["entered"] + CALM,
                  done=before.flows["raw"]["done"] + CALM)
    for name in ("throttled", "redelivered"):
        wanted[name] = after.flows["raw"][name]
    checks.expect_equal("readings_of_others_go_through", after.flows["raw"], wanted)
    letters = [letter for letter in system.dead_letters() if letter["reason"] == "rationed"]
    checks.expect_equal("what_was_rationed_is_a_dead_letter", len(letters), OVERFLOWS - faults)
    checks.expect_equal("of_its_sender", {letter.get("principal") for letter in letters}, {"rig-2"})
    records = [record for record in system.audit_records() if '"rationed"' in json.dumps(record)]
    checks.expect("and_in_the_audit_log", len(records) >= len(letters), len(records))
    system.command("deadletter", "resubmit", *system.named(), str(letters[0]["id"]))
    counts = system.wait_drained(60).flows["raw_rig"]
    checks.expect_equal("and_can_be_resubmitted", counts["entered"] - after.flows["raw_rig"]["entered"], 1)


def test_audit(system):
    checks.expect("audit_log_verifies", *system.audit_verify())


def files_that_hold(folder, words):
    """Names of files below a folder that hold any of these words."""
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    text = file.read()
                found += [os.path.relpath(path, folder) for word in words if word.encode() in text]
    return found


def test_secrets(system):
    """Clients sent passwords in wire messages and payloads in JSON, one of them through a parser that crashed."""
    secrets = list(system.passwords.values())
    checks.expect_equal("no_password_in_store_logs_or_audit", files_that_hold(system.state, secrets), [])
    for folder in ("audit", "logs"):
        place = os.path.join(system.state, system.name, folder)
        checks.expect_equal(f"no_payload_in_{folder}", files_that_hold(place, ["celsius", '"sensor"']), [])
    store = os.path.join(system.state, system.name, "store")
    checks.expect("the_search_finds_what_is_there", files_that_hold(store, ["celsius"]), "the store holds dead letters")


def main():
    system = crenel.System(os.path.join(checks.BUILD, "tests", "machine-watch"), checks.BUILD, first_port=18831)
    day = None
    try:
        system.prepare()
        system.up()
        day = plant.Day(system.folder, system.port, system.passwords, clients.recording(CSV)[:READINGS],
                        lambda _text: None, measured=300, flooded=150)
        checks.run("images", lambda: test_images(system))
        checks.run("stream", lambda: test_stream(system, day))
        checks.run("alarm", lambda: test_alarm(day))
        checks.run("overflow", lambda: test_overflow(system))
        checks.run("rationed", lambda: test_rationed(system, day))
        checks.run("audit", lambda: test_audit(system))
        checks.run("secrets", lambda: test_secrets(system))
        processes = crenel.identities(crenel.family(system.supervisor_pid()))
        checks.expect_equal("down_ends_well", system.down(), 0)
        checks.expect_equal("down_leaves_no_process", crenel.wait_gone(processes), [])
    except Exception as failure:  # reported
        checks.expect("machine_watch_runs", False, failure)
    finally:
        if day is not None:
            day.close()
        system.down()
    checks.finish()


main()
