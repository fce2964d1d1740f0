/* Conditions on the state of a machine: expressions as in C, of unsigned 64-bit
 * numbers.
 *
 *   or    and ('||' and)*          and   bits ('&&' bits)*
 *   binary | ^ & == != < <= > >= << >> + - * / % as in C, and unary ! ~ -
 *   term  number | register | '(' or ')' | '[' 'phys'? ('u8'|'u16'|'u32'|'u64')
 *         or ']'
 *
 * Registers: the general ones in all sizes, rip (offset in CS), pc (linear),
 * eflags, segments and their bases (fs_base), cr0..cr4, efer, cpl, tick.
 * Memory that is not mapped, and division by 0, have no value: neither has what
 * is computed of them, and a comparison with them is false. */
#ifndef RELIVE_REPLAY_CONDITION_H
#define RELIVE_REPLAY_CONDITION_H

#include "base/error.h"
#include "board/machine.h"
#include "board/probe.h"

#include <stdbool.h>
#include <stdint.h>

enum { CONDITION_NODES = 256 };

struct condition_node {
    uint8_t op;    /* condition.c's */
    uint8_t size;  /* bytes of memory */
    uint16_t a, b; /* operands, numbers of earlier nodes */
    uint64_t value;
};
struct condition {
    unsigned count; /* the last node is the whole */
    struct condition_node node[CONDITION_NODES];
};

bool condition_parse(struct condition *c, const char *text, struct error *err);

/* Does it hold now? Changes nothing. */
bool condition_holds(const struct condition *c, struct machine *m);

/* What can make it come true. With a number of probes: only an instruction that
 * hits one of them (PROBE_EXEC: the instruction is about to be executed,
 * PROBE_WRITE: it has stored). 0: any instruction can. */
unsigned condition_probes(const struct condition *c,
                          struct probe probes[PROBES_MAX]);

/* Can it change while nothing is executed? */
bool condition_reads_tick(const struct condition *c);

#endif
