/* Moving about in a session as a debugger does: to a place, one step or to the
 * next hit of a probe, forwards and backwards.
 *
 * Backwards is: stand further back, run forward at full speed with counting
 * probes, and go to the last hit. Nothing is stepped but the last instructions.
 *
 * Changing memory or registers starts a what-if branch: the machine goes on
 * from there with the recorded events, never touching the recording. Moving
 * backwards or to a place leaves the branch, and it is gone. */
#ifndef RELIVE_REPLAY_TRAVEL_H
#define RELIVE_REPLAY_TRAVEL_H

#include "base/error.h"
#include "board/probe.h"
#include "replay/replayer.h"
#include "replay/seek.h"

#include <stdbool.h>
#include <stdint.h>

struct travel;

enum travel_stop {
    TRAVEL_THERE,       /* where it was to go; behind one step */
    TRAVEL_HIT,         /* at a probe's hit */
    TRAVEL_START,       /* at the start of the recording */
    TRAVEL_END,         /* at its end, or a what-if guest has ended */
    TRAVEL_INTERRUPTED, /* the poll function said so */
    TRAVEL_FAILED       /* err; only another travel_goto() can help */
};

/* rp has m attached; both are borrowed, as by seeker_new(). Digests are
 * compared no longer. NULL: err. */
struct travel *travel_new(struct replayer *rp, struct machine *m,
                          uint64_t cache_bytes, struct error *err);
void travel_free(struct travel *t); /* takes NULL */

struct machine *travel_machine(const struct travel *t);
const struct session *travel_session(const struct travel *t);
struct machine_place travel_place(const struct travel *t);

/* Asked about every 2^24 ticks while moving; true: stop. */
typedef bool travel_poll_fn(void *context);
void travel_set_poll(struct travel *t, travel_poll_fn *fn, void *context);

/* Stand at a place. One that does not exist (too many deliveries) is its tick.
 * Past the end: TRAVEL_END, at the end. */
enum travel_stop travel_goto(struct travel *t, struct machine_place place,
                             struct error *err);

/* Forward to a tick at full speed, for an observer (board/probe.h): probes and
 * their mode stay as they are. TRAVEL_HIT: the observer has made it stop. */
enum travel_stop travel_run(struct travel *t, uint64_t until,
                            struct error *err);
/* Where a way to `tick` would begin: at or below it. Who looks backwards does so
 * from travel_floor(t, tick - 1) to tick, then from the floor below that. */
uint64_t travel_floor(struct travel *t, uint64_t tick);

/* To the next place where an instruction is about to be executed: behind one
 * instruction, behind one iteration of a repeated one, or behind the delivery
 * of an event. A halted CPU goes to what wakes it. TRAVEL_HIT and *hit when a
 * probe for data was hit on the way, else TRAVEL_THERE. */
enum travel_stop travel_step(struct travel *t, const struct probe *probes,
                             unsigned count, struct probe_hit *hit,
                             struct error *err);
enum travel_stop travel_step_back(struct travel *t, const struct probe *probes,
                                  unsigned count, struct probe_hit *hit,
                                  struct error *err);

/* To the next hit; *hit is set on TRAVEL_HIT. Forwards: in front of an
 * executed instruction, behind a data access. */
enum travel_stop travel_continue(struct travel *t, const struct probe *probes,
                                 unsigned count, struct probe_hit *hit,
                                 struct error *err);
/* To the last hit in front of this place: in front of the instruction or
 * delivery that made it. */
enum travel_stop travel_continue_back(struct travel *t,
                                      const struct probe *probes,
                                      unsigned count, struct probe_hit *hit,
                                      struct error *err);

/* The caller has changed the machine's state. True: this started a branch. */
bool travel_changed(struct travel *t);
/* The place at which the branch left the recording; false: there is none. */
bool travel_branch(const struct travel *t, struct machine_place *from);

#endif
