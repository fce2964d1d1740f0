/* Loads and stores 320 bytes apart, through 1 MiB. */
#include "kernel.h"
KERNEL("mem_stride", 0xf8c02400, 0xf8c0244f)
    movl $DATA, %edi
    xorl %eax, %eax
0:  mov rA, (rDI)
    mov rA, 64(rDI)
    mov rA, 128(rDI)
    add $320, rDI
    cmp $(DATA + 0x100000 - 320), rDI
    jb 0b
    movl $40, %edx
1:  movl $DATA, %esi
2:  mov (rSI), rB
    add rB, rA
    add rSI, rA
    mov rA, 128(rSI)
    xor 64(rSI), rA
    add $320, rSI
    cmp $(DATA + 0x100000 - 320), rSI
    jb 2b
    dec %edx
    jnz 1b
    FOLD
    ret
KERNEL_END
