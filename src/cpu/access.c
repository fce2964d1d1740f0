#include "cpu/access.h"

/* Alignment checking (SDM vol. 3A 6.15, #AC) is armed at CPL 3 only. */
static bool alignment_armed(const struct cpu *c)
{
    return c->cpl == 3 && (c->flags & FLAG_AC) && (c->cr0 & CR0_AM);
}

/* Data breakpoints (SDM vol. 3B 17.2.4): R/W field 1 is writes, 3 reads and
 * writes. A hit is a trap behind the instruction. */
static void match_breakpoints(struct cpu *c, uint64_t linear, unsigned bytes,
                              bool write)
{
    static const uint8_t lengths[4] = {1, 2, 8, 4};
    for (unsigned n = 0; n < 4; n++) {
        unsigned rw = c->dr[7] >> (16 + 4 * n) & 3;
        if (!(c->dr[7] >> (2 * n) & 3) || !(rw == 3 || (write && rw == 1)))
            continue;
        uint64_t size = lengths[c->dr[7] >> (18 + 4 * n) & 3];
        uint64_t start = c->dr[n] & ~(size - 1);
        if (linear < start + size && start < linear + bytes) {
            c->debug_pending |= 1u << n;
            cpu_attention(c);
        }
    }
}

/* Alignment wanted of an operand (SDM vol. 3A table 6-7): its size; 8 for an
 * 80-bit value, 4 or 2 for x87 environments by their operand size. SSE operands
 * of 16 bytes have checks of their own. */
static unsigned alignment_of(unsigned bytes)
{
    switch (bytes) {
    case 2:
    case 4:
    case 8:
        return bytes;
    case 6: /* far pointer */
        return 4;
    case 10:
        return 8;
    case 28:
    case 108:
        return 4;
    case 14:
    case 94:
        return 2;
    default:
        return 1;
    }
}

static bool is_canonical(const struct cpu *c, uint64_t linear)
{
    return c->mode != MODE_64 ||
           (uint64_t)((int64_t)(linear << 16) >> 16) == linear;
}

static enum exc checked(struct cpu *c, unsigned seg, uint64_t linear,
                        unsigned bytes, bool write)
{
    /* By priority: the first byte is canonical, the operand is aligned, all of
     * it is canonical, and only then are pages looked at. */
    if (!is_canonical(c, linear))
        return cpu_fault(c, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
    if ((linear & (alignment_of(bytes) - 1)) && alignment_armed(c))
        return cpu_fault(c, EXC_AC, 0);
    if (!is_canonical(c, linear + bytes - 1))
        return cpu_fault(c, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
    if (c->dr[7] & 0xff)
        match_breakpoints(c, linear, bytes, write);
    return EXC_NONE;
}

enum exc cpu_slow_read(struct cpu *c, unsigned seg, uint64_t linear, void *out,
                       unsigned bytes)
{
    enum exc e = checked(c, seg, linear, bytes, false);
    return e ? e : mmu_read(&c->mmu, linear, out, bytes, ACCESS_READ);
}

enum exc cpu_slow_write(struct cpu *c, unsigned seg, uint64_t linear,
                        const void *in, unsigned bytes)
{
    enum exc e = checked(c, seg, linear, bytes, true);
    return e ? e : mmu_write(&c->mmu, linear, in, bytes, ACCESS_WRITE);
}

enum exc cpu_slow_read_for_write(struct cpu *c, unsigned seg, uint64_t linear,
                                 void *out, unsigned bytes)
{
    enum exc e = checked(c, seg, linear, bytes, true);
    if (!e)
        e = mmu_probe_write(&c->mmu, linear, bytes, ACCESS_WRITE);
    return e ? e : mmu_read(&c->mmu, linear, out, bytes, ACCESS_READ);
}

enum exc cpu_push(struct cpu *c, uint64_t value, unsigned bytes)
{
    uint64_t sp = (c->r[REG_RSP] - bytes) & c->sp_mask;
    enum exc e = cpu_write(c, SEG_SS, sp, &value, bytes);
    if (!e)
        c->r[REG_RSP] = (c->r[REG_RSP] & ~c->sp_mask) | sp;
    return e;
}

enum exc cpu_stack_read(struct cpu *c, uint32_t skip, uint64_t *value,
                        unsigned bytes)
{
    *value = 0;
    return cpu_read(c, SEG_SS, (c->r[REG_RSP] + skip) & c->sp_mask, value,
                    bytes);
}
