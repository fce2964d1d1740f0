#!/bin/bash
# Includes point down the table of folders only, and an x_internal.h is included
# by its own folder alone.
set -u
cd "$(dirname "$0")/.." || exit 2

# Each folder and what it may include, beside itself and the C library. replay/
# gets cpu, mem and dev with the board: machine_cpu(), machine_phys() and
# machine_block() hand out what snapshots and debuggers look into.
layers='
base:
mem: base
cpu: mem base
jit: cpu mem base
dev: mem base
board: cpu jit dev mem base
host: board dev base
replay: board cpu dev mem base
analysis: replay board cpu dev mem base
cli: analysis replay host board dev jit cpu mem base
'

includes() { # FILE...: "file folder/header" of each quoted include
    grep -H '^ *# *include "' "$@" |
        sed 's/^\([^:]*\):[^"]*"\([^"]*\)".*/\1 \2/'
}

bad=0
while IFS=: read -r layer allowed; do
    [ -n "$layer" ] || continue
    dir=src/$layer
    [ -d "$dir" ] || dir=$layer
    files=$(find "$dir" -name '*.[chS]' -o -name '*.def' 2>/dev/null)
    [ -n "$files" ] || continue
    while read -r file header; do
        folder=${header%%/*}
        case $header in */*) ;; *) folder=$layer ;; esac
        case " $layer $allowed " in
        *" $folder "*) ;;
        *)
            echo "$file: a file of $layer/ may not include \"$header\""
            bad=1
            ;;
        esac
        case $header in
        *_internal.h)
            [ "$folder" = "$layer" ] || {
                echo "$file: \"$header\" belongs to $folder/ alone"
                bad=1
            }
            ;;
        esac
    done < <(includes $files)
done <<<"$layers"
[ $bad = 0 ] && echo "check-layers: every include points down"
exit $bad
