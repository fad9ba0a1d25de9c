#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The audit process against an independent judge.

The judge is written from the C2SP specifications (tlog-tiles, signed-note, tlog-checkpoint) with hashlib, and has
`openssl pkeyutl` check the signature. The audit process is the real one, killed in mid-stream and started again."""
import array, base64, hashlib, json, os, re, shutil, socket, struct, subprocess, tempfile, time

import checks

AUDIT = os.path.join(checks.BUILD, "bin", "crenel-audit")
CRENEL = os.path.join(checks.BUILD, "bin", "crenel")
RECORD, ACK = 1, 2


def control_numbers():
    """The values of enum control_what, from the header, so that this file does not go stale."""
    text = open(os.path.join(checks.TREE, "proto", "control.h"), encoding="utf-8").read()
    body = text.split("enum control_what {")[1].split("}")[0]
    names = [part.split("//")[0].strip() for line in body.splitlines() for part in line.split("//")[0].split(",")]
    names = [name.split("=")[0].strip() for name in names if name]
    return {name: number for number, name in enumerate(names)}


def compiled_system():
    """The smallest one: no unikernel, no flow; each table of proto/system.h is empty."""
    with open(os.path.join(checks.TREE, "proto", "system.h"), encoding="utf-8") as file:
        text = file.read()
    version = int(re.search(r"SYSTEM_VERSION (\d+)u", text)[1])
    body = re.search(r"struct system_header \{(.*?)\n\};", text, re.S)[1]
    tables = len(re.findall(r"^    struct system_table \w+;", body, re.M))
    header = b"watch".ljust(32, b"\0") + b"plant".ljust(32, b"\0") + struct.pack("<IBBH", 1, 1, 0, 0)
    header += tables * struct.pack("<II", 128 + len(header) + 8 * tables, 0)
    return struct.pack("<QII", 0x6d747379536c4e43, version, len(header)) + bytes(112) + header


class Audit:
    """One run of the audit process."""

    def __init__(self, folder):
        what = control_numbers()
        self.control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        system, page = os.memfd_create("system"), os.memfd_create("page")
        os.write(system, compiled_system())
        os.truncate(page, 131072)
        fds = {3: control.fileno(), 4: system, 5: page}
        high = {number: os.dup2(fd, 60 + number) for number, fd in fds.items()}

        def take_places():
            for number, fd in high.items():
                os.dup2(fd, number)

        self.process = subprocess.Popen([AUDIT, "audit", "0"], pass_fds=(3, 4, 5),
                                        preexec_fn=take_places, env={}, stderr=subprocess.PIPE)
        control.close()
        for fd in [system, page, *high.values()]:
            os.close(fd)
        self.links, self.received = [], [b"", b""]
        directory = os.open(folder, os.O_RDONLY)
        self.attach(what["CONTROL_DIRECTORY"], directory)
        os.close(directory)
        for name in ("CONTROL_STORE_AUDIT_LINK", "CONTROL_SUPERVISOR_AUDIT_LINK"):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.attach(what[name], theirs.fileno())
            theirs.close()
            ours.settimeout(20)
            self.links.append(ours)
        self.attach(what["CONTROL_START"], None)

    def attach(self, what, fd):
        record = struct.pack("<IHHIIQ", 24, 1, what, 0, 0, 0)
        ancillary = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        self.control.sendmsg([record], ancillary)

    def acknowledged(self, source):
        if not self.received[source]:  # a packet holds all that was said in one turn
            self.received[source] = self.links[source].recv(65536)
        size, kind, found, sequence = struct.unpack("<IHHQ", self.received[source][:16])
        self.received[source] = self.received[source][16:]
        assert (size, kind, found) == (16, ACK, source)
        return sequence

    def record(self, source, sequence):
        text = json.dumps({"kind": "test", "n": sequence}).encode()
        self.links[source].send(struct.pack("<IHHQ", 16 + len(text), RECORD, source, sequence) + text)

    def end(self, how):
        if how == "kill":
            self.process.kill()
        else:
            self.control.close()
        self.process.wait(20)
        for link in self.links:
            link.close()
        self.control.close()
        return self.process.stderr.read().decode()


def feed(folder, sources, how):
    """Sends what was not acknowledged, up to the wanted sequence of each source; waits for it unless killed."""
    audit = Audit(folder)
    for source, wanted in enumerate(sources):
        have = audit.acknowledged(source)
        for sequence in range(have + 1, wanted + 1):
            audit.record(source, sequence)
            audit.record(source, sequence)  # twice: dropped
        while how != "kill" and have < wanted:
            have = audit.acknowledged(source)
    return audit.end(how)


# ---- The judge ----
def mth(hashes):
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return hashlib.sha256(b"\1" + mth(hashes[:split]) + mth(hashes[split:])).digest()


def tile_path(level, index, width):
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03d}")
    return f"tile/{level}/" + "/".join(groups) + ("" if width == 256 else f".p/{width}")


def read(folder, path):
    with open(os.path.join(folder, path), "rb") as file:
        return file.read()


def judge(folder):
    """Entries of the log, or an exception."""
    name, key_id, key = read(folder, "log.vkey").decode().strip().split("+", 2)
    public = base64.b64decode(key, validate=True)
    assert public[0] == 1 and len(public) == 33
    assert hashlib.sha256(name.encode() + b"\n" + public).digest()[:4].hex() == key_id
    text, lines = read(folder, "checkpoint").split(b"\n\n")
    text += b"\n"
    dash, signer, signature = lines.decode().rstrip("\n").split(" ")
    signature = base64.b64decode(signature, validate=True)
    assert (dash, signer, signature[:4].hex()) == ("\u2014", name, key_id)
    with tempfile.TemporaryDirectory() as work:
        # SubjectPublicKeyInfo of Ed25519: a fixed prefix and the key
        pem = base64.b64encode(bytes.fromhex("302a300506032b6570032100") + public[1:]).decode()
        for path, data in (("key", f"-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n".encode()),
                           ("text", text), ("signature", signature[4:])):
            with open(os.path.join(work, path), "wb") as file:
                file.write(data)
        subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key", "-rawin", "-in", "text",
                        "-sigfile", "signature"], cwd=work, check=True, capture_output=True)
    origin, size, root = text.decode().split("\n")[:3]
    size = int(size)
    assert origin == name
    entries = []
    for index in range((size + 255) // 256):
        bundle = read(folder, tile_path("entries", index, min(256, size - index * 256)))
        while bundle:
            length = struct.unpack(">H", bundle[:2])[0]
            assert len(bundle) >= 2 + length
            entries.append(bundle[2:2 + length])
            bundle = bundle[2 + length:]
    assert len(entries) == size
    hashes = [hashlib.sha256(b"\0" + entry).digest() for entry in entries]
    assert base64.b64encode(mth(hashes)).decode() == root
    level = 0
    while hashes:
        for index in range((len(hashes) + 255) // 256):
            part = hashes[index * 256:index * 256 + 256]
            assert read(folder, tile_path(level, index, len(part))) == b"".join(part), (level, index)
        hashes = [mth(hashes[i:i + 256]) for i in range(0, len(hashes) - 255, 256)]
        level += 1
    return [json.loads(entry) for entry in entries]


def verdict_of_ours(folder):
    return subprocess.run([CRENEL, "audit", "verify", folder], capture_output=True, text=True)


def expect_agree(name, folder, sources):
    try:
        entries = judge(folder)
    except Exception as error:
        return checks.expect(name, False, repr(error))
    ours = verdict_of_ours(folder)
    found = [[e["sequence"] for e in entries if e["source"] == source] for source in ("store", "supervisor")]
    return checks.expect(name, ours.returncode == 0 and found == [list(range(1, n + 1)) for n in sources] and
                         all(e["record"]["n"] == e["sequence"] for e in entries),
                         ours.stdout + ours.stderr + str([len(f) for f in found]))


def is_bad_to_both(folder):
    try:
        judge(folder)
        return False
    except Exception:
        return verdict_of_ours(folder).returncode == 1


def main():
    folder = tempfile.mkdtemp(prefix="crenel-audit-oracle-")
    try:
        feed(folder, (0, 0), "end")
        expect_agree("an_empty_log", folder, (0, 0))
        for wanted in ((1, 0), (255, 1), (256, 1), (700, 3)):
            feed(folder, wanted, "end")
            expect_agree(f"log_of_{sum(wanted)}", folder, wanted)
        for wanted in ((1400, 4), (2200, 5), (3000, 6)):
            feed(folder, wanted, "kill")
            judge(folder)  # whatever was acknowledged stands
        feed(folder, (3000, 6), "end")
        expect_agree("killed_three_times_each_record_once", folder, (3000, 6))
        for path in ("checkpoint", "log.vkey", "tile/0/004", "tile/entries/007", "tile/1/000.p/11"):
            data = bytearray(read(folder, path))
            data[len(data) // 2] ^= 2
            with open(os.path.join(folder, path), "r+b") as file:
                file.write(data)
            is_bad = is_bad_to_both(folder)
            data[len(data) // 2] ^= 2
            with open(os.path.join(folder, path), "r+b") as file:
                file.write(data)
            checks.expect("both_refuse_changed_" + path.replace("/", "_"), is_bad, path)
        os.truncate(os.path.join(folder, "tile/1/000.p/11"), 32)
        said = feed_that_is_refused(folder)
        checks.expect("the_writer_refuses_to_continue_a_changed_log", "refuses to continue" in said, said)
    finally:
        shutil.rmtree(folder)
    return checks.failures != 0


def feed_that_is_refused(folder):
    audit = Audit(folder)
    audit.process.wait(20)
    return audit.end("end")


if __name__ == "__main__":
    raise SystemExit(main())
