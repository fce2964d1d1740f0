/* The single-producer single-consumer ring. */
#include "replay/ring.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void records_come_out_in_order_and_whole(void **state)
{
    (void)state;
    struct ring *r = ring_new(64);
    char out[16];
    assert_true(ring_push(r, "ab", 2, "cde", 3));
    assert_true(ring_push(r, "x", 1, NULL, 0));
    assert_int_equal(ring_pop(r, out, sizeof out), 5);
    assert_memory_equal(out, "abcde", 5);
    assert_int_equal(ring_pop(r, out, sizeof out), 1);
    assert_int_equal(ring_pop(r, out, sizeof out), 0);
    ring_free(r);
}

static void a_full_ring_refuses_and_stays_whole(void **state)
{
    (void)state;
    struct ring *r = ring_new(64);
    char big[64] = {0}, out[64];
    assert_false(ring_push(r, big, 61, NULL, 0));
    assert_true(ring_push(r, big, 60, NULL, 0));
    assert_false(ring_push(r, big, 1, NULL, 0));
    assert_int_equal(ring_pop(r, out, sizeof out), 60);
    assert_int_equal(ring_used(r), 0);
    assert_true(ring_push(r, big, 60, NULL, 0)); /* wraps around */
    assert_int_equal(ring_pop(r, out, sizeof out), 60);
    ring_free(r);
}

enum { RECORDS = 100000 };

static void *producer(void *context)
{
    struct ring *r = context;
    for (uint32_t i = 0; i < RECORDS; i++) {
        uint8_t body[40];
        memset(body, (int)i, sizeof body);
        while (!ring_push(r, &i, sizeof i, body, i % 37))
            sched_yield();
    }
    return NULL;
}

static void two_threads_lose_and_mix_nothing(void **state)
{
    (void)state;
    struct ring *r = ring_new(1024);
    pthread_t thread;
    unsigned bad = 0;
    assert_int_equal(pthread_create(&thread, NULL, producer, r), 0);
    for (uint32_t i = 0; i < RECORDS; i++) {
        uint8_t out[64];
        size_t bytes;
        while ((bytes = ring_pop(r, out, sizeof out)) == 0)
            sched_yield();
        uint32_t got;
        memcpy(&got, out, sizeof got);
        bad += got != i || bytes != 4 + i % 37;
        for (size_t b = 4; b < bytes; b++)
            bad += out[b] != (uint8_t)i;
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(bad, 0);
    ring_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_out_in_order_and_whole),
        cmocka_unit_test(a_full_ring_refuses_and_stays_whole),
        cmocka_unit_test(two_threads_lose_and_mix_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
