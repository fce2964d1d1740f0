#!/bin/bash
# Build what the benchmarks run, in BUILD/bench: the program of bench/linux/ for
# Linux on x86-64, and an initial RAM disk that holds it and busybox. What is
# newer than its sources is left alone.
#
#   bench/setup.sh [BUILD]
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$here/build}
sources=$here/bench/linux
mkdir -p "$build/bench" || exit 1
build=$(cd "$build" && pwd)
program=$build/bench/benchprog
initrd=$build/bench/initrd

newer() { # newer FILE SOURCE...: is there a source that FILE does not reflect?
    local file=$1 source
    shift
    [ -s "$file" ] || return 0
    for source; do
        [ "$source" -nt "$file" ] && return 0
    done
    return 1
}

if newer "$program" "$sources"/*; then
    # No more than the x86-64 baseline, so that guests run what the host runs.
    ${CC:-cc} -std=c17 -D_GNU_SOURCE -O2 -march=x86-64 -ffp-contract=off \
        -fno-math-errno -Wall -Wextra -Wshadow -static \
        -o "$program.new" "$sources"/*.c -lz || exit 1
    mv "$program.new" "$program"
fi

"$here/scripts/guests.sh" "$build/guests" amd64 || exit 1
busybox=$build/guests/amd64/busybox-static/bin/busybox
if newer "$initrd" "$program" "$busybox" "$sources/init"; then
    command -v cpio >/dev/null ||
        { echo 'bench: cpio is not installed' >&2; exit 1; }
    root=$(mktemp -d) || exit 1
    trap 'rm -rf "$root"' EXIT
    mkdir -p "$root"/{bin,dev,proc,sys,tmp}
    cp "$busybox" "$program" "$root/bin/" || exit 1
    install -m 755 "$sources/init" "$root/init"
    (cd "$root" && find . | LC_ALL=C sort |
        cpio --quiet -o -H newc --owner 0:0 --reproducible) |
        gzip -n -9 >"$initrd.new" && mv "$initrd.new" "$initrd" || exit 1
fi
