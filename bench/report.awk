# Tables of samples (bench/lib.sh), after stats.awk.
# -v suite=NAME -v clock=wall|cpu -v metrics=FILE, or no FILE

BEGIN { FS = "\t" }
{
    if (!($2 in has_config)) { has_config[$2] = 1; configs[++config_count] = $2 }
    if (!($3 in has_work)) { has_work[$3] = 1; works[++work_count] = $3 }
    if ($1 > rounds) rounds = $1
    time[$2, $3, $1] = (clock == "cpu" ? $6 : $5) / 1e9
    repeats[$2, $3] = $4
    has_round[$2, $1] = 1
    # The guest's clock is relive's tick, the same in all its configurations
    # but for what their timer interrupts cost.
    if ($2 ~ /^(run|record|replay)-/ && $4 > most_repeats[$3]) {
        most_repeats[$3] = $4
        ticks[$3] = $7 / $4
    }
    if (!(($3, $4) in checksum))
        checksum[$3, $4] = $8
    else if (checksum[$3, $4] != $8) {
        printf "WRONG: %s computed %s with %s, expected %s\n", $2, $8, $3, \
            checksum[$3, $4]
        wrong = 1
    }
}

# Fills `list` with how many times longer a configuration takes than another,
# for the rounds that have both; returns how many.
function slower(config, base, work, list,    r, n) {
    split("", list)
    for (r = 1; r <= rounds; r++)
        if (time[config, work, r] > 0 && time[base, work, r] > 0)
            list[++n] = time[config, work, r] / repeats[config, work] * \
                repeats[base, work] / time[base, work, r]
    return n
}

# Million ticks a host second.
function speed(config, work, list,    r, n) {
    split("", list)
    for (r = 1; r <= rounds; r++)
        if (time[config, work, r] > 0 && ticks[work] > 0)
            list[++n] = ticks[work] * repeats[config, work] / \
                time[config, work, r] / 1e6
    return n
}

function seconds(config, work, list,    r, n) {
    split("", list)
    for (r = 1; r <= rounds; r++)
        if (time[config, work, r] > 0)
            list[++n] = time[config, work, r]
    return n
}

# A figure's samples: `what` is seconds, speed, slower or faster.
function samples(what, config, base, work, list) {
    if (what == "seconds")
        return seconds(config, work, list)
    if (what == "speed")
        return speed(config, work, list)
    if (what == "slower")
        return slower(config, base, work, list)
    return slower(base, config, work, list)
}

# One table. The columns are the configurations that match; `metric` names the
# figure in the history, "" keeps it out.
function table(title, what, base, pattern, metric, unit, better, \
               c, w, n, list, sums, counts, i) {
    printf "\n%s\n%-16s", title, "workload"
    for (c = 1; c <= config_count; c++)
        if (configs[c] != base && configs[c] ~ pattern)
            printf " %22s", configs[c]
    printf "\n"
    for (w = 1; w <= work_count; w++) {
        printf "%-16s", works[w]
        for (c = 1; c <= config_count; c++) {
            if (configs[c] == base || configs[c] !~ pattern)
                continue
            n = samples(what, configs[c], base, works[w], list)
            for (i = 1; i <= n; i++) {
                sums[c, i] += log(list[i])
                counts[c, i]++
            }
            if (metric != "")
                write_metric(metrics, suite "." works[w] "." configs[c] "." \
                    metric, unit, better, list, n)
            printf " %22s", spread(list, n)
        }
        printf "\n"
    }
    if (what != "seconds" && work_count > 1)
        geometric_means(base, pattern, metric, unit, better, sums, counts)
}

# The last line: the mean over the workloads, round by round.
function geometric_means(base, pattern, metric, unit, better, sums, counts, \
                         c, i, n, list) {
    printf "%-16s", "geometric mean"
    for (c = 1; c <= config_count; c++) {
        if (configs[c] == base || configs[c] !~ pattern)
            continue
        n = 0
        split("", list)
        for (i = 1; (c, i) in sums; i++)
            if (counts[c, i] == counts[c, 1])
                list[++n] = exp(sums[c, i] / counts[c, i])
        if (metric != "")
            write_metric(metrics, suite ".geomean." configs[c] "." metric, \
                unit, better, list, n)
        printf " %22s", spread(list, n)
    }
    printf "\n"
}

# A table of `mode` against the same engine's `base_mode`.
function engines_table(mode, base_mode,    c, engine) {
    for (c = 1; c <= config_count; c++) {
        if (configs[c] !~ "^" mode "-")
            continue
        engine = substr(configs[c], length(mode) + 2)
        if ((base_mode "-" engine) in has_config)
            table(mode " / " base_mode ", engine " engine, "slower", \
                base_mode "-" engine, "^" mode "-" engine "$", \
                "x_" base_mode, "x", "lower")
    }
}

# A guest that stopped half way.
function find_gaps(    c, w, r) {
    for (c = 1; c <= config_count; c++)
        for (w = 1; w <= work_count; w++)
            for (r = 1; r <= rounds; r++)
                if ((configs[c], r) in has_round && \
                    configs[c] ~ /^(run|record|replay)-/ && \
                    !((configs[c], works[w], r) in time)) {
                    printf "MISSING: %s, round %d: %s\n", configs[c], r, \
                        works[w]
                    wrong = 1
                }
}

END {
    if (!work_count) {
        print "no samples"
        exit 1
    }
    find_gaps()
    printf "%s: median (least..most) of %d interleaved rounds, %s time\n", \
        suite, rounds, clock
    table("Host seconds", "seconds", "", ".")
    table("MIPS: million ticks (instructions, iterations of string " \
        "instructions) a host second", "speed", "", ".", "mips", "MIPS", \
        "higher")
    if ("native" in has_config)
        table("Times slower than native", "slower", "native", ".", \
            "x_native", "x", "lower")
    if ("qemu" in has_config)
        table("Times faster than QEMU", "faster", "qemu", "^r[eu].*-", \
            "x_faster_than_qemu", "x", "higher")
    if ("rr-record" in has_config)
        table("Times faster than QEMU recording", "faster", "rr-record", \
            "^r[eu].*-", "x_faster_than_rr_record", "x", "higher")
    engines_table("record", "run")
    engines_table("replay", "record")
    printf "\n"
    exit wrong
}
