/* Protected mode: descriptors, call gates, task switching, virtual-8086 mode,
 * exceptions with their error codes. Sources: SDM vol. 3A ch. 5 "Protection",
 * ch. 6 "Interrupt and Exception Handling", ch. 7 "Task Management", ch. 20
 * "8086 Emulation". Segment limits are in limits.S. */
#include "guest.h"

/* This guest's descriptors, from 0x50. */
#define SEL_NOTPRESENT 0x50
#define SEL_READONLY   0x58
#define SEL_EXECONLY   0x60
#define SEL_CONFORMING 0x68
#define SEL_GATE       0x73 /* call gate of DPL 3 to ring 0, two parameters */
#define SEL_GATE0      0x78 /* call gate of DPL 0 */
#define SEL_TSS2       0x80
#define SEL_TASKGATE   0x88
#define SEL_LDT        0x90
#define SEL_TSS16GATE  0x98 /* 16-bit call gate */
#define SEL_NPGATE     0xa3
#define LDT_DATA       0x0c /* index 1 of the LDT */

GUEST("prot")
PROT_VECTORS
    .code16
start16:
    ENTER32(start32)
    call prot_init
    movl $((SEL_CODE32 << 16) | AT(gate_target)), %eax
    movl %eax, gdt + 0x70
    movl $0x0000ec02, gdt + 0x74
    movl %eax, gdt + 0x78
    movl $0x00008c00, gdt + 0x7c
    movl $((SEL_CODE32 << 16) | AT(gate16_target)), gdt + 0x98
    movl $0x00008400, gdt + 0x9c
    movl %eax, gdt + 0xa0
    movl $0x00006c00, gdt + 0xa4
    movl $0x0000ffff, gdt + SEL_NOTPRESENT
    movl $0x00cf1300, gdt + SEL_NOTPRESENT + 4
    movl $0x0000ffff, gdt + SEL_READONLY
    movl $0x00cf9000, gdt + SEL_READONLY + 4
    movl $0x0000ffff, gdt + SEL_EXECONLY
    movl $0x00cf9900, gdt + SEL_EXECONLY + 4
    movl $0x0000ffff, gdt + SEL_CONFORMING
    movl $0x00cf9f00, gdt + SEL_CONFORMING + 4
    movl $((AT(tss2) << 16) | 0x67), gdt + SEL_TSS2
    movl $0x00008900, gdt + SEL_TSS2 + 4
    movl $(SEL_TSS2 << 16), gdt + SEL_TASKGATE
    movl $0x00008500, gdt + SEL_TASKGATE + 4
    movl $((AT(ldt) << 16) | 0x0f), gdt + SEL_LDT
    movl $0x00008200, gdt + SEL_LDT + 4

    /* Loading segment registers. */
    TRY32(9f)
    movl $SEL_NOTPRESENT, %eax
    movl %eax, %es
9:  CAUGHT32($11, $SEL_NOTPRESENT)
    TRY32(9f)
    movl $SEL_NOTPRESENT, %eax
    movl %eax, %ss
9:  CAUGHT32($12, $SEL_NOTPRESENT)
    TRY32(9f)
    movl $SEL_EXECONLY, %eax
    movl %eax, %ds
9:  CAUGHT32($13, $SEL_EXECONLY)
    TRY32(9f)
    movl $SEL_READONLY, %eax
    movl %eax, %ss
9:  CAUGHT32($13, $SEL_READONLY)
    TRY32(9f)
    xorl %eax, %eax
    movl %eax, %ss
9:  CAUGHT32($13, $0)
    TRY32(9f)
    movl $0x200, %eax /* beyond the GDT */
    movl %eax, %fs
9:  CAUGHT32($13, $0x200)
    TRY32(9f)
    movl $SEL_DATA32 + 1, %eax /* RPL 1 at CPL 0, for SS */
    movl %eax, %ss
9:  CAUGHT32($13, $SEL_DATA32)
    TRY32(9f)
    ljmpl $SEL_DATA32, $0
9:  CAUGHT32($13, $SEL_DATA32)
#ifndef TCG /* QEMU's TCG checks neither type nor limit */
    TRY32(9f)
    xorl %eax, %eax
    movl %eax, %es /* null is allowed... */
    movl %es:0x500, %eax /* ...until it is used */
9:  CAUGHT32($13, $0)
    TRY32(9f)
    movl $SEL_READONLY, %eax
    movl %eax, %es
    movl %es:0x500, %ebx
    movl %ebx, %es:0x500
9:  CAUGHT32($13, $0)
    TRY32(9f)
    movl %cs:0x500, %ebx
    movl %ebx, %cs:0x500
9:  CAUGHT32($13, $0)
    /* The accessed bit is set by loading. */
    movl gdt + SEL_READONLY + 4, %eax
    andl $0x100, %eax
    EXPECT32(%eax, $0x100)
#endif

    /* LDT. */
    movl $SEL_LDT, %eax
    lldt %ax
    sldt %eax
    andl $0xffff, %eax
    EXPECT32(%eax, $SEL_LDT)
    movl $0xfeedf00d, 0x20010
    movl $LDT_DATA, %eax
    movl %eax, %fs
    movl %fs:0x10, %eax
    EXPECT32(%eax, $0xfeedf00d)
    TRY32(9f)
    movl $0x14, %eax /* beyond the LDT */
    movl %eax, %fs
9:  CAUGHT32($13, $0x14)

    /* LAR, LSL, VERR, VERW, ARPL. */
    movl $SEL_READONLY, %ecx
    larl %ecx, %eax
    andl $0xf0fe00, %eax /* bits 19:16 are undefined */
    EXPECT32(%eax, $0x00c09000)
    lsll %ecx, %eax
    EXPECT32(%eax, $0xffffffff)
    verw %cx
    setz %al
    verr %cx
    setz %ah
    movzwl %ax, %eax
    EXPECT32(%eax, $0x100)
    movl $SEL_EXECONLY, %ecx
    verr %cx
    setz %al
    movzbl %al, %eax
    EXPECT32(%eax, $0)
    movl $0x1234, %eax
    movl $0x200, %ecx
    larl %ecx, %eax /* no such descriptor: ZF clear, eax kept */
    EXPECT32(%eax, $0x1234)
    movl $0x10, %eax
    movl $0x13, %ecx
    arpl %cx, %ax
    EXPECT32(%eax, $0x13)

    /* Ring 3: privileged instructions, gates, software interrupts. */
    TRY32(9f)
    USER32(1f)
1:  cli
9:  CAUGHT32($13, $0)
    EXPECT32(got_ip, $1b)
    EXPECT32(got_cs, $SEL_UCODE)
    EXPECT32(got_sp, $(STACK_RING0 - 20))
    TRY32(9f)
    USER32(1f)
1:  hlt
9:  CAUGHT32($13, $0)
    TRY32(9f)
    USER32(1f)
1:  movl %eax, %cr3
9:  CAUGHT32($13, $0)
    TRY32(9f)
    USER32(1f)
1:  inb $0x70, %al /* CPL > IOPL, no I/O bitmap */
9:  CAUGHT32($13, $0)
    TRY32(9f)
    USER32(1f)
1:  int $0x20 /* gate of DPL 0 */
9:  CAUGHT32($13, $(0x20 * 8 + 2))
    TRY32(9f)
    USER32(1f)
1:  int3 /* also a gate of DPL 0 */
9:  CAUGHT32($13, $(3 * 8 + 2))
    movb $0xee, idt + 0x21 * 8 + 5
    TRY32(9f)
    USER32(1f)
1:  int $0x21
8:  nop
9:  CAUGHT32($0x21, $0)
    EXPECT32(got_ip, $8b)
    movb $0x6e, idt + 0x22 * 8 + 5 /* not present */
    TRY32(9f)
    USER32(1f)
1:  int $0x22
9:  CAUGHT32($11, $(0x22 * 8 + 2))
    TRY32(9f)
    USER32(1f)
1:  movl $SEL_DATA32, %eax
    movl %eax, %es
9:  CAUGHT32($13, $SEL_DATA32)
    TRY32(9f)
    USER32(1f)
1:  lcall $SEL_GATE0, $0
9:  CAUGHT32($13, $SEL_GATE0)
    TRY32(9f)
    USER32(1f)
1:  lcall $SEL_NPGATE, $0
9:  CAUGHT32($11, $(SEL_NPGATE - 3))

    /* A call gate copies two parameters to ring 0's stack; RETF 8 drops them
     * from both stacks. */
    TRY32(9f)
    USER32(1f)
1:  movl $SEL_UDATA, %eax
    movl %eax, %ds
    pushl $0x11111111
    pushl $0x22222222
    lcall $SEL_GATE, $0x12345678
    movl %esp, %ebx
    int $0x21
9:  CAUGHT32($0x21, $0)
    EXPECT32(%ebx, $STACK_USER)
    EXPECT32(gate_seen + 0, $0x22222222)
    EXPECT32(gate_seen + 4, $0x11111111)
    EXPECT32(gate_seen + 8, $(STACK_RING0 - 24))
    EXPECT32(gate_seen + 12, $SEL_UCODE)
    EXPECT32(gate_seen + 16, $SEL_CODE32)
    EXPECT32(gate_seen + 20, $(STACK_USER - 8))
    /* A 16-bit gate at the same level pushes words. */
    movl $STACK, %esp
    lcall $SEL_TSS16GATE, $0
    movl %esp, %eax
    EXPECT32(%eax, $STACK)
    EXPECT32(gate_seen + 0, $(STACK - 4))
    /* A conforming segment keeps CPL 3. */
    TRY32(9f)
    USER32(1f)
1:  lcall $SEL_CONFORMING, $2f
2:  movl %cs, %ebx
    int $0x21
9:  CAUGHT32($0x21, $0)
    EXPECT32(%ebx, $(SEL_CONFORMING + 3))
    /* RETF to an outer level drops data segments ring 3 may not use. */
    TRY32(9f)
    pushl $SEL_UDATA
    pushl $STACK_USER
    pushl $SEL_UCODE
    pushl $1f
    lretl
1:  movl %ds, %ebx
    int $0x21
9:  CAUGHT32($0x21, $0)
    EXPECT32(%ebx, $0)

    /* The I/O permission bitmap. */
    movw $(tss_bitmap - tss), tss + 102
    movw $(tss_bitmap_end - tss - 1), gdt + SEL_TSS
    movb $0x89, gdt + SEL_TSS + 5
    movl $SEL_TSS, %eax
    ltr %ax
    movb $0xfe, tss_bitmap + 0x80 / 8 /* port 80h only */
    TRY32(9f)
    USER32(1f)
1:  inb $0x80, %al
    inw $0x80, %ax /* 81h is not allowed */
8:  nop
9:  CAUGHT32($13, $0)
    EXPECT32(got_ip, $(8b - 3))
    TRY32(9f)
    USER32(1f)
1:  movl $0x500, %edx /* beyond the bitmap */
    inb %dx, %al
9:  CAUGHT32($13, $0)

    /* Alignment checks: CR0.AM, EFLAGS.AC, ring 3. */
    movl %cr0, %eax
    orl $0x40000, %eax
    movl %eax, %cr0
    TRY32(9f)
    pushl $SEL_UDATA
    pushl $STACK_USER
    pushl $0x40002
    pushl $SEL_UCODE
    pushl $1f
    iretl
1:  movl $SEL_UDATA, %eax
    movl %eax, %ds
    movl 0x501, %eax
9:  CAUGHT32($17, $0)
    movl %cr0, %eax
    andl $~0x40000, %eax
    movl %eax, %cr0

    /* Task switch by JMP, CALL and IRET, task gate, and TSS errors. */
    movl $0, tss2_count
    movl $task2_entry, tss2 + 32
    lcall $SEL_TSS2, $0
    EXPECT32(tss2_count, $1)
    movl gdt + SEL_TSS2 + 4, %eax
    andl $0x200, %eax /* not busy after IRET */
    EXPECT32(%eax, $0)
    movl gdt + SEL_TSS + 4, %eax
    andl $0x200, %eax
    EXPECT32(%eax, $0x200)
    EXPECT32(tss2, $SEL_TSS) /* back link */
    movl %cr0, %eax
    andl $8, %eax /* TS is set by a task switch */
    EXPECT32(%eax, $8)
    lcall $SEL_TASKGATE, $0
    EXPECT32(tss2_count, $2)
    movl $SEL_TSS << 16, idt + 0x23 * 8 /* a task gate in the IDT */
    movl $(SEL_TSS2 << 16), idt + 0x23 * 8
    movl $0x0000e500, idt + 0x23 * 8 + 4
    int $0x23
    EXPECT32(tss2_count, $3)
    TRY32(9f)
    lcall $SEL_TSS, $0 /* busy */
9:  CAUGHT32($13, $SEL_TSS)
    clts

    /* Invalid opcode and coprocessor exceptions. */
    TRY32(9f)
    ud2
9:  CAUGHT32($6, $0)
    movl %cr0, %eax
    orl $8, %eax
    movl %eax, %cr0
    TRY32(9f)
    fnop
9:  CAUGHT32($7, $0)
    movl %cr0, %eax
    andl $~8, %eax
    orl $0x22, %eax /* NE, MP */
    movl %eax, %cr0
    fninit
    fldcw x87_all_unmasked
    fldz
    fldz
    fdivrp /* invalid: 0 / 0 */
    TRY32(9f)
    fwait
9:  CAUGHT32($16, $0)
    fninit
    movl %cr4, %eax
    orl $0x600, %eax
    movl %eax, %cr4
    ldmxcsr mxcsr_unmasked
    xorps %xmm0, %xmm0
    TRY32(9f)
    divss %xmm0, %xmm0
9:  CAUGHT32($19, $0)
    TRY32(9f)
    movaps 0x504, %xmm0
9:  CAUGHT32($13, $0)

    /* A fault while delivering a contributory fault is a double fault. */
    movb $0x6e, idt + 13 * 8 + 5
    TRY32(9f)
    movl $0x200, %eax
    movl %eax, %fs
9:  CAUGHT32($8, $0)
    movb $0x8e, idt + 13 * 8 + 5
    /* After a benign one it is delivered by itself, with EXT set. */
    movb $0x6e, idt + 6 * 8 + 5
    TRY32(9f)
    ud2
9:  CAUGHT32($11, $(6 * 8 + 2 + 1))
    movb $0x8e, idt + 6 * 8 + 5

    /* Virtual-8086 mode: IOPL-sensitive instructions, INT, real addresses. */
    TRY32(9f)
    movl $0x3002, %ecx /* IOPL 3 */
    call enter_v86
9:  CAUGHT32($6, $0) /* v86_code ends with UD2 */
    EXPECT32(0x700, $0x11223344)
    EXPECT32(got_cs, $0x100)
    movl got_flags, %eax
    andl $0x20000, %eax
    EXPECT32(%eax, $0x20000)
    TRY32(9f)
    movl $0x0002, %ecx /* IOPL 0: the CLI in v86_code faults */
    call enter_v86
9:  CAUGHT32($13, $0)
    EXPECT32(got_ip, $(v86_cli - 0x1000))
    PASS(32)

gate_target: /* eip, cs, two parameters, esp, ss */
    movl %esp, gate_seen + 8
    pushl 8(%esp)
    popl gate_seen
    pushl 12(%esp)
    popl gate_seen + 4
    pushl 4(%esp)
    popl gate_seen + 12
    movl $0, gate_seen + 16
    movw %cs, gate_seen + 16
    pushl 16(%esp)
    popl gate_seen + 20
    lretl $8
gate16_target:
    movl %esp, gate_seen
    lretw

/* Flags in ecx; never returns except through a fault. */
enter_v86:
    addl $4, %esp
    movl %esp, resume_sp
    orl $0x20000, %ecx
    pushl $0 /* gs fs ds es */
    pushl $0
    pushl $0
    pushl $0
    pushl $0 /* ss */
    pushl $STACK_USER
    pushl %ecx
    pushl $0x100
    pushl $(v86_code - 0x1000)
    iretl
    .code16
v86_code:
    movl $0x11223344, 0x700
v86_cli:
    cli
    pushfw
    popfw
    ud2
    .code32

/* The second task: counts, returns by IRET, and goes on from there. */
task2_entry:
    incl tss2_count
    iretl
    jmp task2_entry

    .balign 16
gate_seen: .fill 6, 4, 0
ldt:
    .quad 0
    .quad 0x00cf93020000ffff /* data at 0x20000 */
x87_all_unmasked: .word 0x340
    .balign 4
mxcsr_unmasked: .long 0
tss2_count: .long 0
    .balign 16
tss2:
    .long 0, 0, 0, 0, 0, 0, 0, page_directory /* back link .. cr3 */
    .long 0, 2                   /* eip, eflags */
    .long 0, 0, 0, 0, 0xec00, 0, 0, 0
    .long SEL_DATA32, SEL_CODE32, SEL_DATA32, SEL_DATA32, SEL_DATA32
    .long SEL_DATA32, 0, 0x680000
GUEST_END
