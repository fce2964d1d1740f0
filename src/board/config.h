/* The machine configuration: what, beside media bytes and events, decides the
 * guest's state; and how it is run, which decides nothing of it. Recorded as
 * JSON with every session. */
#ifndef RELIVE_BOARD_CONFIG_H
#define RELIVE_BOARD_CONFIG_H

#include "base/error.h"
#include "board/engine.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    MACHINE_DISKS = 3,
    MACHINE_PATH = 1024,
    MACHINE_APPEND = 2048
};

/* An empty string means absent. Paths are informational to the machine: the
 * bytes come from struct machine_media. */
struct machine_config {
    uint64_t mem_bytes;
    uint32_t cpu_mhz; /* ticks per guest microsecond */
    char disk[MACHINE_DISKS][MACHINE_PATH];
    char cdrom[MACHINE_PATH];
    char floppy[MACHINE_PATH];
    char boot; /* 'c', 'd' or 'a' */
    char bios[MACHINE_PATH], vgabios[MACHINE_PATH];
    char kernel[MACHINE_PATH], initrd[MACHINE_PATH];
    char append[MACHINE_APPEND];
    int64_t rtc_seconds; /* wall clock at tick 0, seconds since 1970 UTC, in
                            the zone the guest's RTC is to show */
    bool rtc_fixed;      /* given with --rtc: not taken from the host clock */
    bool testdev;        /* bench devices of QEMU's pc-testdev */
    char cpu[32];        /* CPU model name, cpu/model.h */
    struct engine_config engine; /* may be another one at replay */
};

void machine_config_init(struct machine_config *c); /* the defaults */

/* Refuses what cannot be built, with the sentence: RAM size, clock, ... */
bool machine_config_check(const struct machine_config *c, struct error *err);

enum config_keys {
    CONFIG_MACHINE = 1, /* what decides the guest's state */
    CONFIG_ENGINE = 2,  /* struct engine_config, as far as it is given */
    CONFIG_ALL = 3
};
/* JSON with sorted keys and fixed layout, so equal configurations give equal
 * text. The caller frees the text. NULL: out of memory. */
char *machine_config_to_json(const struct machine_config *c,
                             enum config_keys keys);

/* Keys that are absent keep what *c holds; unknown keys are refused by name.
 * where names the source in sentences. */
bool machine_config_from_json(struct machine_config *c, const char *text,
                              const char *where, struct error *err);

#endif
