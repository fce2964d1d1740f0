/* Accesses by physical address: the CPU's, and the devices' DMA. */
#include "mem/phys.h"

#include "base/bytes.h"
#include "mem/phys_internal.h"

#include <string.h>

static size_t in_page(uint64_t paddr, size_t bytes)
{
    size_t room = PAGE_BYTES - (size_t)(paddr % PAGE_BYTES);
    return bytes < room ? bytes : room;
}

/* The largest naturally aligned piece at `paddr`. */
static unsigned mmio_piece(uint64_t paddr, size_t bytes)
{
    unsigned piece = 8;
    while (piece > bytes || paddr % piece)
        piece /= 2;
    return piece;
}

/* Host time now, for phys_counts.mmio_ns; 0: not timed. */
static uint64_t work_begins(const struct phys *p)
{
    return p->now_ns ? p->now_ns(p->now_context) : 0;
}

static void work_ends(struct phys *p, uint64_t begun)
{
    if (p->now_ns)
        p->counts.mmio_ns += p->now_ns(p->now_context) - begun;
}

static void mmio_read(struct phys *p, const struct phys_page *page,
                      uint64_t paddr, uint8_t *out, size_t bytes)
{
    while (bytes) {
        unsigned piece = mmio_piece(paddr, bytes);
        uint64_t offset = page->mmio_offset + paddr % PAGE_BYTES;
        uint64_t begun = work_begins(p);
        uint64_t v = page->mmio->read(page->device, offset, piece);
        work_ends(p, begun);
        p->counts.mmio_reads++;
        memcpy(out, &v, piece);
        if (p->mmio_spy)
            p->mmio_spy(p->mmio_spy_context, paddr, piece, false, v);
        out += piece;
        paddr += piece;
        bytes -= piece;
    }
}

static void mmio_write(struct phys *p, const struct phys_page *page,
                       uint64_t paddr, const uint8_t *in, size_t bytes)
{
    while (bytes) {
        unsigned piece = mmio_piece(paddr, bytes);
        uint64_t offset = page->mmio_offset + paddr % PAGE_BYTES;
        uint64_t v = 0;
        memcpy(&v, in, piece);
        if (p->mmio_spy)
            p->mmio_spy(p->mmio_spy_context, paddr, piece, true, v);
        uint64_t begun = work_begins(p);
        page->mmio->write(page->device, offset, v, piece);
        work_ends(p, begun);
        p->counts.mmio_writes++;
        in += piece;
        paddr += piece;
        bytes -= piece;
    }
}

static void read_page(struct phys *p, uint64_t paddr, uint8_t *out,
                      size_t bytes, bool is_dma)
{
    struct phys_page page;
    phys_lookup(p, paddr, PHYS_READ, &page);
    if (page.host)
        memcpy(out, page.host + paddr % PAGE_BYTES, bytes);
    else if (page.mmio && page.mmio->read && !is_dma)
        mmio_read(p, &page, paddr, out, bytes);
    else
        memset(out, 0xff, bytes);
}

static void write_page(struct phys *p, uint64_t paddr, const uint8_t *in,
                       size_t bytes, bool is_dma)
{
    struct phys_page page;
    phys_lookup(p, paddr, PHYS_WRITE, &page);
    if (page.host && !(p->flags[page.frame] & FRAME_ROM))
        phys_store(p, page.frame, (uint32_t)(paddr % PAGE_BYTES), in,
                   (uint32_t)bytes);
    else if (page.mmio && page.mmio->write && !is_dma)
        mmio_write(p, &page, paddr, in, bytes);
}

void phys_read(struct phys *p, uint64_t paddr, void *out, size_t bytes)
{
    for (uint8_t *at = out; bytes;) {
        size_t n = in_page(paddr, bytes);
        read_page(p, paddr & p->a20_mask, at, n, false);
        at += n;
        paddr += n;
        bytes -= n;
    }
}

void phys_write(struct phys *p, uint64_t paddr, const void *in, size_t bytes)
{
    for (const uint8_t *at = in; bytes;) {
        size_t n = in_page(paddr, bytes);
        write_page(p, paddr & p->a20_mask, at, n, false);
        at += n;
        paddr += n;
        bytes -= n;
    }
}

void phys_dma_read(struct phys *p, uint64_t paddr, void *out, size_t bytes)
{
    for (uint8_t *at = out; bytes;) {
        size_t n = in_page(paddr, bytes);
        read_page(p, paddr, at, n, true);
        at += n;
        paddr += n;
        bytes -= n;
    }
}

void phys_dma_write(struct phys *p, uint64_t paddr, const void *in,
                    size_t bytes)
{
    p->is_dma = true;
    for (const uint8_t *at = in; bytes;) {
        size_t n = in_page(paddr, bytes);
        write_page(p, paddr, at, n, true);
        at += n;
        paddr += n;
        bytes -= n;
    }
    p->is_dma = false;
}
