/* 8254 programmable interval timer at 40h, and port 61h (Intel 8254 data
 * sheet, order 231164; 82371SB 4.4 and 2.5.3.3 "NMI status and control").
 * Channel 0 drives ISA line 0, channel 2's gate and output are at port 61h. */
#ifndef RELIVE_DEV_PIT_H
#define RELIVE_DEV_PIT_H

#include "dev/bus.h"

struct pit;

#define PIT_HZ 1193182u

struct pit *pit_new(struct dev_bus *bus);
void pit_free(struct pit *pit);
extern const struct chip_ops pit_ops;

/* HPET legacy replacement takes IRQ 0 away from channel 0 (false) and gives it
 * back (true). Saved; true after reset. */
void pit_connect_irq(struct pit *pit, bool connected);

#endif
