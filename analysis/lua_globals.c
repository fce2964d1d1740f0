/* Functions that scripts call by themselves. */
#include "analysis/lua_modules.h"

#include <stdio.h>

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

static const struct lua_api_entry entries[] = {
    {.name = "hex",
     .function = globals_hex,
     .signature = "hex(n [, digits]) -> string",
     .doc = "The 64 bits of an integer as 0x..., with at least so many "
            "digits."},
    {0},
};

const struct lua_api_module lua_module_globals = {
    .name = "globals",
    .kind = LUA_API_GLOBALS,
    .doc = "Functions by themselves.",
    .entries = entries,
};
