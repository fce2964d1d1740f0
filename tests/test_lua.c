/* Scripts over a session: what they read is what the machine has, the sandbox
 * holds, and the reference says what is registered. */
#include "lib_lualab.h"
#include "lib_travelguest.h"

#include "replay/gdb_target.h"

#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TEXT_MAX = 1 << 18 };

static lua_Integer global_integer(struct lualab *lab, const char *name)
{
    lua_State *L = lua_vm_state(lab->vm);
    lua_getglobal(L, name);
    assert_true(lua_isinteger(L, -1));
    lua_Integer n = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return n;
}

/* ---- the machine ----------------------------------------------------------
 */

/* Every place that single steps find has the registers that scripts see. */
static void views_have_the_registers_of_single_steps(void **state)
{
    struct travelsession *s = *state;
    struct lualab lab;
    char code[400];
    travelsession_open(s, false, true);
    travelsession_walk(s, NULL, NULL);
    travelsession_close(s);
    lualab_open(&lab, s, false, 0);
    for (unsigned i = 0; i < s->count; i += 37) {
        const struct travelplace *p = &s->places[i];
        (void)snprintf(code, sizeof code,
                       "v = session:at(%llu, %u) r = v.regs "
                       "assert(r.pc == %lld) assert(r.rax == %lld) "
                       "assert(r.rsp == %lld) assert(r.rdi == %lld) "
                       "assert(r.rflags == %lld) assert(v.tick == %llu)",
                       (unsigned long long)p->place.tick, p->place.deliveries,
                       (long long)p->rip, (long long)p->regs[0],
                       (long long)p->regs[4], (long long)p->regs[7],
                       (long long)p->regs[16],
                       (unsigned long long)p->place.tick);
        lualab_ok(&lab, code);
    }
    lualab_close(&lab);
}

/* session:step() from the start meets each place that the walk met. */
static void steps_meet_every_place(void **state)
{
    struct travelsession *s = *state;
    struct lualab lab;
    travelsession_open(s, false, true);
    travelsession_walk(s, NULL, NULL);
    travelsession_close(s);
    lualab_open(&lab, s, false, 0);
    lualab_ok(&lab, "n = 0 v = session:at(0) "
                    "while v do n = n + 1 last = v v = v:step() end "
                    "back = last:step_back().tick last = last.tick");
    assert_int_equal(global_integer(&lab, "n"), s->count);
    assert_int_equal(global_integer(&lab, "last"),
                     s->places[s->count - 1].place.tick);
    assert_int_equal(global_integer(&lab, "back"),
                     s->places[s->count - 2].place.tick);
    lualab_close(&lab);
}

static void memory_reads_what_the_guest_wrote(void **state)
{
    struct lualab lab;
    lualab_open(&lab, *state, false, 0);
    lualab_ok(&lab, "v = session:at('end') m = v.mem "
                    "assert(m:u16(0x502) == 19) assert(m:u8(0x500) == 20) "
                    "assert(v.phys:u16(0x502) == 19) "
                    "assert(v:space(v.cr[3]):u16(0x502) == 19) "
                    "assert(m:read(0x502, 2) == '\\19\\0') "
                    "assert(m:u32(0x1100) == 19) "
                    "assert(session:at(0).mem:u16(0x502) == 0) "
                    /* firmware: FA 31 C0 at F0000 */
                    "assert(m:i8(0xf0000) == -6) assert(m:i16(0xf0000) == "
                    "0x31fa) assert(m:u32(0xf0000) == 0x8ec031fa) "
                    "assert(m:i32(0xf0000) == 0x8ec031fa - (1 << 32)) "
                    "assert(m:u64(0xf0000) == math.tointeger("
                    "0x8ec031fa | m:u32(0xf0004) << 32)) "
                    "assert(m:find('\\xfa\\x31\\xc0\\x8e', 0xe0001, 0xf8000) "
                    "== 0xf0000) "
                    "assert(v.phys:find('\\xfa\\x31\\xc0\\x8e\\xd8\\x8e\\xc0') "
                    "~= nil) "
                    "assert(v.phys:u8(0x3000000) == nil) "
                    "local none, part = v.phys:read(0x1ffffe, 8) "
                    "assert(none == nil and #part == 2) "
                    "assert(v:translate(0x502) == 0x502)");
    lualab_close(&lab);
}

/* COUNT goes from 0 to 1 in some round: the bisected tick is the one at which
 * single steps see it. */
static void note_count(struct travelsession *s, void *context)
{
    uint64_t *seen = context;
    uint16_t count = 0;
    (void)gdb_memory_read(s->machine, true, TRAVELGUEST_COUNT, &count, 2);
    if (count == 7 && *seen == UINT64_MAX)
        *seen = travel_place(s->travel).tick;
}

static void first_seen_is_the_tick_of_the_store(void **state)
{
    struct travelsession *s = *state;
    struct lualab lab;
    uint64_t seen = UINT64_MAX;
    travelsession_open(s, false, true);
    travelsession_walk(s, note_count, &seen);
    travelsession_close(s);
    assert_true(seen != UINT64_MAX);
    lualab_open(&lab, s, false, 0);
    lualab_ok(&lab, "tick, paddr = session:first_seen(7, {bytes=2, low=0x502, "
                    "high=0x504}) "
                    "none = session:first_seen('no such text') == nil and 1");
    assert_int_equal(global_integer(&lab, "tick"), seen);
    assert_int_equal(global_integer(&lab, "paddr"), TRAVELGUEST_COUNT);
    assert_int_equal(global_integer(&lab, "none"), 1);
    lualab_close(&lab);
}

static void instructions_and_stack(void **state)
{
    struct lualab lab;
    lualab_open(&lab, *state, false, 0);
    lualab_ok(
        &lab,
        "v = session:at(1) d = v:disas(0xf0000, 3) "
        "assert(#d == 3 and d[1].text == 'cli' and d[2].address == 0xf0001) "
        "assert(d[2].text == 'xor ax, ax' and d[2].bytes == '\\x31\\xc0') "
        "assert(v:disas()[1].address == v.regs.pc) "
        "repeat v = v:step() until v.regs.pc == 0xf0064 " /* work */
        "s = v:stack(1) assert(s[1].value == 0x5c and s[1].address == 0x6ffe) "
        "b = v:backtrace(2) assert(b[1].pc == 0xf0064 and b[2].pc == 0xf005c)");
    lualab_close(&lab);
}

static void events_and_digests_are_those_of_the_store(void **state)
{
    struct lualab lab;
    lualab_open(&lab, *state, false, 0);
    lualab_ok(&lab,
              "last = nil for e in session:events() do last = e end "
              "assert(last.type == 'end' and last.tick == session.length) "
              "n = 0 for e in session:events{type='end'} do n = n + 1 end "
              "assert(n == 1) "
              "for d in session:digests() do "
              "  local now = session:at(d.tick):digest() "
              "  assert(now.cpu == d.cpu and now.io == d.io) n = n + 1 end "
              "assert(n > 1) "
              "assert(session.meta.end_tick == session.length) "
              "for s in session:snapshots() do n = n + 1 end");
    lualab_fails(&lab, "session:events{type='x'}", "no type of events");
    lualab_fails(&lab, "session:events{form=1}", "unknown option 'form'");
    lualab_close(&lab);
}

/* Totals are the sums of the windows and what the ends of the part say. */
static void runs_add_up(void **state)
{
    struct lualab lab;
    lualab_open(&lab, *state, false, 0);
    lualab_ok(
        &lab,
        "a, b = 1000, session.length "
        "r = stats.run{from=a, to=b, every=3000000} "
        "assert(r.ticks == b - a and r.from == a and r.to == b) "
        "assert(r.insns == session:at(b).insns - session:at(a).insns, 'insns') "
        "t, n, w = 0, 0, 0 for i, s in ipairs(r.series) do "
        "  t = t + s.ticks n = n + s.insns w = w + s.port_writes "
        "  assert(s.tick == math.min(a + i * 3000000, b)) end "
        "assert(t == r.ticks and n == r.insns and w == r.port_writes) "
        "assert(r.tier_insns[0] + r.tier_insns[1] + r.tier_insns[2] == n, "
        "'tiers') "
        "assert(#r.blocks == r.jit.blocks_compiled, 'blocks') "
        "sum = 0 for _, k in ipairs(r.blocks) do sum = sum + k.host_bytes "
        "  assert(k.tick >= a and k.tick <= b and k.tier == 1) end "
        "assert(sum <= r.jit.code_bytes or r.jit.flushes > 0) "
        /* an EOI for each of 20 timers; the exit is the recording's end */
        "e = stats.run{from=session:tick('0s') + 200} "
        "assert(e.port_writes == 20, e.port_writes)");
    lualab_close(&lab);
}

static void profiles_are_where_the_machine_is(void **state)
{
    struct lualab lab;
    lualab_open(&lab, *state, false, 0);
    lualab_ok(&lab, "p = stats.profile{samples=40, stacks=true} t = 0 "
                    "for i, s in ipairs(p) do t = t + s.ticks "
                    "  local v = session:at(s.tick) "
                    "  assert(v.regs.pc == s.pc and v.halted == s.halted) "
                    "  assert(s.stack[1] == s.pc and v.regs.cpl == s.cpl) end "
                    "assert(t == session.length and #p == 40) "
                    "assert(#stats.profile{from=5, to=5} == 0)");
    lualab_fails(&lab, "stats.profile{samples=0}", "samples: expected");
    lualab_fails(&lab, "stats.profile{from=9, to=5}", "in order");
    lualab_close(&lab);
}

/* ---- the sandbox ----------------------------------------------------------
 */

static void scripts_get_no_way_out(void **state)
{
    struct lualab lab;
    lualab_open(&lab, *state, false, 0);
    lualab_ok(&lab, "assert(io == nil and debug == nil and package == nil) "
                    "assert(os.execute == nil and os.remove == nil) "
                    "assert(os.getenv == nil and os.exit == nil) "
                    "assert(dofile == nil and loadfile == nil) "
                    "assert(string.dump == nil)");
    lualab_ok(&lab, "assert(load('return 1')() == 1) "
                    "assert(load('\\27Lua') == nil) "
                    "assert(load('return x', 'n', 't', {x = 5})() == 5)");
    lualab_fails(&lab, "setmetatable({}, {__gc = print})", "no __gc");
    lualab_fails(&lab, "require('../x')", "require: expected the name");
    lualab_fails(&lab, "require('io')", "io.lua");
    lualab_fails(&lab, "session:at(0):screen():png('/tmp/x.png')",
                 "--allow-files");
    lualab_ok(&lab, "assert(getmetatable(session) == 'session') "
                    "assert(not pcall(setmetatable, session, {}))");
    lualab_close(&lab);
    lualab_open(&lab, *state, true, 0);
    lualab_ok(&lab, "assert(io.open and not io.popen and os.remove)");
    lualab_close(&lab);
}

static void runaway_scripts_stop(void **state)
{
    static const char endless_index[] =
        "setmetatable(_G, {__index = function(t, k) return t[k .. 'x'] end}) "
        "while true do pcall(function() return nothing end) end";
    static const char *const scripts[] = {
        endless_index,
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function f() return pcall(f) or f() end f()",
        "coroutine.wrap(function() while true do pcall(error) end end)()",
        "for i = 1, 1e9 do session:at(i % session.length).regs.rax = nil end",
        "local t = {} t[1] = t while true do show(t) end"};
    for (unsigned i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        struct lualab lab;
        struct error err;
        lualab_open(&lab, *state, false, 64 << 20);
        lab.looks_left = 50;
        enum lua_vm_result result =
            lua_vm_run_text(lab.vm, scripts[i], "=test", &err);
        assert_int_equal(result, LUA_VM_FAILED);
        lab.looks_left = 0;
        lualab_ok(&lab, "x = 1"); /* the state is as good as new */
        lualab_close(&lab);
    }
}

static void memory_bombs_fail(void **state)
{
    static const char *const scripts[] = {
        "x = ('x'):rep(1 << 30)",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t = {t} end",
        "x = table.concat({('x'):rep(1 << 23), ('y'):rep(1 << 23)}, 'z')",
        "x = session:at(0).mem:read(0, 32 << 20)"};
    for (unsigned i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        struct lualab lab;
        lualab_open(&lab, *state, false, 16 << 20);
        lualab_fails(&lab, scripts[i], "16 MiB that --memory");
        lualab_ok(&lab, "x = ('y'):rep(100)");
        lualab_close(&lab);
    }
}

static void exit_ends_a_script_for_good(void **state)
{
    struct lualab lab;
    struct error err;
    lualab_open(&lab, *state, false, 0);
    assert_int_equal(
        lua_vm_run_text(lab.vm, "pcall(exit, 7) while true do end", "=t", &err),
        LUA_VM_EXIT);
    assert_int_equal(lua_vm_status(lab.vm), 7);
    lualab_close(&lab);
}

static void unfinished_lines_are_told(void **state)
{
    struct lualab lab;
    struct error err;
    lualab_open(&lab, *state, false, 0);
    assert_int_equal(lua_vm_run_text(lab.vm, "for i = 1, 2 do", "=t", &err),
                     LUA_VM_PARTIAL);
    assert_int_equal(lua_vm_run_text(lab.vm, "x = {1,", "=t", &err),
                     LUA_VM_PARTIAL);
    assert_int_equal(lua_vm_run_text(lab.vm, "x = }", "=t", &err),
                     LUA_VM_FAILED);
    lualab_close(&lab);
}

static void wrong_arguments_are_sentences(void **state)
{
    struct lualab lab;
    lualab_open(&lab, *state, false, 0);
    lualab_fails(&lab, "session:at(-1)", "expected a tick");
    lualab_fails(&lab, "session:at('2 weeks')", "expected a tick");
    lualab_fails(&lab, "session:at(1 << 60)", "expected a tick from 0");
    lualab_fails(&lab, "session.at(5)", "session expected");
    lualab_fails(&lab, "session:at(0).regs.rzx", "no register 'rzx'");
    lualab_fails(&lab, "session:at(0).mem:read(0, -1)", "expected 0 to 64");
    lualab_fails(&lab, "hex('x')", "number expected");
    lualab_fails(&lab, "json.decode('{')", "json: line 1");
    lualab_fails(&lab, "error({1})", "table:");
    lualab_ok(&lab, "t = {} t.t = t assert(not pcall(json.encode, t))");
    lualab_close(&lab);
}

static void json_goes_there_and_back(void **state)
{
    struct lualab lab;
    lualab_open(&lab, *state, false, 0);
    lualab_ok(&lab, "t = '{\"a\":[1,2.5,\"x\\\\u000ay\"],\"b\":{\"c\":true}}' "
                    "assert(json.encode(json.decode(t)) == t) "
                    "assert(json.encode('\\xff') == '\"\\\\u00ff\"') "
                    "assert(json.encode({z=1, a=2, [3]=1}) == "
                    "'{\"3\":1,\"a\":2,\"z\":1}') "
                    "assert(json.encode(1/0) == 'null') "
                    "assert(show({1, {x='y'}}) == '{1, {x = \"y\"}}') "
                    "assert(hex(-1) == '0xffffffffffffffff')");
    lualab_close(&lab);
}

/* ---- completion -----------------------------------------------------------
 */

static void gather(void *context, const char *text)
{
    char *all = context;
    strcat(strcat(all, text), " ");
}

static void names_complete(void **state)
{
    struct lualab lab;
    char all[4096] = "";
    lualab_open(&lab, *state, false, 0);
    lua_vm_complete(lab.vm, "session:eve", gather, all);
    assert_string_equal(all, "session:events ");
    all[0] = 0;
    lua_vm_complete(lab.vm, "session.le", gather, all);
    assert_string_equal(all, "session.length ");
    all[0] = 0;
    lua_vm_complete(lab.vm, "json.", gather, all);
    assert_string_equal(all, "json.decode json.encode ");
    all[0] = 0;
    lua_vm_complete(lab.vm, "nothing.x", gather, all);
    lua_vm_complete(lab.vm, "f(x", gather, all);
    assert_string_equal(all, "");
    lualab_close(&lab);
}

/* ---- the reference --------------------------------------------------------
 */

static bool is_in_class(lua_State *L, const struct lua_api_module *m,
                        const struct lua_api_entry *e)
{
    luaL_getmetatable(L, m->name);
    if (strncmp(e->name, "__", 2) == 0)
        return lua_getfield(L, -1, e->name) == LUA_TFUNCTION;
    return lua_getfield(L, -1, "__index") == LUA_TFUNCTION &&
           lua_getupvalue(L, -1, e->is_property ? 2 : 1) &&
           lua_getfield(L, -1, e->name) == LUA_TFUNCTION;
}

static void everything_listed_is_registered(void **state)
{
    struct lualab lab;
    lualab_open(&lab, *state, false, 0);
    lua_State *L = lua_vm_state(lab.vm);
    for (const struct lua_api_module *const *m = lua_api_modules; *m; m++)
        for (const struct lua_api_entry *e = (*m)->entries; e->name; e++) {
            bool is_there = false;
            if ((*m)->kind == LUA_API_CLASS) {
                is_there = is_in_class(L, *m, e);
            } else {
                if ((*m)->kind == LUA_API_TABLE)
                    (void)lua_getglobal(L, (*m)->name);
                else
                    lua_pushglobaltable(L);
                is_there = lua_getfield(L, -1, e->name) == LUA_TFUNCTION;
            }
            if (!is_there)
                fail_msg("%s.%s is not registered", (*m)->name, e->name);
            if (strncmp(e->name, "__", 2) != 0 && (!e->signature || !e->doc))
                fail_msg("%s.%s is not described", (*m)->name, e->name);
            if (e->signature && e->name[0] != '_' &&
                !strstr(e->signature, e->name))
                fail_msg("%s.%s has another's signature", (*m)->name, e->name);
            lua_settop(L, 0);
        }
    lualab_close(&lab);
}

static bool is_listed(const char *name)
{
    for (const struct lua_api_module *const *m = lua_api_modules; *m; m++) {
        if ((*m)->kind == LUA_API_TABLE && strcmp((*m)->name, name) == 0)
            return true;
        for (const struct lua_api_entry *e = (*m)->entries;
             (*m)->kind == LUA_API_GLOBALS && e->name; e++)
            if (strcmp(e->name, name) == 0)
                return true;
    }
    return false;
}

static void everything_registered_is_listed(void **state)
{
    static const char *const known[] = {
        "_G",           "_VERSION", "assert",   "collectgarbage", "error",
        "getmetatable", "ipairs",   "load",     "next",           "pairs",
        "pcall",        "print",    "rawequal", "rawget",         "rawlen",
        "rawset",       "require",  "select",   "setmetatable",   "tonumber",
        "tostring",     "type",     "warn",     "xpcall",         "string",
        "table",        "math",     "utf8",     "coroutine",      "os",
        "session"};
    struct lualab lab;
    lualab_open(&lab, *state, false, 0);
    lua_State *L = lua_vm_state(lab.vm);
    lua_pushglobaltable(L);
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        const char *name = lua_tostring(L, 2);
        bool is_known = is_listed(name);
        for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++)
            is_known |= strcmp(known[i], name) == 0;
        if (!is_known)
            fail_msg("scripts see %s, which no table lists", name);
    }
    lua_settop(L, 0);
    lualab_close(&lab);
}

/* analysis/lua-api is what relive help lua prints: make lua-api renews it. */
static void reference_file_is_up_to_date(void **state)
{
    static char text[TEXT_MAX];
    char path[1000] = __FILE__;
    struct writer w;
    (void)state;
    char *slash = strrchr(path, '/');
    strcpy(slash ? slash : path, "/../analysis/lua-api");
    FILE *f = fopen(path, "r");
    if (!f)
        skip(); /* run outside the source tree */
    size_t got = fread(text, 1, sizeof text, f);
    (void)fclose(f);
    writer_init(&w);
    lua_api_reference(&w);
    if (got != w.used || memcmp(text, w.data, got) != 0)
        fail_msg("analysis/lua-api is out of date: run make lua-api");
    writer_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_have_the_registers_of_single_steps),
        cmocka_unit_test(steps_meet_every_place),
        cmocka_unit_test(memory_reads_what_the_guest_wrote),
        cmocka_unit_test(first_seen_is_the_tick_of_the_store),
        cmocka_unit_test(instructions_and_stack),
        cmocka_unit_test(events_and_digests_are_those_of_the_store),
        cmocka_unit_test(runs_add_up),
        cmocka_unit_test(profiles_are_where_the_machine_is),
        cmocka_unit_test(scripts_get_no_way_out),
        cmocka_unit_test(runaway_scripts_stop),
        cmocka_unit_test(memory_bombs_fail),
        cmocka_unit_test(exit_ends_a_script_for_good),
        cmocka_unit_test(unfinished_lines_are_told),
        cmocka_unit_test(wrong_arguments_are_sentences),
        cmocka_unit_test(json_goes_there_and_back),
        cmocka_unit_test(names_complete),
        cmocka_unit_test(everything_listed_is_registered),
        cmocka_unit_test(everything_registered_is_listed),
        cmocka_unit_test(reference_file_is_up_to_date),
    };
    return cmocka_run_group_tests(tests, travelsession_make,
                                  travelsession_remove);
}
