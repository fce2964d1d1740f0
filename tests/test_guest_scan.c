/* What happens in guests with paging, rings and system calls: searches against
 * single steps. */
#include "analysis/calls.h"
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
        bool is_fast =
            p->code[0] == 0x0f && (p->code[1] == 0x05 || p->code[1] == 0x34);
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

static const uint8_t *opcode(const struct travelplace *p)
{
    const uint8_t *at = p->code;
    while (*at == 0x66 || *at == 0x67 || *at == 0x2e || (*at & 0xf8) == 0x48)
        at++;
    return at;
}

static bool is_call(const uint8_t *op)
{
    unsigned digit = op[1] >> 3 & 7;
    return op[0] == 0xe8 || op[0] == 0x9a ||
           (op[0] == 0xff && (digit == 2 || digit == 3));
}

static bool is_return(const uint8_t *op)
{
    return op[0] == 0xc3 || op[0] == 0xc2 || op[0] == 0xcb || op[0] == 0xca;
}

/* Calls and their returns, by a stack of our own over the steps. */
static void call_trees_are_those_of_the_steps(void **state)
{
    struct travelsession *s = *state;
    struct calls_query q = calls_query_all();
    struct calls calls;
    struct error err;
    struct {
        uint64_t slot;
        size_t number;
    } open[64];
    unsigned depth = 0, returned = 0;
    size_t n = 0, deep = 0;
    assert_int_equal(calls_gather(s->travel, &q, &calls, &err), TRAVEL_THERE);
    for (unsigned i = 0; i + 1 < s->count; i++) {
        const struct travelplace *p = &s->places[i];
        if (!retired(p))
            continue;
        if (is_call(opcode(p))) {
            assert_true(n < calls.count && depth < 64);
            const struct call *c = &calls.at[n];
            while (depth && open[depth - 1].slot <= c->slot)
                depth--;
            assert_int_equal(c->tick, p->place.tick);
            assert_int_equal(c->entry, p[1].rip);
            assert_int_equal(c->parent, depth ? (int64_t)open[depth - 1].number
                                              : CALL_NO_PARENT);
            assert_int_equal(c->depth, depth);
            deep += depth > 0;
            open[depth].slot = c->slot;
            open[depth++].number = n++;
        } else if (is_return(opcode(p)) && depth) {
            const struct call *c = &calls.at[open[depth - 1].number];
            if (p[1].rip != c->back || !c->has_returned)
                continue;
            assert_int_equal(c->end, p[1].place.tick);
            depth--;
            returned++;
        }
    }
    assert_int_equal(n, calls.count);
    assert_true(n > 0 && returned > 0);
    print_message("%zu calls, %zu of them in others, %u returned\n", n, deep,
                  returned);
    calls_fini(&calls);
}

/* Compiled code makes the hits that interpreted code makes. */
static void engines_find_the_same(void **state)
{
    static const struct machine_engine engines[] = {
        {.config = {.kind = ENGINE_TIER1, .tier1_threshold = 1}},
        {.config = {.kind = ENGINE_TIER2,
                    .tier1_threshold = 1,
                    .tier2_threshold = 2,
                    .wait = WAIT_YES}}};
    static const struct machine_engine interp = {
        .config.kind = ENGINE_INTERP};
    static const enum scan_kind kinds[] = {SCAN_READ, SCAN_WRITE, SCAN_STORE,
                                           SCAN_IO,   SCAN_CR3,   SCAN_EXEC};
    static struct scan_hit wanted[HITS];
    struct travelsession *s = *state;
    struct error err;
    unsigned total = 0;
    for (unsigned k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        for (unsigned part = 0; part < 4; part++) {
            struct scan_query q = scan_query_all(kinds[k]);
            q.limit = HITS - 1;
            if (kinds[k] == SCAN_EXEC) { /* a few instructions */
                q.first = s->places[s->count * (part + 1) / 5].rip;
                q.last = q.first + 20;
            } else if (kinds[k] <= SCAN_STORE) {
                q.first = part * 0x40000u;
                q.last = q.first + 0x3ffff;
            }
            assert_true(machine_set_engine(s->machine, &interp, &err));
            unsigned count = scan(s, &q);
            memcpy(wanted, hits, count * sizeof hits[0]);
            total += count;
            for (unsigned e = 0; e < 2; e++) {
                assert_true(machine_set_engine(s->machine, &engines[e], &err));
                assert_int_equal(scan(s, &q), count);
                for (unsigned i = 0; i < count; i++) {
                    assert_int_equal(hits[i].place.tick, wanted[i].place.tick);
                    assert_int_equal(hits[i].rip, wanted[i].rip);
                    assert_int_equal(hits[i].address, wanted[i].address);
                    assert_int_equal(hits[i].value, wanted[i].value);
                    assert_int_equal(hits[i].old, wanted[i].old);
                    assert_int_equal(hits[i].rsp, wanted[i].rsp);
                }
            }
        }
    assert_true(machine_set_engine(s->machine, &interp, &err));
    assert_true(total > 500);
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
        cmocka_unit_test(call_trees_are_those_of_the_steps),
        cmocka_unit_test(engines_find_the_same),
    };
    const struct CMUnitTest of_paging[] = {
        cmocka_unit_test(loads_of_cr3_are_those_stepped_over),
        cmocka_unit_test(exceptions_are_the_deliveries),
        cmocka_unit_test(engines_find_the_same),
    };
    return cmocka_run_group_tests_name("scan of long", of_long, make_long,
                                       travelsession_remove) +
           cmocka_run_group_tests_name("scan of paging", of_paging, make_paging,
                                       travelsession_remove);
}
