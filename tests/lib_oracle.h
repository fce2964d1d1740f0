/* The host-CPU oracle: runs one instruction at a time on the host CPU and in
 * tier 0, compiled by tier 1 or in a trace of tier 2, from the same state and
 * compares what both leave, faults included.
 *
 * Both sides see the same few pages at the same linear addresses (below 4 GiB,
 * so that 32-bit code reaches them) and nothing else:
 *
 *     page  0   none          page 6    read-only
 *     1, 2      read-write    7         none
 *     3         none          16        none
 *     4         read-only     17, 18    code, read and execute
 *     5         read-write    19        none
 */
#ifndef RELIVE_TESTS_LIB_ORACLE_H
#define RELIVE_TESTS_LIB_ORACLE_H

#include <Zydis/Zydis.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ORACLE_WINDOW 0x10000000ULL
enum {
    ORACLE_PAGE = 4096,
    ORACLE_PAGES = 20,     /* of the window, holes included */
    ORACLE_DATA_FIRST = 1, /* data pages 1..6; 3 is a hole */
    ORACLE_DATA_PAGES = 6,
    ORACLE_CODE_FIRST = 17,
    ORACLE_CODE_PAGES = 2,
    ORACLE_DATA_BYTES = ORACLE_DATA_PAGES * ORACLE_PAGE,
    ORACLE_CODE_BYTES = ORACLE_CODE_PAGES * ORACLE_PAGE,
    ORACLE_BATCH = 512, /* large: a busy machine switches processes late */
    ORACLE_PATCH = 512,
    ORACLE_BYTES = 256
};
#define ORACLE_DATA (ORACLE_WINDOW + ORACLE_DATA_FIRST * ORACLE_PAGE)
/* Of 64-bit mode, with null selectors. */
#define ORACLE_FS_BASE (ORACLE_DATA + 2 * ORACLE_PAGE - 48)
#define ORACLE_GS_BASE (ORACLE_DATA + 64)
#define ORACLE_CODE    (ORACLE_WINDOW + ORACLE_CODE_FIRST * ORACLE_PAGE)

/* Linux selectors (arch/x86 GDT layout), which tier 0 gets too. */
enum { ORACLE_CS32 = 0x23, ORACLE_SS = 0x2b, ORACLE_CS64 = 0x33 };

/* Rights of a page of the window: 0 none, else ORACLE_R with W or X. */
enum { ORACLE_R = 1, ORACLE_W = 2, ORACLE_X = 4 };
unsigned oracle_page_rights(unsigned page);

/* What the code segment says. The 16-bit segments come from the LDT; theirs are
 * not flat: see oracle_segments. */
enum oracle_mode { ORACLE_64, ORACLE_32, ORACLE_16, ORACLE_MODES };
/* The LDT, the same on both sides; FS and GS of 32-bit code come from it too.
 */
struct oracle_segment {
    uint32_t base, limit;
    bool is_code, expands_down, is_read_only;
};
enum {
    ORACLE_LDT_CODE,
    ORACLE_LDT_DATA,
    ORACLE_LDT_SHORT, /* ES: ends inside a page that is there */
    ORACLE_LDT_DOWN,  /* FS: begins inside one */
    ORACLE_LDT_CONST, /* GS */
    ORACLE_LDT_ENTRIES
};
extern const struct oracle_segment oracle_segments[ORACLE_LDT_ENTRIES];
static inline uint16_t oracle_ldt_selector(unsigned entry)
{
    return (uint16_t)(entry << 3 | 7);
}
/* Selectors that a case starts with, in enum seg order. */
void oracle_selectors(unsigned mode, uint16_t selectors[6]);
/* Base of the segment that a Zydis segment register names. */
uint64_t oracle_segment_base(unsigned mode, ZydisRegister r);
/* Linear address of the code segment's byte 0. */
uint64_t oracle_code_base(unsigned mode);

/* Registers that both sides load and leave. */
struct oracle_state {
    uint64_t r[16]; /* enum reg order */
    uint64_t rip;
    uint64_t rflags;
    uint8_t fx[512]; /* FXSAVE64 image; bytes from 416 on are not compared */
    uint16_t selector[6]; /* enum seg order; output only */
};

struct oracle_case {
    struct oracle_state in;
    uint8_t bytes[ORACLE_BYTES]; /* at in.rip; INT3 everywhere else in the code
                                    pages */
    uint8_t length;              /* of the instruction, or of all */
    bool is_block;               /* many instructions */
    uint32_t flags_defined;      /* is_block: at its end */
    uint32_t flags_always;       /* is_block: at every fault */
    uint8_t mode;      /* enum oracle_mode */
    bool stepped;      /* stopped by TF; else by the INT3 behind it */
    bool loads_segments;
    bool loads_flags; /* TF too: what follows is stepped */
    bool is_near_branch;
    int32_t form;         /* index, -1: an encoding that should be #UD */
    uint16_t patch_bytes; /* data that differs from the batch's base image */
    uint64_t patch_at;
    uint8_t patch[ORACLE_PATCH];
};

struct oracle_result {
    struct oracle_state out;
    uint32_t trap, error; /* vector and error code that stopped it */
    uint64_t cr2;         /* good for trap 14 */
    bool wrote;           /* memory differs from before; then memory[] is set */
    uint8_t memory[ORACLE_DATA_BYTES];
};

/* ---- random numbers (xorshift64*), reproducible
 * --------------------------------- */
struct oracle_random {
    uint64_t seed;
};
uint64_t oracle_random(struct oracle_random *r);
static inline unsigned oracle_below(struct oracle_random *r, unsigned n)
{
    return (unsigned)((oracle_random(r) >> 32) % n);
}
/* A value that arithmetic finds interesting. */
uint64_t oracle_interesting(struct oracle_random *r);

/* ---- the host side (lib_oracle_native.c)
 * ------------------------------------------ */
struct oracle_shared {
    uint8_t base[ORACLE_DATA_BYTES]; /* data before every case of the batch */
    uint32_t count;
    uint32_t done;
    struct oracle_case cases[ORACLE_BATCH];
    struct oracle_result results[ORACLE_BATCH];
};
struct oracle_native {
    struct oracle_shared *shared;
    int pid, to_child, from_child;
};
bool oracle_native_init(struct oracle_native *n);
void oracle_native_fini(struct oracle_native *n);
/* Run shared->cases[0..count). False when the child died or hung in case
 * shared->done; a new child is there then. */
bool oracle_native_run(struct oracle_native *n);

/* ---- the tiers (lib_oracle_guest.c)
 * ---------------------------------------------------- */
enum oracle_engine {
    ORACLE_INTERP,
    ORACLE_TIER1, /* what is not stepped runs as compiled code */
    ORACLE_TIER2, /* the same in a trace, which earlier runs have made */
    ORACLE_AUTO,  /* every run of a case is compared, in whatever tier it is */
    ORACLE_ENGINES
};
extern const char *const oracle_engines[ORACLE_ENGINES]; /* their names */
struct oracle_guest;
struct oracle_guest *oracle_guest_new(enum oracle_engine engine);
void oracle_guest_free(struct oracle_guest *g);
uint64_t oracle_guest_blocks(const struct oracle_guest *g); /* compiled */
/* How often traces were executed or left. */
uint64_t oracle_guest_trace_runs(const struct oracle_guest *g);
/* Run the case so often from its state that it is a trace where it can be one;
 * what it leaves does not count. */
void oracle_guest_train(struct oracle_guest *g, const struct oracle_shared *s,
                        const struct oracle_case *k);
void oracle_guest_run(struct oracle_guest *g, const struct oracle_shared *s,
                      const struct oracle_case *k, struct oracle_result *out);

/* ---- forms and cases (lib_oracle_forms.c, lib_oracle_gen.c)
 * ---------------------------- */
struct oracle_form {
    uint64_t key; /* mnemonic, opcode and operand shape */
    uint16_t mnemonic;
    uint8_t mode; /* enum oracle_mode */
    uint8_t cls;  /* enum insn_class */
    uint8_t prefixes[4], prefix_count;
    uint8_t opcode[3], opcode_bytes; /* 0F, 38/3A and the opcode */
    bool has_modrm;
    uint8_t modrm;
    uint64_t tried; /* tier2: by a trace */
};
struct oracle_forms {
    struct oracle_form *list;
    uint32_t count, room;
    uint32_t *slots;                    /* open hash of indices + 1 */
    ZydisDecoder decoder[ORACLE_MODES]; /* as cpu/decode.c sets them */
};
/* Every form that the table claims, in all modes, less what user mode cannot
 * run in a controlled way. */
bool oracle_forms_init(struct oracle_forms *f);
void oracle_forms_fini(struct oracle_forms *f);
/* Claimed by the instruction table and not skipped? */
bool oracle_claims(const ZydisDecodedInstruction *zi);
bool oracle_skips(unsigned mnemonic);
/* -1 when there is none. */
int32_t oracle_form_find(const struct oracle_forms *f, unsigned mode,
                         const ZydisDecodedInstruction *zi,
                         const ZydisDecodedOperand *ops);

struct oracle_wish {
    bool modes[ORACLE_MODES];
    int only; /* ZydisMnemonic, or -1 */
    enum oracle_engine engine;
    bool blocks; /* of many instructions (lib_oracle_block.c) */
};
/* The next case. */
void oracle_generate(struct oracle_forms *f, const struct oracle_wish *w,
                     struct oracle_random *r, struct oracle_case *out);
void oracle_generate_block(struct oracle_forms *f, const struct oracle_wish *w,
                           struct oracle_random *r, struct oracle_case *out);
void oracle_fill_base(struct oracle_random *r, uint8_t *base);
void oracle_random_f80(struct oracle_random *r, uint8_t *out);
void oracle_fill_16(struct oracle_random *r, uint8_t *out);
/* An image that FXSAVE64 could have written. */
void oracle_random_fx(struct oracle_random *r, uint8_t *fx);

/* ---- comparison (lib_oracle_compare.c)
 * ---------------------------------------------------- */
/* True when they agree; else prints what differs. */
bool oracle_compare(const struct oracle_forms *f, const struct oracle_shared *s,
                    const struct oracle_case *k,
                    const struct oracle_result *host,
                    const struct oracle_result *guest, FILE *out);
void oracle_print_input(const struct oracle_case *k, FILE *out);
void oracle_print_case(const struct oracle_forms *f,
                       const struct oracle_case *k, FILE *out);

/* ---- the whole (lib_oracle_run.c)
 * ------------------------------------------------------------ */
struct oracle_options {
    double seconds;
    uint64_t cases; /* 0: until the seconds are over */
    uint64_t seed;
    struct oracle_wish wish;
    bool verbose, lists_untried;
    unsigned max_reports;
};
struct oracle_totals {
    uint64_t cases, mismatches, faults;
    uint64_t blocks; /* compiled by tier 1 */
    uint64_t in_traces; /* cases that were run by a trace */
    uint32_t forms, forms_tried;
    double seconds;
    bool is_unavailable; /* nothing ran: the host forbids what it takes */
};
bool oracle_run(const struct oracle_options *o, FILE *out,
                struct oracle_totals *totals);

#endif
