/* A floppy of 1.44 MB, or a hard disk: the boot sector prints through the BIOS
 * and on COM1, reads 35 sectors, adds them up, waits for a key, and ends with
 * isa-debug-exit (status 33 when the sum is right). */
    .text
    .code16
    ljmp $0x07c0, $start
start:
    cli
    movw %cs, %ax
    movw %ax, %ds
    xorw %ax, %ax
    movw %ax, %ss
    movw $0x7c00, %sp
    sti
    cld
    movb %dl, drive
    movw $0x3fb, %dx /* 8 data bits */
    movb $3, %al
    outb %al, %dx
    movw $0x0003, %ax /* 80x25 text, cleared */
    int $0x10
    movw $hello, %si
    call print
    /* Sectors 1..35 to 1000:0000, one by one. */
    movw $0x1000, %ax
    movw %ax, %es
1:  call read_sector
    jc failed
    incw sector
    movw %es, %ax
    addw $0x20, %ax
    movw %ax, %es
    cmpw $36, sector
    jb 1b
    /* Sector n holds 128 times the number n. */
    movw $0x1000, %ax
    movw %ax, %fs
    xorl %ebx, %ebx
    xorl %eax, %eax
    movl $(35 * 128), %ecx
2:  addl %fs:(%bx), %eax
    addw $4, %bx
    loop 2b
    cmpl $(128 * 35 * 36 / 2), %eax
    jne failed
    movw $good, %si
    call print
    xorw %ax, %ax
    int $0x16
    movb %al, key
    movw $pressed, %si
    call print
    movb $0x10, %al
    jmp end
failed:
    movw $bad, %si
    call print
    movb $0x11, %al
end:
    outb %al, $0xf4
3:  hlt
    jmp 3b

read_sector: /* number in `sector`, to es:0 */
    testb $0x80, drive
    jnz 1f
    movw sector, %ax
    movb $18, %cl
    divb %cl
    movb %ah, %cl
    incb %cl
    xorb %ah, %ah
    movb %al, %dh
    andb $1, %dh
    shrb $1, %al
    movb %al, %ch
    movb drive, %dl
    xorw %bx, %bx
    movw $0x0201, %ax
    int $0x13
    ret
1:  movw sector, %ax
    movw %ax, packet + 8
    movw %es, packet + 6
    movw $packet, %si
    movb drive, %dl
    movb $0x42, %ah
    int $0x13
    ret

print: /* si */
    movw $0x3fd, %dx
1:  inb %dx, %al
    testb $0x20, %al
    jz 1b
    lodsb
    testb %al, %al
    jz 2f
    movw $0x3f8, %dx
    outb %al, %dx
    movb $0x0e, %ah
    movw $0x0007, %bx
    int $0x10
    jmp print
2:  ret

sector: .word 1
drive: .byte 0
    .balign 4
packet: .byte 16, 0, 1, 0
    .word 0, 0 /* offset, segment */
    .quad 0
hello: .asciz "relive disk guest\r\n"
good: .asciz "35 sectors are right; press a key\r\n"
bad: .asciz "the sectors are wrong\r\n"
pressed: .ascii "key "
key: .asciz "?\r\n"
    .org 510
    .word 0xaa55
.set n, 1
.rept 35
    .fill 128, 4, n
.set n, n + 1
.endr
    .org 1474560
