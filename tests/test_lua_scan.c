/* Searches and traces from scripts give what single steps and the guest's own
 * counts say. */
#include "analysis/trace_chunk.h"
#include "analysis/trace_make.h"
#include "lib_lualab.h"
#include "lib_travelguest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Lua functions that gather an iterator. */
static const char prelude[] =
    "function all(...) local t = {} for h in ... do t[#t+1] = h end "
    "return t end "
    "function reversed(a, b) assert(#a == #b) for i = 1, #a do "
    "assert(a[i].tick == b[#b + 1 - i].tick) end end";

static void searches_find_what_the_guest_does(void **state)
{
    struct travelsession *s = *state;
    struct lualab lab;
    lualab_open(&lab, s, true, 0);
    lualab_ok(&lab, prelude);
    lualab_okf(&lab,
               "a = all(session:execs{addr=%d}) assert(#a == %d) "
               "for _, h in ipairs(a) do assert(h.rip == %d) "
               "assert(session:at(h.tick, h.deliveries).regs.pc == h.rip) end "
               "reversed(a, all(session:execs{addr=%d, backwards=true}))",
               TRAVELGUEST_WORK, TRAVELGUEST_ROUNDS, TRAVELGUEST_WORK,
               TRAVELGUEST_WORK);
    lualab_okf(&lab,
               "b = all(session:execs{range={%d, %d}, from=a[2].tick, "
               "to=a[3].tick}) assert(#b > 3)",
               TRAVELGUEST_WORK, TRAVELGUEST_UD2);
    lualab_okf(&lab,
               "w = all(session:writes{addr=%d, len=2}) assert(#w == %d) "
               "for i, h in ipairs(w) do assert(h.value == i) "
               "assert(h.old == i - 1) assert(h.rip == %d) end "
               "assert(#all(session:writes{addr=%d, value=5}) == 1)",
               TRAVELGUEST_COPY, TRAVELGUEST_ROUNDS, TRAVELGUEST_STORE,
               TRAVELGUEST_COPY);
    lualab_okf(&lab,
               "h = all(session:history(%d, 2, {at='end'})) assert(#h == #w) "
               "for i = 1, #h do assert(h[i].tick == w[i].tick) "
               "assert(h[i].phys == %d) assert(h[i].dma == false) end "
               "assert(#all(session:stores{addr=%d}) == #w)",
               TRAVELGUEST_COPY, TRAVELGUEST_COPY, TRAVELGUEST_COPY);
    lualab_okf(&lab, "assert(#all(session:reads{addr=%d, len=2}) >= %d)",
               TRAVELGUEST_COUNT, TRAVELGUEST_ROUNDS);
    lualab_okf(&lab,
               "assert(#all(session:interrupts{vector=8}) == %d) "
               "assert(#all(session:interrupts{vector=9}) == 0) "
               "assert(#all(session:exceptions{}) == %d) "
               "assert(#all(session:exceptions{limit=4}) == 4)",
               TRAVELGUEST_TIMERS, TRAVELGUEST_ROUNDS);
    lualab_okf(&lab,
               "p = all(session:io{port=0xf4, write=true}) assert(#p == 1) "
               "assert(p[1].value == %d) assert(p[1].rip == %d) "
               "assert(#all(session:io{port=0xf4, write=false}) == 0) "
               "assert(#all(session:mmio{}) == 0) "
               "assert(#all(session:cr3_switches{}) == 0) "
               "assert(#all(session:syscalls{}) == 0)",
               TRAVELGUEST_EXIT, TRAVELGUEST_OUT);
    lualab_okf(&lab,
               "c = all(session:calls{addr=%d}) assert(#c == %d) "
               "for i, k in ipairs(c) do assert(k.back == %d) "
               "assert(k.returned > k.tick) assert(#k.args == 6) end",
               TRAVELGUEST_WORK, TRAVELGUEST_ROUNDS, TRAVELGUEST_HLT);
    lualab_okf(&lab,
               "o = session:origin(%d, 'end', {len=2}) assert(#o == 3) "
               "assert(o[1].rip == %d) assert(o[1].value == %d) "
               "assert(o[2].reg == 'rax') assert(o[3].kind == 'computed') "
               "assert(o[3].rip == %d)",
               TRAVELGUEST_COPY, TRAVELGUEST_STORE, TRAVELGUEST_ROUNDS,
               TRAVELGUEST_WORK);
    lualab_close(&lab);
}

static void bad_arguments_say_so(void **state)
{
    struct lualab lab;
    lualab_open(&lab, *state, true, 0);
    lualab_fails(&lab, "session:execs{adr=1}", "adr");
    lualab_fails(&lab, "session:writes{}", "expected addr=");
    lualab_fails(&lab, "session:writes{addr=5, len=-4}", "expected a range");
    lualab_fails(&lab, "session:execs{range=5}",
                 "range: expected {first, last}");
    lualab_fails(&lab, "session:execs{symbol='no_such_symbol'}", "there is no");
    lualab_fails(&lab, "session:history(0, 0)", "expected 1 to");
    lualab_fails(&lab, "session:origin(0xfff, 5)", "in one page");
    lualab_fails(&lab, "session:calls{abi='pascal'}",
                 "abi: expected sysv or win64");
    lualab_fails(&lab, "session:trace('x')", "there is no trace named x");
    lab.looks_left = 1;
    lualab_fails(&lab, "for h in session:execs{addr=5} do end", "told to stop");
    lualab_close(&lab);
}

static void stored_traces_are_the_searches(void **state)
{
    struct travelsession *s = *state;
    struct error err;
    struct lualab lab;
    struct trace_head head;
    const struct trace_wish wish = {"all", 31, 0, UINT64_MAX, 0};
    travelsession_open(s, true, false);
    assert_true(trace_make(s->replayer, s->machine, &wish, &head, &err));
    travelsession_close(s);
    lualab_open(&lab, s, true, 0);
    lualab_ok(&lab, prelude);
    lualab_okf(
        &lab, "l = session:traces() assert(#l == 1) assert(l[1].name == 'all') "
              "t = session:trace('all') assert(t.head.insns == l[1].insns) "
              "function same(a, b, keys) assert(#a == #b and #a > 0) "
              "for i = 1, #a do for _, k in ipairs(keys) do "
              "assert(a[i][k] == b[i][k], k) end end end");
    lualab_okf(&lab,
               "same(all(t:insns{rip=%d}), all(session:execs{addr=%d}), "
               "{'tick', 'rip', 'cr3', 'cpl'})",
               TRAVELGUEST_STORE, TRAVELGUEST_STORE);
    lualab_okf(&lab,
               "same(all(t:accesses{addr=%d, len=8, write=true}), "
               "all(session:writes{addr=%d, len=8}), "
               "{'tick', 'rip', 'addr', 'value', 'size'})",
               TRAVELGUEST_TARGET, TRAVELGUEST_TARGET);
    lualab_okf(
        &lab,
        "same(all(t:devices{port=0x20}), all(session:io{port=0x20}), "
        "{'tick', 'rip', 'port', 'value', 'write'}) "
        "same(all(t:events{kind='exception'}), all(session:exceptions{}), "
        "{'tick', 'rip', 'vector'}) "
        "assert(#all(t:events{kind='interrupt'}) == %d)",
        TRAVELGUEST_TIMERS);
    lualab_okf(
        &lab,
        "for r in t:insns{rip=%d, regs=true, backwards=true, limit=3} do "
        "v = session:at(r.tick) assert(v.regs.rax == r.regs.rax) "
        "assert(v.regs.rsp == r.regs.rsp) "
        "assert(r.code == v.mem:read(r.rip, r.length)) end",
        TRAVELGUEST_STORE);
    lualab_okf(&lab,
               "n = 0 for b in t:branches{rip=%d} do n = n + 1 "
               "assert(b.target == %d) end assert(n == %d)",
               TRAVELGUEST_STORE + 4, TRAVELGUEST_HLT, TRAVELGUEST_ROUNDS);
    lualab_okf(&lab,
               "t:export('csv', '%s/x.csv') t:export('perf', '%s/x.perf', "
               "{period=10})",
               s->dir, s->dir);
    lualab_fails(&lab, "t:export('xml', '/tmp/x')", "expected csv");
    lualab_fails(&lab, "t:events{kind='x'}", "kind: expected");
    lualab_close(&lab);
}

int main(void)
{
#define SCAN_TEST(name)                                                        \
    cmocka_unit_test_setup_teardown(name, travelsession_make,                  \
                                    travelsession_remove)
    const struct CMUnitTest tests[] = {
        SCAN_TEST(searches_find_what_the_guest_does),
        SCAN_TEST(bad_arguments_say_so),
        SCAN_TEST(stored_traces_are_the_searches),
    };
    return cmocka_run_group_tests_name("searches from Lua", tests, NULL, NULL);
}
