/* Branches on the bits of pseudo-random numbers. */
#include "kernel.h"
KERNEL("branch_unpred", 0xfffea8d5, 0x0001572a)
    movl $70000, %ecx
    movl $12345, %edx
    xorl %eax, %eax
    xorl %ebx, %ebx
    xorl %edi, %edi
1:  imull $1664525, %edx, %edx
    addl $1013904223, %edx
    testl $0x10000, %edx
    jz 2f
    add $3, rA
2:  testl $0x200000, %edx
    jnz 3f
    xor rDI, rB
    add $1, rB
3:  cmpl $0x40000000, %edx
    jb 4f
    add rB, rA
4:  testl %edx, %edx
    js 5f
    sub $7, rA
5:  mov rB, rDI
    dec %ecx
    jnz 1b
    add rB, rA
    FOLD
    ret
KERNEL_END
