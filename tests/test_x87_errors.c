/* How x87 availability, errors and images show outside arithmetic. */
#include "tests/lib_native.h"

#include "base/bytes.h"
#include "cpu/x87.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct native n;
    bool ferr_line;
};

static void set_ferr(void *context, bool level)
{
    struct fixture *f = context;
    f->ferr_line = level;
}

/* A CPU with an empty stack that has run one FNOP. */
static int set_up(void **state)
{
    static struct fixture f;

    *state = &f;
    if (!native_init(&f.n))
        return -1;
    store_le16(f.n.before, 0x37f);
    store_le16(f.n.before + 24, 0x1f80);
    native_run(&f.n, (const uint8_t[]){0xd9, 0xd0}, 2);
    f.n.cpu->board.context = &f;
    f.n.cpu->board.ferr = set_ferr;
    f.ferr_line = false;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    native_fini(&f->n);
    return 0;
}

static enum exc execute(struct fixture *f, const uint8_t *code,
                        unsigned length)
{
    struct insn i;

    assert_true(native_decode(&f->n, code, length, &i));
    return i.fn(f->n.cpu, &i);
}
#define EXECUTE(f, ...)                                                        \
    execute(f, (const uint8_t[]){__VA_ARGS__},                                 \
            sizeof((const uint8_t[]){__VA_ARGS__}))

/* 1 / 0 with ZE unmasked. */
static void divide_by_zero(struct fixture *f)
{
    f->n.cpu->x87.control = 0x37b;
    assert_int_equal(EXECUTE(f, 0xd9, 0xe8), EXC_NONE); /* FLD1 */
    assert_int_equal(EXECUTE(f, 0xd9, 0xee), EXC_NONE); /* FLDZ */
    assert_int_equal(EXECUTE(f, 0xde, 0xf9), EXC_NONE); /* FDIVP */
    assert_int_equal(x87_status(f->n.cpu) & 0x80ff, 0x8084);
}

static void waiting_instruction_raises_mf(void **state)
{
    struct fixture *f = *state;

    divide_by_zero(f);
    assert_int_equal(EXECUTE(f, 0xd9, 0xe8), EXC_MF);
    assert_int_equal(EXECUTE(f, 0x9b), EXC_MF);
    assert_int_equal(EXECUTE(f, 0x0f, 0xfc, 0xc1), EXC_MF); /* PADDB */
    assert_int_equal(EXECUTE(f, 0xdf, 0xe0), EXC_NONE);     /* FNSTSW AX */
    assert_int_equal(EXECUTE(f, 0xdb, 0xe2), EXC_NONE);     /* FNCLEX */
    assert_int_equal(EXECUTE(f, 0xd9, 0xe8), EXC_NONE);
}

static void ne_clear_reports_by_ferr_until_cleared(void **state)
{
    struct fixture *f = *state;
    struct cpu *c = f->n.cpu;

    c->cr0 &= ~(uint64_t)CR0_NE;
    divide_by_zero(f);
    assert_false(f->ferr_line);
    assert_int_equal(EXECUTE(f, 0x9b), EXC_NONE);
    assert_true(f->ferr_line && c->ferr);
    assert_int_equal(EXECUTE(f, 0xdb, 0xe2), EXC_NONE);
    assert_false(f->ferr_line || c->ferr);
}

static void interrupt_comes_before_the_waiting_instruction(void **state)
{
    struct fixture *f = *state;
    struct cpu *c = f->n.cpu;

    c->cr0 &= ~(uint64_t)CR0_NE;
    divide_by_zero(f);
    c->flags |= FLAG_IF;
    c->intr = true;
    assert_int_equal(EXECUTE(f, 0xd9, 0xe8), EXC_REP_BREAK);
}

static void port_f0_lets_instructions_run(void **state)
{
    struct fixture *f = *state;
    struct cpu *c = f->n.cpu;

    c->cr0 &= ~(uint64_t)CR0_NE;
    divide_by_zero(f);
    EXECUTE(f, 0x9b);
    x87_ignne(c);
    assert_false(f->ferr_line);
    c->flags |= FLAG_IF;
    c->intr = true;
    assert_int_equal(EXECUTE(f, 0xd9, 0xe8), EXC_NONE);
    assert_false(f->ferr_line);
    assert_int_equal(EXECUTE(f, 0xdb, 0xe2), EXC_NONE);
    assert_false(c->x87_ignne);
}

static void ts_and_em_give_nm_and_ud(void **state)
{
    struct fixture *f = *state;
    struct cpu *c = f->n.cpu;

    c->cr0 |= CR0_TS;
    assert_int_equal(EXECUTE(f, 0xd9, 0xe8), EXC_NM);
    assert_int_equal(EXECUTE(f, 0x0f, 0x77), EXC_NM);
    assert_int_equal(EXECUTE(f, 0x9b), EXC_NONE);
    c->cr0 |= CR0_MP;
    assert_int_equal(EXECUTE(f, 0x9b), EXC_NM);
    c->cr0 = (c->cr0 & ~(uint64_t)CR0_TS) | CR0_EM;
    assert_int_equal(EXECUTE(f, 0xd9, 0xe8), EXC_NM);
    assert_int_equal(EXECUTE(f, 0x0f, 0x77), EXC_UD);
}

static void real_mode_environment_holds_linear_pointers(void **state)
{
    struct fixture *f = *state;
    struct cpu *c = f->n.cpu;

    c->cr0 &= ~(uint64_t)CR0_PE;
    c->x87.cs = 0x1234;
    c->x87.ip = 0x5678;
    c->x87.ds = 0xf000;
    c->x87.dp = 0xabcd;
    c->x87.opcode = 0x123;
    assert_int_equal(EXECUTE(f, 0xd9, 0x36), EXC_NONE); /* FNSTENV [rsi] */
    assert_int_equal(load_le32(f->n.memory + 12), 0xffff79b8);
    assert_int_equal(load_le32(f->n.memory + 16), 0x1123);
    assert_int_equal(load_le32(f->n.memory + 20), 0xffffabcd);
    assert_int_equal(load_le32(f->n.memory + 24), 0xf000);
    assert_int_equal(EXECUTE(f, 0x66, 0xd9, 0x36), EXC_NONE);
    assert_int_equal(load_le16(f->n.memory + 6), 0x79b8);
    assert_int_equal(load_le16(f->n.memory + 8), 0x1123);
    assert_int_equal(load_le16(f->n.memory + 12), 0xf000);
}

static void fxsave_wants_alignment_and_round_trips(void **state)
{
    struct fixture *f = *state;
    struct cpu *c = f->n.cpu;
    uint8_t image[512];

    EXECUTE(f, 0xd9, 0xeb); /* FLDPI */
    c->xmm[15].u64[1] = 0x1122334455667788;
    c->r[REG_RSI] += 8;
    assert_int_equal(EXECUTE(f, 0x0f, 0xae, 0x06), EXC_GP);
    c->r[REG_RSI] -= 8;
    assert_int_equal(EXECUTE(f, 0x0f, 0xae, 0x06), EXC_NONE);
    memcpy(image, f->n.memory, 512);
    assert_int_equal(image[4], 0x80);
    assert_int_equal(load_le16(image + 40), 0x4000);
    assert_true(load_le64(image + 408) == 0x1122334455667788);
    EXECUTE(f, 0xdb, 0xe3);
    c->xmm[15].u64[1] = 0;
    assert_int_equal(EXECUTE(f, 0x0f, 0xae, 0x0e), EXC_NONE);
    memset(f->n.memory, 0, 512);
    assert_int_equal(EXECUTE(f, 0x0f, 0xae, 0x06), EXC_NONE);
    assert_memory_equal(f->n.memory, image, 512);
}

static void fxrstor_refuses_reserved_mxcsr_bits(void **state)
{
    struct fixture *f = *state;

    memset(f->n.memory, 0, 512);
    f->n.memory[26] = 1;
    assert_int_equal(EXECUTE(f, 0x0f, 0xae, 0x0e), EXC_GP);
    f->n.cpu->cr4 &= ~(uint64_t)CR4_OSFXSR;
    assert_int_equal(EXECUTE(f, 0x0f, 0xae, 0x0e), EXC_NONE);
    assert_int_equal(f->n.cpu->mxcsr, 0x1f80);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(waiting_instruction_raises_mf),
        TEST(ne_clear_reports_by_ferr_until_cleared),
        TEST(interrupt_comes_before_the_waiting_instruction),
        TEST(port_f0_lets_instructions_run),
        TEST(ts_and_em_give_nm_and_ud),
        TEST(real_mode_environment_holds_linear_pointers),
        TEST(fxsave_wants_alignment_and_round_trips),
        TEST(fxrstor_refuses_reserved_mxcsr_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
