#!/bin/bash
# Workloads in a booted Linux guest, beside the same program run natively and in
# QEMU. Boot is not counted: the time is taken on the host between two lines
# that the guest sends just before and after each workload.
set -u
usage() {
    cat <<'END'
usage: bench/linux.sh [OPTION...]

  --build DIR      where relive and the guests are (default build)
  --only A,B       these workloads (default all: bench/linux/works.def)
  --engines A,B    relive's engines (default auto)
  --modes A,B      of run, record, replay (default run,record)
  --peers A,B      of qemu, icount, rr-record, rr-replay, or none
                   (default qemu,rr-record)
  --rounds N       interleaved repetitions (default 3)
  --scale F        repeats of each workload, times F (default 1)
  --clock C        wall, or cpu: what the processes used (default wall)
  --keep FILE      also write the samples to FILE
END
}
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/bench/lib.sh"
build=build only='' engines=auto modes=run,record peers=qemu,rr-record
rounds=3 scale=1 clock=wall keep=''
while [ $# -gt 0 ]; do
    case $1 in
    --build | --only | --engines | --modes | --peers | --rounds | --scale | \
        --clock | --keep)
        [ $# -gt 1 ] || die "option '$1' expects a value"
        printf -v "${1#--}" '%s' "$2"
        shift 2
        ;;
    --help | -h) usage; exit 0 ;;
    *) die "unknown option '$1' (see bench/linux.sh --help)" ;;
    esac
done
case $clock in wall | cpu) ;; *) die "--clock: expected wall or cpu" ;; esac
case $rounds in *[!0-9]* | '' | 0) die "--rounds: expected a number" ;; esac

"$root/bench/setup.sh" "$build" || exit 2
build=$(cd "$build" && pwd) || exit 2
relive=$build/relive
[ -x "$relive" ] || die "$relive is missing: run make first"
program=$build/bench/benchprog
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
samples=$work/samples

# The list for the kernel command line: NAME:REPEATS,...
list=$("$program" | awk -v only="$only" -v scale="$scale" '
    BEGIN { n = split(only, want, ",") }
    { known[$1] = 1; reps[$1] = $2; order[++count] = $1 }
    END {
        for (i = 1; i <= n; i++)
            if (!(want[i] in known)) { print "?" want[i]; exit }
        if (!n) { n = count; for (i = 1; i <= n; i++) want[i] = order[i] }
        for (i = 1; i <= n; i++) {
            r = int(reps[want[i]] * scale + 0.5)
            printf("%s%s:%d", (i > 1 ? "," : ""), want[i], (r > 0 ? r : 1))
        }
    }')
[ -n "$list" ] || die "the list of workloads could not be made"
case $list in \?*) die "--only: no workload is called '${list#?}'" ;; esac

memory=256
pause_us=2000 # PAUSE_NS of bench/linux/main.c; relive skips a guest's idle time
guest=(--kernel "$build/guests/vmlinuz-amd64" --initrd "$build/bench/initrd"
    --append "console=ttyS0 quiet bench=$list" --mem "${memory}M")
qemu=(qemu-system-x86_64 -accel tcg -m "$memory" -nodefaults -display none
    -serial stdio -no-reboot -kernel "$build/guests/vmlinuz-amd64"
    -initrd "$build/bench/initrd" -append "console=ttyS0 quiet bench=$list")

native() {
    local item
    for item in ${list//,/ }; do
        "$program" "${item%%:*}" "${item##*:}"
    done
}

# run_config CONFIG: replaces this process, or returns what native() does.
run_config() {
    local engine=${1#*-}
    case $1 in
    native) native ;;
    run-*) exec "$relive" run --engine "$engine" "${guest[@]}" \
        --serial stdio --pace max ;;
    record-*) rm -rf "${work:?}/$engine"
        exec "$relive" record -o "$work/$engine" --engine "$engine" \
            "${guest[@]}" --serial stdio --pace max ;;
    replay-*) exec "$relive" replay --engine "$engine" --serial - \
        "$work/$engine" ;;
    qemu) exec "${qemu[@]}" ;;
    icount) exec "${qemu[@]}" -icount shift=0 ;;
    rr-record) exec "${qemu[@]}" -icount shift=0,rr=record,rrfile="$work/rr" ;;
    rr-replay) exec "${qemu[@]}" -icount shift=0,rr=replay,rrfile="$work/rr" ;;
    esac
}

# measure CONFIG ROUND: appends a row for each workload to the samples.
measure() {
    local pid line name='' repeats begun cpu_begun wall cpu sum own own_cpu fd
    exec {fd}< <(run_config "$1" 2>"$work/err" </dev/null)
    pid=$!
    while IFS= read -r -t 900 -u $fd line; do
        line=${line%$'\r'}
        case $line in
        '= '*) read -r _ name repeats <<<"$line" ;;
        '<') begun=${EPOCHREALTIME/./} cpu_begun=$(cpu_ns $pid) ;;
        '>') wall=${EPOCHREALTIME/./} cpu=$(cpu_ns $pid) ;;
        '+ '*)
            read -r _ sum own own_cpu <<<"$line"
            wall=$(((wall - begun) * 1000)) cpu=$((cpu - cpu_begun))
            case $1 in
            native) wall=$own cpu=$own_cpu ;;
            run-* | record-* | replay-*) ;;
            *) wall=$((wall - pause_us * 1000)) ;;
            esac
            printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$2" "$1" "$name" \
                "$repeats" "$wall" "$cpu" "$own" "$sum" >>"$samples"
            ;;
        esac
    done
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    exec {fd}<&-
    awk -v round="$2" -v config="$1" '$1 == round && $2 == config { n++ }
        END { exit !n }' "$samples" 2>/dev/null && return 0
    note "$1: no result; it said: $(tail -n 1 "$work/err")"
    return 1
}

configs=(native)
for engine in ${engines//,/ }; do
    for mode in ${modes//,/ }; do
        case $mode in
        run | record | replay) configs+=("$mode-$engine") ;;
        *) die "--modes: unknown mode '$mode'" ;;
        esac
    done
done
[ "$peers" = none ] || for peer in ${peers//,/ }; do
    case $peer in
    qemu | icount | rr-record | rr-replay) ;;
    *) die "--peers: unknown peer '$peer'" ;;
    esac
    command -v "${qemu[0]}" >/dev/null || { note "$peer: no QEMU"; continue; }
    configs+=("$peer")
done

declare -A failed
for ((round = 1; round <= rounds; round++)); do
    for config in "${configs[@]}"; do
        [ -n "${failed[$config]:-}" ] && continue
        note "round $round of $rounds: $config"
        measure "$config" "$round" || failed[$config]=1
    done
done
[ -z "$keep" ] || cp "$samples" "$keep"
awk -v clock="$clock" -f "$root/bench/stats.awk" \
    -f "$root/bench/linux_report.awk" "$samples"
