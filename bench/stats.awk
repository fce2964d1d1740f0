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
    return x >= 99.5 ? sprintf("%.0f", x) : x >= 9.95 ? sprintf("%.1f", x) : \
        sprintf("%.2f", x)
}
