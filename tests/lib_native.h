/* Run one instruction on the host CPU with chosen registers. */
#ifndef RELIVE_TESTS_LIB_NATIVE_H
#define RELIVE_TESTS_LIB_NATIVE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    NATIVE_GPRS = 6, /* RAX RCX RDX RBX RSI RDI */
    NATIVE_XMMS = 3
};

enum native_fault {
    NATIVE_NONE,
    NATIVE_FPE,  /* #XM */
    NATIVE_SEGV, /* #GP, #PF */
    NATIVE_ILL   /* #UD */
};

struct native {
    uint64_t xmm[NATIVE_XMMS][2];
    uint64_t gpr[NATIVE_GPRS];
    uint64_t rflags;
    uint32_t mxcsr;
    enum native_fault fault; /* out */
};

/* Catch the signals of faults; false when there is no executable page. */
bool native_init(void);
void native_fini(void);

/* Load the registers of *n, run the instruction, read them back. After a fault
 * they are those at the fault. The instruction must leave R13, R15 and RSP. */
void native_run(struct native *n, const uint8_t *bytes, unsigned len);

#endif
