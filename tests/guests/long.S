/* Long mode: 64-bit and compatibility code, SYSCALL and SYSRET, SYSENTER and
 * SYSEXIT, SWAPGS, IST stacks, canonical addresses, NX, CR8, CMPXCHG16B.
 * Sources: SDM vol. 3A 5.8 "Privilege Level Checking ...", 6.14 "Exception and
 * Interrupt Handling in 64-bit Mode", 10.8.6 "Task Priority in IA-32e Mode";
 * vol. 2 of each instruction. */
#include "guest.h"

#define PML4 0x20000
#define PDPT 0x21000
#define PD   0x22000
#define PT   0x23000
#define IDT64 0x28000

/* The GDT that SYSCALL wants: kernel code, data; user code32, data, code64. */
#define K_CODE 0x08
#define K_DATA 0x10
#define U_CODE32 0x1b
#define U_DATA 0x23
#define U_CODE64 0x2b
#define K_CODE32 0x30
#define K_TSS 0x40
#define K_GATE 0x53

#define WRMSR(msr, high, low) \
    movl $msr, %ecx; movl $low, %eax; movl $high, %edx; wrmsr
#define TRY64(label) \
    movl $label, resume_ip; movq %rsp, resume_sp; movl $-1, got_vec; \
    movl $0, got_vec + 4
#define CAUGHT64(vec, err) \
    EXPECT32_64(got_vec, vec); EXPECT64(got_err, err); movl $0, resume_ip
#define EXPECT32_64(got, want) \
    movl got, %r15d; EXPECT64(%r15, want)
#define USER64(label) \
    pushq $U_DATA; pushq $STACK_USER; pushq $2; pushq $U_CODE64; \
    pushq $label; iretq

GUEST("long")
    .code64
.macro LONG_STUB v
long_stub\v:
    .if (\v != 8) && ((\v < 10) || (\v > 14)) && (\v != 17)
    pushq $0
    .endif
    pushq $\v
    jmp long_common
    .balign 16
.endm
    .balign 16
.set v, 0
.rept 64
    LONG_STUB %v
.set v, v + 1
.endr
long_common: /* vector, error, rip, cs, rflags, rsp, ss */
    pushq %rax
    movq 8(%rsp), %rax
    movq %rax, got_vec
    movq 16(%rsp), %rax
    movq %rax, got_err
    movq 24(%rsp), %rax
    movq %rax, got_ip
    movq 32(%rsp), %rax
    movq %rax, got_cs
    movq 40(%rsp), %rax
    movq %rax, got_flags
    movq 48(%rsp), %rax
    movq %rax, frame_sp
    movq 56(%rsp), %rax
    movq %rax, frame_ss
    leaq 24(%rsp), %rax
    movq %rax, got_sp
    movq %cr2, %rax
    movq %rax, got_cr2
    popq %rax
    cmpl $0, resume_ip
    je 1f
    movq resume_sp, %rsp
    jmp *resume_ip
1:  pushq got_vec
    popq bad_got
    pushq got_ip
    popq bad_want
    movl $0xe000, bad_line
    jmp fail64

    .code16
start16:
    lgdtl gdt64_pointer
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $K_CODE32, $start32
    .code32
start32:
    movl $K_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %eax, %fs
    movl %eax, %gs
    movl $STACK, %esp
    cld
    movl $PML4, %edi
    xorl %eax, %eax
    movl $0x1000, %ecx
    rep stosl
    movl $(PDPT + 7), PML4
    movl $(PDPT + 7), PML4 + 8 * 256 /* the upper half starts like the lower */
    movl $(PD + 7), PDPT
    movl $0x87, PD              /* 2 MB for all */
    movl $(PT + 7), PD + 8      /* 2..4 MB in small pages */
    movl $0xfee00000 + 0x9b, PD + 8 * 2 /* the local APIC at 4 MB */
    movl $(0x50000 + 7), PT
    movl %cr4, %eax
    orl $0x620, %eax /* PAE, OSFXSR, OSXMMEXCPT */
    movl %eax, %cr4
    movl $PML4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x901, %eax /* SCE, LME, NXE */
    wrmsr
    EXPECT32(%ecx, $0xc0000080)
    movl %cr0, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0
    rdmsr
    andl $0x400, %eax
    EXPECT32(%eax, $0x400) /* LMA */
    ljmpl $K_CODE, $start64
    .code64
start64:
    movl $STACK, %esp
    /* IDT, TSS with ring 0 stack and IST 1. */
    movl $IDT64, %edi
    movl $long_stub0, %eax
    movl $64, %ecx
1:  movw %ax, (%rdi)
    movw $K_CODE, 2(%rdi)
    movw $0xee00, 4(%rdi)
    movq $0, 6(%rdi)
    addl $16, %edi
    addl $(long_stub1 - long_stub0), %eax
    loop 1b
    movb $1, IDT64 + 3 * 16 + 4 /* #BP on IST 1 */
    lidt idt64_pointer
    movl $STACK_RING0, tss + 4
    movl $0xd000, tss + 36
    movl $0x680000, tss + 100
    movl $K_TSS, %eax
    ltr %ax

    /* 32-bit results clear the upper halves, 8 and 16-bit ones do not. */
    movq $-1, %rax
    movl $1, %eax
    EXPECT64(%rax, $1)
    movq $-1, %rax
    movw $1, %ax
    EXPECT64(%rax, $-65535)
    movq $0x1122334455667788, %rax
    movq %rax, %r8
    bswapq %r8
    movabsq $0x8877665544332211, %rcx
    EXPECT64(%r8, %rcx)
    movslq %ecx, %rcx
    EXPECT64(%rcx, $0x44332211)
    leaq 1f(%rip), %rdx
    EXPECT64(%rdx, $1f)
1:  movabsq $0x123456789, %rax
    mulq %rax
    movabsq $0x4b66dc326fb98751, %rcx
    EXPECT64(%rax, %rcx)
    EXPECT64(%rdx, $1)

    /* Non-canonical addresses: #GP, through RSP #SS. */
    movabsq $0x800000000000, %rbx
    TRY64(9f)
    movq (%rbx), %rax
9:  CAUGHT64($13, $0)
#ifndef TCG /* #GP there */
    TRY64(9f)
    movq %rbx, %rbp
    movq (%rbp), %rax
9:  CAUGHT64($12, $0)
#endif
    TRY64(9f)
    jmp *%rbx
9:  CAUGHT64($13, $0)
    movabsq $0xffff800000000000, %rbx /* the alias of 0 */
    movl $0x600df00d, 0x700
    movl 0x700(%rbx), %eax
    EXPECT64(%rax, $0x600df00d)
    TRY64(9f)
    movq 0x200000 + 0x1000(%rbx), %rax
9:  CAUGHT64($14, $0)
    leaq 0x201000(%rbx), %rcx
    EXPECT64(got_cr2, %rcx)
    /* NX, and a bit that is reserved. */
    movb $0xc3, 0x200000
    movl $0x200000, %ebx
    call *%rbx
    movl $0x80000000, PT + 4
    invlpg (%rbx)
    TRY64(9f)
    call *%rbx
9:  CAUGHT64($14, $0x11)
    movl $0, PT + 4
    invlpg (%rbx)

    /* Opcodes that 64-bit mode does not have. */
    TRY64(9f)
    .byte 0x06 /* PUSH ES */
9:  CAUGHT64($6, $0)
    TRY64(9f)
    .byte 0x27 /* DAA */
9:  CAUGHT64($6, $0)
    TRY64(9f)
    .byte 0xea, 0, 0, 0, 0, 8, 0 /* direct far jump */
9:  CAUGHT64($6, $0)

    /* The frame: aligned to 16, SS and RSP always there; IST. */
    movl $(STACK - 8), %esp
    TRY64(9f)
    int $0x20
9:  CAUGHT64($0x20, $0)
    EXPECT64(got_sp, $(STACK - 16 - 40))
    EXPECT64(frame_sp, $(STACK - 8))
    EXPECT64(frame_ss, $K_DATA)
    TRY64(9f)
    int3
9:  CAUGHT64($3, $0)
    EXPECT64(got_sp, $(0xd000 - 40))
    movl $STACK, %esp

    /* Ring 3 and back; SS is null in ring 0 then. */
    TRY64(9f)
    USER64(1f)
1:  cli
9:  CAUGHT64($13, $0)
    EXPECT64(got_cs, $U_CODE64)
    EXPECT64(got_ip, $1b)
    EXPECT64(frame_ss, $U_DATA)
    EXPECT64(got_sp, $(STACK_RING0 - 40))
    movl %ss, %eax
    EXPECT64(%rax, $0)

    /* SYSCALL and SYSRET: STAR, LSTAR, CSTAR, FMASK. */
    movl $0xc0000081, %ecx
    movl $((0x18 + 3) << 16 | K_CODE), %edx
    xorl %eax, %eax
    wrmsr
    WRMSR(0xc0000082, 0, syscall_entry)
    WRMSR(0xc0000083, 0, syscall_entry_compat)
    WRMSR(0xc0000084, 0, 0x300) /* clears TF, IF */
    TRY64(9f)
    pushq $U_DATA
    pushq $STACK_USER
    pushq $0x202
    pushq $U_CODE64
    pushq $1f
    iretq
1:  movl $0x1234, %edi
    syscall
2:  int $0x20 /* back in ring 3 */
9:  CAUGHT64($0x20, $0)
    EXPECT64(got_cs, $U_CODE64)
    EXPECT64(frame_ss, $U_DATA)
    EXPECT64(frame_sp, $STACK_USER)
    EXPECT64(syscall_rcx, $2b)
    movl syscall_r11, %eax
    andl $0x300, %eax
    EXPECT64(%rax, $0x200)
    movl syscall_flags, %eax
    andl $0x300, %eax
    EXPECT64(%rax, $0)
    EXPECT64(syscall_cs, $K_CODE)
    EXPECT64(syscall_ss, $K_DATA)
    movl got_flags, %eax
    andl $0x300, %eax
    EXPECT64(%rax, $0x200)

    /* SWAPGS, and FS and GS bases. */
    WRMSR(0xc0000101, 0, 0x50000) /* GS */
    WRMSR(0xc0000102, 0, 0x60000) /* kernel GS */
    movq $0x1111, 0x50010
    movq $0x2222, 0x60010
    movq %gs:0x10, %rax
    EXPECT64(%rax, $0x1111)
    swapgs
    movq %gs:0x10, %rax
    EXPECT64(%rax, $0x2222)
    swapgs
    TRY64(9f)
    USER64(1f)
1:  swapgs
9:  CAUGHT64($13, $0)
#ifndef TCG /* does not check */
    TRY64(9f)
    WRMSR(0xc0000100, 0x8000, 0) /* FS base has to be canonical */
9:  CAUGHT64($13, $0)
#endif

    /* Compatibility mode: 32-bit code of ring 3; SYSENTER and SYSEXIT. */
    movl $0x174, %ecx
    movl $K_CODE, %eax
    xorl %edx, %edx
    wrmsr
    WRMSR(0x175, 0, 0xc800)
    WRMSR(0x176, 0, sysenter_entry)
    TRY64(9f)
    pushq $U_DATA
    pushq $STACK_USER
    pushq $2
    pushq $U_CODE32
    pushq $compat
    iretq
    .code32
compat:
    movl $-1, %eax
    incl %eax /* 0x40 is INC again */
    .byte 0x40
    movl %eax, %esi
    sysenter
    .code64
9:  CAUGHT64($0x20, $0)
    EXPECT64(%rsi, $1)
    EXPECT64(got_cs, $(K_CODE + 32 + 3)) /* SYSEXIT to 64 bits */
    EXPECT64(%rdi, $0xc800)
    TRY64(9f) /* SYSENTER with a null CS */
    movl $0x174, %ecx
    xorl %eax, %eax
    xorl %edx, %edx
    wrmsr
    sysenter
9:  CAUGHT64($13, $0)

    /* A 64-bit call gate from ring 3. */
    TRY64(9f)
    USER64(1f)
1:  lcall *gate_pointer
    int $0x20
9:  CAUGHT64($0x20, $0)
    EXPECT64(gate_cs, $K_CODE)
    EXPECT64(frame_sp, $STACK_USER)

    /* CR8 is the local APIC's task priority. */
    movl $5, %eax
    movq %rax, %cr8
    movl 0x400080, %eax
    EXPECT64(%rax, $0x50)
    movl $0x30, 0x400080
    movq %cr8, %rax
    EXPECT64(%rax, $3)
    xorl %eax, %eax
    movq %rax, %cr8

    /* CMPXCHG16B. */
    movl $0x50100, %edi
    movq $1, (%rdi)
    movq $2, 8(%rdi)
    movl $1, %eax
    movl $2, %edx
    movl $3, %ebx
    movl $4, %ecx
    lock cmpxchg16b (%rdi)
    setz %sil
    movzbl %sil, %esi
    EXPECT64(%rsi, $1)
    EXPECT64(0x50100, $3)
    EXPECT64(0x50108, $4)
    lock cmpxchg16b (%rdi)
    EXPECT64(%rax, $3)
    EXPECT64(%rdx, $4)
    TRY64(9f)
    cmpxchg16b 8(%rdi)
9:  CAUGHT64($13, $0)
    /* SSE is there, with 16 registers. */
    movq %rdi, %xmm15
    movdqa %xmm15, %xmm8
    paddq %xmm15, %xmm8
    movq %xmm8, %rax
    EXPECT64(%rax, $0xa0200)
    /* Leaving: clearing PG in 64-bit mode is #GP. */
    TRY64(9f)
    movq %cr0, %rax
    btrl $31, %eax
    movq %rax, %cr0
9:  CAUGHT64($13, $0)
    PASS(64)

syscall_entry:
    movq %rcx, syscall_rcx
    movq %r11, syscall_r11
    pushfq
    popq syscall_flags
    movw %cs, syscall_cs
    movw %ss, syscall_ss
    sysretq
syscall_entry_compat:
    hlt
sysenter_entry:
    movl %esp, %edi
    movl $STACK_USER, %ecx
    movl $1f, %edx
    rex.w sysexit
1:  int $0x20
gate_target:
    movw %cs, gate_cs
    lretq
    .balign 16
syscall_rcx: .quad 0
syscall_r11: .quad 0
syscall_flags: .quad 0
syscall_cs: .quad 0
syscall_ss: .quad 0
gate_cs: .quad 0
frame_sp: .quad 0
frame_ss: .quad 0
gate_pointer: .long 0
    .word K_GATE
    .balign 16
gdt64:
    .quad 0
    .quad 0x00af9b000000ffff /* kernel code 64 */
    .quad 0x00cf93000000ffff /* data */
    .quad 0x00cffb000000ffff /* user code 32 */
    .quad 0x00cff3000000ffff /* user data */
    .quad 0x00affb000000ffff /* user code 64 */
    .quad 0x00cf9b000000ffff /* kernel code 32 */
    .quad 0
    .long AT(tss) << 16 | 0x67, 0x8900, 0, 0
    .long K_CODE << 16 | AT(gate_target), 0xec00, 0, 0
gdt64_end:
gdt64_pointer:
    .word gdt64_end - gdt64 - 1
    .long gdt64, 0
idt64_pointer:
    .word 64 * 16 - 1
    .quad IDT64
GUEST_END
