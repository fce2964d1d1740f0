/* Self-modifying and cross-page code: the next instruction sees every store,
 * by whatever address, string instruction or page it came.
 * Source: SDM vol. 3A 11.6 "Self-Modifying Code". */
#include "guest.h"

#define CODE 0x20000 /* a page for code made here */
#define ALIAS (0x400000 + CODE)

GUEST("smc")
PROT_VECTORS
    .code16
start16:
    ENTER32(start32)
    call prot_init
    cld
    movl $0x87, page_directory + 4 /* 4 MB again at 4 MB: an alias */
    movl %cr3, %eax
    movl %eax, %cr3

    /* A store into an instruction just behind it, in a straight line. */
    xorl %eax, %eax
    movb $0x40, 1f /* INC EAX over NOP */
1:  nop
    EXPECT32(%eax, $1)

    /* In a loop: the immediate of an addition counts up. */
    xorl %eax, %eax
    movl $100, %ecx
    movb $0, 2f + 2
1:  incb 2f + 2
2:  addl $0, %eax
    loop 1b
    EXPECT32(%eax, $5050)

    /* A loop that runs hot before it is changed, by a string store. */
    movl $CODE, %edi
    movl $0x0000c340, (%edi) /* INC EAX; RET */
    xorl %eax, %eax
    movl $1000, %ecx
    movl $CODE, %edx
1:  call *%edx
    loop 1b
    EXPECT32(%eax, $1000)
    movl $(2 + 0xc300), 0x30000
    movb $0x48, 0x30000 /* DEC EAX; RET */
    movl $0x30000, %esi
    movl $CODE, %edi
    movl $2, %ecx
    rep movsb
    movl $1000, %ecx
1:  call *%edx
    loop 1b
    EXPECT32(%eax, $0)

    /* Through the alias. */
    movb $0x40, ALIAS
    call *%edx
    EXPECT32(%eax, $1)
    movl $ALIAS, %ebx
    call *%ebx
    movb $0x48, CODE
    call *%ebx
    EXPECT32(%eax, $1)

    /* An instruction across two pages, either half changed. */
    movb $0xb8, CODE + 0xffd /* MOV EAX, imm32; RET */
    movl $0x11223344, CODE + 0xffe
    movb $0xc3, CODE + 0x1002
    movl $(CODE + 0xffd), %edx
    call *%edx
    EXPECT32(%eax, $0x11223344)
    movb $0x55, CODE + 0x1001
    call *%edx
    EXPECT32(%eax, $0x55223344)
    movb $0x66, CODE + 0xffe
    call *%edx
    EXPECT32(%eax, $0x55223366)
    movw $0x7788, ALIAS + 0xfff
    call *%edx
    EXPECT32(%eax, $0x55778866)

    /* A call of code written by PUSH onto the stack. */
    movl %esp, %ebp
    pushl $0x00c34090 /* NOP; INC EAX; RET */
    movl %esp, %edx
    xorl %eax, %eax
    call *%edx
    popl %ebx
    EXPECT32(%eax, $1)
    pushl $0x00c34840 /* INC; DEC; RET at the same address */
    call *%edx
    movl %ebp, %esp
    EXPECT32(%eax, $1)

    /* Another page behind the same linear address. */
    movl $(CODE + 0x4000 + 7), 0x26000 /* the page table's entry 0 */
    movl $0x26007, page_directory + 8  /* 8 MB: through the table */
    movl %cr3, %eax
    movl %eax, %cr3
    movl $0x00c34040, CODE + 0x4000 /* two INC */
    movl $0x00c34848, CODE + 0x5000 /* two DEC */
    movl $0x800000, %edx
    movl $10, %eax
    call *%edx
    EXPECT32(%eax, $12)
    movl $(CODE + 0x5000 + 7), 0x26000
    invlpg 0x800000
    call *%edx
    EXPECT32(%eax, $10)
    /* A REP that overwrites what follows it, itself included, ends as begun:
     * the bytes it reads were fetched before. */
    movl $rep_tail_new, %esi
    movl $rep_tail, %edi
    movl $(rep_tail_end - rep_tail), %ecx
    xorl %eax, %eax
    rep movsb
rep_tail:
    nop
    nop
    nop
rep_tail_end:
    EXPECT32(%eax, $3)

    /* Changed before each call: the immediate and, in turns, ADD and SUB; then
     * called often between two changes. */
    movl $0x000000b8, CODE + 0x200 /* MOV EAX, imm32 */
    movl $0xc3c80100, CODE + 0x204 /* ADD EAX, ECX; RET */
    movl $(CODE + 0x200), %edx
    xorl %ebx, %ebx
    movl $2000, %ecx
1:  movl %ecx, CODE + 0x201
    xorb $0x28, CODE + 0x205
    call *%edx
    addl %eax, %ebx
    loop 1b
    EXPECT32(%ebx, $2000000)
    xorl %ebx, %ebx
    movl $50, %ecx
1:  movl %ecx, CODE + 0x201
    xorb $0x28, CODE + 0x205
    movl $100, %esi
2:  call *%edx
    addl %eax, %ebx
    decl %esi
    jnz 2b
    loop 1b
    EXPECT32(%ebx, $125000)
    PASS(32)
rep_tail_new:
    incl %eax
    incl %eax
    incl %eax
GUEST_END
