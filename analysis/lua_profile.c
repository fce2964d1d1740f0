/* stats.profile: where the guest is, looked at every so many ticks. The ticks
 * are exact, so the same question gives the same answer on any host. */
#include "analysis/lua_modules.h"
#include "analysis/lua_symbols.h"

#include "cpu/cpu.h"
#include "replay/gdb_target.h"

#include <string.h>

/* UNKNOWN_SKIPPED: where no system is recognised, looking for one is slow. */
enum { UNKNOWN_SKIPPED = 15 };
enum { SAMPLES_DEFAULT = 1000, SAMPLES_MAX = 1000000, STACK_FRAMES = 32 };

struct profile {
    struct lua_session *ls;
    uint64_t from, to, every;
    bool with_stacks, with_processes;
    unsigned skip; /* samples in which nobody looks for a system */
};

static void add_stack(lua_State *L, struct machine *m)
{
    struct lua_frame frames[STACK_FRAMES];
    unsigned n = lua_backtrace(m, frames, STACK_FRAMES, true);
    lua_createtable(L, (int)n, 0);
    for (unsigned i = 0; i < n; i++) {
        lua_pushinteger(L, (lua_Integer)frames[i].pc);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "stack");
}

static void add_process(lua_State *L, struct profile *p)
{
    struct guest_process process;
    struct guest_thread thread;
    if (p->skip > 0) {
        p->skip--;
        return;
    }
    struct guest *g = lua_session_guest(L, p->ls);
    if (guest_os(g) == GUEST_UNKNOWN)
        p->skip = UNKNOWN_SKIPPED;
    if (!guest_current(g, &process, &thread))
        return;
    lua_set_string(L, "process", process.name);
    lua_set_u64(L, "pid", process.pid);
}

static void push_sample(lua_State *L, struct profile *p, uint64_t ticks)
{
    struct machine *m = p->ls->machine;
    const struct cpu *c = machine_cpu(m);
    lua_createtable(L, 0, 8);
    lua_set_u64(L, "tick", machine_tick(m));
    lua_set_u64(L, "ticks", ticks);
    lua_set_u64(L, "pc", gdb_linear_pc(m));
    lua_set_u64(L, "cr3", c->cr3);
    lua_set_u64(L, "cpl", c->cpl);
    lua_set_bool(L, "halted", machine_is_halted(m));
    if (p->with_stacks)
        add_stack(L, m);
    if (p->with_processes)
        add_process(L, p);
}

static void run_to(lua_State *L, struct lua_session *ls, uint64_t tick)
{
    struct error err;
    lua_check_moved(L, travel_run(ls->travel, tick, &err), &err);
}

static struct profile check_profile(lua_State *L)
{
    static const char *const options[] = {
        "session", "from",   "to",        "every",
        "samples", "stacks", "processes", NULL};
    struct profile p = {.ls = lua_main_session(L)};
    lua_check_options(L, 1, options);
    if (lua_field_is_set(L, 1, "session")) {
        lua_getfield(L, 1, "session");
        p.ls = lua_check_session(L, lua_gettop(L));
        lua_pop(L, 1);
    }
    const struct session *s = p.ls->session;
    p.from = lua_field_tick(L, 1, "from", p.ls, s->start_tick);
    p.to = lua_field_tick(L, 1, "to", p.ls, s->end_tick);
    if (p.from < s->start_tick || p.from > p.to || p.to > s->end_tick)
        (void)luaL_error(L, "from, to: expected ticks of the session, in order");
    uint64_t samples = lua_field_u64(L, 1, "samples", SAMPLES_DEFAULT);
    if (samples < 1 || samples > SAMPLES_MAX)
        (void)luaL_error(L, "samples: expected 1 to 1000000");
    p.every = lua_field_u64(L, 1, "every", (p.to - p.from) / samples + 1);
    if (p.every < 1 || (p.to - p.from) / p.every > SAMPLES_MAX)
        (void)luaL_error(L, "every: expected at most 1000000 samples");
    p.with_stacks = lua_field_bool(L, 1, "stacks", false);
    p.with_processes = lua_field_bool(L, 1, "processes", false);
    return p;
}

/* Each sample stands for a stretch of ticks and lies anywhere in it, by a fixed
 * sequence, so that no loop of the guest keeps step with the samples. */
static int stats_profile(lua_State *L)
{
    lua_settop(L, 1);
    struct profile p = check_profile(L);
    lua_Integer n = 0;
    uint64_t sequence = 1;
    lua_newtable(L);
    if (p.from == p.to)
        return 1;
    lua_session_go(L, p.ls, (struct machine_place){p.from, 0});
    for (uint64_t begin = p.from; begin < p.to;) {
        uint64_t end = p.to - begin > p.every ? begin + p.every : p.to;
        lua_check_stop(L);
        sequence = sequence * UINT64_C(6364136223846793005) +
                   UINT64_C(1442695040888963407); /* Knuth's MMIX */
        run_to(L, p.ls, begin + (sequence >> 33) % (end - begin));
        push_sample(L, &p, end - begin);
        lua_rawseti(L, 2, ++n);
        begin = end;
    }
    return 1;
}

static const struct lua_api_entry entries[] = {
    {.name = "profile",
     .function = stats_profile,
     .signature = "stats.profile{session=, from=, to=, samples=1000, every=, "
                  "stacks=, processes=} -> array",
     .doc = "Where the guest is, every so many ticks, as {tick, ticks, pc, cr3, "
            "cpl, halted}; ticks is what the sample stands for. stacks: also "
            "the return addresses (view:backtrace, exact), innermost first; "
            "processes: also process and pid."},
    {0},
};

const struct lua_api_module lua_module_sample = {
    .name = "stats",
    .kind = LUA_API_TABLE,
    .entries = entries,
};
