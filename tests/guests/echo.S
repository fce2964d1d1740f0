/* A guest for record and replay: keyboard, mouse, serial line, timer and disk,
 * all by interrupts, folded into one checksum together with the time stamp at
 * which each came. So a replay that is wrong by one tick anywhere prints another
 * text. It ends after 400 timer ticks of 1 ms, or on 'q' over the serial line.
 * Without a disk it goes without. */
#include "guest.h"

#ifndef MS_MAX
#define MS_MAX 400
#endif

GUEST("echo")
PROT_VECTORS
    .code16
start16:
    ENTER32(start32)
    call prot_init
    PIC_INIT
    SET_GATE32(0x20, irq_timer)
    SET_GATE32(0x21, irq_keyboard)
    SET_GATE32(0x24, irq_serial)
    SET_GATE32(0x2c, irq_mouse)
    SET_GATE32(0x2e, irq_disk)

    /* COM1: 115200 8N1, FIFO, interrupt on reception. */
    movw $0x3fb, %dx
    movb $0x83, %al
    outb %al, %dx
    movw $0x3f8, %dx
    movb $1, %al
    outb %al, %dx
    movw $0x3f9, %dx
    movb $0, %al
    outb %al, %dx
    movw $0x3fb, %dx
    movb $3, %al
    outb %al, %dx
    movw $0x3fa, %dx
    movb $7, %al
    outb %al, %dx
    movw $0x3fc, %dx
    movb $0xb, %al
    outb %al, %dx
    movw $0x3f9, %dx
    movb $1, %al
    outb %al, %dx

    /* 8042: self test, both interfaces with interrupts, mouse reporting. */
    movb $0xaa, %al
    call kbc_command
    call kbc_read
    movb $0xae, %al
    call kbc_command
    movb $0xa8, %al
    call kbc_command
    movb $0x60, %al
    call kbc_command
    movb $0x43, %al
    call kbc_data
    movb $0xf4, %al
    call kbc_data
    call kbc_read /* keyboard: ACK */
    movb $0xd4, %al
    call kbc_command
    movb $0xf4, %al
    call kbc_data
    call kbc_read /* mouse: ACK */

    /* PIT: 1 ms. */
    movb $0x34, %al
    outb %al, $0x43
    movb $(1193 & 0xff), %al
    outb %al, $0x40
    movb $(1193 >> 8), %al
    outb %al, $0x40
    movb $0xe8, %al /* timer, keyboard, cascade, serial */
    outb %al, $0x21
    movb $0xaf, %al /* mouse, disk */
    outb %al, $0xa1
    movl $ready, %esi
    call serial_text
    sti
main_loop:
    hlt
    /* A little work between events: its memory is in the digests. */
    movl checksum, %eax
    movl $512, %ecx
    movl $0x20000, %edi
1:  imull $1664525, %eax, %eax
    addl $1013904223, %eax
    xorl %eax, (%edi)
    addl $4, %edi
    loop 1b
    testl $7, ticks
    jnz 2f
    call disk_turn
2:  cmpl $0, over
    jne finish
    cmpl $MS_MAX, ticks
    jb main_loop
finish:
    cli
    movl $text_sum, %esi
    call serial_text
    movl checksum, %ebx
    call serial_hex
    movb $10, %al
    call serial_byte
    movl $1, checks
    PASS(32)

/* Fold al and the time into the checksum. */
fold:
    pushl %edx
    pushl %ecx
    movzbl %al, %ecx
    rdtsc
    xorl %ecx, %eax
    addl checksum, %eax
    roll $5, %eax
    imull $0x9e3779b1, %eax, %eax
    movl %eax, checksum
    popl %ecx
    popl %edx
    ret

irq_timer:
    pushal
    incl ticks
    movb $0, %al
    call fold
    jmp eoi_first
irq_keyboard:
    pushal
    inb $0x60, %al
    movb %al, %bl
    call fold
    movb $'k', %al
    call serial_byte
    call serial_hex_byte
    jmp eoi_first
irq_serial:
    pushal
1:  movw $0x3fd, %dx
    inb %dx, %al
    testb $1, %al
    jz eoi_first
    movw $0x3f8, %dx
    inb %dx, %al
    cmpb $'q', %al
    jne 2f
    movl $1, over
2:  movb %al, %bl
    call fold
    movb $'s', %al
    call serial_byte
    call serial_hex_byte
    jmp 1b
irq_mouse:
    pushal
    inb $0x60, %al
    movb %al, %bl
    call fold
    movb $'m', %al
    call serial_byte
    call serial_hex_byte
    jmp eoi_both
irq_disk:
    pushal
    movw $0x1f7, %dx
    inb %dx, %al
    incl disk_interrupts
    call fold
eoi_both:
    movb $0x20, %al
    outb %al, $0xa0
eoi_first:
    movb $0x20, %al
    outb %al, $0x20
    popal
    iretl

/* Read a sector that the checksum names, and write another. */
disk_turn:
    movw $0x1f7, %dx
    inb %dx, %al
    testb $0x40, %al /* DRDY: there is a disk */
    jz 9f
    cmpb $0xff, %al
    je 9f
    movl checksum, %ebx
    movb $0x20, %cl
    call disk_command
    jc 9f
    movl $0x30000, %edi
    movl $256, %ecx
    movw $0x1f0, %dx
    rep insw
    movb 0x30000, %al
    call fold
    movl checksum, %ebx
    movb $0x30, %cl
    call disk_command
    jc 9f
    movl $0x20000, %esi
    movl $256, %ecx
    movw $0x1f0, %dx
    rep outsw
    movw $0x1f7, %dx
1:  inb %dx, %al
    testb $0x80, %al
    jnz 1b
9:  ret
disk_command: /* ebx: sector mod 64, cl: command; waits for DRQ */
    movw $0x1f2, %dx
    movb $1, %al
    outb %al, %dx
    incw %dx
    movb %bl, %al
    andb $63, %al
    outb %al, %dx
    incw %dx
    xorl %eax, %eax
    outb %al, %dx
    incw %dx
    outb %al, %dx
    incw %dx
    movb $0xe0, %al
    outb %al, %dx
    incw %dx
    movb %cl, %al
    outb %al, %dx
1:  inb %dx, %al
    testb $0x80, %al
    jnz 1b
    testb $1, %al
    jnz 2f
    testb $8, %al
    jz 1b
    clc
    ret
2:  stc
    ret

kbc_command:
    pushl %eax
1:  inb $0x64, %al
    testb $2, %al
    jnz 1b
    popl %eax
    outb %al, $0x64
    ret
kbc_data:
    pushl %eax
1:  inb $0x64, %al
    testb $2, %al
    jnz 1b
    popl %eax
    outb %al, $0x60
    ret
kbc_read:
1:  inb $0x64, %al
    testb $1, %al
    jz 1b
    inb $0x60, %al
    ret

serial_byte: /* al */
    pushl %edx
    pushl %eax
    movw $0x3fd, %dx
1:  inb %dx, %al
    testb $0x20, %al
    jz 1b
    popl %eax
    movw $0x3f8, %dx
    outb %al, %dx
    popl %edx
    ret
serial_text: /* esi */
1:  lodsb
    testb %al, %al
    jz 2f
    call serial_byte
    jmp 1b
2:  ret
serial_hex_byte: /* bl */
    shll $24, %ebx
    movl $2, %ecx
    jmp 1f
serial_hex: /* ebx */
    movl $8, %ecx
1:  roll $4, %ebx
    movl %ebx, %eax
    andl $15, %eax
    movb digits(%eax), %al
    call serial_byte
    loop 1b
    ret

ready: .asciz "echo: ready\n"
text_sum: .asciz "\necho: checksum "
    .balign 4
checksum: .long 0x12345678
ticks: .long 0
over: .long 0
disk_interrupts: .long 0
GUEST_END
