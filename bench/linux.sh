#!/bin/bash
# Workloads in a booted Linux guest, beside the same program run natively and in
# QEMU. Boot is not counted: the time is taken on the host between two lines
# that the guest sends just before and after each workload.
set -u
usage() {
    printf 'usage: bench/linux.sh [OPTION...]\n\n'
    common_usage
    printf '\nworkloads, with their repeats:\n'
    sed -n 's/^WORK(\([a-z0-9]*\), \([0-9]*\), "\(.*\)")/\1 \2 \3/p' \
        "$root/bench/linux/works.def" |
        while read -r name repeats what; do
            printf '  %-10s %8s  %s\n' "$name" "$repeats" "$what"
        done
}
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/bench/lib.sh"
parse_options "$@"
list_configs native
"$root/bench/setup.sh" "$build" || exit 2
program=$build/bench/benchprog
pause_us=2000 # PAUSE_NS of bench/linux/main.c
declare -A repeats_of
while read -r name repeats _; do
    names+=("$name")
    repeats_of[$name]=$repeats
done < <("$program")
works=$(chosen "${names[@]}") || exit 2

native() {
    local item
    for item in ${list//,/ }; do
        "$program" "${item%%:*}" "${item##*:}"
    done
}

# guest CONFIG: sets the list for the kernel command line, NAME:REPEATS,...,
# and the guest that runs it.
guest() {
    local name
    list=
    for name in $works; do
        list=$list,$name:$(scaled "${repeats_of[$name]}" "$1")
    done
    list=${list#,}
    for_relive=(--kernel "$build/guests/vmlinuz-amd64" --mem 256M
        --initrd "$build/bench/initrd"
        --append "console=ttyS0 quiet bench=$list")
    for_qemu=(-kernel "$build/guests/vmlinuz-amd64" -m 256
        -initrd "$build/bench/initrd"
        -append "console=ttyS0 quiet bench=$list")
}

declare -A failed
for ((round = 1; round <= rounds; round++)); do
    for config in "${configs[@]}"; do
        [ -z "${failed[$config]:-}" ] || continue
        [ "$config" != bochs ] || continue # a boot takes it minutes
        note "linux, round $round of $rounds: $config"
        guest "$config"
        measure "$config" "$round" || failed[$config]=1
    done
done
report linux
