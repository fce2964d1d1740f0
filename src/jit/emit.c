#include "jit/emit.h"

#include "base/bytes.h"

void emit_u8(struct emit *e, unsigned v)
{
    if (e->at >= e->end) {
        e->full = true;
        return;
    }
    *e->at++ = (uint8_t)v;
}

void emit_u32(struct emit *e, uint32_t v)
{
    for (unsigned n = 0; n < 4; n++)
        emit_u8(e, v >> (8 * n) & 0xff);
}

void emit_u64(struct emit *e, uint64_t v)
{
    emit_u32(e, (uint32_t)v);
    emit_u32(e, (uint32_t)(v >> 32));
}

static unsigned low3(unsigned reg)
{
    return reg & 7;
}

static void emit_prefixes(struct emit *e, unsigned size, unsigned reg,
                          const struct rm *rm, unsigned rm_bytes,
                          bool reg_is_byte)
{
    unsigned rex = size == 8 ? 8 : 0;
    bool need = rex != 0;
    if (size == 2)
        emit_u8(e, 0x66);
    if (reg >= 8)
        rex |= 4;
    if (rm->kind == RM_MEM && rm->index != H_NONE && rm->index >= 8)
        rex |= 2;
    if (rm->kind != RM_ABS && rm->reg != H_NONE && rm->reg >= 8)
        rex |= 1;
    if (reg_is_byte && reg >= 4)
        need = true;
    if (rm->kind == RM_REG && rm_bytes == 1 && rm->reg >= 4)
        need = true;
    if (rex || need)
        emit_u8(e, 0x40 | rex);
}

static void emit_memory(struct emit *e, unsigned reg, const struct rm *rm)
{
    unsigned r = low3(reg) << 3;
    unsigned index = rm->index == H_NONE ? 4 : low3(rm->index);
    if (rm->reg == H_NONE) { /* [index * scale + disp32] or [disp32] */
        emit_u8(e, 0x04 | r);
        emit_u8(e, (unsigned)rm->scale << 6 | index << 3 | 5);
        emit_u32(e, (uint32_t)rm->disp);
        return;
    }
    bool sib = rm->index != H_NONE || low3(rm->reg) == 4;
    bool is8 = rm->disp >= -128 && rm->disp < 128;
    unsigned mod = rm->disp == 0 && low3(rm->reg) != 5 ? 0 : is8 ? 1 : 2;
    emit_u8(e, mod << 6 | r | (sib ? 4 : low3(rm->reg)));
    if (sib)
        emit_u8(e, (unsigned)rm->scale << 6 | index << 3 | low3(rm->reg));
    if (mod == 1)
        emit_u8(e, (unsigned)rm->disp & 0xff);
    else if (mod == 2)
        emit_u32(e, (uint32_t)rm->disp);
}

void emit_op(struct emit *e, unsigned size, uint32_t op, unsigned reg,
             struct rm rm, unsigned rm_bytes, unsigned imm_bytes)
{
    /* Which opcodes name a byte register in reg: those with an 8-bit form. */
    bool reg_is_byte = size == 1;
    emit_prefixes(e, size, reg, &rm, rm_bytes, reg_is_byte);
    if (op > 0xffff)
        emit_u8(e, op >> 16);
    if (op > 0xff)
        emit_u8(e, op >> 8 & 0xff);
    emit_u8(e, op & 0xff);
    if (rm.kind == RM_REG) {
        emit_u8(e, 0xc0 | low3(reg) << 3 | low3(rm.reg));
    } else if (rm.kind == RM_ABS) {
        emit_u8(e, low3(reg) << 3 | 5);
        const uint8_t *next = emit_here(e) + 4 + imm_bytes;
        emit_u32(e, (uint32_t)((const uint8_t *)rm.target - next));
    } else {
        emit_memory(e, reg, &rm);
    }
}

void emit_vex(struct emit *e, unsigned size, enum vex_map map,
              enum vex_prefix prefix, unsigned op, unsigned reg, unsigned vvvv,
              unsigned rm)
{
    emit_u8(e, 0xc4);
    emit_u8(e, (reg < 8 ? 0x80u : 0) | 0x40 | (rm < 8 ? 0x20u : 0) | map);
    emit_u8(e, (size == 8 ? 0x80u : 0) | (~vvvv & 15) << 3 | prefix);
    emit_u8(e, op);
    emit_u8(e, 0xc0 | low3(reg) << 3 | low3(rm));
}

void emit_rorx(struct emit *e, unsigned size, unsigned to, unsigned from,
               unsigned count)
{
    emit_vex(e, size, VEX_0F3A, VEX_F2, 0xf0, to, 0, from);
    emit_u8(e, count);
}

void emit_mov_rr(struct emit *e, unsigned size, unsigned to, unsigned from)
{
    emit_op(e, size, size == 1 ? 0x88 : 0x89, from, rm_reg(to), size, 0);
}

void emit_load(struct emit *e, unsigned size, unsigned to, struct rm from)
{
    emit_op(e, size, size == 1 ? 0x8a : 0x8b, to, from, size, 0);
}

void emit_store(struct emit *e, unsigned size, struct rm to, unsigned from)
{
    emit_op(e, size, size == 1 ? 0x88 : 0x89, from, to, size, 0);
}

void emit_mov_ri(struct emit *e, unsigned to, uint64_t value)
{
    if (value <= UINT32_MAX) {
        if (to >= 8)
            emit_u8(e, 0x41);
        emit_u8(e, 0xb8 + low3(to));
        emit_u32(e, (uint32_t)value);
    } else if ((int64_t)value == (int32_t)value) {
        emit_op(e, 8, 0xc7, 0, rm_reg(to), 8, 4);
        emit_u32(e, (uint32_t)value);
    } else {
        emit_u8(e, to >= 8 ? 0x49 : 0x48);
        emit_u8(e, 0xb8 + low3(to));
        emit_u64(e, value);
    }
}

void emit_alu_ri(struct emit *e, unsigned size, unsigned digit, struct rm to,
                 int32_t imm)
{
    if (size == 1) {
        emit_op(e, 1, 0x80, digit, to, 1, 1);
        emit_u8(e, (unsigned)imm & 0xff);
    } else if (imm >= -128 && imm < 128) {
        emit_op(e, size, 0x83, digit, to, size, 1);
        emit_u8(e, (unsigned)imm & 0xff);
    } else {
        emit_op(e, size, 0x81, digit, to, size, size == 2 ? 2 : 4);
        emit_u8(e, (unsigned)imm & 0xff);
        emit_u8(e, (unsigned)imm >> 8 & 0xff);
        if (size != 2) {
            emit_u8(e, (unsigned)imm >> 16 & 0xff);
            emit_u8(e, (unsigned)imm >> 24 & 0xff);
        }
    }
}

void emit_alu_rr(struct emit *e, unsigned size, unsigned digit, unsigned to,
                 unsigned from)
{
    emit_op(e, size, digit << 3 | (size == 1 ? 0 : 1), from, rm_reg(to), size,
            0);
}

uint8_t *emit_jump(struct emit *e, unsigned condition)
{
    if (condition < 16) {
        emit_u8(e, 0x0f);
        emit_u8(e, 0x80 | condition);
    } else {
        emit_u8(e, 0xe9);
    }
    uint8_t *site = e->at;
    emit_u32(e, 0);
    return site;
}

void emit_patch(const struct emit *e, uint8_t *site, const uint8_t *exec)
{
    if (!e->full)
        store_le32(site, (uint32_t)(exec - (site + e->to_exec + 4)));
}

void emit_jump_to(struct emit *e, unsigned condition, const uint8_t *exec)
{
    uint8_t *site = emit_jump(e, condition);
    emit_patch(e, site, exec);
}

void emit_call(struct emit *e, const void *exec)
{
    emit_u8(e, 0xe8);
    uint8_t *site = e->at;
    emit_u32(e, 0);
    emit_patch(e, site, exec);
}

void emit_push(struct emit *e, unsigned reg)
{
    if (reg >= 8)
        emit_u8(e, 0x41);
    emit_u8(e, 0x50 + low3(reg));
}

void emit_pop(struct emit *e, unsigned reg)
{
    if (reg >= 8)
        emit_u8(e, 0x41);
    emit_u8(e, 0x58 + low3(reg));
}
