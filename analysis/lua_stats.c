/* stats.*, jit.*: what the machine did and how, over a part of a session that is
 * run for it. */
#include "analysis/lua_modules.h"

#include "board/stats.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ---- figures as tables ----------------------------------------------------
 */

/* Totals, by the name that scripts see. */
#define ROW(field) {#field, offsetof(struct machine_stats, field)}
#define JIT_ROW(field) {#field, offsetof(struct jit_stats, field)}
struct figure {
    const char *name;
    size_t offset; /* of a uint64_t */
};
static const struct figure machine_figures[] = {
    ROW(ticks),
    ROW(insns),
    ROW(translate_slow_calls),
    ROW(walks),
    ROW(l2_hits),
    ROW(large_hits),
    ROW(table_drops),
    ROW(mmio_reads),
    ROW(mmio_writes),
    ROW(port_reads),
    ROW(port_writes),
    ROW(dma_read_bytes),
    ROW(dma_write_bytes),
};
static const struct figure jit_figures[] = {
    JIT_ROW(blocks_compiled), JIT_ROW(code_bytes),      JIT_ROW(capacity_bytes),
    JIT_ROW(evictions_bytes), JIT_ROW(evictions_blocks),
    JIT_ROW(flushes),         JIT_ROW(links),           JIT_ROW(lookup_hit),
    JIT_ROW(lookup_miss),     JIT_ROW(exit_mmio_calls), JIT_ROW(handler_calls),
    JIT_ROW(handler_insns),   JIT_ROW(return_misses),
    JIT_ROW(tier2_blocks_compiled),
    JIT_ROW(tier2_dropped),
    JIT_ROW(tier2_ticks),
    JIT_ROW(deopts),
    JIT_ROW(slow_calls),
    JIT_ROW(guard_fail_branch),
    JIT_ROW(guard_fail_target),
    JIT_ROW(guard_fail_head),
    JIT_ROW(guard_fail_key),
    JIT_ROW(guard_fail_span),
};

static uint64_t figure(const void *stats, const struct figure *f)
{
    uint64_t value;
    memcpy(&value, (const char *)stats + f->offset, sizeof value);
    return value;
}

/* Fields of the table on top: after less before; sizes as they are after. */
static void set_figures(lua_State *L, const struct figure *rows, size_t count,
                        const void *before, const void *after)
{
    for (size_t i = 0; i < count; i++) {
        bool is_size = strcmp(rows[i].name, "code_bytes") == 0 ||
                       strcmp(rows[i].name, "capacity_bytes") == 0;
        lua_set_u64(L, rows[i].name,
                    figure(after, &rows[i]) -
                        (is_size ? 0 : figure(before, &rows[i])));
    }
}

static void push_jit(lua_State *L, const struct jit_stats *before,
                     const struct jit_stats *after)
{
    lua_newtable(L);
    set_figures(L, jit_figures, sizeof jit_figures / sizeof jit_figures[0],
                before, after);
    lua_set_number(L, "tier1_compile_ms",
                   (double)(after->tier1_ns - before->tier1_ns) / 1e6);
    lua_set_number(L, "tier2_compile_ms",
                   (double)(after->tier2_ns - before->tier2_ns) / 1e6);
    lua_newtable(L);
    for (unsigned i = 0; i < JIT_PASSES; i++)
        lua_set_number(L, jit_pass_names[i],
                       (double)(after->pass_ns[i] - before->pass_ns[i]) / 1e6);
    lua_setfield(L, -2, "passes_ms");
    lua_newtable(L);
    for (unsigned i = 0; i < JIT_CUTS && after->cuts[i].mnemonic; i++) {
        const struct jit_cut *cut = &after->cuts[i];
        lua_set_u64(L, cut->mnemonic,
                    cut->paths - jit_cut_paths(before, cut->mnemonic));
    }
    lua_setfield(L, -2, "cuts");
    lua_newtable(L);
    for (unsigned i = 0; i < JIT_EXITS; i++)
        lua_set_u64(L, jit_exit_names[i], after->exit[i] - before->exit[i]);
    lua_setfield(L, -2, "exits");
}

static void push_figures(lua_State *L, const struct machine_stats *before,
                         const struct machine_stats *after)
{
    lua_newtable(L);
    set_figures(L, machine_figures,
                sizeof machine_figures / sizeof machine_figures[0], before,
                after);
    lua_set_u64(L, "ram_bytes", after->ram_bytes);
    lua_set_u64(L, "ram_touched_bytes", after->ram_touched_bytes);
    lua_newtable(L);
    for (unsigned tier = 0; tier < 3; tier++) {
        lua_pushinteger(L, (lua_Integer)(after->tier_insns[tier] -
                                         before->tier_insns[tier]));
        lua_rawseti(L, -2, tier);
    }
    lua_setfield(L, -2, "tier_insns");
    push_jit(L, &before->jit, &after->jit);
    lua_setfield(L, -2, "jit");
}

/* ---- running a part -------------------------------------------------------
 */

struct compiled {
    uint64_t guest, host_bytes, tick;
    unsigned tier;
};
struct window {
    uint64_t host_ns;
    struct machine_stats at_end;
};

/* What a run gathers; Lua collects it. */
struct run {
    struct machine *machine; /* borrowed */
    struct machine_stats begun;
    uint64_t begun_ns;
    struct window *windows; /* owned */
    size_t window_count, window_room;
    struct compiled *blocks; /* owned */
    size_t block_count, block_room;
    struct jit_trace *traces; /* owned */
    size_t trace_count, trace_room;
    bool is_short; /* of memory */
};

static int run_collect(lua_State *L)
{
    struct run *r = lua_touserdata(L, 1);
    free(r->windows);
    free(r->blocks);
    free(r->traces);
    r->windows = NULL;
    r->blocks = NULL;
    r->traces = NULL;
    return 0;
}

static struct run *push_run(lua_State *L)
{
    struct run *r = lua_newuserdatauv(L, sizeof *r, 0);
    memset(r, 0, sizeof *r);
    if (luaL_newmetatable(L, "run")) {
        lua_pushcfunction(L, run_collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return r;
}

/* A jit_code_fn. */
static void on_code(void *context, const struct jit_code *code)
{
    struct run *r = context;
    if (r->block_count == r->block_room) {
        size_t room = r->block_room ? 2 * r->block_room : 1024;
        struct compiled *b = realloc(r->blocks, room * sizeof *b);
        r->is_short |= !b;
        if (!b)
            return;
        r->blocks = b;
        r->block_room = room;
    }
    r->blocks[r->block_count++] =
        (struct compiled){.guest = code->guest,
                          .host_bytes = code->host_bytes,
                          .tick = machine_tick(r->machine),
                          .tier = code->tier};
}

/* A jit_trace_fn. */
static void on_trace(void *context, const struct jit_trace *trace)
{
    struct run *r = context;
    if (r->trace_count == r->trace_room) {
        size_t room = r->trace_room ? 2 * r->trace_room : 256;
        struct jit_trace *t = realloc(r->traces, room * sizeof *t);
        r->is_short |= !t;
        if (!t)
            return;
        r->traces = t;
        r->trace_room = room;
    }
    r->traces[r->trace_count++] = *trace;
}

static bool end_window(struct run *r, const struct lua_host *host)
{
    if (r->window_count == r->window_room) {
        size_t room = r->window_room ? 2 * r->window_room : 64;
        struct window *w = realloc(r->windows, room * sizeof *w);
        if (!w)
            return false;
        r->windows = w;
        r->window_room = room;
    }
    struct window *w = &r->windows[r->window_count++];
    w->host_ns = host->now_ns ? host->now_ns(host->context) : 0;
    machine_stats(r->machine, &w->at_end);
    return true;
}

/* Run from here to `to`, in windows of `every` ticks. Raises nothing: the
 * engine tells r of its code. */
static enum travel_stop run_windows(struct run *r, struct lua_session *ls,
                                    const struct lua_host *host, uint64_t to,
                                    uint64_t every, struct error *err)
{
    enum travel_stop stop = TRAVEL_THERE;
    uint64_t at = machine_tick(ls->machine);
    machine_stats(r->machine, &r->begun);
    r->begun_ns = host->now_ns ? host->now_ns(host->context) : 0;
    while (at < to && stop == TRAVEL_THERE) {
        at = to - at > every ? at + every : to;
        stop = travel_run(ls->travel, at, err);
        if (!end_window(r, host))
            r->is_short = true;
    }
    return stop == TRAVEL_END ? TRAVEL_THERE : stop;
}

static void run_part(lua_State *L, struct run *r, struct lua_session *ls,
                     uint64_t from, uint64_t to, uint64_t every)
{
    struct error err, other;
    const struct lua_host *host = lua_host_of(L);
    struct machine_engine engine = {0};
    lua_session_go(L, ls, (struct machine_place){from, 0});
    r->machine = ls->machine;
    if (ls->engine)
        engine = *ls->engine;
    engine.now_ns = host->now_ns;
    engine.on_code = on_code;
    engine.on_trace = on_trace;
    engine.on_code_context = r;
    if (!machine_set_engine(ls->machine, &engine, &err))
        (void)lua_raise(L, &err);
    enum travel_stop stop = run_windows(r, ls, host, to, every, &err);
    engine.on_code = NULL;
    engine.on_trace = NULL; /* those there are have their say now */
    engine.on_code_context = NULL;
    if (!machine_set_engine(ls->machine, &engine, &other))
        (void)lua_raise(L, &other);
    lua_check_moved(L, stop, &err);
    if (r->is_short)
        (void)luaL_error(L, "out of memory");
}

static void push_series(lua_State *L, const struct run *r)
{
    const struct machine_stats *before = &r->begun;
    uint64_t before_ns = r->begun_ns;
    lua_createtable(L, (int)r->window_count, 0);
    for (size_t i = 0; i < r->window_count; i++) {
        const struct window *w = &r->windows[i];
        double seconds = (double)(w->host_ns - before_ns) / 1e9;
        push_figures(L, before, &w->at_end);
        lua_set_u64(L, "tick", w->at_end.ticks);
        lua_set_number(L, "host_s", seconds);
        lua_set_number(L, "mips",
                       seconds > 0 ? (double)(w->at_end.insns - before->insns) /
                                         seconds / 1e6
                                   : 0);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
        before = &w->at_end;
        before_ns = w->host_ns;
    }
}

static void push_blocks(lua_State *L, const struct run *r)
{
    lua_createtable(L, (int)r->block_count, 0);
    for (size_t i = 0; i < r->block_count; i++) {
        const struct compiled *b = &r->blocks[i];
        lua_createtable(L, 0, 4);
        lua_set_u64(L, "address", b->guest);
        lua_set_u64(L, "host_bytes", b->host_bytes);
        lua_set_u64(L, "tier", b->tier);
        lua_set_u64(L, "tick", b->tick);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_traces(lua_State *L, const struct run *r)
{
    lua_createtable(L, (int)r->trace_count, 0);
    for (size_t i = 0; i < r->trace_count; i++) {
        const struct jit_trace *t = &r->traces[i];
        lua_createtable(L, 0, 5);
        lua_set_u64(L, "address", t->guest);
        lua_set_u64(L, "insns", t->insns);
        lua_set_u64(L, "ticks", t->ticks);
        lua_set_u64(L, "guard_fails", t->guard_fails);
        lua_set_u64(L, "deopts", t->deopts);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* The session and the ticks that options name. */
static struct lua_session *take_part(lua_State *L, int i, uint64_t *from,
                                     uint64_t *to)
{
    struct lua_session *ls = lua_main_session(L);
    if (lua_field_is_set(L, i, "session")) {
        lua_getfield(L, i, "session");
        ls = lua_check_session(L, lua_gettop(L));
        lua_pop(L, 1);
    }
    *from = lua_field_tick(L, i, "from", ls, ls->session->start_tick);
    *to = lua_field_tick(L, i, "to", ls, ls->session->end_tick);
    if (*from < ls->session->start_tick || *from > *to ||
        *to > ls->session->end_tick)
        (void)luaL_error(L, "from, to: expected ticks of the session, in order");
    return ls;
}

static int stats_run(lua_State *L)
{
    static const char *const options[] = {"session", "from", "to", "every",
                                          NULL};
    uint64_t from, to;
    lua_settop(L, 1);
    lua_check_options(L, 1, options);
    struct lua_session *ls = take_part(L, 1, &from, &to);
    uint64_t every = lua_field_u64(L, 1, "every", (to - from) / 20 + 1);
    if (every < 1 || (to - from) / every > 100000)
        return luaL_error(L, "every: expected at most 100000 windows");
    struct run *r = push_run(L);
    run_part(L, r, ls, from, to, every);
    const struct machine_stats *end =
        r->window_count ? &r->windows[r->window_count - 1].at_end : &r->begun;
    uint64_t end_ns =
        r->window_count ? r->windows[r->window_count - 1].host_ns : r->begun_ns;
    double seconds = (double)(end_ns - r->begun_ns) / 1e9;
    push_figures(L, &r->begun, end);
    lua_set_u64(L, "from", from);
    lua_set_u64(L, "to", to);
    lua_set_bool(L, "has_jit", end->has_jit);
    lua_set_number(L, "host_s", seconds);
    lua_set_number(
        L, "mips",
        seconds > 0 ? (double)(end->insns - r->begun.insns) / seconds / 1e6
                    : 0);
    push_series(L, r);
    lua_setfield(L, -2, "series");
    push_blocks(L, r);
    lua_setfield(L, -2, "blocks");
    push_traces(L, r);
    lua_setfield(L, -2, "traces");
    return 1;
}

static const struct lua_api_entry stats_entries[] = {
    {.name = "run",
     .function = stats_run,
     .signature = "stats.run{session=, from=, to=, every=} -> table",
     .doc = "Run a part of a session with the engine of the command line and "
            "count: ticks, insns, tier_insns[0..2], memory and I/O figures, "
            "host_s, mips, jit (as jit.run), series (the same for windows of "
            "`every` ticks, a 20th by default), blocks (what was compiled: "
            "{address, host_bytes, tier, tick}) and traces (of tier 2, by the "
            "address of their head: {address, insns, ticks, guard_fails, "
            "deopts})."},
    {0},
};

const struct lua_api_module lua_module_stats = {
    .name = "stats",
    .kind = LUA_API_TABLE,
    .doc = "Telemetry and profiles.",
    .entries = stats_entries,
};

/* ---- jit ------------------------------------------------------------------
 */

static int jit_run(lua_State *L)
{
    (void)stats_run(L);
    lua_getfield(L, -1, "jit");
    static const char *const also[] = {"insns", "tier_insns", "host_s",
                                       "blocks", "traces", "has_jit"};
    for (unsigned i = 0; i < sizeof also / sizeof also[0]; i++) {
        lua_getfield(L, -2, also[i]);
        lua_setfield(L, -2, also[i]);
    }
    return 1;
}

static const struct lua_api_entry jit_entries[] = {
    {.name = "run",
     .function = jit_run,
     .signature = "jit.run{session=, from=, to=} -> table",
     .doc = "The compiler's part of stats.run: blocks_compiled, code_bytes, "
            "evictions_bytes, evictions_blocks (flushes of all code, for room), "
            "lookup_hit, lookup_miss, tier1_compile_ms, tier2_compile_ms, "
            "passes_ms (of tier 2, by name), exits (why control left compiled "
            "code, by name), handler_calls, deopts, guard_fail_* (why traces "
            "were left early), cuts (paths of tier 2 by the instruction that "
            "ended them), tier_insns, blocks."},
    {0},
};

const struct lua_api_module lua_module_jit = {
    .name = "jit",
    .kind = LUA_API_TABLE,
    .doc = "The emulator's own compiler.",
    .entries = jit_entries,
};
