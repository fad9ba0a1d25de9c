#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""No silent loss: receivers that are slow, stopped, killed or poisoned, against what was acknowledged to the publisher.

CRENEL_MESSAGES: how many the slow receiver is sent (3000; a million takes long)."""
import os
import threading
import time

import checks
import clients
import crenel

MESSAGES = int(os.environ.get("CRENEL_MESSAGES", "3000"))
PATIENCE_S = 600 + MESSAGES // 100
RECEIPTS = {0: "answered", 1: "taken", 5: "range", 15: "refused", 16: "fault", 17: "deadline", 31: "expired",
            32: "displaced", 33: "late"}
SOURCE = os.path.join(checks.TREE, "tests", "system", "spool")


class Watch(threading.Thread):
    """Looks at the depth of every durable flow, and at the memory of router and store, as long as it runs."""

    def __init__(self, system):
        super().__init__(daemon=True)
        self.system, self.is_over, self.over_cap, self.deepest, self.memory = system, False, [], {}, []

    def look(self):
        status = self.system.json("status", *self.system.named())
        for row in status["flows"]:
            if "cap" in row:
                name = row["flow"]
                self.deepest[name] = max(self.deepest.get(name, 0), row["spooled"])
                if row["spooled"] > row["cap"] or row["spooled_bytes"] > row["cap_bytes"]:
                    self.over_cap.append(row)
        pids = [self.system.process_pid(name) for name in ("router", "store")]
        self.memory.append(crenel.memory_of(pids)[0])

    def run(self):
        while not self.is_over:
            try:
                self.look()
            except (crenel.Failed, StopIteration):  # a process was just killed
                pass
            time.sleep(0.1)

    def end(self):
        self.is_over = True
        self.join()


def tally(system, topic):
    return next((row for row in system.records("tallies") if row["topic"] == topic),
                {"count": 0, "sum": 0, "last": 0, "disorder": 0})


def ends(system):
    """reason -> how many receipts and answers said it."""
    found = {}
    for row in system.records("ends"):
        name = RECEIPTS.get(row["reason"], str(row["reason"]))
        found[name] = found.get(name, 0) + 1
    return found


def device(system):
    return clients.Device(system.port, "sensor", system.passwords["sensor"], "sensor").connect()


def publish(system, topic, payloads, window=20):
    publisher = device(system)
    publisher.publish([(topic, str(payload)) for payload in payloads], window=window, deadline_s=PATIENCE_S)
    publisher.close()
    return len(payloads)


def wait_until(system, flow, is_there, deadline_s=60):
    end = time.monotonic() + deadline_s
    while True:
        row = system.status().flows[flow]
        if is_there(row):
            return row
        if time.monotonic() > end:
            raise crenel.Failed(f"flow {flow} does not come to that in {deadline_s} s: {row}")
        time.sleep(0.2)


def failed(row):
    return sum(row[reason] for reason in crenel.Counts.failures)


def is_reconciled(row):
    return row["entered"] == row["done"] + failed(row) + row["waiting"]


def test_slow(system):
    """The receiver takes one at a time, and is away twice. Router and store are killed once."""
    watch, topic = Watch(system), "spool/oldest/slow"
    watch.start()
    publisher = threading.Thread(target=publish, args=(system, topic, range(1, MESSAGES + 1)), daemon=True)
    publisher.start()
    wait_until(system, "oldest", lambda row: row["done"] > MESSAGES // 10, 300)
    system.command("stop", *system.named(), "sink")
    wait_until(system, "oldest", lambda row: row["spooled"] >= 190)
    crenel.kill(system.process_pid("store"))
    time.sleep(0.5)
    system.wait_running_but("sink")
    system.command("restart", *system.named(), "sink")
    publisher.join(PATIENCE_S)
    counts = system.wait_drained(300)
    watch.end()
    took = tally(system, topic)
    checks.expect_equal("slow_receiver_got_all_that_was_acknowledged", (took["count"], took["sum"], took["disorder"]),
                        (MESSAGES, MESSAGES * (MESSAGES + 1) // 2, 0))
    checks.expect_equal("slow_receiver_has_a_receipt_for_each", ends(system), {"taken": MESSAGES})
    checks.expect("slow_receiver_counts_reconcile",
                  all(counts.flows[name]["done"] == MESSAGES and is_reconciled(counts.flows[name]) and
                      failed(counts.flows[name]) == 0 for name in ("in", "oldest", "told")), counts.flows)
    third = len(watch.memory) // 3
    early, late = max(watch.memory[third // 2:third + 1]), max(watch.memory[-third - 1:])
    is_constant = late <= early + (4 << 20)
    checks.expect("slow_receiver_memory_is_constant", is_constant, f"{early}, then {late} bytes")
    checks.expect(f"acceptance 7: slow receiver: {MESSAGES} acknowledged, all received, memory constant",
                  took["count"] == MESSAGES and is_constant and not watch.over_cap, (took, watch.over_cap[:2]))


def test_newest(system):
    """A receiver that is away for longer than its flow keeps: nobody waits, the newest are there when it returns."""
    watch, topic, many = Watch(system), "spool/newest/a", 1000
    system.command("stop", *system.named(), "sink")
    watch.start()
    publish(system, topic, range(1, many + 1))
    row = wait_until(system, "newest", lambda row: row["entered"] == many)
    displaced = row["displaced"]
    checks.expect("newest_is_within_its_caps", 0 < row["spooled"] <= 200 and displaced == many - row["spooled"], row)
    crenel.kill(system.process_pid("router"))
    time.sleep(0.5)
    system.wait_running_but("sink")
    row = system.status().flows["newest"]
    checks.expect("newest_outlasts_a_kill", row["displaced"] == displaced and is_reconciled(row), row)
    system.command("restart", *system.named(), "sink")
    counts = system.wait_drained(120)
    watch.end()
    row, took = counts.flows["newest"], tally(system, topic)
    audited = sum(record.get("count", 0) for record in records_of(system, "left_out")
                  if record["flow"] == "newest" and record["reason"] == "displaced")
    checks.expect("newest_are_taken_in_order",
                  took["count"] == many - displaced and took["last"] == many and took["disorder"] == 0, took)
    checks.expect_equal("displaced_are_in_the_audit_log", audited, displaced)
    checks.expect_equal("displaced_have_their_receipts", ends(system).get("displaced"), displaced)
    return is_reconciled(row) and row["done"] == took["count"] and not watch.over_cap and took["disorder"] == 0


def records_of(system, kind):
    found = []
    for row in system.audit_records():
        record = row.get("record", row)
        record = record.get("event", record) if isinstance(record, dict) else {}
        if record.get("kind") == kind:
            found.append(record)
    return found


def test_fresh(system):
    """What is older than its time to live ends while the receiver is away; what is not arrives."""
    topic, before = "spool/fresh/a", 60
    system.command("stop", *system.named(), "sink")
    publish(system, topic, range(1, before + 1))
    row = wait_until(system, "fresh", lambda row: row["expired"] == before)
    checks.expect("expired_while_the_receiver_is_stopped", row["waiting"] == 0 and row["spooled"] == 0, row)
    system.command("restart", *system.named(), "sink")
    system.wait_running()
    publish(system, topic, range(before + 1, before + 21))
    row = system.wait_drained(60).flows["fresh"]
    took = tally(system, topic)
    checks.expect("time_to_live_is_honoured",
                  is_reconciled(row) and row["done"] == took["count"] and row["done"] + row["expired"] == before + 20 and
                  row["done"] > 0 and took["disorder"] == 0, (row, took))
    checks.expect_equal("expired_have_their_receipts", ends(system).get("expired"), row["expired"])
    return is_reconciled(row) and took["count"] == row["done"]


def test_poison(system):
    """Poison of every kind between good messages: each costs itself, the order of the others goes on."""
    topic, letters = "spool/oldest/poison", len(system.dead_letters())
    before = system.status().flows["oldest"]
    publish(system, topic, [1, "refuse", 2, "large", 3, "crash", 4, "loop", 5, "refuse", 6], window=1)
    row = system.wait_drained(60).flows["oldest"]
    took = tally(system, topic)
    gained = {reason: row[reason] - before[reason] for reason in ("guest", "range", "fault", "deadline")}
    checks.expect_equal("poison_costs_itself", gained, {"guest": 2, "range": 1, "fault": 1, "deadline": 1})
    checks.expect("poison_does_not_stop_the_rest", (took["count"], took["last"], took["disorder"]) == (6, 6, 0), took)
    found = system.dead_letters()[letters:]
    checks.expect_equal("poison_is_quarantined", [(letter["flow"], letter["reason"]) for letter in found],
                        [("oldest", reason) for reason in ("refused", "range", "fault", "deadline", "refused")])
    shown = system.json("deadletter", "show", *system.named(), str(found[0]["id"]))
    checks.expect_equal("poison_can_be_read", (shown["payload"]["topic"], shown["payload"]["payload"]),
                        (topic, "refuse"))
    for letter in found[2:4]:  # a sender whose messages crash it again and again is rationed
        system.command("deadletter", "drop", *system.named(), str(letter["id"]))
    said = system.command("deadletter", "resubmit", *system.named(), "--flow", "oldest")
    again = system.wait_drained(60).flows["oldest"]
    checks.expect("poison_can_be_sent_again", "3 sent again" in said and
                  again["entered"] == row["entered"] + 3 and is_reconciled(again), (said, again))
    said = system.command("deadletter", "drop", *system.named(), "--flow", "oldest")
    checks.expect("poison_can_be_dropped", "3 dropped" in said and not [
        letter for letter in system.dead_letters() if letter["flow"] == "oldest"], said)
    return took["count"] == 6 and took["disorder"] == 0


def test_deadline(system):
    """A question: answered, not answered, and asked of nobody. One reply or one receipt each."""
    before = ends(system)
    publish(system, "spool/question/a", [1, 2, "silence"])
    system.wait_drained(60)
    system.command("stop", *system.named(), "sink")
    publish(system, "spool/question/b", [3, 4])
    row = wait_until(system, "question", lambda row: row["late"] == 2)
    system.command("restart", *system.named(), "sink")
    row = system.wait_drained(60).flows["question"]
    found = ends(system)
    gained = {name: found.get(name, 0) - before.get(name, 0) for name in ("answered", "taken", "late")}
    checks.expect_equal("each_question_has_one_end", gained, {"answered": 2, "taken": 1, "late": 2})
    checks.expect("late_questions_are_counted", row["done"] == 3 and row["late"] == 2 and is_reconciled(row), row)


class System(crenel.System):
    def wait_running_but(self, stopped, deadline_s=60):
        """Until every process serves, but the one that an operator stopped."""
        end = time.monotonic() + deadline_s
        while True:
            ps = self.ps()
            states = {row["state"] for row in ps["processes"] + ps["unikernels"]
                      if row.get("name", row.get("unikernel")) != stopped}
            if ps["phase"] == "running" and states == {"running"}:
                return
            if time.monotonic() > end:
                raise crenel.Failed(f"not running again in {deadline_s} s: {ps['phase']}, {states}")
            time.sleep(0.1)


def main():
    system = System(os.path.join(checks.BUILD, "tests", "spool"), checks.BUILD, SOURCE, first_port=18880)
    good = {}
    try:
        system.prepare()
        system.up()
        checks.run("slow", lambda: test_slow(system))
        for name, test in (("newest", test_newest), ("fresh", test_fresh), ("poison", test_poison)):
            checks.run(name, lambda: good.__setitem__(name, test(system)))
        checks.run("deadline", lambda: test_deadline(system))
        checks.expect("acceptance 8: receiver away: the spool stays under its caps, order and time to live are kept, "
                      "counts reconcile, poison does not stop the rest", len(good) == 3 and all(good.values()), good)
        checks.expect("spool_leaves_a_good_audit_log", *system.audit_verify())
        checks.expect_equal("down_after_spool_ends_well", system.down(), 0)
    except Exception as failure:  # reported
        checks.expect("spool_runs", False, failure)
    finally:
        system.down()
    checks.finish()


main()
