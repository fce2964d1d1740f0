#!/bin/bash
# Run test programs and count.
#
#   scripts/run-tests.sh LOG-DIRECTORY 'COMMAND ARGUMENTS'...
#
# A cmocka program counts as its tests, any other command as one test that
# passes with exit status 0. Two run at a time on two processors. Prints a line
# for each command, what failed, and last "N passed, N failed" by itself.
# Variables: JOBS (how many at a time), TEST_TIMEOUT (seconds, 1200).
set -u
logs=$1
shift
mkdir -p "$logs" || exit 2
export logs

one() {
    local name start status passed failed skipped
    set -- $1
    name=$(basename "$1")
    start=$(date +%s)
    CMOCKA_MESSAGE_OUTPUT=TAP timeout "${TEST_TIMEOUT:-1200}" "$@" \
        >"$logs/$name.log" 2>&1 </dev/null
    status=$?
    # cmocka marks a skipped test as "not ok N # SKIP".
    passed=$(grep -c '^ok ' "$logs/$name.log")
    skipped=$(grep -c '^not ok [0-9]* # SKIP' "$logs/$name.log")
    failed=$(($(grep -c '^not ok ' "$logs/$name.log") - skipped))
    if [ "$((passed + failed + skipped))" = 0 ]; then
        [ $status = 0 ] && passed=1 || failed=1
    elif [ $status -gt 123 ] || { [ $status != 0 ] && [ $failed = 0 ]; }; then
        failed=$((failed + 1)) # it crashed, or took too long, half way
    fi
    printf '%s %s %s\n' "$passed" "$failed" "$skipped" >"$logs/$name.count"
    {
        printf '%-28s %4d passed' "$name" "$passed"
        [ "$failed" = 0 ] || printf ', %d FAILED' "$failed"
        [ "$skipped" = 0 ] || printf ', %d skipped' "$skipped"
        printf '  (%d s)\n' "$(($(date +%s) - start))"
        if [ "$failed" != 0 ]; then
            grep '^not ok ' "$logs/$name.log" | grep -v '# SKIP'
            printf '  exit status %s; %s ends:\n' "$status" "$logs/$name.log"
            tail -n 12 "$logs/$name.log" | sed 's/^/    /'
        fi
    } >"$logs/$name.report"
    cat "$logs/$name.report"
}
export -f one

rm -f "$logs"/*.count
printf '%s\0' "$@" |
    xargs -0 -n 1 -P "${JOBS:-$(nproc)}" bash -c 'one "$0"'
cat "$logs"/*.count | awk '
    { passed += $1; failed += $2; skipped += $3 }
    END {
        if (skipped)
            print skipped " skipped: a guest or a tool that they need is not here"
        printf "%d passed, %d failed\n", passed, failed
        exit failed != 0 || passed == 0
    }'
