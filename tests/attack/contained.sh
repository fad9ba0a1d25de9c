#!/bin/sh
# SPDX-License-Identifier: ISC
# Every attack of docs/attacks.md under each wall: what contained it.
cd "$(dirname "$0")/../.." || exit 1
build=${CRENEL_BUILD:-build}
attack=$build/tests/attack
failed=0
rm -f "$attack/errors"
for wall in process kvm; do
    echo "# under $wall"
    "$attack/attack" $wall "$build/bin/crenel-tender" "$attack/without/IMAGE_SCAN" "$attack/errors" || failed=1
done
"$attack/inspector/inspector" >"$attack/said" || failed=1
cat "$attack/said"
# docs/attacks.md names each attack, if only by how its name begins, and each mechanism.
missing=$(
    grep -o '`[a-z0-9_*]*`' docs/attacks.md | tr -d '`' | sort -u >"$attack/on_the_page"
    { "$attack/attack" names; sed -n 's/^[a-z ]*ok \([a-z0-9_]*\) .*/\1/p' "$attack/said"; } | while read -r name; do
        while read -r pattern; do
            # shellcheck disable=SC2254
            case $name in $pattern) continue 2 ;; esac
        done <"$attack/on_the_page"
        echo "$name"
    done
    sed -n 's/^#define MECHANISM_\([A-Z0-9_]*\) 0x.*/\1/p' core/mechanism.h | while read -r name; do
        grep -q "| [^|]*\<$name\>" docs/attacks.md || echo "$name"
    done
)
if [ -z "$missing" ]; then
    echo "ok every_attack_and_mechanism_is_on_the_page"
else
    echo "not ok every_attack_and_mechanism_is_on_the_page -" $missing
    failed=1
fi
exit $failed
