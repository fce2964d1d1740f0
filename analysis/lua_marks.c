/* Marks: notes at ticks. The session is open for reading while scripts run, so
 * new marks are gathered and stored when it has been closed. */
#include "analysis/lua_modules.h"

#include "replay/mark.h"

#include <stdlib.h>
#include <string.h>

enum { NEW_MARKS_MAX = 10000 };

struct new_marks {
    unsigned count, room;
    struct mark *marks; /* owned */
};

static void free_marks(void *data)
{
    struct new_marks *n = data;
    free(n->marks);
    free(n);
}

unsigned lua_session_marks(const struct lua_session *ls,
                           const struct mark **marks)
{
    const struct new_marks *n = ls->slot[LUA_SLOT_MARKS].data;
    *marks = n ? n->marks : NULL;
    return n ? n->count : 0;
}

static bool add_mark(struct lua_session *ls, uint64_t tick, const char *text)
{
    struct new_marks *n = ls->slot[LUA_SLOT_MARKS].data;
    if (!n) {
        n = calloc(1, sizeof *n);
        if (!n)
            return false;
        lua_session_keep(ls, LUA_SLOT_MARKS, n, free_marks);
    }
    if (n->count == n->room) {
        unsigned room = n->room ? 2 * n->room : 4;
        struct mark *marks = realloc(n->marks, room * sizeof *marks);
        if (!marks)
            return false;
        n->marks = marks;
        n->room = room;
    }
    struct mark *m = &n->marks[n->count++];
    memset(m, 0, sizeof *m);
    m->tick = tick;
    strcpy(m->text, text);
    return true;
}

static int session_mark(lua_State *L)
{
    struct lua_session *ls = lua_check_session(L, 1);
    uint64_t tick = lua_check_tick(L, 2, ls);
    size_t bytes;
    const struct mark *marks;
    const char *text = luaL_checklstring(L, 3, &bytes);
    luaL_argcheck(L, tick <= ls->session->end_tick, 2, "behind the end");
    luaL_argcheck(L, bytes <= MARK_TEXT_MAX && strlen(text) == bytes, 3,
                  "expected at most 1000 bytes without zeros");
    if (ls != lua_main_session(L))
        return luaL_error(L, "mark: only the session of the command line takes "
                             "marks");
    if (lua_session_marks(ls, &marks) >= NEW_MARKS_MAX)
        return luaL_error(L, "mark: at most 10000 in one script");
    if (!add_mark(ls, tick, text))
        return luaL_error(L, "out of memory");
    return 0;
}

/* A mark_fn: must not raise. */
static bool gather(void *context, const struct mark *mark)
{
    struct writer *w = context;
    size_t bytes = strlen(mark->text);
    writer_u64(w, mark->tick);
    writer_u32(w, (uint32_t)bytes);
    writer_bytes(w, mark->text, bytes);
    return !w->failed;
}

static int session_marks(lua_State *L)
{
    struct error err;
    struct reader r;
    const struct mark *marks;
    struct lua_session *ls = lua_check_session(L, 1);
    unsigned count = lua_session_marks(ls, &marks);
    struct writer *w = lua_push_writer(L);
    if (!marks_each(ls->session, gather, w, &err))
        return lua_raise(L, &err);
    for (unsigned i = 0; i < count; i++)
        (void)gather(w, &marks[i]);
    if (w->failed)
        return luaL_error(L, "out of memory");
    lua_newtable(L);
    reader_init(&r, w->data, w->used);
    for (lua_Integer i = 1; r.at < r.size; i++) {
        lua_createtable(L, 0, 2);
        lua_set_u64(L, "tick", reader_u64(&r));
        uint32_t bytes = reader_u32(&r);
        lua_pushlstring(L, (const char *)r.data + r.at, bytes);
        r.at += bytes;
        lua_setfield(L, -2, "text");
        lua_rawseti(L, -2, i);
    }
    return 1;
}

static const struct lua_api_entry entries[] = {
    {.name = "mark",
     .function = session_mark,
     .signature = "session:mark(tick, text)",
     .doc = "Leave a note in the session; it is stored when the script ends, "
            "beside the recording, which stays as it is."},
    {.name = "marks",
     .function = session_marks,
     .signature = "session:marks() -> array",
     .doc = "All notes, as {tick, text}: the stored ones in the order of ticks, "
            "then this script's."},
    {0},
};

const struct lua_api_module lua_module_marks = {
    .name = "session",
    .kind = LUA_API_CLASS,
    .entries = entries,
};
