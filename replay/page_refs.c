#include "replay/page_refs.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

enum { CAPACITY_FIRST = 1024 };

void page_refs_init(struct page_refs *r)
{
    *r = (struct page_refs){0};
}

void page_refs_fini(struct page_refs *r)
{
    free(r->slots);
    *r = (struct page_refs){0};
}

static bool is_free(const struct page_ref *slot)
{
    return (load_le64(slot->hash) | load_le64(slot->hash + 8)) == 0;
}

/* The slot of a hash, or the free one where it belongs. */
static struct page_ref *find(const struct page_refs *r, const uint8_t *hash)
{
    size_t at = load_le64(hash) & (r->capacity - 1);
    while (!is_free(&r->slots[at]) &&
           memcmp(r->slots[at].hash, hash, PAGE_HASH_BYTES) != 0)
        at = (at + 1) & (r->capacity - 1);
    return &r->slots[at];
}

/* Room for the pages that are still named, and as many more. */
static bool grow(struct page_refs *r)
{
    struct page_refs bigger = {0};
    size_t live = 0;
    for (size_t i = 0; i < r->capacity; i++)
        live += r->slots[i].refs > 0;
    bigger.capacity = CAPACITY_FIRST;
    while (bigger.capacity < live * 4)
        bigger.capacity *= 2;
    bigger.slots = calloc(bigger.capacity, sizeof *bigger.slots);
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < r->capacity; i++)
        if (r->slots[i].refs > 0) {
            *find(&bigger, r->slots[i].hash) = r->slots[i];
            bigger.used++;
        }
    page_refs_fini(r);
    *r = bigger;
    return true;
}

struct page_ref *page_refs_add(struct page_refs *r,
                               const uint8_t hash[PAGE_HASH_BYTES])
{
    if (r->used * 2 >= r->capacity && !grow(r))
        return NULL;
    struct page_ref *slot = find(r, hash);
    if (is_free(slot)) {
        memcpy(slot->hash, hash, PAGE_HASH_BYTES);
        r->used++;
    }
    slot->refs++;
    return slot;
}

struct page_ref *page_refs_remove(struct page_refs *r,
                                  const uint8_t hash[PAGE_HASH_BYTES])
{
    struct page_ref *slot = r->capacity ? find(r, hash) : NULL;
    if (!slot || slot->refs == 0)
        return NULL;
    slot->refs--;
    return slot;
}
