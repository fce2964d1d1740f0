/* The modules of the binding files, for the list in lua_modules.c. */
#ifndef RELIVE_ANALYSIS_LUA_MODULES_H
#define RELIVE_ANALYSIS_LUA_MODULES_H

#include "analysis/lua_api.h"

extern const struct lua_api_module lua_module_globals; /* lua_globals.c */
extern const struct lua_api_module lua_module_session; /* lua_session.c */
extern const struct lua_api_module lua_module_view;    /* lua_view.c */

#endif
