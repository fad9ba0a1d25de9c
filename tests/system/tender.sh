#!/bin/sh
# SPDX-License-Identifier: ISC
# One guest per act (tests/guests/), each run alone by `crenel run`: what it may do works, what it may
# not do kills it, and the report says what it was. The same images under both walls; under kvm a name begins with kvm_.
cd "$(dirname "$0")/../.." || exit 1
crenel=${CRENEL_BUILD:-build}/bin/crenel
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
wall=process mark=

image() { # NAME: builds the guest once
    [ -f "$work/$1.img" ] || $crenel build "tests/guests/$1" -o "$work/$1.img" >"$work/build" 2>&1 ||
        cat "$work/build" >&2
}

run() { # NAME LINES [ARGUMENTS...]: leaves out, err and code
    name=$1 lines=$2
    shift 2
    image "$name"
    printf '%b' "$lines" | timeout 60 $crenel run "$work/$name.img" --isolation $wall "$@" >"$work/out" 2>"$work/err"
    code=$?
}

verdict() { # NAME OK WHY
    if [ "$2" = 0 ]; then
        echo "ok $mark$1"
    else
        echo "not ok $mark$1 - $3: $(tr '\n' ' ' <"$work/out") $(tail -c 300 "$work/err" | tr '\n' ' ')"
        failed=1
    fi
}

# Each PATTERN must be in the output, and the exit code must be CODE.
expect() { # NAME CODE PATTERN...
    what=$1 wanted=$2
    shift 2
    [ "$code" = "$wanted" ] || { verdict "$what" 1 "exit code $code, wanted $wanted"; return; }
    for pattern in "$@"; do
        grep -q -- "$pattern" "$work/out" || { verdict "$what" 1 "no '$pattern'"; return; }
    done
    verdict "$what" 0
}

refuse() { # NAME PATTERN: must not be in the output
    if grep -q -- "$2" "$work/out"; then verdict "$1" 1 "there is '$2'"; else verdict "$1" 0; fi
}

acts() {
    run echo '{"number":1,"text":"a"}\n{"flow":"ask","message":{"number":41}}\n'
    expect echo 0 '"number":2,"text":"a"' '"number":42' '"level":"info","text":"echoed 41"'

    run echo '{"number":1}\n{"numbre":1}\n{nonsense\n{"flow":"no","message":{}}\n{"number":2000000}\n{"number":7}\n'
    expect bad_lines_are_named_and_the_rest_is_served 1 '"number":2,' '"number":8' '"reason":"range","where":"number"'
    [ "$(grep -c 'standard input:' "$work/err")" = 3 ]
    verdict bad_lines_have_their_number $? "not three lines named"

    run null '{"number":8}\n'
    expect null 1 '"fault":{"what":"write to 0x8 in page 0","signal":"SEGV"'
    refuse null_effects_are_dropped '"flow"'
    expect log_before_a_crash_is_in_the_report 1 '"last_log":"about to write to page 0"'

    run smash '{"number":8}\n{"number":40}\n{"number":9}\n'
    expect stack_smash 1 '"what":"stopped itself","signal":"ILL".*"last_log":"the stack is overwritten' '"number":9'
    refuse stack_smash_does_not_return '"number":40'

    run execute '{"number":1}\n'
    expect execute_data 1 '"fault":{"what":"jump to 0x[0-9a-f]* in the arena","signal":"SEGV"'

    run text '{"number":1}\n'
    expect write_text 1 '"fault":{"what":"write to 0x[0-9a-f]* in text","signal":"SEGV"'

    run init '{"number":1}\n'
    expect a_fault_in_init_fails_the_event 1 '"fault":{"what":"write to'

    run loop '{"number":1}\n' --deadline 100
    expect deadline 1 '"deadline":{"what":"deadline of 100 ms passed","at":"0x'

    # An attacker's acts, one event each; the honest events before and behind them are served.
    run breach '{"number":0,"key":1}\n{"number":1}\n{"number":2}\n{"number":3}\n{"number":4}\n{"number":5}\n{"number":6}\n'
    expect broken_records_are_named 1 '"published_bytes out of range"' '"record with a wrong size"' '"record behind END"' \
        '"wait without READ or END"'
    [ "$(grep -c '"contract"' "$work/out")" = 6 ] && [ "$(grep -c '"flow"' "$work/out")" = 1 ]
    verdict broken_records_have_no_effect $? "not six breaches and one answer"
    run breach '{"number":7}\n{"number":8}\n{"number":9}\n{"number":0}\n'
    if [ $wall = process ]; then
        expect write_from_the_gate 1 '"what":"system call 1","signal":"SYS"'
        expect fork_from_the_gate 1 '"what":"system call 57","signal":"SYS"'
    else
        [ "$(grep -c '"what":"read of 0x[0-9a-f]* outside its memory"' "$work/out")" = 2 ]
        verdict no_system_call_in_the_gate $? "it found one"
    fi
    expect a_flood_of_logs_ends_with_the_output_region 1 '"flow":"answer","message":{"key":0,"number":0'
    [ "$(grep -c '"log"' "$work/out")" = 2046 ]
    verdict a_flood_of_logs_is_bounded $? "not 2046 log records"

    run store '{"number":5}\n{"number":6}\n{"number":0}\n'
    expect store 0 '"number":0,' '"number":5,' '"number":11,' '"write":{"namespace":"records"'

    run fresh '{}\n{}\n{}\n'
    expect nothing_is_left_of_an_earlier_event 0 '"number":0'
    refuse nothing_is_left_anywhere '"number":[1-9]'

    run resident '{"number":1}\n{"number":1}\n{"number":0}\n{"number":1}\n'
    expect resident_keeps_memory_until_an_event_fails 1 '"number":1,' '"number":2,' '"reason":"zero"'
    refuse resident_is_reset_by_a_failed_event '"number":3'

    run timer '{"flow":"ask","message":{"number":10}}\n'
    expect timer 0
    [ "$(grep -o '"flow":"answer".*"number":[0-9]*' "$work/out" | grep -o '[0-9]*$' | tr '\n' ' ')" = "11 12 " ]
    verdict timers_fire_in_order_of_due_time $? "not 11, 12"

    lines=
    for i in $(seq 17); do
        lines="$lines"'{"flow":"ask","connection":'$i',"message":{"number":'$i'}}\n'
    done
    run connection "$lines"'{"flow":"ask","connection":2,"message":{"number":40}}\n'
    expect connections_keep_their_memory_and_get_their_timers 1 '"key":1,"number":1,' '"key":2,"number":42,' '"key":16,"number":16,'
    grep -q '17: a run serves at most 16 connections' "$work/err"
    verdict a_connection_too_many_is_refused $? "no such message"
}

mkdir "$work/enclave"
cp tests/guests/word.yaml "$work/"
cp tests/guests/echo/* "$work/enclave/"
echo 'isolation: enclave' >>"$work/enclave/unikernel.yaml"
$crenel build "$work/enclave" -o "$work/enclave.img" >"$work/build" 2>&1
run enclave '{"number":1}\n' --isolation auto
[ $code = 1 ] && grep -q 'no host gives isolation enclave' "$work/err" && grep -q 'mend: ' "$work/err" && [ ! -s "$work/out" ]
verdict what_no_host_gives_does_not_start $? "no clear error"

acts
if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
    wall=kvm mark=kvm_
    acts
    wall=process mark=
else
    echo "skip kvm - no /dev/kvm that this user may use"
fi

# Starts `loop` in the background and waits until its instance spins: sets running, tender, zygote, instance.
begin_loop() {
    image loop
    printf '{"number":1}\n' | timeout 60 $crenel run "$work/loop.img" --isolation process >"$work/out" 2>"$work/err" &
    running=$! instance=
    for _ in $(seq 200); do
        sleep 0.05
        cli=$(pgrep -f -x "$crenel run $work/loop.img --isolation process") || continue
        tender=$(cat "/proc/$cli/task/$cli/children" 2>/dev/null) || continue
        tender=${tender% }
        # Its children in order of birth: the zygote, then the instance.
        set -- $(cat "/proc/$tender/task/$tender/children" 2>/dev/null)
        [ $# = 2 ] && grep -q '^State:.R' "/proc/$2/status" 2>/dev/null && zygote=$1 instance=$2 && return
    done
}

# Killed from outside: the host's failure, so the event is delivered again; the second attempt answers.
begin_loop
if [ -n "$instance" ]; then
    cp "/proc/$instance/maps" "$work/maps"
    ls "/proc/$instance/fd" >"$work/fds"
    cp "/proc/$instance/status" "$work/status"
    kill -9 "$instance"
fi
wait $running
code=$?
expect killed_instance_is_delivered_again 0 '"number":3'

# What that instance had mapped and open: its own region in 2 MiB, no descriptor, a filter.
regions=$(grep -v vsyscall "$work/maps" | sed 's/-.*//' | while read -r start; do echo $((0x$start >> 21)); done | sort -u)
[ "$(echo "$regions" | wc -l)" = 1 ] && [ -n "$regions" ]
verdict only_its_own_region_is_mapped $? "$(cat "$work/maps")"
! grep -q '..wx' "$work/maps" && [ "$(grep -c 'r-x' "$work/maps")" = 2 ]
verdict text_and_gate_alone_are_executable $? "$(cat "$work/maps")"
[ ! -s "$work/fds" ]
verdict no_descriptor_is_open $? "$(cat "$work/fds")"
grep -q '^Seccomp:.2' "$work/status" && grep -q '^NoNewPrivs:.1' "$work/status"
verdict filter_is_on $? ""

# The tender dies: so does all that it made, and the CLI says so.
begin_loop
[ -n "$instance" ] && kill -9 "$tender"
wait $running
code=$?
lives() { # a zombie that nobody waited for is dead
    [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null
}
for _ in $(seq 100); do
    lives "$zygote" || lives "$instance" || break
    sleep 0.05
done
[ -n "$instance" ] && [ $code = 1 ] && ! lives "$zygote" && ! lives "$instance"
verdict tender_leaves_nothing_behind $? "zygote $zygote or instance $instance lives, or exit code $code"

head -c 3000 "$work/echo.img" >"$work/cut.img"
$crenel run "$work/cut.img" </dev/null >"$work/out" 2>"$work/err"
code=$?
expect a_truncated_image_is_refused 1

exit $failed
