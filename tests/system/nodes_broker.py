#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The hub and the cloud with an MQTT 5 broker between them, Debian's mosquitto: what is acknowledged at the hub is in the cloud
once and in order, whatever happens to the broker; and who has rights on the topic can make nothing up. The hub speaks TLS with the
broker, the cloud does not."""
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import checks
import clients
import crenel
from nodes_pair import CSV, Authority, Node, Stream, check_both, flow

try:
    import paho.mqtt.client as paho
except ImportError:
    paho = None

FOLDER = os.path.join(checks.BUILD, "tests", "nodes_broker")
PART = 200
TOPIC = "plant-7/hub"
HEAD = struct.Struct("<QQQII")  # struct tunnel_head
MAGIC, OPEN, DATA, END = 0x3174656E75546E43, 2, 3, 5
PASSWORDS = {"hub-1": "of the hub", "cloud": "of the cloud", "stranger": "of a stranger"}


class Broker:
    def __init__(self, folder, port, tls_port):
        self.folder, self.port, self.tls_port, self.process = folder, port, tls_port, None
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.authority = Authority(os.path.join(folder, "authority"))
        self.authority.issue("broker", folder, "localhost")
        users = os.path.join(folder, "users")
        for at, (user, password) in enumerate(PASSWORDS.items()):
            subprocess.run(["mosquitto_passwd", "-b", *(["-c"] if at == 0 else []), users, user, password], check=True, capture_output=True)
        with open(os.path.join(folder, "mosquitto.conf"), "w", encoding="ascii") as file:
            file.write(f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {users}\npersistence false\n"
                       f"listener {tls_port} 127.0.0.1\ncertfile {folder}/broker.crt\nkeyfile {folder}/broker.key\n")
            file.write("user root\n" if os.geteuid() == 0 else "")

    def begin(self):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(["mosquitto", "-c", os.path.join(self.folder, "mosquitto.conf")], stdout=log, stderr=log)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.tls_port)) == 0:
                    return
            time.sleep(0.05)
        raise crenel.Failed("mosquitto does not listen")

    def kill(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.process = None


class Stranger:
    """A client with every right on the topic, which listens to both directions."""

    def __init__(self, port):
        self.seen, self.condition = [], threading.Condition()
        self.client = paho.Client("stranger", protocol=paho.MQTTv5)
        self.client.username_pw_set("stranger", PASSWORDS["stranger"])
        self.client.on_message = self.on_message
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.subscribed = threading.Event()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe(f"{TOPIC}/#", 1)
        if not self.subscribed.wait(20):
            raise crenel.Failed("the stranger is not subscribed")

    def on_message(self, _client, _data, message):
        with self.condition:
            self.seen.append((message.topic, message.payload))
            self.condition.notify_all()

    def last(self, direction, deadline_s=20):
        """(stream, number) of the latest DATA in that direction."""
        with self.condition:
            self.condition.wait_for(lambda: self.data(direction), deadline_s)
            return self.data(direction)[-1]

    def data(self, direction):
        heads = [HEAD.unpack_from(payload) for topic, payload in self.seen if topic == f"{TOPIC}/{direction}" and len(payload) >= HEAD.size]
        return [(stream, number) for magic, stream, number, kind, _ in heads if magic == MAGIC and kind == DATA]

    def say(self, direction, kind, stream, number, body=b""):
        self.put(direction, HEAD.pack(MAGIC, stream, number, kind, 0) + body)

    def put(self, direction, payload):
        self.client.publish(f"{TOPIC}/{direction}", payload, 1).wait_for_publish(20)

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()


def link(system):
    return system.json("status", *system.named())["couriers"][0]


def wait_for(what, deadline_s=20):
    end = time.monotonic() + deadline_s
    while not what() and time.monotonic() < end:
        time.sleep(0.05)
    return what()


def publish(hub, readings):
    stream = Stream(hub, readings)
    stream.start()
    return stream


def check_counts(name, hub, cloud, readings):
    check_both(name, hub, cloud, readings)
    sent, received, count = flow(hub), flow(cloud), len(readings)
    checks.expect_equal(f"{name}_keeps_order_and_counts_reconcile",
                        (sent["entered"], sent["done"], received["entered"], received["done"], received["replay"]),
                        (2 * count, 2 * count, count, count, 0))


def test_carried(hub, cloud, readings):
    publish(hub, readings[:PART]).end()
    check_counts("through_the_broker", hub, cloud, readings[:PART])
    checks.expect_equal("status_shows_the_link_through_the_broker",
                        [(row["links"], row["sent"], row["received"]) for row in (link(hub), link(cloud))], [(1, PART, 0), (1, 0, PART)])


def test_killed(hub, cloud, readings, broker):
    stream = publish(hub, readings[PART:3 * PART])
    wait_for(lambda: flow(cloud)["entered"] > PART)
    broker.kill()
    checks.expect("status_names_the_broker_that_is_away", wait_for(lambda: any(
        "no broker" in row["problem"] for row in hub.json("status", *hub.named())["problems"])), link(hub))
    broker.begin()
    stream.end()
    check_counts("a_broker_that_was_killed", hub, cloud, readings[:3 * PART])


def test_away(hub, cloud, readings):
    cloud.down()
    publish(hub, readings[3 * PART:4 * PART]).end()
    checks.expect("what_the_cloud_misses_waits_at_the_hub", wait_for(lambda: flow(hub)["spooled"] == PART), flow(hub))
    cloud.up()
    check_counts("a_receiver_that_was_away", hub, cloud, readings[:4 * PART])


def test_forged(hub, cloud, readings, broker):
    stranger = Stranger(broker.port)
    before = [(link(system)["connects"], link(system)["refused"]) for system in (hub, cloud)]
    for direction in ("up", "down"):
        stranger.put(direction, b"")
        stranger.put(direction, b"{\"sensor\":7,\"value\":1.0}" * 20)
        stranger.say(direction, DATA, 4711, 0, b"made up")
    stranger.say("up", OPEN, 4712, 0)
    stranger.say("up", DATA, 4712, 0, b"\x16\x03\x01 is not TLS")
    good = wait_for(lambda: all(link(system)["refused"] >= was[1] + 3 for system, was in zip((hub, cloud), before)))
    checks.expect("what_was_made_up_is_refused_and_counted", good, (before, link(hub), link(cloud)))
    publish(hub, readings[4 * PART:4 * PART + 20]).end()
    hub.wait_drained(60)
    checks.expect_equal("the_link_stays", [link(system)["connects"] for system in (hub, cloud)], [was[0] for was in before])

    since, (stream, number) = len(cloud.log()), stranger.last("up")
    stranger.say("up", DATA, stream, number + 1, b"\x17\x03\x03\x00\x40" + bytes(64))
    checks.expect("a_forged_message_in_the_stream_ends_it", cloud.wait_log("TLS:", since=since), cloud.log()[since:])
    publish(hub, readings[4 * PART + 20:4 * PART + 40]).end()
    hub.wait_drained(60)

    before, (stream, number) = link(cloud), stranger.last("up")
    stranger.say("up", DATA, stream, number + 5, b"as if the broker had dropped some")
    checks.expect("a_gap_is_seen", wait_for(lambda: link(cloud)["refused"] > before["refused"] and link(cloud)["connects"] > before["connects"]),
                  (before, link(cloud)))
    with stranger.condition:
        read = b"".join(payload for _, payload in stranger.seen)
    checks.expect("the_broker_reads_no_message", b"reading/1" not in read and b"press" not in read)
    publish(hub, readings[4 * PART + 40:4 * PART + 60]).end()
    check_counts("after_forgeries_and_a_gap", hub, cloud, readings[:4 * PART + 60])
    stranger.end()


class Plain(threading.Thread):
    """Takes the connection and hears what comes: no TLS."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.listener, self.heard = socket.create_server(("127.0.0.1", port)), b""

    def run(self):
        with self.listener, self.listener.accept()[0] as peer:
            self.listener.settimeout(20)
            self.heard = peer.recv(4096)
            peer.sendall(b"\x20\x03\x00\x00\x00")  # CONNACK
            while peer.recv(4096):
                pass


def test_tls(hub, cloud, broker, readings):
    """The hub's broker is another one than it must be."""
    def expect_refused(name, words, act):
        broker.kill()
        since = len(hub.log())
        act()
        hub.command("restart", *hub.named(), "courier:cloud")
        checks.expect(name, hub.wait_log(f"no broker: {words}", since=since), hub.log()[since:])

    def put_authority(authority):
        shutil.copy(os.path.join(authority.folder, "authority.crt"), os.path.join(hub.folder, "broker-authority.crt"))

    def other_name():
        put_authority(broker.authority)
        broker.authority.issue("broker", broker.folder, "elsewhere.example")
        broker.begin()

    def as_named(name, words, what, to):
        """The hub's system.yaml names the broker otherwise."""
        since = len(hub.log())
        hub.change(what, to)
        hub.up()
        checks.expect(name, hub.wait_log(f"no broker: {words}", since=since), hub.log()[since:])

    expect_refused("a_broker_of_another_authority_is_refused", "by broker_authority the broker's certificate is refused",
                   lambda: (put_authority(Authority(os.path.join(FOLDER, "stranger"))), broker.begin()))
    expect_refused("a_broker_of_another_name_is_refused", "the broker's certificate is not of 'localhost'", other_name)
    broker.kill()
    plain = Plain(broker.tls_port)
    expect_refused("a_broker_without_tls_is_refused", "no TLS with the broker", plain.start)
    plain.join(20)
    checks.expect("and_hears_no_password", plain.heard.startswith(b"\x16\x03") and PASSWORDS["hub-1"].encode() not in plain.heard, plain.heard)
    broker.begin()
    as_named("a_broker_that_wants_tls_is_said", "the broker ends the connection at once: it may want TLS", "broker_authority: broker-authority.crt, ", "")
    as_named("a_broker_of_another_address_is_refused", "the broker's certificate is not of '127.0.0.1'", f"localhost:{broker.tls_port}, ",
             f"127.0.0.1:{broker.tls_port}, broker_authority: broker-authority.crt, ")
    publish(hub, readings[4 * PART + 60:4 * PART + 80]).end()
    broker.kill()
    broker.authority.issue("broker", broker.folder, "127.0.0.1")
    broker.begin()
    check_counts("with_the_right_broker_it_goes_on", hub, cloud, readings[:4 * PART + 80])


def test_password(hub, cloud):
    with open(os.path.join(hub.folder, "broker.password"), "w", encoding="ascii") as file:
        file.write("another\n")
    since = len(hub.log())
    crenel.kill(hub.process_pid("courier"))
    checks.expect("a_wrong_password_is_said", hub.wait_log("the broker refuses the connection: not authorized (0x87)", since=since), hub.log()[since:])
    checks.expect_equal("and_brings_nothing", flow(cloud)["entered"], 4 * PART + 80)


def prepare(node, authority, broker, name, as_name, user):
    node.prepare()
    authority.issue(name, node.folder, as_name)
    at = f"localhost:{broker.tls_port}, broker_authority: broker-authority.crt" if name == "hub" else f"127.0.0.1:{broker.port}"  # /etc/hosts has it
    shutil.copy(os.path.join(broker.authority.folder, "authority.crt"), os.path.join(node.folder, "broker-authority.crt"))
    node.change(r"(connect|listen): 127\.0\.0\.1:\d+, (certificate: (hub|cloud)\.crt)",
                rf"\g<1>: {at}, transport: mqtt5, topic: {TOPIC}, user: {user}, password_file: broker.password, \g<2>")
    path = os.path.join(node.folder, "broker.password")
    with open(path, "w", encoding="ascii") as file:
        file.write(PASSWORDS[user] + "\n")
    os.chmod(path, 0o600)


def main():
    if paho is None or not all(map(shutil.which, ("mosquitto", "mosquitto_passwd"))):
        checks.skip("nodes_broker", "mosquitto or python3-paho-mqtt is not installed")
        checks.finish()
    for part in ("authority", "broker", "stranger"):
        shutil.rmtree(os.path.join(FOLDER, part), ignore_errors=True)
    cloud, hub = Node(FOLDER, "cloud", 0), Node(FOLDER, "hub", 0)
    broker = None
    try:
        broker = Broker(os.path.join(FOLDER, "broker"), crenel.free_port(18858), crenel.free_port(18859))
        authority = Authority(os.path.join(FOLDER, "authority"))
        prepare(cloud, authority, broker, "cloud", "cloud.example", "cloud")
        prepare(hub, authority, broker, "hub", "hub-1", "hub-1")
        broker.begin()
        hub.up()
        cloud.up()
        readings = clients.recording(CSV)
        for name, test in (("carried", lambda: test_carried(hub, cloud, readings)), ("killed", lambda: test_killed(hub, cloud, readings, broker)),
                           ("away", lambda: test_away(hub, cloud, readings)), ("forged", lambda: test_forged(hub, cloud, readings, broker)),
                           ("tls", lambda: test_tls(hub, cloud, broker, readings)), ("password", lambda: test_password(hub, cloud))):
            begin = time.monotonic()
            checks.run(name, test)
            print(f"    {name}: {time.monotonic() - begin:.1f} s", file=checks.sys.stderr)
        checks.expect_equal("both_end_well", (hub.down(), cloud.down()), (0, 0))
    except Exception as failure:  # reported
        checks.expect("nodes_broker_run", False, failure)
    finally:
        hub.down()
        cloud.down()
        if broker is not None:
            broker.kill()
    checks.finish()


main()
