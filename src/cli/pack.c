/* relive pack and relive unpack: a session as one file. */
#include "replay/pack.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/replay.h"
#include "cli/signals.h"
#include "host/blob.h"
#include "host/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOB_MAX = 1 << 30 };

static bool take_with_media(struct cli_options *o, const char *v,
                            struct error *err)
{
    (void)v;
    (void)err;
    o->with_media = true;
    return true;
}

static const struct option_row pack_options[] = {
    {"output", 'o', "FILE", "the file to make (default: SESSION.relive)",
     take_output},
    {"with-media", 0, NULL,
     "replay the session and pack what it reads of firmware, "
     "kernels and disks, so that it replays without them",
     take_with_media},
    {0},
};

/* ---- with media -----------------------------------------------------------
 */

struct packing {
    struct replay replay;
    struct progress progress;
};

static void on_progress(void *context, const struct replayer *replayer,
                        uint64_t tick)
{
    struct packing *p = context;
    uint64_t now = clock_monotonic_ns();
    struct machine *m = p->replay.setup.machine;
    if (progress_due(&p->progress, now)) {
        struct progress_figures f = {.tick = tick,
                                     .insns = machine_insns(m),
                                     .end_tick =
                                         replayer_session(replayer)->end_tick};
        progress_show(&p->progress, now, &f);
    }
    if (signals_arrived())
        machine_request_stop(m);
}

/* Replay everything, noting what is read. */
static bool note_reads(struct packing *p, const struct cli_options *o,
                       struct error *err)
{
    p->replay.notes_reads = true;
    if (!replay_open(&p->replay, o, err))
        return false;
    struct replayer *r = p->replay.replayer;
    progress_init(&p->progress, false,
                  machine_config(p->replay.setup.machine)->cpu_mhz, 0, 0);
    replayer_set_progress(r, on_progress, p);
    signals_install(NULL);
    enum replay_stop stop;
    do
        stop = replayer_run(r, UINT64_MAX, err);
    while (stop == REPLAY_REQUEST && !signals_arrived());
    progress_clear(&p->progress);
    if (stop == REPLAY_REQUEST)
        return error_set(err, ERR_IO, "%s: interrupted", o->session);
    return stop == REPLAY_END || stop == REPLAY_TORN;
}

static bool put_blob(const struct media_identity *id, unsigned index,
                     struct store *out, struct store_batch *b,
                     struct error *err)
{
    void *data;
    size_t bytes;
    if (!blob_read(id->path, BLOB_MAX, &data, &bytes, err))
        return false;
    bool ok = content_put_blob(out, b, index, data, bytes, err);
    free(data);
    return ok;
}

static bool put_media(void *context, struct store *out, struct store_batch *b,
                      struct error *err)
{
    struct packing *p = context;
    const struct session *s = replayer_session(p->replay.replayer);
    for (unsigned i = 0; i < s->media_count; i++) {
        struct content content;
        enum store_found found = content_find(s, i, &content, err);
        content_fini(&content);
        bool ok = found == STORE_FOUND;
        if (found == STORE_NONE)
            ok = p->replay.setup.reads[i]
                     ? content_put_reads(out, b, i, p->replay.setup.reads[i],
                                         err)
                     : put_blob(&s->media[i], i, out, b, err);
        if (!ok)
            return false;
    }
    return true;
}

/* ---- pack -----------------------------------------------------------------
 */

static bool pack(struct packing *p, const struct cli_options *o,
                 struct error *err)
{
    char name[4200];
    struct copy_report r;
    struct copy_options c = {.to = UINT64_MAX};
    size_t length = strlen(o->session);
    while (length > 1 && o->session[length - 1] == '/')
        length--;
    (void)snprintf(name, sizeof name, "%.*s.relive", (int)length, o->session);
    const char *file = o->output ? o->output : name;
    if (o->with_media) {
        if (!note_reads(p, o, err))
            return false;
        c.extra = put_media;
        c.extra_context = p;
    }
    if (!session_pack(o->session, file, &c, &r, err))
        return false;
    (void)printf("%s: %llu bytes%s\n", file, (unsigned long long)r.bytes_after,
                 o->with_media ? "; it replays without its media" : "");
    return true;
}

static int run_pack(const struct cli_options *o)
{
    struct error err = {0};
    struct packing *p = calloc(1, sizeof *p);
    if (!p) {
        error_set(&err, ERR_NOMEM, "no memory to start");
        return cli_fail(&err);
    }
    bool ok = pack(p, o, &err);
    bool has_diverged =
        p->replay.replayer && replayer_report(p->replay.replayer)->diverged;
    replay_close(&p->replay);
    free(p);
    if (ok)
        return STATUS_OK;
    (void)cli_fail(&err);
    return has_diverged ? STATUS_GUEST : STATUS_BAD;
}

const struct command command_pack = {
    .name = "pack",
    .synopsis = "SESSION [-o FILE] [--with-media]",
    .summary = "make one file of a session, to send it",
    .details =
        "Write a session into one compressed file, for relive unpack. Media\n"
        "are named in it, not included, unless --with-media says so; then\n"
        "the session is replayed once to learn which blocks it reads.",
    .groups = {pack_options, engine_options, media_options},
    .takes_session = true,
    .run = run_pack,
};

/* ---- unpack ---------------------------------------------------------------
 */

static const struct option_row unpack_options[] = {
    {"output", 'o', "SESSION",
     "the session to make: a new directory (default: FILE "
     "without .relive, here)",
     take_output},
    {0},
};

static bool default_name(const char *file, char *name, size_t name_bytes,
                         struct error *err)
{
    const char *slash = strrchr(file, '/');
    const char *base = slash ? slash + 1 : file;
    size_t length = strlen(base);
    if (length <= 7 || length - 7 >= name_bytes ||
        strcmp(base + length - 7, ".relive") != 0)
        return error_set(err, ERR_USAGE,
                         "unpack: expected -o SESSION for a file that is not "
                         "called NAME.relive");
    memcpy(name, base, length - 7);
    name[length - 7] = 0;
    return true;
}

static int run_unpack(const struct cli_options *o)
{
    struct error err;
    char name[300];
    const char *to = o->output;
    if (!to) {
        if (!default_name(o->session, name, sizeof name, &err))
            return cli_fail(&err);
        to = name;
    }
    if (!session_unpack(o->session, to, &err))
        return cli_fail(&err);
    (void)printf("%s\n", to);
    return STATUS_OK;
}

const struct command command_unpack = {
    .name = "unpack",
    .synopsis = "FILE [-o SESSION]",
    .summary = "make a session of a packed file",
    .details = "Make a session directory of what relive pack has written.",
    .groups = {unpack_options},
    .takes_session = true,
    .run = run_unpack,
};
