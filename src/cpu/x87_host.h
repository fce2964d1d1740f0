/* One x87 operation on the host's own unit. IEEE 754 and the SDM fix every
 * result and flag of the operations offered here, so they are the same on every
 * x86 host. Exceptions the guest has unmasked are unmasked while the operation
 * runs: the unit then gives the unmasked response, and the flags are cleared
 * before any waiting instruction could report them. The host's unit is left
 * empty with control word 037Fh, as the ABI wants it. */
#ifndef RELIVE_CPU_X87_HOST_H
#define RELIVE_CPU_X87_HOST_H

#include <stdint.h>

struct x87_host {
    uint64_t a_mantissa; /* in and out: ST(0) */
    uint16_t a_exponent;
    uint16_t pad0[3];
    uint64_t b_mantissa; /* in: ST(1) */
    uint16_t b_exponent;
    uint16_t pad1[3];
    uint8_t mem[16];     /* in or out: the memory operand */
    uint16_t control;    /* in: the guest's */
    uint16_t status;     /* out: flags and condition codes */
};

typedef void x87_host_fn(struct x87_host *h);

/* ST(0) = ST(0) op ST(1); R: ST(1) op ST(0). */
x87_host_fn x87_host_add, x87_host_mul, x87_host_sub, x87_host_subr,
    x87_host_div, x87_host_divr;
/* Compare ST(0) with ST(1): C3 C2 C0. */
x87_host_fn x87_host_com, x87_host_ucom;
/* The same with a memory operand of the named type instead of ST(1). */
x87_host_fn x87_host_add_f32, x87_host_mul_f32, x87_host_sub_f32,
    x87_host_subr_f32, x87_host_div_f32, x87_host_divr_f32, x87_host_com_f32;
x87_host_fn x87_host_add_f64, x87_host_mul_f64, x87_host_sub_f64,
    x87_host_subr_f64, x87_host_div_f64, x87_host_divr_f64, x87_host_com_f64;
x87_host_fn x87_host_add_i16, x87_host_mul_i16, x87_host_sub_i16,
    x87_host_subr_i16, x87_host_div_i16, x87_host_divr_i16, x87_host_com_i16;
x87_host_fn x87_host_add_i32, x87_host_mul_i32, x87_host_sub_i32,
    x87_host_subr_i32, x87_host_div_i32, x87_host_divr_i32, x87_host_com_i32;
/* Of ST(0) alone. */
x87_host_fn x87_host_sqrt, x87_host_rndint, x87_host_tst;
/* ST(0) * 2^trunc(ST(1)). */
x87_host_fn x87_host_scale;
/* Convert ST(0) into mem, which keeps its bytes when an unmasked exception
 * forbids the store. */
x87_host_fn x87_host_st_f32, x87_host_st_f64, x87_host_st_i16,
    x87_host_st_i32, x87_host_st_i64;
/* Load mem; an unmasked invalid operation leaves a unchanged. */
x87_host_fn x87_host_ld_f32, x87_host_ld_f64;

#endif
