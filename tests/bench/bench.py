#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""make bench: Crenel beside its peers, in one run. docs/benchmarks.md says what is measured and why.

Every round measures everything once, one after the other, so that a change of the machine meets all alike; printed
are medians over the rounds and ratios of these medians. Nothing here passes or fails.
"""
import contextlib
import os
import platform
import pwd
import socket
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
TREE = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(TREE, "examples", "machine-watch", "demo"))

import crenel
import nodes_bench

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
MESSAGES = {1: 1000, 32: 50000, 128: 50000}  # window: messages
SLOW_MESSAGES = 20000  # to a slow subscriber
ROUTED, KEYS = 2000000, 1000000
SPAWNS = 400
FABRIC = {"rounds": 1000, "burst": 20000}  # messages of a start
FLOODS = {  # name: (QoS, topics, messages, window) of mqtt_bench
    "beside a flood of a flow of 5,000/s": ("1", "limited", "fabric/out", "1000000", "128s"),
    "beside a flood, another unikernel's": ("0", "message/volatile", "message/volatile/out", "1000000", "128"),
    "beside a flood, the same unikernel's": ("0", "resident/durable", "resident/durable/out", "1000000", "128"),
}

# (name, QoS, topic prefix in the relay system; None: mosquitto alone)
SUBJECTS = [
    ("mosquitto", 0, None),
    ("crenel resident, volatile", 0, "resident/volatile"),
    ("crenel message, volatile", 0, "message/volatile"),
    ("mosquitto", 1, None),
    ("crenel resident, volatile", 1, "resident/volatile"),
    ("crenel message, volatile", 1, "message/volatile"),
    ("mosquitto, kept", 1, None),
    ("crenel resident, durable", 1, "resident/durable"),
    ("crenel message, durable", 1, "message/durable"),
]


def progress(text):
    print(text, file=sys.stderr, flush=True)


class Mosquitto:
    """The broker alone, as it comes but for TCP_NODELAY and room for the window; or one that keeps each change on disk."""

    def __init__(self, folder, is_kept=False):
        self.port = crenel.free_port(18840)
        path = os.path.join(folder, f"mosquitto-{self.port}.conf")
        kept = (f"persistence true\npersistence_location {folder}/\nautosave_on_changes true\nautosave_interval 1\n"
                f"user {pwd.getpwuid(os.geteuid()).pw_name}\n") if is_kept else ""
        with open(path, "w", encoding="ascii") as file:
            file.write(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
                       "max_inflight_messages 1000\nlog_type none\n" + kept)
        self.process = subprocess.Popen(["mosquitto", "-c", path], stderr=subprocess.PIPE)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("mosquitto does not listen")


def processor_us(pids):
    """Processor time of these processes, and of their children that have ended."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
            ticks += sum(map(int, file.read().rpartition(b")")[2].split()[11:15]))
    return ticks * 1e6 / os.sysconf("SC_CLK_TCK")


def measure(build, ports, qos, topics, messages, window, credentials, roots):
    arguments = [os.path.join(build, "tests", "bench", "mqtt_bench"), *map(str, ports), str(qos), *topics, str(messages), str(window)]
    pids = [pid for root in roots for pid in crenel.family(root)]
    before = processor_us(pids)
    done = subprocess.run(arguments + ([credentials] if credentials else []), capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    rate, p50, p99, lost = done.stdout.split()
    used = processor_us(set(pids).union(*map(crenel.family, roots))) - before
    return float(rate), float(p50), float(p99), int(lost), used / messages


def fabric_round(build, system, credentials):
    """(messages/s, p50, p99) between two unikernels, by what goes on and on how many processors."""
    rows = {}
    everywhere = os.sched_getaffinity(0)
    for processors in ({min(everywhere)}, everywhere):
        for pid in crenel.family(system.supervisor_pid()):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(pid, processors)
        for word, messages in FABRIC.items():
            done = subprocess.run([os.path.join(build, "tests", "bench", "mqtt_bench"), *map(str, system.ports), "0", "fabric",
                                   "fabric/out", str(messages), word, credentials], capture_output=True, text=True, timeout=300)
            if done.returncode != 0:
                raise RuntimeError(done.stderr.strip())
            rows[word, len(processors)] = tuple(map(float, done.stdout.split()[:3]))
    return rows


def flood_round(build, system, credentials):
    """p50 and p99 of one message at a time, alone, and while another flow is flooded by another client."""
    program = [os.path.join(build, "tests", "bench", "mqtt_bench"), *map(str, system.ports)]
    rows = {}
    for name, what in (("alone", None), *FLOODS.items()):
        flood = None
        if what is not None:
            flood = subprocess.Popen([*program, *what, credentials], stdout=subprocess.DEVNULL,
                                     preexec_fn=lambda: os.nice(19))
            time.sleep(0.3)
        try:
            done = subprocess.run([*program, "0", "resident/volatile", "resident/volatile/out", "1000", "1", credentials],
                                  capture_output=True, text=True, timeout=300)
        finally:
            if flood is not None:
                flood.kill()
                flood.wait()
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        rows[name] = tuple(map(float, done.stdout.split()[1:3]))
    return rows


def router_round(build):
    """(messages/s, ns, of these what stands in for the peers) of the router alone, with so many keys."""
    rows = {}
    for keys in (1000, KEYS):
        done = subprocess.run([os.path.join(build, "tests", "bench", "router_bench"), str(ROUTED), str(keys)],
                              capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip() or "router_bench failed")
        rows[keys] = tuple(map(float, done.stdout.split()))
    return rows


def spawn_round(build):
    folder = os.path.join(build, "tests", "bench")
    names = ["hello", "relay-connection.img", "relay.img", "relay-resident.img"]
    done = subprocess.run([os.path.join(folder, "spawn_bench"), *[os.path.join(folder, name) for name in names],
                           str(SPAWNS)], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return {line.split()[0]: tuple(map(float, line.split()[1:])) for line in done.stdout.splitlines()}


WALL_EVENTS = 1000


def wall_round(build, wall):
    folder = os.path.join(build, "tests", "bench")
    done = subprocess.run([os.path.join(folder, "wall_bench"), wall, os.path.join(folder, "hello"), str(WALL_EVENTS)],
                          capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip() or "wall_bench failed")
    return {line.split()[0]: tuple(map(float, line.split()[1:])) for line in done.stdout.splitlines()}


def median(rows, column):
    return statistics.median(row[column] for row in rows)


def print_messages(results):
    for qos in (0, 1):
        base = {window: results[("mosquitto", qos, window)] for window in MESSAGES}
        print(f"\nPublish to subscriber, QoS {qos}       one at a time             32 on their way"
              "                128 on their way             processor   lost")
        print(f"  {'':<26}{'p50':>8}{'p99':>9}  " + f"{'messages/s':>12}{'p50':>9}{'ratio':>7}  " * 2
              + f"{'a message':>11}")
        for name in dict.fromkeys(name for name, level, _ in results if level == qos):
            runs = {window: results[(name, qos, window)] for window in MESSAGES}
            lost = sum(row[3] for rows in runs.values() for row in rows)
            print(f"  {name:<26}{median(runs[1], 1):>5.0f} us{median(runs[1], 2):>6.0f} us  "
                  + "".join(f"{median(runs[w], 0):>12,.0f}{median(runs[w], 1):>6.0f} us"
                            f"{median(runs[w], 0) / median(base[w], 0):>7.2f}  " for w in (32, 128))
                  + f"{median(runs[128], 4):>8.1f} us{lost:>7}")


def print_nodes(rounds):
    print(f"\nFrom node to node, TLS 1.3, QoS 1          one at a time             32 on their way"
          "                128 on their way             processor   lost")
    print(f"  {'':<33}{'p50':>8}{'p99':>9}  " + f"{'messages/s':>12}{'p50':>9}{'ratio':>7}  " * 2 + f"{'a message':>11}")
    base = next(iter(nodes_bench.SUBJECTS))
    for name in nodes_bench.SUBJECTS:
        def of(window, column, name=name):
            return statistics.median(row[name, window][column] for row in rounds)
        lost = sum(row[name, window][3] for row in rounds for window in nodes_bench.MESSAGES)
        print(f"  {name:<33}{of(1, 1):>5.0f} us{of(1, 2):>6.0f} us  "
              + "".join(f"{of(w, 0):>12,.0f}{of(w, 1):>6.0f} us{of(w, 0) / of(w, 0, base):>7.2f}  " for w in (32, 128))
              + f"{of(128, 4):>8.1f} us{lost:>7}")


def print_slow(results):
    print(f"\nSlow subscriber, QoS 1, 20 unacknowledged{'':<8}{'received/s':>16}   lost of {SLOW_MESSAGES:,} acknowledged")
    for (name, _, window), rows in results.items():
        if window == "20s":
            print(f"  {name:<47}{median(rows, 0):>13,.0f}   {median(rows, 3):>8,.0f}  (at most "
                  f"{max(row[3] for row in rows):,})")


def print_fabric(rounds):
    texts = {"rounds": "there and back, one after the other", "burst": "sent 64 in each event"}
    print(f"\nBetween two unikernels, 64 bytes, 11 fields{'':<12}{'messages/s':>12}{'p50 each':>11}{'p99':>10}")
    for word, processors in rounds[0]:
        rate, p50, p99 = (statistics.median(row[word, processors][i] for row in rounds) for i in range(3))
        where = f"{processors} processor{'s' if processors > 1 else ''}"
        print(f"  {texts[word] + ', ' + where:<52}{rate:>12,.0f}{p50:>8.1f} us{p99:>7.1f} us")


def print_flood(rounds):
    print(f"\nOne at a time, QoS 0, resident, volatile{'':<15}{'p50':>10}{'p99':>11}{'p99 to alone':>15}")
    base = statistics.median(row["alone"][1] for row in rounds)
    for name in rounds[0]:
        p50, p99 = (statistics.median(row[name][i] for row in rounds) for i in range(2))
        print(f"  {name:<52}{p50:>7.0f} us{p99:>8.0f} us{p99 / base:>15.1f}")


def print_router(rounds):
    print(f"\nThe router alone, 64 bytes, 11 fields{'':<19}{'messages/s':>14}{'ns each':>10}{'of that the bench':>20}")
    for keys in rounds[0]:
        rate, _, bench = (statistics.median(row[keys][i] for row in rounds) for i in range(3))
        print(f"  {f'{keys:,} keys, batches of 64':<54}{rate:>14,.0f}{1e9 / rate:>10.0f}{bench:>20.0f}")


def print_spawns(rounds):
    texts = {"spawn": "posix_spawn of a static program, to its first byte",
             "connection": "new instance, to the effects of its first event",
             "message": "pristine instance, to the effects of an event",
             "resident": "instance that is kept, to its effects",
             "message-64": "of 64 at once, pristine instances: each",
             "resident-64": "of 64 at once, an instance that is kept: each",
             "cold": "a tender started, one event, all ended"}
    base = statistics.median(row["spawn"][0] for row in rounds)
    print(f"\nCreation to first reply{'':<35}{'p50':>9}{'p99':>10}{'ratio':>9}")
    for name, text in texts.items():
        p50 = statistics.median(row[name][0] for row in rounds)
        p99 = statistics.median(row[name][1] for row in rounds)
        print(f"  {text:<54}{p50:>8.1f} us{p99:>7.0f} us{p50 / base:>9.2f}")


def print_wall(wall, rounds):
    texts = {"exec": "vfork and exec of a static program, until it ended",
             "fork": "fork of a small static process, until it ended",
             "life": "instance created, one event, destroyed",
             "fresh": "of that: until the first event was answered",
             "restored": "used instance made pristine, next event answered",
             "kept": "next event of an instance that is kept"}
    base = statistics.median(row["fork"][0] for row in rounds)
    print(f"\nAn instance, {wall}, one processor{'':<20}{'p50':>9}{'p99':>10}{'to fork':>9}{'a second':>12}")
    for name, text in texts.items():
        p50 = statistics.median(row[name][0] for row in rounds)
        p99 = statistics.median(row[name][1] for row in rounds)
        print(f"  {text:<50}{p50:>8.1f} us{p99:>7.0f} us{p50 / base:>9.2f}{1e6 / p50:>12,.0f}")
    kinds = ("anonymous", "shared", "page tables", "kernel stack", "slab")
    memory = [statistics.median(row["memory"][i] for row in rounds) for i in range(len(kinds))]
    print(f"  host memory of an idle one: {sum(memory):.1f} KiB ("
          + ", ".join(f"{kind} {size:.1f}" for kind, size in zip(kinds, memory)) + ")")


def main():
    build = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build")
    folder = os.path.join(build, "bench")
    system = crenel.System(folder, build, source=os.path.join(TREE, "tests", "bench", "relay"), first_port=18832)
    brokers = {}
    nodes = nodes_bench.Nodes(folder, build)
    results, spawns, routed, fabric, flooded, carried = {}, [], [], [], [], []
    walls = {"process": []}
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        walls["kvm"] = []
    try:
        system.prepare()
        system.up()
        credentials = os.path.join(folder, "credentials")
        with open(os.open(credentials, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"bench\n{system.passwords['bench']}\n" * 2)
        for name, is_kept in (("mosquitto", False), ("mosquitto, kept", True)):
            brokers[name] = Mosquitto(folder, is_kept)
        nodes.start()
        begin = os.getloadavg()[0]
        for number in range(ROUNDS):
            progress(f"round {number + 1} of {ROUNDS}")
            for name, qos, topic in SUBJECTS:
                ports = system.ports if topic else [brokers[name].port] * 2
                root = system.supervisor_pid() if topic else brokers[name].process.pid
                for window in [*MESSAGES, *(["20s"] if qos == 1 and name != "mosquitto, kept" else [])]:
                    topics = [topic, f"{topic}/out"] if topic else ["bench"] * 2
                    results.setdefault((name, qos, window), []).append(
                        measure(build, ports, qos, topics, MESSAGES.get(window, SLOW_MESSAGES), window,
                                credentials if topic else None, [root]))
            fabric.append(fabric_round(build, system, credentials))
            carried.append(nodes.round(lambda ports, topic, *how: measure(build, ports, 1, [topic] * 2, *how)))
            flooded.append(flood_round(build, system, credentials))
            routed.append(router_round(build))
            spawns.append(spawn_round(build))
            for wall, rounds in walls.items():
                rounds.append(wall_round(build, wall))
        version = subprocess.run(["mosquitto", "-h"], capture_output=True, text=True).stdout.splitlines()[0]
        print(f"{os.cpu_count()} processors, Linux {platform.release()}, {version}; load average {begin:.1f} before, "
              f"{os.getloadavg()[0]:.1f} after; medians of {ROUNDS} rounds; payload 100 bytes")
        print_messages(results)
        print_slow(results)
        print_fabric(fabric)
        print_nodes(carried)
        print_flood(flooded)
        print_router(routed)
        print_spawns(spawns)
        for wall, rounds in walls.items():
            print_wall(wall, rounds)
    finally:
        for broker in brokers.values():
            broker.process.terminate()
            broker.process.wait()
        nodes.stop()
        system.down()


main()
