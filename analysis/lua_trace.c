/* Stored traces, from scripts. */
#include "analysis/lua_modules.h"
#include "analysis/lua_symbols.h"
#include "analysis/trace_export.h"
#include "analysis/trace_make.h"
#include "analysis/trace_read.h"
#include "cpu/probe.h"
#include "replay/trace_record.h"

#include <string.h>

/* ---- trace objects
 * ------------------------------------------------------------
 */

static const char trace_name[] = "trace";
static const char rows_name[] = "rows";

struct lua_trace {
    struct trace *trace;    /* owned */
    struct lua_session *ls; /* borrowed */
};

static struct lua_trace *check_trace(lua_State *L, int i)
{
    return luaL_checkudata(L, i, trace_name);
}

static void push_head(lua_State *L, const struct trace_head *h)
{
    char what[64];
    trace_what_text(h->what, what, sizeof what);
    lua_createtable(L, 0, 12);
    lua_set_string(L, "name", h->name);
    lua_set_string(L, "what", what);
    lua_set_u64(L, "from", h->from);
    lua_set_u64(L, "to", h->to);
    lua_set_u64(L, "insns", h->rows);
    lua_set_u64(L, "accesses", h->accesses);
    lua_set_u64(L, "devices", h->devices);
    lua_set_u64(L, "events", h->events);
    lua_set_u64(L, "chunks", h->chunks);
    lua_set_u64(L, "bytes", h->bytes);
    lua_set_bool(L, "finished", h->is_finished);
}

static int session_traces(lua_State *L)
{
    const struct lua_session *ls = lua_check_session(L, 1);
    struct trace_head h;
    struct error err;
    enum store_found found;
    lua_Integer n = 0;
    lua_newtable(L);
    for (uint32_t id = 0; (found = trace_head_find(ls->session->store, id, &h,
                                                   &err)) == STORE_FOUND;
         id = h.id + 1) {
        push_head(L, &h);
        lua_seti(L, -2, ++n);
    }
    return found == STORE_BAD ? lua_raise(L, &err) : 1;
}

static int session_trace(lua_State *L)
{
    struct lua_session *ls = lua_check_session(L, 1);
    const char *name = luaL_optstring(L, 2, NULL);
    struct error err;
    struct lua_trace *t = lua_newuserdatauv(L, sizeof *t, 0);
    *t = (struct lua_trace){.ls = ls};
    luaL_setmetatable(L, trace_name);
    return trace_open(ls->session, name, &t->trace, &err) ? 1
                                                          : lua_raise(L, &err);
}

static int trace_collect(lua_State *L)
{
    struct lua_trace *t = check_trace(L, 1);
    trace_close(t->trace);
    t->trace = NULL;
    return 0;
}

static int trace_head_(lua_State *L)
{
    push_head(L, trace_head_of(check_trace(L, 1)->trace));
    return 1;
}

static int trace_to_string(lua_State *L)
{
    const struct trace_head *h = trace_head_of(check_trace(L, 1)->trace);
    lua_pushfstring(L, "trace %s", h->name);
    return 1;
}

/* ---- rows
 * ---------------------------------------------------------------------
 */

struct lua_rows {
    struct trace_cursor *cursor; /* owned */
    struct trace *trace; /* kept alive by the closure's second upvalue */
    enum trace_table table;
    bool with_regs;
};

static int rows_collect(lua_State *L)
{
    struct lua_rows *k = luaL_checkudata(L, 1, rows_name);
    trace_cursor_free(k->cursor);
    k->cursor = NULL;
    return 0;
}

static void push_registers(lua_State *L, struct lua_rows *k,
                           const struct trace_row *row)
{
    static const char *const names[TRACE_REGISTERS] = {
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",   "r8",
        "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "rflags"};
    uint64_t regs[TRACE_REGISTERS];
    struct error err;
    if (!trace_registers(k->cursor, row, regs, &err))
        (void)lua_raise(L, &err);
    lua_createtable(L, 0, TRACE_REGISTERS);
    for (unsigned i = 0; i < TRACE_REGISTERS; i++)
        lua_set_u64(L, names[i], regs[i]);
    lua_setfield(L, -2, "regs");
}

static void push_event(lua_State *L, const struct trace_row *r)
{
    static const char *const kinds[] = {[CPU_NOTE_INTERRUPT] = "interrupt",
                                        [CPU_NOTE_EXCEPTION] = "exception",
                                        [CPU_NOTE_SOFTWARE] = "int",
                                        [CPU_NOTE_CR3] = "cr3",
                                        [CPU_NOTE_SYSCALL] = "syscall"};
    lua_set_string(L, "kind", kinds[r->kind]);
    lua_set_u64(L, "cr3", r->cr3);
    lua_set_u64(L, "vector", r->vector);
    lua_set_u64(L, "value", r->value);
    lua_set_u64(L, "error", r->error);
}

static void push_row(lua_State *L, struct lua_rows *k,
                     const struct trace_row *r)
{
    lua_createtable(L, 0, 10);
    lua_set_u64(L, "tick", r->tick);
    lua_set_u64(L, "rip", r->rip);
    if (k->table == TRACE_EVENT_ROWS) {
        push_event(L, r);
        return;
    }
    if (k->table == TRACE_ACCESSES || k->table == TRACE_DEVICE_ROWS) {
        bool is_memory = k->table == TRACE_ACCESSES;
        lua_set_u64(L,
                    is_memory                        ? "addr"
                    : r->flags & TRACE_DEVICE_MEMORY ? "phys"
                                                     : "port",
                    r->address);
        lua_set_u64(L, "value", r->value);
        lua_set_u64(L, "size", r->bytes);
        lua_set_bool(L, "write", r->flags & TRACE_WRITE);
        if (is_memory && (r->flags & TRACE_DELIVERY))
            lua_set_bool(L, "delivery", true);
    }
    if (k->table == TRACE_DEVICE_ROWS)
        return;
    lua_set_u64(L, "cr3", r->cr3);
    lua_set_u64(L, "cpl", r->cpl);
    lua_set_u64(L, "length", r->length);
    if (k->table == TRACE_BRANCHES)
        lua_set_u64(L, "target", r->address);
    (void)lua_pushlstring(L, (const char *)trace_code(k->trace, r), r->length);
    lua_setfield(L, -2, "code");
    if (k->with_regs)
        push_registers(L, k, r);
}

static int rows_step(lua_State *L)
{
    struct lua_rows *k = luaL_checkudata(L, lua_upvalueindex(1), rows_name);
    struct trace_row row;
    struct error err;
    lua_check_stop(L);
    switch (trace_next(k->cursor, &row, &err)) {
    case TRACE_ROW:
        push_row(L, k, &row);
        return 1;
    case TRACE_BAD:
        return lua_raise(L, &err);
    default:
        lua_pushnil(L);
        return 1;
    }
}

/* {first, last} of an option: an integer, or a table of two. */
static bool take_bounds(lua_State *L, int i, const char *name,
                        struct trace_bounds *b)
{
    if (!lua_field_is_set(L, i, name))
        return false;
    lua_getfield(L, i, name);
    if (lua_istable(L, -1)) {
        lua_geti(L, -1, 1);
        lua_geti(L, -2, 2);
        if (!lua_isinteger(L, -1) || !lua_isinteger(L, -2))
            (void)luaL_error(L, "%s: expected an address or {first, last}",
                             name);
        b->first = (uint64_t)lua_tointeger(L, -2);
        b->last = (uint64_t)lua_tointeger(L, -1);
        lua_pop(L, 3);
    } else {
        lua_pop(L, 1);
        b->first = b->last = lua_field_u64(L, i, name, 0);
    }
    return true;
}

static void take_symbol(lua_State *L, int i, struct lua_session *ls,
                        struct trace_bounds *b)
{
    struct symbol found;
    const char *name = lua_field_string(L, i, "symbol", NULL);
    if (!name)
        return;
    lua_session_go(L, ls, ls->here);
    if (!lua_symbols_find(L, ls, name, &found))
        (void)luaL_error(L, "symbol: there is no %s", name);
    b->first = found.address;
    b->last = found.address + (found.size ? found.size - 1 : 0);
}

static void take_kind(lua_State *L, int i, struct trace_query *q)
{
    static const char *const kinds[] = {"interrupt", "exception", "int", "cr3",
                                        "syscall"};
    const char *kind = lua_field_string(L, i, "kind", NULL);
    q->has_kind = kind != NULL;
    for (unsigned n = 0; kind && n < 5; n++)
        if (strcmp(kinds[n], kind) == 0) {
            q->kind = (uint8_t)n;
            return;
        }
    if (kind)
        (void)luaL_error(L,
                         "kind: expected interrupt, exception, int, cr3 or "
                         "syscall, found %s",
                         kind);
}

static int select_rows(lua_State *L, enum trace_table table)
{
    static const char *const known[] = {
        "rip",  "symbol", "addr", "len", "port",  "write",     "value", "cr3",
        "kind", "vector", "from", "to",  "limit", "backwards", "regs",  NULL};
    struct lua_trace *t = check_trace(L, 1);
    struct trace_query q = trace_query_all(table);
    struct error err;
    lua_check_options(L, 2, known);
    q.from = lua_field_tick(L, 2, "from", t->ls, 0);
    q.to = lua_field_tick(L, 2, "to", t->ls, UINT64_MAX);
    (void)take_bounds(L, 2, "rip", &q.rip);
    take_symbol(L, 2, t->ls, &q.rip);
    if (take_bounds(L, 2, "addr", &q.address) &&
        q.address.first == q.address.last)
        q.address.last += lua_field_u64(L, 2, "len", 1) - 1;
    (void)take_bounds(L, 2, "port", &q.address);
    if (lua_field_is_set(L, 2, "write"))
        q.accesses = lua_field_bool(L, 2, "write", false) ? TRACE_PAGE_WRITTEN
                                                          : TRACE_PAGE_READ;
    q.has_value = lua_field_is_set(L, 2, "value");
    q.value = lua_field_u64(L, 2, "value", 0);
    q.has_cr3 = lua_field_is_set(L, 2, "cr3");
    q.cr3 = lua_field_u64(L, 2, "cr3", 0);
    take_kind(L, 2, &q);
    q.has_vector = lua_field_is_set(L, 2, "vector");
    q.vector = (uint8_t)lua_field_u64(L, 2, "vector", 0);
    q.backwards = lua_field_bool(L, 2, "backwards", false);
    q.limit = lua_field_u64(L, 2, "limit", 0);
    struct lua_rows *k = lua_newuserdatauv(L, sizeof *k, 0);
    *k = (struct lua_rows){.trace = t->trace,
                           .table = table,
                           .with_regs = lua_field_bool(L, 2, "regs", false)};
    luaL_setmetatable(L, rows_name);
    k->cursor = trace_select(t->trace, &q, &err);
    if (!k->cursor)
        return lua_raise(L, &err);
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, rows_step, 2);
    return 1;
}

#define SELECTOR(name, table)                                                  \
    static int name(lua_State *L)                                              \
    {                                                                          \
        return select_rows(L, table);                                          \
    }
SELECTOR(trace_insns, TRACE_INSNS)
SELECTOR(trace_branches, TRACE_BRANCHES)
SELECTOR(trace_accesses, TRACE_ACCESSES)
SELECTOR(trace_devices, TRACE_DEVICE_ROWS)
SELECTOR(trace_events, TRACE_EVENT_ROWS)

/* ---- exports
 * ------------------------------------------------------------------
 */

struct names {
    lua_State *L;
    struct lua_session *ls;
};

static bool name_of(void *context, uint64_t address, char *text,
                    size_t text_bytes)
{
    struct names *n = context;
    lua_symbols_format(n->L, n->ls, address, text, text_bytes);
    return true;
}

static int trace_export_(lua_State *L)
{
    struct lua_trace *t = check_trace(L, 1);
    const char *format = luaL_checkstring(L, 2);
    const char *path = luaL_checkstring(L, 3);
    static const char *const known[] = {"from", "to", "period", NULL};
    struct error err;
    struct names names = {L, t->ls};
    lua_check_files(L, path);
    lua_check_options(L, 4, known);
    lua_session_go(L, t->ls, t->ls->here);
    const struct trace_export options = {
        .from = lua_field_tick(L, 4, "from", t->ls, 0),
        .to = lua_field_tick(L, 4, "to", t->ls, UINT64_MAX),
        .cpu_mhz = t->ls->session->config.cpu_mhz,
        .period = lua_field_u64(L, 4, "period", 0),
        .name = name_of,
        .context = &names};
    return trace_export(t->trace, format, path, &options, &err)
               ? 0
               : lua_raise(L, &err);
}

/* ---- tables
 * ------------------------------------------------------------------- */

#define COMMON "from=, to=, cr3=, limit=, backwards="

static const struct lua_api_entry session_entries[] = {
    {.name = "traces",
     .function = session_traces,
     .signature = "session:traces() -> array",
     .doc = "What relive trace has stored: name, what, from, to, insns, ..."},
    {.name = "trace",
     .function = session_trace,
     .signature = "session:trace([name]) -> trace",
     .doc = "A stored trace; without a name, the last one."},
    {0},
};

static const struct lua_api_entry trace_entries[] = {
    {.name = "head",
     .function = trace_head_,
     .signature = "trace.head -> table",
     .doc = "Its entry in session:traces().",
     .is_property = true},
    {.name = "insns",
     .function = trace_insns,
     .signature = "trace:insns{rip= | rip={a, b} | symbol=, regs=, " COMMON
                  "} -> iterator",
     .doc = "Instructions: tick, rip, cr3, cpl, length, code, and regs when "
            "asked for. Chunks that cannot match are not opened."},
    {.name = "branches",
     .function = trace_branches,
     .signature =
         "trace:branches{rip=, symbol=, regs=, " COMMON "} -> iterator",
     .doc = "Taken branches, with target."},
    {.name = "accesses",
     .function = trace_accesses,
     .signature = "trace:accesses{addr= (len=) | addr={a, b}, write=, value=, "
                  "rip=, symbol=, regs=, " COMMON "} -> iterator",
     .doc = "Accesses to memory: tick, rip, addr, size, value, write; wide "
            "ones in pieces of 8 bytes."},
    {.name = "devices",
     .function = trace_devices,
     .signature = "trace:devices{port= | addr=, write=, value=, rip=, from=, "
                  "to=, limit=, backwards=} -> iterator",
     .doc = "Accesses to ports and device memory: port or phys."},
    {.name = "events",
     .function = trace_events,
     .signature =
         "trace:events{kind=, vector=, value=, rip=, " COMMON "} -> iterator",
     .doc = "Interrupts, exceptions, system calls, CR3 loads: kind, vector, "
            "error, value (CR2, RAX or the new CR3)."},
    {.name = "export",
     .function = trace_export_,
     .signature = "trace:export(format, path, {from=, to=, period=})",
     .doc = "Write a file: csv, chrome, perf or drcov, with names of "
            "symbols."},
    {.name = "__gc", .function = trace_collect},
    {.name = "__tostring", .function = trace_to_string},
    {0},
};
static const struct lua_api_entry rows_entries[] = {
    {.name = "__gc", .function = rows_collect}, {0}};

const struct lua_api_module lua_module_session_trace = {
    .name = "session", .kind = LUA_API_CLASS, .entries = session_entries};
const struct lua_api_module lua_module_trace = {
    .name = trace_name,
    .kind = LUA_API_CLASS,
    .doc = "A stored trace of a part of a session (relive trace).",
    .entries = trace_entries};
const struct lua_api_module lua_module_rows = {
    .name = rows_name,
    .kind = LUA_API_CLASS,
    .doc = "Behind the iterators of a trace.",
    .entries = rows_entries};
