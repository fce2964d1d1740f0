/* 82371AB (PIIX4) function 3 at 00:01.3: ACPI power management (PM1, PM timer,
 * GPE0), SMBus host controller without devices, and the APM ports B2h/B3h.
 * System management mode does not exist: DEVACTB says that its set-up is done,
 * and B2h switches ACPI mode directly. The SCI is ISA line 9. */
#ifndef RELIVE_DEV_PIIX4_PM_H
#define RELIVE_DEV_PIIX4_PM_H

#include "dev/pci.h"

struct piix4_pm;

struct piix4_pm *piix4_pm_new(struct dev_bus *bus, struct pci_bus *pci);
void piix4_pm_free(struct piix4_pm *pm);
extern const struct chip_ops piix4_pm_ops;

/* The power button was pressed and released: PWRBTN_STS and perhaps an SCI. */
void piix4_pm_power_button(struct piix4_pm *pm);

#endif
