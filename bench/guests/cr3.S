/* Two address spaces in turn, with a few pages used in each. */
#include "kernel.h"
#define OTHER 0x7f000 /* a copy of the highest table: the same mapping */
KERNEL("cr3", 0x23b9875b, 0x23b9875b)
    movl $TABLES, %esi
    movl $OTHER, %edi
    movl $1024, %ecx
    rep movsl
    xorl %eax, %eax
    movl $600, %ebp
1:  movl $TABLES, %ebx
    mov rB, %cr3
    call touch
    movl $OTHER, %ebx
    mov rB, %cr3
    call touch
    dec %ebp
    jnz 1b
    movl $TABLES, %ebx
    mov rB, %cr3
    movl $DATA, %esi
    movl $16, %ecx
2:  movl $0, (rSI)
    add $4160, rSI
    dec %ecx
    jnz 2b
    ret
touch: /* 16 pages, ten times */
    movl $10, %edx
4:  movl $DATA, %esi
    movl $16, %ecx
3:  addl (rSI), %eax
    addl %ecx, %eax
    movl %eax, (rSI)
    add $4160, rSI
    dec %ecx
    jnz 3b
    dec %edx
    jnz 4b
    ret
KERNEL_END
