/* String instructions interrupted by the timer, by page faults and by single
 * steps: registers are those of the iterations done, nothing is done twice.
 * Source: SDM vol. 2B "REP/REPE/REPZ/REPNE/REPNZ". */
#include "guest.h"

#ifdef TCG /* does not take interrupts between iterations of these */
#define INSIDE 0
#else
#define INSIDE 50
#endif
#define BUFFER 0x40000
#define BYTES  0x20000

GUEST("rep")
PROT_VECTORS
    .code16
start16:
    ENTER32(start32)
    call prot_init
    cld
    PIC_INIT
    SET_GATE32(0x20, irq_timer)
    movb $0x34, %al /* PIT: 100 counts, about 84 us */
    outb %al, $0x43
    movb $100, %al
    outb %al, $0x40
    movb $0, %al
    outb %al, $0x40
    movb $0xfe, %al
    outb %al, $0x21

    /* Fill and copy with the timer on, until a REP was interrupted often. */
    movl $0, inside
    movl $0, fills
again:
    incl fills
    movb fills, %al
    movl $BUFFER, %edi
    movl $BYTES, %ecx
    movl $rep_here, expected_ip
    sti
rep_here:
    rep stosb
    cli
    EXPECT32(%ecx, $0)
    EXPECT32(%edi, $(BUFFER + BYTES))
    cmpl $4000, fills
    ja failed
    cmpl $INSIDE, inside
    jb again
    /* Every byte is the last fill's. */
    movl $BUFFER, %edi
    movl $BYTES, %ecx
    repe scasb
    EXPECT32(%ecx, $0)
    EXPECT32(wrong, $0)

    /* A fault in the middle: the instruction goes on where it was. */
    movl $0x26000, %edi /* a table for 4..8 MB: pages 0 and 1 only */
    movl $1024, %ecx
    xorl %eax, %eax
    rep stosl
    movl $(BUFFER + 7), 0x26000
    movl $(BUFFER + 0x1007), 0x26004
    movl $0x26007, page_directory + 4
    movl %cr3, %eax
    movl %eax, %cr3
    TRY32(9f)
    movl $0x401000, %edi
    movl $0x1000, %ecx
    movb $0x5a, %al
8:  rep stosl
9:  CAUGHT32($14, $2)
    EXPECT32(got_ip, $8b)
    EXPECT32(got_cr2, $0x402000)
    EXPECT32(%edi, $0x402000)
    EXPECT32(%ecx, $(0x1000 - 0x400))
    TRY32(9f) /* backwards, copying: the source faults first */
    std
    movl $0x402003, %esi
    movl $0x400fff, %edi
    movl $16, %ecx
8:  rep movsb
9:  cld
    CAUGHT32($14, $0)
    EXPECT32(got_ip, $8b)
    EXPECT32(%ecx, $16)
    TRY32(9f)
    movl $0x400ffe, %esi
    movl $0x401ffe, %edi
    movl $16, %ecx
8:  rep movsb
9:  CAUGHT32($14, $2)
    EXPECT32(%ecx, $14)
    EXPECT32(%esi, $0x401000)
    EXPECT32(%edi, $0x402000)

    /* Compare and scan stop where they should, flags from the last. */
    movl $BUFFER, %edi
    movl $64, %ecx
    xorl %eax, %eax
    rep stosb
    movb $7, BUFFER + 20
    movl $BUFFER, %edi
    movl $64, %ecx
    movb $7, %al
    repne scasb
    setz %bl
    movzbl %bl, %ebx
    EXPECT32(%ebx, $1)
    EXPECT32(%ecx, $43)
    movl $BUFFER, %esi
    movl $(BUFFER + 32), %edi
    movl $32, %ecx
    repe cmpsb
    seta %bl
    movzbl %bl, %ebx
    EXPECT32(%ebx, $1)
    EXPECT32(%ecx, $11)
    /* A count of zero does nothing and keeps the flags. */
    xorl %ecx, %ecx
    stc
    repe cmpsb
    setc %bl
    movzbl %bl, %ebx
    EXPECT32(%ebx, $1)
    /* Overlapping copies go byte by byte. */
    movl $0x44332211, BUFFER
    movl $BUFFER, %esi
    movl $(BUFFER + 1), %edi
    movl $7, %ecx
    rep movsb
    EXPECT32(BUFFER + 4, $0x11111111)
    /* Strings of ports. */
    movl $0x80, %edx
    movl $BUFFER, %esi
    movl $4, %ecx
    rep outsb
    EXPECT32(%esi, $(BUFFER + 4))
    PASS(32)
failed:
    EXPECT32(inside, $INSIDE)

irq_timer: /* where was it, and do the registers agree? */
    pushal
    movl 32(%esp), %eax
    cmpl expected_ip, %eax
    jne 1f
    movl 24(%esp), %ecx /* of PUSHA: ecx */
    movl 0(%esp), %edi  /* edi */
    cmpl $BYTES, %ecx
    je 1f
    incl inside
    movl %edi, %eax
    addl %ecx, %eax
    cmpl $(BUFFER + BYTES), %eax
    je 2f
    incl wrong
2:  movb fills, %al /* the byte before is done, this one is not yet */
    cmpb %al, -1(%edi)
    je 3f
    incl wrong
3:  cmpb %al, (%edi)
    jne 1f
    incl wrong
1:  movb $0x20, %al
    outb %al, $0x20
    popal
    iretl
    .balign 4
inside: .long 0
wrong: .long 0
fills: .long 0
expected_ip: .long 0
GUEST_END
