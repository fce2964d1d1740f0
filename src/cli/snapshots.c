/* relive snapshots: where a session can be entered. */
#include "cli/commands.h"
#include "base/duration.h"
#include "replay/record.h"
#include "replay/session.h"
#include "replay/snapshot.h"

#include <stdio.h>

static const struct option_row snapshots_options[] = {
    {"json", 0, NULL, "print a JSON array", take_json},
    {0},
};

struct listing {
    const struct session *session;
    bool json;
    uint64_t count, pages, record_bytes;
};

static unsigned long count_blocks(const struct snapshot *s)
{
    unsigned long blocks = 0;
    for (unsigned l = SNAPSHOT_FRAMES + 1; l < SNAPSHOT_LISTS; l++)
        blocks += s->list[l].count;
    return blocks;
}

static void print_one(struct listing *l, const struct snapshot *s,
                      size_t record_bytes)
{
    uint64_t ns = duration_ns(s->tick, l->session->config.cpu_mhz);
    unsigned long frames = s->list[SNAPSHOT_FRAMES].count;
    const char *whole = s->base == SNAPSHOT_WHOLE ? "true" : "false";
    if (l->json)
        (void)printf("%s{\"tick\":%llu,\"guest_ns\":%llu,\"insns\":%llu,"
                     "\"events_before\":%u,\"whole\":%s,\"frames\":%lu,"
                     "\"disk_blocks\":%lu,\"record_bytes\":%zu}",
                     l->count ? ",\n" : "[", (unsigned long long)s->tick,
                     (unsigned long long)ns, (unsigned long long)s->insns,
                     s->events_before, whole, frames, count_blocks(s),
                     record_bytes);
    else
        (void)printf("%16llu  %10.3f s  %16llu  %8lu  %8lu  %8zu%s\n",
                     (unsigned long long)s->tick, (double)ns / 1e9,
                     (unsigned long long)s->insns, frames, count_blocks(s),
                     record_bytes, s->base == SNAPSHOT_WHOLE ? "  whole" : "");
    l->count++;
    l->record_bytes += record_bytes;
}

static bool print_all(struct listing *l, struct error *err)
{
    struct store *store = l->session->store;
    struct store_cursor c;
    struct store_bytes k, v;
    struct snapshot s;
    if (!store_cursor_open(store, STORE_SNAPSHOTS, &c, err))
        return false;
    enum store_found found = store_cursor_seek(&c, NULL, 0, &k, &v, err);
    bool ok = true;
    while (found == STORE_FOUND &&
           (ok = snapshot_unpack(&k, &v, &s, store_path(store), err))) {
        print_one(l, &s, v.bytes);
        snapshot_fini(&s);
        found = store_cursor_next(&c, &k, &v, err);
    }
    store_cursor_close(&c);
    return ok && found != STORE_BAD;
}

static bool list(struct listing *l, struct error *err)
{
    struct store_stats pages;
    if (!l->json)
        (void)printf("%16s  %12s  %16s  %8s  %8s  %8s\n", "tick", "guest time",
                     "instructions", "frames", "blocks", "bytes");
    if (l->session->format >= SNAPSHOT_FORMAT && !print_all(l, err))
        return false;
    if (!store_stats(l->session->store, STORE_PAGES, &pages, err))
        return false;
    if (l->json)
        (void)printf("%s]\n", l->count ? "" : "[");
    else
        (void)printf("%llu snapshots, %llu bytes of records, their pages in "
                     "%llu bytes\n",
                     (unsigned long long)l->count,
                     (unsigned long long)l->record_bytes,
                     (unsigned long long)pages.file_bytes);
    return true;
}

static int run(const struct cli_options *o)
{
    struct session *s;
    struct error err;
    char warning[600];
    if (!session_open(o->session, &s, &err))
        return cli_fail(&err);
    session_warning(s, warning, sizeof warning);
    if (warning[0])
        cli_warn(warning);
    struct listing l = {.session = s, .json = o->json};
    bool ok = list(&l, &err);
    session_close(s);
    return ok ? STATUS_OK : cli_fail(&err);
}

const struct command command_snapshots = {
    .name = "snapshots",
    .synopsis = "SESSION [--json]",
    .summary = "list the snapshots of a session",
    .details =
        "List the snapshots, from which seeks start: tick, guest time,\n"
        "instructions retired, and how many memory frames and disk blocks\n"
        "differ from the snapshot before (or, where it says whole, from\n"
        "nothing).",
    .groups = {snapshots_options},
    .takes_session = true,
    .run = run,
};
