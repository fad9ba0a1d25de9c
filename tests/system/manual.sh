#!/bin/sh
# The manual page in docs/ is what the program prints; a formatter takes it without a warning; it names every
# command.
set -u
crenel=${CRENEL_BUILD:-build}/bin/crenel
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
is() {
    test=$1
    shift
    if "$@" >"$work/out" 2>&1; then echo "ok $test"; else echo "not ok $test - $(tail -n 1 "$work/out")"; fi
}
"$crenel" help --man >"$work/crenel.1" || exit 1
is docs_hold_the_current_manual sh -c 'cmp docs/crenel.1 "$1" || { echo "run: make man"; exit 1; }' sh "$work/crenel.1"
if command -v groff >/dev/null; then
    groff -man -ww -Tutf8 "$work/crenel.1" >"$work/text" 2>"$work/warnings"
    is manual_is_good_roff [ ! -s "$work/warnings" ]
else
    echo "skip manual_is_good_roff - there is no groff"
fi
"$crenel" help | sed -n 's/^  \([a-z]*\) .*/\1/p' >"$work/commands"
is manual_names_every_command sh -c '
    while read -r name; do grep -qF "\\fB$name\\fR " "$1/crenel.1" || { echo "$name"; exit 1; }; done <"$1/commands"
    [ -s "$1/commands" ]' sh "$work"
