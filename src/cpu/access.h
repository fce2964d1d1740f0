/* Guest memory access for instruction handlers: segmentation, the inline TLB hit
 * and the slow path. Every function returns EXC_NONE or the fault, with the error
 * code in place, and has no other effect when it faults. */
#ifndef RELIVE_CPU_ACCESS_H
#define RELIVE_CPU_ACCESS_H

#include "cpu/insn.h"

#include <string.h>

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Segment checks when ea_flat[seg] is 0 (cpu/segment.c): limit, expand-down,
 * writability, null. #SS(0) for SS, else #GP(0). */
enum exc cpu_segment_check(struct cpu *c, unsigned seg, uint64_t offset,
                           unsigned bytes, bool write);

/* seg:offset to linear. */
static inline enum exc cpu_linear(struct cpu *c, unsigned seg, uint64_t offset,
                                  unsigned bytes, bool write, uint64_t *linear)
{
    if (UNLIKELY(!c->ea_flat[seg])) {
        enum exc e = cpu_segment_check(c, seg, offset, bytes, write);
        if (e)
            return e;
    }
    *linear = (offset + c->ea_base[seg]) & c->linear_mask;
    return EXC_NONE;
}

/* Slow paths (cpu/access.c): any length up to 512 bytes; turn the MMU's
 * non-canonical #GP into #SS for SS; alignment checks; data breakpoints. */
enum exc cpu_slow_read(struct cpu *c, unsigned seg, uint64_t linear, void *out,
                       unsigned bytes);
enum exc cpu_slow_write(struct cpu *c, unsigned seg, uint64_t linear,
                        const void *in, unsigned bytes);
/* Read that raises what a write would: first half of a read-modify-write. */
enum exc cpu_slow_read_for_write(struct cpu *c, unsigned seg, uint64_t linear,
                                 void *out, unsigned bytes);

/* A hit: the tag holds the page of the first byte; comparing it with the page of
 * the last byte makes an access that crosses a page miss. */
static inline void *cpu_tlb_read_hit(const struct cpu *c, uint64_t linear,
                                     unsigned bytes)
{
    const struct tlb_entry *t =
        &c->mmu.tlb[linear >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
    if (LIKELY(t->read_tag == ((linear + bytes - 1) & ~0xfffULL)))
        return (void *)(uintptr_t)(linear + t->addend);
    return NULL;
}
static inline void *cpu_tlb_write_hit(const struct cpu *c, uint64_t linear,
                                      unsigned bytes)
{
    const struct tlb_entry *t =
        &c->mmu.tlb[linear >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
    if (LIKELY(t->write_tag == ((linear + bytes - 1) & ~0xfffULL)))
        return (void *)(uintptr_t)(linear + t->addend);
    return NULL;
}

/* seg:offset accesses of any size (inlined for constant sizes). */
static inline enum exc cpu_read(struct cpu *c, unsigned seg, uint64_t offset,
                                void *out, unsigned bytes)
{
    uint64_t linear;
    enum exc e = cpu_linear(c, seg, offset, bytes, false, &linear);
    if (UNLIKELY(e))
        return e;
    const void *hit = cpu_tlb_read_hit(c, linear, bytes);
    if (LIKELY(hit != NULL)) {
        memcpy(out, hit, bytes);
        return EXC_NONE;
    }
    return cpu_slow_read(c, seg, linear, out, bytes);
}

static inline enum exc cpu_write(struct cpu *c, unsigned seg, uint64_t offset,
                                 const void *in, unsigned bytes)
{
    uint64_t linear;
    enum exc e = cpu_linear(c, seg, offset, bytes, true, &linear);
    if (UNLIKELY(e))
        return e;
    void *hit = cpu_tlb_write_hit(c, linear, bytes);
    if (LIKELY(hit != NULL)) {
        memcpy(hit, in, bytes);
        return EXC_NONE;
    }
    return cpu_slow_write(c, seg, linear, in, bytes);
}

/* Read-modify-write: read with the checks of a write, then cpu_write() to the
 * same address, which cannot fault any more. */
static inline enum exc cpu_read_for_write(struct cpu *c, unsigned seg,
                                          uint64_t offset, void *out,
                                          unsigned bytes)
{
    uint64_t linear;
    enum exc e = cpu_linear(c, seg, offset, bytes, true, &linear);
    if (UNLIKELY(e))
        return e;
    const void *hit = cpu_tlb_write_hit(c, linear, bytes);
    if (LIKELY(hit != NULL)) {
        memcpy(out, hit, bytes);
        return EXC_NONE;
    }
    return cpu_slow_read_for_write(c, seg, linear, out, bytes);
}

/* The memory operand of i. */
static inline enum exc insn_read(struct cpu *c, const struct insn *i, void *out,
                                 unsigned bytes)
{
    return cpu_read(c, i->seg, insn_offset(c, i), out, bytes);
}
static inline enum exc insn_write(struct cpu *c, const struct insn *i,
                                  const void *in, unsigned bytes)
{
    return cpu_write(c, i->seg, insn_offset(c, i), in, bytes);
}
static inline enum exc insn_read_for_write(struct cpu *c, const struct insn *i,
                                           void *out, unsigned bytes)
{
    return cpu_read_for_write(c, i->seg, insn_offset(c, i), out, bytes);
}

/* Linear accesses with supervisor rights (descriptor tables, TSS). */
static inline enum exc cpu_system_read(struct cpu *c, uint64_t linear,
                                       void *out, unsigned bytes)
{
    return mmu_read(&c->mmu, linear, out, bytes, ACCESS_READ | ACCESS_SYSTEM);
}
static inline enum exc cpu_system_write(struct cpu *c, uint64_t linear,
                                        const void *in, unsigned bytes)
{
    return mmu_write(&c->mmu, linear, in, bytes, ACCESS_WRITE | ACCESS_SYSTEM);
}

/* Stack with SS's address size. cpu_push changes RSP only on success. */
enum exc cpu_push(struct cpu *c, uint64_t value, unsigned bytes);
/* Reads at SS:SP + skip without moving SP; the caller adds to SP at the end. */
enum exc cpu_stack_read(struct cpu *c, uint32_t skip, uint64_t *value,
                        unsigned bytes);
static inline void cpu_add_sp(struct cpu *c, int64_t bytes)
{
    uint64_t sp = c->r[REG_RSP];
    c->r[REG_RSP] = (sp & ~c->sp_mask) |
                    ((sp + (uint64_t)bytes) & c->sp_mask);
}

/* General registers by number and size. A 32-bit write clears the upper half. */
static inline uint64_t reg_get(const struct cpu *c, unsigned reg,
                               unsigned bytes)
{
    switch (bytes) {
    case 1:
        return ((const uint8_t *)c->r)[reg];
    case 2:
        return (uint16_t)c->r[reg];
    case 4:
        return (uint32_t)c->r[reg];
    default:
        return c->r[reg];
    }
}
static inline void reg_set(struct cpu *c, unsigned reg, uint64_t value,
                           unsigned bytes)
{
    switch (bytes) {
    case 1:
        ((uint8_t *)c->r)[reg] = (uint8_t)value;
        break;
    case 2:
        memcpy(&c->r[reg], &value, 2);
        break;
    case 4:
        c->r[reg] = (uint32_t)value;
        break;
    default:
        c->r[reg] = value;
        break;
    }
}

#endif
