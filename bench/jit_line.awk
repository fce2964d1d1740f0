# One line about the JIT from relive's --stats file: the totals of its section
# "jit" (the values alone, whatever the white space).

{ text = text $0 " " }
# The number of "name" after the section "after".
function number(after, name,    s) {
    s = text
    if (after != "" && !sub(".*\"" after "\"[ ]*:", "", s))
        return "?"
    if (!match(s, "\"" name "\"[ ]*:[ ]*[-+0-9.eE]+"))
        return "?"
    s = substr(s, RSTART, RLENGTH)
    sub(/.*:[ ]*/, "", s)
    return s
}
END {
    hit = number("cache", "lookup_hit")
    miss = number("cache", "lookup_miss")
    printf "tier 1: %s blocks, %s ms; tier 2: %s blocks, %s ms; ", \
        number("tier1", "blocks_compiled"), number("tier1", "compile_ms"), \
        number("tier2", "blocks_compiled"), number("tier2", "compile_ms")
    printf "lookups: %s hit, %s missed; cache %s bytes; deopts %s, guards %s\n", \
        hit, miss, number("cache", "used_bytes"), number("deopt", "count"), \
        number("deopt", "guard_fail")
}
