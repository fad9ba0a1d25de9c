#!/usr/bin/python3
"""The checks of flow state in system.yaml: what is taken, what is refused with which mend, what policy says of it."""
import json, os, shutil, subprocess, sys, tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
CRENEL = os.path.join(ROOT, os.environ.get("CRENEL_BUILD", "build"), "bin", "crenel")

GOOD = """system: plant
tenant: works
security_version: 1
limits: best-effort
principals: [press-7]
unikernels:
  sense: {source: sense, memory: 8MiB, cpu: 50%, instances: 2, deadline: 100ms}
  ctl:   {source: ctl, memory: 8MiB, cpu: 50%, instances: 2, deadline: 100ms, fan_out: 1}
machines:
  valve: {start: closed, states: [closed, open, broken], transitions: [
    {from: closed, when: {op: open, value: [0, 9.500]}, to: open},
    {from: open, when: {op: close}, to: closed},
    {from: [closed, open], when: {op: stop}, to: broken}]}
flows:
  start:   {from: sense.again, to: [sense.start], durable: {cap: 9}, rate: {per_second: 10, burst: 10}, principals: anyone}
  reading: {from: sense.reading, to: [ctl.reading], key: sensor, keys: 4096, principals: anyone,
            rate: [{per_second: 1000, burst: 1000}, {per_second: 100, burst: 200, per: key}],
            bytes: {per_second: 64KiB, burst: 128KiB, per: key},
            sequence: {field: sequence, window: 64}, fresh: {field: time_ms, within: 5s},
            steps: [{field: value, most: 2.000}, {field: level, most: 5, within: 1h}], slopes: [{field: value, most: 0.500, per: 1s}, {field: level, most: 3, per: 2s, time: time_ms}]}
  command: {from: ctl.command, to: [sense.command], durable: {cap: 100, time_to_live: 1min}, key: site, keys: 1000, machine: valve, actuator: true,
            sequence: {field: sequence, order: strict}, rate: {per_second: 10, burst: 10}, principals: anyone}
"""
SENSE = """unikernel: sense
release: 1.0.0
security_version: 1
memory: {arena: 4KiB, stack: 4KiB}
deadline: 1s
schemas: [../reading.yaml, ../command.yaml, ROOT/schemas/tick.yaml]
inputs: [{flow: start, schema: tick/1}, {flow: command, schema: command/1}]
outputs: [{flow: reading, schema: reading/1, most: 2}, {flow: again, schema: tick/1, most: 1}]
"""
CTL = """unikernel: ctl
release: 1.0.0
security_version: 1
memory: {arena: 4KiB, stack: 4KiB}
deadline: 1s
schemas: [../reading.yaml, ../command.yaml]
inputs: [{flow: reading, schema: reading/1}]
outputs: [{flow: command, schema: command/1, most: 1}]
"""
READING = """schema: reading/1
fields:
  - {name: sensor, type: u32, min: 1, max: 4096}
  - {name: value, type: i32, decimals: 3, min: -40.000, max: 150.000, unit: Cel}
  - {name: level, type: u16, min: 0, max: 100}
  - {name: sequence, type: u64, min: 1, max: 9007199254740991}
  - {name: time_ms, type: i64, min: 946684800000, max: 4102444800000, unit: ms}
  - {name: label, type: string, most: 8, class: token}
"""
COMMAND = """schema: command/1
fields:
  - {name: op, type: enum, of: [open, close, stop]}
  - {name: value, type: u32, decimals: 3, min: 0, max: 10.000}
  - {name: sequence, type: u64, min: 1, max: 1000000}
  - {name: site, type: string, most: 8, class: token}
"""
# name: (text in GOOD, instead, what must be said)
BAD = {
    "unknown_check_field": ("field: value, most: 2.000", "field: valeu, most: 2.000", "there is no step field 'valeu'"),
    "step_of_text": ("field: value, most: 2.000", "field: label, most: 2", "'label' cannot be the step field of flow 'reading'"),
    "step_decimals": ("most: 2.000", "most: 2.0001", "'most: 2.0001' is no distance of 'value'"),
    "step_negative": ("most: 2.000", "most: -2", "'most: -2' is no distance of 'value'"),
    "step_without_most": (", most: 2.000", "", "'most' is missing"),
    "step_twice": ("steps: [", "steps: [{field: value, most: 1}, ", "flow 'reading' checks 'value' twice"),
    "slope_twice": ("slopes: [", "slopes: [{field: level, most: 1, per: 1s}, ", "flow 'reading' checks 'level' twice"),
    "window_size": ("window: 64", "window: 100", "a window of 100 numbers"),
    "window_and_order": ("window: 64", "window: 64, order: strict", "'order' and 'window'"),
    "unknown_order": ("order: strict", "order: loose", "'order: loose' is not known"),
    "fresh_without_unit": ("fresh: {field: time_ms", "fresh: {field: sequence", "the field 'sequence' of reading/1 does not say in what it counts time"),
    "fresh_without_within": (", within: 5s", "", "'within' is missing in 'fresh'"),
    "slope_without_per": ("most: 0.500, per: 1s", "most: 0.500", "'per' is missing"),
    "slope_time_of_text": ("time: time_ms", "time: label", "'label' cannot be the time field of flow 'reading'"),
    "rate_twice": ("burst: 200, per: key", "burst: 200, per: flow", "two rates per flow"),
    "rate_per_flow_and_connection": ("burst: 200, per: key", "burst: 200, per: connection", "the sender of flow 'reading' has no connections"),
    "rate_below_event": ("burst: 200, per: key", "burst: 1, per: key", "one event may send 2 messages on flow 'reading', more than its burst"),
    "bytes_below_event": ("burst: 128KiB", "burst: 64B", "one event may send 96 bytes on flow 'reading', more than its burst"),
    "rate_per_key_without_key": ("rate: {per_second: 10, burst: 10}, principals: anyone}\n  reading", "rate: {per_second: 10, burst: 10, per: key}, principals: anyone}\n  reading",
                                 "flow 'start' has no key"),
    "keys_of_nothing": ("durable: {cap: 9},", "durable: {cap: 9}, keys: 5,", "has a number of keys but no check that remembers"),
    "text_keys_without_number": ("key: site, keys: 1000,", "key: site,", "flow 'command' remembers something of each key but has no number of keys"),
    "too_many_keys": ("keys: 4096", "keys: 1000001", "'keys: 1000001' is out of range"),
    "state_memory": ("tenant: works", "tenant: works\nstate_memory: 64KiB", "KiB of at most 64 KiB, most of them of flow 'reading'"),
    "unknown_machine": ("machine: valve", "machine: pump", "there is no machine 'pump'"),
    "unused_machine": ("machine: valve, ", "", "no flow uses machine 'valve'"),
    "unknown_start": ("start: closed", "start: shut", "there is no state 'shut'"),
    "unknown_state": ("to: broken}", "to: brocken}", "did you mean 'broken'?"),
    "state_twice": ("open, broken]", "open, open, broken]", "state 'open' is here twice"),
    "unreached_state": ("open, broken]", "open, broken, ajar]", "no transition leads to state 'ajar' of machine 'valve'"),
    "unknown_condition": ("when: {op: close}", "when: {oop: close}", "did you mean 'op'?"),
    "impossible_condition": ("when: {op: close}", "when: {op: shut}", "'op' can never be 'shut'"),
    "impossible_range": ("[0, 9.500]", "[0, 11]", "'value' can never be '11'"),
    "inverted_range": ("[0, 9.500]", "[9.500, 0]", "the lowest is above the highest"),
    "ambiguous": ("{from: open, when: {op: close}, to: closed}", "{from: open, when: {op: close}, to: closed}, {from: open, when: {value: 3}, to: broken}",
                  "a message may fit two transitions from 'open', to 'closed' and to 'broken'"),
    "actuator_forgets": ("durable: {cap: 100, time_to_live: 1min}, key: site", "key: site", "its state would not be kept"),
    "actuator_observes": ("actuator: true", "actuator: true, observe: true", "leads to an actuator and must refuse"),
    "observe_before_actuator": ("key: sensor, keys: 4096,", "key: sensor, keys: 4096, observe: true,",
                                "flow 'reading' only observes, but 'ctl' acts on it by the actuator flow 'command'"),
    "check_of_nothing": ("fan_out: 1", "fan_out: 0", "'fan_out: 0' is out of range"),
}


def result(name, problem):
    print(f"not ok checks_{name} - {problem}" if problem else f"ok checks_{name}")


def run(*arguments):
    return subprocess.run([CRENEL, "policy", *arguments], capture_output=True, text=True, cwd=folder)


def write(name, text):
    with open(name, "w", encoding="utf-8") as out:
        out.write(text)


def build():
    for name, text in (("reading.yaml", READING), ("command.yaml", COMMAND), ("system.yaml", GOOD)):
        write(name, text)
    for name, text, handlers in (("sense", SENSE, (("start", "tick"), ("command", "command"))),
                                 ("ctl", CTL, (("reading", "reading"),))):
        os.mkdir(name)
        write(f"{name}/unikernel.yaml", text.replace("ROOT", ROOT))
        write(f"{name}/main.c", f'#include "{name}.h"\n\n' + "\n".join(
            f"void on_{flow}(const struct event *event, const struct {schema} *message)\n{{\n    (void)event;\n    (void)message;\n}}\n"
            for flow, schema in handlers))


def main():
    build()
    good = run("check", ".", "--build", "images", "--json")
    result("good", None if good.returncode == 0 else good.stderr[:600])
    if good.returncode != 0:
        return
    flows = {row["flow"]: row["checks"] for row in json.loads(good.stdout)["flows"]}
    line = {text: number for number, row in enumerate(GOOD.split("\n"), 1) for text in ("most: 2.000", "machine: valve") if text in row}
    wanted = {"fresh time_ms": "within 5s of the host's clock", "replay sequence": "at most 63 behind the highest",
              "step value": f"at most 2.000 from one message of a sensor to the next (line {line['most: 2.000']})",
              "step level": "at most 5 from one message of a sensor to the next within 3600s",
              "slope value": "0.500 in 1s for each sensor, by the host's clock", "slope level": "3 in 2000 ms for each sensor, by time_ms",
              "rate sensor": "100 a second, burst 200, for each sensor; more is refused", "bytes sensor": "65536 a second, burst 131072",
              "keys": "4096, ", "rate": "1000 a second, burst 1000"}
    missing = {name: flows["reading"].get(name) for name, text in wanted.items() if text not in flows["reading"].get(name, "")}
    result("in_words", str(missing) if missing else None)
    command = flows["command"]
    result("machine_in_words", None if f"(line {line['machine: valve']})" in command.get("machine valve", "") and "1000 at most" in command["keys"]
           and "acts on the world" in command["actuator"] and command.get("  way 1", "").startswith("closed (start): ")
           and " -> " in command["  way 1"] else str(command))
    run("check", ".", "--build", "images", "--output", "one.bin")
    run("check", ".", "--build", "images", "--output", "two.bin")
    with open("one.bin", "rb") as one, open("two.bin", "rb") as two:
        result("twice_the_same_bytes", None if one.read() == two.read() else "they differ")
    # With a sign a state in the store would mean another number: what was the highest would refuse all that follow.
    write("reading.yaml", READING.replace("sequence, type: u64", "sequence, type: i64"))
    run("check", ".", "--build", "images", "--output", "signed.bin")
    seen = run("diff", "one.bin", "signed.bin")
    result("a_sign_begins_a_state_anew", None if "- check replay sequence" in seen.stdout and "- check step value" not in seen.stdout
           else seen.stdout + seen.stderr)
    # So would a time by another clock, or in another unit.
    write("reading.yaml", READING.replace("unit: ms", "unit: us"))
    run("check", ".", "--build", "images", "--output", "unit.bin")
    seen = run("diff", "one.bin", "unit.bin")
    write("reading.yaml", READING)
    write("system.yaml", GOOD.replace(", time: time_ms", ""))
    run("check", ".", "--build", "images", "--output", "clock.bin")
    clock = run("diff", "one.bin", "clock.bin")
    result("another_time_begins_a_state_anew", None if all("- check slope level" in text and "- check slope value" not in text
           for text in (seen.stdout, clock.stdout)) else seen.stdout + clock.stdout + seen.stderr + clock.stderr)
    for name, (old, new, said) in BAD.items():
        if GOOD.count(old) < 1:
            result(name, f"the test is wrong: {old!r} is not in the system")
            continue
        write("system.yaml", GOOD.replace(old, new, 1))
        bad = run("check", ".", "--build", "images")
        problem = None
        if bad.returncode != 1:
            problem = f"exit code {bad.returncode}, {bad.stderr[-200:]!r}"
        elif said not in bad.stderr:
            problem = f"wanted {said!r}, said {bad.stderr[:300]!r}"
        elif "bug of crenel" in bad.stderr or "  mend: " not in bad.stderr or "system.yaml:" not in bad.stderr:
            problem = f"no place or mend: {bad.stderr[:300]!r}"
        result(name, problem)
    # sense observes what comes to it, and ctl acts on what sense says.
    far = GOOD.replace("start:   {from: sense.again, to: [sense.start],", "start:   {from: sense.again, to: [sense.start], observe: true,")
    write("system.yaml", far)
    seen = run("check", ".", "--build", "images")
    result("observe_over_others_is_told", None if seen.returncode == 0 and
           "OBSERVED: what passes 'start' reaches who acts by 'command': sense -reading-> ctl" in seen.stdout else seen.stdout + seen.stderr[:300])
    observe = GOOD.replace(", actuator: true", "").replace("keys: 4096,", "keys: 4096, observe: true,").replace(", most: 2.000", "")
    write("system.yaml", observe)
    seen = run("check", ".", "--build", "images")
    result("observe_is_loud", None if seen.returncode == 0 and "OBSERVED" in seen.stdout else seen.stdout + seen.stderr[:300])


folder = tempfile.mkdtemp(prefix="crenel-checks-")
os.chdir(folder)
try:
    main()
finally:
    os.chdir("/")
    shutil.rmtree(folder)
