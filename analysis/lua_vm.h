/* A Lua state for scripts that nobody has read: bounded in memory, stoppable,
 * and without ways to the host but those of lua_api.h.
 *
 * No os.execute, io.popen, debug or bytecode, ever; io, os.remove, dofile and
 * the like with allows_files only; require() finds files beside the script.
 * What cannot be stopped by Lua's hooks is kept away from scripts: tables get
 * no __gc, for those run without hooks. One library call (a hostile pattern in
 * string.find) can still run for long: the host's watchdog is for that. */
#ifndef RELIVE_ANALYSIS_LUA_VM_H
#define RELIVE_ANALYSIS_LUA_VM_H

#include "analysis/lua_api.h"

struct lua_vm;

/* ls and host are borrowed. memory_bytes: of Lua's own objects; 0: no limit. */
struct lua_vm *lua_vm_new(struct lua_session *ls, const struct lua_host *host,
                          uint64_t memory_bytes, struct error *err);
void lua_vm_free(struct lua_vm *vm); /* takes NULL */
lua_State *lua_vm_state(struct lua_vm *vm);

enum lua_vm_result {
    LUA_VM_OK,
    LUA_VM_EXIT,   /* the script called exit(): lua_vm_status() */
    LUA_VM_FAILED, /* err: the script's error */
    LUA_VM_PARTIAL /* the text is the beginning of a longer one */
};

/* Run a file with its arguments in `arg` and `...`. */
enum lua_vm_result lua_vm_run_file(struct lua_vm *vm, const char *path,
                                   int count, char **arguments,
                                   struct error *err);
/* Run a text, an expression or statements; what it returns is printed, as JSON
 * when the host wants that. */
enum lua_vm_result lua_vm_run_text(struct lua_vm *vm, const char *text,
                                   const char *name, struct error *err);
int lua_vm_status(const struct lua_vm *vm);

/* Names that go on from `text` ("session:wr"), each as the whole text that
 * would stand there; in order. */
typedef void lua_vm_complete_fn(void *context, const char *text);
void lua_vm_complete(struct lua_vm *vm, const char *text,
                     lua_vm_complete_fn *fn, void *context);

#endif
