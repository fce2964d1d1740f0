#include "replay/ring.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Positions only grow; their low bits index the buffer. */
struct ring {
    uint8_t *data;                    /* owned */
    size_t mask;                      /* capacity - 1 */
    _Alignas(64) _Atomic size_t head; /* written by the producer */
    _Alignas(64) _Atomic size_t tail; /* written by the consumer */
};

enum { LENGTH_BYTES = 4 };

struct ring *ring_new(size_t capacity)
{
    size_t size = 64;
    while (size < capacity)
        size *= 2;
    struct ring *r = aligned_alloc(64, sizeof *r);
    if (!r)
        return NULL;
    memset(r, 0, sizeof *r);
    r->data = malloc(size);
    r->mask = size - 1;
    if (!r->data) {
        free(r);
        return NULL;
    }
    return r;
}

void ring_free(struct ring *r)
{
    if (!r)
        return;
    free(r->data);
    free(r);
}

static size_t copy_in(struct ring *r, size_t at, const void *bytes,
                      size_t count)
{
    size_t offset = at & r->mask;
    size_t first = r->mask + 1 - offset;
    if (first > count)
        first = count;
    if (first)
        memcpy(r->data + offset, bytes, first);
    if (count > first)
        memcpy(r->data, (const uint8_t *)bytes + first, count - first);
    return at + count;
}

static void copy_out(const struct ring *r, size_t at, void *bytes, size_t count)
{
    size_t offset = at & r->mask;
    size_t first = r->mask + 1 - offset;
    if (first > count)
        first = count;
    memcpy(bytes, r->data + offset, first);
    if (count > first)
        memcpy((uint8_t *)bytes + first, r->data, count - first);
}

bool ring_push(struct ring *r, const void *a, size_t a_bytes, const void *b,
               size_t b_bytes)
{
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    size_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    size_t room = r->mask + 1 - (head - tail);
    uint32_t length = (uint32_t)(a_bytes + b_bytes);
    if (a_bytes + b_bytes == 0 || a_bytes + b_bytes + LENGTH_BYTES > room)
        return false;
    head = copy_in(r, head, &length, LENGTH_BYTES);
    head = copy_in(r, head, a, a_bytes);
    head = copy_in(r, head, b, b_bytes);
    atomic_store_explicit(&r->head, head, memory_order_release);
    return true;
}

size_t ring_pop(struct ring *r, void *out, size_t out_bytes)
{
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    size_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    uint32_t length;
    if (head == tail)
        return 0;
    copy_out(r, tail, &length, LENGTH_BYTES);
    size_t given = length < out_bytes ? length : out_bytes;
    copy_out(r, tail + LENGTH_BYTES, out, given);
    atomic_store_explicit(&r->tail, tail + LENGTH_BYTES + length,
                          memory_order_release);
    return given;
}

size_t ring_used(const struct ring *r)
{
    size_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    return atomic_load_explicit(&r->head, memory_order_acquire) - tail;
}

size_t ring_capacity(const struct ring *r)
{
    return r->mask + 1;
}
