/* Functions that scripts call by themselves. */
#include "analysis/lua_modules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int globals_hex(lua_State *L)
{
    char text[24];
    lua_Integer n = luaL_checkinteger(L, 1);
    int digits = (int)luaL_optinteger(L, 2, 1);
    luaL_argcheck(L, digits >= 1 && digits <= 16, 2, "expected 1 to 16");
    (void)snprintf(text, sizeof text, "0x%0*llx", digits,
                   (unsigned long long)n);
    lua_pushstring(L, text);
    return 1;
}

static int globals_write(lua_State *L)
{
    int count = lua_gettop(L);
    for (int i = 1; i <= count; i++) {
        size_t bytes;
        const char *text = luaL_checklstring(L, i, &bytes);
        if (fwrite(text, 1, bytes, stdout) != bytes)
            return luaL_error(L, "cannot write to standard output");
    }
    return 0;
}

static int globals_exit(lua_State *L)
{
    lua_Integer status = luaL_optinteger(L, 1, 0);
    luaL_argcheck(L, status >= 0 && status <= 255, 1, "expected 0 to 255");
    lua_request_exit(L, (int)status);
    return luaL_error(L, "exit");
}

/* Sessions that scripts open live until the state is closed. */
struct opened {
    const struct lua_host *host; /* borrowed */
    struct lua_session ls;
    bool is_open;
    char path[];
};

static int opened_collect(lua_State *L)
{
    struct opened *o = lua_touserdata(L, 1);
    if (o->is_open) {
        lua_session_release(&o->ls);
        o->host->close(o->host->context, &o->ls);
    }
    o->is_open = false;
    return 0;
}

static int globals_open(lua_State *L)
{
    struct error err;
    const char *path = luaL_checkstring(L, 1);
    const struct lua_host *host = lua_host_of(L);
    if (!host->open)
        return luaL_error(L, "open: not possible here");
    struct opened *o =
        lua_newuserdatauv(L, sizeof *o + strlen(path) + 1, 0);
    memset(o, 0, sizeof *o);
    o->host = host;
    strcpy(o->path, path);
    if (luaL_newmetatable(L, "opened")) {
        lua_pushcfunction(L, opened_collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    if (!host->open(host->context, o->path, &o->ls, &err))
        return lua_raise(L, &err);
    o->is_open = true;
    o->ls.path = o->path;
    lua_rawsetp(L, LUA_REGISTRYINDEX, o);
    lua_push_session(L, &o->ls);
    return 1;
}

static int globals_wants_json(lua_State *L)
{
    lua_pushboolean(L, lua_host_of(L)->wants_json);
    return 1;
}

static const struct lua_api_entry entries[] = {
    {.name = "hex",
     .function = globals_hex,
     .signature = "hex(n [, digits]) -> string",
     .doc = "The 64 bits of an integer as 0x..., with at least so many "
            "digits."},
    {.name = "show",
     .function = lua_show,
     .signature = "show(value) -> string",
     .doc = "A value as the prompt prints it: tables with their contents, keys "
            "in order."},
    {.name = "write",
     .function = globals_write,
     .signature = "write(...)",
     .doc = "Write strings to standard output as they are."},
    {.name = "open",
     .function = globals_open,
     .signature = "open(path) -> session",
     .doc = "Open another session; it stays open until the script ends."},
    {.name = "exit",
     .function = globals_exit,
     .signature = "exit([status])",
     .doc = "End the script with an exit status, 0 to 255."},
    {.name = "wants_json",
     .function = globals_wants_json,
     .signature = "wants_json() -> boolean",
     .doc = "Was relive query called with --json?"},
    {0},
};

const struct lua_api_module lua_module_globals = {
    .name = "globals",
    .kind = LUA_API_GLOBALS,
    .doc = "Functions by themselves. require(name) runs name.lua beside the "
           "script; with --allow-files io, os.remove and os.rename are there.",
    .entries = entries,
};
