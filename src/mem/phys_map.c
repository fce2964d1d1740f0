/* The page map: which frame or device answers at a physical page. */
#include "mem/phys.h"

#include "mem/phys_internal.h"

#include <assert.h>
#include <string.h>

/* Index of the first range that ends behind `page`. */
static uint32_t first_behind(const struct phys_map *map, uint64_t page)
{
    uint32_t low = 0, high = map->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (map->ranges[middle].end > page)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

const struct phys_range *phys_find(const struct phys_map *map, uint64_t page)
{
    uint32_t i = first_behind(map, page);
    if (i == map->count || map->ranges[i].first > page)
        return NULL;
    return &map->ranges[i];
}

/* Move the start of a range up to `first`. */
static struct phys_range range_from(struct phys_range r, uint64_t first)
{
    r.start += r.ops ? (first - r.first) << PAGE_SHIFT : first - r.first;
    r.first = first;
    return r;
}

/* Does b, which starts where a ends or inside it, say what a would say? */
static bool continues(const struct phys_range *a, const struct phys_range *b)
{
    return b->first <= a->end && a->ops == b->ops && a->device == b->device &&
           range_from(*a, b->first).start == b->start;
}

static void merge_at(struct phys_map *map, uint32_t i)
{
    if (i + 1 >= map->count || !continues(&map->ranges[i], &map->ranges[i + 1]))
        return;
    map->ranges[i].end = map->ranges[i + 1].end;
    map->count--;
    memmove(&map->ranges[i + 1], &map->ranges[i + 2],
            (map->count - i - 1) * sizeof *map->ranges);
}

/* Replace what is in [first, end) by `with` (NULL: nothing). False when the
 * map says so already. A map so fragmented that it is full stays as it is. */
static bool map_replace(struct phys_map *map, uint64_t first, uint64_t end,
                        const struct phys_range *with)
{
    uint32_t from = first_behind(map, first);
    uint32_t to = from;
    while (to < map->count && map->ranges[to].first < end)
        to++;
    if (!with && from == to)
        return false;
    if (with && from + 1 == to && map->ranges[from].first <= first &&
        map->ranges[from].end >= end && continues(&map->ranges[from], with))
        return false;

    struct phys_range put[3];
    uint32_t puts = 0;
    if (from < to && map->ranges[from].first < first) {
        put[puts] = map->ranges[from];
        put[puts++].end = first;
    }
    if (with)
        put[puts++] = *with;
    if (from < to && map->ranges[to - 1].end > end)
        put[puts++] = range_from(map->ranges[to - 1], end);
    if (map->count + 3 > PHYS_RANGES_MAX)
        return false;
    memmove(&map->ranges[from + puts], &map->ranges[to],
            (map->count - to) * sizeof *map->ranges);
    memcpy(&map->ranges[from], put, puts * sizeof put[0]);
    map->count = map->count - (to - from) + puts;
    for (uint32_t i = from + puts; i-- > (from ? from - 1 : 0);)
        merge_at(map, i);
    return true;
}

static void map_both(struct phys *p, uint64_t paddr, uint64_t bytes,
                     unsigned how, struct phys_range *with)
{
    assert(paddr % PAGE_BYTES == 0 && bytes % PAGE_BYTES == 0);
    assert(paddr + bytes <= 1ULL << PHYS_ADDRESS_BITS &&
           bytes <= 1ULL << PHYS_ADDRESS_BITS);
    if (bytes == 0)
        return;
    uint64_t first = paddr >> PAGE_SHIFT;
    uint64_t end = first + (bytes >> PAGE_SHIFT);
    if (with) {
        with->first = first;
        with->end = end;
    }
    bool changed = false;
    if (how & PHYS_READ)
        changed |= map_replace(&p->read, first, end, with);
    if (how & PHYS_WRITE)
        changed |= map_replace(&p->write, first, end, with);
    if (changed)
        phys_drop(p, PHYS_DROP_ALL);
}

void phys_map_memory(struct phys *p, uint64_t paddr, uint64_t bytes,
                     uint32_t first_frame, unsigned how)
{
    assert(first_frame <= p->frames &&
           bytes >> PAGE_SHIFT <= p->frames - first_frame);
    struct phys_range r = {.start = first_frame};
    map_both(p, paddr, bytes, how, &r);
}

void phys_map_mmio(struct phys *p, uint64_t paddr, uint64_t bytes,
                   const struct mmio_ops *ops, void *device,
                   uint64_t first_offset, unsigned how)
{
    assert(ops);
    struct phys_range r = {.ops = ops, .device = device, .start = first_offset};
    map_both(p, paddr, bytes, how, &r);
}

void phys_unmap(struct phys *p, uint64_t paddr, uint64_t bytes, unsigned how)
{
    map_both(p, paddr, bytes, how, NULL);
}

void phys_set_a20(struct phys *p, bool enabled)
{
    uint64_t mask = enabled ? UINT64_MAX : ~(UINT64_C(1) << 20);
    if (mask == p->a20_mask)
        return;
    p->a20_mask = mask;
    phys_drop(p, PHYS_DROP_ALL);
}

bool phys_a20(const struct phys *p)
{
    return p->a20_mask == UINT64_MAX;
}

void phys_lookup(const struct phys *p, uint64_t paddr, unsigned how,
                 struct phys_page *page)
{
    *page = (struct phys_page){0};
    const struct phys_range *r =
        phys_find(how & PHYS_WRITE ? &p->write : &p->read, paddr >> PAGE_SHIFT);
    if (!r)
        return;
    uint64_t distance = (paddr >> PAGE_SHIFT) - r->first;
    if (r->ops) {
        page->mmio = r->ops;
        page->device = r->device;
        page->mmio_offset = r->start + (distance << PAGE_SHIFT);
    } else {
        page->frame = (uint32_t)(r->start + distance);
        page->host = p->memory + ((size_t)page->frame << PAGE_SHIFT);
    }
}
