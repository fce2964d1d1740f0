/* A guest's memory as analysis reads it: RAM by physical address, and any
 * address space of it by its page tables (Intel SDM vol. 3A ch. 4). Reading
 * changes nothing: no accessed bits, no device is touched.
 *
 * What is read comes from a guest that may be hostile: every read is bounded
 * and fails on what is not mapped; walkers of lists bound their steps. */
#ifndef RELIVE_ANALYSIS_GUEST_MEMORY_H
#define RELIVE_ANALYSIS_GUEST_MEMORY_H

#include "board/machine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum paging_mode { PAGING_OFF, PAGING_32, PAGING_PAE, PAGING_LONG };

/* The registers that guest knowledge starts from. */
struct guest_cpu {
    uint64_t cr3, rip, rsp, rbp; /* rip: linear; rsp: with the base of SS */
    uint64_t gs_base, kernel_gs_base, fs_base;
    uint64_t gdt_base, idt_base, syscall_entry; /* LSTAR, or SYSENTER_EIP */
    unsigned cpl;
    bool is_long; /* long mode is active */
};

struct guest_memory {
    /* The 4096 bytes at a page-aligned physical address, or NULL when it is no
     * memory; with `touched`, also NULL when nobody has stored to it. */
    const uint8_t *(*page)(void *context, uint64_t paddr, bool touched);
    void *context;    /* borrowed */
    uint64_t ram_end; /* no RAM at or above */
    enum paging_mode mode;
    bool has_pse; /* large pages in 32-bit paging */
    struct guest_cpu cpu;
};

/* Of a machine as it is now; m is borrowed. To be made again when the machine
 * has moved. */
void guest_memory_of(struct guest_memory *g, struct machine *m);

/* Bytes of a pointer of the guest's kernel: 8 in long mode, else 4. */
unsigned guest_word(const struct guest_memory *g);

/* By the tables whose top is at `root` (a value of CR3). */
bool guest_translate(const struct guest_memory *g, uint64_t root,
                     uint64_t vaddr, uint64_t *paddr);

/* Bytes read before the first that is no memory. */
size_t guest_read_physical(const struct guest_memory *g, uint64_t paddr,
                           void *out, size_t bytes);
size_t guest_read(const struct guest_memory *g, uint64_t root, uint64_t vaddr,
                  void *out, size_t bytes);

/* All of it or nothing. */
bool guest_read_all(const struct guest_memory *g, uint64_t root,
                    uint64_t vaddr, void *out, size_t bytes);
bool guest_read_u32(const struct guest_memory *g, uint64_t root,
                    uint64_t vaddr, uint32_t *value);
bool guest_read_u64(const struct guest_memory *g, uint64_t root,
                    uint64_t vaddr, uint64_t *value);
/* A pointer of guest_word() bytes. */
bool guest_read_word(const struct guest_memory *g, uint64_t root,
                     uint64_t vaddr, uint64_t *value);

/* Text up to a NUL or `bytes` - 1 characters, always ended; what is not
 * printable ASCII becomes '?'. False when nothing could be read. */
bool guest_read_text(const struct guest_memory *g, uint64_t root,
                     uint64_t vaddr, char *out, size_t bytes);
/* UTF-16 of so many bytes as UTF-8, cut to fit. */
bool guest_read_utf16(const struct guest_memory *g, uint64_t root,
                      uint64_t vaddr, size_t utf16_bytes, char *out,
                      size_t bytes);

/* The first place of these bytes in [from, to) of physical memory, looking at
 * touched pages only; matches may cross pages. UINT64_MAX: none. */
uint64_t guest_search_physical(const struct guest_memory *g, uint64_t from,
                               uint64_t to, const void *bytes, size_t count);

#endif
