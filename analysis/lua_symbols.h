/* Names of addresses and knowledge of the guest, for bindings of other files:
 * files that the user named first, then what the guest's memory says at the
 * place where the machine stands. */
#ifndef RELIVE_ANALYSIS_LUA_SYMBOLS_H
#define RELIVE_ANALYSIS_LUA_SYMBOLS_H

#include "analysis/guest.h"
#include "analysis/lua_api.h"

/* The guest of a session as it is where the machine stands now. Raises only
 * when there is no memory. */
struct guest *lua_session_guest(lua_State *L, struct lua_session *ls);

/* "name" or "module!name"; false: unknown. */
bool lua_symbols_find(lua_State *L, struct lua_session *ls, const char *name,
                      struct symbol *out);
bool lua_symbols_lookup(lua_State *L, struct lua_session *ls,
                        uint64_t address, struct symbol_place *out);
/* "module!name+0x1c", or "0x...". */
void lua_symbols_format(lua_State *L, struct lua_session *ls,
                        uint64_t address, char *out, size_t bytes);

/* For the command line's --symbols FILE@ADDRESS. */
bool lua_symbols_add_file(struct lua_session *ls, const char *argument,
                          struct error *err);

#endif
