#!/usr/bin/python3
"""The schema checker against an independent judge.

This is written from the prose of docs (cli/source/schema_source.h and the top of core/schema.c), not from the code: it
reads the YAML itself, lays the fields out itself, and gives verdicts on ~20,000 messages, most of them valid ones
with something changed. `crenel schema check` must give the same verdict on each, field included."""
import os, random, subprocess, sys, tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
CRENEL = os.path.join(os.path.join(ROOT, os.environ.get("CRENEL_BUILD", "build")), "bin", "crenel")
WIDTH = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "bool": 1, "enum": 1}
TOKEN = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:")
HOST = set(b"abcdefghijklmnopqrstuvwxyz0123456789-.")

# (name, type, attributes); numbers here are already scaled by 10^decimals.
SCHEMAS = {
    "reading/1": ([("sensor", "u32", dict(min=1, max=4096)), ("value", "i32", dict(min=-40000, max=125000)),
                   ("state", "enum", dict(of=["ok", "stale", "fault"])), ("is_test", "bool", {}),
                   ("low", "i64", dict(min=-(1 << 63), max=(1 << 63) - 1)),
                   ("high", "u64", dict(min=5, max=(1 << 64) - 1)),
                   ("site", "string", dict(most=6, cls="token"))], [("low", "<=", "high"), ("sensor", "!=", "value")]),
    "list/1": ([("tag", "u8", dict(min=0, max=9)), ("history", "array", dict(of="i16", most=4, min=-100, max=100)),
                ("wide", "array", dict(of="u64", most=2, min=1, max=(1 << 64) - 2)), ("count", "u16", dict(min=0, max=4))],
               [("count", "==", "history")]),
    "text/1": ([("a", "string", dict(most=5, cls="utf8")), ("b", "string", dict(most=7, cls="host")),
                ("c", "string", dict(most=8, cls="topic")), ("d", "string", dict(most=3, cls="printable")),
                ("e", "i8", dict(min=-128, max=127))], [("a", "<", "c")]),
    "raw/1": ([("kind", "u16", dict(min=1, max=2)), ("payload", "bytes", dict(most=21))], []),
    "tiny/1": ([("x", "i8", dict(min=-3, max=3))], []),
}


def align(n, a):
    return (n + a - 1) // a * a


class Schema:
    def __init__(self, name):
        self.name = name
        self.fields, self.relations = SCHEMAS[name]
        self.at, end = [], 0
        for _, kind, more in self.fields:
            start = align(end, 2 if kind in ("string", "bytes", "array") else WIDTH[kind])
            self.at.append(start)
            if kind in ("string", "bytes"):
                end = start + 2 + more["most"]
            elif kind == "array":
                end = align(start + 2, WIDTH[more["of"]]) + more["most"] * WIDTH[more["of"]]
            else:
                end = start + WIDTH[kind]
        self.end, self.size = end, align(end, 8)
        self.cut = self.fields[-1][1] in ("string", "bytes")

    def yaml(self):
        lines = [f"schema: {self.name}", "fields:"]
        for name, kind, more in self.fields:
            parts = [f"name: {name}", f"type: {kind}"]
            for key, value in more.items():
                key = "class" if key == "cls" else key
                parts.append(f"{key}: [{', '.join(value)}]" if isinstance(value, list) else f"{key}: {value}")
            lines.append("  - {" + ", ".join(parts) + "}")
        if self.relations:
            lines.append("relations: [" + ", ".join(" ".join(r) for r in self.relations) + "]")
        return "\n".join(lines) + "\n"

    def value(self, index, m):
        kind, at = self.fields[index][1], self.at[index]
        width = 2 if kind in ("string", "bytes", "array") else WIDTH[kind]
        return int.from_bytes(m[at:at + width], "little", signed=kind[0] == "i")

    def verdict(self, m):
        if self.cut:
            last = self.at[-1]
            if len(m) < last + 2 or len(m) > self.size:
                return "length -"
            if len(m) != align(last + 2 + int.from_bytes(m[last:last + 2], "little"), 8):
                return "length -"
        elif len(m) != self.size:
            return "length -"
        end = 0
        for i, (name, kind, more) in enumerate(self.fields):
            at = self.at[i]
            if any(m[end:at]):
                return f"padding {name}"
            v = self.value(i, m)
            if kind in ("string", "bytes"):
                end = at + 2 + more["most"]
                if v > more["most"]:
                    return f"length {name}"
                if kind == "string" and not in_class(more["cls"], m[at + 2:at + 2 + v]):
                    return f"class {name}"
                if any(m[at + 2 + v:end]):
                    return f"padding {name}"
            elif kind == "array":
                width = WIDTH[more["of"]]
                first = align(at + 2, width)
                end = first + width * more["most"]
                if v > more["most"]:
                    return f"length {name}"
                if any(m[at + 2:first]):
                    return f"padding {name}"
                for j in range(v):
                    item = int.from_bytes(m[first + j * width:first + j * width + width], "little",
                                          signed=more["of"][0] == "i")
                    if not more["min"] <= item <= more["max"]:
                        return f"range {name}"
                if any(m[first + v * width:end]):
                    return f"padding {name}"
            else:
                end = at + WIDTH[kind]
                if kind == "bool" and v > 1:
                    return f"range {name}"
                if kind == "enum" and v >= len(more["of"]):
                    return f"enumeration {name}"
                if kind[0] in "ui" and not more["min"] <= v <= more["max"]:
                    return f"range {name}"
        if any(m[end:]):
            return "padding -"
        names = [f[0] for f in self.fields]
        for left, operator, right in self.relations:
            a, b = self.value(names.index(left), m), self.value(names.index(right), m)
            if not {"<": a < b, "<=": a <= b, "==": a == b, "!=": a != b}[operator]:
                return f"relation {left}"
        return "good"

    def make(self, r):
        m = bytearray(self.size)
        for i, (_, kind, more) in enumerate(self.fields):
            at = self.at[i]
            if kind in ("string", "bytes"):
                text = r.randbytes(r.randint(0, more["most"])) if kind == "bytes" else make_text(r, more)
                m[at:at + 2] = len(text).to_bytes(2, "little")
                m[at + 2:at + 2 + len(text)] = text
            elif kind == "array":
                width, count = WIDTH[more["of"]], r.randint(0, more["most"])
                m[at:at + 2] = count.to_bytes(2, "little")
                for j in range(count):
                    put = align(at + 2, width) + j * width
                    m[put:put + width] = number(r, more).to_bytes(width, "little", signed=more["of"][0] == "i")
            elif kind in ("bool", "enum"):
                m[at] = r.randrange(len(more["of"]) if kind == "enum" else 2)
            else:
                m[at:at + WIDTH[kind]] = number(r, more).to_bytes(WIDTH[kind], "little", signed=kind[0] == "i")
        for left, operator, right in self.relations:  # make equal counts likely
            names = [f[0] for f in self.fields]
            if operator == "==":
                at = self.at[names.index(left)]
                m[at:at + 2] = m[self.at[names.index(right)]:][:2]
        if self.cut:
            last = self.at[-1]
            del m[align(last + 2 + int.from_bytes(m[last:last + 2], "little"), 8):]
        return m


def number(r, more):
    low, high = more["min"], more["max"]
    return r.choice([low, high, r.randint(low, high), min(high, low + r.randint(0, 9))])


def make_text(r, more):
    pick = {"token": "aZ9-_.:", "host": "az09-.", "printable": " ~a0", "utf8": "a\u00e4\u20ac\U0001f600",
            "topic": "a/\u00e4"}[more["cls"]]
    text = b""
    for _ in range(r.randint(0, more["most"])):
        more_text = text + r.choice(pick).encode()
        if len(more_text) <= more["most"]:
            text = more_text
    return text


def in_class(cls, text):
    if cls == "token":
        return all(c in TOKEN for c in text)
    if cls == "host":
        return all(c in HOST for c in text)
    if cls == "printable":
        return all(0x20 <= c <= 0x7e for c in text)
    try:
        characters = bytes(text).decode("utf-8", "strict")  # shortest form, no surrogates
    except UnicodeDecodeError:
        return False
    if any(ord(c) < 0x20 or 0x7f <= ord(c) <= 0x9f for c in characters):
        return False
    return cls == "utf8" or not any(c in "+#" for c in characters)


def change(r, m):
    m = bytearray(m)
    how = r.randrange(8)
    if how == 0 and m:
        m[r.randrange(len(m))] = r.choice([0, 1, 0x7f, 0x80, 0xff, 0x2b, 0x23, 0xc3, r.randrange(256)])
    elif how == 1 and m:
        m[r.randrange(len(m))] ^= 1 << r.randrange(8)
    elif how == 2:
        del m[r.randint(0, len(m)):]
    elif how == 3:
        m += bytes(r.choice([1, 7, 8, 16]))
    elif how == 4 and len(m) > 3:
        at = r.randrange(len(m) - 2)
        m[at:at + 2] = r.choice([0, 1, 5, 6, 21, 22, 255, 0xffff]).to_bytes(2, "little")
    elif how == 5 and len(m) > 8:
        at = r.randrange(len(m) // 8) * 8
        m[at:at + 8] = r.choice([bytes(8), b"\xff" * 8, b"\xff" * 7 + b"\x7f", bytes(7) + b"\x80"])
    elif how == 6:
        m = bytearray(r.randbytes(len(m)))
    return m


def main():
    seed = int(os.environ.get("SEED", "1"))
    failures, reasons = 0, set()
    with tempfile.TemporaryDirectory() as folder:
        for name in SCHEMAS:
            r, schema = random.Random(f"{seed} {name}"), Schema(name)
            messages = [change(r, schema.make(r)) for _ in range(4000)]
            path = os.path.join(folder, "schema.yaml")
            with open(path, "w", encoding="utf-8") as out:
                out.write(schema.yaml())
            run = subprocess.run([CRENEL, "schema", "check", path], text=True, capture_output=True,
                                 input="".join(m.hex() + "\n" for m in messages))
            found = run.stdout.splitlines()
            wanted = [schema.verdict(m) for m in messages]
            reasons |= {w.split()[0] for w in wanted}
            wrong = [i for i, w in enumerate(wanted) if i >= len(found) or found[i] != w]
            good = wanted.count("good")
            test = "oracle_agrees_on_" + name.split("/")[0]
            if wrong or not 400 < good < 3600:
                i = wrong[0] if wrong else 0
                said = found[i] if i < len(found) else run.stderr.strip()
                print(f"not ok {test} - {len(wrong)} differ (SEED={seed}, {good} good); first: "
                      f"{messages[i].hex()} is {wanted[i]}, crenel says {said}")
                failures += 1
            else:
                print(f"ok {test}")
    missing = {"good", "length", "range", "enumeration", "class", "padding", "relation"} - reasons
    print(f"not ok oracle_meets_every_verdict - never met: {missing}" if missing else "ok oracle_meets_every_verdict")
    sys.exit(failures != 0 or bool(missing))


main()
