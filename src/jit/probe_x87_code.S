# void probe_x87_run[512](struct probe_x87_frame *f): one routine of 32 bytes for
# each register form of D8..DF. Loads the x87 state and the arithmetic flags,
# executes the instruction, stores both (jit/probe_x87.c).
        .text
        .globl  probe_x87_code
        .balign 32
probe_x87_code:
        .set    n, 0
        .rept   512
        .balign 32
        frstor  (%rdi)
        movzwl  112(%rdi), %eax
        cmpb    $0x81, %al
        sahf
        .byte   0xd8 + (n >> 6), 0xc0 + (n & 63)
        lahf
        seto    %al
        movw    %ax, 112(%rdi)
        fnsave  (%rdi)
        ret
        .set    n, n + 1
        .endr
        .section .note.GNU-stack, "", @progbits
