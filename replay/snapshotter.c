#include "replay/snapshotter.h"

#include "replay/page_refs.h"
#include "replay/page_value.h"
#include "replay/record.h"
#include "replay/snapshot.h"
#include "replay/stage.h"
#include "replay/thin.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <xxhash.h>
#include <zstd.h>

enum {
    BATCH_BYTES = 8 << 20, /* of pages in one commit */
    CHAIN_MAX = 128,       /* records to read for one snapshot */
    LOG_WAIT_MS = 50 /* the log commits twice a second */
};

/* What the last record, with its bases, says about one list. */
struct known {
    uint8_t (*hash)[PAGE_HASH_BYTES]; /* owned, by number */
    uint64_t numbers;
    uint32_t *named; /* owned: numbers that have had a hash, in no order */
    uint32_t named_count, named_capacity;
};

/* Records that are committed when the log has come as far. */
struct pending {
    struct store_batch batch;
    uint64_t tick;
    uint32_t events;
};

struct snapshotter {
    struct store *store;             /* borrowed */
    struct machine *machine;         /* borrowed */
    const struct log_writer *log;    /* borrowed; NULL: do not wait */
    uint64_t budget;
    pthread_t thread;
    bool is_started;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_busy, is_pending, is_stopping, has_failed; /* under lock */
    struct error error;                    /* before has_failed is set */
    struct snapshotter_stats stats;        /* under lock */

    /* The machine's thread writes them while the other waits. */
    struct stage stage;
    struct writer devices;
    uint64_t tick, insns;
    uint32_t events_before;

    /* The thread's own. */
    struct known known[SNAPSHOT_LISTS];
    struct writer entries[SNAPSHOT_LISTS]; /* of the record being made */
    struct page_refs refs;
    struct thin thin;
    struct store_batch batch; /* pages */
    struct pending waiting;   /* for the log */
    struct pending gathered;  /* meanwhile, to wait next */
    uint64_t settled_tick;    /* of the last record that is committed */
    struct store_batch edits; /* of what is committed */
    struct writer value;
    ZSTD_CCtx *zstd; /* owned */
    uint8_t packed[PAGE_VALUE_MAX];
    uint64_t page_bytes, pages;
    uint64_t whole_entries, chain_entries; /* of the last whole record, and
                                              of those that stand on it */
    unsigned chain;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool no_memory(const struct snapshotter *s, struct error *err)
{
    return error_set(err, ERR_NOMEM, "%s: no memory for a snapshot",
                     store_path(s->store));
}

/* ---- what is known ----------------------------------------------------------
 */

static void known_fini(struct known *k)
{
    if (k->hash)
        (void)munmap(k->hash, k->numbers * sizeof *k->hash);
    free(k->named);
    *k = (struct known){0};
}

static bool known_init(struct known *k, uint64_t numbers)
{
    known_fini(k);
    k->numbers = numbers;
    if (numbers == 0)
        return true;
    k->hash = mmap(NULL, numbers * sizeof *k->hash, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (k->hash == MAP_FAILED)
        k->hash = NULL;
    return k->hash != NULL;
}

/* A number that has no hash enters `named`; it may be there already. */
static bool known_set(struct known *k, uint32_t number, const uint8_t *hash)
{
    if (snapshot_hash_is_none(k->hash[number])) {
        if (k->named_count == k->named_capacity) {
            uint32_t capacity = k->named_capacity ? k->named_capacity * 2 : 256;
            uint32_t *more = realloc(k->named, capacity * sizeof *more);
            if (!more)
                return false;
            k->named = more;
            k->named_capacity = capacity;
        }
        k->named[k->named_count++] = number;
    }
    memcpy(k->hash[number], hash, PAGE_HASH_BYTES);
    return true;
}

/* ---- pages ------------------------------------------------------------------
 */

static bool commit(struct snapshotter *s, struct store_batch *b,
                   struct error *err)
{
    bool ok = b->count == 0 || store_commit(s->store, b, err);
    store_batch_reset(b);
    return ok;
}

/* One entry of a record names the hash. */
static bool name_page(struct snapshotter *s, const uint8_t *hash,
                      const uint8_t *data, struct error *err)
{
    struct page_ref *ref = page_refs_add(&s->refs, hash);
    if (!ref)
        return no_memory(s, err);
    if (ref->refs > 1)
        return true;
    size_t bytes = page_value_pack(s->zstd, data, s->packed);
    if (bytes == 0)
        return no_memory(s, err);
    ref->bytes = (uint32_t)bytes;
    s->page_bytes += ref->bytes;
    s->pages++;
    page_value_put(&s->batch, hash, s->packed, bytes);
    return s->batch.bytes.used < BATCH_BYTES || commit(s, &s->batch, err);
}

static void unname_page(void *context, const uint8_t hash[PAGE_HASH_BYTES])
{
    struct snapshotter *s = context;
    struct page_ref *ref = page_refs_remove(&s->refs, hash);
    if (!ref || ref->refs > 0)
        return;
    s->page_bytes -= ref->bytes;
    s->pages--;
    page_value_delete(&s->edits, hash);
}

/* ---- one list of a record ---------------------------------------------------
 */

static bool take_item(struct snapshotter *s, unsigned list,
                      const struct stage_item *item, struct error *err)
{
    uint8_t data[PAGE_DATA_BYTES];
    XXH128_canonical_t hash = {{0}};
    struct known *k = &s->known[list];
    stage_take(&s->stage, list, item, data);
    bool is_none = list == SNAPSHOT_FRAMES && snapshot_is_zero(data);
    if (!is_none)
        XXH128_canonicalFromHash(&hash, XXH3_128bits(data, sizeof data));
    if (memcmp(k->hash[item->number], hash.digest, PAGE_HASH_BYTES) == 0)
        return true;
    if (is_none)
        memset(k->hash[item->number], 0, PAGE_HASH_BYTES);
    else if (!known_set(k, item->number, hash.digest))
        return no_memory(s, err);
    writer_u32(&s->entries[list], item->number);
    writer_bytes(&s->entries[list], hash.digest, PAGE_HASH_BYTES);
    return is_none || name_page(s, hash.digest, data, err);
}

/* Items that nobody takes would stay claimed for ever; on failure they are
 * taken without looking. */
static bool take_items(struct snapshotter *s, struct error *err)
{
    uint8_t unused[PAGE_DATA_BYTES];
    bool ok = true;
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++) {
        const struct stage_list *staged = &s->stage.list[l];
        writer_reset(&s->entries[l]);
        if (ok && staged->whole && !known_init(&s->known[l], staged->numbers))
            ok = no_memory(s, err);
        for (uint32_t i = 0; i < staged->count; i++)
            if (ok)
                ok = take_item(s, l, &staged->items[i], err);
            else
                stage_take(&s->stage, l, &staged->items[i], unused);
    }
    return ok;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Everything that is known about a list, instead of what has changed. */
static bool list_all(struct snapshotter *s, unsigned l, struct error *err)
{
    struct known *k = &s->known[l];
    struct writer all, changed = s->entries[l];
    uint32_t kept = 0;
    writer_init(&all);
    if (k->named_count)
        qsort(k->named, k->named_count, sizeof *k->named, by_value);
    for (uint32_t i = 0; i < k->named_count; i++) {
        uint32_t number = k->named[i];
        const uint8_t *hash = k->hash[number];
        if (snapshot_hash_is_none(hash) ||
            (kept > 0 && k->named[kept - 1] == number))
            continue;
        if (!page_refs_add(&s->refs, hash))
            all.failed = true;
        k->named[kept++] = number;
        writer_u32(&all, number);
        writer_bytes(&all, hash, PAGE_HASH_BYTES);
    }
    k->named_count = kept;
    /* After the new names: a page must not seem unnamed in between. */
    for (size_t at = 0; at < changed.used; at += SNAPSHOT_ENTRY_BYTES)
        if (!snapshot_hash_is_none(changed.data + at + 4))
            unname_page(s, changed.data + at + 4);
    writer_fini(&changed);
    s->entries[l] = all;
    return !all.failed || no_memory(s, err);
}

/* ---- records ----------------------------------------------------------------
 */

static uint64_t count_entries(const struct snapshotter *s)
{
    uint64_t bytes = 0;
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++)
        bytes += s->entries[l].used;
    return bytes / SNAPSHOT_ENTRY_BYTES;
}

/* Does this record say everything? Those between two that do take together as
 * much room as one of them, or are as many as one wants to read. */
static bool is_whole_due(const struct snapshotter *s)
{
    return s->thin.count == 0 || s->chain >= CHAIN_MAX ||
           s->chain_entries + count_entries(s) > s->whole_entries ||
           thin_last(&s->thin) == s->tick;
}

static bool fetch(struct snapshotter *s, uint64_t tick, struct snapshot *out,
                  struct error *err)
{
    uint8_t key[KEY_TICK_BYTES];
    struct writer value;
    writer_init(&value);
    key_tick(key, tick);
    enum store_found found = store_fetch(s->store, STORE_SNAPSHOTS, key,
                                         sizeof key, &value, err);
    const struct store_bytes k = {key, sizeof key},
                             v = {value.data, value.used};
    bool ok = found == STORE_FOUND && !value.failed &&
              snapshot_unpack(&k, &v, out, store_path(s->store), err);
    if (found == STORE_NONE)
        error_set(err, ERR_INPUT, "%s: the snapshot at tick %llu has vanished",
                  store_path(s->store), (unsigned long long)tick);
    else if (value.failed)
        no_memory(s, err);
    writer_fini(&value);
    return ok;
}

static void unname_all(struct snapshotter *s, const struct snapshot *snap)
{
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++)
        for (uint32_t i = 0; i < snap->list[l].count; i++) {
            const uint8_t *entry =
                snap->list[l].entries + (size_t)i * SNAPSHOT_ENTRY_BYTES;
            if (!snapshot_hash_is_none(entry + 4))
                unname_page(s, entry + 4);
        }
}

static bool put_record(struct snapshotter *s, struct store_batch *b,
                       const struct snapshot *snap, struct error *err)
{
    uint8_t key[KEY_TICK_BYTES];
    writer_reset(&s->value);
    if (!snapshot_pack(snap, &s->value, err))
        return false;
    key_tick(key, snap->tick);
    store_batch_put(b, STORE_SNAPSHOTS, key, sizeof key, s->value.data,
                    s->value.used);
    return thin_put(&s->thin, snap->tick, s->value.used) || no_memory(s, err);
}

static bool make_record(struct snapshotter *s, struct error *err)
{
    struct snapshot snap = {.tick = s->tick,
                            .insns = s->insns,
                            .events_before = s->events_before,
                            .base = thin_last(&s->thin),
                            .devices = s->devices.data,
                            .devices_bytes = s->devices.used};
    bool is_whole = is_whole_due(s);
    if (is_whole) {
        snap.base = SNAPSHOT_WHOLE;
        for (unsigned l = 0; l < SNAPSHOT_LISTS; l++)
            if (!list_all(s, l, err))
                return false;
    }
    uint64_t entries = count_entries(s);
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++) {
        const struct writer *w = &s->entries[l];
        if (w->failed)
            return no_memory(s, err);
        snap.list[l] = (struct snapshot_list){
            .whole = is_whole || s->stage.list[l].whole,
            .count = (uint32_t)(w->used / SNAPSHOT_ENTRY_BYTES),
            .entries = w->data};
    }
    s->chain = is_whole ? 0 : s->chain + 1;
    s->chain_entries = is_whole ? 0 : s->chain_entries + entries;
    s->whole_entries = is_whole ? entries : s->whole_entries;
    return put_record(s, &s->gathered.batch, &snap, err);
}

/* ---- thinning ---------------------------------------------------------------
 */

static bool remove_record(struct snapshotter *s, uint64_t tick, uint64_t next,
                          struct error *err)
{
    struct snapshot older, newer, merged;
    uint8_t key[KEY_TICK_BYTES];
    if (!fetch(s, tick, &older, err))
        return false;
    bool ok = fetch(s, next, &newer, err);
    if (ok && newer.base == tick) {
        ok = snapshot_merge(&older, &newer, &merged, unname_page, s, err) &&
             put_record(s, &s->edits, &merged, err);
        snapshot_fini(&merged);
    } else if (ok) {
        unname_all(s, &older);
    }
    if (ok) {
        snapshot_fini(&newer);
        key_tick(key, tick);
        store_batch_delete(&s->edits, STORE_SNAPSHOTS, key, sizeof key);
        thin_remove(&s->thin, tick);
    }
    snapshot_fini(&older);
    return ok;
}

static bool thin_out(struct snapshotter *s, struct error *err)
{
    uint64_t tick, next;
    while (s->budget && s->page_bytes + s->thin.bytes > s->budget &&
           thin_choose(&s->thin, s->settled_tick, &tick, &next)) {
        if (!remove_record(s, tick, next, err) ||
            !commit(s, &s->edits, err))
            return false;
        (void)pthread_mutex_lock(&s->lock);
        s->stats.thinned++;
        (void)pthread_mutex_unlock(&s->lock);
    }
    return true;
}

/* ---- the thread -------------------------------------------------------------
 */

static bool is_log_there(const struct snapshotter *s)
{
    return !s->log ||
           log_writer_reached(s->log, s->waiting.tick, s->waiting.events);
}

/* What has gathered is next to wait. */
static void wait_next(struct snapshotter *s)
{
    struct pending p = s->waiting;
    s->waiting = s->gathered;
    s->gathered = p;
}

/* Commit the records that wait, after the pages they name. */
static bool commit_waiting(struct snapshotter *s, struct error *err)
{
    bool ok = commit(s, &s->batch, err) && commit(s, &s->waiting.batch, err);
    s->settled_tick = s->waiting.tick;
    wait_next(s);
    return ok;
}

/* Commit every record there is, however long the log takes. */
static bool flush(struct snapshotter *s, struct error *err)
{
    const struct timespec pause = {.tv_nsec = LOG_WAIT_MS * 1000000L};
    while (s->waiting.batch.count > 0 || s->gathered.batch.count > 0) {
        if (s->waiting.batch.count == 0)
            wait_next(s);
        if (is_log_there(s)) {
            if (!commit_waiting(s, err))
                return false;
            continue;
        }
        if (log_writer_failed(s->log, err))
            return false;
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

static bool gather(struct snapshotter *s, struct error *err)
{
    bool ok = take_items(s, err) && make_record(s, err);
    s->gathered.tick = s->tick;
    s->gathered.events = s->events_before;
    if (ok && s->waiting.batch.count == 0)
        wait_next(s);
    return ok;
}

/* Another snapshot of the last one's tick takes its place. */
static bool replace(struct snapshotter *s, struct error *err)
{
    struct snapshot old;
    if (!flush(s, err) || !fetch(s, s->tick, &old, err))
        return false;
    bool ok = gather(s, err) && flush(s, err);
    if (ok)
        unname_all(s, &old);
    snapshot_fini(&old);
    return ok && commit(s, &s->edits, err);
}

static bool work(struct snapshotter *s, struct error *err)
{
    stage_sort(&s->stage);
    bool again = s->thin.count > 0 && thin_last(&s->thin) == s->tick;
    bool ok = again ? replace(s, err) : gather(s, err);
    stage_end(&s->stage);
    return ok;
}

/* Commit what waits if the log has come far enough. Called under the lock,
 * which is open meanwhile. */
static void settle(struct snapshotter *s)
{
    struct error err;
    bool ok = true;
    (void)pthread_mutex_unlock(&s->lock);
    if (is_log_there(s))
        ok = commit_waiting(s, &err) && thin_out(s, &err);
    else
        ok = !log_writer_failed(s->log, &err);
    (void)pthread_mutex_lock(&s->lock);
    if (!ok) {
        s->error = err;
        s->has_failed = true;
    }
    s->is_pending = ok && s->waiting.batch.count > 0;
    s->stats.pages = s->pages;
    s->stats.page_bytes = s->page_bytes;
    (void)pthread_cond_broadcast(&s->changed);
}

static void take_work(struct snapshotter *s)
{
    struct error err;
    (void)pthread_mutex_unlock(&s->lock);
    bool ok = work(s, &err);
    (void)pthread_mutex_lock(&s->lock);
    if (!ok) {
        s->error = err;
        s->has_failed = true;
    }
    s->is_busy = false;
    s->is_pending = ok && s->waiting.batch.count > 0;
    (void)pthread_cond_broadcast(&s->changed);
}

static void wait_a_little(struct snapshotter *s)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += LOG_WAIT_MS * 1000000L;
    t.tv_sec += t.tv_nsec / 1000000000L;
    t.tv_nsec %= 1000000000L;
    (void)pthread_cond_clockwait(&s->changed, &s->lock, CLOCK_MONOTONIC, &t);
}

static void *thread_main(void *context)
{
    struct snapshotter *s = context;
    (void)pthread_mutex_lock(&s->lock);
    while (s->is_busy || s->is_pending || !s->is_stopping) {
        if (s->is_pending)
            settle(s);
        if (s->is_busy)
            take_work(s);
        else if (s->is_pending)
            wait_a_little(s);
        else if (!s->is_stopping)
            (void)pthread_cond_wait(&s->changed, &s->lock);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- the machine's thread ---------------------------------------------------
 */

struct snapshotter *snapshotter_new(struct store *store, struct machine *m,
                                    uint64_t budget, struct error *err)
{
    struct snapshotter *s = calloc(1, sizeof *s);
    if (!s || !stage_init(&s->stage, m, err)) {
        free(s);
        error_set(err, ERR_NOMEM, "%s: no memory for snapshots",
                  store_path(store));
        return NULL;
    }
    s->store = store;
    s->machine = m;
    s->budget = budget;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->changed, NULL);
    writer_init(&s->devices);
    writer_init(&s->value);
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++)
        writer_init(&s->entries[l]);
    page_refs_init(&s->refs);
    thin_init(&s->thin);
    store_batch_init(&s->batch);
    store_batch_init(&s->waiting.batch);
    store_batch_init(&s->gathered.batch);
    store_batch_init(&s->edits);
    s->zstd = ZSTD_createCCtx();
    s->is_started = s->zstd &&
                    pthread_create(&s->thread, NULL, thread_main, s) == 0;
    if (s->is_started) {
        (void)pthread_setname_np(s->thread, "snapshots");
        return s;
    }
    (void)no_memory(s, err);
    snapshotter_free(s);
    return NULL;
}

void snapshotter_free(struct snapshotter *s)
{
    if (!s)
        return;
    if (s->is_started) {
        (void)pthread_mutex_lock(&s->lock);
        s->is_stopping = true;
        (void)pthread_cond_broadcast(&s->changed);
        (void)pthread_mutex_unlock(&s->lock);
        (void)pthread_join(s->thread, NULL);
    }
    stage_fini(&s->stage);
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++) {
        known_fini(&s->known[l]);
        writer_fini(&s->entries[l]);
    }
    writer_fini(&s->devices);
    writer_fini(&s->value);
    page_refs_fini(&s->refs);
    thin_fini(&s->thin);
    store_batch_fini(&s->batch);
    store_batch_fini(&s->waiting.batch);
    store_batch_fini(&s->gathered.batch);
    store_batch_fini(&s->edits);
    (void)ZSTD_freeCCtx(s->zstd);
    (void)pthread_cond_destroy(&s->changed);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

void snapshotter_follow(struct snapshotter *s, const struct log_writer *log)
{
    s->log = log;
}

static bool is_free(struct snapshotter *s)
{
    (void)pthread_mutex_lock(&s->lock);
    bool is_free_now = !s->is_busy && !s->has_failed;
    s->stats.postponed += !is_free_now;
    (void)pthread_mutex_unlock(&s->lock);
    return is_free_now;
}

bool snapshotter_take(struct snapshotter *s, uint32_t events_before)
{
    struct error err;
    if (!is_free(s))
        return false;
    uint64_t begun = now_ns();
    writer_reset(&s->devices);
    machine_save_devices(s->machine, &s->devices);
    s->tick = machine_tick(s->machine);
    s->insns = machine_insns(s->machine);
    s->events_before = events_before;
    bool ok = !s->devices.failed || no_memory(s, &err);
    ok = ok && stage_begin(&s->stage, &err);
    uint64_t stopped = now_ns() - begun;
    (void)pthread_mutex_lock(&s->lock);
    s->is_busy = ok;
    if (!ok) {
        s->error = err;
        s->has_failed = true;
    }
    s->stats.taken += ok;
    s->stats.stop_ns += stopped;
    if (stopped > s->stats.stop_ns_max)
        s->stats.stop_ns_max = stopped;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
    return ok;
}

bool snapshotter_wait(struct snapshotter *s, struct error *err)
{
    (void)pthread_mutex_lock(&s->lock);
    (void)pthread_cond_broadcast(&s->changed); /* the log may be there by now */
    while (s->is_busy || s->is_pending)
        (void)pthread_cond_wait(&s->changed, &s->lock);
    bool ok = !s->has_failed;
    if (!ok && err)
        *err = s->error;
    (void)pthread_mutex_unlock(&s->lock);
    return ok;
}

void snapshotter_wait_copied(struct snapshotter *s)
{
    (void)pthread_mutex_lock(&s->lock);
    while (s->is_busy)
        (void)pthread_cond_wait(&s->changed, &s->lock);
    (void)pthread_mutex_unlock(&s->lock);
}

void snapshotter_stats(struct snapshotter *s, struct snapshotter_stats *out)
{
    (void)pthread_mutex_lock(&s->lock);
    *out = s->stats;
    (void)pthread_mutex_unlock(&s->lock);
}

bool snapshot_take(struct store *store, struct machine *m,
                   uint32_t events_before, struct error *err)
{
    struct snapshotter *s = snapshotter_new(store, m, 0, err);
    if (!s)
        return false;
    bool ok = snapshotter_take(s, events_before);
    ok = snapshotter_wait(s, err) && ok;
    snapshotter_free(s);
    return ok;
}
