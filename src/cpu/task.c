/* Hardware task switching (SDM vol. 3A ch. 7). */
#include "cpu/system_internal.h"

/* Where a 16- or 32-bit TSS keeps things (SDM vol. 3A figures 7-2, 7-10). */
struct tss_layout {
    uint8_t bytes; /* of a general register slot */
    uint8_t ip;    /* IP, FLAGS, then the eight registers follow */
    uint8_t segs;  /* ES CS SS DS (FS GS), one slot each */
    uint8_t seg_count;
    uint8_t seg_step;
    uint8_t ldt;
    uint8_t limit; /* smallest legal */
};
static const struct tss_layout layout_16 = {2, 14, 34, 4, 2, 42, 0x2b};
static const struct tss_layout layout_32 = {4, 32, 72, 6, 4, 96, 0x67};

enum { TSS_CR3 = 28, TSS_TRAP = 100, TSS_BYTES = 104, DR6_BT = 0x8000 };

static const struct tss_layout *layout_of(unsigned type)
{
    return type & TYPE_32_BIT ? &layout_32 : &layout_16;
}

static enum exc tss_read(struct cpu *c, uint64_t base, uint32_t offset,
                         void *out, unsigned bytes)
{
    return cpu_system_read(c, (uint32_t)(base + offset), out, bytes);
}

static enum exc tss_write(struct cpu *c, uint64_t base, uint32_t offset,
                          const void *in, unsigned bytes)
{
    return cpu_system_write(c, (uint32_t)(base + offset), in, bytes);
}

static enum exc bad_tss(struct cpu *c, uint16_t selector)
{
    return cpu_fault(c, EXC_TS, selector & 0xfffc);
}

static enum exc fetch_tss(struct cpu *c, uint16_t selector, enum exc bad,
                          bool busy, struct descriptor *d)
{
    if (selector_is_null(selector) || (selector & 4))
        return cpu_fault(c, bad, selector & 0xfffc);
    enum exc e = descriptor_fetch(c, selector, bad, d);
    if (e)
        return e;
    unsigned want = TYPE_TSS16 | (busy ? TYPE_BUSY_BIT : 0);
    if (!descriptor_is_system(d) || (descriptor_type(d) & 7) != want)
        return cpu_fault(c, bad, selector & 0xfffc);
    if (!descriptor_present(d))
        return cpu_fault(c, EXC_NP, selector & 0xfffc);
    return EXC_NONE;
}

enum exc task_enter(struct cpu *c, uint16_t selector, enum task_cause cause,
                    bool has_error, uint32_t error)
{
    struct descriptor d;
    enum exc e = fetch_tss(c, selector, EXC_GP, false, &d);
    return e ? e : task_switch(c, &d, cause, has_error, error);
}

enum exc task_return(struct cpu *c)
{
    struct descriptor d;
    uint8_t link[2];
    enum exc e = tss_read(c, c->tr.base, 0, link, 2);
    if (!e)
        e = fetch_tss(c, load_le16(link), EXC_TS, true, &d);
    return e ? e : task_switch(c, &d, TASK_IRET, false, 0);
}

/* The state of the task to leave, into its TSS. */
static enum exc save_old(struct cpu *c, uint32_t eflags)
{
    uint8_t image[TSS_BYTES];
    const struct tss_layout *l = layout_of(c->tr.attr & 15);
    unsigned n = 0;
    memset(image, 0, sizeof image);
    store_le32(image + (n++) * l->bytes, (uint32_t)c->r[REG_RIP]);
    store_le32(image + (n++) * l->bytes, eflags);
    for (unsigned k = 0; k < 8; k++)
        store_le32(image + (n++) * l->bytes, (uint32_t)c->r[k]);
    enum exc e = tss_write(c, c->tr.base, l->ip, image, n * l->bytes);
    for (unsigned k = 0; !e && k < l->seg_count; k++)
        e = tss_write(c, c->tr.base, l->segs + k * l->seg_step,
                      &c->seg[k].selector, 2);
    return e;
}

/* What the new TSS says, read before anything changes. */
struct task_image {
    const struct tss_layout *layout;
    uint32_t ip, flags, cr3;
    uint32_t r[8];
    uint16_t seg[SEG_COUNT];
    uint16_t ldt;
    bool trap;
};

static uint32_t slot(const uint8_t *image, uint32_t at, unsigned bytes)
{
    return bytes == 4 ? load_le32(image + at) : load_le16(image + at);
}

static enum exc read_new(struct cpu *c, uint64_t base, unsigned type,
                         struct task_image *t)
{
    uint8_t image[TSS_BYTES];
    const struct tss_layout *l = layout_of(type);
    enum exc e = tss_read(c, base, 0, image, l->limit + 1u);
    if (e)
        return e;
    memset(t, 0, sizeof *t);
    t->layout = l;
    t->ip = slot(image, l->ip, l->bytes);
    t->flags = slot(image, l->ip + l->bytes, l->bytes);
    for (unsigned k = 0; k < 8; k++)
        t->r[k] = slot(image, l->ip + (2 + k) * l->bytes, l->bytes);
    for (unsigned k = 0; k < l->seg_count; k++)
        t->seg[k] = load_le16(image + l->segs + k * l->seg_step);
    t->ldt = load_le16(image + l->ldt);
    if (l->bytes == 4) {
        t->cr3 = load_le32(image + TSS_CR3);
        t->trap = image[TSS_TRAP] & 1;
    } else {
        /* A 16-bit TSS leaves the upper halves all ones, its FLAGS have
         * none, and FS and GS become null. */
        for (unsigned k = 0; k < 8; k++)
            t->r[k] |= 0xffff0000;
    }
    return EXC_NONE;
}

/* Can the old TSS and the descriptors be written? Faults after this point
 * would leave half a switch behind. */
static enum exc probe_old(struct cpu *c)
{
    const struct tss_layout *l = layout_of(c->tr.attr & 15);
    unsigned end = l->segs + l->seg_count * l->seg_step;
    if (!(c->tr.attr & SEG_ATTR_P) || c->tr.limit < l->limit)
        return bad_tss(c, c->tr.selector);
    return mmu_probe_write(&c->mmu, (uint32_t)(c->tr.base + l->ip), end - l->ip,
                           ACCESS_WRITE | ACCESS_SYSTEM);
}

static enum exc probe_type(struct cpu *c, const struct descriptor *d)
{
    enum exc e = mmu_probe_write(&c->mmu, table_address(c, d->vaddr + 5), 1,
                                 ACCESS_WRITE | ACCESS_SYSTEM);
    return e == EXC_GP ? cpu_gp0(c) : e;
}

/* Busy bits, after a proof that both descriptors can be written: the new task
 * becomes busy unless it is returned to, the old one is busy no more when it is
 * left for good. */
static enum exc mark_busy(struct cpu *c, struct descriptor *d,
                          enum task_cause cause)
{
    struct descriptor old;
    bool leaves = cause == TASK_JMP || cause == TASK_IRET;
    enum exc e = EXC_NONE;
    if (leaves) {
        e = descriptor_fetch(c, c->tr.selector, EXC_TS, &old);
        if (!e)
            e = probe_type(c, &old);
    }
    if (!e && cause != TASK_IRET)
        e = probe_type(c, d);
    if (!e && leaves)
        e = descriptor_set_busy(c, &old, false);
    if (!e && cause != TASK_IRET)
        e = descriptor_set_busy(c, d, true);
    return e;
}

/* Segments of the new task. They are checked in its own context: any fault from
 * here is the new task's first event. */
static enum exc load_ldt(struct cpu *c, uint16_t selector)
{
    struct descriptor d;
    c->ldtr = segment_null(selector);
    if (selector_is_null(selector))
        return EXC_NONE;
    if (selector & 4)
        return bad_tss(c, selector);
    enum exc e = descriptor_fetch(c, selector, EXC_TS, &d);
    if (e)
        return e;
    if (!descriptor_is_system(&d) || descriptor_type(&d) != TYPE_LDT ||
        !descriptor_present(&d))
        return bad_tss(c, selector);
    c->ldtr = descriptor_segment(&d, selector);
    return EXC_NONE;
}

static enum exc load_code(struct cpu *c, uint16_t selector)
{
    struct descriptor d;
    unsigned rpl = selector & 3;
    if (selector_is_null(selector))
        return bad_tss(c, selector);
    enum exc e = descriptor_fetch(c, selector, EXC_TS, &d);
    if (e)
        return e;
    unsigned dpl = descriptor_dpl(&d);
    if (!descriptor_is_code(&d) ||
        (descriptor_is_conforming(&d) ? dpl > rpl : dpl != rpl))
        return bad_tss(c, selector);
    if (!descriptor_present(&d))
        return cpu_fault(c, EXC_NP, selector & 0xfffc);
    e = descriptor_set_accessed(c, &d);
    if (!e)
        c->seg[SEG_CS] = descriptor_segment(&d, selector);
    return e;
}

static enum exc load_stack(struct cpu *c, uint16_t selector)
{
    struct segment s;
    if (selector_is_null(selector))
        return bad_tss(c, selector);
    enum exc e = segment_prepare_stack(c, selector, c->cpl, EXC_TS, &s);
    if (!e)
        c->seg[SEG_SS] = s;
    return e;
}

static enum exc load_data(struct cpu *c, enum seg seg, uint16_t selector)
{
    struct segment s;
    enum exc e = segment_prepare(c, seg, selector, &s);
    if (e == EXC_GP)
        return cpu_fault(c, EXC_TS, c->exc_error);
    if (!e)
        c->seg[seg] = s;
    return e;
}

static enum exc load_segments(struct cpu *c, const struct task_image *t)
{
    static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    enum exc e = load_ldt(c, t->ldt);
    if (e)
        return e;
    if (cpu_is_v86(c)) {
        for (unsigned k = 0; k < SEG_COUNT; k++)
            c->seg[k] = segment_real(c, k, t->seg[k]);
        return EXC_NONE;
    }
    e = load_code(c, t->seg[SEG_CS]);
    if (!e)
        e = load_stack(c, t->seg[SEG_SS]);
    for (unsigned k = 0; !e && k < sizeof data; k++)
        e = load_data(c, data[k], t->seg[data[k]]);
    return e;
}

/* Registers of the new task; selectors without descriptors yet. */
static void load_registers(struct cpu *c, const struct task_image *t)
{
    bool is_v86 = t->layout->bytes == 4 && (t->flags & FLAG_VM);
    for (unsigned k = 0; k < 8; k++)
        c->r[k] = t->r[k];
    c->r[REG_RIP] = t->ip;
    for (unsigned k = 0; k < SEG_COUNT; k++)
        c->seg[k] = segment_null(t->seg[k]);
    c->cpl = is_v86 ? 3 : t->seg[SEG_CS] & 3;
    c->cr0 |= CR0_TS;
    c->dr[7] &= ~0x155ULL; /* L0..L3 and LE (SDM vol. 3B 17.2.4) */
    cpu_set_rflags(c, t->flags & FLAGS_DEFINED);
}

static enum exc push_error(struct cpu *c, const struct task_image *t,
                           uint32_t error)
{
    struct stack s = stack_current(c);
    uint64_t value = error;
    enum exc e = stack_push(c, &s, &value, 1, t->layout->bytes);
    if (!e)
        c->r[REG_RSP] = s.sp;
    return e;
}

/* The part that cannot be undone. */
static enum exc enter_new(struct cpu *c, const struct task_image *t,
                          bool has_error, uint32_t error)
{
    enum exc e = EXC_NONE;
    if (t->layout->bytes == 4 && (c->cr0 & CR0_PG))
        e = cpu_set_cr3(c, t->cr3);
    load_registers(c, t);
    if (!e)
        e = load_segments(c, t);
    cpu_update_mode(c);
    cpu_update_paging(c);
    cpu_update_single(c);
    if (!e && has_error)
        e = push_error(c, t, error);
    if (!e && t->ip > c->seg[SEG_CS].limit)
        e = cpu_gp0(c);
    if (!e && t->trap)
        c->debug_pending |= DR6_BT;
    cpu_attention(c);
    return e;
}

enum exc task_switch(struct cpu *c, struct descriptor *d, enum task_cause cause,
                     bool has_error, uint32_t error)
{
    struct task_image t;
    struct segment tr = descriptor_segment(d, d->selector);
    unsigned type = descriptor_type(d);
    bool is_nested = cause != TASK_JMP && cause != TASK_IRET;
    if (tr.limit < layout_of(type)->limit)
        return bad_tss(c, d->selector);
    enum exc e = probe_old(c);
    if (!e)
        e = read_new(c, tr.base, type, &t);
    if (!e && is_nested)
        e = mmu_probe_write(&c->mmu, (uint32_t)tr.base, 2,
                            ACCESS_WRITE | ACCESS_SYSTEM);
    if (!e)
        e = mark_busy(c, d, cause);
    if (e)
        return e;

    uint32_t eflags = cpu_rflags(c);
    if (cause == TASK_IRET)
        eflags &= ~(uint32_t)FLAG_NT;
    if (cause == TASK_FAULT)
        eflags |= FLAG_RF;
    e = save_old(c, eflags);
    if (e)
        return e;
    if (is_nested) {
        e = tss_write(c, tr.base, 0, &c->tr.selector, 2);
        if (e)
            return e;
        t.flags |= FLAG_NT;
    }
    c->tr = tr;
    c->tr.attr |= TYPE_BUSY_BIT;
    return enter_new(c, &t, has_error, error);
}
