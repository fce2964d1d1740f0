#!/bin/bash
# Repeat guest tests with options that may change nothing a guest sees: a TLB of
# one entry, blocks of one instruction, saving and loading in place, each engine.
#
#   scripts/stress.sh BUILD TEST...
set -u
build=$1
shift
export RELIVE=$PWD/$build/relive GUESTS=$PWD/$build/guests
case $build in /*) RELIVE=$build/relive GUESTS=$build/guests ;; esac
status=0
for options in '--stress-tlb 1' '--stress-block 1' '--stress-save 5000003' \
    '--stress-tlb 1 --stress-block 1 --stress-save 40000009' \
    '--engine interp --stress-slice 1' \
    '--engine tier1 --jit-threshold 1 --jit-cache 1M --stress-slice 2' \
    '--engine tier2 --jit-threshold 1 --jit-tier2-threshold 1 --jit-cache 1M \
--stress-slice 3' \
    '--engine auto --jit-threshold 2 --jit-tier2-threshold 30 --jit-blocks 100'; do
    echo "stress: relive $options"
    RELIVE_STRESS=$options scripts/run-tests.sh "$build/logs-stress" "$@" ||
        status=1
done

# Whole boots on two engines at once, states compared every 65536 ticks.
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
for arch in amd64 i386; do
    [ -e "$GUESTS/vmlinuz-$arch" ] || continue
    "$RELIVE" record -o "$work/$arch" --kernel "$GUESTS/vmlinuz-$arch" \
        --initrd "$GUESTS/initrd-$arch" --append 'console=ttyS0 quiet' \
        --mem 256M --until 120s --until-serial 'guest# ' --serial none ||
        status=1
    for engines in interp,tier1 interp,tier2 interp,auto; do
        echo "stress: relive bisect, $arch boot, $engines"
        "$RELIVE" bisect "$work/$arch" --engines "$engines" --every 65536 ||
            status=1
    done
done
exit $status
