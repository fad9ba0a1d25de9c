#!/usr/bin/python3
"""The exported CDDL against a reader of CDDL that has no part in Crenel: the package `cddl` of the npm registry, put into the
build folder by this test (skipped where that cannot be done). Messages that `decode` writes must fit the CDDL; messages that
`encode` refuses because of a field must not."""
import json, os, random, shutil, subprocess, sys, tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import schema_oracle as oracle

FOLDER = os.path.join(oracle.BUILD, "tests", "cddl")
PACKAGE = "cddl@0.21.2"


def skip_reason():
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "there is no node or npm"
    if not os.path.isdir(os.path.join(FOLDER, "node_modules", "cddl")):
        os.makedirs(FOLDER, exist_ok=True)
        try:  # where there is no registry npm goes on trying for minutes
            found = subprocess.run(["npm", "view", PACKAGE, "version", "--fetch-retries=0", "--fetch-timeout=4000"],
                                   capture_output=True, text=True, timeout=8)
        except subprocess.TimeoutExpired:
            found = None
        if found is None or found.returncode != 0:
            return "npm reaches no registry"
        try:
            done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", FOLDER, PACKAGE],
                                  capture_output=True, text=True, timeout=20)
        except subprocess.TimeoutExpired:
            return "npm did not answer in 20 seconds"
        if done.returncode != 0:
            return f"npm gives no {PACKAGE}"
    done = subprocess.run(["node", "-e", "import(require('url').pathToFileURL(require.resolve('cddl')))"
                           ".catch(() => process.exit(1))"], cwd=FOLDER, capture_output=True)
    return f"this node does not run {PACKAGE}" if done.returncode != 0 else None


def places(message, path=()):
    """Every value in a message, with its path."""
    yield path
    items = message.items() if isinstance(message, dict) else enumerate(message) if isinstance(message, list) else []
    for key, value in items:
        yield from places(value, path + (key,))


def spoil(r, message):
    """Another value in one place, mostly one that does not fit."""
    message = json.loads(json.dumps(message))
    path = r.choice(list(places(message))[1:])
    at = message
    for key in path[:-1]:
        at = at[key]
    old, key = at[path[-1]], path[-1]
    if isinstance(at, dict) and r.random() < 0.15:
        del at[key]
    elif isinstance(at, dict) and r.random() < 0.1:
        at["no_such"] = 1
    elif isinstance(old, bool):
        at[key] = r.choice([None, 1, "true", not old])
    elif isinstance(old, (int, float)):
        at[key] = r.choice([None, True, "x", old + 1, old - 1, -old, old * 10 ** 6, 10 ** 14, [old]])
    elif isinstance(old, str) and old.lstrip("-").isdigit() and len(old) > 15:  # a large number: its form is all that CDDL says
        at[key] = r.choice([None, old + "x", [old]])
    elif isinstance(old, str):
        at[key] = r.choice([None, 7, old + "x", old * 60, "\u20ac", "A", "a+b", "lost", old[1:]])
    elif isinstance(old, list):
        at[key] = r.choice([None, old * 50, old[:-1], {}, "x", old + [None]])
    else:
        at[key] = r.choice([None, [], {}, 5, {"hex": "0g"}, {"hex": "00" * 99}, {"base64": 1}])
    return message


def main():
    why = skip_reason()
    failures = 0
    for name, schema in oracle.schemas():
        test = "cddl_agrees_on_" + name.replace("/", "_")
        if why is not None:
            print(f"skip {test} - {why}")
            continue
        r = random.Random(name)
        with tempfile.TemporaryDirectory() as folder:
            path = schema.write(folder, is_for_cddl=True)
            hexed = "".join(schema.make(r).hex() + "\n" for _ in range(300))
            decoded = subprocess.run([oracle.CRENEL, "schema", "decode", path], input=hexed, capture_output=True, text=True).stdout
            good = [json.loads(line) for line in decoded.splitlines()]
            spoilt = [spoil(r, r.choice(good)) for _ in range(1500)]
            lines = [json.dumps(message, ensure_ascii=False) for message in good + spoilt]
            given = "".join(line + "\n" for line in lines)
            encoded = subprocess.run([oracle.CRENEL, "schema", "encode", path], input=given, capture_output=True, text=True)
            refused = {int(text.split(":")[2]) for text in encoded.stderr.splitlines() if text.startswith("crenel: standard input:")}
            wanted = ["bad" if i + 1 in refused else "good" for i in range(len(lines))]
            cddl = os.path.join(folder, "schema.cddl")
            with open(cddl, "w", encoding="utf-8") as out:
                out.write(subprocess.run([oracle.CRENEL, "schema", "cddl", path], capture_output=True, text=True).stdout)
            done = subprocess.run(["node", os.path.join(oracle.ROOT, "tests", "system", "cddl_judge.mjs"), FOLDER, cddl],
                                  input=given, capture_output=True, text=True)
            judged = done.stdout.splitlines()
        wrong = [i for i, w in enumerate(wanted) if i >= len(judged) or judged[i] != w]
        if wrong or wanted[:len(good)].count("bad") or not 100 < wanted.count("bad") < 1500:
            failures += 1
            i = wrong[0] if wrong else 0
            said = judged[i] if i < len(judged) else done.stderr.strip()[-300:]
            print(f"not ok {test} - {len(wrong)} of {len(lines)} differ, {wanted.count('bad')} bad; first: {lines[i]} is {wanted[i]}, the CDDL says {said}")
        else:
            print(f"ok {test}")
    sys.exit(failures != 0)


main()
