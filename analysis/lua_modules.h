/* The modules of the binding files, for the list in lua_modules.c, and what the
 * files share. */
#ifndef RELIVE_ANALYSIS_LUA_MODULES_H
#define RELIVE_ANALYSIS_LUA_MODULES_H

#include "analysis/lua_api.h"

extern const struct lua_api_module lua_module_globals; /* lua_globals.c */
extern const struct lua_api_module lua_module_guest;   /* lua_guest.c */
extern const struct lua_api_module lua_module_json;    /* lua_show.c */
extern const struct lua_api_module lua_module_session; /* lua_session.c */
extern const struct lua_api_module lua_module_log;     /* lua_log.c */
extern const struct lua_api_module lua_module_marks;   /* lua_marks.c */
extern const struct lua_api_module lua_module_crash;   /* lua_crash.c */
extern const struct lua_api_module lua_module_view;    /* lua_view.c */
extern const struct lua_api_module lua_module_unwind,
    lua_module_hotspots; /* lua_unwind.c */
extern const struct lua_api_module lua_module_symbols; /* lua_symbols.c */
extern const struct lua_api_module lua_module_registers, lua_module_memory,
    lua_module_screen; /* lua_machine.c */
extern const struct lua_api_module lua_module_stats, lua_module_sample,
    lua_module_jit; /* lua_stats.c, lua_profile.c */

extern const struct lua_api_module lua_module_session_scan, lua_module_scan,
    lua_module_calls; /* lua_scan.c */
extern const struct lua_api_module lua_module_session_trace, lua_module_trace,
    lua_module_rows; /* lua_trace.c */

/* ---- lua_machine.c --------------------------------------------------------
 */

/* Push view.regs, view.mem, ... of a place. */
void lua_push_registers(lua_State *L, struct lua_session *ls,
                        struct machine_place place);
enum lua_space { LUA_SPACE_LINEAR, LUA_SPACE_PHYSICAL, LUA_SPACE_ROOT };
/* root: a value of CR3, for LUA_SPACE_ROOT. */
void lua_push_memory(lua_State *L, struct lua_session *ls,
                     struct machine_place place, enum lua_space space,
                     uint64_t root);
void lua_push_screen(lua_State *L, struct lua_session *ls,
                     struct machine_place place);

/* ---- lua_view.c -----------------------------------------------------------
 */

/* Return addresses on the stack of a machine, linear, with the stack's address
 * behind each; the first is the current instruction. Exact: a direct call
 * counts only when it leads to at most 64 KiB before the frame inside it, which
 * drops most stale words, and frames behind a tail call too. */
struct lua_frame {
    uint64_t pc, sp;
};
unsigned lua_backtrace(struct machine *m, struct lua_frame *frames,
                       unsigned most, bool is_exact);

/* ---- lua_show.c -----------------------------------------------------------
 */

/* lua_CFunctions: value -> string. */
int lua_show(lua_State *L);
int lua_json_encode(lua_State *L);
/* Push the value of a JSON text. */
void lua_push_json(lua_State *L, const char *text, size_t bytes);
/* A writer that Lua collects, pushed; and the string of what it holds. */
struct writer *lua_push_writer(lua_State *L);
void lua_push_written(lua_State *L, const struct writer *w);

#endif
