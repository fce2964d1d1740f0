/* The tiers' side of the oracle: a CPU at CPL 3 behind page tables that map the
 * same window, and an IDT whose handlers halt: what a handler's frame holds is
 * the outcome. In tier 2 a jump follows the instruction, to the INT3 that would
 * else be there: the path of a trace cannot end with one. */
#include "tests/lib_oracle.h"

#include "base/bytes.h"
#include "cpu/cpu.h"
#include "cpu/model.h"
#include "cpu/x87.h"
#include "jit/jit_internal.h"

#include <stdlib.h>
#include <string.h>

/* Physical layout, in pages. The supervisor area is mapped at SYSTEM. */
#define SYSTEM 0xffffc00000000000ULL
enum {
    PML4_PAGE = 0,
    LOW_PDPT = 1,
    LOW_PD = 2,
    LOW_PT = 3,
    HIGH_PDPT = 4,
    HIGH_PD = 5,
    HIGH_PT = 6,
    IDT_PAGE = 7,
    GDT_PAGE = 8, /* GDT, then TSS at 1024 */
    HANDLER_PAGE = 9,
    STACK_PAGE = 10,
    LDT_PAGE = 11,
    SYSTEM_PAGES = 12,
    WINDOW_PAGE = 16, /* the test window */
    LANDING = 32,     /* page of the window with the INT3 behind traces */
    FROM_64 = 64,     /* in it: JMP to its start through memory */
    FROM_32 = 80,
    POINTER = 128,
    LANDING_PAGE = WINDOW_PAGE + ORACLE_PAGES,
    PHYSICAL_PAGES,
    JUMP_BYTES = 5,
    STOPS = 3, /* until the trap is there */
    RUNS_TO_TRACE = 4, /* tier 1, recording, and what comes between */
    FLUSHED_EVERY = 512, /* cases: counting goes through all traces */
    TSS_AT = 1024,
    HANDLER_SPACING = 16,
    TRAINING_TICKS = 1 << 14, /* a branch must come to the next block */
    RUN_TICKS = 1 << 20
};

#define LANDS_AT (ORACLE_WINDOW + LANDING * PAGE_BYTES)

struct oracle_guest {
    struct phys *phys;
    uint32_t frame;
    struct cpu cpu;
    struct jit *jit; /* or NULL */
    enum oracle_engine engine;
    uint32_t code_at, code_bytes;
    uint8_t code[sizeof((struct oracle_case *)0)->bytes];
    bool jumps; /* to the landing, behind the instruction */
    unsigned cases;
};

const char *const oracle_engines[ORACLE_ENGINES] = {
    [ORACLE_INTERP] = "interp",
    [ORACLE_TIER1] = "tier1",
    [ORACLE_TIER2] = "tier2",
    [ORACLE_AUTO] = "auto"};

static uint8_t *page(const struct oracle_guest *g, unsigned n)
{
    return phys_frame_host(g->phys, g->frame + n);
}

static uint32_t no_io_read(void *context, uint16_t port, unsigned bytes)
{
    (void)context;
    (void)port;
    (void)bytes;
    return UINT32_MAX;
}

static void no_io_write(void *context, uint16_t port, uint32_t value,
                        unsigned bytes)
{
    (void)context;
    (void)port;
    (void)value;
    (void)bytes;
}

static uint8_t no_vector(void *context)
{
    (void)context;
    return 0;
}

static void no_tpr(void *context, uint8_t value)
{
    (void)context;
    (void)value;
}

static void no_base(void *context, uint64_t value)
{
    (void)context;
    (void)value;
}

static void no_ferr(void *context, bool level)
{
    (void)context;
    (void)level;
}

static void no_text(void *context, const char *text)
{
    (void)context;
    (void)text;
}

static void map_page(struct oracle_guest *g, unsigned table, unsigned index,
                     unsigned to, uint64_t bits)
{
    store_le64(page(g, table) + 8 * index,
               (uint64_t)to * PAGE_BYTES | bits | 0x61); /* D, A, P */
}

/* are_open: all of the window may be read and written, so that a trace can be
 * made of an access that will fault. */
static void map_window(struct oracle_guest *g, bool are_open)
{
    const uint64_t nx = 1ULL << 63;
    for (unsigned p = 0; p < ORACLE_PAGES; p++) {
        unsigned rights = oracle_page_rights(p);
        uint64_t entry = 0;
        uint8_t bytes[8];
        if (are_open && !(rights & ORACLE_X))
            rights = ORACLE_R | ORACLE_W;
        if (rights)
            entry = (WINDOW_PAGE + p) * PAGE_BYTES | 0x65 |
                    (rights & ORACLE_W ? 2 : 0) | (rights & ORACLE_X ? 0 : nx);
        store_le64(bytes, entry);
        phys_write(g->phys, LOW_PT * PAGE_BYTES + 8 * p, bytes, 8);
    }
}

static void build_tables(struct oracle_guest *g)
{
    const uint64_t user = 6;
    map_page(g, PML4_PAGE, 0, LOW_PDPT, user);
    map_page(g, LOW_PDPT, 0, LOW_PD, user);
    map_page(g, LOW_PD, (unsigned)(ORACLE_WINDOW >> 21), LOW_PT, user);
    map_window(g, false);
    map_page(g, LOW_PT, LANDING, LANDING_PAGE, 4);
    map_page(g, PML4_PAGE, 384, HIGH_PDPT, 2);
    map_page(g, HIGH_PDPT, 0, HIGH_PD, 2);
    map_page(g, HIGH_PD, 0, HIGH_PT, 2);
    for (unsigned p = 0; p < SYSTEM_PAGES; p++)
        map_page(g, HIGH_PT, p, p, 2);
}

/* Linux's GDT (arch/x86/kernel/cpu/common.c as the SDM's LAR shows it), TLS and
 * LDT empty. Entry 15 is the per-CPU segment, whose limit LSL would show. */
static void build_gdt(struct oracle_guest *g)
{
    static const uint64_t low[] = {0,
                                   0x00cf9b000000ffff,
                                   0x00af9b000000ffff,
                                   0x00cf93000000ffff,
                                   0x00cffb000000ffff,
                                   0x00cff3000000ffff,
                                   0x00affb000000ffff,
                                   0};
    uint8_t *gdt = page(g, GDT_PAGE), *idt = page(g, IDT_PAGE);
    uint64_t tss = SYSTEM + GDT_PAGE * PAGE_BYTES + TSS_AT;
    for (unsigned k = 0; k < sizeof low / sizeof low[0]; k++)
        store_le64(gdt + 8 * k, low[k]);
    store_le64(gdt + 64, 0x00008b0000000067 | (tss & 0xffffff) << 16 |
                             (tss >> 24 & 0xff) << 56);
    store_le64(gdt + 72, tss >> 32);
    store_le64(gdt + 120, 0x0040f50000000000);
    store_le64(gdt + TSS_AT + 4, SYSTEM + (STACK_PAGE + 1) * PAGE_BYTES);
    store_le16(gdt + TSS_AT + 102, 0x68); /* no I/O permission bitmap */
    for (unsigned v = 0; v < 256; v++) {
        uint64_t at = SYSTEM + HANDLER_PAGE * PAGE_BYTES + HANDLER_SPACING * v;
        bool user = v == 3 || v == 4;
        store_le64(idt + 16 * v, (at & 0xffff) | 0x10ULL << 16 |
                                     (user ? 0xee00ULL : 0x8e00ULL) << 32 |
                                     (at >> 16 & 0xffff) << 48);
        store_le64(idt + 16 * v + 8, at >> 32);
    }
    memset(page(g, HANDLER_PAGE), 0xf4, PAGE_BYTES); /* HLT */
}

/* Hidden parts by selector, as the tables say. */
static struct segment segment_of(uint16_t selector)
{
    struct segment flat = {0, UINT32_MAX, selector, 0xc0f3};
    if (!(selector & 4)) {
        if (selector == ORACLE_CS64)
            flat.attr = 0xa0fb;
        else if (selector == ORACLE_CS32)
            flat.attr = 0xc0fb;
        return flat;
    }
    const struct oracle_segment *s = &oracle_segments[selector >> 3];
    flat.base = s->base;
    flat.limit = s->limit;
    flat.attr = s->is_code ? 0xfb : s->expands_down ? 0xf7 : 0xf3;
    if (s->is_read_only)
        flat.attr &= (uint16_t)~SEG_ATTR_WRITABLE;
    return flat;
}

static void build_ldt(struct oracle_guest *g)
{
    for (unsigned k = 0; k < ORACLE_LDT_ENTRIES; k++) {
        struct segment s = segment_of(oracle_ldt_selector(k));
        store_le64(page(g, LDT_PAGE) + 8 * k,
                   (s.limit & 0xffff) | (s.base & 0xffffff) << 16 |
                       (uint64_t)s.attr << 40 | (s.base >> 24) << 56);
    }
}

static void build_landing(uint8_t *at)
{
    memset(at, 0xcc, PAGE_BYTES);
    memcpy(at + FROM_64, "\xff\x25", 2); /* jmp [rip + ...] */
    store_le32(at + FROM_64 + 2, POINTER - FROM_64 - 6);
    memcpy(at + FROM_32, "\xff\x25", 2); /* jmp [POINTER] */
    store_le32(at + FROM_32 + 2, (uint32_t)LANDS_AT + POINTER);
    store_le64(at + POINTER, LANDS_AT);
}

static bool start_jit(struct oracle_guest *g)
{
    struct error err;
    struct jit_options options = {.cache_bytes = 4 << 20,
                                  .tier1_threshold = 1};
    if (g->engine == ORACLE_INTERP)
        return true;
    if (g->engine >= ORACLE_TIER2) {
        options.tier2 = JIT_TIER2_AT_ONCE;
        options.tier2_threshold = options.trace_min = 1;
    }
    if (g->engine == ORACLE_AUTO)
        options.tier1_threshold = 2;
    g->jit = jit_new(&g->cpu, &options, &err);
    return g->jit != NULL;
}

struct oracle_guest *oracle_guest_new(enum oracle_engine engine)
{
    static const struct cpu_board board = {.io_read = no_io_read,
                                           .io_write = no_io_write,
                                           .acknowledge = no_vector,
                                           .tpr_read = no_vector,
                                           .tpr_write = no_tpr,
                                           .apic_base_write = no_base,
                                           .ferr = no_ferr,
                                           .a_fault = no_text};
    struct error err = {0};
    struct oracle_guest *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->phys = phys_new(PHYSICAL_PAGES * PAGE_BYTES, &err);
    if (!g->phys) {
        free(g);
        return NULL;
    }
    g->frame =
        phys_add_memory(g->phys, "ram", PHYSICAL_PAGES * PAGE_BYTES, false);
    phys_map_memory(g->phys, 0, PHYSICAL_PAGES * PAGE_BYTES, g->frame,
                    PHYS_READ | PHYS_WRITE);
    phys_set_a20(g->phys, true);
    build_tables(g);
    build_gdt(g);
    build_ldt(g);
    memset(page(g, WINDOW_PAGE + ORACLE_CODE_FIRST), 0xcc, ORACLE_CODE_BYTES);
    build_landing(page(g, LANDING_PAGE));
    if (!cpu_init(&g->cpu, g->phys, cpu_model_find(CPU_MODEL_DEFAULT), &board,
                  &err)) {
        phys_free(g->phys);
        free(g);
        return NULL;
    }
    g->engine = engine;
    if (!start_jit(g)) {
        oracle_guest_free(g);
        return NULL;
    }
    return g;
}

uint64_t oracle_guest_blocks(const struct oracle_guest *g)
{
    struct jit_stats stats = {0};
    if (g->jit)
        jit_stats(g->jit, &stats);
    return stats.blocks_compiled;
}

uint64_t oracle_guest_trace_runs(const struct oracle_guest *g)
{
    struct jit_stats s = {0};
    if (g->jit)
        jit_stats(g->jit, &s);
    return s.tier2_ticks + s.deopts + s.guard_fail_branch +
           s.guard_fail_target + s.guard_fail_head + s.guard_fail_span;
}

void oracle_guest_free(struct oracle_guest *g)
{
    jit_free(g->jit);
    cpu_fini(&g->cpu);
    phys_free(g->phys);
    free(g);
}

/* ---- loading
 * --------------------------------------------------------------------- */

static void load_system(struct cpu *c)
{
    c->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
    c->cr2 = 0;
    c->cr3 = PML4_PAGE * PAGE_BYTES;
    c->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    c->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    c->gdtr = (struct table_register){SYSTEM + GDT_PAGE * PAGE_BYTES, 127};
    c->idtr = (struct table_register){SYSTEM + IDT_PAGE * PAGE_BYTES, 4095};
    c->tr = (struct segment){SYSTEM + GDT_PAGE * PAGE_BYTES + TSS_AT, 0x67,
                             0x40, SEG_ATTR_P | 11};
    c->ldtr =
        (struct segment){SYSTEM + LDT_PAGE * PAGE_BYTES,
                         8 * ORACLE_LDT_ENTRIES - 1, 0x50, SEG_ATTR_P | 2};
    c->cpl = 3;
    c->halted = c->shutdown = c->ferr = false;
    c->shadow = 0;
    c->debug_pending = 0;
    c->fault_tick = UINT64_MAX;
    c->dr[6] = 0xffff0ff0;
    c->dr[7] = 0x400;
}

static void load_segments(struct cpu *c, unsigned mode)
{
    uint16_t selectors[6];
    oracle_selectors(mode, selectors);
    for (unsigned k = 0; k < SEG_COUNT; k++)
        c->seg[k] = segment_of(selectors[k]);
    if (mode != ORACLE_64)
        return;
    c->seg[SEG_FS] = (struct segment){ORACLE_FS_BASE, 0, 0, 0};
    c->seg[SEG_GS] = (struct segment){ORACLE_GS_BASE, 0, 0, 0};
}

static void load_fx(struct cpu *c, const uint8_t *fx)
{
    struct x87 *x = &c->x87;
    x->control = load_le16(fx);
    x->status = load_le16(fx + 2) & 0xc7ff;
    x->top = load_le16(fx + 2) >> 11 & 7;
    x->valid = fx[4];
    x->opcode = load_le16(fx + 6) & 0x7ff;
    x->ip = load_le64(fx + 8);
    x->dp = load_le64(fx + 16);
    x->cs = x->ds = 0;
    c->mxcsr = load_le32(fx + 24);
    for (unsigned k = 0; k < 8; k++) {
        x->mantissa[(x->top + k) & 7] = load_le64(fx + 32 + 16 * k);
        x->exponent[(x->top + k) & 7] = load_le16(fx + 40 + 16 * k);
    }
    memcpy(c->xmm, fx + 160, sizeof c->xmm);
}

static void load_data(struct oracle_guest *g, const struct oracle_shared *s,
                      const struct oracle_case *k)
{
    uint8_t *data = page(g, WINDOW_PAGE + ORACLE_DATA_FIRST);
    memcpy(data, s->base, ORACLE_DATA_BYTES);
    if (k->patch_bytes)
        memcpy(data + (k->patch_at - ORACLE_DATA), k->patch, k->patch_bytes);
}

/* An indirect jump, with which a path ends however long it is. */
static unsigned block_landing(const struct oracle_case *k)
{
    return k->mode == ORACLE_64 ? FROM_64 : FROM_32;
}

/* The instruction, and the jump behind it where that is needed and fits. */
static void load_code(struct oracle_guest *g, const struct oracle_case *k)
{
    uint64_t code = (WINDOW_PAGE + ORACLE_CODE_FIRST) * PAGE_BYTES;
    uint64_t linear = k->in.rip + oracle_code_base(k->mode);
    uint32_t at = (uint32_t)(linear - ORACLE_CODE);
    uint8_t bytes[sizeof k->bytes];
    memcpy(bytes, k->bytes, sizeof bytes);
    g->jumps = g->engine >= ORACLE_TIER2 && !k->stepped &&
               !k->loads_flags && k->mode != ORACLE_16 &&
               (k->form >= 0 || k->is_block) &&
               at + k->length + JUMP_BYTES <= ORACLE_CODE_BYTES;
    if (g->jumps) {
        bytes[k->length] = 0xe9;
        store_le32(bytes + k->length + 1,
                   (uint32_t)(LANDS_AT + (k->is_block ? block_landing(k) : 0) -
                              linear - k->length - JUMP_BYTES));
    }
    if (at == g->code_at && !memcmp(bytes, g->code, sizeof bytes))
        return; /* what was compiled of it stays */
    if (++g->cases % FLUSHED_EVERY == 0)
        blocks_flush(&g->cpu);
    uint8_t filler[sizeof bytes];
    memset(filler, 0xcc, sizeof filler);
    phys_write(g->phys, code + g->code_at, filler, g->code_bytes);
    g->code_at = at;
    g->code_bytes = sizeof bytes;
    if (g->code_bytes > ORACLE_CODE_BYTES - at)
        g->code_bytes = ORACLE_CODE_BYTES - at;
    memcpy(g->code, bytes, sizeof bytes);
    phys_write(g->phys, code + at, bytes, g->code_bytes);
}

static void load_state(struct oracle_guest *g, const struct oracle_case *k)
{
    struct cpu *c = &g->cpu;
    load_system(c);
    load_segments(c, k->mode);
    load_fx(c, k->in.fx);
    memcpy(c->r, k->in.r, sizeof k->in.r);
    c->r[REG_RIP] = k->in.rip;
    cpu_update_mode(c);
    cpu_update_paging(c);
}

/* ---- storing
 * --------------------------------------------------------------------- */

static void store_fx(const struct cpu *c, uint8_t *fx)
{
    const struct x87 *x = &c->x87;
    memset(fx, 0, 512);
    store_le16(fx, x->control);
    store_le16(fx + 2, x87_status(c));
    fx[4] = x->valid;
    store_le16(fx + 6, x->opcode);
    store_le64(fx + 8, x->ip);
    store_le64(fx + 16, x->dp);
    store_le32(fx + 24, c->mxcsr);
    for (unsigned k = 0; k < 8; k++) {
        store_le64(fx + 32 + 16 * k, x->mantissa[(x->top + k) & 7]);
        store_le16(fx + 40 + 16 * k, x->exponent[(x->top + k) & 7]);
    }
    memcpy(fx + 160, c->xmm, sizeof c->xmm);
}

static bool has_error_code(unsigned vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

/* From the frame that the handler found (SDM vol. 3A 6.14.2). */
static void store_result(const struct oracle_guest *g,
                         struct oracle_result *out)
{
    const struct cpu *c = &g->cpu;
    uint64_t handlers = SYSTEM + HANDLER_PAGE * PAGE_BYTES;
    const uint8_t *top = page(g, STACK_PAGE) + PAGE_BYTES;
    memcpy(out->out.r, c->r, sizeof out->out.r);
    out->out.rip = c->r[REG_RIP];
    out->out.rflags = cpu_rflags(c);
    out->error = 0;
    out->cr2 = c->cr2;
    for (unsigned k = 0; k < SEG_COUNT; k++)
        out->out.selector[k] = c->seg[k].selector;
    store_fx(c, out->out.fx);
    out->trap = 999;
    if (c->r[REG_RIP] < handlers || c->r[REG_RIP] >= handlers + PAGE_BYTES)
        return;
    out->trap = (uint32_t)((c->r[REG_RIP] - handlers) / HANDLER_SPACING);
    out->out.rip = load_le64(top - 40);
    out->out.selector[SEG_CS] = load_le16(top - 32);
    out->out.rflags = load_le64(top - 24);
    out->out.r[REG_RSP] = load_le64(top - 16);
    out->out.selector[SEG_SS] = load_le16(top - 8);
    if (has_error_code(out->trap))
        out->error = load_le32(top - 48);
}

/* Branches are stepped on the host; compiled ones by a limit of one tick. */
static bool is_limited(const struct oracle_guest *g,
                       const struct oracle_case *k)
{
    return k->is_near_branch && g->jit && k->form >= 0;
}

static void run(struct oracle_guest *g, const struct oracle_case *k,
                uint32_t rflags, unsigned ticks)
{
    struct cpu *c = &g->cpu;
    load_state(g, k);
    if (g->jit) /* the path ends with the jump */
        g->jit->options.trace_max = k->is_block ? 5000 : g->jumps ? 2 : 1;
    if (k->stepped && !is_limited(g, k))
        rflags |= FLAG_TF;
    cpu_set_rflags(c, rflags);
    cpu_update_single(c);
    cpu_run(c, c->tick + ticks);
    /* stopped for attention, the trap is still pending */
    for (unsigned n = 0; n < STOPS && c->cpl == 3 && !is_limited(g, k); n++)
        cpu_run(c, c->tick + 1);
}

void oracle_guest_train(struct oracle_guest *g, const struct oracle_shared *s,
                        const struct oracle_case *k)
{
    const uint64_t page_fault =
        SYSTEM + HANDLER_PAGE * PAGE_BYTES + 14 * HANDLER_SPACING;
    bool is_open = false;
    load_code(g, k);
    if (!g->jumps && !is_limited(g, k))
        return;
    for (unsigned n = 0; n < RUNS_TO_TRACE; n++) {
        load_data(g, s, k);
        run(g, k, (uint32_t)k->in.rflags & ~FLAG_AC, TRAINING_TICKS);
        if (is_open || g->cpu.r[REG_RIP] / HANDLER_SPACING !=
                           page_fault / HANDLER_SPACING)
            continue;
        is_open = true;
        map_window(g, true);
    }
    if (is_open)
        map_window(g, false);
}

void oracle_guest_run(struct oracle_guest *g, const struct oracle_shared *s,
                      const struct oracle_case *k, struct oracle_result *out)
{
    struct cpu *c = &g->cpu;
    uint8_t *data = page(g, WINDOW_PAGE + ORACLE_DATA_FIRST);
    load_data(g, s, k);
    load_code(g, k);
    run(g, k, (uint32_t)k->in.rflags, k->stepped ? 1 : RUN_TICKS);
    store_result(g, out);
    if (g->jumps && out->out.rip == LANDS_AT + 1)
        out->out.rip = k->in.rip + k->length + 1;
    if (k->stepped && is_limited(g, k)) {
        out->out.rflags |= FLAG_TF;
        out->trap = c->cpl == 3 ? 1 : out->trap;
    }
    memcpy(out->memory, data, ORACLE_DATA_BYTES);
    load_data(g, s, k);
    out->wrote = memcmp(out->memory, data, ORACLE_DATA_BYTES) != 0;
}
