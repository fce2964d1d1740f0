/* Lockstep of the tiers: two CPUs on equal memories run the same random guest,
 * one in tier 0 and one with the JIT, and are compared after every slice. */
#ifndef RELIVE_TESTS_LIB_JITPAIR_H
#define RELIVE_TESTS_LIB_JITPAIR_H

#include "tests/lib_oracle.h"

#include "cpu/cpu.h"
#include "jit/jit.h"

/* ---- the scene: memory, tables and registers that a seed gives
 * (lib_jitpair_scene.c) ------------------------------------------------------
 */

/* Physical addresses; the first pages are mapped one to one for CPL 0. */
enum {
    JP_GDT = 0x1000,
    JP_IDT = 0x2000,
    JP_TSS = 0x3000,
    JP_STUBS = 0x4000,   /* 16 bytes for each vector */
    JP_COMMON = 0x5000,  /* the rest of the handlers */
    JP_ENTRIES = 0x5800, /* JP_ENTRY_COUNT addresses that faults go on at */
    JP_COUNTERS = 0x5f00,
    JP_RING0 = 0x7f00, /* stack top of the TSS */
    JP_TABLES = 0x8000,
    JP_TABLES_END = 0x20000,
    JP_SYSTEM_END = 0x20000,
    JP_CODE = 0x20000,
    JP_CODE_PAGES = 8,
    JP_CODE_BYTES = JP_CODE_PAGES * PAGE_BYTES,
    JP_DATA = 0x30000,
    JP_DATA_PAGES = 8,
    JP_STACK = 0x40000,
    JP_STACK_PAGES = 4,
    JP_RAM = 0x48000,
    JP_MMIO = 0x100000,
    JP_ENTRY_COUNT = 32,
    JP_WINDOW_PAGES = 16, /* of code, linear */
    JP_DATA_WINDOW = 24   /* pages of data, linear */
};

enum {
    JP_SEL_CODE64 = 0x08,
    JP_SEL_CODE32 = 0x10,
    JP_SEL_DATA = 0x18,
    JP_SEL_USER32 = 0x20, /* SYSRET order: 32-bit code, data, 64-bit code */
    JP_SEL_USER_DATA = 0x28,
    JP_SEL_USER64 = 0x30,
    JP_SEL_SMALL = 0x38,   /* data, not flat, CPL 3 */
    JP_SEL_RO = 0x40,      /* data, read-only, flat, CPL 3 */
    JP_SEL_EXECUTE = 0x48, /* 32-bit code, CPL 3, not readable */
    JP_SEL_BASED = 0x50,   /* data, CPL 3, base JP_DATA or the data window */
    JP_SEL_TSS = 0x58,
    /* 16-bit, CPL 3 */
    JP_SEL_CODE16 = 0x60,  /* base of the code window */
    JP_SEL_OTHER16 = 0x68, /* starts inside it, small */
    JP_SEL_DATA16 = 0x70,
    JP_SEL_STACK16 = 0x78,
    JP_SEL_ALIAS16 = 0x80, /* the code, writable */
    JP_SEL_DOWN16 = 0x88,  /* data, expand-down */
    JP_SEL_SHORT16 = 0x90  /* as JP_SEL_CODE16, with another limit */
};

enum jp_mode {
    JP_LONG,    /* 64-bit */
    JP_COMPAT,  /* 32-bit code in IA-32e mode */
    JP_FLAT,    /* 32-bit, no paging */
    JP_PAGED32, /* 32-bit, 2 levels */
    JP_PAE,
    JP_REAL,
    JP_V86,
    JP_PROT16, /* 16-bit segments of paged 32-bit protected mode */
    JP_MODES
};

/* What most of the code is about. */
enum jp_flavour { JP_INTEGER, JP_SSE, JP_X87, JP_FLAVOURS };

struct jp_scene {
    uint64_t seed;
    enum jp_mode mode;
    enum jp_flavour flavour;
    bool user;
    bool is64;                  /* the code is 64-bit code */
    bool is16;
    bool can_idle;              /* HLT may occur */
    uint64_t code, data, stack; /* linear windows */
    uint64_t high;              /* second window on the code, or 0 */
    uint64_t table;    /* linear address of page-table entries of the windows,
                          writable by the code; 0: none */
    uint64_t roots[2]; /* CR3 values */
    uint32_t code_entries[2]; /* of the code window in each space, physical;
                                 0: no paging */
    /* Of 16-bit code: selectors, of code by how often they are good. */
    struct jp_segment {
        uint16_t selector;
        uint32_t base;
    } codes[4], datas[8], stack16;
    uint64_t entries[JP_ENTRY_COUNT]; /* RIP; 16-bit code: CS in bits 47..32 */
    uint8_t ram[JP_RAM];
    struct oracle_random r;
};

/* Choose a mode and lay out tables; code is put by jp_code(). */
void jp_scene(struct jp_scene *s, uint64_t seed);
/* Is the scene of this seed one of 16-bit code? */
bool jp_is_16(uint64_t seed);
/* The same in a given mode, for code of the caller's. */
void jp_scene_in(struct jp_scene *s, uint64_t seed, enum jp_mode mode,
                 bool user);
/* Registers and control state of the start. */
void jp_registers(const struct jp_scene *s, struct cpu *c);

/* ---- 16-bit scenes (lib_jitpair_real.c) */

/* Segments, and what real mode has instead of descriptors. */
void jp_lay_out_16(struct jp_scene *s);
void jp_registers_16(const struct jp_scene *s, struct cpu *c);
/* An entry at this offset of the code. */
uint64_t jp_entry_16(struct jp_scene *s, unsigned offset);

/* ---- random code (lib_jitpair_code.c)
 * ----------------------------------------- */

/* Fill the code frames and the entries. */
void jp_code(struct jp_scene *s, const struct oracle_forms *forms);

/* 16-bit code (lib_jitpair_code16.c). */
void jp_code_16(struct jp_scene *s, const struct oracle_forms *forms);

/* The same with code that loops (lib_jitpair_loops.c). */
void jp_code_loops(struct jp_scene *s);

/* ---- the pair (lib_jitpair.c)
 * ------------------------------------------------- */

struct jp_side {
    struct phys *phys;
    struct cpu cpu;
    struct jit *jit;
    uint64_t io;   /* hash of what was written to devices */
    uint32_t acks; /* interrupts acknowledged */
};

struct jp_totals {
    uint64_t programs, slices, ticks, shutdowns;
    uint64_t evictions; /* for there were too many blocks */
    uint64_t compiled, joined, links, flushes;
    uint64_t compiled_insns; /* retired in compiled code, handlers apart */
    uint64_t refusals; /* blocks left because of vector or x87 state */
    uint64_t traces, trace_ticks, deopts; /* of tier 2 */
};

/* Run these instructions in a loop in every mode of `modes` (bits), at CPL 0
 * and 3, in one slice and in many, compiled at once or after some executions, in
 * tier 1 and in tier 2. */
bool jp_run_code(unsigned modes, const char *code, unsigned bytes, FILE *out);
/* Once, in tier 2; what the compiler counted. least: instructions of a trace that
 * is no loop; 0: in tier 1 alone. */
bool jp_run_traces(enum jp_mode mode, bool user, unsigned least,
                   const char *code, unsigned bytes, FILE *out, struct jit_stats *stats);

/* Run the guest of this seed. False when the sides differ: then it prints the
 * seed, the first slice, tick and field that differ and the instructions that
 * tier 0 executed before. verbose: what the seed is about. */
bool jp_run(uint64_t seed, const struct oracle_forms *forms, bool verbose,
            FILE *out, struct jp_totals *totals);

#endif
