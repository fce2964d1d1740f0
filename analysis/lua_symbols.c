/* symbols.*: names of addresses. */
#include "analysis/lua_symbols.h"

#include "analysis/lua_modules.h"

#include <stdio.h>
#include <string.h>

/* ---- for other files
 * -------------------------------------------------------------- */

static void release(void *data)
{
    symbols_free(data);
}

/* Those of files; made on first use. NULL: no memory. */
static struct symbols *of_files(struct lua_session *ls)
{
    if (!ls->slot[LUA_SLOT_SYMBOLS].data) {
        struct symbols *s = symbols_new();
        if (s)
            lua_session_keep(ls, LUA_SLOT_SYMBOLS, s, release);
    }
    return ls->slot[LUA_SLOT_SYMBOLS].data;
}

bool lua_symbols_add_file(struct lua_session *ls, const char *argument,
                          struct error *err)
{
    struct symbols *s = of_files(ls);
    if (!s)
        return error_set(err, ERR_NOMEM, "out of memory for symbols");
    return symbols_add_file(s, argument, err);
}

bool lua_symbols_find(lua_State *L, struct lua_session *ls, const char *name,
                      struct symbol *out)
{
    const struct symbols *files = of_files(ls);
    if (files && symbols_find(files, name, out))
        return true;
    const struct symbols *s = guest_symbols(lua_session_guest(L, ls));
    return s && symbols_find(s, name, out);
}

bool lua_symbols_lookup(lua_State *L, struct lua_session *ls,
                        uint64_t address, struct symbol_place *out)
{
    const struct symbols *files = of_files(ls);
    if (files && symbols_lookup(files, address, out))
        return true;
    const struct symbols *s = guest_symbols(lua_session_guest(L, ls));
    return s && symbols_lookup(s, address, out);
}

void lua_symbols_format(lua_State *L, struct lua_session *ls,
                        uint64_t address, char *out, size_t bytes)
{
    struct symbol_place place;
    if (lua_symbols_lookup(L, ls, address, &place))
        symbol_place_format(&place, out, bytes);
    else
        (void)snprintf(out, bytes, "0x%llx", (unsigned long long)address);
}

/* ---- bindings
 * --------------------------------------------------------------------- */

static void push_symbol(lua_State *L, const struct symbol *s)
{
    static const char *const kinds[] = {[SYMBOL_CODE] = "code",
                                        [SYMBOL_DATA] = "data",
                                        [SYMBOL_OTHER] = "other"};
    lua_createtable(L, 0, 6);
    lua_set_string(L, "module", s->module);
    lua_set_string(L, "name", s->name);
    lua_set_u64(L, "address", s->address);
    lua_set_string(L, "kind", kinds[s->kind]);
    if (s->size)
        lua_set_u64(L, "size", s->size);
}

static int symbols_lookup_(lua_State *L)
{
    struct symbol_place place;
    uint64_t address = (uint64_t)luaL_checkinteger(L, 1);
    struct lua_session *ls = lua_opt_place(L, 2);
    if (!lua_symbols_lookup(L, ls, address, &place))
        return 0;
    push_symbol(L, &place.symbol);
    lua_set_u64(L, "offset", place.offset);
    if (place.file) {
        lua_set_string(L, "file", place.file);
        lua_set_u64(L, "line", place.line);
    }
    return 1;
}

static int symbols_find_(lua_State *L)
{
    struct symbol symbol;
    const char *name = luaL_checkstring(L, 1);
    struct lua_session *ls = lua_opt_place(L, 2);
    if (!lua_symbols_find(L, ls, name, &symbol))
        return 0;
    lua_pushinteger(L, (lua_Integer)symbol.address);
    return 1;
}

static int symbols_format_(lua_State *L)
{
    char text[SYMBOL_NAME_MAX + 500];
    uint64_t address = (uint64_t)luaL_checkinteger(L, 1);
    struct lua_session *ls = lua_opt_place(L, 2);
    lua_symbols_format(L, ls, address, text, sizeof text);
    lua_pushstring(L, text);
    return 1;
}

static int symbols_load(lua_State *L)
{
    struct error err;
    const char *argument = luaL_checkstring(L, 1);
    lua_check_files(L, argument);
    if (!lua_symbols_add_file(lua_main_session(L), argument, &err))
        return lua_raise(L, &err);
    return 0;
}

struct matching {
    lua_State *L;
    const char *words;
    lua_Integer count, limit;
};

/* A symbols_each_fn. */
static bool match_one(void *context, const struct symbol *symbol)
{
    struct matching *m = context;
    if (!strstr(symbol->name, m->words))
        return true;
    push_symbol(m->L, symbol);
    lua_rawseti(m->L, -2, ++m->count);
    return m->count < m->limit;
}

static int symbols_search(lua_State *L)
{
    struct matching m = {.L = L, .words = luaL_checkstring(L, 1)};
    m.limit = luaL_optinteger(L, 2, 1000);
    struct lua_session *ls = lua_opt_place(L, 3);
    const struct symbols *files = of_files(ls);
    const struct symbols *guest = guest_symbols(lua_session_guest(L, ls));
    lua_newtable(L);
    if (files && m.limit > 0)
        symbols_each(files, match_one, &m);
    if (guest && m.count < m.limit)
        symbols_each(guest, match_one, &m);
    return 1;
}

static const struct lua_api_entry entries[] = {
    {.name = "lookup",
     .function = symbols_lookup_,
     .signature = "symbols.lookup(address [, place]) -> table or nil",
     .doc = "What an address belongs to: module, name, address, offset, kind, "
            "and where known size, file and line."},
    {.name = "find",
     .function = symbols_find_,
     .signature = "symbols.find(name [, place]) -> address or nil",
     .doc = "The address of \"name\" or \"module!name\"."},
    {.name = "format",
     .function = symbols_format_,
     .signature = "symbols.format(address [, place]) -> string",
     .doc = "\"module!name+0x1c (file.c:12)\", or \"0x...\" for what has no "
            "name."},
    {.name = "search",
     .function = symbols_search,
     .signature = "symbols.search(text [, limit [, place]]) -> array",
     .doc = "Symbols whose names contain the text, at most 1000 or so many."},
    {.name = "load",
     .function = symbols_load,
     .signature = "symbols.load(\"FILE@ADDRESS\")",
     .doc = "Add the symbols of a file whose image is at an address in the "
            "guest; they are asked first."},
    {0},
};

const struct lua_api_module lua_module_symbols = {
    .name = "symbols",
    .kind = LUA_API_TABLE,
    .doc = "Names of addresses: from files (--symbols), and from the guest's "
           "memory at a place: a view, a session, a tick, or where the script "
           "stands.",
    .entries = entries,
};
