/* What the system side of the CPU shares: descriptors, stacks of a privilege
 * level, checked transfers. Only event.c, segment.c, task.c, far.c, iret.c,
 * control.c, msr.c, fastcall.c, io.c and op_*.c of this folder include it. */
#ifndef RELIVE_CPU_SYSTEM_INTERNAL_H
#define RELIVE_CPU_SYSTEM_INTERNAL_H

#include "base/bytes.h"
#include "cpu/access.h"

/* The flags that exist (SDM vol. 1 3.4.3). */
#define FLAGS_DEFINED 0x3f7fd7u

/* Types of system descriptors (SDM vol. 3A table 3-2). */
enum {
    TYPE_TSS16 = 1,
    TYPE_LDT = 2,
    TYPE_TSS16_BUSY = 3,
    TYPE_CALL16 = 4,
    TYPE_TASK_GATE = 5,
    TYPE_INT16 = 6,
    TYPE_TRAP16 = 7,
    TYPE_TSS = 9,
    TYPE_TSS_BUSY = 11,
    TYPE_CALL = 12,
    TYPE_INT = 14,
    TYPE_TRAP = 15,
    TYPE_BUSY_BIT = 2,
    TYPE_32_BIT = 8
};

/* A descriptor as found in a table; lo and hi are its two doublewords. */
struct descriptor {
    uint64_t vaddr;
    uint32_t lo, hi;
    uint32_t upper; /* third doubleword: see descriptor_extend() */
    uint16_t selector;
};

static inline unsigned descriptor_type(const struct descriptor *d)
{
    return d->hi >> 8 & 15;
}
static inline bool descriptor_is_system(const struct descriptor *d)
{
    return !(d->hi & 0x1000);
}
static inline unsigned descriptor_dpl(const struct descriptor *d)
{
    return d->hi >> 13 & 3;
}
static inline bool descriptor_present(const struct descriptor *d)
{
    return (d->hi & 0x8000) != 0;
}
static inline bool descriptor_is_code(const struct descriptor *d)
{
    return (d->hi & 0x1800) == 0x1800;
}
static inline bool descriptor_is_conforming(const struct descriptor *d)
{
    return (d->hi & 0x1c00) == 0x1c00;
}
static inline bool descriptor_is_writable_data(const struct descriptor *d)
{
    return (d->hi & 0x1a00) == 0x1200;
}
/* Data, or code that can be read. */
static inline bool descriptor_is_readable(const struct descriptor *d)
{
    return (d->hi & 0x1000) && (d->hi & 0xa00) != 0x800;
}
static inline bool selector_is_null(uint16_t selector)
{
    return selector < 4;
}
static inline bool is_canonical(uint64_t v)
{
    return (uint64_t)((int64_t)(v << 16) >> 16) == v;
}
static inline unsigned cpu_iopl(const struct cpu *c)
{
    return c->flags >> 12 & 3;
}
static inline bool cpu_is_protected(const struct cpu *c)
{
    return !cpu_is_real(c) && !cpu_is_v86(c);
}
/* Linear addresses of tables have 64 bits only in IA-32e mode. */
static inline uint64_t table_address(const struct cpu *c, uint64_t vaddr)
{
    return cpu_is_long(c) ? vaddr : (uint32_t)vaddr;
}

/* ---- segment.c ----------------------------------------------------------- */

/* Read the descriptor that a non-null selector names. Outside its table: the
 * fault `bad` with the selector as error code. */
enum exc descriptor_fetch(struct cpu *c, uint16_t selector, enum exc bad,
                          struct descriptor *d);
/* As descriptor_fetch(), for LAR and friends: *found says whether it exists;
 * only a page fault is returned. */
enum exc descriptor_look(struct cpu *c, uint16_t selector, struct descriptor *d,
                         bool *found);
/* IA-32e mode: read the upper half of a 16-byte system descriptor into
 * d->upper; the type field there must be 0, else #GP(selector). */
enum exc descriptor_extend(struct cpu *c, struct descriptor *d);
/* Set the accessed bit in memory and in *d. */
enum exc descriptor_set_accessed(struct cpu *c, struct descriptor *d);
/* Set or clear the busy bit of a TSS descriptor in memory and in *d. */
enum exc descriptor_set_busy(struct cpu *c, struct descriptor *d, bool busy);
uint32_t descriptor_limit(const struct descriptor *d);
/* The hidden part that d gives; selector as given. */
struct segment descriptor_segment(const struct descriptor *d,
                                  uint16_t selector);

/* The segment a load of `selector` would give, all checks done and the accessed
 * bit set, without loading it. */
enum exc segment_prepare(struct cpu *c, enum seg seg, uint16_t selector,
                         struct segment *out);
/* The same for SS at privilege cpl, not null; violations give `bad`, absence
 * gives #SS, both with the selector. */
enum exc segment_prepare_stack(struct cpu *c, uint16_t selector, unsigned cpl,
                               enum exc bad, struct segment *out);
struct segment segment_real(const struct cpu *c, enum seg seg,
                            uint16_t selector);
struct segment segment_null(uint16_t selector);
/* SS of inner rings in 64-bit mode. */
struct segment segment_null_stack(unsigned cpl);
/* Flat segments of SYSCALL, SYSENTER and their returns. */
struct segment segment_flat(uint16_t selector, unsigned attr);
/* May [offset, offset + bytes) be accessed? Limits only. */
bool segment_covers(const struct segment *s, uint64_t offset, unsigned bytes);

/* ---- stack.c ---------------------------------------------------------------
 */

struct stack {
    struct segment ss;
    uint64_t sp; /* whole register; the bits of mask move */
    uint64_t mask;
    uint8_t cpl;
    bool is_long;   /* flat 64-bit addresses */
    uint16_t error; /* error code of #SS: the selector of an inner stack */
};
struct stack stack_current(const struct cpu *c);
struct stack stack_of(struct segment ss, uint64_t sp, unsigned cpl);
/* Stack of an inner ring from the TSS (SDM vol. 3A 5.8.5): #TS and #SS. */
enum exc stack_from_tss(struct cpu *c, unsigned cpl, struct stack *out);
/* IA-32e: RSP0..2 by ring, or IST slot 1..7 when ist is not 0. */
enum exc stack_from_tss64(struct cpu *c, unsigned cpl, unsigned ist,
                          struct stack *out);
/* Push values[0] first. All or nothing. #SS(s->error) outside the segment. */
enum exc stack_push(struct cpu *c, struct stack *s, const uint64_t *values,
                    unsigned count, unsigned bytes);
/* Make s the stack. The caller updates mode afterwards. */
void stack_load(struct cpu *c, const struct stack *s);

/* ---- far.c, iret.c ---------------------------------------------------------
 */

/* Target of a gate: null, type, privilege, presence and, in IA-32e mode, L. The
 * accessed bit is set. Gives the new segment with RPL = *cpl. */
enum exc far_gate_code(struct cpu *c, uint16_t selector, uint64_t offset,
                       struct segment *code, unsigned *cpl);
/* Code segment to return to: #GP, #NP; gives the segment; its RPL is the new
 * CPL. */
enum exc far_return_code(struct cpu *c, uint16_t selector,
                         struct segment *code);
enum exc far_return_stack(struct cpu *c, uint16_t selector,
                          const struct segment *code, struct segment *ss);
/* After going outwards: data segments that the new CPL may not use become
 * null. */
void far_drop_segments(struct cpu *c);
/* Commit a transfer: CS, CPL, RIP, then mode and paging. */
void far_commit(struct cpu *c, struct segment code, unsigned cpl, uint64_t rip);
/* Is `offset` inside `code`, or canonical when that is 64-bit? #GP(0). */
enum exc far_check_offset(struct cpu *c, const struct segment *code,
                          uint64_t offset);

/* ---- task.c -----------------------------------------------------------------
 */

enum task_cause {
    TASK_JMP,
    TASK_CALL,
    TASK_INT,
    TASK_FAULT, /* as TASK_INT, and RF is set in the saved EFLAGS */
    TASK_IRET
};
/* Switch to the task whose TSS descriptor is d (present and of the right type).
 * The error code of an exception is pushed on the new task's stack. Faults
 * before the switch leave everything unchanged; later ones belong to the new
 * task, as SDM vol. 3A 7.3 says. */
enum exc task_switch(struct cpu *c, struct descriptor *d, enum task_cause cause,
                     bool has_error, uint32_t error);
/* Through a task gate's selector, or directly: checks, then the switch. */
enum exc task_enter(struct cpu *c, uint16_t selector, enum task_cause cause,
                    bool has_error, uint32_t error);
/* IRET with NT set. */
enum exc task_return(struct cpu *c);

/* ---- control.c -------------------------------------------------------------
 */

/* Load the four PDPTE registers from cr3; #GP(0) when a reserved bit is set. */
enum exc control_load_pdptes(struct cpu *c, uint64_t cr3);

/* ---- event.c ---------------------------------------------------------------
 */

/* Merge the causes of a debug exception into DR6; clears DR7.GD. */
void event_take_debug(struct cpu *c);

/* Flags after loading an image: only the bits of mask come from it. */
static inline void cpu_merge_rflags(struct cpu *c, uint32_t image,
                                    uint32_t mask)
{
    cpu_set_rflags(c, (cpu_rflags(c) & ~mask) | (image & mask));
}

static inline void cpu_set_zf(struct cpu *c, bool zf)
{
    uint32_t f = cpu_rflags(c);
    cpu_set_arith(c, zf ? f | FLAG_ZF : f & ~(uint32_t)FLAG_ZF);
}

/* IF or NMI blocking may have changed: leave the loop when an interrupt that
 * waits can now be taken. */
static inline void cpu_recheck_events(struct cpu *c)
{
    if (c->nmi_pending || (c->intr && (c->flags & FLAG_IF)))
        cpu_attention(c);
}

static inline enum exc cpu_gp0(struct cpu *c)
{
    return cpu_fault(c, EXC_GP, 0);
}

/* The offset and selector of a far pointer in memory (m16:16, :32, :64). */
enum exc cpu_read_far_pointer(struct cpu *c, const struct insn *i,
                              uint64_t *offset, uint16_t *selector);

#endif
