#!/bin/sh
# SPDX-License-Identifier: ISC
# Each mechanism switched off in a tender of its own: the attacks that name it must get through, or nothing shows
# that it matters.
cd "$(dirname "$0")/../.." || exit 1
build=${CRENEL_BUILD:-build}
attack=$build/tests/attack
failed=0
rm -f "$attack/errors"
for mechanism in $(sed -n 's/^#define MECHANISM_\([A-Z0-9_]*\) 0x.*/\1/p' core/mechanism.h); do
    tender=$attack/without/$mechanism
    "$attack/attack" process "$tender" "$tender" "$attack/errors" --off "$mechanism" || failed=1
done
exit $failed
