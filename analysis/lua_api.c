#include "analysis/lua_api.h"

#include "base/duration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a lua_State knows beside Lua: its extra space points to one in the
 * registry. */
struct lua_context {
    struct lua_session *main;    /* borrowed */
    const struct lua_host *host; /* borrowed */
    bool exits;                  /* exit() was called */
    int status;
};

/* Sessions live as long as the lua_State. */
struct lua_view {
    struct lua_session *ls; /* borrowed */
    struct machine_place place;
};

static struct lua_context *context_of(lua_State *L)
{
    struct lua_context *c;
    memcpy(&c, lua_getextraspace(L), sizeof c);
    return c;
}

const struct lua_host *lua_host_of(lua_State *L)
{
    return context_of(L)->host;
}

/* ---- errors and stops -----------------------------------------------------
 */

int lua_raise(lua_State *L, const struct error *err)
{
    return luaL_error(L, "%s", err->text);
}

void lua_check_stop(lua_State *L)
{
    const struct lua_host *host = lua_host_of(L);
    const char *why = host->stop ? host->stop(host->context) : NULL;
    if (context_of(L)->exits)
        (void)luaL_error(L, "exit");
    if (why)
        (void)luaL_error(L, "%s", why);
}

void lua_check_moved(lua_State *L, enum travel_stop stop,
                     const struct error *err)
{
    if (stop == TRAVEL_FAILED)
        (void)lua_raise(L, err);
    if (stop != TRAVEL_INTERRUPTED)
        return;
    lua_check_stop(L);
    (void)luaL_error(L, "interrupted");
}

void lua_check_files(lua_State *L, const char *what)
{
    if (!lua_host_of(L)->allows_files)
        (void)luaL_error(L, "%s: scripts may not name files (--allow-files)",
                         what);
}

void lua_request_exit(lua_State *L, int status)
{
    struct lua_context *c = context_of(L);
    c->exits = true;
    c->status = status;
}

bool lua_exit_requested(lua_State *L, int *status)
{
    struct lua_context *c = context_of(L);
    if (c->exits)
        *status = c->status;
    return c->exits;
}

/* ---- sessions and views ---------------------------------------------------
 */

struct lua_session *lua_main_session(lua_State *L)
{
    return context_of(L)->main;
}

struct lua_session *lua_check_session(lua_State *L, int i)
{
    struct lua_session **p = luaL_checkudata(L, i, "session");
    return *p;
}

void lua_session_go(lua_State *L, struct lua_session *ls,
                    struct machine_place place)
{
    struct error err;
    struct machine_place branch;
    if (machine_place_compare(travel_place(ls->travel), place) == 0 &&
        !travel_branch(ls->travel, &branch))
        return;
    lua_check_moved(L, travel_goto(ls->travel, place, &err), &err);
}

struct lua_session *lua_check_view(lua_State *L, int i)
{
    struct lua_view *v = luaL_checkudata(L, i, "view");
    lua_session_go(L, v->ls, v->place);
    return v->ls;
}

struct lua_session *lua_opt_place(lua_State *L, int i)
{
    if (luaL_testudata(L, i, "view"))
        return lua_check_view(L, i);
    struct lua_session *ls = lua_main_session(L);
    if (luaL_testudata(L, i, "session"))
        ls = lua_check_session(L, i);
    struct machine_place place = ls->here;
    if (lua_isnumber(L, i) || lua_isstring(L, i))
        place = (struct machine_place){lua_check_tick(L, i, ls), 0};
    else if (!lua_isnoneornil(L, i) && !lua_isuserdata(L, i))
        (void)luaL_typeerror(L, i, "view, session or tick");
    lua_session_go(L, ls, place);
    return ls;
}

void lua_push_view(lua_State *L, struct lua_session *ls,
                   struct machine_place place)
{
    struct lua_view *v = lua_newuserdatauv(L, sizeof *v, 0);
    v->ls = ls;
    v->place = place;
    luaL_setmetatable(L, "view");
}

struct machine_place lua_view_place(lua_State *L, int i)
{
    struct lua_view *v = luaL_checkudata(L, i, "view");
    return v->place;
}

void lua_push_session(lua_State *L, struct lua_session *ls)
{
    struct lua_session **p = lua_newuserdatauv(L, sizeof *p, 0);
    *p = ls;
    luaL_setmetatable(L, "session");
}

void lua_session_keep(struct lua_session *ls, enum lua_slot slot, void *data,
                      void (*release)(void *data))
{
    void *old = ls->slot[slot].data;
    if (old && ls->slot[slot].free)
        ls->slot[slot].free(old);
    ls->slot[slot].data = data;
    ls->slot[slot].free = release;
}

void lua_session_release(struct lua_session *ls)
{
    for (unsigned i = 0; i < LUA_SLOTS; i++)
        lua_session_keep(ls, (enum lua_slot)i, NULL, NULL);
}

/* ---- arguments and results ------------------------------------------------
 */

/* False: no tick. The text is that of a tick as people write it. */
static bool text_to_tick(const char *text, const struct lua_session *ls,
                         uint64_t *tick)
{
    uint64_t ns;
    if (strcmp(text, "start") == 0)
        *tick = ls->session->start_tick;
    else if (strcmp(text, "end") == 0)
        *tick = ls->session->end_tick;
    else if (duration_parse(text, &ns))
        *tick = duration_ticks(ns, machine_config(ls->machine)->cpu_mhz);
    else
        return false;
    return true;
}

static bool to_tick(lua_State *L, int i, const struct lua_session *ls,
                    uint64_t *tick)
{
    int is_integer;
    lua_Integer n = lua_tointegerx(L, i, &is_integer);
    if (is_integer && n >= 0) {
        *tick = (uint64_t)n;
        return true;
    }
    return lua_type(L, i) == LUA_TSTRING &&
           text_to_tick(lua_tostring(L, i), ls, tick);
}

uint64_t lua_check_tick(lua_State *L, int i, const struct lua_session *ls)
{
    uint64_t tick = 0;
    if (!to_tick(L, i, ls, &tick))
        (void)luaL_argerror(L, i,
                            "expected a tick, a guest time like '2.5s', "
                            "'start' or 'end'");
    return tick;
}

/* Push options[name]; false (nothing pushed) when there is none. */
static bool push_field(lua_State *L, int i, const char *name)
{
    if (lua_isnoneornil(L, i))
        return false;
    luaL_checktype(L, i, LUA_TTABLE);
    if (lua_getfield(L, i, name) != LUA_TNIL)
        return true;
    lua_pop(L, 1);
    return false;
}

bool lua_field_is_set(lua_State *L, int i, const char *name)
{
    if (!push_field(L, i, name))
        return false;
    lua_pop(L, 1);
    return true;
}

uint64_t lua_field_u64(lua_State *L, int i, const char *name,
                       uint64_t otherwise)
{
    int is_integer;
    if (!push_field(L, i, name))
        return otherwise;
    lua_Integer n = lua_tointegerx(L, -1, &is_integer);
    if (!is_integer)
        (void)luaL_error(L, "%s: expected an integer, found %s", name,
                         luaL_tolstring(L, -1, NULL));
    lua_pop(L, 1);
    return (uint64_t)n;
}

uint64_t lua_field_tick(lua_State *L, int i, const char *name,
                        const struct lua_session *ls, uint64_t otherwise)
{
    uint64_t tick = 0;
    if (!push_field(L, i, name))
        return otherwise;
    if (!to_tick(L, -1, ls, &tick))
        (void)luaL_error(L,
                         "%s: expected a tick, a guest time like '2.5s', "
                         "'start' or 'end', found %s",
                         name, luaL_tolstring(L, -1, NULL));
    lua_pop(L, 1);
    return tick;
}

bool lua_field_bool(lua_State *L, int i, const char *name, bool otherwise)
{
    if (!push_field(L, i, name))
        return otherwise;
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

const char *lua_field_string(lua_State *L, int i, const char *name,
                             size_t *bytes)
{
    if (!push_field(L, i, name))
        return NULL;
    if (lua_type(L, -1) != LUA_TSTRING)
        (void)luaL_error(L, "%s: expected a string, found %s", name,
                         luaL_typename(L, -1));
    const char *text = lua_tolstring(L, -1, bytes);
    lua_pop(L, 1);
    return text;
}

static bool is_among(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

void lua_check_options(lua_State *L, int i, const char *const *names)
{
    if (lua_isnoneornil(L, i))
        return;
    luaL_checktype(L, i, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, i); lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING &&
            is_among(lua_tostring(L, -2), names))
            continue;
        luaL_Buffer b;
        const char *found = luaL_tolstring(L, -2, NULL);
        luaL_buffinit(L, &b);
        for (const char *const *n = names; *n; n++) {
            luaL_addstring(&b, n == names ? "" : ", ");
            luaL_addstring(&b, *n);
        }
        luaL_pushresult(&b);
        (void)luaL_error(L, "unknown option '%s': expected %s", found,
                         lua_tostring(L, -1));
    }
}

void lua_set_u64(lua_State *L, const char *name, uint64_t value)
{
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

void lua_set_number(lua_State *L, const char *name, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

void lua_set_string(lua_State *L, const char *name, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

void lua_set_bool(lua_State *L, const char *name, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

/* ---- registration ---------------------------------------------------------
 */

/* __index of a class: upvalues are its methods, its properties and, or nil, its
 * own "__index". */
static int class_index(lua_State *L)
{
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    lua_pop(L, 1);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) {
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
        return 1;
    }
    lua_pop(L, 1);
    if (lua_isnil(L, lua_upvalueindex(3)))
        return 0;
    lua_pushvalue(L, lua_upvalueindex(3));
    lua_insert(L, 1);
    lua_call(L, 2, 1);
    return 1;
}

/* The metatable of the class on top of the stack; its methods and properties
 * are in fields of it until close_class(). */
static void push_class(lua_State *L, const char *name)
{
    if (!luaL_newmetatable(L, name))
        return;
    lua_newtable(L);
    lua_setfield(L, -2, "methods");
    lua_newtable(L);
    lua_setfield(L, -2, "properties");
}

static void add_to_class(lua_State *L, const struct lua_api_module *module)
{
    push_class(L, module->name);
    for (const struct lua_api_entry *e = module->entries; e->name; e++) {
        lua_pushcfunction(L, e->function);
        if (strcmp(e->name, "__index") == 0) {
            lua_setfield(L, -2, "index");
        } else if (strncmp(e->name, "__", 2) == 0) {
            lua_setfield(L, -2, e->name);
        } else {
            lua_getfield(L, -2, e->is_property ? "properties" : "methods");
            lua_insert(L, -2);
            lua_setfield(L, -2, e->name);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

static void close_class(lua_State *L, const char *name)
{
    static const char *const parts[] = {"methods", "properties", "index"};
    luaL_getmetatable(L, name);
    if (lua_getfield(L, -1, "__metatable") == LUA_TNIL) {
        for (unsigned i = 0; i < 3; i++)
            lua_getfield(L, -2 - (int)i, parts[i]);
        lua_pushcclosure(L, class_index, 3);
        lua_setfield(L, -3, "__index");
        for (unsigned i = 0; i < 3; i++) {
            lua_pushnil(L);
            lua_setfield(L, -3, parts[i]);
        }
        lua_pushstring(L, name); /* scripts do not get at the metatable */
        lua_setfield(L, -3, "__metatable");
    }
    lua_pop(L, 2);
}

/* Into the table on top of the stack. */
static void add_functions(lua_State *L, const struct lua_api_module *module)
{
    for (const struct lua_api_entry *e = module->entries; e->name; e++) {
        lua_pushcfunction(L, e->function);
        lua_setfield(L, -2, e->name);
    }
}

static void add_module(lua_State *L, const struct lua_api_module *module)
{
    switch (module->kind) {
    case LUA_API_GLOBALS:
        lua_pushglobaltable(L);
        add_functions(L, module);
        break;
    case LUA_API_TABLE:
        if (lua_getglobal(L, module->name) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushvalue(L, -1);
            lua_setglobal(L, module->name);
        }
        add_functions(L, module);
        break;
    case LUA_API_CLASS:
        add_to_class(L, module);
        return;
    }
    lua_pop(L, 1);
}

void lua_api_install(lua_State *L, struct lua_session *ls,
                     const struct lua_host *host)
{
    struct lua_context *c = lua_newuserdatauv(L, sizeof *c, 0);
    *c = (struct lua_context){.main = ls, .host = host};
    lua_rawsetp(L, LUA_REGISTRYINDEX, lua_api_modules);
    memcpy(lua_getextraspace(L), &c, sizeof c);
    for (const struct lua_api_module *const *m = lua_api_modules; *m; m++)
        add_module(L, *m);
    for (const struct lua_api_module *const *m = lua_api_modules; *m; m++)
        if ((*m)->kind == LUA_API_CLASS)
            close_class(L, (*m)->name);
    lua_push_session(L, ls);
    lua_setglobal(L, "session");
}

/* ---- the reference --------------------------------------------------------
 */

static void put(struct writer *out, const char *text)
{
    writer_bytes(out, text, strlen(text));
}

/* Words of `text` in lines of at most 79 columns, indented. */
static void put_wrapped(struct writer *out, const char *text)
{
    unsigned column = 0;
    while (*text) {
        unsigned length = (unsigned)strcspn(text, " ");
        if (column && column + 1 + length > 79) {
            put(out, "\n");
            column = 0;
        }
        if (!column) {
            put(out, "     ");
            column = 5;
        }
        put(out, " ");
        writer_bytes(out, text, length);
        column += 1 + length;
        text += length;
        text += strspn(text, " ");
    }
    put(out, "\n");
}

static void put_entries(struct writer *out, const struct lua_api_module *module)
{
    for (const struct lua_api_entry *e = module->entries; e->name; e++) {
        if (!e->signature) /* __gc and the like */
            continue;
        put(out, "  ");
        put(out, e->signature);
        put(out, "\n");
        put_wrapped(out, e->doc);
    }
}

/* Is it the first of its name? */
static bool is_first(const struct lua_api_module *const *at)
{
    for (const struct lua_api_module *const *m = lua_api_modules; m < at; m++)
        if (strcmp((*m)->name, (*at)->name) == 0)
            return false;
    return true;
}

void lua_api_reference(struct writer *out)
{
    put(out, "What scripts of relive query can use, beside Lua 5.4's own base,\n"
             "string, table, math, utf8 and coroutine functions. A tick may "
             "also be given\nas guest time ('2.5s'), 'start' or 'end'.\n");
    for (const struct lua_api_module *const *m = lua_api_modules; *m; m++) {
        if (!is_first(m))
            continue;
        put(out, "\n");
        put(out, (*m)->name);
        put(out, "\n");
        for (const struct lua_api_module *const *n = m; *n; n++) {
            if (strcmp((*n)->name, (*m)->name) != 0)
                continue;
            if ((*n)->doc)
                put_wrapped(out, (*n)->doc);
            put_entries(out, *n);
        }
    }
}
