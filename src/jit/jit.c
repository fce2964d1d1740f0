#include "jit/jit_internal.h"

#include "cpu/run.h"
#include "jit/plan.h"
#include "jit/t2.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char *const jit_exit_names[JIT_EXITS] = {"unlinked", "limit", "lookup",
                                               "handler", "units"};

#define MOST_TICKS (UINT64_C(1) << 40) /* of one stay in compiled code */

/* Address space within 1 GiB of the CPU, so that its fields are RIP-relative
 * operands. Tries places on both sides. */
static void *reserve_near(size_t bytes, const void *near_to)
{
    uintptr_t centre = (uintptr_t)near_to & ~(uintptr_t)0xffff;
    for (intptr_t step = 1; step < 48; step++) {
        for (int side = -1; side <= 1; side += 2) {
            intptr_t by = side * step * (16 << 20);
            if (side < 0)
                by -= (intptr_t)bytes;
            uintptr_t want = centre + (uintptr_t)by;
            void *p = mmap((void *)want, bytes, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
                               MAP_FIXED_NOREPLACE,
                           -1, 0);
            if (p == (void *)want)
                return p;
            if (p != MAP_FAILED)
                munmap(p, bytes);
        }
    }
    return NULL;
}

/* Shared memory mapped twice, writable here and executable there: no page is
 * ever both (W^X). Not a memfd, for perf(1) looks up names of code in anonymous
 * memory only; mremap() from 0 bytes of a shared mapping maps it once more. */
static bool map_cache(struct jit *j, struct error *err)
{
    void *rw = mmap(NULL, j->bytes, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    j->rw = rw == MAP_FAILED ? NULL : rw;
    void *place = j->rw ? reserve_near(j->bytes, j->cpu) : NULL;
    if (place) {
        j->exec = place;
        void *p = mremap(rw, 0, j->bytes, MREMAP_MAYMOVE | MREMAP_FIXED, place);
        if (p == place &&
            mprotect(place, j->bytes, PROT_READ | PROT_EXEC) == 0)
            return true;
    }
    return error_set(err, ERR_NOMEM,
                     "expected %zu bytes of address space near the machine for "
                     "the code cache, found none",
                     j->bytes);
}

/* ---- running ----------------------------------------------------------------- */

static void unlink_incoming(struct jit *j, struct block_code *k)
{
    struct emit e = {.to_exec = j->exec - j->rw};
    for (uint32_t s = k->incoming; s != JIT_NO_SLOT; s = j->slots[s].next)
        emit_patch(&e, j->slots[s].site, j->slots[s].stub);
    k->incoming = JIT_NO_SLOT;
}

/* The block was overwritten: whatever still jumps to its code leaves there. The
 * code behind its entry stays, for it may be what runs now. */
static void on_dropped(void *context, struct block_code *k)
{
    struct jit *j = context;
    if (j->t2)
        t2_dropped(j->t2, k);
    unlink_incoming(j, k);
    if (!k->code)
        return;
    j->blocks--;
    struct emit e = {.at = j->rw + ((const uint8_t *)k->code - j->exec),
                     .end = j->rw + j->bytes,
                     .to_exec = j->exec - j->rw};
    emit_jump_to(&e, 16, k->refuse);
}

static void on_flushed(void *context)
{
    struct jit *j = context;
    if (j->t2)
        t2_flushed(j->t2);
    j->used = j->first;
    j->cold_used = j->cold_first;
    memset(j->jumps, 0xff, JIT_JUMPS * sizeof *j->jumps);
    j->slot_count = 1;
    j->blocks = 0;
    j->cpu->jit_link = JIT_NO_SLOT;
    j->stats.flushes++;
}

/* Where the last run left through an unlinked jump, and when. */
static void note_exit(struct jit *j)
{
    j->left_rip = j->cpu->r[REG_RIP];
    j->left_tick = j->cpu->tick;
    j->left_key = j->cpu->jit_key;
}

/* From now on the unlinked jump finds its target as an indirect one does. Both
 * kinds of stubs end in a jump to exit_link, with the target's offset in ECX. */
static void send_to_dispatch(const struct jit *j, uint32_t s)
{
    enum { BEFORE = 5 + 5 + 1 }; /* mov edx, slot; mov ecx, offset; E9 */
    struct emit e = {.to_exec = j->exec - j->rw};
    uint8_t *stub = (uint8_t *)(uintptr_t)j->slots[s].stub - e.to_exec;
    assert(stub[BEFORE - 1] == 0xe9);
    emit_patch(&e, stub + BEFORE, j->dispatch_at);
}

/* Join that jump to k when nothing happened in between and k is compiled. Both
 * lie on the same page, so the jump is right wherever the page is mapped, if k
 * asks no more of where IP starts and ends there than the block before it. Not so
 * a block across two pages: the second is what it was as long as jit_key stands. */
static void link_exit(struct jit *j, struct block_code *k)
{
    const struct cpu *c = j->cpu;
    uint32_t s = c->jit_link;
    j->cpu->jit_link = JIT_NO_SLOT;
    if (s == JIT_NO_SLOT || !k->code || j->left_rip != c->r[REG_RIP] ||
        j->left_tick != c->tick || j->left_key != c->jit_key ||
        k->low < j->slots[s].low || k->high > j->slots[s].high)
        return;
    if (k->second != UINT64_MAX) {
        send_to_dispatch(j, s);
        return;
    }
    struct emit e = {.to_exec = j->exec - j->rw};
    emit_patch(&e, j->slots[s].site, k->code);
    j->slots[s].next = k->incoming;
    k->incoming = s;
    j->stats.links++;
}

/* 32-bit code is compiled for flat segments alone. */
static bool is_flat32(const struct cpu *c)
{
    for (unsigned s = SEG_ES; s <= SEG_DS; s++)
        if (c->ea_base[s] || (s != SEG_CS && !c->ea_flat[s]))
            return false;
    return c->seg[SEG_CS].limit == UINT32_MAX && c->sp_mask == UINT32_MAX;
}

/* Segments as compiled code of the CPU's mode wants them. */
static bool has_segments(const struct cpu *c)
{
    return c->mode == MODE_64 ||
           (c->mode == MODE_32 ? is_flat32(c) : c->sp_mask == 0xffff);
}

/* RIP of the first byte of the page that the block lies on, modulo 2^64. */
static uint64_t page_rip(const struct cpu *c, const struct block_code *k)
{
    return c->r[REG_RIP] - (k->start & (PAGE_BYTES - 1));
}

/* Where the code segment starts and ends in that page. */
static void code_range(const struct cpu *c, const struct block_code *k,
                       int64_t *low, int64_t *high)
{
    int64_t page = (int64_t)page_rip(c, k);
    int64_t limit = c->seg[SEG_CS].limit < 0xffff ? c->seg[SEG_CS].limit : 0xffff;
    bool is_whole = c->mode != MODE_16;
    *low = is_whole || page > 0 ? 0 : -page;
    *high = is_whole || limit - page >= PAGE_BYTES ? PAGE_BYTES
                                                   : limit - page + 1;
}

/* Will its jumps stay inside the code segment here? */
static bool has_range(const struct cpu *c, const struct block_code *k)
{
    int64_t low, high;
    if (k->mode != MODE_16)
        return true;
    code_range(c, k, &low, &high);
    return k->low >= low && k->high <= high;
}

static bool can_run(const struct cpu *c, const struct block_code *k)
{
    return k->valid && (k->second == UINT64_MAX || k->mode == MODE_64) &&
           has_segments(c);
}

enum compiled { COMPILED, NOT_COMPILED, FLUSHED };

static uint64_t now(const struct jit *j)
{
    return j->options.now_ns ? j->options.now_ns(j->options.now_context) : 0;
}

/* All code goes: what is hot comes back soon, and nothing has to be kept in
 * order for the sake of what is cold. */
static enum compiled evict(struct jit *j, uint64_t *count)
{
    struct jit_stats *s = &j->stats;
    uint64_t begun = now(j);
    blocks_flush(j->cpu);
    uint64_t took = now(j) - begun;
    s->eviction_ns += took;
    if (took > s->eviction_ns_most)
        s->eviction_ns_most = took;
    ++*count;
    return FLUSHED;
}

static enum compiled compile(struct jit *j, struct block_code *k)
{
    bool full = false;
    size_t before = j->used;
    uint64_t begun = now(j);
    int64_t low, high;
    k->hits = 0;
    code_range(j->cpu, k, &low, &high);
    if ((int64_t)(k->start & (PAGE_BYTES - 1)) + k->bytes > high)
        return NOT_COMPILED; /* above 64 KiB */
    if (j->blocks >= j->options.blocks_max)
        return evict(j, &j->stats.evictions_blocks);
    k->low = (uint16_t)low;
    k->high = (uint16_t)high;
    const struct block_code *joined = jit_join(j, k);
    const void *code = jit_lower(j, k, joined, &full);
    j->stats.tier1_ns += now(j) - begun;
    bool was_empty = j->used == j->first;
    if (full && !was_empty)
        return evict(j, &j->stats.evictions_bytes);
    if (!code) /* or it would fit into no cache of this size */
        return NOT_COMPILED;
    k->code = code;
    k->ticks = joined->count;
    j->blocks++;
    j->stats.blocks_compiled++;
    j->stats.blocks_joined += joined != k;
    if (j->options.on_code) {
        const struct jit_code made = {code, j->used - before,
                                      j->cpu->r[REG_RIP] +
                                          j->cpu->ea_base[SEG_CS], 1};
        j->options.on_code(j->options.on_code_context, &made);
    }
    return COMPILED;
}

/* The number of what CS and the address space are now; a new one after others
 * took its place. */
static uint64_t view_number(struct jit *j)
{
    const struct cpu *c = j->cpu;
    uint64_t space = c->mmu.space_key, base = c->ea_base[SEG_CS];
    uint32_t limit = c->seg[SEG_CS].limit;
    struct jit_view *v =
        &j->views[(base + space) * 0x9e3779b97f4a7c15 >> (64 - JIT_VIEW_BITS)];
    if (!v->number || v->space != space || v->base != base || v->limit != limit)
        *v = (struct jit_view){space, base, limit, ++j->view_count};
    return v->number;
}

static uint64_t jit_key(struct jit *j)
{
    const struct cpu *c = j->cpu;
    uint64_t of = c->mode == MODE_16 ? view_number(j) : c->mmu.space_key;
    return of << 2 | c->mode;
}

static void enter_jump(struct jit *j, const struct block_code *k)
{
    uint64_t rip = j->cpu->r[REG_RIP];
    j->jumps[(rip >> PAGE_SHIFT ^ rip) & (JIT_JUMPS - 1)] =
        (struct jit_jump){rip, j->cpu->jit_key, k->code, j->cpu->jit_page};
}

static bool run(void *context, struct block_code *k)
{
    struct jit *j = context;
    struct cpu *c = j->cpu;
    if (c->jit_refused || !can_run(c, k)) {
        c->jit_refused = 0;
        return false;
    }
    if (!k->code) {
        if (++k->hits < j->options.tier1_threshold)
            return false;
        enum compiled how = compile(j, k);
        if (how != COMPILED)
            return how == FLUSHED; /* k is stale: it is looked up again */
    }
    if (!has_range(c, k))
        return false;
    c->jit_key = jit_key(j);
    link_exit(j, k);
    if (j->t2 && t2_before(j->t2, k))
        return false;
    if (c->tick + k->ticks > c->limit)
        return false; /* tier 0 stops exactly at the limit */
    c->jit_page = page_rip(c, k);
    c->jit_limit = c->limit - c->tick < MOST_TICKS ? c->limit
                                                   : c->tick + MOST_TICKS;
    enter_jump(j, k);
    uint64_t before = c->tick - c->skew;
    j->enter(k->code);
    j->stats.entered_insns += c->tick - c->skew - before;
    j->stats.exit[c->jit_left]++;
    note_exit(j);
    return true;
}

enum exc jit_handle(struct jit *j, const struct insn *i)
{
    struct cpu *c = j->cpu;
    const struct phys_counts *counts = phys_counts(c->mmu.phys);
    uint64_t mmio = counts->mmio_reads + counts->mmio_writes;
    uint64_t before = c->tick - c->skew;
    enum exc e = i->fn(c, i);
    j->stats.handler_calls++;
    j->stats.exit_mmio_calls += counts->mmio_reads + counts->mmio_writes - mmio;
    if (e)
        cpu_insn_failed(c, i, e);
    else
        c->tick++;
    j->stats.handler_insns += c->tick - c->skew - before;
    return e;
}

/* The handler of an instruction of the block that runs. False: leave. */
static bool interpret(struct cpu *c, const struct insn *i, uint32_t left,
                      uint32_t offset)
{
    c->tick -= left;
    c->r[REG_RIP] = c->jit_page + offset;
    c->probe.rip = c->r[REG_RIP] - i->len;
    return jit_handle(c->engine.context, i) == EXC_NONE &&
           c->tick + left - 1 <= c->limit;
}

uint32_t jit_interpret(struct cpu *c, const struct insn *i, uint32_t where)
{
    uint32_t left = where >> 16;
    c->jit_left = JIT_EXIT_HANDLER;
    if (!interpret(c, i, left, where & 0xffff))
        return JIT_LEAVE;
    c->tick += left - 1;
    return JIT_GO_ON;
}

uint32_t jit_interpret_last(struct cpu *c, const struct insn *i,
                            uint32_t where)
{
    c->jit_left = JIT_EXIT_HANDLER;
    if (!interpret(c, i, where >> 16, where & 0xffff))
        return JIT_LEAVE;
    if (c->single || c->shadow || c->halted || c->shutdown || !has_segments(c))
        return JIT_LEAVE;
    uint64_t before = c->jit_key;
    c->jit_key = jit_key(c->engine.context);
    return c->jit_key == before ? JIT_GO_ON : JIT_REKEYED;
}

/* ---- life ----------------------------------------------------------------------- */

struct jit *jit_new(struct cpu *c, const struct jit_options *options,
                    struct error *err)
{
    struct jit *j = calloc(1, sizeof *j);
    if (!j) {
        error_set(err, ERR_NOMEM, "no memory for the JIT");
        return NULL;
    }
    j->cpu = c;
    c->jit_lookups = c->jit_accesses = c->jit_return_misses = 0;
    j->options = *options;
    probe_host(&j->host);
    probe_x87(j);
    if (!j->options.tier1_threshold)
        j->options.tier1_threshold = JIT_THRESHOLD_STANDARD;
    if (!options->calls_max)
        j->options.calls_max = JIT_CALLS_STANDARD;
    if (!j->options.blocks_max)
        j->options.blocks_max = JIT_BLOCKS_STANDARD;
    if (!options->part_max || options->part_max > PLAN_INSNS)
        j->options.part_max = PLAN_INSNS;
    j->bytes = options->cache_bytes ? options->cache_bytes
                                    : JIT_CACHE_STANDARD;
    j->bytes = (j->bytes + JIT_JUMPS * sizeof *j->jumps + PAGE_BYTES - 1) &
               ~(size_t)(PAGE_BYTES - 1);
    j->slots = calloc(JIT_SLOTS, sizeof *j->slots);
    j->slot_count = 1;
    if (!j->slots)
        error_set(err, ERR_NOMEM, "no memory for the JIT");
    bool ok = j->slots && map_cache(j, err);
    j->jumps = (struct jit_jump *)(void *)j->rw;
    j->jumps_exec = j->exec;
    if (ok && !jit_make_thunks(j))
        ok = error_set(err, ERR_USAGE,
                       "expected a code cache that holds more than its fixed "
                       "parts, found one of %zu bytes",
                       j->bytes);
    if (ok && options->tier2 != JIT_TIER2_OFF) {
        j->t2 = t2_new(j, err);
        ok = j->t2 != NULL;
    }
    if (!ok) {
        jit_free(j);
        return NULL;
    }
    blocks_flush(c);
    c->engine = (struct cpu_engine){
        .context = j, .run = run, .dropped = on_dropped, .flushed = on_flushed};
    return j;
}

void jit_free(struct jit *j)
{
    if (!j)
        return;
    if (j->cpu->engine.context == j) {
        j->cpu->engine = (struct cpu_engine){0};
        blocks_flush(j->cpu);
    }
    t2_free(j->t2);
    if (j->rw)
        munmap(j->rw, j->bytes);
    if (j->exec)
        munmap(j->exec, j->bytes);
    free(j->slots);
    free(j);
}

void jit_stats(const struct jit *j, struct jit_stats *out)
{
    *out = j->stats;
    out->blocks = j->blocks;
    if (j->t2)
        t2_stats(j->t2, out);
    out->capacity_bytes = j->bytes - JIT_JUMPS * sizeof *j->jumps;
    out->lookup_miss = j->stats.exit[JIT_EXIT_LOOKUP];
    if (j->options.count_lookups)
        out->lookup_hit = j->cpu->jit_lookups - out->lookup_miss;
    out->return_misses = j->cpu->jit_return_misses;
    out->memory_accesses = j->cpu->jit_accesses;
    out->code_bytes = j->used - JIT_JUMPS * sizeof *j->jumps + j->cold_used -
                      j->cold_first;
}
