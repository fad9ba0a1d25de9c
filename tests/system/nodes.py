#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Two systems on one host, a hub and a cloud, with TLS between them: what is acknowledged at the hub is in the cloud once and
in order, whatever happens to the link and to the processes; and nobody else is let in."""
import contextlib
import os
import re
import select
import shutil
import socket
import subprocess
import time

import checks
import clients
import crenel
from machine_watch_hours import hours_of
from name_server import NameServer
from nodes_pair import CSV, Authority, Node, Stream, check_both, difference, flow

CAP = 300       # of the flow between the nodes
PART = 400      # readings of each part
NAME = "cloud.plant.test"  # under which the hub looks for the cloud
FOLDER = os.path.join(checks.BUILD, "tests", "nodes")


def test_carried(hub, cloud, readings):
    stream = Stream(hub, readings[:PART])
    stream.start()
    stream.end()
    check_both("carried", hub, cloud, readings[:PART])
    sent, received = flow(hub), flow(cloud)
    checks.expect_equal("counts_of_both_sides_agree", (sent["entered"], sent["done"], received["entered"], received["done"]),
                        (2 * PART, 2 * PART, PART, PART))
    rows = {row["unikernel"]: row["digest"] for row in hub.ps()["unikernels"]}
    other = {row["unikernel"]: row["digest"] for row in cloud.ps()["unikernels"]}
    checks.expect_equal("acceptance 9: one image digest runs at hub and cloud", rows["rollup"], other["rollup"])
    named = hub.json("status", *hub.named())
    schema = {row["flow"]: row["schema"] for row in named["flows"]}["reading"]
    theirs = {row["flow"]: row["schema"] for row in cloud.json("status", *cloud.named())["flows"]}["reading"]
    checks.expect("acceptance 9: the report names image, policy and schema digests",
                  re.fullmatch("[0-9a-f]{64}", named["digest"]) and re.fullmatch("reading/1 [0-9a-f]{64}", schema)
                  and schema == theirs and re.fullmatch("[0-9a-f]{64}", rows["rollup"]), (named["digest"], schema, theirs))
    links = cloud.json("status", *cloud.named())["couriers"]
    checks.expect_equal("status_shows_the_link", [(row["courier"], row["links"], row["received"]) for row in links], [("hubs", 1, PART)])


def test_cut(hub, cloud, readings):
    """Acceptance 8: the cloud is away under traffic; more is published than may wait."""
    cloud.down()
    stream = Stream(hub, readings[PART:3 * PART])
    stream.start()
    end, most, held = time.monotonic() + 30, 0, -1
    while time.monotonic() < end and (most < CAP - 10 or held != stream.acknowledged):  # until the publisher stands still
        held = stream.acknowledged
        time.sleep(0.3)
        most = max(most, flow(hub)["spooled"])
    checks.expect("acceptance 8: while the link is down the spool fills, and stays under its cap", CAP - 10 <= most <= CAP, most)
    checks.expect("acceptance 8: then publishers are held back, none is turned away",
                  stream.is_alive() and held < 2 * PART and stream.device.reconnects == 0, held)
    problems = [row["problem"] for row in hub.json("status", *hub.named())["problems"]]
    checks.expect("status_names_the_courier_without_a_link", any("courier cloud" in problem for problem in problems), problems)
    cloud.up()
    stream.end()
    check_both("acceptance 8: what waited", hub, cloud, readings[:3 * PART])
    sent, received = flow(hub), flow(cloud)
    checks.expect("acceptance 8: order is kept and counts reconcile",
                  received["entered"] == received["done"] == 3 * PART and sent["done"] == sent["entered"] == 6 * PART, (sent, received))


def test_poison(hub, cloud, readings):
    """The cloud's own policy refuses what the hub's lets pass: a sequence that it has seen."""
    stream = Stream(hub, [readings[5]] + readings[3 * PART:3 * PART + 20])
    stream.start()
    stream.end()
    hub.wait_drained(30)
    cloud.wait_drained(30)
    sent, received = flow(hub), flow(cloud)
    checks.expect_equal("acceptance 8: one poison message does not stop the rest", (received["replay"], received["done"], sent["envelope"]),
                        (1, 3 * PART + 20, 1))
    checks.expect_equal("a_refused_message_is_a_dead_letter_on_both_sides",
                        [(letter["reason"], letter["flow"]) for letter in hub.dead_letters() + cloud.dead_letters()],
                        [("envelope", "reading"), ("replay", "reading")])
    shown = hub.command("deadletter", "show", *hub.named(), str(hub.dead_letters()[0]["id"]))
    checks.expect("the_sender_is_told_why", "the other node refused it: replay" in shown, shown)


def renew(stream, system, other, authority, names):
    """A new certificate, and the courier starts again, while readings come."""
    name, as_name, courier = names
    before, since = stream.acknowledged, len(other.log())
    while stream.acknowledged == before and stream.is_alive():
        time.sleep(0.01)
    authority.issue(name, system.folder, as_name)
    system.command("restart", *system.named(), courier)
    checks.expect(f"with_the_new_certificate_of_the_{name}_there_is_a_link", other.wait_log("linked with", since=since), other.log()[since:])
    checks.expect(f"and_readings_come_all_the_time_at_the_{name}", stream.is_alive(), stream.acknowledged)


def test_killed(hub, cloud, readings, authority):
    """Couriers get new certificates and processes are killed, all in one stream."""
    last = 6 * PART
    stream = Stream(hub, readings[3 * PART + 20:last])
    stream.start()
    renew(stream, hub, cloud, authority, ("hub", "hub-1", "courier:cloud"))
    renew(stream, cloud, hub, authority, ("cloud", "cloud.example", "courier:hubs"))
    for system, process in ((hub, "courier"), (cloud, "courier"), (hub, "router"), (cloud, "router"), (cloud, "store")):
        time.sleep(0.2)
        with contextlib.suppress(StopIteration):
            crenel.kill(system.process_pid(process))
        system.wait_running()
    stream.end()
    hub.wait_drained(60)
    cloud.wait_drained(60)
    wanted = hours_of(readings[:last], 7)
    checks.expect("renewed_certificates_and_killed_processes_lose_and_double_nothing", cloud.hours() == wanted, difference(cloud.hours(), wanted))
    sent, received = flow(hub), flow(cloud)  # what has no PUBACK when the hub's router is killed is published again, and entered twice there
    checks.expect_equal("and_leave_exact_counts", (received["done"], received["replay"]), (last, sent["entered"] // 2 - last))


def test_names(hub, cloud, names):
    """What the name server says is asked for at each connection, and not trusted."""
    def attempt(junk, answers):
        names.junk, names.answers[NAME] = junk, answers
        since = len(hub.log())
        cloud.command("restart", *cloud.named(), "courier:hubs")
        return since

    courier = hub.process_pid("courier")
    since = attempt(None, [])
    checks.expect("a_name_that_is_gone_is_said", hub.wait_log(f"the name {NAME} has no address: the name server knows none", since=since),
                  hub.log()[since:])
    asked = names.asked
    attempt(lambda query: [b"", query[:2], query, os.urandom(40), query[:2] + b"\x81\x80\x00\x01\xff\xff\xff\xff\xff\xff" + query[12:] + b"\xc0\x0c" * 40,
                           bytes(2) + names.answer(query)[2:]], ["127.0.0.1"])
    end = time.monotonic() + 20
    while names.asked < asked + 4 and time.monotonic() < end:
        time.sleep(0.05)
    checks.expect("junk_for_an_answer_does_no_harm", names.asked >= asked + 4 and hub.process_pid("courier") == courier, hub.log()[since:])
    names.junk, since = None, len(cloud.log())
    checks.expect("then_the_name_leads_there_again", cloud.wait_log("linked with hub-1", 40, since), hub.log())


def test_removed(hub, cloud, readings):
    """A peer that is taken out of the system file is put out by `crenel up`; what it sends waits there, and comes when it is back."""
    cloud.change(r"peers: \[hub-1\]", "peers: [hub-9]")
    before, since = flow(cloud)["entered"], len(cloud.log())
    cloud.up()
    stream = Stream(hub, readings)
    stream.start()
    stream.end()
    checks.expect("a_peer_that_was_removed_is_refused", cloud.wait_log("the peer's certificate is of 'hub-1', not of 'hub-9'", 40, since),
                  cloud.log()[since:])
    link = cloud.json("status", *cloud.named())["couriers"][0]
    checks.expect_equal("its_connection_is_closed_and_it_brings_nothing", (link["links"], flow(cloud)["entered"] - before), (0, 0))
    cloud.change(r"peers: \[hub-9\]", "peers: [hub-1]")
    since = len(cloud.log())
    cloud.up()
    checks.expect("a_peer_that_is_named_again_is_let_in", cloud.wait_log("linked with hub-1", 40, since), cloud.log()[since:])
    hub.wait_drained(60)
    cloud.wait_drained(60)
    checks.expect_equal("and_brings_what_waited", flow(cloud)["entered"] - before, len(readings))


def test_slow(hub, cloud):
    """Strangers connect, say nothing, and come again as soon as they are put out: the hub gets in."""
    def connect():
        return socket.create_connection(("127.0.0.1", cloud.port))

    slow, since = [connect() for _ in range(40)], len(cloud.log())
    hub.command("restart", *hub.named(), "courier:cloud")
    end, is_in = time.monotonic() + 30, False
    while not is_in and time.monotonic() < end:
        for one in select.select(slow, [], [], 0.2)[0]:  # they were put out
            one.close()
            slow.remove(one)
            slow.append(connect())
        is_in = cloud.wait_log("linked with hub-1", 0.2, since)
    for one in slow:
        one.close()
    checks.expect("strangers_that_say_nothing_keep_nobody_out", is_in, cloud.log()[since:][-500:])


def test_strangers(hub, cloud, authority):
    def attempt(name, who, make):
        """The hub comes with another certificate."""
        since = len(cloud.log())
        make(hub.folder)
        shutil.copy(os.path.join(authority.folder, "authority.crt"), hub.folder)
        hub.command("restart", *hub.named(), "courier:cloud")  # as after each renewal
        return name, who, since

    stranger = Authority(os.path.join(FOLDER, "stranger"))
    attempts = [("a_certificate_of_another_authority_is_refused", "the peer's certificate is refused", lambda to: stranger.issue("hub", to, "hub-1"))]
    attempts += [("a_certificate_of_another_name_is_refused", "the peer's certificate is of 'hub-2', not of 'hub-1'",
                  lambda to: authority.issue("hub", to, "hub-2"))]
    attempts += [("a_certificate_that_has_expired_is_refused", "the peer's certificate is refused: certificate has expired",
                  lambda to: authority.issue("hub", to, "hub-1", ("20200101000000Z", "20200102000000Z"))),
                 ("a_certificate_that_is_not_valid_yet_is_refused", "the peer's certificate is refused: certificate is not yet valid",
                  lambda to: authority.issue("hub", to, "hub-1", ("20990101000000Z", "20990102000000Z")))]
    before = flow(cloud)["entered"]
    for one in attempts:
        own = len(hub.log())
        name, words, since = attempt(*one)
        checks.expect(name, cloud.wait_log(words, since=since), cloud.log()[since:])
        if "cert" in words and "refused" in words:
            checks.expect(f"{name}_and_told_so", hub.wait_log("the other side refuses", since=own), hub.log()[own:])
    authority.issue("hub", hub.folder, "hub-1")
    since = len(cloud.log())
    hub.command("restart", *hub.named(), "courier:cloud")
    checks.expect("with_its_own_certificate_it_is_let_in_again", cloud.wait_log("linked with hub-1", since=since), cloud.log()[since:])
    # And the other way round: the hub leaves a cloud that is another.
    authority.issue("cloud", cloud.folder, "elsewhere.example")
    since = len(hub.log())
    cloud.command("restart", *cloud.named(), "courier:hubs")
    checks.expect("a_cloud_of_another_name_is_left", hub.wait_log("'elsewhere.example', not of 'cloud.example'", since=since), hub.log()[since:])
    authority.issue("cloud", cloud.folder, "cloud.example")
    cloud.command("restart", *cloud.named(), "courier:hubs")
    test_slow(hub, cloud)
    checks.expect_equal("strangers_bring_nothing", flow(cloud)["entered"], before)
    probe = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{cloud.port}", "-tls1_2", "-cert", "hub.crt", "-key", "hub.key"],
                           cwd=hub.folder, input="", capture_output=True, text=True, timeout=20, check=False)
    checks.expect("tls_1_2_is_refused", "alert protocol version" in probe.stdout + probe.stderr, probe.stderr)


def test_secrets(hub, cloud):
    """The private keys are in the operator's files and nowhere else."""
    for system, name in ((hub, "hub"), (cloud, "cloud")):
        with open(os.path.join(system.folder, f"{name}.key"), encoding="ascii") as file:
            secret = file.read().split("\n")[1].encode()
        files = [os.path.join(folder, file) for folder, _, names in os.walk(system.state) for file in names]
        found = []
        for path in filter(os.path.isfile, files):
            with open(path, "rb") as file:
                found += [path] if secret in file.read() else []
        pid = system.process_pid("courier")
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            line = file.read()
        checks.expect(f"the_key_of_the_{name}_is_in_no_file_of_the_system", not found and secret not in line, found)


def rewrite(system, service, kind, channel_flow, inner_first):
    """The reading goes by way of a service of that kind, and `channel_flow` over the link."""
    system.change(r"courier:cloud\]", f"service:{service}]") if inner_first else None
    with open(system.file, encoding="utf-8") as file:
        text = file.read()
    sealed = "sealed: allowed, " if kind in ("seal", "open") else ""
    rest = "durable: {cap: 1000}, rate: {per_second: 5000, burst: 5000}, principals: anyone"
    if inner_first:
        service_line = f"  {service}: {{kind: {kind}, key: channel.key, channel: press, input: reading, output: {channel_flow}}}\n"
        flow_line = f"  {channel_flow}: {{from: service:{service}, to: [courier:cloud], {sealed}{rest}}}\n"
        text = text.replace("services:\n", "services:\n" + service_line)
    else:
        service_line = f"  {service}: {{kind: {kind}, key: channel.key, channel: press, input: {channel_flow}, output: reading}}\n"
        flow_line = f"  {channel_flow}: {{from: courier:hubs, to: [service:{service}], sequence: serial, {sealed}{rest}}}\n"
        text = text.replace("from: courier:hubs, to: [rollup.reading]", f"from: service:{service}, to: [rollup.reading]")
        text = text.replace("\nflows:\n", "\nservices:\n" + service_line + "\nflows:\n", 1)
    text = text.replace("flows:\n", "flows:\n" + flow_line, 1)
    with open(system.file, "w", encoding="utf-8") as file:
        file.write(text)


def test_ends(hub, cloud, readings, authority, kinds, channel_flow):
    """From end to end: sealed, or signed; and what another key made is refused at the other end."""
    hub.down()
    cloud.down()
    for system, name, as_name in ((hub, "hub", "hub-1"), (cloud, "cloud", "cloud.example")):
        system.prepare()
        authority.issue(name, system.folder, as_name)
    hub.change(r"connect: 127\.0\.0\.1:\d+", f"connect: 127.0.0.1:{cloud.port}")
    rewrite(hub, "near", kinds[0], channel_flow, True)
    rewrite(cloud, "far", kinds[1], channel_flow, False)
    key = os.path.join(FOLDER, "channel.key")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(key)
    hub.command("key", "new", key)
    for system in (cloud, hub):
        shutil.copy(key, system.folder)
        system.up()
    stream = Stream(hub, readings[:50])
    stream.start()
    stream.end()
    check_both(kinds[0], hub, cloud, readings[:50])
    row = next(row for row in hub.json("status", *hub.named())["flows"] if row["flow"] == channel_flow)
    checks.expect(f"{kinds[0]}_has_its_own_schema", row["schema"].startswith("sealed/1" if kinds[0] == "seal" else "authentic-reading/1"), row)
    os.unlink(os.path.join(hub.folder, "channel.key"))
    hub.command("key", "new", os.path.join(hub.folder, "channel.key"))  # somebody between would have another, too
    crenel.kill(next(row["pid"] for row in hub.ps()["processes"] if row["name"] == "near"))
    hub.wait_running()
    stream = Stream(hub, readings[50:55])
    stream.start()
    stream.end()
    hub.wait_drained(30)
    cloud.wait_drained(30)
    counted = flow(cloud, channel_flow)
    checks.expect_equal(f"{kinds[0]}_by_another_key_is_refused", (counted["seal"], flow(cloud)["entered"]), (5, 50))
    checks.expect_equal(f"{kinds[0]}_by_another_key_is_a_dead_letter", [letter["reason"] for letter in cloud.dead_letters()], ["seal"] * 5)


def edit(system, *changes):
    with open(system.file, encoding="utf-8") as file:
        text = file.read()
    for what, to in changes:
        if what not in text:
            raise crenel.Failed(f"{system.file} has no {what}")
        text = text.replace(what, to, 1)
    with open(system.file, "w", encoding="utf-8") as file:
        file.write(text)


def test_back(hub, cloud, readings, authority):
    """The cloud knows six hubs and sends to each what it sent; five are away, which holds the sixth up in nothing."""
    hub.down()
    cloud.down()
    for system, name, as_name in ((hub, "hub", "hub-1"), (cloud, "cloud", "cloud.example")):
        system.prepare()
        authority.issue(name, system.folder, as_name)
    hub.change(r"connect: 127\.0\.0\.1:\d+", f"connect: 127.0.0.1:{cloud.port}")
    rest = "durable: {cap: 1000}, rate: {per_second: 5000, burst: 5000}, principals: anyone}\n"
    edit(hub, ("services:\n", "services:\n  far: {kind: verify, key: channel.key, channel: back, input: signed, output: returned}\n"),
         ("[rollup.reading, courier:cloud]", "[courier:cloud]"),
         ("\nflows:\n", "\nflows:\n  signed: {from: courier:cloud, to: [service:far], sequence: serial, " + rest +
          "  returned: {from: service:far, to: [rollup.reading], key: sensor, " + rest))
    away = [f"hub-{i}" for i in range(2, 5)]
    edit(cloud, ("peers: [hub-1]", f"peers: [{', '.join(away)}, hub-1]"),
         ("\nflows:\n", "\nservices:\n  near: {kind: sign, key: channel.key, channel: back, input: reading, output: signed}\n"
          + "".join(f"  near{i}: {{kind: sign, key: channel.key, channel: {name}, input: reading, output: to_{i}}}\n" for i, name in enumerate(away))
          + "\nflows:\n  signed: {from: service:near, to: [courier:hubs/hub-1], " + rest
          + "".join(f"  to_{i}: {{from: service:near{i}, to: [courier:hubs/{name}], {rest}" for i, name in enumerate(away))),
         ("to: [rollup.reading]", f"to: [rollup.reading, service:near, {', '.join(f'service:near{i}' for i in range(len(away)))}]"))
    key = os.path.join(FOLDER, "channel.key")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(key)
    hub.command("key", "new", key)
    for system in (cloud, hub):
        shutil.copy(key, system.folder)
        system.up()
    stream = Stream(hub, readings[:PART])
    stream.start()
    stream.end()
    wanted = hours_of(readings[:PART], 7)
    end = time.monotonic() + 40
    while hub.hours() != wanted and time.monotonic() < end:
        time.sleep(0.1)
    checks.expect("what_the_cloud_sends_to_one_of_its_hubs_comes_there_once", hub.hours() == wanted, difference(hub.hours(), wanted))
    crenel.kill(cloud.process_pid("courier"))
    stream = Stream(hub, readings[PART:PART + 50])
    stream.start()
    stream.end()
    wanted = hours_of(readings[:PART + 50], 7)
    end = time.monotonic() + 40
    while hub.hours() != wanted and time.monotonic() < end:
        time.sleep(0.1)
    checks.expect("also_after_a_kill", hub.hours() == wanted, difference(hub.hours(), wanted))
    def waiting():
        counts = cloud.status().flows
        return [counts[f"to_{i}"]["spooled"] for i in range(len(away))]

    while waiting() != [PART + 50] * len(away) and time.monotonic() < end:  # a service may still be at the last of them
        time.sleep(0.1)
    checks.expect_equal("hubs_that_are_away_hold_up_no_other", waiting(), [PART + 50] * len(away))
    counts = cloud.status().flows
    link = cloud.json("status", *cloud.named())["couriers"][0]
    checks.expect_equal("and_get_nothing_that_is_another_s", (link["links"], counts["signed"]["done"]), (1, PART + 50))


def test_schema(hub, cloud):
    """The hub is built with another schema of the same name."""
    hub.down()
    folder = os.path.join(FOLDER, "other")
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("unikernels/decode", "unikernels/rollup", "schemas"):
        shutil.copytree(os.path.join(crenel.EXAMPLE, part), os.path.join(folder, "a", "b", part))
    shutil.copytree(os.path.join(checks.TREE, "schemas"), os.path.join(folder, "schemas"))
    path = os.path.join(folder, "a", "b", "schemas", "reading.yaml")
    with open(path, encoding="utf-8") as file:
        text = file.read().replace("max: 150.000", "max: 149.000")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    hub.change(re.escape(os.path.join(crenel.EXAMPLE, "unikernels")), os.path.join(folder, "a", "b", "unikernels"))
    shutil.rmtree(hub.state)
    since = len(cloud.log())
    hub.up()
    both = "flow 'reading' carries reading/1"
    checks.expect("another_schema_is_refused_at_the_cloud", cloud.wait_log(both, since=since), cloud.log()[since:])
    checks.expect("another_schema_is_refused_at_the_hub", hub.wait_log(both), hub.log())
    checks.expect("the_refusal_names_the_mend", hub.wait_log("build both with the same schema file"), hub.log())


def main():
    shutil.rmtree(os.path.join(FOLDER, "authority"), ignore_errors=True)
    cloud = Node(FOLDER, "cloud", 0)
    hub = Node(FOLDER, "hub", 0)
    try:
        hub.prepare()  # ends what an earlier run left, too
        cloud.first_port = 18849
        cloud.prepare()
        hub.peer_port = cloud.port
        hub.prepare()
        names = NameServer({NAME: ["2001:db8::7", "127.0.0.1"]})  # the first leads nowhere
        hub.change(r"connect: 127\.0\.0\.1:(\d+)", rf"connect: {NAME}:\g<1>, resolver: 127.0.0.1:{names.port}")
        hub.change(r"(reading: .*\n?.*)cap: 100000", rf"\g<1>cap: {CAP}")
        hub.change(r"(raw: .*)cap: 2000", r"\g<1>cap: 50")
        hub.change(r"sequence: sequence, keys: 64, ", "")  # only the cloud asks for it here
        authority = Authority(os.path.join(FOLDER, "authority"))
        authority.issue("hub", hub.folder, "hub-1")
        authority.issue("cloud", cloud.folder, "cloud.example")
        hub.up()  # no name server answers yet
        cloud.up()
        checks.expect("no_name_server_is_said", hub.wait_log(f"the name {NAME} has no address: no name server answers"), hub.log())
        names.start()
        readings = clients.recording(CSV)
        for name, test in (("carried", lambda: test_carried(hub, cloud, readings)), ("cut", lambda: test_cut(hub, cloud, readings)),
                           ("poison", lambda: test_poison(hub, cloud, readings)), ("killed", lambda: test_killed(hub, cloud, readings, authority)),
                           ("names", lambda: test_names(hub, cloud, names)),
                           ("removed", lambda: test_removed(hub, cloud, readings[6 * PART:6 * PART + 5])),
                           ("strangers", lambda: test_strangers(hub, cloud, authority)), ("secrets", lambda: test_secrets(hub, cloud)),
                           ("schema", lambda: test_schema(hub, cloud)),
                           ("seal", lambda: test_ends(hub, cloud, readings, authority, ("seal", "open"), "boxes")),
                           ("sign", lambda: test_ends(hub, cloud, readings, authority, ("sign", "verify"), "signed")),
                           ("back", lambda: test_back(hub, cloud, readings, authority))):
            begin = time.monotonic()
            checks.run(name, test)
            print(f"    {name}: {time.monotonic() - begin:.1f} s", file=checks.sys.stderr)
        checks.expect_equal("both_end_well", (hub.down(), cloud.down()), (0, 0))
    except Exception as failure:  # reported
        checks.expect("nodes_run", False, failure)
    finally:
        hub.down()
        cloud.down()
    checks.finish()


main()
