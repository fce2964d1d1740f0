/* The session object. */
#include "analysis/lua_modules.h"

static int session_length(lua_State *L)
{
    const struct lua_session *ls = lua_check_session(L, 1);
    lua_pushinteger(L, (lua_Integer)ls->session->end_tick);
    return 1;
}

static int session_at(lua_State *L)
{
    struct lua_session *ls = lua_check_session(L, 1);
    struct machine_place place = ls->here;
    if (!lua_isnoneornil(L, 2))
        place = (struct machine_place){lua_check_tick(L, 2, ls), 0};
    lua_push_view(L, ls, place);
    return 1;
}

static const struct lua_api_entry entries[] = {
    {.name = "length",
     .function = session_length,
     .signature = "session.length -> tick",
     .doc = "The tick at which the recording ends.",
     .is_property = true},
    {.name = "at",
     .function = session_at,
     .signature = "session:at([tick]) -> view",
     .doc = "The machine at a tick, or where the script stands (--at, "
            "session:go())."},
    {0},
};

const struct lua_api_module lua_module_session = {
    .name = "session",
    .kind = LUA_API_CLASS,
    .doc = "A recording; the global `session` is that of the command line.",
    .entries = entries,
};
