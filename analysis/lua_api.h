/* What scripts see, as tables: each binding file exports one or more
 * `const struct lua_api_module`, lua_modules.c lists them, and registration,
 * `relive help lua` and the reference analysis/lua-api all come from there.
 *
 * A binding is an ordinary lua_CFunction. In it:
 *  - the session is lua_check_session(L, 1) (a method of session),
 *    lua_check_view(L, 1) (a method of a view), or lua_main_session(L);
 *  - a struct error becomes a Lua error by lua_raise(L, &err);
 *  - it owns nothing across a call that can raise: owned things sit in userdata
 *    with a __gc, or in a slot of the session;
 *  - a loop of its own over more than some thousand steps calls
 *    lua_check_stop(L), and whoever moves the machine hands what its travel
 *    said, where the poll function sees stops too, to lua_check_moved();
 *  - the one machine of a session is moved by all: whoever comes back into Lua
 *    and goes on later (an iterator) moves it to where it was, by
 *    lua_session_go(), and what it leaves behind is nobody's business.
 * Integers: addresses and ticks are Lua integers, 64 bits of them, so an
 * address of the upper half is negative; hex(n) prints it. */
#ifndef RELIVE_ANALYSIS_LUA_API_H
#define RELIVE_ANALYSIS_LUA_API_H

#include "base/error.h"
#include "base/stream.h"
#include "board/machine.h"
#include "board/probe.h"
#include "replay/session.h"
#include "replay/travel.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- tables ---------------------------------------------------------------
 */

struct lua_api_entry {
    const char *name; /* NULL ends the table. "__..." goes into the metatable */
    lua_CFunction function;
    const char *signature; /* "session:execs{addr=, from=, to=} -> iterator" */
    const char *doc;       /* one sentence */
    bool is_property;      /* x.name calls function(x) */
};

enum lua_api_kind {
    LUA_API_GLOBALS, /* functions by themselves */
    LUA_API_TABLE,   /* a global table of functions */
    LUA_API_CLASS    /* methods and properties of the userdata that
                        luaL_setmetatable(L, name) makes one of */
};

/* Several modules of one name add to one class or table: lua_scan.c adds its
 * methods to "session". In a class, an entry "__index" is asked for the keys
 * that are no entries. */
struct lua_api_module {
    const char *name;
    enum lua_api_kind kind;
    const char *doc; /* a sentence for the reference; NULL: said elsewhere */
    const struct lua_api_entry *entries;
};

/* All of them (lua_modules.c), NULL at the end. */
extern const struct lua_api_module *const lua_api_modules[];

/* ---- what scripts work on -------------------------------------------------
 */

/* Modules keep what they derive from a session in its slots. */
enum lua_slot {
    LUA_SLOT_SYMBOLS,
    LUA_SLOT_GUEST,
    LUA_SLOT_TRACE,
    LUA_SLOT_SCAN,
    LUA_SLOT_TELEMETRY,
    LUA_SLOT_MARKS,
    LUA_SLOTS
};

/* An opened session. The travel is the only one that moves its machine. */
struct lua_session {
    struct travel *travel;
    struct machine *machine;
    const struct machine_engine *engine; /* borrowed: what it runs by; NULL:
                                            the fastest */
    const struct session *session;
    const char *path;
    /* Where calls that name no tick look: --at, or session:go(). */
    struct machine_place here;
    void *opener; /* the host's */
    struct {
        void *data;
        void (*free)(void *data);
    } slot[LUA_SLOTS];
};

/* What the program around offers; analysis knows no clock, window or image. */
struct lua_host {
    void *context;
    /* Open another session (ls is zeroed); close one. */
    bool (*open)(void *context, const char *path, struct lua_session *ls,
                 struct error *err);
    void (*close)(void *context, struct lua_session *ls);
    /* Why scripts are to stop now ("interrupted"), or NULL. Cheap. */
    const char *(*stop)(void *context);
    bool (*write_png)(void *context, struct machine *m, const char *path,
                      struct error *err);
    uint64_t (*now_ns)(void *context); /* a monotonic clock */
    bool allows_files; /* scripts may name files to read and write */
    bool wants_json;   /* --json: scripts print JSON where they can */
};

const struct lua_host *lua_host_of(lua_State *L);

/* The session of the command line. */
struct lua_session *lua_main_session(lua_State *L);
/* Argument i is a session object, else a Lua error. */
struct lua_session *lua_check_session(lua_State *L, int i);
/* Argument i is a view (session:at()): its session, the machine moved to it. */
struct lua_session *lua_check_view(lua_State *L, int i);
/* For functions of global tables (guest.processes): argument i is a view, a
 * session (its `here`), a tick of the main session, or none (its `here`). The
 * machine is moved there. */
struct lua_session *lua_opt_place(lua_State *L, int i);

/* Move the machine, unless it is there. Raises what goes wrong, and stops. */
void lua_session_go(lua_State *L, struct lua_session *ls,
                    struct machine_place place);
/* Push a session object. Sessions live as long as the lua_State. */
void lua_push_session(lua_State *L, struct lua_session *ls);
/* The place of the view that argument i is, without moving there. */
struct machine_place lua_view_place(lua_State *L, int i);
/* Push a view of a place. */
void lua_push_view(lua_State *L, struct lua_session *ls,
                   struct machine_place place);
/* Put data into a slot, freeing what was there. */
void lua_session_keep(struct lua_session *ls, enum lua_slot slot, void *data,
                      void (*release)(void *data));

/* ---- errors and stops -----------------------------------------------------
 */

/* Raise err with the script's position. Does not return. */
int lua_raise(lua_State *L, const struct error *err);
/* Raise if the script is to stop: Ctrl-C, --timeout. */
void lua_check_stop(lua_State *L);
/* Raise if whoever moved the machine failed (err) or was interrupted. */
void lua_check_moved(lua_State *L, enum travel_stop stop,
                     const struct error *err);
/* Raise unless scripts may name files (--allow-files); what: "trace.csv". */
void lua_check_files(lua_State *L, const char *what);

/* ---- arguments and results ------------------------------------------------
 */

/* A tick: an integer, "2.5s" (ms, us, ns) of guest time, "start" or "end". */
uint64_t lua_check_tick(lua_State *L, int i, const struct lua_session *ls);
/* Fields of the options table at index i (absent or nil: otherwise). A field of
 * another type is an error that names it. */
uint64_t lua_field_u64(lua_State *L, int i, const char *name,
                       uint64_t otherwise);
uint64_t lua_field_tick(lua_State *L, int i, const char *name,
                        const struct lua_session *ls, uint64_t otherwise);
bool lua_field_bool(lua_State *L, int i, const char *name, bool otherwise);
/* Borrowed from the table; NULL: absent. */
const char *lua_field_string(lua_State *L, int i, const char *name,
                             size_t *bytes);
bool lua_field_is_set(lua_State *L, int i, const char *name);
/* An options table's keys are among names (NULL at the end), else an error that
 * names the stranger and what is known. Absent table: fine. */
void lua_check_options(lua_State *L, int i, const char *const *names);

/* table[name] = value, the table on top of the stack. */
void lua_set_u64(lua_State *L, const char *name, uint64_t value);
void lua_set_number(lua_State *L, const char *name, double value);
void lua_set_string(lua_State *L, const char *name, const char *value);
void lua_set_bool(lua_State *L, const char *name, bool value);

/* ---- for the keeper of the lua_State --------------------------------------
 */

/* Register all modules. ls, host: borrowed, outlive L; its extra space is
 * ours. */
void lua_api_install(lua_State *L, struct lua_session *ls,
                     const struct lua_host *host);
/* exit(): from now on lua_check_stop() raises, so that no pcall() keeps the
 * script alive. */
void lua_request_exit(lua_State *L, int status);
bool lua_exit_requested(lua_State *L, int *status);
/* The marks that scripts have left in the session, to be stored when it has been
 * closed (replay/mark.h); freed with its slots. Their number. */
struct mark;
unsigned lua_session_marks(const struct lua_session *ls,
                           const struct mark **marks);
/* Empty the slots of a session that is about to be closed. */
void lua_session_release(struct lua_session *ls);

/* The reference, as text: made from the tables. */
void lua_api_reference(struct writer *out);

#endif
