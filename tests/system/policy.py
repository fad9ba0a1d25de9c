#!/usr/bin/python3
"""System files that must be refused, each with the error that people are to see; and what policy commands say.

One good system is written, then changed in one place for each case."""
import json, os, shutil, subprocess, sys, tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
CRENEL = os.path.join(ROOT, os.environ.get("CRENEL_BUILD", "build"), "bin", "crenel")

GOOD = """system: small
tenant: works
security_version: 1
limits: best-effort
principals: [press-7, rig-2]
unikernels:
  front: {source: front, memory: 8MiB, cpu: 50%, instances: 4, deadline: 100ms, unused: [spare]}
  parse: {source: parse, memory: 8MiB, cpu: 50%, instances: 2, deadline: 100ms}
  judge: {source: judge, memory: 8MiB, cpu: 50%, instances: 2, deadline: 100ms, configuration: "own line"}
gateways:
  tcp:
    listen: 127.0.0.1:18999
    unikernel: front
    connections: 4
    input: in
    output: out
    topics:
      - {filter: plant/+/t, publish: raw, publish0: raw, principals: [press-7], most: 100B}
      - {filter: plant/news/#, subscribe: news, principals: [rig-2]}
services:
  login: {kind: password, request: ask, reply: answer, file: passwords}
flows:
  in:     {from: gateway:tcp, to: [front.wire], rate: {per_second: 100, burst: 100, per: connection}, principals: anyone}
  out:    {from: front.wire, to: [gateway:tcp], rate: {per_second: 100, burst: 100}, principals: anyone}
  ask:    {from: front.login, to: [service:login], rate: {per_second: 10, burst: 10}, principals: anyone}
  answer: {from: service:login, to: [front.answer], rate: {per_second: 10, burst: 10}, principals: anyone}
  join:   {from: front.join, to: [router:subscription], rate: {per_second: 10, burst: 10}, principals: anyone}
  raw:    {from: front.raw, to: [parse.raw], durable: {cap: 10}, key: topic, rate: {per_second: 10, burst: 10}, principals: [press-7, rig-2]}
  value:  {from: parse.value, to: [judge.value], key: sensor, sequence: number, keys: 16, rate: {per_second: 10, burst: 10}, principals: anyone}
  back:   {from: judge.back, to: [parse.back], durable: {cap: 10, keep: newest}, rate: {per_second: 10, burst: 10}, principals: anyone}
  news:   {from: judge.news, to: [front.news], rate: {per_second: 10, burst: 10}, principals: anyone}
namespaces:
  values: {schema: value/1, key: [sensor], index: [number], records: 10, read: [judge], write: [judge]}
never:
  - {from: outside, to: judge, unless_through: [parse]}
"""

UNIKERNEL = """unikernel: {name}
release: 1.0.0
security_version: 1
lifetime: {lifetime}
isolation: any
memory: {{arena: 4KiB, stack: 4KiB}}
deadline: 1s
schemas: [{schemas}]
inputs: [{inputs}]
outputs: [{outputs}]
{more}
refusals: []
"""
PARTS = {
    "front": dict(lifetime="connection", schemas="{root}/schemas/wire.yaml, {root}/schemas/password-request.yaml, "
                  "{root}/schemas/password-reply.yaml, {root}/schemas/subscription.yaml, {root}/schemas/publish.yaml",
                  inputs="{flow: wire, schema: wire/1}, {flow: answer, schema: password-reply/1}, {flow: news, schema: publish/1}",
                  outputs="{flow: wire, schema: wire/1, most: 1}, {flow: login, schema: password-request/1, most: 1, reply: answer}, "
                  "{flow: join, schema: subscription/1, most: 1}, {flow: raw, schema: publish/1, most: 4}, "
                  "{flow: spare, schema: publish/1, most: 1}", more=""),
    "parse": dict(lifetime="message", schemas="{root}/schemas/publish.yaml, ../value.yaml",
                  inputs="{flow: raw, schema: publish/1}, {flow: back, schema: value/1}",
                  outputs="{flow: value, schema: value/1, most: 1}", more=""),
    "judge": dict(lifetime="message", schemas="{root}/schemas/publish.yaml, ../value.yaml",
                  inputs="{flow: value, schema: value/1}",
                  outputs="{flow: back, schema: value/1, most: 1}, {flow: news, schema: publish/1, most: 1}",
                  more="namespaces: [{name: values, schema: value/1, key: [sensor], index: [number], access: [read, write]}]\nwrites: 1"),
}
VALUE = """schema: value/1
fields:
  - {name: sensor, type: u32, min: 1, max: 9}
  - {name: number, type: u64, min: 0, max: 99}
  - {name: text, type: bytes, most: 80}
  - {name: list, type: array, of: u8, most: 4, min: 0, max: 9}
"""

# name: (text in GOOD, instead, what must be said)
BAD = {
    "unknown_key": ("tenant: works", "tenant: works\ncolour: red", "system.yaml:3: unknown key 'colour'"),
    "did_you_mean": ("cpu: 50%, instances: 4", "cpus: 50%, instances: 4", "did you mean 'cpu'?"),
    "no_memory": ("front, memory: 8MiB,", "front,", "system.yaml:7: 'memory' is missing in 'front'"),
    "no_cpu": ("memory: 8MiB, cpu: 50%, instances: 4", "memory: 8MiB, instances: 4", "'cpu' is missing in 'front'"),
    "no_instances": ("instances: 4, ", "", "'instances' is missing in 'front'"),
    "no_deadline": ("instances: 4, deadline: 100ms", "instances: 4", "'deadline' is missing in 'front'"),
    "no_rate": (", rate: {per_second: 10, burst: 10}, principals: [press-7, rig-2]", ", principals: [press-7, rig-2]", "'rate' is missing in 'raw'"),
    "no_burst": ("per_second: 100, burst: 100, per: connection", "per_second: 100", "'burst' is missing"),
    "no_principals": (", principals: [press-7, rig-2]}", "}", "'principals' is missing in 'raw'"),
    "nobody": ("principals: [press-7, rig-2]}", "principals: []}", "'principals' of 'raw' names nobody"),
    "memory_for_fewer_instances": ("memory: 8MiB, cpu: 50%, instances: 4", "memory: 2MiB, cpu: 50%, instances: 4",
                                   "the memory of 'front' does not hold its 4 instances"),
    "no_unit": ("memory: 8MiB, cpu: 50%, instances: 4", "memory: 1024, cpu: 50%, instances: 4", "'memory: 1024' has no unit"),
    "wrong_unit": ("instances: 4, deadline: 100ms", "instances: 4, deadline: 100MiB", "'deadline: 100MiB' has the wrong unit"),
    "wrong_type": ("instances: 4,", "instances: many,", "'instances: many' is not a number"),
    "wrong_form": ("to: [parse.raw]", "to: parse.raw", "'to' has the wrong form"),
    "too_many": ("instances: 4,", "instances: 100000,", "'instances: 100000' is out of range"),
    "twice": ("tenant: works", "tenant: works\ntenant: other", "system.yaml:3: 'tenant' is here twice"),
    "anchor": ("tenant: works", "tenant: &t works", "anchors and aliases are not allowed"),
    "tag": ("tenant: works", "tenant: !!str works", "tags (!...) are not allowed"),
    "not_yaml": ("tenant: works", "tenant: [works", "not YAML"),
    "bad_name": ("  parse: {", "  Parse: {", "bad name 'Parse'"),
    "unknown_unikernel": ("to: [parse.raw]", "to: [prase.raw]", "there is no unikernel 'prase'"),
    "unknown_port": ("to: [parse.raw]", "to: [parse.row]", "there is no input of 'parse' called 'row'"),
    "unknown_principal": ("principals: [press-7, rig-2]}", "principals: [press-8]}", "did you mean 'press-7'?"),
    "unknown_flow": ("request: ask", "request: aks", "there is no flow 'aks'"),
    "cap_below_one_event": ("durable: {cap: 10}, key: topic", "durable: {cap: 3}, key: topic", "the cap of flow 'raw' has no room for the 4 messages that one event may send"),
    "cap_of_newest": ("durable: {cap: 10}, key: topic", "durable: {cap: 4, keep: newest}, key: topic", "that one event may send beside one that is under way"),
    "bytes_below_one_event": ("durable: {cap: 10}, key: topic", "durable: {cap: 10, bytes: 1KiB}, key: topic", "the bytes of flow 'raw' have no room for what one event may send"),
    "keep_what": ("durable: {cap: 10}, key: topic", "durable: {cap: 10, keep: latest}, key: topic", "write one of: oldest newest"),
    "live_too_short": ("durable: {cap: 10}, key: topic", "durable: {cap: 10, time_to_live: 1ms}, key: topic", "'time_to_live: 1ms' is out of range"),
    "unknown_field": ("key: topic", "key: tpic", "there is no key field 'tpic'"),
    "no_folder": ("source: front", "source: nowhere", "there is no folder 'nowhere'"),
    "both_sources": ("source: front,", "source: front, image: x.img,", "'front' has both source and image"),
    "not_an_image": ("source: parse", "image: value.yaml", "the image of 'parse' is not accepted"),
    "other_schema": ("to: [judge.value]", "to: [parse.raw]", "'parse.value' carries value/1, but 'parse.raw' carries publish/1"),
    "port_twice": ("  join:", "  more: {from: front.raw, to: [parse.raw], rate: {per_second: 1, burst: 9}, principals: anyone}\n  join:", "'front.raw' is already in flow 'more'"),
    "unbound_output": (", unused: [spare]", "", "output 'spare' of 'front' is in no flow"),
    "unbound_input": ("  news:   {from: judge.news, to: [front.news]", "  news:   {from: judge.news, to: [front.nws]", "input 'news' of 'front' is in no flow"),
    "unused_but_used": ("unused: [spare]", "unused: [spare, raw]", "'raw' of 'front' is called unused but is in flow 'raw'"),
    "unused_unknown": ("unused: [spare]", "unused: [spare, rwa]", "'front' has no port 'rwa'"),
    "deadline_too_long": ("instances: 4, deadline: 100ms", "instances: 4, deadline: 2s", "the deadline of 'front' is above the one in its manifest"),
    "key_too_long": ("key: topic", "key: payload", "the key 'payload' of flow 'raw' may be over 136 bytes"),
    "sequence_without_key": ("key: sensor, sequence: number", "sequence: number", "flow 'value' has a sequence but no key"),
    "sequence_without_keys": ("key: sensor, sequence: number, keys: 16, ", "key: text, sequence: number, ",
                              "flow 'value' remembers something of each key but has no number of keys"),
    "sequence_of_bytes": ("sequence: number", "sequence: text", "'text' cannot be the sequence field of flow 'value'"),
    "burst_too_small": ("durable: {cap: 10}, key: topic, rate: {per_second: 10, burst: 10}", "durable: {cap: 10}, key: topic, rate: {per_second: 10, burst: 3}", "one event may send 4 messages on flow 'raw'"),
    "rate_per_connection": ("keys: 16, rate: {per_second: 10, burst: 10}", "keys: 16, rate: {per_second: 10, burst: 10, per: connection}", "the sender of flow 'value' has no connections"),
    "cap_missing": ("durable: {cap: 10}, key", "durable: {}, key", "'cap' is missing in 'durable'"),
    "durable_at_gateway": ("to: [front.wire], rate", "to: [front.wire], durable: {cap: 1}, rate", "flow 'in' touches the host and cannot be durable"),
    "cycle": ("to: [parse.back], durable: {cap: 10, keep: newest}", "to: [parse.back]", "parse -value-> judge -back-> parse"),
    "durable_cycle": ("to: [parse.back], durable: {cap: 10, keep: newest}", "to: [parse.back], durable: {cap: 10}",
                      "let one of these flows be durable: {cap: N, keep: newest}, or with a time_to_live"),
    "never": ("unless_through: [parse]", "unless_through: [front]}\n  - {from: outside, to: judge", "gateway:tcp -in-> front -raw-> parse -value-> judge"),
    "never_namespace": ("{from: outside, to: judge, unless_through: [parse]}", "{from: parse, to: namespace:values}", "parse -value-> judge -writes-> namespace:values"),
    "never_unknown": ("to: judge, unless", "to: juge, unless", "there is no 'juge'"),
    "reply_missing": ("  answer: {from: service:login, to: [front.answer]", "  answer: {from: service:login, to: [front.news]", "'service:login' sends a reply, but 'front.news' takes a plain message"),
    "gateway_flow": ("input: in\n", "input: raw\n", "'input: raw' is not a flow from 'tcp'"),
    "gateway_lifetime": ("unikernel: front", "unikernel: parse", "'parse' cannot serve connections"),
    "gateway_connections": ("connections: 4\n", "connections: 5\n", "5 connections, but 'front' has 4 instances"),
    "bad_address": ("127.0.0.1:18999", "127.0.0.1", "is not an address with a port"),
    "bad_filter": ("plant/+/t", "plant+/t", "'plant+/t' is not a topic filter"),
    "topic_principals": ("principals: [press-7, rig-2]}", "principals: [rig-2]}", "this topic lets principals publish that flow 'raw'"),
    "topic_flow": ("publish: raw,", "publish: value,", "'publish: value' does not begin at 'front'"),
    "topic_subscribe": ("subscribe: news", "subscribe: raw", "'subscribe: raw' brings no messages to 'front'"),
    "namespace_right": ("write: [judge]", "write: [judge, parse]", "the manifest of 'parse' does not ask to write 'values'"),
    "namespace_not_granted": ("read: [judge], ", "read: [], ", "'judge' reads 'values', which is not granted"),
    "namespace_missing": ("  values: {schema", "  other: {schema", "'judge' uses the namespace 'values', which does not exist"),
    "namespace_schema": ("schema: value/1", "schema: value/2", "namespace 'values' says value/2, its users say value/1"),
    "namespace_key": ("key: [sensor], index", "key: [number], index", "key or index of 'values' differ from the manifest of 'judge'"),
    "namespace_key_long": ("index: [number]", "index: [text]", "a key of 'values' may be over 64 bytes"),
    "namespace_key_array": ("index: [number]", "index: [list]", "field 'list' cannot be part of 'index'"),
    "security_version": ("security_version: 1", "security_version: 0", "'security_version: 0' is out of range"),
    "isolation": ("instances: 4,", "instances: 4, isolation: none,", "'isolation: none' is not known"),
}

failures = 0


def result(name, problem):
    global failures
    if problem:
        failures += 1
        print(f"not ok policy_{name} - {problem}")
    else:
        print(f"ok policy_{name}")


def run(*arguments):
    return subprocess.run([CRENEL, "policy", *arguments], capture_output=True, text=True, cwd=folder)


def write(text):
    with open("system.yaml", "w", encoding="utf-8") as out:
        out.write(text)


def main():
    for name, part in PARTS.items():
        os.mkdir(name)
        with open(os.path.join(name, "unikernel.yaml"), "w", encoding="utf-8") as out:
            out.write(UNIKERNEL.format(name=name, **{k: v.replace("{root}", ROOT) for k, v in part.items()}))
        handlers = [p.split(",")[0].split(":")[1].strip() for p in part["inputs"].split("{")[1:]]
        types = [p.split("schema:")[1].split("/")[0].strip().replace("-", "_") for p in part["inputs"].split("{")[1:]]
        with open(os.path.join(name, "main.c"), "w", encoding="utf-8") as out:
            out.write(source(name, handlers, types))
    with open("value.yaml", "w", encoding="utf-8") as out:
        out.write(VALUE)
    write(GOOD)
    good = run("check", ".", "--build", "images")
    result("good", None if good.returncode == 0 and "1 of 1 'never' rules hold" in good.stdout else good.stderr[:400])
    if good.returncode != 0:
        return
    run("check", ".", "--build", "images", "--output", "one.bin")
    shutil.rmtree("images")
    run("check", ".", "--build", "images", "--output", "two.bin")
    one, two = open("one.bin", "rb").read(), open("two.bin", "rb").read()
    result("twice_the_same_bytes", None if one == two and len(one) > 1000 else f"{len(one)} and {len(two)} bytes differ")
    rules = b"own line"  # of judge; front's own text is empty
    topics = (b"publish 3 1 100 1 plant/+/t\npublish0 3 1 100 1 plant/+/t\nsubscribe 2 0 0 2 plant/news/#\n")
    result("topics_become_configuration", None if topics in one and rules in one else repr(one[-300:]))
    for name, (old, new, said) in BAD.items():
        if GOOD.count(old) < 1:
            result(name, f"the test is wrong: {old!r} is not in the system")
            continue
        write(GOOD.replace(old, new, 1))
        bad = run("check", ".", "--build", "images")
        problem = None
        if bad.returncode != 1:
            problem = f"exit code {bad.returncode}, {bad.stderr[-200:]!r}"
        elif said not in bad.stderr:
            problem = f"wanted {said!r}, said {bad.stderr[:300]!r}"
        elif "bug of crenel" in bad.stderr or "  mend: " not in bad.stderr:
            problem = f"no mend: {bad.stderr[:300]!r}"
        result(name, problem)
    write(GOOD.replace("memory: 8MiB, cpu", "cpu").replace("to: [parse.raw]", "to: [parse.row]").replace("tenant", "tennant"))
    many = run("check", ".", "--build", "images").stderr
    result("all_errors_in_one_run", None if all(s in many for s in ("'memory' is missing in 'front'", "'memory' is missing in 'judge'",
           "called 'row'", "unknown key 'tennant'", "'tenant' is missing")) else many[:400])
    write(GOOD)
    explain()


def explain():
    yes = run("explain", ".", "parse", "judge", "--json", "--build", "images")
    answer = json.loads(yes.stdout or "{}")
    flow = (answer.get("flows") or [{}])[0]
    line = [i for i, t in enumerate(GOOD.split("\n"), 1) if t.startswith("  value:")][0]
    result("explain_allowed", None if yes.returncode == 0 and answer["allowed"] and flow["flow"] == "value" and
           flow["line"] == line and "must rise for each sensor" in flow["checks"]["replay number"] else yes.stdout[:300])
    no = run("explain", ".", "outside", "judge", "--build", "images")
    result("explain_refused", None if no.returncode == 5 and "gateway:tcp -in-> front -raw-> parse -value-> judge" in no.stdout else no.stdout[:300])
    none = run("explain", ".", "service:login", "nobody", "--build", "images")
    result("explain_unknown", None if none.returncode == 3 else none.stderr[:300])


def source(name, handlers, types):
    """A unikernel that does nothing: what matters here is its manifest."""
    lines = [f'#include "{name}.h"', ""]
    return "\n".join(lines + [f"void on_{h}(const struct event *event, const struct {t} *message)\n"
                              "{\n    (void)event;\n    (void)message;\n}\n" for h, t in zip(handlers, types)])


folder = tempfile.mkdtemp(prefix="crenel-policy-")
os.chdir(folder)
try:
    main()
finally:
    os.chdir("/")
    shutil.rmtree(folder)
sys.exit(failures != 0)
