#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Flow state of a running system: it survives kill -9 of every process, is named in dead letters, can be
forgotten key by key, and is learned from."""
import os
import re
import subprocess
import time

import checks
import clients
import crenel

TIME = "2013-12-02T21:15:00"


class System(crenel.System):
    def prepare(self):
        super().prepare()
        self.change("sequence: sequence,", "sequence: {field: sequence, window: 64}, steps: [{field: value, most: 50.000}],")

    def change(self, what, to):
        with open(self.file, encoding="utf-8") as file:
            text = file.read()
        if what not in text:
            raise crenel.Failed(f"the example has no {what!r}")
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(text.replace(what, to))

    def line(self, what):
        with open(self.file, encoding="utf-8") as file:
            return next(number for number, row in enumerate(file, 1) if what in row)

    def send(self, *readings):
        """Each (sequence, celsius) of press-7; what reading counts and the reasons of raw's dead letters by then."""
        device = clients.Device(self.port, "press-7", self.passwords["press-7"], "press-7-state").connect()
        for sequence, celsius in readings:
            device.publish([(clients.TOPIC, clients.reading_text(7, sequence, TIME, celsius))])
        device.close()
        counts = self.wait_drained(60)
        reasons = [letter["reason"] for letter in sorted(self.dead_letters(), key=lambda letter: letter["id"])]
        return counts.flows["reading"]["entered"] // 2, reasons  # two receivers


def test_restarts(system):
    checks.expect_equal("acceptance 3: late numbers of a window are taken once",
                        system.send((100, 20), (50, 21), (99, 22), (50, 23), (99, 24), (36, 25)), (3, ["replay"] * 3))
    taken, refused = 3, 3
    for process in ("decode", "router", "store", "router"):
        pid = system.unikernel("decode")["pid"] if process == "decode" else system.process_pid(process)
        crenel.kill(pid)
        time.sleep(0.3)
        system.wait_running()
        found = system.send((50, 20), (99, 20), (100 + taken, 20), (100, 20))
        taken, refused = taken + 1, refused + 3
        checks.expect_equal(f"acceptance 3: a restart of {process} changes nothing",
                            (found[0], found[1][-3:], len(found[1])), (taken, ["replay"] * 3, refused))


def test_step(system):
    before = system.send()[0]
    good, reasons = system.send((300, 20), (301, 120), (302, 30), (303, -35), (304, 31))
    checks.expect_equal("acceptance 6: good, bad, good, bad", (good - before, reasons[-2:]), (3, ["step", "step"]))
    last = max(system.dead_letters(), key=lambda letter: letter["id"])
    shown = system.command("deadletter", "show", *system.named(), str(last["id"]))
    checks.expect("a dead letter names field and line", f"step reading.value (system.yaml:{system.line('most: 50.000')})" in shown,
                  shown)
    status = system.command("status", *system.named())
    checks.expect("status names the line", f"refused by system.yaml:{system.line('most: 50.000')} since the router started: 2"
                  in status, status)


def state(system, action, *arguments):
    return subprocess.run([system.program, "state", action, *arguments], env=system.environment, cwd=system.work,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)


def test_forget(system):
    """An operator looks at what is held of a key, and has it forgotten: the device counts from 1 again."""
    rows = system.lines("state", "list", *system.named(), "reading")
    checks.expect("state list shows each key with what its checks remember", len(rows) == 1 and rows[0]["key"] == 7 and
                  rows[0]["state"]["replay sequence"] == "highest 304" and rows[0]["state"]["step value"].startswith("31.000 at 20"),
                  rows)
    before = system.send((1, 31))[0]
    refused = state(system, "forget", *system.named(), "reading", "7")
    checks.expect("to forget a key wants consent", refused.returncode == 5 and "can be taken again" in refused.stderr and
                  "mend: " in refused.stderr, refused)
    done = state(system, "forget", *system.named(), "reading", "7", "--yes")
    checks.expect("a key is forgotten", done.returncode == 0 and "the state of 7 is forgotten" in done.stdout, done)
    checks.expect_equal("its checks begin anew", system.send((1, 31), (1, 31))[0], before + 1)
    again = [state(system, "forget", *system.named(), flow, key, "--yes") for flow, key in
             (("reading", "8"), ("reading", "x"), ("readin", "7"), ("wire_in", "-"))]
    checks.expect("what is not there cannot be forgotten", all(done.returncode != 0 and "mend: " in done.stderr for done in again),
                  again)
    rows = [row.get("record", row) for row in system.audit_records()]
    rows = [row for row in rows if row.get("op") == "state" and row.get("action") == "forget"]
    checks.expect("the audit log names flow and key", [(row["flow"], row["key"]) for row in rows] == [("reading", "00000007")], rows)


def learn(system, *arguments, feed=None):
    return subprocess.run([system.program, "policy", "learn", *arguments], env=system.environment, cwd=system.work,
                          input=feed, capture_output=True, text=True, timeout=60, check=False)


def test_learn(system):
    none = learn(system, system.file)
    checks.expect("learn wants a flow that observes", none.returncode == 3 and "observe: true" in none.stderr, none)
    system.down()
    system.change(", most: 50.000", "")
    system.change("keys: 4096,", "keys: 4096, observe: true,")
    said = system.command("up", "--yes", "--detach", system.file, timeout=180)
    checks.expect("up says that a flow only observes", "flow reading ONLY OBSERVES" in said, said)
    before, reasons = system.send()
    after = system.send((400, 20), (400, 20.5), (401, 90.25), (402, 10))
    checks.expect_equal("what observes refuses nothing", (after[0] - before, after[1]), (4, reasons))
    status = system.json("status", *system.named())
    flow = next(row for row in status["flows"] if row["flow"] == "reading")
    ps = system.command("ps", *system.named())
    checks.expect("it is counted and said loudly", flow["observed"] == 1 and "PROBLEM: flow reading ONLY OBSERVES" in ps, (flow, ps))
    said = learn(system, system.file)
    wanted = ("from 4 messages", "sequence: {field: sequence, window: 64}    # some came twice", "{field: value, most: 100.313}",
              "rate: {per_second: 1, burst: 4, per: key}", "field value: from 10.000 to 90.250")
    checks.expect("learn proposes from what came", said.returncode == 0 and all(text in said.stdout for text in wanted), said)
    lines = "".join(f'{{"time_ms": {1700000000000 + 500 * i}, "message": {{"sensor": 3, "value": {20 + i % 3}, '
                    f'"sequence": {i + 1}, "time_ms": "1700000000000"}}}}\n' for i in range(40))
    said = learn(system, system.file, "reading", feed=lines + "nonsense\n")
    wanted = ("from 40 messages", "sequence: {field: sequence, window: 64}", "steps: [{field: value, most: 2.500}]",
              "slopes: [{field: value, most: 5.000, per: 1000ms}]", "# 1 of 41 lines were left out")
    checks.expect("learn proposes from lines", said.returncode == 0 and all(text in said.stdout for text in wanted), said)
    rate = re.search(r"rate: (\{per_second: .*\})", said.stdout)
    proposal = re.search(r"steps: .*", said.stdout).group(0) + ",\n             " + re.search(r"slopes: .*", said.stdout).group(0) + ","
    system.change("observe: true,", "")
    system.change("steps: [{field: value}],", proposal)
    system.change("rate: {per_second: 5000, burst: 5000}, principals: [press-7, rig-2]}",
                  f"rate: [{{per_second: 5000, burst: 5000}}, {rate.group(1)}], principals: [press-7, rig-2]}}")
    checks.expect("what is proposed can be pasted", "never' rules hold" in system.command("policy", "check", system.file))


def main():
    system = System(os.path.join(checks.BUILD, "tests", "flow_state"), checks.BUILD, first_port=18890)
    try:
        system.prepare()
        system.up()
        checks.run("restarts", lambda: test_restarts(system))
        checks.run("step", lambda: test_step(system))
        checks.run("forget", lambda: test_forget(system))
        checks.run("learn", lambda: test_learn(system))
        checks.expect_equal("down_after_flow_state_ends_well", system.down(), 0)
    except Exception as failure:  # reported
        checks.expect("flow_state_runs", False, failure)
    finally:
        system.down()
    checks.finish()


main()
