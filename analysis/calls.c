#include "analysis/calls.h"

#include "board/probe.h"
#include "cpu/blocks.h"
#include "cpu/cpu.h"
#include "replay/gdb_target.h"

#include <Zydis/Mnemonic.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 1 << 14,
    CONTEXTS = 256,
    LIMIT = 1000000,
    STACK_SHIFT = 14, /* kernel stacks: two to four pages */
    NONE = -1
};
/* Further apart than this two calls lie on different stacks. */
#define STACK_REACH (UINT64_C(1) << 20)

/* The innermost open call of a stack. */
struct stack_context {
    uint64_t space, stack;
    int64_t call;
};

struct gatherer {
    struct calls_query q;
    struct calls *out;
    size_t capacity;
    struct machine *machine;
    int64_t *next;  /* owned: of an open call, in its bucket */
    int64_t *heads; /* owned: open calls by slot */
    struct stack_context context[CONTEXTS];
    int64_t innermost; /* of the stack that was used last */
    bool failed;
    /* The run in execution. */
    const struct block_code *block;
    unsigned first;
    uint64_t linear, tick;
};

struct calls_query calls_query_all(void)
{
    return (struct calls_query){.to = UINT64_MAX, .last = UINT64_MAX};
}

void calls_fini(struct calls *c)
{
    free(c->at);
    *c = (struct calls){0};
}

/* ---- open calls -------------------------------------------------------------
 */

/* User stacks of different processes lie at equal addresses. */
static uint64_t space_of(const struct cpu *c)
{
    return c->cpl == 3 ? c->cr3 : 1;
}

static uint64_t space_of_call(const struct call *c)
{
    return c->cpl == 3 ? c->cr3 : 1;
}

static int64_t *bucket(const struct gatherer *g, uint64_t space, uint64_t slot)
{
    uint64_t h = (space * 31 + slot) * UINT64_C(0x9e3779b97f4a7c15);
    return &g->heads[h >> 50];
}

/* Take the open call at a slot out of its bucket; NONE: there is none. */
static int64_t close_call(struct gatherer *g, uint64_t space, uint64_t slot)
{
    for (int64_t *at = bucket(g, space, slot); *at != NONE;
         at = &g->next[*at]) {
        const struct call *c = &g->out->at[*at];
        if (c->slot != slot || space_of_call(c) != space)
            continue;
        int64_t found = *at;
        *at = g->next[found];
        return found;
    }
    return NONE;
}

static struct stack_context *context_of(struct gatherer *g, uint64_t space,
                                        uint64_t slot)
{
    uint64_t stack = slot >> STACK_SHIFT;
    struct stack_context *k = &g->context[(stack ^ space >> 12) % CONTEXTS];
    if (k->space != space || k->stack != stack)
        *k = (struct stack_context){space, stack, NONE};
    return k;
}

static bool encloses(const struct gatherer *g, int64_t call, uint64_t space,
                     uint64_t slot)
{
    if (call == NONE)
        return false;
    const struct call *c = &g->out->at[call];
    return !c->has_returned && space_of_call(c) == space && c->slot > slot &&
           c->slot - slot < STACK_REACH;
}

static int64_t parent_of(struct gatherer *g, uint64_t space, uint64_t slot)
{
    int64_t call = context_of(g, space, slot)->call;
    if (!encloses(g, call, space, slot))
        call = g->innermost;
    /* Those that were left by a long jump lie below. */
    while (call != NONE && !encloses(g, call, space, slot))
        call = g->out->at[call].parent;
    return call;
}

static bool grow(struct gatherer *g)
{
    if (g->out->count < g->capacity)
        return true;
    size_t wanted = g->capacity ? g->capacity * 2 : 1024;
    struct call *at = realloc(g->out->at, wanted * sizeof *at);
    if (at)
        g->out->at = at;
    int64_t *next = realloc(g->next, wanted * sizeof *next);
    if (next)
        g->next = next;
    if (at && next)
        g->capacity = wanted;
    return at && next;
}

/* ---- what the tracer says ---------------------------------------------------
 */

static void arguments(const struct gatherer *g, struct call *k)
{
    static const uint8_t sysv[] = {REG_RDI, REG_RSI, REG_RDX, REG_RCX, 8, 9};
    static const uint8_t win64[] = {REG_RCX, REG_RDX, 8, 9};
    const struct cpu *c = machine_cpu(g->machine);
    bool is_64 = c->mode == MODE_64;
    bool is_sysv = g->q.abi == CALLS_ABI_SYSV;
    unsigned in_registers = !is_64 ? 0 : is_sysv ? 6 : 4;
    unsigned bytes = is_64 ? 8 : c->mode == MODE_32 ? 4 : 2;
    /* Windows leaves room on the stack for those in registers. */
    unsigned skipped = is_64 && !is_sysv ? 0 : in_registers;
    for (unsigned i = 0; i < CALL_ARGUMENTS; i++) {
        k->argument[i] = 0;
        if (i < in_registers)
            k->argument[i] = c->r[is_sysv ? sysv[i] : win64[i]];
        else
            (void)gdb_memory_read(g->machine, false,
                                  k->slot + (1 + i - skipped) * bytes,
                                  &k->argument[i], bytes);
    }
}

static void on_call(struct gatherer *g, const struct insn *i, uint64_t rip,
                    uint64_t tick)
{
    const struct cpu *c = machine_cpu(g->machine);
    uint64_t space = space_of(c);
    struct call k = {.tick = tick,
                     .rip = rip,
                     .entry =
                         (c->r[REG_RIP] + c->ea_base[SEG_CS]) & c->linear_mask,
                     .back = rip + i->len,
                     .slot = c->ea_base[SEG_SS] + (c->r[REG_RSP] & c->sp_mask),
                     .cr3 = c->cr3,
                     .cpl = c->cpl};
    (void)close_call(g, space, k.slot); /* it never returned */
    k.parent = parent_of(g, space, k.slot);
    bool is_wanted = k.entry >= g->q.first && k.entry <= g->q.last;
    if ((!is_wanted && !(g->q.tree && k.parent != NONE)) ||
        (g->q.has_cr3 && g->q.cr3 != k.cr3) || tick < g->q.from)
        return;
    if (g->out->count == g->q.limit || !grow(g)) {
        g->failed = g->out->count != g->q.limit;
        g->out->is_cut = true;
        machine_observed_enough(g->machine);
        return;
    }
    k.depth = k.parent == NONE ? 0 : g->out->at[k.parent].depth + 1;
    arguments(g, &k);
    int64_t number = (int64_t)g->out->count;
    int64_t *head = bucket(g, space, k.slot);
    g->out->at[g->out->count++] = k;
    g->next[number] = *head;
    *head = number;
    context_of(g, space, k.slot)->call = g->innermost = number;
}

static void on_return(struct gatherer *g, const struct insn *i, uint64_t tick)
{
    const struct cpu *c = machine_cpu(g->machine);
    uint64_t popped = i->opsize * (i->is_far ? 2u : 1u);
    if (i->form == FORM_I)
        popped += (uint16_t)i->imm;
    uint64_t slot =
        c->ea_base[SEG_SS] + ((c->r[REG_RSP] - popped) & c->sp_mask);
    uint64_t to = (c->r[REG_RIP] + c->ea_base[SEG_CS]) & c->linear_mask;
    int64_t number = close_call(g, space_of(c), slot);
    if (number == NONE)
        return;
    struct call *k = &g->out->at[number];
    if (k->back != to)
        return; /* the return address was changed: it never returned */
    k->has_returned = true;
    k->result = c->mode == MODE_64 ? c->r[REG_RAX] : (uint32_t)c->r[REG_RAX];
    k->end = tick + 1;
    context_of(g, space_of(c), slot)->call = g->innermost = k->parent;
}

static void begin(void *context, struct block_code *k, unsigned first,
                  uint64_t linear, bool is_rest)
{
    struct gatherer *g = context;
    (void)is_rest;
    g->block = k;
    g->first = first;
    g->linear = linear;
    g->tick = machine_tick(g->machine);
}

static void end(void *context, unsigned begun, bool has_faulted)
{
    struct gatherer *g = context;
    const struct insn *i = &g->block->insns[g->first + begun - 1];
    if (has_faulted || i->cls != CLASS_BRANCH ||
        (i->mnemonic != ZYDIS_MNEMONIC_CALL &&
         i->mnemonic != ZYDIS_MNEMONIC_RET))
        return;
    uint64_t rip = g->linear;
    for (unsigned n = 0; n + 1 < begun; n++)
        rip += g->block->insns[g->first + n].len;
    if (i->mnemonic == ZYDIS_MNEMONIC_CALL)
        on_call(g, i, rip, g->tick + begun - 1);
    else
        on_return(g, i, g->tick + begun - 1);
}

/* ---- the whole --------------------------------------------------------------
 */

static enum travel_stop run(struct gatherer *g, struct travel *t,
                            struct error *err)
{
    struct cpu_tracer tracer = {.context = g, .begin = begin, .end = end};
    const struct machine_observer o = {.context = g, .tracer = &tracer};
    enum travel_stop stop =
        travel_goto(t, (struct machine_place){g->q.from, 0}, err);
    if (stop != TRAVEL_THERE)
        return stop == TRAVEL_END ? TRAVEL_THERE : stop;
    machine_observe(g->machine, &o);
    stop = travel_run(t, g->q.to, err);
    machine_observe(g->machine, NULL);
    machine_probe_mode(g->machine, PROBE_OFF, false);
    if (g->failed)
        return error_set(err, ERR_NOMEM, "no memory for more calls")
                   ? stop
                   : TRAVEL_FAILED;
    return stop == TRAVEL_END || stop == TRAVEL_HIT ? TRAVEL_THERE : stop;
}

enum travel_stop calls_gather(struct travel *t, const struct calls_query *q,
                              struct calls *out, struct error *err)
{
    struct gatherer *g = calloc(1, sizeof *g);
    *out = (struct calls){0};
    if (g)
        g->heads = malloc(BUCKETS * sizeof *g->heads);
    if (!g || !g->heads) {
        free(g);
        error_set(err, ERR_NOMEM, "no memory for calls");
        return TRAVEL_FAILED;
    }
    uint64_t start = travel_session(t)->start_tick;
    for (unsigned i = 0; i < BUCKETS; i++)
        g->heads[i] = NONE;
    g->q = *q;
    g->q.from = q->from < start ? start : q->from;
    g->q.limit = q->limit ? q->limit : LIMIT;
    g->out = out;
    g->machine = travel_machine(t);
    g->innermost = NONE;
    enum travel_stop stop = run(g, t, err);
    if (stop == TRAVEL_FAILED)
        calls_fini(out);
    free(g->heads);
    free(g->next);
    free(g);
    return stop;
}
