#include "cpu/x87_host.h"

#include <stddef.h>

_Static_assert(offsetof(struct x87_host, b_mantissa) == 16 &&
                   offsetof(struct x87_host, mem) == 32 &&
                   offsetof(struct x87_host, control) == 48 &&
                   offsetof(struct x87_host, status) == 50,
               "the assembly below uses these offsets");

#define ALL_ST                                                                 \
    "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)",       \
        "memory"

static const uint16_t abi_control = 0x37f;

#define HOST_OP(name, text)                                                    \
    void x87_host_##name(struct x87_host *h)                                   \
    {                                                                          \
        __asm__ volatile("fnclex\n\tfldt 16(%0)\n\tfldt (%0)\n\tfldcw 48(%0)"  \
                         "\n\t" text "\n\t"                                    \
                         "fnstsw 50(%0)\n\tfnclex\n\tfldcw %1\n\t"             \
                         "fstpt (%0)\n\tfstp %%st(0)"                          \
                         :                                                     \
                         : "r"(h), "m"(abi_control)                            \
                         : ALL_ST);                                            \
    }

/* ST(0) and ST(1), then the four memory types, for each operation. */
#define HOST_ALL(name)                                                         \
    HOST_OP(name, "f" #name " %%st(1), %%st")                                  \
    HOST_MEM(name)
#define HOST_MEM(name)                                                         \
    HOST_OP(name##_f32, "f" #name "s 32(%0)")                                  \
    HOST_OP(name##_f64, "f" #name "l 32(%0)")                                  \
    HOST_OP(name##_i16, "fi" #name "s 32(%0)")                                 \
    HOST_OP(name##_i32, "fi" #name "l 32(%0)")

HOST_ALL(add)
HOST_ALL(mul)
HOST_ALL(sub)
HOST_ALL(subr)
HOST_ALL(div)
HOST_ALL(divr)
HOST_OP(com, "fcom %%st(1)")
HOST_MEM(com)
HOST_OP(ucom, "fucom %%st(1)")
HOST_OP(sqrt, "fsqrt")
HOST_OP(rndint, "frndint")
HOST_OP(tst, "ftst")
HOST_OP(scale, "fscale")
HOST_OP(st_f32, "fsts 32(%0)")
HOST_OP(st_f64, "fstl 32(%0)")
HOST_OP(st_i16, "fists 32(%0)")
HOST_OP(st_i32, "fistl 32(%0)")

/* There is no FIST m64: FISTP, which pops or does not. FNINIT empties. */
void x87_host_st_i64(struct x87_host *h)
{
    __asm__ volatile("fnclex\n\tfldt (%0)\n\tfldcw 48(%0)\n\t"
                     "fistpll 32(%0)\n\tfnstsw 50(%0)\n\tfninit"
                     :
                     : "r"(h)
                     : ALL_ST);
}

#define HOST_LOAD(name, text)                                                  \
    void x87_host_##name(struct x87_host *h)                                   \
    {                                                                          \
        __asm__ volatile("fnclex\n\tfldt (%0)\n\tfldcw 48(%0)\n\t" text        \
                         "\n\tfnstsw 50(%0)\n\tfnclex\n\tfldcw %1\n\t"         \
                         "fstpt (%0)\n\tfninit"                                \
                         :                                                     \
                         : "r"(h), "m"(abi_control)                            \
                         : ALL_ST);                                            \
    }
HOST_LOAD(ld_f32, "flds 32(%0)")
HOST_LOAD(ld_f64, "fldl 32(%0)")
