#include "lib_lualab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *stop(void *context)
{
    struct lualab *lab = context;
    if (lab->looks_left == 0)
        return NULL;
    if (lab->looks_left > 1)
        lab->looks_left--;
    return lab->looks_left == 1 ? "told to stop" : NULL;
}

void lualab_open(struct lualab *lab, struct travelsession *s, bool allows_files,
                 uint64_t memory)
{
    struct error err;
    memset(lab, 0, sizeof *lab);
    travelsession_open(s, false, true);
    lab->travelsession = s;
    lab->session.travel = s->travel;
    lab->session.machine = s->machine;
    lab->session.session = replayer_session(s->replayer);
    lab->session.path = s->path;
    lab->host.context = lab;
    lab->host.stop = stop;
    lab->host.allows_files = allows_files;
    lab->vm = lua_vm_new(&lab->session, &lab->host, memory, &err);
    assert_non_null(lab->vm);
}

void lualab_close(struct lualab *lab)
{
    lua_vm_free(lab->vm);
    lua_session_release(&lab->session);
    travelsession_close(lab->travelsession);
}

void lualab_ok(struct lualab *lab, const char *code)
{
    struct error err;
    if (lua_vm_run_text(lab->vm, code, "=test", &err) != LUA_VM_OK)
        fail_msg("%s: %s", code, err.text);
}

void lualab_okf(struct lualab *lab, const char *format, ...)
{
    char code[2000];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(code, sizeof code, format, args);
    va_end(args);
    assert_in_range(n, 0, sizeof code - 1);
    lualab_ok(lab, code);
}

void lualab_fails(struct lualab *lab, const char *code, const char *text)
{
    struct error err;
    assert_int_equal(lua_vm_run_text(lab->vm, code, "=test", &err),
                     LUA_VM_FAILED);
    if (!strstr(err.text, text))
        fail_msg("%s: expected '%s', found '%s'", code, text, err.text);
    assert_null(strchr(err.text, '\n'));
}
