/* Shared by mmu*.c only.
 *
 * Four layers answer a translation: the inline TLB arrays of a space, the
 * second-level TLB, the large-page TLB (all three: mmu_tlb.c), and the walker
 * (mmu_walk.c). What a cached translation was read from is kept by mmu_track.c,
 * which drops it when a store changes an entry that it used. */
#ifndef RELIVE_MEM_MMU_INTERNAL_H
#define RELIVE_MEM_MMU_INTERNAL_H

#include "mem/mmu.h"

enum {
    SPACES = 8, /* fits the masks of struct table_use */
    L2_SETS = 256,
    L2_WAYS = 4,
    LARGE_ENTRIES = 32,
    LARGE_SHIFT = 21, /* a 4 MiB page takes two entries */
    FETCH_BITS = 8192,
    WRITE_BUCKETS = 4096,
    INLINE_ENTRIES = (SPACES * 2 + 1) * TLB_ENTRIES, /* the last for the kernel */
    HELD_WORDS = TLB_ENTRIES / 64
};
#define INDEX_NONE UINT32_MAX
/* tlb_entry.spare: the frame, and whether the page may be written to, but by the
 * slow path alone, for the frame is watched. */
#define SPARE_WATCHED (UINT64_C(1) << 32)
_Static_assert(HELD_WORDS == 64, "a bit of tlb_array.parts for each word");

/* How linear addresses are translated, in bits of mmu_config.bits. Settings
 * without meaning in a mode are 0 there, so that equal means equivalent. */
enum {
    PAGING_OFF = 0,
    PAGING_2LEVEL = 1,
    PAGING_PAE = 2,
    PAGING_4LEVEL = 3,
    PAGING_MODE = 3,
    CONFIG_PSE = 4,
    CONFIG_WP = 8,
    CONFIG_SMEP = 16,
    CONFIG_NXE = 32
};
struct mmu_config {
    uint64_t bits;
    uint64_t root;     /* of the top table; 0 with PAE */
    uint64_t pdpte[4]; /* PAE */
};

/* What a translation allows, over all levels; DIRTY as the leaf entry says.
 * SAME: stores reach the frame that loads come from. */
enum {
    RIGHT_USER = 1,
    RIGHT_WRITE = 2,
    RIGHT_NX = 4,
    RIGHT_DIRTY = 8,
    RIGHT_SAME = 16
};

/* One translated page. host and frame: what loads see; NULL: no memory. */
struct mmu_page {
    uint64_t paddr; /* of the page, A20 applied */
    uint8_t *host;
    uint32_t frame;
    uint32_t rights;
    bool is_cacheable;
};

struct l2_entry {
    uint64_t tag; /* page number << 3 | space; TLB_NONE */
    uint64_t paddr;
    uint8_t *host;
    uint32_t frame;
    uint32_t rights;
};

/* Inline entries of one view, and bits for those that may hold something. */
struct tlb_array {
    struct tlb_entry *entries; /* borrowed from mmu_internal.entries */
    uint64_t parts;            /* words of held that may not be 0 */
    uint64_t held[HELD_WORDS];
};

/* One address space. The second index is 1 for user accesses. */
struct space {
    struct mmu_config config;
    struct tlb_array own[2];
    struct tlb_array *tlb[2]; /* own; that of the kernel half in [0] of a space
                                 that shares, whose own is empty then */
    uint64_t key[2];          /* values of mmu.space_key */
    uint64_t stamp;           /* of its last activation; 0: never used */
    uint64_t fetched[FETCH_BITS / 64]; /* pages fetched from since the keys
                                          changed, hashed */
    bool shares; /* key[0], tlb[0] are those of the kernel half: mmu_share.c */
    bool may_share; /* trying to is worth while */
};

/* The upper half of 4-level spaces that have it in common. */
struct kernel_half {
    bool is_live;
    uint64_t bits;      /* of their config */
    uint64_t root[256]; /* their top tables' entries */
    uint64_t key;       /* of supervisor fetches */
    uint64_t fetched[FETCH_BITS / 64];
    struct tlb_array tlb; /* of supervisor accesses; empty while not live */
    uint64_t lower[HELD_WORDS]; /* entries that may be for lower addresses: */
    const struct space *owner;  /* translations of this space, or NULL */
};

/* ---- the walker */

struct walk_step {
    uint32_t frame;
    uint16_t offset; /* of the entry in the frame */
    uint8_t level;   /* 1: page table */
};
struct walk {
    uint64_t vaddr;
    unsigned access; /* ACCESS_READ, _WRITE or _FETCH */
    bool is_user;
    bool is_peek;      /* change nothing, check no rights */
    bool is_cacheable; /* out: repeating the walk would do nothing new */
    uint8_t entry_bytes;
    uint8_t page_shift; /* out: 12, 21 or 22 */
    uint8_t steps;
    struct walk_step step[4];
    uint64_t paddr; /* out: of the whole page */
    uint32_t rights;
    uint32_t error; /* out: of a page fault */
};

/* ---- page-table frames under cached translations */

enum {
    TABLES_MAX = 16384,
    TABLE_BUCKETS = 16384,
    TABLE_USES = 4,
    /* Stores to unused entries after which a frame is assumed to be a page
     * table no longer: filling one by hand takes at most so many. */
    TABLE_NOISE_MAX = 512
};
/* The frame serves as a table of `level` for linear addresses from `base`. */
struct table_use {
    uint64_t base;
    uint8_t level;
    uint8_t spaces; /* bit mask */
};
struct table {
    uint32_t frame;
    uint32_t next; /* in its bucket or in the free list; TABLE_NONE */
    uint16_t used_entries;
    uint16_t noise;
    uint8_t entry_bytes; /* 0: free */
    uint8_t uses;
    uint8_t sharers; /* spaces whose top table it is and that share the kernel
                        half: any store to the upper half parts them */
    bool is_overflown; /* more uses than fit: every change drops all */
    struct table_use use[TABLE_USES];
    uint64_t used[16]; /* by entry number */
};
#define TABLE_NONE UINT32_MAX

struct entry_link {
    uint32_t next, before; /* INDEX_NONE at the ends */
};

struct mmu_internal {
    struct space *space; /* the current one */
    bool is_checked;
    bool is_walking; /* stores come from the walker */
    unsigned limit;  /* mmu_limit_entries() */
    unsigned ring_at;
    uint32_t ring[TLB_ENTRIES]; /* the last `limit` entries filled */
    uint64_t stamp;
    uint64_t last_key;
    struct space spaces[SPACES];
    struct kernel_half kernel;
    struct tlb_entry *entries; /* owned: all arrays, then an empty one */
    /* Inline entries with a write tag, in lists by frame. */
    uint32_t write_head[WRITE_BUCKETS];
    struct entry_link write_link[INLINE_ENTRIES];
    struct l2_entry l2[L2_SETS][L2_WAYS];
    uint8_t l2_victim[L2_SETS];
    struct l2_entry large[LARGE_ENTRIES];
    unsigned large_victim;
    struct table *tables; /* owned: TABLES_MAX */
    uint32_t tables_high; /* those never used lie from here */
    uint32_t table_free;  /* list */
    uint32_t table_head[TABLE_BUCKETS];
    const struct mmu_watch *watches; /* borrowed, as the two below */
    unsigned watch_count;
    mmu_watch_fn *watch_fn;
    void *watch_context;
    mmu_observe_fn *observe_fn; /* borrowed with its context */
    void *observe_context;
    bool is_told; /* there is a watch or an observer */
};

/* mmu_watch.c */

/* Does a watch for this kind of access lie in these bytes? */
bool mmu_is_watched(const struct mmu *m, uint64_t vaddr, uint64_t bytes,
                    bool is_write);
/* Tell the observers of an access; how: as mmu_read() has it. */
void mmu_watch_report(struct mmu *m, uint64_t vaddr, unsigned bytes,
                      unsigned how, const void *data);

/* mmu.c */

/* Make what the CPU sees that of the current space. */
void mmu_show(struct mmu *m);

/* mmu_tlb.c */

/* Empty everything, forget all page tables, give all spaces new keys. */
void mmu_tlb_reset(struct mmu *m);
/* Empty one array; of the kernel half's, the lower addresses alone. */
void mmu_tlb_empty(struct mmu_internal *in, struct tlb_array *a);
void mmu_tlb_drop_lower(struct mmu_internal *in);
/* Empty one space and give it new keys. */
void mmu_tlb_reset_space(struct mmu *m, struct space *s);
/* Drop one 4 KiB translation from the spaces in the mask. */
void mmu_tlb_drop_page(struct mmu *m, unsigned spaces, uint64_t vaddr);
/* Drop all in the 2^shift bytes around vaddr. */
void mmu_tlb_drop_range(struct mmu *m, unsigned spaces, uint64_t vaddr,
                        unsigned shift);
/* A phys_drop_fn. */
void mmu_tlb_on_drop(void *context, uint32_t frame);
/* The second level and the large pages. */
bool mmu_tlb_find(struct mmu *m, uint64_t vaddr, struct mmu_page *page);
void mmu_tlb_insert(struct mmu *m, uint64_t vaddr, const struct walk *w,
                    const struct mmu_page *page);
/* Enter a page into the inline TLB after an allowed access. */
void mmu_tlb_fill(struct mmu *m, bool is_user, uint64_t vaddr,
                  const struct mmu_page *page, bool is_write);
/* Remember that code was fetched from the page of vaddr. */
void mmu_tlb_note_fetch(struct mmu *m, uint64_t vaddr);
/* Where a page is in a set of pages fetched from. */
unsigned mmu_fetch_hash(uint64_t vaddr);
/* Was something fetched from the 2^shift bytes around vaddr? */
bool mmu_was_fetched(const uint64_t set[FETCH_BITS / 64], uint64_t vaddr,
                     unsigned shift);
/* What memory is at page->paddr: sets host, frame and RIGHT_SAME. */
void mmu_page_find_memory(struct mmu *m, struct mmu_page *page);

/* mmu_share.c */

static inline bool mmu_is_upper(uint64_t vaddr)
{
    return vaddr >> 63;
}

/* A space that is being switched to takes part in the kernel half if it can. */
void mmu_share_join(struct mmu *m, struct space *s);
/* The current space has changed. */
void mmu_share_switched(struct mmu *m);
/* It has entries and a key of its own again; with mmu_share_part() the latter is
 * for the caller to give. */
void mmu_share_part(struct mmu_internal *in, struct space *s);
void mmu_share_leave_all(struct mmu *m, unsigned spaces); /* of a bit mask */
/* Nobody shares. */
void mmu_share_dissolve(struct mmu *m);
/* Tables below the top one changed for the 2^shift bytes around vaddr. */
void mmu_share_drop(struct mmu *m, uint64_t vaddr, unsigned shift);
/* A supervisor fetch in the current space, which shares. */
void mmu_share_note_fetch(struct mmu *m, uint64_t vaddr);

/* mmu_walk.c */

/* EXC_NONE, or EXC_PF with w->error set. */
enum exc mmu_walk(struct mmu *m, const struct mmu_config *config,
                  struct walk *w);
/* Would an access with these rights be allowed? */
bool mmu_is_allowed(uint64_t config_bits, uint32_t rights, unsigned access,
                    bool is_user);

/* mmu_track.c */

/* Remember what a walk read, for the current space. */
void mmu_track(struct mmu *m, const struct walk *w);
void mmu_track_reset(struct mmu *m);
/* Watch the upper half of a top table for one space. False: not possible. */
bool mmu_track_root(struct mmu *m, uint32_t frame, const struct space *s);
/* A phys_watch_fn. */
void mmu_track_store(void *context, uint32_t frame, uint32_t offset,
                     uint32_t bytes, const void *old);

static inline uint64_t mmu_a20(const struct mmu *m, uint64_t paddr)
{
    return phys_a20(m->phys) ? paddr : paddr & ~(UINT64_C(1) << 20);
}

#endif
