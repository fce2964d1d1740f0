/* The JIT thread, between two rings of requests with one writer and one reader
 * each. Its priority rises with the depth of its queue. */
#include "jit/t2.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    RING = 32, /* more than T2_REQUESTS */
    DEEP = 3   /* requests waiting that call for the higher priority */
};
_Static_assert((int)RING > (int)T2_REQUESTS, "a ring is never full");

struct ring {
    _Atomic uint32_t head; /* next to read; the reader's */
    _Atomic uint32_t tail; /* next to write; the writer's */
    struct t2_request *slot[RING];
};

struct t2_thread {
    struct t2 *t; /* borrowed */
    struct ring todo, done;
    sem_t wake;
    pthread_t thread;
    atomic_bool stop;
    bool is_raised; /* the thread's own */
};

static bool push(struct ring *r, struct t2_request *q)
{
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    if (tail - atomic_load_explicit(&r->head, memory_order_acquire) == RING)
        return false;
    r->slot[tail % RING] = q;
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
    return true;
}

static struct t2_request *pop(struct ring *r)
{
    uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (head == atomic_load_explicit(&r->tail, memory_order_acquire))
        return NULL;
    struct t2_request *q = r->slot[head % RING];
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
    return q;
}

static unsigned depth(struct ring *r)
{
    return atomic_load_explicit(&r->tail, memory_order_relaxed) -
           atomic_load_explicit(&r->head, memory_order_relaxed);
}

/* A batch thread gives way to the vCPU; one that is behind does not. */
static void choose_priority(struct t2_thread *w)
{
    const struct sched_param none = {.sched_priority = 0};
    bool raise = depth(&w->todo) >= DEEP;
    if (raise == w->is_raised)
        return;
    w->is_raised = raise;
    (void)pthread_setschedparam(pthread_self(),
                                raise ? SCHED_OTHER : SCHED_BATCH, &none);
}

static void *work(void *context)
{
    struct t2_thread *w = context;
    w->is_raised = true;
    for (;;) {
        while (sem_wait(&w->wake) != 0)
            ;
        if (atomic_load(&w->stop))
            return NULL;
        choose_priority(w);
        struct t2_request *q = pop(&w->todo);
        if (!q)
            continue;
        t2_compile(&w->t->compiler, q);
        (void)push(&w->done, q);
    }
}

bool t2_thread_new(struct t2 *t, struct error *err)
{
    struct t2_thread *w = calloc(1, sizeof *w);
    if (!w)
        return error_set(err, ERR_NOMEM, "no memory for the JIT thread");
    w->t = t;
    atomic_init(&w->stop, false);
    if (sem_init(&w->wake, 0, 0) != 0 ||
        pthread_create(&w->thread, NULL, work, w) != 0) {
        free(w);
        return error_set(err, ERR_NOMEM, "the JIT thread does not start");
    }
    (void)pthread_setname_np(w->thread, "jit");
    t->thread = w;
    return true;
}

void t2_thread_free(struct t2_thread *w)
{
    if (!w)
        return;
    atomic_store(&w->stop, true);
    sem_post(&w->wake);
    pthread_join(w->thread, NULL);
    sem_destroy(&w->wake);
    free(w);
}

bool t2_thread_push(struct t2_thread *w, struct t2_request *q)
{
    if (!push(&w->todo, q))
        return false;
    sem_post(&w->wake);
    return true;
}

struct t2_request *t2_thread_pop(struct t2_thread *w)
{
    return pop(&w->done);
}
