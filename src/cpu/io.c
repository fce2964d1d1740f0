/* IN, OUT, INS, OUTS (SDM vol. 1 ch. 18; vol. 2). */
#include "cpu/op_system.h"

#include "cpu/system_internal.h"

/* SDM vol. 1 18.5.2: every bit of the accessed ports must be 0; the byte behind
 * the map's last must exist. */
static enum exc check_bitmap(struct cpu *c, uint16_t port, unsigned bytes)
{
    uint8_t word[2];
    uint32_t limit = c->tr.limit;
    if (!(c->tr.attr & SEG_ATTR_P) || !(c->tr.attr & TYPE_32_BIT) ||
        limit < 103)
        return cpu_gp0(c);
    enum exc e =
        cpu_system_read(c, table_address(c, c->tr.base + 102), word, 2);
    if (e)
        return e;
    uint32_t at = load_le16(word) + port / 8u;
    if (at + 1 > limit)
        return cpu_gp0(c);
    e = cpu_system_read(c, table_address(c, c->tr.base + at), word, 2);
    if (e)
        return e;
    unsigned mask = ((1u << bytes) - 1) << (port & 7);
    return load_le16(word) & mask ? cpu_gp0(c) : EXC_NONE;
}

enum exc cpu_check_io(struct cpu *c, uint16_t port, unsigned bytes)
{
    if (cpu_is_real(c))
        return EXC_NONE;
    if (!cpu_is_v86(c) && c->cpl <= cpu_iopl(c))
        return EXC_NONE;
    return check_bitmap(c, port, bytes);
}

/* I/O breakpoints (SDM vol. 3B 17.2.4): R/W field 2 under CR4.DE. A hit is a
 * trap behind the instruction, or behind the iteration. */
static void match_breakpoints(struct cpu *c, uint16_t port, unsigned bytes)
{
    static const uint8_t lengths[4] = {1, 2, 8, 4};
    if (!(c->dr[7] & 0xff) || !(c->cr4 & CR4_DE))
        return;
    for (unsigned n = 0; n < 4; n++) {
        if (!(c->dr[7] >> (2 * n) & 3) || (c->dr[7] >> (16 + 4 * n) & 3) != 2)
            continue;
        uint64_t size = lengths[c->dr[7] >> (18 + 4 * n) & 3];
        uint64_t start = c->dr[n] & ~(size - 1);
        if (port < start + size && start < (uint64_t)port + bytes) {
            c->debug_pending |= 1u << n;
            cpu_attention(c);
        }
    }
}

static unsigned port_bytes(const struct insn *i)
{
    return i->opsize > 4 ? 4 : i->opsize;
}

static void set_accumulator(struct cpu *c, uint32_t value, unsigned bytes)
{
    reg_set(c, REG_RAX, value, bytes);
}

enum exc op_in(struct cpu *c, const struct insn *i)
{
    unsigned bytes = port_bytes(i);
    uint16_t port =
        i->form == FORM_RI ? (uint8_t)i->imm : (uint16_t)c->r[REG_RDX];
    enum exc e = cpu_check_io(c, port, bytes);
    if (e)
        return e;
    set_accumulator(c, c->board.io_read(c->board.context, port, bytes), bytes);
    match_breakpoints(c, port, bytes);
    return EXC_NONE;
}

enum exc op_out(struct cpu *c, const struct insn *i)
{
    unsigned bytes = port_bytes(i);
    bool has_imm = i->form != FORM_RR; /* OUT imm8, AL is FORM_R */
    uint16_t port = has_imm ? (uint8_t)i->imm : (uint16_t)c->r[REG_RDX];
    enum exc e = cpu_check_io(c, port, bytes);
    if (e)
        return e;
    uint32_t value = (uint32_t)reg_get(c, REG_RAX, bytes);
    c->board.io_write(c->board.context, port, value, bytes);
    match_breakpoints(c, port, bytes);
    return EXC_NONE;
}

/* ---- strings
 * ------------------------------------------------------------------ */

static void step_index(struct cpu *c, const struct insn *i, unsigned reg,
                       unsigned bytes)
{
    uint64_t v = c->r[reg];
    v = c->flags & FLAG_DF ? v - bytes : v + bytes;
    reg_set(c, reg, v, i->addr);
}

/* The destination is proved writable before the port is read, since reading a
 * port cannot be taken back. */
static enum exc ins_once(struct cpu *c, const struct insn *i)
{
    unsigned bytes = port_bytes(i);
    uint16_t port = (uint16_t)c->r[REG_RDX];
    uint64_t offset = reg_get(c, REG_RDI, i->addr), linear;
    enum exc e = cpu_check_io(c, port, bytes);
    if (!e)
        e = cpu_linear(c, SEG_ES, offset, bytes, true, &linear);
    if (e)
        return e;
    e = mmu_probe_write(&c->mmu, linear, bytes, ACCESS_WRITE);
    if (e)
        return e == EXC_GP ? cpu_gp0(c) : e;
    uint32_t value = c->board.io_read(c->board.context, port, bytes);
    e = cpu_write(c, SEG_ES, offset, &value, bytes);
    if (!e) {
        step_index(c, i, REG_RDI, bytes);
        match_breakpoints(c, port, bytes);
    }
    return e;
}

static enum exc outs_once(struct cpu *c, const struct insn *i)
{
    unsigned bytes = port_bytes(i);
    uint16_t port = (uint16_t)c->r[REG_RDX];
    uint32_t value = 0;
    enum exc e = cpu_check_io(c, port, bytes);
    if (!e)
        e = cpu_read(c, i->seg, reg_get(c, REG_RSI, i->addr), &value, bytes);
    if (e)
        return e;
    c->board.io_write(c->board.context, port, value, bytes);
    step_index(c, i, REG_RSI, bytes);
    match_breakpoints(c, port, bytes);
    return EXC_NONE;
}

/* One tick for each iteration; the loop adds that of the last (insn.h). */
static enum exc repeat(struct cpu *c, const struct insn *i, insn_fn *once)
{
    if (!(i->prefix & (PREFIX_REP | PREFIX_REPNE)))
        return once(c, i);
    uint64_t count = reg_get(c, REG_RCX, i->addr);
    if (count == 0) /* the port is checked even so */
        return cpu_check_io(c, (uint16_t)c->r[REG_RDX], port_bytes(i));
    do {
        enum exc e = once(c, i);
        if (e)
            return e;
        reg_set(c, REG_RCX, --count, i->addr);
        if (count == 0)
            return EXC_NONE;
        c->tick++;
        c->skew++;
    } while (c->tick < c->limit);
    return EXC_REP_BREAK;
}

enum exc op_ins(struct cpu *c, const struct insn *i)
{
    return repeat(c, i, ins_once);
}

enum exc op_outs(struct cpu *c, const struct insn *i)
{
    return repeat(c, i, outs_once);
}
