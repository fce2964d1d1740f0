/* The tier 0 run loop: events between instructions, then threaded execution of
 * decoded blocks. */
#include "cpu/access.h"
#include "cpu/blocks.h"
#include "cpu/run.h"

enum {
    DR6_BS = 1 << 14
};

static void raise_fault(struct cpu *c, enum exc e)
{
    c->probe.rip = c->r[REG_RIP];
    bool is_free = c->fault_tick != c->tick;
    if (!is_free) {
        c->tick++;
        c->skew++;
    }
    c->fault_tick = c->tick;
    cpu_deliver(c, e);
    if (is_free)
        cpu_probe_delivered(c);
}

/* What happens between two instructions, by priority (SDM vol. 3A table 6-2). */
static void take_events(struct cpu *c)
{
    bool is_taken = false;
    c->probe.rip = c->r[REG_RIP];
    if (c->debug_pending && c->shadow != 2) {
        c->dr[6] |= c->debug_pending;
        c->debug_pending = 0;
        c->halted = false;
        cpu_event(c, 1, EVENT_ICEBP);
        is_taken = true;
    }
    if (!c->shadow && c->nmi_pending && !c->nmi_blocked) {
        c->nmi_pending = false;
        c->nmi_blocked = true;
        c->halted = false;
        cpu_event(c, 2, EVENT_HARDWARE);
        is_taken = true;
    } else if (!c->shadow && c->intr && (c->flags & FLAG_IF)) {
        c->halted = false;
        cpu_event(c, c->board.acknowledge(c->board.context), EVENT_HARDWARE);
        is_taken = true;
    }
    if (UNLIKELY(is_taken))
        cpu_probe_delivered(c);
}

/* Between two iterations of a repeated instruction RF is 1: what interrupts it
 * there saves it so (SDM vol. 3B 17.3.1.1). */
static void set_resume(struct cpu *c)
{
    c->flags |= FLAG_RF;
    c->probe.rep_tick = c->tick;
    cpu_update_single(c);
}

void cpu_insn_failed(struct cpu *c, const struct insn *i, enum exc e)
{
    if (e == EXC_DELIVERED) {
        c->tick++;
        return;
    }
    c->r[REG_RIP] -= i->len;
    if (e == EXC_REP_BREAK)
        set_resume(c);
    else
        raise_fault(c, e);
}

/* Execute from one block until it ends, leaves, faults or the limit is there. */
static void run_block(struct cpu *c, const struct block_code *k)
{
    const struct insn *i = k->insns, *end = k->insns + k->count;
    for (;;) {
        c->probe.rip = c->r[REG_RIP];
        c->r[REG_RIP] += i->len;
        enum exc e = i->fn(c, i);
        if (UNLIKELY(e)) {
            cpu_insn_failed(c, i, e);
            return;
        }
        c->tick++;
        i++;
        if (UNLIKELY(c->tick >= c->limit) || i == end)
            return;
    }
}

static uint64_t linear_rip(const struct cpu *c)
{
    return (c->r[REG_RIP] + c->ea_base[SEG_CS]) & c->linear_mask;
}

/* Is the instruction that is next a repeated one, between two iterations? */
static bool is_rest(const struct cpu *c)
{
    return c->probe.rep_tick == c->tick && c->probe.delivery_tick != c->tick;
}

/* As run_block(), telling the tracer. After an instruction of more than one tick
 * it is told anew where the block stands. */
static void trace_block(struct cpu *c, struct block_code *k)
{
    struct cpu_tracer *t = c->probe.tracer;
    unsigned n = 0, first = 0;
    t->begin(t->context, k, 0, linear_rip(c), is_rest(c));
    for (;;) {
        const struct insn *i = &k->insns[n];
        uint64_t next = c->tick + 1;
        t->at = n - first;
        if (t->insn)
            t->insn(t->context);
        c->probe.rip = c->r[REG_RIP];
        c->r[REG_RIP] += i->len;
        enum exc e = i->fn(c, i);
        n++;
        if (UNLIKELY(e)) {
            t->end(t->context, n - first,
                   e != EXC_DELIVERED && e != EXC_REP_BREAK);
            cpu_insn_failed(c, i, e);
            return;
        }
        c->tick++;
        if (UNLIKELY(c->tick >= c->limit) || n == k->count) {
            t->end(t->context, n - first, false);
            return;
        }
        if (UNLIKELY(c->tick != next)) {
            t->end(t->context, n - first, false);
            first = n;
            t->begin(t->context, k, n, linear_rip(c), false);
        }
    }
}

/* Does the block leave the code segment? Then it runs an instruction at a time. */
static bool passes_limit(const struct cpu *c, uint32_t bytes)
{
    return c->mode != MODE_64 &&
           c->r[REG_RIP] + bytes - 1 > c->seg[SEG_CS].limit;
}

static uint32_t code_breakpoints(const struct cpu *c)
{
    uint32_t hits = 0;
    uint64_t linear = linear_rip(c);
    for (unsigned n = 0; n < 4; n++)
        if ((c->dr[7] >> (2 * n) & 3) && (c->dr[7] >> (16 + 4 * n) & 3) == 0 &&
            c->dr[n] == linear)
            hits |= 1u << n;
    return hits;
}

/* One instruction with every check; of a repeated one one iteration with TF, and
 * behind STI and MOV SS, for what waits then comes in at the next. */
static void step(struct cpu *c)
{
    uint32_t resume = c->flags & FLAG_RF;
    bool trap = c->flags & FLAG_TF;
    uint32_t hits = resume ? 0 : code_breakpoints(c);
    enum exc fault = EXC_NONE;
    if (hits && c->shadow != 2) {
        c->shadow = 0;
        c->dr[6] |= hits;
        raise_fault(c, EXC_DB);
        return;
    }
    struct cpu_tracer *t = c->probe.tracer;
    struct block_code *k = blocks_at(c, &fault);
    if (k && passes_limit(c, k->insns[0].len))
        fault = cpu_fault(c, EXC_GP, 0);
    if (!fault && UNLIKELY(k->probed || c->probe.every) &&
        cpu_probe_reached(c)) {
        cpu_attention(c);
        return;
    }
    bool is_shadowed = c->shadow != 0;
    c->shadow = 0;
    if (fault) {
        raise_fault(c, fault);
        return;
    }
    const struct insn *i = &k->insns[0];
    if (UNLIKELY(t != NULL)) {
        t->begin(t->context, k, 0, linear_rip(c), is_rest(c));
        t->at = 0;
        if (t->insn)
            t->insn(t->context);
    }
    c->flags &= ~(uint32_t)FLAG_RF;
    cpu_update_single(c);
    if (trap || is_shadowed)
        c->limit = c->tick + 1;
    c->probe.rip = c->r[REG_RIP];
    c->r[REG_RIP] += i->len;
    enum exc e = i->fn(c, i);
    if (UNLIKELY(t != NULL))
        t->end(t->context, 1,
               e && e != EXC_DELIVERED && e != EXC_REP_BREAK);
    if (e == EXC_NONE || e == EXC_DELIVERED) {
        c->tick++;
        /* MOV SS and POP SS swallow their own trap (vol. 3A 6.8.3). */
        if (trap && e == EXC_NONE && c->shadow != 2)
            c->debug_pending |= DR6_BS;
        return;
    }
    c->r[REG_RIP] -= i->len;
    if (e == EXC_REP_BREAK) {
        set_resume(c);
        c->debug_pending |= trap ? DR6_BS : 0;
        return;
    }
    c->flags |= resume;
    cpu_update_single(c);
    raise_fault(c, e);
}

/* A guest in single-step mode or behind STI or MOV SS. */
static bool run_single(struct cpu *c)
{
    uint64_t limit = c->limit;
    step(c);
    if (c->limit == 0)
        return false;
    c->limit = limit;
    /* At the limit they stay pending, as cpu_run() leaves them everywhere: the
     * state at a tick must not depend on where a run ended. */
    if (c->tick < limit)
        take_events(c);
    return true;
}

void cpu_run(struct cpu *c, uint64_t until)
{
    c->limit = until;
    if (c->tick < until)
        take_events(c);
    while (c->tick < c->limit && !c->halted && !c->shutdown) {
        if (UNLIKELY(c->single || c->shadow)) {
            if (!run_single(c))
                return;
            continue;
        }
        enum exc fault = EXC_NONE;
        struct block_code *k = blocks_at(c, &fault);
        if (UNLIKELY(!k)) {
            raise_fault(c, fault);
        } else if (UNLIKELY(passes_limit(c, k->bytes))) {
            if (!run_single(c))
                return;
        } else if (UNLIKELY(k->probed) && cpu_probe_reached(c)) {
            return;
        } else if (UNLIKELY(c->probe.tracer != NULL)) {
            trace_block(c, k);
        } else if (k->probed || !c->engine.run ||
                   !c->engine.run(c->engine.context, k)) {
            run_block(c, k);
        }
    }
}
