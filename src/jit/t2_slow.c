/* The slow path of a trace: a page that is not in the TLB, or an access that
 * only tier 0 can do. */
#include "jit/t2.h"

#include "cpu/run.h"
#include "jit/t2_flags.h"

#include <stddef.h>
#include <string.h>

/* ---- places -------------------------------------------------------------- */

static uint64_t read_place(const struct jit *j, const struct t2_trace *trace,
                           unsigned place)
{
    const struct t2_near *d = j->t2->near_data;
    if (place < 16)
        return d->save[place];
    if (place >= T2_CONST_PLACE)
        return (uint64_t)trace->consts[place - T2_CONST_PLACE];
    if (place >= T2_HOME)
        return j->cpu->r[place - T2_HOME];
    return d->spill[place - T2_SPILL];
}

static void write_place(struct jit *j, unsigned place, uint64_t v)
{
    struct t2_near *d = j->t2->near_data;
    if (place < 16)
        d->save[place] = v;
    else
        d->spill[place - T2_SPILL] = v;
}

/* ---- look-ups -------------------------------------------------------------
 */

/* The pointer that the fast path would find. */
static bool look_up(const struct jit *j, const struct t2_lookup *l,
                    uint64_t root, uint64_t *pointer)
{
    uint64_t first = root + (uint64_t)(int64_t)l->lo;
    uint64_t page =
        (root + (uint64_t)(int64_t)l->hi - 1) & ~(uint64_t)(PAGE_BYTES - 1);
    const struct tlb_entry *e =
        &j->cpu->mmu.tlb[first >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
    if (((l->rw & T2_READS) && e->read_tag != page) ||
        ((l->rw & T2_WRITES) && e->write_tag != page))
        return false;
    *pointer = root + e->addend;
    return true;
}

/* Bring the page of an access into the TLB, with the effects that the access
 * has on page tables. False: it is no plain memory, or faults. */
static bool fill(struct jit *j, uint64_t linear, unsigned bytes, bool is_write)
{
    struct mmu *m = &j->cpu->mmu;
    uint8_t data[16];
    unsigned how = is_write ? ACCESS_WRITE : ACCESS_READ;
    const uint8_t *host = mmu_host_pointer(m, linear, bytes, how);
    if (!host)
        return false;
    memcpy(data, host, bytes); /* writing it back changes nothing */
    if (is_write)
        return mmu_write(m, linear, data, bytes, how) == EXC_NONE;
    return mmu_read(m, linear, data, bytes, how) == EXC_NONE;
}

static bool resume(struct jit *j, const struct t2_site *s, uint64_t linear,
                   uint64_t root, uint64_t *pointer)
{
    if (!fill(j, linear, s->own_bytes, s->own_write))
        return false;
    if (!look_up(j, &s->check, root, pointer)) {
        j->t2->near_data->count[s->trace->id].fails[T2_FAIL_SPAN]++;
        return false;
    }
    for (unsigned n = 0; n < s->live_count; n++) {
        const struct t2_lookup *l = &s->live[n];
        uint64_t other;
        if (!look_up(j, l, read_place(j, s->trace, l->root), &other))
            return false;
        write_place(j, l->at, other);
    }
    /* Walking may have written to a page with code. */
    return j->cpu->limit != 0;
}

/* ---- leaving ------------------------------------------------------------- */

static uint16_t flags_of(const struct jit *j, const struct t2_site *s,
                         unsigned level)
{
    unsigned kind = s->flags[level].kind;
    uint64_t r = read_place(j, s->trace, s->flags[level].r);
    uint64_t b = s->flags[level].b == T2_NOWHERE
                     ? 0
                     : read_place(j, s->trace, s->flags[level].b);
    uint16_t before = 0;
    if (kind == R_INC || kind == R_DEC)
        before = flags_of(j, s, level + 1);
    return t2_flags_eval(kind, s->flags[level].size, r, b, before);
}

static void restore_state(struct jit *j, const struct t2_site *s)
{
    struct cpu *c = j->cpu;
    uint64_t r[16];
    uint16_t flags = flags_of(j, s, 0);
    for (unsigned n = 0; n < 16; n++)
        r[n] = read_place(j, s->trace, s->reg[n]);
    for (unsigned n = 0; n < 16; n++)
        c->r[n] = r[n];
    c->aflags = flags;
    c->tick = j->t2->near_data->save[H_TICKS] + c->jit_limit - s->left;
    j->t2->near_data->count[s->trace->id].ticks += s->done;
    c->r[REG_RIP] = s->rip + (s->trace->one_page ? c->jit_page : 0);
}

/* Tier 0 does the instruction, then control leaves. */
static void leave(struct jit *j, const struct t2_site *s)
{
    struct cpu *c = j->cpu;
    const struct insn *i = s->insn;
    j->t2->near_data->count[s->trace->id].fails[T2_FAIL_ACCESS]++;
    restore_state(j, s);
    c->probe.rip = c->r[REG_RIP];
    c->r[REG_RIP] += i->len;
    (void)jit_handle(j, i);
}

void *t2_slow(struct jit *j, struct t2_site *s)
{
    uint64_t root = read_place(j, s->trace, s->check.root), pointer;
    uint64_t linear = (root + (uint64_t)(int64_t)s->own) & j->cpu->linear_mask;
    j->stats.slow_calls++;
    if (resume(j, s, linear, root, &pointer))
        return (void *)(uintptr_t)pointer;
    leave(j, s);
    return NULL;
}

/* ---- the thunk ----------------------------------------------------------- */

/* rax: the site. Comes back with the pointer in rax and all other registers
 * but rdx as they were, or leaves. */
const uint8_t *t2_make_slow(struct jit *j, struct emit *e, struct t2_near *d)
{
    const uint8_t *at = emit_here(e);
    for (unsigned n = 0; n < 16; n++)
        if (n != H_RAX && n != H_RDX && n != H_RSP)
            emit_store(e, 8, rm_abs(&d->save[n]), n);
    emit_store(e, 8, rm_abs(&d->save[H_RAX]), H_RAX);
    emit_op(e, 4, 0x0fb6, H_RDX, rm_abs(&j->cpu->jit_simd), 1, 0); /* movzx */
    emit_store(e, 8, rm_abs(&d->save[H_RDX]), H_RDX);
    jit_emit_units_save(j, e);
    emit_load(e, 8, H_RSI, rm_abs(&d->save[H_RAX]));
    emit_mov_ri(e, H_RDI, (uintptr_t)j);
    emit_mov_ri(e, H_RAX, (uintptr_t)t2_slow);
    emit_alu_ri(e, 8, 5, rm_reg(H_RSP), 8);
    emit_op(e, 4, 0xff, 2, rm_reg(H_RAX), 8, 0); /* call rax */
    emit_alu_ri(e, 8, 0, rm_reg(H_RSP), 8);
    emit_op(e, 8, 0x85, H_RAX, rm_reg(H_RAX), 8, 0);
    uint8_t *go_on = emit_jump(e, 5);
    emit_jump_to(e, 16, j->leave);
    emit_patch(e, go_on, emit_here(e));
    /* Vectors were allowed before, hence are now. */
    emit_alu_ri(e, 8, 7, rm_abs(&d->save[H_RDX]), 0);
    uint8_t *no_vectors = emit_jump(e, 4);
    emit_call(e, j->simd_load);
    emit_patch(e, no_vectors, emit_here(e));
    for (unsigned n = 0; n < 16; n++)
        if (n != H_RAX && n != H_RDX && n != H_RSP)
            emit_load(e, 8, n, rm_abs(&d->save[n]));
    emit_u8(e, 0xc3);
    return at;
}
