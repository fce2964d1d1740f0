/* String instructions: long and short runs of MOVS, STOS, CMPS and SCAS. */
#include "kernel.h"
KERNEL("string", 0x05014000, 0x05014000)
    xorl %ebx, %ebx
    movl $40, %ebp
1:  movl $DATA, %edi
    movl $4096, %ecx
    movl %ebp, %eax
    rep stosl
    movl $DATA, %esi
    movl $(DATA + 0x8000), %edi
    movl $16384, %ecx
    rep movsb
    movl $DATA, %esi
    movl $(DATA + 0x8000), %edi
    movl $4096, %ecx
    repe cmpsl
    lea (rB, rC), rB
    movl $DATA, %edi
    movl $2048, %ecx
    movl $-1, %eax
    repne scasb
    add rDI, rB
    movl $100, %edx
2:  movl $DATA, %esi
    movl $(DATA + 0x10000), %edi
    movl $5, %ecx
    rep movsl
    movsb
    stosw
    lodsl
    xorl %eax, %ebx
    dec %edx
    jnz 2b
    dec %ebp
    jnz 1b
    movl %ebx, %eax
    ret
KERNEL_END
