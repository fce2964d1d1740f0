/* The replayer: runs a machine in lockstep with a session. Use:
 *
 *     rp = replayer_open(path, &err);
 *     session = replayer_session(rp);      config and media to open
 *     m = machine_new(&session->config, &media, &err);
 *     replayer_check_media(rp, found, count, &err)
 *     replayer_attach(rp, m, &err);
 *     replayer_seek(rp, tick, &err);       optional: nearest snapshot, then run
 *     how = replayer_run(rp, UINT64_MAX, &err);
 *     replayer_report(rp);                 figures and, if so, the divergence
 *     replayer_free(rp); machine_free(m);
 *
 * The state at tick T includes the events logged with tick <= T. */
#ifndef RELIVE_REPLAY_REPLAYER_H
#define RELIVE_REPLAY_REPLAYER_H

#include "base/error.h"
#include "board/machine.h"
#include "replay/media.h"
#include "replay/place.h"
#include "replay/session.h"

#include <stdbool.h>
#include <stdint.h>

struct replayer;

enum replay_stop {
    REPLAY_UNTIL,    /* at until_tick */
    REPLAY_END,      /* at the recording's end, which was a clean one */
    REPLAY_TORN,     /* at the last committed tick of a torn recording */
    REPLAY_REQUEST,  /* machine_request_stop(): call again to go on */
    REPLAY_PROBE,    /* STOP_PROBE of board/probe.h: call again to go on */
    REPLAY_DIVERGED, /* the report's divergence is filled, err is its sentence*/
    REPLAY_FAILED    /* err: damaged session, missing medium, host fault */
};

struct replay_report {
    uint64_t digests_compared; /* equal ones */
    uint64_t events_fed;
    bool diverged;
    uint64_t last_good_tick, first_bad_tick; /* the window */
    bool cpu_differs, io_differs, mem_differs;
    char difference[200]; /* first differing field or frame; "" unknown */
};

struct replayer *replayer_open(const char *path, struct error *err);
/* Of a session that is opened already, which becomes the replayer's, on failure
 * too. */
struct replayer *replayer_open_session(struct session *s, struct error *err);
void replayer_free(struct replayer *r); /* takes NULL; the machine stays */

const struct session *replayer_session(const struct replayer *r);

/* ERR_MISMATCH with one sentence: which, expected, found. */
bool replayer_check_media(const struct replayer *r,
                          const struct media_identity *found, unsigned count,
                          struct error *err);

/* The recorded identity of a medium that a MEDIA event inserts, NULL when none
 * was recorded: for the caller's media_open_fn. */
const struct media_identity *replayer_find_media(const struct replayer *r,
                                                 const char *path);

/* m is new, at tick 0, of the session's configuration; borrowed. A session that
 * was cut out of another puts it where that one began. */
bool replayer_attach(struct replayer *r, struct machine *m, struct error *err);

/* Compare digests (the default) or not. */
void replayer_set_verify(struct replayer *r, bool verify);

/* fn is called about every 2^24 ticks; may call machine_request_stop(). */
typedef void replay_progress_fn(void *context, const struct replayer *r,
                                uint64_t tick);
void replayer_set_progress(struct replayer *r, replay_progress_fn *fn,
                           void *context);

/* Load the nearest snapshot at or below `tick` (ahead or behind of where the
 * machine is now). The machine then stands at the snapshot's tick:
 * replayer_run() goes on from there. On false the machine is unusable. */
bool replayer_seek(struct replayer *r, uint64_t tick, struct error *err);

/* For those who put the machine elsewhere themselves (seek.h): how many events
 * have been fed to it, and go on from where that many have been. */
uint32_t replayer_events_fed(const struct replayer *r);
bool replayer_resume(struct replayer *r, uint32_t events_fed,
                     struct error *err);

/* The keeper of the machine's states, made on the first call; the replayer's.
 * NULL: err. */
struct place_keeper *replayer_places(struct replayer *r, struct error *err);

/* Run until until_tick or the recording's end, whichever is first. */
enum replay_stop replayer_run(struct replayer *r, uint64_t until_tick,
                              struct error *err);

/* Compare the machine with the snapshot of its tick: REPLAY_DIVERGED or, equal
 * or without such a snapshot, REPLAY_UNTIL. */
enum replay_stop replayer_meet_snapshot(struct replayer *r, struct error *err);

const struct replay_report *replayer_report(const struct replayer *r);

#endif
