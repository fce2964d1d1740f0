/* Stacks that control transfers push on: the current one, or that of an inner
 * ring before it is loaded (SDM vol. 3A 5.8.5, 6.12.1, 6.14). */
#include "cpu/system_internal.h"

struct stack stack_current(const struct cpu *c)
{
    return (struct stack){
        .ss = c->seg[SEG_SS],
        .sp = c->r[REG_RSP],
        .mask = c->sp_mask,
        .cpl = c->cpl,
        .is_long = c->mode == MODE_64,
    };
}

struct stack stack_of(struct segment ss, uint64_t sp, unsigned cpl)
{
    return (struct stack){
        .ss = ss,
        .sp = sp,
        .mask = ss.attr & SEG_ATTR_DB ? 0xffffffff : 0xffff,
        .cpl = (uint8_t)cpl,
    };
}

static enum exc read_tss(struct cpu *c, uint32_t offset, void *out,
                         unsigned bytes)
{
    if (offset + bytes - 1 > c->tr.limit || !(c->tr.attr & SEG_ATTR_P))
        return cpu_fault(c, EXC_TS, c->tr.selector & 0xfffc);
    enum exc e =
        cpu_system_read(c, table_address(c, c->tr.base + offset), out, bytes);
    return e == EXC_GP ? cpu_fault(c, EXC_TS, c->tr.selector & 0xfffc) : e;
}

enum exc stack_from_tss(struct cpu *c, unsigned cpl, struct stack *out)
{
    uint8_t bytes[6];
    bool is_32 = (c->tr.attr & TYPE_32_BIT) != 0;
    uint32_t offset = is_32 ? cpl * 8 + 4 : cpl * 4 + 2;
    enum exc e = read_tss(c, offset, bytes, is_32 ? 6 : 4);
    if (e)
        return e;
    uint32_t sp = is_32 ? load_le32(bytes) : load_le16(bytes);
    uint16_t selector = load_le16(bytes + (is_32 ? 4 : 2));
    struct segment ss;
    if (selector_is_null(selector))
        return cpu_fault(c, EXC_TS, 0);
    e = segment_prepare_stack(c, selector, cpl, EXC_TS, &ss);
    if (e)
        return e;
    *out = stack_of(ss, sp, cpl);
    out->error = selector & 0xfffc;
    return EXC_NONE;
}

enum exc stack_from_tss64(struct cpu *c, unsigned cpl, unsigned ist,
                          struct stack *out)
{
    uint8_t bytes[8];
    uint32_t offset = ist ? 28 + ist * 8 : 4 + cpl * 8;
    enum exc e = read_tss(c, offset, bytes, 8);
    if (e)
        return e;
    uint64_t sp = load_le64(bytes);
    if (!is_canonical(sp))
        return cpu_fault(c, EXC_SS, 0);
    *out = (struct stack){
        .ss = cpl == c->cpl ? c->seg[SEG_SS] : segment_null_stack(cpl),
        .sp = sp,
        .mask = UINT64_MAX,
        .cpl = (uint8_t)cpl,
        .is_long = true,
    };
    return EXC_NONE;
}

/* Linear address of a span of the stack. */
static enum exc stack_span(struct cpu *c, const struct stack *s,
                           uint64_t offset, unsigned bytes, uint64_t *linear)
{
    if (s->is_long) {
        *linear = offset;
        return EXC_NONE;
    }
    bool writable =
        cpu_is_real(c) ||
        (s->ss.attr & (SEG_ATTR_P | SEG_ATTR_CODE | SEG_ATTR_WRITABLE)) ==
            (SEG_ATTR_P | SEG_ATTR_WRITABLE);
    if (!writable || !segment_covers(&s->ss, offset, bytes))
        return cpu_fault(c, EXC_SS, s->error);
    *linear = (uint32_t)(offset + s->ss.base);
    return EXC_NONE;
}

static unsigned stack_access(const struct stack *s)
{
    return s->cpl == 3 ? ACCESS_WRITE : ACCESS_WRITE | ACCESS_SYSTEM;
}

static enum exc as_stack_fault(struct cpu *c, const struct stack *s, enum exc e)
{
    return e == EXC_GP ? cpu_fault(c, EXC_SS, s->error) : e;
}

/* Slot by slot, all checked first: the frame wraps inside its segment, or has a
 * fault whose address is wanted. */
static enum exc push_slots(struct cpu *c, const struct stack *s,
                             const uint64_t *values, unsigned count,
                             unsigned bytes)
{
    for (int pass = 0; pass < 2; pass++) {
        uint64_t offset = s->sp;
        for (unsigned k = 0; k < count; k++) {
            uint64_t linear;
            offset = (offset - bytes) & s->mask;
            enum exc e = stack_span(c, s, offset, bytes, &linear);
            if (!e && pass == 0)
                e = mmu_probe_write(&c->mmu, linear, bytes, stack_access(s));
            else if (!e)
                e = mmu_write(&c->mmu, linear, &values[k], bytes,
                              stack_access(s));
            if (e)
                return as_stack_fault(c, s, e);
        }
    }
    return EXC_NONE;
}

enum exc stack_push(struct cpu *c, struct stack *s, const uint64_t *values,
                    unsigned count, unsigned bytes)
{
    uint8_t frame[40 * 8];
    unsigned total = count * bytes;
    uint64_t start = (s->sp - total) & s->mask, linear;
    enum exc e;
    if (total - 1 > s->mask - start) {
        e = push_slots(c, s, values, count, bytes);
    } else {
        for (unsigned k = 0; k < count; k++)
            memcpy(frame + (count - 1 - k) * bytes, &values[k], bytes);
        e = stack_span(c, s, start, total, &linear);
        if (!e)
            e = mmu_write(&c->mmu, linear, frame, total, stack_access(s));
        if (e == EXC_PF) /* CR2 names the slot that is pushed first */
            e = push_slots(c, s, values, count, bytes);
        else
            e = as_stack_fault(c, s, e);
    }
    if (!e)
        s->sp = (s->sp & ~s->mask) | start;
    return e;
}

void stack_load(struct cpu *c, const struct stack *s)
{
    c->seg[SEG_SS] = s->ss;
    c->r[REG_RSP] = s->sp;
}
