/* From reset to 64-bit code with the first 2 MiB mapped to themselves, and no
 * more: for guests that are looked at, not checked. Sources: SDM vol. 3A 9.8.5
 * "Initializing IA-32e Mode".
 *
 * A guest is: #include "guest.h", #include "long_mode.h", GUEST("name"), then
 * LONG_MODE and 64-bit code, GUEST_END. */
#define PML4 0x20000
#define PDPT 0x21000
#define PD   0x22000

#define LONG_MODE \
    .code16; start16: ENTER32(start32); \
    movl $PDPT + 3, PML4; movl $PD + 3, PDPT; movl $0x83, PD; \
    movl $0x20, %eax; movl %eax, %cr4; movl $PML4, %eax; movl %eax, %cr3; \
    movl $0xc0000080, %ecx; rdmsr; orl $0x100, %eax; wrmsr; \
    movl %cr0, %eax; orl $0x80000000, %eax; movl %eax, %cr0; \
    ljmpl $SEL_CODE64, $start64; .code64; start64: \
    movw $0x3fb, %dx; movb $3, %al; outb %al, %dx /* COM1: 8 bits */

/* The text at a label, to COM1. */
#define SAY(label) movq $label, %rsi; call say
#define SAY_ROUTINE \
say: lodsb; testb %al, %al; jz 1f; call say_byte; jmp say; \
1:  ret; \
say_byte: movb %al, %ah; movw $0x3fd, %dx; \
2:  inb %dx, %al; testb $0x20, %al; jz 2b; /* until the UART takes it */ \
    movb %ah, %al; movw $0x3f8, %dx; outb %al, %dx; ret

/* The end of the run, when COM1 has sent all: process status 33. */
#define LEAVE movw $0x3fd, %dx; 1: inb %dx, %al; testb $0x40, %al; jz 1b; \
    movb $0x10, %al; outb %al, $0xf4; 1: hlt; jmp 1b
