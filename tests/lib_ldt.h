/* Running a few instructions of compatibility mode on the host's processor,
 * with segments of our choice in the local descriptor table. Apart from the
 * test because <signal.h> and cpu/cpu.h both have names like REG_RAX. */
#ifndef RELIVE_TESTS_LIB_LDT_H
#define RELIVE_TESTS_LIB_LDT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LDT_MEMORY_BYTES = 0x40000,
    LDT_ENTRIES = 32,
    LDT_SS = 0x2b, /* the host's own user stack segment */
    LDT_NO_TRAP = 99
};

/* A segment over the LDT_MEMORY_BYTES of memory. */
struct ldt_entry {
    unsigned contents;  /* 0 data, 1 expand-down, 2 code, 3 conforming code */
    bool is_restricted; /* read-only, or execute-only */
    bool is_absent, is_32, in_pages;
    uint32_t limit;
};

struct ldt_result {
    unsigned trap; /* vector, or LDT_NO_TRAP when the code reached its end */
    uint64_t error;
    uint64_t rip; /* of the trap: offset from the code or in its segment */
    uint16_t cs;
    bool is_at_code; /* rip is an offset from the code's first byte */
    uint32_t eax, edx, flags;
};

/* False when the system offers no such table, or low addresses are taken. */
bool ldt_open(void);
void ldt_close(void);
/* Set entry `index` and give its descriptor, with base 0. False: not allowed.
 */
bool ldt_set(unsigned index, const struct ldt_entry *e, uint8_t descriptor[8]);
/* The memory that the segments see. */
uint8_t *ldt_memory(void);
/* Run `count` bytes as 32-bit code with EAX, EDX and ECX = LDT_SS, and the
 * arithmetic flags clear. The code leaves SS:ESP as it was. */
void ldt_run(const uint8_t *code, size_t count, uint32_t eax, uint32_t edx,
             struct ldt_result *out);

#endif
