/* The trace as host code: control, entry and the order of ops. */
#include "jit/t2_code.h"

#include <stdlib.h>
#include <string.h>

/* ---- control ------------------------------------------------------------- */

/* Go where the guard's arm is, or leave, when the condition does not hold. */
static void leave_unless(struct t2_gen *g, t2_ref r, unsigned condition,
                         enum t2_reason reason)
{
    unsigned arm = g->ir->ops[r].arm;
    if (arm) {
        g->arm_site[arm] = emit_jump(&g->e, condition ^ 1);
        return;
    }
    struct t2_cold *c = t2g_cold(g, COLD_EXIT, r);
    c->reason = reason;
    c->site[0] = emit_jump(&g->e, condition ^ 1);
}

static void gen_guard(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    if (o->kind == T2_GUARD) {
        unsigned code = t2g_condition(g, o->c, o->digit);
        leave_unless(g, r, code, T2_FAIL_BRANCH);
        return;
    }
    int32_t imm;
    unsigned x = t2g_register(g, o->a, H_RAX);
    if (t2g_imm(g, o->b, o->size, &imm)) {
        t2g_alu_ri(g, o->size, 7, rm_reg(x), imm);
    } else {
        struct rm y = t2g_operand(g, o->b, H_RDX);
        t2g_op(g, o->size, 0x3b, x, y, o->size, 0);
    }
    g->host = 0;
    leave_unless(g, r, 4, T2_FAIL_TARGET);
}

static uint8_t *take_ticks(struct t2_gen *g, unsigned count)
{
    emit_alu_ri(&g->e, 8, 0, rm_reg(H_TICKS), (int32_t)count);
    return emit_jump(&g->e, 15); /* jg */
}

/* What differs in ticks is settled first. */
static void gen_arm(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    int32_t more = t2g_arm_ticks(g, o);
    if (g->arm_site[o->segment])
        emit_patch(&g->e, g->arm_site[o->segment], emit_here(&g->e));
    if (more > 0)
        t2g_cold(g, COLD_ARM, r)->site[0] = take_ticks(g, (unsigned)more);
    else if (more < 0)
        emit_op(&g->e, 8, 0x8d, H_TICKS, rm_base(H_TICKS, more), 8, 0);
    g->host = 0;
}

static void gen_loop(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    const struct t2_segment *first = &g->ir->segments[0];
    (void)o;
    t2g_loop_moves(g, T2_FROM_ENTRY);
    t2g_count(g, first->insns, first->accesses);
    g->loop_top = (uint32_t)(g->e.at - g->buffer);
    uint8_t *site = take_ticks(g, g->ir->segments[1].insns);
    struct t2_cold *c = t2g_cold(g, COLD_BUDGET, r);
    c->site[0] = site;
    g->host = 0;
}

static void gen_back(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    const struct t2_segment *s = &g->ir->segments[o->segment];
    (void)r;
    t2g_loop_moves(g, (int)o->imm);
    t2g_count(g, s->insns, s->accesses);
    uint8_t *jump = emit_jump(&g->e, 16);
    emit_patch(&g->e, jump, g->buffer + g->loop_top + g->e.to_exec);
}

static void gen_exit(struct t2_gen *g, t2_ref r, const struct t2_op *o)
{
    (void)r;
    g->host = 0;
    t2g_exit(g, o);
}

/* NULL: no code. */
static t2g_rule *const rules[T2_KINDS] = {
    [T2_ALU] = t2g_alu,
    [T2_CMP] = t2g_compare,
    [T2_TEST] = t2g_compare,
    [T2_INC] = t2g_unary,
    [T2_DEC] = t2g_unary,
    [T2_NEG] = t2g_unary,
    [T2_NOT] = t2g_unary,
    [T2_SHIFT] = t2g_shift,
    [T2_SHIFTCL] = t2g_shift_cl,
    [T2_IMUL] = t2g_imul,
    [T2_MULHI] = t2g_mulhi,
    [T2_DIV] = t2g_div,
    [T2_BT] = t2g_bt,
    [T2_HOST] = t2g_host,
    [T2_MOVZX] = t2g_extend,
    [T2_MOVSX] = t2g_extend,
    [T2_HIGH] = t2g_high,
    [T2_MERGE] = t2g_merge,
    [T2_SETHIGH] = t2g_set_high,
    [T2_LEA] = t2g_lea,
    [T2_SETCC] = t2g_setcc,
    [T2_CMOV] = t2g_cmov,
    [T2_PAGE] = t2g_simple,
    [T2_SEGBASE] = t2g_simple,
    [T2_BSWAP] = t2g_simple,
    [T2_GETF] = t2g_simple,
    [T2_FLAGS] = t2g_simple,
    [T2_SYSREAD] = t2g_simple,
    [T2_SYSWRITE] = t2g_syswrite,
    [T2_CHECK] = t2g_check,
    [T2_LOAD] = t2g_load_op,
    [T2_STORE] = t2g_store,
    [T2_VECTOR] = t2g_vector,
    [T2_VVALUE] = t2g_vector,
    [T2_GUARD] = gen_guard,
    [T2_GUARDEQ] = gen_guard,
    [T2_LOOP] = gen_loop,
    [T2_BACK] = gen_back,
    [T2_ARM] = gen_arm,
    [T2_EXIT] = gen_exit,
    [T2_EXIT_TO] = gen_exit};

static void gen_op(struct t2_gen *g, t2_ref r)
{
    const struct t2_op *o = &g->ir->ops[r];
    if (rules[o->kind])
        rules[o->kind](g, r, o);
}

/* ---- the trace ----------------------------------------------------------- */

/* The key and, where addresses are constants, the page. */
static unsigned gen_entry_guard(struct t2_gen *g, uint8_t *sites[2])
{
    struct emit *e = &g->e;
    const struct cpu *c = g->j->cpu;
    if (g->trace->one_page)
        return 0;
    emit_mov_ri(e, H_RCX, g->trace->key);
    t2g_op(g, 8, 0x3b, H_RCX, rm_abs(&c->jit_key), 8, 0);
    sites[0] = emit_jump(e, 5);
    emit_mov_ri(e, H_RCX, g->ir->head & ~(uint64_t)(PAGE_BYTES - 1));
    t2g_op(g, 8, 0x3b, H_RCX, rm_abs(&c->jit_page), 8, 0);
    sites[1] = emit_jump(e, 5);
    return 2;
}

/* The host's vector unit holds the guest's state, or tier 1 sees to it. Returns
 * the jump for the latter. */
static uint8_t *need_vectors(struct t2_gen *g)
{
    if (!g->ir->uses_vectors)
        return NULL;
    t2g_alu_ri(g, 1, 7, rm_abs(&g->j->cpu->jit_simd), 0);
    uint8_t *ready = emit_jump(&g->e, 5);
    t2g_call_out(g, g->j->simd_load);
    uint8_t *refused = emit_jump(&g->e, 5);
    emit_patch(&g->e, ready, emit_here(&g->e));
    return refused;
}

static void gen_refusals(struct t2_gen *g, uint8_t *const key[2], unsigned keys,
                         uint8_t *too_far, uint8_t *no_vectors)
{
    struct emit *e = &g->e;
    unsigned count = g->ir->segments[0].insns;
    emit_patch(e, too_far, emit_here(e));
    if (no_vectors)
        emit_patch(e, no_vectors, emit_here(e));
    emit_alu_ri(e, 8, 5, rm_reg(H_TICKS), (int32_t)count);
    t2g_to_fallback(g);
    if (!keys)
        return;
    for (unsigned n = 0; n < keys; n++)
        emit_patch(e, key[n], emit_here(e));
    t2g_alu_ri(g, 4, 0,
               rm_abs(&g->near_data->count[g->trace->id].fails[T2_FAIL_KEY]),
               1);
    t2g_to_fallback(g);
}

bool t2_generate(struct t2_gen *g, const struct t2_ir *ir,
                 const struct t2_alloc *a, struct t2_trace *trace)
{
    uint8_t *key[2] = {NULL, NULL};
    g->ir = ir;
    g->a = a;
    g->trace = trace;
    g->e = (struct emit){.at = g->buffer,
                         .end = g->buffer + T2_CODE_BYTES,
                         .to_exec = g->j->exec - g->buffer};
    g->fix_count = g->link_count = g->site_count = g->const_count = 0;
    g->fallback = NULL;
    g->cold_count = 0;
    g->failed = false;
    g->host = 0;
    g->entry_top = 0;
    memset(g->arm_site, 0, sizeof g->arm_site);
    unsigned keys = gen_entry_guard(g, key);
    uint8_t *too_far = take_ticks(g, ir->segments[0].insns);
    uint8_t *no_vectors = need_vectors(g);
    t2g_enter(g);
    for (g->at = 0; g->at < ir->seq_count && !g->failed && !g->e.full; g->at++)
        gen_op(g, ir->seq[g->at]);
    t2g_colds(g);
    gen_refusals(g, key, keys, too_far, no_vectors);
    g->code_bytes = (uint32_t)(g->e.at - g->buffer);
    return !g->failed && !g->e.full;
}

bool t2_gen_init(struct t2_gen *g, const struct jit *j,
                 struct t2_near *near_data, const uint8_t *slow)
{
    memset(g, 0, sizeof *g);
    g->j = j;
    g->near_data = near_data;
    g->slow = slow;
    g->buffer = malloc(T2_CODE_BYTES);
    g->fixes = calloc(T2_FIXES_MAX, sizeof *g->fixes);
    g->links = calloc(T2_LINKS_MAX, sizeof *g->links);
    g->consts = calloc(T2_CONSTS_MAX, sizeof *g->consts);
    g->cold = calloc(T2_LINKS_MAX + 1, sizeof *g->cold);
    return g->buffer && g->fixes && g->links && g->cold && g->consts;
}

void t2_gen_fini(struct t2_gen *g)
{
    free(g->buffer);
    free(g->fixes);
    free(g->links);
    free(g->cold);
    free(g->consts);
}
