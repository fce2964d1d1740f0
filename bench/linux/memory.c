/* Memory workloads: movs, stream, chase. */
#include "works.h"

#include <emmintrin.h>
#include <stdlib.h>

enum { COPY_BYTES = 512 << 10 };

static uint64_t from[COPY_BYTES / 8] __attribute__((aligned(64)));
static uint64_t to[COPY_BYTES / 8] __attribute__((aligned(64)));

static void fill(void)
{
    uint32_t random = 4711;
    for (unsigned i = 0; i < COPY_BYTES / 8; i++)
        from[i] = (uint64_t)next_random(&random) << 32 | i;
}

uint64_t work_movs(unsigned repeats)
{
    uint64_t sum = 0;
    fill();
    for (unsigned r = 0; r < repeats; r++) {
        const void *source = from;
        void *target = to;
        uint64_t count = COPY_BYTES / 8;
        from[r % (COPY_BYTES / 8)] += r;
        __asm__ volatile("rep movsq"
                         : "+S"(source), "+D"(target), "+c"(count)
                         :
                         : "memory");
        sum = sum * 3 + to[(r * 17) % (COPY_BYTES / 8)];
    }
    return sum;
}

uint64_t work_stream(unsigned repeats)
{
    const __m128i *source = (const __m128i *)from;
    __m128i *target = (__m128i *)to;
    __m128i sum = _mm_setzero_si128();
    uint64_t halves[2];
    fill();
    for (unsigned r = 0; r < repeats; r++) {
        __m128i step = _mm_set1_epi32((int)r);
        for (unsigned i = 0; i < COPY_BYTES / 16; i += 2) {
            __m128i a = _mm_add_epi32(_mm_load_si128(source + i), step);
            __m128i b = _mm_xor_si128(_mm_load_si128(source + i + 1), step);
            _mm_store_si128(target + i, a);
            _mm_store_si128(target + i + 1, b);
            sum = _mm_add_epi64(sum, _mm_xor_si128(a, b));
        }
    }
    _mm_storeu_si128((__m128i *)halves, sum);
    return halves[0] ^ halves[1] ^ to[5];
}

/* One cycle through all nodes in random order (Sattolo's shuffle), each in a
 * cache line of its own. */
uint64_t work_chase(unsigned repeats)
{
    enum { NODES = (8 << 20) / 64 };
    struct node {
        struct node *next;
        uint64_t number, unused[6];
    };
    struct node *nodes = aligned_alloc(64, NODES * sizeof *nodes);
    uint32_t *order = malloc(NODES * sizeof *order);
    struct node *n = nodes;
    uint32_t random = 1;
    uint64_t sum = 0;
    must(nodes && order, "memory");
    for (unsigned i = 0; i < NODES; i++)
        order[i] = i;
    for (unsigned i = NODES - 1; i > 0; i--) {
        unsigned j = next_random(&random) % i;
        uint32_t t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    for (unsigned i = 0; i < NODES; i++) {
        nodes[order[i]].next = &nodes[order[(i + 1) % NODES]];
        nodes[order[i]].number = i;
    }
    for (uint64_t i = 0; i < (uint64_t)repeats * 4 * NODES; i++) {
        sum += n->number ^ i;
        n = n->next;
    }
    free(nodes);
    free(order);
    return sum;
}
