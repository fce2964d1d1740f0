/* SSE and SSE2: packed and scalar floats, packed integers, loads and stores. */
#include "kernel.h"
KERNEL("sse", 0xb97a0122, 0xb97a0122)
    movl $DATA, %edi
    movl $0x3f800000, %eax
    movl $1024, %ecx
1:  movl %eax, (rDI)
    addl $0x1237, %eax
    add $4, rDI
    dec %ecx
    jnz 1b
    xorps %xmm0, %xmm0
    pxor %xmm4, %xmm4
    xorpd %xmm5, %xmm5
    movl $230, %edx
2:  movl $DATA, %esi
    movl $256, %ecx
3:  movaps (rSI), %xmm1
    movaps %xmm1, %xmm2
    mulps %xmm1, %xmm2
    addps %xmm2, %xmm0
    movdqa (rSI), %xmm3
    pshufd $0x1b, %xmm3, %xmm3
    paddd %xmm3, %xmm4
    pxor %xmm1, %xmm4
    pslld $1, %xmm3
    cvtss2sd %xmm1, %xmm6
    addsd %xmm6, %xmm5
    mulsd %xmm6, %xmm6
    subps %xmm1, %xmm0
    movaps %xmm4, 0x2000(rSI)
    add $16, rSI
    dec %ecx
    jnz 3b
    dec %edx
    jnz 2b
    paddd %xmm0, %xmm4
    pxor %xmm5, %xmm4
    pshufd $0x4e, %xmm4, %xmm1
    paddd %xmm1, %xmm4
    movd %xmm4, %eax
    ret
KERNEL_END
