/* How often each stored page is named by the entries of snapshot records: what
 * is stored already need not be stored again, what nobody names can go. */
#ifndef RELIVE_REPLAY_PAGE_REFS_H
#define RELIVE_REPLAY_PAGE_REFS_H

#include "replay/page_map.h"

struct page_ref {
    uint8_t hash[PAGE_HASH_BYTES];
    uint32_t refs;  /* 0: the slot is free, or the page is gone */
    uint32_t bytes; /* stored; the caller sets it */
};

struct page_refs {
    struct page_ref *slots; /* owned */
    size_t capacity;        /* a power of two, or 0 */
    size_t used;            /* slots with a hash */
};

void page_refs_init(struct page_refs *r);
void page_refs_fini(struct page_refs *r);

/* One more name; refs is 1 on the first. The result lives until the next call;
 * NULL: out of memory. */
struct page_ref *page_refs_add(struct page_refs *r,
                               const uint8_t hash[PAGE_HASH_BYTES]);
/* One name less. The slot, or NULL when the hash was not there. */
struct page_ref *page_refs_remove(struct page_refs *r,
                                  const uint8_t hash[PAGE_HASH_BYTES]);

#endif
