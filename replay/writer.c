#include "replay/writer.h"

#include "base/bytes.h"
#include "replay/ring.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    RING_BYTES = 4 << 20, /* what a guest can say while a commit syncs */
    COMMIT_BYTES = 256 << 10,
    DRAIN_BYTES = 1 << 20, /* most of one batch */
    COMMIT_MS = 500,
    IDLE_MS = 50, /* each look wakes a processor up */
    ITEM_MAX = 2048,
    OUTPUT_PIECE = 1024
};

/* Records in the ring: one of these kinds, then the bytes below. */
enum item {
    ITEM_EVENT,  /* u64 tick, u8 type, payload */
    ITEM_DIGEST, /* struct digest_record */
    ITEM_OUTPUT, /* u64 tick, u8 channel, bytes */
    ITEM_MEDIA   /* u8 index, media_save() */
};

struct log_writer {
    struct store *store; /* borrowed */
    struct ring *ring;   /* owned */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* of nothing but the wait for `stopped` */
    pthread_cond_t stopped;

    /* Written by the producer. */
    _Atomic uint64_t progress;
    _Atomic bool stop; /* set under the lock */
    /* Written by the writer thread. */
    _Atomic bool failed;
    _Atomic uint64_t file_bytes, log_bytes, committed_tick;
    _Atomic uint32_t committed_events;
    struct error error; /* before `failed` is set */

    /* The writer thread's own. */
    struct store_batch batch;
    struct output_gather output;
    struct commit_record commit; /* what the next commit will say */
    uint64_t last_digest_tick;
    uint64_t committed_at_ms;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void sleep_us(long us)
{
    struct timespec t = {.tv_nsec = us * 1000};
    (void)nanosleep(&t, NULL);
}

/* ---- the writer thread
 * --------------------------------------------------------- */

static void reach(struct log_writer *w, uint64_t tick)
{
    if (tick > w->commit.tick)
        w->commit.tick = tick;
}

static void take_event(struct log_writer *w, const uint8_t *item, size_t bytes)
{
    struct event e = {.tick = load_le64(item + 1),
                      .type = (enum event_type)item[9],
                      .bytes = (uint16_t)(bytes - 10)};
    memcpy(e.payload, item + 10, e.bytes);
    event_record_put(&w->batch, w->commit.events++, &e);
    reach(w, e.tick);
    if (e.type == EVENT_TYPE_END)
        w->commit.clean = true;
}

static void take_digest(struct log_writer *w, const uint8_t *item)
{
    struct digest_record d;
    memcpy(&d, item + 1, sizeof d);
    digest_record_put(&w->batch, &d);
    /* The digest of the end replaces a checkpoint at the same tick. */
    if (w->commit.digests == 0 || d.tick != w->last_digest_tick)
        w->commit.digests++;
    w->last_digest_tick = d.tick;
    w->commit.insns = d.insns;
    reach(w, d.tick);
}

static void take_item(struct log_writer *w, const uint8_t *item, size_t bytes)
{
    char key[16];
    switch ((enum item)item[0]) {
    case ITEM_EVENT:
        take_event(w, item, bytes);
        break;
    case ITEM_DIGEST:
        take_digest(w, item);
        break;
    case ITEM_OUTPUT:
        output_gather_add(&w->output, &w->batch, load_le64(item + 1), item[9],
                          item + 10, bytes - 10);
        reach(w, load_le64(item + 1));
        break;
    case ITEM_MEDIA:
        (void)snprintf(key, sizeof key, "media/%02u", item[1]);
        store_batch_put(&w->batch, STORE_META, key, strlen(key), item + 2,
                        bytes - 2);
        break;
    }
}

static void commit(struct log_writer *w)
{
    output_gather_flush(&w->output, &w->batch);
    w->commit.outputs = w->output.index;
    uint64_t log_bytes = w->batch.bytes.used;
    commit_record_put(&w->batch, &w->commit);
    struct error err;
    bool ok = store_commit(w->store, &w->batch, &err);
    store_batch_reset(&w->batch);
    w->committed_at_ms = now_ms();
    if (!ok) {
        error_set(&w->error, err.code,
                  "%.700s; the recording ends here and replays up to tick %llu",
                  err.text,
                  (unsigned long long)atomic_load(&w->committed_tick));
        atomic_store(&w->failed, true);
        return;
    }
    atomic_store(&w->committed_events, w->commit.events);
    atomic_store(&w->committed_tick, w->commit.tick);
    atomic_fetch_add(&w->log_bytes, log_bytes);
    atomic_store(&w->file_bytes, store_file_bytes(w->store));
}

/* One round: true while there may be more to do at once. */
static bool drain(struct log_writer *w, uint8_t *item)
{
    /* Read before the ring: what it promises is in the ring by now. */
    uint64_t progress =
        atomic_load_explicit(&w->progress, memory_order_acquire);
    size_t bytes = 0;
    bool any = false;
    while (w->batch.bytes.used < DRAIN_BYTES &&
           (bytes = ring_pop(w->ring, item, ITEM_MAX)) > 0) {
        any = true;
        if (!atomic_load(&w->failed))
            take_item(w, item, bytes);
    }
    if (bytes == 0)
        reach(w, progress);
    return any;
}

/* Sleep for a moment, or until stopped. */
static void idle(struct log_writer *w)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += IDLE_MS * 1000000L;
    t.tv_sec += t.tv_nsec / 1000000000L;
    t.tv_nsec %= 1000000000L;
    (void)pthread_mutex_lock(&w->lock);
    if (!atomic_load(&w->stop))
        (void)pthread_cond_clockwait(&w->stopped, &w->lock, CLOCK_MONOTONIC,
                                     &t);
    (void)pthread_mutex_unlock(&w->lock);
}

static void *writer_main(void *context)
{
    struct log_writer *w = context;
    uint8_t item[ITEM_MAX];
    bool stop;
    w->committed_at_ms = now_ms();
    do {
        stop = atomic_load_explicit(&w->stop, memory_order_acquire);
        bool any = drain(w, item);
        if (stop && ring_used(w->ring) > 0)
            stop = false;
        bool dirty = w->batch.count > 0 || w->output.used > 0 ||
                     w->commit.tick != atomic_load(&w->committed_tick);
        bool due = stop || w->batch.bytes.used >= COMMIT_BYTES ||
                   now_ms() - w->committed_at_ms >= COMMIT_MS;
        if (dirty && due && !atomic_load(&w->failed))
            commit(w);
        if (!any && !stop)
            idle(w);
    } while (!stop);
    return NULL;
}

/* ---- the producer
 * ------------------------------------------------------------- */

struct log_writer *log_writer_new(struct store *store, struct error *err)
{
    struct log_writer *w = calloc(1, sizeof *w);
    if (w) {
        (void)pthread_mutex_init(&w->lock, NULL);
        (void)pthread_cond_init(&w->stopped, NULL);
        w->store = store;
        w->ring = ring_new(RING_BYTES);
        store_batch_init(&w->batch);
        atomic_store(&w->file_bytes, store_file_bytes(store));
    }
    if (w && w->ring && pthread_create(&w->thread, NULL, writer_main, w) == 0) {
        (void)pthread_setname_np(w->thread, "log");
        w->started = true;
        return w;
    }
    error_set(err, ERR_NOMEM, "%s: cannot start the log writer",
              store_path(store));
    log_writer_free(w);
    return NULL;
}

void log_writer_free(struct log_writer *w)
{
    if (!w)
        return;
    (void)log_writer_stop(w, NULL);
    store_batch_fini(&w->batch);
    ring_free(w->ring);
    (void)pthread_cond_destroy(&w->stopped);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}

static void push(struct log_writer *w, const void *head, size_t head_bytes,
                 const void *body, size_t body_bytes)
{
    while (!atomic_load_explicit(&w->failed, memory_order_relaxed) &&
           !ring_push(w->ring, head, head_bytes, body, body_bytes))
        sleep_us(200);
}

void log_writer_event(struct log_writer *w, const struct event *e)
{
    uint8_t head[10] = {ITEM_EVENT};
    store_le64(head + 1, e->tick);
    head[9] = (uint8_t)e->type;
    push(w, head, sizeof head, e->payload, e->bytes);
}

void log_writer_digest(struct log_writer *w, const struct digest_record *d)
{
    uint8_t head = ITEM_DIGEST;
    push(w, &head, 1, d, sizeof *d);
}

void log_writer_output(struct log_writer *w, uint64_t tick,
                       enum output_channel channel, const void *bytes,
                       size_t count)
{
    uint8_t head[10] = {ITEM_OUTPUT};
    const uint8_t *from = bytes;
    store_le64(head + 1, tick);
    head[9] = (uint8_t)channel;
    while (count > 0) {
        size_t piece = count < OUTPUT_PIECE ? count : OUTPUT_PIECE;
        push(w, head, sizeof head, from, piece);
        from += piece;
        count -= piece;
    }
}

void log_writer_media(struct log_writer *w, unsigned index,
                      const struct media_identity *media)
{
    uint8_t head[2] = {ITEM_MEDIA, (uint8_t)index};
    struct writer out;
    writer_init(&out);
    media_save(media, &out);
    if (!out.failed)
        push(w, head, sizeof head, out.data, out.used);
    writer_fini(&out);
}

void log_writer_progress(struct log_writer *w, uint64_t tick)
{
    atomic_store_explicit(&w->progress, tick, memory_order_release);
}

bool log_writer_stop(struct log_writer *w, struct error *err)
{
    if (w->started) {
        (void)pthread_mutex_lock(&w->lock);
        atomic_store_explicit(&w->stop, true, memory_order_release);
        (void)pthread_cond_broadcast(&w->stopped);
        (void)pthread_mutex_unlock(&w->lock);
        (void)pthread_join(w->thread, NULL);
        w->started = false;
    }
    return !log_writer_failed(w, err);
}

bool log_writer_reached(const struct log_writer *w, uint64_t tick,
                        uint32_t events)
{
    return atomic_load(&w->committed_tick) >= tick &&
           atomic_load(&w->committed_events) >= events;
}

bool log_writer_failed(const struct log_writer *w, struct error *err)
{
    if (!atomic_load(&w->failed))
        return false;
    if (err)
        *err = w->error;
    return true;
}

void log_writer_stats(const struct log_writer *w, struct log_writer_stats *out)
{
    out->file_bytes = atomic_load(&w->file_bytes);
    out->log_bytes = atomic_load(&w->log_bytes);
    out->committed_tick = atomic_load(&w->committed_tick);
}
