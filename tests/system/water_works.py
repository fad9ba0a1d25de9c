#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""examples/water-works from the outside: what its sensors and operators may say is done, what they may not is refused,
counted to the message and named with its line; what an operator sees of it; a new version under traffic."""
import html
import json
import os
import re
import subprocess
import threading
import time

import checks
import clients
import crenel

SOURCE = os.path.join(checks.TREE, "examples", "water-works")


class System(crenel.System):
    def prepare(self):
        """As it is, but what waits for a valve expires sooner, so that a test can wait for it."""
        super().prepare()
        with open(self.file, encoding="utf-8") as file:
            text = file.read()
        old = "to: [valve.command], durable: {cap: 20, time_to_live: 10s}"
        assert old in text
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(text.replace(old, old.replace("10s", "3s")))

    def line(self, what):
        """The one line of the system file that holds it, as messages name it."""
        with open(self.file, encoding="utf-8") as file:
            found = [number for number, row in enumerate(file, 1) if what in row]
        assert len(found) == 1, f"{what!r} is in {len(found)} lines"
        return f"system.yaml:{found[0]}"

    def send(self, user, topic, *payloads):
        device = clients.Device(self.port, user, self.passwords[user], user).connect()
        device.publish([(topic, payload) for payload in payloads], window=5)
        device.close()

    def failed(self):
        """(flow, reason) -> how many messages ended so, from `crenel status --json`."""
        return {(row["flow"], reason): number for row in self.json("status", self.name)["flows"]
                for reason, number in row["failed_by"].items() if number > 0}

    def letters(self, after):
        """The texts of the dead letters behind the first `after`, in order."""
        found = sorted(letter["id"] for letter in self.dead_letters())[after:]
        return [self.command("deadletter", "show", self.name, str(number)) for number in found]


class Subscriber(threading.Thread):
    """Somebody who listens; `heard` are (topic, payload) in the order in which they came."""

    def __init__(self, system, user, topic):
        super().__init__(daemon=True)
        self.heard, self.is_over = [], False
        self.device = clients.Device(system.port, user, system.passwords[user], user + "-listens").connect()
        self.device.client.on_message = lambda _c, _u, message: self.heard.append((message.topic, message.payload.decode()))
        self.device.client.subscribe(topic, qos=1)
        self.start()

    def run(self):
        while not self.is_over:
            self.device.client.loop(timeout=0.1)

    def end(self):
        self.is_over = True
        self.join()
        self.device.close()


def level(sequence, metres, time_ms):
    return f'{{"sequence":{sequence},"time_ms":{time_ms},"level":{metres:.3f}}}'


def gained(after, before):
    return {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}


def orders(heard, tank):
    """What the valve of that tank was told: (order, percent, by)."""
    told = [json.loads(payload) for topic, payload in heard if topic == f"water/valve-{tank}/order"]
    return [(order["order"], order["percent"], order["by"]) for order in told]


def test_good(system, start_ms):
    """A tank that runs low is filled; late pressures are taken; an operator gives orders, and writes a note."""
    valves, screen = Subscriber(system, "valves", "water/+/order"), Subscriber(system, "operator", "water/shown/+")
    for tank in (1, 2):
        system.send(f"tank-{tank}", f"water/tank-{tank}/level",
                    *[level(i, 2.2 + i / 50, start_ms + 1000 * i) for i in range(1, 11)])
    system.send("tank-1", "water/tank-1/pressure", *[f'{{"sequence":{i},"lowest":4.1,"highest":4.25}}' for i in (9, 7, 8, 10)])
    system.wait_drained(30)
    system.send("operator", "water/operator/command", "open 1 40", "set 1 30", "close 1", "lock 2", "unlock 2")
    system.send("operator", "water/operator/note", "1 Pumpe läuft laut. Bitte ansehen!", "2 all well")
    counts = system.wait_drained(30)
    valves.end()
    screen.end()
    checks.expect_equal("good_commands_reach_each_valve_in_order", [orders(valves.heard, tank) for tank in (1, 2)], [
        [("open", 40, "operator"), ("set", 30, "operator"), ("close", 0, "operator")],
        [("lock", 0, "operator"), ("unlock", 0, "operator")]])
    checks.expect_equal("levels_are_shown", [payload for topic, payload in screen.heard if topic == "water/shown/tank-1"],
                        [f"{2.2 + i / 50:.3f} m" for i in range(1, 11)])
    checks.expect_equal("nothing_good_is_refused", [key for key in system.failed() if key not in
                        (("alive", "connection"), ("shown", "no-subscriber"))], [])
    checks.expect_equal("good_messages_are_counted", {name: counts.flows[name]["done"] for name in
                        ("level_text", "level", "pressure", "typed", "wish", "command", "told", "order", "note_text")},
                        {"level_text": 20, "level": 40, "pressure": 4, "typed": 5, "wish": 5, "command": 5, "told": 5,
                         "order": 5, "note_text": 2})
    checks.expect_equal("notes_are_kept", [(row["tank"], row["text"]) for row in system.records("notes")],
                        [(1, "Pumpe läuft laut. Bitte ansehen!"), (2, "all well")])


def test_levels(system, start_ms):
    """A sensor that lies in every way, between good messages: each costs itself."""
    before, letters = system.failed(), len(system.dead_letters())
    late, early, now = start_ms - 300000, start_ms + 400000, start_ms + 21000
    system.send("tank-1", "water/tank-1/level",
                level(11, 2.40, start_ms + 11000),
                level(11, 2.40, start_ms + 11000),                      # a replay
                level(12, 8.40, now),                                   # a jump
                level(12, 2.49, start_ms + 12000),                      # 90 mm in a second
                level(12, 2.41, late), level(12, 2.41, early),          # old, or of a clock that is wrong
                level(12, 12.001, start_ms + 12000),                    # above the tank
                '{"level":', '{"level":1}', '{"sequence":12,"sequence":12}',
                level(12, 2.44, start_ms + 12000))
    system.send("tank-2", "water/tank-1/level", level(99, 2.4, now))    # not its topic
    system.send("tank-1", "water/tank-1/pressure", *[f'{{"sequence":{i},"lowest":{low},"highest":4.25}}' for i, low in
                                                     ((9, 4), (11, 4.5), (80, 4), (16, 4), (17, 4))])
    counts = system.wait_drained(30)
    checks.expect_equal("hostile_levels_are_counted_by_reason", gained(system.failed(), before), {
        ("level_text", "replay"): 1, ("level_text", "step"): 1, ("level_text", "slope"): 1, ("level_text", "stale"): 2,
        ("level_text", "range"): 1, ("level_text", "refused"): 3, ("pressure_text", "replay"): 2,
        ("pressure_text", "relation"): 1, ("alive", "connection"): counts.flows["alive"]["connection"] -
        before.get(("alive", "connection"), 0), ("shown", "no-subscriber"): 2})
    wanted = [f"replay level.sequence ({system.line('                sequence: sequence,')})",
              f"step level.level ({system.line('field: level, most: 0.500')})",
              f"slope level.level ({system.line('field: level, most: 0.050')})",
              f"stale level.time_ms ({system.line('fresh:')})", f"stale level.time_ms ({system.line('fresh:')})",
              f"range level.level ({system.line('  level:   ')})",
              "refused bad-number", "refused missing-member", "refused duplicate-member"]
    found = [letter for letter in system.letters(letters) if re.search("flow +level_text", letter)]
    checks.expect("dead_letters_of_levels_name_the_line",
                  len(found) == len(wanted) and all(text in letter for text, letter in zip(wanted, found)), found)
    refused = system.json("status", system.name)["refusals"]["mqtt"]
    checks.expect_equal("a_sensor_has_its_own_topic_only", refused.get("not-allowed"), 1)
    tank = next(row for row in system.records("tanks") if row["tank"] == 1)
    checks.expect_equal("only_good_levels_are_believed", float(tank["level"]), 2.44)


def test_commands(system):
    """The state machine holds for whoever gives the command; a locked valve stays closed however low the water is."""
    before, letters = system.failed(), len(system.dead_letters())
    valves = Subscriber(system, "valves", "water/+/order")
    system.send("operator", "water/operator/command", "open 1 40", "open 1 40", "lock 1", "close 1", "set 1 30", "lock 1",
                "open 1 20", "close 1", "dance", "open 7 10", "open 1 101")
    counts = system.wait_drained(30)
    valves.end()
    checks.expect_equal("only_the_state_machine_reaches_a_valve", [order[0] for order in orders(valves.heard, 1)],
                        ["open", "close", "lock"])
    found = gained(system.failed(), before)
    found.pop(("alive", "connection"))
    checks.expect_equal("commands_outside_of_it_are_counted", found, {
        ("wish", "state"): 5, ("typed", "refused"): 2, ("typed", "range"): 1})
    texts = system.letters(letters)
    line = system.line("machine: valve")
    checks.expect("a_command_outside_of_it_names_the_line",
                  sum(f"state command.valve ({line}): tank 1 is in state" in text for text in texts) == 5, texts)
    checks.expect_equal("every_command_has_its_receipt", counts.flows["told"]["done"], counts.flows["command"]["entered"])


def test_receipt(system):
    """A command that no valve took in time is followed by `close`, once a valve is there again."""
    valves, before = Subscriber(system, "valves", "water/+/order"), system.failed()
    system.command("stop", system.name, "valve")
    system.send("operator", "water/operator/command", "open 2 10")
    end = time.monotonic() + 30
    while not gained(system.failed(), before).get(("command", "expired")) and time.monotonic() < end:
        time.sleep(0.1)
    system.command("restart", system.name, "valve")
    counts = system.wait_drained(30)
    valves.end()
    expired = gained(system.failed(), before).get(("command", "expired"))
    checks.expect("a_command_that_was_not_taken_expires", expired and expired >= 1, expired)
    checks.expect_equal("control_is_told_and_closes_the_valve", orders(valves.heard, 2), [("close", 0, "controller")])
    checks.expect_equal("every_command_has_its_receipt_in_the_end", counts.flows["told"]["done"],
                        counts.flows["command"]["entered"])
    tank = next(row for row in system.records("tanks") if row["tank"] == 2)
    checks.expect_equal("control_believes_that_it_is_closed", tank["valve"], "closed")


NOTES = ("1 '; DROP TABLE notes; --", "1 <script>alert(1)</script>", "1 =HYPERLINK(1)", "1 ${jndi:ldap://x}", "1 two\nlines",
         "1 \u202egnp.exe")


def test_notes(system):
    before, letters, kept = system.failed(), len(system.dead_letters()), len(system.records("notes"))
    system.send("operator", "water/operator/note", *NOTES, "1 a good one", "77 no such tank")
    system.wait_drained(30)
    found = gained(system.failed(), before)
    checks.expect_equal("injections_are_counted", {key: found[key] for key in found if key[0] == "note_text"},
                        {("note_text", "class"): len(NOTES), ("note_text", "range"): 1})
    checks.expect("dead_letters_of_notes_name_field_and_line",
                  [f"class notes.text ({system.line('  notes: ')})" in text for text in system.letters(letters)] == [True] * len(NOTES) + [False],
                  system.letters(letters))
    checks.expect_equal("only_the_good_note_is_kept", [row["text"] for row in system.records("notes")][kept:], ["a good one"])


def test_trial(system):
    """A sensor on trial does as it likes, and nothing is refused; its bounds are learned."""
    before = system.failed()
    system.send("trial-1", "water/tank-1/turbidity", *[f'{{"sequence":{i},"turbidity":{i * 1.5}}}' for i in (1, 2, 3, 1, 4)])
    system.wait_drained(30)
    found = gained(system.failed(), before)
    status = system.json("status", system.name)
    row = next(row for row in status["flows"] if row["flow"] == "turbidity")
    checks.expect("what_is_on_trial_is_only_counted",
                  row["observed"] == 1 and not [key for key in found if key[0].startswith("turbidity")], (row, found))
    said = system.command("policy", "learn", system.file)
    checks.expect("bounds_are_proposed", "from 5 messages" in said and "steps: [{field: turbidity, most: " in said, said)


def test_flood(system, start_ms):
    """One tank's sensor sends all that it can. The other's messages are all taken."""
    before, entered, flood = system.failed(), system.status().flows["level"]["done"], 400
    flooding = threading.Thread(target=system.send, args=("tank-1", "water/tank-1/level", *[
        level(100 + i, 2.44, start_ms + 13000 + i) for i in range(flood)]), daemon=True)
    flooding.start()
    system.send("tank-2", "water/tank-2/level", *[level(100 + i, 2.5, start_ms + 13000 + i) for i in range(20)])
    flooding.join()
    counts = system.wait_drained(60)
    taken = (counts.flows["level"]["done"] - entered) // 2  # two receivers
    refused = gained(system.failed(), before)
    rate = refused.get(("level_text", "rate"), 0)
    checks.expect("a_flood_is_refused_to_the_message", rate > 0 and rate + taken == flood + 20, (rate, taken))
    tanks = [row for row in system.lines("deadletter", "list", system.name) if row["reason"] == "rate"]
    checks.expect_equal("a_flood_stops_nobody_else", {row["principal"] for row in tanks}, {"tank-1"})


def policy(system, *arguments):
    done = subprocess.run([system.program, "policy", *arguments], env=system.environment, cwd=system.work,
                          capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_policy(system):
    code, said = policy(system, "explain", system.file, "decode", "control")
    wanted = ("replay sequence", "fresh time_ms within 30s", "step level", "slope level", "rate tank", "bytes tank",
              system.line("fresh:").replace("system.yaml:", "line "))
    checks.expect("explain_names_every_check", code == 0 and all(text in said for text in wanted), said)
    code, said = policy(system, "explain", system.file, "outside", "valve")
    checks.expect("explain_shows_the_way_to_a_valve", code == 5 and "-command-> valve" in said and system.line("  command:  ") in said, said)
    code, said = policy(system, "explain", system.file, "trial", "valve")
    checks.expect("nothing_leads_from_the_trial_to_a_valve", code == 5 and "cannot influence" in said, said)
    with open(system.file, encoding="utf-8") as file:
        text = file.read()
    names = re.findall(r"^ +(\w+): +\{(?:source|from|schema)", text, re.M) + re.findall(r"filter: ([^,]+)", text)
    drawn = os.path.join(system.folder, "system.svg")
    code, said = policy(system, "graph", system.file, "--output", drawn)
    if "graphviz" in said:
        checks.skip("the_picture_names_all", "graphviz is not installed")
    else:
        with open(drawn, encoding="utf-8") as file:
            picture = html.unescape(file.read())
        undrawn = {"alive", "subscribe", "login_reply", "told"}  # timers, joining, replies and receipts are no edges
        missing = [name for name in names if name not in picture and name not in undrawn]
        checks.expect("the_picture_names_the_checks", "no replay, step, slope, rate of a key" in picture.replace("fresh, ", "") and
                      "machine valve" in picture, picture)
        checks.expect("the_picture_names_all", code == 0 and len(names) > 30 and not missing, (said, missing))


def test_new_version(system, start_ms):
    """A looser rate is shown, refused without consent, and takes over with it, under traffic."""
    with open(system.file, encoding="utf-8") as file:
        text = file.read()
    old = "rate: {per_second: 5, burst: 32}, principals: [operator]}\n  wish"
    with open(system.file, "w", encoding="utf-8") as file:
        file.write(text.replace(old, old.replace("per_second: 5", "per_second: 50")))
    code, said = policy(system, "diff", system.name, system.file)
    checks.expect("diff_shows_what_is_more_open", code == 1 and "flow typed: rate 5 -> 50 a second" in said, said)
    code, said = policy(system, "diff", system.file, system.name)
    checks.expect("diff_the_other_way_opens_nothing", code == 0 and "50 -> 5 a second" in said, said)
    try:
        system.command("up", "--detach", system.file)
        checks.expect("a_looser_version_needs_consent", False, "it started")
    except crenel.Failed as failure:
        checks.expect("a_looser_version_needs_consent", "exit code 5" in str(failure) and "--yes" in str(failure), failure)
    before, many = system.failed(), 30
    done = system.status().flows["level"]["done"]
    device = clients.Device(system.port, "tank-2", system.passwords["tank-2"], "tank-2").connect()

    def publish():
        for i in range(many):
            device.publish([("water/tank-2/level", level(200 + i, 2.5, start_ms + 14000 + i))])
            time.sleep(0.1)  # below the rate of a key
        device.close()
    traffic = threading.Thread(target=publish, daemon=True)
    traffic.start()
    time.sleep(1)
    system.command("up", "--detach", "--yes", system.file)
    traffic.join()
    counts = system.wait_drained(30)
    found = {key: number for key, number in gained(system.failed(), before).items() if key[0].startswith("level")}
    checks.expect("no_message_is_lost_or_doubled", (counts.flows["level"]["done"] - done) // 2 == many and
                  set(found) <= {("level_text", "replay")} and sum(found.values()) <= device.resent,
                  (counts.flows["level"]["done"] - done, found, device.resent))
    checks.expect("the_sensor_connected_again", device.reconnects >= 1, device.reconnects)
    before = system.failed()
    system.send("operator", "water/operator/command", "open 1 20", "unlock 1", "open 1 20")
    system.wait_drained(30)
    checks.expect_equal("a_valve_stays_locked_in_the_next_version",
                        gained(system.failed(), before).get(("wish", "state")), 1)


def main():
    system = System(os.path.join(checks.BUILD, "tests", "water_works"), checks.BUILD, SOURCE, first_port=18850)
    try:
        system.prepare()
        system.up()
        start_ms = int(time.time() * 1000) - 10000
        checks.run("good", lambda: test_good(system, start_ms))
        checks.run("levels", lambda: test_levels(system, start_ms))
        checks.run("commands", lambda: test_commands(system))
        checks.run("receipt", lambda: test_receipt(system))
        checks.run("notes", lambda: test_notes(system))
        checks.run("trial", lambda: test_trial(system))
        checks.run("flood", lambda: test_flood(system, start_ms))
        checks.run("policy", lambda: test_policy(system))
        checks.run("new_version", lambda: test_new_version(system, start_ms))
        counts = system.status()
        checks.expect("every_message_is_accounted_for", all(
            flow["entered"] == flow["done"] + sum(flow[reason] for reason in counts.failures) + flow["waiting"]
            for flow in counts.flows.values()), counts.flows)
        checks.expect("water_works_leaves_a_good_audit_log", *system.audit_verify())
        checks.expect_equal("down_after_water_works_ends_well", system.down(), 0)
    except Exception as failure:  # reported
        checks.expect("water_works_runs", False, failure)
    finally:
        system.down()
    checks.finish()


main()
