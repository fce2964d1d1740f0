/* Integer work for the benchmarks, 32-bit code in flat segments: a sieve, a
 * CRC-32 by table, a sort by insertion, a mixing loop with calls, again and
 * again. Ends through isa-debug-exit, and through port 0x8900 for Bochs. */
#include "guest.h"

#ifndef ROUNDS
#define ROUNDS 2500
#endif

/* Data far from code: a store into a page of code is another benchmark. */
.set result, 0x40000
.set rounds, 0x40004

GUEST("bench_int")
PROT_VECTORS
    .code16
start16:
    ENTER32(start32)
    call prot_init
    cld
    movl $ROUNDS, rounds
    movl $1, result
round:
    /* Sieve of 16 KiB. */
    movl $0x20000, %edi
    movl $4096, %ecx
    movl $0x01010101, %eax
    rep stosl
    movl $2, %ebx
1:  cmpb $0, 0x20000(%ebx)
    je 3f
    movl %ebx, %edx
    addl %ebx, %edx
    jmp 2f
4:  movb $0, 0x20000(%edx)
    addl %ebx, %edx
2:  cmpl $16384, %edx
    jb 4b
3:  incl %ebx
    cmpl $128, %ebx
    jb 1b

    /* CRC-32 of the sieve; the table is made in the first round. */
    cmpl $ROUNDS, rounds
    jne 5f
    xorl %ecx, %ecx
6:  movl %ecx, %eax
    movl $8, %edx
7:  shrl $1, %eax
    jnc 8f
    xorl $0xedb88320, %eax
8:  decl %edx
    jnz 7b
    movl %eax, 0x30000(,%ecx,4)
    incl %ecx
    cmpl $256, %ecx
    jb 6b
5:  movl $0x20000, %esi
    movl $16384, %ecx
    movl $-1, %eax
9:  movzbl (%esi), %edx
    incl %esi
    xorb %al, %dl
    shrl $8, %eax
    xorl 0x30000(,%edx,4), %eax
    decl %ecx
    jnz 9b
    xorl %eax, result

    /* Insertion sort of 256 words from a linear generator. */
    movl rounds, %eax
    xorl %ecx, %ecx
1:  imull $1664525, %eax, %eax
    addl $1013904223, %eax
    movl %eax, 0x31000(,%ecx,4)
    incl %ecx
    cmpl $256, %ecx
    jb 1b
    movl $1, %ecx
2:  movl 0x31000(,%ecx,4), %eax
    movl %ecx, %edx
3:  movl 0x30ffc(,%edx,4), %ebx
    cmpl %eax, %ebx
    jbe 4f
    movl %ebx, 0x31000(,%edx,4)
    decl %edx
    jnz 3b
4:  movl %eax, 0x31000(,%edx,4)
    incl %ecx
    cmpl $256, %ecx
    jb 2b
    movl 0x31200, %eax
    addl %eax, result

    /* Calls, pushes, shifts, multiplications. */
    movl $4000, %ecx
1:  call mix
    loop 1b
    decl rounds
    jnz round
    movl $guest_name, %esi
    call puts32
    movl result, %ebx
    call hex32
    movb $10, %al
    outb %al, $0xe9
    movl $text_shutdown, %esi /* Bochs */
    movl $0x8900, %edx
    movl $8, %ecx
    rep outsb
    movb $0x10, %al
    outb %al, $0xf4
1:  hlt
    jmp 1b
mix:
    pushl %ecx
    movl result, %eax
    movl %eax, %edx
    shll $7, %edx
    xorl %edx, %eax
    imull $0x85ebca6b, %eax, %eax
    movl %eax, %edx
    shrl $13, %edx
    addl %edx, %eax
    movl %eax, result
    popl %ecx
    ret
text_shutdown: .ascii "Shutdown"
GUEST_END
