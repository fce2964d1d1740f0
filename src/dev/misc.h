/* Small ports of the board: POST code 80h, debug console E9h, isa-debug-exit
 * F4h, and the coprocessor error logic F0h/F1h (82371SB 4.11: FERR# raises
 * IRQ 13; a write to F0h lowers it and asserts IGNNE#). */
#ifndef RELIVE_DEV_MISC_H
#define RELIVE_DEV_MISC_H

#include "dev/bus.h"

struct misc;

struct misc *misc_new(struct dev_bus *bus);
void misc_free(struct misc *misc);
extern const struct chip_ops misc_ops;

/* Level of the CPU's FERR# pin: drives ISA line 13. */
void misc_ferr(struct misc *misc, bool level);

/* Called when the guest writes port F0h: IGNNE# to the CPU. */
typedef void misc_ignne_fn(void *board);
void misc_set_ignne(struct misc *misc, misc_ignne_fn *fn, void *board);

#endif
