#!/bin/bash
# Verify a session on a Slurm cluster: each task of a job array replays one share
# of it, from a snapshot on.
#
#   scripts/slurm-verify.sh SESSION SHARES [SBATCH-OPTION...]
#
# The session, its media, this program and the directory of the logs must be at
# the same paths on every node. RELIVE names the program (build/relive beside
# this script, else relive); LOGS where the tasks write (SESSION.verify). Waits,
# prints what each share that is not equal says, then one line about all.
# Exit status: 0 all equal, 1 a share differs, 2 a share could not be verified.
set -u
usage() {
    printf 'usage: slurm-verify.sh SESSION SHARES [SBATCH-OPTION...]\n' >&2
    exit 2
}
fail() { printf 'slurm-verify: %s\n' "$*" >&2; exit 2; }

[ $# -ge 2 ] || usage
session=$(realpath -e -- "$1" 2>/dev/null) || fail "$1: no such session"
shares=$2
shift 2
case $shares in
'' | *[!0-9]* | 0*) fail "SHARES: expected a number from 1, found '$shares'" ;;
esac
here=$(cd "$(dirname "$0")/.." && pwd)
relive=${RELIVE:-$here/build/relive}
[ -x "$relive" ] || relive=$(command -v relive) || fail "relive: not found"
relive=$(realpath -- "$relive")
logs=${LOGS:-$session.verify}
mkdir -p "$logs" || fail "$logs: cannot be made"
logs=$(realpath -- "$logs")
rm -f "$logs"/share-*
command -v sbatch >/dev/null || fail "sbatch: not found: is Slurm installed?"

# The task notes its status itself: Slurm keeps the highest only.
cat >"$logs/task.sh" <<TASK || fail "$logs: cannot be written"
#!/bin/bash
log=$(printf %q "$logs")/share-\$SLURM_ARRAY_TASK_ID
$(printf %q "$relive") replay $(printf %q "$session") \\
    --segment "\$SLURM_ARRAY_TASK_ID/$shares" >"\$log.txt" 2>&1
echo \$? >"\$log.status"
TASK

sbatch --parsable --wait --job-name=relive-verify --array="1-$shares" \
    --output=/dev/null "$@" "$logs/task.sh" >"$logs/job" ||
    fail "sbatch: the job could not be run (see $logs)"

equal=0 different=0 failed=0
for ((n = 1; n <= shares; n++)); do
    # A network file system may be behind.
    for wait in 0 1 2 4; do
        [ -e "$logs/share-$n.status" ] && break
        sleep $wait
    done
    status=$(cat "$logs/share-$n.status" 2>/dev/null || echo none)
    case $status in
    0) equal=$((equal + 1)); continue ;;
    1) different=$((different + 1)) ;;
    *) failed=$((failed + 1)) ;;
    esac
    printf 'share %d of %d, status %s: %s\n' "$n" "$shares" "$status" \
        "$(grep -m 1 '^relive:' "$logs/share-$n.txt" 2>/dev/null ||
            head -n 1 "$logs/share-$n.txt" 2>/dev/null)"
done
printf '%s: %d shares equal, %d different, %d not verified\n' "$session" \
    "$equal" "$different" "$failed"
[ "$failed" = 0 ] || exit 2
[ "$different" = 0 ] || exit 1
