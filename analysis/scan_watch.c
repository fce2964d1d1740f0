/* Arming the machine for a scan, and making hits of what it tells. */
#include "analysis/scan_internal.h"

#include "cpu/blocks.h"

#include <string.h>

static struct scan_hit hit_now(const struct scan *s)
{
    const struct cpu *c = machine_cpu(s->machine);
    return (struct scan_hit){.place = machine_place(s->machine),
                             .rip = machine_running_insn(s->machine),
                             .cr3 = c->cr3,
                             .rsp = c->r[REG_RSP],
                             .cpl = c->cpl};
}

static bool fits(const struct scan *s, const struct scan_hit *h)
{
    return h->address >= s->q.first && h->address <= s->q.last &&
           (!s->q.has_value || h->value == s->q.value) &&
           (!s->q.has_cr3 || h->cr3 == s->q.cr3);
}

static uint64_t first_bytes(const void *at, unsigned bytes)
{
    uint64_t v = 0;
    memcpy(&v, at, bytes < sizeof v ? bytes : sizeof v);
    return v;
}

/* Memory by linear address, without touching devices: 0 where there is none. */
static uint64_t peek(const struct scan *s, uint64_t vaddr, unsigned bytes)
{
    struct mmu *mmu = &machine_cpu(s->machine)->mmu;
    uint8_t out[8] = {0};
    for (unsigned i = 0; i < bytes && i < sizeof out; i++) {
        uint64_t paddr;
        struct phys_page page = {0};
        if (mmu_peek(mmu, vaddr + i, &paddr))
            phys_lookup(mmu->phys, paddr, PHYS_READ, &page);
        if (page.host)
            out[i] = page.host[paddr % PAGE_BYTES];
    }
    return first_bytes(out, sizeof out);
}

/* ---- probes -----------------------------------------------------------------
 */

static void on_hit(void *context, const struct probe_hit *p, const void *data)
{
    struct scan *s = context;
    struct scan_hit h = hit_now(s);
    h.place = p->place;
    h.address = p->vaddr;
    if (p->kind == PROBE_EXEC) {
        h.rip = p->vaddr;
        h.value = machine_cpu(s->machine)->r[REG_RAX];
    } else {
        h.bytes = p->bytes;
        h.is_write = p->kind == PROBE_WRITE;
        h.value = first_bytes(data, p->bytes);
        if (h.is_write)
            h.old = peek(s, p->vaddr, p->bytes);
    }
    /* The access overlaps the range; it need not begin in it. */
    if ((!s->q.has_value || h.value == s->q.value) &&
        (!s->q.has_cr3 || h.cr3 == s->q.cr3))
        scan_add(s, &h);
}

static void begin(void *context, struct block_code *k, unsigned first,
                  uint64_t linear, bool is_rest)
{
    struct scan *s = context;
    struct machine_place here = machine_place(s->machine);
    s->run = (struct scan_run){k,         first,           linear,
                               here.tick, here.deliveries, is_rest};
}

static void end(void *context, unsigned begun, bool has_faulted)
{
    struct scan *s = context;
    struct scan_hit h = hit_now(s);
    h.address = s->run.linear;
    (void)has_faulted;
    for (unsigned n = 0; n < begun; n++) {
        h.rip = h.address;
        h.place =
            (struct machine_place){s->run.tick + n, n ? 0 : s->run.deliveries};
        if (!(n == 0 && s->run.is_rest) && fits(s, &h))
            scan_add(s, &h);
        h.address += s->run.block->insns[s->run.first + n].len;
    }
}

/* ---- what is told by itself -------------------------------------------------
 */

static void system_call(struct scan *s, const struct cpu_note *n,
                        struct scan_hit *h)
{
    static const uint8_t regs64[] = {REG_RDI, REG_RSI, REG_RDX, 10, 8, 9};
    static const uint8_t regs32[] = {REG_RBX, REG_RCX, REG_RDX,
                                     REG_RSI, REG_RDI, REG_RBP};
    const struct cpu *c = machine_cpu(s->machine);
    bool is_64 = c->mode == MODE_64;
    h->address = is_64 ? c->r[REG_RAX] : (uint32_t)c->r[REG_RAX];
    for (unsigned i = 0; i < SCAN_ARGUMENTS; i++)
        h->argument[i] = is_64 ? c->r[regs64[i]] : (uint32_t)c->r[regs32[i]];
    /* RIP is behind the instruction; SYSENTER keeps it nowhere. */
    bool is_sysenter = n->kind == CPU_NOTE_SYSCALL &&
                       first_bytes(&c->r[REG_RIP], 8) - c->probe.rip == 2 &&
                       peek(s, h->rip, 2) == 0x340f;
    if (!is_sysenter)
        h->back = (c->r[REG_RIP] + c->ea_base[SEG_CS]) & c->linear_mask;
}

static bool is_gate(const struct scan *s, const struct cpu_note *n)
{
    return n->kind == CPU_NOTE_SOFTWARE &&
           (n->vector == 0x80 || n->vector == 0x2e) &&
           machine_cpu(s->machine)->cpl == 3;
}

static void on_note(void *context, const struct cpu_note *n)
{
    struct scan *s = context;
    const struct cpu *c = machine_cpu(s->machine);
    struct scan_hit h = hit_now(s);
    h.address = n->vector;
    h.error = n->error;
    h.has_error = n->has_error;
    if (s->q.kind == SCAN_INTERRUPT) {
        if (n->kind != CPU_NOTE_INTERRUPT)
            return;
    } else if (s->q.kind == SCAN_EXCEPTION) {
        if (n->kind != CPU_NOTE_EXCEPTION)
            return;
        h.value = n->vector == 14 ? c->cr2 : 0;
    } else if (s->q.kind == SCAN_CR3) {
        if (n->kind != CPU_NOTE_CR3)
            return;
        h.address = n->value;
        h.old = c->cr3;
    } else {
        if (n->kind != CPU_NOTE_SYSCALL && !is_gate(s, n))
            return;
        system_call(s, n, &h);
    }
    if (fits(s, &h))
        scan_add(s, &h);
}

static void device(struct scan *s, uint64_t address, unsigned bytes,
                   bool is_write, uint64_t value)
{
    struct scan_hit h = hit_now(s);
    bool any = !s->q.reads && !s->q.writes;
    h.address = address;
    h.bytes = bytes;
    h.is_write = is_write;
    h.value = first_bytes(&value, bytes);
    if ((any || (is_write ? s->q.writes : s->q.reads)) && fits(s, &h))
        scan_add(s, &h);
}

static void on_io(void *context, uint16_t port, unsigned bytes, bool is_write,
                  uint32_t value)
{
    device(context, port, bytes, is_write, value);
}

static void on_mmio(void *context, uint64_t paddr, unsigned bytes,
                    bool is_write, uint64_t value)
{
    device(context, paddr, bytes, is_write, value);
}

/* ---- physical memory --------------------------------------------------------
 */

/* The physical page of a frame, among those of the query. */
static bool page_of(const struct scan *s, uint32_t frame, uint64_t *paddr)
{
    const struct phys *p = machine_phys(s->machine);
    for (uint64_t at = s->q.first & ~(uint64_t)(PAGE_BYTES - 1);
         at <= s->q.last; at += PAGE_BYTES) {
        struct phys_page page;
        phys_lookup(p, at, PHYS_READ, &page);
        if (page.host && page.frame == frame) {
            *paddr = at;
            return true;
        }
    }
    return false;
}

static void on_store(void *context, uint32_t frame, uint32_t offset,
                     uint32_t bytes, const void *in, bool is_dma)
{
    struct scan *s = context;
    struct scan_hit h = hit_now(s);
    uint64_t first, last;
    if (!page_of(s, frame, &h.address))
        return;
    first = h.address + offset;
    last = first + bytes - 1;
    if (last < s->q.first || first > s->q.last)
        return;
    /* Of a wider store the part that lies in the range. */
    uint64_t skip = first < s->q.first ? s->q.first - first : 0;
    h.address = first + skip;
    h.bytes = (uint32_t)((last < s->q.last ? last : s->q.last) - h.address + 1);
    h.value = first_bytes((const uint8_t *)in + skip, h.bytes);
    h.old = first_bytes(phys_frame_host(machine_phys(s->machine), frame) +
                            offset + skip,
                        h.bytes);
    h.is_write = true;
    h.is_dma = is_dma;
    if (is_dma)
        h.rip = 0;
    if (fits(s, &h))
        scan_add(s, &h);
}

static void spy(struct scan *s, bool on)
{
    const struct phys *p = machine_phys(s->machine);
    for (uint64_t at = s->q.first & ~(uint64_t)(PAGE_BYTES - 1);
         at <= s->q.last; at += PAGE_BYTES) {
        struct phys_page page;
        phys_lookup(p, at, PHYS_READ, &page);
        if (page.host)
            machine_spy(s->machine, page.frame, on);
    }
}

/* ---- arming -----------------------------------------------------------------
 */

void scan_arm(struct scan *s)
{
    struct machine_observer o = {.context = s};
    struct probe probe = {.vaddr = s->q.first,
                          .bytes = s->q.last - s->q.first + 1};
    switch (s->q.kind) {
    case SCAN_EXEC:
        probe.kinds = PROBE_RANGE;
        if (probe.bytes == 0 || probe.bytes > SCAN_WIDE) {
            s->tracer =
                (struct cpu_tracer){.context = s, .begin = begin, .end = end};
            o.tracer = &s->tracer;
            probe.kinds = 0;
        }
        break;
    case SCAN_READ:
        probe.kinds = PROBE_READ;
        break;
    case SCAN_WRITE:
        probe.kinds = PROBE_WRITE;
        break;
    case SCAN_STORE:
        o.store = on_store;
        spy(s, true);
        break;
    case SCAN_IO:
        o.io = on_io;
        break;
    case SCAN_MMIO:
        o.mmio = on_mmio;
        break;
    default:
        o.note = on_note;
        break;
    }
    if (probe.kinds)
        o.hit = on_hit;
    machine_observe(s->machine, &o);
    machine_set_probes(s->machine, &probe, probe.kinds != 0);
    machine_probe_mode(s->machine, probe.kinds ? PROBE_TELL : PROBE_OFF, false);
}

void scan_disarm(struct scan *s)
{
    machine_probe_mode(s->machine, PROBE_OFF, false);
    machine_observe(s->machine, NULL);
    if (s->q.kind == SCAN_STORE)
        spy(s, false);
}
