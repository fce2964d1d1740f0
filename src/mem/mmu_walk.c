/* The page walker (Intel SDM vol. 3A 4.3 32-bit paging, 4.4 PAE paging, 4.5
 * 4-level paging, 4.6 access rights, 4.7 page-fault exceptions, 4.8 accessed
 * and dirty flags). Physical addresses have 40 bits; 1 GiB pages do not exist,
 * so PS is reserved in a PDPTE. */
#include "mem/mmu_internal.h"

#include "base/bytes.h"

#define ENTRY_P       UINT64_C(1)
#define ENTRY_W       UINT64_C(2)
#define ENTRY_U       UINT64_C(4)
#define ENTRY_A       UINT64_C(0x20)
#define ENTRY_D       UINT64_C(0x40)
#define ENTRY_PS      UINT64_C(0x80)
#define ENTRY_NX      (UINT64_C(1) << 63)
#define ENTRY_ADDRESS UINT64_C(0x000000fffffff000)

/* Bits that must be 0 (SDM vol. 3A figures 4-4, 4-7 and 4-11). */
#define RESERVED_ADDRESS UINT64_C(0x000fff0000000000) /* 51:40 */
#define RESERVED_PAE     UINT64_C(0x7ff0000000000000) /* 62:52, PAE only */
#define RESERVED_2M      UINT64_C(0x00000000001fe000) /* 20:13 */
#define RESERVED_4M      UINT64_C(0x0000000000200000) /* bit 21 */

enum { ERROR_P = 1, ERROR_W = 2, ERROR_U = 4, ERROR_RSVD = 8, ERROR_I = 16 };

bool mmu_is_allowed(uint64_t config_bits, uint32_t rights, unsigned access,
                    bool is_user)
{
    if (is_user && !(rights & RIGHT_USER))
        return false;
    if (access == ACCESS_WRITE)
        return (rights & RIGHT_WRITE) ||
               (!is_user && !(config_bits & CONFIG_WP));
    if (access == ACCESS_FETCH)
        return !(rights & RIGHT_NX) && (is_user || !(rights & RIGHT_USER) ||
                                        !(config_bits & CONFIG_SMEP));
    return true;
}

static enum exc walk_fault(const struct mmu_config *config, struct walk *w,
                           uint32_t error)
{
    if (w->access == ACCESS_WRITE)
        error |= ERROR_W;
    if (w->is_user)
        error |= ERROR_U;
    if (w->access == ACCESS_FETCH &&
        (config->bits & (CONFIG_NXE | CONFIG_SMEP)))
        error |= ERROR_I;
    w->error = error;
    return EXC_PF;
}

/* One table entry where it lies. */
struct entry {
    uint64_t value;
    uint64_t paddr;
    struct phys_page from; /* what loads see */
};

static uint64_t entry_load(struct mmu *m, const struct walk *w,
                           const struct entry *e)
{
    uint64_t v = 0;
    if (e->from.host) {
        const uint8_t *at = e->from.host + e->paddr % PAGE_BYTES;
        return w->entry_bytes == 4 ? load_le32(at) : load_le64(at);
    }
    if (!w->is_peek || !e->from.mmio)
        phys_read(m->phys, e->paddr, &v, w->entry_bytes);
    return v;
}

static void entry_read(struct mmu *m, struct walk *w, unsigned level,
                       uint64_t paddr, struct entry *e)
{
    e->paddr = mmu_a20(m, paddr);
    phys_lookup(m->phys, e->paddr, PHYS_READ, &e->from);
    e->value = entry_load(m, w, e);
    if (e->from.host)
        w->step[w->steps++] = (struct walk_step){
            .frame = e->from.frame,
            .offset = (uint16_t)(e->paddr % PAGE_BYTES),
            .level = (uint8_t)level,
        };
    else if (e->from.mmio)
        w->is_cacheable = false; /* reading it again may have effects */
}

/* Set A or D as the walk uses the entry. Where the store does not reach the
 * bytes that were read, but something else, each access repeats it: then the
 * translation is not cached. */
static void entry_mark(struct mmu *m, struct walk *w, struct entry *e,
                       uint64_t flags)
{
    if (w->is_peek || (e->value & flags) == flags)
        return;
    struct phys_page to;
    uint64_t v = e->value | flags;
    phys_lookup(m->phys, e->paddr, PHYS_WRITE, &to);
    m->internal->is_walking = true;
    phys_write(m->phys, e->paddr, &v, w->entry_bytes);
    m->internal->is_walking = false;
    if (to.host != e->from.host && (to.host || to.mmio))
        w->is_cacheable = false;
    if (e->from.host)
        e->value = entry_load(m, w, e);
}

static unsigned index_bits(const struct walk *w)
{
    return w->entry_bytes == 4 ? 10 : 9;
}

static unsigned level_shift(const struct walk *w, unsigned level)
{
    return PAGE_SHIFT + (level - 1) * index_bits(w);
}

static bool is_leaf(const struct mmu_config *config, unsigned level,
                    uint64_t value)
{
    if (level == 1)
        return true;
    return level == 2 && (value & ENTRY_PS) && (config->bits & CONFIG_PSE);
}

static uint64_t reserved_bits(const struct mmu_config *config, unsigned level,
                              bool leaf)
{
    unsigned mode = config->bits & PAGING_MODE;
    if (mode == PAGING_2LEVEL)
        return level == 2 && leaf ? RESERVED_4M : 0;
    uint64_t reserved = RESERVED_ADDRESS;
    if (!(config->bits & CONFIG_NXE))
        reserved |= ENTRY_NX;
    if (mode == PAGING_PAE)
        reserved |= RESERVED_PAE;
    if (level >= 3)
        reserved |= ENTRY_PS;
    if (level == 2 && leaf)
        reserved |= RESERVED_2M;
    return reserved;
}

/* Start of the page that a leaf entry maps. */
static uint64_t leaf_address(const struct walk *w, unsigned level,
                             uint64_t value)
{
    if (level == 1)
        return value & ENTRY_ADDRESS;
    if (w->entry_bytes == 4) /* PSE-36: address bits 39:32 in 20:13 */
        return (value & 0xffc00000) | (value >> 13 & 0xff) << 32;
    return value & ENTRY_ADDRESS & ~UINT64_C(0x1fffff);
}

/* Where the walk begins: level of the first table, its address; false when a
 * PAE pointer is not present. */
static bool walk_start(const struct mmu_config *config, struct walk *w,
                       unsigned *level, uint64_t *table)
{
    *table = config->root;
    w->entry_bytes = 8;
    switch (config->bits & PAGING_MODE) {
    case PAGING_2LEVEL:
        w->entry_bytes = 4;
        *level = 2;
        return true;
    case PAGING_PAE:
        *level = 2;
        *table = config->pdpte[w->vaddr >> 30 & 3];
        if (!(*table & ENTRY_P))
            return false;
        *table &= ENTRY_ADDRESS;
        return true;
    default:
        *level = 4;
        return true;
    }
}

enum exc mmu_walk(struct mmu *m, const struct mmu_config *config,
                  struct walk *w)
{
    unsigned level;
    uint64_t table;
    struct entry e;
    uint32_t rights = RIGHT_USER | RIGHT_WRITE;
    w->steps = 0;
    w->is_cacheable = true;
    if (!walk_start(config, w, &level, &table))
        return walk_fault(config, w, 0);
    for (;; level--) {
        uint64_t index =
            w->vaddr >> level_shift(w, level) & ((1u << index_bits(w)) - 1);
        entry_read(m, w, level, table + index * w->entry_bytes, &e);
        if (!(e.value & ENTRY_P))
            return walk_fault(config, w, 0);
        bool leaf = is_leaf(config, level, e.value);
        if (e.value & reserved_bits(config, level, leaf))
            return walk_fault(config, w, ERROR_P | ERROR_RSVD);
        if (!(e.value & ENTRY_U))
            rights &= ~(uint32_t)RIGHT_USER;
        if (!(e.value & ENTRY_W))
            rights &= ~(uint32_t)RIGHT_WRITE;
        if (e.value & ENTRY_NX)
            rights |= RIGHT_NX;
        if (leaf)
            break;
        entry_mark(m, w, &e, ENTRY_A);
        table = e.value & ENTRY_ADDRESS;
    }
    if (!w->is_peek &&
        !mmu_is_allowed(config->bits, rights, w->access, w->is_user))
        return walk_fault(config, w, ERROR_P);
    entry_mark(m, w, &e,
               w->access == ACCESS_WRITE ? ENTRY_A | ENTRY_D : ENTRY_A);
    if (e.value & ENTRY_D)
        rights |= RIGHT_DIRTY;
    w->rights = rights;
    w->page_shift = (uint8_t)level_shift(w, level);
    w->paddr = leaf_address(w, level, e.value);
    return EXC_NONE;
}
