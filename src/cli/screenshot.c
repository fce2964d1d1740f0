/* relive screenshot: what the guest showed at a tick. */
#include "cli/commands.h"
#include "cli/replay.h"

static bool take_at(struct cli_options *o, const char *v, struct error *err)
{
    return tick_option_parse(&o->at, "at", v, err);
}

static const struct option_row screenshot_options[] = {
    {"at", 0, "TICK", "the tick, or guest time like 2.5s", take_at},
    {"output", 'o', "FILE", "the PNG file to write", take_output},
    {"hud", 0, NULL,
     "draw a panel of figures over it, of the replay up to the tick", take_hud},
    {0},
};

static bool take_picture(struct replay *r, const struct cli_options *o,
                         struct error *err)
{
    if (!o->at.is_given || !o->output)
        return error_set(err, ERR_USAGE,
                         "screenshot: expected --at TICK and -o FILE.png (see "
                         "relive screenshot --help)");
    if (!replay_open(r, o, err))
        return false;
    uint32_t mhz = machine_config(r->setup.machine)->cpu_mhz;
    return replay_go_to(r, o, tick_option_ticks(&o->at, mhz, 0), err) &&
           replay_screenshot(r, o->output, err);
}

static int write_picture(struct replay *r, const struct cli_options *o)
{
    struct error err;
    if (take_picture(r, o, &err))
        return STATUS_OK;
    (void)cli_fail(&err);
    return r->replayer && replayer_report(r->replayer)->diverged ? STATUS_GUEST
                                                                 : STATUS_BAD;
}

static int run(const struct cli_options *o)
{
    return replay_command(o, write_picture);
}

const struct command command_screenshot = {
    .name = "screenshot",
    .synopsis = "SESSION --at TICK -o FILE.png",
    .summary = "write what the screen showed at a tick",
    .details = "Replay the session up to a tick and write the screen to a PNG\n"
               "file.",
    .groups = {screenshot_options, engine_options, media_options},
    .takes_session = true,
    .run = run,
};
