/* One user-mode instruction on the host CPU and in the interpreter, from the
 * same x87, MMX and XMM state. Guest linear addresses equal host addresses. */
#ifndef RELIVE_TESTS_LIB_NATIVE_H
#define RELIVE_TESTS_LIB_NATIVE_H

#include "cpu/insn.h"

struct native {
    struct cpu *cpu;
    uint8_t *code;            /* one executable page */
    uint8_t *memory;          /* the page behind it: operands at [RSI] */
    struct tlb_entry *tlb;
    uint8_t before[512] __attribute__((aligned(16))); /* FXSAVE image */
    uint8_t after[512] __attribute__((aligned(16)));
    uint8_t guest[512] __attribute__((aligned(16)));
    uint64_t regs[2];         /* RFLAGS, RAX: in and out */
    uint8_t host_memory[512]; /* what the host left at [RSI] */
    uint64_t seed;
};

bool native_init(struct native *n);
void native_fini(struct native *n);
uint64_t native_random(struct native *n);

/* Decode the instruction; false when the CPU does not claim it. */
bool native_decode(const struct native *n, const uint8_t *bytes,
                   unsigned length, struct insn *out);

/* Run it on both sides from before, regs and the first 512 bytes of memory.
 * after and regs get the host's outcome, guest and cpu the interpreter's. */
enum exc native_run(struct native *n, const uint8_t *bytes, unsigned length);

#endif
