#include "analysis/guest_memory.h"

#include "base/bytes.h"
#include "cpu/cpu.h"
#include "mem/phys.h"

#include <string.h>

/* ---- a machine's
 * ---------------------------------------------------------------------- */

/* A guest_memory.page. */
static const uint8_t *machine_page(void *context, uint64_t paddr, bool touched)
{
    struct phys *phys = context;
    struct phys_page page;
    phys_lookup(phys, paddr, PHYS_READ, &page);
    if (!page.host ||
        (touched && !(phys_frame_flags(phys, page.frame) & FRAME_TOUCHED)))
        return NULL;
    return page.host;
}

void guest_memory_of(struct guest_memory *g, struct machine *m)
{
    const struct cpu *c = machine_cpu(m);
    bool is_long = cpu_is_long(c);
    const uint64_t pci_hole_end = UINT64_C(1) << 32;
    *g = (struct guest_memory){
        .page = machine_page,
        .context = machine_phys(m),
        .ram_end = pci_hole_end + machine_config(m)->mem_bytes,
        .mode = !(c->cr0 & CR0_PG)     ? PAGING_OFF
                : is_long              ? PAGING_LONG
                : (c->cr4 & CR4_PAE)   ? PAGING_PAE
                                       : PAGING_32,
        .has_pse = (c->cr4 & CR4_PSE) != 0,
        .cpu = {.cr3 = c->cr3,
                .rip = (c->ea_base[SEG_CS] + c->r[REG_RIP]) & c->linear_mask,
                .rsp = (c->ea_base[SEG_SS] + c->r[REG_RSP]) & c->linear_mask,
                .rbp = (c->ea_base[SEG_SS] + c->r[REG_RBP]) & c->linear_mask,
                .gs_base = c->seg[SEG_GS].base,
                .kernel_gs_base = c->kernel_gs_base,
                .fs_base = c->seg[SEG_FS].base,
                .gdt_base = c->gdtr.base,
                .idt_base = c->idtr.base,
                .syscall_entry = is_long ? c->lstar : c->sysenter_eip,
                .cpl = c->cpl,
                .is_long = is_long}};
}

unsigned guest_word(const struct guest_memory *g)
{
    return g->cpu.is_long ? 8 : 4;
}

/* ---- translation
 * ------------------------------------------------------------------ */

enum { ENTRY_P = 1, ENTRY_PS = 0x80 };
#define ENTRY_ADDRESS UINT64_C(0x000ffffffffff000)

static bool read_entry(const struct guest_memory *g, uint64_t paddr,
                       unsigned bytes, uint64_t *entry)
{
    const uint8_t *page = g->page(g->context, paddr & ~UINT64_C(0xfff), false);
    if (!page)
        return false;
    page += paddr & 0xfff;
    *entry = bytes == 8 ? load_le64(page) : load_le32(page);
    return (*entry & ENTRY_P) != 0;
}

static bool translate_32(const struct guest_memory *g, uint64_t root,
                         uint32_t vaddr, uint64_t *paddr)
{
    uint64_t entry;
    if (!read_entry(g, (root & 0xfffff000) + 4 * (vaddr >> 22), 4, &entry))
        return false;
    if ((entry & ENTRY_PS) && g->has_pse) {
        /* PSE-36: bits 20..13 are bits 39..32 of the address. */
        *paddr = (entry & 0xffc00000) | (entry & 0x1fe000) << 19 |
                 (vaddr & 0x3fffff);
        return true;
    }
    if (!read_entry(g, (entry & 0xfffff000) + 4 * (vaddr >> 12 & 0x3ff), 4,
                    &entry))
        return false;
    *paddr = (entry & 0xfffff000) | (vaddr & 0xfff);
    return true;
}

/* PAE and 4-level: tables of 512 entries of 8 bytes. */
static bool translate_64(const struct guest_memory *g, uint64_t root,
                         uint64_t vaddr, uint64_t *paddr)
{
    bool is_pae = g->mode == PAGING_PAE;
    uint64_t table = root & (is_pae ? UINT64_C(0xffffffe0) : ENTRY_ADDRESS);
    for (unsigned level = is_pae ? 3 : 4; level > 0; level--) {
        unsigned shift = 12 + 9 * (level - 1);
        uint64_t entry, offset = UINT64_C(1) << shift;
        unsigned index = vaddr >> shift & (is_pae && level == 3 ? 3 : 511);
        if (!read_entry(g, table + UINT64_C(8) * index, 8, &entry))
            return false;
        bool is_large = (entry & ENTRY_PS) &&
                        (level == 2 || (level == 3 && !is_pae));
        if (level == 1 || is_large) {
            *paddr = (entry & ENTRY_ADDRESS & ~(offset - 1)) |
                     (vaddr & (offset - 1));
            return true;
        }
        table = entry & ENTRY_ADDRESS;
    }
    return false;
}

bool guest_translate(const struct guest_memory *g, uint64_t root,
                     uint64_t vaddr, uint64_t *paddr)
{
    switch (g->mode) {
    case PAGING_OFF:
        *paddr = vaddr;
        return vaddr < UINT64_C(1) << 32;
    case PAGING_32:
        return vaddr <= UINT32_MAX &&
               translate_32(g, root, (uint32_t)vaddr, paddr);
    case PAGING_PAE:
        return vaddr <= UINT32_MAX && translate_64(g, root, vaddr, paddr);
    default:
        return (uint64_t)((int64_t)(vaddr << 16) >> 16) == vaddr &&
               translate_64(g, root, vaddr, paddr);
    }
}

/* ---- reading
 * ---------------------------------------------------------------------- */

size_t guest_read_physical(const struct guest_memory *g, uint64_t paddr,
                           void *out, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        uint64_t at = paddr + done;
        size_t n = 4096 - (at & 0xfff);
        const uint8_t *page =
            g->page(g->context, at & ~UINT64_C(0xfff), false);
        if (!page)
            break;
        n = n < bytes - done ? n : bytes - done;
        memcpy((uint8_t *)out + done, page + (at & 0xfff), n);
        done += n;
    }
    return done;
}

size_t guest_read(const struct guest_memory *g, uint64_t root, uint64_t vaddr,
                  void *out, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        uint64_t paddr, at = vaddr + done;
        size_t n = 4096 - (at & 0xfff);
        n = n < bytes - done ? n : bytes - done;
        if (at < vaddr || !guest_translate(g, root, at, &paddr) ||
            guest_read_physical(g, paddr, (uint8_t *)out + done, n) != n)
            break;
        done += n;
    }
    return done;
}

bool guest_read_all(const struct guest_memory *g, uint64_t root,
                    uint64_t vaddr, void *out, size_t bytes)
{
    return guest_read(g, root, vaddr, out, bytes) == bytes;
}

bool guest_read_u32(const struct guest_memory *g, uint64_t root,
                    uint64_t vaddr, uint32_t *value)
{
    uint8_t bytes[4];
    if (!guest_read_all(g, root, vaddr, bytes, 4))
        return false;
    *value = load_le32(bytes);
    return true;
}

bool guest_read_u64(const struct guest_memory *g, uint64_t root,
                    uint64_t vaddr, uint64_t *value)
{
    uint8_t bytes[8];
    if (!guest_read_all(g, root, vaddr, bytes, 8))
        return false;
    *value = load_le64(bytes);
    return true;
}

bool guest_read_word(const struct guest_memory *g, uint64_t root,
                     uint64_t vaddr, uint64_t *value)
{
    uint32_t low;
    if (guest_word(g) == 8)
        return guest_read_u64(g, root, vaddr, value);
    if (!guest_read_u32(g, root, vaddr, &low))
        return false;
    *value = low;
    return true;
}

bool guest_read_text(const struct guest_memory *g, uint64_t root,
                     uint64_t vaddr, char *out, size_t bytes)
{
    size_t n = guest_read(g, root, vaddr, out, bytes - 1);
    out[n] = 0;
    for (char *c = out; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    return n > 0;
}

/* One code point as UTF-8; surrogates are taken one by one, as '?'. */
static size_t put_utf8(uint16_t c, char *out)
{
    if (c < 0x20 || c == 0x7f || (c >= 0xd800 && c < 0xe000))
        c = '?';
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    out[0] = (char)(0xe0 | c >> 12);
    out[1] = (char)(0x80 | (c >> 6 & 0x3f));
    out[2] = (char)(0x80 | (c & 0x3f));
    return 3;
}

bool guest_read_utf16(const struct guest_memory *g, uint64_t root,
                      uint64_t vaddr, size_t utf16_bytes, char *out,
                      size_t bytes)
{
    uint8_t unit[2];
    size_t used = 0;
    out[0] = 0;
    for (size_t at = 0; at + 2 <= utf16_bytes && used + 4 <= bytes; at += 2) {
        if (!guest_read_all(g, root, vaddr + at, unit, 2))
            return at > 0;
        used += put_utf8(load_le16(unit), out + used);
        out[used] = 0;
    }
    return true;
}

/* ---- searching
 * ------------------------------------------------------------------------ */

enum { SEAM_MAX = 64 };

/* A match that starts in the last bytes of `page` and ends in the next. */
static const uint8_t *search_seam(const uint8_t *page, const uint8_t *next,
                                  const void *bytes, size_t count,
                                  uint8_t *seam)
{
    memcpy(seam, page + 4096 - (count - 1), count - 1);
    memcpy(seam + count - 1, next, count - 1);
    return memmem(seam, 2 * (count - 1), bytes, count);
}

uint64_t guest_search_physical(const struct guest_memory *g, uint64_t from,
                               uint64_t to, const void *bytes, size_t count)
{
    uint8_t seam[2 * SEAM_MAX];
    const uint8_t *previous = NULL;
    if (count < 1 || count > SEAM_MAX)
        return UINT64_MAX;
    to = to < g->ram_end ? to : g->ram_end;
    for (uint64_t at = from & ~UINT64_C(0xfff); at < to; at += 4096) {
        const uint8_t *hit, *page = g->page(g->context, at, true);
        if (page && previous && count > 1 &&
            (hit = search_seam(previous, page, bytes, count, seam))) {
            uint64_t found = at - (count - 1) + (uint64_t)(hit - seam);
            if (found >= from)
                return found;
        }
        const uint8_t *start = page;
        if (page && at < from)
            start = page + (from - at);
        if (page && (hit = memmem(start, (size_t)(page + 4096 - start), bytes,
                                  count)) &&
            at + (uint64_t)(hit - page) < to)
            return at + (uint64_t)(hit - page);
        previous = page;
    }
    return UINT64_MAX;
}
