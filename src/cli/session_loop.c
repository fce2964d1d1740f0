#include "cli/session_loop.h"

#include "base/bytes.h"
#include "cli/signals.h"
#include "host/clock.h"
#include "base/duration.h"
#include "host/png.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Guest time between two looks around, and of the grid on which the script and
 * --until-serial look at the guest. */
#define SLICE_NS UINT64_C(1000000)
/* COM1 at 9600 baud takes a byte a millisecond; at most this much debt is made
 * up for when the host was too slow. */
#define TYPED_NS    UINT64_C(10000000)
#define DEBT_MAX_NS UINT64_C(200000000)

enum {
    TYPED_AT_ONCE = 32 /* bytes a TYPED_NS: fits what is not read for a while */
};

/* ---- watching for a text --------------------------------------------------
 */

static void watch_init(struct text_watch *w, const char *text)
{
    memset(w, 0, sizeof *w);
    w->text = text;
    w->bytes = text ? (unsigned)strlen(text) : 0;
    for (unsigned i = 1, k = 0; i < w->bytes; i++) {
        while (k > 0 && text[i] != text[k])
            k = w->fallback[k - 1];
        if (text[i] == text[k])
            k++;
        w->fallback[i] = k;
    }
}

static void watch_see(struct text_watch *w, const char *bytes, size_t count)
{
    if (!w->text)
        return;
    for (size_t i = 0; i < count && !w->is_found; i++) {
        while (w->matched > 0 && bytes[i] != w->text[w->matched])
            w->matched = w->fallback[w->matched - 1];
        if (bytes[i] == w->text[w->matched])
            w->matched++;
        w->is_found = w->matched == w->bytes;
    }
}

/* ---- what goes in and out -------------------------------------------------
 */

void session_loop_output(void *context, uint64_t tick,
                         enum output_channel channel, const void *bytes,
                         size_t count)
{
    struct session_loop *l = context;
    (void)tick;
    if (channel == OUT_DEBUGCON)
        channel_write(&l->debugcon, bytes, count);
    if (channel != OUT_SERIAL)
        return;
    channel_write(&l->serial, bytes, count);
    watch_see(&l->watch, bytes, count);
    if (l->player)
        input_player_saw_serial(l->player, bytes, count);
}

/* A recorded path is absolute. */
static bool resolve_medium(struct event *e, struct error *err)
{
    char path[EVENT_PAYLOAD_MAX];
    memcpy(path, e->payload + 1, e->bytes - 1u);
    path[e->bytes - 1] = 0;
    char *full = realpath(path, NULL);
    if (!full)
        return true; /* opening it says why */
    size_t length = strlen(full);
    bool fits = length < MACHINE_PATH;
    if (fits) {
        memcpy(e->payload + 1, full, length);
        e->bytes = (uint16_t)(1 + length);
    }
    free(full);
    return fits || error_set(err, ERR_USAGE,
                             "%.200s: expected an absolute path of at most %d "
                             "bytes, found %zu",
                             path, MACHINE_PATH - 1, length);
}

static bool inject(void *context, const struct event *event, struct error *err)
{
    struct session_loop *l = context;
    struct event e = *event;
    if (e.type == EVENT_TYPE_MEDIA && e.bytes > 1 && !resolve_medium(&e, err))
        return false;
    return l->recorder ? recorder_inject(l->recorder, &e, err)
                       : machine_inject(l->machine, &e, err);
}

static bool screenshot(void *context, const char *path, struct error *err)
{
    struct session_loop *l = context;
    struct screen screen = {0};
    bool ok = machine_screen(l->machine, &screen) ||
              error_set(err, ERR_NOMEM, "%s: no memory for a picture", path);
    if (ok)
        stats_draw(l->stats, l->machine, &screen);
    ok = ok && png_write_screen(path, &screen, err);
    screen_fini(&screen);
    return ok;
}

static bool screen_text(void *context, struct screen_text *text)
{
    struct session_loop *l = context;
    return machine_screen_text(l->machine, text);
}

/* ---- opening --------------------------------------------------------------
 */

static bool open_channels(struct session_loop *l, struct error *err)
{
    const struct cli_options *o = l->options;
    if (!channel_open(&l->serial, o->serial ? o->serial : "", "--serial",
                      err) ||
        !channel_open(&l->debugcon, o->debugcon ? o->debugcon : "",
                      "--debugcon", err))
        return false;
    bool is_typed =
        l->serial.kind == CHANNEL_STDIO && terminal_is_tty(STDIN_FILENO);
    l->is_real_pace =
        o->pace == PACE_REAL ||
        (o->pace == PACE_AUTO && (is_typed || l->serial.kind == CHANNEL_UNIX));
    return true;
}

bool session_loop_open(struct session_loop *l, const struct cli_options *o,
                       struct error *err)
{
    memset(l, 0, sizeof *l);
    l->options = o;
    terminal_init(&l->terminal);
    watch_init(&l->watch, o->until_serial);
    l->sink = (struct input_sink){.context = l,
                                  .inject = inject,
                                  .screenshot = screenshot,
                                  .screen_text = screen_text};
    if (o->input && !input_script_read(o->input, &l->script, err))
        return false;
    return open_channels(l, err);
}

void session_loop_close(struct session_loop *l)
{
    progress_clear(&l->progress);
    channel_close(&l->serial);
    channel_close(&l->debugcon);
    terminal_restore(&l->terminal);
    input_player_free(l->player);
    input_script_fini(&l->script);
}

/* The host's wall clock enters as the first event. */
static bool set_clock(struct session_loop *l, struct error *err)
{
    struct event e = {.type = EVENT_TYPE_CLOCK, .bytes = 8};
    if (l->options->config.rtc_fixed)
        return true;
    store_le64(e.payload, (uint64_t)clock_wall_seconds());
    return inject(l, &e, err);
}

bool session_loop_attach(struct session_loop *l, struct machine_setup *setup,
                         struct error *err)
{
    const struct cli_options *o = l->options;
    l->setup = setup;
    l->machine = setup->machine;
    l->recorder = setup->recorder;
    l->until_tick = tick_option_ticks(&o->until, o->config.cpu_mhz, UINT64_MAX);
    l->next_reload = o->stress_save ? o->stress_save : UINT64_MAX;
    if (o->input && !(l->player = input_player_new(&l->script, &l->sink,
                                                   o->config.cpu_mhz, err)))
        return false;
    bool is_stdio = l->serial.kind == CHANNEL_STDIO;
    if (is_stdio && terminal_is_tty(STDIN_FILENO) &&
        !terminal_raw(&l->terminal, STDIN_FILENO, err))
        return false;
    bool uses_terminal = is_stdio || l->debugcon.kind == CHANNEL_STDIO;
    progress_init(&l->progress, uses_terminal && terminal_is_tty(STDOUT_FILENO),
                  o->config.cpu_mhz, 0, 0);
    l->paced_ns = clock_monotonic_ns();
    return set_clock(l, err);
}

/* ---- between slices -------------------------------------------------------
 */

/* Each returns false when the loop ends, with l->end set. */

static bool ends(struct session_loop *l, enum loop_end end)
{
    l->end = end;
    l->reason = end == LOOP_TICK ? STOP_TICK : STOP_REQUEST;
    return false;
}

static bool take_typed(struct session_loop *l, uint64_t tick)
{
    enum terminal_key key = TERMINAL_NONE;
    char *at = l->typed + l->typed_bytes;
    size_t got = channel_read(&l->serial, at, sizeof l->typed - l->typed_bytes);
    if (l->terminal.is_raw)
        got = terminal_filter(&l->terminal, at, got, &key);
    l->typed_bytes += got;
    if (key == TERMINAL_QUIT)
        return ends(l, LOOP_ESCAPE);
    if (key == TERMINAL_HELP)
        (void)fputs("\nCtrl-A x ends the run, Ctrl-A Ctrl-A sends Ctrl-A\n",
                    stderr);
    if (l->typed_bytes == 0 || tick < l->next_typed)
        return true;
    struct event e = {.type = EVENT_TYPE_SERIAL};
    size_t part =
        l->typed_bytes < TYPED_AT_ONCE ? l->typed_bytes : TYPED_AT_ONCE;
    memcpy(e.payload, l->typed, part);
    e.bytes = (uint16_t)part;
    l->typed_bytes -= part;
    memmove(l->typed, l->typed + part, l->typed_bytes);
    l->next_typed = tick + duration_ticks(TYPED_NS, l->options->config.cpu_mhz);
    return inject(l, &e, &l->error) || ends(l, LOOP_FAILED);
}

static bool play(struct session_loop *l, uint64_t tick)
{
    if (!l->player || input_player_next(l->player) > tick)
        return true;
    switch (input_player_step(l->player, tick, &l->error)) {
    case INPUT_QUITS:
        return ends(l, LOOP_QUIT);
    case INPUT_TIMEOUT:
        return ends(l, LOOP_TIMEOUT);
    case INPUT_FAILED:
        return ends(l, LOOP_FAILED);
    default:
        return true;
    }
}

static bool channels_work(struct session_loop *l)
{
    struct channel *both[] = {&l->serial, &l->debugcon};
    for (unsigned i = 0; i < 2; i++) {
        channel_flush(both[i]);
        if (both[i]->has_failed) {
            l->error = both[i]->error;
            return ends(l, LOOP_FAILED);
        }
    }
    return true;
}

/* Sleep until the wall clock has caught up with the guest, or input comes. */
static void keep_pace(struct session_loop *l, uint64_t tick, uint64_t now)
{
    uint64_t guest =
        duration_ns(tick - l->paced_tick, l->options->config.cpu_mhz);
    uint64_t host = now - l->paced_ns;
    if (host > guest + DEBT_MAX_NS) {
        l->paced_tick = tick;
        l->paced_ns = now;
    }
    if (guest <= host)
        return;
    uint64_t ahead = guest - host;
    struct timespec wait = {.tv_sec = (time_t)(ahead / 1000000000u),
                            .tv_nsec = (long)(ahead % 1000000000u)};
    /* Typed bytes that wait for guest time do not end the sleep. */
    struct pollfd fd = {.fd = l->typed_bytes ? -1 : channel_wait_fd(&l->serial),
                        .events = POLLIN};
    (void)ppoll(&fd, 1, &wait, NULL);
}

static void show_progress(struct session_loop *l, uint64_t tick, uint64_t now)
{
    struct progress_figures f = {.tick = tick,
                                 .insns = machine_insns(l->machine)};
    struct recorder_stats stats;
    if (l->until_tick != UINT64_MAX)
        f.end_tick = l->until_tick;
    if (l->recorder) {
        recorder_stats(l->recorder, &stats);
        f.log_bytes = stats.file_bytes;
    }
    progress_show(&l->progress, now, &f);
}

static bool reload(struct session_loop *l, uint64_t tick)
{
    if (tick < l->next_reload)
        return true;
    l->next_reload = tick + l->options->stress_save;
    return machine_setup_reload(l->setup, &l->error) || ends(l, LOOP_FAILED);
}

/* What has a fixed place in guest time comes first. */
static bool look_around(struct session_loop *l, uint64_t tick)
{
    uint64_t now = clock_monotonic_ns();
    if (tick >= l->until_tick)
        return ends(l, LOOP_TICK);
    if (l->watch.is_found)
        return ends(l, LOOP_SERIAL);
    if (!play(l, tick) || !reload(l, tick) || !channels_work(l))
        return false;
    if (signals_arrived())
        return ends(l, LOOP_SIGNAL);
    if (l->is_real_pace)
        keep_pace(l, tick, now);
    if (!take_typed(l, tick))
        return false;
    if (progress_due(&l->progress, now))
        show_progress(l, tick, now);
    stats_look(l->stats, l->machine);
    return true;
}

static uint64_t slice_end(const struct session_loop *l, uint64_t tick)
{
    uint64_t slice = duration_ticks(SLICE_NS, l->options->config.cpu_mhz);
    uint64_t end = tick - tick % slice + slice;
    if (l->until_tick < end)
        end = l->until_tick;
    if (l->next_reload < end)
        end = l->next_reload;
    if (l->player && input_player_next(l->player) < end)
        end = input_player_next(l->player);
    return end;
}

void session_loop_run(struct session_loop *l)
{
    uint64_t begun = clock_monotonic_ns();
    for (;;) {
        uint64_t tick = machine_tick(l->machine);
        if (!look_around(l, tick))
            break;
        uint64_t end = slice_end(l, tick);
        l->reason = l->recorder ? recorder_run(l->recorder, end)
                                : machine_run(l->machine, end);
        if (l->recorder && recorder_failed(l->recorder, &l->error)) {
            (void)ends(l, LOOP_RECORDER);
            break;
        }
        if (l->reason != STOP_TICK && l->reason != STOP_REQUEST) {
            l->end = LOOP_GUEST;
            if (l->reason == STOP_MEDIA_ERROR)
                l->error = *machine_error(l->machine);
            break;
        }
    }
    l->host_ns = clock_monotonic_ns() - begun;
    channel_flush(&l->serial);
    channel_flush(&l->debugcon);
    progress_clear(&l->progress);
}
