# What the project owes, beside what was measured: input is a metrics file
# (bench/lib.sh). A goal about several metrics is judged by the worst of them;
# one whose metrics were not measured is not shown.

# goal TEXT PATTERN OPERATOR BOUND: the metrics' names match PATTERN.
function goal(text, pattern, operator, bound) {
    goals++
    texts[goals] = text
    patterns[goals] = "^" pattern "$"
    operators[goals] = operator
    bounds[goals] = bound
}

BEGIN {
    FS = "\t"
    compute = "(intmix|sieve|sha256|movs|stream|chase|qsort|matmul|x87|" \
        "gzip|bytecode|calls)"
    goal("Linux workloads recorded, times faster than QEMU", \
        "linux[.]geomean[.]record-auto[.]x_faster_than_qemu", ">=", 4)
    goal("Linux workloads recorded, times faster than QEMU rr=record", \
        "linux[.]geomean[.]record-auto[.]x_faster_than_rr_record", ">=", 6)
    goal("any workload recorded, times faster than QEMU", \
        "linux[.].*[.]record-auto[.]x_faster_than_qemu", ">=", 1.2)
    goal("user-mode compute recorded, times slower than native", \
        "linux[.]" compute "[.]record-auto[.]x_native", "<=", 3)
    goal("alu and branch_pred, MIPS", \
        "cpu[.](alu|branch_pred)-..[.]run-auto[.]mips", ">=", 2500)
    goal("call_ret and mem_seq, MIPS", \
        "cpu[.](call_ret|mem_seq)-..[.]run-auto[.]mips", ">=", 1500)
    goal("boot, MIPS", "boot[.]amd64[.]run-auto[.]mips", ">=", 800)
    goal("boot, times faster than QEMU", \
        "boot[.]amd64[.]run-auto[.]x_faster_than_qemu", ">=", 1)
    goal("mem_seq, slow translations a page streamed", \
        "cpu[.]mem_seq-..[.]run-auto[.]translations", "<=", 1.1)
    goal("recording / running", "linux[.]geomean[.]record-auto[.]x_run", \
        "<=", 1.03)
    goal("replaying / recording", \
        "linux[.]geomean[.]replay-auto[.]x_record", "<=", 1)
    goal("resident, 2 GB guest that touches 1 GB, MB", \
        "memory[.].*[.]resident", "<=", 1536)
    goal("log of a Linux boot, bytes", "logs[.]boot[.].*", "<=", 100000)
    goal("log of an idle second, bytes", "logs[.]idle[.].*", "<=", 500)
}

{
    for (g = 1; g <= goals; g++) {
        if ($1 !~ patterns[g])
            continue
        if (!(g in worst) || \
            (operators[g] == "<=" ? $5 > worst[g] : $5 < worst[g])) {
            worst[g] = $5
            names[g] = $1
        }
    }
}

END {
    printf "%-60s %10s %10s\n", "goal", "owed", "measured"
    for (g = 1; g <= goals; g++) {
        if (!(g in worst))
            continue
        is_met = operators[g] == "<=" ? worst[g] <= bounds[g] : \
            worst[g] >= bounds[g]
        printf "%-60s %2s %7s %10s %s\n", texts[g], operators[g], bounds[g], \
            short(worst[g]), is_met ? "" : "not met: " names[g]
    }
}
