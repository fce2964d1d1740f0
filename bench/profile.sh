#!/bin/bash
# Where host time goes, all threads together: perf(1) over a boot, over Linux
# workloads without their boot, or over a kernel of bench/guests, by part of the
# program and beside what the founding document allows each.
#
#   bench/profile.sh [--build DIR] [--mode run|record] [--engine NAME]
#       [--scale F] WORKLOAD...
#
# WORKLOAD: boot, one of bench/linux/works.def, or a kernel like alu-64.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/bench/lib.sh"
mode=record engine=auto factor=2 directory=$root/build
while [ $# -gt 0 ]; do
    case $1 in
    --mode | --engine | --scale | --build)
        [ $# -gt 1 ] || die "option '$1' expects a value"
        case $1 in
        --mode) mode=$2 ;;
        --engine) engine=$2 ;;
        --scale) factor=$2 ;;
        --build) directory=$2 ;;
        esac
        shift 2
        ;;
    -*) die "unknown option '$1': expected --build, --mode, --engine, --scale" ;;
    *) break ;;
    esac
done
[ $# -gt 0 ] || die 'expected a workload: boot, sha256, alu-64, ...'
command -v perf >/dev/null || die 'perf is not installed (linux-perf)'
parse_options --build "$directory" --scale "$factor"
list_configs
"$root/bench/setup.sh" "$build" || exit 2
make -s -C "$root" BUILD="$build" kernels || exit 2

# Functions and the folders of the objects that define them.
find "$build/obj/src" "$build/obj/replay" "$build/obj/analysis" -name '*.o' |
    while read -r object; do
        nm "$object" | awk -v folder="${object#"$build"/obj/}" '
            $2 ~ /^[tT]$/ { print $3, folder }'
    done >"$work/functions"

# guest WORKLOAD: sets for_relive.
guest() {
    local repeats kernel=$build/guests/vmlinuz-amd64
    if [ -e "$build/bench/$1.bin" ]; then
        for_relive=(--bios "$build/bench/$1.bin" --vgabios none --mem 64M)
        return
    fi
    if [ "$1" = boot ]; then
        for_relive=(--kernel "$kernel" --initrd "$build/guests/initrd-amd64"
            --mem 256M --append 'console=ttyS0 quiet relive.run=true')
        return
    fi
    repeats=$("$build/bench/benchprog" | awk -v name="$1" '$1 == name {
        print $2 }')
    [ -n "$repeats" ] || die "no workload '$1'"
    for_relive=(--kernel "$kernel" --initrd "$build/bench/initrd" --mem 256M
        --append "console=ttyS0 quiet bench=$1:$(scaled "$repeats" run)")
}

# profile WORKLOAD: perf's clock is the wall's, so that the samples between the
# workload's two lines can be told.
profile() {
    local line begun=0 ended=9999999999
    guest "$1"
    # perf passes the guest's lines on; its child is relive.
    while IFS= read -r line; do
        case ${line%$'\r'} in
        '<') begun=$EPOCHREALTIME ;;
        '>') ended=$EPOCHREALTIME ;;
        esac
    done < <(run_config "$mode-$engine" 2>"$work/err" </dev/null)
    perf script -i "$work/data" -F comm,time,ip,sym,dso 2>/dev/null |
        awk -v begun="$begun" -v ended="$ended" -v functions="$work/functions" \
            -v title="$1, relive $mode, engine $engine" \
            -f "$root/bench/profile.awk"
}

real=$relive
printf '#!/bin/sh\nexec perf record -q -k realtime -F 997 -o "%s" -- "%s" "$@"\n' \
    "$work/data" "$real" >"$work/relive"
chmod +x "$work/relive"
relive=$work/relive
stats_option=()
for workload; do
    profile "$workload"
done
