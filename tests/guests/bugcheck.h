/* What a Windows kernel looks like from outside, in a few pages: an image with
 * exports, the debugger's data block, the list of modules, a processor block,
 * and a driver whose null pointer ends in KeBugCheckEx. Layouts: "PE Format",
 * wdbgexts.h, the public symbols of Windows 7.
 *
 * The guest defines WORD (.long or .quad), V(label) (an address of the kernel),
 * IS_64, and puts its code behind BUGCHECK_KERNEL, then BUGCHECK_DRIVER. */
#define KERNEL_AT 0x8000
#define KERNEL_BYTES 0x3000
#define DRIVER_BYTES 0x1000
#define BUGCHECK_CODE 0x50
#define BUGCHECK_LAST 7 /* the fourth parameter */
#define BUILD 7601

#if IS_64
#define MACHINE 0x8664
#define OPTIONAL 0xf0
#define MAGIC 0x20b
#define DIRECTORIES 0x98 + 112
#define WORD_BYTES 8
#define PCR_SELF 0x18
#define VERSION_POINTER
#define CONTEXT_POINTER 0x800 /* in the PRCB */
#define PRCB_AT 0x180
#define CONTEXT_AT 0x120
#define MODULE_BASE 0x30
#define MODULE_SIZE 0x40
#define MODULE_NAME 0x58
#else
#define MACHINE 0x14c
#define OPTIONAL 0xe0
#define MAGIC 0x10b
#define DIRECTORIES 0x98 + 96
#define WORD_BYTES 4
#define PCR_SELF 0x1c
#define VERSION_POINTER .org pcr + 0x34; WORD V(version);
#define CONTEXT_POINTER 0 /* as before Windows 7 */
#define PRCB_AT 0x120
#define CONTEXT_AT 0x18
#define MODULE_BASE 0x18
#define MODULE_SIZE 0x20
#define MODULE_NAME 0x2c
#endif

/* A pointer in the data block: 64 bits. */
#define KDBG(offset, label) .org kdbg + offset; WORD V(label)

#define BUGCHECK_KERNEL \
    .org KERNEL_AT; \
kernel: .ascii "MZ"; .org kernel + 60; .long 0x80; \
    .org kernel + 0x80; .ascii "PE\0\0"; .word MACHINE, 0; \
    .org kernel + 0x80 + 20; .word OPTIONAL; .org kernel + 0x98; .word MAGIC; \
    .org kernel + 0x98 + 56; .long KERNEL_BYTES; \
    .org kernel + DIRECTORIES - 4; .long 16, 0x200, 0x100; \
    .org kernel + 0x200 + 12; .long text_module - kernel, 1, 2, 2, 0x240; \
    .long 0x250, 0x260; \
    .org kernel + 0x240; .long KeBugCheckEx - kernel, NtBuildNumber - kernel; \
    .org kernel + 0x250; .long text_call - kernel, text_build - kernel; \
    .org kernel + 0x260; .word 0, 1; \
    .org kernel + 0x270; \
text_call: .asciz "KeBugCheckEx"; \
text_build: .asciz "NtBuildNumber"; \
text_module: .asciz "ntoskrnl.exe"; \
    .org kernel + 0x400; \
kdbg: WORD V(kdbg_list); .org kdbg + 16; .ascii "KDBG"; .long 0x340; \
    KDBG(0x18, kernel); KDBG(0x48, module_list); KDBG(0x50, process_list); \
    KDBG(0x88, bugcheck_data); KDBG(0xc0, pfn_database); \
    KDBG(0x270, memory_pointer); .org kdbg + 0x2bc; .word CONTEXT_AT; \
    .org kdbg + 0x338; .word CONTEXT_POINTER; \
    .org kernel + 0x800; \
bugcheck_data: .fill 5, WORD_BYTES, 0; \
    .org kernel + 0x840; \
memory_block: WORD 2, 0x1df, 0, 0x9f, 0x100, 0x140; \
    .org kernel + 0x880; \
kdbg_list: WORD V(kdbg), V(kdbg); \
module_list: WORD V(module_kernel), V(module_driver); \
process_list: WORD V(process_list), V(process_list); \
memory_pointer: WORD V(memory_block); \
pfn_database: WORD V(kernel); \
NtBuildNumber: .word BUILD, 0xf000; \
    .org kernel + 0x900; \
module_kernel: WORD V(module_driver), V(module_list); \
    .org module_kernel + MODULE_BASE; WORD V(kernel); \
    .org module_kernel + MODULE_SIZE; .long KERNEL_BYTES; \
    .org module_kernel + MODULE_NAME; .word 4, 6; .balign WORD_BYTES; \
    WORD V(name_kernel); \
    .org kernel + 0xa00; \
module_driver: WORD V(module_list), V(module_kernel); \
    .org module_driver + MODULE_BASE; WORD V(driver); \
    .org module_driver + MODULE_SIZE; .long DRIVER_BYTES; \
    .org module_driver + MODULE_NAME; .word 14, 16; .balign WORD_BYTES; \
    WORD V(name_driver); \
    .org kernel + 0xb00; \
name_kernel: .word 'n', 't'; \
name_driver: .word 'b', 'a', 'd', '.', 's', 'y', 's'; \
    .org kernel + 0xc00; \
version: .org version + 0x20; WORD V(kdbg_list); \
    .org kernel + 0x1000; \
pcr: .org pcr + PCR_SELF; WORD V(pcr), V(pcr) + PRCB_AT; \
    VERSION_POINTER \
    .org pcr + PRCB_AT + 0x800; WORD V(pcr) + PRCB_AT + CONTEXT_AT; \
    .org kernel + 0x2000

#define BUGCHECK_DRIVER .org kernel + KERNEL_BYTES; driver:
#define BUGCHECK_END .org driver + DRIVER_BYTES
