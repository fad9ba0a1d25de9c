#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The image of decode alone: what it takes, and the reason for what it does not."""
import json
import os
import subprocess

import checks

GOOD = '{"sensor":7,"sequence":3,"time":"2013-12-02T21:15:00","celsius":73.96732207,"unit":"C"}'
TOPIC = "plant/press-7/temperature"


def with_(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


ACCEPTED = [  # text, thousandths, time_ms
    ("plain", GOOD, 73967, 1386018900000),
    ("spaces", " " + GOOD.replace(",", " ,\n\t").replace(":7", " : 7") + "\r\n", 73967, 1386018900000),
    ("zone", with_(':00"', ':00Z"'), 73967, 1386018900000),
    ("leap_day", with_("2013-12-02", "2012-02-29"), 73967, 1330550100000),
    ("negative", with_("73.96732207", "-12.3456"), -12346, 1386018900000),
    ("rounds_half_away", with_("73.96732207", "0.0005"), 1, 1386018900000),
    ("exponent", with_("73.96732207", "7.5e+1"), 75000, 1386018900000),
    ("long_unit", with_('"C"', '"Cel"'), 73967, 1386018900000),
    ("unknown_member", with_("{", '{"site":{"a":[1,{"b":null}]},'), 73967, 1386018900000),
    ("other_utf8", with_("{", '{"name":"\u00fc\u20ac\U0001f600 \\u00e4",'), 73967, 1386018900000),
]

REFUSED = [  # text, reason
    ("empty", "", "malformed-json"),
    ("not_an_object", "[]", "malformed-json"),
    ("cut", GOOD[:-1], "malformed-json"),
    ("rest", GOOD + "}", "malformed-json"),
    ("zero_byte", GOOD + "\0", "malformed-json"),
    ("trailing_comma", with_('"C"}', '"C",}'), "malformed-json"),
    ("leading_zero", with_(":3,", ":03,"), "malformed-json"),
    ("no_number", with_("73.96732207", "NaN"), "malformed-json"),
    ("point_alone", with_("73.96732207", "73."), "malformed-json"),
    ("bad_escape", with_('"C"', '"\\x43"'), "malformed-json"),
    ("control_character", with_('"C"', '"C\t"'), "malformed-json"),
    ("too_deep", with_("{", '{"a":[[[[1]]]],'), "malformed-json"),
    ("very_deep", '{"a":' + "[" * 900, "malformed-json"),
    ("missing", with_('"unit":"C"', '"u":"C"'), "missing-member"),
    ("escaped_name", with_('"unit"', '"\\u0075nit"'), "missing-member"),
    ("twice", with_("{", '{"unit":"F",'), "duplicate-member"),
    ("text_for_a_number", with_(":7,", ':"7",'), "wrong-type"),
    ("number_for_a_text", with_('"C"', "5"), "wrong-type"),
    ("null", with_(":7,", ":null,"), "wrong-type"),
    ("fraction", with_(":3,", ":3.5,"), "bad-number"),
    ("huge_sequence", with_(":3,", ":99999999999999999999,"), "bad-number"),
    ("huge_value", with_("73.96732207", "1e300"), "bad-number"),
    ("other_sensor", with_(":7,", ":8,"), "wrong-sensor"),
    ("unknown_unit", with_('"C"', '"F"'), "unknown-unit"),
    ("long_text_as_unit", with_('"C"', '"' + "C" * 400 + '"'), "unknown-unit"),
    ("no_such_day", with_("12-02", "02-30"), "bad-time"),
    ("no_leap_day", with_("12-02", "02-29"), "bad-time"),
    ("short_time", with_("T21:15:00", ""), "bad-time"),
    ("hour_24", with_("T21", "T24"), "bad-time"),
    ("above_the_range", with_("73.96732207", "150.001"), "range"),
    ("below_the_range", with_("73.96732207", "-40.001"), "range"),
    ("sequence_zero", with_(":3,", ":0,"), "bad-number"),
    ("long_ago", with_("2013", "1999"), "range"),
]


def event(text):
    payload = text if all(32 <= ord(c) < 127 for c in text) else {"hex": text.encode().hex()}
    return json.dumps({"flow": "raw", "message": {"qos": 1, "topic": TOPIC, "payload": payload}})


def main():
    image = os.path.join(checks.BUILD, "images", "decode.img")
    lines = "".join(event(case[1]) + "\n" for case in ACCEPTED + REFUSED)
    done = subprocess.run([os.path.join(checks.BUILD, "bin", "crenel"), "run", image], input=lines,
                          capture_output=True, text=True, timeout=60)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if not checks.expect_equal("one_answer_for_each_message", len(answers), len(ACCEPTED) + len(REFUSED)):
        print(done.stdout, done.stderr, file=checks.sys.stderr)
        return
    for (name, _, value, time_ms), answer in zip(ACCEPTED, answers):
        message = answer.get("message", {})
        checks.expect("takes_" + name, round(message.get("value", 0) * 1000) == value
                      and message.get("time_ms") == time_ms and message.get("sensor") == 7, answer)
    for (name, _, reason), answer in zip(REFUSED, answers[len(ACCEPTED):]):
        checks.expect_equal("refuses_" + name, answer.get("refused", {}).get("reason"), reason)


main()
checks.finish()
