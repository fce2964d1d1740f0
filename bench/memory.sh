#!/bin/bash
# Host memory for guest memory: the most that relive keeps resident while a
# Linux guest with 2 GB writes to every page of 1 GB.
set -u
limit_mb=1536
usage() {
    printf 'usage: bench/memory.sh [OPTION...]\n\n'
    common_usage
}
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/bench/lib.sh"
parse_options "$@"
peers=none
list_configs
"$root/bench/setup.sh" "$build" || exit 2
for_relive=(--kernel "$build/guests/vmlinuz-amd64" --mem 2G
    --initrd "$build/bench/initrd"
    --append 'console=ttyS0 quiet bench=touch:1024')

# resident CONFIG: the peak in MB, once the guest has touched its memory.
resident() {
    local fd pid line status kilobytes=0
    exec {fd}< <(run_config "$1" 2>"$work/err" </dev/null)
    pid=$!
    while IFS= read -r -t 300 -u "$fd" line; status=$?; [ $status = 0 ]; do
        case $line in
        '# 1024 MiB touched'*)
            kilobytes=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' \
                "/proc/$pid/status")
            ;;
        esac
    done
    [ $status -le 128 ] || kill "$pid" # no line for 300 s
    wait "$pid" 2>/dev/null
    exec {fd}<&-
    [ "$kilobytes" != 0 ] || note "$1: no result; it said: $(tail -n 1 \
        "$work/err")"
    echo $((kilobytes / 1024))
}

printf 'memory: peak resident size, 2 GB guest that touches 1 GB\n\n'
status=0
for config in "${configs[@]}"; do
    note "memory: $config"
    mb=$(resident "$config")
    [ "$mb" != 0 ] || { status=1; continue; }
    printf '%-16s %6d MB (goal: below %d)\n' "$config" "$mb" "$limit_mb"
    [ -z "$metrics" ] ||
        write_metric "$metrics" "memory.touch1g.$config.resident" MB lower "$mb"
done
echo
exit $status
