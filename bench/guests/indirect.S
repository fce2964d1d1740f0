/* Indirect jumps and calls, with targets that repeat and targets that do not. */
#include "kernel.h"
KERNEL("indirect", 0x8aa9986f, 0x1b0fba89)
    movl $60000, %ecx
    movl $99, %edx
    xorl %eax, %eax
1:  imull $1664525, %edx, %edx
    addl $1013904223, %edx
    movl %edx, %ebx
    shrl $29, %ebx
    mov targets(, rB, WORD), rSI
    call *rSI
    movl %ecx, %ebx
    andl $3, %ebx
    call *targets(, rB, WORD)
    mov $2f, rDI
    jmp *rDI
    .balign 16
2:  dec %ecx
    jnz 1b
    FOLD
    ret
target0: add $1, rA
    ret
target1: xor $0x55, rA
    ret
target2: sub rC, rA
    ret
target3: lea 7(rA, rA), rA
    ret
target4: rol $3, rA
    ret
target5: not rA
    ret
target6: add rA, rA
    ret
target7: sub $9, rA
    ret
    .balign 16
targets: DATA_WORD target0, target1, target2, target3
    DATA_WORD target4, target5, target6, target7
KERNEL_END
