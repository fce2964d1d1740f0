/* The commands of gdb's `monitor`: everything that the protocol has no packet
 * for. */
#ifndef RELIVE_REPLAY_GDB_MONITOR_H
#define RELIVE_REPLAY_GDB_MONITOR_H

#include "base/stream.h"
#include "replay/gdb_server.h"

enum { GDB_CHECKPOINTS = 64 };

struct gdb_monitor {
    struct travel *travel;       /* borrowed */
    const struct gdb_host *host; /* borrowed */
    bool is_physical;            /* memory packets take physical addresses */
    unsigned checkpoints;
    struct machine_place checkpoint[GDB_CHECKPOINTS];
};

/* Run one command line; its answer is appended to out. */
void gdb_monitor_run(struct gdb_monitor *mon, const char *line,
                     struct writer *out);

/* Append formatted text. */
void gdb_print(struct writer *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- gdb_monitor_info.c: looking at the machine ----------------------------
 */

void gdb_info_registers(struct machine *m, struct writer *out);
void gdb_info_paging(struct machine *m, struct writer *out);
void gdb_info_mappings(struct machine *m, struct writer *out);
void gdb_info_interrupts(struct machine *m, struct writer *out);
/* count instructions from a linear address on, in the CPU's mode. */
void gdb_disassemble(struct machine *m, uint64_t address, unsigned count,
                     struct writer *out);
/* Hexadecimal dump of physical memory. */
void gdb_dump_physical(struct machine *m, uint64_t address, unsigned bytes,
                       struct writer *out);

#endif
