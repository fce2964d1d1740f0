/* Interrupts and exceptions (SDM vol. 3A ch. 6, 20.3; vol. 2A INT n). */
#include "cpu/system_internal.h"

struct delivery {
    uint8_t vector;
    enum event_kind kind;
    bool has_error;
    bool sets_rf; /* RF is 1 in the saved flags: faults (vol. 3B 17.3.1.1) */
    uint32_t error;
};

static bool is_software(const struct delivery *d)
{
    return d->kind == EVENT_SOFT || d->kind == EVENT_TRAP;
}

static uint32_t saved_flags(const struct cpu *c, const struct delivery *d)
{
    return cpu_rflags(c) | (d->sets_rf ? FLAG_RF : 0);
}

/* ---- real mode, and 8086 handlers of virtual-8086 tasks ---------------------
 */

static enum exc enter_8086(struct cpu *c, const uint8_t entry[4],
                           uint32_t image, uint32_t cleared)
{
    struct stack s = stack_current(c);
    struct segment code = segment_real(c, SEG_CS, load_le16(entry + 2));
    uint64_t values[3] = {image, c->seg[SEG_CS].selector, c->r[REG_RIP]};
    enum exc e = stack_push(c, &s, values, 3, 2);
    if (e)
        return e;
    c->r[REG_RSP] = s.sp;
    c->shadow = 0;
    cpu_set_rflags(c, cpu_rflags(c) & ~cleared);
    far_commit(c, code, c->cpl, load_le16(entry));
    return EXC_NONE;
}

static enum exc enter_real(struct cpu *c, const struct delivery *d)
{
    uint8_t entry[4];
    uint32_t offset = d->vector * 4u;
    if (offset + 3 > c->idtr.limit)
        return cpu_fault(c, EXC_GP, offset + 2);
    enum exc e = cpu_system_read(c, (uint32_t)(c->idtr.base + offset), entry,
                                 sizeof entry);
    if (e)
        return e;
    return enter_8086(c, entry, saved_flags(c, d),
                      FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF);
}

/* The software interrupt redirection bitmap, 32 bytes below the I/O bitmap
 * (SDM vol. 3A 20.3.3). *redirect: the 8086 handler of the task serves it. */
static enum exc read_redirection(struct cpu *c, uint8_t vector, bool *redirect)
{
    uint8_t word[2];
    if (!(c->tr.attr & TYPE_32_BIT) || c->tr.limit < 103)
        return cpu_gp0(c);
    enum exc e = cpu_system_read(c, (uint32_t)(c->tr.base + 102), word, 2);
    if (e)
        return e;
    uint32_t at = load_le16(word) - 32u + vector / 8;
    if (load_le16(word) < 32 || at > c->tr.limit)
        return cpu_gp0(c);
    e = cpu_system_read(c, (uint32_t)(c->tr.base + at), word, 1);
    *redirect = !(word[0] >> (vector & 7) & 1);
    return e;
}

/* INT n in virtual-8086 mode: *done when it needs no gate. */
static enum exc soft_v86(struct cpu *c, const struct delivery *d, bool *done)
{
    uint8_t entry[4];
    bool redirect = false, is_virtual = cpu_iopl(c) < 3;
    *done = false;
    if (c->cr4 & CR4_VME) {
        enum exc e = read_redirection(c, d->vector, &redirect);
        if (e)
            return e;
    }
    if (!redirect)
        return is_virtual ? cpu_gp0(c) : EXC_NONE;
    enum exc e =
        mmu_read(&c->mmu, d->vector * 4u, entry, sizeof entry, ACCESS_READ);
    if (e)
        return e;
    uint32_t image = cpu_rflags(c);
    if (is_virtual) {
        image = (image & ~(uint32_t)FLAG_IF) | FLAG_IOPL;
        if (c->flags & FLAG_VIF)
            image |= FLAG_IF;
    }
    *done = true;
    return enter_8086(c, entry, image,
                      FLAG_TF | FLAG_RF | (is_virtual ? FLAG_VIF : FLAG_IF));
}

/* ---- gates ------------------------------------------------------------------
 */

struct gate {
    uint64_t offset;
    uint16_t selector;
    uint8_t bytes; /* of each pushed value */
    uint8_t ist;
    bool masks; /* interrupt gate: clears IF */
    bool is_task;
};

/* Read and check the IDT entry (SDM vol. 3A 6.11, 6.14.1). */
static enum exc read_gate(struct cpu *c, const struct delivery *d,
                          struct gate *g)
{
    uint8_t raw[16];
    unsigned bytes = cpu_is_long(c) ? 16 : 8;
    uint32_t error = d->vector * 8u + 2;
    uint32_t offset = d->vector * bytes;
    if (offset + bytes - 1 > c->idtr.limit)
        return cpu_fault(c, EXC_GP, error);
    enum exc e =
        cpu_system_read(c, table_address(c, c->idtr.base + offset), raw, bytes);
    if (e)
        return e == EXC_GP ? cpu_fault(c, EXC_GP, error) : e;
    uint32_t lo = load_le32(raw), hi = load_le32(raw + 4);
    unsigned type = hi >> 8 & 0x1f;
    bool is_32 = type == TYPE_INT || type == TYPE_TRAP;
    bool is_16 = type == TYPE_INT16 || type == TYPE_TRAP16;
    g->is_task = type == TYPE_TASK_GATE;
    if (cpu_is_long(c) ? !is_32 : !is_32 && !is_16 && !g->is_task)
        return cpu_fault(c, EXC_GP, error);
    if (is_software(d) && (hi >> 13 & 3) < c->cpl)
        return cpu_fault(c, EXC_GP, error);
    if (!(hi & 0x8000))
        return cpu_fault(c, EXC_NP, error);
    g->selector = (uint16_t)(lo >> 16);
    g->offset = (lo & 0xffff) | (is_16 ? 0 : hi & 0xffff0000);
    g->masks = type == TYPE_INT || type == TYPE_INT16;
    g->bytes = is_16 ? 2 : 4;
    g->ist = 0;
    if (cpu_is_long(c)) {
        g->offset |= (uint64_t)load_le32(raw + 8) << 32;
        g->bytes = 8;
        g->ist = raw[4] & 7;
    }
    return EXC_NONE;
}

static enum exc choose_stack(struct cpu *c, const struct gate *g, unsigned cpl,
                             struct stack *s)
{
    enum exc e = EXC_NONE;
    if (cpu_is_long(c)) {
        if (g->ist || cpl < c->cpl) {
            e = stack_from_tss64(c, cpl, g->ist, s);
        } else {
            *s = stack_current(c);
            s->mask = UINT64_MAX;
            s->is_long = true;
        }
        if (!e)
            s->sp &= ~0xfULL; /* SDM vol. 3A 6.14.2 */
    } else if (cpl < c->cpl) {
        e = stack_from_tss(c, cpl, s);
    } else {
        *s = stack_current(c);
    }
    return e;
}

static unsigned build_frame(const struct cpu *c, const struct delivery *d,
                            bool has_stack, uint64_t values[10])
{
    static const uint8_t v86_order[] = {SEG_GS, SEG_FS, SEG_DS, SEG_ES};
    unsigned n = 0;
    if (cpu_is_v86(c))
        for (unsigned k = 0; k < sizeof v86_order; k++)
            values[n++] = c->seg[v86_order[k]].selector;
    if (has_stack) {
        values[n++] = c->seg[SEG_SS].selector;
        values[n++] = c->r[REG_RSP];
    }
    values[n++] = saved_flags(c, d);
    values[n++] = c->seg[SEG_CS].selector;
    values[n++] = c->r[REG_RIP];
    if (d->has_error)
        values[n++] = d->error;
    return n;
}

static enum exc enter_gate(struct cpu *c, const struct delivery *d,
                           const struct gate *g)
{
    uint64_t values[10];
    struct segment code;
    struct stack s;
    unsigned cpl;
    enum exc e = far_gate_code(c, g->selector, g->offset, &code, &cpl);
    if (!e && cpu_is_v86(c) && cpl != 0)
        e = cpu_fault(c, EXC_GP, g->selector & 0xfffc);
    if (!e)
        e = choose_stack(c, g, cpl, &s);
    if (e)
        return e;
    bool has_stack = cpu_is_long(c) || cpl != c->cpl;
    unsigned count = build_frame(c, d, has_stack, values);
    e = stack_push(c, &s, values, count, g->bytes);
    if (e)
        return e;

    if (cpu_is_v86(c)) {
        c->seg[SEG_ES] = segment_null(0);
        c->seg[SEG_DS] = segment_null(0);
        c->seg[SEG_FS] = segment_null(0);
        c->seg[SEG_GS] = segment_null(0);
    }
    uint32_t cleared = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM;
    if (g->masks)
        cleared |= FLAG_IF;
    stack_load(c, &s);
    c->shadow = 0;
    c->flags &= ~cleared;
    far_commit(c, code, cpl, g->offset);
    cpu_set_rflags(c, cpu_rflags(c));
    return EXC_NONE;
}

static enum exc enter_protected(struct cpu *c, const struct delivery *d)
{
    struct gate g;
    if (d->kind == EVENT_SOFT && cpu_is_v86(c)) {
        bool done;
        enum exc e = soft_v86(c, d, &done);
        if (e || done)
            return e;
    }
    enum exc e = read_gate(c, d, &g);
    if (e)
        return e;
    if (g.is_task)
        return task_enter(c, g.selector, d->sets_rf ? TASK_FAULT : TASK_INT,
                          d->has_error, d->error);
    return enter_gate(c, d, &g);
}

static bool has_selector_error(enum exc e)
{
    return e == EXC_TS || e == EXC_NP || e == EXC_SS || e == EXC_GP;
}

static void tell(struct cpu *c, const struct delivery *d)
{
    static const enum cpu_note_kind kinds[] = {
        [EVENT_HARDWARE] = CPU_NOTE_INTERRUPT,
        [EVENT_SOFT] = CPU_NOTE_SOFTWARE,
        [EVENT_TRAP] = CPU_NOTE_SOFTWARE,
        [EVENT_ICEBP] = CPU_NOTE_EXCEPTION,
        [EVENT_FAULT] = CPU_NOTE_EXCEPTION};
    const struct cpu_note note = {.kind = kinds[d->kind],
                                  .vector = d->vector,
                                  .has_error = d->has_error,
                                  .error = d->error};
    cpu_probe_note(c, &note);
}

static enum exc enter(struct cpu *c, const struct delivery *d)
{
    tell(c, d);
    int32_t outer = c->exc_delivering;
    c->exc_delivering = d->vector;
    enum exc e = cpu_is_real(c) ? enter_real(c, d) : enter_protected(c, d);
    c->exc_delivering = outer;
    /* EXT: the event came from outside the program (SDM vol. 3A 6.13). */
    if (has_selector_error(e) && !is_software(d))
        c->exc_error |= 1;
    return e;
}

enum exc cpu_enter_handler(struct cpu *c, uint8_t vector, enum event_kind kind,
                           bool has_error, uint32_t error)
{
    struct delivery d = {
        .vector = vector,
        .kind = kind,
        .has_error = has_error,
        .sets_rf = kind == EVENT_FAULT && vector != 1,
        .error = error,
    };
    return enter(c, &d);
}

/* ---- double faults and shutdown ---------------------------------------------
 */

/* Classes of SDM vol. 3A table 6-4. */
enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum fault_class class_of(enum exc e)
{
    switch (e) {
    case EXC_DE:
    case EXC_TS:
    case EXC_NP:
    case EXC_SS:
    case EXC_GP:
        return CONTRIBUTORY;
    case EXC_PF:
        return PAGE_FAULT;
    case EXC_DF:
        return DOUBLE_FAULT;
    default:
        return BENIGN;
    }
}

/* Table 6-5. */
static bool makes_double_fault(enum exc first, enum exc second)
{
    enum fault_class a = class_of(first), b = class_of(second);
    return (a == CONTRIBUTORY && b == CONTRIBUTORY) ||
           (a == PAGE_FAULT && (b == CONTRIBUTORY || b == PAGE_FAULT));
}

static bool has_error_code(enum exc e)
{
    return e == EXC_DF || e == EXC_AC || e == EXC_PF || has_selector_error(e);
}

struct text {
    char bytes[240];
    unsigned used;
};

static void text_add(struct text *t, const char *s)
{
    while (*s && t->used + 1 < sizeof t->bytes)
        t->bytes[t->used++] = *s++;
    t->bytes[t->used] = 0;
}

static void text_hex(struct text *t, uint64_t v)
{
    char digits[17];
    unsigned n = 16;
    digits[16] = 0;
    do {
        digits[--n] = "0123456789abcdef"[v & 15];
        v >>= 4;
    } while (v);
    text_add(t, "0x");
    text_add(t, digits + n);
}

static void text_exception(struct text *t, enum exc e, uint32_t error)
{
    static const char *const names[20] = {
        "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "#9",
        "#TS", "#NP", "#SS", "#GP", "#PF", "#15", "#MF", "#AC", "#MC", "#XM"};
    unsigned vector = e & 0xff;
    text_add(t, vector < 20 ? names[vector] : "event");
    if (has_error_code(e)) {
        text_add(t, "(");
        text_hex(t, error);
        text_add(t, ")");
    }
}

static void shut_down(struct cpu *c, struct text *chain)
{
    text_add(chain, ", at ");
    text_hex(chain, c->seg[SEG_CS].selector);
    text_add(chain, ":");
    text_hex(chain, c->r[REG_RIP]);
    text_add(chain, ", CR2 ");
    text_hex(chain, c->cr2);
    c->shutdown = true;
    cpu_attention(c);
    if (c->board.a_fault)
        c->board.a_fault(c->board.context, chain->bytes);
}

void event_take_debug(struct cpu *c)
{
    enum { DR6_CAUSES = 0xf, DR7_GD = 0x2000 };
    if (c->debug_pending)
        c->dr[6] = (c->dr[6] & ~(uint64_t)DR6_CAUSES) | c->debug_pending;
    c->debug_pending = 0;
    c->dr[7] &= ~(uint64_t)DR7_GD;
}

/* Fill in what the exception reports beside its vector. DR6.BD (a guarded debug
 * register) is a fault like others; instruction breakpoints leave RF alone. */
static struct delivery describe(struct cpu *c, enum exc e)
{
    struct delivery d = {
        .vector = (uint8_t)e,
        .kind = EVENT_FAULT,
        .has_error = has_error_code(e),
        .sets_rf = e != EXC_DB,
        .error = e == EXC_DF || e == EXC_AC ? 0 : c->exc_error,
    };
    if (e == EXC_PF) {
        c->cr2 = c->mmu.fault_vaddr;
        d.error = c->mmu.fault_error;
    } else if (e == EXC_DB) {
        d.sets_rf = (c->debug_pending & 0x2000) != 0;
        event_take_debug(c);
        cpu_update_single(c);
    }
    return d;
}

void cpu_deliver(struct cpu *c, enum exc e)
{
    struct text chain = {.used = 0};
    text_add(&chain, "triple fault: ");
    for (;;) {
        struct delivery d = describe(c, e);
        text_exception(&chain, e, d.error);
        enum exc next = enter(c, &d);
        if (!next)
            return;
        text_add(&chain, ", then ");
        if (e == EXC_DF) {
            uint32_t error = next == EXC_PF ? c->mmu.fault_error : c->exc_error;
            text_exception(&chain, next, error);
            shut_down(c, &chain);
            return;
        }
        e = makes_double_fault(e, next) ? EXC_DF : next;
        if (e == EXC_DF) {
            if (next == EXC_PF)
                c->cr2 = c->mmu.fault_vaddr;
            text_exception(&chain, next,
                           next == EXC_PF ? c->mmu.fault_error : c->exc_error);
            text_add(&chain, ", then ");
        }
    }
}

void cpu_event(struct cpu *c, uint8_t vector, enum event_kind kind)
{
    c->halted = false;
    if (vector == 1 && kind == EVENT_ICEBP) {
        event_take_debug(c);
        cpu_update_single(c);
    }
    enum exc e = cpu_enter_handler(c, vector, kind, false, 0);
    if (e)
        cpu_deliver(c, e);
}
