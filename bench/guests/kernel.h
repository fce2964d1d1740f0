/* What every benchmark kernel shares. A kernel is a guest without an operating
 * system, assembled twice, with BITS 32 and 64; both run with paging on, the
 * first 32 MB mapped to themselves in pages of 4 KiB, and SSE enabled.
 *
 *              #include "kernel.h"
 *              KERNEL("name", sum32, sum64)   then code that does one unit of
 *              ...                            work, returns a checksum in EAX
 *              KERNEL_END
 *
 * A unit is about a million instructions, begins from nothing but the stack,
 * and always has the same sum. The number of units is a word in the image, so
 * that bench/cpu.sh can change it. Around the work the lines "<" and ">" go to
 * COM1, for whoever takes the time, and "+ ok" when all sums were right. Data
 * lives at DATA and above: a store into a page
 * of code is another benchmark. */
#ifndef RELIVE_BENCH_KERNEL_H
#define RELIVE_BENCH_KERNEL_H

#include "guest.h"

#if BITS == 64
#define rA  %rax
#define rB  %rbx
#define rC  %rcx
#define rD  %rdx
#define rSI %rsi
#define rDI %rdi
#define rBP %rbp
#define rSP %rsp
#define WORD 8
#define DATA_WORD .quad
/* A word's two halves into one, clobbering rD. */
#define FOLD movq %rax, %rdx; shrq $32, %rdx; xorl %edx, %eax
#else
#define rA  %eax
#define rB  %ebx
#define rC  %ecx
#define rD  %edx
#define rSI %esi
#define rDI %edi
#define rBP %ebp
#define rSP %esp
#define WORD 4
#define DATA_WORD .long
#define FOLD
#endif

#define TABLES 0x60000 /* page tables; 0x7F000 and above: a kernel's own */
#define DATA   0x200000
#define UNITS  400

/* 8192 page table entries at `at`, of WORD bytes. */
.macro FILL_TABLES at, bytes
    movl $\at, %edi
    movl $7, %eax
1:  movl %eax, (%edi)
    addl $\bytes, %edi
    addl $0x1000, %eax
    cmpl $0x2000007, %eax
    jne 1b
.endm

/* Entries of a directory at `at` for `count` tables at `tables`. */
.macro FILL_DIRECTORY at, tables, count, bytes
    movl $\at, %edi
    movl $(\tables + 7), %eax
1:  movl %eax, (%edi)
    addl $\bytes, %edi
    addl $0x1000, %eax
    cmpl $(\tables + 7 + \count * 0x1000), %eax
    jne 1b
.endm

.macro ENTER_PAGING
    movl $TABLES, %edi
    movl $0x8000, %ecx
    xorl %eax, %eax
    cld
    rep stosl
#if BITS == 64
    FILL_TABLES (TABLES + 0x3000), 8
    FILL_DIRECTORY (TABLES + 0x2000), (TABLES + 0x3000), 16, 8
    movl $(TABLES + 0x2007), TABLES + 0x1000
    movl $(TABLES + 0x1007), TABLES
    movl $0x620, %eax /* PAE, OSFXSR, OSXMMEXCPT */
    movl %eax, %cr4
    movl $TABLES, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax /* LME */
    wrmsr
#else
    FILL_TABLES (TABLES + 0x1000), 4
    FILL_DIRECTORY TABLES, (TABLES + 0x1000), 8, 4
    movl $0x600, %eax /* OSFXSR, OSXMMEXCPT */
    movl %eax, %cr4
    movl $TABLES, %eax
    movl %eax, %cr3
#endif
    movl %cr0, %eax
    andl $~4, %eax         /* no emulation of the x87 */
    orl $0x80010022, %eax  /* PG, WP, NE, MP */
    movl %eax, %cr0
#if BITS == 64
    ljmpl $SEL_CODE64, $start_bits
    .code64
#else
    ljmpl $SEL_CODE32, $start_bits
    .code32
#endif
start_bits:
    movl $STACK, %esp
    fninit
.endm

#define GLUE(a, b) a##b
#define ENDING(name, bits) GLUE(name, bits) /* after expansion */

#if BITS == 64
#define KERNEL(name, sum32, sum64) GUEST(name); .set want, sum64; KERNEL_START
#else
#define KERNEL(name, sum32, sum64) GUEST(name); .set want, sum32; KERNEL_START
#endif

.macro KERNEL_START
    .code16
start16:
    ENTER32(start32)
    ENTER_PAGING
    movl $0x3fb, %edx /* 115200 baud, 8N1 */
    movb $0x83, %al
    outb %al, %dx
    movl $0x3f8, %edx
    movb $1, %al
    outb %al, %dx
    incl %edx
    movb $0, %al
    outb %al, %dx
    movl $0x3fb, %edx
    movb $3, %al
    outb %al, %dx
    movl $text_begin, %esi
    call send
1:  call kernel
    cmpl $want, %eax
    jne wrong
    decl units
    jnz 1b
    movl $text_end, %esi
    call send
    movl $text_shutdown, %esi /* Bochs */
    movl $0x8900, %edx
    movl $8, %ecx
    rep outsb
    jmp ENDING(pass, BITS)
wrong:
    movl %eax, bad_got
    movl $want, bad_want
    jmp ENDING(fail, BITS)
send: /* esi: text; returns when the last byte is on the line */
    movl $0x3fd, %edx
2:  inb %dx, %al
    testb $0x40, %al /* TEMT */
    jz 2b
    movb (rSI), %al
    inc rSI
    testb %al, %al
    jz 3f
    movl $0x3f8, %edx
    outb %al, %dx
    jmp send
3:  ret
text_begin: .asciz "<\n"
text_end: .asciz ">\n+ ok 0 0\n"
text_shutdown: .ascii "Shutdown"
    .balign 64
kernel:
.endm

#define KERNEL_END \
    .org 0xfff0; .code16; ljmp $0xf000, $reset; \
    .org 0xfff8; units: .long UNITS; .org 0x10000

#endif
