/* A view: the machine at one place of a session. */
#include "analysis/lua_modules.h"

static int view_tick(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)lua_view_place(L, 1).tick);
    return 1;
}

static const struct lua_api_entry entries[] = {
    {.name = "tick",
     .function = view_tick,
     .signature = "view.tick -> tick",
     .doc = "Where the view stands.",
     .is_property = true},
    {0},
};

const struct lua_api_module lua_module_view = {
    .name = "view",
    .kind = LUA_API_CLASS,
    .doc = "The machine at a place of a session: session:at(tick).",
    .entries = entries,
};
