/* The modules of the binding files, for the list in lua_modules.c, and what the
 * files share. */
#ifndef RELIVE_ANALYSIS_LUA_MODULES_H
#define RELIVE_ANALYSIS_LUA_MODULES_H

#include "analysis/lua_api.h"

extern const struct lua_api_module lua_module_globals; /* lua_globals.c */
extern const struct lua_api_module lua_module_json;    /* lua_show.c */
extern const struct lua_api_module lua_module_session; /* lua_session.c */
extern const struct lua_api_module lua_module_log;     /* lua_log.c */
extern const struct lua_api_module lua_module_view;    /* lua_view.c */
extern const struct lua_api_module lua_module_registers, lua_module_memory,
    lua_module_screen; /* lua_machine.c */

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
