/* Building scenarios: memory layout, tables, modes and instruction bytes. */
#ifndef RELIVE_TESTS_KVM_SCENE_H
#define RELIVE_TESTS_KVM_SCENE_H

#include "lib_kvm_state.h"

/* Linear addresses; the first SYS_MEM_BYTES are mapped one to one. */
enum {
    AT_GDT = 0x1000,
    AT_LDT = 0x2000,
    AT_IDT = 0x3000,
    AT_TSS = 0x4000,
    AT_TSS32 = 0x5000, /* another task, 32-bit */
    AT_TSS16 = 0x5800, /* another task, 16-bit */
    AT_DATA = 0x7000,
    AT_CODE = 0x8000,
    AT_HANDLER = 0x9000, /* of vector v: + 4 * v */
    AT_TARGET = 0xa000,  /* where far transfers go */
    AT_STACK = 0xb000,   /* of ring r: + 0x1000 * r, top in the middle */
    AT_IST = 0xf000,     /* of slot n: + 0x100 * n */
    AT_PML4 = 0x10000,
    AT_PDPT = 0x11000,
    AT_PD = 0x12000, /* PAE: four in a row */
    AT_PT = 0x16000,
    AT_PT_WINDOW = 0x17000,
    AT_WINDOW = 0x200000, /* linear: 2 MiB that AT_PT_WINDOW maps */
    AT_FAR_DATA = 0x20000
};

/* GDT slots. */
enum {
    SLOT_CODE = 1,     /* of ring r: + 2 * r; handlers and 64-bit code */
    SLOT_DATA = 2,     /* of ring r: + 2 * r */
    SLOT_TSS = 9,      /* 16 bytes in IA-32e mode */
    SLOT_LDT = 11,     /* the same */
    SLOT_MY_CODE = 13, /* of ring r: + r; the mode's own code segment */
    SLOT_MY_DATA = 17,
    SLOT_TSS32 = 21,
    SLOT_TSS16 = 22,
    SLOT_TSS_BUSY = 23,
    SLOT_RANDOM = 32,
    SLOT_END = 64
};

enum scene_mode {
    MODE_REAL,
    MODE_V86,
    MODE_P16,
    MODE_P32,
    MODE_LONG,
    MODE_COMPAT32,
    MODE_COMPAT16,
    SCENE_MODES
};

enum scene_paging { PAGING_NONE, PAGING_32, PAGING_PAE, PAGING_LONG };

struct scene {
    struct sys_state s;
    uint8_t mem[SYS_MEM_BYTES];
    uint64_t random;
    enum scene_mode mode;
    enum scene_paging paging;
    unsigned cpl;
    bool is_soft_kvm; /* see lib_kvm_compare.c; kept by scene_begin() */
    bool is_native;   /* cleared by scene_begin(): the group runs no instruction
                         at CPL 3 that looks at tables or system state */
    unsigned start, at; /* linear address of the code: first byte, next byte */
};

/* ---- lib_kvm_scene.c */

uint64_t scene_random(struct scene *sc);
unsigned scene_below(struct scene *sc, unsigned n);
bool scene_chance(struct scene *sc, unsigned percent);
#define PICK(sc, array)                                                        \
    ((array)[scene_below(sc, sizeof(array) / sizeof(array)[0])])

/* An empty scene: memory full of HLT, random registers. */
void scene_begin(struct scene *sc, uint64_t seed);
/* Everything for running in a mode at a privilege level (0 in real mode, 3 in
 * virtual-8086 mode). */
void scene_enter(struct scene *sc, enum scene_mode mode, unsigned cpl);
/* A random mode and level; protected: neither real nor virtual-8086. */
void scene_enter_any(struct scene *sc);
void scene_enter_protected(struct scene *sc);

static inline bool scene_is_long(const struct scene *sc)
{
    return sc->mode >= MODE_LONG;
}
static inline bool scene_is_16(const struct scene *sc)
{
    return sc->mode == MODE_REAL || sc->mode == MODE_V86 ||
           sc->mode == MODE_P16 || sc->mode == MODE_COMPAT16;
}
static inline bool scene_is_8086(const struct scene *sc)
{
    return sc->mode == MODE_REAL || sc->mode == MODE_V86;
}

void scene_put(struct scene *sc, uint32_t at, uint64_t value, unsigned bytes);
uint64_t scene_get(const struct scene *sc, uint32_t at, unsigned bytes);

/* access: bits 40..47 of the descriptor; flags: bits 52..55. */
void scene_descriptor(struct scene *sc, uint32_t at, uint32_t base,
                      uint32_t limit, unsigned access, unsigned flags);
void scene_gate(struct scene *sc, uint32_t at, unsigned selector,
                uint64_t offset, unsigned access, unsigned words);
void scene_idt_gate(struct scene *sc, unsigned vector, unsigned selector,
                    uint64_t offset, unsigned access, unsigned ist);
/* Random descriptors in the free part of the GDT and in the LDT. */
void scene_random_tables(struct scene *sc);
/* A hidden part as the descriptor at a selector of our GDT or LDT gives it. */
struct segment scene_segment(const struct scene *sc, unsigned selector);
/* A selector: null, good, random, from the LDT, outside. */
unsigned scene_selector(struct scene *sc);
unsigned scene_code(const struct scene *sc, unsigned ring);
unsigned scene_data(const struct scene *sc, unsigned ring);
/* Replace a few IDT entries by odd ones. */
void scene_random_idt(struct scene *sc);
/* Fill the other tasks' TSS. */
void scene_tasks(struct scene *sc);

/* ---- instruction bytes */

void scene_emit(struct scene *sc, unsigned count, const uint8_t *bytes);
#define EMIT(sc, ...)                                                          \
    scene_emit(sc, sizeof((const uint8_t[]){__VA_ARGS__}),                     \
               (const uint8_t[]){__VA_ARGS__})
void scene_emit_value(struct scene *sc, uint64_t value, unsigned bytes);
/* The prefix for an operand size of 2, 4 or 8 bytes. */
void scene_emit_size(struct scene *sc, unsigned bytes);
/* ModRM and displacement of an absolute address. */
void scene_emit_mem(struct scene *sc, unsigned reg, uint32_t address);
/* A random operand size that the mode has: 2, 4, in 64-bit mode 8. */
unsigned scene_size(struct scene *sc);

/* ---- lib_kvm_groups.c */

struct scene_group {
    const char *name;
    void (*build)(struct scene *sc);
    bool is_sampled; /* agrees on every KVM it was tried on */
};
extern const struct scene_group scene_groups[];
extern const unsigned scene_group_count;

#endif
