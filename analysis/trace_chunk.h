/* What a stored trace is made of, one chunk at a time, before compression.
 *
 * The flow of instructions is a list of runs: a run is instructions `first` to
 * `first + count - 1` of a block of the trace's dictionary. Each instruction
 * that was begun is a row. A row's tick is that of the row before it plus 1,
 * unless a jump says otherwise: behind a repeated instruction, a sleep, or an
 * instruction that faulted. Accesses and registers are told by row. What
 * devices and events do stands in tables of its own and names ticks. */
#ifndef RELIVE_ANALYSIS_TRACE_CHUNK_H
#define RELIVE_ANALYSIS_TRACE_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a trace holds, in bits. */
enum {
    TRACE_FLOW = 1,   /* instructions, and so branches */
    TRACE_MEM = 2,    /* accesses to memory, with the bytes */
    TRACE_REGS = 4,   /* registers in front of every instruction */
    TRACE_IO = 8,     /* ports and device memory */
    TRACE_EVENTS = 16 /* interrupts, exceptions, system calls, CR3 */
};

enum {
    TRACE_FAULTED = 1, /* the run's last instruction did not retire */
    TRACE_REST = 2     /* its first one is the rest of a repeated one: not begun
                          here */
};
struct trace_run {
    uint32_t block;
    uint16_t first, count;
    uint8_t flags;
};
/* The tick of a run's first row. */
struct trace_jump {
    uint32_t run;
    uint64_t tick;
};
/* Address space and privilege from a run on. */
struct trace_space {
    uint32_t run;
    uint8_t cpl;
    uint64_t cr3;
};

/* Interrupts and exceptions were delivered in front of a run: where execution
 * would have gone on. */
struct trace_entry {
    uint32_t run;
    uint64_t rip;
};

enum {
    TRACE_WRITE = 1,
    TRACE_SYSTEM = 2,   /* to a table or an inner stack, whatever the CPL */
    TRACE_DELIVERY = 4, /* by the delivery of an event in front of the row */
    TRACE_DEVICE_MEMORY = 8
};
/* Accesses wider than 8 bytes are kept in pieces. */
struct trace_access {
    uint64_t vaddr, value;
    uint32_t row;
    uint32_t after; /* ticks behind the row's: iterations of a repeated one */
    uint8_t bytes, flags;
};

struct trace_device {
    uint64_t tick, rip; /* linear */
    uint64_t address;   /* port, or physical */
    uint64_t value;
    uint8_t bytes, flags;
};

struct trace_event {
    uint64_t tick, rip; /* rip: of what is interrupted, linear */
    uint64_t cr3;       /* at that time */
    uint64_t value;     /* CR2, the new CR3, or RAX of a system call */
    uint32_t error;
    uint8_t kind; /* enum cpu_note_kind */
    uint8_t vector;
};

enum { TRACE_REGISTERS = 17 }; /* RAX.. R15 and RFLAGS */

/* A growing array. Out of memory is remembered in the chunk. */
#define TRACE_LIST(type)                                                       \
    struct {                                                                   \
        type *at; /* owned */                                                  \
        size_t count, capacity;                                                \
    }

struct trace_chunk {
    uint64_t first_tick; /* of the first row; UINT64_MAX: no rows */
    uint64_t next_rip;   /* of the first row of the next chunk; 0: not known */
    uint32_t rows;
    bool failed; /* out of memory */
    TRACE_LIST(struct trace_run) runs;
    TRACE_LIST(struct trace_jump) jumps;
    TRACE_LIST(struct trace_space) spaces;
    TRACE_LIST(struct trace_entry) entries;
    TRACE_LIST(struct trace_access) accesses;
    TRACE_LIST(struct trace_device) devices;
    TRACE_LIST(struct trace_event) events;
    /* For each row which registers differ from those of the row before (of the
     * chunk's first row: from 0), and their values in order. */
    TRACE_LIST(uint32_t) masks;
    TRACE_LIST(uint64_t) values;
};

void trace_chunk_fini(struct trace_chunk *c); /* zeroed is fine */
/* Empty, with its memory kept. */
void trace_chunk_reset(struct trace_chunk *c);

/* Room for one more element; false: out of memory. */
bool trace_list_grow(void **at, size_t *capacity, size_t count, size_t size);
#define TRACE_ADD(chunk, list, ...)                                            \
    ((chunk)->list.count < (chunk)->list.capacity ||                           \
             trace_list_grow((void **)&(chunk)->list.at,                       \
                             &(chunk)->list.capacity, (chunk)->list.count,     \
                             sizeof *(chunk)->list.at)                         \
         ? (void)((chunk)->list.at[(chunk)->list.count++] = __VA_ARGS__)       \
         : (void)((chunk)->failed = true))

#endif
