/* Real-address mode: flags, stack, far transfers, strings, exceptions.
 * Sources: SDM vol. 2 of each instruction, vol. 3A ch. 20 "8086 emulation". */
#include "guest.h"

GUEST("real")
    .code16
REAL_VECTORS

#define FLAGS16(want) \
    pushfl; popl %edx; andl $0x8d5, %edx; EXPECT16(%edx, want)

start16:
    call real_init

    /* Flags: CF 1, PF 4, AF 10, ZF 40, SF 80, OF 800. */
    movb $0x7f, %al
    addb $1, %al
    FLAGS16($0x890)
    movb $0xff, %al
    addb $1, %al
    FLAGS16($0x55)
    movb $0x80, %al
    subb $1, %al
    FLAGS16($0x810)
    movw $0x8000, %ax
    negw %ax
    FLAGS16($0x885)
    stc
    movb $0xff, %al
    adcb $0, %al
    FLAGS16($0x55)
    stc
    movb $0, %al
    sbbb $0, %al
    FLAGS16($0x95)
    stc
    movw $0x7fff, %ax
    incw %ax /* leaves CF */
    FLAGS16($0x895)
    clc
    movb $0x81, %al
    rolb $1, %al
    pushfl
    popl %edx
    andl $0x801, %edx
    EXPECT16(%edx, $0x801)
    movl $3, %eax
    EXPECT16(%eax, $3)
    movb $0x81, %al
    sarb $1, %al
    movzbl %al, %eax
    EXPECT16(%eax, $0xc0)

    /* Decimal adjustments. */
    movw $0x0079, %ax
    addb $0x35, %al
    daa
    movzwl %ax, %eax
    EXPECT16(%eax, $0x14)
    movw $0x0047, %ax
    subb $0x28, %al
    das
    movzwl %ax, %eax
    EXPECT16(%eax, $0x19)
    movw $0x0108, %ax
    addb $9, %al
    aaa
    movzwl %ax, %eax
    EXPECT16(%eax, $0x207)
    movw $0x0203, %ax
    subb $7, %al
    aas
    movzwl %ax, %eax
    EXPECT16(%eax, $0x106)
    movw $0x0043, %ax
    aam
    movzwl %ax, %eax
    EXPECT16(%eax, $0x607)
    aad
    movzwl %ax, %eax
    EXPECT16(%eax, $0x43)

    /* Multiplication and division. */
    movw $0xffff, %ax
    movw $0xffff, %bx
    mulw %bx
    movzwl %ax, %eax
    movzwl %dx, %edx
    EXPECT16(%eax, $1)
    EXPECT16(%edx, $0xfffe)
    movl $-7, %eax
    cltd
    movl $2, %ebx
    idivl %ebx
    EXPECT16(%eax, $-3)
    EXPECT16(%edx, $-1)
    movl $0x12345678, %eax
    imull $-3, %eax, %eax
    EXPECT16(%eax, $0xc962fc98)

    /* Stack: PUSH SP pushes the old value; PUSHA, ENTER, LEAVE. */
    movl $STACK, %esp
    pushw %sp
    popw %ax
    movzwl %ax, %eax
    EXPECT16(%eax, $STACK)
    movl $0x11112222, %eax
    movl $0x33334444, %ebx
    movl $0x99998888, %ebp
    pushal
    xorl %eax, %eax
    xorl %ebx, %ebx
    xorl %ebp, %ebp
    popal
    EXPECT16(%eax, $0x11112222)
    EXPECT16(%ebx, $0x33334444)
    EXPECT16(%ebp, $0x99998888)
    movl $0x8000, %ebp
    enter $16, $0
    movzwl %bp, %eax
    EXPECT16(%eax, $(STACK - 2))
    movzwl %sp, %eax
    EXPECT16(%eax, $(STACK - 18))
    leave
    movzwl %sp, %eax
    EXPECT16(%eax, $STACK)
    movzwl %bp, %eax
    EXPECT16(%eax, $0x8000)

    /* Far call and return through another segment for the same place. */
    lcall $0x0100, $(far_target - 0x1000)
    EXPECT16(%ecx, $0x0100)
    movw $far_pointer, %bx
    lcallw *(%bx)
    EXPECT16(%ecx, $0x0080)
    lesw far_pointer, %di
    movw %es, %ax
    movzwl %ax, %eax
    EXPECT16(%eax, $0x80)
    xorw %ax, %ax
    movw %ax, %es

    /* Strings, both directions, with a segment override. */
    movw $text_a, %si
    movw $0x500, %di
    movw $8, %cx
    rep movsb
    EXPECT16(0x504, $0x68676665)
    EXPECT16(%ecx, $0)
    std
    movw $text_a + 7, %si
    movw $0x517, %di
    movw $8, %cx
    rep movsb
    cld
    EXPECT16(0x510, $0x64636261)
    movw $text_a, %si
    movw $text_b, %di
    movw $8, %cx
    repe cmpsb
    movzwl %cx, %ecx
    EXPECT16(%ecx, $2)
    movb $'d', %al
    movw $text_a, %di
    movw $8, %cx
    repne scasb
    movzwl %cx, %ecx
    EXPECT16(%ecx, $4)
    movw $0x1000, %ax
    movw %ax, %fs
    movl $0xcafebabe, %eax
    movl %eax, %fs:0x10
    xorw %ax, %ax
    movw $0x10, %si
    pushw %ds
    movw $0x1000, %ax
    movw %ax, %ds
    lodsl
    popw %ds
    EXPECT16(%eax, $0xcafebabe)
    movw $text_a, %bx
    movb $3, %al
    xlatb
    movzbl %al, %eax
    EXPECT16(%eax, $'d')

    /* LOOP, JCXZ, and a SETcc. */
    movw $5, %cx
    xorl %eax, %eax
1:  incl %eax
    loop 1b
    EXPECT16(%eax, $5)
    movl $0x10000, %ecx
    jcxz 1f
    jmp fail16
1:  jecxz 2f
    jmp 3f
2:  jmp fail16
3:  xorl %eax, %eax
    cmpb $1, %al
    setb %al
    EXPECT16(%eax, $1)

    /* INT pushes flags, CS, IP after the instruction and clears IF and TF. */
    TRY16(9f)
    sti
    int $5
8:  nop
9:  CAUGHT16($5)
    EXPECT16(got_ip, $8b)
    movl got_flags, %eax
    andl $0x200, %eax
    EXPECT16(%eax, $0x200)
    pushfl
    popl %eax
    andl $0x300, %eax
    EXPECT16(%eax, $0)
    movzwl got_sp, %eax
    EXPECT16(%eax, $(STACK - 8))

    /* Divide error: the address is the instruction's (not on the 8086). */
    TRY16(9f)
    xorw %bx, %bx
8:  divw %bx
9:  CAUGHT16($0)
    EXPECT16(got_ip, $8b)
    TRY16(9f) /* quotient too large */
    movw $0x100, %ax
    movb $1, %bl
8:  divb %bl
9:  CAUGHT16($0)
    TRY16(9f)
    movb $0x7f, %al
    addb $1, %al
    into
8:  nop
9:  CAUGHT16($4)
    EXPECT16(got_ip, $8b)
    TRY16(9f)
    movw $9, %ax
8:  boundw %ax, bounds
9:  CAUGHT16($5)
    EXPECT16(got_ip, $8b)
    TRY16(9f)
8:  ud2
9:  CAUGHT16($6)
    EXPECT16(got_ip, $8b)
    TRY16(9f) /* protected-mode instructions are undefined here */
    sldt %ax
9:  CAUGHT16($6)

    /* CR0 through SMSW; PE stays clear. */
    smsw %ax
    andl $1, %eax
    EXPECT16(%eax, $0)

    /* A20: with the gate shut, 1 MB is 0 again. */
    movw $0xffff, %ax
    movw %ax, %es
    movl $0x55aa1234, 0x600
    movl $0, %es:0x610
    EXPECT16(0x600, $0x55aa1234)
    inb $0x92, %al
    andb $0xfc, %al
    outb %al, $0x92
    movl %es:0x610, %eax
    EXPECT16(%eax, $0x55aa1234)
    movl $0x01020304, %es:0x610
    EXPECT16(0x600, $0x01020304)
    inb $0x92, %al
    orb $2, %al
    andb $0xfe, %al
    outb %al, $0x92
    movl %es:0x610, %eax
    EXPECT16(%eax, $0)

    /* "Unreal" mode: limits loaded in protected mode stay in real mode. */
    cli
    lgdtl gdt_pointer
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    movw $SEL_DATA32, %bx
    movw %bx, %fs
    andb $0xfe, %al
    movl %eax, %cr0
    ljmp $0, $1f
1:  movl $0x120000, %ebx
    movl $0x77665544, %fs:(%ebx)
    movw $0x1234, %ax
    movw %ax, %es
    movw %ax, %fs /* base again, limit kept */
    movl $(0x120000 - 0x12340), %ebx
    movl %fs:(%ebx), %eax
    EXPECT16(%eax, $0x77665544)
    PASS(16)

far_target:
    movw %cs, %cx
    movzwl %cx, %ecx
    lretw
far_pointer: .word far_target - 0x800, 0x80
bounds: .word 2, 8
text_a: .ascii "abcdefgh"
text_b: .ascii "abcdeXgh"
GUEST_END
