/* Run one instruction on the host CPU with chosen registers. */
#ifndef RELIVE_TESTS_LIB_SSEHOST_H
#define RELIVE_TESTS_LIB_SSEHOST_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SSEHOST_GPRS = 6, /* RAX RCX RDX RBX RSI RDI */
    SSEHOST_XMMS = 3
};

enum ssehost_fault {
    SSEHOST_NONE,
    SSEHOST_FPE,  /* #XM */
    SSEHOST_SEGV, /* #GP, #PF */
    SSEHOST_ILL   /* #UD */
};

struct ssehost {
    uint64_t xmm[SSEHOST_XMMS][2];
    uint64_t gpr[SSEHOST_GPRS];
    uint64_t rflags;
    uint32_t mxcsr;
    enum ssehost_fault fault; /* out */
};

/* Catch the signals of faults; false when there is no executable page. */
bool ssehost_init(void);
void ssehost_fini(void);

/* Load the registers of *n, run the instruction, read them back. After a fault
 * they are those at the fault. The instruction must leave R13, R15 and RSP. */
void ssehost_run(struct ssehost *n, const uint8_t *bytes, unsigned len);

#endif
