/* A bare bus for chip tests: a tick the test advances, interrupt lines, output
 * and requests remembered. */
#ifndef RELIVE_TESTS_LIB_DEVTEST_H
#define RELIVE_TESTS_LIB_DEVTEST_H

#include "base/field.h"
#include "dev/bus.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    DEVTEST_HZ = 1000000000, /* 1 tick = 1 ns */
    DEVTEST_OUTPUT = 4096
};

struct devtest {
    struct phys *phys;
    struct dev_bus *bus;
    uint64_t tick;
    bool line[16];
    unsigned rises[16]; /* rising edges seen per line */
    uint8_t out[OUT_CHANNELS][DEVTEST_OUTPUT];
    size_t out_used[OUT_CHANNELS];
    unsigned requests[REQUEST_ATTENTION + 1];
    uint32_t request_value;
    unsigned logs;
    char log[256]; /* the last line */
};

/* A zeroed devtest with 64 KiB of RAM at 0 and 1 ns per tick. */
void devtest_init(struct devtest *t);
void devtest_fini(struct devtest *t);

/* Let time pass, firing timers exactly at their deadlines. */
void devtest_run_ns(struct devtest *t, uint64_t ns);
void devtest_run_to(struct devtest *t, uint64_t tick);

uint8_t devtest_in8(struct devtest *t, uint16_t port);
void devtest_out8(struct devtest *t, uint16_t port, uint8_t value);

/* Save `from` with ops, load into `to`: true when the load succeeded, all bytes
 * were consumed, and `to` saves the same bytes. */
bool devtest_copy(const struct chip_ops *ops, void *from, void *to);

/* Save chip, then load every truncation and many bit flips of the bytes into
 * `victim`: loading may fail but must not crash (ASan and asserts judge). */
void devtest_hostile_loads(const struct chip_ops *ops, void *chip,
                           void *victim);

/* The field test: an object filled with 0xA5, saved, loaded over one filled
 * with 0x5A, must come out equal in every byte that is neither listed in
 * `exempt` (derived and borrowed members) nor tail padding. */
struct devtest_range {
    size_t offset, bytes;
};
#define DEVTEST_RANGE(type, member)                                            \
    {                                                                          \
        offsetof(type, member), sizeof(((type *)0)->member)                    \
    }
void devtest_fields(const struct field *table, size_t fields, size_t bytes,
                    const struct devtest_range *exempt, size_t exempts);

#endif
