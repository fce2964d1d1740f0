/* session:crash(): how the guest failed, and where to look. */
#include "analysis/crash.h"
#include "analysis/lua_modules.h"

static int session_crash(lua_State *L)
{
    struct crash c;
    struct error err;
    struct lua_session *ls = lua_check_session(L, 1);
    if (!crash_find(ls->travel, &c, &err)) {
        lua_check_stop(L);
        return lua_raise(L, &err);
    }
    if (c.kind == CRASH_NONE)
        return 0;
    lua_newtable(L);
    lua_set_string(L, "kind", crash_kind_name(c.kind));
    lua_set_string(L, "text", c.text);
    lua_set_bool(L, "has_fault", c.has_fault);
    if (c.has_fault)
        lua_set_u64(L, "vector", c.vector);
    if (c.seen)
        lua_set_u64(L, "seen", c.seen);
    lua_push_view(L, ls, c.place);
    lua_setfield(L, -2, "view");
    return 1;
}

static const struct lua_api_entry entries[] = {
    {.name = "crash",
     .function = session_crash,
     .signature = "session:crash() -> table or nil",
     .doc = "How the guest failed, as {kind, text, view, has_fault, vector, "
            "seen}: view stands in front of the instruction that failed, or "
            "where the guest was at its end; seen is the tick of its own "
            "message; nil: nothing says that it failed."},
    {0},
};

const struct lua_api_module lua_module_crash = {
    .name = "session",
    .kind = LUA_API_CLASS,
    .entries = entries,
};
