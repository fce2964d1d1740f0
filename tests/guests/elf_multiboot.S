/* A multiboot (version 1) kernel: checks what the loader must provide, prints
 * its command line on COM1 and port 0xE9, and ends with status 33.
 * Source: Multiboot Specification 0.6.96, sections 3.2 and 3.3. */
    .section .multiboot, "a"
    .long 0x1badb002
    .long 2 /* wants memory sizes */
    .long -(0x1badb002 + 2)
    .text
    .globl start
    .code32
start:
    cmpl $0x2badb002, %eax
    jne failed
    movl $stack, %esp
    movw $0x3fb, %dx /* 8 data bits */
    movb $3, %al
    outb %al, %dx
    testl $1, (%ebx) /* mem_lower, mem_upper */
    jz failed
    cmpl $500, 4(%ebx)
    jb failed
    cmpl $10000, 8(%ebx)
    jb failed
    testl $4, (%ebx) /* cmdline */
    jz failed
    testl $0x40, (%ebx) /* memory map */
    jz failed
    movl %cr0, %eax
    andl $0x80000001, %eax /* protected, not paged */
    cmpl $1, %eax
    jne failed
    pushfl
    popl %eax
    testl $0x20200, %eax /* VM and IF clear */
    jnz failed
    cmpl $0, zeroes /* .bss is clear */
    jne failed
    cmpl $0x600d600d, data
    jne failed
    movl $hello, %esi
    call print
    movl 16(%ebx), %esi
    call print
    movl $newline, %esi
    call print
    movb $0x10, %al
    jmp end
failed:
    movl $bad, %esi
    call print
    movb $0x11, %al
end:
    outb %al, $0xf4
1:  hlt
    jmp 1b
print:
    movw $0x3fd, %dx
    inb %dx, %al
    testb $0x20, %al
    jz print
    lodsb
    testb %al, %al
    jz 1f
    outb %al, $0xe9
    movw $0x3f8, %dx
    outb %al, %dx
    jmp print
1:  ret
hello: .asciz "relive multiboot guest: "
newline: .asciz "\n"
bad: .asciz "multiboot: the loader is wrong\n"
    .data
data: .long 0x600d600d
    .bss
zeroes: .fill 4096, 1, 0
    .balign 16
    .fill 4096, 1, 0
stack:
