/* relive query: Lua over a session, by script, by -e or at a prompt. */
#include "analysis/lua_symbols.h"
#include "analysis/lua_vm.h"
#include "base/duration.h"
#include "cli/commands.h"
#include "cli/prompt.h"
#include "cli/replay.h"
#include "cli/signals.h"
#include "host/clock.h"
#include "host/png.h"
#include "replay/mark.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_DEFAULT (UINT64_C(1) << 30)
/* A library call that no hook can stop gets so much longer. */
#define GRACE_NS UINT64_C(2000000000)

/* ---- options --------------------------------------------------------------
 */

static bool take_code(struct cli_options *o, const char *v, struct error *err)
{
    (void)err;
    o->code = v;
    return true;
}

static bool take_at(struct cli_options *o, const char *v, struct error *err)
{
    if (strcmp(v, "end") == 0) {
        o->at = (struct tick_option){.is_given = true, .value = UINT64_MAX};
        return true;
    }
    return tick_option_parse(&o->at, "at", v, err);
}

static bool take_timeout(struct cli_options *o, const char *v,
                         struct error *err)
{
    return (duration_parse(v, &o->timeout_ns) && o->timeout_ns > 0) ||
           error_set(err, ERR_USAGE,
                     "--timeout: expected a time like 30s, found '%.100s'", v);
}

static bool take_memory(struct cli_options *o, const char *v, struct error *err)
{
    o->has_script_memory = true;
    return size_parse("memory", v, &o->script_memory, err);
}

static bool take_allow_files(struct cli_options *o, const char *v,
                             struct error *err)
{
    (void)v;
    (void)err;
    o->allows_files = true;
    return true;
}

static bool take_symbols(struct cli_options *o, const char *v,
                         struct error *err)
{
    if (o->symbol_count == SYMBOL_FILES)
        return error_set(err, ERR_USAGE,
                         "--symbols: expected at most %d files", SYMBOL_FILES);
    o->symbols[o->symbol_count++] = v;
    return true;
}

static const struct option_row query_options[] = {
    {"eval", 'e', "CODE", "run CODE and print what it returns", take_code},
    {"at", 0, "TICK", "where to stand: a tick, guest time like 2.5s, or end",
     take_at},
    {"json", 0, NULL, "print JSON", take_json},
    {"symbols", 0, "FILE@ADDRESS",
     "names of addresses, from an ELF, PE or PDB file; ADDRESS is where the "
     "guest has the image's first byte (default: where the file says)",
     take_symbols},
    {"timeout", 0, "TIME", "stop the script after so much of your time, like "
     "30s", take_timeout},
    {"memory", 0, "SIZE", "of the script's values, at most (1G)", take_memory},
    {"allow-files", 0, NULL, "let the script read and write files",
     take_allow_files},
    {0},
};

/* ---- what scripts get from us ---------------------------------------------
 */

struct query {
    const struct cli_options *options; /* borrowed */
    struct lua_host host;
    struct lua_session session;
    struct lua_vm *vm;
    uint64_t deadline_ns; /* 0: none */
    char timeout_text[80];
};

/* The opener of a struct lua_session. */
struct opened {
    struct replay replay;
};

static const char *stop(void *context)
{
    const struct query *q = context;
    if (signals_arrived())
        return "interrupted";
    if (q->deadline_ns && clock_monotonic_ns() >= q->deadline_ns)
        return q->timeout_text;
    return NULL;
}

static uint64_t now_ns(void *context)
{
    (void)context;
    return clock_monotonic_ns();
}

static bool poll_stop(void *context)
{
    return stop(context) != NULL;
}

static void close_session(void *context, struct lua_session *ls)
{
    struct opened *o = ls->opener;
    (void)context;
    if (!o)
        return;
    travel_free(ls->travel);
    replay_close(&o->replay);
    free(o);
    ls->opener = NULL;
}

static bool open_session(void *context, const char *path,
                         struct lua_session *ls, struct error *err)
{
    struct query *q = context;
    struct cli_options options = *q->options;
    struct opened *o = calloc(1, sizeof *o);
    if (!o)
        return error_set(err, ERR_NOMEM, "no memory to open %.200s", path);
    ls->opener = o;
    options.session = path;
    if (!replay_open(&o->replay, &options, err)) {
        close_session(q, ls);
        return false;
    }
    ls->path = path;
    ls->machine = o->replay.setup.machine;
    ls->engine = &o->replay.setup.engine;
    ls->session = replayer_session(o->replay.replayer);
    ls->here.tick = ls->session->start_tick;
    ls->travel = travel_new(o->replay.replayer, ls->machine, 0, err);
    if (!ls->travel) {
        close_session(q, ls);
        return false;
    }
    travel_set_poll(ls->travel, poll_stop, q);
    for (unsigned i = 0; i < options.symbol_count; i++)
        if (!lua_symbols_add_file(ls, options.symbols[i], err)) {
            lua_session_release(ls);
            close_session(q, ls);
            return false;
        }
    return true;
}

static bool write_png(void *context, struct machine *m, const char *path,
                      struct error *err)
{
    struct screen screen = {0};
    (void)context;
    bool ok = machine_screen(m, &screen) ||
              error_set(err, ERR_NOMEM, "%s: no memory for a picture", path);
    ok = ok && png_write_screen(path, &screen, err);
    screen_fini(&screen);
    return ok;
}

/* ---- running --------------------------------------------------------------
 */

static bool begin(struct query *q, const struct cli_options *o,
                  struct error *err)
{
    q->options = o;
    q->host = (struct lua_host){.context = q,
                                .open = open_session,
                                .close = close_session,
                                .stop = stop,
                                .write_png = write_png,
                                .now_ns = now_ns,
                                .allows_files = o->allows_files,
                                .wants_json = o->json};
    if (o->code && o->script)
        return error_set(err, ERR_USAGE,
                         "query: expected a SCRIPT or -e CODE, found both");
    if (!open_session(q, o->session, &q->session, err))
        return false;
    const struct session *s = q->session.session;
    uint64_t tick =
        tick_option_ticks(&o->at, s->config.cpu_mhz, s->start_tick);
    q->session.here.tick = tick < s->end_tick ? tick : s->end_tick;
    q->vm = lua_vm_new(&q->session, &q->host,
                       o->has_script_memory ? o->script_memory : MEMORY_DEFAULT,
                       err);
    return q->vm != NULL;
}

static void start_clock(struct query *q)
{
    uint64_t ns = q->options->timeout_ns;
    if (!ns)
        return;
    (void)snprintf(q->timeout_text, sizeof q->timeout_text,
                   "stopped after %.3f s (--timeout)", (double)ns / 1e9);
    q->deadline_ns = clock_monotonic_ns() + ns;
    signals_watchdog(ns + GRACE_NS,
                     "relive: stopped inside a library call (--timeout)\n");
}

static int finish(struct query *q, enum lua_vm_result result,
                  const struct error *err)
{
    if (result == LUA_VM_EXIT)
        return lua_vm_status(q->vm);
    return result == LUA_VM_OK ? STATUS_OK : cli_fail(err);
}

static int query(struct query *q, const struct cli_options *o)
{
    struct error err;
    if (!begin(q, o, &err))
        return cli_fail(&err);
    signals_install(NULL);
    if (!o->script && !o->code)
        return prompt_run(q->vm);
    start_clock(q);
    if (o->script)
        return finish(q,
                      lua_vm_run_file(q->vm, o->script, o->script_count,
                                      o->script_words, &err),
                      &err);
    enum lua_vm_result result = lua_vm_run_text(q->vm, o->code, "=-e", &err);
    if (result == LUA_VM_PARTIAL)
        error_set(&err, ERR_USAGE, "-e: the code is not complete");
    return finish(q, result, &err);
}

static int run(const struct cli_options *o)
{
    struct error err;
    struct query *q = calloc(1, sizeof *q);
    if (!q) {
        error_set(&err, ERR_NOMEM, "no memory to start");
        return cli_fail(&err);
    }
    int status = query(q, o);
    const struct mark *marks;
    unsigned count = lua_session_marks(&q->session, &marks);
    lua_vm_free(q->vm);
    close_session(q, &q->session);
    if (count > 0 && !marks_add(o->session, marks, count, &err))
        status = cli_fail(&err);
    lua_session_release(&q->session);
    free(q);
    return status;
}

const struct command command_query = {
    .name = "query",
    .synopsis = "SESSION [OPTIONS] [SCRIPT.lua ARGUMENTS... | -e CODE]",
    .summary = "ask a session questions in Lua",
    .details =
        "Run a Lua 5.4 script over a recording, or, without one, a prompt.\n"
        "Options stand before SCRIPT; what follows it is the script's. It "
        "sees\nthe machine at any tick, the events and the output, and "
        "changes nothing\nof the recording. 'relive help lua' lists what "
        "there is. Scripts get no\nway to the host beside --allow-files.",
    .groups = {query_options, engine_options, media_options},
    .takes_session = true,
    .takes_script = true,
    .run = run,
};

/* ---- help lua -------------------------------------------------------------
 */

void help_lua(void)
{
    struct writer w;
    writer_init(&w);
    lua_api_reference(&w);
    (void)fwrite(w.data, 1, w.used, stdout);
    writer_fini(&w);
}
