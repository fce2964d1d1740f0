#!/bin/bash
# Speed and log sizes on this machine, now, with other emulators beside it.
#
#   bench/run.sh [BUILD]        make bench
#
# Figures of one run are comparable with each other, not with other machines.
# The integer guest is the same image everywhere, so its instruction count, which
# relive reports, gives everybody's MIPS. Start-up is included; it is small.
set -u
cd "$(dirname "$0")/.." || exit 2
build=$(cd "${1:-build}" && pwd) || exit 2
relive=$build/relive
guests=$build/guests
rounds=${BENCH_ROUNDS:-5}
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

now() { date +%s%N; }
# seconds COMMAND...: how long it took, as a decimal
seconds() {
    local begun
    begun=$(now)
    "$@" >/dev/null 2>"$work/err" </dev/null
    echo "$(($(now) - begun))" | awk '{ printf "%.3f", $1 / 1e9 }'
}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
figure() { # figure FILE WORD: the number before WORD in the figures line
    sed -n "s/.*[^0-9.]\([0-9.]*\) $2.*/\1/p" "$1" | tail -n 1
}

integer=(--bios "$guests/bench_int.bin" --vgabios none --mem 16M)

echo '== Integer code (tests/guests/bench_int.S)'
"$relive" run "${integer[@]}" >"$work/out" 2>&1
insns=$(figure "$work/out" instructions)
printf '%s instructions a run, median of %s interleaved runs\n' \
    "$insns" "$rounds"
qemu=$(command -v qemu-system-i386 || true)
# Debian's Bochs has a debugger, which a command file drives, and its terminal
# display wants a terminal, which script(1) lends.
bochs=$(command -v bochs-bin || true)
[ -e "$(echo /usr/lib/*/bochs/plugins/libbx_term_gui.so)" ] || bochs=
printf 'c\nquit\n' >"$work/bochs.cmd"
cat >"$work/bochsrc" <<END
megs: 16
romimage: file=$guests/bench_int.bin
vgaromimage: file=/usr/share/seabios/vgabios-stdvga.bin
boot: disk
log: $work/bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
port_e9_hack: enabled=1
display_library: term
sound: driver=dummy
speaker: enabled=0
END
run_bochs() {
    TERM=vt100 script -qec "timeout 300 $bochs -q -f $work/bochsrc \
        -rc $work/bochs.cmd" /dev/null
}
for ((i = 0; i < rounds; i++)); do
    seconds "$relive" run "${integer[@]}" >>"$work/run"
    echo >>"$work/run"
    seconds "$relive" run --engine interp "${integer[@]}" >>"$work/interp"
    echo >>"$work/interp"
    rm -rf "$work/s"
    seconds "$relive" record -o "$work/s" "${integer[@]}" >>"$work/record"
    echo >>"$work/record"
    if [ -n "$qemu" ]; then
        seconds "$qemu" -accel tcg -m 16 -bios "$guests/bench_int.bin" \
            -display none -monitor none -serial none -no-reboot \
            -device isa-debug-exit,iobase=0xf4,iosize=4 >>"$work/qemu"
        echo >>"$work/qemu"
    fi
    if [ -n "$bochs" ] && [ $i -lt 2 ]; then
        seconds run_bochs >>"$work/bochs"
        echo >>"$work/bochs"
    fi
done
line() { # line NAME FILE
    [ -s "$work/$2" ] || { printf '%-22s not installed\n' "$1"; return; }
    median <"$work/$2" | awk -v name="$1" -v n="$insns" '
        { printf "%-22s %8.3f s %8.1f MIPS\n", name, $1, n / $1 / 1e6 }'
}
line 'relive run' run
line 'relive record' record
line 'relive run, interp' interp
line 'QEMU TCG' qemu
line 'Bochs' bochs
# Pairs of neighbours, so that a load of the machine meets both.
paste "$work/run" "$work/record" | awk '$1 > 0 { print $2 / $1 }' | median |
    awk '{ printf "record / run           %8.3f (goal: below 1.05)\n", $1 }'

echo
echo '== Log of a Linux boot, and of an idle guest'
if ! scripts/guests.sh "$guests" amd64; then
    echo 'skipped: the kernel could not be fetched'
    exit 0
fi
idle=120
boot=(--kernel "$guests/vmlinuz-amd64" --initrd "$guests/initrd-amd64"
    --append 'console=ttyS0 quiet' --mem 256M --rtc 2026-01-31T12:00:00)
printf 'wait serial "guest# " within 120s\nafter 1s quit\n' >"$work/boot.txt"
printf 'wait serial "guest# " within 120s\nafter %ds quit\n' $((idle + 1)) \
    >"$work/idle.txt"
"$relive" run "${boot[@]}" --input "$work/boot.txt" >"$work/out" 2>&1
grep ' ticks, ' "$work/out" | sed 's/^/run     /'
"$relive" record -o "$work/b" "${boot[@]}" --input "$work/boot.txt" \
    >"$work/boot" 2>&1
grep ' ticks, ' "$work/boot" | sed 's/^/record  /'
"$relive" record -o "$work/i" "${boot[@]}" --input "$work/idle.txt" \
    >"$work/idle" 2>&1
grep ' ticks, ' "$work/idle" | sed 's/^/idle    /'
a=$(sed -n 's/.*log \([0-9]*\) bytes.*/\1/p' "$work/boot")
b=$(sed -n 's/.*log \([0-9]*\) bytes.*/\1/p' "$work/idle")
printf 'boot log               %8d bytes (goal: below 100000)\n' "$a"
printf 'idle log               %8d bytes a guest second (goal: below 500)\n' \
    $(((b - a) / idle))
