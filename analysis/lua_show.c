/* Values as text: for the prompt, and as JSON; and JSON as values. Keys are in
 * order, so that equal values give equal text. */
#include "analysis/lua_modules.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    JSON_DEPTH = 100,
    SHOWN_DEPTH = 4,
    SHOWN_ITEMS = 200,
    TEXT_BYTES_MAX = 256 << 20
};

/* ---- text that is owned by Lua --------------------------------------------
 */

static int text_collect(lua_State *L)
{
    writer_fini(lua_touserdata(L, 1));
    return 0;
}

struct writer *lua_push_writer(lua_State *L)
{
    struct writer *w = lua_newuserdatauv(L, sizeof *w, 0);
    writer_init(w);
    if (luaL_newmetatable(L, "writer")) {
        lua_pushcfunction(L, text_collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return w;
}

void lua_push_written(lua_State *L, const struct writer *w)
{
    if (w->failed)
        (void)luaL_error(L, "out of memory");
    lua_pushlstring(L, w->used ? (const char *)w->data : "", w->used);
}

static void put(struct writer *w, const char *text)
{
    writer_bytes(w, text, strlen(text));
}

/* ---- order of keys --------------------------------------------------------
 */

static int type_rank(lua_State *L, int index)
{
    int type = lua_type(L, index);
    return type == LUA_TNUMBER ? 0 : type == LUA_TSTRING ? 1 : 2 + type;
}

/* table.sort()'s order: numbers, then strings, then the rest by type. */
static int key_before(lua_State *L)
{
    int a = type_rank(L, 1), b = type_rank(L, 2);
    bool before = a < b;
    if (a == b && a <= 1)
        before = lua_compare(L, 1, 2, LUA_OPLT);
    lua_pushboolean(L, before);
    return 1;
}

/* Push a sorted array of the keys of the table at `index`; their number. */
static lua_Integer push_keys(lua_State *L, int index)
{
    lua_Integer count = 0;
    lua_newtable(L);
    int keys = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        lua_rawseti(L, keys, ++count);
    }
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, "table");
    lua_getfield(L, -1, "sort");
    lua_pushvalue(L, keys);
    lua_pushcfunction(L, key_before);
    lua_call(L, 2, 0);
    lua_settop(L, keys);
    return count;
}

/* Do the keys count 1..n? */
static bool is_array(lua_State *L, int index)
{
    lua_Integer count = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (!lua_isinteger(L, -2)) {
            lua_pop(L, 2);
            return false;
        }
        count++;
    }
    return count > 0 && count == (lua_Integer)lua_rawlen(L, index);
}

static void check_room(lua_State *L, const struct writer *w)
{
    luaL_checkstack(L, 20, "too deep");
    lua_check_stop(L);
    if (w->failed || w->used > TEXT_BYTES_MAX)
        (void)luaL_error(L, "the text is too long");
}

/* ---- for people -----------------------------------------------------------
 */

static void show_string(struct writer *w, const char *text, size_t bytes)
{
    char escaped[8];
    writer_u8(w, '"');
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            (void)snprintf(escaped, sizeof escaped, "\\%c", c);
        else if (c == '\n')
            strcpy(escaped, "\\n");
        else if (c < 0x20 || c >= 0x7f)
            (void)snprintf(escaped, sizeof escaped, "\\x%02x", c);
        else
            (void)snprintf(escaped, sizeof escaped, "%c", c);
        put(w, escaped);
    }
    writer_u8(w, '"');
}

static void show_value(lua_State *L, struct writer *w, int index, int depth);

static void show_table(lua_State *L, struct writer *w, int index, int depth)
{
    bool array = is_array(L, index);
    lua_Integer count = push_keys(L, index);
    int keys = lua_gettop(L);
    put(w, "{");
    for (lua_Integer i = 1; i <= count && i <= SHOWN_ITEMS; i++) {
        if (i > 1)
            put(w, ", ");
        lua_rawgeti(L, keys, i);
        if (lua_type(L, -1) == LUA_TSTRING) {
            put(w, lua_tostring(L, -1));
            put(w, " = ");
        } else if (!array) {
            put(w, "[");
            put(w, luaL_tolstring(L, -1, NULL));
            lua_pop(L, 1);
            put(w, "] = ");
        }
        lua_rawget(L, index);
        show_value(L, w, lua_gettop(L), depth + 1);
        lua_settop(L, keys);
    }
    put(w, count > SHOWN_ITEMS ? ", ...}" : "}");
    lua_settop(L, keys - 1);
}

static void show_value(lua_State *L, struct writer *w, int index, int depth)
{
    size_t bytes;
    check_room(L, w);
    bool has_own = luaL_getmetafield(L, index, "__tostring") != LUA_TNIL;
    if (has_own)
        lua_pop(L, 1);
    if (lua_type(L, index) == LUA_TTABLE && depth < SHOWN_DEPTH && !has_own) {
        show_table(L, w, index, depth);
        return;
    }
    const char *text = luaL_tolstring(L, index, &bytes);
    if (lua_type(L, index) == LUA_TSTRING && depth > 0)
        show_string(w, text, bytes);
    else
        writer_bytes(w, text, bytes);
    lua_pop(L, 1);
}

int lua_show(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    struct writer *w = lua_push_writer(L);
    show_value(L, w, 1, 0);
    lua_push_written(L, w);
    return 1;
}

/* ---- to JSON --------------------------------------------------------------
 */

/* Text that is UTF-8 goes as such; other bytes as the characters 0 to 255. */
static void json_text(struct writer *w, const char *text, size_t bytes)
{
    char escaped[8];
    json_t *s = json_stringn(text, bytes);
    bool is_utf8 = s != NULL;
    json_decref(s);
    writer_u8(w, '"');
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            (void)snprintf(escaped, sizeof escaped, "\\%c", c);
        else if (c < 0x20 || c == 0x7f || (c > 0x7f && !is_utf8))
            (void)snprintf(escaped, sizeof escaped, "\\u%04x", c);
        else
            (void)snprintf(escaped, sizeof escaped, "%c", c);
        put(w, escaped);
    }
    writer_u8(w, '"');
}

static void json_number(lua_State *L, struct writer *w, int index)
{
    char text[40] = "null"; /* JSON knows no infinity */
    if (lua_isinteger(L, index))
        (void)snprintf(text, sizeof text, "%lld",
                       (long long)lua_tointeger(L, index));
    else if (isfinite(lua_tonumber(L, index)))
        (void)snprintf(text, sizeof text, "%.17g", lua_tonumber(L, index));
    put(w, text);
}

static void json_value(lua_State *L, struct writer *w, int index, int depth);

static void json_table(lua_State *L, struct writer *w, int index, int depth)
{
    size_t bytes;
    bool array = is_array(L, index);
    lua_Integer count = push_keys(L, index);
    int keys = lua_gettop(L);
    put(w, array ? "[" : "{");
    for (lua_Integer i = 1; i <= count; i++) {
        if (i > 1)
            put(w, ",");
        lua_rawgeti(L, keys, i);
        if (!array) {
            const char *name = luaL_tolstring(L, -1, &bytes);
            json_text(w, name, bytes);
            put(w, ":");
            lua_pop(L, 1);
        }
        lua_rawget(L, index);
        json_value(L, w, lua_gettop(L), depth + 1);
        lua_settop(L, keys);
    }
    put(w, array ? "]" : "}");
    lua_settop(L, keys - 1);
}

static void json_value(lua_State *L, struct writer *w, int index, int depth)
{
    size_t bytes;
    check_room(L, w);
    if (depth > JSON_DEPTH)
        (void)luaL_error(L, "json: the value is deeper than %d tables",
                         JSON_DEPTH);
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        put(w, "null");
        break;
    case LUA_TBOOLEAN:
        put(w, lua_toboolean(L, index) ? "true" : "false");
        break;
    case LUA_TNUMBER:
        json_number(L, w, index);
        break;
    case LUA_TTABLE:
        json_table(L, w, index, depth);
        break;
    default: {
        const char *text = luaL_tolstring(L, index, &bytes);
        json_text(w, text, bytes);
        lua_pop(L, 1);
    }
    }
}

int lua_json_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    struct writer *w = lua_push_writer(L);
    json_value(L, w, 1, 0);
    lua_push_written(L, w);
    return 1;
}

/* ---- from JSON ------------------------------------------------------------
 */

static int json_collect(lua_State *L)
{
    json_t **root = lua_touserdata(L, 1);
    json_decref(*root);
    *root = NULL;
    return 0;
}

/* Depth is bounded by jansson's parser (2048). */
static void push_json(lua_State *L, json_t *value)
{
    const char *name;
    json_t *member;
    size_t i;
    luaL_checkstack(L, 6, "too deep");
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        lua_newtable(L);
        json_object_foreach(value, name, member)
        {
            push_json(L, member);
            lua_setfield(L, -2, name);
        }
        break;
    case JSON_ARRAY:
        lua_newtable(L);
        json_array_foreach(value, i, member)
        {
            push_json(L, member);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(value),
                        json_string_length(value));
        break;
    case JSON_INTEGER:
        lua_pushinteger(L, json_integer_value(value));
        break;
    case JSON_REAL:
        lua_pushnumber(L, json_real_value(value));
        break;
    case JSON_NULL:
        lua_pushnil(L);
        break;
    default:
        lua_pushboolean(L, json_is_true(value));
    }
}

void lua_push_json(lua_State *L, const char *text, size_t bytes)
{
    json_error_t why;
    json_t **root = lua_newuserdatauv(L, sizeof *root, 0);
    *root = NULL;
    if (luaL_newmetatable(L, "json value")) {
        lua_pushcfunction(L, json_collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    *root = json_loadb(text, bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (!*root)
        (void)luaL_error(L, "json: line %d, column %d: %s", why.line,
                         why.column, why.text);
    push_json(L, *root);
    lua_remove(L, -2);
}

static int json_decode(lua_State *L)
{
    size_t bytes;
    const char *text = luaL_checklstring(L, 1, &bytes);
    lua_push_json(L, text, bytes);
    return 1;
}

static const struct lua_api_entry entries[] = {
    {.name = "encode",
     .function = lua_json_encode,
     .signature = "json.encode(value) -> string",
     .doc = "A value as JSON on one line, keys in order; bytes that are not "
            "UTF-8 become the characters U+0080 to U+00FF."},
    {.name = "decode",
     .function = json_decode,
     .signature = "json.decode(text) -> value",
     .doc = "The value of a JSON text; null members are absent."},
    {0},
};

const struct lua_api_module lua_module_json = {
    .name = "json",
    .kind = LUA_API_TABLE,
    .doc = "JSON texts.",
    .entries = entries,
};
