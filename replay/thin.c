#include "replay/thin.h"

#include <stdlib.h>
#include <string.h>

void thin_init(struct thin *t)
{
    *t = (struct thin){0};
}

void thin_fini(struct thin *t)
{
    free(t->entries);
    thin_init(t);
}

/* The first entry at or behind a tick. */
static size_t find(const struct thin *t, uint64_t tick)
{
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->entries[middle].tick < tick)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool thin_put(struct thin *t, uint64_t tick, uint64_t bytes)
{
    size_t at = find(t, tick);
    if (at < t->count && t->entries[at].tick == tick) {
        t->bytes += bytes - t->entries[at].bytes;
        t->entries[at].bytes = bytes;
        return true;
    }
    if (t->count == t->capacity) {
        size_t capacity = t->capacity ? t->capacity * 2 : 64;
        struct thin_entry *more = realloc(t->entries, capacity * sizeof *more);
        if (!more)
            return false;
        t->entries = more;
        t->capacity = capacity;
    }
    memmove(t->entries + at + 1, t->entries + at,
            (t->count - at) * sizeof *t->entries);
    t->entries[at] = (struct thin_entry){tick, bytes};
    t->count++;
    t->bytes += bytes;
    return true;
}

void thin_remove(struct thin *t, uint64_t tick)
{
    size_t at = find(t, tick);
    if (at == t->count || t->entries[at].tick != tick)
        return;
    t->bytes -= t->entries[at].bytes;
    t->count--;
    memmove(t->entries + at, t->entries + at + 1,
            (t->count - at) * sizeof *t->entries);
}

uint64_t thin_last(const struct thin *t)
{
    return t->count ? t->entries[t->count - 1].tick : 0;
}

bool thin_choose(const struct thin *t, uint64_t last, uint64_t *tick,
                 uint64_t *next)
{
    size_t best = 0;
    unsigned __int128 best_gap = 0, best_age = 0;
    for (size_t i = 1; i + 1 < t->count && t->entries[i + 1].tick <= last;
         i++) {
        unsigned __int128 gap = t->entries[i + 1].tick - t->entries[i - 1].tick;
        unsigned __int128 age = thin_last(t) - t->entries[i].tick;
        /* gap / age < best_gap / best_age */
        if (best == 0 || gap * best_age < best_gap * age) {
            best = i;
            best_gap = gap;
            best_age = age;
        }
    }
    if (best == 0)
        return false;
    *tick = t->entries[best].tick;
    *next = t->entries[best + 1].tick;
    return true;
}
