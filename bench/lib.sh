# shellcheck shell=bash
# What the benchmark scripts share; sourced by them, with `root` set.
#
# A configuration is a way to run the same guest: native, run-ENGINE,
# record-ENGINE, replay-ENGINE (of that recording), qemu, icount, rr-record,
# rr-replay, bochs. A sample is a line of
#   round, configuration, workload, repeats, wall ns, CPU ns, guest ns, checksum
# separated by tabs.

note() { printf 'bench: %s\n' "$*" >&2; }
die() { note "$@"; exit 2; }

# read_cpu PID: sets cpu_now to what a live process has used so far, all its
# threads, in ns, without starting one (proc(5), /proc/PID/task/TID/schedstat).
read_cpu() {
    local file used
    cpu_now=0
    for file in /proc/"$1"/task/*/schedstat; do
        read -r used _ 2>/dev/null <"$file" && ((cpu_now += used))
    done
}

# Sets cpu_now to what this shell's children that have ended used, in ns.
read_children_cpu() {
    local user system
    times >"$work/times"
    { read -r _ && read -r user system; } <"$work/times"
    cpu_now=$(awk -F '[ms ]+' \
        '{ printf "%.0f", 1e9 * (60 * ($1 + $3) + $2 + $4) }' \
        <<<"$user $system")
}

common_usage() {
    cat <<'END'
  --build DIR      where relive and the guests are (default build)
  --only A,B       these workloads alone
  --engines A,B    relive's engines (default auto)
  --modes A,B      of run, record, replay (default run,record)
  --peers A,B      of qemu, icount, rr-record, rr-replay and bochs (kernels
                   alone), or none (default qemu,rr-record)
  --rounds N       interleaved repetitions (default 3)
  --scale F        repeats of each workload, times F (default 1)
  --clock C        wall, or cpu: what the processes used (default wall)
  --keep FILE      append the samples to FILE
  --metrics FILE   append means and deviations to FILE
END
}

# write_metric FILE NAME UNIT BETTER VALUE...: as in stats.awk.
write_metric() {
    local file=$1 name=$2 unit=$3 better=$4
    shift 4
    printf '%s\n' "$@" | awk -v file="$file" -v name="$name" -v unit="$unit" \
        -v better="$better" -f "$root/bench/stats.awk" -f <(echo '
        { list[NR] = $1 }
        END { write_metric(file, name, unit, better, list, NR) }')
}

# parse_options ARGUMENT...: sets build, only, engines, ... as above; calls
# usage() for --help.
# shellcheck disable=SC2034
parse_options() {
    build=$root/build only='' engines=auto modes=run,record
    peers=qemu,rr-record rounds=3 scale=1 clock=wall keep='' metrics=''
    while [ $# -gt 0 ]; do
        case $1 in
        --build | --only | --engines | --modes | --peers | --rounds | \
            --scale | --clock | --keep | --metrics)
            [ $# -gt 1 ] || die "option '$1' expects a value"
            printf -v "${1#--}" '%s' "$2"
            shift 2
            ;;
        --help | -h) usage; exit 0 ;;
        *) die "unknown option '$1' (see ${0##*/} --help)" ;;
        esac
    done
    case $clock in wall | cpu) ;; *) die '--clock: expected wall or cpu' ;; esac
    case $rounds in
    *[!0-9]* | '' | 0) die '--rounds: expected a number from 1' ;;
    esac
    [[ $scale =~ ^[0-9]*\.?[0-9]+$ ]] || die '--scale: expected a number'
    build=$(cd "$build" && pwd) || die '--build: expected a directory'
    relive=$build/relive
    [ -x "$relive" ] || die "$relive is missing: run make first"
    work=$(mktemp -d) || exit 2
    trap 'rm -rf "$work"' EXIT
    samples=$work/samples
    at_end=0
    : >"$samples"
    stats_option=()
    if "$relive" run --help | grep -q -e --stats; then
        stats_option=(--stats "$work/stats.json")
    fi
}

# list_configs [CONFIG...]: sets configs to these and what the options ask for.
list_configs() {
    local engine mode peer program
    configs=("$@")
    for engine in ${engines//,/ }; do
        for mode in ${modes//,/ }; do
            case $mode in
            run | record | replay) configs+=("$mode-$engine") ;;
            *) die "--modes: expected run, record or replay, found '$mode'" ;;
            esac
        done
    done
    [ "$peers" = none ] || for peer in ${peers//,/ }; do
        case $peer in
        qemu | icount | rr-record | rr-replay) program=qemu-system-x86_64 ;;
        bochs) program=bochs-bin ;;
        *) die "--peers: unknown peer '$peer'" ;;
        esac
        command -v "$program" >/dev/null || { note "no $program"; continue; }
        configs+=("$peer")
    done
}

# chosen NAME...: the names that --only lets pass, in its order; all without.
chosen() {
    local name
    [ -n "$only" ] || { printf '%s\n' "$@"; return; }
    for name in ${only//,/ }; do
        [[ " $* " == *" $name "* ]] || die "--only: no workload '$name'"
        echo "$name"
    done
}

# scaled REPEATS CONFIG: for emulators that take long, a part of the repeats.
scaled() {
    awk -v n="$1" -v scale="$scale" -v config="$2" 'BEGIN {
        if (config ~ /-interp$/) scale /= 10
        if (config == "bochs") scale /= 50
        n = int(n * scale + 0.5)
        print (n > 0 ? n : 1)
    }'
}

# run_config CONFIG: becomes the emulator, with its COM1 on standard output.
# The guest is in the arrays for_relive and for_qemu.
run_config() {
    local engine=${1#*-} qemu
    qemu=(qemu-system-x86_64 -accel tcg -nodefaults -display none
        -serial stdio -no-reboot)
    case $1 in
    native) native ;;
    run-*) exec "$relive" run --engine "$engine" "${for_relive[@]}" \
        --serial stdio --pace max "${stats_option[@]}" ;;
    record-*) rm -rf "${work:?}/session-$engine"
        exec "$relive" record -o "$work/session-$engine" --engine "$engine" \
            "${for_relive[@]}" --serial stdio --pace max \
            "${stats_option[@]}" ;;
    replay-*) exec "$relive" replay --engine "$engine" --serial - \
        "${stats_option[@]}" "$work/session-$engine" ;;
    qemu) exec "${qemu[@]}" "${for_qemu[@]}" ;;
    icount) exec "${qemu[@]}" "${for_qemu[@]}" -icount shift=0 ;;
    rr-record | rr-replay) exec "${qemu[@]}" "${for_qemu[@]}" \
        -icount "shift=0,rr=${1#rr-},rrfile=$work/rr" ;;
    bochs) run_bochs ;;
    esac
}

# measure CONFIG ROUND [NAME REPEATS]: runs the guest and appends a sample for
# each workload that it reports. A guest that does not name what it runs is
# given NAME; one that does not say when it begins is timed from its start.
# pause_us is how long a guest sleeps before the work. An emulator that ends as
# soon as its work is done has no CPU time left to read then: with at_end=1 it is
# that of the ended process.
measure() {
    local pid line name=${3:-} repeats=${4:-} begun cpu_begun=0 wall cpu sum own
    local own_cpu fd count=0 config=$1
    local children_begun
    rm -f "$work/stats.json" "$work/row"
    read_children_cpu
    children_begun=$cpu_now
    begun=${EPOCHREALTIME/./}
    exec {fd}< <(run_config "$1" 2>"$work/err" </dev/null)
    pid=$!
    local status
    while IFS= read -r -t 300 -u "$fd" line; status=$?; [ $status = 0 ]; do
        line=${line%$'\r'}
        case $line in
        '= '*) read -r _ name repeats <<<"$line" ;;
        '<')
            begun=${EPOCHREALTIME/./}
            read_cpu $pid
            cpu_begun=$cpu_now
            ;;
        '>')
            wall=${EPOCHREALTIME/./}
            read_cpu $pid
            cpu=$cpu_now
            ;;
        '+ '*)
            read -r _ sum own own_cpu <<<"$line"
            wall=$(((wall - begun) * 1000)) cpu=$((cpu - cpu_begun))
            case $config in
            native | bochs) wall=$own cpu=$own_cpu ;;
            # relive skips a guest's idle time
            run-* | record-* | replay-*) ;;
            *) wall=$((wall - pause_us * 1000)) ;;
            esac
            count=$((count + 1))
            printf '%s\t' "$2" "$config" "$name" "$repeats" "$wall" "$cpu" \
                "$own" >>"$work/row"
            printf '%s\n' "$sum" >>"$work/row"
            ;;
        esac
    done
    [ $status -le 128 ] || kill "$pid" # no line for 300 s
    wait "$pid" 2>/dev/null
    exec {fd}<&-
    if [ $count = 0 ]; then
        note "$config: no result; it said: $(tail -n 1 "$work/err")"
        return 1
    fi
    read_children_cpu
    local ended=$((cpu_now - children_begun - cpu_begun))
    [ "$at_end" = 1 ] && [ "$config" != bochs ] || ended=
    # A guest that has no clock is given relive's tick: 1000 a microsecond; a
    # boot, much of which is idle, its instructions.
    local ticks
    ticks=$(sed -n "s/^\(.* \)*\([0-9]*\) ${counted:-ticks},.*/\2/p" \
        "$work/err" | tail -n 1)
    awk -v ticks="${ticks:-0}" -v cpu="$ended" 'BEGIN { FS = OFS = "\t" }
        { if (!$7) $7 = ticks; if (cpu) $6 = cpu; print }' "$work/row" >>"$samples"
    rm -f "$work/row"
    [ ! -s "$work/stats.json" ] ||
        mv "$work/stats.json" "$work/stats-$config-$name.json"
}

# access_bytes NAME: of the loads and stores of counted-mem_seq-BITS.json.
access_bytes() {
    case $1 in
    counted-mem_seq-32*) echo 4 ;;
    counted-mem_seq-64*) echo 8 ;;
    esac
}

# report TITLE: prints the tables, after writing what the options ask for.
report() {
    local file name
    [ -z "$keep" ] || cat "$samples" >>"$keep"
    awk -v clock="$clock" -v suite="$1" -v metrics="$metrics" \
        -f "$root/bench/stats.awk" -f "$root/bench/report.awk" "$samples"
    local status=$?
    for file in "$work"/stats-*.json "$work"/counted-*.json; do
        [ -e "$file" ] || continue
        name=${file##*/}
        name=${name#stats-}
        printf 'jit %-28s %s\n' "${name%.json}" \
            "$(awk -v access="$(access_bytes "$name")" \
                -f "$root/bench/jit_line.awk" "$file")"
    done
    return $status
}
