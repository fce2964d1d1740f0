#!/bin/bash
# The demonstration: record a guest's boot with typed commands and a shutdown,
# replay it in lockstep, compare, take a screenshot.
#
#   scripts/demo.sh [BUILD]
set -u
cd "$(dirname "$0")/.." || exit 2
build=${1:-build}
relive=$build/relive
guests=$build/guests
out=$build/demo
rm -rf "$out" && mkdir -p "$out" || exit 2

say() { printf '\n== %s\n' "$*"; }

linux_script() {
    cat <<'END'
# What a person would type, over the serial line and on the keyboard.
wait serial "guest# " within 120s
serial "uname -a\n"
wait serial "guest# " within 20s
serial "cat /proc/cpuinfo | head -n 5; free\n"
wait serial "guest# " within 20s
wait screen "guest#" within 20s
type "echo this was typed; uname -sr\n"
wait screen "Linux 6" within 20s
after 300ms mouse move 20 10
after 200ms serial "poweroff -f\n"
END
}

echo_script() {
    cat <<'END'
wait serial "ready" within 2s
after 20ms key h
after 20ms key i
after 20ms mouse move 12 -7
after 20ms serial "hello"
after 50ms serial "q"
END
}

if scripts/guests.sh "$guests" amd64; then
    guest="Debian's amd64 kernel with busybox"
    linux_script >"$out/input.txt"
    set -- --kernel "$guests/vmlinuz-amd64" --initrd "$guests/initrd-amd64" \
        --append 'console=tty1 console=ttyS0 quiet relive.mouse' --mem 256M
    expected=0
else
    say "The Debian packages could not be fetched: using a guest assembled" \
        "from tests/guests/ instead."
    guest='tests/guests/echo.S'
    echo_script >"$out/input.txt"
    head -c 32768 "$guests/disk_text.bin" >"$out/disk.img"
    set -- --bios "$guests/echo.bin" --disk "$out/disk.img" --mem 32M
    expected=33 # isa-debug-exit
fi

say "Recording $guest: relive record -o $out/session ..."
"$relive" record -o "$out/session" "$@" --input "$out/input.txt" \
    --serial "file:$out/serial.txt" 2>&1 | tee "$out/record.txt"
status=${PIPESTATUS[0]}
if [ "$status" != "$expected" ]; then
    echo "demo: the recording ended with status $status, expected $expected"
    exit 1
fi
say "What the guest wrote on its serial line"
tr -d '\r' <"$out/serial.txt" | sed 's/\x1b\[[0-9;]*[a-zA-Z]//g' | tail -n 24

say "Replaying in lockstep: relive replay $out/session"
"$relive" replay "$out/session" --serial - --screenshot "$out/screen.png" \
    2>"$out/replay.txt" >"$out/serial-again.txt"
status=$?
cat "$out/replay.txt"
[ "$status" = 0 ] || { echo "demo: the replay failed"; exit 1; }
cmp "$out/serial.txt" "$out/serial-again.txt" || exit 1

say "The two runs"
recorded=$(sed -n 's/.*, state \([^ ]*\).*/\1/p' "$out/record.txt" | tail -n 1)
replayed=$(sed -n 's/.*, state \([^ ]*\).*/\1/p' "$out/replay.txt" | tail -n 1)
printf 'recorded  %s\n' "$(grep ' ticks, ' "$out/record.txt" | tail -n 1)"
printf 'replayed  %s\n' "$(grep ' ticks, ' "$out/replay.txt" | tail -n 1)"
printf '          %s\n' "$(grep ' compared, ' "$out/replay.txt" | tail -n 1)"
if [ -z "$recorded" ] || [ "$recorded" != "$replayed" ]; then
    echo "demo: the final states differ: $recorded and $replayed"
    exit 1
fi
printf 'state     %s in both; serial output equal (%s bytes)\n' "$recorded" \
    "$(wc -c <"$out/serial.txt")"
printf 'session   %s (%s)\n' "$out/session" \
    "$(du -sh "$out/session" | cut -f 1)"
printf 'picture   %s\n' "$out/screen.png"
