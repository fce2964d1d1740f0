#!/bin/bash
# No writable data in the libraries: nothing is global, so that two machines run
# side by side. Constant tables with addresses in them (.data.rel.ro) are made
# read-only by the loader and do not count.
#
#   scripts/check-globals.sh LIBRARY...
set -u
# objdump -t: address, flags, section, size, name. Sections without a symbol's
# size, and the section symbols themselves (flag d), are of no interest.
found=$(objdump -t "$@" 2>/dev/null | awk '
    / file format / { object = $1 }
    NF >= 4 {
        for (i = 2; i <= NF; i++)
            if ($i ~ /^(\.data|\.bss|\.tdata|\.tbss|\*COM\*)/) {
                if ($i ~ /^\.data\.rel\.ro/ || $NF == $i)
                    next
                print object " " $NF " in " $i
            }
    }')
if [ -n "$found" ]; then
    echo "$found"
    echo "check-globals: writable data in the libraries (above)"
    exit 1
fi
echo "check-globals: no writable data"
