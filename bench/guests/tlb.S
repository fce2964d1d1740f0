/* One word in each of 4096 pages, again and again: far more than a TLB holds. */
#include "kernel.h"
KERNEL("tlb", 0xc7780000, 0xc7780000)
    xorl %eax, %eax
    movl $40, %edx
1:  movl $DATA, %esi
    movl $4096, %ecx
2:  addl (rSI), %eax
    addl %esi, %eax
    movl %eax, (rSI)
    add $4096, rSI
    dec %ecx
    jnz 2b
    dec %edx
    jnz 1b
    /* Leave the pages as they were. */
    movl %eax, %edx
    movl $DATA, %esi
    movl $4096, %ecx
3:  movl $0, (rSI)
    add $4096, rSI
    dec %ecx
    jnz 3b
    movl %edx, %eax
    ret
KERNEL_END
