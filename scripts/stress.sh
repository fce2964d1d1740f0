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
    '--engine interp' '--engine tier1 --jit-threshold 1 --jit-cache 1M' \
    '--engine auto --jit-threshold 2 --jit-tier2-threshold 30 --jit-blocks 100'; do
    echo "stress: relive $options"
    RELIVE_STRESS=$options scripts/run-tests.sh "$build/logs-stress" "$@" ||
        status=1
done
exit $status
