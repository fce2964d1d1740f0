/* SSE handlers against the host CPU: every encoding of every row of
 * insn_sse.def is run natively and by its handler, on random and special
 * operands, and must agree in registers, memory, flags, MXCSR and faults. */
#include "cpu/access.h"
#include "cpu/decode.h"
#include "cpu/op_sse.h"
#include "tests/lib_ssehost.h"

#include <Zydis/Zydis.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ROUNDS = 120, GUEST_PAGE = 0x10000 };

static const unsigned gpr_number[SSEHOST_GPRS] = {REG_RAX, REG_RCX, REG_RDX,
                                                  REG_RBX, REG_RSI, REG_RDI};

/* ---- a CPU by hand
 * ------------------------------------------------------------ */

struct fixture {
    struct cpu *c;
    uint8_t *page; /* guest memory at GUEST_PAGE */
    uint64_t seed;
};

static uint64_t next_random(struct fixture *f)
{
    f->seed ^= f->seed << 13;
    f->seed ^= f->seed >> 7;
    f->seed ^= f->seed << 17;
    return f->seed * 0x2545f4914f6cdd1dULL;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->seed = 0x9e3779b97f4a7c15ULL;
    f->page = aligned_alloc(4096, 4096);
    memset(f->page, 0, 4096);
    f->c = calloc(1, sizeof *f->c);
    f->c->mmu.tlb = malloc(TLB_ENTRIES * sizeof *f->c->mmu.tlb);
    for (unsigned k = 0; k < TLB_ENTRIES; k++)
        f->c->mmu.tlb[k] = (struct tlb_entry){TLB_NONE, TLB_NONE, 0, 0};
    f->c->mmu.tlb[GUEST_PAGE >> PAGE_SHIFT] = (struct tlb_entry){
        GUEST_PAGE, GUEST_PAGE, (uint64_t)(uintptr_t)f->page - GUEST_PAGE, 0};
    f->c->cr0 = CR0_PE | CR0_PG;
    f->c->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
    f->c->mode = MODE_64;
    f->c->linear_mask = UINT64_MAX;
    memset(f->c->ea_flat, 1, sizeof f->c->ea_flat);
    f->c->mxcsr = 0x1f80;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    free(f->c->mmu.tlb);
    free(f->c);
    free(f->page);
    free(f);
    return 0;
}

/* ---- the encodings of the table
 * ------------------------------------------------ */

enum row_kind { ROW_NONE, ROW_SSE };

#define INSN(mnemonic, handler, class)   [ZYDIS_MNEMONIC_##mnemonic] = ROW_SSE,
#define INSN_PICK(mnemonic, pick, class) INSN(mnemonic, pick, class)
static const uint8_t rows[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#include "cpu/insn_sse.def"
};
#undef INSN
#undef INSN_PICK

struct encoding {
    uint8_t bytes[16];
    struct insn insn;
};
typedef void visit_fn(struct fixture *f, const struct encoding *e, void *arg);

static void visit_bytes(struct fixture *f, const uint8_t *bytes,
                        visit_fn *visit, void *arg)
{
    struct encoding e;
    memset(&e, 0, sizeof e);
    memcpy(e.bytes, bytes, 15);
    if (decode_insn(e.bytes, 15, MODE_64, &e.insn) != DECODE_OK)
        return;
    if (!rows[e.insn.mnemonic] || (e.insn.third & 0x80))
        return;
    visit(f, &e, arg);
}

/* Call visit for all prefixes, REX.W, opcodes and a few ModRM bytes. */
static void visit_encodings(struct fixture *f, visit_fn *visit, void *arg)
{
    static const uint8_t prefixes[4] = {0, 0x66, 0xf3, 0xf2};
    static const uint8_t operands[] = {0xca, 0xc9, 0xc2, 0xc8, 0x0f};
    static const uint8_t maps[3] = {0, 0x38, 0x3a};
    for (unsigned k = 0; k < 3 * 256 * 4 * 2; k++) {
        uint8_t bytes[16] = {0};
        unsigned n = 0;
        uint8_t opcode = (uint8_t)(k >> 3);
        uint8_t map = maps[k >> 11];
        if (prefixes[k & 3])
            bytes[n++] = prefixes[k & 3];
        if (k & 4)
            bytes[n++] = 0x48;
        bytes[n++] = 0x0f;
        if (map)
            bytes[n++] = map;
        else if (opcode == 0x38 || opcode == 0x3a)
            continue;
        bytes[n++] = opcode;
        for (unsigned m = 0; m < sizeof operands; m++) {
            bytes[n] = operands[m];
            visit_bytes(f, bytes, visit, arg);
        }
        bool is_group = !map && (opcode == 0x18 || opcode == 0xae ||
                                 opcode == 0x0d || (opcode >> 2 == 0x1c));
        for (unsigned m = 0; is_group && m < 16; m++) {
            bytes[n] = (uint8_t)(m < 8 ? 0xc2 | m << 3 : 0x07 | (m & 7) << 3);
            visit_bytes(f, bytes, visit, arg);
        }
    }
}

/* ---- operands
 * --------------------------------------------------------------------- */

static uint32_t random_single(struct fixture *f)
{
    static const uint32_t special[] = {
        0,          0x80000000, 1,          0x80000001, 0x007fffff, 0x00800000,
        0x00800001, 0x3f800000, 0xbf800000, 0x3f7fffff, 0x3effffff, 0x3f000000,
        0x7f7fffff, 0xff7fffff, 0x7f000000, 0x7f800000, 0xff800000, 0x7fc00000,
        0xffc01234, 0x7f800001, 0xffa00001, 0x4f000000, 0xcf000000, 0x5f000000,
        0x3fc00000, 0x40200000, 0x4b000001, 0x00ffffff, 0x40000000, 0x1e000000};
    uint64_t r = next_random(f);
    uint32_t v = special[(r >> 8) % (sizeof special / sizeof special[0])];
    return r & 1 ? v : v + (uint32_t)(r >> 60) - 4;
}

static uint64_t random_double(struct fixture *f)
{
    static const uint64_t special[] = {0,
                                       0x8000000000000000,
                                       1,
                                       0x800fffffffffffff,
                                       0x0010000000000000,
                                       0x3ff0000000000000,
                                       0xbff8000000000000,
                                       0x3fdfffffffffffff,
                                       0x7fefffffffffffff,
                                       0x7fe0000000000000,
                                       0x7ff0000000000000,
                                       0xfff0000000000000,
                                       0x7ff8000000000000,
                                       0xfff8000000012345,
                                       0x7ff0000000000001,
                                       0xfff4000000000001,
                                       0x41dfffffffc00000,
                                       0xc1e0000000000000,
                                       0x43e0000000000000,
                                       0x47efffffe0000000,
                                       0x380fffffc0000000,
                                       0x36a0000000000000,
                                       0x3690000000000000,
                                       0x3810000000000000,
                                       0x3ca0000000000000,
                                       0x47f0000000000000,
                                       0x1ff0000000000000,
                                       0x5ff8000000000000};
    uint64_t r = next_random(f);
    uint64_t v = special[(r >> 8) % (sizeof special / sizeof special[0])];
    return r & 1 ? v : v + (r >> 60) - 4;
}

static union xmm random_xmm(struct fixture *f)
{
    union xmm x;
    unsigned kind = (unsigned)(next_random(f) >> 20) % 8;
    for (unsigned k = 0; k < 4; k++) {
        uint64_t r = next_random(f);
        switch (kind) {
        case 0:
        case 1:
            x.u32[k] = random_single(f);
            break;
        case 2:
        case 3:
            x.u64[k / 2] = random_double(f);
            break;
        case 4: /* text of few letters with zeros */
            for (unsigned n = 0; n < 4; n++)
                x.u8[4 * k + n] =
                    (uint8_t)((r >> 5 * n & 7) ? 'a' + (r >> (5 * n + 3) & 3)
                                               : 0);
            break;
        case 5: /* ordinary numbers of close exponents */
            x.u32[k] = 0x3e000000 + (uint32_t)(r >> 38);
            break;
        case 6:
            x.u32[k] = k & 1 ? 0x3fe00000 + (uint32_t)(r >> 42) : (uint32_t)r;
            break;
        default:
            x.u32[k] = (uint32_t)(r >> 32);
            break;
        }
    }
    return x;
}

static uint32_t random_mxcsr(struct fixture *f)
{
    uint64_t r = next_random(f);
    switch (r & 3) {
    case 0:
        return 0x1f80;
    case 1:
        return 0x1f80 | (r >> 8 & 0xe07f);
    default:
        return (uint32_t)(r >> 8 & 0xffff);
    }
}

/* ---- comparison
 * ---------------------------------------------------------------------- */

struct result {
    struct ssehost state;
    uint8_t memory[64];
    enum exc exc;
};

struct coverage {
    bool seen[ZYDIS_MNEMONIC_MAX_VALUE + 1];
    bool failed[ZYDIS_MNEMONIC_MAX_VALUE + 1]; /* one report each */
    unsigned forms, failures;
};

static void run_natively(struct fixture *f, const struct encoding *e,
                         struct result *r, uint64_t offset)
{
    uint64_t guest_rdi = r->state.gpr[5];
    memcpy(f->page + 1024, r->memory, sizeof r->memory);
    r->state.gpr[5] = (uint64_t)(uintptr_t)f->page + offset;
    ssehost_run(&r->state, e->bytes, e->insn.len);
    r->state.gpr[5] += guest_rdi - (uint64_t)(uintptr_t)f->page - offset;
    memcpy(r->memory, f->page + 1024, sizeof r->memory);
    r->exc = r->state.fault == SSEHOST_FPE    ? EXC_XM
             : r->state.fault == SSEHOST_SEGV ? EXC_GP
                                              : EXC_NONE;
}

static void run_handler(struct fixture *f, const struct encoding *e,
                        struct result *r)
{
    struct cpu *c = f->c;
    memcpy(f->page + 1024, r->memory, sizeof r->memory);
    memcpy(c->xmm, r->state.xmm, sizeof r->state.xmm);
    for (unsigned k = 0; k < SSEHOST_GPRS; k++)
        c->r[gpr_number[k]] = r->state.gpr[k];
    cpu_set_arith(c, (uint32_t)r->state.rflags);
    c->mxcsr = r->state.mxcsr;
    r->exc = e->insn.fn(c, &e->insn);
    memcpy(r->state.xmm, c->xmm, sizeof r->state.xmm);
    for (unsigned k = 0; k < SSEHOST_GPRS; k++)
        r->state.gpr[k] = c->r[gpr_number[k]];
    r->state.rflags = cpu_rflags(c);
    r->state.mxcsr = c->mxcsr;
    memcpy(r->memory, f->page + 1024, sizeof r->memory);
}

static bool same(const struct result *a, const struct result *b)
{
    return a->exc == b->exc &&
           !memcmp(a->state.xmm, b->state.xmm, sizeof a->state.xmm) &&
           !memcmp(a->state.gpr, b->state.gpr, sizeof a->state.gpr) &&
           ((a->state.rflags ^ b->state.rflags) & FLAGS_ARITH) == 0 &&
           a->state.mxcsr == b->state.mxcsr &&
           !memcmp(a->memory, b->memory, sizeof a->memory);
}

static void print_result(const char *name, const struct result *r)
{
    fprintf(stderr, "  %-7s exc %x mxcsr %04x flags %03x", name,
            (unsigned)r->exc, r->state.mxcsr,
            (unsigned)r->state.rflags & FLAGS_ARITH);
    for (unsigned k = 0; k < SSEHOST_XMMS; k++)
        fprintf(stderr, " x%u %016llx:%016llx", k,
                (unsigned long long)r->state.xmm[k][1],
                (unsigned long long)r->state.xmm[k][0]);
    for (unsigned k = 0; k < 3; k++)
        fprintf(stderr, " %llx", (unsigned long long)r->state.gpr[k]);
    fprintf(stderr, "\n");
}

static void compare_once(struct fixture *f, struct encoding *e,
                         struct coverage *coverage)
{
    struct result before, native, handler;
    memset(&before, 0, sizeof before);
    uint64_t offset = 1024 + (next_random(f) & 1 ? 16 : next_random(f) % 40);
    for (unsigned k = 0; k < SSEHOST_XMMS; k++) {
        union xmm x = random_xmm(f);
        memcpy(before.state.xmm[k], &x, 16);
    }
    for (unsigned k = 0; k < SSEHOST_GPRS; k++) {
        uint64_t r = next_random(f);
        before.state.gpr[k] =
            r & 1 ? next_random(f) : (uint64_t)((int64_t)r >> 58);
    }
    before.state.gpr[5] = GUEST_PAGE + offset;
    before.state.rflags = 0x202 | (next_random(f) & FLAGS_ARITH);
    before.state.mxcsr = random_mxcsr(f);
    for (unsigned k = 0; k < sizeof before.memory; k++)
        before.memory[k] = (uint8_t)(next_random(f) >> 30);
    union xmm at = random_xmm(f);
    memcpy(before.memory + offset - 1024, &at, 16);
    /* The immediate, where there is one, is the last byte. */
    if (e->insn.len > 1 && e->insn.imm == e->bytes[e->insn.len - 1] &&
        (e->insn.form == FORM_RI || e->insn.imm ||
         !e->bytes[e->insn.len - 1])) {
        struct encoding probe = *e;
        probe.bytes[e->insn.len - 1] = (uint8_t)(next_random(f) >> 17);
        if (decode_insn(probe.bytes, 15, MODE_64, &probe.insn) == DECODE_OK &&
            probe.insn.imm == probe.bytes[e->insn.len - 1] &&
            probe.insn.mnemonic == e->insn.mnemonic &&
            probe.insn.len == e->insn.len && probe.insn.form == e->insn.form &&
            probe.insn.dst == e->insn.dst && probe.insn.src == e->insn.src)
            *e = probe;
    }
    native = handler = before;
    run_natively(f, e, &native, offset);
    run_handler(f, e, &handler);
    if (same(&native, &handler))
        return;
    coverage->failures++;
    if (!coverage->failed[e->insn.mnemonic]) {
        coverage->failed[e->insn.mnemonic] = true;
        fprintf(stderr, "%s:", ZydisMnemonicGetString(e->insn.mnemonic));
        for (unsigned k = 0; k < e->insn.len; k++)
            fprintf(stderr, " %02x", e->bytes[k]);
        fprintf(stderr, "\n");
        print_result("before", &before);
        print_result("host", &native);
        print_result("handler", &handler);
    }
}

static bool is_approximate(unsigned mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_RCPPS ||
           mnemonic == ZYDIS_MNEMONIC_RCPSS ||
           mnemonic == ZYDIS_MNEMONIC_RSQRTPS ||
           mnemonic == ZYDIS_MNEMONIC_RSQRTSS;
}

static void compare_with_host(struct fixture *f, const struct encoding *e,
                              void *arg)
{
    struct coverage *coverage = arg;
    struct encoding copy = *e;
    coverage->seen[e->insn.mnemonic] = true;
    coverage->forms++;
    if (is_approximate(e->insn.mnemonic))
        return;
    for (unsigned k = 0; k < ROUNDS; k++)
        compare_once(f, &copy, coverage);
}

static void sse_every_row_equals_the_host(void **state)
{
    struct coverage coverage;
    memset(&coverage, 0, sizeof coverage);
    assert_true(ssehost_init()); /* here: cmocka sets signals before a test */
    visit_encodings(*state, compare_with_host, &coverage);
    ssehost_fini();
    for (unsigned m = 0; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++)
        if (rows[m] && !coverage.seen[m])
            fail_msg("no encoding of %s was tried", ZydisMnemonicGetString(m));
    assert_int_equal(coverage.failures, 0);
    assert_true(coverage.forms > 1000);
}

/* ---- availability
 * ---------------------------------------------------------------------- */

static bool needs_sse_state(const struct encoding *e)
{
    return e->insn.fn != op_sse_hint && e->insn.fn != op_sse_movnti;
}

static void expect_unusable(struct fixture *f, const struct encoding *e,
                            void *arg)
{
    const enum exc *expected = arg;
    if (!needs_sse_state(e))
        return;
    f->c->r[REG_RDI] = GUEST_PAGE + 1; /* misaligned: must not matter */
    if (e->insn.fn(f->c, &e->insn) != *expected)
        fail_msg("%s", ZydisMnemonicGetString(e->insn.mnemonic));
}

static void sse_with_em_is_undefined(void **state)
{
    struct fixture *f = *state;
    enum exc expected = EXC_UD;
    f->c->cr0 = CR0_EM | CR0_TS;
    visit_encodings(f, expect_unusable, &expected);
}

static void sse_without_osfxsr_is_undefined(void **state)
{
    struct fixture *f = *state;
    enum exc expected = EXC_UD;
    f->c->cr0 = CR0_TS;
    f->c->cr4 = 0;
    visit_encodings(f, expect_unusable, &expected);
}

static void sse_with_ts_is_not_available(void **state)
{
    struct fixture *f = *state;
    enum exc expected = EXC_NM;
    f->c->cr0 = CR0_TS;
    visit_encodings(f, expect_unusable, &expected);
}

/* ---- single facts
 * ------------------------------------------------------------------------ */

static enum exc run_bytes(struct fixture *f, const void *bytes, unsigned len)
{
    struct insn i;
    assert_int_equal(decode_insn(bytes, len, MODE_64, &i), DECODE_OK);
    return i.fn(f->c, &i);
}

static void sse_unmasked_exception_without_osxmmexcpt_is_undefined(void **state)
{
    struct fixture *f = *state;
    f->c->cr4 = CR4_OSFXSR;
    f->c->mxcsr = 0x1f80 & ~0x200u; /* ZM */
    f->c->xmm[1].u32[0] = 0x3f800000;
    f->c->xmm[2].u32[0] = 0;
    assert_int_equal(run_bytes(f, "\xf3\x0f\x5e\xca", 4), EXC_UD); /* divss */
    assert_int_equal(f->c->xmm[1].u32[0], 0x3f800000);
    assert_int_equal(f->c->mxcsr, (0x1f80 & ~0x200u) | 4);
}

static void sse_leaves_the_host_rounding_alone(void **state)
{
    struct fixture *f = *state;
    f->c->mxcsr = 0xffc0;
    assert_int_equal(run_bytes(f, "\x0f\x58\xca", 3), EXC_NONE); /* addps */
    assert_int_equal(__builtin_ia32_stmxcsr() & 0xffc0, 0x1f80);
}

static void sse_maskmovdqu_touches_selected_bytes_only(void **state)
{
    struct fixture *f = *state;
    /* The page ahead is absent from the TLB: only unselected bytes lie there.
     */
    f->c->r[REG_RDI] = GUEST_PAGE - 8;
    memset(f->page, 0x11, 16);
    memset(&f->c->xmm[1], 0xab, 16);
    f->c->xmm[2].u64[0] = 0;
    f->c->xmm[2].u64[1] = 0x80ff007f00000080;
    assert_int_equal(run_bytes(f, "\x66\x0f\xf7\xca", 4), EXC_NONE);
    static const uint8_t expected[8] = {0xab, 0x11, 0x11, 0x11,
                                        0x11, 0x11, 0xab, 0xab};
    assert_memory_equal(f->page, expected, 8);
}

static void sse_maskmovdqu_uses_the_segment_override(void **state)
{
    struct fixture *f = *state;
    f->c->ea_base[SEG_FS] = GUEST_PAGE;
    f->c->r[REG_RDI] = 32;
    f->page[32] = 0;
    f->c->xmm[1].u64[0] = 0x77;
    f->c->xmm[2] = (union xmm){.u8 = {0x80}};
    assert_int_equal(run_bytes(f, "\x64\x66\x0f\xf7\xca", 5), EXC_NONE);
    assert_int_equal(f->page[32], 0x77);
}

static float approximate(struct fixture *f, uint8_t opcode, uint32_t bits)
{
    uint8_t bytes[4] = {0xf3, 0x0f, opcode, 0xca};
    f->c->xmm[2].u32[0] = bits;
    assert_int_equal(run_bytes(f, bytes, 4), EXC_NONE);
    return f->c->xmm[1].f32[0];
}

static void sse_rcp_and_rsqrt_meet_their_error_bound(void **state)
{
    struct fixture *f = *state;
    const double bound = 1.5 / 4096;
    for (unsigned k = 0; k < 20000; k++) {
        union {
            uint32_t u;
            float f;
        } x;
        x.u = (uint32_t)(next_random(f) >> 32) % 0x7f800000;
        if (x.u < 0x00800000)
            continue;
        double r = approximate(f, 0x53, x.u);
        if (x.u < 0x7e800000)
            assert_true(fabs(r * x.f - 1) <= bound);
        double s = approximate(f, 0x52, x.u);
        assert_true(fabs(s * sqrt(x.f) - 1) <= bound);
    }
}

static void sse_rcp_and_rsqrt_special_cases(void **state)
{
    static const struct {
        uint8_t opcode;
        uint32_t in, out;
    } cases[] = {
        {0x53, 0, 0x7f800000},          {0x53, 0x80000001, 0xff800000},
        {0x53, 0x7f800000, 0},          {0x53, 0xff800000, 0x80000000},
        {0x53, 0x7f800001, 0x7fc00001}, {0x53, 0xfe900000, 0x80000000},
        {0x53, 0x3f800000, 0x3f800000}, {0x53, 0xc0000000, 0xbf000000},
        {0x52, 0x80000000, 0xff800000}, {0x52, 0x00000001, 0x7f800000},
        {0x52, 0x7f800000, 0},          {0x52, 0xff800000, 0xffc00000},
        {0x52, 0xbf800000, 0xffc00000}, {0x52, 0xffc00005, 0xffc00005},
        {0x52, 0x40800000, 0x3f000000}, {0x52, 0x3e800000, 0x40000000},
        {0x52, 0x40000000, 0x3f350000}, {0x53, 0x40400000, 0x3eaab000},
    };
    struct fixture *f = *state;
    for (unsigned k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        (void)approximate(f, cases[k].opcode, cases[k].in);
        assert_int_equal(f->c->xmm[1].u32[0], cases[k].out);
        assert_int_equal(f->c->mxcsr, 0x1f80);
    }
}

static void sse_shared_mnemonics_pick_the_mmx_form(void **state)
{
    struct insn mmx, xmm;
    (void)state;
    assert_int_equal(
        decode_insn((const uint8_t *)"\x0f\xfc\xca", 3, MODE_64, &mmx),
        DECODE_OK);
    assert_int_equal(
        decode_insn((const uint8_t *)"\x66\x0f\xfc\xca", 4, MODE_64, &xmm),
        DECODE_OK);
    assert_true(xmm.fn == op_sse_paddb);
    assert_true(mmx.fn != xmm.fn);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(sse_every_row_equals_the_host),
        TEST(sse_with_em_is_undefined),
        TEST(sse_without_osfxsr_is_undefined),
        TEST(sse_with_ts_is_not_available),
        TEST(sse_unmasked_exception_without_osxmmexcpt_is_undefined),
        TEST(sse_leaves_the_host_rounding_alone),
        TEST(sse_maskmovdqu_touches_selected_bytes_only),
        TEST(sse_maskmovdqu_uses_the_segment_override),
        TEST(sse_rcp_and_rsqrt_meet_their_error_bound),
        TEST(sse_rcp_and_rsqrt_special_cases),
        TEST(sse_shared_mnemonics_pick_the_mmx_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
