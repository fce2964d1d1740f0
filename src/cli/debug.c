/* relive debug: a session under gdb, forwards and backwards. */
#include "analysis/crash.h"
#include "analysis/guest_print.h"
#include "cli/commands.h"
#include "cli/replay.h"
#include "host/listener.h"
#include "replay/gdb_server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- options --------------------------------------------------------------
 */

static bool take_at(struct cli_options *o, const char *v, struct error *err)
{
    if (strcmp(v, "end") == 0) {
        o->at = (struct tick_option){.is_given = true, .value = UINT64_MAX};
        return true;
    }
    return tick_option_parse(&o->at, "at", v, err);
}

static bool take_listen(struct cli_options *o, const char *v, struct error *err)
{
    (void)err;
    o->listen = v;
    return true;
}

static bool take_gdb(struct cli_options *o, const char *v, struct error *err)
{
    (void)v;
    (void)err;
    o->with_gdb = true;
    return true;
}

static bool take_arch(struct cli_options *o, const char *v, struct error *err)
{
    o->arch = v;
    return strcmp(v, "i386") == 0 || strcmp(v, "x86-64") == 0 ||
           error_set(err, ERR_USAGE,
                     "--arch: expected i386 or x86-64, found '%.100s'", v);
}

static const struct option_row debug_options[] = {
    {"at", 0, "TICK", "where to begin: a tick, guest time like 2.5s, or end",
     take_at},
    {"listen", 0, "WHERE",
     "HOST:PORT or unix:PATH for gdb's target remote (127.0.0.1:1234)",
     take_listen},
    {"gdb", 0, NULL, "start gdb here and end with it", take_gdb},
    {"arch", 0, "ARCH",
     "what gdb is told: i386 or x86-64 (default: as the guest ended)",
     take_arch},
    {0},
};

/* ---- the server's surroundings ---------------------------------------------
 */

struct debug {
    struct replay replay;
    struct travel *travel;
    struct gdb_server *server;
    struct guest *guest; /* made when first asked about */
    struct listener listener;
    bool is_listening;
    pid_t gdb;               /* 0: none was started */
    char dir[LISTENER_PATH]; /* of --gdb's files; "": none */
    char script[LISTENER_PATH + 16];
};

static long receive(void *context, void *bytes, size_t most, bool waits)
{
    struct debug *d = context;
    return listener_receive(&d->listener, bytes, most, waits);
}

static bool send_bytes(void *context, const void *bytes, size_t count)
{
    struct debug *d = context;
    return listener_send(&d->listener, bytes, count);
}

static bool screenshot(void *context, struct machine *m, const char *path,
                       struct error *err)
{
    struct debug *d = context;
    (void)m;
    return replay_screenshot(&d->replay, path, err);
}

static bool find_crash(void *context, struct machine_place *place,
                       struct error *err)
{
    struct debug *d = context;
    struct crash c;
    if (!crash_find(d->travel, &c, err))
        return false;
    if (c.kind == CRASH_NONE)
        return error_set(err, ERR_INPUT, "nothing says that the guest failed");
    *place = c.place;
    return true;
}

static void ask_guest(void *context, struct machine *m, const char *question,
                      const char *argument, struct writer *out)
{
    struct debug *d = context;
    if (!d->guest)
        d->guest = guest_new();
    if (d->guest)
        guest_print(d->guest, m, question, argument, out);
}

static void announce(void *context, const char *line)
{
    (void)context;
    cli_warn(line);
}

/* ---- starting
 * ---------------------------------------------------------------- */

/* Is the guest a 64-bit one? It is told by its state at the session's last
 * snapshot, or at the place where debugging begins. */
static bool guest_is_64(struct debug *d, struct error *err, bool *ok)
{
    *ok = replayer_seek(d->replay.replayer, UINT64_MAX, err);
    return *ok && gdb_target_of(d->replay.setup.machine) == GDB_X86_64;
}

static bool begin(struct debug *d, const struct cli_options *o,
                  struct error *err)
{
    struct gdb_host host = {.context = d,
                            .receive = receive,
                            .send = send_bytes,
                            .screenshot = screenshot,
                            .find_crash = find_crash,
                            .ask_guest = ask_guest,
                            .announce = announce};
    bool ok;
    if (!replay_open(&d->replay, o, err))
        return false;
    struct machine *m = d->replay.setup.machine;
    bool is_64 = guest_is_64(d, err, &ok);
    if (!ok)
        return false;
    d->travel = travel_new(d->replay.replayer, m, 0, err);
    if (!d->travel)
        return false;
    uint64_t tick = tick_option_ticks(&o->at, machine_config(m)->cpu_mhz, 0);
    if (travel_goto(d->travel, (struct machine_place){tick, 0}, err) ==
        TRAVEL_FAILED)
        return false;
    is_64 |= gdb_target_of(m) == GDB_X86_64;
    if (o->arch)
        is_64 = strcmp(o->arch, "x86-64") == 0;
    d->server =
        gdb_server_new(d->travel, is_64 ? GDB_X86_64 : GDB_I386, &host, err);
    return d->server != NULL;
}

#define GDB_SOCKET "/socket"

/* Behind monitor commands gdb must look at the machine anew. */
static const char gdb_script[] = "set confirm off\n"
                                 "define hookpost-monitor\n"
                                 "  maintenance flush register-cache\n"
                                 "  maintenance flush dcache\n"
                                 "end\n";

/* A directory in $TMPDIR or /tmp, its path short enough for a socket in it. */
static bool make_dir(struct debug *d, struct error *err)
{
    static const char name[] = "/relive-debug-XXXXXX";
    const size_t most = LISTENER_PATH - sizeof name - strlen(GDB_SOCKET);
    const char *tmp = getenv("TMPDIR");
    if (!tmp || !*tmp)
        tmp = "/tmp";
    if (strlen(tmp) > most)
        return error_set(err, ERR_USAGE,
                         "--gdb: expected a TMPDIR of at most %zu bytes, which "
                         "a socket's path has room for, found '%.200s'",
                         most, tmp);
    (void)snprintf(d->dir, sizeof d->dir, "%s%s", tmp, name);
    if (mkdtemp(d->dir))
        return true;
    d->dir[0] = 0;
    return error_set(err, ERR_IO, "--gdb: no directory in %s: %s", tmp,
                     strerror(errno));
}

static bool write_script(struct debug *d, struct error *err)
{
    (void)snprintf(d->script, sizeof d->script, "%s/relive.gdb", d->dir);
    FILE *f = fopen(d->script, "w");
    bool ok = f && fputs(gdb_script, f) >= 0;
    if (f && fclose(f) != 0)
        ok = false;
    return ok ||
           error_set(err, ERR_IO, "--gdb: %s: %s", d->script, strerror(errno));
}

static bool start_gdb(struct debug *d, struct error *err)
{
    char target[LISTENER_NAME + 40];
    (void)snprintf(target, sizeof target, "target remote %s", d->listener.name);
    (void)fflush(NULL);
    d->gdb = fork();
    if (d->gdb < 0)
        return error_set(err, ERR_IO, "--gdb: %s", strerror(errno));
    if (d->gdb == 0) {
        (void)execlp("gdb", "gdb", "-q", "-x", d->script, "-ex", target,
                     (char *)NULL);
        (void)fprintf(stderr, "relive: --gdb: gdb: %s\n", strerror(errno));
        _exit(127);
    }
    /* Ctrl-C is gdb's; it tells us what it means. */
    (void)signal(SIGINT, SIG_IGN);
    return true;
}

static bool listen_here(struct debug *d, const struct cli_options *o,
                        struct error *err)
{
    char spec[LISTENER_PATH + 16];
    if (o->with_gdb && (!make_dir(d, err) || !write_script(d, err)))
        return false;
    (void)snprintf(spec, sizeof spec, "unix:%s" GDB_SOCKET, d->dir);
    const char *where = o->listen     ? o->listen
                        : o->with_gdb ? spec
                                      : "127.0.0.1:1234";
    if (!listener_open(&d->listener, where, "--listen", err))
        return false;
    d->is_listening = true;
    if (o->with_gdb)
        return start_gdb(d, err);
    (void)printf("waiting for gdb: target remote %s\n", d->listener.name);
    (void)fflush(stdout);
    return true;
}

/* False with no sentence: gdb has ended without a word. */
static bool take_client(struct debug *d, struct error *err)
{
    err->text[0] = 0;
    while (d->gdb && !listener_wait(&d->listener, 200))
        if (waitpid(d->gdb, NULL, WNOHANG) == d->gdb) {
            d->gdb = 0;
            return false;
        }
    return listener_accept(&d->listener, err);
}

static int debug(struct debug *d, const struct cli_options *o)
{
    struct error err;
    if (!begin(d, o, &err) || !listen_here(d, o, &err))
        return cli_fail(&err);
    if (!take_client(d, &err))
        return err.text[0] ? cli_fail(&err) : STATUS_BAD;
    (void)gdb_server_serve(d->server);
    listener_hang_up(&d->listener);
    return STATUS_OK;
}

static void end(struct debug *d)
{
    if (d->is_listening)
        listener_close(&d->listener);
    if (d->gdb > 0)
        (void)waitpid(d->gdb, NULL, 0);
    if (d->script[0])
        (void)unlink(d->script);
    if (d->dir[0])
        (void)rmdir(d->dir);
    gdb_server_free(d->server);
    guest_free(d->guest);
    travel_free(d->travel);
    replay_close(&d->replay);
}

static int run(const struct cli_options *o)
{
    struct error err;
    struct debug *d = calloc(1, sizeof *d);
    if (!d) {
        error_set(&err, ERR_NOMEM, "no memory to start");
        return cli_fail(&err);
    }
    int status = debug(d, o);
    end(d);
    free(d);
    return status;
}

const struct command command_debug = {
    .name = "debug",
    .synopsis = "SESSION [--at TICK] [--gdb | --listen WHERE]",
    .summary = "go through a session with gdb, forwards and backwards",
    .details =
        "Serve the recorded machine to gdb: breakpoints, watchpoints, stepi,\n"
        "continue, and all of them in reverse (reverse-stepi, "
        "reverse-continue,\n"
        "...). 'monitor help' in gdb lists what else there is. Changing "
        "memory\n"
        "or registers starts a what-if branch: the recording stays as it is,\n"
        "and going back drops the branch.",
    .groups = {debug_options, engine_options, media_options},
    .takes_session = true,
    .run = run,
};
