#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""make bench: Crenel beside its peers, in one run. docs/benchmarks.md says what is measured and why.

Every round measures everything once, one after the other, so that a change of the machine meets all alike; printed
are medians over the rounds and ratios of these medians. Nothing here passes or fails.
"""
import os
import platform
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
TREE = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(TREE, "examples", "machine-watch", "demo"))

import clients
import crenel

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
MESSAGES = {1: 1000, 32: 4000}  # window: messages
SPAWNS = 400

# (name, QoS, topic prefix in the relay system; None: mosquitto alone)
SUBJECTS = [
    ("mosquitto", 0, None),
    ("crenel resident, volatile", 0, "resident/volatile"),
    ("crenel message, volatile", 0, "message/volatile"),
    ("mosquitto", 1, None),
    ("crenel resident, volatile", 1, "resident/volatile"),
    ("crenel message, volatile", 1, "message/volatile"),
    ("crenel resident, durable", 1, "resident/durable"),
    ("crenel message, durable", 1, "message/durable"),
]


def progress(text):
    print(text, file=sys.stderr, flush=True)


class Mosquitto:
    """The broker alone, as it comes but for TCP_NODELAY and room for the window."""

    def __init__(self, folder):
        self.port = crenel.free_port(18840)
        path = os.path.join(folder, "mosquitto.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
                       "max_inflight_messages 100\nlog_type none\n")
        self.process = subprocess.Popen(["mosquitto", "-c", path], stderr=subprocess.PIPE)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                clients.socket.create_connection((clients.HOST, self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("mosquitto does not listen")


def measure(build, ports, qos, topic, window, credentials):
    arguments = [os.path.join(build, "tests", "bench", "mqtt_bench"), *map(str, ports), str(qos), topic or "bench",
                 f"{topic}/out" if topic else "bench", str(MESSAGES[window]), str(window)]
    done = subprocess.run(arguments + ([credentials] if topic else []), capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    rate, p50, p99, lost = done.stdout.split()
    return float(rate), float(p50), float(p99), int(lost)


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
        print(f"\nPublish to subscriber, QoS {qos}          one at a time            32 on their way"
              "                   lost")
        print(f"  {'':<28}{'p50':>9}{'p99':>10}    {'messages/s':>11}{'p50':>10}{'p99':>10}{'ratio':>9}")
        for name in dict.fromkeys(name for name, level, _ in results if level == qos):
            one, many = results[(name, qos, 1)], results[(name, qos, 32)]
            ratio = median(many, 0) / median(base[32], 0)
            lost = sum(row[3] for row in one + many)
            print(f"  {name:<28}{median(one, 1):>6.0f} us{median(one, 2):>7.0f} us    {median(many, 0):>11,.0f}"
                  f"{median(many, 1):>7.0f} us{median(many, 2):>7.0f} us{ratio:>9.3f}{lost:>7}")


def print_spawns(rounds):
    texts = {"spawn": "posix_spawn of a static program, to its first byte",
             "connection": "new instance, to the effects of its first event",
             "message": "pristine instance, to the effects of an event",
             "resident": "instance that is kept, to its effects",
             "cold": "a tender started, one event, all ended"}
    base = statistics.median(row["spawn"][0] for row in rounds)
    print(f"\nCreation to first reply{'':<33}{'p50':>9}{'p99':>10}{'ratio':>9}")
    for name, text in texts.items():
        p50 = statistics.median(row[name][0] for row in rounds)
        p99 = statistics.median(row[name][1] for row in rounds)
        print(f"  {text:<54}{p50:>6.0f} us{p99:>7.0f} us{p50 / base:>9.2f}")


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
    broker = None
    results, spawns = {}, []
    walls = {"process": []}
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        walls["kvm"] = []
    try:
        system.prepare()
        system.up()
        credentials = os.path.join(folder, "credentials")
        with open(os.open(credentials, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"bench\n{system.passwords['bench']}\n" * 2)
        broker = Mosquitto(folder)
        begin = os.getloadavg()[0]
        for number in range(ROUNDS):
            progress(f"round {number + 1} of {ROUNDS}")
            for name, qos, topic in SUBJECTS:
                ports = system.ports if topic else [broker.port] * 2
                for window in MESSAGES:
                    results.setdefault((name, qos, window), []).append(
                        measure(build, ports, qos, topic, window, credentials))
            spawns.append(spawn_round(build))
            for wall, rounds in walls.items():
                rounds.append(wall_round(build, wall))
        version = subprocess.run(["mosquitto", "-h"], capture_output=True, text=True).stdout.splitlines()[0]
        print(f"{os.cpu_count()} processors, Linux {platform.release()}, {version}; load average {begin:.1f} before, "
              f"{os.getloadavg()[0]:.1f} after; medians of {ROUNDS} rounds; payload 100 bytes")
        print_messages(results)
        print_spawns(spawns)
        for wall, rounds in walls.items():
            print_wall(wall, rounds)
    finally:
        if broker is not None:
            clients.stop(broker.process)
        system.down()


main()
