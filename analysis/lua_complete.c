/* What could go on from the text before the cursor. */
#include "analysis/lua_vm.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_MAX = 200 };

struct completion {
    const char *text;   /* the whole word */
    size_t head;        /* bytes of it up to and with the last '.' or ':' */
    bool calls;         /* that was a ':' */
    lua_vm_complete_fn *fn;
    void *context;
};

/* Push the value that "a.b.c" names, walking raw tables only. */
static bool push_named(lua_State *L, const char *name, size_t bytes)
{
    lua_pushglobaltable(L);
    while (bytes > 0) {
        const char *dot = memchr(name, '.', bytes);
        size_t part = dot ? (size_t)(dot - name) : bytes;
        if (!lua_istable(L, -1))
            return false;
        lua_pushlstring(L, name, part);
        lua_rawget(L, -2);
        lua_remove(L, -2);
        part += dot != NULL;
        name += part;
        bytes -= part;
    }
    return true;
}

/* The string keys of the table on top, sorted into the array below it. */
static void add_keys(lua_State *L, int names, const char *prefix)
{
    int table = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            continue;
        const char *key = lua_tostring(L, -2);
        if (strncmp(key, prefix, strlen(prefix)) != 0 || key[0] == '_')
            continue;
        lua_pushvalue(L, -2);
        lua_rawseti(L, names, (lua_Integer)lua_rawlen(L, names) + 1);
    }
    lua_pop(L, 1);
}

/* Names of a userdata: its class's methods behind ':', properties behind '.'. */
static void add_class_keys(lua_State *L, int names, const char *prefix,
                           bool calls)
{
    if (luaL_getmetafield(L, -1, "__index") == LUA_TNIL)
        return;
    if (lua_getupvalue(L, -1, calls ? 1 : 2)) {
        if (lua_istable(L, -1))
            add_keys(L, names, prefix);
        else
            lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Protected. */
static int complete(lua_State *L)
{
    const struct completion *c = lua_touserdata(L, 1);
    const char *prefix = c->text + c->head, *sorted[WORD_MAX];
    char whole[2 * WORD_MAX];
    lua_newtable(L);
    int names = lua_gettop(L);
    if (!push_named(L, c->text, c->head ? c->head - 1 : 0))
        return 0;
    if (lua_isuserdata(L, -1))
        add_class_keys(L, names, prefix, c->calls);
    else if (lua_istable(L, -1) && !c->calls)
        add_keys(L, names, prefix);
    size_t count = lua_rawlen(L, names);
    count = count < WORD_MAX ? count : WORD_MAX;
    luaL_checkstack(L, (int)count, "too many names");
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, names, (lua_Integer)i + 1);
        sorted[i] = lua_tostring(L, -1);
    }
    qsort(sorted, count, sizeof sorted[0], by_text);
    for (size_t i = 0; i < count; i++) {
        if (c->head + strlen(sorted[i]) >= sizeof whole)
            continue;
        memcpy(whole, c->text, c->head);
        strcpy(whole + c->head, sorted[i]);
        c->fn(c->context, whole);
    }
    return 0;
}

void lua_vm_complete(struct lua_vm *vm, const char *text,
                     lua_vm_complete_fn *fn, void *context)
{
    lua_State *L = lua_vm_state(vm);
    struct completion c = {.text = text, .fn = fn, .context = context};
    if (strlen(text) >= WORD_MAX)
        return;
    for (size_t i = 0; text[i]; i++) {
        if (text[i] == '.' || text[i] == ':') {
            c.head = i + 1;
            c.calls = text[i] == ':';
        } else if (!isalnum((unsigned char)text[i]) && text[i] != '_') {
            return;
        }
    }
    lua_pushcfunction(L, complete);
    lua_pushlightuserdata(L, &c);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK)
        lua_pop(L, 1);
}
