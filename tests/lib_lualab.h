/* Scripts over the session of lib_travelsession. */
#ifndef RELIVE_TESTS_LIB_LUALAB_H
#define RELIVE_TESTS_LIB_LUALAB_H

#include "analysis/lua_vm.h"
#include "lib_travelsession.h"

struct lualab {
    struct lua_session session;
    struct lua_host host;
    struct lua_vm *vm;
    struct travelsession *travelsession; /* borrowed */
    unsigned looks_left; /* until scripts are told to stop; 0: they never are */
};

/* memory: limit of Lua's own objects in bytes; 0: none. */
void lualab_open(struct lualab *lab, struct travelsession *s, bool allows_files,
                 uint64_t memory);
void lualab_close(struct lualab *lab);

/* Run code that must succeed; code made of a format; code that must fail with
 * one line that has the text in it. */
void lualab_ok(struct lualab *lab, const char *code);
__attribute__((format(printf, 2, 3))) void lualab_okf(struct lualab *lab,
                                                      const char *format, ...);
void lualab_fails(struct lualab *lab, const char *code, const char *text);

#endif
