#!/usr/bin/python3
"""The schema language from the outside: show, encode, decode and check; the struct that a guest sees; versions; and what is
said about a schema or a message that is wrong."""
import json, os, subprocess, tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
CRENEL = os.path.join(ROOT, os.environ.get("CRENEL_BUILD", "build"), "bin", "crenel")

FIRST = """schema: reading/1
fields:
  - {name: sensor, type: u32, min: 1, max: 4096}
  - {name: value, type: i32, decimals: 3, min: -40.000, max: 125.000, unit: Cel}
  - {name: state, type: enum, of: [ok, stale, fault]}
"""
ADDED = """  - {name: doors, type: array, of: enum, most: 4, labels: [open, shut]}
  - {name: flags, type: array, of: bool, most: 3}
  - name: position
    type: record
    fields:
      - {name: x, type: i16, min: -500, max: 500}
      - {name: y, type: u64, min: 0, max: 18446744073709551615}
      - {name: list, type: array, of: u32, most: 2, min: 0, max: 9}
      - {name: site, type: string, most: 5, class: token}
  - {name: tail, type: u8, min: 0, max: 3}
  - name: samples
    type: array
    of: record
    most: 3
    fields:
      - {name: kind, type: enum, of: [a, b]}
      - {name: at, type: u32, min: 0, max: 86400}
      - {name: name, type: string, most: 3, class: host}
  - {name: secret, type: sealed, most: 9}
  - {name: note, type: string, most: 20, class: utf8, deny: [sql, csv]}
relations: [sensor <= position.y, tail == samples]
"""
WHOLE = FIRST.replace("reading/1", "reading/2\nextends: reading/1") + ADDED
MESSAGE = {"sensor": 7, "value": -12.5, "state": "stale", "doors": ["open", "shut"], "flags": [True],
           "position": {"x": -3, "y": "18446744073709551615", "list": [1, 2], "site": "abc"}, "tail": 2,
           "samples": [{"kind": "b", "at": 5, "name": "a-b"}, {"kind": "a", "at": 6, "name": ""}],
           "secret": {"hex": "0001"}, "note": "K\u00e4se"}

GUEST = """#include "nest.h"
#include <crenel.h>

// Sends what it got, with old bytes where nothing counts: the library leaves them out.
void on_reading(const struct event *event, const struct reading *message)
{
    struct reading back;
    (void)event;
    memset(&back, 0xee, sizeof back);
    back.sensor = message->sensor;
    back.value = message->value / READING_VALUE_SCALE * READING_VALUE_SCALE;
    back.state = READING_STATE_FAULT;
    back.doors_count = 1;
    back.doors[0] = READING_DOORS_SHUT;
    back.flags_count = 0;
    back.position = message->position;
    back.position.x = (int16_t)(message->position.x + 1);
    back.tail = message->tail;
    back.samples_count = message->samples_count;
    for (unsigned i = 0; i < back.samples_count; i++) {
        struct reading_samples *sample = &back.samples[i];
        sample->kind = message->samples[i].kind;
        sample->at = message->samples[i].at + READING_SAMPLES_AT_MAX - READING_SAMPLES_AT_MAX;
        sample->name_length = 1;
        sample->name[0] = 'z';
    }
    back.secret_length = message->secret_length;
    memcpy(back.secret, message->secret, message->secret_length);
    back.note_length = 2;
    memcpy(back.note, "ok", 2);
    send_back(&back);
}
"""
UNIKERNEL = """unikernel: nest
schemas: [reading-2.yaml]
inputs:
  - {flow: reading, schema: reading/2}
outputs:
  - {flow: back, schema: reading/2, most: 1}
"""


def report(name, why):
    print(f"not ok {name} - {why}" if why else f"ok {name}")


def run(*arguments, given=None, cwd=None):
    done = subprocess.run([CRENEL, *arguments], capture_output=True, input=given, cwd=cwd, timeout=120)
    return done.returncode, done.stdout, done.stderr.decode()


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    return path


def changed(path, value):
    """MESSAGE with one member set (None: left out)."""
    message = json.loads(json.dumps(MESSAGE))
    at = message
    for step in path[:-1]:
        at = at[step]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return message


# (where, value, what is said about it)
WRONG = [
    (["sensor"], 0, "range: field 'sensor' may be 1 to 4096"),
    (["sensor"], 4097, "range: field 'sensor' may be 1 to 4096"),
    (["sensor"], -1, "field 'sensor' of reading/2 does not hold this value: it may be 1 to 4096"),
    (["value"], 125.001, "range: field 'value' may be -40.000 to 125.000 Cel"),
    (["value"], 1.0001, "field 'value' of reading/2 does not hold this value"),
    (["state"], "lost", "it may be one of ok stale fault"),
    (["doors", 1], "ajar", "field 'doors' of reading/2 does not hold this value: it may be at most 4 of enum, each one of open shut"),
    (["flags"], [True] * 4, "at most 3 of bool"),
    (["position", "x"], 501, "range: field 'position.x' may be -500 to 500"),
    (["position", "x"], "east", "field 'position.x' of reading/2 does not hold"),
    (["position", "z"], 1, "there is no field 'position.z' of reading/2"),
    (["position", "x"], None, "field 'position.x' of reading/2 is missing"),
    (["position"], None, "field 'position' of reading/2 is missing"),
    (["position"], 7, "is no JSON object"),
    (["position.x"], 7, "there is no field 'position.x' of reading/2"),
    (["samples", 1, "at"], 86401, "range: field 'samples.at' may be 0 to 86400"),
    (["samples", 1, "at"], "x", "field 'samples[1].at' of reading/2 does not hold"),
    (["samples", 0, "kind"], None, "field 'samples[0].kind' of reading/2 is missing"),
    (["samples", 0, "name"], "A", "class: field 'samples.name' may be at most 3 bytes of class host"),
    (["samples"], [{}] * 4, "at most 3 records"),
    (["tail"], 1, "relation: 'tail' is to be == 'samples'"),
    (["secret"], "0123456789", "at most 9 bytes that the fabric cannot read"),
    (["note"], "x'; drop", "class: field 'note' may be at most 20 bytes of class utf8, nothing that means something to sql csv"),
    (["note"], "=1+1", "class: field 'note'"),
    (["note"], "line\nend", "class: field 'note'"),
    (["note"], None, "field 'note' of reading/2 is missing"),
    (["more"], 1, "there is no field 'more' of reading/2"),
]

# (schema text in place of WHOLE, what is said)
BAD_SCHEMAS = [
    (FIRST.replace("reading/1", "reading/1\nextends: reading/1"), "reading/1 cannot extend 'reading/1'"),
    (FIRST.replace("reading/1", "other/2\nextends: reading/1"), "other/2 cannot extend 'reading/1'"),
    (FIRST.replace("reading/1", "reading/4\nextends: reading/3"), "which is not there"),
    (FIRST.replace("reading/1", "reading/2\nextends: reading/1").replace("max: 4096", "max: 4097"),
     "it has no such field 'sensor' in place 1"),
    (FIRST.replace("reading/1", "reading/2\nextends: reading/1").replace("stale, fault", "fault, stale"),
     "it has no such field 'state' in place 3"),
    (FIRST.replace("[ok, stale, fault]", "[ok, stale, fault], deny: [sql]"), "unknown key 'deny'"),
    (FIRST + "  - {name: t, type: string, most: 4, class: utf8, deny: [htm]}\n", "did you mean 'html'?"),
    (FIRST + "  - {name: p, type: record, fields: [{name: q, type: record, fields: [{name: x, type: bool}]}]}\n",
     "a record in a record"),
    (FIRST + "  - {name: p, type: array, of: record, most: 2, fields: [{name: q, type: array, of: bool, most: 2}]}\n",
     "an array in an array of records"),
    (FIRST + "  - {name: p, type: array, of: string, most: 2}\n", "an array of string"),
    (FIRST + "  - {name: p, type: record, fields: []}\n", "no fields"),
    (FIRST + "  - {name: p, type: record, fields: [{name: x, type: bool}]}\n  - {name: p_x, type: bool}\n",
     "field 'p_x' is here twice"),
    (FIRST + "  - {name: p, type: record, fields: [{name: x, type: bool}]}\n  - {name: p, type: bool}\n",
     "field 'p' is here twice"),
    (FIRST + "  - {name: p, type: array, of: record, most: 2, fields: [{name: x, type: u8, min: 0, max: 9}]}\n"
             "relations: [sensor < p.x]\n", "field 'p.x' cannot be compared"),
    (FIRST + "  - {name: p, type: sealed}\n", "'most'"),
    (FIRST + "  - {name: a_name_that_is_long, type: record, fields: [{name: another_long_name, type: bool}]}\n", "is too long"),
    (FIRST + "".join(f"  - {{name: f{i}, type: bool}}\n" for i in range(62)), "more than 64 fields"),
    (FIRST + "  - {name: p, type: array, of: record, most: 1024, fields: [{name: x, type: u64, min: 0, max: 1}]}\n",
     "larger than 4096 bytes"),
]


def main():
    with tempfile.TemporaryDirectory() as folder:
        first = write(folder, "reading-1.yaml", FIRST)
        whole = write(folder, "reading-2.yaml", WHOLE)
        line = json.dumps(MESSAGE, separators=(",", ":"), ensure_ascii=False)
        code, hexed, error = run("schema", "encode", whole, given=line.encode() + b"\n")
        report("encodes_json", error if code else None)
        code, again, error = run("schema", "decode", whole, given=hexed)
        report("decodes_to_the_same_json", None if again.decode() == line + "\n" else error or again.decode())
        pretty = write(folder, "message.json", json.dumps(MESSAGE, indent=2))
        code, raw, error = run("schema", "encode", whole, "--raw", pretty)
        report("encodes_a_file_to_bytes", None if raw.hex().encode() + b"\n" == hexed else error or raw.hex())
        code, again, error = run("schema", "decode", whole, "--raw", given=raw)
        report("decodes_bytes", None if again.decode() == line + "\n" else error)
        code, said, error = run("schema", "check", whole, given=hexed + raw[:-8].hex().encode() + b"\n")
        report("checks_lines", None if (code, said) == (5, b"good\nlength -\n") else str((code, said)))
        code, hexed2, error = run("schema", "encode", whole,
                                  given=json.dumps(changed(["secret"], {"base64": "AAE="})).encode())
        report("takes_bytes_as_base64", None if hexed2 == hexed else error)

        failures = []
        for path, value, expected in WRONG:
            code, out, error = run("schema", "encode", whole, given=b"\n" + json.dumps(changed(path, value)).encode())
            if code != 5 or out or expected not in error or "standard input:2:" not in error:
                failures.append(f"{path} = {value}: {error.strip()}")
        report("refuses_wrong_messages_by_name", "; ".join(failures))
        good = raw.hex()
        wrong = [good[:2] + "x" + good[3:], good[:-1], good[:16] + "03" + good[18:], good[:18] + "01" + good[20:], ""]
        expected = ["not a message in hex", "not a message in hex", "enumeration: field 'state'",
                    "padding: unused bytes at field 'doors'", "length: no message"]
        code, out, error = run("schema", "decode", whole, given="\n".join(wrong + [good]).encode())
        lines = [text for text in error.splitlines() if "mend:" not in text]
        is_good = len(lines) == 5 and all(e in text and f":{i + 1}:" in text for i, (e, text) in enumerate(zip(expected, lines)))
        report("refuses_wrong_bytes_and_goes_on", None if is_good and out.decode() == line + "\n" else error)

        failures = []
        for text, expected in BAD_SCHEMAS:
            code, out, error = run("schema", "show", write(folder, "bad.yaml", text))
            if code != 1 or expected not in error or "mend:" not in error or "bad.yaml:" not in error:
                failures.append(f"{expected}: {error.strip()}")
        report("refuses_bad_schemas_with_line_and_mend", "; ".join(failures))
        code, said, error = run("schema", "show", whole)
        report("shows_nested_fields", None if b"    72  u32      samples.at               0 to 86400" in said else said.decode())
        code, said, error = run("schema", "show", first)
        report("a_version_extends_another", None if code == 0 else error)

        write(folder, "unikernel.yaml", UNIKERNEL)
        write(folder, "nest.c", GUEST)
        code, out, error = run("build", folder, "-o", os.path.join(folder, "nest.img"))
        if code:
            return report("a_guest_sees_records_as_structs", error)
        code, out, error = run("run", os.path.join(folder, "nest.img"),
                               given=json.dumps({"flow": "reading", "message": MESSAGE}).encode())
        wanted = dict(MESSAGE, value=-12, state="fault", doors=["shut"], flags=[], note="ok",
                      position=dict(MESSAGE["position"], x=-2),
                      samples=[{"kind": "b", "at": 5, "name": "z"}, {"kind": "a", "at": 6, "name": "z"}])
        sent = [json.loads(text) for text in out.decode().splitlines()]
        report("a_guest_sees_records_as_structs", None if wanted in [text.get("message") for text in sent] else f"{error} {sent}")


main()
