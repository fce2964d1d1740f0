/* A session of lib_travelguest's guest, and every place of it found by single
 * steps: what searches and traces are compared with. */
#ifndef RELIVE_TESTS_LIB_TRAVELSESSION_H
#define RELIVE_TESTS_LIB_TRAVELSESSION_H

#include "board/machine.h"
#include "board/probe.h"
#include "replay/replayer.h"
#include "replay/travel.h"

#include <stdint.h>

enum {
    TRAVELSESSION_PLACES = 60000,
    TRAVELSESSION_BIOS = 65536,
    TRAVELSESSION_TEXT_TICK = 20000000
};

/* A place in front of an instruction. */
struct travelplace {
    struct machine_place place;
    uint64_t rip; /* linear */
    uint64_t regs[17], cr3;
    uint8_t code[8]; /* at rip */
    bool is_rest;    /* of a repeated instruction, between two iterations */
    bool is_begun; /* the instruction: not a rest, and no interrupt comes first
                    */
};

struct travelsession {
    uint8_t bios[TRAVELSESSION_BIOS];
    uint64_t mem_bytes;
    char dir[64], path[80];
    struct replayer *replayer;
    struct machine *machine;
    struct travel *travel;
    struct travelplace places[TRAVELSESSION_PLACES];
    unsigned count;
};

/* cmocka's set-up and tear-down: a recorded session, not opened. */
int travelsession_make(void **state);
int travelsession_remove(void **state);
/* The same, and COM1 receives two bytes at TRAVELSESSION_TEXT_TICK. */
int travelsession_make_with_text(void **state);
/* The same of a guest of $GUESTS (build/guests): tests/guests/NAME.S. */
int travelsession_make_guest(void **state, const char *name);

/* For guests of the caller's: a directory, nothing recorded. NULL: failed. */
struct travelsession *travelsession_new(void **state, uint64_t mem_bytes);
/* Run s->bios up to a tick; text, if not NULL, is sent to COM1. */
bool travelsession_record(struct travelsession *s, const char *text,
                          uint64_t until, enum stop_reason *reason);

struct machine *travelsession_machine(const struct travelsession *s);
/* Open it, to look or to add; with_travel: with a struct travel. */
void travelsession_open(struct travelsession *s, bool updates,
                        bool with_travel);
void travelsession_close(struct travelsession *s);

/* Fill places by stepping from the start to the end. seen, if not NULL, is
 * called at every place, the last one included. */
typedef void travelsession_fn(struct travelsession *s, void *context);
void travelsession_walk(struct travelsession *s, travelsession_fn *seen,
                        void *context);

#endif
