/* What the rest of the machine needs of the x87 unit. */
#ifndef RELIVE_CPU_X87_H
#define RELIVE_CPU_X87_H

#include "cpu/cpu.h"

/* A write to port F0h: FERR# reporting ends (the IRQ 13 latch is cleared) and
 * IGNNE# lets x87 instructions run until the exception is cleared (SDM vol. 1
 * app. D.2.1). */
void x87_ignne(struct cpu *c);

/* FNINIT's state: all registers empty, control 037Fh. Contents survive. */
void x87_init(struct cpu *c);

/* The status word with TOP in bits 11..13. */
static inline uint16_t x87_status(const struct cpu *c)
{
    return (uint16_t)(c->x87.status | c->x87.top << 11);
}

/* Before any MMX instruction or XMM instruction with an MMX operand: #UD for
 * CR0.EM, #NM for CR0.TS, #MF (or FERR#) for a pending exception. */
enum exc x87_enter_mmx(struct cpu *c);

#endif
