/* Building the IR: shared between t2_build*.c. */
#ifndef RELIVE_JIT_T2_BUILD_H
#define RELIVE_JIT_T2_BUILD_H

#include "jit/t2_ir.h"

enum { T2_ALIGNED_MAX = 16 };

struct t2_build {
    struct t2_ir *ir;
    const struct t2_insn *t; /* current */
    const struct insn *i;
    unsigned n;       /* its number in the trace */
    unsigned retired; /* instructions before it, since the head */
    unsigned accesses; /* of them */
    uint16_t before; /* map of the state in front of it, when needed */
    bool is_loop;
    bool is_last;    /* nothing of the trace follows */
    bool ended;      /* an op that ends the trace was emitted */
    /* Addresses that are known to be multiples of 16 less `low`. */
    struct t2_aligned {
        t2_ref root;
        unsigned low;
    } aligned[T2_ALIGNED_MAX];
    unsigned aligned_count;
};

typedef bool t2_rule(struct t2_build *b);
bool t2_build_int(struct t2_build *b);
bool t2_build_more(struct t2_build *b);
bool t2_build_branch(struct t2_build *b);
bool t2_build_vector(struct t2_build *b);
bool t2_build_system(struct t2_build *b);
bool t2_build_memory(struct t2_build *b);

/* Up to `count` instructions; how many have a rule. State and ops of the first
 * that has none are taken back. is_end: nothing follows behind. */
unsigned t2_build_run(struct t2_build *b, unsigned first, unsigned count,
                      bool is_end);

/* ---- state */
/* The state between two instructions. */
uint16_t t2_map_here(struct t2_build *b, uint64_t rip);
uint16_t t2_map_before(struct t2_build *b);
/* The state behind the instruction, going on at rip. */
uint16_t t2_map_after(struct t2_build *b, uint64_t rip);

/* ---- values */
t2_ref t2_unary(struct t2_build *b, enum t2_kind kind, unsigned size, t2_ref a);
t2_ref t2_binary(struct t2_build *b, enum t2_kind kind, unsigned size,
                 unsigned digit, t2_ref x, t2_ref y);
/* v + k, at the address size of the mode. */
t2_ref t2_plus(struct t2_build *b, t2_ref v, int64_t k);
/* A linear address of the trace, which moves with its page. */
t2_ref t2_linear(struct t2_build *b, uint64_t rip);
/* A general register operand as a value whose low `size` bytes count. */
t2_ref t2_reg_operand(struct t2_build *b, unsigned operand, unsigned size);
/* Write it; sizes 4 and 8 take a whole value. */
void t2_set_operand(struct t2_build *b, unsigned operand, unsigned size,
                    t2_ref v);
/* The same for the result of an op on what it held: which keeps the rest of it,
 * but for AH..BH. */
void t2_set_result(struct t2_build *b, unsigned operand, unsigned size,
                   t2_ref r);
/* Flags become those that op set. */
void t2_set_flags(struct t2_build *b, t2_ref op);
/* Flags become the value v, in the layout of cpu->aflags. */
void t2_set_flags_value(struct t2_build *b, t2_ref v);
/* Flags as such a value; its upper bits are anything. */
t2_ref t2_flags_value(struct t2_build *b);
/* Leave in front of the instruction unless the comparison meets the
 * condition. */
void t2_require(struct t2_build *b, unsigned code, unsigned size, t2_ref x,
                t2_ref y);
/* The flags that condition `code` reads: CF is older than INC and DEC. */
t2_ref t2_flags_for(const struct t2_build *b, unsigned code);

/* ---- memory */
struct t2_place {
    t2_ref check;
    int64_t at; /* displacement from what was checked */
};
/* The memory operand, checked for an access. False: no rule. */
bool t2_operand_place(struct t2_build *b, unsigned bytes, unsigned rw,
                      struct t2_place *p);
/* The same at effective address v. */
bool t2_place_of(struct t2_build *b, t2_ref v, unsigned bytes, unsigned rw,
                 struct t2_place *p);
struct t2_place t2_place_at(struct t2_build *b, t2_ref address, unsigned bytes,
                            unsigned rw);
/* Leave in front of an instruction whose operand is no multiple of 16. */
void t2_require_aligned(struct t2_build *b, struct t2_place p);
t2_ref t2_read(struct t2_build *b, struct t2_place p, unsigned bytes);
void t2_write(struct t2_build *b, struct t2_place p, unsigned bytes, t2_ref v);
/* The effective address without segment. */
bool t2_effective(struct t2_build *b, t2_ref *v);

static inline bool t2_is_general(const struct insn *i, unsigned operand)
{
    return (operand ? i->classes >> 4 : i->classes & 15) == REG_CLASS_GENERAL;
}

#endif
