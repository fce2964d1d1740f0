# Report of bench/linux.sh, after stats.awk. Input: round, configuration,
# workload, repeats, wall ns, CPU ns, ns by the guest's clock, checksum.
# -v clock=wall|cpu

BEGIN { FS = "\t" }
{
    if (!($2 in has_config)) { has_config[$2] = 1; configs[++config_count] = $2 }
    if (!($3 in has_work)) { has_work[$3] = 1; works[++work_count] = $3 }
    if ($1 > rounds) rounds = $1
    time[$2, $3, $1] = clock == "cpu" ? $6 : $5
    guest[$2, $3, $1] = $7
    if (!(($3, $4) in checksum))
        checksum[$3, $4] = $8
    else if (checksum[$3, $4] != $8) {
        printf "WRONG: %s computed %s with %s, expected %s\n", $2, $8, $3, \
            checksum[$3, $4]
        wrong = 1
    }
}

# The ratios of configurations a and b over the rounds that have both, in
# `list`, and how many.
function ratios(a, b, work, list,    r, n) {
    for (r = 1; r <= rounds; r++)
        if (time[a, work, r] > 0 && time[b, work, r] > 0)
            list[++n] = time[a, work, r] / time[b, work, r]
    return n
}

function cell(text) { printf " %22s", text }

function spread(list, n,    middle) {
    middle = median(list, n)
    if (n == 1)
        return short(middle)
    return short(middle) " (" short(list[1]) ".." short(list[n]) ")"
}

# A table of configurations against `base`; upside_down: how many times faster
# they are, instead of slower.
function table(title, base, upside_down,    c, w, n, list, sum, count) {
    if (!(base in has_config))
        return
    printf "\n%s\n%-10s", title, "workload"
    for (c = 1; c <= config_count; c++)
        if (configs[c] != base)
            cell(configs[c])
    printf "\n"
    for (w = 1; w <= work_count; w++) {
        printf "%-10s", works[w]
        for (c = 1; c <= config_count; c++) {
            if (configs[c] == base)
                continue
            split("", list)
            n = upside_down ? ratios(base, configs[c], works[w], list) : \
                ratios(configs[c], base, works[w], list)
            if (n) {
                cell(spread(list, n))
                sum[c] += log(median(list, n))
                count[c]++
            } else
                cell("-")
        }
        printf "\n"
    }
    printf "%-10s", "geomean"
    for (c = 1; c <= config_count; c++)
        if (configs[c] != base)
            cell(count[c] ? short(exp(sum[c] / count[c])) : "-")
    printf "\n"
}

# Seconds, and for relive the speed: its guest's clock counts ticks, 1000 to a
# microsecond, and but for iterations of string instructions a tick is an
# instruction.
function seconds(    c, w, r, n, list) {
    printf "Host seconds (%s), median (min..max) of %d interleaved rounds\n", \
        clock, rounds
    printf "%-10s", "workload"
    for (c = 1; c <= config_count; c++)
        cell(configs[c])
    printf "\n"
    for (w = 1; w <= work_count; w++) {
        printf "%-10s", works[w]
        for (c = 1; c <= config_count; c++) {
            split("", list)
            n = 0
            for (r = 1; r <= rounds; r++)
                if (time[configs[c], works[w], r] > 0)
                    list[++n] = time[configs[c], works[w], r] / 1e9
            cell(n ? spread(list, n) : "-")
        }
        printf "\n"
    }
}

function speed(    c, w, r, n, list) {
    printf "\nMillion guest ticks per host second\n%-10s", "workload"
    for (c = 1; c <= config_count; c++)
        if (configs[c] ~ /^(run|record|replay)-/)
            cell(configs[c])
    printf "\n"
    for (w = 1; w <= work_count; w++) {
        printf "%-10s", works[w]
        for (c = 1; c <= config_count; c++) {
            if (configs[c] !~ /^(run|record|replay)-/)
                continue
            split("", list)
            n = 0
            for (r = 1; r <= rounds; r++)
                if (time[configs[c], works[w], r] > 0)
                    list[++n] = guest[configs[c], works[w], r] * 1000 / \
                        time[configs[c], works[w], r]
            cell(n ? spread(list, n) : "-")
        }
        printf "\n"
    }
}

END {
    seconds()
    speed()
    table("Times slower than native", "native", 0)
    table("Times faster than QEMU", "qemu", 1)
    table("Times faster than QEMU recording (rr=record)", "rr-record", 1)
    exit wrong
}
