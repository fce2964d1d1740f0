#!/bin/bash
# The CPU alone: guests without an operating system, bench/guests/*.S, each in
# 32 and 64 bits. Every unit of work has a checksum that the guest verifies.
set -u
usage() {
    printf 'usage: bench/cpu.sh [OPTION...]\n\n'
    common_usage
    printf '\nworkloads, each also with -32 or -64 behind its name alone:\n'
    for file in "$root"/bench/guests/*.S; do
        name=${file##*/}
        printf '  %-14s %s\n' "${name%.S}" \
            "$(sed -n '1{s/^\/\* //; s/ \*\/$//; p}' "$file")"
    done
}
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/bench/lib.sh"
parse_options "$@"
list_configs
make -s -C "$root" BUILD="$build" kernels || exit 2
pause_us=0
at_end=1
units=400 # UNITS of bench/guests/kernel.h
for file in "$root"/bench/guests/*.S; do
    name=${file##*/}
    name=${name%.S}
    names+=("$name-32" "$name-64")
    # --only NAME stands for both.
    only=,$only,
    only=${only/,$name,/,$name-32,$name-64,}
    only=${only#,}
    only=${only%,}
done
works=$(chosen "${names[@]}") || exit 2

# Debian's Bochs has a debugger, which a command file drives, and its terminal
# display wants a terminal, which script(1) lends. Its COM1 is a file; the time
# is that of the process.
run_bochs() {
    local begun spent
    printf 'c\nquit\n' >"$work/bochs.cmd"
    cat >"$work/bochsrc" <<END
megs: 64
romimage: file=$work/image
vgaromimage: file=/usr/share/seabios/vgabios-stdvga.bin
boot: disk
log: $work/bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
com1: enabled=1, mode=file, dev=$work/bochs.com1
display_library: term
sound: driver=dummy
speaker: enabled=0
END
    rm -f "$work/bochs.com1"
    begun=$(date +%s%N)
    TERM=vt100 timeout 600 script -qec "bochs-bin -q -f $work/bochsrc \
        -rc $work/bochs.cmd" /dev/null >/dev/null 2>&1
    spent=$(($(date +%s%N) - begun))
    sed "s/^+ ok.*/+ ok $spent $spent/" "$work/bochs.com1"
}

# image NAME UNITS: a copy of the kernel with that many units to do, a 32-bit
# number at 0xFFF8.
image() {
    cp "$build/bench/$1.bin" "$work/image" || exit 2
    printf "$(printf '\\x%02x' $(($2 & 255)) $(($2 >> 8 & 255)) \
        $(($2 >> 16 & 255)) $(($2 >> 24)))" |
        dd of="$work/image" bs=1 seek=$((0xfff8)) conv=notrunc status=none
}

# count_translations NAME: how often a stream leaves the TLB, in a run that is not
# timed, for counting accesses slows it.
count_translations() {
    local engine=${engines%%,*} file=$work/counted-$1.json a_page
    note "cpu, counted: $1"
    image "$1" $units
    stats_option=(--stats "$file" --stats-memory)
    (run_config "run-$engine" >/dev/null 2>"$work/err" </dev/null)
    a_page=$(awk -v access="$(access_bytes "counted-$1")" \
        -f "$root/bench/jit_line.awk" "$file" |
        sed -n 's/.*, \([0-9.]*\) a page of the stream.*/\1/p')
    [ -z "$metrics" ] || [ -z "$a_page" ] ||
        write_metric "$metrics" "cpu.$1.run-$engine.translations" "a page" \
            lower "$a_page"
}

for_relive=(--bios "$work/image" --vgabios none --mem 64M)
for_qemu=(-bios "$work/image" -m 64
    -device isa-debug-exit,iobase=0xf4,iosize=4)
declare -A failed
for ((round = 1; round <= rounds; round++)); do
    for name in $works; do
        note "cpu, round $round of $rounds: $name"
        for config in "${configs[@]}"; do
            [ -z "${failed[$config]:-}" ] || continue
            count=$(scaled $units "$config")
            image "$name" "$count"
            measure "$config" "$round" "$name" "$count" || failed[$config]=1
        done
    done
done
for name in $works; do
    [ -z "$(access_bytes "counted-$name")" ] || count_translations "$name"
done
report cpu
