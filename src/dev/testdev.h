/* The bench devices of QEMU's pc-testdev that kvm-unit-tests and similar guests
 * use: a loopback register at E0h..E3h, a flush port at E4h (no TLB shows here,
 * so it does nothing), interrupt lines at 2000h + ISA line (the value's
 * truth is the level), and 64 KiB of RAM at FF000000h. Only in machines that
 * ask for it. */
#ifndef RELIVE_DEV_TESTDEV_H
#define RELIVE_DEV_TESTDEV_H

#include "dev/bus.h"

struct testdev;

struct testdev *testdev_new(struct dev_bus *bus);
void testdev_free(struct testdev *t);
extern const struct chip_ops testdev_ops;

#endif
