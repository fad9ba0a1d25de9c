#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""kill -9 at random, of anything, for some seconds: what was acknowledged has had its effects exactly once.

chaos.py [SECONDS [SEED]]. The seed is printed; the same seed chooses the same victims, not the same moments.
"""
import collections
import itertools
import json
import os
import random
import sys
import threading
import time

import checks
import clients
import crenel
from machine_watch_hours import hours_of

SECONDS = 9  # of kills, in `make test`
CSV = os.path.join(crenel.EXAMPLE, "data", "machine_temperature_system_failure.csv")
SENSORS = (7, 11, 12, 13)
WINDOW = 5
DEADLINE_S = 60  # for one message to be acknowledged: starts after kills wait longer and longer
# What is killed, and how often of a hundred times. An instance: of any tender, decode most of all.
VICTIMS = {"instance": 46, "tender": 16, "gateway": 8, "password": 8, "audit": 8, "router": 5, "store": 5,
           "supervisor": 4}
PROCESSES = {"password": "service"}  # what `ps` calls them


class System(crenel.System):
    """machine-watch, with as many presses as there are SENSORS."""

    def prepare(self):
        super().prepare()
        with open(self.file, encoding="utf-8") as file:
            text = file.read()
        names = [f"press-{sensor}" for sensor in SENSORS]
        text = text.replace("press-7,", ", ".join(names) + ",").replace("[press-7]", f"[{', '.join(names)}]")
        rule = next(line for line in text.splitlines() if "publish: raw," in line)
        text = text.replace(rule, "\n".join(rule.replace("filter: plant/press-7", f"filter: plant/{name}")
                                            for name in names))
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(text)
        for name in names:
            self.passwords[name] = f"{name}-password"
            self.command("passwd", self.file, name, feed=self.passwords[name] + "\n")


class Press(threading.Thread):
    """Publishes until it is told to end; then everything that it published is acknowledged."""

    def __init__(self, system, sensor, readings):
        super().__init__(daemon=True)
        self.sensor, self.readings = sensor, readings
        self.topic = f"plant/press-{sensor}/temperature"
        self.device = clients.Device(system.port, f"press-{sensor}", system.passwords[f"press-{sensor}"],
                                     f"press-{sensor}")
        self.sent = 0
        self.lost = set()  # sequences that a deadline of decode took
        self.is_over = threading.Event()
        self.failure = None

    def run(self):
        try:
            self.device.connect(DEADLINE_S)
            while not self.is_over.is_set() and self.sent + 2 * WINDOW <= len(self.readings):
                part = self.readings[self.sent:self.sent + 2 * WINDOW]
                self.device.publish([(self.topic, clients.reading_text(self.sensor, *reading)) for reading in part],
                                    window=WINDOW, deadline_s=DEADLINE_S)
                self.sent += len(part)
                time.sleep(0.02)
            self.device.close()
        except Exception as failure:  # looked at by end()
            self.failure = failure

    def end(self):
        self.is_over.set()
        self.join()
        if self.failure:
            raise self.failure


class Killer:
    def __init__(self, system, noise):
        self.system, self.noise = system, noise
        self.killed = collections.Counter()
        self.seen = set()     # identities of all processes that ever ran
        self.orphans = []

    def look(self):
        rows = self.system.ps()
        supervisor = next(row["pid"] for row in rows["processes"] if row["process"] == "supervisor")
        self.seen |= set(crenel.identities(crenel.family(supervisor)))
        return rows

    def kill_instance(self, rows):
        """One instance of a tender; the zygote, its oldest child, lives."""
        tree = crenel.children_of()
        names = [row for row in rows["unikernels"] if row["pid"] and row["unikernel"] != "notify"]
        if not names:
            return False  # an epoch begins
        row = self.noise.choice(names + [row for row in names if row["unikernel"] == "decode"])
        children = sorted(tree.get(row["pid"], []), key=lambda pid: (crenel.start_of(pid) or (0,))[0])[1:]
        return bool(children) and crenel.kill_child(row["pid"], self.noise.choice(children))

    def kill_supervisor(self, rows):
        supervisor = next(row["pid"] for row in rows["processes"] if row["process"] == "supervisor")
        before = crenel.identities(crenel.family(supervisor))
        crenel.kill(supervisor)
        self.orphans += crenel.wait_gone(before)
        self.system.up()
        return True

    def once(self):
        what = self.noise.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        rows = self.look()
        if what == "instance":
            done = self.kill_instance(rows)
        elif what == "supervisor":
            done = self.kill_supervisor(rows)
        else:
            group = rows["unikernels"] if what == "tender" else [
                row for row in rows["processes"] if row["process"] == PROCESSES.get(what, what)]
            pids = [row["pid"] for row in group if row["pid"]]
            done = bool(pids)
            if done:
                crenel.kill(self.noise.choice(pids))
        self.killed[what] += done

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.once()
            time.sleep(self.noise.uniform(0.02, 0.4))


def heal(system, presses):
    """A host this busy may let an event's deadline pass. What an operator does: the dead letter is sent again. A
    reading that decode has not passed on cannot be: later ones went before it. Returns how many of either."""
    again = lost = 0
    for letter in system.dead_letters():
        if letter["reason"] != "deadline":
            continue
        if letter["flow"] == "reading":
            system.command("deadletter", "resubmit", *system.named(), str(letter["id"]))
            again += 1
        elif letter["flow"] == "raw":
            shown = system.json("deadletter", "show", *system.named(), str(letter["id"]))["payload"]
            reading = json.loads(shown["payload"])
            press = next(press for press in presses if press.sensor == reading["sensor"])
            press.lost.add(reading["sequence"])
            lost += 1
    return again, lost


def check_counts(system, presses):
    system.wait_drained(90)
    again, lost = heal(system, presses)
    counts = system.wait_drained(30)
    sent, resent = sum(press.sent for press in presses), sum(press.device.resent for press in presses)
    raw, reading = counts.flows["raw"], counts.flows["reading"]
    for name, flow in counts.flows.items():
        ended = flow["done"] + sum(flow[reason] for reason in counts.failures)
        if name != "alive":
            checks.expect_equal(f"entered_is_done_and_failed_on_{name}", flow["entered"], ended)
    failed = {reason: raw[reason] for reason in counts.failures if raw[reason]}
    checks.expect("every_acknowledged_message_was_done_once",
                  raw["done"] == sent - lost and set(failed) <= {"replay", "deadline"}
                  and failed.get("replay", 0) <= resent and failed.get("deadline", 0) == lost,
                  f"{sent} acknowledged, {resent} sent again; raw {raw}")
    checks.expect_equal("every_reading_reached_both", (reading["done"], reading["entered"]),
                        (2 * (sent - lost), 2 * (sent - lost) + again))
    return counts


def check_hours(system, presses):
    wanted = {}
    for press in presses:
        wanted.update(hours_of([reading for reading in press.readings[:press.sent] if reading[0] not in press.lost],
                               press.sensor))
    found = system.hours()
    wrong = [key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)]
    checks.expect("hours_hold_what_was_acknowledged", not wrong,
                  f"{len(wrong)} wrong: " + str([(key, found.get(key), wanted.get(key)) for key in wrong[:3]]))


def check_audit(system, counts):
    checks.expect("audit_log_verifies", *system.audit_verify())
    commits = [record for record in map(lambda line: line.get("record", line), system.audit_records())
               if record.get("kind") == "commit"]
    # A record tells of one event, or of several of one unikernel and flow (docs/audit.md).
    numbers = {id(record): list(itertools.accumulate([record["number"], *record.get("then", [])])) for record in commits}
    found = collections.Counter()
    for record in commits:
        found[record.get("flow"), record["outcome"]] += len(numbers[id(record)])
    wanted = {(flow, outcome): counts.flows[flow][outcome] for flow in ("raw", "reading") for outcome in ("done", "replay")}
    checks.expect_equal("audit_log_has_a_record_for_each_commit", {key: found[key] for key in wanted}, wanted)
    twice = [key for key, number in collections.Counter(
        (record["unikernel"], number) for record in commits if record.get("flow") in ("raw", "reading")
        for number in numbers[id(record)]).items() if number > 1]
    checks.expect_equal("no_message_was_consumed_twice", twice, [])
    entered = sum(record["sends"] for record in commits if record.get("unikernel") == "mqtt")
    checks.expect_equal("audit_log_has_all_that_entered", entered, counts.flows["raw"]["entered"])


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    system = System(os.path.join(checks.BUILD, "tests", "chaos"), checks.BUILD, first_port=18861)
    readings = clients.recording(CSV)
    killer = Killer(system, random.Random(seed))
    presses = []
    try:
        system.prepare()
        system.up()
        presses = [Press(system, sensor, readings) for sensor in SENSORS]
        for press in presses:
            press.start()
        killer.run(seconds)
        system.wait_running()
        for press in presses:
            press.end()
        print(f"killed {dict(killer.killed)}, {sum(press.sent for press in presses)} messages acknowledged, "
              f"{sum(press.device.resent for press in presses)} sent again", flush=True)
        checks.expect("something_was_killed_and_something_arrived",
                      killer.killed.total() > 0 and all(press.sent for press in presses), killer.killed)
        counts = check_counts(system, presses)
        check_hours(system, presses)
        check_audit(system, counts)
        killer.look()
        checks.expect_equal("supervisor_killed_leaves_no_orphan", killer.orphans, [])
        checks.expect_equal("down_after_chaos_ends_well", system.down(), 0)
        checks.expect_equal("chaos_leaves_no_process", crenel.wait_gone(killer.seen), [])
    except Exception as failure:  # reported
        checks.expect(f"chaos_with_seed_{seed}", False, f"{failure}; killed {dict(killer.killed)}")
    finally:
        system.down()
    checks.finish()


main()
