/* The CPU's descriptor tables as they lie in memory (SDM vol. 3A 3.4.5 "Segment
 * Descriptors", 6.11 "IDT Descriptors", 6.14.1 "64-Bit Mode IDT"). */
#ifndef RELIVE_ANALYSIS_TABLES_H
#define RELIVE_ANALYSIS_TABLES_H

#include "base/stream.h"
#include "board/machine.h"

#include <stdbool.h>
#include <stdint.h>

enum { TABLES_VECTORS = 256 };

struct gate {
    uint64_t offset;
    uint16_t selector;
    uint8_t type, dpl, ist;
    bool is_present;
};
/* A gate of the protected-mode IDT. False: it is behind the limit, or cannot be
 * read. */
bool tables_gate(struct machine *m, unsigned vector, struct gate *out);
/* "interrupt gate 32", "task gate", "no gate (type 2)". */
const char *gate_type_name(const struct gate *g);

struct descriptor {
    uint64_t base;
    uint32_t limit; /* in bytes */
    uint8_t type, dpl;
    bool is_system, is_present, is_long, is_big;
    unsigned bytes; /* it takes in the table: 8, or 16 */
};
/* The GDT's, of a selector. False as above. */
bool tables_descriptor(struct machine *m, uint16_t selector,
                       struct descriptor *out);
/* "code", "data", "busy TSS", "LDT", ... */
const char *descriptor_type_name(const struct descriptor *d);

/* Both tables as text: every gate in use of vectors 0..31 and every descriptor
 * of the GDT's first 16. In real mode: the vectors at IDTR's base. */
void tables_print(struct machine *m, struct writer *w);

#endif
