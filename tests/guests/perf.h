/* A loop that calls two functions a hundred times; SCAN_ROUNDS says how much the
 * second has to do. What lies between "begin" and "end" is to be compared. */
#include "guest.h"
#include "long_mode.h"

#define CALLS 100
#define SUM_ROUNDS 2000

GUEST("perf")
    LONG_MODE
    SAY(text_begin)
    movl $CALLS, %ebp
1:  call both
    decl %ebp
    jnz 1b
    SAY(text_end)
    LEAVE
    .balign 16
both:
    pushq %rbx
    call sum_list
    call scan_list
    popq %rbx
    ret
    .balign 16
sum_list: /* 4 instructions a round */
    movl $SUM_ROUNDS, %ecx
1:  addq %rcx, %rax
    nop
    decl %ecx
    jnz 1b
    ret
    .balign 16
scan_list: /* 5 instructions a round */
    movl $SCAN_ROUNDS, %ecx
1:  xorq %rcx, %rax
    nop
    nop
    decl %ecx
    jnz 1b
    ret
    SAY_ROUTINE
text_begin: .asciz "begin\n"
text_end: .asciz "end\n"
    GUEST_END
