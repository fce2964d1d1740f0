/* Hostile code: random bytes run in every mode with random descriptors and page
 * tables. A run must end at the tick it was asked for or say why, and must be
 * the same with a one-entry TLB and one-instruction blocks, and when it was
 * saved and loaded half way. */
#include "lib_fuzz.h"

#include "base/bytes.h"
#include "cpu/cpu.h"

#include <string.h>

enum {
    GDT_AT = 0x1000,
    IDT_AT = 0x2000,
    TSS_AT = 0x4000,
    TABLES_AT = 0x10000, /* page tables, 16 pages */
    HANDLER_AT = 0x30000,
    CODE_AT = 0x40000,
    STACK_AT = 0x50800,
    DATA_AT = 0x60000,
    CODE_MAX = 256,
    TICKS_MAX = 1500
};

/* Selectors of the descriptors below. */
enum {
    SEL_CODE64 = 0x08,
    SEL_CODE32 = 0x10,
    SEL_CODE16 = 0x18,
    SEL_DATA = 0x20,
    SEL_SMALL = 0x28,
    SEL_USER64 = 0x30,
    SEL_USER32 = 0x38,
    SEL_USER16 = 0x40,
    SEL_USER_DATA = 0x48,
    SEL_DOWN = 0x50,
    SEL_GATE = 0x58,   /* call gate */
    SEL_TASK = 0x60,   /* task gate */
    SEL_TSS = 0x70,    /* two slots in long mode */
    SEL_TSS2 = 0x80
};

enum start {
    START_REAL,
    START_16,
    START_32,
    START_V86,
    START_64,
    START_COMPATIBLE,
    STARTS
};

struct setup {
    enum start start;
    bool user, paging, pae, bit16;
    uint32_t cr0, cr4; /* extra bits */
};

/* ---- memory --------------------------------------------------------------- */

static void put(struct machine *m, uint32_t at, uint64_t value, unsigned bytes)
{
    uint8_t b[8];
    store_le64(b, value);
    phys_write(machine_phys(m), at, b, bytes);
}

static void put_descriptors(struct machine *m, bool is_long)
{
    static const struct {
        uint8_t selector;
        uint64_t value;
    } rows[] = {
        {SEL_CODE64, 0x00af9b000000ffff},   {SEL_CODE32, 0x00cf9b000000ffff},
        {SEL_CODE16, 0x000f9b000000ffff},   {SEL_DATA, 0x00cf93000000ffff},
        {SEL_SMALL, 0x0040930600000fff},    {SEL_USER64, 0x00affb000000ffff},
        {SEL_USER32, 0x00cffb000000ffff},   {SEL_USER16, 0x000ffb000000ffff},
        {SEL_USER_DATA, 0x00cff3000000ffff}, {SEL_DOWN, 0x0040970500000fff},
        {SEL_TASK, 0x0000e50000800000},
    };
    for (unsigned n = 0; n < sizeof rows / sizeof rows[0]; n++)
        put(m, GDT_AT + rows[n].selector, rows[n].value, 8);
    uint64_t code = is_long ? SEL_CODE64 : SEL_CODE32;
    put(m, GDT_AT + SEL_GATE,
        0x0000ec0000000000 | code << 16 | (HANDLER_AT & 0xffff) |
            (uint64_t)HANDLER_AT >> 16 << 48,
        8);
    uint64_t tss = 0x0000890000000067 | (uint64_t)TSS_AT << 16;
    put(m, GDT_AT + SEL_TSS, tss | 0x20000000000, 8); /* busy */
    put(m, GDT_AT + SEL_TSS2, tss + (UINT64_C(0x200) << 16), 8);
}

static void put_gates(struct machine *m, const struct setup *s)
{
    bool is_long = s->start >= START_64;
    for (unsigned n = 0; n < 256; n++) {
        uint64_t selector = is_long ? SEL_CODE64 : SEL_CODE32;
        uint64_t gate = 0x0000ee0000000000 | selector << 16 |
                        (HANDLER_AT & 0xffff) | (uint64_t)HANDLER_AT >> 16
                                                    << 48;
        put(m, IDT_AT + n * (is_long ? 16 : 8), gate, 8);
    }
    /* Real mode's vectors: 3000:0000. */
    for (unsigned n = 0; n < 256 && s->start == START_REAL; n++)
        put(m, 4 * n, (uint64_t)HANDLER_AT << 12, 4);
    /* The handler returns; what it returns to decides how often. */
    put(m, HANDLER_AT, is_long ? 0xcf48 : 0xcf, 2);
    put(m, TSS_AT + 4, STACK_AT + 0x700, 8);  /* ESP0, or RSP0 in long mode */
    put(m, TSS_AT + 8, is_long ? 0 : SEL_DATA, 4);
    put(m, TSS_AT + 0x66, 0x68, 2);
    put(m, TSS_AT + 0x220, HANDLER_AT, 4); /* the second task: EIP, CS, SS */
    put(m, TSS_AT + 0x24c, SEL_CODE32, 2);
    put(m, TSS_AT + 0x250, SEL_DATA, 2);
}

/* Everything up to the end of RAM, to itself, for everybody. */
static void put_tables(struct machine *m, const struct setup *s)
{
    bool is_long = s->start >= START_64, wide = s->pae || is_long;
    unsigned entry = wide ? 8 : 4;
    for (uint32_t n = 0; n < FUZZ_RAM / PAGE_BYTES; n++)
        put(m, TABLES_AT + 0x3000 + n * entry, n * PAGE_BYTES | 7, entry);
    put(m, TABLES_AT + 0x2000, (TABLES_AT + 0x3000) | 7, entry);
    put(m, TABLES_AT + 0x2000 + entry, 0x87, entry); /* large, to the start */
    if (!wide)
        return;
    for (unsigned n = 0; n < 4; n++)
        put(m, TABLES_AT + 0x1000 + 8 * n,
            (TABLES_AT + 0x2000) | (is_long ? 7 : 1), 8);
    put(m, TABLES_AT, (TABLES_AT + 0x1000) | 7, 8);
    put(m, TABLES_AT + 0xff8, (TABLES_AT + 0x1000) | 7, 8);
}

/* ---- registers -------------------------------------------------------------- */

static struct segment flat(uint16_t selector, bool is_code, unsigned dpl,
                           uint16_t size)
{
    return (struct segment){
        .limit = UINT32_MAX,
        .selector = selector,
        .attr = (uint16_t)(SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_WRITABLE |
                           SEG_ATTR_ACCESSED | SEG_ATTR_G | size |
                           (is_code ? SEG_ATTR_CODE : 0) |
                           dpl << SEG_ATTR_DPL_SHIFT)};
}

static void set_segments(struct cpu *c, const struct setup *s)
{
    unsigned dpl = s->user ? 3 : 0;
    uint16_t data = s->user ? SEL_USER_DATA | 3 : SEL_DATA;
    uint16_t code = s->start == START_64 ? SEL_CODE64
                    : s->bit16           ? SEL_CODE16
                                         : SEL_CODE32;
    uint16_t size = s->start == START_64 ? SEG_ATTR_L
                    : s->bit16           ? 0
                                         : SEG_ATTR_DB;
    if (s->user)
        code = (uint16_t)(code + SEL_USER64 - SEL_CODE64 + 3);
    for (unsigned n = 0; n < SEG_COUNT; n++)
        c->seg[n] = flat(data, false, dpl, s->bit16 ? 0 : SEG_ATTR_DB);
    c->seg[SEG_CS] = flat(code, true, dpl, size);
    c->cpl = (uint8_t)dpl;
    c->gdtr = (struct table_register){.base = GDT_AT, .limit = 0xfff};
    c->idtr = (struct table_register){.base = IDT_AT, .limit = 0xfff};
    c->tr = (struct segment){.base = TSS_AT,
                             .limit = 0x67,
                             .selector = SEL_TSS,
                             .attr = SEG_ATTR_P | 11};
}

/* Real and virtual-8086 mode: code and data where they are for the others. */
static void set_real(struct cpu *c, bool v86)
{
    static const uint16_t at[SEG_COUNT] = {DATA_AT >> 4, CODE_AT >> 4,
                                           STACK_AT >> 4, DATA_AT >> 4,
                                           DATA_AT >> 4, 0xffff};
    for (unsigned n = 0; n < SEG_COUNT; n++)
        c->seg[n] = (struct segment){
            .base = (uint32_t)at[n] << 4,
            .limit = 0xffff,
            .selector = at[n],
            .attr = SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_WRITABLE |
                    SEG_ATTR_ACCESSED | (v86 ? 3 << SEG_ATTR_DPL_SHIFT : 0)};
    if (v86) {
        c->cpl = 3;
    } else {
        c->seg[SEG_CS].attr |= SEG_ATTR_CODE;
        c->gdtr = (struct table_register){.base = GDT_AT, .limit = 0xfff};
        c->idtr = (struct table_register){.limit = 0x3ff};
    }
}

static void set_control(struct cpu *c, const struct setup *s)
{
    bool is_long = s->start >= START_64;
    c->cr0 = CR0_ET | s->cr0;
    c->cr4 = s->cr4;
    if (s->start != START_REAL)
        c->cr0 |= CR0_PE;
    c->cr3 = is_long ? TABLES_AT : TABLES_AT + (s->pae ? 0x1000 : 0x2000);
    if (s->paging || is_long)
        c->cr0 |= CR0_PG;
    if (s->pae || is_long)
        c->cr4 |= CR4_PAE;
    if (is_long)
        c->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    if (s->pae && s->paging && !is_long)
        for (unsigned n = 0; n < 4; n++)
            c->pdpte[n] = (TABLES_AT + 0x2000) | 1;
}

static uint64_t pick_register(uint8_t how)
{
    static const uint64_t values[] = {
        0,          1,          2,           DATA_AT,          DATA_AT + 0xffc,
        CODE_AT,    STACK_AT,   0xa0000,     0xffff,           0x80000000,
        0xffffffff, UINT64_MAX, 0xfee00000,  TABLES_AT + 0x3000,
        GDT_AT,     UINT64_C(0x7fffffffffff)};
    return values[how & 15] + (how >> 4) * 3;
}

static void set_registers(struct cpu *c, const struct setup *s,
                          const uint8_t how[16], uint32_t flags, uint32_t ip)
{
    bool real = s->start == START_REAL || s->start == START_V86;
    for (unsigned n = 0; n < 16; n++) {
        c->r[n] = pick_register(how[n]);
        if (s->start != START_64)
            c->r[n] &= UINT32_MAX;
    }
    c->r[REG_RSP] = real ? 0x700 : STACK_AT;
    c->r[REG_RIP] = real ? ip - CODE_AT : ip;
    cpu_set_rflags(c, (flags & 0x247fd7 & ~(uint32_t)FLAG_NT) |
                          (s->start == START_V86 ? FLAG_VM : 0));
    c->halted = false;
    cpu_update_mode(c);
    cpu_update_paging(c);
    cpu_update_single(c);
}

/* ---- the run ------------------------------------------------------------------ */

static struct setup take_setup(struct fuzz *f)
{
    static const uint32_t cr4[] = {
        0, CR4_PSE, CR4_OSFXSR | CR4_OSXMMEXCPT, CR4_PSE | CR4_OSFXSR,
        CR4_VME | CR4_PVI | CR4_OSFXSR, CR4_PGE | CR4_PSE | CR4_OSFXSR,
        CR4_TSD | CR4_DE | CR4_OSFXSR, CR4_OSFXSR};
    uint8_t a = fuzz_u8(f), b = fuzz_u8(f);
    struct setup s = {.start = a % STARTS,
                      .user = b & 1,
                      .paging = b & 2,
                      .pae = b & 4,
                      .bit16 = b & 8,
                      .cr4 = cr4[b >> 4 & 7]};
    s.cr0 = (b & 0x80 ? CR0_WP | CR0_NE : 0) |
            (a >= 0xf0 ? CR0_AM | CR0_MP : 0);
    s.bit16 = s.start == START_16 || (s.start == START_COMPATIBLE && s.bit16);
    if (s.start == START_REAL)
        s.paging = s.user = false;
    return s;
}

/* A few words of the tables, code or data are something else. */
static void poke(struct machine *m, struct fuzz f)
{
    static const uint32_t places[] = {GDT_AT,    IDT_AT,  TSS_AT,
                                      TABLES_AT, DATA_AT, HANDLER_AT,
                                      TABLES_AT + 0x2000, TABLES_AT + 0x3000};
    unsigned count = fuzz_u8(&f) % 16;
    while (count--) {
        uint8_t how = fuzz_u8(&f);
        uint32_t at = places[how & 7] + (how & 8 ? fuzz_u16(&f) % 4096u
                                                 : fuzz_u8(&f));
        uint64_t value = how & 16 ? fuzz_u64(&f) : fuzz_u8(&f);
        put(m, at, value, how & 16 ? 8 : 1);
    }
}

enum {
    POKE_BYTES = 64,
    HEAD_BYTES = 2 + 16 + 4 + 2 + 2 + POKE_BYTES
};

/* The same for each machine: everything comes from the input. */
static struct machine *prepare(struct fuzz f, unsigned *ticks)
{
    struct machine *m = fuzz_machine(0, 1);
    struct setup s = take_setup(&f);
    uint8_t registers[16], code[CODE_MAX];
    fuzz_bytes(&f, registers, sizeof registers);
    uint32_t flags = fuzz_u32(&f), ip = CODE_AT + (fuzz_u16(&f) & 0x1fff);
    *ticks = 16 + fuzz_u16(&f) % TICKS_MAX;
    struct fuzz pokes = f;
    if (pokes.end - pokes.at > POKE_BYTES)
        pokes.end = pokes.at + POKE_BYTES;
    f.at = pokes.end;
    size_t bytes = (size_t)(f.end - f.at);
    bytes = bytes < CODE_MAX ? bytes : CODE_MAX;
    fuzz_bytes(&f, code, bytes);
    put_descriptors(m, s.start >= START_64);
    put_gates(m, &s);
    put_tables(m, &s);
    poke(m, pokes);
    phys_write(machine_phys(m), ip, code, bytes);
    struct cpu *c = machine_cpu(m);
    if (s.start == START_REAL || s.start == START_V86) {
        set_segments(c, &s);
        c->cpl = 0;
        set_real(c, s.start == START_V86);
    } else {
        set_segments(c, &s);
    }
    set_control(c, &s);
    set_registers(c, &s, registers, flags, ip);
    return m;
}

static void run(struct machine *m, uint64_t until)
{
    enum stop_reason why = machine_run(m, until);
    if (why == STOP_TICK && machine_tick(m) != until)
        fuzz_fail("run until %llu ended at %llu", (unsigned long long)until,
                  (unsigned long long)machine_tick(m));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct machine_stress stress = {.tlb_entries = 1,
                                                 .block_insns = 1};
    struct fuzz f = fuzz_begin(data, size);
    unsigned ticks;
    struct machine *a = prepare(f, &ticks), *b = prepare(f, &ticks);
    machine_set_stress(b, &stress);
    fuzz_same(a, b, "before the first instruction");
    run(a, ticks / 2);
    struct machine *c = fuzz_fork(a, 0, 1);
    run(a, ticks);
    run(b, ticks);
    run(c, ticks);
    fuzz_same(a, b, "one-entry TLB and one-instruction blocks");
    fuzz_same(a, c, "saved and loaded");
    machine_free(a);
    machine_free(b);
    machine_free(c);
    return 0;
}
