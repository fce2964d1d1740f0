/* The encoder of the JIT against Zydis: every form that src/jit emits, with
 * every register and shape of memory operand, decodes to the operands it was
 * asked for; and the bytes of one of each kind. */
#include "jit/emit.h"

#include <Zydis/Zydis.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { ROOM = 64 };

/* Code is written to buf and would execute FAR bytes away. */
#define FAR ((ptrdiff_t)0x10000)
static uint8_t buf[ROOM];

static const uint8_t *executed(int64_t offset)
{
    return (const uint8_t *)((uintptr_t)buf + (uintptr_t)(FAR + offset));
}

static struct emit begin(void)
{
    memset(buf, 0xcc, sizeof buf);
    return (struct emit){.at = buf, .end = buf + ROOM, .to_exec = FAR};
}

struct decoded {
    ZydisDecodedInstruction i;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
};

/* The one instruction in the buffer. */
static struct decoded decode(const struct emit *e)
{
    ZydisDecoder d;
    struct decoded out;
    assert_false(e->full);
    assert_true(ZYAN_SUCCESS(ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64,
                                              ZYDIS_STACK_WIDTH_64)));
    assert_true(
        ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, buf, ROOM, &out.i, out.ops)));
    assert_int_equal(out.i.length, e->at - buf);
    return out;
}

static ZydisRegister reg_of(unsigned n, unsigned bytes)
{
    static const ZydisRegister first[9] = {[1] = ZYDIS_REGISTER_AL,
                                           [2] = ZYDIS_REGISTER_AX,
                                           [4] = ZYDIS_REGISTER_EAX,
                                           [8] = ZYDIS_REGISTER_RAX};
    if (bytes == 1 && n >= 4) /* SPL BPL SIL DIL R8B.. */
        return (ZydisRegister)(ZYDIS_REGISTER_SPL + (n - 4));
    return (ZydisRegister)(first[bytes] + n);
}

static void expect_gpr(const ZydisDecodedOperand *o, unsigned n, unsigned bytes)
{
    assert_int_equal(o->type, ZYDIS_OPERAND_TYPE_REGISTER);
    assert_int_equal(o->reg.value, reg_of(n, bytes));
}

static void expect_mem(const ZydisDecodedOperand *o, const struct rm *rm,
                       unsigned bytes)
{
    assert_int_equal(o->type, ZYDIS_OPERAND_TYPE_MEMORY);
    assert_int_equal(o->size, bytes * 8);
    ZydisRegister none = ZYDIS_REGISTER_NONE;
    assert_int_equal(o->mem.base,
                     rm->reg == H_NONE ? none : reg_of(rm->reg, 8));
    assert_int_equal(o->mem.index,
                     rm->index == H_NONE ? none : reg_of(rm->index, 8));
    if (rm->index != H_NONE)
        assert_int_equal(o->mem.scale, 1 << rm->scale);
    int64_t disp = o->mem.disp.has_displacement ? o->mem.disp.value : 0;
    assert_int_equal(disp, rm->disp);
}

static const unsigned sizes[] = {1, 2, 4, 8};
static const int32_t displacements[] = {
    0, 1, -1, 127, -128, 128, -129, 0x12345, INT32_MIN, INT32_MAX};
enum { DISPLACEMENTS = sizeof displacements / sizeof displacements[0] };

/* Calls fn for each shape of memory operand: base, index, scale and
 * displacement. */
static void each_memory(void (*fn)(const struct rm *rm, unsigned n))
{
    unsigned n = 0;
    for (unsigned base = 0; base <= H_NONE; base++)
        for (unsigned index = 0; index <= H_NONE; index++)
            for (unsigned scale = 0; scale < 4; scale++)
                for (unsigned k = 0; k < DISPLACEMENTS; k++) {
                    struct rm rm = rm_base(base, displacements[k]);
                    if (index == H_RSP || (index == H_NONE && scale))
                        continue;
                    rm.index = (uint8_t)index;
                    rm.scale = (uint8_t)scale;
                    fn(&rm, n++);
                }
}

/* ---- registers
 * ---------------------------------------------------------------- */

static void moves_between_registers_name_them(void **state)
{
    (void)state;
    for (unsigned s = 0; s < 4; s++)
        for (unsigned to = 0; to < 16; to++)
            for (unsigned from = 0; from < 16; from++) {
                struct emit e = begin();
                emit_mov_rr(&e, sizes[s], to, from);
                struct decoded d = decode(&e);
                assert_int_equal(d.i.mnemonic, ZYDIS_MNEMONIC_MOV);
                expect_gpr(&d.ops[0], to, sizes[s]);
                expect_gpr(&d.ops[1], from, sizes[s]);
            }
}

static void shifts_without_flags_name_them(void **state)
{
    (void)state;
    static const ZydisMnemonic names[4] = {
        [VEX_66] = ZYDIS_MNEMONIC_SHLX,
        [VEX_F3] = ZYDIS_MNEMONIC_SARX,
        [VEX_F2] = ZYDIS_MNEMONIC_SHRX};
    for (unsigned n = 0; n < 3 * 2 * 16 * 16 * 16; n++) {
        unsigned prefix = VEX_66 + n % 3, size = n / 3 & 1 ? 8 : 4;
        unsigned to = n / 6 & 15, from = n / 96 & 15, by = n / 1536;
        struct emit e = begin();
        emit_vex(&e, size, VEX_0F38, prefix, 0xf7, to, by, from);
        struct decoded d = decode(&e);
        assert_int_equal(d.i.mnemonic, names[prefix]);
        expect_gpr(&d.ops[0], to, size);
        expect_gpr(&d.ops[1], from, size);
        expect_gpr(&d.ops[2], by, size);
    }
}

static const ZydisMnemonic alu[8] = {ZYDIS_MNEMONIC_ADD, ZYDIS_MNEMONIC_OR,
                                     ZYDIS_MNEMONIC_ADC, ZYDIS_MNEMONIC_SBB,
                                     ZYDIS_MNEMONIC_AND, ZYDIS_MNEMONIC_SUB,
                                     ZYDIS_MNEMONIC_XOR, ZYDIS_MNEMONIC_CMP};

static void arithmetic_between_registers_names_them(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 4 * 8 * 256; n++) {
        unsigned size = sizes[n & 3], digit = n >> 2 & 7;
        unsigned to = n >> 5 & 15, from = n >> 9;
        struct emit e = begin();
        emit_alu_rr(&e, size, digit, to, from);
        struct decoded d = decode(&e);
        assert_int_equal(d.i.mnemonic, alu[digit]);
        expect_gpr(&d.ops[0], to, size);
        expect_gpr(&d.ops[1], from, size);
    }
}

static void widening_moves_take_byte_registers(void **state)
{
    (void)state;
    for (unsigned to = 0; to < 16; to++)
        for (unsigned from = 0; from < 16; from++)
            for (unsigned n = 0; n < 4; n++) {
                static const unsigned ops[] = {0x0fb6, 0x0fb7, 0x0fbe, 0x0fbf};
                unsigned bytes = n & 1 ? 2 : 1, size = sizes[1 + (to + n) % 3];
                struct emit e = begin();
                emit_op(&e, size, ops[n], to, rm_reg(from), bytes, 0);
                struct decoded d = decode(&e);
                assert_int_equal(d.i.mnemonic, n < 2 ? ZYDIS_MNEMONIC_MOVZX
                                                     : ZYDIS_MNEMONIC_MOVSX);
                expect_gpr(&d.ops[0], to, size);
                expect_gpr(&d.ops[1], from, bytes);
            }
}

static void setcc_names_its_byte_register(void **state)
{
    (void)state;
    for (unsigned reg = 0; reg < 16; reg++) {
        struct emit e = begin();
        emit_op(&e, 1, 0x0f94, 0, rm_reg(reg), 1, 0);
        struct decoded d = decode(&e);
        assert_int_equal(d.i.mnemonic, ZYDIS_MNEMONIC_SETZ);
        expect_gpr(&d.ops[0], reg, 1);
    }
}

/* ---- immediates
 * --------------------------------------------------------------- */

static void immediates_are_loaded_whole(void **state)
{
    static const uint64_t values[] = {0,
                                      1,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      UINT64_MAX,
                                      1ull << 32,
                                      1ull << 63,
                                      0x123456789abcdef0,
                                      -0x80000000ull,
                                      -0x80000001ull};
    (void)state;
    for (unsigned reg = 0; reg < 16; reg++)
        for (unsigned n = 0; n < sizeof values / sizeof values[0]; n++) {
            struct emit e = begin();
            emit_mov_ri(&e, reg, values[n]);
            struct decoded d = decode(&e);
            assert_int_equal(d.i.mnemonic, ZYDIS_MNEMONIC_MOV);
            bool is_32 = values[n] <= UINT32_MAX;
            expect_gpr(&d.ops[0], reg, is_32 ? 4 : 8);
            uint64_t v = d.ops[1].imm.value.u;
            assert_true((is_32 ? (uint32_t)v : v) == values[n]);
        }
}

static void arithmetic_with_immediates_keeps_their_sign(void **state)
{
    static const int32_t values[] = {0,    1,     127,        -128,
                                     128,  -129,  0x7fff,     -0x8000,
                                     4096, -4096, 0x12345678, INT32_MIN};
    (void)state;
    for (unsigned n = 0; n < 4 * 8 * 16 * 12; n++) {
        unsigned size = sizes[n & 3], digit = n >> 2 & 7, reg = n >> 5 & 15;
        int32_t v = values[n >> 9];
        struct emit e = begin();
        emit_alu_ri(&e, size, digit, rm_reg(reg), v);
        struct decoded d = decode(&e);
        assert_int_equal(d.i.mnemonic, alu[digit]);
        expect_gpr(&d.ops[0], reg, size);
        uint64_t mask = UINT64_MAX >> (64 - 8 * size);
        assert_true((d.ops[1].imm.value.u & mask) ==
                    ((uint64_t)(int64_t)v & mask));
    }
}

/* ---- memory
 * ------------------------------------------------------------------- */

static void check_load(const struct rm *rm, unsigned n)
{
    unsigned size = sizes[n & 3], reg = n / 4 % 16;
    struct emit e = begin();
    emit_load(&e, size, reg, *rm);
    struct decoded d = decode(&e);
    assert_int_equal(d.i.mnemonic, ZYDIS_MNEMONIC_MOV);
    expect_gpr(&d.ops[0], reg, size);
    expect_mem(&d.ops[1], rm, size);
}

static void check_store(const struct rm *rm, unsigned n)
{
    unsigned size = sizes[n & 3], reg = n / 4 % 16;
    struct emit e = begin();
    emit_store(&e, size, *rm, reg);
    struct decoded d = decode(&e);
    assert_int_equal(d.i.mnemonic, ZYDIS_MNEMONIC_MOV);
    expect_mem(&d.ops[0], rm, size);
    expect_gpr(&d.ops[1], reg, size);
}

static void check_lea(const struct rm *rm, unsigned n)
{
    unsigned reg = n % 16;
    struct emit e = begin();
    emit_op(&e, 8, 0x8d, reg, *rm, 8, 0);
    struct decoded d = decode(&e);
    assert_int_equal(d.i.mnemonic, ZYDIS_MNEMONIC_LEA);
    expect_gpr(&d.ops[0], reg, 8);
    expect_mem(&d.ops[1], rm, 8);
}

static void check_alu_immediate(const struct rm *rm, unsigned n)
{
    unsigned size = sizes[n & 3], digit = n / 4 % 8;
    int32_t v = displacements[n % 6];
    struct emit e = begin();
    emit_alu_ri(&e, size, digit, *rm, v);
    struct decoded d = decode(&e);
    assert_int_equal(d.i.mnemonic, alu[digit]);
    expect_mem(&d.ops[0], rm, size);
}

/* Three opcode bytes behind a mandatory prefix, as the SSE rules emit. */
static void check_three_bytes(const struct rm *rm, unsigned n)
{
    unsigned reg = n % 16;
    struct emit e = begin();
    emit_u8(&e, 0x66);
    emit_op(&e, 4, 0x0f3a0f, reg, *rm, 16, 1);
    emit_u8(&e, 5);
    struct decoded d = decode(&e);
    assert_int_equal(d.i.mnemonic, ZYDIS_MNEMONIC_PALIGNR);
    assert_int_equal(d.ops[0].reg.value, ZYDIS_REGISTER_XMM0 + reg);
    expect_mem(&d.ops[1], rm, 16);
    assert_int_equal(d.ops[2].imm.value.u, 5);
}

static void loads_address_every_shape_of_memory(void **state)
{
    (void)state;
    each_memory(check_load);
}

static void stores_address_every_shape_of_memory(void **state)
{
    (void)state;
    each_memory(check_store);
}

static void lea_addresses_every_shape_of_memory(void **state)
{
    (void)state;
    each_memory(check_lea);
}

static void immediates_follow_every_shape_of_memory(void **state)
{
    (void)state;
    each_memory(check_alu_immediate);
}

static void long_opcodes_address_every_shape_of_memory(void **state)
{
    (void)state;
    each_memory(check_three_bytes);
}

/* RIP-relative operands count the immediate behind them. */
static void absolute_operands_reach_their_target(void **state)
{
    (void)state;
    const uint8_t *exec = executed(0);
    for (int by = -1; by <= 1; by += 2)
        for (unsigned n = 0; n < 4 * 16 * 3; n++) {
            unsigned size = sizes[n & 3], reg = n >> 2 & 15, kind = n >> 6;
            const uint8_t *target = executed(by * 0x23456789 + (int)n);
            struct emit e = begin();
            if (kind == 0)
                emit_load(&e, size, reg, rm_abs(target));
            else if (kind == 1)
                emit_store(&e, size, rm_abs(target), reg);
            else
                emit_alu_ri(&e, size, reg & 7, rm_abs(target),
                            reg & 8 ? 1 : 0x1234);
            struct decoded d = decode(&e);
            const ZydisDecodedOperand *o = &d.ops[kind == 0];
            uint64_t at;
            assert_int_equal(o->type, ZYDIS_OPERAND_TYPE_MEMORY);
            assert_int_equal(o->size, size * 8);
            assert_true(ZYAN_SUCCESS(
                ZydisCalcAbsoluteAddress(&d.i, o, (uintptr_t)exec, &at)));
            assert_true(at == (uintptr_t)target);
        }
}

/* ---- jumps
 * -------------------------------------------------------------------- */

static void jumps_go_where_they_are_patched_to(void **state)
{
    const uint8_t *exec = executed(0);
    (void)state;
    for (unsigned condition = 0; condition <= 16; condition++) {
        struct emit e = begin();
        uint64_t at;
        const uint8_t *target = executed(-0x1234567 * (int)condition);
        uint8_t *site = emit_jump(&e, condition);
        emit_patch(&e, site, target);
        struct decoded d = decode(&e);
        assert_int_equal(d.i.opcode, condition < 16 ? 0x80 + condition : 0xe9);
        assert_true(ZYAN_SUCCESS(
            ZydisCalcAbsoluteAddress(&d.i, &d.ops[0], (uintptr_t)exec, &at)));
        assert_true(at == (uintptr_t)target);
    }
}

static void calls_go_to_their_target(void **state)
{
    const uint8_t *exec = executed(0);
    struct emit e = begin();
    uint64_t at;
    (void)state;
    emit_call(&e, executed(77));
    struct decoded d = decode(&e);
    assert_int_equal(d.i.mnemonic, ZYDIS_MNEMONIC_CALL);
    assert_true(ZYAN_SUCCESS(
        ZydisCalcAbsoluteAddress(&d.i, &d.ops[0], (uintptr_t)exec, &at)));
    assert_true(at == (uintptr_t)exec + 77);
}

/* ---- room
 * --------------------------------------------------------------------- */

static void running_out_of_room_is_remembered_and_writes_nothing(void **state)
{
    (void)state;
    for (unsigned room = 0; room < 10; room++) {
        struct emit e = begin();
        e.end = buf + room;
        emit_mov_ri(&e, H_R9, 0x123456789abcdef0); /* 10 bytes */
        assert_true(e.full);
        assert_ptr_equal(e.at, buf + room);
        uint8_t *site = emit_jump(&e, 16);
        emit_patch(&e, site, buf);
        for (unsigned n = room; n < ROOM; n++)
            assert_int_equal(buf[n], 0xcc);
    }
}

/* ---- bytes
 * --------------------------------------------------------------------- */

static void expect_bytes(const struct emit *e, const char *bytes, unsigned n)
{
    assert_int_equal(e->at - buf, n);
    assert_memory_equal(buf, bytes, n);
}
#define EXPECT(e, bytes) expect_bytes(e, bytes, sizeof(bytes) - 1)

static void forms_have_their_shortest_bytes(void **state)
{
    struct emit e = begin();
    (void)state;
    emit_mov_rr(&e, 4, H_RAX, H_RCX);
    EXPECT(&e, "\x89\xc8");
    e = begin();
    emit_mov_rr(&e, 1, H_RSI, H_RAX);
    EXPECT(&e, "\x40\x88\xc6");
    e = begin();
    emit_load(&e, 8, H_R12, rm_base(H_R13, 0));
    EXPECT(&e, "\x4d\x8b\x65\x00");
    e = begin();
    emit_store(&e, 2, rm_base(H_R12, 8), H_RBX);
    EXPECT(&e, "\x66\x41\x89\x5c\x24\x08");
    e = begin();
    emit_alu_ri(&e, 8, 4, rm_reg(H_RCX), -4096);
    EXPECT(&e, "\x48\x81\xe1\x00\xf0\xff\xff");
    e = begin();
    emit_alu_ri(&e, 8, 0, rm_reg(H_RCX), 64);
    EXPECT(&e, "\x48\x83\xc1\x40");
    e = begin();
    emit_mov_ri(&e, H_R8, 7);
    EXPECT(&e, "\x41\xb8\x07\x00\x00\x00");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_between_registers_name_them),
        cmocka_unit_test(shifts_without_flags_name_them),
        cmocka_unit_test(arithmetic_between_registers_names_them),
        cmocka_unit_test(widening_moves_take_byte_registers),
        cmocka_unit_test(setcc_names_its_byte_register),
        cmocka_unit_test(immediates_are_loaded_whole),
        cmocka_unit_test(arithmetic_with_immediates_keeps_their_sign),
        cmocka_unit_test(loads_address_every_shape_of_memory),
        cmocka_unit_test(stores_address_every_shape_of_memory),
        cmocka_unit_test(lea_addresses_every_shape_of_memory),
        cmocka_unit_test(immediates_follow_every_shape_of_memory),
        cmocka_unit_test(long_opcodes_address_every_shape_of_memory),
        cmocka_unit_test(absolute_operands_reach_their_target),
        cmocka_unit_test(jumps_go_where_they_are_patched_to),
        cmocka_unit_test(calls_go_to_their_target),
        cmocka_unit_test(running_out_of_room_is_remembered_and_writes_nothing),
        cmocka_unit_test(forms_have_their_shortest_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
