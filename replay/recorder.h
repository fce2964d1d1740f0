/* The recorder: runs a machine and logs what enters and leaves it. Use:
 *
 *     m = machine_new(...);
 *     rec = recorder_new(&options, m, &err);
 *     loop:  recorder_inject(rec, &event, &err)   input that has arrived
 *            reason = recorder_run(rec, until)    a slice of guest time
 *            if (reason != STOP_TICK && reason != STOP_REQUEST) break;
 *            if (recorder_failed(rec, &err)) break;
 *     recorder_finish(rec, reason, &err);
 *     recorder_free(rec);
 *
 * All calls come from the vCPU thread. Records travel over a ring to a writer
 * thread that commits every half second; killed at any moment, the session
 * replays up to the last commit. */
#ifndef RELIVE_REPLAY_RECORDER_H
#define RELIVE_REPLAY_RECORDER_H

#include "base/error.h"
#include "board/machine.h"
#include "replay/media.h"
#include "replay/snapshotter.h"

#include <stdbool.h>
#include <stdint.h>

struct recorder;

struct recorder_options {
    const char *path;                   /* the session directory, new */
    const struct media_identity *media; /* what the machine was built from */
    unsigned media_count;
    const char *build;         /* names the program's build */
    int64_t created;           /* seconds since 1970 */
    uint64_t limit_bytes;      /* 0: until the disk is full */
    machine_output_fn *output; /* also gets the output; may be NULL */
    void *output_context;
    bool no_end_snapshot;
    /* When to take snapshots on the way: see recorder_run(). */
    uint64_t snapshot_interval; /* ns of guest time; 0: none on the way */
    uint64_t snapshot_work;     /* ns of this thread's time; 0: as above only */
    uint64_t snapshot_budget;   /* bytes, then old ones are thinned; 0: never */
};
#define SNAPSHOT_INTERVAL_DEFAULT UINT64_C(2000000000)
#define SNAPSHOT_WORK_DEFAULT     UINT64_C(500000000)

/* Creates the session and stores configuration (machine_config(m)), media and
 * the start snapshot. m is at tick 0, borrowed until recorder_free(). Installs
 * itself as the machine's output observer and forwards to options->output.
 * NULL: err, and no session directory is left behind that was not there. */
struct recorder *recorder_new(const struct recorder_options *options,
                              struct machine *m, struct error *err);

/* machine_inject() at the current tick (event->tick is ignored), then logged.
 * False: the event was neither applied nor logged. END cannot be injected. */
bool recorder_inject(struct recorder *r, const struct event *event,
                     struct error *err);

/* Names a medium that a MEDIA event is about to insert, so that a replay can
 * tell whether it found the same one. */
void recorder_add_media(struct recorder *r, const struct media_identity *media);

/* machine_run() with digests at the ticks of checkpoint.h, and snapshots at
 * multiples of CHECKPOINT_TICKS: when the interval has passed since the last,
 * or when running on from the last has taken as much time as snapshot_work,
 * which bounds how long a seek runs. A snapshot waits for the one before it to
 * be written, the guest waits for neither. Where snapshots are changes nothing
 * in the log. Also returns STOP_REQUEST when the recording has failed (full
 * disk). */
enum stop_reason recorder_run(struct recorder *r, uint64_t until_tick);

/* Has the writer failed? err tells why, and up to which tick the session
 * replays. Cheap. */
bool recorder_failed(const struct recorder *r, struct error *err);

/* Log END with `reason`, wait for the last commit, then store the end snapshot.
 * False: err; the session then replays up to the last commit. Call once. */
bool recorder_finish(struct recorder *r, enum stop_reason reason,
                     struct error *err);
void recorder_free(struct recorder *r); /* takes NULL; without finish: torn */

/* Borrowed. */
struct snapshotter *recorder_snapshotter(struct recorder *r);

/* For progress lines. */
struct recorder_stats {
    uint64_t file_bytes; /* data.mdb at the last commit */
    uint64_t log_bytes;  /* keys and values of events, digests, output */
    uint64_t committed_tick;
    uint32_t events, digests;
    struct snapshotter_stats snapshots;
};
void recorder_stats(const struct recorder *r, struct recorder_stats *out);

#endif
