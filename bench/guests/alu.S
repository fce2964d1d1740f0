/* Arithmetic, logic, shifts and carries in registers. */
#include "kernel.h"
KERNEL("alu", 0x02a94f6a, 0x8ca18ff6)
    movl $50000, %ecx
    movl $1, %eax
    movl $0x12345678, %ebx
    movl $7, %edx
    xorl %esi, %esi
    movl $3, %edi
1:  add rB, rA
    lea 3(rA, rD, 2), rD
    xor rA, rB
    rol $5, rB
    sub rD, rA
    imul $33, rA, rA
    shr $3, rD
    or $1, rD
    neg rA
    adc rDI, rSI
    bswap rB
    not rB
    lea (rSI, rA), rDI
    and $0x7fffffff, rDI
    cmp rA, rB
    cmovb rB, rA
    movzbl %al, %ebp
    add rBP, rD
    dec %ecx
    jnz 1b
    add rB, rA
    add rD, rA
    add rSI, rA
    FOLD
    ret
KERNEL_END
