/* Every module that scripts see; one line each. */
#include "analysis/lua_modules.h"

#include "analysis/lua_api.h"

const struct lua_api_module *const lua_api_modules[] = {
    &lua_module_globals,
    &lua_module_guest,
    &lua_module_json,
    &lua_module_session,
    &lua_module_log,
    &lua_module_marks,
    &lua_module_crash,
    &lua_module_view,
    &lua_module_symbols,
    &lua_module_registers,
    &lua_module_memory,
    &lua_module_screen,
    &lua_module_session_scan,
    &lua_module_scan,
    &lua_module_calls,
    &lua_module_session_trace,
    &lua_module_trace,
    &lua_module_rows,
    &lua_module_stats,
    &lua_module_sample,
    &lua_module_jit,
    &lua_module_unwind,
    &lua_module_hotspots,
    NULL,
};
