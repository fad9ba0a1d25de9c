# SPDX-License-Identifier: ISC
"""Readings that are published through every failure, and what must have become of them."""
import os
import threading
import time

import checks
import clients
import crenel
from machine_watch_hours import hours_of

CSV = os.path.join(crenel.EXAMPLE, "data", "machine_temperature_system_failure.csv")


class Stream(threading.Thread):
    """Publishes readings at QoS 1 through every failure: what is not acknowledged is sent again."""

    def __init__(self, system, name, readings):
        super().__init__(daemon=True)
        self.device = clients.Device(system.port, "press-7", system.passwords["press-7"], name)
        self.messages = [(clients.TOPIC, clients.reading_text(7, *reading)) for reading in readings]
        self.failure = None

    def run(self):
        try:
            self.device.connect()
            # A part after the other, so that the killer meets the stream at many places.
            for first in range(0, len(self.messages), 10):
                self.device.publish(self.messages[first:first + 10], window=5, deadline_s=60)
                time.sleep(0.05)
            self.device.close()
        except Exception as failure:  # looked at by end()
            self.failure = failure

    def end(self):
        self.join()
        if self.failure:
            raise self.failure


def check_counts(name, system, sent, resent_at_most):
    """Of `sent` different readings each was accepted once; all else that entered was a replay."""
    counts = system.wait_drained(60)
    raw = counts.flows["raw"]
    failed = {reason: raw[reason] for reason in counts.failures if raw[reason]}
    checks.expect(name + "_counts_are_exact",
                  raw["done"] == sent and raw["entered"] == raw["done"] + sum(failed.values())
                  and set(failed) <= {"replay"} and failed.get("replay", 0) <= resent_at_most,
                  f"{sent} sent, {resent_at_most} sent again; raw {raw['entered']} entered, {raw['done']} done, {failed}")


def check_store(name, system, readings):
    wanted, found = hours_of(readings, 7), system.hours()
    wrong = [key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)]
    checks.expect(name + "_every_effect_exactly_once", not wrong,
                  [(key, found.get(key), wanted.get(key)) for key in wrong[:3]])
