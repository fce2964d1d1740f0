/* Linear to physical translation and the TLB (Intel SDM vol. 3A ch. 4).
 *
 * The TLB never shows: page-table frames that a cached translation came from
 * are flagged FRAME_TABLE, a store that changes a used entry drops what depends
 * on it, accessed bits are set by the walk and dirty bits by the first write.
 * So INVLPG needs no action, and address spaces stay cached across CR3 loads.
 * Only the PAE PDPTE registers are architectural state and belong to the CPU. */
#ifndef RELIVE_MEM_MMU_H
#define RELIVE_MEM_MMU_H

#include "mem/exc.h"
#include "mem/phys.h"

#include <stdbool.h>
#include <stdint.h>

/* What the translation depends on; copies of the CPU's registers. */
struct mmu_regs {
    uint64_t cr0, cr3, cr4, efer;
    uint64_t pdpte[4]; /* used with PAE outside long mode */
};

/* One entry of the direct-mapped, inline-visible TLB. A tag is the page's
 * linear address, or TLB_NONE. host address = vaddr + addend (mod 2^64). */
struct tlb_entry {
    uint64_t read_tag;
    uint64_t write_tag; /* set only while a plain host store is allowed */
    uint64_t addend;
    uint64_t spare; /* the MMU's own */
};
enum {
    TLB_ENTRIES = 4096
};
#define TLB_NONE UINT64_MAX

/* What an access with one privilege sees of an address space. */
struct mmu_view {
    uint64_t key;
    struct tlb_entry *tlb;
};

enum access {
    ACCESS_READ = 0,
    ACCESS_WRITE = 1,
    ACCESS_FETCH = 2,
    ACCESS_SYSTEM = 4 /* flag: supervisor access whatever the CPL (descriptor
                         tables, TSS, interrupt stacks of inner rings) */
};

struct mmu {
    struct tlb_entry *tlb; /* owned; the view of the current address space and
                              privilege; changes at mmu_configure() and
                              mmu_set_user(); all-empty while `checked` */
    uint64_t space_key;    /* identifies (address space, privilege) for caches
                              keyed by linear address: never equal for two
                              moments between which a fetch translation that
                              had been used was dropped */
    bool is_user;          /* whose accesses these two are for */
    struct mmu_view view[2]; /* what they are for supervisor and user ones */
    void (*on_rekey)(void *context); /* borrowed, may be NULL: space_key changes
                              because of a drop, so the instruction that is next
                              may now come from another page */
    void *rekey_context;
    uint64_t fault_vaddr;  /* of the last EXC_PF */
    uint32_t fault_error;  /* its error code (SDM vol. 3A 4.7) */
    /* Telemetry, plain counters. */
    uint64_t slow_calls; /* mmu.translate_slow_calls */
    uint64_t walks;
    uint64_t l2_hits, large_hits; /* slow calls that needed no walk */
    uint64_t drops;               /* by stores to page tables */
    struct mmu_internal *internal; /* owned */
    struct phys *phys;             /* borrowed */
};

bool mmu_init(struct mmu *m, struct phys *phys, struct error *err);
void mmu_fini(struct mmu *m);

/* New paging registers (any of them may have changed). Cheap when the space is
 * still cached. Does not check them: the CPU did. */
void mmu_configure(struct mmu *m, const struct mmu_regs *regs);

/* CPL 3 or not. Compiled code does the same by itself. */
static inline void mmu_set_user(struct mmu *m, bool is_user)
{
    m->is_user = is_user;
    m->space_key = m->view[is_user].key;
    m->tlb = m->view[is_user].tlb;
}

/* checked: present an empty TLB so that every access takes the slow path; the
 * CPU does so while alignment checks or data breakpoints are armed. */
void mmu_set_checked(struct mmu *m, bool checked);

/* Drop everything (stress testing, load). Never needed for meaning. All spaces
 * get new keys. */
void mmu_drop_all(struct mmu *m);

/* For stress runs: keep at most n entries of the TLB alive (1..TLB_ENTRIES);
 * below TLB_ENTRIES every miss walks, for the levels behind stay empty. */
void mmu_limit_entries(struct mmu *m, unsigned n);

/* Translate without touching data: may set A and D bits as the access would.
 * len must stay inside one page. EXC_GP: vaddr is not canonical (long mode);
 * EXC_PF: fault_vaddr and fault_error are set. */
enum exc mmu_translate(struct mmu *m, uint64_t vaddr, unsigned len,
                       unsigned how, uint64_t *paddr);

/* Slow paths: any length up to a page, across one page boundary (wrapping at
 * 4 GiB outside long mode), RAM or MMIO. A write checks all pages before it
 * changes a byte. They fill the TLB. */
enum exc mmu_read(struct mmu *m, uint64_t vaddr, void *out, unsigned len,
                  unsigned how);
enum exc mmu_write(struct mmu *m, uint64_t vaddr, const void *in, unsigned len,
                   unsigned how);

/* Would a write of len bytes fault? Same effects on A/D bits as the write. */
enum exc mmu_probe_write(struct mmu *m, uint64_t vaddr, unsigned len,
                         unsigned how);

/* A debugger's watch on linear addresses, whatever space they are in: the pages
 * that hold it stay out of the inline TLB for the accesses that it watches,
 * which so take the slow path; what the guest sees is unchanged. */
struct mmu_watch {
    uint64_t vaddr, bytes; /* at least 1; must not wrap */
    bool reads, writes;    /* which accesses to report */
};
/* An access to bytes of watches[index]: a read was done, a write is about to be
 * and cannot fail any more. It may still belong to an instruction that faults
 * in the end. data: the bytes read, or to be written. Must not call the MMU,
 * but for mmu_peek(). */
typedef void mmu_watch_fn(void *context, unsigned index, uint64_t vaddr,
                          unsigned bytes, bool is_write, const void *data);
/* Replaces the watches; the array is borrowed until the next call. Drops all
 * cached translations. */
void mmu_set_watches(struct mmu *m, const struct mmu_watch *watches,
                     unsigned count, mmu_watch_fn *fn, void *context);

/* Every data access by linear address, as above; is_system: with supervisor
 * rights, to a table or an inner stack. While there is an observer the CPU is
 * shown an empty TLB. NULL: nobody. */
typedef void mmu_observe_fn(void *context, uint64_t vaddr, unsigned bytes,
                            bool is_write, bool is_system, const void *data);
void mmu_observe(struct mmu *m, mmu_observe_fn *fn, void *context);

/* A debugger's translation: no A/D updates, no faults recorded, no TLB fill.
 * False when not mapped. */
bool mmu_peek(struct mmu *m, uint64_t vaddr, uint64_t *paddr);

/* A host pointer for `len` bytes inside one page, or NULL when the access
 * faults, hits MMIO or is not directly allowed: the caller then goes the exact
 * way. For bulk string operations. Valid until the next call of the MMU or of
 * phys_*(); a caller that needs one to read and one to write takes the latter
 * last. */
void *mmu_host_pointer(struct mmu *m, uint64_t vaddr, unsigned len,
                       unsigned how);

#endif
