/* Windows crash dumps of all memory: DUMP_HEADER32 and DUMP_HEADER64, then the
 * pages of each run. Field offsets and values: ntiodump.h and wdbgexts.h of
 * the Windows kits, wdm.h for CONTEXT. */
#include "analysis/export.h"
#include "analysis/export_internal.h"
#include "analysis/windows_kernel.h"

#include "base/bytes.h"
#include "cpu/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADER_32_BYTES = 0x1000,
    HEADER_64_BYTES = 0x2000,
    RUNS_32_MAX = (700 - 8) / 8, /* what the header has room for */
    RUNS_64_MAX = (700 - 16) / 16,
    CONTEXT_32_BYTES = 0x2cc,
    CONTEXT_64_BYTES = 0x4d0,
    CONTEXT_32_ALL = 0x1003f, /* ContextFlags */
    CONTEXT_64_ALL = 0x10001f,
    DUMP_TYPE_FULL = 1,
    LIVE_SYSTEM_DUMP = 0x161,
    STATUS_BREAKPOINT = 0x80000003u
};

/* KUSER_SHARED_DATA. */
enum {
    SHARED_UPTIME = 0x8, /* InterruptTime: low, high, in 100 ns */
    SHARED_TIME = 0x14,  /* SystemTime */
    SHARED_PRODUCT = 0x264,
    SHARED_SUITE = 0x2d0,
    SHARED_BYTES = 0x2e0
};

struct run {
    uint64_t page, count;
};

struct dump {
    struct machine *m;
    bool is_64, has_kernel;
    struct windows_kernel kernel; /* only when has_kernel */
    struct bugcheck bugcheck;
    uint8_t context[CONTEXT_64_BYTES];
    unsigned context_bytes;
    bool patches; /* the context is written over the PRCB's in the file */
    uint8_t shared[SHARED_BYTES];
    struct run run[RUNS_32_MAX];
    unsigned runs, runs_max;
    uint64_t pages;
};

/* ---- the context
 * -------------------------------------------------------------- */

/* FXSAVE's image (SDM vol. 1 10.5.1): the same in both contexts, but for how
 * many XMM registers there are. */
static void put_fxsave(const struct cpu *c, unsigned xmms, uint8_t *out)
{
    const struct x87 *x = &c->x87;
    store_le16(out, x->control);
    store_le16(out + 2, (uint16_t)((x->status & ~0x3800u) | x->top << 11));
    out[4] = x->valid;
    store_le16(out + 6, x->opcode);
    store_le32(out + 8, (uint32_t)x->ip);
    store_le16(out + 12, x->cs);
    store_le32(out + 16, (uint32_t)x->dp);
    store_le16(out + 20, x->ds);
    store_le32(out + 24, c->mxcsr);
    store_le32(out + 28, 0xffff);
    for (unsigned i = 0; i < 8; i++) {
        store_le64(out + 32 + 16 * i, x->mantissa[(x->top + i) & 7]);
        store_le16(out + 40 + 16 * i, x->exponent[(x->top + i) & 7]);
    }
    for (unsigned i = 0; i < xmms; i++)
        memcpy(out + 160 + 16 * i, c->xmm[i].u8, 16);
}

static void put_selectors(const struct cpu *c, const enum seg *order,
                          unsigned count, unsigned bytes, uint8_t *out)
{
    for (unsigned i = 0; i < count; i++)
        store_le16(out + bytes * i, c->seg[order[i]].selector);
}

static void context_64(const struct cpu *c, uint8_t *out)
{
    static const enum seg order[] = {SEG_CS, SEG_DS, SEG_ES,
                                     SEG_FS, SEG_GS, SEG_SS};
    static const uint8_t debug[] = {0, 1, 2, 3, 6, 7};
    store_le32(out + 0x30, CONTEXT_64_ALL);
    store_le32(out + 0x34, c->mxcsr);
    put_selectors(c, order, 6, 2, out + 0x38);
    store_le32(out + 0x44, cpu_rflags(c));
    for (unsigned i = 0; i < sizeof debug; i++)
        store_le64(out + 0x48 + 8 * i, c->dr[debug[i]]);
    for (unsigned i = 0; i < 16; i++)
        store_le64(out + 0x78 + 8 * i, c->r[i]);
    store_le64(out + 0xf8, c->r[REG_RIP]);
    put_fxsave(c, 16, out + 0x100);
}

/* FNSAVE's 32-bit form (SDM vol. 1 8.1.10), its registers packed. */
static void put_fnsave(const struct cpu *c, uint8_t *out)
{
    const struct x87 *x = &c->x87;
    unsigned tags = 0;
    for (unsigned i = 0; i < 8; i++)
        if (!(x->valid >> i & 1))
            tags |= 3u << 2 * i;
    store_le32(out, 0xffff0000u | x->control);
    store_le32(out + 4,
               0xffff0000u | (x->status & ~0x3800u) | (uint32_t)x->top << 11);
    store_le32(out + 8, 0xffff0000u | tags);
    store_le32(out + 12, (uint32_t)x->ip);
    store_le32(out + 16, (uint32_t)x->opcode << 16 | x->cs);
    store_le32(out + 20, (uint32_t)x->dp);
    store_le32(out + 24, 0xffff0000u | x->ds);
    for (unsigned i = 0; i < 8; i++) {
        store_le64(out + 28 + 10 * i, x->mantissa[(x->top + i) & 7]);
        store_le16(out + 36 + 10 * i, x->exponent[(x->top + i) & 7]);
    }
}

static void context_32(const struct cpu *c, uint8_t *out)
{
    static const enum seg data[] = {SEG_GS, SEG_FS, SEG_ES, SEG_DS};
    static const enum seg code = SEG_CS, stack = SEG_SS;
    static const uint8_t debug[] = {0, 1, 2, 3, 6, 7};
    static const uint8_t order[] = {REG_RDI, REG_RSI, REG_RBX, REG_RDX,
                                    REG_RCX, REG_RAX, REG_RBP, REG_RIP};
    store_le32(out, CONTEXT_32_ALL);
    for (unsigned i = 0; i < sizeof debug; i++)
        store_le32(out + 4 + 4 * i, (uint32_t)c->dr[debug[i]]);
    put_fnsave(c, out + 0x1c);
    put_selectors(c, data, 4, 4, out + 0x8c);
    for (unsigned i = 0; i < sizeof order; i++)
        store_le32(out + 0x9c + 4 * i, (uint32_t)c->r[order[i]]);
    put_selectors(c, &code, 1, 4, out + 0xbc);
    store_le32(out + 0xc0, cpu_rflags(c));
    store_le32(out + 0xc4, (uint32_t)c->r[REG_RSP]);
    put_selectors(c, &stack, 1, 4, out + 0xc8);
    put_fxsave(c, 8, out + 0xcc);
}

/* Once the kernel has given up, the context that it kept tells why: it is taken
 * from the PRCB. Before, the CPU's registers are written there too, for that is
 * where a debugger looks. */
static void take_context(struct dump *d)
{
    const struct cpu *c = machine_cpu(d->m);
    bool is_kept = d->has_kernel && d->kernel.context &&
                   windows_bugcheck(&d->kernel, &d->bugcheck) &&
                   windows_read(&d->kernel, d->kernel.context, d->context,
                                d->context_bytes);
    if (is_kept && (load_le32(d->context + (d->is_64 ? 0x30 : 0)) &
                    (d->is_64 ? 0x100003u : 0x10003u)))
        return;
    memset(d->context, 0, sizeof d->context);
    if (d->is_64)
        context_64(c, d->context);
    else
        context_32(c, d->context);
    d->patches = d->has_kernel && d->kernel.context;
    if (d->bugcheck.code == 0)
        d->bugcheck.code = LIVE_SYSTEM_DUMP;
}

/* ---- physical memory
 * ---------------------------------------------------------- */

static bool add_run(struct dump *d, uint64_t page, uint64_t count)
{
    struct run *last = d->runs ? &d->run[d->runs - 1] : NULL;
    if (last && last->page + last->count == page)
        last->count += count;
    else if (d->runs == d->runs_max)
        return false;
    else
        d->run[d->runs++] = (struct run){page, count};
    d->pages += count;
    return true;
}

/* MmPhysicalMemoryBlock: count of runs, of pages, then the runs, in words. Only
 * RAM that is there, in ascending order, is believed. */
static bool take_guest_runs(struct dump *d)
{
    const struct windows_kernel *w = &d->kernel;
    unsigned word = d->is_64 ? 8 : 4;
    uint64_t at = w->memory_block, count, end = 0;
    if (!d->has_kernel || !at || !windows_read_word(w, at, &count))
        return false;
    count &= UINT32_MAX;
    for (uint64_t n = 0; n < count && count <= d->runs_max; n++) {
        uint64_t page, pages, place = at + word * (2 + 2 * n);
        if (!windows_read_word(w, place, &page) ||
            !windows_read_word(w, place + word, &pages) || page < end ||
            pages == 0 || pages > (UINT64_C(1) << 40) ||
            !export_is_ram(d->m, page * PAGE_BYTES) ||
            !export_is_ram(d->m, (page + pages - 1) * PAGE_BYTES))
            break;
        end = page + pages;
        (void)add_run(d, page, pages);
    }
    if (count && d->runs == count)
        return true;
    d->runs = 0;
    d->pages = 0;
    return false;
}

static bool take_machine_runs(struct dump *d, const char *path,
                              struct error *err)
{
    uint64_t end = export_ram_end(d->m) / PAGE_BYTES;
    for (uint64_t page = 0; page < end; page++)
        if (export_is_ram(d->m, page * PAGE_BYTES) && !add_run(d, page, 1))
            return error_set(err, ERR_INPUT,
                             "%s: RAM is in more than %u pieces, which is what "
                             "a dump has room for",
                             path, d->runs_max);
    return true;
}

/* ---- headers
 * ------------------------------------------------------------------ */

static uint64_t shared_time(const struct dump *d, unsigned at)
{
    return load_le64(d->shared + at);
}

static void fill_64(const struct dump *d, uint8_t *h)
{
    const struct windows_kernel *w = &d->kernel;
    memcpy(h, "PAGEDU64", 8);
    store_le64(h + 0x10, machine_cpu(d->m)->cr3);
    store_le64(h + 0x18, w->pfn_database);
    store_le64(h + 0x20, w->modules);
    store_le64(h + 0x28, w->processes);
    store_le32(h + 0x30, PE_AMD64);
    store_le32(h + 0x34, 1);
    store_le32(h + 0x38, d->bugcheck.code);
    for (unsigned i = 0; i < 4; i++)
        store_le64(h + 0x40 + 8 * i, d->bugcheck.parameter[i]);
    store_le64(h + 0x80, w->debugger_block);
    store_le32(h + 0x88, d->runs);
    store_le64(h + 0x90, d->pages);
    for (unsigned i = 0; i < d->runs; i++) {
        store_le64(h + 0x98 + 16 * i, d->run[i].page);
        store_le64(h + 0xa0 + 16 * i, d->run[i].count);
    }
    memcpy(h + 0x348, d->context, CONTEXT_64_BYTES);
    store_le32(h + 0xf00, STATUS_BREAKPOINT);
    store_le64(h + 0xf10, load_le64(d->context + 0xf8));
    store_le32(h + 0xf98, DUMP_TYPE_FULL);
    store_le64(h + 0xfa0, HEADER_64_BYTES + d->pages * PAGE_BYTES);
    store_le64(h + 0xfa8, shared_time(d, SHARED_TIME));
    store_le64(h + 0x1030, shared_time(d, SHARED_UPTIME));
    store_le32(h + 0x1040, load_le32(d->shared + SHARED_PRODUCT));
    store_le32(h + 0x1044, load_le32(d->shared + SHARED_SUITE));
}

static void fill_32(const struct dump *d, uint8_t *h)
{
    const struct windows_kernel *w = &d->kernel;
    const struct cpu *c = machine_cpu(d->m);
    memcpy(h, "PAGEDUMP", 8);
    store_le32(h + 0x10, (uint32_t)c->cr3);
    store_le32(h + 0x14, (uint32_t)w->pfn_database);
    store_le32(h + 0x18, (uint32_t)w->modules);
    store_le32(h + 0x1c, (uint32_t)w->processes);
    store_le32(h + 0x20, PE_I386);
    store_le32(h + 0x24, 1);
    store_le32(h + 0x28, d->bugcheck.code);
    for (unsigned i = 0; i < 4; i++)
        store_le32(h + 0x2c + 4 * i, (uint32_t)d->bugcheck.parameter[i]);
    h[0x5c] = (c->cr4 & CR4_PAE) != 0;
    store_le32(h + 0x60, (uint32_t)w->debugger_block);
    store_le32(h + 0x64, d->runs);
    store_le32(h + 0x68, (uint32_t)d->pages);
    for (unsigned i = 0; i < d->runs; i++) {
        store_le32(h + 0x6c + 8 * i, (uint32_t)d->run[i].page);
        store_le32(h + 0x70 + 8 * i, (uint32_t)d->run[i].count);
    }
    memcpy(h + 0x320, d->context, CONTEXT_32_BYTES);
    store_le32(h + 0x7d0, STATUS_BREAKPOINT);
    store_le32(h + 0x7dc, load_le32(d->context + 0xb8));
    store_le32(h + 0xf88, DUMP_TYPE_FULL);
    store_le32(h + 0xf94, load_le32(d->shared + SHARED_PRODUCT));
    store_le32(h + 0xf98, load_le32(d->shared + SHARED_SUITE));
    store_le64(h + 0xfa0, HEADER_32_BYTES + d->pages * PAGE_BYTES);
    store_le64(h + 0xfb8, shared_time(d, SHARED_UPTIME));
    store_le64(h + 0xfc0, shared_time(d, SHARED_TIME));
}

/* What nobody fills says "PAGE", as Windows does it. */
static void make_header(const struct dump *d, uint8_t *h, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i += 4)
        memcpy(h + i, "PAGE", 4);
    memset(h + (d->is_64 ? 0x348 : 0x320), 0, d->is_64 ? 3000 : 1200);
    memset(h + (d->is_64 ? 0xf00 : 0x7d0), 0, d->is_64 ? 0x98 : 0x50);
    memset(h + (d->is_64 ? 0x60 : 0x3c), 0, 32); /* VersionUser */
    store_le32(h + 0x8, d->kernel.is_checked ? 0xc : 0xf);
    store_le32(h + 0xc, d->kernel.build);
    if (d->is_64)
        fill_64(d, h);
    else
        fill_32(d, h);
}

/* ---- the file
 * ----------------------------------------------------------------- */

/* Lay the context over a page that holds a part of the PRCB's. */
static void patch(const struct dump *d, uint64_t paddr, uint8_t *page)
{
    struct cpu *c = machine_cpu(d->m);
    unsigned n;
    for (unsigned at = 0; at < d->context_bytes; at += n) {
        uint64_t vaddr = d->kernel.context + at, is_at;
        unsigned offset = vaddr % PAGE_BYTES;
        n = PAGE_BYTES - offset;
        if (n > d->context_bytes - at)
            n = d->context_bytes - at;
        if (mmu_peek(&c->mmu, vaddr - offset, &is_at) && is_at == paddr)
            memcpy(page + offset, d->context + at, n);
    }
}

static bool write_runs(const struct dump *d, FILE *f)
{
    uint8_t page[PAGE_BYTES];
    for (unsigned n = 0; n < d->runs; n++)
        for (uint64_t i = 0; i < d->run[n].count; i++) {
            uint64_t paddr = (d->run[n].page + i) * PAGE_BYTES;
            phys_dma_read(machine_phys(d->m), paddr, page, sizeof page);
            if (d->patches)
                patch(d, paddr, page);
            if (fwrite(page, 1, sizeof page, f) != sizeof page)
                return false;
        }
    return true;
}

bool export_dmp(struct machine *m, const char *path, bool *has_kernel,
                struct error *err)
{
    static const uint64_t shared_64 = UINT64_C(0xfffff78000000000);
    struct dump d = {.m = m, .is_64 = cpu_is_long(machine_cpu(m))};
    uint8_t header[HEADER_64_BYTES];
    unsigned bytes = d.is_64 ? HEADER_64_BYTES : HEADER_32_BYTES;
    d.has_kernel = windows_kernel_find(&d.kernel, m);
    d.context_bytes = d.is_64 ? CONTEXT_64_BYTES : CONTEXT_32_BYTES;
    d.runs_max = d.is_64 ? RUNS_64_MAX : RUNS_32_MAX;
    if (d.has_kernel)
        (void)windows_read(&d.kernel, d.is_64 ? shared_64 : 0xffdf0000u,
                           d.shared, sizeof d.shared);
    take_context(&d);
    if (!take_guest_runs(&d) && !take_machine_runs(&d, path, err))
        return false;
    make_header(&d, header, bytes);
    *has_kernel = d.has_kernel;
    FILE *f = fopen(path, "wb");
    if (!f)
        return export_write_error(path, err);
    return export_finish(
        f, fwrite(header, 1, bytes, f) == bytes && write_runs(&d, f), path,
        err);
}
