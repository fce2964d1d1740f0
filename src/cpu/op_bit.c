/* Bit tests, scans, population count and CRC32 (SDM vol. 2). Undefined flags: see
 * cpu/flags.h. */
#include "cpu/flags.h"
#include "cpu/op_int.h"
#include "cpu/operand.h"

#include <Zydis/Mnemonic.h>

static uint64_t bit_changed(uint16_t mnemonic, uint64_t v, uint64_t mask)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_BTS:
        return v | mask;
    case ZYDIS_MNEMONIC_BTR:
        return v & ~mask;
    default:
        return v ^ mask;
    }
}

/* BT BTS BTR BTC. With a register bit offset, a memory operand is a bit string:
 * the offset is signed and selects the operand-sized word. */
enum exc op_bt(struct cpu *c, const struct insn *i)
{
    unsigned bits = i->size * 8u;
    bool is_memory = i->form == FORM_MR || i->form == FORM_MI;
    bool is_test = i->mnemonic == ZYDIS_MNEMONIC_BT;
    uint64_t n = i->form == FORM_RI || i->form == FORM_MI
                     ? i->imm
                     : reg_get(c, i->src, i->size1);
    uint64_t v = 0, offset = 0;
    enum exc e = EXC_NONE;
    if (is_memory) {
        static const uint64_t mask[9] = {
            [2] = 0xffff, [4] = 0xffffffff, [8] = UINT64_MAX};
        offset = insn_offset(c, i);
        if (i->form == FORM_MR)
            offset += (uint64_t)((sign_extend(n, bits) >>
                                  __builtin_ctz(bits)) *
                                 i->size);
        offset &= mask[i->addr];
        e = is_test ? cpu_read(c, i->seg, offset, &v, i->size)
                    : cpu_read_for_write(c, i->seg, offset, &v, i->size);
    } else {
        v = reg_get(c, i->dst, i->size);
    }
    if (e)
        return e;
    unsigned at = (unsigned)n & (bits - 1);
    if (!is_test) {
        uint64_t r = bit_changed(i->mnemonic, v, 1ULL << at);
        if (is_memory)
            e = cpu_write(c, i->seg, offset, &r, i->size);
        else
            reg_set(c, i->dst, r, i->size);
        if (e)
            return e;
    }
    c->aflags = (uint16_t)((c->aflags & ~AF_CF) | (v >> at & 1 ? AF_CF : 0));
    return EXC_NONE;
}

/* A zero source leaves the destination as it was, which processors do and the
 * SDM leaves undefined. */
static enum exc scan(struct cpu *c, const struct insn *i, bool forward)
{
    uint64_t v;
    enum exc e = operand1_read(c, i, &v);
    if (e)
        return e;
    if (v == 0) {
        c->aflags = AF_ONE | AF_ZF;
        return EXC_NONE;
    }
    unsigned at = forward ? (unsigned)__builtin_ctzll(v)
                          : 63u - (unsigned)__builtin_clzll(v);
    c->aflags = AF_ONE;
    reg_set(c, i->dst, at, i->size);
    return EXC_NONE;
}

enum exc op_bsf(struct cpu *c, const struct insn *i)
{
    return scan(c, i, true);
}

enum exc op_bsr(struct cpu *c, const struct insn *i)
{
    return scan(c, i, false);
}

enum exc op_popcnt(struct cpu *c, const struct insn *i)
{
    uint64_t v;
    enum exc e = operand1_read(c, i, &v);
    if (e)
        return e;
    c->aflags = (uint16_t)(AF_ONE | (v == 0 ? AF_ZF : 0));
    reg_set(c, i->dst, (uint64_t)__builtin_popcountll(v), i->size);
    return EXC_NONE;
}

/* Polynomial 11EDC6F41h, bit-reflected. */
enum exc op_crc32(struct cpu *c, const struct insn *i)
{
    uint64_t v;
    enum exc e = operand1_read(c, i, &v);
    if (e)
        return e;
    uint32_t crc = (uint32_t)c->r[i->dst];
    for (unsigned n = 0; n < i->size1; n++) {
        crc ^= (uint8_t)(v >> (n * 8));
        for (unsigned k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    c->r[i->dst] = crc;
    return EXC_NONE;
}
