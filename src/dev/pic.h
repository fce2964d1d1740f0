/* The 8259A pair of a PC: master at 20h, slave at A0h on the master's line 2,
 * edge/level control at 4D0h (Intel 8259A data sheet; 82371SB, 4.5.1 and 4.5.2:
 * LTIM of ICW1 has no effect, ELCR selects the trigger mode per line).
 * A request that falls before it is acknowledged is gone, as the data sheet
 * says, unless it rose at the same tick: bus_irq_pulse() stays latched. */
#ifndef RELIVE_DEV_PIC_H
#define RELIVE_DEV_PIC_H

#include "dev/bus.h"

struct pic;

struct pic *pic_new(struct dev_bus *bus);
void pic_free(struct pic *pic);
extern const struct chip_ops pic_ops;

/* Called when INTR of the master changes. After a load the board reads
 * pic_intr() itself. */
typedef void pic_output_fn(void *board, bool intr);
void pic_set_output(struct pic *pic, pic_output_fn *fn, void *board);

/* Level of ISA line 0..15; line 2 carries the cascade and is ignored. */
void pic_set_line(struct pic *pic, unsigned line, bool level);
bool pic_intr(const struct pic *pic);

/* The two INTA cycles: the vector. With nothing requested any more, the
 * spurious vector (IRQ 7 or 15), without an in-service bit. */
uint8_t pic_acknowledge(struct pic *pic);

/* Registers of chip 0 (master) or 1 (slave), for debuggers. */
struct pic_view {
    uint8_t irr, imr, isr, elcr;
    uint8_t base; /* first vector */
};
void pic_view(const struct pic *pic, unsigned chip, struct pic_view *out);

#endif
