/* Searching in time, from scripts: methods of session that give iterators. */
#include "analysis/calls.h"
#include "analysis/lua_modules.h"
#include "analysis/lua_symbols.h"
#include "analysis/origin.h"
#include "analysis/scan.h"
#include "analysis/symbols.h"
#include "cpu/cpu.h"

#include <string.h>

enum { STEPS_DEFAULT = 64 };

/* ---- options ----------------------------------------------------------------
 */

/* addr= with len=, range= {first, last}, or symbol=; or a field of the kind's
 * own (port, vector, ...). Absent: as they are. */
static void take_range(lua_State *L, int i, struct lua_session *ls,
                       const char *own, uint64_t *first, uint64_t *last)
{
    const char *symbol = lua_field_string(L, i, "symbol", NULL);
    if (symbol) {
        struct symbol found;
        lua_session_go(L, ls, ls->here);
        if (!lua_symbols_find(L, ls, symbol, &found))
            (void)luaL_error(L, "symbol: there is no %s", symbol);
        *first = *last = found.address;
    } else if (lua_field_is_set(L, i, "range")) {
        lua_getfield(L, i, "range");
        if (!lua_istable(L, -1))
            (void)luaL_error(L, "range: expected {first, last}");
        lua_geti(L, -1, 1);
        lua_geti(L, -2, 2);
        if (!lua_isinteger(L, -1) || !lua_isinteger(L, -2))
            (void)luaL_error(L, "range: expected {first, last}");
        *first = (uint64_t)lua_tointeger(L, -2);
        *last = (uint64_t)lua_tointeger(L, -1);
        lua_pop(L, 3);
    } else if (lua_field_is_set(L, i, own)) {
        *first = lua_field_u64(L, i, own, 0);
        *last = *first;
        if (strcmp(own, "addr") == 0)
            *last += lua_field_u64(L, i, "len", 1) - 1;
    }
}

static void take_common(lua_State *L, int i, struct lua_session *ls,
                        struct scan_query *q)
{
    q->from = lua_field_tick(L, i, "from", ls, 0);
    q->to = lua_field_tick(L, i, "to", ls, UINT64_MAX);
    q->has_cr3 = lua_field_is_set(L, i, "cr3");
    q->cr3 = lua_field_u64(L, i, "cr3", 0);
    q->has_value = lua_field_is_set(L, i, "value");
    q->value = lua_field_u64(L, i, "value", 0);
    q->limit = lua_field_u64(L, i, "limit", 0);
    q->backwards = lua_field_bool(L, i, "backwards", false);
}

/* ---- hits as tables ---------------------------------------------------------
 */

static void push_place(lua_State *L, struct machine_place place)
{
    lua_set_u64(L, "tick", place.tick);
    if (place.deliveries)
        lua_set_u64(L, "deliveries", place.deliveries);
}

static void push_access(lua_State *L, const struct scan_hit *h,
                        const char *address)
{
    lua_set_u64(L, address, h->address);
    lua_set_u64(L, "size", h->bytes);
    lua_set_u64(L, "value", h->value);
    lua_set_bool(L, "write", h->is_write);
}

static void set_arguments(lua_State *L, const uint64_t *argument,
                          unsigned count)
{
    lua_createtable(L, (int)count, 0);
    for (unsigned n = 0; n < count; n++) {
        lua_pushinteger(L, (lua_Integer)argument[n]);
        lua_seti(L, -2, n + 1);
    }
    lua_setfield(L, -2, "args");
}

static void push_syscall(lua_State *L, const struct scan_hit *h)
{
    lua_set_u64(L, "number", h->address);
    lua_set_u64(L, "rsp", h->rsp);
    lua_set_u64(L, "back", h->back);
    set_arguments(L, h->argument, SCAN_ARGUMENTS);
}

static void push_hit(lua_State *L, enum scan_kind kind,
                     const struct scan_hit *h)
{
    lua_createtable(L, 0, 12);
    push_place(L, h->place);
    lua_set_u64(L, "cr3", h->cr3);
    lua_set_u64(L, "cpl", h->cpl);
    if (!h->is_dma)
        lua_set_u64(L, "rip", h->rip);
    switch (kind) {
    case SCAN_EXEC:
        break;
    case SCAN_READ:
        push_access(L, h, "addr");
        break;
    case SCAN_WRITE:
        push_access(L, h, "addr");
        lua_set_u64(L, "old", h->old);
        break;
    case SCAN_STORE:
        push_access(L, h, "phys");
        lua_set_u64(L, "old", h->old);
        lua_set_bool(L, "dma", h->is_dma);
        break;
    case SCAN_IO:
        push_access(L, h, "port");
        break;
    case SCAN_MMIO:
        push_access(L, h, "phys");
        break;
    case SCAN_CR3:
        lua_set_u64(L, "value", h->address);
        lua_set_u64(L, "old", h->old);
        break;
    case SCAN_SYSCALL:
        push_syscall(L, h);
        break;
    default:
        lua_set_u64(L, "vector", h->address);
        if (h->has_error)
            lua_set_u64(L, "error", h->error);
        if (kind == SCAN_EXCEPTION && h->address == 14)
            lua_set_u64(L, "cr2", h->value);
        break;
    }
}

/* ---- iterators --------------------------------------------------------------
 */

static const char scan_name[] = "scan";

struct iterator {
    struct scan *scan; /* owned */
    enum scan_kind kind;
};

static int scan_collect(lua_State *L)
{
    struct iterator *k = luaL_checkudata(L, 1, scan_name);
    scan_free(k->scan);
    k->scan = NULL;
    return 0;
}

static int scan_step(lua_State *L)
{
    struct iterator *k = luaL_checkudata(L, lua_upvalueindex(1), scan_name);
    struct scan_hit hit;
    struct error err;
    for (;;) {
        lua_check_stop(L);
        switch (scan_next(k->scan, &hit, &err)) {
        case SCAN_HIT:
            push_hit(L, k->kind, &hit);
            return 1;
        case SCAN_DONE:
            lua_pushnil(L);
            return 1;
        case SCAN_FAILED:
            return lua_raise(L, &err);
        default:
            break;
        }
    }
}

static int push_iterator(lua_State *L, struct lua_session *ls,
                         const struct scan_query *q)
{
    struct error err;
    struct iterator *k = lua_newuserdatauv(L, sizeof *k, 0);
    *k = (struct iterator){.kind = q->kind};
    luaL_setmetatable(L, scan_name);
    k->scan = scan_new(ls->travel, q, &err);
    if (!k->scan)
        return lua_raise(L, &err);
    lua_pushcclosure(L, scan_step, 1);
    return 1;
}

static int start(lua_State *L, enum scan_kind kind, const char *own)
{
    static const char *const known[] = {
        "addr",   "len",    "range", "symbol",    "port",
        "vector", "number", "value", "write",     "from",
        "to",     "cr3",    "limit", "backwards", NULL};
    struct lua_session *ls = lua_check_session(L, 1);
    struct scan_query q = scan_query_all(kind);
    lua_check_options(L, 2, known);
    take_common(L, 2, ls, &q);
    take_range(L, 2, ls, own, &q.first, &q.last);
    if (lua_field_is_set(L, 2, "write")) {
        q.writes = lua_field_bool(L, 2, "write", false);
        q.reads = !q.writes;
    }
    if ((kind == SCAN_READ || kind == SCAN_WRITE || kind == SCAN_STORE) &&
        q.last == UINT64_MAX && q.first == 0)
        return luaL_error(L, "expected addr=, range= or symbol=");
    if (kind == SCAN_CR3)
        q.has_value = false; /* it is the range */
    return push_iterator(L, ls, &q);
}

#define STARTER(name, kind, own)                                               \
    static int name(lua_State *L)                                              \
    {                                                                          \
        return start(L, kind, own);                                            \
    }
STARTER(session_execs, SCAN_EXEC, "addr")
STARTER(session_reads, SCAN_READ, "addr")
STARTER(session_writes, SCAN_WRITE, "addr")
STARTER(session_stores, SCAN_STORE, "addr")
STARTER(session_io, SCAN_IO, "port")
STARTER(session_mmio, SCAN_MMIO, "addr")
STARTER(session_interrupts, SCAN_INTERRUPT, "vector")
STARTER(session_exceptions, SCAN_EXCEPTION, "vector")
STARTER(session_cr3_switches, SCAN_CR3, "value")
STARTER(session_syscalls, SCAN_SYSCALL, "number")

/* ---- what a system call gave back
 * --------------------------------------------
 */

static int session_syscall_result(lua_State *L)
{
    struct lua_session *ls = lua_check_session(L, 1);
    struct scan_hit hit = {0};
    struct machine_place place;
    struct error err;
    uint64_t value;
    luaL_checktype(L, 2, LUA_TTABLE);
    hit.place.tick = lua_field_u64(L, 2, "tick", 0);
    hit.cr3 = lua_field_u64(L, 2, "cr3", 0);
    hit.rsp = lua_field_u64(L, 2, "rsp", 0);
    hit.back = lua_field_u64(L, 2, "back", 0);
    uint64_t to = lua_isnoneornil(L, 3) ? UINT64_MAX : lua_check_tick(L, 3, ls);
    switch (scan_syscall_result(ls->travel, &hit, to, &value, &place, &err)) {
    case SCAN_HIT:
        lua_pushinteger(L, (lua_Integer)value);
        lua_pushinteger(L, (lua_Integer)place.tick);
        return 2;
    case SCAN_FAILED:
        return lua_raise(L, &err);
    case SCAN_INTERRUPTED:
        lua_check_stop(L);
        return luaL_error(L, "interrupted");
    default:
        return 0;
    }
}

/* ---- history and origin
 * -------------------------------------------------------
 */

/* A linear range as a physical one, in the space of a tick. */
static uint64_t physical(lua_State *L, struct lua_session *ls, uint64_t vaddr,
                         uint64_t bytes)
{
    struct mmu *mmu = &machine_cpu(ls->machine)->mmu;
    uint64_t first = 0;
    for (uint64_t at = 0; at < bytes;
         at += PAGE_BYTES - (vaddr + at) % PAGE_BYTES) {
        uint64_t paddr;
        if (!mmu_peek(mmu, vaddr + at, &paddr))
            (void)luaL_error(L,
                             "0x%p is not mapped at tick %I; name another "
                             "with at=",
                             (void *)(uintptr_t)(vaddr + at),
                             (lua_Integer)machine_tick(ls->machine));
        if (at == 0)
            first = paddr;
        else if (paddr != first + at)
            (void)luaL_error(L, "the range is not contiguous in physical "
                                "memory; ask for one page");
    }
    return first;
}

static int session_history(lua_State *L)
{
    static const char *const known[] = {"at",    "from",      "to",    "cr3",
                                        "limit", "backwards", "value", NULL};
    struct lua_session *ls = lua_check_session(L, 1);
    uint64_t vaddr = (uint64_t)luaL_checkinteger(L, 2);
    lua_Integer bytes = luaL_checkinteger(L, 3);
    struct scan_query q = scan_query_all(SCAN_STORE);
    luaL_argcheck(L, bytes > 0 && bytes <= 1 << 22, 3,
                  "expected 1 to 4194304 bytes");
    lua_check_options(L, 4, known);
    take_common(L, 4, ls, &q);
    struct machine_place at = ls->here;
    if (lua_field_is_set(L, 4, "at"))
        at = (struct machine_place){lua_field_tick(L, 4, "at", ls, 0), 0};
    lua_session_go(L, ls, at);
    q.first = physical(L, ls, vaddr, (uint64_t)bytes);
    q.last = q.first + (uint64_t)bytes - 1;
    return push_iterator(L, ls, &q);
}

static void push_step(lua_State *L, const struct origin_step *s)
{
    lua_createtable(L, 0, 8);
    lua_set_string(L, "kind", origin_kind_name(s->kind));
    push_place(L, s->place);
    if (s->rip)
        lua_set_u64(L, "rip", s->rip);
    if (s->text[0])
        lua_set_string(L, "insn", s->text);
    if (s->is_register)
        lua_set_string(L, "reg", s->name);
    else
        lua_set_u64(L, "phys", s->paddr);
    lua_set_u64(L, "size", s->bytes);
    lua_set_u64(L, "value", s->value);
}

static int session_origin(lua_State *L)
{
    static const char *const known[] = {"len", "limit", NULL};
    struct lua_session *ls = lua_check_session(L, 1);
    uint64_t vaddr = (uint64_t)luaL_checkinteger(L, 2);
    uint64_t tick =
        lua_isnoneornil(L, 3) ? ls->here.tick : lua_check_tick(L, 3, ls);
    struct error err;
    unsigned count;
    lua_check_options(L, 4, known);
    uint64_t bytes = lua_field_u64(L, 4, "len", 8);
    uint64_t most = lua_field_u64(L, 4, "limit", STEPS_DEFAULT);
    luaL_argcheck(L, bytes >= 1 && bytes <= 8 && most <= ORIGIN_STEPS_MAX, 4,
                  "expected len= of 1 to 8 and limit= of at most 256");
    struct origin_step *steps =
        lua_newuserdatauv(L, (most + 1) * sizeof *steps, 0);
    enum travel_stop stop = origin_find(ls->travel, vaddr, (unsigned)bytes,
                                        tick, steps, (unsigned)most, &count,
                                        &err);
    lua_check_moved(L, stop, &err);
    lua_createtable(L, (int)count, 0);
    for (unsigned i = 0; i < count; i++) {
        push_step(L, &steps[i]);
        lua_seti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* ---- calls ------------------------------------------------------------------
 */

static const char calls_name[] = "calls";

struct call_list {
    struct calls calls; /* owned */
    size_t at;
};

static int calls_collect(lua_State *L)
{
    struct call_list *k = luaL_checkudata(L, 1, calls_name);
    calls_fini(&k->calls);
    return 0;
}

static void push_call(lua_State *L, const struct call *c, size_t number)
{
    lua_createtable(L, 0, 12);
    lua_set_u64(L, "number", number);
    lua_set_u64(L, "tick", c->tick);
    lua_set_u64(L, "rip", c->rip);
    lua_set_u64(L, "entry", c->entry);
    lua_set_u64(L, "back", c->back);
    lua_set_u64(L, "cr3", c->cr3);
    lua_set_u64(L, "cpl", c->cpl);
    lua_set_u64(L, "depth", c->depth);
    if (c->parent != CALL_NO_PARENT)
        lua_set_u64(L, "parent", (uint64_t)c->parent + 1);
    if (c->has_returned) {
        lua_set_u64(L, "returned", c->end);
        lua_set_u64(L, "result", c->result);
    }
    set_arguments(L, c->argument, CALL_ARGUMENTS);
}

static int calls_step(lua_State *L)
{
    struct call_list *k = luaL_checkudata(L, lua_upvalueindex(1), calls_name);
    if (k->at == k->calls.count)
        return 0;
    push_call(L, &k->calls.at[k->at], k->at + 1);
    k->at++;
    return 1;
}

static int session_calls(lua_State *L)
{
    static const char *const known[] = {"addr", "len",   "range", "symbol",
                                        "tree", "abi",   "from",  "to",
                                        "cr3",  "limit", NULL};
    struct lua_session *ls = lua_check_session(L, 1);
    struct calls_query q = calls_query_all();
    struct error err;
    lua_check_options(L, 2, known);
    q.from = lua_field_tick(L, 2, "from", ls, 0);
    q.to = lua_field_tick(L, 2, "to", ls, UINT64_MAX);
    q.has_cr3 = lua_field_is_set(L, 2, "cr3");
    q.cr3 = lua_field_u64(L, 2, "cr3", 0);
    q.limit = lua_field_u64(L, 2, "limit", 0);
    q.tree = lua_field_bool(L, 2, "tree", false);
    const char *abi = lua_field_string(L, 2, "abi", NULL);
    if (abi && strcmp(abi, "win64") == 0)
        q.abi = CALLS_ABI_WIN64;
    else if (abi && strcmp(abi, "sysv") != 0)
        return luaL_error(L, "abi: expected sysv or win64, found %s", abi);
    take_range(L, 2, ls, "addr", &q.first, &q.last);
    struct call_list *k = lua_newuserdatauv(L, sizeof *k, 0);
    *k = (struct call_list){0};
    luaL_setmetatable(L, calls_name);
    lua_check_moved(L, calls_gather(ls->travel, &q, &k->calls, &err), &err);
    lua_pushcclosure(L, calls_step, 1);
    return 1;
}

/* ---- tables -----------------------------------------------------------------
 */

#define COMMON "from=, to=, cr3=, limit=, backwards="

static const struct lua_api_entry session_entries[] = {
    {.name = "execs",
     .function = session_execs,
     .signature = "session:execs{addr= | range={a, b} | symbol=, " COMMON
                  "} -> iterator",
     .doc = "Each execution of an instruction: tick, rip, cr3, cpl."},
    {.name = "reads",
     .function = session_reads,
     .signature =
         "session:reads{addr=, len=1 | range= | symbol=, value=, " COMMON
         "} -> iterator",
     .doc = "Each read of bytes at a linear address: tick, rip, addr, size, "
            "value."},
    {.name = "writes",
     .function = session_writes,
     .signature =
         "session:writes{addr=, len=1 | range= | symbol=, value=, " COMMON
         "} -> iterator",
     .doc = "Each write to a linear address, with the value there before, "
            "old."},
    {.name = "stores",
     .function = session_stores,
     .signature = "session:stores{addr=, len=1 | range=, value=, " COMMON
                  "} -> iterator",
     .doc = "Each store into physical memory by whatever address, and by "
            "devices: dma is true, and there is no rip."},
    {.name = "io",
     .function = session_io,
     .signature =
         "session:io{port= | range=, write=, value=, " COMMON "} -> iterator",
     .doc = "Each access to an I/O port: tick, rip, port, size, value, write."},
    {.name = "mmio",
     .function = session_mmio,
     .signature = "session:mmio{addr=, len=1 | range=, write=, value=, " COMMON
                  "} -> iterator",
     .doc = "Each access to device memory, by physical address: phys, size, "
            "value, write."},
    {.name = "interrupts",
     .function = session_interrupts,
     .signature = "session:interrupts{vector=, " COMMON "} -> iterator",
     .doc = "Each hardware interrupt that the CPU takes; rip is where."},
    {.name = "exceptions",
     .function = session_exceptions,
     .signature = "session:exceptions{vector=, " COMMON "} -> iterator",
     .doc = "Each exception: vector, error, and cr2 of page faults."},
    {.name = "cr3_switches",
     .function = session_cr3_switches,
     .signature = "session:cr3_switches{value=, " COMMON "} -> iterator",
     .doc = "Each load of CR3: value, and old."},
    {.name = "syscalls",
     .function = session_syscalls,
     .signature = "session:syscalls{number=, " COMMON "} -> iterator",
     .doc = "Each system call: number and args, six of them as Linux passes "
            "them."},
    {.name = "syscall_result",
     .function = session_syscall_result,
     .signature = "session:syscall_result(call [, to]) -> value, tick or "
                  "nothing",
     .doc = "What a system call of session:syscalls() gave back, and when; "
            "nothing when it does not come back, or by an unknown way."},
    {.name = "calls",
     .function = session_calls,
     .signature = "session:calls{addr= | range= | symbol=, tree=, abi=, from=, "
                  "to=, cr3=, limit=} -> iterator",
     .doc = "Each call of the functions that begin there: tick, entry, args, "
            "and returned (a tick) and result; tree=true: also those made in "
            "them, with parent and depth; abi: sysv (default) or win64."},
    {.name = "history",
     .function = session_history,
     .signature =
         "session:history(addr, len, {at=, value=, " COMMON "}) -> iterator",
     .doc = "Each write to the memory that is at addr at tick `at` (or where "
            "the script stands), through whatever mapping and by devices: "
            "tick, rip, phys, value, old, dma."},
    {.name = "origin",
     .function = session_origin,
     .signature = "session:origin(addr [, tick [, {len=8, limit=64}]]) -> "
                  "array",
     .doc = "Where a value came from: its last writer, followed back through "
            "copies until an instruction computed it (kind computed), had it "
            "in itself (constant), read it (input), or a device stored it "
            "(dma)."},
    {0},
};

static const struct lua_api_entry scan_entries[] = {
    {.name = "__gc", .function = scan_collect}, {0}};
static const struct lua_api_entry calls_entries[] = {
    {.name = "__gc", .function = calls_collect}, {0}};

const struct lua_api_module lua_module_session_scan = {
    .name = "session", .kind = LUA_API_CLASS, .entries = session_entries};
const struct lua_api_module lua_module_scan = {
    .name = scan_name,
    .kind = LUA_API_CLASS,
    .doc = "Behind the iterators of session:execs() and its like, which give "
           "tables, the next at each call.",
    .entries = scan_entries};
const struct lua_api_module lua_module_calls = {
    .name = calls_name,
    .kind = LUA_API_CLASS,
    .doc = "Behind the iterator of session:calls().",
    .entries = calls_entries};
