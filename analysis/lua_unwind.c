/* view:unwind and stats.hotspots: who called, and where time goes by function,
 * process and stack. */
#include "analysis/lua_modules.h"
#include "analysis/lua_symbols.h"
#include "analysis/profile.h"
#include "analysis/unwind.h"

enum { TEXT_BYTES = SYMBOL_NAME_MAX + 500, SAMPLES_MAX = 1000000 };

static int view_unwind(lua_State *L)
{
    static const char *const how[] = {[UNWIND_HERE] = "here",
                                      [UNWIND_ORC] = "orc",
                                      [UNWIND_FRAME] = "frame",
                                      [UNWIND_GUESS] = "guess"};
    struct unwind_frame frames[UNWIND_MAX];
    char text[TEXT_BYTES];
    struct guest_memory m;
    struct lua_session *ls = lua_check_view(L, 1);
    lua_Integer max = luaL_optinteger(L, 2, UNWIND_MAX);
    luaL_argcheck(L, max >= 1 && max <= UNWIND_MAX, 2, "expected 1 to 128");
    struct guest *g = lua_session_guest(L, ls);
    guest_memory_of(&m, ls->machine);
    unsigned n = unwind(g, &m, frames, (unsigned)max);
    lua_createtable(L, (int)n, 0);
    for (unsigned i = 0; i < n; i++) {
        lua_createtable(L, 0, 4);
        lua_set_u64(L, "pc", frames[i].pc);
        lua_set_u64(L, "sp", frames[i].sp);
        lua_set_string(L, "how", how[frames[i].how]);
        lua_symbols_format(L, ls, frames[i].pc, text, sizeof text);
        lua_set_string(L, "name", text);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* ---- stats.hotspots
 * ------------------------------------------------------------------------ */

/* A profile while its table is made, which can raise. */
struct held {
    struct profile *profile;
};

static int held_gc(lua_State *L)
{
    struct held *h = lua_touserdata(L, 1);
    profile_free(h->profile);
    h->profile = NULL;
    return 0;
}

static struct held *push_held(lua_State *L)
{
    struct held *h = lua_newuserdatauv(L, sizeof *h, 0);
    h->profile = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, held_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    return h;
}

static void set_symbols(lua_State *L, const struct profile *p)
{
    const struct profile_symbol *s;
    size_t n = profile_symbols(p, &s);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_createtable(L, 0, 4);
        lua_set_string(L, "module", s[i].module);
        lua_set_string(L, "name", s[i].name);
        lua_set_u64(L, "self", s[i].self);
        lua_set_u64(L, "inclusive", s[i].inclusive);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "symbols");
}

static void set_processes(lua_State *L, const struct profile *p)
{
    const struct profile_process *q;
    size_t n = profile_processes(p, &q);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_createtable(L, 0, 4);
        lua_set_u64(L, "pid", q[i].pid);
        lua_set_string(L, "name", q[i].name);
        lua_set_u64(L, "user", q[i].user);
        lua_set_u64(L, "kernel", q[i].kernel);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "processes");
}

static void set_stacks(lua_State *L, const struct profile *p)
{
    const struct profile_stack *k;
    size_t n = profile_stacks(p, &k);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_createtable(L, 0, 2);
        lua_set_string(L, "stack", k[i].text);
        lua_set_u64(L, "ticks", k[i].ticks);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "stacks");
}

static struct profile_options check_options(lua_State *L,
                                            struct lua_session **ls)
{
    static const char *const names[] = {"session", "from",    "to",
                                        "every",   "samples", "stacks", NULL};
    struct profile_options o = {0};
    *ls = lua_main_session(L);
    lua_check_options(L, 1, names);
    if (lua_field_is_set(L, 1, "session")) {
        lua_getfield(L, 1, "session");
        *ls = lua_check_session(L, lua_gettop(L));
        lua_pop(L, 1);
    }
    const struct session *s = (*ls)->session;
    o.from = lua_field_tick(L, 1, "from", *ls, s->start_tick);
    o.to = lua_field_tick(L, 1, "to", *ls, s->end_tick);
    if (o.from < s->start_tick || o.from > o.to || o.to > s->end_tick)
        (void)luaL_error(L,
                         "from, to: expected ticks of the session, in order");
    uint64_t samples = lua_field_u64(L, 1, "samples", 1000);
    if (samples < 1 || samples > SAMPLES_MAX)
        (void)luaL_error(L, "samples: expected 1 to 1000000");
    o.every = lua_field_u64(L, 1, "every", (o.to - o.from) / samples + 1);
    if (o.every < 1 || (o.to - o.from) / o.every > SAMPLES_MAX)
        (void)luaL_error(L, "every: expected at most 1000000 samples");
    o.has_stacks = lua_field_bool(L, 1, "stacks", true);
    o.files = (*ls)->slot[LUA_SLOT_SYMBOLS].data;
    return o;
}

static int stats_hotspots(lua_State *L)
{
    struct lua_session *ls;
    struct error err;
    lua_settop(L, 1);
    const struct profile_options o = check_options(L, &ls);
    struct held *h = push_held(L);
    struct guest *g = lua_session_guest(L, ls);
    switch (profile_take(ls->travel, g, &o, &h->profile, &err)) {
    case PROFILE_FAILED:
        return lua_raise(L, &err);
    case PROFILE_INTERRUPTED:
        lua_check_stop(L);
        return luaL_error(L, "interrupted");
    default:
        break;
    }
    lua_createtable(L, 0, 5);
    lua_set_u64(L, "samples", profile_samples(h->profile));
    lua_set_u64(L, "every", o.every);
    set_symbols(L, h->profile);
    set_processes(L, h->profile);
    if (o.has_stacks)
        set_stacks(L, h->profile);
    return 1;
}

static const struct lua_api_entry view_entries[] = {
    {.name = "unwind",
     .function = view_unwind,
     .signature = "view:unwind([frames=128]) -> array",
     .doc = "The current instruction and its callers as {pc, sp, name, how}, "
            "through system calls and interrupts into user mode; how: \"orc\" "
            "(the kernel describes its frames), \"frame\" pointers, or "
            "\"guess\"."},
    {0},
};

static const struct lua_api_entry stats_entries[] = {
    {.name = "hotspots",
     .function = stats_hotspots,
     .signature = "stats.hotspots{session=, from=, to=, samples=1000, every=, "
                  "stacks=true} -> table",
     .doc = "Where time goes, sampled every so many ticks: symbols {module, "
            "name, self, inclusive}, processes {pid, name, user, kernel}, "
            "stacks {stack, ticks} folded for flame graphs; all in ticks, the "
            "largest first."},
    {0},
};

const struct lua_api_module lua_module_unwind = {
    .name = "view",
    .kind = LUA_API_CLASS,
    .entries = view_entries,
};

const struct lua_api_module lua_module_hotspots = {
    .name = "stats",
    .kind = LUA_API_TABLE,
    .entries = stats_entries,
};
