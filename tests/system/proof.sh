#!/bin/sh
# SPDX-License-Identifier: ISC
# The proof of what takes records out of a guest's memory (docs/proofs.md) holds, and fails when the bound of what the
# guest published is switched off. The rest is `make proof`: it takes minutes.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for tool in frama-c why3 z3 cvc4; do
    command -v $tool >/dev/null && continue
    echo "skip door_is_proved - there is no $tool: apt-get install frama-c-base why3 z3 cvc4"
    echo "skip door_without_its_bound_is_not_proved - there is no $tool"
    exit 0
done
door=tender/guest_memory.c:guest_memory_take
if tools/proof/prove "$work" $door >"$work/out" 2>&1; then
    echo "ok door_is_proved"
else
    echo "not ok door_is_proved - $(tail -n 2 "$work/out" | head -n 1)"
    cat "$work/out" >&2
fi
if PROOF_TIMEOUT=2 PROOF_DEFINES=-DMECHANISMS_OFF=MECHANISM_PUBLISHED_RANGE \
    tools/proof/prove "$work" $door >"$work/out" 2>&1; then
    echo "not ok door_without_its_bound_is_not_proved - it was proved"
elif grep -q 'not proved: typed_guest_memory_take' "$work/out"; then
    echo "ok door_without_its_bound_is_not_proved"
else
    echo "not ok door_without_its_bound_is_not_proved - it failed elsewhere: $(tail -n 2 "$work/out" | head -n 1)"
fi
