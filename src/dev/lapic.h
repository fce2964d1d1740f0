/* The local APIC of the one CPU (Intel SDM vol. 3A, chapter "Advanced
 * Programmable Interrupt Controller"), xAPIC mode, as found in a Pentium 4: six
 * LVT entries, version 14h.
 *
 * Timer clock: one bus clock per tick (1 GHz when the machine runs at its
 * default of 1000 ticks per microsecond), before the divider. TSC-deadline mode
 * and x2APIC are not offered.
 *
 * Power-up leaves LINT0 in ExtINT mode and unmasked although the APIC is
 * software-disabled: what a PC's firmware sets up as "virtual wire mode"
 * (MultiProcessor Specification 1.4, 3.6.2.2), so that firmware which has never
 * heard of APICs gets the PIC's interrupts. */
#ifndef RELIVE_DEV_LAPIC_H
#define RELIVE_DEV_LAPIC_H

#include "dev/bus.h"

#include <stdbool.h>
#include <stdint.h>

struct lapic;

/* Delivery modes, as ICR, LVT and IOAPIC entries encode them. */
enum lapic_mode {
    LAPIC_FIXED = 0,
    LAPIC_LOWEST = 1,
    LAPIC_SMI = 2,
    LAPIC_NMI = 4,
    LAPIC_INIT = 5,
    LAPIC_STARTUP = 6,
    LAPIC_EXTINT_MODE = 7
};

/* lapic_acknowledge(): the PIC is to supply the vector. */
#define LAPIC_EXTINT (-1)

/* The wires to the CPU and board; any may be NULL. */
struct lapic_wires {
    void (*intr)(void *context, bool asserted); /* on change only */
    void (*nmi)(void *context);
    void (*smi)(void *context);
    void (*eoi)(void *context, uint8_t vector); /* EOI of a level-triggered
                                                   vector: tell the IOAPIC */
};

/* Maps the registers at FEE00000h. wires is copied, context borrowed. */
struct lapic *lapic_new(struct dev_bus *bus, const struct lapic_wires *wires,
                        void *context);
void lapic_free(struct lapic *l);
extern const struct chip_ops lapic_ops;

/* The CPU wrote IA32_APIC_BASE (MSR 1Bh): moves the window; clearing bit 11
 * takes the APIC away (LINT0 and LINT1 become INTR and NMI) and setting it
 * again powers it up. The window is one page; memory under a former place of
 * it is not restored. */
void lapic_set_base(struct lapic *l, uint64_t msr_value);
uint64_t lapic_base(const struct lapic *l);

/* The CPU received INIT: all registers but the ID to their reset values. */
void lapic_init_signal(struct lapic *l);

/* Pins: 0 is LINT0 (the PIC's INTR output), 1 is LINT1 (NMI). */
void lapic_set_lint(struct lapic *l, unsigned pin, bool level);

/* An interrupt message from the IOAPIC. False: no APIC took it. */
struct lapic_message {
    uint8_t destination; /* physical ID or logical mask */
    bool logical;
    uint8_t mode; /* enum lapic_mode */
    uint8_t vector;
    bool level; /* level-triggered */
};
bool lapic_receive(struct lapic *l, const struct lapic_message *m);

/* Something to be acknowledged is pending. */
bool lapic_intr(const struct lapic *l);

/* INTA: the vector now in service, LAPIC_EXTINT, or the spurious vector when
 * nothing is pending any more. */
int lapic_acknowledge(struct lapic *l);

/* CR8: TPR bits 7..4. */
uint8_t lapic_tpr(const struct lapic *l);
void lapic_set_tpr(struct lapic *l, uint8_t cr8);

#endif
