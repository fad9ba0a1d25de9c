#!/bin/bash
# SPDX-License-Identifier: ISC
# The supervisor with the real programs: up and down, what it refuses, what dies and what follows, walls and limits.
# Runs the example system in a folder of its own; needs root for cgroups and user ids (else those tests are skipped).
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
build=$(realpath "${CRENEL_BUILD:-build}")
work=$(mktemp -d /tmp/crenel-supervisor-XXXXXX)
state=$work/state
folder=$state/machine-watch
failed=0
listener=

finish() {
    [ -n "$listener" ] && kill "$listener" 2>/dev/null
    "$build/bin/crenel" down machine-watch --state "$state" >/dev/null 2>&1
    rm -rf "$work"
}
trap finish EXIT

verdict() { # NAME STATUS WHY
    if [ "$2" = 0 ]; then echo "ok $1"; else
        echo "not ok $1 - $3: $(tail -c 400 "$work/err" | tr '\n' ' ')"
        failed=1
    fi
}
holds() { # NAME PATTERN: in standard error of the last crenel
    grep -q -- "$2" "$work/err"
    verdict "$1" $? "no '$2'"
}
crenel() { timeout 100 "$build/bin/crenel" "$@" >"$work/out" 2>"$work/err"; }
up() { (cd "$work" && crenel up examples/machine-watch --state "$state" "$@"); }
down() { crenel down machine-watch --state "$state"; }
supervise() { # PROGRAMS: the supervisor alone on the state folder, its last words in err
    timeout 60 "$1/crenel-supervisor" --notify 5 "$folder" "$folder/keys/operator.pub" 5>"$work/err"
}
field() { # PROCESS FIELD: of `crenel ps --json`
    "$build/bin/crenel" ps machine-watch --state "$state" --json 2>/dev/null | python3 -c '
import json, sys
reply = json.load(sys.stdin)
name, field = sys.argv[1:]
if name == "system":
    print(reply[field])
for row in reply["unikernels"] + reply["processes"]:
    if name in (row.get("unikernel"), row.get("process")):
        print(row[field])' "$1" "$2" 2>/dev/null
}
wait_for() { # PROCESS FIELD VALUE
    for _ in $(seq 150); do
        [ "$(field "$1" "$2")" = "$3" ] && return 0
        sleep 0.1
    done
    return 1
}
wait_gone() { # PID...
    for pid in "$@"; do
        for _ in $(seq 100); do
            [ -e "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null || break
            sleep 0.05
        done
        [ -e "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null && return 1
    done
    return 0
}
all_pids() {
    for supervisor in $(field supervisor pid); do
        echo "$supervisor"
        descendants "$supervisor"
    done
}
descendants() {
    for child in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
        echo "$child"
        descendants "$child"
    done
}
groups() { find /sys/fs/cgroup -type d -path '*/crenel/machine-watch.*' 2>/dev/null | grep -F "$group_name"; }

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$work/examples"
cp -r "$root/examples/machine-watch" "$work/examples/"
cp -r "$root/guests" "$root/schemas" "$work/"
file=$work/examples/machine-watch/system.yaml
limits=enforced
[ "$(id -u)" = 0 ] && "$build/bin/crenel" doctor >/dev/null || limits=best-effort
sed -i "s/listen: .*/listen: 127.0.0.1:$port/; s/^limits: .*/limits: $limits/" "$file"
for user in press-7 rig-2 operator; do
    echo "secret-$user" | "$build/bin/crenel" passwd --file "$work/examples/machine-watch/passwords" $user 2>/dev/null
done

# ---- up, and what it says ----
up --detach
verdict up $? "exit code $?"
holds up_says_where_state_lies "state and logs of system machine-watch: $folder"
grep -q "127.0.0.1:$port" "$work/out"
verdict up_names_the_endpoint $? "no endpoint in the summary"
up --detach
[ $? = 0 ] && grep -q 'is running already, and nothing has changed' "$work/err"
verdict second_up_of_the_same_changes_nothing $? "exit code or no clear word"
[ "$(field decode state)" = running ] && [ "$(field router state)" = running ]
verdict ps_shows_them_running $? "$(field decode state)"
crenel status --state "$state" --json && python3 -c '
import json, sys
reply = json.load(open(sys.argv[1]))
assert {"flows", "refusals", "store", "audit", "gateways"} <= set(reply)
for flow in reply["flows"]:
    assert flow["entered"] == flow["done"] + flow["failed"] + flow["waiting"], flow' "$work/out"
verdict status_reconciles $? "counts do not add up"
any=$("$build/bin/crenel" doctor | sed -n 's/.*`any` is \([a-z]*\) here.*/\1/p')
is_recorded() { # what happened is in the log a moment later
    for _ in $(seq 100); do
        "$build/bin/crenel" audit show machine-watch --state "$state" --json | grep '"what":"image"' |
            grep -q "\"isolation\":\"$any\"" && return 0
        sleep 0.1
    done
    return 1
}
[ -n "$any" ] && [ "$(field decode isolation)" = "$any" ] && grep -q "\"decode\":\"$any\"" "$work/out" && is_recorded
verdict the_isolation_in_force_is_shown_and_recorded $? "ps, status or audit has another than doctor's '$any'"
crenel nosuchcommand; [ $? = 2 ]
verdict unknown_command_is_usage $? "exit code"
crenel stop nosuch --state "$state"
holds stop_of_an_unknown_unikernel "no unikernel of that name"

# ---- walls ----
bad=
for pid in $(descendants "$(field supervisor pid)"); do
    status=$(cat "/proc/$pid/status" 2>/dev/null) || continue
    for line in 'CapPrm:.0000000000000000' 'CapBnd:.0000000000000000' 'NoNewPrivs:.1' 'Seccomp:.2'; do
        [ "$(id -u)" != 0 ] && [ "${line#CapBnd}" != "$line" ] && continue
        grep -q "$line" <<<"$status" || bad="$bad $pid:$line"
    done
    [ "$(readlink "/proc/$pid/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ] || bad="$bad $pid:mount"
    [ "$(readlink "/proc/$pid/ns/pid")" != "$(readlink /proc/self/ns/pid)" ] || bad="$bad $pid:pid"
    tr '\0' '\n' <"/proc/$pid/environ" | grep -q . && bad="$bad $pid:environment"
    [ -e "/proc/$pid/root/etc" ] && bad="$bad $pid:root"
done
[ -z "$bad" ]
verdict every_process_is_confined $? "$bad"
[ "$(readlink "/proc/$(field router pid)/ns/net")" != "$(readlink /proc/self/ns/net)" ]
verdict the_router_has_no_network $? "same network namespace"
users=$(for pid in $(field router pid) $(field store pid) $(field audit pid) $(field decode pid) $(field detect pid); do
    awk '/^Uid:/ {print $2}' "/proc/$pid/status"; done | sort -u | wc -l)
if [ "$(id -u)" = 0 ]; then
    [ "$users" = 5 ]
    verdict each_process_has_its_user $? "$users user ids"
else
    echo "skip each_process_has_its_user - not root"
fi

# ---- limits ----
group_name=$(find /sys/fs/cgroup -type d -name 'machine-watch.*' -path '*/crenel/*' 2>/dev/null |
    while read -r one; do grep -qx "$(field decode pid)" "$one/decode/cgroup.procs" 2>/dev/null && basename "$one"; done | head -1)
if [ "$limits" = enforced ]; then
    [ -n "$group_name" ]
    verdict tenders_are_in_their_cgroup $? "no group holds the tender of decode"
    memory=$(find /sys/fs/cgroup -path "*/crenel/$group_name/decode/memory.limit_in_bytes" -o -path "*/crenel/$group_name/decode/memory.max" | head -1)
    code=$( (sh -c "echo \$\$ >$(dirname "$memory")/cgroup.procs && exec python3 -c 'x = bytearray(64 << 20)'") >"$work/err" 2>&1; echo $?)
    [ "$code" = 137 ]
    verdict the_memory_limit_kills_a_hog $? "it got 64 MiB of 16"
    wait_for decode state running
    pids=$(find /sys/fs/cgroup -path "*/crenel/$group_name/decode/pids.max" | head -1)
    [ "$(cat "$pids")" = 16 ]
    verdict the_pids_limit_is_set $? "$(cat "$pids")"
    cpu=$(find /sys/fs/cgroup -path "*/crenel/$group_name/notify/cpu.cfs_quota_us" -o -path "*/crenel/$group_name/notify/cpu.max" | head -1)
    [ "$(awk '{print $1}' "$cpu")" = 20000 ]
    verdict the_cpu_limit_is_set $? "$(cat "$cpu")"
else
    echo "skip limits - this host gives this user no cgroups"
fi

# ---- who dies, and what follows ----
epoch=$(field system epoch)
kill -9 "$(field decode pid)"
wait_for decode restarts 1 && wait_for decode state running && [ "$(field system epoch)" = "$epoch" ]
verdict a_killed_tender_is_started_again $? "state $(field decode state)"
kill -9 "$(field audit pid)"
wait_for audit restarts 1 && wait_for audit state running && [ "$(field system epoch)" = "$epoch" ]
verdict a_killed_audit_is_started_again $? "state $(field audit state)"
kill -9 "$(field gateway pid)"
wait_for gateway restarts 1 && wait_for gateway state running
verdict a_killed_gateway_is_started_again $? "state $(field gateway state)"
kill -9 "$(field router pid)"
wait_for system epoch $((epoch + 1)) && wait_for system phase running
verdict a_killed_router_begins_an_epoch $? "epoch $(field system epoch)"
kill -9 "$(field store pid)"
wait_for system epoch $((epoch + 2)) && wait_for system phase running
verdict a_killed_store_begins_an_epoch $? "epoch $(field system epoch)"
timeout 20 mosquitto_pub -h 127.0.0.1 -p "$port" -u press-7 -P secret-press-7 -q 1 -t plant/press-7/temperature -m '{"nonsense":1}' 2>"$work/err"
verdict it_serves_after_all_that $? "mosquitto_pub"
pid=$(field decode pid)
crenel stop decode --state "$state"
wait_for decode state 'stopped by operator' && wait_gone "$pid"
verdict stop_ends_one_unikernel $? "state $(field decode state)"
crenel restart decode --state "$state"
wait_for decode state running
verdict restart_starts_it_again $? "state $(field decode state)"
pid=$(field gateway pid)
crenel restart gateway:mqtt --state "$state"
wait_gone "$pid" && wait_for gateway state running
verdict restart_takes_a_gateway $? "state $(field gateway state)"
! crenel restart gateway:decode --state "$state" && grep -q 'gateway:X' "$work/err"
verdict restart_of_nothing_is_refused $? "exit code"
for _ in $(seq 50); do # the operator's acts reach the log within its interval
    crenel logs machine-watch --host --state "$state"
    tiles=$(cat "$folder"/audit/tile/entries/* "$folder"/audit/tile/entries/*/* 2>/dev/null | strings)
    grep -q '"action":"restart"' <<<"$tiles" && break
    sleep 0.1
done
for act in '"what":"system-starting"' '"what":"process-failed"' '"action":"stop"' '"action":"restart"' '"what":"epoch"'; do
    grep -q -- "$act" <<<"$tiles"
    verdict "audit_has_$(sed 's/.*:"//; s/"//' <<<"$act" | tr - _)" $? "no $act"
done

# ---- the supervisor itself dies: nothing outlives it, and up continues ----
everyone=$(all_pids)
kill -9 "$(field supervisor pid)"
# shellcheck disable=SC2086
wait_gone $everyone
verdict nothing_outlives_the_supervisor $? "$(ps -o pid,cmd -p "$(tr '\n' ',' <<<"$everyone" | sed 's/,$//')" 2>/dev/null | tail -n +2 | head -3 | tr '\n' ' ')"
up --detach && [ "$(field system epoch)" = $((epoch + 3)) ]
verdict up_continues_after_that $? "epoch $(field system epoch)"
everyone=$(all_pids)
down
verdict down $? "exit code"
# shellcheck disable=SC2086
wait_gone $everyone && [ -z "$(groups)" ] && ! grep -q "$work" /proc/mounts && ! grep -q "$(printf ':%04X 00000000:0000 0A' "$port")" /proc/net/tcp
verdict down_leaves_nothing $? "processes, cgroups, mounts or port: $(groups | head -2)"
down
holds down_of_what_does_not_run 'no\|not running'

# ---- in the foreground: Ctrl-C ends it in order, and so does the end of crenel itself ----
for signal in INT KILL; do
    (cd "$work" && exec "$build/bin/crenel" up examples/machine-watch --state "$state") >"$work/out" 2>"$work/err" &
    foreground=$!
    for _ in $(seq 300); do grep -q 'stop  *Ctrl-C' "$work/out" && break; sleep 0.05; done
    # A version that took over meanwhile is ended like the one before.
    sed -i "s/per_second: 50, burst: [0-9]*/per_second: 50, burst: $((100 + ${#signal}))/" "$file"
    (cd "$work" && "$build/bin/crenel" up examples/machine-watch --state "$state" --yes) >"$work/replaced" 2>&1
    grep -q 'another version follows' "$work/replaced"
    verdict "a_version_replaces_one_in_the_foreground_before_sig${signal,,}" $? "$(tail -n 3 "$work/replaced" | tr '\n' ' ')"
    everyone=$(all_pids)
    kill -$signal $foreground
    wait $foreground 2>/dev/null
    code=$?
    # shellcheck disable=SC2086
    [ -n "$everyone" ] && wait_gone $everyone && { [ $code = 0 ] || [ $signal = KILL ]; } && tail -n 1 "$folder/logs/host.log" | grep -q ': ended'
    verdict "foreground_ends_in_order_on_sig${signal,,}" $? "exit code $code"
done

# ---- on_audit_failure: stop ----
sed -i 's/^on_audit_failure: .*/on_audit_failure: stop/' "$file"
up --detach
epoch=$(field system epoch)
kill -9 "$(field audit pid)"
wait_for system epoch $((epoch + 1)) && wait_for system phase running
verdict audit_failure_stops_a_system_that_says_so $? "epoch $(field system epoch)"
down

# ---- what is refused ----
cp "$folder/system.bin" "$work/good.bin"
for case in 'edited 1000 was.changed.after' 'edited_signature 70 signature' 'truncated -1 length'; do
    set -- $case
    cp "$work/good.bin" "$folder/system.bin"
    python3 - "$folder/system.bin" "$2" <<'PYTHON'
import sys
path, at = sys.argv[1], int(sys.argv[2])
data = bytearray(open(path, "rb").read())
if at < 0:
    data = data[:at]
else:
    data[at] ^= 1
open(path, "wb").write(data)
PYTHON
    supervise "$build/bin"
    [ $? = 1 ] && grep -q "^error .*refused.*$3" "$work/err"
    verdict "a_compiled_system_$1_is_refused" $? "no clear error"
done
python3 -c '
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[48:112] = bytes(64)
open(sys.argv[2], "wb").write(data)' "$work/good.bin" "$folder/system.bin"
supervise "$build/bin"
holds an_unsigned_system_is_refused 'is not signed'
cp "$work/good.bin" "$folder/system.bin"
image=$folder/images/$(sha256sum <"$work/build/machine-watch/decode.img" | cut -d" " -f1)
cp "$image" "$work/decode.img"
printf 'x' >>"$image"
supervise "$build/bin"
holds another_image_is_refused 'not the image that the system was signed with'
cp "$work/decode.img" "$image"
python3 -c '
import socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1])))
s.listen()
print("listening", flush=True)
time.sleep(60)' "$port" >"$work/listening" &
listener=$!
for _ in $(seq 100); do [ -s "$work/listening" ] && break; sleep 0.05; done
up --detach
[ $? = 1 ] && grep -q "port taken: 127.0.0.1:$port" "$work/err" && grep -q 'mend:' "$work/err"
verdict a_taken_port_is_a_clear_error $? "no clear error"
kill $listener && wait $listener 2>/dev/null
listener=
# What the host cannot give does not start; software KVM starts when it is named, and says so.
sed -i 's/instances: 1, deadline/instances: 1, isolation: kvm, deadline/' "$file"
up --detach
code=$?
case $("$build/bin/crenel" doctor | sed -n 's/.*`kvm` \(.*\)/\1/p') in
    works) [ $code = 0 ] && [ "$(field notify isolation)" = kvm ] ;;
    works*) [ $code = 0 ] && grep -q 'WARNING: unikernel notify is not isolated by hardware' "$work/err" &&
        [ "$(field notify isolation)" = kvm-software ] ;;
    *) [ $code = 1 ] && grep -q 'unikernel notify asks for isolation kvm: ' "$work/err" && grep -q 'mend: ' "$work/err" ;;
esac
verdict isolation_kvm_is_as_doctor_says $? "exit code $code"
down
sed -i 's/isolation: kvm, //' "$file"
cp "$work/good.bin" "$folder/system.bin"
mkdir "$work/programs"
cp "$build"/bin/crenel-* "$work/programs/"
cat >"$work/programs/crenel-gateway" <<'PYTHON'
#!/usr/bin/python3 -I
import os, struct, time
os.write(3, struct.pack("<IHHIIQ", 24, 2, 0, 0, 0, 0))
time.sleep(60)
PYTHON
supervise "$work/programs"
grep -q 'gateway mqtt is not confined' "$folder/logs/host.log" && grep -q '^error gateway mqtt did not start' "$work/err"
verdict a_program_that_is_not_confined_is_refused $? "it was accepted"
printf '#!/bin/sh\nexit 7\n' >"$work/programs/crenel-gateway"
supervise "$work/programs"
holds a_program_that_fails_ends_the_first_start 'gateway mqtt did not start: exit code 7'

# ---- hosts that have less ----
if [ "$limits" = enforced ]; then
    unshare -m sh -c "mount -t tmpfs -o ro none /sys/fs/cgroup && for m in \$(awk '\$3 ~ /^cgroup/ {print \$2}' /proc/mounts); do umount -l \$m; done; cd '$work' && exec timeout 60 '$build/bin/crenel' up examples/machine-watch --state '$state' --detach" >"$work/out" 2>"$work/err"
    [ $? = 1 ] && grep -q 'cannot enforce limits: cgroup controller memory' "$work/err" && grep -q 'mend: .*best-effort' "$work/err"
    verdict no_cgroups_is_a_clear_refusal $? "no clear error"
    chmod 755 "$work"
    # The checkout may lie where only its owner gets to: /root, a home.
    mkdir "$work/prefix"
    cp -r "$build/bin" "$build/guest" "$work/prefix/"
    nobody="setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=$work/nobody"
    $nobody "$work/prefix/bin/crenel" up "$work/examples/machine-watch" --state "$state" --detach >"$work/out" 2>"$work/err"
    [ $? = 5 ] && grep -q 'no permission\|cannot make this folder\|Permission denied' "$work/err"
    verdict no_permission_is_a_clear_error $? "exit code or text"
    sed -i 's/^limits: .*/limits: best-effort/' "$file"
    if $nobody unshare -U true 2>/dev/null; then
        mkdir "$work/nobody"
        cp -r "$work/examples" "$work/guests" "$work/schemas" "$work/nobody/"
        chown -R 65534:65534 "$work/nobody"
        (cd "$work/nobody" && $nobody "$work/prefix/bin/crenel" up examples/machine-watch --detach) >"$work/out" 2>"$work/err"
        verdict rootless_up $? "exit code"
        mode=$($nobody "$work/prefix/bin/crenel" ps machine-watch --json 2>/dev/null | grep -o '"mode":"rootless"')
        [ -n "$mode" ]
        verdict rootless_mode_is_shown $? "ps"
        timeout 20 mosquitto_pub -h 127.0.0.1 -p "$port" -u press-7 -P secret-press-7 -q 1 -t plant/press-7/temperature -m '{"nonsense":1}' 2>"$work/err"
        verdict rootless_serves $? "mosquitto_pub"
        sed -i 's/per_second: 50, burst/per_second: 51, burst/' "$work/nobody/examples/machine-watch/system.yaml"
        (cd "$work/nobody" && $nobody "$work/prefix/bin/crenel" up examples/machine-watch --yes) >"$work/out" 2>"$work/err" &&
            grep -q 'another version follows' "$work/err" &&
            timeout 20 mosquitto_pub -h 127.0.0.1 -p "$port" -u press-7 -P secret-press-7 -q 1 -t plant/press-7/temperature -m '{"nonsense":1}' 2>>"$work/err"
        verdict rootless_replacement $? "the new version does not serve"
        setpriv --reuid 12345 --regid 12345 --clear-groups "$work/prefix/bin/crenel" ps machine-watch --state "$work/nobody/.local/state/crenel" >"$work/out" 2>"$work/err"
        [ $? = 5 ] && grep -q 'no permission' "$work/err"
        verdict another_user_may_not_ask $? "exit code or text"
        $nobody "$work/prefix/bin/crenel" down >"$work/out" 2>"$work/err"
        verdict rootless_down $? "exit code"
    else # also in a plain chroot
        echo "skip rootless - this host refuses user namespaces to other users"
    fi
else
    echo "skip hosts_that_have_less - needs root with cgroups"
fi

# ---- doctor ----
crenel doctor --json
python3 -c '
import json, sys
rows = json.load(open(sys.argv[1]))
assert {"virtualization", "isolation", "seccomp notification", "processor", "speculation", "cgroup memory", "cgroup cpu", "cgroup pids", "seccomp", "user namespaces", "entropy"} <= {r["check"] for r in rows}
assert all(r["verdict"] in ("ok", "degraded", "missing") for r in rows)
assert all("mend" in r for r in rows if r["verdict"] != "ok")' "$work/out" 2>>"$work/err"
verdict doctor_tells_and_mends $? "rows"
exit $failed
