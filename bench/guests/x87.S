/* The x87 stack: loads, stores, sums, products, quotients, square roots. */
#include "kernel.h"
KERNEL("x87", 0xc8502b1c, 0xc8502b1c)
    movl $DATA, %edi
    movl $3, (rDI)
    movl $5, 4(rDI)
    movl $60000, %ecx
    fninit
    fildl (rDI)
    fildl 4(rDI)
    fldpi
1:  fld %st(1)
    fmul %st(3), %st
    fadd %st(1), %st
    fdiv %st(2), %st
    fabs
    fsqrt
    fstl 8(rDI)
    fstpt 16(rDI)
    fldt 16(rDI)
    fsubl 8(rDI)
    faddl 8(rDI)
    fxch %st(1)
    fstp %st(0)
    testb $15, %cl
    jnz 2f
    fld1
    faddp
2:  dec %ecx
    jnz 1b
    fstpl 32(rDI)
    fstp %st(0)
    fstp %st(0)
    movl 32(rDI), %eax
    xorl 36(rDI), %eax
    ret
KERNEL_END
