#!/usr/bin/python3
"""System files that must be refused, each with the error that people are to see; and what policy commands say.

One good system is written, then changed in one place for each case."""
import json, os, re, shutil, subprocess, sys, tempfile
from xml.etree import ElementTree

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

# Flows to and from other nodes: what is replaced in GOOD, each (old, new), and what is said.
COURIER = ("services:\n", "couriers: {cloud: {connect: '192.0.2.7:8883', certificate: c, key: k, authority: a, peer: a}}\nservices:\n")
VALUE = "  value:  {from: parse.value, to: [judge.value], key: sensor, sequence: number, keys: 16,"
REST = "durable: {cap: 10}, rate: {per_second: 10, burst: 10}, principals: anyone}\n"


def value(start, more=""):
    return (VALUE, more + "  value:  {" + start + ", key: sensor, sequence: number, keys: 16,")


def service(kind, more):
    return ("services:\n", f"services:\n  turn: {{kind: {kind}, key: k, channel: press, {more}}}\n")


TO_CLOUD = "from: parse.value, to: [judge.value, courier:cloud]"
NODES = {
    "courier_unknown": ([value(TO_CLOUD)], "there is no courier 'cloud'"),
    "courier_volatile": ([COURIER, value(TO_CLOUD)], "flow 'value' is at a courier or at a service that seals or signs, and must be durable"),
    "courier_of_no_name": ([COURIER, ("192.0.2.7", "cloud..example")], "'cloud..example:8883' is not an address or name with a port"),
    "courier_of_no_number": ([COURIER, ("192.0.2.7", "192.0.2.777")], "'192.0.2.777:8883' is not an address or name with a port"),
    "courier_listens_at_a_name": ([COURIER, ("connect: '192.0.2.7", "listen: 'cloud.example")], "'cloud.example:8883' is not an address with a port"),
    "courier_resolver": ([COURIER, ("'192.0.2.7:8883'", "'cloud.example:8883', resolver: 192.0.2.53")], "'resolver: 192.0.2.53' is not an address with a port"),
    "courier_resolver_of_an_address": ([COURIER, ("'192.0.2.7:8883'", "'192.0.2.7:8883', resolver: '192.0.2.53:53'")], "unknown key 'resolver'"),
    "courier_both_ways": ([COURIER, ("peer: a", "listen: '0.0.0.0:1', peer: a")], "courier 'cloud' has both"),
    "courier_for_many": ([COURIER, ("connect:", "listen:"), ("peer: a", "peers: [a, b]"), value(TO_CLOUD + ", durable: {cap: 10}")],
                         "'courier:cloud' has several peers: nobody says to whom the flow 'value' goes"),
    "courier_to_a_stranger": ([COURIER, ("connect:", "listen:"), ("peer: a", "peers: [a, b]"), value(TO_CLOUD.replace("]", "/c]") + ", durable: {cap: 10}")],
                              "courier 'cloud' has no peer 'c'"),
    "courier_peer_twice": ([COURIER, ("connect:", "listen:"), ("peer: a", "peers: [a, a]")], "peer 'a' is here twice"),
    "courier_of_no_topic": ([COURIER, ("connect:", "transport: mqtt5, connect:")], "'topic' is missing in 'cloud'"),
    "courier_of_all_topics": ([COURIER, ("connect:", "transport: mqtt5, topic: 'plant/#', connect:")], "'plant/#' is not a topic"),
    "courier_without_password": ([COURIER, ("connect:", "transport: mqtt5, topic: plant, user: hub, connect:")], "'password_file' is missing in 'cloud'"),
    "courier_of_tls_with_a_broker": ([COURIER, ("connect:", "broker_authority: b, connect:")], "unknown key 'broker_authority'"),
    "courier_of_tls_with_a_topic": ([COURIER, ("connect:", "topic: plant, connect:")], "unknown key 'topic'"),
    "courier_at_a_broker_for_many": ([COURIER, ("connect:", "transport: mqtt5, topic: plant, listen:"), ("peer: a", "peers: [a, b]")],
                                     "courier 'cloud' is at a broker and has several peers"),
    "courier_without_key": ([COURIER, ("key: k, authority", "authority")], "'key' is missing in 'cloud'"),
    "courier_through": ([COURIER, value("from: courier:cloud, to: [courier:cloud], durable: {cap: 10}")], "'courier:cloud' cannot send to 'courier:cloud'"),
    "seal_not_allowed": ([COURIER, service("seal", "input: value, output: box"), value("from: parse.value, to: [judge.value, service:turn], durable: {cap: 10}",
                          "  box: {from: service:turn, to: [courier:cloud], " + REST)], "sealed"),
    "sealed_played_again": ([COURIER, service("open", "input: box, output: value"), value("from: service:turn, to: [judge.value], durable: {cap: 10}",
                             "  box: {from: courier:cloud, to: [service:turn], sealed: allowed, " + REST)],
                            "nothing refuses what is played again on flow 'box' to 'turn'"),
    "signed_of_nothing": ([COURIER, service("sign", "input: value, output: box"), value("from: courier:cloud, to: [service:turn], durable: {cap: 10}",
                           "  box: {from: service:turn, to: [courier:cloud], " + REST)], "nothing says which schema flow"),
    "channel_missing": ([service("sign", "input: value, output: box"), ("channel: press, ", "")], "'channel' is missing in 'turn'"),
}

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
    "receipts_volatile": ("  join:", "  told: {from: router:receipts, to: [judge.told]}\n  join:", "there is no input of 'judge' called 'told'"),
    "receipts_to": ("to: [router:subscription]", "to: [router:receipts]", "nothing goes to router:receipts"),
    "receipts_schema": ("value:  {from: parse.value,", "value:  {from: router:receipts, durable: {cap: 9},", "must carry receipt/1"),
    "deadline_of_request": ("to: [service:login], rate", "to: [service:login], deadline: 2s, rate", "takes no receipts and would not learn of it"),
    "deadline_of_message": ("to: [parse.raw], durable", "to: [parse.raw], deadline: 2s, durable", "unknown key 'deadline'"),
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

# What a change of GOOD opens, closes, or merely changes, as `policy diff` says it: (text in GOOD, instead, where, said)
DIFFS = {
    "nothing": ("tenant: works", "tenant: works", None, None),
    "rate": ("durable: {cap: 10}, key: topic, rate: {per_second: 10,", "durable: {cap: 10}, key: topic, rate: {per_second: 11,", "more_open", ("flow raw", "rate 10 -> 11 a second")),
    "lower_rate": ("durable: {cap: 10}, key: topic, rate: {per_second: 10,", "durable: {cap: 10}, key: topic, rate: {per_second: 9,", "less_open", ("flow raw", "rate 10 -> 9 a second")),
    "burst": ("key: topic, rate: {per_second: 10, burst: 10}", "key: topic, rate: {per_second: 10, burst: 20}", "more_open", ("flow raw", "burst 10 -> 20")),
    "cap": ("durable: {cap: 10}, key", "durable: {cap: 11}, key", "more_open", ("flow raw", "cap 10 -> 11")),
    "lower_cap": ("durable: {cap: 10}, key", "durable: {cap: 9}, key", "less_open", ("flow raw", "cap 10 -> 9")),
    "newest": ("durable: {cap: 10}, key", "durable: {cap: 10, keep: newest}, key", "different", ("flow raw", "when it is full senders wait -> the oldest gives way")),
    "time_to_live": ("durable: {cap: 10}, key", "durable: {cap: 10, time_to_live: 10s}, key", "less_open", ("flow raw", "time to live none -> 10000 ms")),
    "bytes": ("durable: {cap: 10}, key", "durable: {cap: 10, bytes: 64KiB}, key", "more_open", ("flow raw", " -> 65536 bytes")),
    "durable": ("to: [front.news], rate", "to: [front.news], durable: {cap: 10}, rate", "different", ("flow news", "kept volatile -> durable")),
    "principal_removed": ("principals: [press-7, rig-2]}", "principals: [press-7]}", "less_open", ("flow raw", "- principal rig-2")),
    "anyone": ("principals: [press-7, rig-2]}", "principals: anyone}", "more_open", ("flow raw", "principals press-7, rig-2 -> anyone")),
    "new_principal": ("principals: [press-7, rig-2]\n", "principals: [eve, press-7, rig-2]\n", "more_open", ("principals", "+ principal eve")),
    "topic": ("principals: [rig-2]}\n", "principals: [rig-2]}\n      - {filter: plant/all, subscribe: news, principals: anyone}\n", "more_open", ("topic plant/all", "+ subscribe: news, principals anyone")),
    "topic_principal": ("subscribe: news, principals: [rig-2]}", "subscribe: news, principals: [rig-2, press-7]}", "more_open", ("topic plant/news/#", "subscribe: principals rig-2 -> press-7, rig-2")),
    "topic_publish0": ("publish0: raw, principals: [press-7], most: 100B", "principals: [press-7], most: 100B", "less_open", ("topic plant/+/t", "- publish0: raw")),
    "topic_removed": ("      - {filter: plant/news/#, subscribe: news, principals: [rig-2]}\n", "", "less_open", ("topic plant/news/#", "- subscribe: news")),
    "order": ("key: topic, ", "", "more_open", ("flow raw", "order by topic -> none")),
    "replay": ("sequence: number, keys: 16, ", "", "more_open", ("flow value", "- check replay number: must rise for each sensor")),
    "replay_window": ("sequence: number", "sequence: {field: number, window: 64}", "more_open", ("flow value", "must rise for each sensor -> each number once for each sensor, at most 63 behind the highest")),
    "step": ("sequence: number,", "sequence: number, steps: [{field: sensor, most: 3}],", "less_open", ("flow value", "+ check step sensor: moves by at most 3 from one message of a sensor to the next")),
    "fan_out": ("source: parse, ", "source: parse, fan_out: 1, ", "less_open", ("unikernel parse", "messages of one event none -> 1")),
    "observed": ("key: sensor, sequence", "observe: true, key: sensor, sequence", "more_open", ("flow value", "only observed off -> on")),
    "keys": ("keys: 16", "keys: 8", "less_open", ("flow value", "keys 16 -> 8")),
    "never_removed": ("never:\n  - {from: outside, to: judge, unless_through: [parse]}\n", "", "more_open", ("never", "- from outside to judge unless through parse")),
    "never_added": ("never:\n", "never:\n  - {from: 'service:login', to: parse, unless_through: [front]}\n", "less_open", ("never", "+ from service:login to parse unless through front")),
    "memory": ("parse, memory: 8MiB", "parse, memory: 9MiB", "more_open", ("unikernel parse", "memory 8192 -> 9216 KiB")),
    "cpu": ("source: parse, memory: 8MiB, cpu: 50%", "source: parse, memory: 8MiB, cpu: 40%", "less_open", ("unikernel parse", "cpu 50 -> 40 %")),
    "isolation": ("source: parse, ", "source: parse, isolation: process, ", "more_open", ("unikernel parse", "isolation any -> process")),
    "isolation_kvm": ("source: parse, ", "source: parse, isolation: kvm, ", "less_open", ("unikernel parse", "isolation any -> kvm")),
    "configuration": ("own line", "another line", "different", ("unikernel judge", "configuration")),
    "limits": ("limits: best-effort\n", "", "less_open", ("system small", "limits best-effort -> enforced")),
    "security_version": ("security_version: 1", "security_version: 2", "less_open", ("system small", "security version 1 -> 2")),
    "address": ("127.0.0.1:18999", "0.0.0.0:18999", "more_open", ("gateway tcp", "listens on 127.0.0.1:18999 -> 0.0.0.0:18999")),
    "port": ("127.0.0.1:18999", "127.0.0.1:18998", "different", ("gateway tcp", "listens on 127.0.0.1:18999 -> 127.0.0.1:18998")),
    "connections": ("connections: 4\n", "connections: 3\n", "less_open", ("gateway tcp", "connections 4 -> 3")),
    "records": ("records: 10", "records: 11", "more_open", ("namespace values", "records 10 -> 11")),
    "passwords": ("file: passwords", "file: others", "different", ("service login", "file {folder}/passwords -> {folder}/others")),
    "dead_letters": ("to: [front.wire], rate", "to: [front.wire], dead_letters: with-payload, rate", "more_open", ("flow in", "dead letters without-payload -> with-payload")),
}

# The same for a change of a schema.
SCHEMAS = {
    "wider": ("min: 1, max: 9}", "min: 0, max: 9}", "more_open", "field sensor: 1..9 -> 0..9"),
    "narrower": ("min: 1, max: 9}", "min: 1, max: 8}", "less_open", "field sensor: 1..9 -> 1..8"),
    "longer": ("most: 80", "most: 81", "more_open", "field text: at most 80 -> 81"),
    "array_wider": ("min: 0, max: 9}\n", "min: 0, max: 10}\n", "more_open", "field list: 0..9 -> 0..10"),
    "new_field": ("  - {name: text", "  - {name: more, type: u8, min: 0, max: 1}\n  - {name: text", "more_open", "+ field more"),
    "type": ("name: number, type: u64", "name: number, type: u32", "more_open", "field number: another type"),
}

failures = 0


def report(name, problem):
    global failures
    if problem:
        failures += 1
        print(f"not ok {name} - {' '.join(problem.split())}")
    else:
        print(f"ok {name}")


def result(name, problem):
    report("policy_" + name, problem)


def run(*arguments):
    return subprocess.run([CRENEL, "policy", *arguments], capture_output=True, text=True)


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
        refused(name, [(old, new)], said)
    for name, (changes, said) in NODES.items():
        refused(name, changes, said)
    write(GOOD.replace("memory: 8MiB, cpu", "cpu").replace("to: [parse.raw]", "to: [parse.row]").replace("tenant", "tennant"))
    many = run("check", ".", "--build", "images").stderr
    result("all_errors_in_one_run", None if all(s in many for s in ("'memory' is missing in 'front'", "'memory' is missing in 'judge'",
           "called 'row'", "unknown key 'tennant'", "'tenant' is missing")) else many[:400])
    write(GOOD)
    explain()
    diffs()
    topics_are_nodes()
    graph()
    mud()
    versions()


def refused(name, changes, said):
    """GOOD with these (old, new) is refused with these words and a mend."""
    text = GOOD
    for old, new in changes:
        if old not in text:
            result(name, f"the test is wrong: {old!r} is not in the system")
            return
        text = text.replace(old, new, 1)
    write(text)
    bad = run("check", ".", "--build", "images")
    problem = None
    if bad.returncode != 1:
        problem = f"exit code {bad.returncode}, {bad.stderr[-200:]!r}"
    elif said not in bad.stderr:
        problem = f"wanted {said!r}, said {bad.stderr[:300]!r}"
    elif "bug of crenel" in bad.stderr or "  mend: " not in bad.stderr:
        problem = f"no mend: {bad.stderr[:300]!r}"
    result(name, problem)


def diff(*arguments):
    out = run("diff", *arguments, "--json", "--build", "images")
    return out.returncode, json.loads(out.stdout or "{}"), out.stderr


def diff_expect(name, code, rows, where, what, change):
    """Exactly that one row, on that list."""
    found = [(kind, row["what"], row["change"]) for kind in rows for row in rows[kind]]
    wanted = [] if where is None else [(where, what, change.replace("{folder}", os.path.realpath(".")))]
    good = code == (1 if where == "more_open" else 0) and len(found) == len(wanted) and all(
        one[:2] == other[:2] and one[2].endswith(other[2]) for one, other in zip(found, wanted))
    result("diff_" + name, None if good else f"exit code {code}, found {found}, wanted {wanted}")


def diffs():
    run("check", ".", "--build", "images", "--output", "old.bin")
    for name, (old, new, where, said) in DIFFS.items():
        write(GOOD.replace(old, new, 1))
        code, rows, errors = diff("old.bin", ".")
        if not rows:
            result("diff_" + name, errors)
        else:
            diff_expect(name, code, rows, where, *(said or ("", "")))
    write(GOOD)
    for name, (old, new, where, said) in SCHEMAS.items():
        with open("value.yaml", "w", encoding="utf-8") as out:
            out.write(VALUE.replace(old, new, 1))
        code, rows, errors = diff("old.bin", ".")
        rows["different"] = [row for row in rows["different"] if "image " not in row["change"]]  # of parse and judge
        diff_expect("schema_" + name, code, rows, where, "schema value/1", said)
    with open("value.yaml", "w", encoding="utf-8") as out:
        out.write(VALUE)
    # Everything may change its place: names are compared, not indices.
    flows = GOOD.split("flows:\n")[1].split("namespaces:")[0]
    moved = GOOD.replace(flows, "".join(line + "\n" for line in reversed(flows.strip("\n").split("\n"))))
    write(moved.replace("principals: [press-7, rig-2]\n", "principals: [rig-2, press-7]\n"))
    code, rows, _ = diff("old.bin", ".")
    diff_expect("of_another_order", code, rows, None, "", "")
    write(GOOD.replace("  raw:    {", "  raw2:   {").replace("raw, publish0: raw,", "raw2, publish0: raw2,"))
    code, rows, _ = diff("old.bin", ".")
    line = [i for i, t in enumerate(GOOD.split("\n"), 1) if t.startswith("  raw:")][0]
    opened = [row for row in rows["more_open"] if row["what"] == "flow raw2"]
    listed = code == 1 and opened and opened[0]["line"] == line and opened[0]["change"] == "+ front -> parse, publish/1, principals press-7, rig-2"
    report("acceptance 5: diff lists each newly opened edge", None if listed else str(rows)[:300])
    result("diff_lists_removed_flows", None if {"what": "flow raw", "change": "- front -> parse, publish/1, principals press-7, rig-2"}
           in rows["less_open"] else str(rows)[:300])
    write(GOOD + "colour: red\n")
    code, _, errors = diff("old.bin", ".")
    result("diff_of_a_bad_system", None if code == 3 and "unknown key 'colour'" in errors else f"{code} {errors}")
    shutil.copyfile("old.bin", "cut.bin")
    os.truncate("cut.bin", 2000)
    code, _, errors = diff("cut.bin", "old.bin")
    result("diff_of_a_cut_file", None if code == 3 and "cut.bin: it is not accepted" in errors else f"{code} {errors}")
    write(GOOD.replace("unless_through: [parse]", "unless_through: [front]}\n  - {from: outside, to: judge", 1))
    bad = run("check", ".", "--build", "images")
    place = f"system.yaml:{line}: front -raw-> parse"
    report("acceptance 5: a never violation refuses to compile and prints the path with file and line",
           None if bad.returncode == 1 and "gateway:tcp -in-> front -raw-> parse -value-> judge" in bad.stderr and place in bad.stderr
           else bad.stderr[:400])
    write(GOOD)


def topics_are_nodes():
    rule = "never:\n  - {{from: {0}, to: {1}{2}}}\n"
    cases = {  # from, to, more: what is said, or None when it holds
        "topic_publishes": ("'topic:plant/+/t'", "judge", "", "topic:plant/+/t -raw-> parse -value-> judge"),
        "topic_through": ("'topic:plant/+/t'", "judge", ", unless_through: [parse]", None),
        "topic_is_met_by_a_filter": ("'topic:plant/x/t'", "judge", "", "topic:plant/+/t -raw-> parse"),
        "topic_subscribes": ("parse", "'topic:plant/news/today'", "", "parse -value-> judge -news-> topic:plant/news/#"),
        "topic_of_subscribers_sends_nothing": ("'topic:plant/news/of/today'", "judge", "", None),
        "topic_asks_no_other_connection": ("'topic:plant/+/t'", "front", ", unless_through: [judge]", None),
        "topic_unknown": ("'topic:plant/nowhere/else'", "judge", "", "there is no 'topic:plant/nowhere/else'"),
        "topic_is_an_end": ("outside", "judge", ", unless_through: [parse, 'topic:plant/+/t']", "'unless_through' holds a topic"),
    }
    for name, (start, end, more, said) in cases.items():
        write(GOOD.replace("never:\n", rule.format(start, end, more)))
        out = run("check", ".", "--build", "images")
        good = out.returncode == 0 if said is None else out.returncode == 1 and said in out.stderr
        result("never_" + name, None if good else f"exit code {out.returncode}: {out.stderr[:300]}")
    write(GOOD)


def graph():
    dot = run("graph", ".", "--dot", "--build", "images").stdout
    wanted = ('"gateway:tcp" -> "front"', '"front" -> "parse" [label=<raw: publish/1', '"judge" -> "namespace:values" [dir=both',
              '"front" -> "service:login"', "plant/+/t", "10/s, 10 wait, by topic, for press-7, rig-2",
              "never from outside to judge unless through parse", "no replay")
    missing = [text for text in wanted if text not in dot]
    result("graph_draws_everything", f"{missing} not in {dot[:600]}" if missing else None)
    write(GOOD.replace("key: sensor, sequence", "observe: true, key: sensor, sequence"))
    dot = run("graph", ".", "--dot", "--build", "images").stdout
    result("graph_shows_what_refuses_nothing", None if "OBSERVED: its checks refuse nothing" in dot and "#c07000" in dot else dot[:300])
    write(GOOD)
    if shutil.which("dot") is None:
        print("skip policy_graph_is_svg - graphviz is not installed")
        none = run("graph", ".", "--build", "images")
        result("graph_says_what_is_missing", None if none.returncode == 1 and "apt-get install -y graphviz" in none.stderr else none.stderr)
        return
    svg = run("graph", ".", "--build", "images", "--output", "system.svg")
    text = open("system.svg", encoding="utf-8").read() if svg.returncode == 0 else ""
    try:
        names = {node.text for node in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text")}
    except ElementTree.ParseError as error:
        names = {str(error)}
    result("graph_is_svg", None if {"small", "front", "parse", "judge", "login", "values"} <= names else svg.stderr + str(names)[:300])


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


VERSIONS = """system: versions
tenant: works
security_version: 1
limits: best-effort
principals: [press-7]
unikernels:
  give: {source: give, memory: 8MiB, cpu: 50%, instances: 1, deadline: 100ms}
  old:  {source: old, memory: 8MiB, cpu: 50%, instances: 1, deadline: 100ms}
  new:  {source: new, memory: 8MiB, cpu: 50%, instances: 1, deadline: 100ms}
flows:
  value: {from: give.value, to: [old.value, new.value], durable: {cap: 10}, rate: {per_second: 10, burst: 10}, principals: anyone}
  back:  {from: new.back, to: [give.back], durable: {cap: 10, keep: newest}, rate: {per_second: 10, burst: 10}, principals: anyone}
"""
# unikernel: (version of the schema that it has, inputs, outputs)
VERSION_PARTS = {"give": (2, "back", "value"), "old": (1, "value", ""), "new": (2, "value", "back")}
NEWER = VALUE.replace("value/1", "value/2\nextends: value/1") + "  - {name: more, type: i8, min: -1, max: 1}\n"
SEALED = NEWER.replace("type: i8, min: -1, max: 1", "type: sealed, most: 9")

# name: (value/2, the system, exit code, what must be said)
VERSION_CASES = {
    "older_receiver": (NEWER, VERSIONS, 0, "2 flows"),
    "older_sender": (NEWER, VERSIONS.replace("from: give.value, to: [old.value, new.value]", "from: give.value, to: [old.value]")
                     .replace("old:  {source: old,", "old:  {source: old, unused: [],").replace("from: new.back", "from: old.back"),
                     1, "nobody can make up the fields it added"),
    "not_an_older_version": (NEWER.replace("extends: value/1\n", "").replace("max: 9}", "max: 8}", 1), VERSIONS, 1,
                             "value/2 does not extend value/1: it has no such field 'sensor' in place 1"),
    "sealed_by_surprise": (SEALED, VERSIONS, 1, "flow 'value' carries value/2, whose field 'more' is sealed"),
    "sealed_allowed": (SEALED, VERSIONS.replace("durable:", "sealed: allowed, durable:"), 0, ""),
    "sealed_to_an_actuator": (SEALED, VERSIONS.replace("durable:", "sealed: allowed, actuator: true, durable:"), 1,
                              "flow 'value' leads to an actuator, but its field 'more' is sealed"),
    "nothing_is_sealed": (NEWER, VERSIONS.replace("durable:", "sealed: allowed, durable:"), 1, "which has no sealed field"),
    "sealed_key": (SEALED, VERSIONS.replace("durable:", "key: more, sealed: allowed, durable:"), 1,
                   "'more' cannot be the key field of flow 'value'"),
}


def versions():
    def part(name, version, inputs, outputs):
        if name == "old" and outputs:
            version = 1
        flows = [", ".join(f"{{flow: {f}, schema: value/{version}{more}}}" for f in names.split() if f)
                 for names, more in ((inputs, ""), (outputs, ", most: 1"))]
        with open(os.path.join(name, "unikernel.yaml"), "w", encoding="utf-8") as out:
            out.write(UNIKERNEL.format(name=name, lifetime="message", schemas=f"../value-{version}.yaml", inputs=flows[0],
                                       outputs=flows[1], more=""))
        with open(os.path.join(name, "main.c"), "w", encoding="utf-8") as out:
            out.write(source(name, inputs.split(), ["value"]))
    os.mkdir("v")
    os.chdir("v")
    with open("value-1.yaml", "w", encoding="utf-8") as out:
        out.write(VALUE)
    for name in VERSION_PARTS:
        os.mkdir(name)
    for name, (newer, system, code, said) in VERSION_CASES.items():
        with open("value-2.yaml", "w", encoding="utf-8") as out:
            out.write(newer)
        for which, (version, inputs, outputs) in VERSION_PARTS.items():
            part(which, version, inputs, "back" if which == "old" and name == "older_sender" else
                 "" if which == "new" and name == "older_sender" else outputs)
        write(system if name != "older_sender" else system.replace("new:  {source: new,", "new:  {source: new, unused: [value],"))
        done = run("check", ".", "--build", "images")
        said_all = done.stdout + done.stderr
        is_good = done.returncode == code and said in said_all and (code == 0 or "  mend: " in done.stderr)
        result("version_" + name, None if is_good else f"exit code {done.returncode}, {said_all[:400]!r}")
    with open("value-2.yaml", "w", encoding="utf-8") as out:
        out.write(SEALED)
    write(VERSIONS.replace("durable:", "sealed: allowed, durable:"))
    shown = run("explain", ".", "give", "old", "--build", "images").stdout
    result("version_and_seal_are_shown", None if "for old     cut to value/1" in shown and "CANNOT BE INSPECTED" in shown else shown)
    os.chdir("..")


def mud_problem(file):
    """What RFC 8520 (and 8519 for access lists) demands of a MUD file, read for this test alone; None when it is kept."""
    def keys(node, mandatory, optional, where):
        missing, unknown = set(mandatory) - set(node), set(node) - set(mandatory) - set(optional)
        if missing or unknown:
            raise ValueError(f"{where}: missing {missing}, unknown {unknown}")

    def entry(ace, kind):
        keys(ace, ["name", "matches", "actions"], [], "ace")
        if ace["actions"] != {"forwarding": "accept"}:
            raise ValueError(f"{ace['name']}: {ace['actions']}")
        keys(ace["matches"], [kind], ["ietf-mud:mud", "tcp"], "matches")
        keys(ace["matches"]["ietf-mud:mud"], ["local-networks"], [], "mud")
        if ace["matches"]["ietf-mud:mud"]["local-networks"] != [None] or ace["matches"][kind] != {"protocol": 6}:
            raise ValueError(f"{ace['name']}: {ace['matches']}")
        tcp = ace["matches"]["tcp"]
        keys(tcp, ["ietf-mud:direction-initiated"], ["source-port", "destination-port"], "tcp")
        if tcp["ietf-mud:direction-initiated"] not in ("to-device", "from-device"):
            raise ValueError("direction-initiated")
        for port in ("source-port", "destination-port"):
            if port in tcp and not (tcp[port]["operator"] in ("eq", "neq", "lte", "gte") and 0 <= tcp[port]["port"] <= 65535):
                raise ValueError(port)

    try:
        keys(file, ["ietf-mud:mud", "ietf-access-control-list:acls"], [], "file")
        header = file["ietf-mud:mud"]
        keys(header, ["mud-version", "mud-url", "last-update", "is-supported"],
             ["cache-validity", "systeminfo", "software-rev", "from-device-policy", "to-device-policy"], "mud")
        if header["mud-version"] != 1 or header["is-supported"] is not True or not 1 <= header["cache-validity"] <= 168:
            raise ValueError("version, is-supported or cache-validity")
        if not re.fullmatch(r"https://[!-~]{1,245}", header["mud-url"]) or len(header["systeminfo"]) > 60:
            raise ValueError("mud-url or systeminfo")
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", header["last-update"]):
            raise ValueError("last-update")
        lists = file["ietf-access-control-list:acls"]["acl"]
        used = [name["name"] for way in ("from-device-policy", "to-device-policy")
                for name in header[way]["access-lists"]["access-list"]]
        if len({acl["name"] for acl in lists}) != len(lists) or sorted(used) != sorted(acl["name"] for acl in lists):
            raise ValueError("access lists and their names")
        for acl in lists:
            keys(acl, ["name", "type", "aces"], [], "acl")
            names = [ace["name"] for ace in acl["aces"]["ace"]]
            if len(set(names)) != len(names) or not 1 <= len(acl["name"]) <= 64:
                raise ValueError("names")
            for ace in acl["aces"]["ace"]:
                entry(ace, {"ipv4-acl-type": "ipv4", "ipv6-acl-type": "ipv6"}[acl["type"]])
    except (KeyError, ValueError, TypeError) as error:
        return f"{type(error).__name__} {error}"
    return None


def mud():
    def entries(file, end):
        return [(ace["name"], ace["matches"]["tcp"].get("destination-port", ace["matches"]["tcp"].get("source-port"))["port"])
                for acl in file["ietf-access-control-list:acls"]["acl"] if acl["name"].endswith(end) for ace in acl["aces"]["ace"]]

    for name, listen, v4, v6 in (("loopback", "127.0.0.1:18999", [], []), ("v4", "0.0.0.0:1883", [1883], []),
                                 ("v6", "'[2001:db8::1]:1883'", [], [1883]), ("any", "'[::]:8883'", [8883], [8883])):
        write(GOOD.replace("127.0.0.1:18999", listen))
        out = run("mud", ".", "https://example.com/node.json", "--build", "images")
        file = json.loads(out.stdout or "{}")
        problem = out.stderr if out.returncode else mud_problem(file)
        if not problem:
            found = [[port for _, port in entries(file, end)] for end in ("v4to", "v4fr", "v6to", "v6fr")]
            problem = None if found == [v4, v4, v6, v6] and file["ietf-mud:mud"]["mud-url"] == "https://example.com/node.json" else str(found)
        result("mud_" + name, problem)
    write(GOOD)
    out = run("mud", ".", "--build", "images")
    result("mud_without_url", mud_problem(json.loads(out.stdout or "{}")))
    bad = run("mud", ".", "http://example.com/", "--build", "images")
    result("mud_url_must_be_https", None if bad.returncode == 2 and "is no MUD URL" in bad.stderr else bad.stderr)


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
