/* An option ROM that loads the parts of a kernel from fw_cfg by DMA and enters it.
 * SeaBIOS finds it as fw_cfg file "genroms/relive-boot.bin" and calls its boot
 * entry vector (BIOS Boot Specification 1.01, 3.3; PnP BIOS Specification 1.0A,
 * 3.2). board/boot.c patches the parameter block and the two checksums.
 * Low memory it uses: 6000h stack top, 7000h scratch, 8000h memory map. */
    .intel_syntax noprefix
    .section .rodata.bootrom, "a", @progbits
    .code16
    .globl bootrom_image, bootrom_image_end, bootrom_parameters
    .globl bootrom_pnp_header

    /* The ROM is guest-visible, so its bytes must not depend on the assembler:
     * the two order a segment and an operand-size prefix differently. */
    .macro es_
    .byte 0x26
    .endm

    .set DMA_BLOCK, 0x7000      /* fw_cfg DMA access structure, big-endian */
    .set GDT_POINTER, 0x7020
    .set JUMP_POINTER, 0x7030
    .set MEMORY_MAP, 0x8000     /* Multiboot memory map, up to 1000h bytes */
    .set INFO, 0x9000           /* Multiboot information, loaded as a part */

bootrom_image:
    .byte 0x55, 0xaa, (bootrom_image_end - bootrom_image) / 512
    .byte 0xcb                  /* retf: initialisation has nothing to do */
    .org 0x1a
    .word bootrom_pnp_header - bootrom_image
    .org 0x20
bootrom_pnp_header:
    .ascii "$PnP"
    .byte 1, 2                  /* revision, length in 16-byte units */
    .word 0
    .byte 0, 0                  /* reserved, checksum */
    .long 0
    .word 0
    .word product - bootrom_image
    .byte 0, 0, 0, 0xe4         /* class; may be shadowed, cached, boots */
    .word 0, 0
    .word boot - bootrom_image
    .word 0, 0

product:
    .asciz "relive kernel loader"

    .balign 4
    /* Filled by board/boot.c: kind (0 Linux, 1 Multiboot), entry point, then
     * parts of {fw_cfg key, length, physical address}, ended by length 0. */
bootrom_parameters:
    .long 0
    .long 0
parts:
    .fill 8 * 12, 1, 0
    /* Offsets in the ROM by name: clang's assembler takes no difference of two
     * labels as an operand. */
    .set PARAMETERS_AT, bootrom_parameters - bootrom_image
    .set PARTS_AT, parts - bootrom_image

boot:
    cli
    cld
    xor ax, ax
    mov ss, ax
    mov sp, 0x6000
    mov es, ax
    mov ax, cs
    mov ds, ax
    mov si, offset PARTS_AT
next_part:
    mov ecx, [si + 4]
    test ecx, ecx
    jz loaded
    movzx eax, word ptr [si]    /* control: key << 16 | select | read */
    shl eax, 16
    or eax, 0x0a
    bswap eax
    es_
    mov [DMA_BLOCK], eax
    bswap ecx
    es_
    mov [DMA_BLOCK + 4], ecx
    es_
    mov dword ptr [DMA_BLOCK + 8], 0
    mov eax, [si + 8]
    bswap eax
    es_
    mov [DMA_BLOCK + 12], eax
    mov dx, 0x514
    xor eax, eax
    out dx, eax
    mov dx, 0x518
    mov eax, DMA_BLOCK
    bswap eax
    out dx, eax
wait_part:
    es_
    mov eax, [DMA_BLOCK]
    bswap eax
    test eax, 1                 /* error: nothing sensible can follow */
    jnz stuck
    test eax, eax
    jnz wait_part
    add si, 12
    jmp next_part
stuck:
    hlt
    jmp stuck

loaded:
    cmp dword ptr [PARAMETERS_AT], 0
    jne multiboot
    /* The Linux/x86 boot protocol: setup code at 1000h:0, entered at its
     * second sector with all segments equal and a stack below the heap end. */
    mov ax, 0x1000
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov sp, 0xfff0
    xor ebx, ebx
    .byte 0xea                  /* jmp far 1020h:0 */
    .word 0, 0x1020

    /* Multiboot 0.6.96: memory map from INT 15h E820h, then 32-bit flat mode
     * with EAX = 2BADB002h and EBX -> information. */
multiboot:
    mov di, MEMORY_MAP
    xor ebx, ebx
more_map:
    add di, 4
    mov eax, 0xe820
    mov edx, 0x534d4150
    mov ecx, 20
    int 0x15
    jc map_done
    cmp eax, 0x534d4150
    jne map_done
    es_
    mov dword ptr [di - 4], 20
    /* The entry that starts at 1 MiB tells mem_upper. */
    es_
    cmp dword ptr [di], 0x100000
    jne not_upper
    es_
    cmp dword ptr [di + 4], 0
    jne not_upper
    es_
    mov eax, [di + 8]
    shr eax, 10
    es_
    mov [INFO + 8], eax
not_upper:
    add di, 20
    test ebx, ebx
    jz map_end
    cmp di, MEMORY_MAP + 0xfe0
    jb more_map
map_done:
    sub di, 4
map_end:
    movzx eax, di
    sub eax, MEMORY_MAP
    es_
    mov [INFO + 44], eax
    es_
    mov dword ptr [INFO + 48], MEMORY_MAP
    int 0x12
    movzx eax, ax
    es_
    mov [INFO + 4], eax

    cli
    xor eax, eax
    mov ax, cs
    shl eax, 4                  /* where this ROM stands */
    mov ebx, offset GDT_AT
    add ebx, eax
    mov word ptr es:[GDT_POINTER], 23
    es_
    mov [GDT_POINTER + 2], ebx
    mov ebx, offset ENTRY_AT
    add ebx, eax
    es_
    mov [JUMP_POINTER], ebx
    mov word ptr es:[JUMP_POINTER + 4], 8
    mov ebp, [PARAMETERS_AT + 4]
    .byte 0x26, 0x66, 0x0f, 0x01, 0x16 /* lgdt es:[GDT_POINTER], 32-bit base */
    .word GDT_POINTER
    mov eax, cr0
    or eax, 1
    mov cr0, eax
    .byte 0x26, 0x66, 0xff, 0x2e /* jmp far dword es:[JUMP_POINTER] */
    .word JUMP_POINTER

    .code32
protected_entry:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    mov ss, eax
    mov eax, 0x2badb002
    mov ebx, INFO
    jmp ebp

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff    /* code, base 0, 4 GiB */
    .quad 0x00cf93000000ffff    /* data */

    .set GDT_AT, gdt - bootrom_image
    .set ENTRY_AT, protected_entry - bootrom_image
    .balign 512
bootrom_image_end:
    .section .note.GNU-stack, "", @progbits
