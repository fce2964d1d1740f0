/* The 82093AA I/O APIC at FEC00000h: 24 pins, version 11h (Intel 82093AA data
 * sheet 290566-001).
 *
 * Pins carry "asserted", not a voltage: the polarity bit of an entry is kept
 * and read back, and changes nothing. Boards wire each line so that it agrees
 * with what ACPI tells the guest, and some guests program active-low for lines
 * which are not; they work on other PC emulators for the same reason. */
#ifndef RELIVE_DEV_IOAPIC_H
#define RELIVE_DEV_IOAPIC_H

#include "dev/bus.h"
#include "dev/lapic.h"

#include <stdbool.h>
#include <stdint.h>

struct ioapic;

enum { IOAPIC_PINS = 24 };

/* Where messages go; false when no local APIC took it. */
typedef bool ioapic_send_fn(void *context, const struct lapic_message *m);

/* context is borrowed. */
struct ioapic *ioapic_new(struct dev_bus *bus, ioapic_send_fn *send,
                          void *context);
void ioapic_free(struct ioapic *io);
extern const struct chip_ops ioapic_ops;

void ioapic_set_pin(struct ioapic *io, unsigned pin, bool asserted);

/* EOI broadcast of a level-triggered vector. */
void ioapic_eoi(struct ioapic *io, uint8_t vector);

#endif
