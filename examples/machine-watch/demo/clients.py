# SPDX-License-Identifier: ISC
"""MQTT clients of the plant: devices that do as they should, and clients that do not.

Devices are paho and mosquitto clients, as in a plant; only deliberately broken packets are made by hand.
"""
import csv
import datetime
import json
import os
import random
import socket
import subprocess
import time

import paho.mqtt.client as mqtt

HOST = "127.0.0.1"
TOPIC = "plant/press-7/temperature"
RIG_TOPIC = "plant/rig-2/temperature"
ALARM_TOPIC = "plant/alarms"


class Refused(Exception):
    """The CONNACK said no; `code` is its return code."""

    def __init__(self, code):
        super().__init__(f"connection refused, code {code}")
        self.code = code


def recording(path):
    """The readings in the order of the file: (sequence, time, celsius)."""
    with open(path, newline="", encoding="ascii") as lines:
        rows = list(csv.reader(lines))[1:]
    return [(number, row[0].replace(" ", "T"), row[1]) for number, row in enumerate(rows, 1)]


def reading_text(sensor, sequence, time_text, celsius, unit="C"):
    return json.dumps({"sensor": sensor, "sequence": sequence, "time": time_text,
                       "celsius": float(celsius), "unit": unit}, separators=(",", ":"))


class Device:
    """One publishing client. It connects again and sends again what was not acknowledged, in order."""

    def __init__(self, port, user, password, name):
        self.port, self.user, self.password, self.name = port, user, password, name
        self.client = None
        self.code = None          # of the CONNACK
        self.acknowledged = []    # message ids, as they come
        self.reconnects = 0
        self.resent = 0

    def connect(self, deadline_s=20):
        end = time.monotonic() + deadline_s
        while True:
            self.code = None
            client = mqtt.Client(client_id=self.name, clean_session=True, protocol=mqtt.MQTTv311)
            client.username_pw_set(self.user, self.password)
            client.on_connect = lambda _c, _u, _f, code: setattr(self, "code", code)
            client.on_publish = lambda _c, _u, mid: self.acknowledged.append(mid)
            try:
                client.connect(HOST, self.port, keepalive=60)
                while self.code is None and client.loop(timeout=1.0) == mqtt.MQTT_ERR_SUCCESS:
                    if time.monotonic() > end:
                        break
            except OSError:
                pass
            if self.code == 0:
                self.client = client
                return self
            if self.code is not None:
                raise Refused(self.code)
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name}: no CONNACK in {deadline_s} s")
            time.sleep(0.2)

    def publish(self, messages, window=1, deadline_s=120):
        """Publishes (topic, payload) at QoS 1, at most `window` unacknowledged. Returns the latency in
        seconds of each message, from its first publication to its PUBACK."""
        end = time.monotonic() + deadline_s
        latencies = [0.0] * len(messages)
        first_sent = {}
        next_index, pending = 0, {}  # message id -> index
        while next_index < len(messages) or pending:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name}: {len(pending)} messages not acknowledged")
            while next_index < len(messages) and len(pending) < window:
                first_sent.setdefault(next_index, time.monotonic())
                info = self.client.publish(*messages[next_index], qos=1)
                pending[info.mid] = next_index
                next_index += 1
            code = self.client.loop(timeout=1.0)
            for mid in self.acknowledged:
                if mid in pending:
                    index = pending.pop(mid)
                    latencies[index] = time.monotonic() - first_sent[index]
            self.acknowledged.clear()
            if code != mqtt.MQTT_ERR_SUCCESS:
                self.reconnects += 1
                self.connect(max(1, end - time.monotonic()))
                if pending:  # everything from the first unacknowledged one on, in order
                    first = min(pending.values())
                    self.resent += next_index - first
                    next_index = first
                    pending = {}
        return latencies

    def close(self):
        if self.client is not None:
            self.client.disconnect()
            self.client = None


class Mosquitto:
    """mosquitto_pub and mosquitto_sub; the password reaches them in a file, never in an argument."""

    def __init__(self, folder, port):
        self.folder, self.port = folder, port

    def environment(self, program, user, password):
        home = os.path.join(self.folder, "clients", user)
        os.makedirs(home, mode=0o700, exist_ok=True)
        path = os.path.join(home, program)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"-h {HOST}\n-p {self.port}\n-u {user}\n-P {password}\n")
        return dict(os.environ, XDG_CONFIG_HOME=home)

    def publisher(self, user, password, topic, qos, lines):
        """A mosquitto_pub that publishes each line. The caller waits for it."""
        path = os.path.join(self.folder, f"{user}-{qos}.lines")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
        with open(path, "rb") as source:
            return subprocess.Popen(["mosquitto_pub", "-q", str(qos), "-t", topic, "-l", "-i", f"{user}-stream"],
                                    stdin=source, env=self.environment("mosquitto_pub", user, password),
                                    stderr=subprocess.PIPE, text=True)

    def subscriber(self, user, password, topic, output):
        return subprocess.Popen(["mosquitto_sub", "-q", "1", "-t", topic, "-i", f"{user}-screen"], stdout=output,
                                stderr=subprocess.PIPE,
                                env=self.environment("mosquitto_sub", user, password))


def stop(process):
    """Ends a client that we started, by its own id."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stderr:
        process.stderr.close()


# ---- Hostile messages: (topic, payload), and what becomes of each ----

def malformed_json(count):
    good = reading_text(7, 1, "2014-01-01T00:00:00", 80.0)
    shapes = ["", "{", "}", "[]", "null", good[:-1], good + "}", good.replace(":", "=", 1), good + "\0",
              '{"sensor":7,}', '{"a":' * 60 + "1" + "}" * 60, "{'sensor':7}", good.replace("80.0", "08.0"),
              good.replace("80.0", "NaN"), '{"sensor":"\\x"}', '{"sensor":"\ud7ff\x01"}', "\ufeff" + good]
    return [(TOPIC, shapes[i % len(shapes)].encode()) for i in range(count)]


def out_of_range(count, sequence):
    values = [150.001, 1000, -40.001, -273.15, 99999, 2147483, -2147483]
    return [(TOPIC, reading_text(7, sequence + i, "2014-01-01T00:00:00", values[i % len(values)]))
            for i in range(count)]


def unknown_unit(count, sequence):
    units = ["F", "K", "", "c", "C ", "Kelvin"]  # all shorter than the buffer of decode-buggy
    return [(TOPIC, reading_text(7, sequence + i, "2014-01-01T00:00:00", 80, units[i % len(units)]))
            for i in range(count)]


def wrong_sensor(count, sequence):
    """press-7 claims to be another machine."""
    return [(TOPIC, reading_text(8 + i, sequence, "2014-01-01T00:00:00", 80)) for i in range(count)]


def oversize(count):
    return [(TOPIC, "x" * (1025 + 700 * i)) for i in range(count)]


def overflow(sequence):
    """Writes over a 16-byte buffer on the stack of decode-buggy."""
    return [(RIG_TOPIC, reading_text(2, sequence, "2014-01-01T00:00:00", 20, "C" * 200))]


def connect_packet(user=b"", password=b"", name=b"raw"):
    body = b"\0\4MQTT\4" + bytes([0x02 | (0xC0 if user else 0)]) + b"\0\x3c"
    for part in [name] + ([user, password] if user else []):
        body += len(part).to_bytes(2, "big") + part
    assert len(body) < 128
    return bytes([0x10, len(body)]) + body


MALFORMED_PACKETS = [
    b"GET / HTTP/1.1\r\nHost: plant\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),    # a TLS hello
    b"\x00\x00",                                                    # packet type 0
    b"\xf0\x00",                                                    # packet type 15
    b"\x10\xff\xff\xff\xff\x7f",                                    # a length of five bytes
    b"\x10\x0c\x00\x04MQTX\x04\x02\x00\x3c\x00\x00",                # another protocol
    b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x3c\x00\x00",                # the reserved flag is set
    b"\x10\x0c\xff\xffMQTT\x04\x02\x00\x3c\x00\x00",                # a string longer than the packet
    b"\x11\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",                # reserved bits of the fixed header
    b"\x30\x03\x00\x01t",                                           # PUBLISH before CONNECT
    b"\xc0\x00",                                                    # PINGREQ before CONNECT
    b"\x10\x00",                                                    # an empty CONNECT
]


def malformed_packets(port, count):
    """Each costs its own connection and nothing else. Returns how many the other side closed."""
    closed = 0
    noise = random.Random(7)
    for i in range(count):
        packet = bytearray(MALFORMED_PACKETS[i % len(MALFORMED_PACKETS)])
        if i >= len(MALFORMED_PACKETS):
            packet += bytes(noise.randrange(256) for _ in range(noise.randrange(1, 64)))
        with socket.create_connection((HOST, port), timeout=15) as connection:
            try:
                connection.sendall(packet)
                while connection.recv(4096):
                    pass
                closed += 1
            except ConnectionResetError:
                closed += 1
            except TimeoutError:
                pass
    return closed


def wrong_password(port, users):
    """Returns how many of them were turned away with CONNACK 4 or 5."""
    refused = 0
    for user in users:
        try:
            Device(port, user, "not-the-password", f"{user}-thief").connect().close()
        except Refused as refusal:
            refused += refusal.code in (4, 5)
    return refused


def epoch_ms(time_text):
    moment = datetime.datetime.fromisoformat(time_text.rstrip("Z")).replace(tzinfo=datetime.timezone.utc)
    return int(moment.timestamp() * 1000)
