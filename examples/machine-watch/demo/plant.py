# SPDX-License-Identifier: ISC
"""What happens at the plant during the demo: who sends what, and what must become of it.

Every kind of message is a row of the ledger with the one place where its end is counted. So the sum that
is printed is not an estimate: each row's count must be what was sent, and so must the totals.
"""
import dataclasses
import os
import threading
import time

import clients

REPLAYED = 25


@dataclasses.dataclass
class Kind:
    """One row of the ledger."""
    name: str
    sent: int
    flow: str = ""        # that it enters; "": it is refused before it enters one
    end: str = "done"     # the flow's counter, or "guest"
    unikernel: str = ""   # that refuses it by its own reason
    code: str = ""        # that reason
    note: str = ""

    @property
    def is_accepted(self):
        return self.end == "done"


class Day:
    """The clients of one run."""

    def __init__(self, folder, port, passwords, readings, progress, waiting=None, measured=5000, flooded=1200):
        """waiting(): messages of the stream that are not at their end; measured: readings that the paho
        client publishes, one at a time; flooded: what rig-2 sends."""
        self.folder, self.port, self.passwords = folder, port, passwords
        self.readings, self.progress = readings, progress
        self.waiting, self.measured, self.flooded = waiting, measured, flooded
        self.mosquitto = clients.Mosquitto(folder, port)
        self.kinds = []
        self.latencies = []
        self.stream_s = self.stored_s = self.flood_s = 0.0
        self.connections = []      # (what, tried, ended as they should)
        self.processes = []
        self.failures = []
        self.alarm_path = os.path.join(folder, "alarms.jsonl")

    def device(self, user, name):
        return clients.Device(self.port, user, self.passwords[user], name).connect()

    def start_subscriber(self):
        with open(self.alarm_path, "wb") as output:
            self.processes.append(self.mosquitto.subscriber(
                "operator", self.passwords["operator"], clients.ALARM_TOPIC, output))
        time.sleep(1)  # a mosquitto_sub does not say when it is subscribed

    def flood(self):
        """rig-2 sends as fast as it can; its flow takes 50 a second."""
        began = time.monotonic()
        lines = [clients.reading_text(2, number, "2014-01-01T00:00:00", 20.5)
                 for number in range(1, self.flooded + 1)]
        process = self.mosquitto.publisher("rig-2", self.passwords["rig-2"], clients.RIG_TOPIC, 1, lines)
        self.processes.append(process)
        if process.wait(240) != 0:
            raise RuntimeError("rig-2: mosquitto_pub: " + process.stderr.read())
        self.flood_s = time.monotonic() - began
        self.kinds.append(Kind("flood of rig-2", self.flooded, "raw_rig",
                               note=f"held to 50/s, took {self.flood_s:.0f} s"))

    def measure(self):
        """One reading at a time, from publish to the PUBACK that says it is committed."""
        device = self.device("press-7", "press-7-measured")
        messages = [(clients.TOPIC, clients.reading_text(7, *reading))
                    for reading in self.readings[:self.measured]]
        for first in range(0, len(messages), 500):
            self.latencies += device.publish(messages[first:first + 500])
            self.progress(f"{len(self.latencies)} readings published, one at a time")
        device.close()

    def stream(self):
        """The rest of the recording, as fast as mosquitto_pub and Crenel go."""
        began = time.monotonic()
        rest = self.readings[self.measured:]
        lines = [clients.reading_text(7, *reading) for reading in rest]
        process = self.mosquitto.publisher("press-7", self.passwords["press-7"], clients.TOPIC, 1, lines)
        self.processes.append(process)
        if process.wait(240) != 0:
            raise RuntimeError("press-7: mosquitto_pub: " + process.stderr.read())
        self.stream_s = time.monotonic() - began
        while self.waiting and self.waiting() > 10:  # rig-2 may still flood
            self.progress(f"{self.waiting()} messages still on their way")
            time.sleep(0.1)
        self.stored_s = time.monotonic() - began
        self.kinds.insert(0, Kind("readings of press-7", len(self.readings), "raw"))

    def hostile(self):
        """Everything that must be refused, while the stream goes on."""
        later = len(self.readings) + 1000
        device = self.device("press-7", "press-7-hostile")
        guest = {"flow": "raw", "end": "guest", "unikernel": "decode"}
        rows = [
            (Kind("malformed JSON", 34, code="malformed-json", **guest), clients.malformed_json(34)),
            (Kind("unknown unit", 12, code="unknown-unit", **guest), clients.unknown_unit(12, later)),
            (Kind("speaks for another sensor", 10, code="wrong-sensor", **guest), clients.wrong_sensor(10, later)),
            (Kind("value out of range", 14, "raw", "range"), clients.out_of_range(14, later)),
            (Kind("replayed", REPLAYED, "raw", "replay"),
             [(clients.TOPIC, clients.reading_text(7, *reading)) for reading in self.readings[:REPLAYED]]),
            (Kind("payload over 1 KiB", 6, end="guest", unikernel="mqtt", code="oversize"), clients.oversize(6)),
            (Kind("topic of another device", 10, end="guest", unikernel="mqtt", code="not-allowed"),
             [(clients.RIG_TOPIC, clients.reading_text(2, later, "2014-01-01T00:00:00", 20))] * 10),
        ]
        for kind, messages in rows:
            device.publish(messages, window=10)
            self.kinds.append(kind)
        device.close()
        rig = self.device("rig-2", "rig-2-hostile")
        rig.publish(clients.overflow(1))
        rig.close()
        self.kinds.append(Kind("overflows a buffer in decode", 1, "raw_rig", "fault"))
        self.connections.append(("malformed MQTT packets", 24, clients.malformed_packets(self.port, 24)))
        self.connections.append(("wrong passwords", 3,
                                 clients.wrong_password(self.port, ["press-7", "rig-2", "operator"])))

    def run(self):
        """The whole day. Raises what any of the clients ran into."""
        self.start_subscriber()
        flood = self.thread(self.flood)
        self.measure()
        hostile = self.thread(self.hostile)
        self.stream()
        for thread in (flood, hostile):
            thread.join()
        if self.failures:
            raise self.failures[0]

    def thread(self, target):
        def guarded():
            try:
                target()
            except Exception as failure:  # reported by run()
                self.failures.append(failure)
        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread

    def close(self):
        for process in self.processes:
            clients.stop(process)
