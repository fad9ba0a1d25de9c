#!/bin/sh
# SPDX-License-Identifier: ISC
# Tests and attacks that want hardware KVM, and the tests of the process wall, inside a virtual machine that has it (tools/kvm-machine):
# on any host, as any user. Result lines of a program in there are ours, with its name before them.
cd "$(dirname "$0")/../.." || exit 1
build=${CRENEL_BUILD:-build}
out=$(mktemp)
machine=
finish() {
    [ -z "$machine" ] || { kill "$machine" && wait "$machine"; } 2>/dev/null
    rm -f "$out"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP

set -- # a line each: what is run in there
for source in tests/unit/host_kvm_*.c tests/unit/host_isolation.c tests/unit/host_filter.c tests/unit/tender_filter.c \
    tests/unit/tender_process.c tests/unit/tender_kvm*.c; do
    [ ! -f "$source" ] || set -- "$@" "+$build/tests/unit/$(basename "$source" .c)"
done
set -- "$@" "+$build/bin/crenel doctor --json"
# Of the attacks those that the processor itself stops, or lets through.
attack=$build/tests/attack
if [ -x "$attack/attack" ]; then
    names=$("$attack/attack" names | grep -E '^(privileged|clock|kernel_address|execute|far|iret|io)_|^write_[bgirt]|^(sysenter|single_step|read_the_kernel)$|^secret_in_(flags|mxcsr|sse|x87)$')
    set -- "$@" "+$attack/attack kvm build/bin/crenel-tender build/tests/attack/without/IMAGE_SCAN /tmp/errors $(echo $names)" \
        "$build/bin/crenel-tender" "$attack/without/IMAGE_SCAN"
fi
count=0
for file in "$@"; do
    [ "${file#+}" = "$file" ] || count=$((count + 1))
done

timeout -k 5 230 tools/kvm-machine "$build" run 200 "$@" >"$out" 2>"$out.err" &
machine=$!
wait "$machine"
code=$?
machine=
if [ $code = 3 ]; then
    echo "skip kvm_machine - $(cat "$out.err")"
    rm -f "$out.err"
    exit 0
fi
cat "$out.err" >&2
rm -f "$out.err"

tr -d '\r' <"$out" | awk -v count=$count '
    /^== ended / {
        ended++
        if ($3 != 0 && !is_red && program != "crenel") {
            print "not ok machine/" program " - exit code " $3
            failed = 1
        }
        next
    }
    /^== / { program = $2; sub(".*/", "", program); is_red = 0; next }
    /^(ok|skip) / { sub(" ", " machine/" program "/"); print; next }
    /^not ok / { sub("not ok ", "not ok machine/" program "/"); print; is_red = failed = 1; next }
    program == "crenel" && /"check":"virtualization","verdict":"ok"/ { is_hardware = 1 }
    END {
        if (is_hardware)
            print "ok doctor_calls_it_hardware_kvm"
        else
            print "not ok doctor_calls_it_hardware_kvm - it says otherwise"
        if (ended == count)
            print "ok every_program_ended"
        else
            print "not ok every_program_ended - " ended + 0 " of " count
        exit failed || !is_hardware || ended != count
    }'
code=$?
[ $code = 0 ] || tail -n 30 "$build/kvm-machine/console" >&2
exit $code
