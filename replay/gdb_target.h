/* What gdb sees of the CPU: target descriptions and register values for x86-64
 * and i386 ("Debugging with GDB", "Standard Target Features", i386 Features).
 */
#ifndef RELIVE_REPLAY_GDB_TARGET_H
#define RELIVE_REPLAY_GDB_TARGET_H

#include "base/stream.h"
#include "board/machine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gdb_arch { GDB_I386, GDB_X86_64 };
enum { GDB_REGISTER_BYTES = 16 }; /* of the widest */

/* What fits the mode that the CPU is in. */
enum gdb_arch gdb_target_of(struct machine *m);

/* The target description, as XML text. */
void gdb_target_xml(enum gdb_arch arch, struct writer *w);

unsigned gdb_register_count(enum gdb_arch arch);
const char *gdb_register_name(enum gdb_arch arch, unsigned n);
/* Bytes of register n, 0 when there is none. */
unsigned gdb_register_bytes(enum gdb_arch arch, unsigned n);

/* Its value, little-endian. The program counter is a linear address: the base
 * of CS is added, which matters outside 64-bit and flat code only. */
void gdb_register_get(struct machine *m, enum gdb_arch arch, unsigned n,
                      uint8_t value[GDB_REGISTER_BYTES]);
/* False: it cannot be written, or the CPU does not allow the value. */
bool gdb_register_set(struct machine *m, enum gdb_arch arch, unsigned n,
                      const uint8_t value[GDB_REGISTER_BYTES]);

/* CS:RIP as a linear address. */
uint64_t gdb_linear_pc(struct machine *m);

/* Memory by linear address in the machine's address space, or by physical
 * address. Devices are never touched: their addresses fail. Returns the bytes
 * done before the first that cannot be. */
size_t gdb_memory_read(struct machine *m, bool is_physical, uint64_t address,
                       void *out, size_t bytes);
/* Stores into ROM too. */
size_t gdb_memory_write(struct machine *m, bool is_physical, uint64_t address,
                        const void *in, size_t bytes);

#endif
