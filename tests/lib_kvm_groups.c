/* One function per group: a random scenario around one kind of instruction. */
#include "lib_kvm_scene.h"

#include <string.h>

/* ---- segment registers ------------------------------------------------------
 */

static void touch(struct scene *sc, unsigned seg)
{
    static const uint8_t prefix[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    EMIT(sc, prefix[seg], (uint8_t)(0x88 | scene_below(sc, 2) << 1));
    scene_emit_mem(sc, 2,
                   scene_chance(sc, 50) ? AT_DATA + scene_below(sc, 32)
                                        : scene_below(sc, 0x40));
}

static void group_segment(struct scene *sc)
{
    static const uint8_t regs[] = {SEG_ES, SEG_SS, SEG_DS, SEG_FS, SEG_GS};
    static const uint8_t far[] = {0xc5, 0xc4, 0xb2, 0xb4, 0xb5};
    unsigned seg = PICK(sc, regs), selector;
    scene_enter_any(sc);
    scene_random_tables(sc);
    selector = scene_is_8086(sc) ? (unsigned)scene_random(sc) & 0xfff
                                 : scene_selector(sc);
    switch (scene_below(sc, 5)) {
    case 0:
    case 1:
        sc->s.r[REG_RAX] = (sc->s.r[REG_RAX] & ~0xffffull) | selector;
        if (scene_chance(sc, 20))
            EMIT(sc, 0x66);
        EMIT(sc, 0x8e, (uint8_t)(0xc0 | seg << 3));
        break;
    case 2: /* POP */
        scene_put(sc, (uint32_t)sc->s.r[REG_RSP],
                  selector | scene_random(sc) << 16, 8);
        if (scene_chance(sc, 30))
            EMIT(sc, 0x66);
        if (seg >= SEG_FS)
            EMIT(sc, 0x0f, (uint8_t)(0xa1 + 8 * (seg - SEG_FS)));
        else
            EMIT(sc, (uint8_t)(0x07 + 8 * seg));
        break;
    case 3: { /* LDS and relatives */
        unsigned n = scene_below(sc, 5), size = scene_size(sc);
        scene_emit_size(sc, size);
        if (n >= 2)
            EMIT(sc, 0x0f);
        EMIT(sc, far[n]);
        scene_emit_mem(sc, REG_RDX, AT_DATA);
        scene_put(sc, AT_DATA, scene_random(sc), 8);
        scene_put(sc, AT_DATA + size, selector, 2);
        break;
    }
    default: /* LLDT, LTR */
        sc->s.r[REG_RAX] = scene_chance(sc, 50)
                               ? (SLOT_RANDOM + scene_below(sc, 32)) * 8
                               : scene_selector(sc);
        if (scene_is_long(sc))
            scene_descriptor(sc, AT_GDT + (sc->s.r[REG_RAX] & 0xff8 & 511),
                             AT_DATA, 0x67,
                             0x80 | PICK(sc, ((uint8_t[]){2, 9, 11, 3, 1})),
                             scene_below(sc, 16));
        EMIT(sc, 0x0f, 0x00, (uint8_t)(0xd0 | scene_below(sc, 2) << 3));
        return;
    }
    if (scene_chance(sc, 60))
        touch(sc, seg);
}

/* ---- LAR, LSL, VERR, VERW, ARPL ---------------------------------------------
 */

static void group_inspect(struct scene *sc)
{
    static const uint8_t ops[] = {0x02, 0x03};
    if (scene_chance(sc, 95))
        scene_enter_protected(sc);
    else
        scene_enter_any(sc);
    scene_random_tables(sc);
    unsigned selector = scene_selector(sc);
    sc->s.r[REG_RAX] = (sc->s.r[REG_RAX] & ~0xffffull) | selector;
    scene_put(sc, AT_DATA, selector, 2);
    bool mem = scene_chance(sc, 40);
    switch (scene_below(sc, 4)) {
    case 0:
    case 1:
        scene_emit_size(sc, scene_size(sc));
        EMIT(sc, 0x0f, PICK(sc, ops));
        if (mem)
            scene_emit_mem(sc, REG_RDX, AT_DATA);
        else
            EMIT(sc, 0xd0);
        break;
    case 2:
        EMIT(sc, 0x0f, 0x00);
        if (mem)
            scene_emit_mem(sc, 4 + scene_below(sc, 2), AT_DATA);
        else
            EMIT(sc, (uint8_t)(0xe0 | scene_below(sc, 2) << 3));
        break;
    default:
        if (sc->mode == MODE_LONG)
            break; /* MOVSXD there */
        EMIT(sc, 0x63);
        if (mem)
            scene_emit_mem(sc, REG_RDX, AT_DATA);
        else
            EMIT(sc, 0xd0);
    }
}

/* ---- far transfers ----------------------------------------------------------
 */

/* A place for a gate or segment that a far transfer names. */
static unsigned far_selector(struct scene *sc)
{
    unsigned slot = SLOT_RANDOM + 2 * scene_below(sc, 15),
             ring = scene_below(sc, 4);
    unsigned rpl = scene_chance(sc, 70) ? sc->cpl : scene_below(sc, 4);
    unsigned dpl = scene_chance(sc, 70) ? 3 : scene_below(sc, 4);
    unsigned p = scene_chance(sc, 92) ? 0x80 : 0;
    uint32_t at = AT_GDT + slot * 8;
    switch (scene_below(sc, 8)) {
    case 0:
    case 1:
    case 2:
        if (scene_chance(sc, 60))
            ring = scene_below(sc, sc->cpl + 1);
        scene_gate(
            sc, at,
            scene_chance(sc, 90) ? scene_code(sc, ring) : scene_selector(sc),
            scene_chance(sc, 95) ? AT_TARGET + scene_below(sc, 64)
                                 : scene_random(sc),
            p | dpl << 5 | (scene_is_long(sc) || scene_chance(sc, 70) ? 12 : 4),
            scene_is_long(sc) ? 0 : scene_below(sc, 32));
        return slot * 8 | rpl;
    case 3: /* conforming code */
        scene_descriptor(sc, at, 0, 0xfffff, p | scene_below(sc, 4) << 5 | 0x1e,
                         scene_is_long(sc) ? 0xa : 0xc);
        return slot * 8 | rpl;
    case 4:
        scene_descriptor(sc, at, 0, scene_chance(sc, 50) ? 0xfffff : 0xffff,
                         p | sc->cpl << 5 | 0x1a, scene_below(sc, 16));
        return slot * 8 | rpl;
    case 5:
        return ((SLOT_MY_CODE + sc->cpl) * 8) | rpl;
    case 6:
        return scene_code(sc, sc->cpl);
    default:
        return scene_selector(sc);
    }
}

static void group_far(struct scene *sc)
{
    scene_enter_any(sc);
    scene_random_tables(sc);
    unsigned size = scene_size(sc);
    unsigned selector =
        scene_is_8086(sc) ? 0x100 * scene_below(sc, 12) : far_selector(sc);
    uint64_t offset = AT_TARGET + scene_below(sc, 128);
    if (scene_is_8086(sc))
        offset -= selector * 16;
    if (scene_chance(sc, 5))
        offset = scene_random(sc);
    scene_emit_size(sc, size);
    switch (scene_below(sc, 5)) {
    case 0:
        if (sc->mode == MODE_LONG)
            break;
        EMIT(sc, scene_chance(sc, 50) ? 0xea : 0x9a);
        scene_emit_value(sc, offset, size);
        scene_emit_value(sc, selector, 2);
        break;
    case 1:
    case 2:
        scene_put(sc, AT_DATA, offset, size);
        scene_put(sc, AT_DATA + size, selector, 2);
        EMIT(sc, 0xff);
        scene_emit_mem(sc, scene_chance(sc, 50) ? 5 : 3, AT_DATA);
        break;
    default: { /* RET: same or outer ring */
        uint32_t sp = (uint32_t)sc->s.r[REG_RSP];
        unsigned ring = sc->cpl + scene_below(sc, 4 - sc->cpl);
        unsigned extra = scene_chance(sc, 50) ? scene_below(sc, 6) * 4 : 0;
        if (scene_chance(sc, 70) && !scene_is_8086(sc))
            selector = scene_chance(sc, 70) ? scene_code(sc, ring)
                                            : (SLOT_MY_CODE + ring) * 8 | ring;
        scene_put(sc, sp, offset, size);
        scene_put(sc, sp + size, selector, size);
        scene_put(sc, sp + 2 * size + extra,
                  AT_STACK + 0x1000 * ring + 0x600 +
                      (size > 2 ? scene_random(sc) << 40 : 0),
                  size);
        scene_put(sc, sp + 3 * size + extra,
                  scene_chance(sc, 80) ? scene_data(sc, selector & 3)
                                       : scene_selector(sc),
                  size);
        if (extra) {
            EMIT(sc, 0xca);
            scene_emit_value(sc, extra, 2);
        } else {
            EMIT(sc, 0xcb);
        }
    }
    }
}

/* ---- IRET -------------------------------------------------------------------
 */

static void group_iret(struct scene *sc)
{
    scene_enter_any(sc);
    scene_random_tables(sc);
    unsigned size = scene_size(sc), n = 0;
    uint64_t f[9] = {0};
    unsigned ring = sc->cpl + scene_below(sc, 4 - sc->cpl);
    bool v86 = !scene_is_long(sc) && scene_chance(sc, 20);
    uint64_t flags = scene_random(sc) & 0x3f7fd7;
    if (scene_chance(sc, 90))
        flags &= ~(uint64_t)FLAG_TF;
    if (!v86)
        flags &= ~(uint64_t)FLAG_VM;
    else
        flags |= FLAG_VM;
    if (scene_chance(sc, 70))
        flags &= ~(uint64_t)(FLAG_NT | FLAG_VIP);
    f[0] = AT_TARGET + scene_below(sc, 64);
    f[1] = scene_is_8086(sc) || v86 ? 0
           : scene_chance(sc, 60)   ? scene_code(sc, ring)
           : scene_chance(sc, 60)   ? ((SLOT_MY_CODE + ring) * 8 | ring)
                                    : scene_selector(sc);
    f[2] = flags;
    f[3] = AT_STACK + 0x1000 * ring + 0x600;
    f[4] = v86                    ? scene_below(sc, 256)
           : scene_chance(sc, 70) ? scene_data(sc, f[1] & 3)
           : scene_chance(sc, 50) ? scene_below(sc, 4)
                                  : scene_selector(sc);
    for (n = 5; n < 9; n++)
        f[n] = scene_below(sc, 0x1000);
    for (n = 0; n < 9; n++)
        scene_put(sc, (uint32_t)sc->s.r[REG_RSP] + n * size, f[n], size);
    if (sc->mode == MODE_V86 && scene_chance(sc, 60))
        sc->s.cr4 |= CR4_VME;
    if (scene_chance(sc, 10))
        sc->s.rflags |= FLAG_VIP;
    if (scene_chance(sc, 6) && !scene_is_8086(sc)) {
        sc->s.rflags |= FLAG_NT;
        scene_tasks(sc);
        scene_put(sc, AT_TSS, SLOT_TSS_BUSY * 8, 2);
    }
    scene_emit_size(sc, size);
    EMIT(sc, 0xcf);
}

/* ---- interrupts and exceptions ----------------------------------------------
 */

static void emit_fault(struct scene *sc)
{
    switch (scene_below(sc, 9)) {
    case 0:
        EMIT(sc, 0x0f, 0x0b);
        break;
    case 1: /* divide by zero */
        sc->s.r[REG_RCX] = 0;
        EMIT(sc, 0xf7, 0xf1);
        break;
    case 2:
        sc->s.cr0 |= CR0_TS;
        EMIT(sc, 0xd9, 0xc0);
        break;
    case 3:
        sc->s.r[REG_RAX] = SLOT_RANDOM * 8 | sc->cpl;
        scene_descriptor(sc, AT_GDT + SLOT_RANDOM * 8, 0, 0xfffff,
                         0x13 | sc->cpl << 5, 0xc);
        EMIT(sc, 0x8e, scene_chance(sc, 50) ? 0xd8 : 0xd0);
        break;
    case 4:
        sc->s.r[REG_RAX] = 0xfff8;
        EMIT(sc, 0x8e, 0xd8);
        break;
    case 5:
        EMIT(sc, 0xcc);
        break;
    case 6:
        EMIT(sc, 0xce);
        break;
    case 7:
        EMIT(sc, 0xa1); /* beyond what is mapped, or odd for #AC */
        scene_emit_value(sc, scene_chance(sc, 50) ? AT_DATA + 1 : 0xfffff0,
                         sc->mode == MODE_LONG ? 8
                         : scene_is_16(sc)     ? 2
                                               : 4);
        if (scene_chance(sc, 50)) {
            sc->s.cr0 |= CR0_AM;
            sc->s.rflags |= FLAG_AC;
        }
        break;
    default:
        EMIT(sc, 0xcd, (uint8_t)scene_below(sc, 0x40));
    }
}

static void group_int(struct scene *sc)
{
    scene_enter_any(sc);
    scene_random_tables(sc);
    if (!scene_is_long(sc) && sc->mode != MODE_REAL)
        scene_tasks(sc);
    if (scene_chance(sc, 60))
        scene_random_idt(sc);
    if (sc->mode == MODE_V86) {
        if (scene_chance(sc, 60))
            sc->s.cr4 |= CR4_VME;
        if (scene_chance(sc, 30))
            sc->s.rflags |= FLAG_VIF;
    }
    if (scene_chance(sc, 10) && !scene_is_8086(sc))
        scene_put(sc, AT_TSS + 8, scene_selector(sc), 2);
    if (scene_chance(sc, 10))
        sc->s.r[REG_RSP] = scene_below(sc, 0x30);
    emit_fault(sc);
}

/* ---- limits -----------------------------------------------------------------
 */

static void group_limit(struct scene *sc)
{
    sc->is_native = true;
    static const uint8_t prefix[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    static const uint8_t ops[][2] = {{0x8a, 1}, {0x8b, 0}, {0x88, 1}, {0x89, 0},
                                     {0x01, 0}, {0x03, 0}, {0x87, 0}};
    scene_enter(sc,
                scene_below(sc, 2) ? MODE_P16 + scene_below(sc, 2)
                                   : MODE_LONG + scene_below(sc, 3),
                scene_below(sc, 4));
    unsigned seg = scene_below(sc, SEG_COUNT),
             edge = 0x7000 + scene_below(sc, 64);
    if (seg != SEG_CS && (seg != SEG_SS || scene_chance(sc, 70))) {
        uint32_t at = AT_GDT + SLOT_RANDOM * 8;
        unsigned type = (unsigned)PICK(sc, ((uint8_t[]){0, 2, 4, 6, 8, 10}));
        if (seg == SEG_SS)
            type = 2 | scene_below(sc, 2) << 2;
        scene_descriptor(sc, at, scene_below(sc, 3) * 0x800, edge,
                         0x91 | type | sc->cpl << 5,
                         scene_below(sc, 2) ? 0 : 4);
        if (scene_chance(sc, 20))
            scene_put(sc, at + 6, 0xc0 | scene_below(sc, 16), 1);
        sc->s.seg[seg] = scene_segment(sc, SLOT_RANDOM * 8 | sc->cpl);
        if (scene_chance(sc, 5))
            sc->s.seg[seg] = (struct segment){.selector = 0};
    }
    switch (scene_below(sc, 5)) {
    case 0: /* stack */
        sc->s.r[REG_RSP] = edge - 8 + scene_below(sc, 20);
        scene_emit_size(sc, scene_size(sc));
        EMIT(sc, PICK(sc, ((uint8_t[]){0x50, 0x58, 0x60, 0x61, 0x9c, 0xc9, 0xc3,
                                       0x06, 0x07})));
        return;
    case 1: /* string */
        sc->s.r[REG_RSI] = edge - 6 + scene_below(sc, 12);
        sc->s.r[REG_RDI] = edge - 6 + scene_below(sc, 12);
        sc->s.r[REG_RCX] = scene_below(sc, 6);
        EMIT(sc, 0xf3, prefix[seg],
             PICK(sc, ((uint8_t[]){0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad})));
        return;
    default:
        break;
    }
    unsigned op = scene_below(sc, sizeof ops / sizeof ops[0]);
    EMIT(sc, prefix[seg]);
    if (!ops[op][1])
        scene_emit_size(sc, scene_size(sc));
    EMIT(sc, ops[op][0]);
    scene_emit_mem(sc, scene_below(sc, 3), edge - 9 + scene_below(sc, 12));
}

/* ---- page faults ------------------------------------------------------------
 */

static uint64_t random_entry(struct scene *sc, uint64_t frame)
{
    uint64_t e = frame | (scene_below(sc, 8) ? 1 : 0) |
                 (scene_below(sc, 4) ? 2 : 0) | (scene_below(sc, 3) ? 4 : 0);
    if (scene_chance(sc, 40))
        e |= 0x20;
    if (scene_chance(sc, 30))
        e |= 0x40;
    if (sc->paging != PAGING_32) {
        if (scene_chance(sc, 15))
            e |= 1ull << 63;
        if (scene_chance(sc, 4))
            e |= 1ull << (40 + scene_below(sc, 12));
    }
    return e;
}

static void group_page(struct scene *sc)
{
    sc->is_native = true;
    do {
        if (scene_chance(sc, 10))
            scene_enter(sc, MODE_V86, 3);
        else
            scene_enter_protected(sc);
    } while (sc->paging == PAGING_NONE);
    if (scene_is_16(sc))
        return;
    unsigned entry = sc->paging == PAGING_32 ? 4 : 8;
    uint32_t window = sc->paging == PAGING_32 ? 0x400000 : AT_WINDOW;
    scene_put(sc, AT_PD + entry, random_entry(sc, AT_PT_WINDOW), entry);
    for (unsigned p = 0; p < 4; p++)
        scene_put(sc, AT_PT_WINDOW + p * entry,
                  random_entry(sc, AT_FAR_DATA + 0x1000 * p), entry);
    if (sc->paging == PAGING_32 && scene_chance(sc, 40))
        sc->s.cr4 |= CR4_PSE;
    if (scene_chance(sc, 15)) /* a large page: memory ends before it does */
        scene_put(sc, AT_PD + entry,
                  random_entry(sc, 0) | 0x80 |
                      (scene_chance(sc, 10) ? 0x2000 : 0),
                  entry);
    if (sc->paging == PAGING_LONG && scene_chance(sc, 20))
        scene_put(sc, AT_PDPT, random_entry(sc, AT_PD) | 5, 8);
    if (scene_chance(sc, 40) && sc->paging != PAGING_32)
        sc->s.efer |= EFER_NXE;
    uint32_t at = window + scene_below(sc, 3) * 0x1000 +
                  (scene_chance(sc, 50) ? 0xff8 + scene_below(sc, 12)
                                        : scene_below(sc, 256));
    unsigned size = scene_size(sc);
    switch (scene_below(sc, 7)) {
    case 0:
        scene_emit_size(sc, size);
        EMIT(sc, 0x8b);
        scene_emit_mem(sc, REG_RDX, at);
        break;
    case 1:
        scene_emit_size(sc, size);
        EMIT(sc, 0x89);
        scene_emit_mem(sc, REG_RDX, at);
        break;
    case 2:
        scene_emit_size(sc, size);
        EMIT(sc, 0x01);
        scene_emit_mem(sc, REG_RDX, at);
        break;
    case 3: /* stack there */
        sc->s.r[REG_RSP] = at;
        emit_fault(sc);
        break;
    case 4: /* code there */
        sc->s.r[REG_RAX] = at;
        EMIT(sc, 0xff, 0xe0);
        break;
    case 5: /* tables there */
        if (scene_chance(sc, 50))
            sc->s.gdtr.base = window + 0x1000 * scene_below(sc, 3);
        else
            sc->s.idtr.base = window + 0x1000 * scene_below(sc, 3);
        memcpy(sc->mem + AT_FAR_DATA, sc->mem + AT_GDT, 0x1000);
        memcpy(sc->mem + AT_FAR_DATA + 0x1000, sc->mem + AT_IDT, 0x1000);
        emit_fault(sc);
        break;
    default:
        sc->s.r[REG_RSI] = at;
        sc->s.r[REG_RDI] = window + 0x1000 * scene_below(sc, 3) + 0xff0;
        sc->s.r[REG_RCX] = scene_below(sc, 32);
        EMIT(sc, 0xf3, PICK(sc, ((uint8_t[]){0xa4, 0xa5, 0xaa, 0xab, 0xac})));
    }
}

/* ---- flags ------------------------------------------------------------------
 */

static void group_flags(struct scene *sc)
{
    scene_enter_any(sc);
    if (scene_chance(sc, 40))
        sc->s.cr4 |= CR4_VME;
    if (scene_chance(sc, 40))
        sc->s.cr4 |= CR4_PVI;
    if (scene_chance(sc, 40) && sc->mode != MODE_REAL)
        sc->s.rflags |= FLAG_VIF;
    if (scene_chance(sc, 20) && sc->mode != MODE_REAL)
        sc->s.rflags |= FLAG_VIP;
    for (unsigned n = 1 + scene_below(sc, 3); n > 0; n--) {
        uint64_t image = scene_random(sc) & 0xffffffff;
        if (scene_chance(sc, 80))
            image &= ~(uint64_t)FLAG_TF;
        switch (scene_below(sc, 5)) {
        case 0:
            scene_emit_size(sc, scene_size(sc) == 2 ? 2 : 4);
            EMIT(sc, 0x9c);
            break;
        case 1:
            scene_put(sc, (uint32_t)sc->s.r[REG_RSP], image, 8);
            if (scene_chance(sc, 40))
                EMIT(sc, 0x66);
            EMIT(sc, 0x9d);
            break;
        case 2:
            EMIT(sc, 0xfa);
            break;
        case 3:
            EMIT(sc, 0xfb);
            break;
        default:
            EMIT(sc, 0x9c, 0x58);
        }
    }
}

/* ---- control and debug registers --------------------------------------------
 */

static void group_control(struct scene *sc)
{
    static const uint64_t cr0[] = {0x80000001, 0x00000001,  0x80000000,
                                   0x60000011, 0x20000001,  0x80010031,
                                   0x8000003f, 0x100000001, 0x0};
    scene_enter_any(sc);
    if (scene_chance(sc, 85) && sc->mode != MODE_V86 && sc->cpl != 0)
        scene_enter(sc, sc->mode, 0);
    unsigned wide = sc->mode == MODE_LONG;
    uint64_t v = 0;
    switch (scene_below(sc, 8)) {
    case 0:
    case 1:
        v = scene_chance(sc, 30) ? PICK(sc, cr0) : sc->s.cr0;
        v ^= scene_chance(sc, 60) ? 1ull << scene_below(sc, wide ? 64 : 32) : 0;
        sc->s.r[REG_RAX] = v;
        EMIT(sc, 0x0f, 0x22, 0xc0);
        break;
    case 2:
        v = sc->s.cr4 ^
            (scene_chance(sc, 80) ? 1ull << scene_below(sc, wide ? 64 : 24)
                                  : 0);
        sc->s.r[REG_RAX] = v;
        EMIT(sc, 0x0f, 0x22, 0xe0);
        break;
    case 3:
        sc->s.r[REG_RAX] =
            sc->s.cr3 ^
            (scene_chance(sc, 50) ? 1ull << scene_below(sc, wide ? 64 : 12)
                                  : 0);
        EMIT(sc, 0x0f, 0x22, 0xd8);
        break;
    case 4:
        EMIT(sc, 0x0f, scene_chance(sc, 50) ? 0x20 : 0x22,
             (uint8_t)(0xc0 | scene_below(sc, 8) << 3));
        sc->s.r[REG_RAX] =
            scene_chance(sc, 50) ? scene_below(sc, 16) : sc->s.cr0;
        break;
    case 5:
        if (scene_chance(sc, 30))
            sc->s.cr4 ^= CR4_DE;
        sc->s.r[REG_RAX] = scene_chance(sc, 50) ? scene_random(sc) & 0xffffffff
                                                : scene_random(sc) & ~0x2000ull;
        sc->s.r[REG_RAX] &= ~0x20ffull;
        if (!wide)
            sc->s.r[REG_RAX] &= 0xffffffff;
        EMIT(sc, 0x0f, scene_chance(sc, 50) ? 0x21 : 0x23,
             (uint8_t)(0xc0 | scene_below(sc, 8) << 3));
        break;
    case 6: /* LMSW, SMSW */
        sc->s.r[REG_RAX] =
            scene_chance(sc, 50) ? scene_random(sc) & 0xffff : sc->s.cr0;
        scene_emit_size(sc, scene_size(sc));
        EMIT(sc, 0x0f, 0x01);
        scene_put(sc, AT_DATA, scene_random(sc), 2);
        if (scene_chance(sc, 50))
            EMIT(sc, scene_chance(sc, 50) ? 0xf0 : 0xe0);
        else
            scene_emit_mem(sc, scene_chance(sc, 50) ? 6 : 4, AT_DATA);
        break;
    default:
        sc->s.cr0 |= CR0_TS;
        EMIT(sc, 0x0f, 0x06);
    }
    EMIT(sc, 0x90);
}

/* ---- fast system calls ------------------------------------------------------
 */

static void group_fast(struct scene *sc)
{
    struct sys_state *s = &sc->s;
    scene_enter_any(sc);
    bool fits = scene_chance(sc, 85);
    s->msr[SYS_STAR] =
        fits ? (uint64_t)(SLOT_RANDOM * 8) << 32 |
                   (uint64_t)(SLOT_RANDOM * 8 + scene_below(sc, 4)) << 48
             : scene_random(sc);
    s->msr[SYS_LSTAR] = AT_TARGET + scene_below(sc, 64);
    s->msr[SYS_SFMASK] = scene_random(sc) & 0xffffffff;
    s->msr[SYS_KERNEL_GS] = scene_random(sc) >> 18;
    s->msr[SYS_SYSENTER_CS] =
        fits ? SLOT_RANDOM * 8 : scene_below(sc, 0x20000) & 0xfffb;
    s->msr[SYS_SYSENTER_ESP] = AT_STACK + 0x400;
    s->msr[SYS_SYSENTER_EIP] = AT_TARGET + scene_below(sc, 64);
    if (scene_chance(sc, 85) && scene_is_long(sc))
        s->efer |= EFER_SCE;
    s->r[REG_RCX] = scene_chance(sc, 90) ? AT_TARGET : scene_random(sc);
    s->r[REG_RDX] = scene_chance(sc, 90) ? AT_TARGET : scene_random(sc);
    s->r[11] = scene_random(sc) & ~0x100ull;
    if (scene_chance(sc, 50) && !scene_is_8086(sc) && sc->cpl)
        scene_enter(sc, sc->mode, 0);
    if (sc->mode != MODE_LONG) {
        s->r[REG_RCX] &= 0xffffffff;
        s->r[REG_RDX] &= 0xffffffff;
        s->r[11] = 0;
    }
    switch (scene_below(sc, 5)) {
    case 0:
        EMIT(sc, 0x0f, 0x05);
        break;
    case 1:
        if (scene_chance(sc, 50) && sc->mode == MODE_LONG)
            EMIT(sc, 0x48);
        EMIT(sc, 0x0f, 0x07);
        break;
    case 2:
        EMIT(sc, 0x0f, 0x34);
        break;
    case 3:
        if (scene_chance(sc, 50) && sc->mode == MODE_LONG)
            EMIT(sc, 0x48);
        EMIT(sc, 0x0f, 0x35);
        break;
    default:
        EMIT(sc, 0x0f, 0x01, 0xf8);
    }
}

/* ---- MSRs -------------------------------------------------------------------
 */

static void group_msr(struct scene *sc)
{
    static const uint32_t indices[] = {
        0x1b,       0x174,      0x175,      0x176,      0x277,
        0x2ff,      0x250,      0x200,      0x201,      0xc0000080,
        0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100,
        0xc0000101, 0xc0000102, 0xc0000103, 0x12345678, 0x40000001};
    scene_enter_any(sc);
    if (scene_chance(sc, 90) && !scene_is_8086(sc))
        scene_enter(sc, sc->mode, 0);
    uint32_t index = PICK(sc, indices);
    uint64_t value = scene_chance(sc, 30)   ? scene_random(sc)
                     : scene_chance(sc, 40) ? scene_random(sc) >> 17
                     : scene_chance(sc, 50) ? 0x0007040600070406
                                            : scene_random(sc) & 0xfff;
    if (index == 0xc0000080)
        value = sc->s.efer ^
                (scene_chance(sc, 80) ? 1ull << scene_below(sc, 16) : 0);
    if (index == 0x1b)
        value = 0xfee00900 ^ (scene_chance(sc, 50) ? 0x200 : 0);
    if (scene_chance(sc, 85)) {
        sc->s.r[REG_RCX] = index;
        sc->s.r[REG_RAX] = (uint32_t)value;
        sc->s.r[REG_RDX] = value >> 32;
        EMIT(sc, 0x0f, 0x30);
    }
    /* Read it back. The other MSRs of these are not part of the state: only
     * what was just written is comparable. */
    if (scene_chance(sc, 60))
        EMIT(sc, 0x0f, 0x32);
}

/* ---- ports ------------------------------------------------------------------
 */

static void group_io(struct scene *sc)
{
    scene_enter_any(sc);
    if (scene_chance(sc, 30))
        sc->s.tr.limit = 0x60 + scene_below(sc, 0x80);
    if (scene_chance(sc, 10))
        scene_put(sc, AT_TSS + 102, scene_below(sc, 0x200), 2);
    sc->s.rflags = (sc->s.rflags & ~(uint64_t)FLAG_IOPL) |
                   (uint64_t)scene_below(sc, 4) << 12;
    sc->s.r[REG_RDX] = (sc->s.r[REG_RDX] & ~0xffffull) |
                       (scene_chance(sc, 90) ? scene_below(sc, 0x400)
                                             : 0xfff0 + scene_below(sc, 16));
    sc->s.r[REG_RCX] = scene_below(sc, 4);
    sc->s.r[REG_RSI] = AT_DATA + scene_below(sc, 64);
    sc->s.r[REG_RDI] = AT_DATA + 0x100 + scene_below(sc, 64);
    scene_emit_size(sc, scene_size(sc) == 2 ? 2 : 4);
    switch (scene_below(sc, 4)) {
    case 0:
        EMIT(sc, (uint8_t)(0xec + scene_below(sc, 4)));
        break;
    case 1:
        EMIT(sc, (uint8_t)(0xe4 + scene_below(sc, 4)),
             (uint8_t)scene_random(sc));
        break;
    case 2:
        EMIT(sc, (uint8_t)(0x6c + scene_below(sc, 4)));
        break;
    default:
        EMIT(sc, 0xf3, (uint8_t)(0x6c + scene_below(sc, 4)));
    }
}

/* ---- debugging --------------------------------------------------------------
 */

static void emit_debugged(struct scene *sc)
{
    switch (scene_below(sc, 10)) {
    case 0:
        EMIT(sc, 0x90);
        break;
    case 1:
        EMIT(sc, 0x8e, 0xd8);
        sc->s.r[REG_RAX] = sc->s.seg[SEG_DS].selector;
        break;
    case 2:
        sc->s.r[REG_RAX] = sc->s.seg[SEG_SS].selector;
        EMIT(sc, 0x8e, 0xd0);
        break;
    case 3:
        EMIT(sc, 0x89);
        scene_emit_mem(sc, 2, AT_DATA + scene_below(sc, 8));
        break;
    case 4:
        EMIT(sc, 0x8b);
        scene_emit_mem(sc, 2, AT_DATA + scene_below(sc, 8));
        break;
    case 5:
        EMIT(sc, 0xcd, 0x30);
        break;
    case 6:
        EMIT(sc, 0x9c, 0x9d);
        break;
    case 7:
        sc->s.r[REG_RCX] = 1 + scene_below(sc, 3);
        sc->s.r[REG_RDI] = AT_DATA;
        sc->s.r[REG_RSI] = AT_DATA + 0x40;
        EMIT(sc, 0xf3, 0xa4);
        break;
    case 8:
        EMIT(sc, 0x0f, scene_chance(sc, 50) ? 0x21 : 0x23,
             (uint8_t)(0xc0 | scene_below(sc, 8) << 3));
        break;
    default:
        EMIT(sc, 0x0f, 0x0b);
    }
}

static void group_debug(struct scene *sc)
{
    sc->is_native = true;
    struct sys_state *s = &sc->s;
    scene_enter_any(sc);
    if (scene_chance(sc, 50))
        s->rflags |= FLAG_TF;
    if (scene_chance(sc, 20))
        s->rflags |= FLAG_RF;
    unsigned count = 1 + scene_below(sc, 3);
    for (unsigned n = 0; n < count; n++)
        emit_debugged(sc);
    if (scene_chance(sc, 60)) {
        unsigned b = scene_below(sc, 4);
        bool code = scene_chance(sc, 50);
        unsigned rw = code ? 0 : 1 + 2 * scene_below(sc, 2);
        unsigned len = code ? 0 : (unsigned)PICK(sc, ((uint8_t[]){0, 1, 3}));
        s->dr[b] = code ? sc->start + scene_below(sc, 4)
                        : AT_DATA + scene_below(sc, 8);
        s->dr[7] |= 1u << (2 * b + scene_below(sc, 2)) | rw << (16 + 4 * b) |
                    len << (18 + 4 * b);
    }
    if (scene_chance(sc, 15))
        s->dr[7] |= 0x2000;
}

/* ---- tables -----------------------------------------------------------------
 */

static void group_table(struct scene *sc)
{
    scene_enter_any(sc);
    if (scene_chance(sc, 60) && !scene_is_8086(sc))
        scene_enter(sc, sc->mode, 0);
    scene_put(sc, AT_DATA, scene_random(sc), 8);
    scene_put(sc, AT_DATA + 8, scene_random(sc), 8);
    if (scene_chance(sc, 60)) {
        bool gdt = scene_chance(sc, 50);
        scene_put(sc, AT_DATA, 0x7ff, 2);
        scene_put(sc, AT_DATA + 2, gdt ? AT_GDT : AT_IDT, 8);
        if (scene_chance(sc, 30))
            scene_put(sc, AT_DATA + 5, scene_random(sc), 1);
    }
    if (scene_chance(sc, 40))
        scene_emit_size(sc, scene_size(sc));
    switch (scene_below(sc, 4)) {
    case 0:
        EMIT(sc, 0x0f, 0x01);
        scene_emit_mem(sc, scene_below(sc, 2), AT_DATA + 0x20);
        break;
    case 1:
        EMIT(sc, 0x0f, 0x01);
        scene_emit_mem(sc, 2 + scene_below(sc, 2), AT_DATA);
        break;
    case 2:
        EMIT(sc, 0x0f, 0x00);
        scene_emit_mem(sc, scene_below(sc, 2), AT_DATA);
        break;
    default:
        EMIT(sc, 0x0f, 0x00, (uint8_t)(0xc0 | scene_below(sc, 2) << 3 | 2));
    }
}

/* ---- encodings --------------------------------------------------------------
 */

static void group_odd(struct scene *sc)
{
    sc->is_native = true;
    static const uint8_t prefixes[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26,
                                       0x2e, 0x36, 0x3e, 0x64, 0x65};
    static const uint8_t two[][2] = {
        {0x0f, 0x0b}, {0x0f, 0xb9}, {0x0f, 0xff}, {0x0f, 0x1f}, {0x0f, 0x0d},
        {0x0f, 0x18}, {0x0f, 0x24}, {0x0f, 0x26}, {0x0f, 0x04}, {0x0f, 0x0a},
        {0x0f, 0x36}, {0x0f, 0xa6}, {0x0f, 0xa7}, {0x0f, 0x3b}, {0xf6, 0xc8},
        {0xfe, 0xd0}, {0xff, 0xf8}, {0x8f, 0xc8}, {0xc6, 0xd0}, {0x8e, 0xc8},
        {0x8c, 0xf0}, {0x8d, 0xc0}, {0x62, 0xc0}, {0xd6, 0x90}, {0xf1, 0x90},
        {0x82, 0xc0}, {0x0f, 0xc7}, {0x0f, 0xae}, {0x0f, 0xba}, {0x0f, 0x01},
        {0x0f, 0x00}, {0x06, 0x90}, {0x27, 0x90}, {0xd4, 0x00}, {0x90, 0x90}};
    scene_enter_any(sc);
    unsigned n =
        scene_chance(sc, 15) ? 10 + scene_below(sc, 6) : scene_below(sc, 4);
    for (; n > 0; n--)
        EMIT(sc, PICK(sc, prefixes));
    const uint8_t *op = PICK(sc, two);
    EMIT(sc, op[0], op[1]);
    if (scene_chance(sc, 70))
        scene_emit_mem(sc, scene_below(sc, 8), AT_DATA + scene_below(sc, 16));
    else
        EMIT(sc, (uint8_t)(0xc0 | scene_below(sc, 64)));
}

/* ---- strings that fault in the middle ---------------------------------------
 */

static void group_repeat(struct scene *sc)
{
    sc->is_native = true;
    scene_enter_any(sc);
    unsigned down = sc->s.rflags & FLAG_DF ? 0 : 0xff0;
    sc->s.r[REG_RCX] = scene_below(sc, 24);
    sc->s.r[REG_RSI] = AT_DATA + scene_below(sc, 64);
    sc->s.r[REG_RDI] = AT_FAR_DATA + down + scene_below(sc, 16);
    if (scene_is_16(sc)) {
        sc->s.r[REG_RDI] = 0xfff0 + scene_below(sc, 16);
        if (sc->s.rflags & FLAG_DF)
            sc->s.r[REG_RDI] = scene_below(sc, 16);
    } else if (sc->paging != PAGING_NONE) {
        unsigned entry = sc->paging == PAGING_32 ? 4 : 8;
        unsigned p = AT_FAR_DATA / 4096 + (down ? 1 : 0) - (down ? 0 : 1);
        scene_put(sc, AT_PT + p * entry,
                  scene_below(sc, 2) ? 0 : p << 12 | 0x61, entry);
    }
    scene_emit_size(sc, scene_size(sc));
    EMIT(sc, scene_chance(sc, 70) ? 0xf3 : 0xf2,
         PICK(sc, ((uint8_t[]){0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad,
                               0xae, 0xaf})));
}

/* ---- tasks ------------------------------------------------------------------
 */

static void group_task(struct scene *sc)
{
    scene_enter(sc, MODE_P16 + scene_below(sc, 2), scene_below(sc, 4));
    scene_random_tables(sc);
    scene_tasks(sc);
    unsigned tss = (SLOT_TSS32 + scene_below(sc, 2)) * 8;
    if (scene_chance(sc, 8))
        tss = SLOT_TSS_BUSY * 8;
    unsigned selector = tss | (scene_chance(sc, 50) ? 0 : sc->cpl);
    if (scene_chance(sc, 30)) {
        selector = SLOT_RANDOM * 8 | sc->cpl;
        scene_gate(sc, AT_GDT + SLOT_RANDOM * 8, tss, scene_random(sc), 0xe5,
                   0);
    }
    if (scene_chance(sc, 8))
        scene_put(sc, AT_GDT + tss, scene_below(sc, 0x70), 2); /* limit */
    if (scene_chance(sc, 5))
        scene_put(sc, AT_GDT + tss + 5, 0x69, 1);
    if (scene_chance(sc, 20)) {
        scene_idt_gate(sc, 0x30, tss, 0, 0xe5, 0);
        scene_idt_gate(sc, 13, tss, 0, 0xe5, 0);
        EMIT(sc, 0xcd, scene_chance(sc, 50) ? 0x30 : 0x80);
        return;
    }
    if (scene_chance(sc, 25)) {
        sc->s.rflags |= FLAG_NT;
        scene_put(sc, AT_TSS, SLOT_TSS_BUSY * 8, 2);
        EMIT(sc, 0xcf);
        return;
    }
    unsigned size = scene_size(sc);
    scene_emit_size(sc, size);
    EMIT(sc, scene_chance(sc, 50) ? 0xea : 0x9a);
    scene_emit_value(sc, scene_random(sc), size);
    scene_emit_value(sc, selector, 2);
}

const struct scene_group scene_groups[] = {
    {"segment", group_segment, false}, {"inspect", group_inspect, true},
    {"far", group_far, true},          {"iret", group_iret, false},
    {"int", group_int, false},         {"limit", group_limit, true},
    {"page", group_page, false},       {"flags", group_flags, true},
    {"control", group_control, false}, {"fast", group_fast, false},
    {"msr", group_msr, false},         {"io", group_io, true},
    {"debug", group_debug, false},     {"table", group_table, true},
    {"odd", group_odd, false},         {"repeat", group_repeat, true},
    {"task", group_task, true},
};
const unsigned scene_group_count = sizeof scene_groups / sizeof scene_groups[0];
