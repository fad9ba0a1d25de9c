# SPDX-License-Identifier: ISC
"""From a publisher on one node to a subscriber on another, over TLS 1.3: Crenel's couriers beside mosquitto's bridge."""
import contextlib
import os
import shutil
import socket
import subprocess
import time

import crenel

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nodes")
MESSAGES = {1: 300, 32: 3000, 128: 5000}  # window: messages
SUBJECTS = {"mosquitto with a bridge": "bench", "crenel, durable": "plain", "crenel, durable, state of keys": "checked"}


def certificates(folder):
    """An authority, and what it issues to near and far."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-days", "30", "-subj", "/CN=bench", "-keyout", "authority.key", "-out", "authority.crt")
    for name in ("near", "far"):
        openssl("req", *key, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-copy_extensions", "copy", "-CA", "authority.crt", "-CAkey",
                "authority.key", "-CAcreateserial", "-days", "30", "-out", f"{name}.crt")


class Nodes:
    """Two systems, and two mosquittos."""

    def __init__(self, folder, build):
        self.folder = os.path.join(folder, "nodes")
        self.near = crenel.System(os.path.join(self.folder, "near"), build, os.path.join(SOURCE, "near"), 18834)
        self.far = crenel.System(os.path.join(self.folder, "far"), build, os.path.join(SOURCE, "far"), 18836)
        self.brokers, self.ports = [], []
        self.credentials = os.path.join(self.folder, "credentials")

    def start(self):
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        certificates(self.folder)
        for system in (self.far, self.near):  # who listens first
            system.prepare()
            for name in ("authority.crt", f"{system.name[6:]}.crt", f"{system.name[6:]}.key"):
                shutil.copy(os.path.join(self.folder, name), system.folder)
        link = self.far.ports[1]  # of the courier
        with open(self.near.file, encoding="utf-8") as file:
            text = file.read().replace("connect: 127.0.0.1:18835", f"connect: 127.0.0.1:{link}")
        with open(self.near.file, "w", encoding="utf-8") as file:
            file.write(text)
        self.far.up()
        self.near.up()
        with open(os.open(self.credentials, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write("".join(f"bench\n{system.passwords['bench']}\n" for system in (self.near, self.far)))
        self.ports = [crenel.free_port(18842), crenel.free_port(18843)]
        tls = crenel.free_port(18844)
        self.broker("far", f"listener {self.ports[1]} 127.0.0.1\nlistener {tls} 127.0.0.1\n"
                    "cafile authority.crt\ncertfile far.crt\nkeyfile far.key\nrequire_certificate true\ntls_version tlsv1.3\n", tls)
        self.broker("near", f"listener {self.ports[0]} 127.0.0.1\nconnection far\naddress 127.0.0.1:{tls}\ntopic bench out 1\n"
                    "notifications false\nbridge_cafile authority.crt\nbridge_certfile near.crt\nbridge_keyfile near.key\n"
                    "bridge_tls_version tlsv1.3\n", self.ports[0])
        end = time.monotonic() + 20
        while sum(row["links"] for row in self.near.json("status", *self.near.named())["couriers"]) == 0:
            if time.monotonic() > end:
                raise RuntimeError("the couriers are not linked")
            time.sleep(0.1)

    def broker(self, name, text, port):
        path = os.path.join(self.folder, f"{name}.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write("allow_anonymous true\nset_tcp_nodelay true\nmax_inflight_messages 1000\nlog_type none\nuser root\n" + text)
        self.brokers.append(subprocess.Popen(["mosquitto", "-c", path], cwd=self.folder, stderr=subprocess.DEVNULL))
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            time.sleep(0.1)
        raise RuntimeError("mosquitto does not listen")

    def round(self, measure):
        """(name, window) -> what measure() says."""
        rows = {}
        for name, topic in SUBJECTS.items():
            is_ours = topic != "bench"
            ports = [self.near.port, self.far.port] if is_ours else self.ports
            roots = [self.near.supervisor_pid(), self.far.supervisor_pid()] if is_ours else [broker.pid for broker in self.brokers]
            for window, messages in MESSAGES.items():
                rows[name, window] = measure(ports, topic, messages, window, self.credentials if is_ours else None, roots)
        return rows

    def stop(self):
        for broker in self.brokers:
            broker.terminate()
            broker.wait()
        self.near.down()
        self.far.down()
