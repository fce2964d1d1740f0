#include "lib_kvm_scene.h"

#include <string.h>

uint64_t scene_random(struct scene *sc)
{
    uint64_t z = sc->random += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

unsigned scene_below(struct scene *sc, unsigned n)
{
    return (unsigned)((scene_random(sc) >> 32) * n >> 32);
}

bool scene_chance(struct scene *sc, unsigned percent)
{
    return scene_below(sc, 100) < percent;
}

void scene_put(struct scene *sc, uint32_t at, uint64_t value, unsigned bytes)
{
    if (at + bytes <= SYS_MEM_BYTES)
        memcpy(sc->mem + at, &value, bytes);
}

uint64_t scene_get(const struct scene *sc, uint32_t at, unsigned bytes)
{
    uint64_t value = 0;
    if (at + bytes <= SYS_MEM_BYTES)
        memcpy(&value, sc->mem + at, bytes);
    return value;
}

/* ---- descriptors */

void scene_descriptor(struct scene *sc, uint32_t at, uint32_t base,
                      uint32_t limit, unsigned access, unsigned flags)
{
    uint64_t d = (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
                 (uint64_t)access << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
                 (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
    scene_put(sc, at, d, 8);
}

void scene_gate(struct scene *sc, uint32_t at, unsigned selector,
                uint64_t offset, unsigned access, unsigned words)
{
    scene_put(sc, at,
              (offset & 0xffff) | (uint64_t)selector << 16 |
                  (uint64_t)words << 32 | (uint64_t)access << 40 |
                  (offset >> 16 & 0xffff) << 48,
              8);
    if (scene_is_long(sc))
        scene_put(sc, at + 8, offset >> 32, 8);
}

void scene_idt_gate(struct scene *sc, unsigned vector, unsigned selector,
                    uint64_t offset, unsigned access, unsigned ist)
{
    unsigned bytes = scene_is_long(sc) ? 16 : 8;
    scene_gate(sc, AT_IDT + vector * bytes, selector, offset, access, ist);
}

struct segment scene_segment(const struct scene *sc, unsigned selector)
{
    uint32_t table = selector & 4 ? AT_LDT : AT_GDT;
    uint64_t d = scene_get(sc, table + (selector & 0xfff8), 8);
    struct segment s = {
        .base = (d >> 16 & 0xffffff) | (d >> 56) << 24,
        .limit = (uint32_t)((d & 0xffff) | (d >> 32 & 0xf0000)),
        .selector = (uint16_t)selector,
        .attr = (uint16_t)(d >> 40 & 0xf0ff),
    };
    if (s.attr & SEG_ATTR_G)
        s.limit = s.limit << 12 | 0xfff;
    return s;
}

unsigned scene_code(const struct scene *sc, unsigned ring)
{
    (void)sc;
    return (SLOT_CODE + 2 * ring) * 8 | ring;
}

unsigned scene_data(const struct scene *sc, unsigned ring)
{
    (void)sc;
    return (SLOT_DATA + 2 * ring) * 8 | ring;
}

static void random_descriptor(struct scene *sc, uint32_t at)
{
    static const uint32_t bases[] = {0, 0, 0, AT_CODE, AT_DATA, 0x12345};
    static const uint32_t limits[] = {0xfffff, 0xfffff, 0xffff, 0x7fff, 0x8fff,
                                      0,       0x10,    0x7010, 0xabcde};
    unsigned type = scene_below(sc, 16), s = scene_chance(sc, 75) ? 0x10 : 0;
    unsigned access =
        type | s | scene_below(sc, 4) << 5 | (scene_chance(sc, 85) ? 0x80u : 0);
    if (scene_chance(sc,
                     40)) /* the running level is the most interesting one */
        access = (access & ~0x60u) | sc->cpl << 5;
    if (!s && ((type & 7) == 4 || type == 5)) {
        scene_gate(sc, at, scene_code(sc, scene_below(sc, 4)),
                   AT_TARGET + scene_below(sc, 64), access, scene_below(sc, 4));
        if (scene_chance(sc, 20))
            scene_put(sc, at + 2, scene_selector(sc), 2);
        return;
    }
    scene_descriptor(sc, at, PICK(sc, bases), PICK(sc, limits), access,
                     scene_below(sc, 16));
}

void scene_random_tables(struct scene *sc)
{
    for (unsigned k = SLOT_RANDOM; k < SLOT_END; k++)
        random_descriptor(sc, AT_GDT + k * 8);
    for (unsigned k = 0; k < 32; k++)
        random_descriptor(sc, AT_LDT + k * 8);
    if (scene_chance(sc, 20))
        sc->s.gdtr.limit = (uint16_t)(SLOT_RANDOM * 8 + scene_below(sc, 256));
    if (scene_chance(sc, 20))
        sc->s.ldtr.limit = scene_below(sc, 256);
}

unsigned scene_selector(struct scene *sc)
{
    unsigned rpl = scene_chance(sc, 60) ? sc->cpl : scene_below(sc, 4);
    switch (scene_below(sc, 12)) {
    case 0:
        return scene_below(sc, 4);
    case 1:
    case 2:
        return (unsigned)scene_below(sc, SLOT_RANDOM) * 8 | rpl;
    case 3:
    case 4:
    case 5:
        return scene_below(sc, 33) * 8 | 4 | rpl;
    case 6:
        return (unsigned)scene_random(sc) & 0xffff;
    case 7:
        return scene_code(sc, sc->cpl);
    case 8:
        return scene_data(sc, sc->cpl);
    default:
        return (SLOT_RANDOM + scene_below(sc, SLOT_END - SLOT_RANDOM)) * 8 |
               rpl;
    }
}

/* ---- tables of a mode */

static void put_gdt(struct scene *sc)
{
    bool lm = scene_is_long(sc);
    bool small = scene_is_16(sc);
    memset(sc->mem + AT_GDT, 0, SLOT_END * 8);
    memset(sc->mem + AT_LDT, 0, 0x1000);
    for (unsigned r = 0; r < 4; r++) {
        unsigned ring = r << 5;
        scene_descriptor(sc, AT_GDT + (SLOT_CODE + 2 * r) * 8, 0, 0xfffff,
                         0x9b | ring, lm ? 0xa : 0xc);
        scene_descriptor(sc, AT_GDT + (SLOT_DATA + 2 * r) * 8, 0, 0xfffff,
                         0x93 | ring, 0xc);
        scene_descriptor(sc, AT_GDT + (SLOT_MY_CODE + r) * 8, 0,
                         small ? 0xffff : 0xfffff, 0x9b | ring,
                         small ? 0 : 0xc);
        scene_descriptor(sc, AT_GDT + (SLOT_MY_DATA + r) * 8, 0,
                         small ? 0xffff : 0xfffff, 0x93 | ring,
                         small ? 0 : 0xc);
    }
    scene_descriptor(sc, AT_GDT + SLOT_TSS * 8, AT_TSS, 0xfff, 0x8b, 0);
    scene_descriptor(sc, AT_GDT + SLOT_LDT * 8, AT_LDT, 0xff, 0x82, 0);
    if (lm)
        return;
    scene_descriptor(sc, AT_GDT + SLOT_TSS32 * 8, AT_TSS32, 0x67, 0xe9, 0);
    scene_descriptor(sc, AT_GDT + SLOT_TSS16 * 8, AT_TSS16, 0x2b, 0xe1, 0);
    scene_descriptor(sc, AT_GDT + SLOT_TSS_BUSY * 8, AT_TSS32, 0x67, 0x8b, 0);
}

static void put_idt(struct scene *sc)
{
    unsigned bytes = scene_is_long(sc) ? 16 : 8;
    memset(sc->mem + AT_IDT, 0, 0x1000);
    if (sc->mode == MODE_REAL) {
        for (unsigned v = 0; v < 256; v++)
            scene_put(sc, AT_IDT + 4 * v, (AT_HANDLER + 4 * v) | 0ull << 16, 4);
    } else {
        for (unsigned v = 0; v < 256; v++)
            scene_idt_gate(sc, v, scene_code(sc, 0), AT_HANDLER + 4 * v,
                           v & 1 ? 0xee : 0xef, 0);
    }
    sc->s.idtr = (struct table_register){
        .base = AT_IDT,
        .limit = (uint16_t)(sc->mode == MODE_REAL ? 0x3ff : 256 * bytes - 1)};
    for (unsigned v = 0; v < 256; v++) /* the 8086 handlers */
        scene_put(sc, 4 * v, (AT_HANDLER + 4 * v) | 0ull << 16, 4);
}

static void put_tss(struct scene *sc)
{
    memset(sc->mem + AT_TSS, 0, 0x1000);
    if (scene_is_long(sc)) {
        for (unsigned r = 0; r < 3; r++)
            scene_put(sc, AT_TSS + 4 + 8 * r, AT_STACK + 0x1000 * r + 0x800, 8);
        for (unsigned n = 1; n < 8; n++)
            scene_put(sc, AT_TSS + 28 + 8 * n, AT_IST + 0x100 * n, 8);
    } else {
        for (unsigned r = 0; r < 3; r++) {
            scene_put(sc, AT_TSS + 4 + 8 * r, AT_STACK + 0x1000 * r + 0x800, 4);
            scene_put(sc, AT_TSS + 8 + 8 * r, scene_data(sc, r), 2);
        }
    }
    scene_put(sc, AT_TSS + 102, 0x68 + 32, 2); /* behind the redirection map */
    for (unsigned k = 0; k < 32 + 0x400; k += 8)
        scene_put(sc, AT_TSS + 0x68 + k, scene_random(sc) & scene_random(sc),
                  8);
}

static void put_paging(struct scene *sc)
{
    struct sys_state *s = &sc->s;
    memset(sc->mem + AT_PML4, 0, AT_PT_WINDOW + 0x1000 - AT_PML4);
    if (sc->paging == PAGING_NONE)
        return;
    unsigned entry = sc->paging == PAGING_32 ? 4 : 8;
    for (unsigned p = 0; p < SYS_MEM_BYTES / 4096; p++)
        scene_put(sc, AT_PT + p * entry, p * 4096u | 0x67, entry);
    s->cr0 |= CR0_PG | (scene_chance(sc, 50) ? CR0_WP : 0);
    if (sc->paging == PAGING_32) {
        scene_put(sc, AT_PD, AT_PT | 0x67, 4);
        s->cr3 = AT_PD;
        return;
    }
    scene_put(sc, AT_PD, AT_PT | 0x67, 8);
    scene_put(sc, AT_PD + 8, AT_PT_WINDOW | 0x67, 8);
    s->cr4 |= CR4_PAE;
    if (scene_chance(sc, 70))
        s->efer |= EFER_NXE;
    if (sc->paging == PAGING_PAE) {
        for (unsigned k = 0; k < 4; k++)
            scene_put(sc, AT_PDPT + 8 * k, (AT_PD + 0x1000 * k) | 1, 8);
        s->cr3 = AT_PDPT;
        return;
    }
    scene_put(sc, AT_PML4, AT_PDPT | 0x67, 8);
    scene_put(sc, AT_PDPT, AT_PD | 0x67, 8);
    s->cr3 = AT_PML4;
    s->efer |= EFER_LME | EFER_LMA;
}

static void enter_8086(struct scene *sc)
{
    struct sys_state *s = &sc->s;
    unsigned attr = sc->mode == MODE_V86 ? 0xf3 : 0x93;
    for (unsigned k = 0; k < SEG_COUNT; k++)
        s->seg[k] = (struct segment){.limit = 0xffff, .attr = (uint16_t)attr};
    unsigned cs = scene_chance(sc, 50) ? 0x800 : 0;
    s->seg[SEG_CS].selector = (uint16_t)cs;
    s->seg[SEG_CS].base = cs * 16;
}

static void enter_protected(struct scene *sc)
{
    struct sys_state *s = &sc->s;
    unsigned r = sc->cpl;
    unsigned code =
        sc->mode == MODE_LONG ? scene_code(sc, r) : (SLOT_MY_CODE + r) * 8 | r;
    unsigned data =
        sc->mode == MODE_LONG ? scene_data(sc, r) : (SLOT_MY_DATA + r) * 8 | r;
    for (unsigned k = 0; k < SEG_COUNT; k++)
        s->seg[k] = scene_segment(sc, k == SEG_CS ? code : data);
}

static void random_flags(struct scene *sc)
{
    uint64_t f = scene_random(sc) & (FLAGS_ARITH | FLAG_ID | FLAG_IF);
    if (scene_chance(sc, 20))
        f |= FLAG_DF;
    if (scene_chance(sc, 20) && !(sc->is_soft_kvm && sc->cpl == 3))
        f |= FLAG_AC;
    if (!sc->is_soft_kvm || sc->cpl != 3)
        f |= (uint64_t)scene_below(sc, 4) << 12;
    sc->s.rflags = f | 2 | (sc->mode == MODE_V86 ? FLAG_VM : 0);
    if (sc->mode == MODE_REAL)
        sc->s.rflags &= ~(uint64_t)FLAG_AC;
}

void scene_begin(struct scene *sc, uint64_t seed)
{
    memset(&sc->s, 0, sizeof sc->s);
    memset(sc->mem, 0xf4, sizeof sc->mem);
    sc->random = seed;
    sc->is_native = false;
}

void scene_enter(struct scene *sc, enum scene_mode mode, unsigned cpl)
{
    struct sys_state *s = &sc->s;
    if (sc->is_soft_kvm && mode == MODE_V86)
        mode = MODE_P32;
    if (sc->is_soft_kvm && cpl == 3 && !sc->is_native)
        cpl = 1;
    sc->mode = mode;
    sc->cpl = mode == MODE_REAL ? 0 : mode == MODE_V86 ? 3 : cpl;
    sc->paging = mode >= MODE_LONG ? PAGING_LONG
                 : mode == MODE_REAL || sc->is_soft_kvm
                     ? PAGING_NONE
                     : (enum scene_paging)scene_below(sc, 3);
    s->cr0 = CR0_ET | CR0_NE | (mode == MODE_REAL ? 0 : CR0_PE);
    s->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | (scene_chance(sc, 50) ? CR4_DE : 0);
    s->cr2 = scene_random(sc) & 0xffffffff;
    s->dr[6] = 0xffff0ff0;
    s->dr[7] = 0x400;
    for (unsigned k = 0; k < 16; k++)
        s->r[k] = scene_random(sc);
    if (mode != MODE_LONG)
        for (unsigned k = 0; k < 16; k++)
            s->r[k] = k < 8 ? (uint32_t)s->r[k] : 0;
    put_gdt(sc);
    put_idt(sc);
    put_tss(sc);
    put_paging(sc);
    random_flags(sc);
    if (scene_is_8086(sc))
        enter_8086(sc);
    else
        enter_protected(sc);
    s->gdtr = (struct table_register){AT_GDT, SLOT_END * 8 - 1};
    s->ldtr = scene_segment(sc, SLOT_LDT * 8);
    s->tr = scene_segment(sc, SLOT_TSS * 8);
    s->r[REG_RSP] = AT_STACK + 0x1000 * sc->cpl + 0x800;
    s->msr[SYS_PAT] = 0x0007040600070406;
    sc->start = sc->at = AT_CODE + 0x100 + scene_below(sc, 64);
    s->rip = sc->start - s->seg[SEG_CS].base;
}

void scene_enter_any(struct scene *sc)
{
    scene_enter(sc, scene_below(sc, SCENE_MODES),
                scene_chance(sc, 40)   ? 0
                : scene_chance(sc, 60) ? 3
                                       : 1 + scene_below(sc, 2));
}

void scene_enter_protected(struct scene *sc)
{
    scene_enter(sc, MODE_P16 + scene_below(sc, SCENE_MODES - MODE_P16),
                scene_chance(sc, 40)   ? 0
                : scene_chance(sc, 60) ? 3
                                       : 1 + scene_below(sc, 2));
}

/* ---- odd IDT entries, other tasks */

void scene_random_idt(struct scene *sc)
{
    static const uint8_t legacy[] = {0x8e, 0x8f, 0x86, 0x87,
                                     0x85, 0x0e, 0x8c, 0x82};
    static const uint8_t lm[] = {0x8e, 0x8f, 0x8e, 0x0e, 0x8c, 0x86};
    static const uint8_t favourites[] = {0, 1, 3, 4, 6, 8, 10, 11, 12, 13, 14};
    if (sc->mode == MODE_REAL)
        return;
    for (unsigned n = 0; n < 4; n++) {
        unsigned v = PICK(sc, favourites);
        unsigned access = scene_is_long(sc) ? PICK(sc, lm) : PICK(sc, legacy);
        unsigned selector = scene_code(sc, scene_below(sc, 4));
        access |= scene_below(sc, 4) << 5;
        if (scene_chance(sc, 15))
            selector = scene_selector(sc);
        if ((access & 0x1f) == 5)
            selector = (SLOT_TSS32 + scene_below(sc, 3)) * 8;
        scene_idt_gate(
            sc, v, selector, AT_HANDLER + 4 * v, access,
            scene_is_long(sc) && scene_chance(sc, 40) ? scene_below(sc, 8) : 0);
    }
    if (scene_chance(sc, 10))
        sc->s.idtr.limit = (uint16_t)scene_below(sc, 0x200);
}

static void task_32(struct scene *sc, unsigned ring)
{
    memset(sc->mem + AT_TSS32, 0, 0x80);
    memcpy(sc->mem + AT_TSS32 + 4, sc->mem + AT_TSS + 4, 24);
    scene_put(sc, AT_TSS32, SLOT_TSS * 8, 2);
    scene_put(sc, AT_TSS32 + 28, sc->s.cr3, 4);
    scene_put(sc, AT_TSS32 + 32, AT_TARGET + scene_below(sc, 64), 4);
    unsigned flags = (unsigned)scene_random(sc) & FLAGS_ARITH;
    bool v86 = scene_chance(sc, 10);
    scene_put(sc, AT_TSS32 + 36, flags | 2 | (v86 ? FLAG_VM : 0), 4);
    for (unsigned k = 0; k < 8; k++)
        scene_put(sc, AT_TSS32 + 40 + 4 * k, scene_random(sc), 4);
    scene_put(sc, AT_TSS32 + 56, AT_STACK + 0x1000 * ring + 0x700, 4);
    for (unsigned k = 0; k < SEG_COUNT; k++) {
        unsigned sel =
            k == SEG_CS ? scene_code(sc, ring) : scene_data(sc, ring);
        if (scene_chance(sc, 4))
            sel = scene_selector(sc);
        scene_put(sc, AT_TSS32 + 72 + 4 * k, v86 ? 0 : sel, 4);
    }
    scene_put(sc, AT_TSS32 + 96,
              scene_chance(sc, 70) ? SLOT_LDT * 8 : scene_selector(sc), 2);
    scene_put(sc, AT_TSS32 + 100, scene_chance(sc, 5), 2);
}

static void task_16(struct scene *sc, unsigned ring)
{
    memset(sc->mem + AT_TSS16, 0, 0x40);
    scene_put(sc, AT_TSS16, SLOT_TSS * 8, 2);
    scene_put(sc, AT_TSS16 + 14, AT_TARGET + scene_below(sc, 64), 2);
    scene_put(sc, AT_TSS16 + 16, ((unsigned)scene_random(sc) & FLAGS_ARITH) | 2,
              2);
    for (unsigned k = 0; k < 8; k++)
        scene_put(sc, AT_TSS16 + 18 + 2 * k, scene_random(sc), 2);
    scene_put(sc, AT_TSS16 + 26, AT_STACK + 0x1000 * ring + 0x700, 2);
    for (unsigned k = 0; k < 4; k++)
        scene_put(sc, AT_TSS16 + 34 + 2 * k,
                  scene_chance(sc, 4) ? scene_selector(sc)
                  : k == SEG_CS       ? scene_code(sc, ring)
                                      : scene_data(sc, ring),
                  2);
    scene_put(sc, AT_TSS16 + 42, SLOT_LDT * 8, 2);
}

void scene_tasks(struct scene *sc)
{
    task_32(sc, scene_below(sc, 4));
    task_16(sc, scene_below(sc, 4));
}

/* ---- bytes */

void scene_emit(struct scene *sc, unsigned count, const uint8_t *bytes)
{
    memcpy(sc->mem + sc->at, bytes, count);
    sc->at += count;
}

void scene_emit_value(struct scene *sc, uint64_t value, unsigned bytes)
{
    scene_put(sc, sc->at, value, bytes);
    sc->at += bytes;
}

void scene_emit_size(struct scene *sc, unsigned bytes)
{
    if (bytes == 8)
        EMIT(sc, 0x48);
    else if ((bytes == 2) != scene_is_16(sc))
        EMIT(sc, 0x66);
}

void scene_emit_mem(struct scene *sc, unsigned reg, uint32_t address)
{
    uint8_t modrm = (uint8_t)(reg << 3);
    if (scene_is_16(sc)) {
        EMIT(sc, modrm | 6);
        scene_emit_value(sc, address, 2);
    } else if (sc->mode == MODE_LONG) {
        EMIT(sc, modrm | 4, 0x25);
        scene_emit_value(sc, address, 4);
    } else {
        EMIT(sc, modrm | 5);
        scene_emit_value(sc, address, 4);
    }
}

unsigned scene_size(struct scene *sc)
{
    static const uint8_t sizes[] = {2, 4, 8};
    return sizes[scene_below(sc, sc->mode == MODE_LONG ? 3 : 2)];
}
