/* Segment limits: what QEMU's TCG does not check, so there is nothing to compare
 * with but the manual. Sources: SDM vol. 3A 5.3 "Limit Checking", 5.4 "Type
 * Checking", 6.15 #SS and #GP; vol. 2 "LOCK". */
#include "guest.h"

#define SEL_SMALL  0x50 /* data at 0x20000, limit 0xFF */
#define SEL_DOWN   0x58 /* expand-down, 16 bits, limit 0xFFF */
#define SEL_DOWN32 0x60 /* expand-down, 32 bits, limit 0xFFF */
#define SEL_PAGES  0x68 /* limit 0 in pages: 4 KiB */
#define SEL_STACK  0x70 /* stack at 0x20000, limit 0xFF */
#define SEL_CODE   0x78 /* code at 0, ending where limit_code ends */

GUEST("limits")
REAL_VECTORS
PROT_VECTORS
    .code16
start16:
    call real_init
    /* Real mode: a word at 0xFFFF, and code that runs off the segment. */
    TRY16(9f)
    movw $0xffff, %bx
    movw (%bx), %ax
9:  CAUGHT16($13)
    TRY16(9f)
    movl $0x10000, %ebx
    movb (%ebx), %al
9:  CAUGHT16($13)
    TRY16(9f)
    movw $0xffff, %bp
    movw (%bp), %ax /* through SS */
9:  CAUGHT16($12)
    TRY16(9f)
    .byte 0xf0 /* LOCK */
    movb $0, 0x500
9:  CAUGHT16($6)
    TRY16(9f)
    .fill 15, 1, 0x66 /* an instruction of 16 bytes */
    nop
9:  CAUGHT16($13)

    ENTER32(start32)
    call prot_init
    movl $0x000000ff, gdt + SEL_SMALL
    movl $0x00409302, gdt + SEL_SMALL + 4
    movl $0x00000fff, gdt + SEL_DOWN
    movl $0x00009702, gdt + SEL_DOWN + 4
    movl $0x00000fff, gdt + SEL_DOWN32
    movl $0x00409702, gdt + SEL_DOWN32 + 4
    movl $0x00000000, gdt + SEL_PAGES
    movl $0x00c09302, gdt + SEL_PAGES + 4
    movl $0x000000ff, gdt + SEL_STACK
    movl $0x00409302, gdt + SEL_STACK + 4
    movl $AT(limit_code_end) - 1, gdt + SEL_CODE
    movl $0x00409b00, gdt + SEL_CODE + 4

    /* The last byte is inside, what straddles it is not. */
    movl $SEL_SMALL, %eax
    movl %eax, %es
    movb $1, %es:0xff
    movl $2, %es:0xfc
    TRY32(9f)
    movb $1, %es:0x100
9:  CAUGHT32($13, $0)
    movl $SEL_SMALL, %eax
    movl %eax, %es
    TRY32(9f)
    movl $2, %es:0xfd
9:  CAUGHT32($13, $0)
    EXPECT32(0x200fc, $2)
    movl $SEL_SMALL, %eax
    movl %eax, %es
    TRY32(9f) /* wraps round 4 GB */
    movl %es:-2, %eax
9:  CAUGHT32($13, $0)
    /* Granularity: limit 0 in pages is 0xFFF. */
    movl $SEL_PAGES, %eax
    movl %eax, %es
    movl %es:0xffc, %ebx
    lsll %eax, %ecx
    EXPECT32(%ecx, $0xfff)
    TRY32(9f)
    movb %es:0x1000, %bl
9:  CAUGHT32($13, $0)
    /* Expand-down: above the limit, up to 0xFFFF or 4 GB. */
    movl $SEL_DOWN, %eax
    movl %eax, %es
    movb %es:0x1000, %bl
    movb %es:0xffff, %bl
    TRY32(9f)
    movb %es:0xfff, %bl
9:  CAUGHT32($13, $0)
    movl $SEL_DOWN, %eax
    movl %eax, %es
    TRY32(9f)
    movb %es:0x10000, %bl
9:  CAUGHT32($13, $0)
    movl $SEL_DOWN32, %eax
    movl %eax, %es
    movb %es:0x10000, %bl
    TRY32(9f)
    movl %es:0xffe, %ebx
9:  CAUGHT32($13, $0)

    /* The stack: #SS from ring 3, whose handler has a stack of its own. */
    movl $0x000000ff, gdt + 0x80
    movl $0x0040f302, gdt + 0x84
    TRY32(9f)
    pushl $0x83
    pushl $2
    pushl $2
    pushl $SEL_UCODE
    pushl $1f
    iretl
1:  pushl %eax
9:  CAUGHT32($12, $0)
    EXPECT32(STACK_RING0 - 8, $2) /* ESP as before */
    TRY32(9f)
    pushl $0x83
    pushl $0x100
    pushl $2
    pushl $SEL_UCODE
    pushl $1f
    iretl
1:  popl %eax
9:  CAUGHT32($12, $0)

    /* Jumping beyond, and running off, a code segment. */
    TRY32(9f)
    ljmpl $SEL_CODE, $limit_code_end
9:  CAUGHT32($13, $0)
    TRY32(9f)
    ljmpl $SEL_CODE, $limit_code
9:  CAUGHT32($13, $0)
    EXPECT32(got_ip, $limit_code_end)
    EXPECT32(got_cs, $SEL_CODE)
    /* A near jump beyond faults at the jump. */
    TRY32(9f)
    ljmpl $SEL_CODE, $limit_jump
9:  CAUGHT32($13, $0)
    EXPECT32(got_ip, $limit_jump)

    /* IDT limit: the error code names the vector. */
    movw $(64 * 8 - 1), idt_pointer
    lidtl idt_pointer
    TRY32(9f)
    int $0x40
9:  CAUGHT32($13, $(0x40 * 8 + 2))
    PASS(32)

limit_jump:
    jmp limit_beyond
limit_code:
    nop
    nop
limit_code_end:
    nop
limit_beyond:
    nop
GUEST_END
