#include "analysis/lua_vm.h"

#include "analysis/lua_modules.h"

#include <errno.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HOOK_STEPS = 1000, /* of the Lua machine between two looks at the clock */
    SCRIPT_BYTES_MAX = 16 << 20,
    LIBRARY_NAME_MAX = 64
};

struct lua_vm {
    lua_State *L;
    const struct lua_host *host; /* borrowed */
    uint64_t used, limit;        /* bytes; limit 0: none */
    char directory[4096];        /* of the script, for require() */
    int status;
};

static const char vm_key; /* its address names the vm in the registry */

static void *allocate(void *context, void *old, size_t old_bytes, size_t bytes)
{
    struct lua_vm *vm = context;
    if (!old)
        old_bytes = 0; /* Lua tells a kind of object there */
    if (bytes == 0) {
        vm->used -= old_bytes;
        free(old);
        return NULL;
    }
    if (vm->limit && bytes > old_bytes &&
        bytes - old_bytes > vm->limit - vm->used)
        return NULL;
    void *p = realloc(old, bytes);
    if (p)
        vm->used += bytes - old_bytes;
    return p;
}

/* Once a script is to stop, every step raises: a pcall() around an endless loop
 * does not hold it. */
static void on_count(lua_State *L, lua_Debug *ar)
{
    const struct lua_host *host = lua_host_of(L);
    int status;
    (void)ar;
    if (lua_exit_requested(L, &status) ||
        (host->stop && host->stop(host->context)))
        lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    lua_check_stop(L);
}

/* ---- what replaces parts of the base library ------------------------------
 */

/* load() of texts only. */
static int base_load(lua_State *L)
{
    size_t bytes;
    const char *text = luaL_checklstring(L, 1, &bytes);
    const char *name = luaL_optstring(L, 2, text);
    bool has_env = !lua_isnone(L, 4);
    if (luaL_loadbufferx(L, text, bytes, name, "t") != LUA_OK) {
        luaL_pushfail(L);
        lua_insert(L, -2);
        return 2;
    }
    if (has_env) {
        lua_pushvalue(L, 4);
        if (!lua_setupvalue(L, -2, 1))
            lua_pop(L, 1);
    }
    return 1;
}

static int base_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, lua_isnoneornil(L, 2) || lua_istable(L, 2), 2,
                     "nil or table");
    lua_settop(L, 2);
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "setmetatable: tables of scripts have no "
                                 "__gc");
        lua_pop(L, 1);
    }
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    lua_setmetatable(L, 1);
    return 1;
}

static bool read_script(const char *path, struct writer *text,
                        struct error *err)
{
    char part[65536];
    size_t n;
    FILE *f = fopen(path, "rb");
    if (!f)
        return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    errno = 0;
    while ((n = fread(part, 1, sizeof part, f)) > 0 &&
           text->used <= SCRIPT_BYTES_MAX)
        writer_bytes(text, part, n);
    bool ok = !ferror(f) ||
              error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    (void)fclose(f);
    if (ok && text->used > SCRIPT_BYTES_MAX)
        ok = error_set(err, ERR_INPUT,
                       "%s: expected a script of at most %d bytes", path,
                       SCRIPT_BYTES_MAX);
    return ok && (!text->failed ||
                  error_set(err, ERR_NOMEM, "%s: out of memory", path));
}

/* Compile a file and push its function; false: err. Must not raise while it
 * owns the text, and does not: the loader is protected. */
static bool load_script(lua_State *L, const char *path, struct error *err)
{
    struct writer text;
    char name[4200];
    writer_init(&text);
    (void)snprintf(name, sizeof name, "@%s", path);
    bool ok = read_script(path, &text, err);
    if (ok) {
        const char *at = (const char *)text.data;
        size_t bytes = text.used;
        if (bytes && at[0] == '#') { /* "#!/usr/bin/..." */
            const char *line = memchr(at, '\n', bytes);
            bytes = line ? bytes - (size_t)(line - at) : 0;
            at = line;
        }
        ok = luaL_loadbufferx(L, bytes ? at : "", bytes, name, "t") == LUA_OK;
        if (!ok) {
            error_set(err, ERR_INPUT, "%s", lua_tostring(L, -1));
            lua_pop(L, 1);
        }
    }
    writer_fini(&text);
    return ok;
}

/* require("name"): name.lua beside the script, once. */
static int base_require(lua_State *L)
{
    size_t bytes;
    struct error err;
    char path[4096 + LIBRARY_NAME_MAX + 8];
    const char *name = luaL_checklstring(L, 1, &bytes);
    for (size_t i = 0; i < bytes; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                    "0123456789_-",
                    name[i]) ||
            bytes > LIBRARY_NAME_MAX)
            return luaL_error(L, "require: expected the name of a file beside "
                                 "the script, without .lua");
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, name) != LUA_TNIL)
        return 1;
    lua_pop(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &vm_key);
    const struct lua_vm *vm = lua_touserdata(L, -1);
    lua_pop(L, 1);
    (void)snprintf(path, sizeof path, "%s%s.lua", vm->directory, name);
    if (!load_script(L, path, &err))
        return lua_raise(L, &err);
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, true);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, name);
    return 1;
}

/* ---- setting up -----------------------------------------------------------
 */

static void drop_fields(lua_State *L, const char *table,
                        const char *const *names)
{
    if (table)
        lua_getglobal(L, table);
    else
        lua_pushglobaltable(L);
    for (; *names; names++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *names);
    }
    lua_pop(L, 1);
}

static void open_libraries(lua_State *L, bool allows_files)
{
    static const luaL_Reg always[] = {
        {LUA_GNAME, luaopen_base},        {LUA_STRLIBNAME, luaopen_string},
        {LUA_TABLIBNAME, luaopen_table},  {LUA_MATHLIBNAME, luaopen_math},
        {LUA_UTF8LIBNAME, luaopen_utf8},  {LUA_COLIBNAME, luaopen_coroutine},
        {LUA_OSLIBNAME, luaopen_os}};
    static const char *const host_calls[] = {"execute", "exit", "getenv",
                                             "setlocale", "tmpname", NULL};
    static const char *const file_calls[] = {"remove", "rename", NULL};
    static const char *const loaders[] = {"dofile", "loadfile", NULL};
    static const char *const popen_call[] = {"popen", NULL};
    static const char *const dump_call[] = {"dump", NULL};
    static const luaL_Reg replaced[] = {{"load", base_load},
                                        {"setmetatable", base_setmetatable},
                                        {"require", base_require},
                                        {NULL, NULL}};
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++) {
        luaL_requiref(L, always[i].name, always[i].func, 1);
        lua_pop(L, 1);
    }
    if (allows_files) {
        luaL_requiref(L, LUA_IOLIBNAME, luaopen_io, 1);
        lua_pop(L, 1);
        drop_fields(L, LUA_IOLIBNAME, popen_call);
    } else {
        drop_fields(L, LUA_OSLIBNAME, file_calls);
    }
    drop_fields(L, NULL, loaders); /* they take bytecode: require() does not */
    drop_fields(L, LUA_OSLIBNAME, host_calls);
    drop_fields(L, LUA_STRLIBNAME, dump_call);
    lua_pushglobaltable(L);
    luaL_setfuncs(L, replaced, 0);
    lua_pop(L, 1);
}

/* Protected; the arguments are light userdata. */
static int set_up(lua_State *L)
{
    struct lua_vm *vm = lua_touserdata(L, 1);
    struct lua_session *ls = lua_touserdata(L, 2);
    lua_pushlightuserdata(L, vm);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &vm_key);
    open_libraries(L, vm->host->allows_files);
    lua_api_install(L, ls, vm->host);
    return 0;
}

struct lua_vm *lua_vm_new(struct lua_session *ls, const struct lua_host *host,
                          uint64_t memory_bytes, struct error *err)
{
    struct lua_vm *vm = calloc(1, sizeof *vm);
    if (vm) {
        vm->host = host;
        vm->limit = memory_bytes;
        vm->L = lua_newstate(allocate, vm);
    }
    if (!vm || !vm->L) {
        error_set(err, ERR_NOMEM, "no memory for Lua");
        lua_vm_free(vm);
        return NULL;
    }
    (void)luaL_checkstack(vm->L, 8, NULL);
    lua_pushcfunction(vm->L, set_up);
    lua_pushlightuserdata(vm->L, vm);
    lua_pushlightuserdata(vm->L, ls);
    if (lua_pcall(vm->L, 2, 0, 0) != LUA_OK) {
        error_set(err, ERR_NOMEM, "Lua does not start: %s",
                  lua_tostring(vm->L, -1));
        lua_vm_free(vm);
        return NULL;
    }
    return vm;
}

void lua_vm_free(struct lua_vm *vm)
{
    if (!vm)
        return;
    if (vm->L) {
        lua_sethook(vm->L, NULL, 0, 0);
        lua_close(vm->L);
    }
    free(vm);
}

lua_State *lua_vm_state(struct lua_vm *vm)
{
    return vm->L;
}

int lua_vm_status(const struct lua_vm *vm)
{
    return vm->status;
}

/* ---- running --------------------------------------------------------------
 */

/* The error value becomes text, whatever it is. */
static int on_error(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TSTRING)
        (void)luaL_tolstring(L, 1, NULL);
    return 1;
}

static enum lua_vm_result take_error(struct lua_vm *vm, int code,
                                     struct error *err)
{
    const char *text = lua_tostring(vm->L, -1);
    if (lua_exit_requested(vm->L, &vm->status)) {
        lua_settop(vm->L, 0);
        return LUA_VM_EXIT;
    }
    if (code == LUA_ERRMEM)
        error_set(err, ERR_NOMEM,
                  "the script needs more than the %llu MiB that --memory "
                  "allows",
                  (unsigned long long)(vm->limit >> 20));
    else
        error_set(err, ERR_INPUT, "%s", text ? text : "unknown error");
    for (char *p = err->text; *p; p++)
        if (*p == '\n')
            *p = ' ';
    lua_settop(vm->L, 0);
    return LUA_VM_FAILED;
}

/* Call what is on the stack above `base`, the function first. */
static int call(struct lua_vm *vm, int base, int results)
{
    lua_State *L = vm->L;
    lua_pushcfunction(L, on_error);
    lua_insert(L, base);
    lua_sethook(L, on_count, LUA_MASKCOUNT, HOOK_STEPS);
    int code = lua_pcall(L, lua_gettop(L) - base - 1, results, base);
    lua_sethook(L, NULL, 0, 0);
    lua_remove(L, base);
    return code;
}

/* arg[0] is the script, arg[1] its first argument: pushed as arguments too.
 * Protected; takes struct arguments. */
struct arguments {
    const char *path;
    int count;
    char **words;
};
static int set_arguments(lua_State *L)
{
    const struct arguments *a = lua_touserdata(L, 1);
    lua_newtable(L);
    lua_pushstring(L, a->path);
    lua_rawseti(L, -2, 0);
    for (int i = 0; i < a->count; i++) {
        lua_pushstring(L, a->words[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setglobal(L, "arg");
    luaL_checkstack(L, a->count, "too many arguments");
    for (int i = 0; i < a->count; i++)
        lua_pushstring(L, a->words[i]);
    return a->count;
}

enum lua_vm_result lua_vm_run_file(struct lua_vm *vm, const char *path,
                                   int count, char **arguments,
                                   struct error *err)
{
    lua_State *L = vm->L;
    struct arguments a = {path, count, arguments};
    const char *slash = strrchr(path, '/');
    (void)snprintf(vm->directory, sizeof vm->directory, "%.*s",
                   slash ? (int)(slash + 1 - path) : 0, path);
    lua_settop(L, 0);
    if (!load_script(L, path, err))
        return LUA_VM_FAILED;
    lua_pushcfunction(L, set_arguments);
    lua_pushlightuserdata(L, &a);
    int code = lua_pcall(L, 1, LUA_MULTRET, 0);
    if (code == LUA_OK)
        code = call(vm, 1, 0);
    if (code != LUA_OK)
        return take_error(vm, code, err);
    return LUA_VM_OK;
}

/* What is missing at the end of an unfinished text. */
static bool is_unfinished(lua_State *L)
{
    size_t bytes;
    static const char mark[] = "<eof>";
    const char *text = lua_tolstring(L, -1, &bytes);
    return text && bytes >= sizeof mark - 1 &&
           strcmp(text + bytes - (sizeof mark - 1), mark) == 0;
}

/* Protected: the arguments, printed. */
static int print_results(lua_State *L)
{
    int count = lua_gettop(L);
    bool as_json = lua_host_of(L)->wants_json;
    for (int i = 1; i <= count; i++) {
        size_t bytes;
        lua_pushcfunction(L, as_json ? lua_json_encode : lua_show);
        lua_pushvalue(L, i);
        lua_call(L, 1, 1);
        const char *text = lua_tolstring(L, -1, &bytes);
        (void)fwrite(text, 1, bytes, stdout);
        (void)fputc('\n', stdout);
        lua_pop(L, 1);
    }
    return 0;
}

enum lua_vm_result lua_vm_run_text(struct lua_vm *vm, const char *text,
                                   const char *name, struct error *err)
{
    static const char before[] = "return ";
    lua_State *L = vm->L;
    lua_settop(L, 0);
    char *expression = malloc(sizeof before + strlen(text));
    if (!expression) {
        error_set(err, ERR_NOMEM, "out of memory");
        return LUA_VM_FAILED;
    }
    strcpy(expression, before);
    strcat(expression, text);
    int code = luaL_loadbufferx(L, expression, strlen(expression), name, "t");
    free(expression);
    if (code != LUA_OK) {
        lua_settop(L, 0);
        code = luaL_loadbufferx(L, text, strlen(text), name, "t");
    }
    if (code == LUA_ERRSYNTAX && is_unfinished(L)) {
        lua_settop(L, 0);
        return LUA_VM_PARTIAL;
    }
    if (code == LUA_OK)
        code = call(vm, 1, LUA_MULTRET);
    if (code == LUA_OK && lua_gettop(L) > 0) {
        lua_pushcfunction(L, print_results);
        lua_insert(L, 1);
        code = call(vm, 1, 0);
    }
    return code == LUA_OK ? LUA_VM_OK : take_error(vm, code, err);
}
