/* Stored traces against single steps: every row, register and byte. */
#include "analysis/trace_chunk.h"
#include "analysis/trace_make.h"
#include "analysis/trace_read.h"
#include "cpu/cpu.h"
#include "lib_travelguest.h"
#include "lib_travelsession.h"
#include "replay/check.h"
#include "replay/copy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RAM_BYTES = 0xa0000, WHAT_ALL = 31 };

static struct trace_head make(struct travelsession *s, const char *name,
                              unsigned what, uint64_t from, uint64_t to,
                              uint32_t chunk_rows)
{
    struct error err = {0};
    struct trace_head head;
    const struct trace_wish wish = {name, what, from, to, chunk_rows};
    travelsession_open(s, true, false);
    if (!trace_make(s->replayer, s->machine, &wish, &head, &err))
        fail_msg("%s", err.text);
    travelsession_close(s);
    return head;
}

static struct trace *open_trace(struct travelsession *s, const char *name)
{
    struct error err = {0};
    struct trace *t;
    if (!trace_open(replayer_session(s->replayer), name, &t, &err))
        fail_msg("%s", err.text);
    return t;
}

static struct trace_cursor *begin(struct trace *t, const struct trace_query *q)
{
    struct error err = {0};
    struct trace_cursor *c = trace_select(t, q, &err);
    if (!c)
        fail_msg("%s", err.text);
    return c;
}

static bool next(struct trace_cursor *c, struct trace_row *row)
{
    struct error err = {0};
    enum trace_found found = trace_next(c, row, &err);
    if (found == TRACE_BAD)
        fail_msg("%s", err.text);
    return found == TRACE_ROW;
}

static void every_row_is_a_step(void **state)
{
    struct travelsession *s = *state;
    struct error err = {0};
    (void)make(s, "all", WHAT_ALL, 0, UINT64_MAX, 40);
    travelsession_open(s, false, true);
    travelsession_walk(s, NULL, NULL);
    struct trace *t = open_trace(s, "all");
    assert_true(trace_head_of(t)->is_finished);
    assert_true(trace_head_of(t)->chunks > 10);
    struct trace_query q = trace_query_all(TRACE_INSNS);
    struct trace_cursor *c = begin(t, &q);
    struct trace_row row;
    unsigned rows = 0;
    for (unsigned i = 0; i < s->count; i++) {
        const struct travelplace *p = &s->places[i];
        uint64_t regs[TRACE_REGISTERS];
        if (!p->is_begun)
            continue;
        assert_true(next(c, &row));
        assert_int_equal(row.tick, p->place.tick);
        assert_int_equal(row.rip, p->rip);
        assert_true(trace_registers(c, &row, regs, &err));
        assert_memory_equal(regs, p->regs, sizeof regs);
        rows++;
    }
    assert_false(next(c, &row));
    assert_true(rows > 500);
    trace_cursor_free(c);
    trace_close(t);
}

/* ---- memory against memory --------------------------------------------------
 */

struct bytes_check {
    struct trace_cursor *cursor;
    struct trace_row row;
    bool has_row;
    uint8_t *before; /* RAM at the place before */
    uint64_t reads, writes;
};

static void ram(struct machine *m, uint8_t *to)
{
    for (unsigned at = 0; at < RAM_BYTES; at += PAGE_BYTES) {
        struct phys_page page;
        phys_lookup(machine_phys(m), at, PHYS_READ, &page);
        memcpy(to + at, page.host, PAGE_BYTES);
    }
}

/* What the step to here did is what the trace's rows up to here say. */
static void check_step(struct travelsession *s, void *context)
{
    static uint8_t now[RAM_BYTES];
    struct bytes_check *k = context;
    ram(s->machine, now);
    struct machine_place here = travel_place(s->travel);
    for (; s->count && k->has_row; k->has_row = next(k->cursor, &k->row)) {
        const struct trace_row *r = &k->row;
        /* A delivery's accesses are at its tick, which is this one. */
        if (r->flags & TRACE_DELIVERY
                ? r->tick > here.tick ||
                      (r->tick == here.tick && here.deliveries == 0)
                : r->tick >= here.tick &&
                      !(here.deliveries && r->tick == here.tick &&
                        r->rip == s->places[s->count - 1].rip))
            break;
        if (r->address >= RAM_BYTES)
            continue;
        if (r->flags & TRACE_WRITE) {
            memcpy(k->before + r->address, &r->value, r->bytes);
            k->writes++;
        } else {
            assert_memory_equal(k->before + r->address, &r->value, r->bytes);
            k->reads++;
        }
    }
    if (s->count)
        for (unsigned i = 0; i < RAM_BYTES; i++)
            if (k->before[i] != now[i])
                fail_msg("tick %llu: byte %x is %02x, traced %02x",
                         (unsigned long long)here.tick, i, now[i],
                         k->before[i]);
    memcpy(k->before, now, RAM_BYTES);
}

static void accesses_explain_every_byte(void **state)
{
    struct travelsession *s = *state;
    (void)make(s, "mem", TRACE_FLOW | TRACE_MEM, 0, UINT64_MAX, 300);
    travelsession_open(s, false, true);
    struct trace *t = open_trace(s, "mem");
    struct trace_query q = trace_query_all(TRACE_ACCESSES);
    struct bytes_check k = {.cursor = begin(t, &q),
                            .before = calloc(1, RAM_BYTES)};
    k.has_row = next(k.cursor, &k.row);
    travelsession_walk(s, check_step, &k);
    assert_false(k.has_row);
    assert_true(k.writes > 19 * 16 && k.reads > 19 * 16);
    free(k.before);
    trace_cursor_free(k.cursor);
    trace_close(t);
}

/* ---- devices, events, branches ----------------------------------------------
 */

static void ports_and_events_are_the_guests(void **state)
{
    struct travelsession *s = *state;
    struct trace_head head =
        make(s, "dev", TRACE_IO | TRACE_EVENTS, 0, UINT64_MAX, 0);
    assert_int_equal(head.rows, 0);
    travelsession_open(s, false, false);
    struct trace *t = open_trace(s, NULL);
    struct trace_row row;
    struct trace_query q = trace_query_all(TRACE_DEVICE_ROWS);
    q.address = (struct trace_bounds){0xf4, 0xf4};
    struct trace_cursor *c = begin(t, &q);
    assert_true(next(c, &row));
    assert_int_equal(row.rip, TRAVELGUEST_OUT);
    assert_int_equal(row.value, TRAVELGUEST_EXIT);
    assert_int_equal(row.flags, TRACE_WRITE);
    assert_false(next(c, &row));
    trace_cursor_free(c);
    static const struct {
        uint8_t kind, vector, count;
    } events[] = {{CPU_NOTE_INTERRUPT, 8, TRAVELGUEST_TIMERS},
                  {CPU_NOTE_EXCEPTION, 6, TRAVELGUEST_ROUNDS},
                  {CPU_NOTE_EXCEPTION, 8, 0}};
    for (unsigned i = 0; i < 3; i++) {
        unsigned count = 0;
        q = trace_query_all(TRACE_EVENT_ROWS);
        q.has_kind = q.has_vector = true;
        q.kind = events[i].kind;
        q.vector = events[i].vector;
        c = begin(t, &q);
        while (next(c, &row)) {
            count++;
            if (row.vector == 6)
                assert_int_equal(row.rip, TRAVELGUEST_UD2);
        }
        assert_int_equal(count, events[i].count);
        trace_cursor_free(c);
    }
    trace_close(t);
}

/* Behind which steps did execution go on elsewhere? Deliveries apart. */
static void branches_are_where_steps_leave_the_line(void **state)
{
    struct travelsession *s = *state;
    (void)make(s, "flow", TRACE_FLOW, 0, UINT64_MAX, 50);
    travelsession_open(s, false, true);
    travelsession_walk(s, NULL, NULL);
    struct trace *t = open_trace(s, "flow");
    struct trace_query q = trace_query_all(TRACE_INSNS);
    struct trace_cursor *insns = begin(t, &q);
    q.table = TRACE_BRANCHES;
    struct trace_cursor *branches = begin(t, &q);
    struct trace_row row, branch;
    bool has_branch = next(branches, &branch);
    unsigned taken = 0;
    for (unsigned i = 0; i + 1 < s->count; i++) {
        const struct travelplace *p = &s->places[i], *after = &s->places[i + 1];
        if (!p->is_begun)
            continue;
        assert_true(next(insns, &row));
        bool leaves = after->place.deliveries == 0 && !after->is_rest &&
                      after->rip != p->rip + row.length;
        if (!leaves &&
            !(has_branch && branch.tick == row.tick && branch.rip == row.rip))
            continue;
        assert_true(has_branch);
        assert_int_equal(branch.tick, row.tick);
        assert_int_equal(branch.rip, row.rip);
        assert_int_equal(branch.address, after->rip);
        has_branch = next(branches, &branch);
        taken++;
    }
    assert_false(has_branch);
    assert_true(taken > 50);
    trace_cursor_free(insns);
    trace_cursor_free(branches);
    trace_close(t);
}

/* ---- queries ----------------------------------------------------------------
 */

static unsigned gather(struct trace *t, const struct trace_query *q,
                       struct trace_row *rows, unsigned most, uint32_t *opened)
{
    struct trace_cursor *c = begin(t, q);
    unsigned count = 0;
    while (next(c, &rows[count]))
        assert_true(++count < most);
    *opened = trace_chunks_opened(c);
    trace_cursor_free(c);
    return count;
}

static void filters_open_few_chunks_and_work_backwards(void **state)
{
    static struct trace_row forward[3000], backward[3000];
    struct travelsession *s = *state;
    uint32_t opened, all;
    (void)make(s, "q", TRACE_FLOW | TRACE_MEM, 0, UINT64_MAX, 64);
    travelsession_open(s, false, false);
    struct trace *t = open_trace(s, "q");
    struct trace_query q = trace_query_all(TRACE_INSNS);
    unsigned rows = gather(t, &q, forward, 3000, &all);
    assert_int_equal(all, trace_head_of(t)->chunks);
    q.rip = (struct trace_bounds){TRAVELGUEST_OUT, TRAVELGUEST_OUT};
    assert_int_equal(gather(t, &q, forward, 3000, &opened), 1);
    assert_int_equal(opened, 1);
    q.rip = (struct trace_bounds){TRAVELGUEST_WORK, TRAVELGUEST_WORK};
    unsigned count = gather(t, &q, forward, 3000, &opened);
    assert_int_equal(count, TRAVELGUEST_ROUNDS);
    q.backwards = true;
    assert_int_equal(gather(t, &q, backward, 3000, &opened), count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(backward[i].tick, forward[count - 1 - i].tick);
    q.limit = 3;
    assert_int_equal(gather(t, &q, backward, 3000, &opened), 3);
    q = trace_query_all(TRACE_INSNS);
    q.from = forward[2].tick;
    q.to = forward[4].tick;
    unsigned part = gather(t, &q, backward, 3000, &opened);
    assert_true(part > 10 && part < rows && opened < all);
    q = trace_query_all(TRACE_ACCESSES);
    q.accesses = TRACE_PAGE_WRITTEN;
    q.address = (struct trace_bounds){TRAVELGUEST_COPY, TRAVELGUEST_COPY};
    count = gather(t, &q, forward, 3000, &opened);
    assert_int_equal(count, TRAVELGUEST_ROUNDS);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(forward[i].rip, TRAVELGUEST_STORE);
        assert_int_equal(forward[i].value, i + 1);
    }
    q.has_value = true;
    q.value = 7;
    assert_int_equal(gather(t, &q, forward, 3000, &opened), 1);
    trace_close(t);
}

/* ---- in the session ---------------------------------------------------------
 */

static uint64_t records(struct travelsession *s)
{
    struct store_stats stats;
    struct error err;
    travelsession_open(s, false, false);
    assert_true(store_stats(replayer_session(s->replayer)->store, STORE_TRACES,
                            &stats, &err));
    travelsession_close(s);
    return stats.records;
}

static void traces_are_kept_deleted_and_checked(void **state)
{
    struct travelsession *s = *state;
    struct check_report report;
    struct trace_check_report traces;
    struct error err = {0};
    struct trace_head one = make(s, "one", WHAT_ALL, 0, UINT64_MAX, 0);
    struct trace_head two = make(s, "two", TRACE_FLOW, 100, 500, 0);
    assert_int_equal(one.id + 1, two.id);
    assert_int_equal(two.from, 100);
    assert_int_equal(two.to, 500);
    assert_true(session_check(s->path, &report, &err));
    assert_true(report.sealed);
    travelsession_open(s, true, false);
    const struct trace_wish again = {"two", TRACE_FLOW, 0, 50, 0};
    assert_false(trace_make(s->replayer, s->machine, &again, &two, &err));
    assert_non_null(strstr(err.text, "a trace named two exists"));
    assert_true(trace_check(replayer_session(s->replayer), &traces, &err));
    assert_int_equal(traces.traces, 2);
    assert_true(
        trace_delete(replayer_session(s->replayer)->store, one.id, &err));
    travelsession_close(s);
    travelsession_open(s, false, false);
    struct trace *t;
    assert_false(trace_open(replayer_session(s->replayer), "one", &t, &err));
    assert_non_null(strstr(err.text, "there is no trace named one"));
    trace_close(open_trace(s, "two"));
    travelsession_close(s);
    assert_true(records(s) < 10);
    assert_true(session_check(s->path, &report, &err));
}

static void copies_keep_traces_that_lie_inside(void **state)
{
    struct travelsession *s = *state;
    struct copy_report report;
    struct error err = {0};
    char trimmed[100];
    (void)make(s, "late", TRACE_FLOW, 200, UINT64_MAX, 0);
    (void)make(s, "early", TRACE_FLOW, 0, 100, 0);
    uint64_t before = records(s);
    assert_true(session_compact(s->path, 0, &report, &err));
    assert_int_equal(records(s), before);
    const struct copy_options part = {.from = 0, .to = 150};
    (void)snprintf(trimmed, sizeof trimmed, "%s/t", s->dir);
    if (!session_copy(s->path, trimmed, &part, &report, &err))
        fail_msg("%s", err.text);
    struct session *copy;
    struct trace *t;
    assert_true(session_open(trimmed, &copy, &err));
    assert_false(trace_open(copy, "late", &t, &err));
    assert_true(trace_open(copy, "early", &t, &err));
    trace_close(t);
    session_close(copy);
}

/* Change one byte of every record in turn, with a right checksum. */
static void damaged_columns_give_a_sentence(void **state)
{
    struct travelsession *s = *state;
    struct error err = {0};
    struct trace_check_report report;
    struct trace_head head = make(s, "d", WHAT_ALL, 0, UINT64_MAX, 0);
    unsigned found = 0;
    assert_int_equal(head.chunks, 1);
    for (unsigned column = 0; column < 9; column++)
        for (unsigned at = 0; at < 40; at += 3) {
            struct store_batch b;
            struct store_bytes v;
            uint8_t key[TRACE_KEY_BYTES], copy[70000];
            travelsession_open(s, true, false);
            const struct session *session = replayer_session(s->replayer);
            trace_key(key, head.id, column, 0);
            assert_int_equal(store_get(session->store, STORE_TRACES, key,
                                       sizeof key, &v, &err),
                             STORE_FOUND);
            assert_true(v.bytes < sizeof copy);
            memcpy(copy, v.data, v.bytes);
            copy[at % v.bytes] ^= 0x41;
            store_batch_init(&b);
            store_batch_put(&b, STORE_TRACES, key, sizeof key, copy, v.bytes);
            assert_true(store_commit(session->store, &b, &err));
            store_batch_reset(&b);
            copy[at % v.bytes] ^= 0x41;
            struct session *other;
            travelsession_close(s);
            assert_true(session_open(s->path, &other, &err));
            err.text[0] = 0;
            if (!trace_check(other, &report, &err)) {
                found++;
                assert_non_null(strstr(err.text, s->path));
                assert_null(strchr(err.text, '\n'));
            }
            session_close(other);
            assert_true(session_open_update(s->path, &other, &err));
            store_batch_put(&b, STORE_TRACES, key, sizeof key, copy, v.bytes);
            assert_true(store_commit(other->store, &b, &err));
            store_batch_fini(&b);
            session_close(other);
        }
    assert_true(found > 60);
}

int main(void)
{
#define TRACE_TEST(name)                                                       \
    cmocka_unit_test_setup_teardown(name, travelsession_make,                  \
                                    travelsession_remove)
    const struct CMUnitTest tests[] = {
        TRACE_TEST(every_row_is_a_step),
        TRACE_TEST(accesses_explain_every_byte),
        TRACE_TEST(ports_and_events_are_the_guests),
        TRACE_TEST(branches_are_where_steps_leave_the_line),
        TRACE_TEST(filters_open_few_chunks_and_work_backwards),
        TRACE_TEST(traces_are_kept_deleted_and_checked),
        TRACE_TEST(copies_keep_traces_that_lie_inside),
        TRACE_TEST(damaged_columns_give_a_sentence),
    };
    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
