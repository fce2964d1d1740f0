/* Loads and stores through 512 KiB in order. */
#include "kernel.h"
KERNEL("mem_seq", 0xebb9e001, 0xebb9eadf)
    movl $DATA, %edi
    movl $16384, %ecx
    movl $1, %eax
1:  mov rA, (rDI)
    add rC, rA
    mov rA, WORD(rDI)
    add $7, rA
    mov rA, 2 * WORD(rDI)
    mov rC, 3 * WORD(rDI)
    add $32, rDI
    dec %ecx
    jnz 1b
    movl $8, %edx
2:  movl $DATA, %esi
    movl $16384, %ecx
3:  add (rSI), rA
    xor WORD(rSI), rA
    mov 2 * WORD(rSI), rB
    add rB, 3 * WORD(rSI)
    add $32, rSI
    dec %ecx
    jnz 3b
    dec %edx
    jnz 2b
    FOLD
    ret
KERNEL_END
