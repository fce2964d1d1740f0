/* Work whose memory accesses can be counted beforehand, for what --stats says:
 * `passes` times a stream through 32 MB in pages of 4 KB, twice what the TLB
 * covers, then `pairs` reads and as many writes of a device's registers. Both
 * numbers are words of the image, for tests to change. */
#include "guest.h"

#define TABLES 0x20000
#define DATA   0x800000
#define BYTES  0x2000000
#define HPET   0xfed00000 /* its counter stands still unless it is told to run */

GUEST("counts")
PROT_VECTORS
    .code16
start16:
    ENTER32(start32)
    call prot_init
    cld
    movl $TABLES, %edi
    movl $(DATA + 7), %eax
1:  movl %eax, (%edi)
    addl $4, %edi
    addl $0x1000, %eax
    cmpl $(DATA + BYTES + 7), %eax
    jne 1b
    movl $(page_directory + (DATA >> 22) * 4), %edi
    movl $(TABLES + 7), %eax
    movl $(BYTES >> 22), %ecx
2:  movl %eax, (%edi)
    addl $4, %edi
    addl $0x1000, %eax
    decl %ecx
    jnz 2b
    movl $0xfec00097, page_directory + (HPET >> 22) * 4

    movl passes, %edx
    jmp 5f
3:  movl $DATA, %esi /* 8 M words, one access each, all else in registers */
    movl $(BYTES / 16), %ecx
4:  addl (%esi), %eax
    xorl 4(%esi), %eax
    subl 8(%esi), %eax
    addl 12(%esi), %eax
    addl $16, %esi
    decl %ecx
    jnz 4b
    decl %edx
5:  testl %edx, %edx
    jnz 3b

    movl pairs, %edx
    movl $HPET, %esi
    jmp 7f
6:  movl 0xf0(%esi), %eax /* counter */
    movl %eax, 0xf0(%esi)
    decl %edx
7:  testl %edx, %edx
    jnz 6b
    PASS(32)
    .org 0xffe0
passes: .long 1
pairs: .long 1
    GUEST_END
