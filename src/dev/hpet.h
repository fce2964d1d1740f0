/* The high precision event timer at FED00000h (IA-PC HPET Specification 1.0a):
 * a 64-bit main counter at 100 MHz (period 10,000,000 fs) and three 64-bit
 * timers, of which 0 and 1 can be periodic. Every timer can be routed to IOAPIC
 * pins 20..23, edge or level; legacy replacement sends timer 0 to ISA line 0
 * (IOAPIC pin 2) and timer 1 to line 8. No FSB delivery. */
#ifndef RELIVE_DEV_HPET_H
#define RELIVE_DEV_HPET_H

#include "dev/bus.h"

#include <stdbool.h>

struct hpet;

/* Any may be NULL. */
struct hpet_wires {
    /* Legacy replacement was switched: while on, the PIT drives nothing on
     * line 0 and the RTC nothing on line 8. */
    void (*legacy)(void *context, bool on);
    /* Level of IOAPIC pin 20..23, changes only. */
    void (*pin)(void *context, unsigned pin, bool level);
};

/* wires is copied, context borrowed. */
struct hpet *hpet_new(struct dev_bus *bus, const struct hpet_wires *wires,
                      void *context);
void hpet_free(struct hpet *h);
extern const struct chip_ops hpet_ops;

/* Legacy replacement is on. Loading state does not call wires: the board asks
 * this afterwards. */
bool hpet_legacy(const struct hpet *h);

#endif
