/* Single steps, debug registers, INT1, INT3, and what inhibits them. Sources:
 * SDM vol. 3B ch. 17 "Debug, Branch Profile...": 17.2 "Debug Registers", 17.3
 * "Debug Exceptions"; vol. 3A 6.8.3 "Masking Exceptions ... When Switching
 * Stacks". */
#include "guest.h"

#define DR6_CLEAR movl $0xffff0ff0, %eax; movl %eax, %dr6
#define DR7(value) movl $value, %eax; movl %eax, %dr7
#define EXPECT_DR6(value) movl %dr6, %eax; EXPECT32(%eax, value)

GUEST("debug")
PROT_VECTORS
    .code16
start16:
    ENTER32(start32)
    call prot_init
    DR6_CLEAR

    /* TF: one instruction runs, then #DB with BS; TF is clear in the handler
     * and set in the image. */
    TRY32(9f)
    pushl $0x102
    popfl
    nop
8:  nop
9:  CAUGHT32($1, $0)
    EXPECT32(got_ip, $8b)
    EXPECT_DR6($0xffff4ff0)
    movl got_flags, %eax
    andl $0x100, %eax
    EXPECT32(%eax, $0x100)
    pushfl
    popl %eax
    andl $0x100, %eax
    EXPECT32(%eax, $0)
    DR6_CLEAR
    /* MOV SS holds the trap back for one instruction. */
    TRY32(9f)
    movl $SEL_DATA32, %ebx
    pushl $0x102
    popfl
    movl %ebx, %ss
    nop
8:  nop
9:  CAUGHT32($1, $0)
    EXPECT32(got_ip, $8b)
    DR6_CLEAR
    /* INT n clears TF; the trap is not taken in its handler. */
    SET_GATE32(0x31, int_31)
    TRY32(9f)
    pushl $0x102
    popfl
    int $0x31
8:  nop
9:  CAUGHT32($1, $0)
    EXPECT32(got_ip, $(8b + 1)) /* the first after IRET that runs stepped */
    DR6_CLEAR

    /* Count the steps of a loop and of a REP: one per iteration. */
    SET_GATE32(1, count_steps)
    movl $0, steps
    movl $3, %ecx
    pushl $0x102
    popfl
1:  decl %ecx
    jnz 1b
    pushl $2
    popfl
    EXPECT32(steps, $8)
    movl $0, steps
    movl $0x20000, %edi
    movl $5, %ecx
    pushl $0x102
    popfl
    rep stosb
    pushl $2
    popfl
    EXPECT32(steps, $7)
    SET_GATE32(1, prot_stub1)

    /* INT3 and INT1 come with the next address; INT1 leaves DR6. */
    DR6_CLEAR
    TRY32(9f)
    int3
8:  nop
9:  CAUGHT32($3, $0)
    EXPECT32(got_ip, $8b)
#ifndef TCG /* has no INT1 */
    TRY32(9f)
    .byte 0xf1
8:  nop
9:  CAUGHT32($1, $0)
    EXPECT32(got_ip, $8b)
    EXPECT_DR6($0xffff0ff0)
#endif

    /* Execution breakpoint: before the instruction; RF passes it once. */
    movl $8f, %eax
    movl %eax, %dr0
    DR7(0x402)
    TRY32(9f)
    nop
8:  nop
9:  CAUGHT32($1, $0)
    EXPECT32(got_ip, $8b)
    EXPECT_DR6($0xffff0ff1)
    movl got_flags, %eax
    andl $0x10000, %eax /* no RF: the handler has to set it */
    EXPECT32(%eax, $0)
    DR6_CLEAR
    movl $7f, %eax
    movl %eax, %dr0
    TRY32(9f)
    pushl $0x10002 /* RF */
    pushl $SEL_CODE32
    pushl $7f
    iretl
7:  incl %edx
    ud2
9:  CAUGHT32($6, $0)

    /* Data: writes of 4 bytes; reads or writes of 1; after the access. */
    movl $0x20100, %eax
    movl %eax, %dr1
    DR7(0xd00408)
    TRY32(9f)
    movl 0x20100, %eax
    movb $1, 0x20103
8:  nop
9:  CAUGHT32($1, $0)
    EXPECT32(got_ip, $8b)
    EXPECT_DR6($0xffff0ff2)
    movzbl 0x20103, %eax
    EXPECT32(%eax, $1)
    DR6_CLEAR
    TRY32(9f)
    movl $2, 0x200fe /* overlaps */
8:  nop
9:  CAUGHT32($1, $0)
    EXPECT32(got_ip, $8b)
    DR6_CLEAR
    movl $0x20200, %eax
    movl %eax, %dr2
    DR7(0x03000420)
    TRY32(9f)
    movb 0x20201, %al
    movb 0x20200, %al
8:  nop
9:  CAUGHT32($1, $0)
    EXPECT32(got_ip, $8b)
    EXPECT_DR6($0xffff0ff4)
    DR6_CLEAR
    /* In a REP the trap comes after the iteration that touches it. */
    TRY32(9f)
    movl $0x201fe, %edi
    movl $8, %ecx
8:  rep stosb
9:  CAUGHT32($1, $0)
    EXPECT32(got_ip, $8b)
    EXPECT32(%ecx, $5)
    EXPECT32(%edi, $0x20201)
    DR6_CLEAR

    /* I/O breakpoints with CR4.DE. */
    movl %cr4, %eax
    orl $8, %eax
    movl %eax, %cr4
#ifndef TCG /* traps one instruction late */
    movl $0x80, %eax
    movl %eax, %dr3
    DR7(0x20000480)
    TRY32(9f)
    outb %al, $0x80
8:  nop
9:  CAUGHT32($1, $0)
    EXPECT32(got_ip, $8b)
    EXPECT_DR6($0xffff0ff8)
    DR6_CLEAR
    TRY32(9f)
    movl $0x20000, %esi
    movl $0x80, %edx
    movl $3, %ecx
8:  rep outsb
9:  CAUGHT32($1, $0)
    EXPECT32(got_ip, $8b)
    EXPECT32(%ecx, $2)
    DR6_CLEAR
#endif
    DR7(0x400)
    TRY32(9f)
    movl %dr4, %eax /* with DE there is no alias */
9:  CAUGHT32($6, $0)

    /* General detect: MOV DR faults with BD, and GD is clear then. */
    DR7(0x2400)
    TRY32(9f)
8:  movl %dr0, %eax
9:  CAUGHT32($1, $0)
    EXPECT32(got_ip, $8b)
    movl %dr6, %eax
    EXPECT32(%eax, $0xffff2ff0)
    movl %dr7, %eax
    EXPECT32(%eax, $0x400)
    PASS(32)

int_31:
    iretl
count_steps:
    incl steps
    iretl
    .balign 4
steps: .long 0
GUEST_END
