/* Source lines by libdw of elfutils, which reads DWARF 2 to 5, compressed
 * sections included. Line tables are read unit by unit, when first asked. */
#include "analysis/symbols.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct range {
    uint64_t low, high;
    Dwarf_Off unit; /* offset of its top entry */
};

struct dwarf {
    int fd;
    Dwarf *dw;
    uint64_t bias;
    struct range *ranges; /* owned; by low */
    size_t count, capacity;
};

static void drop(void *source)
{
    struct dwarf *d = source;
    if (d->dw)
        dwarf_end(d->dw);
    if (d->fd >= 0)
        close(d->fd);
    free(d->ranges);
    free(d);
}

static bool add_range(struct dwarf *d, uint64_t low, uint64_t high,
                      Dwarf_Off unit)
{
    if (d->count == d->capacity) {
        size_t want = d->capacity ? 2 * d->capacity : 256;
        struct range *bigger = realloc(d->ranges, want * sizeof *bigger);
        if (!bigger)
            return false;
        d->ranges = bigger;
        d->capacity = want;
    }
    d->ranges[d->count++] = (struct range){low, high, unit};
    return true;
}

static int by_low(const void *x, const void *y)
{
    const struct range *a = x, *b = y;
    return a->low < b->low ? -1 : a->low > b->low;
}

enum { UNIT_RANGES_MAX = 1 << 20 };

/* The address ranges of all units. A unit that cannot be read is left out. */
static bool read_units(struct dwarf *d)
{
    Dwarf_CU *unit = NULL;
    Dwarf_Die top;
    uint8_t type;
    while (dwarf_get_units(d->dw, unit, &unit, NULL, &type, &top, NULL) == 0) {
        ptrdiff_t at = 0;
        Dwarf_Addr base, low, high;
        if (type != DW_UT_compile)
            continue;
        for (unsigned n = 0; n < UNIT_RANGES_MAX &&
                             (at = dwarf_ranges(&top, at, &base, &low,
                                                &high)) > 0;
             n++)
            if (low < high &&
                !add_range(d, low, high, dwarf_dieoffset(&top)))
                return false;
    }
    if (d->count)
        qsort(d->ranges, d->count, sizeof *d->ranges, by_low);
    return true;
}

/* A symbol_line_fn. */
static bool line_of(void *source, uint64_t address, const char **file,
                    unsigned *line)
{
    struct dwarf *d = source;
    size_t low = 0, high = d->count;
    address -= d->bias;
    while (low < high) { /* the first range that begins above */
        size_t middle = low + (high - low) / 2;
        if (d->ranges[middle].low <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || address >= d->ranges[low - 1].high)
        return false;
    Dwarf_Die top;
    int number;
    if (!dwarf_offdie(d->dw, d->ranges[low - 1].unit, &top))
        return false;
    Dwarf_Line *l = dwarf_getsrc_die(&top, address);
    const char *name = l ? dwarf_linesrc(l, NULL, NULL) : NULL;
    if (!name || dwarf_lineno(l, &number) != 0 || number < 0)
        return false;
    *file = name;
    *line = (unsigned)number;
    return true;
}

bool symbols_add_dwarf(struct symbol_table *t, const char *path,
                       uint64_t bias, struct error *err)
{
    struct dwarf *d = calloc(1, sizeof *d);
    if (!d)
        return error_set(err, ERR_NOMEM, "%s: out of memory", path);
    d->bias = bias;
    d->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (d->fd >= 0)
        d->dw = dwarf_begin(d->fd, DWARF_C_READ);
    if (!d->dw) { /* no debugging information */
        drop(d);
        return true;
    }
    if (!read_units(d)) {
        drop(d);
        return error_set(err, ERR_NOMEM, "%s: out of memory for its lines",
                         path);
    }
    symbol_table_set_lines(t, line_of, drop, d);
    return true;
}
