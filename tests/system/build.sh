#!/bin/sh
# A unikernel project from nothing: new, build, twice the same bytes, size, inspect, symbolize; and what
# is wrong with a project is said with file, line and mend.
set -u
here=$(pwd)
build=$(cd "${CRENEL_BUILD:-build}" && pwd)
crenel=$build/bin/crenel
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ok() { echo "ok $1"; }
not_ok() { echo "not ok $1 - $2"; }
# is NAME CONDITION...: the command succeeds
is() {
    test=$1
    shift
    if "$@" >"$work/out" 2>&1; then ok "$test"; else not_ok "$test" "$(tail -n 1 "$work/out")"; fi
}
# says NAME CODE TEXT COMMAND...: it ends with that exit code and its standard error holds the text
says() {
    test=$1 code=$2 text=$3
    shift 3
    "$@" >"$work/out" 2>"$work/err"
    got=$?
    if [ $got -ne "$code" ]; then not_ok "$test" "exit code $got: $(head -n 1 "$work/err")"
    elif ! grep -qF -- "$text" "$work/err"; then not_ok "$test" "said: $(head -n 1 "$work/err")"
    else ok "$test"; fi
}
cd "$work" || exit 1
[ -x "$crenel" ] || { not_ok build "there is no $crenel"; exit 1; }

is new_writes_a_project "$crenel" new hot
says new_does_not_overwrite 4 "mend:" "$crenel" new hot
says new_refuses_a_bad_name 2 "is not a name" "$crenel" new Hot
is new_project_builds "$crenel" build hot
cp build/hot.img first.img || exit 1
# Another folder, another name of it, another current directory: the same bytes.
mkdir -p elsewhere/deep
cp -r hot elsewhere/deep/copy
(cd elsewhere && "$crenel" build deep/copy -o out/other.img) >"$work/out" 2>&1
is builds_the_same_bytes_elsewhere cmp first.img elsewhere/out/other.img
rm -rf build
"$crenel" build hot >"$work/out" 2>&1
is builds_the_same_bytes_twice cmp first.img build/hot.img
is image_names_no_folder sh -c '! grep -q "$1" first.img' sh "$work"
size=$(wc -c <first.img)
is smallest_image_is_at_most_8_KiB [ "$size" -le 8192 ]

# Nothing changed: nothing is done. A changed source, schema or manifest: built anew.
touch -d '2030-01-01' build/hot.img
stamp=$(stat -c %Y build/hot.img)
"$crenel" build hot >"$work/out" 2>&1
is unchanged_is_not_built [ "$(stat -c %Y build/hot.img)" = "$stamp" ]
cp -rp hot older &&
    sed -i 's/^release: .*/release: 7.7.7/' older/unikernel.yaml && touch -d '2001-01-01' older older/*
"$crenel" build older -o build/hot.img >"$work/built" 2>&1
is another_folder_is_a_change grep -q 7.7.7 "$work/built"
"$crenel" build hot >"$work/out" 2>&1
for file in hot.c alert.yaml unikernel.yaml; do
    touch -d '2031-01-01' hot/$file
    touch -d '2030-01-01' build/hot.img
    "$crenel" build hot >"$work/out" 2>&1
    is changed_"${file%.*}"_is_built [ "$(stat -c %Y build/hot.img)" != "$stamp" ]
    touch hot/$file
done

"$crenel" inspect build/hot.img >inspect.txt 2>&1
is inspect_names_flows_and_origins grep -q 'library OS .* bytes of code' inspect.txt
is inspect_prints_the_digest grep -q "$(sha256sum build/hot.img | cut -d' ' -f1)" inspect.txt
"$crenel" inspect build/hot.img --json >inspect.json 2>&1
is inspect_json_is_json python3 -c '
import json
i = json.load(open("inspect.json"))
assert i["unikernel"] == "hot" and i["inputs"][0]["schema"] == "reading/1" and i["outputs"][0]["most"] == 1
s = i["attack_surface"]
text = [x for x in i["segments"] if x["name"] == "text"][0]
assert 0 < s["application_code_bytes"] and s["application_code_bytes"] + s["library_code_bytes"] <= text["memory_bytes"]
assert not any("w" in x["permissions"] and "x" in x["permissions"] for x in i["segments"])
'
"$crenel" symbolize build/hot.img "0x$(nm build/hot.debug | sed -n 's/ t on_reading$//p')" >symbol.txt 2>&1
is symbolize_names_function_and_line grep -q 'on_reading at .*hot.c:[0-9]' symbol.txt
says symbolize_without_symbols 3 "mend:" "$crenel" symbolize first.img 0x1004

if command -v clang >/dev/null; then
    is builds_with_clang env CRENEL_CC=clang "$crenel" build hot -o clang.img
    echo '{"sensor": 1, "value": 93.5}' | "$crenel" run clang.img >clang.out 2>&1
    is what_clang_built_runs grep -q '"flow":"alert"' clang.out
else
    echo "skip builds_with_clang - clang is not installed"
fi

# Files that are no images.
head -c 1000 first.img >short.img
says inspect_refuses_a_truncated_image 1 "not an image" "$crenel" inspect short.img
says inspect_refuses_a_foreign_file 1 "not an image" "$crenel" inspect /bin/true
says inspect_misses_a_file 3 "No such file" "$crenel" inspect nowhere.img
python3 -c '
b = bytearray(open("first.img", "rb").read())
at = b.index(b"\xf3\x0f\x1e\xfa")
b[at:at+2] = b"\x0f\x05"
open("syscall.img", "wb").write(b)'
says inspect_refuses_a_system_call 1 "syscall" "$crenel" inspect syscall.img

# Mistakes in a project.
broken() { rm -rf bad && cp -r hot bad; }
broken && sed -i 's/deadline: 100ms/deadline: 100/' bad/unikernel.yaml
says build_wants_a_unit 1 "bad/unikernel.yaml:6: " "$crenel" build bad
broken && sed -i 's/^lifetime/livetime/' bad/unikernel.yaml
says build_refuses_an_unknown_key 1 "did you mean 'lifetime'" "$crenel" build bad
broken && echo "random: true" >>bad/unikernel.yaml
says build_promises_no_seed 1 "no host gives a unikernel a seed yet" "$crenel" build bad
broken && sed -i 's|schema: alert/1|schema: alarm/1|' bad/unikernel.yaml
says build_misses_a_schema 1 "there is no schema 'alarm/1'" "$crenel" build bad
broken && sed -i 's/on_reading/on_readings/' bad/hot.c
says build_misses_a_handler 1 "nothing defines on_reading" "$crenel" build bad
broken && sed -i 's/#include "hot.h"/#include <stdio.h>\n&/' bad/hot.c
says build_has_no_libc 1 "bad/hot.c" "$crenel" build bad
broken && cat >>bad/hot.c <<'C'
static void *table[] = {table};
__attribute__((noinline)) static void *volatile *keep(void) { __asm__ volatile(""); return (void *volatile *)table; }
C
sed -i 's/^    send_alert/    log_info("%d", *keep() == 0);\n&/; s/^void on_reading/static void *volatile *keep(void);\n&/' bad/hot.c
says build_refuses_writable_pointers 1 "pointer is initialised in writable data" "$crenel" build bad
broken && sed -i 's/^    send_alert/    __asm__ volatile("rdtsc" ::: "eax", "edx");\n&/' bad/hot.c
line=$(grep -n rdtsc bad/hot.c | cut -d: -f1)
says build_refuses_a_clock 1 "bad/hot.c:$line: on_reading holds the instruction rdtsc" "$crenel" build bad -o build/bad.img
is no_half_image_is_left [ ! -e build/bad.img ]

# A call whose distance happens to be 0x310f, bytes 0f 31: only another layout helps, and it is found.
broken && sed -i 's/^    log_info/    __asm__ volatile("jmp 1f\\n.space PAD\\n1:");\n&/' bad/hot.c
sed -i 's/^    int64_t limit/    __asm__ volatile(".fill LEAD, 1, 0x90");\n&/' bad/hot.c
distance() { # from the call in on_reading to configuration_integer
    objdump -d --no-show-raw-insn build/bad.debug | python3 -c '
import re, sys
for line in sys.stdin:
    m = re.match(r" *([0-9a-f]+):\s+call +([0-9a-f]+) <configuration_integer>", line)
    if m: print(int(m[2], 16) - int(m[1], 16) - 5); break'
}
padded() { sed "s/PAD/$1/; s/LEAD/$2/" bad/hot.c >bad/padded.c && rm -rf build/bad.* && "$crenel" build bad -o build/bad.img; }
sed -i 's/^refusals/sources: [padded.c]\n&/' bad/unikernel.yaml
is padding_builds padded 12000 0
before=$(distance)
lead=$(((before - 0x310f) & 15)) # functions are aligned: the odd bytes go before the call
is layout_avoids_a_chance_clock padded $((12000 + 0x310f - before + lead)) $lead
is layout_was_changed [ "$(distance)" -gt $((0x310f)) ]

# The same within one function: a branch over so many bytes that its distance holds 0f 31. No place and no
# alignment of the function moves it; other code for it does.
broken && cat >bad/skip.c <<'C'
#include "hot.h"
int64_t skip(const int64_t *values, int64_t limit, unsigned count);
__attribute__((noinline)) int64_t skip(const int64_t *values, int64_t limit, unsigned count)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < count; i++) {
        if (values[i] > limit) {
            __asm__ volatile(".space PAD, 0x90" ::: "memory");
            sum += values[i] / (limit | 1);
        }
        sum ^= values[i] << (i & 7);
    }
    return sum;
}
C
cp bad/skip.c skip.c
sed -i 's/^void on_reading/int64_t skip(const int64_t *values, int64_t limit, unsigned count);\n&/' bad/hot.c
sed -i 's/^    log_info/    static const int64_t values[2] = {1, 2};\n    log_info("%ld", (long)skip(values, limit, 2));\n&/' bad/hot.c
plain() { # PAD OPTION...: compiles skip.c as an attempt would
    sed "s/PAD/$1/" skip.c >bad/skip.c
    shift
    gcc @"$build/guest/compile.flags" @"$build/guest/compile.gcc.flags" -isystem "$(gcc -print-file-name=include)" -I"$build/guest/include" \
        -Ibuild/bad.d -c "$@" -o skip.o bad/skip.c
}
branches() { # the distances of branches over the padding in a file
    objdump -d --no-show-raw-insn "$1" | python3 -c '
import re, sys
for line in sys.stdin:
    m = re.match(r" *([0-9a-f]+):\s+(j\w+) +([0-9a-f]+) <skip", line)
    d = int(m[3], 16) - int(m[1], 16) - (5 if m[2] == "jmp" else 6) if m else 0
    if d > 10000: print(d)'
}
is_hit() { branches "$1" | grep -qx $((0x310f)); }
sed -i 's/PAD/12000/' bad/skip.c
is branch_builds "$crenel" build bad -o build/bad.img
plain 12000
pad=$((12000 + 0x310f - $(branches skip.o | head -n 1) - 16))
while plain $pad && ! is_hit skip.o; do pad=$((pad + 1)); done # what follows the padding is aligned
for options in -g -falign-functions=32 -falign-functions=64; do
    plain $pad $options
    is "branch_is_a_clock_with_$options" is_hit skip.o
done
"$crenel" build bad -o build/plain.img >"$work/out" 2>&1
is other_code_avoids_a_clock_in_a_function "$crenel" inspect build/plain.img
is code_was_changed sh -c '! objdump -d build/plain.debug --disassemble=skip | grep -qi "0f 31"'
"$crenel" build bad -o build/again.img >"$work/out" 2>&1
is other_code_is_the_same_each_time cmp build/plain.img build/again.img
says build_still_refuses_a_clock_that_is_meant 1 "rdtsc" sh -c '
    sed -i "s/int64_t sum = 0;/&__asm__ volatile(\"rdtsc\" ::: \"eax\", \"edx\");/" bad/skip.c && exec "$1" build bad -o build/meant.img' sh "$crenel"
says build_misses_a_folder 1 "nowhere" "$crenel" build nowhere
says unknown_command_is_guessed 2 "did you mean 'build'" "$crenel" biuld

for folder in "$here"/guests/* "$here"/examples/*/unikernels/*; do
    [ -f "$folder/unikernel.yaml" ] || continue
    name=$(basename "$folder") system=$(basename "${folder%/unikernels/*}")
    [ "$system" = "$name" ] || name=$system/$name
    mkdir -p "examples/$system"
    is "builds_$name" "$crenel" build "$folder" -o "examples/$name.img"
    size=$(wc -c <"examples/$name.img" 2>/dev/null || echo 99999)
    is "${name}_is_at_most_32_KiB" [ "$size" -le 32768 ]
done
