/* Branches that follow short patterns. */
#include "kernel.h"
KERNEL("branch_pred", 0xfd4625d1, 0xdb8a0fbf)
    movl $80000, %ecx
    xorl %eax, %eax
    movl $1, %ebx
1:  testb $1, %cl
    jz 2f
    add $3, rA
    add rA, rB
2:  testb $2, %cl
    jnz 3f
    xor rC, rA
    jmp 4f
3:  sub $5, rB
4:  cmp $0, %ecx
    jl 9f
    testb $7, %cl
    jne 5f
    add rB, rA
5:  cmp $100000, %ecx
    ja 9f
    add $1, rB
    dec %ecx
    jnz 1b
9:  add rB, rA
    FOLD
    ret
KERNEL_END
