#include "replay/mappings.h"

#include "base/bytes.h"
#include "cpu/cpu.h"
#include "replay/gdb_target.h"

/* How the tables are read (SDM vol. 3A ch. 4). */
struct paging {
    const char *name;
    unsigned levels;
    unsigned entry_bytes, index_bits;
    uint64_t root;
};

static struct paging paging_of(const struct cpu *c)
{
    if (!(c->cr0 & CR0_PG))
        return (struct paging){"off", 0, 0, 0, 0};
    if (cpu_is_long(c))
        return (struct paging){"4-level", 4, 8, 9, c->cr3 & 0x000ffffffffff000};
    if (c->cr4 & CR4_PAE)
        return (struct paging){"PAE", 3, 8, 9, c->cr3 & 0xffffffe0};
    return (struct paging){"32-bit", 2, 4, 10, c->cr3 & 0xfffff000};
}

const char *mappings_mode(struct machine *m, uint64_t *root)
{
    struct paging p = paging_of(machine_cpu(m));
    *root = p.root;
    return p.name;
}

enum {
    ENTRY_P = 1,
    ENTRY_W = 2,
    ENTRY_U = 4,
    ENTRY_PS = 0x80,
    RIGHT_NX = 8 /* beside ENTRY_W and ENTRY_U */
};

struct walk {
    struct machine *m;
    mapping_fn *fn;
    void *context;
    struct paging paging;
    bool has_pse, is_over;
    uint64_t vaddr, paddr, bytes; /* of the run; bytes 0: none */
    unsigned rights;
};

static void end_run(struct walk *w)
{
    const struct mapping run = {.vaddr = w->vaddr,
                                .paddr = w->paddr,
                                .bytes = w->bytes,
                                .is_user = (w->rights & ENTRY_U) != 0,
                                .is_writable = (w->rights & ENTRY_W) != 0,
                                .is_executable = !(w->rights & RIGHT_NX)};
    if (w->bytes && !w->is_over)
        w->is_over = !w->fn(w->context, &run);
    w->bytes = 0;
}

static void add_page(struct walk *w, uint64_t vaddr, uint64_t paddr,
                     uint64_t bytes, unsigned rights)
{
    if (w->bytes && w->vaddr + w->bytes == vaddr &&
        w->paddr + w->bytes == paddr && w->rights == rights) {
        w->bytes += bytes;
        return;
    }
    end_run(w);
    w->vaddr = vaddr;
    w->paddr = paddr;
    w->bytes = bytes;
    w->rights = rights;
}

/* Rights of an entry under those of the levels above. */
static unsigned rights_of(const struct paging *p, unsigned level,
                          uint64_t entry, unsigned above)
{
    if (p->levels == 3 && level == 3)
        return above; /* PDPTEs of PAE have none */
    unsigned rights = above & (unsigned)entry & (ENTRY_W | ENTRY_U);
    bool is_nx = (above & RIGHT_NX) || entry >> 63;
    return rights | (is_nx ? RIGHT_NX : 0);
}

static unsigned shift_of(const struct paging *p, unsigned level)
{
    return 12 + p->index_bits * (level - 1);
}

static void walk_table(struct walk *w, unsigned level, uint64_t table,
                       uint64_t vaddr, unsigned above);

static void walk_entry(struct walk *w, unsigned level, uint64_t entry,
                       uint64_t vaddr, unsigned above)
{
    const struct paging *p = &w->paging;
    unsigned shift = shift_of(p, level);
    unsigned rights = rights_of(p, level, entry, above);
    bool may_be_large = level == 2 || (level == 3 && p->levels == 4);
    bool is_large = may_be_large && (entry & ENTRY_PS) && w->has_pse;
    uint64_t address =
        entry & (p->entry_bytes == 4 ? UINT64_C(0xfffff000)
                                     : UINT64_C(0x000ffffffffff000));
    if (level != 1 && !is_large) {
        walk_table(w, level - 1, address, vaddr, rights);
        return;
    }
    uint64_t bytes = UINT64_C(1) << shift;
    if (is_large && p->entry_bytes == 4) /* PSE-36: SDM vol. 3A 4.3 */
        address = (entry & 0xffc00000) | (entry >> 13 & 0xff) << 32;
    add_page(w, vaddr, address & ~(bytes - 1), bytes, rights);
}

static void walk_table(struct walk *w, unsigned level, uint64_t table,
                       uint64_t vaddr, unsigned above)
{
    const struct paging *p = &w->paging;
    unsigned entries = p->levels == 3 && level == 3 ? 4 : 1u << p->index_bits;
    unsigned shift = shift_of(p, level);
    for (unsigned i = 0; i < entries && !w->is_over; i++) {
        uint8_t raw[8] = {0};
        uint64_t at = table + (uint64_t)i * p->entry_bytes;
        if (gdb_memory_read(w->m, true, at, raw, p->entry_bytes) !=
            p->entry_bytes)
            return;
        uint64_t entry = load_le64(raw);
        uint64_t next = vaddr | (uint64_t)i << shift;
        if (p->levels == 4 && level == 4 && i >= entries / 2)
            next |= UINT64_C(0xffff) << 48; /* canonical */
        if (entry & ENTRY_P)
            walk_entry(w, level, entry, next, above);
    }
}

void mappings_each(struct machine *m, mapping_fn *fn, void *context)
{
    const struct cpu *c = machine_cpu(m);
    struct walk w = {.m = m,
                     .fn = fn,
                     .context = context,
                     .paging = paging_of(c),
                     .has_pse = (c->cr4 & (CR4_PSE | CR4_PAE)) != 0};
    if (w.paging.levels)
        walk_table(&w, w.paging.levels, w.paging.root, 0, ENTRY_W | ENTRY_U);
    else
        add_page(&w, 0, 0, UINT64_C(1) << 32, ENTRY_W | ENTRY_U);
    end_run(&w);
}
