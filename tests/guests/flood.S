/* Writes pseudo-random bytes to port 0xE9 for ever: fills a recording. */
#include "guest.h"

GUEST("flood")
    .code16
start16:
    movl $0x2545f491, %eax
1:  movl %eax, %ebx
    shll $13, %ebx
    xorl %ebx, %eax
    movl %eax, %ebx
    shrl $17, %ebx
    xorl %ebx, %eax
    movl %eax, %ebx
    shll $5, %ebx
    xorl %ebx, %eax
    outb %al, $0xe9
    jmp 1b
GUEST_END
