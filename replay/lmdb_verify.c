#include "replay/lmdb_verify.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The file format of LMDB 0.9 (data version 1) on 64-bit little-endian hosts:
 * pages of 4096 bytes, the first two of them meta pages that commits replace in
 * turn; B+trees of branch, leaf and overflow pages. All offsets in bytes. */
enum {
    PAGE = 4096,
    META_MAGIC = 16,    /* u32, first field after the page header */
    META_VERSION = 20,  /* u32 */
    META_FREE_DB = 40,  /* database record of the free list */
    META_MAIN_DB = 88,  /* database record of the main database */
    META_LAST_PG = 136, /* u64: highest page number in use */
    META_TXNID = 144,   /* u64 */

    DB_BYTES = 48,
    DB_PAD = 0,      /* u32; of the free list: the page size */
    DB_FLAGS = 4,    /* u16 */
    DB_DEPTH = 6,    /* u16 */
    DB_BRANCHES = 8, /* u64 each from here */
    DB_LEAVES = 16,
    DB_OVERFLOWS = 24,
    DB_ENTRIES = 32,
    DB_ROOT = 40,

    HEAD_BYTES = 16, /* page header */
    HEAD_PGNO = 0,   /* u64 */
    HEAD_FLAGS = 10, /* u16 */
    HEAD_LOWER = 12, /* u16: end of the node offsets */
    HEAD_UPPER = 14, /* u16: start of the nodes */
    HEAD_COUNT = 12, /* u32: pages of an overflow run */

    P_BRANCH = 1,
    P_LEAF = 2,
    P_OVERFLOW = 4,
    P_META = 8,

    NODE_HEAD = 8, /* u16 low, u16 high, u16 flags, u16 key size */
    NODE_BIG = 1,  /* value is the number of an overflow page */
    NODE_DB = 2,   /* value is a database record */

    INTEGER_KEY = 8, /* database flag; the free list has it */
    DEPTH_MAX = 32,
    KEY_MAX = 511
};
#define MAGIC   UINT32_C(0xBEEFC0DE)
#define NO_PAGE UINT64_MAX

struct span {
    const uint8_t *data;
    size_t bytes;
};

struct walk {
    const uint8_t *data;
    uint64_t pages; /* whole pages of the file */
    uint64_t last_pg;
    uint8_t *seen; /* owned: one bit per page */
    const char *where;
    struct error *err;
};

/* The tree being walked. */
struct tree {
    const char *name;
    bool is_free_list, is_main;
    unsigned depth;
    uint64_t branches, leaves, overflows, entries; /* counted */
    struct span prev;                              /* last leaf key */
    struct span floor; /* separator that the next leaf key must reach */
};

static bool walk_db(struct walk *w, const uint8_t *db, const char *name,
                    bool is_free_list, bool is_main);

static bool damaged(struct walk *w, const char *what, uint64_t page)
{
    return error_set(w->err, ERR_INPUT,
                     "%s: damaged: %s (page %llu at byte %llu)", w->where, what,
                     (unsigned long long)page, (unsigned long long)page * PAGE);
}

/* Claim `count` pages from pgno on: inside the file, not used before. */
static bool claim(struct walk *w, uint64_t pgno, uint64_t count)
{
    if (pgno < 2 || pgno > w->last_pg || count > w->last_pg + 1 - pgno)
        return damaged(w, "a page number points outside the used pages", pgno);
    if (pgno >= w->pages || count > w->pages - pgno)
        return damaged(w, "truncated: a page lies behind the end of the file",
                       pgno);
    for (uint64_t p = pgno; p < pgno + count; p++) {
        if (w->seen[p / 8] >> (p % 8) & 1)
            return damaged(w, "a page is used twice", p);
        w->seen[p / 8] |= (uint8_t)(1u << (p % 8));
    }
    return true;
}

static int compare_keys(const struct tree *t, struct span a, struct span b)
{
    if (t->is_free_list) {
        uint64_t x = load_le64(a.data), y = load_le64(b.data);
        return x < y ? -1 : x > y;
    }
    size_t common = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = memcmp(a.data, b.data, common);
    if (order)
        return order;
    return a.bytes < b.bytes ? -1 : a.bytes > b.bytes;
}

/* The free list's values are lists of page numbers: a count, then the numbers,
 * highest first. None of them may be part of a tree; that is checked by
 * claiming them after the trees (a page of a list may lie behind the end of the
 * file, which only has been written up to the last page in use). */
static bool check_free_pages(struct walk *w, struct span value, uint64_t page)
{
    if (value.bytes < 8 || value.bytes % 8 != 0)
        return damaged(w, "a list of free pages has an odd size", page);
    uint64_t count = load_le64(value.data);
    if (count > value.bytes / 8 - 1)
        return damaged(w, "a list of free pages is too short", page);
    uint64_t above = w->last_pg + 1;
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t pgno = load_le64(value.data + 8 * i);
        if (pgno < 2 || pgno >= above)
            return damaged(w, "a list of free pages is out of order", page);
        above = pgno;
        if (pgno >= w->pages)
            continue;
        if (w->seen[pgno / 8] >> (pgno % 8) & 1)
            return damaged(w, "a page is both free and in use", pgno);
        w->seen[pgno / 8] |= (uint8_t)(1u << (pgno % 8));
    }
    return true;
}

/* A value that has overflow pages of its own. */
static bool check_overflow(struct walk *w, struct tree *t, uint64_t pgno,
                           struct span *value)
{
    if (pgno < 2 || pgno >= w->pages)
        return claim(w, pgno, 1) && damaged(w, "bad overflow page", pgno);
    const uint8_t *page = w->data + pgno * PAGE;
    uint32_t count = load_le32(page + HEAD_COUNT);
    if (load_le64(page + HEAD_PGNO) != pgno ||
        load_le16(page + HEAD_FLAGS) != P_OVERFLOW)
        return damaged(w, "expected an overflow page", pgno);
    if (count < (HEAD_BYTES - 1 + value->bytes) / PAGE + 1)
        return damaged(w, "a value is longer than its overflow pages", pgno);
    if (!claim(w, pgno, count))
        return false;
    t->overflows += count;
    value->data = page + HEAD_BYTES;
    return true;
}

static bool check_leaf_node(struct walk *w, struct tree *t, uint64_t pgno,
                            const uint8_t *node, struct span key)
{
    unsigned flags = load_le16(node + 4);
    struct span value = {key.data + key.bytes,
                         load_le16(node) | (uint32_t)load_le16(node + 2) << 16};
    if (t->prev.data && compare_keys(t, t->prev, key) >= 0)
        return damaged(w, "keys are out of order", pgno);
    if (t->floor.data && compare_keys(t, t->floor, key) > 0)
        return damaged(w, "a key is below its branch", pgno);
    t->floor.data = NULL;
    t->prev = key;
    t->entries++;
    if (flags == NODE_BIG &&
        !check_overflow(w, t, load_le64(value.data), &value))
        return false;
    if (t->is_free_list)
        return flags > NODE_BIG ? damaged(w, "unknown node flags", pgno)
                                : check_free_pages(w, value, pgno);
    if (flags == NODE_DB && t->is_main) {
        char name[32] = {0};
        memcpy(name, key.data,
               key.bytes < sizeof name - 1 ? key.bytes : sizeof name - 1);
        if (value.bytes != DB_BYTES)
            return damaged(w, "a database record has a wrong size", pgno);
        return walk_db(w, value.data, name, false, false);
    }
    if (flags > NODE_BIG)
        return damaged(w, "unknown node flags", pgno);
    return true;
}

/* The node at index i: NULL when any part of it lies outside the page. */
static const uint8_t *get_node(const struct tree *t, const uint8_t *page,
                               unsigned i, bool is_leaf, struct span *key)
{
    unsigned offset = load_le16(page + HEAD_BYTES + 2 * i);
    if (offset < load_le16(page + HEAD_UPPER) || offset > PAGE - NODE_HEAD ||
        offset % 2 != 0)
        return NULL;
    const uint8_t *node = page + offset;
    uint64_t size = NODE_HEAD + (uint64_t)load_le16(node + 6);
    if (is_leaf && load_le16(node + 4) == NODE_BIG)
        size += 8;
    else if (is_leaf)
        size += load_le16(node) | (uint32_t)load_le16(node + 2) << 16;
    if (size > PAGE - offset)
        return NULL;
    *key = (struct span){node + NODE_HEAD, load_le16(node + 6)};
    if (key->bytes > KEY_MAX)
        return NULL;
    /* The first key of a branch is never read and has no bytes. */
    bool has_key = is_leaf || i > 0;
    if (has_key && (t->is_free_list ? key->bytes != 8 : key->bytes == 0))
        return NULL;
    return node;
}

static bool walk_page(struct walk *w, struct tree *t, uint64_t pgno,
                      unsigned level)
{
    if (!claim(w, pgno, 1))
        return false;
    const uint8_t *page = w->data + pgno * PAGE;
    bool is_leaf = level == t->depth;
    unsigned lower = load_le16(page + HEAD_LOWER);
    unsigned upper = load_le16(page + HEAD_UPPER);
    if (load_le64(page + HEAD_PGNO) != pgno)
        return damaged(w, "a page carries another page's number", pgno);
    if (load_le16(page + HEAD_FLAGS) != (is_leaf ? P_LEAF : P_BRANCH))
        return damaged(
            w, is_leaf ? "expected a leaf page" : "expected a branch page",
            pgno);
    if (lower < HEAD_BYTES || lower % 2 != 0 || lower > upper || upper > PAGE)
        return damaged(w, "a page's bounds are impossible", pgno);
    unsigned nodes = (lower - HEAD_BYTES) / 2;
    if (nodes < (is_leaf || t->is_free_list ? 1u : 2u))
        return damaged(w, "a page has too few nodes", pgno);
    *(is_leaf ? &t->leaves : &t->branches) += 1;
    for (unsigned i = 0; i < nodes; i++) {
        struct span key;
        const uint8_t *node = get_node(t, page, i, is_leaf, &key);
        if (!node)
            return damaged(w, "a node reaches outside its page", pgno);
        if (is_leaf) {
            if (!check_leaf_node(w, t, pgno, node, key))
                return false;
            continue;
        }
        if (i > 0) {
            if (t->prev.data && compare_keys(t, t->prev, key) >= 0)
                return damaged(w, "branch keys are out of order", pgno);
            t->floor = key;
        }
        uint64_t child = load_le16(node) | (uint64_t)load_le16(node + 2) << 16 |
                         (uint64_t)load_le16(node + 4) << 32;
        if (!walk_page(w, t, child, level + 1))
            return false;
    }
    return true;
}

static bool walk_db(struct walk *w, const uint8_t *db, const char *name,
                    bool is_free_list, bool is_main)
{
    struct tree t = {.name = name,
                     .is_free_list = is_free_list,
                     .is_main = is_main,
                     .depth = load_le16(db + DB_DEPTH)};
    uint64_t root = load_le64(db + DB_ROOT);
    unsigned flags = load_le16(db + DB_FLAGS);
    if (flags != (is_free_list ? INTEGER_KEY : 0u) ||
        load_le32(db + DB_PAD) != (is_free_list ? PAGE : 0u) ||
        t.depth > DEPTH_MAX || (t.depth == 0) != (root == NO_PAGE))
        return error_set(w->err, ERR_INPUT,
                         "%s: damaged: the record of database '%s' has "
                         "impossible flags or depth",
                         w->where, name);
    if (t.depth > 0 && !walk_page(w, &t, root, 1))
        return false;
    if (t.branches != load_le64(db + DB_BRANCHES) ||
        t.leaves != load_le64(db + DB_LEAVES) ||
        t.overflows != load_le64(db + DB_OVERFLOWS) ||
        t.entries != load_le64(db + DB_ENTRIES))
        return error_set(
            w->err, ERR_INPUT,
            "%s: damaged: database '%s' claims %llu entries in "
            "%llu leaf pages, found %llu in %llu",
            w->where, name, (unsigned long long)load_le64(db + DB_ENTRIES),
            (unsigned long long)load_le64(db + DB_LEAVES),
            (unsigned long long)t.entries, (unsigned long long)t.leaves);
    return true;
}

/* Both meta pages are read by liblmdb, so both must be whole. */
static bool check_metas(struct walk *w, const uint8_t **newest)
{
    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *meta = w->data + (size_t)i * PAGE;
        if (load_le32(meta + META_MAGIC) != MAGIC ||
            load_le16(meta + HEAD_FLAGS) != P_META)
            return error_set(w->err, ERR_INPUT,
                             "%s: not a session's data file, or damaged: meta "
                             "page %u is not LMDB's",
                             w->where, i);
        if (load_le32(meta + META_VERSION) != 1)
            return error_set(w->err, ERR_INPUT,
                             "%s: damaged: expected LMDB data version 1, found "
                             "%u in meta page %u",
                             w->where, load_le32(meta + META_VERSION), i);
        if (load_le32(meta + META_FREE_DB + DB_PAD) != PAGE ||
            load_le16(meta + META_FREE_DB + DB_FLAGS) != INTEGER_KEY ||
            load_le64(meta + HEAD_PGNO) != i)
            return damaged(w, "a meta page's header is impossible", i);
    }
    const uint8_t *other = w->data + PAGE;
    uint64_t first = load_le64(w->data + META_TXNID);
    uint64_t second = load_le64(other + META_TXNID);
    /* Commit n goes to meta page n mod 2; a new file has 0 in both. */
    if ((first | second) != 0 &&
        (first % 2 != 0 || second % 2 != 1 ||
         (first > second ? first - second : second - first) != 1))
        return damaged(w, "the two meta pages do not follow each other", 0);
    *newest = first < second ? other : w->data;
    return true;
}

bool lmdb_verify_image(const void *data, size_t bytes, const char *where,
                       struct error *err)
{
    struct walk w = {
        .data = data, .pages = bytes / PAGE, .where = where, .err = err};
    const uint8_t *meta = NULL;
    if (w.pages < 2)
        return error_set(err, ERR_INPUT,
                         "%s: truncated: expected at least %d bytes, found "
                         "%zu",
                         where, 2 * PAGE, bytes);
    if (!check_metas(&w, &meta))
        return false;
    w.last_pg = load_le64(meta + META_LAST_PG);
    /* Pages taken and freed by one commit are never written, so the last few
     * may lie behind the end of the file; much more is damage. */
    if (w.last_pg < 1 || w.last_pg / 2 > w.pages + 65536)
        return error_set(err, ERR_INPUT,
                         "%s: truncated or damaged: expected about %llu "
                         "pages of 4096 bytes, found %llu",
                         where, (unsigned long long)w.last_pg + 1,
                         (unsigned long long)w.pages);
    w.seen = calloc(1, w.pages / 8 + 1);
    if (!w.seen)
        return error_set(err, ERR_NOMEM, "%s: out of memory", where);
    bool ok = walk_db(&w, meta + META_MAIN_DB, "main", false, true) &&
              walk_db(&w, meta + META_FREE_DB, "free list", true, false);
    free(w.seen);
    return ok;
}

bool lmdb_verify_file(const char *path, struct error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    bool ok = false;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        error_set(err, ERR_INPUT, "%s: not a regular file", path);
    } else if (st.st_size < 2 * PAGE) {
        error_set(err, ERR_INPUT,
                  "%s: truncated: expected at least %d bytes, found %lld", path,
                  2 * PAGE, (long long)st.st_size);
    } else {
        size_t bytes = (size_t)st.st_size;
        void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED) {
            error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
        } else {
            ok = lmdb_verify_image(map, bytes, path, err);
            (void)munmap(map, bytes);
        }
    }
    (void)close(fd);
    return ok;
}
