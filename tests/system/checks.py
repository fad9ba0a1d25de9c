# SPDX-License-Identifier: ISC
"""Result lines of a system test, and the way to the parts of the example that tests use."""
import os
import signal
import sys
import traceback

sys.dont_write_bytecode = True
TREE = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = os.path.join(TREE, os.environ.get("CRENEL_BUILD", "build"))
sys.path.insert(0, os.path.join(TREE, "examples", "machine-watch", "demo"))

failures = 0
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends a test: what it started ends with it


def expect(name, is_good, why=""):
    """One line of the test's result; `why` says what was found instead."""
    global failures
    if is_good:
        print(f"ok {name}", flush=True)
    else:
        failures += 1
        print(f"not ok {name} - {' '.join(str(why).split())[:300]}", flush=True)
    return is_good


def expect_equal(name, found, wanted):
    return expect(name, found == wanted, f"found {found}, wanted {wanted}")


def skip(name, why):
    print(f"skip {name} - {why}", flush=True)


def run(name, test):
    """Runs one test function; what it raises is its failure."""
    try:
        test()
    except Exception as failure:  # reported
        traceback.print_exc()
        expect(name, False, failure)


def finish():
    sys.exit(1 if failures else 0)
