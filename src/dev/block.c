#include "dev/block.h"

#include "base/bytes.h"
#include "base/pages.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>

enum {
    BLOCK_BYTES = BLOCK_LAYER_BYTES,
    SECTORS_PER_BLOCK = BLOCK_BYTES / BLOCK_SECTOR_BYTES,
    WORD_BITS = 64,
    NAME_BYTES = 256
};
#define BYTES_MAX ((uint64_t)1 << 44) /* 16 TiB: 48-bit host addresses */

/* Arrays indexed by block number live in address space that the host backs
 * with memory only where the guest has written. */
struct block {
    char name[NAME_BYTES];
    struct block_base base; /* owned: closed by block_free() */
    bool read_only;
    bool failed; /* a host read failed: error says why */
    struct error error;
    uint64_t read_ns; /* derived */
    uint64_t sectors, blocks;
    uint64_t changed_count;
    uint8_t *data;     /* [blocks * 4096]: contents of changed blocks */
    uint64_t *changed; /* bit per block */
    uint64_t *dirty;   /* bit per block: changed since the last digest */
    uint64_t *queue;   /* the dirty blocks, in order of becoming so */
    uint64_t queued;
    uint64_t *recent;  /* bit per block: in recents */
    uint64_t *recents; /* see block_changes() */
    uint64_t recent_count;
    bool known;                        /* block_forget_changes() was called */
    block_first_write_fn *first_write; /* with its context, borrowed */
    void *first_write_context;
    uint8_t (*hash)[16]; /* what each changed block has in sum */
    unsigned __int128 sum;
};

/* ---- life -------------------------------------------------------------------
 */

static uint64_t bitmap_bytes(const struct block *b)
{
    return (b->blocks + WORD_BITS - 1) / WORD_BITS * sizeof(uint64_t);
}

static bool reserve_layer(struct block *b)
{
    b->data = pages_reserve(b->blocks * BLOCK_BYTES);
    b->changed = pages_reserve(bitmap_bytes(b));
    b->dirty = pages_reserve(bitmap_bytes(b));
    b->queue = pages_reserve(b->blocks * sizeof b->queue[0]);
    b->hash = pages_reserve(b->blocks * sizeof b->hash[0]);
    b->recent = pages_reserve(bitmap_bytes(b));
    b->recents = pages_reserve(b->blocks * sizeof b->recents[0]);
    return b->data && b->changed && b->dirty && b->queue && b->hash &&
           b->recent && b->recents;
}

struct block *block_new(const char *name, const struct block_base *base,
                        bool read_only, struct error *err)
{
    if (base->bytes == 0 || base->bytes > BYTES_MAX ||
        base->bytes % BLOCK_SECTOR_BYTES) {
        error_set(err, ERR_INPUT,
                  "%s: a medium has 512 bytes to 16 TiB, found %llu bytes",
                  name, (unsigned long long)base->bytes);
        base->close(base->context);
        return NULL;
    }
    struct block *b = calloc(1, sizeof *b);
    if (!b) {
        error_set(err, ERR_NOMEM, "%s: out of memory", name);
        base->close(base->context);
        return NULL;
    }
    size_t length = strlen(name);
    if (length >= sizeof b->name) { /* the end of a path says more */
        name += length - (sizeof b->name - 1);
        length = sizeof b->name - 1;
    }
    memcpy(b->name, name, length);
    b->base = *base;
    b->read_only = read_only;
    b->sectors = base->bytes / BLOCK_SECTOR_BYTES;
    b->blocks = (b->sectors + SECTORS_PER_BLOCK - 1) / SECTORS_PER_BLOCK;
    if (!read_only && !reserve_layer(b)) {
        error_set(err, ERR_NOMEM,
                  "%s: no address space for the changes of %llu blocks",
                  b->name, (unsigned long long)b->blocks);
        block_free(b);
        return NULL;
    }
    return b;
}

void block_free(struct block *b)
{
    if (!b)
        return;
    pages_release(b->data, b->blocks * BLOCK_BYTES);
    pages_release(b->changed, bitmap_bytes(b));
    pages_release(b->dirty, bitmap_bytes(b));
    pages_release(b->queue, b->blocks * sizeof b->queue[0]);
    pages_release(b->hash, b->blocks * sizeof b->hash[0]);
    pages_release(b->recent, bitmap_bytes(b));
    pages_release(b->recents, b->blocks * sizeof b->recents[0]);
    if (b->base.close)
        b->base.close(b->base.context);
    free(b);
}

uint64_t block_sectors(const struct block *b)
{
    return b->sectors;
}

bool block_read_only(const struct block *b)
{
    return b->read_only;
}

bool block_failed(const struct block *b, struct error *err)
{
    if (b->failed && err)
        *err = b->error;
    return b->failed;
}

/* ---- reading ------------------ */

uint64_t block_read_ns(const struct block *b)
{
    return b->read_ns;
}

static bool bit(const uint64_t *map, uint64_t n)
{
    return map && (map[n / WORD_BITS] >> n % WORD_BITS & 1);
}

static void set_bit(uint64_t *map, uint64_t n)
{
    map[n / WORD_BITS] |= (uint64_t)1 << n % WORD_BITS;
}

static void base_read(struct block *b, uint64_t sector, uint64_t count,
                      uint8_t *out)
{
    struct error err = {0};
    size_t bytes = (size_t)count * BLOCK_SECTOR_BYTES;
    uint64_t begun = b->base.now_ns ? b->base.now_ns() : 0;
    bool ok = !b->failed &&
              b->base.read(b->base.context, sector * BLOCK_SECTOR_BYTES, out,
                           bytes, &err);
    if (b->base.now_ns)
        b->read_ns += b->base.now_ns() - begun;
    if (ok)
        return;
    if (!b->failed) {
        b->failed = true;
        b->error = err;
    }
    memset(out, 0, bytes);
}

/* Sectors from `sector` on, at most `count`, that are all in the layer or all
 * in the base. */
static uint32_t run_length(const struct block *b, uint64_t sector,
                           uint32_t count, bool in_layer)
{
    uint64_t end = sector + count;
    uint64_t at = (sector / SECTORS_PER_BLOCK + 1) * SECTORS_PER_BLOCK;
    while (at < end && bit(b->changed, at / SECTORS_PER_BLOCK) == in_layer)
        at += SECTORS_PER_BLOCK;
    return (uint32_t)((at < end ? at : end) - sector);
}

void block_read(struct block *b, uint64_t sector, uint32_t count, void *out)
{
    uint8_t *to = out;
    assert(sector <= b->sectors && count <= b->sectors - sector);
    while (count) {
        bool in_layer = bit(b->changed, sector / SECTORS_PER_BLOCK);
        uint32_t n = run_length(b, sector, count, in_layer);
        size_t bytes = (size_t)n * BLOCK_SECTOR_BYTES;
        if (in_layer)
            memcpy(to, b->data + sector * BLOCK_SECTOR_BYTES, bytes);
        else
            base_read(b, sector, n, to);
        sector += n;
        count -= n;
        to += bytes;
    }
}

/* ---- writing ------------------ */

static void clear_bit(uint64_t *map, uint64_t n)
{
    map[n / WORD_BITS] &= ~((uint64_t)1 << n % WORD_BITS);
}

/* Before block n changes. */
static void make_dirty(struct block *b, uint64_t n)
{
    if (!bit(b->recent, n)) {
        set_bit(b->recent, n);
        b->recents[b->recent_count++] = n;
        if (b->first_write)
            b->first_write(b->first_write_context, n);
    }
    if (bit(b->dirty, n))
        return;
    set_bit(b->dirty, n);
    b->queue[b->queued++] = n;
}

/* Take a block into the layer; `whole`: all its bytes will be written. */
static void make_changed(struct block *b, uint64_t n, bool whole)
{
    make_dirty(b, n);
    if (bit(b->changed, n))
        return;
    set_bit(b->changed, n);
    b->changed_count++;
    if (whole)
        return;
    uint64_t first = n * SECTORS_PER_BLOCK;
    uint64_t left = b->sectors - first;
    base_read(b, first, left < SECTORS_PER_BLOCK ? left : SECTORS_PER_BLOCK,
              b->data + n * BLOCK_BYTES);
}

void block_write(struct block *b, uint64_t sector, uint32_t count,
                 const void *in)
{
    const uint8_t *from = in;
    assert(!b->read_only);
    assert(sector <= b->sectors && count <= b->sectors - sector);
    while (count) {
        uint32_t inside = (uint32_t)(sector % SECTORS_PER_BLOCK);
        uint32_t n = SECTORS_PER_BLOCK - inside;
        n = n < count ? n : count;
        make_changed(b, sector / SECTORS_PER_BLOCK, n == SECTORS_PER_BLOCK);
        size_t bytes = (size_t)n * BLOCK_SECTOR_BYTES;
        memcpy(b->data + sector * BLOCK_SECTOR_BYTES, from, bytes);
        sector += n;
        count -= n;
        from += bytes;
    }
}

/* ---- block by block ------------------ */

uint64_t block_layer_blocks(const struct block *b)
{
    return b->blocks;
}

const uint8_t *block_contents(const struct block *b, uint64_t n)
{
    assert(n < b->blocks);
    return bit(b->changed, n) ? b->data + n * BLOCK_BYTES : NULL;
}

void block_put(struct block *b, uint64_t n, const uint8_t *contents)
{
    assert(!b->read_only && n < b->blocks);
    if (contents) {
        make_changed(b, n, true);
        memcpy(b->data + n * BLOCK_BYTES, contents, BLOCK_BYTES);
    } else if (bit(b->changed, n)) {
        make_dirty(b, n);
        clear_bit(b->changed, n);
        b->changed_count--;
        /* block_write() of a part relies on nothing being there. */
        memset(b->data + n * BLOCK_BYTES, 0, BLOCK_BYTES);
    }
}

uint64_t block_changes(const struct block *b, const uint64_t **blocks)
{
    *blocks = b->recents;
    return b->recent_count;
}

void block_forget_changes(struct block *b)
{
    for (uint64_t i = 0; i < b->recent_count; i++)
        clear_bit(b->recent, b->recents[i]);
    b->recent_count = 0;
    b->known = true;
}

bool block_is_new(const struct block *b)
{
    return !b->known;
}

void block_on_first_write(struct block *b, block_first_write_fn *fn,
                          void *context)
{
    b->first_write = fn;
    b->first_write_context = context;
}

/* ---- digest ------------------ */

static unsigned __int128 load_u128(const uint8_t bytes[16])
{
    return (unsigned __int128)load_le64(bytes + 8) << 64 | load_le64(bytes);
}

static void store_u128(uint8_t bytes[16], unsigned __int128 v)
{
    store_le64(bytes, (uint64_t)v);
    store_le64(bytes + 8, (uint64_t)(v >> 64));
}

/* The block number goes in as the seed. */
static unsigned __int128 hash_block(const struct block *b, uint64_t n)
{
    XXH128_hash_t h =
        XXH3_128bits_withSeed(b->data + n * BLOCK_BYTES, BLOCK_BYTES, n + 1);
    return (unsigned __int128)h.high64 << 64 | h.low64;
}

void block_digest(struct block *b, uint8_t out[16])
{
    for (uint64_t i = 0; i < b->queued; i++) {
        uint64_t n = b->queue[i];
        unsigned __int128 now = bit(b->changed, n) ? hash_block(b, n) : 0;
        b->sum += now - load_u128(b->hash[n]);
        store_u128(b->hash[n], now);
        clear_bit(b->dirty, n);
    }
    b->queued = 0;
    store_u128(out, b->sum);
}

/* ---- saved state ------------------ */

/* An empty layer, of which no digest has been taken. */
static void drop_layer(struct block *b)
{
    if (b->read_only)
        return;
    for (uint64_t word = 0; word < bitmap_bytes(b) / sizeof(uint64_t); word++)
        for (uint64_t bits = b->changed[word]; bits; bits &= bits - 1)
            make_dirty(b, word * WORD_BITS + (unsigned)__builtin_ctzll(bits));
    /* Fresh zero pages in place of what was there. */
    (void)madvise(b->data, b->blocks * BLOCK_BYTES, MADV_DONTNEED);
    (void)madvise(b->changed, bitmap_bytes(b), MADV_DONTNEED);
    (void)madvise(b->dirty, bitmap_bytes(b), MADV_DONTNEED);
    (void)madvise(b->hash, b->blocks * sizeof b->hash[0], MADV_DONTNEED);
    b->changed_count = b->queued = 0;
    b->sum = 0;
}

void block_save(const struct block *b, struct writer *w)
{
    writer_u64(w, b->sectors);
    writer_u64(w, b->changed_count);
    if (b->changed_count == 0)
        return;
    for (uint64_t word = 0; word < bitmap_bytes(b) / sizeof(uint64_t); word++) {
        for (uint64_t bits = b->changed[word]; bits; bits &= bits - 1) {
            uint64_t n = word * WORD_BITS + (unsigned)__builtin_ctzll(bits);
            writer_u64(w, n);
            writer_bytes(w, b->data + n * BLOCK_BYTES, BLOCK_BYTES);
        }
    }
}

bool block_load(struct block *b, struct reader *r, struct error *err)
{
    uint64_t sectors = reader_u64(r);
    uint64_t count = reader_u64(r);
    if (!reader_ok(r, b->name, err))
        return false;
    if (sectors != b->sectors)
        return error_set(err, ERR_MISMATCH,
                         "%s: expected a medium of %llu sectors, found %llu",
                         b->name, (unsigned long long)sectors,
                         (unsigned long long)b->sectors);
    if (count > b->blocks || (count && b->read_only))
        return error_set(err, ERR_INPUT,
                         "%s: %llu changed blocks are not possible", b->name,
                         (unsigned long long)count);
    drop_layer(b);
    uint64_t least = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t n = reader_u64(r);
        if (!reader_ok(r, b->name, err))
            return false;
        if (n < least || n >= b->blocks)
            return error_set(err, ERR_INPUT,
                             "%s: changed block %llu is out of order", b->name,
                             (unsigned long long)n);
        least = n + 1;
        make_changed(b, n, true);
        reader_bytes(r, b->data + n * BLOCK_BYTES, BLOCK_BYTES);
    }
    return reader_ok(r, b->name, err);
}
