#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""The counter of `make tcb` counts what it says: docs/tcb.md."""
import os
import re
import subprocess
import tempfile

import checks

TCB = os.path.join(checks.TREE, "tools", "tcb")
FILES = {  # name: text, code lines
    "plain.c": ("int a; // one\n\n/* none\n   none */\nint b; /* still\n none */ int c;\n{\n}\n", 5),
    "texts.c": ('char *a = "/* no comment";\nchar b = \'"\'; // "\nchar *c = "\\"//";\n/* "x" */\n', 3),
    "lines.h": ("#ifdef X // why\n#endif\n//a \\\n still the comment\n  \t\n", 2),
    "entry.S": ("// nothing\n    mov %eax, %ebx // move\n/**/\nlabel:\n", 2),
    "nested.rs": ("/* a /* b */ still */\nfn f<'a>(x: &'a str) -> char { '\"' }\nlet r = r#\"// \" /* \"#;\n", 2),
    "tests.rs": ("fn f() {\n}\n#[cfg(test)]\nmod tests {\n    const A: &str = \"}\";\n    const B: char = '}';\n}\nfn g() {}\n", 3),
    "test_use.rs": ("#[cfg(test)]\nuse super::*;\n#[cfg(all(test, target_os = \"linux\"))]\nfn h() { let s = r#\"}\"#; }\nstruct S;\n", 1),
    "notes.md": ("words\n", 0),
}


def count(path):
    out = subprocess.run([TCB, "count", path], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"^ *([0-9,]+) all$", out, re.M)[1].replace(",", ""))


def test_counts():
    with tempfile.TemporaryDirectory() as folder:
        for name, (text, wanted) in FILES.items():
            path = os.path.join(folder, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            checks.expect_equal(f"counts_{name.replace('.', '_')}", count(path), wanted)
        checks.expect_equal("counts_a_folder", count(folder), sum(wanted for _, wanted in FILES.values()))


def test_report():
    """Each part is there with its budget; whether it keeps to it is for `make tcb` to say."""
    out = subprocess.run([TCB, checks.BUILD], capture_output=True, text=True, cwd=checks.TREE).stdout
    for part in ("tender process with its pool", "router with checker", "gate tender/process/gate",
                 "executable bytes that a guest can reach"):
        checks.expect(f"reports_{part.split()[0].split('/')[0]}_{part.split()[-1].split('/')[-1]}",
                      re.search(rf"^(not )?ok tcb {re.escape(part)} - [0-9,]+ .*at most [0-9,]+$", out, re.M), out)
    checks.expect("reports_what_else_is_linked", "core/: " in out and "host/: " in out, out)


checks.run("counts", test_counts)
checks.run("report", test_report)
checks.finish()
