/* What a lockstep guest starts from: descriptors, handlers, page tables with
 * every kind of page, and registers. */
#include "tests/lib_jitpair.h"

#include "base/bytes.h"

#include <string.h>

#define PTE_P  1ULL
#define PTE_W  2ULL
#define PTE_U  4ULL
#define PTE_AD 0x60ULL
#define PTE_NX (1ULL << 63)

static unsigned below(struct jp_scene *s, unsigned n)
{
    return oracle_below(&s->r, n);
}

static bool one_in(struct jp_scene *s, unsigned n)
{
    return below(s, n) == 0;
}

static bool has_paging(const struct jp_scene *s)
{
    return s->mode != JP_FLAT && s->mode != JP_REAL;
}

static bool is_long(const struct jp_scene *s)
{
    return s->mode == JP_LONG || s->mode == JP_COMPAT;
}

/* ---- descriptors and handlers
 * -------------------------------------------------- */

static void put_descriptors(struct jp_scene *s)
{
    static const struct {
        uint8_t selector;
        uint64_t value;
    } rows[] = {
        {JP_SEL_CODE64, 0x00af9b000000ffff},
        {JP_SEL_CODE32, 0x00cf9b000000ffff},
        {JP_SEL_DATA, 0x00cf93000000ffff},
        {JP_SEL_USER32, 0x00cffb000000ffff},
        {JP_SEL_USER_DATA, 0x00cff3000000ffff},
        {JP_SEL_USER64, 0x00affb000000ffff},
        {JP_SEL_RO, 0x00cff1000000ffff},
        {JP_SEL_EXECUTE, 0x00cff9000000ffff},
    };
    for (unsigned n = 0; n < sizeof rows / sizeof rows[0]; n++)
        store_le64(s->ram + JP_GDT + rows[n].selector, rows[n].value);
    uint64_t base = (s->data & 0xffffff) << 16 | (s->data >> 24 & 0xff) << 56;
    store_le64(s->ram + JP_GDT + JP_SEL_SMALL, 0x0040f30000003fff | base);
    store_le64(s->ram + JP_GDT + JP_SEL_BASED, 0x00cff3000000ffff | base);
    base = (s->code & 0xffffff) << 16;
    store_le64(s->ram + JP_GDT + JP_SEL_CODE16, 0x0000fb000000ffff | base);
    store_le64(s->ram + JP_GDT + JP_SEL_SHORT16, 0x0000fb0000001b7f | base);
    store_le64(s->ram + JP_GDT + JP_SEL_ALIAS16, 0x0000f3000000ffff | base);
    base += 0x2345ull << 16;
    store_le64(s->ram + JP_GDT + JP_SEL_OTHER16, 0x0000fb0000001caf | base);
    base = (s->data & 0xffffff) << 16;
    store_le64(s->ram + JP_GDT + JP_SEL_DATA16, 0x0000f3000000ffff | base);
    store_le64(s->ram + JP_GDT + JP_SEL_DOWN16, 0x0000f7000000207f | base);
    base = (s->stack & 0xffffff) << 16;
    store_le64(s->ram + JP_GDT + JP_SEL_STACK16, 0x0000f30000003fff | base);
    store_le64(s->ram + JP_GDT + JP_SEL_TSS,
               0x00008b0000000fff | (uint64_t)JP_TSS << 16);
    uint8_t *tss = s->ram + JP_TSS;
    if (is_long(s)) {
        store_le64(tss + 4, JP_RING0);
        store_le64(tss + 0x24, JP_RING0 - 0x800); /* IST 1 */
    } else {
        store_le32(tss + 4, JP_RING0);
        store_le32(tss + 8, JP_SEL_DATA);
    }
    store_le16(tss + 0x66, 0x68); /* I/O map: all ports open */
}

static void put_gates(struct jp_scene *s)
{
    for (unsigned v = 0; v < 256; v++) {
        uint32_t at = JP_STUBS + 16 * v;
        unsigned ist = is_long(s) && (v < 32 || one_in(s, 8));
        uint64_t gate = 0x0000ee0000000000 | (uint64_t)(at >> 16) << 48 |
                        (uint64_t)ist << 32 | (at & 0xffff);
        if (one_in(s, 6)) /* trap gate: IF stays */
            gate |= 1ULL << 40;
        gate |= (uint64_t)(is_long(s) ? JP_SEL_CODE64 : JP_SEL_CODE32) << 16;
        store_le64(s->ram + JP_IDT + v * (is_long(s) ? 16 : 8), gate);
    }
}

static unsigned append(uint8_t *at, unsigned n, const char *bytes,
                       unsigned count)
{
    memcpy(at + n, bytes, count);
    return n + count;
}
#define APPEND(at, n, bytes) append(at, n, bytes, sizeof(bytes) - 1)

static unsigned append_address(uint8_t *at, unsigned n, uint32_t address)
{
    store_le32(at + n, address);
    return n + 4;
}

/* [address] with the SS override, behind the opcode: ModRM /digit. */
static unsigned absolute(const struct jp_scene *s, uint8_t *at, unsigned n,
                         unsigned digit, uint32_t address)
{
    if (is_long(s)) {
        at[n++] = (uint8_t)(digit << 3 | 4);
        at[n++] = 0x25;
    } else {
        at[n++] = (uint8_t)(digit << 3 | 5);
    }
    return append_address(at, n, address);
}

/* Count, then go on at the next entry. */
static void put_fault_handler(struct jp_scene *s, uint8_t *at)
{
    unsigned n = 0;
    if (s->is16) { /* push ecx; mov ecx, [entries + eax * 8 + 4], for CS */
        n = APPEND(at, n, "\x51\x50\x36\x8b");
        n = absolute(s, at, n, 0, JP_COUNTERS);
        n = APPEND(at, n, "\x40\x83\xe0\x1f\x36\x8b\x0c\xc5");
        n = append_address(at, n, JP_ENTRIES + 4);
        n = APPEND(at, n, "\x89\x4c\x24\x0c\x58\x59");
    }
    n = APPEND(at, n, "\x50\x36\xff"); /* push rax; inc dword ss:[counter] */
    n = absolute(s, at, n, 0, JP_COUNTERS);
    n = APPEND(at, n, "\x36\x8b"); /* mov eax, ss:[counter] */
    n = absolute(s, at, n, 0, JP_COUNTERS);
    n = APPEND(at, n, "\x83\xe0\x1f"); /* and eax, 31 */
    if (is_long(s)) /* mov rax, [entries + rax * 8]; mov [rsp + 8], rax */
        n = APPEND(at, n, "\x48\x8b\x04\xc5");
    else
        n = APPEND(at, n, "\x36\x8b\x04\xc5");
    n = append_address(at, n, JP_ENTRIES);
    if (is_long(s))
        n = APPEND(at, n, "\x48\x89\x44\x24\x08\x58\x48\xcf");
    else
        n = APPEND(at, n, "\x89\x44\x24\x04\x58\xcf");
}

/* Count and return; every 16th time as a fault. */
static void put_interrupt_handler(struct jp_scene *s, uint8_t *at,
                                  uint32_t fault)
{
    unsigned n = 0;
    n = APPEND(at, n, "\x36\xff");
    n = absolute(s, at, n, 0, JP_COUNTERS + 8);
    n = APPEND(at, n, "\x36\xf6"); /* test byte ss:[counter], 15 */
    n = absolute(s, at, n, 0, JP_COUNTERS + 8);
    n = APPEND(at, n, "\x0f\x0f\x84"); /* the 15; jz */
    uint32_t next = JP_COMMON + 0x100 + n + 4;
    n = append_address(at, n, fault - next);
    n = is_long(s) ? APPEND(at, n, "\x48\xcf") : APPEND(at, n, "\xcf");
}

/* #DB: clear TF in the frame every 16th time. */
static void put_debug_handler(struct jp_scene *s, uint8_t *at)
{
    unsigned n = 0;
    n = APPEND(at, n, "\x36\xff");
    n = absolute(s, at, n, 0, JP_COUNTERS + 16);
    n = APPEND(at, n, "\x36\xf6");
    n = absolute(s, at, n, 0, JP_COUNTERS + 16);
    n = APPEND(at, n, "\x0f\x75\x05"); /* the 15; jnz over the and */
    if (is_long(s))                    /* and byte [rsp + 17], ~1 */
        n = APPEND(at, n, "\x80\x64\x24\x11\xfe\x48\xcf");
    else
        n = APPEND(at, n, "\x80\x64\x24\x09\xfe\xcf");
}

static void put_handlers(struct jp_scene *s)
{
    uint32_t fault = JP_COMMON, event = JP_COMMON + 0x100,
             debug = JP_COMMON + 0x200;
    put_fault_handler(s, s->ram + fault);
    put_interrupt_handler(s, s->ram + event, fault);
    put_debug_handler(s, s->ram + debug);
    for (unsigned v = 0; v < 256; v++) {
        uint8_t *at = s->ram + JP_STUBS + 16 * v;
        bool has_error = v == 8 || (v >= 10 && v <= 14) || v == 17;
        bool is_event = v >= 32 || v == 2 || v == 3 || v == 4;
        unsigned n = 0;
        if (has_error)
            n = is_long(s) ? APPEND(at, n, "\x48\x83\xc4\x08")
                           : APPEND(at, n, "\x83\xc4\x04");
        at[n++] = 0xe9;
        uint32_t to = v == 1 ? debug : is_event ? event : fault;
        append_address(at, n, to - (JP_STUBS + 16 * v + n + 4));
    }
}

/* ---- page tables
 * -------------------------------------------------------------- */

struct tables {
    struct jp_scene *s;
    uint32_t next; /* free table page */
    uint32_t root;
};

static uint32_t new_table(struct tables *t)
{
    uint32_t at = t->next;
    t->next += PAGE_BYTES;
    return at;
}

/* Where the entry for linear at this level is; makes tables on the way. */
static uint32_t entry_of(struct tables *t, uint64_t linear)
{
    struct jp_scene *s = t->s;
    bool wide = s->mode != JP_PAGED32 && !s->is16;
    unsigned bits = wide ? 9 : 10;
    int level = is_long(s) ? 3 : wide ? 2 : 1;
    uint32_t table = t->root;
    for (;; level--) {
        unsigned index = (unsigned)(linear >> (12 + bits * (unsigned)level)) &
                         ((1u << bits) - 1);
        uint32_t at = table + index * (wide ? 8 : 4);
        if (level == 0)
            return at;
        if (!(s->ram[at] & 1)) {
            bool pdpte = s->mode == JP_PAE && level == 2;
            store_le32(s->ram + at, new_table(t) | (pdpte ? 1 : 0x27));
        }
        table = load_le32(s->ram + at) & ~0xfffu;
    }
}

static void map(struct tables *t, uint64_t linear, uint64_t entry)
{
    uint32_t at = entry_of(t, linear);
    if (t->s->mode == JP_PAGED32 || t->s->is16)
        store_le32(t->s->ram + at, (uint32_t)entry);
    else
        store_le64(t->s->ram + at, entry);
}

static uint64_t code_frame(unsigned n)
{
    return JP_CODE + (n % JP_CODE_PAGES) * (uint64_t)PAGE_BYTES;
}

static uint64_t data_entry(struct jp_scene *s, unsigned page)
{
    const uint64_t rw = PTE_P | PTE_W | PTE_U;
    uint64_t a = one_in(s, 2) ? PTE_AD : 0;
    uint64_t frame = JP_DATA + below(s, JP_DATA_PAGES) * (uint64_t)PAGE_BYTES;
    if (page < 6) /* always there */
        return (JP_DATA + page * (uint64_t)PAGE_BYTES) | rw | a;
    switch (below(s, 12)) {
    case 0:
    case 1:
        return frame | PTE_P | PTE_U | a;
    case 2:
        return frame | PTE_W | PTE_U;
    case 3:
    case 4:
        return code_frame(below(s, 8)) | rw | a;
    case 5:
        return frame | PTE_P | PTE_W | a;
    case 6:
        return JP_MMIO | rw | a;
    case 7:
        return (JP_SYSTEM_END - PAGE_BYTES) | rw;
    default:
        return frame | rw | a;
    }
}

static void map_code(struct tables *t, uint64_t at, unsigned shift)
{
    struct jp_scene *s = t->s;
    for (unsigned n = 0; n < JP_WINDOW_PAGES; n++) {
        uint64_t entry = code_frame(n < 8 ? n + shift : below(s, 8)) | PTE_P |
                         PTE_U | (one_in(s, 3) ? 0 : PTE_W);
        if (n >= 8 && one_in(s, 8))
            entry &= ~PTE_P;
        map(t, at + n * (uint64_t)PAGE_BYTES, entry);
    }
}

static void map_space(struct tables *t, unsigned shift)
{
    struct jp_scene *s = t->s;
    for (uint32_t at = 0; at < JP_SYSTEM_END; at += PAGE_BYTES)
        map(t, at, at | PTE_P | PTE_W);
    map_code(t, s->code, shift);
    if (s->high)
        map_code(t, s->high, 0);
    for (unsigned n = 0; n < JP_DATA_WINDOW; n++)
        map(t, s->data + n * (uint64_t)PAGE_BYTES, data_entry(s, n));
    for (unsigned n = 0; n < JP_STACK_PAGES; n++)
        map(t, s->stack + n * (uint64_t)PAGE_BYTES,
            (JP_STACK + n * (uint64_t)PAGE_BYTES) | PTE_P | PTE_W | PTE_U);
    /* The last page below an end of the address space. */
    map(t, s->is64 ? 0x7ffffffff000 : 0xfffff000,
        code_frame(7) | PTE_P | PTE_U | PTE_W);
}

static void put_tables(struct jp_scene *s)
{
    struct tables t = {s, JP_TABLES, 0};
    for (unsigned n = 0; n < 2; n++) {
        t.root = new_table(&t);
        s->roots[n] = t.root;
        map_space(&t, n);
        s->code_entries[n] = entry_of(&t, s->code);
    }
    if (one_in(s, 3))
        return;
    /* The table of the windows, where the code can write it. */
    t.root = (uint32_t)s->roots[0];
    uint32_t table = entry_of(&t, s->code);
    uint64_t at = s->data + JP_DATA_WINDOW * (uint64_t)PAGE_BYTES;
    map(&t, at, (table & ~0xfffu) | PTE_P | PTE_W | PTE_U);
    t.root = (uint32_t)s->roots[1];
    map(&t, at, (table & ~0xfffu) | PTE_P | PTE_W | PTE_U);
    s->table = at + (table & 0xfff);
}

/* ---- the whole
 * ------------------------------------------------------------------ */

static void begin(struct jp_scene *s, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->seed = seed;
    s->r.seed = seed * 0x9e3779b97f4a7c15u + 1;
    (void)oracle_random(&s->r);
}

static void lay_out(struct jp_scene *s)
{
    s->flavour = (enum jp_flavour)below(s, JP_FLAVOURS);
    s->is64 = s->mode == JP_LONG;
    s->can_idle = one_in(s, 3);
    s->is16 = s->mode >= JP_REAL;
    s->code = s->is16 ? 0x40000 : 0x400000;
    s->data = s->is16 ? 0x60000 : 0x500000;
    s->stack = s->is16 ? 0x90000 : 0x5f0000;
    if (!has_paging(s)) {
        s->code = JP_CODE;
        s->data = JP_DATA;
        s->stack = JP_STACK;
    } else if (s->is64 && one_in(s, 2)) {
        s->high = 0xffffffff80400000;
    }
    for (unsigned n = JP_DATA; n < JP_STACK; n += 16)
        oracle_fill_16(&s->r, s->ram + n);
    put_descriptors(s);
    put_gates(s);
    put_handlers(s);
    if (has_paging(s))
        put_tables(s);
    if (s->is16)
        jp_lay_out_16(s);
}

static void choose_mode(struct jp_scene *s)
{
    static const uint8_t modes[] = {
        JP_LONG, JP_LONG,   JP_LONG, JP_LONG, JP_FLAT,  JP_PAGED32, JP_PAGED32,
        JP_PAE,  JP_COMPAT, JP_REAL, JP_REAL, JP_PROT16, JP_V86};
    s->mode = modes[below(s, sizeof modes)];
    s->user = has_paging(s) && one_in(s, 2);
    if (s->mode == JP_V86 || s->mode == JP_PROT16)
        s->user = true;
}

void jp_scene(struct jp_scene *s, uint64_t seed)
{
    begin(s, seed);
    choose_mode(s);
    lay_out(s);
}

bool jp_is_16(uint64_t seed)
{
    struct jp_scene s = {
        .seed = seed,
        .r.seed = seed * 0x9e3779b97f4a7c15u + 1,
    };
    (void)oracle_random(&s.r);
    choose_mode(&s);
    return s.mode >= JP_REAL;
}

void jp_scene_in(struct jp_scene *s, uint64_t seed, enum jp_mode mode,
                 bool user)
{
    begin(s, seed);
    s->mode = mode;
    s->user = user;
    lay_out(s);
}

static struct segment segment_of(const struct jp_scene *s, uint16_t selector)
{
    uint64_t d = load_le64(s->ram + JP_GDT + (selector & ~7u));
    return (struct segment){
        .selector = selector,
        .base = (d >> 16 & 0xffffff) | (d >> 56 & 0xff) << 24,
        .limit = d >> 55 & 1 ? UINT32_MAX : (uint32_t)(d & 0xffff),
        .attr = (uint16_t)((d >> 40 & 0xff) | (d >> 52 & 15) << 12)};
}

static void set_segments(const struct jp_scene *s, struct cpu *c)
{
    uint16_t code = s->user ? (s->is64 ? JP_SEL_USER64 : JP_SEL_USER32) | 3
                            : (s->is64 ? JP_SEL_CODE64 : JP_SEL_CODE32);
    uint16_t data = s->user ? JP_SEL_USER_DATA | 3 : JP_SEL_DATA;
    for (unsigned n = 0; n < SEG_COUNT; n++)
        c->seg[n] = segment_of(s, n == SEG_CS ? code : data);
    c->seg[SEG_FS] = segment_of(s, JP_SEL_SMALL | 3);
    c->seg[SEG_GS] = segment_of(s, JP_SEL_BASED | 3);
    c->cpl = s->user ? 3 : 0;
    c->gdtr = (struct table_register){.base = JP_GDT, .limit = 0x97};
    c->idtr = (struct table_register){.base = JP_IDT, .limit = 0xfff};
    c->tr = (struct segment){.base = JP_TSS,
                             .limit = 0xfff,
                             .selector = JP_SEL_TSS,
                             .attr = SEG_ATTR_P | 11};
}

static void set_control(const struct jp_scene *s, struct cpu *c,
                        struct oracle_random *r)
{
    c->cr0 = CR0_ET | CR0_PE | CR0_NE | CR0_MP;
    if (has_paging(s))
        c->cr0 |= CR0_PG | (oracle_below(r, 4) ? CR0_WP : 0);
    c->cr0 |= oracle_below(r, 8) ? 0 : CR0_TS;
    c->cr0 |= oracle_below(r, 8) ? 0 : CR0_AM;
    c->cr3 = s->roots[0];
    c->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | (oracle_below(r, 2) ? CR4_PGE : 0);
    if (is_long(s) || s->mode == JP_PAE)
        c->cr4 |= CR4_PAE;
    if (is_long(s))
        c->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    for (unsigned n = 0; n < 4 && s->mode == JP_PAE; n++)
        c->pdpte[n] = load_le64(s->ram + s->roots[0] + 8 * n);
    c->star = (uint64_t)JP_SEL_CODE64 << 32 | (uint64_t)JP_SEL_USER32 << 48;
    c->lstar = c->cstar = s->entries[1];
    c->sfmask = 0x700;
}

/* Vector and x87 state. Mostly all exceptions are masked. */
static void set_units(struct cpu *c, struct oracle_random *r)
{
    uint8_t fx[512];
    struct x87 *x = &c->x87;
    oracle_random_fx(r, fx);
    x->control = load_le16(fx);
    x->status = load_le16(fx + 2) & 0xc7ff;
    x->top = load_le16(fx + 2) >> 11 & 7;
    x->valid = fx[4];
    c->mxcsr = load_le32(fx + 24);
    for (unsigned k = 0; k < 8; k++) {
        x->mantissa[k] = load_le64(fx + 32 + 16 * k);
        x->exponent[k] = load_le16(fx + 40 + 16 * k);
    }
    if (oracle_below(r, 8)) {
        c->mxcsr |= 0x1f80;
        x->control |= 0x3f;
        x->status &= 0x477f; /* nothing pending */
    }
    for (unsigned n = 0; n < 16; n++)
        oracle_fill_16(r, c->xmm[n].u8);
}

void jp_registers(const struct jp_scene *s, struct cpu *c)
{
    struct oracle_random r = s->r;
    cpu_reset(c);
    set_segments(s, c);
    set_control(s, c, &r);
    for (unsigned n = 0; n < 16; n++) {
        c->r[n] = oracle_interesting(&r);
        if (s->mode != JP_LONG && s->mode != JP_COMPAT)
            c->r[n] &= UINT32_MAX;
    }
    c->r[REG_RSP] = s->stack + 0x2000;
    c->r[REG_RIP] = s->entries[0];
    set_units(c, &r);
    cpu_set_rflags(c, (oracle_random(&r) & (FLAGS_ARITH | FLAG_AC)) | FLAG_IF |
                          2 | (s->user && oracle_below(&r, 2) ? FLAG_IOPL : 0));
    c->halted = false;
    if (s->is16)
        jp_registers_16(s, c);
    cpu_update_mode(c);
    cpu_update_paging(c);
    cpu_update_single(c);
}
