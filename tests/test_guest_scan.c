/* What happens in guests with paging, rings and system calls: searches against
 * single steps. */
#include "analysis/scan.h"
#include "cpu/cpu.h"
#include "lib_travelsession.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { HITS = 4000 };
static struct scan_hit hits[HITS];

static unsigned scan(struct travelsession *s, const struct scan_query *q)
{
    struct error err = {0};
    struct scan *k = scan_new(s->travel, q, &err);
    enum scan_found found;
    unsigned n = 0;
    assert_non_null(k);
    while ((found = scan_next(k, &hits[n], &err)) == SCAN_HIT)
        assert_true(++n < HITS);
    if (found != SCAN_DONE)
        fail_msg("%s", err.text);
    scan_free(k);
    return n;
}

/* The instruction at a place retired. */
static bool retired(const struct travelplace *p)
{
    return p->is_begun && p[1].place.tick != p->place.tick;
}

static void loads_of_cr3_are_those_stepped_over(void **state)
{
    struct travelsession *s = *state;
    struct scan_query q = scan_query_all(SCAN_CR3);
    unsigned count = scan(s, &q), n = 0;
    for (unsigned i = 0; i + 1 < s->count; i++) {
        const struct travelplace *p = &s->places[i];
        if (!retired(p) || p->code[0] != 0x0f || p->code[1] != 0x22 ||
            (p->code[2] & 0xf8) != 0xd8)
            continue;
        assert_true(n < count);
        assert_int_equal(hits[n].place.tick, p->place.tick);
        assert_int_equal(hits[n].rip, p->rip);
        assert_int_equal(hits[n].old, p->cr3);
        assert_int_equal(hits[n++].address, p[1].cr3);
    }
    assert_int_equal(n, count);
    assert_true(n > 0);
}

static void exceptions_are_the_deliveries(void **state)
{
    struct travelsession *s = *state;
    struct scan_query q = scan_query_all(SCAN_EXCEPTION);
    unsigned count = scan(s, &q), n = 0;
    for (unsigned i = 0; i + 1 < s->count; i++) {
        const struct travelplace *p = &s->places[i];
        if (p[1].place.tick != p->place.tick)
            continue;
        assert_true(n < count);
        assert_int_equal(hits[n].place.tick, p->place.tick);
        assert_int_equal(hits[n].place.deliveries, p->place.deliveries);
        assert_int_equal(hits[n].rip, p->rip);
        assert_true(hits[n++].address < 32);
    }
    assert_int_equal(n, count);
    assert_true(n > 0);
}

static void system_calls_and_what_they_give_back(void **state)
{
    struct travelsession *s = *state;
    struct scan_query q = scan_query_all(SCAN_SYSCALL);
    unsigned count = scan(s, &q), n = 0, answered = 0;
    for (unsigned i = 0; i + 1 < s->count; i++) {
        const struct travelplace *p = &s->places[i];
        bool is_fast = p->code[0] == 0x0f &&
                       (p->code[1] == 0x05 || p->code[1] == 0x34);
        if (!retired(p) || !is_fast)
            continue;
        assert_true(n < count);
        assert_int_equal(hits[n].place.tick, p->place.tick);
        assert_int_equal(hits[n].rip, p->rip);
        assert_int_equal(hits[n].address, p->regs[REG_RAX]);
        n++;
    }
    assert_int_equal(n, count);
    assert_true(n > 0);
    for (unsigned k = 0; k < count; k++) {
        struct error err;
        struct machine_place place;
        uint64_t value;
        unsigned i = 0;
        enum scan_found found = scan_syscall_result(
            s->travel, &hits[k], UINT64_MAX, &value, &place, &err);
        while (i < s->count &&
               !(s->places[i].place.tick > hits[k].place.tick &&
                 s->places[i].rip == hits[k].back && hits[k].back &&
                 s->places[i].regs[REG_RSP] == hits[k].rsp))
            i++;
        assert_int_equal(found, i < s->count ? SCAN_HIT : SCAN_DONE);
        if (i == s->count)
            continue;
        assert_int_equal(place.tick, s->places[i].place.tick);
        assert_int_equal(value, s->places[i].regs[REG_RAX]);
        answered++;
    }
    assert_true(answered > 0);
}

static int make(void **state, const char *name)
{
    if (travelsession_make_guest(state, name) != 0)
        return -1;
    struct travelsession *s = *state;
    travelsession_open(s, false, true);
    travelsession_walk(s, NULL, NULL);
    return 0;
}

static int make_long(void **state)
{
    return make(state, "long");
}

static int make_paging(void **state)
{
    return make(state, "paging");
}

int main(void)
{
    const struct CMUnitTest of_long[] = {
        cmocka_unit_test(loads_of_cr3_are_those_stepped_over),
        cmocka_unit_test(exceptions_are_the_deliveries),
        cmocka_unit_test(system_calls_and_what_they_give_back),
    };
    const struct CMUnitTest of_paging[] = {
        cmocka_unit_test(loads_of_cr3_are_those_stepped_over),
        cmocka_unit_test(exceptions_are_the_deliveries),
    };
    return cmocka_run_group_tests_name("scan of long", of_long, make_long,
                                       travelsession_remove) +
           cmocka_run_group_tests_name("scan of paging", of_paging, make_paging,
                                       travelsession_remove);
}
