/* relive info: what is in a session. */
#include "replay/info.h"
#include "cli/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const struct option_row info_options[] = {
    {"json", 0, NULL, "print JSON", take_json},
    {0},
};

static void print_date(int64_t seconds)
{
    struct tm utc;
    char text[40];
    time_t t = (time_t)seconds;
    if (gmtime_r(&t, &utc) &&
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &utc) > 0)
        (void)printf("recorded   %s\n", text);
}

static void print_length(const struct session *s, const struct info *info)
{
    (void)printf("length     %llu ticks, %llu instructions, %.3f guest s\n",
                 (unsigned long long)s->end_tick,
                 (unsigned long long)info->insns, (double)info->guest_ns / 1e9);
    if (s->torn)
        (void)printf("end        torn: the recorder did not end it\n");
    else if (s->end_reason == STOP_DEBUG_EXIT)
        (void)printf("end        %s, value %u\n",
                     stop_reason_name(s->end_reason), s->end_value);
    else
        (void)printf("end        %s\n", stop_reason_name(s->end_reason));
}

static void print_media(const struct session *s)
{
    for (unsigned i = 0; i < s->media_count; i++)
        (void)printf("%-10s %s (%llu bytes)\n", s->media[i].role,
                     s->media[i].path, (unsigned long long)s->media[i].bytes);
}

static void print_contents(const struct info *info)
{
    static const char *const channels[OUT_CHANNELS] = {"serial", "debugcon",
                                                       "post"};
    (void)printf("events     ");
    const char *comma = "";
    for (unsigned t = 1; t < EVENT_TYPE_COUNT; t++) {
        if (!info->events_by_type[t])
            continue;
        (void)printf("%s%u %s", comma, info->events_by_type[t],
                     event_type_name((enum event_type)t));
        comma = ", ";
    }
    (void)printf("%s\noutput     ", *comma ? "" : "none");
    comma = "";
    for (unsigned c = 0; c < OUT_CHANNELS; c++) {
        (void)printf("%s%llu bytes %s", comma,
                     (unsigned long long)info->output_bytes[c], channels[c]);
        comma = ", ";
    }
    (void)printf("\nsize       %llu bytes on disk\n",
                 (unsigned long long)info->file_bytes);
    for (unsigned db = 0; db < STORE_DBS; db++)
        (void)printf("  %-10s %llu records, %llu bytes\n",
                     store_db_name((enum store_db)db),
                     (unsigned long long)info->db[db].records,
                     (unsigned long long)info->db[db].file_bytes);
}

static bool print_text(const struct session *s, const struct info *info)
{
    char *config = machine_config_to_json(&s->config, CONFIG_MACHINE);
    char *engine = machine_config_to_json(&s->config, CONFIG_ENGINE);
    bool ok = config && engine;
    if (!ok)
        goto done;
    (void)printf("session    %s\nformat     %u, made by %s\n",
                 store_path(s->store), s->format, s->build);
    print_date(s->created);
    print_length(s, info);
    print_media(s);
    print_contents(info);
    (void)printf("machine    %s\nengine     %s\n", config,
                 s->config.engine.kind == ENGINE_UNSET ? "not recorded"
                                                       : engine);
done:
    free(config);
    free(engine);
    return ok;
}

static bool print_json(const struct session *s, const struct info *info)
{
    char *text = info_json(s, info);
    if (!text)
        return false;
    (void)printf("%s\n", text);
    free(text);
    return true;
}

static int run(const struct cli_options *o)
{
    struct session *s;
    struct info info;
    struct error err;
    char warning[600];
    if (!session_open(o->session, &s, &err))
        return cli_fail(&err);
    bool ok = info_gather(s, &info, &err);
    if (ok) {
        session_warning(s, warning, sizeof warning);
        if (warning[0])
            cli_warn(warning);
        ok = (o->json ? print_json(s, &info) : print_text(s, &info)) ||
             error_set(&err, ERR_NOMEM, "%s: out of memory", o->session);
    }
    session_close(s);
    return ok ? STATUS_OK : cli_fail(&err);
}

const struct command command_info = {
    .name = "info",
    .synopsis = "SESSION [--json]",
    .summary = "show what is in a session",
    .details = "Show the machine, the media, the length, the events and the\n"
               "sizes of a session.",
    .groups = {info_options},
    .takes_session = true,
    .run = run,
};
