/* A bugcheck as 64-bit Windows has it; see bugcheck.h. The processor block says
 * nothing of the debugger's data block, which is looked for in the image. */
#include "guest.h"
#define IS_64 1
#define WORD .quad
#define ALIAS 0xffff800000000000
#define V(label) label + ALIAS
#include "bugcheck.h"

#define PML4 0x20000
#define PDPT 0x21000
#define PD   0x22000
#define IDT64 0x28000

GUEST("bugcheck64")
    .code16
start16:
    ENTER32(start32)
    movl $(PDPT + 3), PML4
    movl $(PDPT + 3), PML4 + 8 * 256
    movl $(PD + 3), PDPT
    movl $0x83, PD /* 2 MB */
    movl $0x20, %eax
    movl %eax, %cr4
    movl $PML4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    movl $0x100, %eax
    xorl %edx, %edx
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0
    ljmpl $SEL_CODE64, $start64
    .code64
start64:
    movabsq $V(KiPageFault), %rax
    movl $(IDT64 + 14 * 16), %edi
    movw %ax, (%rdi)
    movw $SEL_CODE64, 2(%rdi)
    movw $0x8e00, 4(%rdi)
    shrq $16, %rax
    movw %ax, 6(%rdi)
    shrq $16, %rax
    movl %eax, 8(%rdi)
    lidt idt64_pointer
    movl $0xc0000101, %ecx /* GS base */
    movabsq $V(pcr), %rax
    movq %rax, %rdx
    shrq $32, %rdx
    wrmsr
    movl $STACK, %esp
    movabsq $ALIAS, %rax
    addq %rax, %rsp
    xorl %ebp, %ebp
    movabsq $V(driver_entry), %rax
    call *%rax
idt64_pointer:
    .word 256 * 16 - 1
    .quad V(IDT64)

    BUGCHECK_KERNEL
KiPageFault: /* error code, rip, ... */
    movl $BUGCHECK_CODE, %ecx
    movq %cr2, %rdx
    movq (%rsp), %r8
    movq 8(%rsp), %r9
    subq $0x28, %rsp
    movq $BUGCHECK_LAST, 0x20(%rsp)
    call KeBugCheckEx
    .balign 16
KeBugCheckEx:
    movq %rcx, bugcheck_data(%rip)
    movq %rdx, bugcheck_data + 8(%rip)
    movq %r8, bugcheck_data + 16(%rip)
    movq %r9, bugcheck_data + 24(%rip)
    movq 0x28(%rsp), %rax
    movq %rax, bugcheck_data + 32(%rip)
    movl $0x10001f, pcr + PRCB_AT + CONTEXT_AT + 0x30(%rip)
    movq %r9, pcr + PRCB_AT + CONTEXT_AT + 0xf8(%rip)
    movl $100000, %ecx
1:  loop 1b
    movb $0x10, %al
    outb %al, $0xf4

    BUGCHECK_DRIVER
driver_entry:
    pushq %rbp
    movq %rsp, %rbp
    call driver_use
    popq %rbp
    ret
driver_use:
    movabsq $(ALIAS + 0x500000), %rax
    movq 8(%rax), %rax /* not mapped */
    ret
    BUGCHECK_END
GUEST_END
