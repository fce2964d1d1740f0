# One line about the JIT and the MMU from relive's --stats file. What the file
# does not have is shown as "-". -v access=BYTES, of a stream's loads and stores,
# relates translations to the pages that it went through: one a page is what the
# TLB owes a stream that it cannot hold.

{ text = text $0 }

# The text between two words, or to the end.
function between(first, last,    s, end) {
    if (!index(text, first))
        return ""
    s = substr(text, index(text, first))
    end = index(s, last)
    return end ? substr(s, 1, end) : s
}

# The first number called `name` behind the key `section` in s.
function number(s, section, name) {
    if (!index(s, "\"" section "\":"))
        return "-"
    s = substr(s, index(s, "\"" section "\":"))
    if (!match(s, "\"" name "\":[-+0-9.eE]+"))
        return "-"
    s = substr(s, RSTART, RLENGTH)
    sub(/.*:/, "", s)
    return s
}

function rounded(x, format) {
    return x == "-" ? x : sprintf(format, x)
}

function tier(n,    share) {
    share = number(cpu, "tier" n, "share")
    if (share != "-")
        share = sprintf("%.1f", 100 * share)
    return sprintf("tier %d: %s blocks, %s ms, %s %%", n, \
        number(totals, "tier" n, "blocks_compiled"), \
        rounded(number(totals, "tier" n, "compile_ms"), "%.1f"), share)
}

END {
    gsub(/[ \t]/, "", text)
    totals = between("\"totals\"", "\"rolling\"")
    cpu = between("\"cpu\"", "\"mmu\"")
    mmu = between("\"mmu\"", "\"memory\"")
    hit = number(totals, "cache", "lookup_hit")
    miss = number(totals, "cache", "lookup_miss")
    printf "%s; %s; lookups %s, missed %s; cache %s KB; ", tier(1), tier(2), \
        hit, miss, rounded(number(totals, "cache", "used_bytes") / 1024, "%.0f")
    slow = number(mmu, "mmu", "translate_slow_calls")
    accesses = number(mmu, "mmu", "guest_mem_ops")
    printf "deopts %s, guards failed %s; slow translations %s of %s", \
        number(totals, "deopt", "count"), number(totals, "deopt", "guard_fail"), \
        slow, accesses + 0 ? accesses : "-" # not counted
    if (access && accesses > 0)
        printf ", %.5f a page of the stream", slow / (accesses * access / 4096)
    printf "; "
    printf "MMIO exits %s\n", number(totals, "totals", "exit_mmio_calls")
}
