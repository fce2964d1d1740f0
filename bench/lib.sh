# shellcheck shell=bash
# What the benchmark scripts share; sourced by them.

note() { printf 'bench: %s\n' "$*" >&2; }
die() { note "$@"; exit 2; }

# cpu_ns PID: what a live process has used so far, all its threads, without
# starting one (proc(5), /proc/PID/task/TID/schedstat).
cpu_ns() {
    local file used sum=0
    for file in /proc/"$1"/task/*/schedstat; do
        read -r used _ 2>/dev/null <"$file" && ((sum += used))
    done
    echo "$sum"
}
