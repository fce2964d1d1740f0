#!/bin/bash
# All benchmarks, one after the other; results are appended to the history.
#
#   bench/run.sh [--quick] [--peers] [--clock C] [--build DIR] [--history FILE]
#
# --quick    a few minutes: the default engine alone, one round, short runs
# --peers    also QEMU (plain, icount, rr=record, rr=replay) and Bochs
# --clock    wall, or cpu on a busy machine: what the processes used
# --history  where the results go (default bench/history.json; none: nowhere)
#
# Figures of one run are comparable with each other, not with other machines.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/bench/lib.sh"
build=$root/build history=$root/bench/history.json mode=full peers=none
clock=wall
while [ $# -gt 0 ]; do
    case $1 in
    --quick) mode=quick; shift ;;
    --peers) peers=qemu,icount,rr-record,rr-replay,bochs; shift ;;
    --build | --history | --clock)
        [ $# -gt 1 ] || die "option '$1' expects a value"
        printf -v "${1#--}" '%s' "$2"
        shift 2
        ;;
    *) die "unknown option '$1': expected --quick, --peers, --clock, --build" \
        'or --history' ;;
    esac
done
relive=$build/relive
[ -x "$relive" ] || die "$relive is missing: run make first"
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

if [ $mode = quick ]; then
    common=(--engines auto --rounds 1 --scale 0.5)
else
    # Whatever engines this build has: it names them when it refuses one.
    engines=$("$relive" run --engine none 2>&1 |
        grep -o 'auto\|interp\|tier[0-9]' | sort -u | paste -s -d ,)
    common=(--engines "$engines" --rounds 3)
fi
common+=(--clock "$clock" --build "$build" --metrics "$work/metrics")

status=0
printf 'relive %s on %s, %s\n\n' \
    "$(git -C "$root" describe --always --dirty 2>/dev/null)" \
    "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$mode"
modes=(--modes run,record,replay)
"$root/bench/cpu.sh" "${common[@]}" "${modes[@]}" --peers $peers || status=1
"$root/bench/linux.sh" "${common[@]}" "${modes[@]}" --peers $peers || status=1
"$root/bench/boot.sh" "${common[@]}" "${modes[@]}" --peers $peers || status=1
"$root/bench/memory.sh" "${common[@]}" --engines auto --modes run,record ||
    status=1
"$root/bench/logs.sh" "${common[@]}" || status=1
awk -f "$root/bench/stats.awk" -f "$root/bench/goals.awk" "$work/metrics"
[ "$history" = none ] ||
    lua5.4 "$root/bench/history.lua" "$history" "$work/metrics" \
        "mode=$mode" "commit=$(git -C "$root" rev-parse HEAD 2>/dev/null)" \
        "date=$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
        "host=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" ||
    status=1
exit $status
