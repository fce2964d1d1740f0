/* Paging without long mode: 4 KiB and 4 MiB pages, PAE with 2 MiB pages and NX,
 * error codes, WP, accessed and dirty bits, reserved bits, accesses across
 * pages. Sources: SDM vol. 3A ch. 4 "Paging", 4.7 "Page-Fault Exceptions", 4.8
 * "Accessed and Dirty Flags". */
#include "guest.h"

#define PD     0x20000
#define PT     0x21000
#define PDPT   0x22000
#define PD_PAE 0x23000
#define PT_PAE 0x24000
#define VIRT   0x300000 /* linear addresses under test: PT entries from 0x300 */
#define FRAME  0x50000

#ifdef TCG /* leaves the P bit out */
#define RESERVED 8
#else
#define RESERVED 9
#endif
#define PTE(n) (PT + 0xc00 + 4 * (n))
#define PTE_PAE(n) (PT_PAE + 0x800 + 8 * (n)) /* VIRT with 2 MiB tables */
#define FLUSH movl %cr3, %eax; movl %eax, %cr3

GUEST("paging")
PROT_VECTORS
    .code16
start16:
    ENTER32(start32)
    call prot_init
    cld
    /* 0..4 MB one to one in 4 KiB pages for all, 4..8 MB one 4 MiB page. */
    movl $PD, %edi
    xorl %eax, %eax
    movl $0x1400, %ecx
    rep stosl
    movl $PT, %edi
    movl $7, %eax
    movl $1024, %ecx
1:  stosl
    addl $0x1000, %eax
    loop 1b
    movl $(PT + 7), PD
    movl $0x87, PD + 4 /* 4 MB again at 4 MB */
    movl $0x83, PD + 8 /* and supervisor only at 8 MB */
    movl $PD, %eax
    movl %eax, %cr3

    /* Not present; read, write, user. */
    movl $0, PTE(0)
    invlpg VIRT
    TRY32(9f)
    movl VIRT + 0x123, %eax
9:  CAUGHT32($14, $0)
    EXPECT32(got_cr2, $(VIRT + 0x123))
    TRY32(9f)
    movl %eax, VIRT + 0x10
9:  CAUGHT32($14, $2)
    TRY32(9f)
    USER32(1f)
1:  movl %ss:VIRT, %eax
9:  CAUGHT32($14, $4)
    TRY32(9f)
    USER32(VIRT)
9:  CAUGHT32($14, $4) /* no I bit without NX */

    /* Read-only and supervisor pages. */
    movl $(FRAME + 3), PTE(0) /* supervisor, writable */
    invlpg VIRT
    movl $0x11223344, VIRT
    TRY32(9f)
    USER32(1f)
1:  movl %ss:VIRT, %eax
9:  CAUGHT32($14, $5)
    TRY32(9f)
    USER32(1f)
1:  movl %eax, %ss:VIRT
9:  CAUGHT32($14, $7)
    movl $(FRAME + 5), PTE(0) /* user, read-only */
    invlpg VIRT
    movl $0x55, VIRT /* the supervisor may, without WP */
    EXPECT32(FRAME, $0x55)
    movl %cr0, %eax
    orl $0x10000, %eax
    movl %eax, %cr0
    TRY32(9f)
    movl $0x66, VIRT
9:  CAUGHT32($14, $3)
    EXPECT32(FRAME, $0x55)
    TRY32(9f)
    USER32(1f)
1:  movl %ss:VIRT, %ecx
    movl %eax, %ss:VIRT
9:  CAUGHT32($14, $7)
    EXPECT32(%ecx, $0x55)
    movl $0x83, PD + 4 /* the directory's U bit counts as well */
    FLUSH
    TRY32(9f)
    USER32(1f)
1:  movl %ss:0x400000 + FRAME, %eax
9:  CAUGHT32($14, $5)

    /* Accessed and dirty bits, in the table and the directory. */
    movl $(FRAME + 7), PTE(0)
    invlpg VIRT
    movl VIRT, %eax
    EXPECT32(PTE(0), $(FRAME + 0x27))
    movl $1, VIRT
    EXPECT32(PTE(0), $(FRAME + 0x67))
    movl PD, %eax
    andl $0x20, %eax
    EXPECT32(%eax, $0x20)
    movl $0x87, PD + 4
    FLUSH
    movl %eax, 0x400000 + FRAME + 64
    EXPECT32(PD + 4, $0xe7)
    /* A write that faults leaves the dirty bit alone. */
    movl $(FRAME + 5), PTE(0)
    invlpg VIRT
    TRY32(9f)
    movl %eax, VIRT
9:  CAUGHT32($14, $3)
    movl PTE(0), %eax
    andl $0x40, %eax
    EXPECT32(%eax, $0)

    /* Across two pages: a store that faults in its second half writes nothing;
     * CR2 is the second page's start. */
    movl $(FRAME + 7), PTE(0)
    movl $0, PTE(1)
    FLUSH
    movl $0x01020304, VIRT + 0xffc
    TRY32(9f)
    movl $0xffffffff, VIRT + 0xffe
9:  CAUGHT32($14, $2)
    EXPECT32(got_cr2, $(VIRT + 0x1000))
    EXPECT32(VIRT + 0xffc, $0x01020304)
    movl $(FRAME + 0x2000 + 7), PTE(1) /* the next frame but one */
    invlpg VIRT + 0x1000
    movl $0xaabbccdd, VIRT + 0xffe
    EXPECT32(FRAME + 0xffc, $0xccdd0304)
    movl FRAME + 0x2000, %eax
    andl $0xffff, %eax
    EXPECT32(%eax, $0xaabb)
    EXPECT32(VIRT + 0xffe, $0xaabbccdd)
    /* PUSHA across a page that is not there leaves ESP. */
    movl $0, PTE(0)
    invlpg VIRT
    TRY32(9f)
    pushl $SEL_UDATA
    pushl $(VIRT + 0x1008)
    pushl $2
    pushl $SEL_UCODE
    pushl $1f
    iretl
1:  pushal
9:  CAUGHT32($14, $6)
    EXPECT32(STACK_RING0 - 8, $(VIRT + 0x1008))

    /* Remapping under INVLPG, and under a CR3 load with a global page. */
    movl $(FRAME + 7), PTE(0)
    invlpg VIRT
    movl $0x1111, FRAME
    movl $0x2222, FRAME + 0x1000
    EXPECT32(VIRT, $0x1111)
    movl $(FRAME + 0x1007), PTE(0)
    invlpg VIRT
    EXPECT32(VIRT, $0x2222)
    movl $(FRAME + 7), PTE(0)
    FLUSH
    EXPECT32(VIRT, $0x1111)

    /* Reserved bits of a 4 MiB page: bit 21 has to be 0. */
    movl $0x200083, PD + 12
    FLUSH
    TRY32(9f)
    movl 0xc00000, %eax
9:  CAUGHT32($14, $RESERVED)

    /* PAE: 2 MiB pages, then NX. */
    movl %cr0, %eax
    andl $0x7fffffff, %eax
    movl %eax, %cr0
    movl $(PD_PAE + 1), PDPT
    movl $0, PDPT + 4
    movl $0x87, PD_PAE
    movl $(PT_PAE + 7), PD_PAE + 8
    movl $(FRAME + 7), PTE_PAE(0)
    movl %cr4, %eax
    orl $0x20, %eax
    movl %eax, %cr4
    movl $PDPT, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x800, %eax /* NXE */
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0
    EXPECT32(VIRT, $0x1111)
    movb $0xc3, VIRT /* RET */
    call VIRT
    movl $0x80000000, PTE_PAE(0) + 4
    invlpg VIRT
    TRY32(9f)
    call VIRT
9:  CAUGHT32($14, $0x11)
    EXPECT32(got_cr2, $VIRT)
    TRY32(9f)
    USER32(VIRT)
9:  CAUGHT32($14, $0x15)
    movl VIRT, %eax /* reading is allowed */
    movl $0x00100000, PTE_PAE(0) + 4 /* above MAXPHYADDR: reserved */
    invlpg VIRT
    TRY32(9f)
    movl VIRT, %eax
9:  CAUGHT32($14, $RESERVED)
    TRY32(9f)
    movl 0x40000000, %eax /* a PDPT entry that is not present */
9:  CAUGHT32($14, $0)
#ifndef TCG /* does not check them */
    /* Loading a PDPT with reserved bits is #GP, and CR3 keeps its value. */
    movl $(PD_PAE + 3), PDPT + 0x20
    TRY32(9f)
    movl $(PDPT + 0x20), %eax
    movl %eax, %cr3
9:  CAUGHT32($13, $0)
    movl %cr3, %eax
    EXPECT32(%eax, $PDPT)
#endif
    PASS(32)
GUEST_END
