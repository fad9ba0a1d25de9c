#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""make bench-checker: what the verdict on one message costs in Crenel's checker and in readers of other formats.

Each program of a peer (checker.c) refuses to measure a reader that takes one of 17 bad readings. Every round runs all of
them in turn on one processor; printed are medians over the rounds, and ratios of these. Nothing here passes or fails."""
import os
import statistics
import subprocess
import sys

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
BUILD = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build")
TREE = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
PEERS = {
    "generated": ("C generated for this schema, same bytes", None),
    "crenel": ("Crenel, by table", None),
    "flatbuffers": ("FlatBuffers, verifier", "apt-get install flatbuffers-compiler libflatbuffers-dev g++"),
    "cbor": ("CBOR, written by hand", None),
    "nanopb": ("Protocol Buffers, nanopb", "apt-get install nanopb libnanopb-dev"),
    "cjson": ("JSON, cJSON", None),
}


def program(peer):
    return os.path.join(BUILD, "tests", "bench", "checker", "checker_" + peer)


def measure(peer):
    done = subprocess.run(["taskset", "-c", "0", program(peer), os.path.join(TREE, "tests", "bench", "checker", "reading.yaml")],
                          capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{peer} {done.stderr.strip()}")
    size, ns = done.stdout.split()
    return int(size), float(ns)


def main():
    there = [peer for peer in PEERS if os.path.exists(program(peer))]
    begin = os.getloadavg()[0]
    rounds = [{peer: measure(peer) for peer in there} for _ in range(ROUNDS)]
    print(f"\nOne verdict on a reading of 11 fields{'':<24}{'bytes':>6}{'ns':>9}{'ratio':>8}"
          f"     load average {begin:.1f} before, {os.getloadavg()[0]:.1f} after; medians of {ROUNDS} rounds")
    base = statistics.median(row["crenel"][1] for row in rounds)
    for peer, (text, package) in PEERS.items():
        if peer not in there:
            print(f"  {text:<58}  left out: {package}")
            continue
        ns = statistics.median(row[peer][1] for row in rounds)
        print(f"  {text:<58}{rounds[0][peer][0]:>6}{ns:>9.1f}{ns / base:>8.2f}")


main()
