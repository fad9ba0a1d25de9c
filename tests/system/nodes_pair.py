# SPDX-License-Identifier: ISC
"""The hub and the cloud of examples/hub-and-cloud as a test runs them, on one host: nodes.py and nodes_broker.py."""
import os
import re
import shutil
import subprocess
import threading
import time

import checks
import clients
import crenel
from machine_watch_hours import hours_of

SOURCE = os.path.join(checks.TREE, "examples", "hub-and-cloud")
CSV = os.path.join(crenel.EXAMPLE, "data", "machine_temperature_system_failure.csv")


def openssl(folder, *arguments):
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise crenel.Failed(f"openssl {' '.join(arguments)}: {done.stderr}")


class Authority:
    """A certificate authority and what it issues, made as docs/nodes.md says."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, mode=0o700, exist_ok=True)
        openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650",
                "-subj", "/CN=plant-7", "-keyout", "authority.key", "-out", "authority.crt")

    def issue(self, name, to, as_name, valid=None):
        """name.key and name.crt of the peer `as_name`, and the authority, into the folder `to`. valid: from when to when."""
        openssl(self.folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={as_name}",
                "-addext", f"subjectAltName={'DNS' if as_name[0].isalpha() else 'IP'}:{as_name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        if valid is None:
            openssl(self.folder, "x509", "-req", "-in", f"{name}.csr", "-copy_extensions", "copy", "-CA", "authority.crt", "-CAkey", "authority.key",
                    "-CAcreateserial", "-days", "825", "-out", f"{name}.crt")
        else:
            with open(os.path.join(self.folder, "ca.conf"), "w", encoding="ascii") as file:
                file.write("[ca]\ndefault_ca = own\n[own]\nnew_certs_dir = .\ndatabase = index.txt\nrand_serial = yes\ndefault_md = sha256\npolicy = any\n"
                           "copy_extensions = copy\nunique_subject = no\n[any]\ncommonName = supplied\n")
            open(os.path.join(self.folder, "index.txt"), "a", encoding="ascii").close()
            openssl(self.folder, "ca", "-batch", "-notext", "-config", "ca.conf", "-cert", "authority.crt", "-keyfile", "authority.key",
                    "-startdate", valid[0], "-enddate", valid[1], "-in", f"{name}.csr", "-out", f"{name}.crt")
        for file in (f"{name}.key", f"{name}.crt", "authority.crt"):
            shutil.copy(os.path.join(self.folder, file), os.path.join(to, file))
        os.chmod(os.path.join(to, f"{name}.key"), 0o600)


class Node(crenel.System):
    def __init__(self, folder, name, peer_port):
        super().__init__(os.path.join(folder, name), checks.BUILD, os.path.join(SOURCE, name), 18846)
        self.peer_port = peer_port

    def prepare(self):
        super().prepare()
        self.change(r"connect: 127\.0\.0\.1:\d+", f"connect: 127.0.0.1:{self.peer_port}")

    def change(self, what, to):
        with open(self.file, encoding="utf-8") as file:
            text = file.read()
        changed = re.sub(what, to, text)
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(changed)

    def log(self):
        with open(os.path.join(self.state, self.name, "logs", "host.log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_log(self, words, deadline_s=20, since=0):
        """Whether the host log says that, perhaps a little later."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            if words in self.log()[since:]:
                return True
            time.sleep(0.1)
        return False


class Stream(threading.Thread):
    """Publishes at the hub; each has its PUBACK when run() ends."""

    def __init__(self, hub, readings):
        super().__init__(daemon=True)
        self.device = clients.Device(hub.port, "press-7", hub.passwords["press-7"], "press-7-nodes")
        self.readings, self.failure, self.acknowledged = readings, None, 0

    def run(self):
        try:
            self.device.connect()
            for at in range(0, len(self.readings), 10):
                part = self.readings[at:at + 10]
                self.device.publish([(clients.TOPIC, clients.reading_text(7, *reading)) for reading in part], window=10)
                self.acknowledged += len(part)
            self.device.close()
        except Exception as failure:  # looked at by end()
            self.failure = failure

    def end(self, deadline_s=60):
        self.join(deadline_s)
        if self.failure or self.is_alive():
            raise self.failure or crenel.Failed(f"after {deadline_s} s only {self.acknowledged} are acknowledged")


def flow(system, name="reading"):
    return system.status().flows[name]


def check_both(name, hub, cloud, readings):
    """Both have stored each reading once."""
    hub.wait_drained(60)
    cloud.wait_drained(60)
    wanted = hours_of(readings, 7)
    checks.expect(f"{name}_is_in_the_cloud_once", cloud.hours() == wanted, difference(cloud.hours(), wanted))
    checks.expect(f"{name}_is_at_the_hub_once", hub.hours() == wanted, difference(hub.hours(), wanted))


def difference(found, wanted):
    return [(key, found.get(key), wanted.get(key)) for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key)][:3]
