#include "replay/recorder.h"

#include "base/bytes.h"
#include "replay/checkpoint.h"
#include "replay/record.h"
#include "replay/snapshotter.h"
#include "replay/store.h"
#include "replay/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct recorder {
    struct machine *machine;   /* borrowed */
    struct store *store;       /* owned; the writer's while it runs */
    struct log_writer *writer; /* owned */
    struct snapshotter *snapshotter; /* owned */
    uint64_t snapshot_interval;      /* ticks; 0: none on the way */
    uint64_t snapshot_work;          /* ns; 0: any */
    uint64_t snapshot_tick, snapshot_cpu_ns; /* of the last */
    machine_output_fn *output; /* borrowed, with its context */
    void *output_context;
    struct checkpoint last; /* digest */
    uint32_t events, digests;
    unsigned media;
    bool no_end_snapshot;
    bool finished;
};

static void on_output(void *context, uint64_t tick, enum output_channel channel,
                      const void *bytes, size_t count)
{
    struct recorder *r = context;
    log_writer_output(r->writer, tick, channel, bytes, count);
    if (r->output)
        r->output(r->output_context, tick, channel, bytes, count);
}

/* Of this thread: what a replay will need too, whatever else the host does. */
static uint64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void put_media(struct store_batch *b,
                      const struct recorder_options *options)
{
    struct writer w;
    char key[24];
    writer_init(&w);
    for (unsigned i = 0; i < options->media_count; i++) {
        writer_reset(&w);
        media_save(&options->media[i], &w);
        if (w.failed)
            b->bytes.failed = true;
        (void)snprintf(key, sizeof key, "media/%02u", i);
        store_batch_put(b, STORE_META, key, strlen(key), w.data, w.used);
    }
    writer_fini(&w);
}

/* All of meta but the format, which the store has written. */
static bool put_meta(struct recorder *r, const struct recorder_options *options,
                     struct error *err)
{
    struct store_batch b;
    uint8_t created[8];
    const struct machine_config *c = machine_config(r->machine);
    char *config = machine_config_to_json(c, CONFIG_MACHINE);
    char *engine = machine_config_to_json(c, CONFIG_ENGINE);
    if (!config || !engine) {
        free(config);
        free(engine);
        return error_set(err, ERR_USAGE,
                         "%s: the machine configuration cannot be recorded: a "
                         "path or text in it is not UTF-8",
                         options->path);
    }
    store_batch_init(&b);
    store_batch_put(&b, STORE_META, "config", 6, config, strlen(config));
    store_batch_put(&b, STORE_META, "engine", 6, engine, strlen(engine));
    store_batch_put(&b, STORE_META, "build", 5, options->build,
                    strlen(options->build));
    store_le64(created, (uint64_t)options->created);
    store_batch_put(&b, STORE_META, "created", 7, created, sizeof created);
    put_media(&b, options);
    commit_record_put(&b, &(struct commit_record){0});
    bool ok = store_commit(r->store, &b, err);
    store_batch_fini(&b);
    free(config);
    free(engine);
    return ok;
}

/* The snapshot of the start, on which all others stand. */
static bool start_snapshots(struct recorder *r,
                            const struct recorder_options *options,
                            struct error *err)
{
    uint64_t mhz = machine_config(r->machine)->cpu_mhz;
    uint64_t us = options->snapshot_interval / 1000;
    r->snapshot_interval = us < UINT64_MAX / mhz ? us * mhz : UINT64_MAX;
    if (r->snapshot_interval == 0 && options->snapshot_interval > 0)
        r->snapshot_interval = 1;
    r->snapshot_work = options->snapshot_work;
    r->snapshotter = snapshotter_new(r->store, r->machine,
                                     options->snapshot_budget, err);
    if (!r->snapshotter)
        return false;
    (void)snapshotter_take(r->snapshotter, 0);
    r->snapshot_cpu_ns = cpu_ns();
    return snapshotter_wait(r->snapshotter, err);
}

struct recorder *recorder_new(const struct recorder_options *options,
                              struct machine *m, struct error *err)
{
    if (machine_tick(m) != 0 || options->media_count > MEDIA_MAX) {
        error_set(err, ERR_USAGE,
                  "%s: a recording starts at tick 0 with at most %d media",
                  options->path, MEDIA_MAX);
        return NULL;
    }
    struct recorder *r = calloc(1, sizeof *r);
    if (!r) {
        error_set(err, ERR_NOMEM, "%s: out of memory", options->path);
        return NULL;
    }
    r->machine = m;
    r->output = options->output;
    r->output_context = options->output_context;
    r->media = options->media_count;
    r->no_end_snapshot = options->no_end_snapshot;
    if (!store_create(options->path, options->limit_bytes, &r->store, err)) {
        free(r);
        return NULL;
    }
    if (!put_meta(r, options, err) || !start_snapshots(r, options, err) ||
        !(r->writer = log_writer_new(r->store, err))) {
        snapshotter_free(r->snapshotter);
        store_discard(r->store);
        free(r);
        return NULL;
    }
    snapshotter_follow(r->snapshotter, r->writer);
    machine_set_output(m, on_output, r);
    return r;
}

void recorder_free(struct recorder *r)
{
    if (!r)
        return;
    machine_set_output(r->machine, NULL, NULL);
    /* The snapshotter waits for the log, and the log waits for nobody. */
    (void)log_writer_stop(r->writer, NULL);
    snapshotter_free(r->snapshotter);
    log_writer_free(r->writer);
    store_close(r->store);
    free(r);
}

static void log_event(struct recorder *r, const struct event *event)
{
    struct event e = *event;
    e.tick = machine_tick(r->machine);
    log_writer_event(r->writer, &e);
    r->events++;
    log_writer_progress(r->writer, e.tick);
}

bool recorder_inject(struct recorder *r, const struct event *event,
                     struct error *err)
{
    if (event->type == EVENT_TYPE_END || !event_payload_ok(event))
        return error_set(err, ERR_USAGE, "event '%s' of %u bytes is malformed",
                         event_type_name(event->type)
                             ? event_type_name(event->type)
                             : "unknown",
                         event->bytes);
    /* The medium that leaves may still be read from. */
    if (event->type == EVENT_TYPE_MEDIA)
        snapshotter_wait_copied(r->snapshotter);
    if (!machine_inject(r->machine, event, err))
        return false;
    log_event(r, event);
    return true;
}

void recorder_add_media(struct recorder *r, const struct media_identity *media)
{
    if (r->media < MEDIA_MAX)
        log_writer_media(r->writer, r->media++, media);
}

static void take_digest(struct recorder *r)
{
    struct digest_record d = {.tick = machine_tick(r->machine),
                              .insns = machine_insns(r->machine),
                              .events_before = r->events,
                              .digest = machine_digest(r->machine)};
    log_writer_digest(r->writer, &d);
    if (r->digests == 0 || r->last.tick != d.tick)
        r->digests++;
    r->last = (struct checkpoint){.tick = d.tick, .insns = d.insns};
}

static void snapshot_when_due(struct recorder *r, uint64_t tick)
{
    uint64_t passed = tick - r->snapshot_tick;
    if (tick % CHECKPOINT_TICKS != 0 || passed == 0 ||
        r->snapshot_interval == 0)
        return;
    if (passed < r->snapshot_interval &&
        (r->snapshot_work == 0 ||
         cpu_ns() - r->snapshot_cpu_ns < r->snapshot_work))
        return;
    if (!snapshotter_take(r->snapshotter, r->events))
        return; /* at the next of these ticks, then */
    r->snapshot_tick = tick;
    r->snapshot_cpu_ns = cpu_ns();
}

/* machine_run(), but what it stops at is always the arrival at a tick, which is
 * where replay stops too. A requested stop may leave the machine inside a tick,
 * after timers of that tick have fired: an event injected there would come
 * before them in replay. So the machine goes on to the next tick. */
static enum stop_reason run_exactly(struct machine *m, uint64_t until)
{
    enum stop_reason reason = machine_run(m, until);
    if (reason != STOP_REQUEST)
        return reason;
    do
        reason = machine_run(m, machine_tick(m) + 1);
    while (reason == STOP_REQUEST);
    return reason == STOP_TICK ? STOP_REQUEST : reason;
}

enum stop_reason recorder_run(struct recorder *r, uint64_t until_tick)
{
    for (;;) {
        if (log_writer_failed(r->writer, NULL))
            return STOP_REQUEST;
        uint64_t next = checkpoint_next(machine_tick(r->machine));
        if (next > until_tick)
            next = until_tick;
        enum stop_reason reason = run_exactly(r->machine, next);
        uint64_t tick = machine_tick(r->machine);
        bool goes_on = reason == STOP_TICK || reason == STOP_REQUEST;
        if (goes_on &&
            checkpoint_due(&r->last, tick, machine_insns(r->machine)))
            take_digest(r);
        log_writer_progress(r->writer, tick);
        if (goes_on)
            snapshot_when_due(r, tick);
        if (reason != STOP_TICK || tick >= until_tick)
            return reason;
    }
}

bool recorder_failed(const struct recorder *r, struct error *err)
{
    return log_writer_failed(r->writer, err);
}

static void log_end(struct recorder *r, enum stop_reason reason)
{
    struct event e = {.type = EVENT_TYPE_END, .bytes = 5};
    e.payload[0] = (uint8_t)reason;
    if (reason == STOP_DEBUG_EXIT)
        store_le32(e.payload + 1, machine_exit_value(r->machine));
    log_event(r, &e);
}

bool recorder_finish(struct recorder *r, enum stop_reason reason,
                     struct error *err)
{
    struct error inner;
    if (r->finished)
        return true;
    r->finished = true;
    machine_set_output(r->machine, NULL, NULL);
    uint32_t events = r->events;
    if (!log_writer_failed(r->writer, NULL)) {
        take_digest(r);
        log_end(r, reason);
    }
    if (!log_writer_stop(r->writer, err))
        return false;
    bool ok = snapshotter_wait(r->snapshotter, &inner);
    if (ok && !r->no_end_snapshot) {
        (void)snapshotter_take(r->snapshotter, events);
        ok = snapshotter_wait(r->snapshotter, &inner);
    }
    if (ok)
        return store_seal(r->store, err);
    return error_set(err, inner.code,
                     "%.700s; the recording is complete but for the snapshot "
                     "of its end",
                     inner.text);
}

struct snapshotter *recorder_snapshotter(struct recorder *r)
{
    return r->snapshotter;
}

void recorder_stats(const struct recorder *r, struct recorder_stats *out)
{
    struct log_writer_stats w;
    log_writer_stats(r->writer, &w);
    *out = (struct recorder_stats){.file_bytes = w.file_bytes,
                                   .log_bytes = w.log_bytes,
                                   .committed_tick = w.committed_tick,
                                   .events = r->events,
                                   .digests = r->digests};
    snapshotter_stats(r->snapshotter, &out->snapshots);
}
