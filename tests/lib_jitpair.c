/* The two sides, their slices and the comparison. */
#include "tests/lib_jitpair.h"

#include "base/bytes.h"
#include "cpu/blocks.h"
#include "cpu/model.h"
#include "jit/jit_internal.h"
#include "mem/phys.h"

#include <stdlib.h>
#include <string.h>

enum {
    TRACE = 48 /* instructions shown before a difference */
};

/* How a seed runs, beyond its scene. */
struct plan {
    struct jit_options jit;
    unsigned tlb, blocks[2]; /* stress limits; 0: none */
    unsigned other_host;     /* bits: pretend that host flags are no use for
                                logic, shifts, multiplies, bit tests; that it
                                moves bytes otherwise */
    unsigned slice_shape;
    unsigned budget; /* ticks */
};

struct pair {
    struct jp_scene scene;
    struct plan plan;
    struct jp_side side[2]; /* tier 0; JIT */
    struct oracle_random r;
    struct writer saved[2];
    uint64_t slice, before; /* the last slice, and where it began */
    uint8_t digest[2][16];
};

/* ---- devices: everything is a function of tick and accesses
 * ------------------- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 31;
}

static void written(struct jp_side *s, uint64_t key)
{
    s->io = mix(mix(s->io, key), s->cpu.tick);
    if (key % 5 == 0) {
        s->cpu.intr = true;
        cpu_attention(&s->cpu);
    }
}

static uint32_t io_read(void *context, uint16_t port, unsigned bytes)
{
    struct jp_side *s = context;
    return (uint32_t)mix(mix(port, bytes), s->cpu.tick);
}

static void io_write(void *context, uint16_t port, uint32_t value,
                     unsigned bytes)
{
    written(context, mix(port * 8u + bytes, value));
}

static uint64_t mmio_read(void *context, uint64_t offset, unsigned bytes)
{
    struct jp_side *s = context;
    return mix(mix(offset, bytes), s->cpu.tick);
}

static void mmio_write(void *context, uint64_t offset, uint64_t value,
                       unsigned bytes)
{
    written(context, mix(offset * 8 + bytes, value));
}

static uint8_t acknowledge(void *context)
{
    struct jp_side *s = context;
    s->cpu.intr = false;
    return (uint8_t)(0x20 + s->acks++ % 0xe0);
}

static uint8_t tpr_read(void *context)
{
    (void)context;
    return 0;
}

static void tpr_write(void *context, uint8_t value)
{
    written(context, value);
}

static void apic_base(void *context, uint64_t value)
{
    written(context, value);
}

static void ferr(void *context, bool level)
{
    written(context, level);
}

static void note_fault(void *context, const char *text)
{
    (void)context;
    (void)text;
}

/* ---- life
 * ------------------------------------------------------------------------ */

static const struct mmio_ops mmio = {.read = mmio_read, .write = mmio_write};

static bool side_init(struct jp_side *s, const struct jp_scene *scene,
                      struct error *err)
{
    const struct cpu_board board = {.context = s,
                                    .io_read = io_read,
                                    .io_write = io_write,
                                    .acknowledge = acknowledge,
                                    .tpr_read = tpr_read,
                                    .tpr_write = tpr_write,
                                    .apic_base_write = apic_base,
                                    .ferr = ferr,
                                    .a_fault = note_fault};
    memset(s, 0, sizeof *s);
    s->phys = phys_new(JP_RAM, err);
    if (!s->phys)
        return false;
    uint32_t frame = phys_add_memory(s->phys, "ram", JP_RAM, false);
    phys_map_memory(s->phys, 0, JP_RAM, frame, PHYS_READ | PHYS_WRITE);
    phys_map_mmio(s->phys, JP_MMIO, PAGE_BYTES, &mmio, s, 0,
                  PHYS_READ | PHYS_WRITE);
    phys_set_a20(s->phys, true);
    if (!cpu_init(&s->cpu, s->phys, cpu_model_find(CPU_MODEL_DEFAULT), &board,
                  err))
        return false;
    phys_write(s->phys, 0, scene->ram, JP_RAM);
    jp_registers(scene, &s->cpu);
    return true;
}

static void side_fini(struct jp_side *s)
{
    jit_free(s->jit);
    if (s->cpu.blocks)
        cpu_fini(&s->cpu);
    phys_free(s->phys);
}

/* Three seeds of four have tier 2, which one of four of them compiles on the
 * thread. */
static void plan_tier2(struct jit_options *o, struct oracle_random *r)
{
    static const uint32_t traces[] = {20, 100, 5000, 5000};
    if (oracle_below(r, 4) == 0)
        return;
    o->tier2 = oracle_below(r, 4) == 0 ? JIT_TIER2_THREAD : JIT_TIER2_AT_ONCE;
    o->tier2_threshold =
        oracle_below(r, 4) == 0 ? 64 : 1 + oracle_below(r, 4);
    o->trace_max = traces[oracle_below(r, 4)];
    o->trace_min = 1 + oracle_below(r, 16);
    o->inline_max = 1 + oracle_below(r, 60);
    o->unroll_max = 1 + oracle_below(r, 16);
}

static struct plan make_plan(struct oracle_random *r)
{
    static const uint32_t caches[] = {4 << 10, 20000,   256 << 10,
                                      1 << 20, 4 << 20, 16 << 20};
    static const uint8_t thresholds[] = {1, 1, 1, 2, 3, 10};
    static const uint16_t budgets[] = {3000, 10000, 10000, 30000};
    struct plan p = {.jit = {.cache_bytes = caches[oracle_below(r, 6)],
                             .tier1_threshold = thresholds[oracle_below(r, 6)]},
                     .slice_shape = (oracle_below(r, 16) + 3) / 5,
                     .budget = budgets[oracle_below(r, 4)]};
    if (oracle_below(r, 8) == 0)
        p.tlb = 1;
    if (oracle_below(r, 5) == 0)
        p.other_host = oracle_below(r, 32);
    for (unsigned n = 0; n < 2; n++)
        if (oracle_below(r, 6) == 0)
            p.blocks[n] = 1 + oracle_below(r, 4);
    if (oracle_below(r, 6) == 0)
        p.jit.blocks_max = 1 + oracle_below(r, 30);
    if (oracle_below(r, 2) == 0)
        p.jit.part_max = 1 + oracle_below(r, 12);
    if (oracle_below(r, 3) == 0)
        p.jit.calls_max = 4u << oracle_below(r, 3);
    plan_tier2(&p.jit, r);
    return p;
}

/* Both sides from the scene and the plan. */
static bool pair_start(struct pair *p, struct error *err)
{
    for (unsigned n = 0; n < 2; n++) {
        writer_init(&p->saved[n]);
        if (!side_init(&p->side[n], &p->scene, err))
            return false;
        if (p->plan.blocks[n])
            blocks_limit(&p->side[n].cpu, p->plan.blocks[n]);
    }
    if (p->plan.tlb)
        mmu_limit_entries(&p->side[1].cpu.mmu, p->plan.tlb);
    struct jit *j = jit_new(&p->side[1].cpu, &p->plan.jit, err);
    p->side[1].jit = j;
    if (!j)
        return false;
    j->host.logic &= !(p->plan.other_host & 1);
    j->host.shifts &= !(p->plan.other_host & 2);
    j->host.multiplies &= !(p->plan.other_host & 4);
    j->host.bit_tests &= !(p->plan.other_host & 8);
    j->host.short_moves ^= (p->plan.other_host & 16) != 0;
    return true;
}

static bool pair_init(struct pair *p, uint64_t seed,
                      const struct oracle_forms *forms, struct error *err)
{
    memset(p, 0, sizeof *p);
    jp_scene(&p->scene, seed);
    if (p->scene.is16)
        jp_code_16(&p->scene, forms);
    else if (seed & 1)
        jp_code_loops(&p->scene);
    else
        jp_code(&p->scene, forms);
    p->r.seed = p->scene.r.seed;
    p->plan = make_plan(&p->r);
    return pair_start(p, err);
}

static void pair_fini(struct pair *p)
{
    for (unsigned n = 0; n < 2; n++) {
        side_fini(&p->side[n]);
        writer_fini(&p->saved[n]);
    }
}

/* ---- slices
 * ------------------------------------------------------------------------ */

static void side_run(struct jp_side *s, uint64_t until)
{
    struct cpu *c = &s->cpu;
    while (c->tick < until && !c->halted && !c->shutdown)
        cpu_run(c, until);
}

static unsigned slice_length(struct pair *p)
{
    static const uint16_t most[4][4] = {{1, 2, 8, 40},
                                        {8, 100, 300, 1000},
                                        {100, 1000, 3000, 3000},
                                        {4, 20, 60, 2000}};
    unsigned n = most[p->plan.slice_shape][oracle_below(&p->r, 4)];
    return 1 + oracle_below(&p->r, n);
}

/* DMA into code, or into the entry of a code page. */
static void transfer(struct pair *p)
{
    const struct jp_scene *s = &p->scene;
    unsigned space = oracle_below(&p->r, 2), page = oracle_below(&p->r, 8);
    uint64_t at = JP_CODE + oracle_below(&p->r, JP_CODE_BYTES);
    uint8_t bytes[8] = {0x90};
    unsigned n = 1;
    if (s->code_entries[space] && oracle_below(&p->r, 2)) {
        n = s->mode == JP_PAGED32 || s->is16 ? 4 : 8;
        at = s->code_entries[space] + page * n;
        phys_dma_read(p->side[0].phys, at, bytes, n);
        bytes[1] = (uint8_t)((bytes[1] & 0x0f) | oracle_below(&p->r, 8) << 4);
    }
    for (unsigned k = 0; k < 2; k++)
        phys_dma_write(p->side[k].phys, at, bytes, n);
}

/* What the board does between slices, the same on both sides. */
static void disturb(struct pair *p)
{
    if (oracle_below(&p->r, 12) == 0)
        transfer(p);
    bool intr = oracle_below(&p->r, 6) == 0, nmi = oracle_below(&p->r, 50) == 0;
    for (unsigned n = 0; n < 2; n++) {
        struct cpu *c = &p->side[n].cpu;
        c->intr |= intr;
        c->nmi_pending |= nmi || (c->halted && !(c->flags & FLAG_IF));
        c->intr |= c->halted;
    }
}

/* What must not show: only on one side. */
static void disturb_caches(struct pair *p)
{
    struct cpu *c = &p->side[1].cpu;
    switch (oracle_below(&p->r, 60)) {
    case 0:
        blocks_flush(c);
        break;
    case 1:
        mmu_drop_all(&c->mmu);
        break;
    case 2: {
        struct writer w;
        struct reader r;
        writer_init(&w);
        cpu_save(c, &w);
        reader_init(&r, w.data, w.used);
        (void)cpu_load(c, &r, NULL);
        writer_fini(&w);
        break;
    }
    default:
        break;
    }
}

static bool same(struct pair *p, bool memory)
{
    const struct jp_side *s = p->side;
    for (unsigned n = 0; n < 2; n++) {
        writer_reset(&p->saved[n]);
        cpu_save(&s[n].cpu, &p->saved[n]);
        if (memory)
            phys_digest(s[n].phys, p->digest[n]);
    }
    return p->saved[0].used == p->saved[1].used &&
           !memcmp(p->saved[0].data, p->saved[1].data, p->saved[0].used) &&
           !memcmp(p->digest[0], p->digest[1], 16) && s[0].io == s[1].io &&
           s[0].acks == s[1].acks;
}

/* Run until a slice differs: true when none does. stop: instead end in that
 * slice, `ticks` in (then the state is not compared before). */
static bool run_slices(struct pair *p, uint64_t stop, unsigned ticks)
{
    for (uint64_t n = 0;; n++) {
        const struct cpu *c = &p->side[0].cpu;
        if (c->shutdown || c->tick >= p->plan.budget ||
            n > 2ull * p->plan.budget) /* asleep for ever */
            return true;
        disturb(p);
        disturb_caches(p);
        bool memory = p->plan.slice_shape != 0 || oracle_below(&p->r, 16) == 0;
        unsigned length = slice_length(p);
        if (n == stop)
            length = ticks;
        p->slice = n;
        p->before = c->tick;
        uint64_t until = c->tick + length;
        side_run(&p->side[0], until);
        side_run(&p->side[1], until);
        if (n == stop)
            return same(p, true);
        if (stop == UINT64_MAX ? !same(p, memory) : false)
            return false;
        if (stop != UINT64_MAX && memory) /* its effect on the TLB */
            (void)same(p, true);
    }
}

/* ---- reports
 * ----------------------------------------------------------------------- */

static void disassemble(struct cpu *c, FILE *out)
{
    uint8_t bytes[16];
    unsigned n = 0;
    uint64_t rip = c->r[REG_RIP], paddr;
    for (; n < 15; n++) {
        uint64_t at = (rip + c->ea_base[SEG_CS] + n) & c->linear_mask;
        if (!mmu_peek(&c->mmu, at, &paddr) || paddr >= JP_RAM)
            break;
        phys_read(c->mmu.phys, paddr, bytes + n, 1);
    }
    ZydisDisassembledInstruction d;
    ZydisMachineMode mode = c->mode == MODE_64   ? ZYDIS_MACHINE_MODE_LONG_64
                            : c->mode == MODE_32 ? ZYDIS_MACHINE_MODE_LEGACY_32
                                                 : ZYDIS_MACHINE_MODE_LEGACY_16;
    bool ok = n && ZYAN_SUCCESS(ZydisDisassembleIntel(mode, rip, bytes, n, &d));
    fprintf(out, "  %10llu cpl %u %04x:%016llx  %s\n",
            (unsigned long long)c->tick, c->cpl, c->seg[SEG_CS].selector,
            (unsigned long long)rip, ok ? d.text : "?");
}

static void print_difference(const struct pair *p, FILE *out)
{
    const struct writer *a = &p->saved[0], *b = &p->saved[1];
    unsigned shown = 0;
    char last[64] = "", name[64];
    for (size_t n = 0; n < a->used && n < b->used && shown < 12; n++) {
        if (a->data[n] == b->data[n] || !cpu_field_name(n, name, sizeof name))
            continue;
        if (strcmp(name, last)) {
            fprintf(out, "  %-16s byte %zu: tier 0 %02x, jit %02x\n", name, n,
                    a->data[n], b->data[n]);
            shown++;
        }
        memcpy(last, name, sizeof last);
    }
    const uint8_t *ma = phys_frame_host(p->side[0].phys, 0),
                  *mb = phys_frame_host(p->side[1].phys, 0);
    for (unsigned n = 0; n < JP_RAM && shown < 20; n++)
        if (ma[n] != mb[n]) {
            fprintf(out, "  memory %05x: tier 0 %02x, jit %02x\n", n, ma[n],
                    mb[n]);
            shown++;
        }
    fprintf(out, "  devices: tier 0 %llx/%u, jit %llx/%u\n",
            (unsigned long long)p->side[0].io, p->side[0].acks,
            (unsigned long long)p->side[1].io, p->side[1].acks);
}

static void print_pair(const struct pair *p, FILE *out)
{
    static const char *const names[] = {"long", "compatibility", "flat",
                                        "paged32", "pae", "real", "V86",
                                        "16-bit"};
    const struct jp_scene *s = &p->scene;
    fprintf(out,
            "seed %llu: %s mode, CPL %u, %u ticks, cache %llu KiB, "
            "threshold %u, TLB %u, blocks %u/%u, parts %u, host %x, slices "
            "%u\n",
            (unsigned long long)s->seed, names[s->mode], s->user ? 3 : 0,
            p->plan.budget, (unsigned long long)p->plan.jit.cache_bytes >> 10,
            p->plan.jit.tier1_threshold, p->plan.tlb, p->plan.blocks[0],
            p->plan.blocks[1], p->plan.jit.part_max, p->plan.other_host, p->plan.slice_shape);
}

/* Tier 0's instructions of the last `ticks` of the slice, one at a time. */
static void print_trace(uint64_t seed, const struct oracle_forms *forms,
                        uint64_t slice, unsigned ticks, FILE *out)
{
    struct pair *p = malloc(sizeof *p);
    if (!p || !pair_init(p, seed, forms, NULL)) {
        free(p);
        return;
    }
    unsigned skip = ticks > TRACE ? ticks - TRACE : 0;
    (void)run_slices(p, slice, skip);
    for (unsigned n = skip; n < ticks; n++) {
        struct cpu *c = &p->side[0].cpu;
        disassemble(c, out);
        side_run(&p->side[0], c->tick + 1);
    }
    pair_fini(p);
    free(p);
}

/* The first tick of the slice at which a run that ends there differs. */
static unsigned narrow(uint64_t seed, const struct oracle_forms *forms,
                       uint64_t slice, unsigned length, FILE *out)
{
    struct pair *p = malloc(sizeof *p);
    unsigned ticks = 1;
    for (; p && ticks <= length; ticks++) {
        bool ok =
            pair_init(p, seed, forms, NULL) && run_slices(p, slice, ticks);
        if (!ok) {
            fprintf(out, "first seen %u ticks into slice %llu:\n", ticks,
                    (unsigned long long)slice);
            print_difference(p, out);
        }
        pair_fini(p);
        if (!ok)
            break;
    }
    free(p);
    return ticks < length ? ticks : length;
}

static void report(struct pair *p, const struct oracle_forms *forms, FILE *out)
{
    uint64_t seed = p->scene.seed, slice = p->slice, before = p->before;
    unsigned length = (unsigned)(p->side[0].cpu.tick - before) + 1;
    print_pair(p, out);
    fprintf(out, "slice %llu from tick %llu:\n", (unsigned long long)slice,
            (unsigned long long)before);
    print_difference(p, out);
    unsigned ticks = narrow(seed, forms, slice, length, out);
    print_trace(seed, forms, slice, ticks, out);
    (void)fflush(out);
}

bool jp_run(uint64_t seed, const struct oracle_forms *forms, bool verbose,
            FILE *out, struct jp_totals *totals)
{
    struct error err = {0};
    struct pair *p = malloc(sizeof *p);
    if (!p)
        return false;
    if (!pair_init(p, seed, forms, &err)) {
        fprintf(out, "seed %llu: %s\n", (unsigned long long)seed, err.text);
        pair_fini(p);
        free(p);
        return false;
    }
    if (verbose) {
        print_pair(p, out);
        (void)fflush(out);
    }
    bool ok = run_slices(p, UINT64_MAX, 0);
    struct jit_stats stats;
    jit_stats(p->side[1].jit, &stats);
    totals->programs++;
    totals->slices += p->slice + 1;
    totals->ticks += p->side[0].cpu.tick;
    totals->shutdowns += p->side[0].cpu.shutdown;
    totals->compiled += stats.blocks_compiled;
    totals->joined += stats.blocks_joined;
    totals->links += stats.links;
    totals->compiled_insns += stats.entered_insns - stats.handler_insns;
    totals->flushes += stats.flushes;
    totals->evictions += stats.evictions_blocks;
    totals->refusals += stats.exit[JIT_EXIT_UNITS];
    totals->traces += stats.tier2_blocks_compiled;
    totals->trace_ticks += stats.tier2_ticks;
    totals->deopts += stats.deopts;
    if (!ok)
        report(p, forms, out);
    const struct cpu *c = &p->side[1].cpu;
    if (stats.entered_insns > c->tick - c->skew) {
        fprintf(out, "seed %llu: more instructions in compiled code than "
                     "in all\n", (unsigned long long)seed);
        ok = false;
    }
    pair_fini(p);
    free(p);
    return ok;
}

/* ---- code of the caller's
 * --------------------------------------------------------- */

static void put_code(struct jp_scene *s, const char *code, unsigned bytes)
{
    uint8_t *at = s->ram + JP_CODE;
    memcpy(at, code, bytes);
    at[bytes] = 0xe9;
    if (s->is16)
        store_le16(at + bytes + 1, (uint16_t)(0u - bytes - 3));
    else
        store_le32(at + bytes + 1, 0u - bytes - 5);
    for (unsigned n = 0; n < JP_ENTRY_COUNT; n++) {
        s->entries[n] = s->is16 ? jp_entry_16(s, 0) : s->code;
        store_le64(s->ram + JP_ENTRIES + 8 * n, s->entries[n]);
    }
}

/* least, if any: in tier 2, with traces of that length, where every change of page
 * misses the TLB. */
static bool run_code(enum jp_mode mode, bool user, unsigned shape,
                     unsigned least, const char *code, unsigned bytes, FILE *out,
                     struct jit_stats *stats)
{
    struct error err = {0};
    struct pair *p = calloc(1, sizeof *p);
    if (!p)
        return false;
    jp_scene_in(&p->scene, 1, mode, user);
    p->scene.high = 0;
    put_code(&p->scene, code, bytes);
    p->r.seed = 1 + shape;
    p->plan =
        (struct plan){.jit = {.cache_bytes = 1 << 20,
                              .tier1_threshold = shape == 1 ? 3 : 1},
                      .slice_shape = shape,
                      .budget = bytes < 100 ? 400 : bytes};
    if (least) {
        p->plan.jit.tier2 = JIT_TIER2_AT_ONCE;
        p->plan.jit.tier2_threshold = 2;
        p->plan.jit.trace_min = least;
        p->plan.tlb = 1;
        p->plan.budget = 2000;
    }
    bool ok = pair_start(p, &err);
    if (!ok)
        fprintf(out, "%s\n", err.text);
    if (ok && !run_slices(p, UINT64_MAX, 0)) {
        ok = false;
        print_pair(p, out);
        print_difference(p, out);
    }
    if (p->side[1].jit)
        jit_stats(p->side[1].jit, stats);
    pair_fini(p);
    free(p);
    return ok;
}

bool jp_run_traces(enum jp_mode mode, bool user, unsigned least,
                   const char *code, unsigned bytes, FILE *out,
                   struct jit_stats *stats)
{
    return run_code(mode, user, 2, least, code, bytes, out, stats);
}

bool jp_run_code(unsigned modes, const char *code, unsigned bytes, FILE *out)
{
    bool ok = true;
    struct jit_stats stats;
    for (unsigned mode = 0; mode < JP_MODES; mode++)
        for (unsigned n = 0; n < 12 && (modes >> mode & 1); n++) {
            bool user = n & 1;
            if (user ? mode == JP_FLAT || mode == JP_REAL
                     : mode == JP_V86 || mode == JP_PROT16)
                continue;
            ok &= run_code((enum jp_mode)mode, user, n / 4, n >> 1 & 1, code, bytes,
                           out, &stats);
        }
    return ok;
}
