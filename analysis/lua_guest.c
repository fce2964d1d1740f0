/* guest.*: what the guest's operating system knows. */
#include "analysis/lua_modules.h"
#include "analysis/lua_symbols.h"

#include <stdlib.h>

/* ---- for other files
 * -------------------------------------------------------------- */

struct looking {
    struct guest *guest;
    struct machine_place place; /* of the last look */
    bool has_looked;
};

static void release(void *data)
{
    struct looking *k = data;
    guest_free(k->guest);
    free(k);
}

static struct looking *looking_of(lua_State *L, struct lua_session *ls)
{
    if (!ls->slot[LUA_SLOT_GUEST].data) {
        struct looking *k = calloc(1, sizeof *k);
        if (!k || !(k->guest = guest_new())) {
            free(k);
            luaL_error(L, "out of memory");
        }
        lua_session_keep(ls, LUA_SLOT_GUEST, k, release);
    }
    return ls->slot[LUA_SLOT_GUEST].data;
}

struct guest *lua_session_guest(lua_State *L, struct lua_session *ls)
{
    struct looking *k = looking_of(L, ls);
    struct machine_place now = machine_place(ls->machine);
    struct guest_memory memory;
    if (k->has_looked && machine_place_compare(now, k->place) == 0)
        return k->guest;
    guest_memory_of(&memory, ls->machine);
    (void)guest_look(k->guest, &memory);
    k->place = now;
    k->has_looked = true;
    return k->guest;
}

/* ---- bindings
 * --------------------------------------------------------------------- */

static int guest_os_(lua_State *L)
{
    struct lua_session *ls = lua_opt_place(L, 1);
    enum guest_os os = guest_os(lua_session_guest(L, ls));
    lua_pushstring(L, guest_os_name(os));
    return 1;
}

static int guest_version_(lua_State *L)
{
    struct lua_session *ls = lua_opt_place(L, 1);
    lua_pushstring(L, guest_version(lua_session_guest(L, ls)));
    return 1;
}

static int guest_root(lua_State *L)
{
    struct lua_session *ls = lua_opt_place(L, 1);
    uint64_t root = guest_kernel_root(lua_session_guest(L, ls));
    if (!root)
        return 0;
    lua_pushinteger(L, (lua_Integer)root);
    return 1;
}

struct listing {
    lua_State *L;
    struct guest *guest;
    lua_Integer count;
    uint64_t pid; /* whose threads */
    bool is_found;
};

static void push_process(lua_State *L, const struct guest_process *p)
{
    lua_createtable(L, 0, 8);
    lua_set_u64(L, "pid", p->pid);
    lua_set_u64(L, "parent", p->parent);
    lua_set_string(L, "name", p->name);
    lua_set_u64(L, "address", p->address);
    lua_set_u64(L, "root", p->root);
    lua_set_bool(L, "kernel", p->is_kernel);
}

/* A guest_process_fn. */
static bool list_process(void *context, const struct guest_process *p)
{
    struct listing *s = context;
    push_process(s->L, p);
    lua_rawseti(s->L, -2, ++s->count);
    return true;
}

static int guest_processes_(lua_State *L)
{
    struct lua_session *ls = lua_opt_place(L, 1);
    struct listing s = {.L = L, .guest = lua_session_guest(L, ls)};
    lua_newtable(L);
    guest_processes(s.guest, list_process, &s);
    return 1;
}

/* A guest_thread_fn. */
static bool list_thread(void *context, const struct guest_thread *t)
{
    struct listing *s = context;
    lua_createtable(s->L, 0, 4);
    lua_set_u64(s->L, "tid", t->tid);
    lua_set_u64(s->L, "pid", t->pid);
    lua_set_string(s->L, "name", t->name);
    lua_set_u64(s->L, "address", t->address);
    lua_rawseti(s->L, -2, ++s->count);
    return true;
}

/* A guest_process_fn. */
static bool list_threads_of(void *context, const struct guest_process *p)
{
    struct listing *s = context;
    if (p->pid != s->pid)
        return true;
    s->is_found = true;
    guest_threads(s->guest, p, list_thread, s);
    return false;
}

static int guest_threads_(lua_State *L)
{
    uint64_t pid = (uint64_t)luaL_checkinteger(L, 1);
    struct lua_session *ls = lua_opt_place(L, 2);
    struct listing s = {
        .L = L, .guest = lua_session_guest(L, ls), .pid = pid};
    lua_newtable(L);
    guest_processes(s.guest, list_threads_of, &s);
    return s.is_found ? 1 : 0;
}

/* A guest_module_fn. */
static bool list_module(void *context, const struct guest_module *m)
{
    struct listing *s = context;
    lua_createtable(s->L, 0, 4);
    lua_set_string(s->L, "name", m->name);
    lua_set_u64(s->L, "base", m->base);
    lua_set_u64(s->L, "size", m->bytes);
    if (m->path[0])
        lua_set_string(s->L, "path", m->path);
    lua_rawseti(s->L, -2, ++s->count);
    return true;
}

static int guest_modules_(lua_State *L)
{
    struct lua_session *ls = lua_opt_place(L, 1);
    struct listing s = {.L = L, .guest = lua_session_guest(L, ls)};
    lua_newtable(L);
    guest_modules(s.guest, list_module, &s);
    return 1;
}

static int guest_current_(lua_State *L)
{
    struct guest_process p;
    struct guest_thread t;
    struct lua_session *ls = lua_opt_place(L, 1);
    if (!guest_current(lua_session_guest(L, ls), &p, &t))
        return 0;
    push_process(L, &p);
    lua_set_u64(L, "tid", t.tid);
    lua_set_u64(L, "thread", t.address);
    lua_set_string(L, "thread_name", t.name);
    return 1;
}

static int guest_syscall(lua_State *L)
{
    char name[GUEST_NAME_BYTES];
    lua_Integer number = luaL_checkinteger(L, 1);
    struct lua_session *ls = lua_opt_place(L, 2);
    if (number < 0 || number > UINT32_MAX ||
        !guest_syscall_name(lua_session_guest(L, ls), (unsigned)number, name,
                            sizeof name))
        return 0;
    lua_pushstring(L, name);
    return 1;
}

static int guest_pdb(lua_State *L)
{
    struct error err;
    const char *path = luaL_checkstring(L, 1);
    lua_check_files(L, path);
    struct looking *k = looking_of(L, lua_main_session(L));
    k->has_looked = false;
    if (!guest_set_pdb(k->guest, path, &err))
        return lua_raise(L, &err);
    return 0;
}

static const struct lua_api_entry entries[] = {
    {.name = "os",
     .function = guest_os_,
     .signature = "guest.os([place]) -> string",
     .doc = "\"linux\", \"windows\", or \"unknown\"."},
    {.name = "version",
     .function = guest_version_,
     .signature = "guest.version([place]) -> string",
     .doc = "What the guest calls itself; \"\" when unknown."},
    {.name = "processes",
     .function = guest_processes_,
     .signature = "guest.processes([place]) -> array",
     .doc = "Tables of pid, parent, name, address (of its structure), root "
            "(its CR3, or 0) and kernel (runs there alone)."},
    {.name = "threads",
     .function = guest_threads_,
     .signature = "guest.threads(pid [, place]) -> array or nil",
     .doc = "The threads of a process: tid, pid, name and address."},
    {.name = "current",
     .function = guest_current_,
     .signature = "guest.current([place]) -> table or nil",
     .doc = "The process that the CPU runs, with tid, thread (its address) "
            "and thread_name."},
    {.name = "modules",
     .function = guest_modules_,
     .signature = "guest.modules([place]) -> array",
     .doc = "Modules of the kernel: name, base, size, and path where known."},
    {.name = "syscall",
     .function = guest_syscall,
     .signature = "guest.syscall(number [, place]) -> name or nil",
     .doc = "The name of a system call of the kernel that runs."},
    {.name = "root",
     .function = guest_root,
     .signature = "guest.root([place]) -> integer or nil",
     .doc = "Page tables (a value of CR3) that map the whole kernel."},
    {.name = "pdb",
     .function = guest_pdb,
     .signature = "guest.pdb(file)",
     .doc = "Use the PDB of the Windows kernel that runs: its structures "
            "replace the built-in layouts; another one is left aside."},
    {0},
};

const struct lua_api_module lua_module_guest = {
    .name = "guest",
    .kind = LUA_API_TABLE,
    .doc = "What the guest's operating system knows of itself, at a place: a "
           "view, a session, a tick, or where the script stands.",
    .entries = entries,
};
