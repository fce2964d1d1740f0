/* A bugcheck as 32-bit Windows has it; see bugcheck.h. The processor block leads
 * to the debugger's data block. */
#include "guest.h"
#define IS_64 0
#define WORD .long
#define V(label) label
#include "bugcheck.h"

GUEST("bugcheck32")
PROT_VECTORS
    .code16
start16:
    ENTER32(start32)
    call prot_init
    SET_GATE32(14, KiTrap0E)
    movl $((AT(pcr) << 16) | 0xfff), gdt + 0x30
    movl $0x00409300, gdt + 0x34
    movl $0x30, %eax
    movl %eax, %fs
    xorl %ebp, %ebp
    call driver_entry

    BUGCHECK_KERNEL
KiTrap0E: /* error code, eip, ... */
    movl (%esp), %ecx
    movl 4(%esp), %edx
    movl %cr2, %eax
    pushl $BUGCHECK_LAST
    pushl %edx
    pushl %ecx
    pushl %eax
    pushl $BUGCHECK_CODE
    call KeBugCheckEx
    .balign 16
KeBugCheckEx:
    leal 4(%esp), %esi
    movl $bugcheck_data, %edi
    movl $5, %ecx
    rep movsl
    movl $0x1003f, pcr + PRCB_AT + CONTEXT_AT
    movl %edx, pcr + PRCB_AT + CONTEXT_AT + 0xb8
    movl $100000, %ecx
1:  loop 1b
    movb $0x10, %al
    outb %al, $0xf4

    BUGCHECK_DRIVER
driver_entry:
    pushl %ebp
    movl %esp, %ebp
    call driver_use
    popl %ebp
    ret
driver_use:
    movl $0x500000, %eax
    movl 8(%eax), %eax /* not mapped */
    ret
    BUGCHECK_END
GUEST_END
