/* The IR of tier 2: what each pass does to small traces. */
#include "cpu/decode.h"
#include "cpu/flags.h"
#include "jit/t2_alloc.h"
#include "jit/t2_flags.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 64, HEAD = 0x400100 };

struct scene {
    struct t2_ir ir;
    struct t2_insn insns[MOST];
};

static int set_up(void **state)
{
    static struct scene s;
    if (!t2_ir_alloc(&s.ir))
        return -1;
    *state = &s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    t2_ir_free(&s->ir);
    return 0;
}

/* Instructions in a row; a last branch is one back to the head when is_loop. */
static void decode(struct scene *s, const char *code, unsigned bytes,
                   bool is_loop)
{
    struct t2_ir *ir = &s->ir;
    unsigned at = 0, n = 0;
    for (; at < bytes; n++) {
        struct t2_insn *i = &s->insns[n];
        assert_int_equal(
            decode_insn((const uint8_t *)code + at, bytes - at, MODE_64, &i->i),
            DECODE_OK);
        i->original = &i->i;
        i->rip = HEAD + at;
        at += i->i.len;
        i->next = HEAD + at;
    }
    if (is_loop)
        s->insns[n - 1].next = HEAD;
    ir->insns = s->insns;
    ir->insn_count = n;
    ir->is64 = true;
    ir->one_page = true;
    ir->is_loop = is_loop;
    ir->no_spans = false;
    ir->unroll = 2;
    ir->head = HEAD;
    ir->host.shifts = ir->host.multiplies = true;
    ir->host.bit_tests = ir->host.logic = true;
    assert_true(t2_build(ir));
}
#define DECODE(s, code, is_loop) decode(s, code, sizeof(code) - 1, is_loop)

static unsigned count(const struct t2_ir *ir, unsigned kind)
{
    unsigned total = 0;
    for (unsigned n = 0; n < ir->seq_count; n++)
        total += ir->ops[ir->seq[n]].kind == kind;
    return total;
}

static void all_passes(struct t2_ir *ir)
{
    t2_fold(ir);
    t2_cse(ir);
    t2_licm(ir);
    t2_fold(ir);
    t2_reuse(ir);
    t2_forward(ir);
    t2_fold(ir);
    t2_flag_elimination(ir);
    t2_dce(ir);
    t2_reduce(ir);
    t2_schedule(ir);
}

/* The value of a guest register at the end of the trace. */
static const struct t2_op *at_end(const struct t2_ir *ir, unsigned reg)
{
    const struct t2_op *exit = &ir->ops[ir->seq[ir->seq_count - 1]];
    assert_int_equal(exit->kind, T2_EXIT);
    return &ir->ops[t2_value(ir, ir->maps[exit->map].reg[reg])];
}

/* ---- passes -------------------------------------------------------------- */

static void constants_are_folded(void **state)
{
    struct scene *s = *state;
    /* mov eax, 5; lea ecx, [rax + 7]; imul edx, ecx, 3; not edx */
    DECODE(s, "\xb8\x05\x00\x00\x00\x8d\x48\x07\x6b\xd1\x03\xf7\xd2", false);
    t2_fold(&s->ir);
    assert_int_equal(at_end(&s->ir, REG_RCX)->kind, T2_CONST);
    assert_int_equal(at_end(&s->ir, REG_RCX)->imm, 12);
    assert_int_equal(at_end(&s->ir, REG_RDX)->imm, 0xffffffff - 36);
}

static void settled_guards_go(void **state)
{
    struct scene *s = *state;
    /* xor eax, eax; jnz +0 (not taken) */
    DECODE(s, "\x31\xc0\x75\x10", false);
    assert_int_equal(count(&s->ir, T2_GUARD), 1);
    t2_fold(&s->ir);
    assert_int_equal(count(&s->ir, T2_GUARD), 0);
}

static void dead_code_goes(void **state)
{
    struct scene *s = *state;
    /* add eax, ebx; mov eax, 1; cmp eax, ecx */
    DECODE(s, "\x01\xd8\xb8\x01\x00\x00\x00\x39\xc8", false);
    assert_int_equal(count(&s->ir, T2_ALU), 1);
    t2_dce(&s->ir);
    assert_int_equal(count(&s->ir, T2_ALU), 0);
    /* The flags at the exit come from operands that are at hand. */
    assert_int_equal(count(&s->ir, T2_CMP), 0);
}

static void equal_expressions_are_computed_once(void **state)
{
    struct scene *s = *state;
    /* movzx eax, bl; movzx ecx, bl */
    DECODE(s, "\x0f\xb6\xc3\x0f\xb6\xcb", false);
    t2_cse(&s->ir);
    assert_int_equal(count(&s->ir, T2_MOVZX), 1);
    assert_ptr_equal(at_end(&s->ir, REG_RAX), at_end(&s->ir, REG_RCX));
}

static void neighbours_share_a_page_check(void **state)
{
    struct scene *s = *state;
    /* push rax; push rbx; mov [rsp + 4], cl; pop rdx */
    DECODE(s, "\x50\x53\x88\x4c\x24\x04\x5a", false);
    assert_int_equal(count(&s->ir, T2_CHECK), 4);
    t2_cse(&s->ir);
    assert_int_equal(count(&s->ir, T2_CHECK), 1);
    for (unsigned n = 0; n < s->ir.seq_count; n++) {
        const struct t2_op *o = &s->ir.ops[s->ir.seq[n]];
        if (o->kind != T2_CHECK)
            continue;
        assert_int_equal(o->lo, -16);
        assert_int_equal(o->hi, 0);
        assert_int_equal(o->rw, T2_READS | T2_WRITES);
        assert_int_equal(o->own_bytes, 8); /* the access that is done there */
        assert_int_equal(o->own, -8);
    }
    s->ir.no_spans = true;
    DECODE(s, "\x50\x53\x5a", false);
    s->ir.no_spans = true;
    t2_cse(&s->ir);
    assert_int_equal(count(&s->ir, T2_CHECK), 3); /* pop reads, push wrote */
}

static void loads_are_shared_until_a_store(void **state)
{
    struct scene *s = *state;
    /* mov rax, [rsi]; mov rcx, [rsi]; mov [rdi], rax; mov rdx, [rsi] */
    DECODE(s, "\x48\x8b\x06\x48\x8b\x0e\x48\x89\x07\x48\x8b\x16", false);
    t2_cse(&s->ir);
    assert_int_equal(count(&s->ir, T2_LOAD), 2);
}

static void checks_are_not_repeated(void **state)
{
    struct scene *s = *state;
    struct t2_ir *ir = &s->ir;
    /* mov rax, [rsp]; mov rcx, [rsp + 8]; push rcx; pop rdx; dec ebx; jnz head */
    DECODE(s, "\x48\x8b\x04\x24\x48\x8b\x4c\x24\x08\x51\x5a\xff\xcb\x75\xf1",
           true);
    ir->no_spans = true;
    assert_int_equal(count(ir, T2_CHECK), 3 * 4);
    t2_fold(ir);
    t2_cse(ir);
    t2_licm(ir);
    t2_fold(ir);
    t2_reuse(ir);
    /* Three of the first iteration: the one of PUSH is good for POP as well. */
    assert_int_equal(count(ir, T2_CHECK), 3);
    unsigned both = 0;
    for (unsigned n = 0; n < ir->seq_count; n++) {
        const struct t2_op *o = &ir->ops[ir->seq[n]];
        assert_false(o->kind == T2_CHECK && o->segment != 0);
        both += o->kind == T2_CHECK && o->rw == (T2_READS | T2_WRITES);
    }
    assert_int_equal(both, 1);
}

static void loads_take_what_was_stored(void **state)
{
    struct scene *s = *state;
    struct t2_ir *ir = &s->ir;
    /* push rax; pop rcx */
    DECODE(s, "\x50\x59", false);
    all_passes(ir);
    assert_int_equal(count(ir, T2_LOAD), 0);
    assert_int_equal(at_end(ir, REG_RCX)->kind, T2_PARAM);
    assert_int_equal(at_end(ir, REG_RCX)->digit, REG_RAX);
    /* call +0; ret: it returns to where the call came from */
    DECODE(s, "\xe8\x00\x00\x00\x00\xc3", false);
    s->insns[1].next = HEAD + 5;
    assert_true(t2_build(ir));
    t2_cse(ir);
    t2_forward(ir);
    assert_int_equal(count(ir, T2_LOAD), 0);
    /* mov [rsi], eax; mov ecx, [rsi]; mov dx, [rsi + 2]; mov bl, [rsi + 4] */
    DECODE(s, "\x89\x06\x8b\x0e\x66\x8b\x56\x02\x8a\x5e\x04", false);
    t2_cse(ir);
    t2_forward(ir);
    assert_int_equal(count(ir, T2_LOAD), 2);
    assert_int_equal(at_end(ir, REG_RCX)->kind, T2_MOVZX);
    assert_int_equal(at_end(ir, REG_RCX)->size, 4);
}

/* rdi may point to what rsi points to, and lie beside it or not. */
static void stores_end_what_is_known(void **state)
{
    struct scene *s = *state;
    struct t2_ir *ir = &s->ir;
    /* mov edx, [rdi]; mov eax, [rsi]; mov [rdi], ebx; mov ecx, [rsi] */
    DECODE(s, "\x8b\x17\x8b\x06\x89\x1f\x8b\x0e", false);
    t2_cse(ir);
    t2_forward(ir);
    assert_int_equal(count(ir, T2_LOAD), 3);
    /* mov eax, [rsi]; mov [rsi + 2], ebx; mov ecx, [rsi] */
    DECODE(s, "\x8b\x06\x89\x5e\x02\x8b\x0e", false);
    t2_cse(ir);
    t2_forward(ir);
    assert_int_equal(count(ir, T2_LOAD), 2);
    /* mov eax, [rsi]; mov [rsi + 4], ebx; mov ecx, [rsi] */
    DECODE(s, "\x8b\x06\x89\x5e\x04\x8b\x0e", false);
    t2_cse(ir);
    t2_forward(ir);
    assert_int_equal(count(ir, T2_LOAD), 1);
}

static void loads_need_no_extension(void **state)
{
    struct scene *s = *state;
    /* movzx eax, word [rsi]; movzx ecx, ax; movzx edx, al */
    DECODE(s, "\x0f\xb7\x06\x0f\xb7\xc8\x0f\xb6\xd0", false);
    t2_fold(&s->ir);
    t2_dce(&s->ir);
    assert_int_equal(at_end(&s->ir, REG_RAX)->kind, T2_LOAD);
    assert_ptr_equal(at_end(&s->ir, REG_RAX), at_end(&s->ir, REG_RCX));
    assert_int_equal(at_end(&s->ir, REG_RDX)->kind, T2_MOVZX);
}

static void flags_that_nobody_reads_are_not_kept(void **state)
{
    struct scene *s = *state;
    /* shl eax, 5; add ebx, ecx */
    DECODE(s, "\xc1\xe0\x05\x01\xcb", false);
    assert_int_equal(count(&s->ir, T2_FLAGS), 1);
    t2_flag_elimination(&s->ir);
    t2_dce(&s->ir);
    assert_int_equal(count(&s->ir, T2_FLAGS), 0);
    /* But an access may fault with them: shl eax, 5; mov ecx, [rsi]; add */
    DECODE(s, "\xc1\xe0\x05\x8b\x0e\x01\xcb", false);
    t2_flag_elimination(&s->ir);
    t2_dce(&s->ir);
    assert_int_equal(count(&s->ir, T2_FLAGS), 1);
}

static void multiplications_become_shifts_and_leas(void **state)
{
    struct scene *s = *state;
    /* imul eax, ecx, 8; imul ebx, ecx, 9; xor edx, edx */
    DECODE(s, "\x6b\xc1\x08\x6b\xd9\x09\x31\xd2", false);
    all_passes(&s->ir);
    assert_int_equal(count(&s->ir, T2_IMUL), 0);
    assert_int_equal(count(&s->ir, T2_LEA), 2);
}

static void invariants_leave_the_loop(void **state)
{
    struct scene *s = *state;
    /* lea eax, [rbx + rsi]; add edx, [rbp]; dec ecx; jnz head */
    DECODE(s, "\x8d\x04\x33\x03\x55\x00\xff\xc9\x75\xf6", true);
    assert_int_equal(count(&s->ir, T2_CHECK), 3);
    all_passes(&s->ir);
    assert_int_equal(count(&s->ir, T2_CHECK), 1);
    unsigned n = s->ir.seq_count;
    bool is_seen = false;
    while (n-- && s->ir.ops[s->ir.seq[n]].kind != T2_LOOP) {
        unsigned kind = s->ir.ops[s->ir.seq[n]].kind;
        assert_int_not_equal(kind, T2_CHECK);
        is_seen |= kind == T2_LOAD;
    }
    assert_true(is_seen);
}

static void pages_of_moving_pointers_are_checked_at_the_head(void **state)
{
    struct scene *s = *state;
    /* add edx, [rsi]; add rsi, 4; dec ecx; jnz head */
    DECODE(s, "\x03\x16\x48\x83\xc6\x04\xff\xc9\x75\xf6", true);
    all_passes(&s->ir);
    unsigned heads = 0;
    for (unsigned n = 0; n < s->ir.seq_count; n++) {
        const struct t2_op *o = &s->ir.ops[s->ir.seq[n]];
        if (o->kind == T2_CHECK && o->at_head) {
            heads++;
            assert_int_equal(o->hi - o->lo, 8); /* two iterations */
        }
    }
    assert_int_equal(heads, 1);
}

static void comparisons_go_to_their_branch(void **state)
{
    struct scene *s = *state;
    /* cmp eax, ebx; mov [rsi], ecx; jz +10 (not taken): the check clobbers */
    DECODE(s, "\x39\xd8\x89\x0e\x74\x10", false);
    t2_schedule(&s->ir);
    for (unsigned n = 1; n < s->ir.seq_count; n++)
        if (s->ir.ops[s->ir.seq[n]].kind == T2_GUARD)
            assert_int_equal(s->ir.ops[s->ir.seq[n - 1]].kind, T2_CMP);
}

static void calls_and_returns_cancel(void **state)
{
    struct scene *s = *state;
    /* call +0 is a push of a known address; ret to it leaves rsp as it was */
    DECODE(s, "\xe8\x00\x00\x00\x00\x58", false);
    t2_fold(&s->ir);
    assert_int_equal(at_end(&s->ir, REG_RSP)->kind, T2_PARAM);
    assert_int_equal(at_end(&s->ir, REG_RSP)->digit, REG_RSP);
}

/* ---- arms ---------------------------------------------------------------- */

/* test al, 1; jz skip; inc ecx; skip: dec edx; jnz HEAD: both ways are taken. */
static void build_two_ways(struct scene *s)
{
    static const struct t2_piece pieces[] = {
        {.first = 0, .count = 5, .weight = 16, .is_back = true, .start = HEAD},
        {.first = 5,
         .count = 2,
         .at = 1,
         .weight = 8,
         .is_back = true,
         .start = HEAD + 6}};
    struct t2_ir *ir = &s->ir;
    DECODE(s, "\xa8\x01\x74\x02\xff\xc1\xff\xca\x75\xf6", true);
    s->insns[5] = s->insns[3];
    s->insns[6] = s->insns[4];
    ir->pieces = pieces;
    ir->piece_count = 2;
    assert_true(t2_build(ir));
    ir->piece_count = 0;
}

static void a_branch_that_goes_both_ways_has_an_arm(void **state)
{
    struct scene *s = *state;
    struct t2_ir *ir = &s->ir;
    unsigned arms = 0;
    build_two_ways(s);
    for (unsigned n = 0; n < ir->seq_count; n++)
        arms += ir->ops[ir->seq[n]].arm != 0;
    assert_int_equal(arms, 1);
    assert_int_equal(count(ir, T2_ARM), 1);
    assert_int_equal(count(ir, T2_BACK), 2);
    /* One instruction less on the way past the increment. */
    assert_int_equal(ir->segments[1].insns, 5);
    assert_int_equal(ir->segments[2].insns, 4);
}

static void what_an_arm_computes_stays_there(void **state)
{
    struct scene *s = *state;
    struct t2_ir *ir = &s->ir;
    t2_ref down[2] = {0, 0};
    unsigned found = 0;
    build_two_ways(s);
    t2_fold(ir);
    t2_cse(ir);
    t2_licm(ir);
    /* The same subtraction of the same value, in the body and in its arm. */
    for (unsigned n = 0; n < ir->seq_count; n++)
        if (ir->ops[ir->seq[n]].kind == T2_DEC && ir->ops[ir->seq[n]].segment)
            down[found++ & 1] = ir->seq[n];
    assert_int_equal(found, 2);
    assert_false(t2_dominates(ir, down[0], down[1]));
    assert_false(t2_dominates(ir, down[1], down[0]));
    assert_true(t2_dominates(ir, ir->ops[down[0]].a, down[1]));
}

/* ---- registers ----------------------------------------------------------- */

/* Whatever is alive at a time has places of its own. */
static void values_do_not_share_places(void **state)
{
    struct scene *s = *state;
    struct t2_alloc a;
    assert_true(t2_alloc_init(&a));
    DECODE(s,
           "\x03\x16\x48\x83\xc6\x04\x01\xd8\x11\xcb\x45\x01\xc8\x4d\x01\xe5"
           "\x4d\x89\x3e\xff\xc9\x75\xe9",
           true);
    all_passes(&s->ir);
    assert_true(t2_allocate(&a, &s->ir));
    unsigned placed = 0, spilled = 0;
    for (unsigned n = 0; n < s->ir.seq_count; n++)
        for (unsigned m = 0; m < n; m++) {
            t2_ref x = s->ir.seq[n], y = s->ir.seq[m];
            if (a.at[x] == T2_NOWHERE || a.at[x] != a.at[y])
                continue;
            placed++;
            assert_true(a.last[x] <= a.first[y] || a.last[y] <= a.first[x]);
        }
    for (unsigned n = 0; n < s->ir.seq_count; n++)
        spilled += a.at[s->ir.seq[n]] != T2_NOWHERE &&
                   t2_is_memory(a.at[s->ir.seq[n]]);
    assert_true(placed > 0);
    assert_true(spilled > 0); /* there are more than registers */
    t2_alloc_fini(&a);
}

/* ---- flags from recipes -------------------------------------------------- */

static void recipes_give_the_flags_of_the_instruction(void **state)
{
    static const uint64_t values[] = {
        0,    1,          0x7f,       0x80,       0xff,
        0x10, 0x7fffffff, 0x80000000, UINT64_MAX, 0x8000000000000000};
    static struct cpu c;
    (void)state;
    for (unsigned n = 0; n < 100; n++) {
        uint64_t x = values[n / 10], y = values[n % 10];
        uint32_t r = alu_add32(&c, (uint32_t)x, (uint32_t)y);
        assert_int_equal(t2_flags_eval(R_ADD, 4, r, y, 0), c.aflags);
        r = alu_sub32(&c, (uint32_t)x, (uint32_t)y);
        assert_int_equal(t2_flags_eval(R_SUB, 4, r, y, 0), c.aflags);
        assert_int_equal(t2_flags_eval(R_CMP, 4, x, y, 0), c.aflags);
        r = alu_and32(&c, (uint32_t)x, (uint32_t)y);
        assert_int_equal(t2_flags_eval(R_TEST, 4, x, y, 0), c.aflags);
        assert_int_equal(t2_flags_eval(R_LOGIC, 4, r, 0, 0), c.aflags);
        uint8_t b = alu_sub8(&c, 0, (uint8_t)x);
        assert_int_equal(t2_flags_eval(R_NEG, 1, b, 0, 0), c.aflags);
        uint64_t q = alu_add64(&c, x, 1);
        assert_int_equal(t2_flags_eval(R_INC, 8, q, 0, AF_CF) | AF_CF,
                         c.aflags | AF_CF);
        assert_int_equal(t2_flags_eval(R_DEC, 8, q, 0, AF_CF) & AF_CF, AF_CF);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constants_are_folded),
        cmocka_unit_test(settled_guards_go),
        cmocka_unit_test(dead_code_goes),
        cmocka_unit_test(equal_expressions_are_computed_once),
        cmocka_unit_test(neighbours_share_a_page_check),
        cmocka_unit_test(loads_are_shared_until_a_store),
        cmocka_unit_test(checks_are_not_repeated),
        cmocka_unit_test(loads_take_what_was_stored),
        cmocka_unit_test(stores_end_what_is_known),
        cmocka_unit_test(loads_need_no_extension),
        cmocka_unit_test(flags_that_nobody_reads_are_not_kept),
        cmocka_unit_test(multiplications_become_shifts_and_leas),
        cmocka_unit_test(invariants_leave_the_loop),
        cmocka_unit_test(pages_of_moving_pointers_are_checked_at_the_head),
        cmocka_unit_test(comparisons_go_to_their_branch),
        cmocka_unit_test(calls_and_returns_cancel),
        cmocka_unit_test(a_branch_that_goes_both_ways_has_an_arm),
        cmocka_unit_test(what_an_arm_computes_stays_there),
        cmocka_unit_test(values_do_not_share_places),
        cmocka_unit_test(recipes_give_the_flags_of_the_instruction),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
