/* A small guest with everything that travelling meets: timer interrupts, HLT, a
 * repeated instruction, a fault, and an end of its own. */
#ifndef RELIVE_TESTS_LIB_TRAVELGUEST_H
#define RELIVE_TESTS_LIB_TRAVELGUEST_H

#include <stdint.h>

enum {
    TRAVELGUEST_BIOS_BYTES = 65536,
    TRAVELGUEST_ROUNDS = 19, /* the first interrupt comes before any */
    TRAVELGUEST_TIMERS = 20, /* interrupts */
    /* Linear addresses. */
    TRAVELGUEST_BASE = 0xf0000,
    TRAVELGUEST_HLT = TRAVELGUEST_BASE + 0x5c,
    TRAVELGUEST_BEHIND_HLT = TRAVELGUEST_BASE + 0x5d,
    TRAVELGUEST_OUT = TRAVELGUEST_BASE + 0x61,
    TRAVELGUEST_WORK = TRAVELGUEST_BASE + 0x64, /* once a round */
    TRAVELGUEST_REP = TRAVELGUEST_BASE + 0x72,  /* 16 iterations */
    TRAVELGUEST_UD2 = TRAVELGUEST_BASE + 0x74,
    TRAVELGUEST_STORE = TRAVELGUEST_BASE + 0x7a, /* to COPY */
    TRAVELGUEST_TIMER = TRAVELGUEST_BASE + 0x7f, /* the handler */
    TRAVELGUEST_TIMER_INC = TRAVELGUEST_BASE + 0x80,
    TRAVELGUEST_BADOP = TRAVELGUEST_BASE + 0x8a, /* handler of #UD */
    TRAVELGUEST_TICKS = 0x500, /* byte, counted by the timer's handler */
    TRAVELGUEST_COUNT = 0x502, /* word, counted by WORK */
    TRAVELGUEST_COPY = 0x1100,
    TRAVELGUEST_TARGET = 0x1000, /* of the repeated instruction */
    TRAVELGUEST_EXIT = 0x21
};

/* The 64 KiB of firmware. */
void travelguest_bios(uint8_t bios[TRAVELGUEST_BIOS_BYTES]);

#endif
