# SPDX-License-Identifier: ISC
"""A DNS server on loopback that says what a test wants said."""
import ipaddress
import socket
import struct
import threading


class NameServer(threading.Thread):
    """answers: name -> addresses. What is no known name has none (NXDOMAIN). junk: says this instead, whatever is asked."""

    def __init__(self, answers):
        super().__init__(daemon=True)
        self.answers, self.junk, self.asked = answers, None, 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def run(self):
        while True:
            query, peer = self.socket.recvfrom(4096)
            self.asked += 1
            for answer in self.junk(query) if self.junk else [self.answer(query)]:
                self.socket.sendto(answer, peer)

    def answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("ascii").lower())
            at += 1 + query[at]
        kind = struct.unpack_from(">H", query, at + 1)[0]
        known = self.answers.get(".".join(labels))
        wanted = [address for address in map(ipaddress.ip_address, known or ()) if {1: 4, 28: 6}.get(kind) == address.version]
        head = query[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, len(wanted), 0, 0)
        records = [b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(address.packed)) + address.packed for address in wanted]
        return head + query[12:at + 5] + b"".join(records)
