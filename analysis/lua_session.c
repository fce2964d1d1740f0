/* The session object: what it is, and places in it. */
#include "analysis/guest_memory.h"
#include "analysis/lua_modules.h"

#include "replay/info.h"

#include <stdlib.h>
#include <string.h>

/* ---- what it is -----------------------------------------------------------
 */

static int session_meta(lua_State *L)
{
    struct error err;
    struct info info;
    const struct session *s = lua_check_session(L, 1)->session;
    if (!info_gather((struct session *)s, &info, &err))
        return lua_raise(L, &err);
    char *json = info_json(s, &info);
    if (!json)
        return luaL_error(L, "out of memory");
    struct writer *w = lua_push_writer(L); /* owns what may raise below */
    writer_bytes(w, json, strlen(json));
    free(json);
    if (w->failed)
        return luaL_error(L, "out of memory");
    lua_push_json(L, (const char *)w->data, w->used);
    return 1;
}

static int session_path(lua_State *L)
{
    lua_pushstring(L, lua_check_session(L, 1)->path);
    return 1;
}

static int session_start(lua_State *L)
{
    const struct session *s = lua_check_session(L, 1)->session;
    lua_pushinteger(L, (lua_Integer)s->start_tick);
    return 1;
}

static int session_length(lua_State *L)
{
    const struct session *s = lua_check_session(L, 1)->session;
    lua_pushinteger(L, (lua_Integer)s->end_tick);
    return 1;
}

static int session_insns(lua_State *L)
{
    const struct session *s = lua_check_session(L, 1)->session;
    lua_pushinteger(L, (lua_Integer)s->commit.insns);
    return 1;
}

static int session_mhz(lua_State *L)
{
    const struct session *s = lua_check_session(L, 1)->session;
    lua_pushinteger(L, s->config.cpu_mhz);
    return 1;
}

static int session_seconds(lua_State *L)
{
    const struct lua_session *ls = lua_check_session(L, 1);
    uint64_t tick = lua_check_tick(L, 2, ls);
    lua_pushnumber(L, (double)tick / (ls->session->config.cpu_mhz * 1e6));
    return 1;
}

static int session_tick(lua_State *L)
{
    const struct lua_session *ls = lua_check_session(L, 1);
    lua_pushinteger(L, (lua_Integer)lua_check_tick(L, 2, ls));
    return 1;
}

static int session_to_string(lua_State *L)
{
    const struct lua_session *ls = lua_check_session(L, 1);
    lua_pushfstring(L, "session %s of %I ticks", ls->path,
                    (lua_Integer)ls->session->end_tick);
    return 1;
}

/* ---- places ---------------------------------------------------------------
 */

static void check_place(lua_State *L, const struct lua_session *ls,
                        uint64_t tick)
{
    if (tick < ls->session->start_tick || tick > ls->session->end_tick)
        (void)luaL_error(L, "expected a tick from %I to %I, found %I",
                         (lua_Integer)ls->session->start_tick,
                         (lua_Integer)ls->session->end_tick, (lua_Integer)tick);
}

static int session_at(lua_State *L)
{
    struct lua_session *ls = lua_check_session(L, 1);
    struct machine_place place = ls->here;
    if (!lua_isnoneornil(L, 2)) {
        lua_Integer deliveries = luaL_optinteger(L, 3, 0);
        luaL_argcheck(L, deliveries >= 0 && deliveries <= UINT32_MAX, 3,
                      "expected a number of deliveries");
        place = (struct machine_place){lua_check_tick(L, 2, ls),
                                       (uint32_t)deliveries};
        check_place(L, ls, place.tick);
    }
    lua_push_view(L, ls, place);
    return 1;
}

static int session_go(lua_State *L)
{
    struct lua_session *ls = lua_check_session(L, 1);
    struct machine_place place;
    if (luaL_testudata(L, 2, "view")) {
        place = lua_view_place(L, 2);
    } else {
        place = (struct machine_place){lua_check_tick(L, 2, ls), 0};
        check_place(L, ls, place.tick);
    }
    lua_session_go(L, ls, place);
    ls->here = place;
    lua_push_view(L, ls, place);
    return 1;
}

/* ---- when a value appeared in memory --------------------------------------
 */

enum { SEEN_PLACES = 16, SEEN_BYTES_MAX = 4096 };

/* What is looked for, and in which physical addresses. */
struct wanted {
    const void *bytes;
    size_t count;
    uint64_t low, high;
};

/* The first places of it at this moment, at most SEEN_PLACES. */
static unsigned find_all(const struct lua_session *ls, const struct wanted *w,
                         uint64_t *found)
{
    struct guest_memory g;
    unsigned n = 0;
    uint64_t at = w->low;
    guest_memory_of(&g, ls->machine);
    while (n < SEEN_PLACES) {
        at = guest_search_physical(&g, at, w->high, w->bytes, w->count);
        if (at == UINT64_MAX)
            break;
        found[n++] = at++;
    }
    return n;
}

static bool is_there(const struct lua_session *ls, const struct wanted *w,
                     uint64_t paddr)
{
    struct guest_memory g;
    char now[SEEN_BYTES_MAX];
    guest_memory_of(&g, ls->machine);
    return guest_read_physical(&g, paddr, now, w->count) == w->count &&
           memcmp(now, w->bytes, w->count) == 0;
}

static void go_to_tick(lua_State *L, struct lua_session *ls, uint64_t tick)
{
    lua_session_go(L, ls, (struct machine_place){tick, 0});
}

/* Absent at `before`, there at `after`: the tick at which it came. */
static uint64_t bisect(lua_State *L, struct lua_session *ls,
                       const struct wanted *w, uint64_t paddr, uint64_t before,
                       uint64_t after)
{
    while (after - before > 1) {
        uint64_t middle = before + (after - before) / 2;
        go_to_tick(L, ls, middle);
        if (is_there(ls, w, paddr))
            after = middle;
        else
            before = middle;
    }
    return after;
}

static int push_seen(lua_State *L, struct lua_session *ls,
                     const struct wanted *w, uint64_t before, uint64_t after,
                     const uint64_t *found, unsigned count)
{
    uint64_t tick = UINT64_MAX, paddr = 0;
    for (unsigned i = 0; i < count; i++) {
        uint64_t t = bisect(L, ls, w, found[i], before, after);
        if (t < tick) {
            tick = t;
            paddr = found[i];
        }
    }
    lua_pushinteger(L, (lua_Integer)tick);
    lua_pushinteger(L, (lua_Integer)paddr);
    return 2;
}

static struct wanted check_wanted(lua_State *L, char number[8])
{
    static const char *const options[] = {"from", "to",    "step", "low",
                                          "high", "bytes", NULL};
    struct wanted w = {0};
    lua_check_options(L, 3, options);
    if (lua_isinteger(L, 2)) {
        uint64_t value = (uint64_t)lua_tointeger(L, 2);
        w.count = (size_t)lua_field_u64(L, 3, "bytes", 4);
        if (w.count < 1 || w.count > 8)
            (void)luaL_error(L, "bytes: expected 1 to 8");
        for (unsigned i = 0; i < 8; i++)
            number[i] = (char)(value >> 8 * i);
        w.bytes = number;
    } else {
        w.bytes = luaL_checklstring(L, 2, &w.count);
        luaL_argcheck(L, w.count >= 1 && w.count <= SEEN_BYTES_MAX, 2,
                      "expected 1 to 4096 bytes");
    }
    w.low = lua_field_u64(L, 3, "low", 0);
    w.high = lua_field_u64(L, 3, "high", UINT64_MAX);
    return w;
}

static int session_first_seen(lua_State *L)
{
    char number[8];
    uint64_t found[SEEN_PLACES];
    struct lua_session *ls = lua_check_session(L, 1);
    struct wanted w = check_wanted(L, number);
    uint64_t from =
        lua_field_tick(L, 3, "from", ls, ls->session->start_tick);
    uint64_t to = lua_field_tick(L, 3, "to", ls, ls->session->end_tick);
    check_place(L, ls, from);
    check_place(L, ls, to);
    uint64_t otherwise = (to > from ? to - from : 0) / 64 + 1;
    uint64_t step = lua_field_u64(L, 3, "step", otherwise);
    if (step < 1 || step > INT64_MAX)
        return luaL_error(L, "step: expected at least 1");
    go_to_tick(L, ls, from);
    unsigned count = find_all(ls, &w, found);
    if (count > 0) {
        lua_pushinteger(L, (lua_Integer)from);
        lua_pushinteger(L, (lua_Integer)found[0]);
        return 2;
    }
    for (uint64_t before = from; before < to;) {
        uint64_t after = to - before > step ? before + step : to;
        lua_check_stop(L);
        go_to_tick(L, ls, after);
        count = find_all(ls, &w, found);
        if (count > 0)
            return push_seen(L, ls, &w, before, after, found, count);
        before = after;
    }
    lua_pushnil(L);
    return 1;
}

static const struct lua_api_entry entries[] = {
    {.name = "meta",
     .function = session_meta,
     .signature = "session.meta -> table",
     .doc = "What relive info --json shows: configuration, media, build, sizes.",
     .is_property = true},
    {.name = "path",
     .function = session_path,
     .signature = "session.path -> string",
     .doc = "Where the session is.",
     .is_property = true},
    {.name = "start",
     .function = session_start,
     .signature = "session.start -> tick",
     .doc = "The first tick: 0, but in a session that was cut out of another.",
     .is_property = true},
    {.name = "length",
     .function = session_length,
     .signature = "session.length -> tick",
     .doc = "The tick at which the recording ends.",
     .is_property = true},
    {.name = "insns",
     .function = session_insns,
     .signature = "session.insns -> integer",
     .doc = "Instructions retired up to the last commit.",
     .is_property = true},
    {.name = "mhz",
     .function = session_mhz,
     .signature = "session.mhz -> integer",
     .doc = "Ticks in a microsecond of guest time.",
     .is_property = true},
    {.name = "seconds",
     .function = session_seconds,
     .signature = "session:seconds(tick) -> number",
     .doc = "A tick as seconds of guest time."},
    {.name = "tick",
     .function = session_tick,
     .signature = "session:tick('2.5s') -> tick",
     .doc = "A guest time as a tick."},
    {.name = "at",
     .function = session_at,
     .signature = "session:at([tick [, deliveries]]) -> view",
     .doc = "The machine at a tick, behind so many deliveries of interrupts "
            "and exceptions at it, or where the script stands."},
    {.name = "go",
     .function = session_go,
     .signature = "session:go(tick or view) -> view",
     .doc = "Stand there: where calls that name no tick look from now on."},
    {.name = "first_seen",
     .function = session_first_seen,
     .signature = "session:first_seen(bytes or integer, {bytes=4, from=, to=, "
                  "step=, low=, high=}) -> tick, paddr",
     .doc = "The first tick at which a byte string or a little-endian integer "
            "is in physical memory, and where; memory is looked at every `step` "
            "ticks (a 64th of the way), so what came and went between two looks "
            "is not seen. nil: never."},
    {.name = "__tostring", .function = session_to_string},
    {0},
};

const struct lua_api_module lua_module_session = {
    .name = "session",
    .kind = LUA_API_CLASS,
    .doc = "A recording; the global `session` is that of the command line.",
    .entries = entries,
};
