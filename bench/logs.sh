#!/bin/bash
# What a recording's log holds for a Linux boot, and for a second of an idle
# guest.
set -u
usage() {
    printf 'usage: bench/logs.sh [OPTION...]\n\n'
    common_usage
}
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/bench/lib.sh"
parse_options "$@"
"$root/scripts/guests.sh" "$build/guests" amd64 || exit 2
idle=120 # guest seconds
boot=(--kernel "$build/guests/vmlinuz-amd64"
    --initrd "$build/guests/initrd-amd64"
    --append 'console=ttyS0 quiet' --mem 256M --rtc 2026-01-31T12:00:00)
printf 'wait serial "guest# " within 120s\nafter 1s quit\n' >"$work/boot.txt"
printf 'wait serial "guest# " within 120s\nafter %ds quit\n' $((idle + 1)) \
    >"$work/idle.txt"

# log_bytes NAME: of a recording with that input script.
log_bytes() {
    note "logs: $1"
    "$relive" record -o "$work/$1" "${boot[@]}" --input "$work/$1.txt" \
        >"$work/err" 2>&1 </dev/null
    sed -n 's/.*log \([0-9]*\) bytes.*/\1/p' "$work/err"
}

of_boot=$(log_bytes boot)
of_idle=$(log_bytes idle)
[ -n "$of_boot" ] && [ -n "$of_idle" ] ||
    die "no result; relive said: $(tail -n 1 "$work/err")"
a_second=$(((of_idle - of_boot) / idle))
printf 'logs: bytes of a recording\n\n'
printf 'a Linux boot       %8d (goal: below 100000)\n' "$of_boot"
printf 'an idle second     %8d (goal: below 500)\n\n' "$a_second"
[ -z "$metrics" ] || {
    write_metric "$metrics" logs.boot.record.size bytes lower "$of_boot"
    write_metric "$metrics" logs.idle.record.size bytes lower "$a_second"
}
