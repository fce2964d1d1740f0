/* Page maps: which contents each frame or disk block has, in many states of one
 * machine at once. A map is a tree whose parts are shared between copies: a
 * copy is one reference, and finding out where two maps differ takes time in
 * proportion to the difference. One thread. */
#ifndef RELIVE_REPLAY_PAGE_MAP_H
#define RELIVE_REPLAY_PAGE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAGE_HASH_BYTES = 16, PAGE_DATA_BYTES = 4096 };

/* Contents, shared by reference. */
struct page {
    uint32_t refs;
    bool is_stored;                /* in the session, under `hash` */
    uint8_t hash[PAGE_HASH_BYTES]; /* all 0: a page of zeros */
    uint8_t *data;                 /* owned; NULL when is_stored */
};

/* Counts what the maps that name it keep in memory. */
struct page_pool {
    uint64_t bytes;
};

/* One reference to a new page; NULL: out of memory. */
struct page *page_new_stored(struct page_pool *pool,
                             const uint8_t hash[PAGE_HASH_BYTES]);
struct page *page_new_data(struct page_pool *pool, const uint8_t *data);
void page_drop(struct page_pool *pool, struct page *p); /* takes NULL */

struct page_node;
struct page_map {
    struct page_pool *pool; /* borrowed */
    struct page_node *root; /* one reference; NULL: empty */
};

void page_map_init(struct page_map *m, struct page_pool *pool);
void page_map_clear(struct page_map *m);
/* out is uninitialised. */
void page_map_copy(const struct page_map *m, struct page_map *out);

/* Borrowed; NULL: nothing there. */
struct page *page_map_get(const struct page_map *m, uint32_t key);
/* Takes the caller's reference to the page, also on failure (out of memory).
 * NULL removes. */
bool page_map_set(struct page_map *m, uint32_t key, struct page *p);

/* Calls fn, in order of keys, where the maps hold different pages; a and b are
 * the pages, NULL for none. Equal contents in two struct pages may be reported
 * unless both are stored. False as soon as fn gives false. */
typedef bool page_map_diff_fn(void *context, uint32_t key, struct page *a,
                              struct page *b);
bool page_map_diff(const struct page_map *a, const struct page_map *b,
                   page_map_diff_fn *fn, void *context);

#endif
