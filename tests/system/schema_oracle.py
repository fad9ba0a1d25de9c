#!/usr/bin/python3
"""The schema checker against an independent judge.

This is written from the prose of docs/schemas.md and the top of core/schema.c, not from the code: it writes the YAML itself, lays
the fields out itself, and gives verdicts on messages, most of them valid ones with something changed. `crenel schema check`
must give the same verdict on each, field included. MESSAGES=1000000 for a million instead of some 25,000, SEED for others."""
import os, random, re, subprocess, sys, tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = os.path.join(ROOT, os.environ.get("CRENEL_BUILD", "build"))
CRENEL = os.path.join(BUILD, "bin", "crenel")
WIDTH = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "bool": 1, "enum": 1}
TEXTS = ("string", "bytes", "sealed")
SINKS = {  # what a text may not hold, as a search
    "sql": r"['\"`;\\#]|--|/\*|\*/", "shell": r"['\"`;\\#$&|<>(){}\[\]*?!~^%]|^-", "html": r"['\"`<>&]",
    "csv": "[\",;|]|^[-=+@ \uff0b\uff0d\uff1d\uff20]",
    "log": "\\${|[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]", "path": r"[\\:*?\"<>|]|\.\.|^[/~ -]"}
CLASSES = {"token": r"[A-Za-z0-9_.:-]*", "host": r"[a-z0-9.-]*", "printable": r"[ -~]*", "utf8": r"[^\x00-\x1f\x7f-\x9f]*",
           "topic": r"[^\x00-\x1f\x7f-\x9f+#]*"}

# (name, type, attributes); numbers here are already scaled by 10^decimals.
SCHEMAS = {
    "reading/1": ([("sensor", "u32", dict(min=1, max=4096)), ("value", "i32", dict(min=-40000, max=125000)),
                   ("state", "enum", dict(of=["ok", "stale", "fault"])), ("is_test", "bool", {}),
                   ("low", "i64", dict(min=-(1 << 63), max=(1 << 63) - 1)),
                   ("high", "u64", dict(min=5, max=(1 << 64) - 1)),
                   ("site", "string", dict(most=6, cls="token"))], [("low", "<=", "high"), ("sensor", "!=", "value")]),
    "list/1": ([("tag", "u8", dict(min=0, max=9)), ("history", "array", dict(of="i16", most=4, min=-100, max=100)),
                ("wide", "array", dict(of="u64", most=2, min=1, max=(1 << 64) - 2)), ("count", "u16", dict(min=0, max=4)),
                ("doors", "array", dict(of="enum", most=3, labels=["open", "shut"])), ("flags", "array", dict(of="bool", most=5))],
               [("count", "==", "history")]),
    "text/1": ([("a", "string", dict(most=5, cls="utf8")), ("b", "string", dict(most=7, cls="host")),
                ("c", "string", dict(most=8, cls="topic")), ("d", "string", dict(most=3, cls="printable")),
                ("e", "i8", dict(min=-128, max=127))], [("a", "<", "c")]),
    "sinks/1": ([(sink, "string", dict(most=6, cls="utf8", deny=[sink])) for sink in SINKS] +
                [("all", "string", dict(most=9, cls="printable", deny=list(SINKS)))], []),
    "raw/1": ([("kind", "u16", dict(min=1, max=2)), ("payload", "bytes", dict(most=21))], []),
    "sealed/1": ([("key", "u16", dict(min=1, max=2)), ("secret", "sealed", dict(most=13))], []),
    "tiny/1": ([("x", "i8", dict(min=-3, max=3))], []),
    "nested/1": ([("kind", "u8", dict(min=0, max=9)),
                  ("position", "record", dict(fields=[("x", "i16", dict(min=-5, max=5)), ("y", "u64", dict(min=1, max=9)),
                                                      ("list", "array", dict(of="u16", most=2, min=0, max=9)),
                                                      ("site", "string", dict(most=3, cls="token", deny=["path"]))])),
                  ("samples", "array", dict(of="record", most=3, fields=[("kind", "enum", dict(of=["a", "b"])),
                                                                         ("at", "u32", dict(min=2, max=86400)),
                                                                         ("name", "string", dict(most=3, cls="host"))])),
                  ("count", "u8", dict(min=0, max=3)), ("note", "bytes", dict(most=5))],
                 [("position.x", "<", "position.y"), ("count", "==", "samples")]),
    "batch/1": ([("sensor", "u16", dict(min=1, max=99)),
                 ("samples", "array", dict(of="record", most=4, fields=[("at", "u64", dict(min=0, max=1 << 60)),
                                                                        ("value", "i32", dict(min=-9, max=9)),
                                                                        ("is_good", "bool", {})]))], []),
}


def align(n, a):
    return (n + a - 1) // a * a


def alignment(kind, more):
    """Of the C struct's members that a field becomes."""
    if kind == "record":
        return max(alignment(*member[1:]) for member in more["fields"])
    own = 2 if kind in TEXTS or kind == "array" else WIDTH[kind]
    return max(own, WIDTH[more["of"]]) if kind == "array" and more["of"] != "record" else own


class Field:
    def __init__(self, name, kind, more, at):
        self.name, self.kind, self.more, self.at = name, kind, more, at
        self.has_length = kind in TEXTS or kind == "array"
        self.width = 2 if self.has_length else WIDTH[kind]
        self.members, self.stride, self.first = [], 0, None  # of an array of records
        if kind in TEXTS:
            self.end = at + 2 + more["most"]
        elif kind == "array" and more["of"] != "record":
            self.first = align(at + 2, WIDTH[more["of"]])
            self.end = self.first + more["most"] * WIDTH[more["of"]]
        else:
            self.end = at + self.width

    def scalar(self):
        return self.more["of"] if self.kind == "array" else self.kind

    def value(self, m, shift=0):
        at = self.at + shift
        return int.from_bytes(m[at:at + self.width], "little", signed=self.kind[0] == "i")


class Schema:
    def __init__(self, name, fields, relations):
        self.name, self.source, self.relations = name, fields, relations
        self.fields, self.flat = [], []  # without the members of arrays; all, as verdicts name them
        self.end = self.lay_out(fields, 0, "", self.fields)
        self.size = align(self.end, 8)
        self.cut = self.fields[-1].kind in TEXTS

    def lay_out(self, fields, end, prefix, to):
        for name, kind, more in fields:
            if kind == "record":
                a = alignment(kind, more)
                end = align(self.lay_out(more["fields"], align(end, a), name + ".", to), a)
                continue
            field = Field(prefix + name, kind, more, align(end, 2 if kind in TEXTS or kind == "array" else WIDTH[kind]))
            to.append(field)
            self.flat.append(field)
            end = field.end
            if kind == "array" and more["of"] == "record":
                a = alignment("record", more)
                field.first = align(end, a)
                stop = self.lay_out(more["fields"], field.first, name + ".", field.members)
                field.stride = align(stop, a) - field.first
                end = field.end = field.first + field.stride * more["most"]
        return end

    def yaml(self, is_for_cddl=False):
        def lines(fields, indent):
            for name, kind, more in fields:
                yield f"{indent}- name: {name}"
                yield f"{indent}  type: {kind}"
                for key, value in more.items():
                    if key == "fields":
                        yield f"{indent}  fields:"
                        yield from lines(value, indent + "    ")
                    elif key != "deny" or not is_for_cddl:
                        value = f"[{', '.join(value)}]" if isinstance(value, list) else value
                        yield f"{indent}  {'class' if key == 'cls' else key}: {value}"
        text = "\n".join([f"schema: {self.name}", "fields:", *lines(self.source, "  ")]) + "\n"
        if self.relations and not is_for_cddl:
            text += "relations: [" + ", ".join(" ".join(r) for r in self.relations) + "]\n"
        return text

    def write(self, folder, is_for_cddl=False):  # that has no words for relations and denied sinks
        path = os.path.join(folder, "schema.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(self.yaml(is_for_cddl))
        return path

    def length(self, m):
        """How long the message has to be, or -1."""
        last = self.fields[-1]
        if not self.cut:
            return self.size
        if not last.at + 2 <= len(m) <= self.size:
            return -1
        return align(last.at + 2 + last.value(m), 8)

    def verdict(self, m):
        if len(m) != self.length(m):
            return "length -"
        end = 0
        for field in self.fields:
            if any(m[end:field.at]):
                return f"padding {field.name}"
            wrong = field_verdict(field, m, 0)
            if wrong:
                return wrong
            end = field.end
            if not field.members:
                continue
            end = field.at + 2
            for i in range(field.value(m)):
                for member in field.members:
                    if any(m[end:member.at + i * field.stride]):
                        return f"padding {member.name}"
                    wrong = field_verdict(member, m, i * field.stride)
                    if wrong:
                        return wrong
                    end = member.end + i * field.stride
            if any(m[end:field.end]):
                return f"padding {field.name}"
            end = field.end
        if any(m[end:]):
            return "padding -"
        by_name = {field.name: field for field in self.fields}
        for left, operator, right in self.relations:
            a, b = by_name[left].value(m), by_name[right].value(m)
            if not {"<": a < b, "<=": a <= b, "==": a == b, "!=": a != b}[operator]:
                return f"relation {left}"
        return "good"

    def make(self, r):
        m = bytearray(self.size)
        for field in self.fields:
            put_value(r, field, m, 0)
            for i in range(field.value(m) if field.members else 0):
                for member in field.members:
                    put_value(r, member, m, i * field.stride)
        by_name = {field.name: field for field in self.fields}
        for left, operator, right in self.relations:  # make equal counts likely
            if operator == "==":
                field, value = by_name[left], by_name[right].value(m)
                m[field.at:field.at + field.width] = value.to_bytes(field.width, "little")
        if self.cut:
            last = self.fields[-1]
            del m[align(last.at + 2 + last.value(m), 8):]
        return m

    def places(self, m):
        """(field, shift) for each value that the message holds, members of arrays once for each record."""
        for field in self.fields:
            yield field, 0
            for i in range(field.value(m) if field.members else 0):
                yield from ((member, i * field.stride) for member in field.members)

    def reserved(self, m):
        """The bytes that hold no value."""
        free = set(range(len(m)))
        for field, shift in self.places(m):
            at = field.at + shift
            free -= set(range(at, at + field.width))
            if field.kind in TEXTS:
                free -= set(range(at + 2, at + 2 + field.value(m, shift)))
            elif field.kind == "array" and not field.members:
                free -= set(range(field.first + shift, field.first + shift + field.value(m, shift) * WIDTH[field.more["of"]]))
        return sorted(free)


def schemas():
    return [(name, Schema(name, *parts)) for name, parts in SCHEMAS.items()]


def bounds(kind, more):
    if kind == "bool":
        return 0, 1
    if kind == "enum":
        return 0, len(more["labels"] if more["of"] == "enum" else more["of"]) - 1
    return more["min"], more["max"]


def scalar_verdict(field, kind, value):
    low, high = bounds(kind, field.more)
    if low <= value <= high:
        return None
    return ("enumeration " if kind == "enum" else "range ") + field.name


def field_verdict(field, m, shift):
    kind, more, at = field.kind, field.more, field.at + shift
    v = field.value(m, shift)
    if not field.has_length:
        return scalar_verdict(field, kind, v)
    if v > more["most"]:
        return f"length {field.name}"
    if kind in TEXTS:
        if kind == "string" and not is_text_good(more, m[at + 2:at + 2 + v]):
            return f"class {field.name}"
        return f"padding {field.name}" if any(m[at + 2 + v:field.end + shift]) else None
    if field.members:
        return None
    width, first = WIDTH[more["of"]], field.first + shift
    if any(m[at + 2:first]):
        return f"padding {field.name}"
    for i in range(v):
        item = int.from_bytes(m[first + i * width:first + i * width + width], "little", signed=more["of"][0] == "i")
        wrong = scalar_verdict(field, more["of"], item)
        if wrong:
            return wrong
    return f"padding {field.name}" if any(m[first + v * width:field.end + shift]) else None


def is_text_good(more, raw):
    try:
        text = bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return re.fullmatch(CLASSES[more["cls"]], text) is not None and not any(re.search(SINKS[s], text) for s in more.get("deny", []))


def number(r, kind, more):
    low, high = bounds(kind, more)
    return r.choice([low, high, r.randint(low, high), min(high, low + r.randint(0, 9))])


def put_value(r, field, m, shift):
    kind, more, at = field.kind, field.more, field.at + shift
    if kind in TEXTS:
        text = make_text(r, more) if kind == "string" else r.randbytes(r.randint(0, more["most"]))
        m[at:at + 2] = len(text).to_bytes(2, "little")
        m[at + 2:at + 2 + len(text)] = text
    elif kind == "array":
        count = r.randint(0, more["most"])
        m[at:at + 2] = count.to_bytes(2, "little")
        for i in range(0 if field.members else count):
            width = WIDTH[more["of"]]
            put = field.first + shift + i * width
            m[put:put + width] = number(r, more["of"], more).to_bytes(width, "little", signed=more["of"][0] == "i")
    else:
        m[at:at + field.width] = number(r, kind, more).to_bytes(field.width, "little", signed=kind[0] == "i")


def make_text(r, more):
    pick = {"token": "aZ9-_.:", "host": "az09-.", "printable": " ~a0", "utf8": "a\u00e4\u20ac\U0001f600",
            "topic": "a/\u00e4"}[more["cls"]]
    pick = [c for c in pick if is_text_good(more, ("a" + c).encode())] + (["'", "=", "-", ".", "$", "{"] if r.random() < 0.02 else [])
    text = b""
    for _ in range(r.randint(0, more["most"])):
        more_text = text + r.choice(pick).encode()
        if len(more_text) <= more["most"]:
            text = more_text
    return text


NASTY = ["'", '"', ";", "--", "/*", "$(", "${", "<", "&", ",", "=", "+", "@", "..", "../", "\\", "~", "%", "#", "\u2028", "\u202e",
         "\ufeff", "\uff1d", "\u0085", "\t", "\n", "\x7f", "-", " "]


def change(r, m, schema):
    """One change that a sender could try, or none."""
    m = bytearray(m)
    what = r.randrange(11)
    if what == 0 or not m:
        return m
    if what == 1:
        m[r.randrange(len(m))] = r.randrange(256)
    elif what == 2:
        m[r.randrange(len(m))] ^= 1 << r.randrange(8)
    elif what == 3:
        del m[r.randrange(len(m)):]
    elif what == 4:
        m += bytes(r.randint(1, 16))
    elif what == 5:
        at = r.randrange(0, len(m), 2)
        m[at:at + 2] = r.choice([0, 1, 255, 65535, r.randrange(64)]).to_bytes(2, "little")
    elif what == 10:
        at = r.randrange(0, len(m), 8)
        m[at:at + 8] = r.choice([bytes(8), b"\xff" * 8, b"\xff" * 7 + b"\x7f", bytes(7) + b"\x80"])
    elif what == 6:
        m = bytearray(r.randbytes(len(m)))
    elif what == 7:  # a text that a sink would obey
        texts = [(f, s) for f, s in schema.places(m) if f.kind == "string" and (f is not schema.fields[-1] or not schema.cut)]
        if texts:
            field, shift = r.choice(texts)
            raw = (r.choice(["", "a", "\u00e4"]) + r.choice(NASTY) + r.choice(["", "b"])).encode()[:field.more["most"]]
            m[field.at + shift:field.end + shift] = (len(raw).to_bytes(2, "little") + raw).ljust(field.more["most"] + 2, b"\0")
    elif what == 8:  # an edge
        field, shift = r.choice(list(schema.places(m)))
        if not field.has_length:
            low, high = bounds(field.kind, field.more)
            value = r.choice([low - 1, high + 1]) % (1 << 8 * field.width)
            m[field.at + shift:field.at + shift + field.width] = value.to_bytes(field.width, "little")
    elif what == 9:
        free = schema.reserved(m)
        if free:
            m[r.choice(free)] = r.randrange(256)
    return m


def ask(path, messages):
    run = subprocess.run([CRENEL, "schema", "check", path], text=True, capture_output=True,
                         input="".join(m.hex() + "\n" for m in messages))
    return run.stdout.splitlines(), run.stderr


def report(name, problem):
    print(f"not ok {name} - {problem}" if problem else f"ok {name}")
    return bool(problem)


def compare(name, schema, messages, found, error, wanted):
    wrong = [i for i, w in enumerate(wanted) if i >= len(found) or found[i] != w]
    if not wrong:
        return None
    i = wrong[0]
    said = found[i] if i < len(found) else error.strip()
    return f"{name}: {len(wrong)} differ; first: {messages[i].hex()} is {wanted[i]}, crenel says {said}"


def exhaustive(r, schema):
    """Good messages, and (message, verdict) for what must be refused: cut and longer ones, edges, reserved bytes."""
    good = []
    while len(good) < 6:
        m = schema.make(r)
        if schema.verdict(m) == "good":
            good.append(m)
    cases = [(m[:k], "length -") for m in good for k in range(len(m))]
    cases += [(m + bytes(k), "length -") for m in good for k in range(1, 33)]
    for m in good:
        for field, shift in schema.places(m):
            at = field.at + shift
            if field.has_length:
                tries = [(field.more["most"] + 1, "length")]
            else:
                low, high = bounds(field.kind, field.more)
                reason = "enumeration" if field.kind == "enum" else "range"
                least = -(1 << 8 * field.width - 1) if field.kind[0] == "i" else 0
                tries = [(v, reason) for v in (low - 1, high + 1) if least <= v < least + (1 << 8 * field.width)]
            for value, reason in tries:
                bad = bytearray(m)
                bad[at:at + field.width] = (value % (1 << 8 * field.width)).to_bytes(field.width, "little")
                is_last = schema.cut and field is schema.fields[-1]  # its length says how long the message has to be
                verdict = schema.verdict(bad) if is_last else f"{reason} {field.name}"
                cases.append((bad, verdict if verdict.startswith(reason) else reason))
        for place in schema.reserved(m):
            bad = bytearray(m)
            bad[place] = r.randint(1, 255)
            verdict = schema.verdict(bad)
            cases.append((bad, verdict if verdict.startswith("padding ") else "padding"))
    return good, cases


def main():
    seed, total = os.environ.get("SEED", "1"), int(os.environ.get("MESSAGES", "27000"))
    failures, reasons, refused = 0, set(), []
    with tempfile.TemporaryDirectory() as folder:
        for name, schema in schemas():
            r = random.Random(f"{seed} {name}")
            path = schema.write(folder)
            good, cases = exhaustive(r, schema)
            found, error = ask(path, good + [m for m, _ in cases])
            refused.append(compare(name, schema, good + [m for m, _ in cases], found, error,
                                   ["good"] * len(good) + [verdict for _, verdict in cases]))
            problem, good_count, count = None, 0, total // len(SCHEMAS)
            for first in range(0, count, 20000):
                messages = [change(r, schema.make(r), schema) for _ in range(min(20000, count - first))]
                found, error = ask(path, messages)
                wanted = [schema.verdict(m) for m in messages]
                reasons |= {w.split()[0] for w in wanted}
                good_count += wanted.count("good")
                problem = problem or compare(f"SEED={seed}", schema, messages, found, error, wanted)
            if not count * 0.1 < good_count < count * 0.9:
                problem = problem or f"{good_count} of {count} are good"
            failures += report("oracle_agrees_on_" + name.split("/")[0], problem)
    failures += report("acceptance 1: every cut, every longer message, every field beyond its edge and every reserved byte is refused, with the field",
                       "; ".join(filter(None, refused)))
    missing = {"good", "length", "range", "enumeration", "class", "padding", "relation"} - reasons
    failures += report("acceptance 1: an independent judge agrees on every message, and meets every verdict",
                       f"never met: {missing}" if missing else "see above" if failures else None)
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
