/* What every conformance guest shares: a 64 KiB BIOS image that copies itself
 * to the start of memory, so that in every mode an address is an offset into
 * the image; a console on port 0xE9; checks; and the end of the run through
 * isa-debug-exit at 0xF4: value 0x10 (process status 33) when all checks
 * passed, 0x11 (status 35) after the first that did not.
 *
 * Memory: 0..0x3FF real-mode vectors, 0x400..0xFFF scratch, 0x1000.. the
 * image, stacks below 0xF000 and 0xFF00, above 0x10000 whatever a guest likes.
 *
 * A guest is:  #include "guest.h"
 *              GUEST("name")            then 16-bit code at label start16
 *              ...
 *              PASS(16|32|64)
 *              GUEST_END
 */
#ifndef RELIVE_GUEST_H
#define RELIVE_GUEST_H

#define SEL_CODE32 0x08
#define SEL_DATA32 0x10
#define SEL_CODE16 0x18
#define SEL_DATA16 0x20
#define SEL_CODE64 0x28
#define SEL_UCODE  0x33
#define SEL_UDATA  0x3b
#define SEL_TSS    0x40

/* An address as a number the assembler can compute with. */
#define AT(label) (label - image)

#define STACK      0xf000 /* of the guest's main line */
#define STACK_RING0 0xf800 /* of handlers that come from ring 3 */
#define STACK_USER 0xfc00

.altmacro
.macro CONSOLE n
puts\n: /* esi: text */
    movb (%esi), %al
    incl %esi
    testb %al, %al
    jz 1f
    outb %al, $0xe9
    jmp puts\n
1:  ret
hex\n: /* ebx */
    movl $8, %ecx
2:  roll $4, %ebx
    movl %ebx, %eax
    andl $15, %eax
    movb digits(%eax), %al
    outb %al, $0xe9
    decl %ecx
    jnz 2b
    ret
fail\n:
    movl $guest_name, %esi
    call puts\n
    movl $text_check, %esi
    call puts\n
    movl bad_line, %ebx
    call hex\n
    movl $text_got, %esi
    call puts\n
    movl bad_got, %ebx
    call hex\n
    movl $text_want, %esi
    call puts\n
    movl bad_want, %ebx
    call hex\n
    movb $10, %al
    outb %al, $0xe9
    movb $0x11, %al
    outb %al, $0xf4
3:  hlt
    jmp 3b
pass\n:
    movl $guest_name, %esi
    call puts\n
    movl $text_ok, %esi
    call puts\n
    movl checks, %ebx
    call hex\n
    movb $10, %al
    outb %al, $0xe9
    movb $0x10, %al
    outb %al, $0xf4
4:  hlt
    jmp 4b
.endm

/* Sources print the line number in hexadecimal where a check failed. */
.macro COMPARE n
expect\n:
    pushl %eax
    movl bad_got, %eax
    cmpl bad_want, %eax
    popl %eax
    jne fail\n
    incl checks
    ret
.endm

/* Operands are registers, memory or $immediates; only flags change. */
#define EXPECT16(got, want) \
    pushl got; popl bad_got; pushl want; popl bad_want; \
    movl $__LINE__, bad_line; call expect16
#define EXPECT32(got, want) \
    pushl got; popl bad_got; pushl want; popl bad_want; \
    movl $__LINE__, bad_line; call expect32
#define EXPECT64(got, want) \
    pushq got; popq bad_got; pushq want; popq bad_want; \
    movl $__LINE__, bad_line; call expect64
#define PASS(n) jmp pass##n

#define GUEST(name) \
    .text; image: .org 0x1000; \
guest_name: .asciz name; \
    GUEST_BODY

.macro GUEST_BODY
digits: .ascii "0123456789abcdef"
text_check: .asciz ": check at line 0x"
text_got: .asciz " got 0x"
text_want: .asciz " want 0x"
text_ok: .asciz ": ok, checks passed 0x"
    .balign 8
checks: .long 0
bad_line: .long 0
bad_got: .quad 0
bad_want: .quad 0
got_vec: .quad 0      /* the last exception: vector, error code, ... */
got_err: .quad 0
got_ip: .quad 0
got_cs: .quad 0
got_flags: .quad 0
got_cr2: .quad 0
got_sp: .quad 0       /* stack pointer at the handler's entry */
got_count: .quad 0
resume_ip: .quad 0    /* where an expected exception continues; 0: none */
resume_sp: .quad 0
    .balign 16
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff /* code32 */
    .quad 0x00cf93000000ffff /* data32 */
    .quad 0x00009b000000ffff /* code16 */
    .quad 0x000093000000ffff /* data16 */
    .quad 0x00af9b000000ffff /* code64 */
    .quad 0x00cffb000000ffff /* user code32 */
    .quad 0x00cff3000000ffff /* user data32 */
    .quad 0, 0               /* 0x40: TSS, two entries in long mode */
gdt_free: .fill 24, 8, 0     /* 0x50..0x108: a guest's own */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt, 0
    .balign 16
idt: .fill 256, 8, 0
idt_pointer:
    .word 256 * 8 - 1
    .long idt, 0
    .balign 16
tss: .fill 26, 4, 0
tss_bitmap: .fill 33, 1, 0xff /* ports 0..0xFF and the byte behind them */
tss_bitmap_end:
    .balign 4096
page_directory: .fill 1024, 4, 0
    .code16
    CONSOLE 16
    COMPARE 16
    .code32
    CONSOLE 32
    COMPARE 32
    .code64
    CONSOLE 64
expect64:
    pushq %rax
    movq bad_got, %rax
    cmpq bad_want, %rax
    popq %rax
    jne fail64
    incl checks
    ret
    .code16
reset: /* runs in the ROM at F000 */
    cli
    cld
    movw $0xf000, %ax
    movw %ax, %ds
    xorw %ax, %ax
    movw %ax, %es
    movw $0x1000, %si
    movw %si, %di
    movw $0x7800, %cx
    rep movsw
    movw %ax, %ds
    movw %ax, %ss
    movl $STACK, %esp
    inb $0x92, %al
    orb $2, %al
    andb $0xfe, %al
    outb %al, $0x92 /* A20 on */
    ljmp $0, $start16
.endm

#define GUEST_END \
    .org 0xfff0; .code16; ljmp $0xf000, $reset; .org 0x10000

/* ---- real mode -------------------------------------------------------------- */

/* Handlers for vectors 0..31 that note the vector and where it happened. */
#define REAL_VECTORS \
    REAL_STUBS; \
real_init: movw $0, %di; movw $real_stub0, %ax; movw $32, %cx; \
1:  movw %ax, (%di); movw $0, 2(%di); addw $4, %di; \
    addw $(real_stub1 - real_stub0), %ax; loop 1b; ret

.macro REAL_STUB v
real_stub\v:
    pushw $\v
    jmp real_common
    .balign 8
.endm
.macro REAL_STUBS
    .balign 8
.set v, 0
.rept 32
    REAL_STUB %v
.set v, v + 1
.endr
real_common: /* vector, ip, cs, flags */
    pushl %eax
    xorl %eax, %eax
    movw %ax, %ds
    movl %eax, got_err
    movw %sp, %ax
    addw $4, %ax
    movl %eax, got_sp
    pushw %bp
    movw %sp, %bp
    movw 6(%bp), %ax
    movl %eax, got_vec
    movw 8(%bp), %ax
    movl %eax, got_ip
    movw 10(%bp), %ax
    movl %eax, got_cs
    movw 12(%bp), %ax
    movl %eax, got_flags
    incl got_count
    popw %bp
    popl %eax
    cmpl $0, resume_ip
    je real_unexpected
    movl resume_sp, %esp
    jmp *resume_ip
real_unexpected:
    pushl got_vec
    popl bad_got
    pushl got_ip
    popl bad_want
    movl $0xe000, bad_line
    jmp fail16
.endm

/* An expected exception: TRY16(9f) instruction; 9: CAUGHT16($vector) */
#define TRY16(label) \
    movl $label, resume_ip; movl %esp, resume_sp; movl $-1, got_vec
#define CAUGHT16(vec) EXPECT16(got_vec, vec); movl $0, resume_ip

/* ---- protected mode ---------------------------------------------------------- */

#define ENTER32(label) \
    lgdtl gdt_pointer; movl %cr0, %eax; orl $1, %eax; movl %eax, %cr0; \
    ljmpl $SEL_CODE32, $label; .code32; label: \
    movw $SEL_DATA32, %ax; movw %ax, %ds; movw %ax, %es; movw %ax, %ss; \
    movw %ax, %fs; movw %ax, %gs; movl $STACK, %esp

/* prot_init fills the IDT with handlers, loads IDT and TSS, and maps the first
 * 4 MB to themselves. */
#define PROT_VECTORS PROT_STUBS

.macro PROT_STUB v
prot_stub\v:
    .if (\v != 8) && ((\v < 10) || (\v > 14)) && (\v != 17)
    pushl $0 /* where the CPU pushes no error code */
    .endif
    pushl $\v
    jmp prot_common
    .balign 16
.endm
.macro PROT_STUBS
    .code32
    .balign 16
.set v, 0
.rept 64
    PROT_STUB %v
.set v, v + 1
.endr
prot_common: /* vector, error, eip, cs, eflags, (esp, ss) */
    pushl %eax
    movl $SEL_DATA32, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl 4(%esp), %eax
    movl %eax, got_vec
    movl 8(%esp), %eax
    movl %eax, got_err
    movl 12(%esp), %eax
    movl %eax, got_ip
    movl 16(%esp), %eax
    movl %eax, got_cs
    movl 20(%esp), %eax
    movl %eax, got_flags
    leal 12(%esp), %eax
    movl %eax, got_sp
    movl %cr2, %eax
    movl %eax, got_cr2
    incl got_count
    popl %eax
    cmpl $0, resume_ip
    je prot_unexpected
    movl $SEL_DATA32, %esp /* ss again, without a register */
    movl %esp, %ss
    movl resume_sp, %esp
    jmp *resume_ip
prot_unexpected:
    pushl got_vec
    popl bad_got
    pushl got_ip
    popl bad_want
    movl $0xe000, bad_line
    jmp fail32
prot_init:
    pushal
    movl $idt, %edi
    movl $prot_stub0, %eax
    movl $64, %ecx
1:  movw %ax, (%edi)
    movw $SEL_CODE32, 2(%edi)
    movw $0x8e00, 4(%edi)
    movw $0, 6(%edi)
    addl $8, %edi
    addl $(prot_stub1 - prot_stub0), %eax
    loop 1b
    lidtl idt_pointer
    movl $STACK_RING0, tss + 4
    movl $SEL_DATA32, tss + 8
    movl $0x680000, tss + 100
    movl $(AT(tss) << 16 | 0x67), gdt + SEL_TSS
    movl $(0x8900), gdt + SEL_TSS + 4
    movl $SEL_TSS, %eax
    ltr %ax
    /* Virtual wire, as a BIOS leaves it: the local APIC on, LINT0 takes the
     * PICs' interrupts. */
    movl $0x1ff, 0xfee000f0
    movl $0x700, 0xfee00350
    movl $0x87, page_directory /* 4 MB, for all */
    movl $page_directory, %eax
    movl %eax, tss + 28
    movl %eax, %cr3
    movl $0x10, %eax
    movl %eax, %cr4
    movl %cr0, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0
    jmp 2f
2:  popal
    ret
.endm

#define TRY32(label) \
    movl $label, resume_ip; movl %esp, resume_sp; movl $-1, got_vec
#define CAUGHT32(vec, err) \
    EXPECT32(got_vec, vec); EXPECT32(got_err, err); movl $0, resume_ip
/* A 32-bit interrupt gate to label, whatever its address below 64 KiB. */
#define SET_GATE32(vector, label) \
    movl $((SEL_CODE32 << 16) | AT(label)), idt + (vector) * 8; \
    movl $0x8e00, idt + (vector) * 8 + 4

/* Both PICs: vectors from 0x20, everything masked. */
#define PIC_INIT \
    movb $0x11, %al; outb %al, $0x20; outb %al, $0xa0; \
    movb $0x20, %al; outb %al, $0x21; movb $0x28, %al; outb %al, $0xa1; \
    movb $4, %al; outb %al, $0x21; movb $2, %al; outb %al, $0xa1; \
    movb $1, %al; outb %al, $0x21; outb %al, $0xa1; \
    movb $0xff, %al; outb %al, $0x21; outb %al, $0xa1

/* Continue at label in ring 3, with a stack of its own. */
#define USER32(label) \
    pushl $SEL_UDATA; pushl $STACK_USER; pushfl; pushl $SEL_UCODE; \
    pushl $label; iretl

#endif
