/* The architectural state of the one CPU, and the calls that change it.
 *
 * Names are the SDM's. Fields are saved unless marked derived or borrowed; the
 * table in cpu/state.c drives save, load and the divergence report. */
#ifndef RELIVE_CPU_CPU_H
#define RELIVE_CPU_CPU_H

#include "base/error.h"
#include "base/stream.h"
#include "cpu/probe.h"
#include "mem/exc.h"
#include "mem/mmu.h"

#include <stdbool.h>
#include <stdint.h>

enum reg {
    REG_RAX,
    REG_RCX,
    REG_RDX,
    REG_RBX,
    REG_RSP,
    REG_RBP,
    REG_RSI,
    REG_RDI, /* 8..15: R8..R15 */
    REG_ZERO = 16, /* always 0: the base or index that an operand lacks */
    REG_RIP = 17,
    REG_COUNT = 18
};

enum seg {
    SEG_ES,
    SEG_CS,
    SEG_SS,
    SEG_DS,
    SEG_FS,
    SEG_GS,
    SEG_COUNT
};

/* A segment register with its hidden part (SDM vol. 3A 3.4.3). */
struct segment {
    uint64_t base;
    uint32_t limit;    /* in bytes, granularity applied */
    uint16_t selector;
    uint16_t attr;     /* descriptor bits 40..47 in 0..7 (type, S, DPL, P) and
                          bits 52..55 in 12..15 (AVL, L, D/B, G) */
};
enum {
    SEG_ATTR_ACCESSED = 1,
    SEG_ATTR_WRITABLE = 2, /* data; code: readable */
    SEG_ATTR_EXPAND_DOWN = 4, /* data; code: conforming */
    SEG_ATTR_CODE = 8,
    SEG_ATTR_S = 0x10,
    SEG_ATTR_DPL_SHIFT = 5,
    SEG_ATTR_P = 0x80,
    SEG_ATTR_AVL = 0x1000,
    SEG_ATTR_L = 0x2000,
    SEG_ATTR_DB = 0x4000,
    SEG_ATTR_G = 0x8000
};

struct table_register { /* GDTR, IDTR */
    uint64_t base;
    uint16_t limit;
};

/* RFLAGS bits (SDM vol. 1 3.4.3). */
enum {
    FLAG_CF = 1,
    FLAG_PF = 1 << 2,
    FLAG_AF = 1 << 4,
    FLAG_ZF = 1 << 6,
    FLAG_SF = 1 << 7,
    FLAG_TF = 1 << 8,
    FLAG_IF = 1 << 9,
    FLAG_DF = 1 << 10,
    FLAG_OF = 1 << 11,
    FLAG_IOPL = 3 << 12,
    FLAG_NT = 1 << 14,
    FLAG_RF = 1 << 16,
    FLAG_VM = 1 << 17,
    FLAG_AC = 1 << 18,
    FLAG_VIF = 1 << 19,
    FLAG_VIP = 1 << 20,
    FLAG_ID = 1 << 21,
    FLAGS_ARITH = 0x8d5
};

#define CR0_PE 0x1u
#define CR0_MP 0x2u
#define CR0_EM 0x4u
#define CR0_TS 0x8u
#define CR0_ET 0x10u
#define CR0_NE 0x20u
#define CR0_WP 0x10000u
#define CR0_AM 0x40000u
#define CR0_NW 0x20000000u
#define CR0_CD 0x40000000u
#define CR0_PG 0x80000000u
#define CR4_VME 0x1u
#define CR4_PVI 0x2u
#define CR4_TSD 0x4u
#define CR4_DE 0x8u
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u
#define CR4_MCE 0x40u
#define CR4_PGE 0x80u
#define CR4_PCE 0x100u
#define CR4_OSFXSR 0x200u
#define CR4_OSXMMEXCPT 0x400u
#define CR4_SMEP 0x100000u
#define EFER_SCE 0x1u
#define EFER_LME 0x100u
#define EFER_LMA 0x400u
#define EFER_NXE 0x800u

union xmm {
    uint8_t u8[16];
    uint16_t u16[8];
    uint32_t u32[4];
    uint64_t u64[2];
    int8_t s8[16];
    int16_t s16[8];
    int32_t s32[4];
    int64_t s64[2];
    float f32[4];
    double f64[2];
} __attribute__((aligned(16)));

/* x87: physical registers R0..R7; ST(i) is st[(top + i) & 7]. MMX register i is
 * the mantissa of R(i). */
struct x87 {
    uint64_t mantissa[8];
    uint16_t exponent[8]; /* sign in bit 15 */
    uint16_t control;
    uint16_t status; /* TOP is kept in `top`, not here */
    uint8_t top;
    uint8_t valid;   /* bit i: R(i) is not empty */
    uint16_t opcode; /* FOP, 11 bits */
    uint64_t ip, dp; /* last non-control instruction and its operand */
    uint16_t cs, ds;
};

/* Code size of the current CS, and the block cache's mode key. */
enum cpu_mode {
    MODE_16,
    MODE_32,
    MODE_64
};

/* What the CPU needs of the board; borrowed. */
struct cpu_board {
    void *context;
    uint32_t (*io_read)(void *context, uint16_t port, unsigned bytes);
    void (*io_write)(void *context, uint16_t port, uint32_t value,
                     unsigned bytes);
    uint8_t (*acknowledge)(void *context);     /* INTA: the vector */
    uint8_t (*tpr_read)(void *context);        /* CR8: LAPIC TPR bits 7..4 */
    void (*tpr_write)(void *context, uint8_t cr8);
    void (*apic_base_write)(void *context, uint64_t value); /* MSR 1Bh */
    void (*ferr)(void *context, bool level);   /* FERR#, to IRQ 13 */
    void (*a_fault)(void *context, const char *text); /* triple fault: why */
};

struct cpu_model; /* cpu/model.h: the CPUID table of the configuration */
struct blocks;    /* cpu/blocks.h: the decoded-block cache */
struct insn;      /* cpu/insn.h */

/* A faster way to run blocks, attached by the JIT; all NULL without one. */
struct block_code;
struct cpu_engine {
    void *context;
    /* Execute from k on; false: tier 0 is to run it. */
    bool (*run)(void *context, struct block_code *k);
    void (*dropped)(void *context, struct block_code *k);
    void (*flushed)(void *context);
};

struct cpu {
    /* ---- integer state */
    uint64_t r[REG_COUNT];
    /* Arithmetic flags as LAHF and SETO give them: SF ZF 0 AF 0 PF 1 CF in bits
     * 15..8, OF in bit 0. The rest of RFLAGS is in `flags`, where the bits of
     * FLAGS_ARITH are always 0: use cpu_rflags()/cpu_set_rflags(). */
    uint16_t aflags;
    uint32_t flags;

    /* ---- time */
    uint64_t tick;  /* position; advances at retirement */
    uint64_t skew;  /* tick - skew = insns retired */
    uint64_t limit; /* derived: the run loop stops when tick >= limit; lowered
                       to 0 by whoever wants attention (cpu_attention) */

    /* ---- derived, hot: kept by cpu_update_mode() */
    uint64_t linear_mask;       /* 2^32-1 outside 64-bit mode */
    uint64_t sp_mask;           /* stack address size of SS */
    uint64_t ea_base[8];        /* base that an address uses: 0 for ES CS SS DS
                                   in 64-bit mode */
    uint8_t ea_flat[8];         /* no limit or type check needed, read and write */
    uint64_t ea_end[8];         /* outside 64-bit mode: offsets below may be read
                                   and written; 0 when limit and type want more
                                   of a look than that */
    uint8_t mode;               /* enum cpu_mode */
    uint8_t cpl;
    bool single;                /* run one instruction at a time: TF, code
                                   breakpoints, a shadow, or an observer */

    /* ---- segmentation */
    struct segment seg[SEG_COUNT];
    struct segment ldtr, tr;
    struct table_register gdtr, idtr;

    /* ---- control */
    uint64_t cr0, cr2, cr3, cr4;
    uint64_t efer;
    uint64_t pdpte[4];
    uint64_t dr[8]; /* 4, 5 unused; 6, 7 live */

    /* ---- MSRs with state of their own; the rest is in msr[] of cpu/msr.c */
    uint64_t star, lstar, cstar, sfmask, kernel_gs_base, tsc_aux;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t tsc_offset; /* TSC = tick + tsc_offset (modulo 2^64) */
    uint64_t apic_base;
    uint64_t pat, mtrr_def_type, mtrr_fixed[11], mtrr_var[16];
    uint64_t misc_enable, mcg_status, mc_banks[40], microcode;

    /* ---- events */
    bool halted;
    bool shutdown;     /* triple fault: the board decides what follows */
    bool intr;         /* INTR pin, kept by the board; digested with the PIC */
    bool nmi_pending;
    bool nmi_blocked;  /* until IRET */
    uint8_t shadow;    /* 1 after STI, 2 after MOV/POP SS: no interrupts before
                          the next instruction; 0 none */
    uint32_t debug_pending; /* DR6 bits to report as a trap after this insn */
    uint64_t fault_tick; /* tick of the last fault. Delivery costs no tick, except
                            for a fault that follows another with nothing
                            retired between: else a guest whose handler
                            faults forever would stop time */

    /* ---- fault in flight (derived: never live between instructions) */
    uint32_t exc_error;
    int32_t exc_delivering; /* vector being delivered, -1 none */

    /* ---- SIMD and x87 */
    union xmm xmm[16];
    uint32_t mxcsr;
    struct x87 x87;
    bool ferr; /* level of FERR# */
    bool x87_ignne; /* IGNNE#, by port F0h, while FERR# stands */

    /* ---- borrowed or derived */
    struct mmu mmu;                 /* owned; derived contents */
    const struct cpu_model *model;  /* borrowed */
    struct cpu_board board;         /* borrowed */
    struct blocks *blocks;          /* owned; derived */
    struct cpu_engine engine;       /* borrowed; derived */
    uint64_t jit_page; /* derived: linear page of the compiled block that runs */
    uint64_t jit_limit; /* derived: the limit that compiled code counts towards */
    uint64_t jit_key; /* derived: which translations and mode compiled code
                         found by RIP is good for */
    uint64_t jit_addend[8]; /* derived: scratch of compiled blocks: host minus
                               linear address of a page in use */
    uint64_t jit_target; /* derived: scratch of compiled CALLs and RETs */
    uint64_t jit_stack;  /* derived: host RSP of compiled code with no call open */
    uint64_t jit_return_misses; /* derived: counted by compiled code */
    uint64_t jit_lookups, jit_accesses; /* derived: counted by compiled code */
    uint8_t jit_left;  /* derived: enum jit_exit of the last exit */
    uint32_t jit_link; /* derived: the unlinked jump that was left through */
    /* derived: 1 while the host's units hold the guest's SSE or x87 state (jit/
     * thunks_simd.c); always 0 when C code runs. */
    uint8_t jit_simd, jit_x87;
    uint8_t jit_refused; /* derived: they may not; tier 0 executes what is next */
    uint8_t jit_x87_seg; /* derived: of the last x87 operand since then */
    uint64_t jit_x87_ip; /* derived: of the last x87 instruction since then */
    uint32_t jit_mxcsr;  /* derived: scratch */
    uint64_t jit_string; /* derived: scratch of compiled string instructions */
    struct cpu_probe probe;         /* derived: an observer's */
};

/* ---- life ---------------------------------------------------------------- */

/* phys, model and board are borrowed and must outlive the CPU. */
bool cpu_init(struct cpu *c, struct phys *phys, const struct cpu_model *model,
              const struct cpu_board *board, struct error *err);
void cpu_fini(struct cpu *c);
/* Power-up/RESET state (SDM vol. 3A table 9-1). Tick is untouched. */
void cpu_reset(struct cpu *c);
/* INIT#: as reset, but x87, SSE, MSRs, TSC and CR0.CD/NW survive. */
void cpu_init_signal(struct cpu *c);
void cpu_save(const struct cpu *c, struct writer *w);
bool cpu_load(struct cpu *c, struct reader *r, struct error *err);
/* The name ("r[4]") of the field that byte `offset` of what cpu_save() wrote
 * belongs to; false past the end. */
bool cpu_field_name(size_t offset, char *text, size_t text_bytes);

/* ---- running (cpu/run.c) -------------------------------------------------- */

/* Execute until tick == until, or until something needs the board: halted,
 * shutdown, or cpu_attention(). Interrupts pending at entry are taken first.
 * Never passes `until`. */
void cpu_run(struct cpu *c, uint64_t until);
/* Leave cpu_run() after the current instruction. Callable from devices. */
static inline void cpu_attention(struct cpu *c)
{
    c->limit = 0;
}

/* ---- flags ---------------------------------------------------------------- */

static inline uint32_t cpu_rflags(const struct cpu *c)
{
    return c->flags | 2 | (c->aflags >> 8 & 0xd5) |
           (uint32_t)(c->aflags & 1) << 11;
}
/* Set all of RFLAGS; recomputes `single` and privilege-dependent state. */
void cpu_set_rflags(struct cpu *c, uint32_t rflags);
static inline void cpu_set_arith(struct cpu *c, uint32_t rflags)
{
    c->aflags = (uint16_t)((rflags & 0xd5) << 8 | 0x200 | (rflags >> 11 & 1));
}

/* ---- derived state --------------------------------------------------------- */

/* After any change to segments, CR0, EFER, CPL or VM: recompute mode,
 * linear_mask, sp_mask, ea_base, ea_flat, and tell the MMU who accesses. CPL is
 * set by its owner first. */
void cpu_update_mode(struct cpu *c);
/* After CR0, CR3, CR4, EFER or PDPTE changed: tell the MMU. */
void cpu_update_paging(struct cpu *c);
/* After TF, DR7, AC/AM or shadow changed. */
void cpu_update_single(struct cpu *c);

static inline bool cpu_is_real(const struct cpu *c)
{
    return !(c->cr0 & CR0_PE);
}
static inline bool cpu_is_v86(const struct cpu *c)
{
    return (c->flags & FLAG_VM) != 0;
}
static inline bool cpu_is_long(const struct cpu *c)
{
    return (c->efer & EFER_LMA) != 0;
}

/* ---- faults and events (cpu/event.c, cpu/segment.c, cpu/task.c) ----------- */

static inline enum exc cpu_fault(struct cpu *c, enum exc e, uint32_t error)
{
    c->exc_error = error;
    return e;
}

/* Deliver a fault that an instruction returned; RIP stands at the faulting
 * instruction. Error code from exc_error, or mmu.fault_* for EXC_PF (CR2 is set
 * here). Contributory faults become #DF, then shutdown (SDM vol. 3A 6.15). */
void cpu_deliver(struct cpu *c, enum exc e);

enum event_kind {
    EVENT_HARDWARE, /* external interrupt or NMI */
    EVENT_SOFT,     /* INT n: gate DPL is checked, RIP is behind it */
    EVENT_TRAP,     /* INT3, INTO: as SOFT (DPL checked) */
    EVENT_ICEBP,    /* INT1 and debug traps: no DPL check */
    EVENT_FAULT
};
/* Push the frame and enter the handler for `vector`; error is pushed when
 * has_error. Returns what went wrong during delivery, which the caller turns
 * into a double fault; EXC_NONE when the handler's first instruction is next. */
enum exc cpu_enter_handler(struct cpu *c, uint8_t vector, enum event_kind kind,
                           bool has_error, uint32_t error);
/* Take an event between instructions: enter the handler, faults included. */
void cpu_event(struct cpu *c, uint8_t vector, enum event_kind kind);

/* Load a segment register as MOV/POP would, with all checks. */
enum exc cpu_load_segment(struct cpu *c, enum seg seg, uint16_t selector);
/* Set a segment as real and virtual-8086 mode do. */
void cpu_set_real_segment(struct cpu *c, enum seg seg, uint16_t selector);

/* MSRs: EXC_GP(0) when the index or value is not allowed. */
enum exc cpu_rdmsr(struct cpu *c, uint32_t index, uint64_t *value);
enum exc cpu_wrmsr(struct cpu *c, uint32_t index, uint64_t value);
enum exc cpu_set_cr0(struct cpu *c, uint64_t value);
enum exc cpu_set_cr3(struct cpu *c, uint64_t value);
enum exc cpu_set_cr4(struct cpu *c, uint64_t value);

/* I/O permission for port..port+bytes-1: IOPL, then the TSS bitmap. */
enum exc cpu_check_io(struct cpu *c, uint16_t port, unsigned bytes);

static inline uint64_t cpu_tsc(const struct cpu *c)
{
    return c->tick + c->tsc_offset;
}

#endif
