#!/bin/sh
# SPDX-License-Identifier: ISC
# Each mechanism switched off in a tender of its own: the attacks that name it must get through, or nothing shows
# that it matters. Under kvm only those that act there: the others act on the same code for both walls.
cd "$(dirname "$0")/../.." || exit 1
build=${CRENEL_BUILD:-build}
attack=$build/tests/attack
failed=0
rm -f "$attack/errors"
kvm=$("$attack/attack" kvm "$build/bin/crenel-tender" "$attack/without/IMAGE_SCAN" "$attack/errors" cpu_hog)
for mechanism in $(sed -n 's/^#define MECHANISM_\([A-Z0-9_]*\) 0x.*/\1/p' core/mechanism.h); do
    tender=$attack/without/$mechanism
    if grep -q "MECHANISM($mechanism)" core/*.c host/*.c tender/*.c tender/process/*.c; then
        "$attack/attack" process "$tender" "$tender" "$attack/errors" --off "$mechanism" || failed=1
    fi
    if grep -q "MECHANISM($mechanism)" tender/kvm/*.c; then
        case $kvm in
            skip*) echo "skip without_${mechanism}_under_kvm - ${kvm#* - }" ;;
            *) "$attack/attack" kvm "$tender" "$tender" "$attack/errors" --off "$mechanism" || failed=1 ;;
        esac
    fi
done
exit $failed
