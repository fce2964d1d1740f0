/* Calls and returns, four deep, with pushes and pops. */
#include "kernel.h"
KERNEL("call_ret", 0x820d77fe, 0xa28f7fde)
    movl $27000, %ecx
    movl $1, %eax
    xorl %ebx, %ebx
1:  call one
    call two
    dec %ecx
    jnz 1b
    add rB, rA
    FOLD
    ret
one:
    push rB
    call two
    call three
    pop rB
    xor rA, rB
    ret
two:
    add $5, rA
    call three
    call four
    ret
three:
    push rC
    lea 3(rA, rC), rC
    call four
    add rC, rA
    pop rC
    ret
four:
    add $1, rA
    ret
KERNEL_END
