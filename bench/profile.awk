# Sums samples of perf script (thread's name, time, address, symbol, object) by
# the parts of the founding document's budget. -v begun=S -v ended=S
# -v title=TEXT -v functions=FILE, which has a function and the path of its
# object file on each line.

# budget PART PERCENT WHAT: in the order of the table.
function budget(part, percent, what) {
    order[++budgets] = part
    owed[part] = percent
    says[part] = what
}

# The vCPU thread's parts. What the C library and the host's kernel do for it is
# moving guest memory and giving it pages.
function part_of(symbol, object, path) {
    if (object ~ /perf-[0-9]+[.]map|anon|memfd|unknown|\[heap|\[stack/)
        return "JIT code"
    if (object ~ /kernel|libc[.]|\[vdso/)
        return "memory"
    if (object ~ /Zydis/)
        return "compile"
    if (object ~ /xxhash|zstd|lmdb/)
        return "sync"
    path = folder[symbol]
    if (path == "") {
        sub(/[.](constprop|part|isra|cold).*/, "", symbol)
        path = folder[symbol]
    }
    if (path ~ /^src\/mem/)
        return "memory"
    if (path ~ /^src\/(dev|board|host)/)
        return "devices"
    if (path ~ /^src\/cpu\/(decode|insn)/)
        return "compile"
    if (path ~ /^src\/cpu/)
        return "interpreter"
    if (path ~ /^src\/jit\/(jit|t2_slow|thunks|lower_units)/)
        return "JIT code"
    if (path ~ /^src\/jit/)
        return "compile"
    if (path ~ /^(replay|analysis|src\/cli|src\/base)/)
        return "sync"
    return "other"
}

BEGIN {
    budget("JIT code", 40, "compiled code, its entry and its helpers in C")
    budget("memory", 25, "translation misses, tracking, copies, page faults")
    budget("devices", 15, "chips and the board")
    budget("interpreter", 10, "tier 0: handlers, look-up of blocks")
    budget("compile", 5, "decoding, tiers 1 and 2, the JIT thread")
    budget("sync", 5, "log, digests, snapshots and their threads")
    while ((getline line <functions) > 0) {
        split(line, words, " ")
        folder[words[1]] = words[2]
    }
}
{
    time = $2
    sub(/:$/, "", time)
    if (time < begun || time > ended)
        next
    symbol = $4
    sub(/[+]0x[0-9a-f]+$/, "", symbol)
    thread = $1
    if (thread == "jit")
        part = "compile"
    else if (thread == "log" || thread == "snapshots")
        part = "sync"
    else {
        thread = "vCPU"
        part = part_of(symbol, $NF)
    }
    object = $NF
    gsub(/.*\/|[()]|[.]so.*/, "", object)
    if (part == "JIT code" && folder[symbol] == "")
        symbol = "(compiled code)"
    else if (symbol ~ /unknown/)
        symbol = "(" object ")"
    parts[part]++
    threads[thread]++
    symbols[sprintf("%-12s %s", part, symbol)]++
    all++
}

function share(n) {
    return sprintf("%6.1f %%", 100 * n / all)
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
        printf "  %s  %s\n", share(list[best]), best
        delete list[best]
    }
}

END {
    printf "%s: %d samples\n", title, all
    if (!all)
        exit 1
    printf "  part          host time   budget\n"
    for (n = 1; n <= budgets; n++)
        printf "  %-12s   %s   %4d %%  %s\n", order[n], \
            share(parts[order[n]]), owed[order[n]], says[order[n]]
    printf "  %-12s   %s\n", "other", share(parts["other"])
    printf "  threads:\n"
    show(threads, 5)
    printf "  functions:\n"
    show(symbols, 12)
    printf "\n"
}
