#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Links that are dead and say nothing of it: the hub and the cloud are in network namespaces of their own, with a cable between
that is pulled, so that neither hears of the other's end. All this waits for kernels' timeouts, so it runs beside other tests."""
import os
import shutil
import subprocess
import sys
import time

import checks
import clients
import crenel
from nodes_pair import CSV, Authority, Node, Stream, check_both, flow

FOLDER = os.path.join(checks.BUILD, "tests", "nodes-cut")
HUB, CLOUD, AGAIN = "10.77.0.1", "10.77.0.2", "10.77.0.3"


def ip(*arguments, of=()):
    subprocess.run([*of, "ip", *arguments], check=True, capture_output=True, text=True)


class Cable:
    """From here to the namespace of a process that does nothing else."""

    def __init__(self):
        self.keeper = subprocess.Popen(["unshare", "-n", "sleep", "600"])
        self.there = ["nsenter", f"--net=/proc/{self.keeper.pid}/ns/net"]
        while os.readlink(f"/proc/{self.keeper.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        ip("link", "set", "lo", "up")
        ip("link", "add", "hub0", "type", "veth", "peer", "name", "cloud0", "netns", str(self.keeper.pid))
        ip("addr", "add", f"{HUB}/24", "dev", "hub0")
        ip("link", "set", "hub0", "up")
        ip("addr", "add", f"{CLOUD}/24", "dev", "cloud0", of=self.there)
        ip("link", "set", "lo", "up", of=self.there)
        self.plug()

    def plug(self):
        ip("link", "set", "cloud0", "up", of=self.there)

    def pull(self):
        ip("link", "set", "cloud0", "down", of=self.there)

    def end(self):
        self.keeper.kill()
        self.keeper.wait()


def publish(hub, readings):
    stream = Stream(hub, readings)
    stream.start()
    stream.end()


def links(system):
    return [row["links"] for row in system.json("status", *system.named())["couriers"]]


def test_hub_was_gone(hub, cloud, cable, readings):
    """The hub's machine goes down and comes back, at another address; at the cloud its old connection still stands."""
    since = len(cloud.log())
    cable.pull()
    crenel.kill(hub.process_pid("courier"))  # what its kernel says of that does not come through, and never will
    ip("addr", "del", f"{HUB}/24", "dev", "hub0")
    ip("addr", "add", f"{AGAIN}/24", "dev", "hub0")
    publish(hub, readings[50:100])
    checks.expect_equal("the_cloud_has_not_heard_that_the_hub_is_gone", links(cloud), [1])
    cable.plug()
    checks.expect("a_peer_that_comes_back_takes_the_place_of_its_dead_connection",
                  cloud.wait_log("the peer has made a new connection", 40, since) and cloud.wait_log(f"linked with hub-1 (system hub-cut at {AGAIN}", 40, since),
                  cloud.log()[since:])
    check_both("what_it_published_meanwhile", hub, cloud, readings[:100])
    checks.expect_equal("and_there_is_one_connection", links(cloud), [1])


def test_cloud_is_gone(hub, cloud, cable, readings):
    """The cloud's machine is gone under traffic; nothing tells the hub, but that nothing is acknowledged."""
    since = len(hub.log())
    cable.pull()
    publish(hub, readings[100:150])  # waits at the hub, and in its kernel
    checks.expect("a_peer_that_is_silent_is_given_up", hub.wait_log("no link with cloud.example", 60, since), hub.log()[since:])
    problems = [row["problem"] for row in hub.json("status", *hub.named())["problems"]]
    checks.expect("and_status_names_the_courier_without_a_link", any("courier cloud" in problem for problem in problems), problems)
    checks.expect_equal("what_was_sent_to_it_waits", flow(hub)["spooled"], 50)
    cable.plug()
    check_both("then_it", hub, cloud, readings[:150])
    counts = flow(cloud)
    checks.expect_equal("each_of_them_once_and_in_order", (counts["entered"], counts["done"], counts["replay"]), (150, 150, 0))


def main():
    cable = Cable()
    cloud = Node(FOLDER, "cloud", 0)
    hub = Node(FOLDER, "hub", 0)
    try:
        hub.prepare()  # ends what an earlier run left, too
        cloud.prepare()
        there = os.path.join(FOLDER, "crenel-there")
        with open(there, "w", encoding="ascii") as file:
            file.write(f'#!/bin/sh\nexec {" ".join(cable.there)} {cloud.program} "$@"\n')
        os.chmod(there, 0o755)
        cloud.program = there
        cloud.change(r"listen: 127\.0\.0\.1:\d+", f"listen: {CLOUD}:18841")
        hub.change(r"connect: 127\.0\.0\.1:\d+", f"connect: {CLOUD}:18841")
        for node in (hub, cloud):  # a name of its own: other tests may have one of the example's at this moment
            node.change(f"system: {node.name}\n", f"system: {node.name}-cut\n")
            node.name += "-cut"
        authority = Authority(os.path.join(FOLDER, "authority"))
        authority.issue("hub", hub.folder, "hub-1")
        authority.issue("cloud", cloud.folder, "cloud.example")
        cloud.up()
        hub.up()
        readings = clients.recording(CSV)
        publish(hub, readings[:50])
        check_both("carried", hub, cloud, readings[:50])
        checks.run("hub_was_gone", lambda: test_hub_was_gone(hub, cloud, cable, readings))
        checks.run("cloud_is_gone", lambda: test_cloud_is_gone(hub, cloud, cable, readings))
        checks.expect_equal("both_end_well", (hub.down(), cloud.down()), (0, 0))
    except Exception as failure:  # reported
        checks.expect("nodes_run", False, failure)
    finally:
        hub.down()
        cloud.down()
        cable.end()
    checks.finish()


def why_not():
    missing = [program for program in ("ip", "unshare", "nsenter") if shutil.which(program) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    if os.geteuid() != 0:
        return "only root has network namespaces with a cable between them"
    tried = subprocess.run(["unshare", "-n", "ip", "link", "add", "hub0", "type", "veth", "peer", "name", "cloud0"],
                           capture_output=True, text=True, check=False)
    return tried.stderr.strip() if tried.returncode != 0 else None


if os.environ.get("CRENEL_IN_NAMESPACE"):
    main()
reason = why_not()
if reason:
    checks.skip("dead_links", reason)
    checks.finish()
os.execvpe("unshare", ["unshare", "-n", sys.executable, *sys.argv], dict(os.environ, CRENEL_IN_NAMESPACE="1"))
