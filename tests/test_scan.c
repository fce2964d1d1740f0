/* Searching in time against single steps and stored traces, forwards and
 * backwards, with many parts and with hardly any room. The guest is a 16-bit one,
 * which is interpreted; test_guest_scan has compiled code. */
#include "analysis/calls.h"
#include "analysis/origin.h"
#include "analysis/scan.h"
#include "analysis/trace_make.h"
#include "analysis/trace_read.h"
#include "cpu/cpu.h"
#include "lib_travelguest.h"
#include "lib_travelsession.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { HITS = 3000 };
static struct scan_hit hits[HITS], others[HITS];

static unsigned scan(struct travelsession *s, const struct scan_query *q,
                     struct scan_hit *out)
{
    struct error err = {0};
    struct scan *k = scan_new(s->travel, q, &err);
    enum scan_found found;
    unsigned n = 0;
    if (!k)
        fail_msg("%s", err.text);
    while ((found = scan_next(k, &out[n], &err)) == SCAN_HIT) {
        assert_true(++n < HITS);
        /* Somebody else moves the machine. */
        if (n % 50 == 7)
            (void)travel_goto(s->travel, (struct machine_place){n * 37, 0},
                              &err);
    }
    if (found != SCAN_DONE)
        fail_msg("%d behind %u of %d: %s", found, n, q->kind, err.text);
    scan_free(k);
    return n;
}

static void assert_same(const struct scan_hit *a, const struct scan_hit *b)
{
    assert_int_equal(a->place.tick, b->place.tick);
    assert_int_equal(a->place.deliveries, b->place.deliveries);
    assert_int_equal(a->rip, b->rip);
    assert_int_equal(a->address, b->address);
    assert_int_equal(a->value, b->value);
    assert_int_equal(a->old, b->old);
    assert_int_equal(a->bytes, b->bytes);
    assert_int_equal(a->is_write, b->is_write);
}

/* The hits of q, which every way of asking for them must give. */
static unsigned scan_all_ways(struct travelsession *s, struct scan_query q)
{
    unsigned count = scan(s, &q, hits);
    for (unsigned way = 0; way < 4; way++) {
        q.backwards = way & 1;
        q.buffer = way & 2 ? 20 : 0;
        unsigned n = scan(s, &q, others);
        assert_int_equal(n, count);
        for (unsigned i = 0; i < n; i++)
            assert_same(&others[q.backwards ? n - 1 - i : i], &hits[i]);
    }
    q.limit = 2;
    q.backwards = false;
    assert_int_equal(scan(s, &q, others), count < 2 ? count : 2);
    return count;
}

static void executions_are_the_steps(void **state)
{
    static const struct {
        uint64_t first, last;
    } rows[] = {{TRAVELGUEST_WORK, TRAVELGUEST_WORK},
                {TRAVELGUEST_TIMER, TRAVELGUEST_TIMER},
                {TRAVELGUEST_BADOP, TRAVELGUEST_BADOP},
                {TRAVELGUEST_UD2, TRAVELGUEST_UD2},
                {TRAVELGUEST_REP, TRAVELGUEST_REP},
                {TRAVELGUEST_WORK, TRAVELGUEST_UD2},
                {TRAVELGUEST_BASE, TRAVELGUEST_BASE + 0xff}, /* tier 0 */
                {0x12345, 0x12345}};
    struct travelsession *s = *state;
    travelsession_open(s, false, true);
    travelsession_walk(s, NULL, NULL);
    for (unsigned r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct scan_query q = scan_query_all(SCAN_EXEC);
        q.first = rows[r].first;
        q.last = rows[r].last;
        unsigned count = scan_all_ways(s, q), n = 0;
        for (unsigned i = 0; i < s->count; i++) {
            const struct travelplace *p = &s->places[i];
            if (!p->is_begun || p->rip < q.first || p->rip > q.last)
                continue;
            assert_true(n < count);
            assert_int_equal(hits[n].place.tick, p->place.tick);
            assert_int_equal(hits[n].place.deliveries, p->place.deliveries);
            assert_int_equal(hits[n++].rip, p->rip);
        }
        assert_int_equal(n, count);
    }
    struct scan_query q = scan_query_all(SCAN_EXEC);
    q.first = q.last = TRAVELGUEST_WORK;
    q.from = hits[0].place.tick;
    unsigned all = scan_all_ways(s, q);
    q.from = hits[3].place.tick;
    q.to = hits[6].place.tick;
    assert_int_equal(scan_all_ways(s, q), 3);
    assert_int_equal(all, TRAVELGUEST_ROUNDS);
    q.has_cr3 = true;
    q.cr3 = 0x1000;
    assert_int_equal(scan_all_ways(s, q), 0);
}

/* A part that begins in the middle of a repeated instruction. */
static void a_repeated_instruction_is_executed_once(void **state)
{
    struct travelsession *s = *state;
    travelsession_open(s, false, true);
    struct scan_query q = scan_query_all(SCAN_EXEC);
    q.first = q.last = TRAVELGUEST_REP;
    (void)scan(s, &q, hits);
    uint64_t tick = hits[2].place.tick;
    q.to = tick + 16;
    for (q.from = tick - 2; q.from < q.to; q.from++)
        assert_int_equal(scan_all_ways(s, q), q.from <= tick);
}

static void accesses_are_those_of_a_trace(void **state)
{
    static const struct {
        uint64_t first, last;
    } rows[] = {{TRAVELGUEST_COPY, TRAVELGUEST_COPY + 3},
                {TRAVELGUEST_TARGET + 5, TRAVELGUEST_TARGET + 5},
                {TRAVELGUEST_TICKS, TRAVELGUEST_COUNT + 1},
                {0x6f00, 0x6fff}, /* the stack */
                {0, 0x9ffff}};
    struct travelsession *s = *state;
    struct error err = {0};
    struct trace_head head;
    const struct trace_wish wish = {"t", TRACE_FLOW | TRACE_MEM, 0, UINT64_MAX,
                                    0};
    travelsession_open(s, true, false);
    assert_true(trace_make(s->replayer, s->machine, &wish, &head, &err));
    travelsession_close(s);
    travelsession_open(s, false, true);
    struct trace *t;
    assert_true(trace_open(replayer_session(s->replayer), "t", &t, &err));
    for (unsigned r = 0; r < 2 * sizeof rows / sizeof rows[0]; r++) {
        struct scan_query q = scan_query_all(r & 1 ? SCAN_WRITE : SCAN_READ);
        struct trace_query tq = trace_query_all(TRACE_ACCESSES);
        struct trace_row row;
        q.first = tq.address.first = rows[r / 2].first;
        q.last = tq.address.last = rows[r / 2].last;
        tq.accesses = r & 1 ? TRACE_PAGE_WRITTEN : TRACE_PAGE_READ;
        unsigned count = scan_all_ways(s, q), n = 0;
        struct trace_cursor *c = trace_select(t, &tq, &err);
        while (trace_next(c, &row, &err) == TRACE_ROW) {
            assert_true(n < count);
            assert_int_equal(hits[n].place.tick, row.tick);
            if (!(row.flags & TRACE_DELIVERY))
                assert_int_equal(hits[n].rip, row.rip);
            assert_int_equal(hits[n].address, row.address);
            assert_int_equal(hits[n].bytes, row.bytes);
            assert_int_equal(hits[n++].value, row.value);
        }
        assert_int_equal(n, count);
        assert_true(n >= TRAVELGUEST_ROUNDS || !(r & 1));
        trace_cursor_free(c);
    }
    trace_close(t);
    struct scan_query q = scan_query_all(SCAN_WRITE);
    q.first = q.last = TRAVELGUEST_COPY;
    q.has_value = true;
    q.value = 7;
    assert_int_equal(scan_all_ways(s, q), 1);
    assert_int_equal(hits[0].old, 6);
    assert_int_equal(hits[0].rip, TRAVELGUEST_STORE);
}

static void stores_into_memory_are_the_writes(void **state)
{
    struct travelsession *s = *state;
    travelsession_open(s, false, true);
    struct scan_query q = scan_query_all(SCAN_WRITE);
    q.first = TRAVELGUEST_TARGET;
    q.last = TRAVELGUEST_TARGET + 15;
    unsigned count = scan_all_ways(s, q);
    static struct scan_hit writes[HITS];
    memcpy(writes, hits, sizeof writes);
    q.kind = SCAN_STORE;
    assert_int_equal(scan_all_ways(s, q), count);
    assert_int_equal(count, 16 * TRAVELGUEST_ROUNDS);
    for (unsigned i = 0; i < count; i++)
        assert_same(&hits[i], &writes[i]);
    /* Of a wider store, the part inside. */
    q.first = q.last = TRAVELGUEST_COPY + 1;
    count = scan_all_ways(s, q);
    assert_int_equal(count, TRAVELGUEST_ROUNDS);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(hits[i].bytes, 1);
        assert_int_equal(hits[i].address, TRAVELGUEST_COPY + 1);
    }
}

static void devices_and_events_are_the_guests(void **state)
{
    struct travelsession *s = *state;
    travelsession_open(s, false, true);
    struct scan_query q = scan_query_all(SCAN_IO);
    q.first = q.last = 0x20; /* EOI of each timer interrupt, and ICW1 */
    assert_int_equal(scan_all_ways(s, q), TRAVELGUEST_TIMERS + 1);
    q.has_value = true;
    q.value = 0x11;
    assert_int_equal(scan_all_ways(s, q), 1);
    q.reads = true;
    assert_int_equal(scan_all_ways(s, q), 0);
    q = scan_query_all(SCAN_IO);
    q.first = q.last = 0xf4;
    assert_int_equal(scan_all_ways(s, q), 1);
    assert_int_equal(hits[0].rip, TRAVELGUEST_OUT);
    assert_int_equal(hits[0].value, TRAVELGUEST_EXIT);
    q = scan_query_all(SCAN_INTERRUPT);
    assert_int_equal(scan_all_ways(s, q), TRAVELGUEST_TIMERS);
    q.first = q.last = 9;
    assert_int_equal(scan_all_ways(s, q), 0);
    q = scan_query_all(SCAN_EXCEPTION);
    assert_int_equal(scan_all_ways(s, q), TRAVELGUEST_ROUNDS);
    for (unsigned i = 0; i < TRAVELGUEST_ROUNDS; i++) {
        assert_int_equal(hits[i].rip, TRAVELGUEST_UD2);
        assert_int_equal(hits[i].address, 6);
        assert_false(hits[i].has_error);
    }
}

/* The guest calls WORK once a round; steps say when, and when it came back. */
static void calls_are_those_stepped_over(void **state)
{
    struct travelsession *s = *state;
    struct error err = {0};
    struct calls calls;
    unsigned n = 0;
    travelsession_open(s, false, true);
    travelsession_walk(s, NULL, NULL);
    struct calls_query q = calls_query_all();
    assert_int_equal(calls_gather(s->travel, &q, &calls, &err), TRAVEL_THERE);
    for (unsigned i = 0; i + 1 < s->count; i++) {
        const struct travelplace *p = &s->places[i];
        if (!p->is_begun || p->code[0] != 0xe8)
            continue;
        assert_true(n < calls.count);
        const struct call *c = &calls.at[n++];
        assert_int_equal(c->tick, p->place.tick);
        assert_int_equal(c->rip, p->rip);
        assert_int_equal(c->entry, TRAVELGUEST_WORK);
        assert_int_equal(c->back, TRAVELGUEST_HLT);
        assert_int_equal(c->parent, CALL_NO_PARENT);
        while (s->places[i].rip != TRAVELGUEST_HLT)
            i++;
        assert_true(c->has_returned);
        assert_int_equal(c->end, s->places[i].place.tick);
        assert_int_equal(c->result, (uint32_t)s->places[i].regs[REG_RAX]);
    }
    assert_int_equal(n, calls.count);
    assert_int_equal(n, TRAVELGUEST_ROUNDS);
    uint64_t fifth = calls.at[4].tick;
    calls_fini(&calls);
    q.limit = 3;
    assert_int_equal(calls_gather(s->travel, &q, &calls, &err), TRAVEL_THERE);
    assert_int_equal(calls.count, 3);
    assert_true(calls.is_cut);
    calls_fini(&calls);
    q.limit = 0;
    q.from = fifth;
    q.to = fifth + 1;
    assert_int_equal(calls_gather(s->travel, &q, &calls, &err), TRAVEL_THERE);
    assert_int_equal(calls.count, 1);
    assert_false(calls.at[0].has_returned);
    calls_fini(&calls);
}

static unsigned origin(struct travelsession *s, uint64_t vaddr, unsigned bytes,
                       uint64_t tick, struct origin_step *steps)
{
    struct error err = {0};
    unsigned count;
    if (origin_find(s->travel, vaddr, bytes, tick, steps, 20, &count, &err) !=
        TRAVEL_THERE)
        fail_msg("%s", err.text);
    return count;
}

/* COUNT is incremented, loaded into EAX and stored to COPY; TICKS and COUNT are
 * copied to TARGET by the repeated MOVSB. */
static void values_are_followed_through_copies(void **state)
{
    struct travelsession *s = *state;
    struct origin_step steps[20];
    struct error err = {0};
    unsigned count;
    travelsession_open(s, false, true);
    travelsession_walk(s, NULL, NULL);
    uint64_t tick = s->places[s->count - 1].place.tick;
    assert_int_equal(origin(s, TRAVELGUEST_COPY, 2, tick, steps), 3);
    assert_int_equal(steps[0].kind, ORIGIN_COPIED);
    assert_int_equal(steps[0].rip, TRAVELGUEST_STORE);
    assert_int_equal(steps[0].value, TRAVELGUEST_ROUNDS);
    assert_string_equal(steps[1].name, "rax");
    assert_int_equal(steps[1].kind, ORIGIN_COPIED);
    assert_int_equal(steps[1].rip, TRAVELGUEST_STORE - 4);
    assert_int_equal(steps[2].kind, ORIGIN_COMPUTED);
    assert_int_equal(steps[2].rip, TRAVELGUEST_WORK);
    assert_string_equal(steps[2].text, "inc [0x0502]");
    /* Places are in front of those instructions, each before the other. */
    for (unsigned i = 0; i < 3; i++) {
        unsigned k = 0;
        while (machine_place_compare(s->places[k].place, steps[i].place) != 0)
            assert_true(++k < s->count);
        assert_int_equal(s->places[k].rip, steps[i].rip);
        if (i)
            assert_true(
                machine_place_compare(steps[i].place, steps[i - 1].place) < 0);
    }
    assert_int_equal(origin(s, TRAVELGUEST_TARGET + 2, 1, tick, steps), 2);
    assert_int_equal(steps[0].kind, ORIGIN_COPIED);
    assert_int_equal(steps[0].rip, TRAVELGUEST_REP);
    assert_int_equal(steps[1].rip, TRAVELGUEST_WORK);
    assert_int_equal(origin(s, 0x20, 2, tick, steps), 1);
    assert_int_equal(steps[0].kind, ORIGIN_CONSTANT);
    assert_int_equal(origin(s, 0x20000, 4, tick, steps), 1);
    assert_int_equal(steps[0].kind, ORIGIN_START);
    /* What PUSH AX saved comes from the main program's AX. */
    unsigned pushed = s->count;
    while (s->places[--pushed].rip != TRAVELGUEST_TIMER_INC)
        ;
    uint64_t sp = (uint16_t)s->places[pushed].regs[REG_RSP];
    unsigned n = origin(s, sp, 2, s->places[pushed].place.tick, steps);
    assert_true(n >= 2);
    assert_int_equal(steps[0].rip, TRAVELGUEST_TIMER);
    assert_string_equal(steps[1].name, "rax");
    assert_int_equal(steps[0].value, (uint16_t)s->places[pushed].regs[REG_RAX]);
    assert_int_equal(
        origin_find(s->travel, 0xfff, 4, tick, steps, 20, &count, &err),
        TRAVEL_FAILED);
    assert_non_null(strstr(err.text, "in one page"));
}

static bool stop_now(void *context)
{
    return ++*(unsigned *)context == 2;
}

static void a_search_can_be_interrupted_and_goes_on(void **state)
{
    struct travelsession *s = *state;
    struct error err = {0};
    unsigned asked = 0, n = 0, stops = 0;
    travelsession_open(s, false, true);
    struct scan_query q = scan_query_all(SCAN_EXEC);
    q.first = q.last = TRAVELGUEST_WORK;
    struct scan *k = scan_new(s->travel, &q, &err);
    travel_set_poll(s->travel, stop_now, &asked);
    enum scan_found found;
    while ((found = scan_next(k, &hits[n], &err)) != SCAN_DONE) {
        assert_int_not_equal(found, SCAN_FAILED);
        n += found == SCAN_HIT;
        stops += found == SCAN_INTERRUPTED;
    }
    assert_int_equal(n, TRAVELGUEST_ROUNDS);
    assert_int_equal(stops, 1);
    scan_free(k);
    q.first = 5;
    q.last = 4;
    assert_null(scan_new(s->travel, &q, &err));
    assert_non_null(strstr(err.text, "expected a range"));
}

int main(void)
{
#define SCAN_TEST(name)                                                        \
    cmocka_unit_test_setup_teardown(name, travelsession_make,                  \
                                    travelsession_remove)
    const struct CMUnitTest tests[] = {
        SCAN_TEST(executions_are_the_steps),
        SCAN_TEST(a_repeated_instruction_is_executed_once),
        SCAN_TEST(accesses_are_those_of_a_trace),
        SCAN_TEST(stores_into_memory_are_the_writes),
        SCAN_TEST(devices_and_events_are_the_guests),
        SCAN_TEST(calls_are_those_stepped_over),
        SCAN_TEST(values_are_followed_through_copies),
        SCAN_TEST(a_search_can_be_interrupted_and_goes_on),
    };
    return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
