/* A heap whose blocks have headers {size, magic}, and a copy that runs over the
 * end of one: 41 bytes into 32. The guest finds the damaged header and prints
 * its address. */
#include "guest.h"
#include "long_mode.h"

#define HEAP 0x40000
#define MAGIC 0x600db10c

GUEST("heap")
    LONG_MODE
    movq $32, %rdi
    call heap_alloc
    movq %rax, %rbx
    movq $32, %rdi
    call heap_alloc
    movq %rax, %rbp
    movq $16, %rdi
    call heap_alloc
    movq %rax, %rdi
    call heap_free
    movq %rbx, %rdi
    movq $text_name, %rsi
    movq $41, %rcx
    call copy_name
    movq %rbp, %rdi /* a store that is allowed */
    movq $8, %rcx
    movq $text_name, %rsi
    call copy_name
    call heap_check
    SAY(text_whole)
    LEAVE

    .balign 16
heap_alloc: /* rdi: bytes; rax: the block */
    movq heap_next, %rax
    movl %edi, (%rax)
    movl $MAGIC, 4(%rax)
    addq $8, %rax
    leaq (%rax, %rdi), %rdx
    movq %rdx, heap_next
    ret
    .balign 16
heap_free: /* rdi */
    movl $0, -4(%rdi)
    ret
    .balign 16
copy_name: /* rdi, rsi, rcx bytes */
1:  movb (%rsi), %al
    movb %al, (%rdi)
    incq %rsi
    incq %rdi
    decq %rcx
    jnz 1b
    ret
    .balign 16
heap_check:
    movq $HEAP, %rbx
1:  cmpl $MAGIC, 4(%rbx)
    jne 2f
    movl (%rbx), %eax
    leaq 8(%rbx, %rax), %rbx
    jmp 1b
2:  SAY(text_damaged)
    movl $5, %ecx
    shlq $12, %rbx
3:  roll $4, %ebx
    movl %ebx, %eax
    andl $15, %eax
    movb digits(%eax), %al
    call say_byte
    decl %ecx
    jnz 3b
    SAY(text_newline)
    LEAVE
    .balign 16
never_called:
    movq $1, %rax
    addq %rax, %rax
    ret
    SAY_ROUTINE
    .balign 8
heap_next: .quad HEAP
text_name: .ascii "a name that is longer than its 32 bytes.."
text_damaged: .asciz "damaged header at 0x"
text_newline: .asciz "\n"
text_whole: .asciz "the heap is whole\n"
    GUEST_END
