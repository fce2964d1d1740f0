/* From a recorded path to host code. Touches nothing of the machine: it may run
 * on the JIT thread. */
#include "jit/t2.h"

#include <stdlib.h>
#include <string.h>

enum {
    SMALL_BODY = 64, /* instructions that a loop's body is unrolled to */
    MOST_COPIES = 8
};

bool t2_compiler_init(struct t2_compiler *c, const struct jit *j,
                      struct t2_near *near_data, const uint8_t *slow,
                      struct error *err)
{
    memset(c, 0, sizeof *c);
    c->options = &j->options;
    c->host = j->host;
    if (t2_ir_alloc(&c->ir) && t2_alloc_init(&c->alloc) &&
        t2_gen_init(&c->gen, j, near_data, slow))
        return true;
    return error_set(err, ERR_NOMEM, "no memory for the tier 2 compiler");
}

void t2_compiler_fini(struct t2_compiler *c)
{
    t2_ir_free(&c->ir);
    t2_alloc_fini(&c->alloc);
    t2_gen_fini(&c->gen);
}

static uint64_t now(const struct t2_compiler *c)
{
    return c->options->now_ns ? c->options->now_ns(c->options->now_context) : 0;
}

static void timed(struct t2_compiler *c, struct t2_request *q,
                  enum jit_pass pass, void (*run)(struct t2_ir *))
{
    uint64_t begun = now(c);
    run(&c->ir);
    q->pass_ns[pass] += now(c) - begun;
}

static void set_up(struct t2_compiler *c, const struct t2_request *q)
{
    struct t2_ir *ir = &c->ir;
    ir->insns = q->insns;
    ir->insn_count = q->insn_count;
    ir->pieces = q->pieces;
    ir->piece_count = q->piece_count;
    ir->is64 = q->is64;
    ir->one_page = q->one_page;
    ir->is_loop = q->is_loop;
    ir->no_spans = q->no_spans;
    ir->head = q->insns[0].rip;
    ir->host.shifts = c->host.shifts;
    ir->host.multiplies = c->host.multiplies;
    ir->host.bit_tests = c->host.bit_tests;
    ir->host.logic = c->host.logic;
}

/* How often the body of a loop stands in the trace: pages are checked, ticks
 * taken and registers moved once for all copies. */
static void choose_unroll(struct t2_compiler *c, struct t2_request *q)
{
    uint64_t begun = now(c);
    unsigned most = c->options->unroll_max < MOST_COPIES
                        ? c->options->unroll_max
                        : MOST_COPIES;
    unsigned copies = SMALL_BODY / q->insn_count;
    c->ir.unroll = copies < 1 ? 1 : copies > most ? most : copies;
    q->pass_ns[JIT_PASS_UNROLLING] += now(c) - begun;
}

static unsigned count_checks(const struct t2_ir *ir)
{
    unsigned count = 0;
    for (unsigned n = 0; n < ir->seq_count; n++)
        count += ir->ops[ir->seq[n]].kind == T2_CHECK;
    return count;
}

static bool keep(struct t2_compiler *c, struct t2_request *q)
{
    const struct t2_gen *g = &c->gen;
    q->code = malloc(g->code_bytes);
    q->fixes = malloc((g->fix_count + 1) * sizeof *q->fixes);
    q->links = malloc((g->link_count + 1) * sizeof *q->links);
    q->trace->consts = malloc((g->const_count + 1) * sizeof *g->consts);
    if (!q->code || !q->fixes || !q->links || !q->trace->consts)
        return false;
    memcpy(q->trace->consts, g->consts, g->const_count * sizeof *g->consts);
    memcpy(q->code, g->buffer, g->code_bytes);
    memcpy(q->fixes, g->fixes, g->fix_count * sizeof *q->fixes);
    memcpy(q->links, g->links, g->link_count * sizeof *q->links);
    q->code_bytes = g->code_bytes;
    q->fix_count = g->fix_count;
    q->link_count = g->link_count;
    q->fallback_at = g->fallback_at;
    return true;
}

/* A path with an instruction that has no rule ends in front of its block. */
static bool build(struct t2_compiler *c, struct t2_request *q)
{
    if (t2_build(&c->ir))
        return true;
    unsigned n = q->block_count;
    if (c->ir.built < c->ir.insn_count)
        q->cut = q->insns[c->ir.built].i.mnemonic;
    while (n && (q->first[n - 1] > c->ir.built ||
                 q->first[n - 1] >= q->insn_count))
        n--;
    if (n < 2 || q->is_loop || c->ir.failed || q->first[n - 1] < c->options->trace_min)
        return false;
    q->block_count = n - 1;
    q->insn_count = c->ir.insn_count = q->first[n - 1];
    c->ir.piece_count = 1;
    return t2_build(&c->ir);
}

static bool compile(struct t2_compiler *c, struct t2_request *q)
{
    struct t2_trace *trace = q->trace;
    set_up(c, q);
    choose_unroll(c, q);
    if (!build(c, q))
        return false;
    timed(c, q, JIT_PASS_CONSTANT_FOLDING, t2_fold);
    timed(c, q, JIT_PASS_CSE, t2_cse);
    timed(c, q, JIT_PASS_LICM, t2_licm);
    timed(c, q, JIT_PASS_CONSTANT_FOLDING, t2_fold); /* phis of invariants */
    timed(c, q, JIT_PASS_CSE, t2_reuse);
    timed(c, q, JIT_PASS_CSE, t2_forward);
    timed(c, q, JIT_PASS_CONSTANT_FOLDING, t2_fold); /* what RET returns to */
    timed(c, q, JIT_PASS_FLAG_ELIMINATION, t2_flag_elimination);
    timed(c, q, JIT_PASS_DCE, t2_dce);
    timed(c, q, JIT_PASS_STRENGTH_REDUCTION, t2_reduce);
    timed(c, q, JIT_PASS_SCHEDULING, t2_schedule);
    uint64_t begun = now(c);
    bool ok = t2_allocate(&c->alloc, &c->ir);
    q->pass_ns[JIT_PASS_REGISTER_ALLOCATION] += now(c) - begun;
    trace->sites = calloc(count_checks(&c->ir) + 1, sizeof *trace->sites);
    ok = ok && trace->sites && t2_generate(&c->gen, &c->ir, &c->alloc, trace);
    if (!ok)
        return false;
    trace->is_loop = c->ir.is_loop;
    trace->insn_count = q->insn_count;
    return keep(c, q);
}

void t2_compile(struct t2_compiler *c, struct t2_request *q)
{
    uint64_t begun = now(c);
    q->is_compiled = compile(c, q);
    q->total_ns = now(c) - begun;
}
