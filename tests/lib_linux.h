/* What the suites of the two Debian kernels share. */
#ifndef RELIVE_TESTS_LIB_LINUX_H
#define RELIVE_TESTS_LIB_LINUX_H

#include "lib_program.h"

/* Boots vmlinuz-ARCH and initrd-ARCH with a disk, records: a shell used over
 * COM1 and one on the screen, a mouse, disk reads and writes, power-off. Then
 * replays, in the same state, and checks the size of the log. `machine` is what
 * uname -m says. */
void linux_records_and_replays(struct lab *lab, const char *arch,
                               const char *machine);

#endif
