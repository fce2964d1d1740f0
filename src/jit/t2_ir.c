#include "jit/t2_ir.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool t2_ir_alloc(struct t2_ir *ir)
{
    ir->ops = calloc(T2_OPS_MAX, sizeof *ir->ops);
    ir->maps = calloc(T2_MAPS_MAX, sizeof *ir->maps);
    ir->seq = calloc(T2_OPS_MAX, sizeof *ir->seq);
    ir->seq2 = calloc(T2_OPS_MAX, sizeof *ir->seq2);
    ir->same = calloc(T2_OPS_MAX, sizeof *ir->same);
    ir->fsame = calloc(T2_OPS_MAX, sizeof *ir->fsame);
    ir->hash = calloc(T2_HASH, sizeof *ir->hash);
    ir->value_uses = calloc(T2_OPS_MAX, sizeof *ir->value_uses);
    ir->flag_uses = calloc(T2_OPS_MAX, sizeof *ir->flag_uses);
    ir->segments = calloc(T2_SEGMENTS_MAX, sizeof *ir->segments);
    ir->more = calloc(T2_SEGMENTS_MAX, sizeof *ir->more);
    return ir->ops && ir->maps && ir->seq && ir->seq2 && ir->same &&
           ir->fsame && ir->hash && ir->value_uses && ir->flag_uses &&
           ir->segments && ir->more;
}

void t2_ir_free(struct t2_ir *ir)
{
    free(ir->ops);
    free(ir->maps);
    free(ir->seq);
    free(ir->seq2);
    free(ir->same);
    free(ir->fsame);
    free(ir->hash);
    free(ir->value_uses);
    free(ir->flag_uses);
    free(ir->segments);
    free(ir->more);
}

void t2_ir_reset(struct t2_ir *ir)
{
    ir->op_count = 1; /* 0 is none */
    ir->map_count = 1;
    ir->seq_count = 0;
    ir->segment = ir->edge_count = ir->phi_count = 0;
    ir->loop_map = T2_MAP_NONE;
    ir->failed = ir->uses_vectors = false;
    memset(ir->segments, 0, T2_SEGMENTS_MAX * sizeof *ir->segments);
    ir->ops[0] = (struct t2_op){0};
    ir->same[0] = ir->fsame[0] = 0;
}

t2_ref t2_new_op(struct t2_ir *ir, struct t2_op op)
{
    if (ir->op_count == T2_OPS_MAX) {
        ir->failed = true;
        return 0;
    }
    t2_ref r = (t2_ref)ir->op_count++;
    op.segment = (uint8_t)ir->segment;
    ir->ops[r] = op;
    ir->same[r] = ir->fsame[r] = r;
    return r;
}

t2_ref t2_emit_ir(struct t2_ir *ir, struct t2_op op)
{
    t2_ref r = t2_new_op(ir, op);
    if (r)
        ir->seq[ir->seq_count++] = r;
    return r;
}

t2_ref t2_const(struct t2_ir *ir, uint64_t v)
{
    return t2_new_op(ir, (struct t2_op){.kind = T2_CONST, .imm = (int64_t)v});
}

bool t2_dominates(const struct t2_ir *ir, t2_ref x, t2_ref y)
{
    unsigned to = ir->ops[x].segment;
    if (ir->ops[x].at_head)
        return ir->ops[y].segment != 0;
    for (unsigned s = ir->ops[y].segment; s != to; s = ir->ops[y].segment) {
        if (s == 0)
            return false;
        y = ir->segments[s].from;
    }
    return x < y;
}

struct t2_sum t2_sum_of(const struct t2_ir *ir, t2_ref v)
{
    struct t2_sum s = {t2_value(ir, v), 0};
    unsigned size = ir->is64 ? 8 : 4;
    for (;;) {
        const struct t2_op *o = &ir->ops[s.root];
        if (o->kind == T2_LEA && o->size == size && !o->b && o->a) {
            s.offset += o->imm;
            s.root = t2_value(ir, o->a);
        } else if (o->kind == T2_ALU && o->size == size &&
                   (o->digit == 0 || o->digit == 5) && t2_is_const(ir, o->b)) {
            int64_t k = ir->ops[t2_value(ir, o->b)].imm;
            if (size == 4)
                k = (int32_t)k;
            s.offset += o->digit == 0 ? k : -k;
            s.root = t2_value(ir, o->a);
        } else if ((o->kind == T2_INC || o->kind == T2_DEC) &&
                   o->size == size) {
            s.offset += o->kind == T2_INC ? 1 : -1;
            s.root = t2_value(ir, o->a);
        } else {
            return s;
        }
    }
}

struct t2_recipe t2_recipe_of(const struct t2_ir *ir, t2_ref flags)
{
    t2_ref f = t2_flags_of(ir, flags);
    const struct t2_op *o = &ir->ops[f];
    struct t2_recipe r = {R_NEVER, o->size, t2_value(ir, f), t2_value(ir, o->b),
                          t2_flags_of(ir, o->c)};
    switch (o->kind) {
    case T2_PFLAGS:
    case T2_FLAGS:
    case T2_FPHI:
        r.kind = R_HELD;
        break;
    case T2_RECIPE:
        r.kind = o->digit;
        r.r = t2_value(ir, o->a);
        break;
    case T2_ALU:
        if (o->digit != 2 && o->digit != 3)
            r.kind = o->digit == 0 ? R_ADD : o->digit == 5 ? R_SUB : R_LOGIC;
        break;
    case T2_CMP:
        r.kind = R_CMP;
        r.r = t2_value(ir, o->a);
        break;
    case T2_TEST:
        r.r = t2_value(ir, o->a);
        r.kind = r.r == r.b ? R_LOGIC : R_TEST;
        break;
    case T2_INC:
    case T2_DEC:
        r.kind = o->kind == T2_INC ? R_INC : R_DEC;
        break;
    case T2_NEG:
        r.kind = R_NEG;
        break;
    default:
        break;
    }
    if (r.kind != R_TEST && r.kind != R_CMP && r.kind != R_ADD &&
        r.kind != R_SUB)
        r.b = 0;
    if (r.kind != R_INC && r.kind != R_DEC)
        r.c = 0;
    return r;
}

bool t2_sets_flags(unsigned kind)
{
    switch (kind) {
    case T2_ALU:
    case T2_CMP:
    case T2_TEST:
    case T2_INC:
    case T2_DEC:
    case T2_NEG:
    case T2_SHIFT:
    case T2_SHIFTCL:
    case T2_IMUL:
    case T2_MULHI:
    case T2_BT:
    case T2_HOST:
        return true;
    default:
        return false;
    }
}

bool t2_has_value(unsigned kind)
{
    return kind != T2_RECIPE && kind != T2_CMP && kind != T2_TEST &&
           kind != T2_STORE && kind != T2_SYSWRITE && kind != T2_VECTOR &&
           kind < T2_GUARD && kind != T2_NONE;
}

bool t2_has_second_map(unsigned kind)
{
    return kind == T2_GUARD || kind == T2_GUARDEQ || kind == T2_ARM ||
           kind == T2_EXIT || kind == T2_EXIT_TO;
}

bool t2_reads_flags(const struct t2_op *o)
{
    switch (o->kind) {
    case T2_ALU:
        return o->digit == 2 || o->digit == 3;
    case T2_SHIFTCL:
    case T2_SETCC:
    case T2_CMOV:
    case T2_BT:
    case T2_GETF:
    case T2_FLAGS:
    case T2_GUARD:
        return true;
    default:
        return false;
    }
}

static const char *const names[T2_KINDS] = {
    "none",    "const",   "param",    "pflags",  "phi",     "fphi",  "recipe",
    "page",    "segbase", "movzx",    "movsx",   "high",    "merge", "sethigh",
    "lea",     "alu",     "cmp",      "test",    "inc",     "dec",   "neg",
    "not",     "shift",   "shiftcl",  "imul",    "mulhi",   "div",   "bswap",
    "setcc",   "cmov",    "bt",       "host",    "getf",    "flags", "check",
    "load",    "sysread", "store",    "syswrite", "vector", "vvalue",
    "guard",   "guardeq", "loop",     "back",    "arm",     "exit",  "exit_to"};

static void add(char **at, char *end, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int n = vsnprintf(*at, (size_t)(end - *at), format, list);
    va_end(list);
    if (n > 0)
        *at = n < end - *at ? *at + n : end - 1;
}

void t2_print(const struct t2_ir *ir, char *text, unsigned bytes)
{
    char *at = text, *end = text + bytes;
    *text = 0;
    for (unsigned n = 0; n < ir->seq_count; n++) {
        t2_ref r = ir->seq[n];
        const struct t2_op *o = &ir->ops[r];
        add(&at, end, "%u = %s.%u/%u", r, names[o->kind], o->size, o->digit);
        const t2_ref refs[3] = {t2_value(ir, o->a), t2_value(ir, o->b),
                                t2_flags_of(ir, o->c)};
        for (unsigned k = 0; k < 3; k++) {
            const struct t2_op *p = &ir->ops[refs[k]];
            if (p->kind == T2_CONST)
                add(&at, end, " #%lld", (long long)p->imm);
            else if (p->kind == T2_PARAM)
                add(&at, end, " r%u", p->digit);
            else if (refs[k])
                add(&at, end, " %s%u", k == 2 ? "f" : "", refs[k]);
        }
        if (o->kind == T2_CHECK)
            add(&at, end, " [%d,%d) rw%u%s", o->lo, o->hi, o->rw,
                o->at_head ? " head" : "");
        add(&at, end, " imm %lld insn %u\n", (long long)o->imm, o->insn);
    }
}
