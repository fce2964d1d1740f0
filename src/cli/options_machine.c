/* The options that describe a machine and how it is run, shared by run and
 * record, and what they mean. */
#include "cli/options.h"

#include "host/blob.h"
#include "host/channel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_FILE_MAX = 1 << 20 };

/* ---- values ---------------------------------------------------------------
 */

static bool bad(const char *option, const char *what, const char *found,
                struct error *err)
{
    return error_set(err, ERR_USAGE, "--%s: expected %s, found '%.100s'",
                     option, what, found);
}

static bool digits(const char *v, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(v, &end, 10);
    return v[0] >= '0' && v[0] <= '9' && !*end && errno == 0;
}

static bool number(const char *option, const char *v, uint64_t limit,
                   uint64_t *out, struct error *err)
{
    if (digits(v, out) && *out > 0 && *out <= limit)
        return true;
    return bad(option, "a whole number above 0", v, err);
}

bool size_parse(const char *option, const char *v, uint64_t *bytes,
                struct error *err)
{
    char *end;
    unsigned shift = 20;
    errno = 0;
    uint64_t n = strtoull(v, &end, 10);
    bool ok = v[0] >= '0' && v[0] <= '9' && errno == 0;
    if (*end == 'K' || *end == 'k')
        shift = 10;
    else if (*end == 'G' || *end == 'g')
        shift = 30;
    if (*end && strchr("KkMmGg", *end))
        end++;
    if (!ok || *end || n > UINT64_MAX >> shift)
        return bad(option, "a size like 512M or 2G", v, err);
    *bytes = n << shift;
    return true;
}

/* Recorded paths are absolute, so that a session replays from any directory. A
 * path that cannot be resolved stays: opening it gives the better sentence. */
static bool path(const char *option, char out[MACHINE_PATH], const char *v,
                 struct error *err)
{
    if (!*v)
        return bad(option, "a file name", v, err);
    char *full = realpath(v, NULL);
    const char *text = full ? full : v;
    size_t length = strlen(text);
    bool fits = length < MACHINE_PATH;
    memset(out, 0, MACHINE_PATH);
    if (fits)
        memcpy(out, text, length);
    free(full);
    if (fits)
        return true;
    return error_set(err, ERR_USAGE,
                     "--%s: expected a path of at most %d bytes, found %zu",
                     option, MACHINE_PATH - 1, length);
}

/* Days since 1970-01-01 of a date of the Gregorian calendar. */
static int64_t days_since_1970(int year, int month, int day)
{
    static const int before[] = {0,   31,  59,  90,  120, 151,
                                 181, 212, 243, 273, 304, 334};
    int64_t y = year - (month <= 2); /* leap days up to this year's February */
    int64_t leaps = y / 4 - y / 100 + y / 400 - (1969 / 4 - 19 + 4);
    return (int64_t)(year - 1970) * 365 + leaps + before[month - 1] + day - 1;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

/* 2026-01-31, 2026-01-31T12:34 or 2026-01-31T12:34:56, Z allowed behind. */
static bool date(const char *v, int64_t *seconds)
{
    int year, month, day, hour = 0, minute = 0, second = 0, at = 0, part = 0;
    if (sscanf(v, "%4d-%2d-%2d%n", &year, &month, &day, &at) != 3)
        return false;
    v += at;
    if (*v == 'T' || *v == ' ') {
        if (sscanf(v + 1, "%2d:%2d%n", &hour, &minute, &part) != 2)
            return false;
        v += 1 + part;
        if (*v == ':') {
            if (sscanf(v + 1, "%2d%n", &second, &part) != 1)
                return false;
            v += 1 + part;
        }
        if (*v == 'Z')
            v++;
    }
    if (*v || year < 1980 || year > 2099 || month < 1 || month > 12 ||
        day < 1 || day > days_in_month(year, month) || hour < 0 || hour > 23 ||
        minute < 0 || minute > 59 || second < 0 || second > 59)
        return false;
    *seconds = days_since_1970(year, month, day) * 86400 + hour * 3600 +
               minute * 60 + second;
    return true;
}

/* ---- setters --------------------------------------------------------------
 */

static bool take_mem(struct cli_options *o, const char *v, struct error *err)
{
    return size_parse("mem", v, &o->config.mem_bytes, err);
}

static bool take_mhz(struct cli_options *o, const char *v, struct error *err)
{
    uint64_t mhz;
    if (!number("cpu-mhz", v, 100000, &mhz, err))
        return false;
    o->config.cpu_mhz = (uint32_t)mhz;
    return true;
}

static bool take_disk(struct cli_options *o, const char *v, struct error *err)
{
    for (unsigned i = 0; i < MACHINE_DISKS; i++)
        if (!o->config.disk[i][0])
            return path("disk", o->config.disk[i], v, err);
    return error_set(err, ERR_USAGE, "--disk: expected at most %d disks",
                     MACHINE_DISKS);
}

static bool take_cdrom(struct cli_options *o, const char *v, struct error *err)
{
    return path("cdrom", o->config.cdrom, v, err);
}

static bool take_floppy(struct cli_options *o, const char *v, struct error *err)
{
    return path("floppy", o->config.floppy, v, err);
}

static bool take_boot(struct cli_options *o, const char *v, struct error *err)
{
    if (strlen(v) != 1 || !strchr("cda", *v))
        return bad("boot", "c (disk), d (CD) or a (floppy)", v, err);
    o->config.boot = *v;
    return true;
}

static bool take_kernel(struct cli_options *o, const char *v, struct error *err)
{
    return path("kernel", o->config.kernel, v, err);
}

static bool take_initrd(struct cli_options *o, const char *v, struct error *err)
{
    return path("initrd", o->config.initrd, v, err);
}

static bool take_append(struct cli_options *o, const char *v, struct error *err)
{
    size_t length = strlen(v);
    if (length >= MACHINE_APPEND)
        return error_set(err, ERR_USAGE,
                         "--append: expected at most %d bytes, found %zu",
                         MACHINE_APPEND - 1, length);
    memset(o->config.append, 0, MACHINE_APPEND);
    memcpy(o->config.append, v, length);
    return true;
}

static bool take_bios(struct cli_options *o, const char *v, struct error *err)
{
    return path("bios", o->config.bios, v, err);
}

static bool take_vgabios(struct cli_options *o, const char *v,
                         struct error *err)
{
    if (strcmp(v, "none") != 0)
        return path("vgabios", o->config.vgabios, v, err);
    memset(o->config.vgabios, 0, MACHINE_PATH);
    memcpy(o->config.vgabios, v, strlen(v));
    return true;
}

static bool take_serial(struct cli_options *o, const char *v, struct error *err)
{
    o->serial = v;
    return channel_spec_ok(v, "--serial", err);
}

static bool take_debugcon(struct cli_options *o, const char *v,
                          struct error *err)
{
    o->debugcon = v;
    return channel_spec_ok(v, "--debugcon", err);
}

static bool take_display(struct cli_options *o, const char *v,
                         struct error *err)
{
    (void)o;
    return strcmp(v, "none") == 0 || bad("display", "none", v, err);
}

static bool take_input(struct cli_options *o, const char *v, struct error *err)
{
    (void)err;
    o->input = v;
    return true;
}

bool take_until(struct cli_options *o, const char *v, struct error *err)
{
    return tick_option_parse(&o->until, "until", v, err);
}

static bool take_until_serial(struct cli_options *o, const char *v,
                              struct error *err)
{
    o->until_serial = v;
    return (*v && strlen(v) <= 200) ||
           bad("until-serial", "a text of 1 to 200 bytes", v, err);
}

static bool take_pace(struct cli_options *o, const char *v, struct error *err)
{
    if (strcmp(v, "real") == 0)
        o->pace = PACE_REAL;
    else if (strcmp(v, "max") == 0)
        o->pace = PACE_MAX;
    else
        return bad("pace", "real or max", v, err);
    return true;
}

static bool take_engine(struct cli_options *o, const char *v, struct error *err)
{
    o->config.engine.kind = machine_engine_find(v);
    return o->config.engine.kind != ENGINE_UNSET ||
           bad("engine", "auto, interp, tier1 or tier2", v, err);
}

static bool take_rtc(struct cli_options *o, const char *v, struct error *err)
{
    if (!date(v, &o->config.rtc_seconds))
        return bad("rtc", "a date from 1980 to 2099 like 2026-01-31T12:00:00",
                   v, err);
    o->config.rtc_fixed = true;
    return true;
}

static bool take_config(struct cli_options *o, const char *v, struct error *err)
{
    void *text;
    size_t bytes;
    if (!blob_read(v, CONFIG_FILE_MAX, &text, &bytes, err))
        return false;
    bool ok = machine_config_from_json(&o->config, text, v, err);
    free(text);
    return ok;
}

static bool take_testdev(struct cli_options *o, const char *v,
                         struct error *err)
{
    (void)v;
    (void)err;
    o->config.testdev = true;
    return true;
}

static bool take_log(struct cli_options *o, const char *v, struct error *err)
{
    (void)err;
    o->log = v;
    return true;
}

/* A row of engine_limits; option: its name on the command line. */
static bool take_limit(struct cli_options *o, const char *key,
                       const char *option, const char *v, struct error *err)
{
    char what[80];
    uint64_t n;
    const struct engine_limit *limit = engine_limit_find(key);
    (void)snprintf(what, sizeof what, "a whole number from %llu to %llu",
                   (unsigned long long)limit->least,
                   (unsigned long long)limit->most);
    if (!digits(v, &n) || n < limit->least || n > limit->most)
        return bad(option, what, v, err);
    *engine_limit_in(&o->config.engine, limit) = n;
    return true;
}

static bool take_jit_threshold(struct cli_options *o, const char *v,
                               struct error *err)
{
    return take_limit(o, "jit_threshold", "jit-threshold", v, err);
}

static bool take_tier2_threshold(struct cli_options *o, const char *v,
                                 struct error *err)
{
    return take_limit(o, "jit_tier2_threshold", "jit-tier2-threshold", v, err);
}

static bool take_jit_block(struct cli_options *o, const char *v,
                           struct error *err)
{
    return take_limit(o, "jit_block", "jit-block", v, err);
}

static bool take_jit_blocks(struct cli_options *o, const char *v,
                            struct error *err)
{
    return take_limit(o, "jit_blocks", "jit-blocks", v, err);
}

static bool take_jit_trace(struct cli_options *o, const char *v,
                           struct error *err)
{
    return take_limit(o, "jit_trace", "jit-trace", v, err);
}

static bool take_jit_inline(struct cli_options *o, const char *v,
                            struct error *err)
{
    return take_limit(o, "jit_inline", "jit-inline", v, err);
}

static bool take_jit_unroll(struct cli_options *o, const char *v,
                            struct error *err)
{
    return take_limit(o, "jit_unroll", "jit-unroll", v, err);
}

static bool take_jit_wait(struct cli_options *o, const char *v,
                          struct error *err)
{
    (void)v;
    (void)err;
    o->config.engine.wait = WAIT_YES;
    return true;
}

static bool take_jit_no_wait(struct cli_options *o, const char *v,
                             struct error *err)
{
    (void)v;
    (void)err;
    o->config.engine.wait = WAIT_NO;
    return true;
}

static bool take_jit_cache(struct cli_options *o, const char *v,
                           struct error *err)
{
    uint64_t bytes;
    if (!size_parse("jit-cache", v, &bytes, err))
        return false;
    if (bytes < JIT_CACHE_LEAST || bytes > JIT_CACHE_MOST)
        return bad("jit-cache", "a size from 1M to 512M", v, err);
    o->config.engine.cache_bytes = bytes;
    return true;
}

static bool take_jit_perf_map(struct cli_options *o, const char *v,
                              struct error *err)
{
    (void)v;
    (void)err;
    o->jit_perf_map = true;
    return true;
}

static bool take_stats(struct cli_options *o, const char *v, struct error *err)
{
    (void)err;
    o->stats = v;
    return true;
}

bool take_hud(struct cli_options *o, const char *v, struct error *err)
{
    (void)v;
    (void)err;
    o->hud = true;
    return true;
}

static bool take_slow_frame(struct cli_options *o, const char *v,
                            struct error *err)
{
    char *end;
    unsigned long ms = strtoul(v, &end, 10);
    if (v[0] < '0' || v[0] > '9' || *end || ms == 0 || ms > 3600000)
        return error_set(err, ERR_USAGE,
                         "--slow-frame: expected milliseconds from 1 to "
                         "3600000, found '%.100s'",
                         v);
    o->slow_frame_ms = (uint32_t)ms;
    return true;
}

static bool take_count_memory(struct cli_options *o, const char *v,
                              struct error *err)
{
    (void)v;
    (void)err;
    o->count_memory = true;
    return true;
}

static bool take_stress_tlb(struct cli_options *o, const char *v,
                            struct error *err)
{
    return number("stress-tlb", v, 1 << 20, &o->stress_tlb, err);
}

static bool take_stress_block(struct cli_options *o, const char *v,
                              struct error *err)
{
    return number("stress-block", v, 1 << 20, &o->stress_block, err);
}

static bool take_stress_slice(struct cli_options *o, const char *v,
                              struct error *err)
{
    return number("stress-slice", v, UINT64_MAX, &o->stress_slice, err);
}

static bool take_stress_save(struct cli_options *o, const char *v,
                             struct error *err)
{
    return number("stress-save", v, UINT64_MAX, &o->stress_save, err);
}

/* ---- tables ---------------------------------------------------------------
 */

const struct option_row machine_options[] = {
    {"mem", 0, "SIZE", "guest RAM: 512M, 2G, ... (default 256M)", take_mem},
    {"cpu-mhz", 0, "N", "ticks per guest microsecond (default 1000)", take_mhz},
    {"disk", 0, "FILE",
     "hard disk image, raw or qcow2, never written to; up to three times",
     take_disk},
    {"cdrom", 0, "FILE", "CD image in the CD-ROM drive", take_cdrom},
    {"floppy", 0, "FILE", "floppy image in drive A", take_floppy},
    {"boot", 0, "c|d|a", "boot from disk (c, the default), CD or floppy",
     take_boot},
    {"kernel", 0, "FILE", "boot a Linux bzImage or a multiboot image",
     take_kernel},
    {"initrd", 0, "FILE", "initial RAM disk, or multiboot module", take_initrd},
    {"append", 0, "STR", "the kernel's command line", take_append},
    {"bios", 0, "FILE", "firmware image (default: Debian's seabios)",
     take_bios},
    {"vgabios", 0, "FILE",
     "video firmware (default: Debian's seabios); none: without", take_vgabios},
    {"serial", 0, "WHERE",
     "COM1: stdio, none (default), file:PATH, or unix:PATH (a "
     "listening socket). With stdio on a terminal, Ctrl-A x ends "
     "the run, Ctrl-A Ctrl-A sends Ctrl-A, Ctrl-A h helps",
     take_serial},
    {"debugcon", 0, "WHERE",
     "port 0xE9: stdio, none (default), file:PATH or unix:PATH", take_debugcon},
    {"display", 0, "none", "no window (the only choice of this version)",
     take_display},
    {"input", 0, "SCRIPT", "a file of timed actions: see relive help input",
     take_input},
    {"until", 0, "TICK", "stop at this tick, or guest time like 2.5s",
     take_until},
    {"until-serial", 0, "TEXT",
     "stop when COM1 has sent TEXT; exit status 1 when the run "
     "ends without it",
     take_until_serial},
    {"pace", 0, "real|max",
     "real: guest time follows the wall clock; max: idle time "
     "passes at once (default: real when COM1 is on a terminal "
     "or a socket, max otherwise)",
     take_pace},
    {"rtc", 0, "ISO-DATE",
     "the guest's clock at tick 0, like 2026-01-31T12:00:00 "
     "(default: the host's, in UTC)",
     take_rtc},
    {"config", 0, "FILE",
     "machine configuration in JSON, with the keys that "
     "relive info SESSION --json shows; later options win",
     take_config},
    {"testdev", 0, NULL, "add the bench devices of QEMU's pc-testdev",
     take_testdev},
    {"log", 0, "FILE",
     "write what the guest does that no data sheet defines to "
     "FILE (-: standard error)",
     take_log},
    {0},
};

static bool take_media(struct cli_options *o, const char *v, struct error *err)
{
    o->media_dir = v;
    return v[0] || error_set(err, ERR_USAGE,
                             "--media: expected a directory, found ''");
}

const struct option_row media_options[] = {
    {"media", 0, "DIR",
     "look in DIR first, by their names, for the firmware and media of the "
     "session",
     take_media},
    {0},
};

const struct option_row engine_options[] = {
    {"engine", 0, "NAME",
     "interp interprets guest code, tier1 also compiles what runs "
     "often, tier2 also compiles hot paths as one, auto (default) "
     "uses all three; the guest cannot tell. A session is replayed with the "
     "engine and the limits it was recorded with, unless others are given",
     take_engine},
    {"jit-threshold", 0, "N",
     "executions of a block before tier 1 compiles it (default 10)",
     take_jit_threshold},
    {"jit-tier2-threshold", 0, "N",
     "executions of a compiled block before tier 2 looks at it "
     "(default 1000)",
     take_tier2_threshold},
    {"jit-block", 0, "N",
     "instructions of a block, at most (default 1000)", take_jit_block},
    {"jit-trace", 0, "N", "instructions of a trace, at most (default 5000)",
     take_jit_trace},
    {"jit-inline", 0, "N",
     "instructions of a call that traces follow (default 50)",
     take_jit_inline},
    {"jit-unroll", 0, "N",
     "iterations of a loop that traces unroll (default 16)", take_jit_unroll},
    {"jit-wait", 0, NULL,
     "for testing: tier 2 compiles while the guest waits", take_jit_wait},
    {"jit-no-wait", 0, NULL,
     "it does not (default), though it did while recording", take_jit_no_wait},
    {"jit-cache", 0, "SIZE", "host memory for compiled code (default 256M)",
     take_jit_cache},
    {"jit-blocks", 0, "N",
     "compiled blocks and traces at a time; one more, and all make room "
     "(default 100000)",
     take_jit_blocks},
    {"jit-perf-map", 0, NULL,
     "name compiled guest code for perf: /tmp/perf-PID.map",
     take_jit_perf_map},
    {0},
};

const struct option_row stats_options[] = {
    {"stats", 0, "FILE",
     "write telemetry in JSON: totals, and a series by the second", take_stats},
    {"stats-memory", 0, NULL,
     "count guest memory accesses of compiled code too, which slows it",
     take_count_memory},
    {"hud", 0, NULL, "draw a panel of figures over screen images", take_hud},
    {"slow-frame", 0, "MS",
     "warn of frames that take the host longer, and say what took it",
     take_slow_frame},
    {0},
};

const struct option_row stress_options[] = {
    {"stress-tlb", 0, "N", "for testing: a TLB of N entries", take_stress_tlb},
    {"stress-block", 0, "N", "for testing: blocks of at most N instructions",
     take_stress_block},
    {"stress-slice", 0, "SEED",
     "for testing: run the CPU for random times between looks at devices",
     take_stress_slice},
    {"stress-save", 0, "N",
     "for testing: save and load the machine in place every N ticks",
     take_stress_save},
    {0},
};
