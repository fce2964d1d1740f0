# Statistics for the other awk programs here. A list is an array with elements
# 1..n.

function sort_list(list, n,    i, j, x) {
    for (i = 2; i <= n; i++) {
        x = list[i]
        for (j = i - 1; j > 0 && list[j] > x; j--)
            list[j + 1] = list[j]
        list[j + 1] = x
    }
}

# Sorts the list.
function median(list, n) {
    sort_list(list, n)
    if (n % 2)
        return list[(n + 1) / 2]
    return (list[n / 2] + list[n / 2 + 1]) / 2
}

# A number in about four characters.
function short(x) {
    if (x >= 99.5)
        return sprintf("%.0f", x)
    return x >= 9.95 ? sprintf("%.1f", x) : sprintf("%.2f", x)
}

# "median (least..most)"; sorts the list.
function spread(list, n,    middle) {
    if (!n)
        return "-"
    middle = median(list, n)
    if (n == 1)
        return short(middle)
    return short(middle) " (" short(list[1]) ".." short(list[n]) ")"
}

# Appends a line to `file`: name, unit, whether higher or lower is better, how
# many, mean, standard deviation (Welford; of the population).
function write_metric(file, name, unit, better, list, n,    i, mean, square, d) {
    if (file == "" || !n)
        return
    for (i = 1; i <= n; i++) {
        d = list[i] - mean
        mean += d / i
        square += d * (list[i] - mean)
    }
    printf "%s\t%s\t%s\t%d\t%.6g\t%.6g\n", name, unit, better, n, mean, \
        sqrt(square / n) >>file
}
