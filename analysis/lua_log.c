/* What a session holds beside the machine: events, digests, snapshots, output.
 * Iterators read as they go; output comes in one walk. */
#include "analysis/lua_modules.h"

#include "base/bytes.h"
#include "replay/info.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES_MAX = 4096 };

/* ---- records by tick ------------------------------------------------------
 */

/* The state of an iterator: a cursor that Lua collects. */
struct log_cursor {
    struct lua_session *ls; /* borrowed */
    struct store_cursor cursor;
    bool is_open, is_begun;
    enum store_db db;
    uint64_t from, to, left; /* left: records still to give */
    int type;                /* of events; 0: all */
};

static int cursor_collect(lua_State *L)
{
    struct log_cursor *c = lua_touserdata(L, 1);
    if (c->is_open)
        store_cursor_close(&c->cursor);
    c->is_open = false;
    return 0;
}

static void push_hex(lua_State *L, const uint8_t *bytes, size_t count)
{
    luaL_Buffer b;
    char digits[3];
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(digits, sizeof digits, "%02x", bytes[i]);
        luaL_addlstring(&b, digits, 2);
    }
    luaL_pushresult(&b);
}

/* Push the record as a table; false: it is not wanted. */
static bool push_event(lua_State *L, const struct log_cursor *c,
                       const struct store_bytes *k, const struct store_bytes *v)
{
    struct event e;
    struct error err;
    uint32_t index;
    char text[4 * EVENT_PAYLOAD_MAX + 64];
    if (!event_record_get(k, v, &index, &e, c->ls->path, &err))
        (void)lua_raise(L, &err);
    if (c->type && (int)e.type != c->type)
        return false;
    event_describe(&e, text, sizeof text);
    lua_createtable(L, 0, 5);
    lua_set_u64(L, "tick", e.tick);
    lua_set_u64(L, "index", index);
    lua_set_string(L, "type", event_type_name(e.type));
    lua_set_string(L, "text", text);
    lua_pushlstring(L, (const char *)e.payload, e.bytes);
    lua_setfield(L, -2, "payload");
    return true;
}

static bool push_digest(lua_State *L, const struct log_cursor *c,
                        const struct store_bytes *k,
                        const struct store_bytes *v)
{
    struct digest_record d;
    struct error err;
    if (!digest_record_get(k, v, &d, c->ls->path, &err))
        (void)lua_raise(L, &err);
    lua_createtable(L, 0, 6);
    lua_set_u64(L, "tick", d.tick);
    lua_set_u64(L, "insns", d.insns);
    lua_set_u64(L, "events_before", d.events_before);
    push_hex(L, d.digest.cpu, sizeof d.digest.cpu);
    lua_setfield(L, -2, "cpu");
    push_hex(L, d.digest.io, sizeof d.digest.io);
    lua_setfield(L, -2, "io");
    push_hex(L, d.digest.mem, sizeof d.digest.mem);
    lua_setfield(L, -2, "mem");
    return true;
}

static uint64_t key_to_tick(const struct store_bytes *k)
{
    uint64_t tick = 0;
    for (unsigned i = 0; i < KEY_TICK_BYTES && i < k->bytes; i++)
        tick = tick << 8 | ((const uint8_t *)k->data)[i];
    return tick;
}

static bool push_snapshot(lua_State *L, const struct log_cursor *c,
                          const struct store_bytes *k,
                          const struct store_bytes *v)
{
    (void)c;
    lua_createtable(L, 0, 2);
    lua_set_u64(L, "tick", key_to_tick(k));
    lua_set_u64(L, "bytes", v->bytes);
    return true;
}

static bool push_record(lua_State *L, const struct log_cursor *c,
                        const struct store_bytes *k,
                        const struct store_bytes *v)
{
    switch (c->db) {
    case STORE_EVENTS:
        return push_event(L, c, k, v);
    case STORE_DIGESTS:
        return push_digest(L, c, k, v);
    default:
        return push_snapshot(L, c, k, v);
    }
}

static enum store_found cursor_move(struct log_cursor *c, struct store_bytes *k,
                                    struct store_bytes *v, struct error *err)
{
    uint8_t key[KEY_INDEXED_BYTES];
    bool is_indexed = c->db == STORE_EVENTS;
    if (c->is_begun)
        return store_cursor_next(&c->cursor, k, v, err);
    c->is_begun = true;
    key_indexed(key, c->from, 0);
    return store_cursor_seek(&c->cursor, key,
                             is_indexed ? KEY_INDEXED_BYTES : KEY_TICK_BYTES, k,
                             v, err);
}

static int cursor_next(lua_State *L)
{
    struct log_cursor *c = lua_touserdata(L, lua_upvalueindex(1));
    struct store_bytes k, v;
    struct error err;
    while (c->left > 0) {
        lua_check_stop(L);
        enum store_found found = cursor_move(c, &k, &v, &err);
        if (found == STORE_BAD)
            return lua_raise(L, &err);
        if (found != STORE_FOUND || key_to_tick(&k) > c->to)
            break;
        if (push_record(L, c, &k, &v)) {
            c->left--;
            return 1;
        }
    }
    c->left = 0;
    return 0;
}

/* Push an iterator over a database, by the options at index 2. */
static struct log_cursor *push_cursor(lua_State *L, enum store_db db)
{
    struct error err;
    struct lua_session *ls = lua_check_session(L, 1);
    lua_settop(L, 2);
    struct log_cursor *c = lua_newuserdatauv(L, sizeof *c, 0);
    memset(c, 0, sizeof *c);
    if (luaL_newmetatable(L, "log cursor")) {
        lua_pushcfunction(L, cursor_collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    c->ls = ls;
    c->db = db;
    c->from = lua_field_tick(L, 2, "from", ls, 0);
    c->to = lua_field_tick(L, 2, "to", ls, UINT64_MAX);
    c->left = lua_field_u64(L, 2, "limit", UINT64_MAX);
    if (!store_cursor_open(ls->session->store, db, &c->cursor, &err))
        (void)lua_raise(L, &err);
    c->is_open = true;
    lua_pushcclosure(L, cursor_next, 1);
    return c;
}

static int session_events(lua_State *L)
{
    static const char *const options[] = {"from", "to", "limit", "type", NULL};
    lua_check_options(L, 2, options);
    const char *type = lua_field_string(L, 2, "type", NULL);
    struct log_cursor *c = push_cursor(L, STORE_EVENTS);
    for (int t = 1; type && t < EVENT_TYPE_COUNT; t++)
        if (strcmp(event_type_name((enum event_type)t), type) == 0)
            c->type = t;
    if (type && !c->type)
        return luaL_error(L, "type: '%s' is no type of events", type);
    return 1;
}

static int session_digests(lua_State *L)
{
    static const char *const options[] = {"from", "to", "limit", NULL};
    lua_check_options(L, 2, options);
    (void)push_cursor(L, STORE_DIGESTS);
    return 1;
}

static int session_snapshots(lua_State *L)
{
    static const char *const options[] = {"from", "to", "limit", NULL};
    lua_check_options(L, 2, options);
    (void)push_cursor(L, STORE_SNAPSHOTS);
    return 1;
}

/* ---- output ---------------------------------------------------------------
 */

static const char *const channels[OUT_CHANNELS + 1] = {"serial", "debugcon",
                                                       "post", NULL};

/* What a walk over the output gathers: records of tick, count, bytes. */
struct gathered {
    struct writer *w; /* Lua's */
    enum output_channel channel;
    bool by_line, with_ticks;
    uint64_t line_tick;
    size_t line_bytes;
    char line[LINE_BYTES_MAX];
};

static void put_record(struct gathered *g, uint64_t tick, const void *bytes,
                       size_t count)
{
    if (g->with_ticks) {
        writer_u64(g->w, tick);
        writer_u32(g->w, (uint32_t)count);
    }
    writer_bytes(g->w, bytes, count);
}

static void end_line(struct gathered *g)
{
    size_t count = g->line_bytes;
    while (count > 0 && g->line[count - 1] == '\r')
        count--;
    put_record(g, g->line_tick, g->line, count);
    g->line_bytes = 0;
}

static void add_to_line(struct gathered *g, uint64_t tick, char c)
{
    if (g->line_bytes == 0)
        g->line_tick = tick;
    if (c != '\n' && g->line_bytes < LINE_BYTES_MAX)
        g->line[g->line_bytes++] = c;
    if (c == '\n' || g->line_bytes == LINE_BYTES_MAX)
        end_line(g);
}

/* An info_output_fn: must not raise. */
static bool gather(void *context, const struct output_chunk *chunk)
{
    struct gathered *g = context;
    if (chunk->channel != g->channel)
        return true;
    if (!g->by_line)
        put_record(g, chunk->tick, chunk->bytes, chunk->count);
    for (uint32_t i = 0; g->by_line && i < chunk->count; i++)
        add_to_line(g, chunk->tick, (char)chunk->bytes[i]);
    return !g->w->failed;
}

static struct writer *gather_output(lua_State *L, bool by_line, bool with_ticks)
{
    static const char *const options[] = {"from", "to", "channel", NULL};
    struct error err;
    struct lua_session *ls = lua_check_session(L, 1);
    lua_settop(L, 2);
    lua_check_options(L, 2, options);
    struct gathered g = {.by_line = by_line, .with_ticks = with_ticks};
    const char *name = lua_field_string(L, 2, "channel", NULL);
    int channel = 0;
    while (name && channels[channel] && strcmp(channels[channel], name) != 0)
        channel++;
    if (!channels[channel])
        (void)luaL_error(L, "channel: expected serial, debugcon or post, found "
                            "'%s'",
                         name);
    g.channel = (enum output_channel)channel;
    uint64_t from = lua_field_tick(L, 2, "from", ls, 0);
    uint64_t to = lua_field_tick(L, 2, "to", ls, UINT64_MAX);
    g.w = lua_push_writer(L);
    if (!info_each_output(ls->session, from, to, gather, &g, &err))
        (void)lua_raise(L, &err);
    if (g.line_bytes > 0)
        end_line(&g);
    if (g.w->failed)
        (void)luaL_error(L, "out of memory");
    return g.w;
}

/* Upvalues: the writer and where the next record is. */
static int output_next(lua_State *L)
{
    const struct writer *w = lua_touserdata(L, lua_upvalueindex(1));
    size_t at = (size_t)lua_tointeger(L, lua_upvalueindex(2));
    struct reader r;
    if (at >= w->used)
        return 0;
    reader_init(&r, w->data + at, w->used - at);
    uint64_t tick = reader_u64(&r);
    uint32_t count = reader_u32(&r);
    lua_createtable(L, 0, 2);
    lua_set_u64(L, "tick", tick);
    lua_pushlstring(L, (const char *)w->data + at + r.at, count);
    lua_setfield(L, -2, "text");
    lua_pushinteger(L, (lua_Integer)(at + r.at + count));
    lua_replace(L, lua_upvalueindex(2));
    return 1;
}

static int session_output(lua_State *L)
{
    (void)gather_output(L, false, true);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, output_next, 2);
    return 1;
}

static int session_lines(lua_State *L)
{
    (void)gather_output(L, true, true);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, output_next, 2);
    return 1;
}

static int session_text(lua_State *L)
{
    lua_push_written(L, gather_output(L, false, false));
    return 1;
}

static const struct lua_api_entry entries[] = {
    {.name = "events",
     .function = session_events,
     .signature = "session:events{from=, to=, type=, limit=} -> iterator",
     .doc = "What came from outside, as {tick, index, type, text, payload}."},
    {.name = "digests",
     .function = session_digests,
     .signature = "session:digests{from=, to=, limit=} -> iterator",
     .doc = "The digests of the recording, as {tick, insns, events_before, cpu, "
            "io, mem}, the last three in hexadecimal."},
    {.name = "snapshots",
     .function = session_snapshots,
     .signature = "session:snapshots{from=, to=, limit=} -> iterator",
     .doc = "The snapshots of the recording, as {tick, bytes}."},
    {.name = "output",
     .function = session_output,
     .signature = "session:output{channel='serial', from=, to=} -> iterator",
     .doc = "What the guest sent, piece by piece, as {tick, text}; channels are "
            "serial, debugcon and post."},
    {.name = "lines",
     .function = session_lines,
     .signature = "session:lines{channel='serial', from=, to=} -> iterator",
     .doc = "The same by lines, each with the tick of its first byte."},
    {.name = "text",
     .function = session_text,
     .signature = "session:text{channel='serial', from=, to=} -> string",
     .doc = "The same as one string."},
    {0},
};

const struct lua_api_module lua_module_log = {
    .name = "session",
    .kind = LUA_API_CLASS,
    .entries = entries,
};
