/* relive export: the machine at a tick, as a file for other tools. */
#include "analysis/export.h"
#include "analysis/export_json.h"
#include "cli/commands.h"
#include "cli/replay.h"
#include "replay/travel.h"

#include <string.h>

static bool take_at(struct cli_options *o, const char *v, struct error *err)
{
    return tick_option_parse(&o->at, "at", v, err);
}

static bool take_format(struct cli_options *o, const char *v, struct error *err)
{
    o->format = v;
    static const char *const formats[] = {"png", "elfcore", "rawmem", "dmp",
                                          "json"};
    for (unsigned i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (strcmp(v, formats[i]) == 0)
            return true;
    return error_set(err, ERR_USAGE,
                     "--format: expected png, elfcore, rawmem, dmp or json, "
                     "found '%.100s'",
                     v);
}

static const struct option_row export_options[] = {
    {"at", 0, "TICK", "the tick, or guest time like 2.5s (default: the end)",
     take_at},
    {"format", 0, "FORMAT",
     "png: the screen; elfcore: registers and memory for gdb; rawmem: RAM by "
     "physical address; dmp: a Windows crash dump; json: registers, tables and "
     "chips",
     take_format},
    {"output", 'o', "FILE", "the file to write", take_output},
    {"hud", 0, NULL, "png: draw a panel of figures over the screen", take_hud},
    {0},
};

static bool write_file(struct replay *r, const struct cli_options *o,
                       struct error *err)
{
    if (strcmp(o->format, "rawmem") == 0)
        return export_raw_memory(r->setup.machine, o->output, err);
    if (strcmp(o->format, "json") == 0)
        return export_json(r->setup.machine, o->output, err);
    if (strcmp(o->format, "dmp") == 0) {
        bool has_kernel;
        if (!export_dmp(r->setup.machine, o->output, &has_kernel, err))
            return false;
        if (!has_kernel)
            cli_warn("no Windows kernel was found at that tick: the dump has "
                     "registers and memory only");
        return true;
    }
    return export_elf_core(r->setup.machine, o->output, err);
}

static bool export_at(struct replay *r, const struct cli_options *o,
                      struct error *err)
{
    if (!o->format || !o->output)
        return error_set(err, ERR_USAGE,
                         "export: expected --format FORMAT and -o FILE (see "
                         "relive export --help)");
    bool is_png = strcmp(o->format, "png") == 0;
    if (o->hud && !is_png)
        return error_set(err, ERR_USAGE,
                         "--hud: expected with --format png, found %s",
                         o->format);
    if (!replay_open(r, o, err))
        return false;
    uint32_t mhz = machine_config(r->setup.machine)->cpu_mhz;
    uint64_t end = replayer_session(r->replayer)->end_tick;
    uint64_t tick = tick_option_ticks(&o->at, mhz, end);
    if (is_png)
        return replay_go_to(r, o, tick, err) &&
               replay_screenshot(r, o->output, err);
    if (tick > end)
        return error_set(err, ERR_USAGE,
                         "--at: expected a tick from 0 to %llu, the end of the "
                         "session, found %llu",
                         (unsigned long long)end, (unsigned long long)tick);
    struct travel *t = travel_new(r->replayer, r->setup.machine, 0, err);
    bool ok =
        t &&
        travel_goto(t, (struct machine_place){tick, 0}, err) != TRAVEL_FAILED &&
        write_file(r, o, err);
    travel_free(t);
    return ok;
}

static int write_tick(struct replay *r, const struct cli_options *o)
{
    struct error err;
    return export_at(r, o, &err) ? STATUS_OK : cli_fail(&err);
}

static int run(const struct cli_options *o)
{
    return replay_command(o, write_tick);
}

const struct command command_export = {
    .name = "export",
    .synopsis = "SESSION [--at TICK] --format FORMAT -o FILE",
    .summary = "write screen, memory or a core file of a tick",
    .details =
        "Stand at a tick and write the machine for other tools. An ELF core "
        "holds\nthe CPU's registers and all RAM, by linear address as the "
        "page tables map\nit at that tick; gdb opens it (gdb vmlinux core), and "
        "crash(8) that of a Linux\nguest. A Windows crash dump takes what it "
        "says of bugcheck, modules and memory\nfrom the guest's kernel.",
    .groups = {export_options, engine_options, media_options},
    .takes_session = true,
    .run = run,
};
