/* Performs an input script at exact guest ticks. When an action falls due is a
 * function of the script, the clock rate and what the guest sent and showed at
 * ticks of a fixed grid, so that a guest that behaves the same gets the same
 * events at the same ticks. */
#ifndef RELIVE_HOST_INPUT_PLAYER_H
#define RELIVE_HOST_INPUT_PLAYER_H

#include "board/event.h"
#include "dev/display.h"
#include "host/input_script.h"

/* What the player needs done; all on the caller's thread. A false result (and
 * err) ends the script with that error. */
struct input_sink {
    void *context;
    bool (*inject)(void *context, const struct event *event, struct error *err);
    bool (*screenshot)(void *context, const char *path, struct error *err);
    /* False: no text mode. */
    bool (*screen_text)(void *context, struct screen_text *text);
};

enum input_state {
    INPUT_RUNNING,
    INPUT_DONE,
    INPUT_QUITS,   /* quit was reached */
    INPUT_TIMEOUT, /* a wait took longer than it may: err says which */
    INPUT_FAILED
};

struct input_player;

/* script and sink are borrowed. NULL: out of memory. */
struct input_player *input_player_new(const struct input_script *script,
                                      const struct input_sink *sink,
                                      uint32_t cpu_mhz, struct error *err);
void input_player_free(struct input_player *p); /* takes NULL */

/* Bytes that COM1 sent, at or before the tick of the next step. */
void input_player_saw_serial(struct input_player *p, const void *bytes,
                             size_t count);

/* The tick at which input_player_step() must be called next; UINT64_MAX when
 * the script is over. */
uint64_t input_player_next(const struct input_player *p);

/* Do all that is due at `tick`, which is at most input_player_next(). After a
 * state other than RUNNING, later calls return the same. */
enum input_state input_player_step(struct input_player *p, uint64_t tick,
                                   struct error *err);

#endif
