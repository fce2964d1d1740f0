/* Work of all kinds for those who look for the place where two runs part:
 * arithmetic that reads and writes flags, stores, x87 sums and timer
 * interrupts, about 300000 instructions of it. What goes wrong in one round
 * is mostly overwritten in the next. */
#include "guest.h"

#define ROUNDS 5000
#define TABLE 0x20000 /* 256 words of 4 bytes */

GUEST("parting")
PROT_VECTORS
rounds: .long 0
timer_ticks: .long 0
sum: .quad 0
step: .double 0.3
half: .double 0.5

/* IRQ 0 every 17 us. */
timer:
    pushal
    incl timer_ticks
    movb $0x20, %al
    outb %al, $0x20
    popal
    iretl

    .code16
start16:
    ENTER32(start32)
    call prot_init
    PIC_INIT
    SET_GATE32(0x20, timer)
    movb $0x34, %al /* PIT channel 0, mode 2 */
    outb %al, $0x43
    movb $20, %al
    outb %al, $0x40
    movb $0, %al
    outb %al, $0x40
    movb $0xfe, %al
    outb %al, $0x21
    movl %cr0, %eax
    andl $~0xc, %eax /* x87: no EM, no TS */
    movl %eax, %cr0
    fninit
    xorl %esi, %esi
    movl $1, %edi
    sti
round:
    movl rounds, %ebx
    /* A linear generator, its carry and a rotation. */
    imull $1103515245, %edi, %edi
    addl $12345, %edi
    adcl $0, %esi
    movl %edi, %eax
    shrl $16, %eax
    jnc 1f
    xorl $0x5a5a, %esi
1:  rcll $3, %eax
    /* A table that later rounds read. */
    movzbl %al, %edx
    addl %eax, TABLE(,%edx,4)
    movl TABLE(,%edx,4), %ecx
    cmpl %ecx, %edi
    setb %dl
    movb %dl, TABLE + 0x400(%ebx)
    cmovgl %ecx, %esi
    pushl %esi
    call mix
    popl %esi
    /* sum = sum / 2 + 0.3 * round */
    fildl rounds
    fmull step
    fldl sum
    fmull half
    faddp
    fstpl sum
    incl rounds
    cmpl $ROUNDS, rounds
    jb round
    cli
    PASS(32)

mix: /* eax, 7 turns */
    movl $7, %ecx
2:  leal 3(%eax, %eax, 2), %eax
    bswapl %eax
    decl %ecx
    jnz 2b
    xorl %eax, %esi
    movl %esi, TABLE + 0x800
    ret
GUEST_END
