/* relive traces: the stored traces of a session; deleting and exporting them.
 */
#include "analysis/trace_export.h"
#include "analysis/trace_make.h"
#include "analysis/trace_read.h"
#include "cli/commands.h"
#include "replay/session.h"
#include "replay/trace_record.h"

#include <stdio.h>
#include <string.h>

static bool take_delete(struct cli_options *o, const char *v, struct error *err)
{
    (void)err;
    o->name = v;
    o->deletes = true;
    return true;
}

static bool take_trace(struct cli_options *o, const char *v, struct error *err)
{
    (void)err;
    o->name = v;
    return true;
}

static bool take_format(struct cli_options *o, const char *v, struct error *err)
{
    o->format = v;
    return trace_export_known(v) ||
           error_set(err, ERR_USAGE,
                     "--export: expected csv, chrome, perf or drcov, found "
                     "'%.100s'",
                     v);
}

static const struct option_row traces_options[] = {
    {"json", 0, NULL, "print a JSON array", take_json},
    {"delete", 0, "NAME", "delete a trace", take_delete},
    {"export", 0, "FORMAT",
     "csv; chrome: a timeline for Perfetto; perf: stacks as of perf script; "
     "drcov: code coverage for Lighthouse",
     take_format},
    {"trace", 0, "NAME", "the one to export (default: the last one)",
     take_trace},
    {"from", 0, "TICK", "of the export: the first tick, or guest time",
     take_from},
    {"to", 0, "TICK", "of the export: the tick to stop in front of", take_to},
    {"output", 'o', "FILE", "the file to export to", take_output},
    {0},
};

static void print_one(const struct trace_head *h, bool json, bool is_first)
{
    char what[64];
    trace_what_text(h->what, what, sizeof what);
    (void)printf(json ? "%s{\"name\":\"%s\",\"what\":\"%s\",\"from\":%llu,"
                        "\"to\":%llu,\"insns\":%llu,\"accesses\":%llu,"
                        "\"devices\":%llu,\"events\":%llu,\"chunks\":%u,"
                        "\"bytes\":%llu,\"finished\":%s}"
                      : "%s%-16s %-24s %16llu %16llu %14llu %14llu %10llu "
                        "%8llu %6u %12llu%s\n",
                 !json      ? ""
                 : is_first ? "["
                            : ",\n",
                 h->name, what, (unsigned long long)h->from,
                 (unsigned long long)h->to, (unsigned long long)h->rows,
                 (unsigned long long)h->accesses,
                 (unsigned long long)h->devices, (unsigned long long)h->events,
                 h->chunks, (unsigned long long)h->bytes,
                 json             ? h->is_finished ? "true" : "false"
                 : h->is_finished ? ""
                                  : "  unfinished");
}

static bool list(struct session *s, bool json, struct error *err)
{
    struct trace_head h;
    enum store_found found;
    bool is_first = true;
    if (!json)
        (void)printf("%-16s %-24s %16s %16s %14s %14s %10s %8s %6s %12s\n",
                     "name", "what", "from", "to", "instructions", "accesses",
                     "devices", "events", "chunks", "bytes");
    for (uint32_t id = 0;
         (found = trace_head_find(s->store, id, &h, err)) == STORE_FOUND;
         id = h.id + 1, is_first = false)
        print_one(&h, json, is_first);
    if (json)
        (void)printf("%s]\n", is_first ? "[" : "");
    return found == STORE_NONE;
}

static bool remove_one(struct session *s, const char *name, struct error *err)
{
    struct trace_head h;
    enum store_found found;
    for (uint32_t id = 0;
         (found = trace_head_find(s->store, id, &h, err)) == STORE_FOUND;
         id = h.id + 1)
        if (strcmp(h.name, name) == 0)
            return trace_delete(s->store, h.id, err);
    return found == STORE_NONE &&
           error_set(err, ERR_USAGE, "%s: there is no trace named %.100s",
                     store_path(s->store), name);
}

static bool export(struct session *s, const struct cli_options *o,
                   struct error *err)
{
    struct trace *t;
    uint32_t mhz = s->config.cpu_mhz;
    struct trace_export options = {
        .from = tick_option_ticks(&o->from, mhz, 0),
        .to = tick_option_ticks(&o->to, mhz, UINT64_MAX),
        .cpu_mhz = mhz};
    if (!o->output)
        return error_set(err, ERR_USAGE,
                         "traces: expected -o FILE with --export (see relive "
                         "traces --help)");
    if (!trace_open(s, o->name, &t, err))
        return false;
    bool ok = trace_export(t, o->format, o->output, &options, err);
    trace_close(t);
    return ok;
}

static int run(const struct cli_options *o)
{
    struct session *s;
    struct error err;
    bool ok = o->deletes ? session_open_update(o->session, &s, &err)
                         : session_open(o->session, &s, &err);
    if (!ok)
        return cli_fail(&err);
    if (o->deletes)
        ok = remove_one(s, o->name, &err);
    else if (o->format)
        ok = export(s, o, &err);
    else
        ok = list(s, o->json, &err);
    session_close(s);
    return ok ? STATUS_OK : cli_fail(&err);
}

const struct command command_traces = {
    .name = "traces",
    .synopsis = "SESSION [--json | --delete NAME | --export FORMAT -o FILE]",
    .summary = "list, delete and export stored traces",
    .details =
        "List what relive trace has stored: its name, contents, ticks, rows\n"
        "and size. The space of a deleted trace is used again by the next;\n"
        "relive compact gives it back.",
    .groups = {traces_options},
    .takes_session = true,
    .run = run,
};
