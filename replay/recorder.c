#include "replay/recorder.h"

#include "base/bytes.h"
#include "replay/checkpoint.h"
#include "replay/record.h"
#include "replay/snapshot.h"
#include "replay/store.h"
#include "replay/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct recorder {
    struct machine *machine;   /* borrowed */
    struct store *store;       /* owned; the writer's while it runs */
    struct log_writer *writer; /* owned */
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
    char *config = machine_config_to_json(machine_config(r->machine));
    if (!config)
        return error_set(err, ERR_USAGE,
                         "%s: the machine configuration cannot be recorded: a "
                         "path or text in it is not UTF-8",
                         options->path);
    store_batch_init(&b);
    store_batch_put(&b, STORE_META, "config", 6, config, strlen(config));
    store_batch_put(&b, STORE_META, "build", 5, options->build,
                    strlen(options->build));
    store_le64(created, (uint64_t)options->created);
    store_batch_put(&b, STORE_META, "created", 7, created, sizeof created);
    put_media(&b, options);
    commit_record_put(&b, &(struct commit_record){0});
    bool ok = store_commit(r->store, &b, err);
    store_batch_fini(&b);
    free(config);
    return ok;
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
    if (!put_meta(r, options, err) || !snapshot_take(r->store, m, 0, err) ||
        !(r->writer = log_writer_new(r->store, err))) {
        store_discard(r->store);
        free(r);
        return NULL;
    }
    machine_set_output(m, on_output, r);
    return r;
}

void recorder_free(struct recorder *r)
{
    if (!r)
        return;
    machine_set_output(r->machine, NULL, NULL);
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
    if (r->no_end_snapshot ||
        snapshot_take(r->store, r->machine, events, &inner))
        return store_seal(r->store, err);
    return error_set(err, inner.code,
                     "%.700s; the recording is complete but for the snapshot "
                     "of its end",
                     inner.text);
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
}
