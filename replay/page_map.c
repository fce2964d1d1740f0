#include "replay/page_map.h"

#include <stdlib.h>
#include <string.h>

enum {
    NODE_BITS = 6,
    NODE_CHILDREN = 1 << NODE_BITS,
    TOP_SHIFT = 30 /* of the root's digit in a 32-bit key */
};

/* Children of the lowest level are pages. */
struct page_node {
    uint32_t refs;
    void *child[NODE_CHILDREN];
};

/* ---- pages ------------------------------------------------------------------
 */

static struct page *page_new(struct page_pool *pool)
{
    struct page *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->refs = 1;
    pool->bytes += sizeof *p;
    return p;
}

struct page *page_new_stored(struct page_pool *pool,
                             const uint8_t hash[PAGE_HASH_BYTES])
{
    struct page *p = page_new(pool);
    if (!p)
        return NULL;
    p->is_stored = true;
    memcpy(p->hash, hash, PAGE_HASH_BYTES);
    return p;
}

struct page *page_new_data(struct page_pool *pool, const uint8_t *data)
{
    struct page *p = page_new(pool);
    if (!p)
        return NULL;
    p->data = malloc(PAGE_DATA_BYTES);
    if (!p->data) {
        page_drop(pool, p);
        return NULL;
    }
    memcpy(p->data, data, PAGE_DATA_BYTES);
    pool->bytes += PAGE_DATA_BYTES;
    return p;
}

void page_drop(struct page_pool *pool, struct page *p)
{
    if (!p || --p->refs > 0)
        return;
    pool->bytes -= sizeof *p + (p->data ? PAGE_DATA_BYTES : 0);
    free(p->data);
    free(p);
}

/* ---- nodes ------------------------------------------------------------------
 */

static void node_drop(struct page_pool *pool, struct page_node *n, int shift)
{
    if (!n || --n->refs > 0)
        return;
    for (unsigned i = 0; i < NODE_CHILDREN; i++)
        if (shift == 0)
            page_drop(pool, n->child[i]);
        else
            node_drop(pool, n->child[i], shift - NODE_BITS);
    pool->bytes -= sizeof *n;
    free(n);
}

/* The node as one that only this map has; its reference moves to the result.
 * NULL: out of memory, the reference is still the caller's. */
static struct page_node *own(struct page_pool *pool, struct page_node *n,
                             int shift)
{
    if (n && n->refs == 1)
        return n;
    struct page_node *mine = calloc(1, sizeof *mine);
    if (!mine)
        return NULL;
    pool->bytes += sizeof *mine;
    mine->refs = 1;
    if (!n)
        return mine;
    memcpy(mine->child, n->child, sizeof mine->child);
    for (unsigned i = 0; i < NODE_CHILDREN; i++) {
        if (mine->child[i] && shift == 0)
            ((struct page *)mine->child[i])->refs++;
        else if (mine->child[i])
            ((struct page_node *)mine->child[i])->refs++;
    }
    n->refs--;
    return mine;
}

/* ---- maps -------------------------------------------------------------------
 */

void page_map_init(struct page_map *m, struct page_pool *pool)
{
    *m = (struct page_map){.pool = pool};
}

void page_map_clear(struct page_map *m)
{
    if (m->pool)
        node_drop(m->pool, m->root, TOP_SHIFT);
    m->root = NULL;
}

void page_map_copy(const struct page_map *m, struct page_map *out)
{
    *out = *m;
    if (out->root)
        out->root->refs++;
}

struct page *page_map_get(const struct page_map *m, uint32_t key)
{
    void *at = m->root;
    for (int shift = TOP_SHIFT; at && shift >= 0; shift -= NODE_BITS)
        at = ((struct page_node *)at)
                 ->child[(key >> shift) & (NODE_CHILDREN - 1)];
    return at;
}

bool page_map_set(struct page_map *m, uint32_t key, struct page *p)
{
    void **at = (void **)&m->root;
    if (!p && !page_map_get(m, key))
        return true;
    for (int shift = TOP_SHIFT; shift >= 0; shift -= NODE_BITS) {
        struct page_node *n = own(m->pool, *at, shift);
        if (!n) {
            page_drop(m->pool, p);
            return false;
        }
        *at = n;
        at = &n->child[(key >> shift) & (NODE_CHILDREN - 1)];
    }
    page_drop(m->pool, *at);
    *at = p;
    return true;
}

/* ---- differences ------------------------------------------------------------
 */

static bool same_page(const struct page *a, const struct page *b)
{
    return a && b && a->is_stored && b->is_stored &&
           memcmp(a->hash, b->hash, PAGE_HASH_BYTES) == 0;
}

struct diff {
    page_map_diff_fn *fn;
    void *context;
};

static bool diff_nodes(const struct diff *d, const struct page_node *a,
                       const struct page_node *b, int shift, uint32_t key)
{
    for (uint32_t i = 0; i < NODE_CHILDREN; i++) {
        void *in_a = a ? a->child[i] : NULL;
        void *in_b = b ? b->child[i] : NULL;
        if (in_a == in_b)
            continue;
        uint32_t at = key | i << shift;
        bool ok = shift > 0
                      ? diff_nodes(d, in_a, in_b, shift - NODE_BITS, at)
                      : same_page(in_a, in_b) ||
                            d->fn(d->context, at, in_a, in_b);
        if (!ok)
            return false;
    }
    return true;
}

bool page_map_diff(const struct page_map *a, const struct page_map *b,
                   page_map_diff_fn *fn, void *context)
{
    const struct diff d = {fn, context};
    return a->root == b->root ||
           diff_nodes(&d, a->root, b->root, TOP_SHIFT, 0);
}
