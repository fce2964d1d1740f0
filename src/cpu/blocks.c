#include "cpu/blocks.h"

#include "cpu/access.h"
#include "cpu/decode.h"

#include <sys/mman.h>

enum {
    BLOCK_INSNS_SHORT = 64,     /* longer ones must pay */
    PAGE_DROPS = 4,             /* a page of changing code has short ones */
    ARENA_BYTES = 128 << 20,    /* decoded instructions; full: flush */
    HASH_BITS = 17,
    HASH_SIZE = 1 << HASH_BITS,
    PAGE_BITS = 15,
    PAGE_SLOTS = 1 << PAGE_BITS, /* frames that hold code, twice as many */
    JUMP_BITS = 15,
    JUMP_SIZE = 1 << JUMP_BITS,
    CHUNK_SHIFT = 6,            /* granularity of the code bitmap of a page */
    RETIRED_BITS = 8,
    RETIRED_SLOTS = 1 << RETIRED_BITS,
    RETIRED_BYTES = 128
};

/* A frame that holds code: its blocks, and which 64-byte chunks they cover. */
struct code_page {
    uint32_t frame;
    bool used;
    uint8_t drops; /* of blocks that were overwritten; up to PAGE_DROPS */
    uint64_t chunks;
    struct page_link *first;
};

/* Blocks by linear address: good as long as the MMU's space_key stands. */
struct jump_entry {
    uint64_t linear;
    uint64_t key;
    uint64_t mode;
    struct block_code *block;
};

/* A block of a page of changing code that was dropped, and the bytes that it was
 * decoded from: what comes in its place mostly differs in few of them. */
struct retired {
    struct block_code *block; /* NULL: none */
    uint8_t bytes[RETIRED_BYTES];
};

struct blocks {
    struct cpu *cpu; /* borrowed */
    unsigned limit;
    size_t used; /* of the arena */
    unsigned pages_used;
    struct block_code *hash[HASH_SIZE];
    struct code_page pages[PAGE_SLOTS]; /* open addressing by frame */
    struct jump_entry jumps[JUMP_SIZE];
    struct retired retired[RETIRED_SLOTS]; /* by frame address */
    _Alignas(64) uint8_t arena[ARENA_BYTES];
};

static unsigned hash_of(uint64_t start, unsigned mode)
{
    return (unsigned)((start * 4 + mode) * 0x9e3779b97f4a7c15 >>
                      (64 - HASH_BITS));
}

static struct code_page *page_slot(struct blocks *b, uint32_t frame)
{
    unsigned at = (frame * 2654435761u) >> (32 - PAGE_BITS);
    while (b->pages[at].used && b->pages[at].frame != frame)
        at = (at + 1) & (PAGE_SLOTS - 1);
    return &b->pages[at];
}

static uint64_t chunk_mask(uint32_t offset, uint32_t bytes)
{
    unsigned first = offset >> CHUNK_SHIFT;
    unsigned last = (offset + bytes - 1) >> CHUNK_SHIFT;
    if (last > 63)
        last = 63;
    return (UINT64_MAX << first) & (UINT64_MAX >> (63 - last));
}

/* Does the block cover [offset, offset+bytes) of one of its pages? One that lies
 * across two pages counts as covering both whole. */
static bool overlaps(const struct block_code *k, uint32_t offset,
                     uint32_t bytes)
{
    uint32_t start = (uint32_t)(k->start & (PAGE_BYTES - 1));
    if (k->second != UINT64_MAX)
        return true;
    return offset < start + k->covered && start < offset + bytes;
}

static void drop_block(struct blocks *b, struct block_code *k)
{
    struct block_code **at = &b->hash[hash_of(k->start, k->mode)];
    while (*at && *at != k)
        at = &(*at)->hash_next;
    if (*at)
        *at = k->hash_next;
    k->valid = false;
    if (b->cpu->engine.dropped)
        b->cpu->engine.dropped(b->cpu->engine.context, k);
}

static uint64_t block_chunks(const struct block_code *k)
{
    if (k->second != UINT64_MAX)
        return UINT64_MAX;
    return chunk_mask((uint32_t)(k->start & (PAGE_BYTES - 1)), k->covered);
}

static struct retired *retired_slot(struct blocks *b, uint64_t start)
{
    return &b->retired[start * 0x9e3779b97f4a7c15 >> (64 - RETIRED_BITS)];
}

/* Keep a block of one page that a store has dropped, which put `bytes` other
 * bytes in place of `old` at `offset` of the page. */
static void retire(struct blocks *b, struct block_code *k, uint32_t offset,
                   uint32_t bytes, const uint8_t *old)
{
    uint32_t start = (uint32_t)(k->start & (PAGE_BYTES - 1));
    uint32_t from = offset > start ? offset : start;
    uint32_t to = offset + bytes < start + k->bytes ? offset + bytes
                                                    : start + k->bytes;
    if (k->second != UINT64_MAX || k->bytes > RETIRED_BYTES)
        return;
    struct retired *r = retired_slot(b, k->start);
    r->block = k;
    memcpy(r->bytes,
           phys_frame_host(b->cpu->mmu.phys,
                           (uint32_t)(k->start >> PAGE_SHIFT)) + start,
           k->bytes);
    if (from < to)
        memcpy(r->bytes + (from - start), old + (from - offset), to - from);
}

/* A store hit a page with code: drop what it overlaps. Blocks stay readable, as
 * the current one may still be in use; it ends after this instruction. */
static void code_written(void *context, uint32_t frame, uint32_t offset,
                         uint32_t bytes, const void *old)
{
    struct blocks *b = context;
    struct code_page *page = page_slot(b, frame);
    if (!page->used || !(page->chunks & chunk_mask(offset, bytes)))
        return;
    uint64_t chunks = 0;
    struct page_link **at = &page->first;
    while (*at) {
        struct block_code *k = (*at)->block;
        if (k->valid && overlaps(k, offset, bytes)) {
            drop_block(b, k);
            page->drops += page->drops < PAGE_DROPS;
            if (page->drops == PAGE_DROPS)
                retire(b, k, offset, bytes, old);
        }
        if (!k->valid) {
            *at = (*at)->next;
            continue;
        }
        chunks |= block_chunks(k);
        at = &(*at)->next;
    }
    page->chunks = chunks;
    cpu_attention(b->cpu);
    if (!page->first)
        phys_flag_clear(b->cpu->mmu.phys, frame, FRAME_CODE);
}

struct blocks *blocks_new(struct cpu *c, struct error *err)
{
    /* Zeroed, aligned, and costs nothing until it is touched. */
    struct blocks *b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (b == MAP_FAILED) {
        error_set(err, ERR_NOMEM, "no memory for the block cache (%zu bytes)",
                  sizeof *b);
        return NULL;
    }
    b->cpu = c;
    b->limit = BLOCK_INSNS_MAX;
    phys_watch(c->mmu.phys, FRAME_CODE, code_written, b);
    return b;
}

void blocks_free(struct blocks *b)
{
    if (b)
        munmap(b, sizeof *b);
}

void blocks_limit(struct cpu *c, unsigned n)
{
    c->blocks->limit = n && n < BLOCK_INSNS_MAX ? n : BLOCK_INSNS_MAX;
    blocks_flush(c);
}

void blocks_flush(struct cpu *c)
{
    struct blocks *b = c->blocks;
    for (unsigned k = 0; k < PAGE_SLOTS; k++)
        if (b->pages[k].used)
            phys_flag_clear(c->mmu.phys, b->pages[k].frame, FRAME_CODE);
    memset(b->pages, 0, sizeof b->pages);
    memset(b->hash, 0, sizeof b->hash);
    memset(b->jumps, 0, sizeof b->jumps);
    memset(b->retired, 0, sizeof b->retired);
    b->used = 0;
    b->pages_used = 0;
    if (c->engine.flushed)
        c->engine.flushed(c->engine.context);
}

/* Put the block on the list of a frame that it covers. */
static void track(struct blocks *b, struct block_code *k, unsigned link,
                  uint32_t frame)
{
    struct code_page *page = page_slot(b, frame);
    if (!page->used) {
        *page = (struct code_page){.frame = frame, .used = true};
        b->pages_used++;
    }
    if (!(phys_frame_flags(b->cpu->mmu.phys, frame) & FRAME_CODE))
        phys_flag_set(b->cpu->mmu.phys, frame, FRAME_CODE);
    k->links[link] = (struct page_link){k, page->first};
    page->first = &k->links[link];
    page->chunks |= block_chunks(k);
}

static enum exc fetch_fault(struct cpu *c, enum exc e)
{
    return e == EXC_GP ? cpu_fault(c, EXC_GP, 0) : e;
}

/* Bytes of one physical page from paddr on. Frames give a pointer; MMIO is read
 * into the buffer, one byte at a time as a fetch of unknown length. */
static const uint8_t *fetch_bytes(struct cpu *c, uint64_t paddr,
                                  struct phys_page *page, uint8_t buffer[16],
                                  unsigned *available)
{
    unsigned offset = (unsigned)(paddr & (PAGE_BYTES - 1));
    phys_lookup(c->mmu.phys, paddr - offset, PHYS_READ, page);
    *available = PAGE_BYTES - offset;
    if (page->host)
        return page->host + offset;
    if (*available > 15)
        *available = 15;
    phys_read(c->mmu.phys, paddr, buffer, *available);
    return buffer;
}

static uint64_t frame_address(const struct phys_page *page, uint64_t paddr)
{
    return (uint64_t)page->frame << PAGE_SHIFT | (paddr & (PAGE_BYTES - 1));
}

/* Decode the one instruction that starts with the last bytes of a page. */
static enum exc decode_across(struct cpu *c, struct block_code *k,
                              uint64_t linear, const uint8_t *head,
                              unsigned head_bytes, struct phys_page *second)
{
    uint8_t bytes[32], buffer[16];
    uint64_t paddr, next = (linear + head_bytes) & c->linear_mask;
    memcpy(bytes, head, head_bytes);
    enum exc e = mmu_translate(&c->mmu, next, 1, ACCESS_FETCH, &paddr);
    if (e)
        return fetch_fault(c, e);
    unsigned available;
    const uint8_t *tail = fetch_bytes(c, paddr, second, buffer, &available);
    memcpy(bytes + head_bytes, tail, 15);
    k->second = frame_address(second, paddr);
    enum decode_result r = decode_insn(bytes, 15, c->mode, &k->insns[0]);
    if (r == DECODE_INVALID)
        return cpu_fault(c, EXC_UD, 0);
    return r == DECODE_OK ? EXC_NONE : cpu_fault(c, EXC_GP, 0);
}

static bool is_probed(const struct cpu *c, uint64_t address)
{
    const struct cpu_probe *p = &c->probe;
    return p->has_offsets &&
           (p->offsets[address >> 6 & 63] >> (address & 63) & 1);
}

/* A run that stopped inside a long block goes on in one of its own, which would
 * repeat all the rest, again for every place where it stops: beyond a number of
 * instructions it ends where a block starts that is known. */
static bool is_known(const struct cpu *c, const struct block_code *k,
                     unsigned count, unsigned used)
{
    uint64_t start = k->start + used;
    if (count < BLOCK_INSNS_SHORT)
        return false;
    const struct block_code *at = c->blocks->hash[hash_of(start, c->mode)];
    while (at && (at->start != start || at->mode != c->mode))
        at = at->hash_next;
    return at != NULL;
}

/* Fill k from the bytes of one page; returns instructions decoded, 0 when the
 * first one is short, invalid or too long (*result). */
static unsigned decode_run(struct cpu *c, struct block_code *k, unsigned most,
                           const uint8_t *bytes, unsigned available,
                           enum decode_result *result)
{
    unsigned count = 0, used = 0;
    while (count < most) {
        *result = decode_insn(bytes + used, available - used, c->mode,
                              &k->insns[count]);
        if (*result != DECODE_OK)
            break;
        used += k->insns[count].len;
        if (k->insns[count++].cls != CLASS_NORMAL)
            break;
        if (used >= available || is_probed(c, k->start + used) ||
            is_known(c, k, count, used))
            break;
    }
    k->bytes = used;
    return count;
}

static unsigned most_insns(struct blocks *b, uint32_t frame)
{
    const struct code_page *page = page_slot(b, frame);
    bool is_changing = page->used && page->drops == PAGE_DROPS;
    return is_changing && b->limit > BLOCK_INSNS_SHORT ? BLOCK_INSNS_SHORT
                                                       : b->limit;
}

static struct block_code *arena_next(struct cpu *c)
{
    struct blocks *b = c->blocks;
    size_t most = sizeof(struct block_code) + b->limit * sizeof(struct insn);
    if (b->used + most > ARENA_BYTES || b->pages_used > PAGE_SLOTS / 2)
        blocks_flush(c);
    return (struct block_code *)(void *)(b->arena + b->used);
}

static void arena_commit(struct blocks *b, const struct block_code *k)
{
    size_t size = sizeof *k + k->count * sizeof(struct insn);
    b->used += (size + 63) & ~(size_t)63;
}

static void hash_block(struct blocks *b, struct block_code *k)
{
    unsigned h = hash_of(k->start, k->mode);
    k->hash_next = b->hash[h];
    b->hash[h] = k;
}

/* Decode a new block at linear -> paddr. A block in MMIO space comes back with
 * valid false: it is good for one use and never entered into the cache. */
static struct block_code *build(struct cpu *c, uint64_t linear, uint64_t paddr,
                                enum exc *fault)
{
    struct blocks *b = c->blocks;
    struct block_code *k = arena_next(c);
    struct phys_page page, second = {0};
    uint8_t buffer[16];
    unsigned available;
    enum decode_result result = DECODE_OK;
    const uint8_t *bytes = fetch_bytes(c, paddr, &page, buffer, &available);
    *k = (struct block_code){.start = frame_address(&page, paddr),
                             .second = UINT64_MAX,
                             .mode = c->mode};
    k->probed = is_probed(c, k->start);
    /* What a device answers depends on when it is read: one at a time. */
    unsigned most = page.host ? most_insns(b, page.frame) : 1;
    k->count =
        (uint16_t)decode_run(c, k, most, bytes, available, &result);
    if (k->count == 0) {
        if (result != DECODE_SHORT)
            *fault = cpu_fault(c, result == DECODE_INVALID ? EXC_UD : EXC_GP,
                               0);
        else
            *fault = decode_across(c, k, linear, bytes, available, &second);
        if (*fault)
            return NULL;
        k->count = 1;
        k->bytes = available;
    }
    k->covered = k->bytes;
    bool crosses = k->second != UINT64_MAX;
    if (!page.host || (crosses && !second.host))
        return k;
    k->valid = true;
    arena_commit(b, k);
    track(b, k, 0, page.frame);
    if (crosses && second.frame != page.frame)
        track(b, k, 1, second.frame);
    hash_block(b, k);
    return k;
}

/* What was in this place before, brought up to date; in its own memory when
 * nobody else can know that. NULL: it has to be decoded. */
static struct block_code *refresh(struct cpu *c, uint64_t start,
                                  const uint8_t *bytes)
{
    struct block_code *k = arena_next(c);
    struct retired *r = retired_slot(c->blocks, start);
    struct block_code *old = r->block;
    if (!old || old->start != start || old->mode != c->mode)
        return NULL;
    r->block = NULL;
    bool is_free = !old->code && !old->is_held;
    if (is_free)
        k = old;
    else
        memcpy(k->insns, old->insns, old->count * sizeof(struct insn));
    for (unsigned n = 0, used = 0; n < old->count; used += k->insns[n++].len)
        if (!decode_changed(r->bytes + used, bytes + used, c->mode,
                            &k->insns[n]))
            return NULL;
    *k = (struct block_code){.start = start,
                             .second = UINT64_MAX,
                             .mode = c->mode,
                             .valid = true,
                             .probed = is_probed(c, start),
                             .count = old->count,
                             .bytes = old->bytes,
                             .covered = old->bytes};
    if (!is_free)
        arena_commit(c->blocks, k);
    track(c->blocks, k, 0, (uint32_t)(start >> PAGE_SHIFT));
    hash_block(c->blocks, k);
    return k;
}

struct block_code *blocks_known(const struct cpu *c, uint64_t start,
                                unsigned mode)
{
    struct block_code *k = c->blocks->hash[hash_of(start, mode)];
    while (k && (k->start != start || k->mode != mode ||
                 k->second != UINT64_MAX))
        k = k->hash_next;
    return k;
}

struct block_code *blocks_join(struct cpu *c, struct block_code *const *all,
                               unsigned count)
{
    struct blocks *b = c->blocks;
    struct block_code *first = all[0];
    unsigned insns = 0;
    for (unsigned n = 0; n < count; n++)
        insns += all[n]->count;
    if (insns > b->limit ||
        b->used + sizeof *first + insns * sizeof(struct insn) > ARENA_BYTES)
        return NULL;
    struct block_code *k = (struct block_code *)(void *)(b->arena + b->used);
    *k = *first;
    k->count = 0;
    k->bytes = 0;
    for (unsigned n = 0; n < count; n++) {
        memcpy(k->insns + k->count, all[n]->insns,
               all[n]->count * sizeof(struct insn));
        k->count = (uint16_t)(k->count + all[n]->count);
        k->bytes += all[n]->bytes;
    }
    arena_commit(b, k);
    first->covered = k->bytes;
    page_slot(b, (uint32_t)(first->start >> PAGE_SHIFT))->chunks |=
        block_chunks(first);
    return k;
}

/* Is the second page of a block across pages still the one it was decoded from?
 * Fetching it may fault. */
static bool second_matches(struct cpu *c, const struct block_code *k,
                           uint64_t linear, enum exc *fault)
{
    struct phys_page page;
    uint64_t paddr, at = (linear + k->bytes) & c->linear_mask;
    enum exc e = mmu_translate(&c->mmu, at, 1, ACCESS_FETCH, &paddr);
    if (e) {
        *fault = fetch_fault(c, e);
        return false;
    }
    phys_lookup(c->mmu.phys, paddr, PHYS_READ, &page);
    return page.host && frame_address(&page, paddr) == k->second;
}

static struct block_code *find(struct cpu *c, uint64_t linear, uint64_t paddr,
                               enum exc *fault)
{
    struct phys_page page;
    phys_lookup(c->mmu.phys, paddr, PHYS_READ, &page);
    if (!page.host)
        return build(c, linear, paddr, fault);
    uint64_t start = frame_address(&page, paddr);
    struct block_code *k = c->blocks->hash[hash_of(start, c->mode)];
    for (; k; k = k->hash_next) {
        if (k->start != start || k->mode != c->mode)
            continue;
        if (k->second == UINT64_MAX || second_matches(c, k, linear, fault))
            return k;
        if (*fault)
            return NULL;
    }
    k = refresh(c, start, page.host + (paddr & (PAGE_BYTES - 1)));
    return k ? k : build(c, linear, paddr, fault);
}

/* Not the hash of the JIT's own table: what collides there should not here. */
static struct jump_entry *jump_slot(struct blocks *b, uint64_t linear)
{
    return &b->jumps[linear * 0x9e3779b97f4a7c15 >> (64 - JUMP_BITS)];
}

struct block_code *blocks_at(struct cpu *c, enum exc *fault)
{
    struct blocks *b = c->blocks;
    uint64_t linear =
        (c->r[REG_RIP] + c->ea_base[SEG_CS]) & c->linear_mask;
    struct jump_entry *j = jump_slot(b, linear);
    if (LIKELY(j->linear == linear && j->key == c->mmu.space_key &&
               j->block && j->mode == c->mode && j->block->valid))
        return j->block;
    uint64_t paddr;
    enum exc e = mmu_translate(&c->mmu, linear, 1, ACCESS_FETCH, &paddr);
    if (e) {
        *fault = fetch_fault(c, e);
        return NULL;
    }
    *fault = EXC_NONE;
    struct block_code *k = find(c, linear, paddr, fault);
    if (k && k->valid)
        *j = (struct jump_entry){linear, c->mmu.space_key, c->mode, k};
    return k;
}
