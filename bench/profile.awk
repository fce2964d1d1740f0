# Sums samples of perf script (time, address, symbol, object) by part of the
# program. -v begun=S -v ended=S -v title=TEXT -v functions=FILE, which has a
# function and the path of its object file on each line.

function part_of(symbol, object, path) {
    if (object ~ /kernel/)
        return "kernel"
    if (object ~ /perf-[0-9]+[.]map|anon|memfd|unknown|\[heap/)
        return "compiled code"
    if (object !~ /relive\)$/) {
        sub(/.*\//, "", object)
        sub(/[.]so.*/, "", object)
        return object
    }
    path = folder[symbol]
    if (path == "") {
        sub(/[.](constprop|part|isra|cold).*/, "", symbol)
        path = folder[symbol]
    }
    if (path ~ /^src\/mem/)
        return "memory"
    if (path ~ /^src\/(dev|board)/)
        return "devices"
    if (path ~ /^src\/cpu/)
        return "interpreter"
    if (path ~ /^src\/jit\/(lower|emit|plan|probe|tier2|ir|pass|trace)/)
        return "compiling"
    if (path ~ /^src\/jit/)
        return "compiled code's helpers"
    if (path ~ /^(replay|analysis)/)
        return "recording"
    return "other"
}

BEGIN {
    while ((getline line <functions) > 0) {
        split(line, words, " ")
        folder[words[1]] = words[2]
    }
}
{
    time = $1
    sub(/:$/, "", time)
    if (time < begun || time > ended)
        next
    symbol = $3
    sub(/[+]0x[0-9a-f]+$/, "", symbol)
    part = part_of(symbol, $NF)
    parts[part]++
    if (part == "compiled code" || part == "kernel" || symbol ~ /unknown/)
        symbol = "(" part ")"
    symbols[symbol]++
    all++
}

# The most of the list first; at most `lines` lines.
function show(list, lines,    name, best) {
    while (lines-- > 0) {
        best = ""
        for (name in list)
            if (best == "" || list[name] > list[best])
                best = name
        if (best == "")
            return
        printf "  %6.1f %%  %s\n", 100 * list[best] / all, best
        delete list[best]
    }
}

END {
    printf "%s: %d samples\n", title, all
    if (!all)
        exit 1
    show(parts, 12)
    printf "  functions:\n"
    show(symbols, 12)
    printf "\n"
}
