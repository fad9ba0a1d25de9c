#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""MQTT 3.1.1 with real clients: mosquitto_pub, mosquitto_sub and paho on both sides of a unikernel, and raw
sockets for what no client library would send."""
import os
import queue
import shutil
import socket
import subprocess
import time

import checks
import crenel

try:
    import paho.mqtt.client as paho
except ImportError:
    paho = None

WAIT_S = 30  # for what must happen; never for what must not
SOURCE = os.path.join(checks.TREE, "tests", "system", "mqtt")


def string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return len(data).to_bytes(2, "big") + data


def packet(first, body):
    head, length = bytes([first]), len(body)
    while True:
        head += bytes([length % 128 | (128 if length > 127 else 0)])
        length //= 128
        if length == 0:
            return head + body


def connect_packet(user, password, keep_alive=60, will=None):
    flags = 0xc2 | (0x0c if will else 0)
    body = string("MQTT") + bytes([4, flags]) + keep_alive.to_bytes(2, "big") + string("raw")
    if will:
        body += string(will[0]) + string(will[1])
    return packet(0x10, body + string(user) + string(password))


def publish_packet(topic, payload, qos=0, number=1, flags=0):
    middle = number.to_bytes(2, "big") if qos else b""
    return packet(0x30 | qos << 1 | flags, string(topic) + middle + payload)


class Raw:
    """A connection that sends what it likes."""

    def __init__(self, system, hello=None):
        self.socket = socket.create_connection(("127.0.0.1", system.port), timeout=WAIT_S)
        if hello is not None:
            self.socket.sendall(hello)

    def read(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                break
            data += more
        return data

    def is_ended(self):
        """Reads up to the end of the connection."""
        try:
            while self.socket.recv(4096):
                pass
        except ConnectionResetError:
            pass
        except socket.timeout:
            return False
        return True


class Viewer:
    """A paho client that collects what it is shown."""

    def __init__(self, system, filters, user="viewer"):
        self.messages, self.granted, ready = queue.Queue(), [], queue.Queue()
        self.client = paho.Client(client_id=user, clean_session=True)
        self.client.username_pw_set(user, system.passwords[user])
        self.client.on_connect = lambda *a: ready.put(a[3])
        self.client.on_subscribe = lambda *a: ready.put(a[3])
        self.client.on_message = lambda _c, _u, m: self.messages.put((m.topic, bytes(m.payload), m.qos))
        self.client.connect("127.0.0.1", system.port, keepalive=20)
        self.client.loop_start()
        assert ready.get(timeout=WAIT_S) == 0
        if filters:
            self.client.subscribe(filters)
            self.granted = list(ready.get(timeout=WAIT_S))

    def next(self):
        return self.messages.get(timeout=WAIT_S)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def mosquitto(system, program, user, *arguments, password=None):
    """The credentials lie in the client's own file: an argument would be seen by every user."""
    folder = os.path.join(system.folder, "clients", user)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with open(os.path.join(folder, program), "w", encoding="utf-8") as file:
        if user != "nobody":
            file.write(f"-u {user}\n-P {password or system.passwords[user]}\n")
    return subprocess.Popen([program, "-h", "127.0.0.1", "-p", str(system.port), *arguments],
                            env=dict(os.environ, XDG_CONFIG_HOME=folder), stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def counted(system, unikernel, reason):
    return system.status().refusals[unikernel][reason]


def wait_until(question, wanted):
    """The counters follow within moments; gives the last answer."""
    end = time.monotonic() + WAIT_S
    while (found := question()) != wanted and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_mosquitto(system):
    def joined():
        return system.status().flows["subscribe"]["done"]

    before = joined()
    seen = mosquitto(system, "mosquitto_sub", "viewer", "-t", "plant/#", "-q", "1", "-v", "-C", "2", "-W", "60")
    wait_until(joined, before + 2)  # one for each flow that may carry it
    for payload, qos in (("21.5", "1"), ("22.5", "0")):
        sent = mosquitto(system, "mosquitto_pub", "sensor", "-t", "plant/a/temperature", "-m", payload, "-q", qos)
        out = sent.communicate(timeout=WAIT_S)[0]
        checks.expect(f"mosquitto_pub_qos_{qos}", sent.returncode == 0, out)
    out = seen.communicate(timeout=90)[0]
    checks.expect_equal("mosquitto_sub_gets_both", sorted(out.splitlines()), ["plant/a/temperature 21.5", "plant/a/temperature 22.5"])


def test_entry(system):
    for name, user, arguments, password, code in (
            ("wrong_password", "sensor", [], "wrong", 4), ("unknown_user", "ghost", [], "wrong", 4),
            ("no_user", "nobody", [], None, 5)):
        client = mosquitto(system, "mosquitto_pub", user, "-t", "plant/last", "-m", "x", *arguments, password=password)
        out = client.communicate(timeout=WAIT_S)[0]
        checks.expect(f"{name}_is_connack_{code}", client.returncode == code, f"{client.returncode} {out}")
    for name, hello, answer in (
            ("mqtt_5", packet(0x10, string("MQTT") + b"\x05\x02\0\x0a\0" + string("c")), b"\x20\2\0\1"),
            ("mqtt_3_1", packet(0x10, string("MQIsdp") + b"\x03\x02\0\x0a" + string("c")), b"\x20\2\0\1"),
            ("a_kept_session_without_id", packet(0x10, string("MQTT") + b"\x04\x00\0\x0a\0\0"), b"\x20\2\0\2")):
        raw = Raw(system, hello)
        checks.expect_equal(f"{name}_is_turned_away", (raw.read(5), raw.is_ended()), (answer, True))


def test_wildcards(system):
    viewer = Viewer(system, [("plant/+/temperature", 1), ("#", 2), ("secret/#", 1), ("plant/last", 0)])
    checks.expect_equal("filters_are_granted_within_policy", viewer.granted, [1, 1, 128, 0])
    sensor = Viewer(system, [("plant/#", 1)], user="sensor")
    checks.expect_equal("another_principal_is_shown_nothing", sensor.granted, [128])
    sensor.client.publish("plant/b/temperature", b"1", qos=1)
    sensor.client.publish("plant/last", b"2", qos=1)
    got = sorted([viewer.next(), viewer.next()])
    checks.expect_equal("a_message_comes_once_for_all_filters", got, [("plant/b/temperature", b"1", 1), ("plant/last", b"2", 1)])
    viewer.client.unsubscribe(["#", "plant/last"])
    viewer.client.subscribe("plant/c/temperature", 1)  # its SUBACK follows the UNSUBACK
    sensor.client.publish("plant/last", b"3", qos=1).wait_for_publish(WAIT_S)
    sensor.client.publish("plant/d/temperature", b"4", qos=1)
    got = viewer.next()
    if got[0] == "plant/last":  # published before the server had seen UNSUBSCRIBE
        got = viewer.next()
    checks.expect_equal("unsubscribed_is_not_shown", got, ("plant/d/temperature", b"4", 1))
    viewer.close()
    sensor.close()


def test_malformed(system):
    viewer = Viewer(system, [("plant/#", 1)])
    before = counted(system, "mqtt", "malformed-packet")
    bad = [b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff\xff", b"\xc0\0", b"\x10\xff\xff\xff\xff\x7f"]
    ended = [Raw(system, data).is_ended() for data in bad]
    hello = connect_packet("sensor", system.passwords["sensor"])
    for data in (hello, b"\x36\x05\0\1a\0\1", b"\x32\x04\0\0\0\1", b"\x82\x02\0\1"):
        raw = Raw(system, hello)
        raw.read(4)
        raw.socket.sendall(data)
        ended.append(raw.is_ended())
    checks.expect_equal("malformed_packets_end_their_connection", ended, [True] * 8)
    checks.expect_equal("malformed_packets_are_counted", wait_until(lambda: counted(system, "mqtt", "malformed-packet"), before + 8), before + 8)
    mosquitto(system, "mosquitto_pub", "sensor", "-t", "plant/last", "-m", "still", "-q", "1").wait(WAIT_S)
    checks.expect_equal("others_are_not_disturbed", viewer.next(), ("plant/last", b"still", 1))
    viewer.close()


def test_sizes(system):
    raw = Raw(system, connect_packet("sensor", system.passwords["sensor"]))
    raw.read(4)
    before = system.status().refusals["mqtt"]
    sizes = (256, 257, 1025, 5000, 70000)
    for number, size in enumerate(sizes, 1):
        raw.socket.sendall(publish_packet("plant/a/temperature", b"x" * size, 1, number))
    raw.socket.sendall(publish_packet("plant/unknown", b"x", 1, 9))
    wanted = b"".join(b"\x40\2" + number.to_bytes(2, "big") for number in (1, 2, 3, 4, 5, 9))
    checks.expect_equal("oversize_is_acknowledged_and_costs_only_itself", raw.read(len(wanted)), wanted)
    after = system.status().refusals["mqtt"]
    checks.expect_equal("oversize_is_counted", after["oversize"] - before["oversize"], 4)
    logs = system.command("logs", *system.named())
    checks.expect("oversize_is_named_in_the_logs", "oversize" in logs, logs[-300:])
    checks.expect_equal("not_allowed_is_counted", after["not-allowed"] - before["not-allowed"], 1)


def test_will(system):
    viewer = Viewer(system, [("plant/#", 1)])
    secret = system.passwords["sensor"]
    raw = Raw(system, connect_packet("sensor", secret, will=("plant/last", "gone")))
    raw.read(4)
    raw.socket.close()
    checks.expect_equal("will_speaks_when_the_connection_breaks", viewer.next()[:2], ("plant/last", b"gone"))
    raw = Raw(system, connect_packet("sensor", secret, keep_alive=1, will=("plant/last", "silent")))
    raw.read(4)
    checks.expect("silence_ends_the_connection", raw.is_ended(), "it is still open")
    checks.expect_equal("will_speaks_after_silence", viewer.next()[:2], ("plant/last", b"silent"))
    raw = Raw(system, connect_packet("sensor", secret, will=("plant/last", "never")))
    raw.read(4)
    raw.socket.sendall(b"\xe0\0")
    ended = raw.is_ended()
    mosquitto(system, "mosquitto_pub", "sensor", "-t", "plant/last", "-m", "next", "-q", "1").wait(WAIT_S)
    checks.expect_equal("disconnect_is_without_will", (ended, viewer.next()[:2]), (True, ("plant/last", b"next")))
    viewer.close()


def total(system):
    """Publications that were accepted, and that were refused."""
    counts = system.status()
    return (counts.flows["kept"]["entered"] + counts.flows["quick"]["entered"],
            sum(number for reason, number in counts.refusals["mqtt"].items() if reason != "malformed-packet"))


def test_reconciliation(system):
    accepted, refused = total(system)
    viewer = Viewer(system, [("plant/#", 1)])
    sensor = Viewer(system, [], user="sensor")
    sent = [sensor.client.publish("plant/a/temperature", b"%d" % i, qos=1) for i in range(500)]
    for one in sent:
        one.wait_for_publish(WAIT_S)
    got = [viewer.next()[1] for _ in range(500)]
    checks.expect_equal("qos_1_all_arrive_in_order", got, [b"%d" % i for i in range(500)])
    sensor.close()
    # QoS 0, small, as fast as the socket takes them, then an abrupt end.
    raw = Raw(system, connect_packet("sensor", system.passwords["sensor"]))
    raw.read(4)
    raw.socket.sendall(publish_packet("plant/last", b"") * 3000)
    raw.socket.close()
    found = wait_until(lambda: sum(total(system)), accepted + refused + 3500)
    checks.expect_equal("sent_is_accepted_plus_refused", found, accepted + refused + 3500)
    viewer.close()


def test_bounds(system):
    idle = []

    def enter():
        try:
            raw = Raw(system, connect_packet("sensor", system.passwords["sensor"]))
            if raw.read(4) == b"\x20\2\0\0":
                idle.append(raw)
        except OSError:
            pass
        return len(idle)
    for number in range(1, 17):  # connections of the test before may still be on their way out
        wait_until(enter, number)
    checks.expect("one_connection_too_many_is_closed", Raw(system).is_ended(), "it is open")
    for raw in idle:
        raw.socket.close()
    idle.clear()
    checks.expect_equal("and_the_place_is_free_again", wait_until(enter, 1), 1)


def main():
    if paho is None or not all(map(shutil.which, ("mosquitto_pub", "mosquitto_sub"))):
        checks.skip("mqtt", "mosquitto-clients or python3-paho-mqtt is not installed")
        return
    system = crenel.System(os.path.join(checks.BUILD, "tests", "mqtt"), checks.BUILD, source=SOURCE, first_port=18840)
    try:
        system.prepare()
        system.up()
        for test in (test_mosquitto, test_entry, test_wildcards, test_malformed, test_sizes, test_will,
                     test_reconciliation, test_bounds):
            checks.run(test.__name__, lambda test=test: test(system))
        faults = [row["faults"] for row in system.ps()["unikernels"]]
        checks.expect_equal("no_unikernel_crashed", faults, [0, 0])
    finally:
        system.down()
    checks.finish()


if __name__ == "__main__":
    main()
