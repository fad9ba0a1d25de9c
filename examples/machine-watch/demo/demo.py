#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""make demo: a plant's recording through unikernels, with everything that can go wrong mixed in.

demo.py BUILD. Needs python3-paho-mqtt, mosquitto-clients and gnuplot. Leaves nothing running; what it made
is in BUILD/demo.
"""
import json
import os
import signal
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import clients
import crenel
import plant
import plot
import summary

CSV = "machine_temperature_system_failure.csv"


class Watch(threading.Thread):
    """Looks once a second at the memory of all processes; keeps the peak."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.processes = pid, (0, 0), 0
        self.is_over = threading.Event()

    def run(self):
        while not self.is_over.wait(1):
            pids = crenel.family(self.pid)
            self.peak = max(self.peak, crenel.memory_of(pids))
            self.processes = max(self.processes, len(pids))


class Progress:
    """One line on a terminal that is written over; whole lines elsewhere, every few seconds."""

    def __init__(self):
        self.start, self.last = time.monotonic(), 0.0

    def __call__(self, text, is_step=False):
        now = time.monotonic()
        if not is_step and now - self.last < (1 if sys.stderr.isatty() else 5):
            return
        self.last = now
        line = f"[{now - self.start:4.0f} s] {text}"
        print(f"\r\x1b[K{line}" if sys.stderr.isatty() else line, end="\n" if is_step or not sys.stderr.isatty() else "",
              file=sys.stderr, flush=True)


def report_costs(system, ps, watch):
    lines = []
    images = []
    for row in ps["unikernels"]:
        images.append(f"{row['unikernel']} {summary.size(os.path.getsize(row['image']))}")
    lines.append(f"  {'Images':<16}{', '.join(images)}")
    one = ", ".join(f"{row['unikernel']} {summary.size(row['instance_bytes'])}" for row in ps["unikernels"]
                    if row["instance_bytes"])  # known of the last one that ended; some never end
    lines.append(f"  {'One instance':<16}{one}")
    created = sum(row["instances_created"] for row in ps["unikernels"])
    destroyed = sum(row["instances_destroyed"] for row in ps["unikernels"])
    lines.append(f"  {'Instances':<16}{summary.count(created)} created, {summary.count(destroyed)} destroyed, "
                 f"{created - destroyed} alive")
    resident, proportional = watch.peak
    lines.append(f"  {'Memory':<16}{summary.size(resident)} resident in all {watch.processes} processes at the peak; "
                 f"{summary.size(proportional)} when shared pages count once")
    return lines


def report_fault(system, ps):
    row = next(row for row in ps["unikernels"] if row["unikernel"] == "decode")
    lines = [f"  {'Fault':<16}{row['faults']} in decode: {row.get('last_fault', 'not named')}"]
    # Innermost first; what the library OS does on the way to its end is no news.
    places = [place for place in system.symbolize(row) if "guest/library" not in place and "?" not in place]
    lines += [f"  {'':<16}in {place.replace(os.getcwd() + '/', '')}" for place in places[:1]]
    lines.append(f"  {'':<16}cost: one message, now a dead letter, and one instance; decode went on")
    return lines, row["faults"] == 1


def report_audit(system):
    """What `crenel audit verify` says, and whether it is content."""
    is_good, said = system.audit_verify()
    lines = [f"  {'Audit log':<16}{'verified' if is_good else 'FAIL: it does not verify'}"]
    return lines + [f"  {'':<16}{line.strip()}" for line in said.splitlines()], is_good


def load_data():
    readings = clients.recording(os.path.join(crenel.EXAMPLE, "data", CSV))
    with open(os.path.join(crenel.EXAMPLE, "data", "labelled_windows.json"), encoding="ascii") as file:
        return readings, json.load(file)[CSV]


def read_alarms(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def report(system, day, counts, watch, windows):
    """Prints the summary; true when everything adds up."""
    ps = system.ps()
    alarms = read_alarms(day.alarm_path)
    lines, is_good = summary.messages(day.kinds, counts)
    print("\n".join(lines))
    print()
    for what, tried, refused in day.connections:
        print(f"  {what + ':':<28}{tried} connections, {refused} turned away, none of them cost anyone else anything")
        is_good = is_good and tried == refused
    print(f"  rig-2's flow had to wait {summary.count(counts.flows['raw_rig']['throttled'])} times; "
          "press-7 had its rate all the same\n")
    print("\n".join(summary.latency_lines(day)))
    print(f"  {'Store':<16}{summary.count(counts.commits)} events committed in "
          f"{summary.count(counts.transactions)} transactions; {summary.count(counts.dead_letters)} dead letters\n")
    print("\n".join(summary.alarm_lines(alarms, windows)))
    print()
    lines, is_named = report_fault(system, ps)
    print("\n".join(report_costs(system, ps, watch) + lines))
    lines, is_audit_good = report_audit(system)
    print("\n".join(lines))
    hit = len(summary.judge_alarms(alarms, windows)[1])
    picture = plot.draw(system.folder, day.readings, windows, alarms,
                        f"machine-watch: {summary.count(len(day.readings))} readings, {hit} of {len(windows)} "
                        f"labelled failures hit, {len(alarms)} alarms")
    print(f"  {'Plot':<16}{os.path.relpath(picture)}\n")
    return is_good and is_named and is_audit_good


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    build = sys.argv[1] if len(sys.argv) > 1 else "build"
    progress = Progress()
    readings, windows = load_data()
    system = crenel.System(os.path.join(build, "demo"), build)
    day = None
    try:
        progress("writing the system and its passwords, building the images", is_step=True)
        system.prepare()
        system.up()
        progress(f"the system runs and listens on 127.0.0.1:{system.port}", is_step=True)
        watch = Watch(system.supervisor_pid())
        watch.start()
        day = plant.Day(system.folder, system.port, system.passwords, readings, progress,
                        waiting=lambda: system.status().waiting("raw", "reading"))
        progress(f"press-7 publishes {len(readings)} readings; rig-2 floods; others attack", is_step=True)
        day.run()
        counts = system.wait_drained(progress=progress)
        watch.is_over.set()
        watch.join()
        seconds = time.monotonic() - progress.start
        progress("everything has arrived", is_step=True)
        print(f"\nmachine-watch: the whole demo took {seconds:.0f} s on {os.cpu_count()} processors, "
              f"load average {os.getloadavg()[0]:.1f}\n")
        is_good = report(system, day, counts, watch, windows)
    except (crenel.Failed, clients.Refused, OSError, RuntimeError, TimeoutError) as failure:
        print(f"\nFAIL: {failure}", file=sys.stderr)
        is_good = False
    except KeyboardInterrupt:
        print("\ninterrupted: ending the system", file=sys.stderr)
        is_good = False
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # nothing may run on
        if day is not None:
            day.close()
        code = system.down()
    if code != 0 and day is not None:
        print("FAIL: crenel down did not end the system", file=sys.stderr)
    return 0 if is_good and code == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
