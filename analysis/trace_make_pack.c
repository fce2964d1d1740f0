#include "analysis/trace_code.h"
#include "analysis/trace_index.h"
#include "analysis/trace_make_internal.h"
#include "analysis/trace_stream.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { JOBS = 3, COMMIT_BYTES = 32 << 20 };

struct trace_packer {
    struct store *store; /* borrowed */
    struct trace_head head;
    struct trace_coder *coder; /* owned, as all below */
    struct trace_zip *zip;
    struct trace_blocks blocks; /* the thread's own copy */
    struct store_batch batch;
    struct writer value;
    struct error error; /* of the thread; valid when failed */
    atomic_bool failed;
    pthread_t thread;
    bool has_thread;
    /* Jobs go round: filled ones from `first` on. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct trace_job job[JOBS];
    unsigned first, filled;
    bool is_over; /* no more will be given */
};

/* ---- one chunk --------------------------------------------------------------
 */

static bool put_column(struct trace_packer *p, enum trace_column column)
{
    uint8_t key[TRACE_KEY_BYTES];
    trace_key(key, p->head.id, column, p->head.chunks);
    store_batch_put(&p->batch, STORE_TRACES, key, sizeof key, p->value.data,
                    p->value.used);
    p->head.bytes += p->value.used;
    writer_reset(&p->value);
    return !p->batch.bytes.failed;
}

static bool put_blocks(struct trace_packer *p, const struct trace_job *job)
{
    struct reader r;
    if (!job->blocks.used)
        return true;
    reader_init(&r, job->blocks.data, job->blocks.used);
    return !job->blocks.failed && trace_blocks_read(&p->blocks, &r) &&
           trace_pack(p->zip, &p->value, &job->blocks) &&
           put_column(p, TRACE_COLUMN_BLOCKS);
}

static bool put_index(struct trace_packer *p, const struct trace_chunk *c)
{
    struct trace_index x;
    bool ok = trace_index_make(&x, c, &p->blocks) &&
              trace_index_write(&x, p->zip, &p->value) &&
              put_column(p, TRACE_COLUMN_INDEX);
    trace_index_fini(&x);
    return ok;
}

static bool put_chunk(struct trace_packer *p, const struct trace_job *job)
{
    static const struct {
        enum trace_column column;
        unsigned what;
    } rows[] = {
        {TRACE_COLUMN_FLOW, TRACE_FLOW},  {TRACE_COLUMN_ACCESSES, TRACE_MEM},
        {TRACE_COLUMN_BYTES, TRACE_MEM},  {TRACE_COLUMN_REGISTERS, TRACE_REGS},
        {TRACE_COLUMN_DEVICES, TRACE_IO}, {TRACE_COLUMN_EVENTS, TRACE_EVENTS}};
    const struct trace_chunk *c = &job->chunk;
    if (c->failed || !put_blocks(p, job) || !put_index(p, c))
        return false;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if ((p->head.what & rows[i].what) &&
            (!trace_encode(p->coder, rows[i].column, c, &p->blocks,
                           &p->value) ||
             !put_column(p, rows[i].column)))
            return false;
    p->head.chunks++;
    p->head.rows += c->rows;
    p->head.accesses += c->accesses.count;
    p->head.devices += c->devices.count;
    p->head.events += c->events.count;
    p->head.blocks = p->blocks.count - 1;
    p->head.to = job->until;
    return true;
}

static bool commit(struct trace_packer *p)
{
    trace_head_put(&p->batch, &p->head);
    bool ok = store_commit(p->store, &p->batch, &p->error);
    store_batch_reset(&p->batch);
    return ok;
}

static void take(struct trace_packer *p, const struct trace_job *job)
{
    if (atomic_load(&p->failed))
        return;
    bool ok = put_chunk(p, job) ||
              error_set(&p->error, ERR_NOMEM, "no memory to store the trace");
    if (ok && p->batch.bytes.used > COMMIT_BYTES)
        ok = commit(p);
    if (!ok)
        atomic_store(&p->failed, true);
}

static void *work(void *context)
{
    struct trace_packer *p = context;
    (void)pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->filled == 0 && !p->is_over)
            (void)pthread_cond_wait(&p->changed, &p->lock);
        if (p->filled == 0)
            break;
        struct trace_job *job = &p->job[p->first];
        (void)pthread_mutex_unlock(&p->lock);
        take(p, job);
        trace_chunk_reset(&job->chunk);
        writer_reset(&job->blocks);
        (void)pthread_mutex_lock(&p->lock);
        p->first = (p->first + 1) % JOBS;
        p->filled--;
        (void)pthread_cond_signal(&p->changed);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* ---- the vCPU thread's side -------------------------------------------------
 */

struct trace_packer *trace_packer_new(struct store *s,
                                      const struct trace_head *head,
                                      struct error *err)
{
    struct trace_packer *p = calloc(1, sizeof *p);
    if (!p) {
        error_set(err, ERR_NOMEM, "no memory for a trace");
        return NULL;
    }
    p->store = s;
    p->head = *head;
    store_batch_init(&p->batch);
    writer_init(&p->value);
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->changed, NULL);
    for (unsigned i = 0; i < JOBS; i++) {
        writer_init(&p->job[i].blocks);
        trace_chunk_reset(&p->job[i].chunk);
    }
    p->coder = trace_coder_new();
    p->zip = trace_zip_new();
    p->has_thread = trace_blocks_init(&p->blocks) && p->coder && p->zip &&
                    pthread_create(&p->thread, NULL, work, p) == 0;
    if (p->has_thread) {
        (void)pthread_setname_np(p->thread, "traces");
        return p;
    }
    error_set(err, ERR_NOMEM, "no memory or thread for a trace");
    trace_packer_free(p);
    return NULL;
}

struct trace_job *trace_packer_job(struct trace_packer *p)
{
    (void)pthread_mutex_lock(&p->lock);
    while (p->filled == JOBS)
        (void)pthread_cond_wait(&p->changed, &p->lock);
    struct trace_job *job = &p->job[(p->first + p->filled) % JOBS];
    (void)pthread_mutex_unlock(&p->lock);
    return job;
}

void trace_packer_give(struct trace_packer *p, struct trace_job *job)
{
    (void)job; /* the one that trace_packer_job() gave */
    (void)pthread_mutex_lock(&p->lock);
    p->filled++;
    (void)pthread_cond_signal(&p->changed);
    (void)pthread_mutex_unlock(&p->lock);
}

bool trace_packer_failed(const struct trace_packer *p)
{
    return atomic_load(&p->failed);
}

static void end_thread(struct trace_packer *p)
{
    if (!p->has_thread)
        return;
    (void)pthread_mutex_lock(&p->lock);
    p->is_over = true;
    (void)pthread_cond_signal(&p->changed);
    (void)pthread_mutex_unlock(&p->lock);
    (void)pthread_join(p->thread, NULL);
    p->has_thread = false;
}

bool trace_packer_finish(struct trace_packer *p, uint64_t until,
                         struct trace_head *head, struct error *err)
{
    end_thread(p);
    if (!atomic_load(&p->failed)) {
        p->head.to = until;
        p->head.is_finished = true;
        if (!commit(p))
            atomic_store(&p->failed, true);
    }
    *head = p->head;
    if (atomic_load(&p->failed))
        *err = p->error;
    return !atomic_load(&p->failed);
}

void trace_packer_free(struct trace_packer *p)
{
    if (!p)
        return;
    end_thread(p);
    for (unsigned i = 0; i < JOBS; i++) {
        trace_chunk_fini(&p->job[i].chunk);
        writer_fini(&p->job[i].blocks);
    }
    trace_coder_free(p->coder);
    trace_zip_free(p->zip);
    trace_blocks_fini(&p->blocks);
    store_batch_fini(&p->batch);
    writer_fini(&p->value);
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->changed);
    free(p);
}
