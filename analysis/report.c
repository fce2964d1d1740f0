#include "analysis/report.h"

#include "analysis/crash.h"
#include "analysis/guest.h"
#include "analysis/scan.h"
#include "board/stats.h"
#include "replay/info.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    EVENTS_MAX = 5000,
    SERIAL_MAX = 1 << 20, /* bytes that are shown */
    UNKNOWN_SKIPPED = 7,  /* points in which nobody looks for a system */
    TEXT_BYTES = 2048
};

struct gathering {
    struct travel *t;
    const struct report_options *o;
    const struct report_host *host;
    json_t *report; /* owned by the caller in the end */
    struct guest *guest;
    unsigned skip;
    uint64_t start, end;
    struct screen screen;
    uint64_t last_picture; /* a hash */
    unsigned pictures;
    json_t *processes; /* "pid name" -> ticks; borrowed from report */
};

static bool no_memory(struct error *err)
{
    return error_set(err, ERR_NOMEM, "out of memory for the report");
}

static uint64_t point(const struct gathering *g, unsigned i)
{
    /* The product may be large: a session of days has 2^57 ticks. */
    return g->start +
           (uint64_t)((unsigned __int128)(g->end - g->start) * i /
                      g->o->points);
}

static json_t *integer(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* ---- pictures
 * ----------------------------------------------------------------------- */

static uint64_t hash_screen(const struct screen *s)
{
    uint64_t h = 0xcbf29ce484222325 ^ s->width;
    for (size_t i = 0; i < (size_t)s->width * s->height; i++)
        h = (h ^ s->pixels[i]) * 0x100000001b3;
    return h;
}

/* Small enough for a row of them: every nth pixel of every nth line is the
 * average of its neighbourhood. */
static void shrink(struct screen *s)
{
    uint32_t n = s->width / 240;
    if (n < 2)
        return;
    uint32_t width = s->width / n, height = s->height / n;
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++) {
            uint32_t sum[3] = {0};
            for (uint32_t k = 0; k < n * n; k++) {
                uint32_t p = s->pixels[(size_t)(y * n + k / n) * s->width +
                                       x * n + k % n];
                sum[0] += p >> 16 & 255;
                sum[1] += p >> 8 & 255;
                sum[2] += p & 255;
            }
            s->pixels[(size_t)y * width + x] = sum[0] / (n * n) << 16 |
                                               sum[1] / (n * n) << 8 |
                                               sum[2] / (n * n);
        }
    s->width = width;
    s->height = height;
}

static json_t *base64(const uint8_t *bytes, size_t count)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char prefix[] = "data:image/png;base64,";
    char *text = malloc(sizeof prefix + (count + 2) / 3 * 4);
    if (!text)
        return NULL;
    char *to = text + sizeof prefix - 1;
    memcpy(text, prefix, sizeof prefix - 1);
    for (size_t i = 0; i < count; i += 3) {
        uint32_t left = count - i < 3 ? (uint32_t)(count - i) : 3;
        uint32_t v = (uint32_t)bytes[i] << 16;
        v |= left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0;
        v |= left > 2 ? bytes[i + 2] : 0;
        *to++ = digits[v >> 18];
        *to++ = digits[v >> 12 & 63];
        *to++ = left > 1 ? digits[v >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[v & 63] : '=';
    }
    *to = 0;
    json_t *j = json_string(text);
    free(text);
    return j;
}

/* The picture now, unless it is the one before or the screen is off. */
static bool add_picture(struct gathering *g, uint64_t tick, struct error *err)
{
    struct writer png;
    if (!machine_screen(travel_machine(g->t), &g->screen))
        return no_memory(err);
    if (g->screen.width == 0 || g->screen.height == 0)
        return true;
    uint64_t hash = hash_screen(&g->screen);
    if (g->pictures > 0 && hash == g->last_picture)
        return true;
    g->last_picture = hash;
    g->pictures++;
    shrink(&g->screen);
    writer_init(&png);
    bool ok = g->host->png(g->host->context, &g->screen, &png, err);
    if (ok) {
        json_t *j = json_pack("{s:I, s:i, s:i, s:o}", "tick",
                              (json_int_t)tick, "width",
                              (int)g->screen.width, "height",
                              (int)g->screen.height, "png",
                              base64(png.data, png.used));
        ok = (j && json_array_append_new(json_object_get(g->report,
                                                         "pictures"),
                                         j) == 0) ||
             no_memory(err);
    }
    writer_fini(&png);
    return ok;
}

/* ---- looking
 * ------------------------------------------------------------------------ */

static void add_process(struct gathering *g, uint64_t ticks)
{
    struct guest_memory memory;
    struct guest_process p;
    struct guest_thread t;
    char key[GUEST_NAME_BYTES + 24];
    if (g->skip > 0) {
        g->skip--;
        return;
    }
    guest_memory_of(&memory, travel_machine(g->t));
    if (guest_look(g->guest, &memory) == GUEST_UNKNOWN)
        g->skip = UNKNOWN_SKIPPED;
    if (!guest_current(g->guest, &p, &t))
        return;
    (void)snprintf(key, sizeof key, "%llu %s", (unsigned long long)p.pid,
                   p.name);
    json_int_t so_far = json_integer_value(json_object_get(g->processes, key));
    (void)json_object_set_new(g->processes, key,
                              json_integer(so_far + (json_int_t)ticks));
}

/* Instructions by tier. Tier 0 has what the others have not; it is 0 where
 * they count more than have retired: iterations of repeated ones. */
static json_t *tiers(const struct machine_stats *s)
{
    json_int_t n[3];
    for (unsigned i = 0; i < 3; i++) {
        n[i] = (json_int_t)s->tier_insns[i];
        n[i] = n[i] > 0 ? n[i] : 0;
    }
    return json_pack("[I,I,I]", n[0], n[1], n[2]);
}

static json_t *point_json(struct gathering *g, uint64_t host_ns)
{
    struct machine *m = travel_machine(g->t);
    struct machine_stats s;
    machine_stats(m, &s);
    return json_pack("{s:I, s:I, s:I, s:o}", "tick",
                     (json_int_t)machine_tick(m), "insns",
                     (json_int_t)machine_insns(m), "ns", (json_int_t)host_ns,
                     "tiers", tiers(&s));
}

static bool run_to(struct gathering *g, uint64_t tick, struct error *err)
{
    enum travel_stop stop =
        tick == g->start
            ? travel_goto(g->t, (struct machine_place){tick, 0}, err)
            : travel_run(g->t, tick, err);
    if (stop == TRAVEL_INTERRUPTED)
        return error_set(err, ERR_USAGE, "interrupted");
    return stop != TRAVEL_FAILED;
}

/* Host time counts while the guest runs, not while it is looked at. */
static bool look(struct gathering *g, struct error *err)
{
    uint64_t host_ns = 0;
    unsigned each = g->o->pictures ? (g->o->points + g->o->pictures - 1) /
                                         g->o->pictures
                                   : 0;
    for (unsigned i = 0; i <= g->o->points; i++) {
        uint64_t tick = point(g, i);
        uint64_t before = g->host->now_ns(g->host->context);
        if (!run_to(g, tick, err))
            return false;
        host_ns += g->host->now_ns(g->host->context) - before;
        json_t *j = point_json(g, host_ns);
        if (!j || json_array_append_new(json_object_get(g->report, "points"),
                                        j) != 0)
            return no_memory(err);
        if (i < g->o->points)
            add_process(g, point(g, i + 1) - tick);
        if (each && (i % each == 0 || i == g->o->points) &&
            !add_picture(g, tick, err))
            return false;
    }
    return true;
}

static bool set_jit(struct gathering *g, struct error *err)
{
    struct machine_stats s;
    machine_stats(travel_machine(g->t), &s);
    json_t *j = json_pack(
        "{s:b, s:o, s:I, s:I, s:I, s:I}", "enabled", (int)s.has_jit,
        "tier_insns", tiers(&s),
        "translate_slow_calls", (json_int_t)s.translate_slow_calls,
        "page_walks", (json_int_t)s.walks, "mmio",
        (json_int_t)(s.mmio_reads + s.mmio_writes), "ports",
        (json_int_t)(s.port_reads + s.port_writes));
    return (j && json_object_set_new(g->report, "jit", j) == 0) ||
           no_memory(err);
}

/* ---- interrupts and exceptions
 * -------------------------------------------------------------------- */

/* How many in each part of the time line. */
static bool count(struct gathering *g, enum scan_kind kind, const char *name,
                  struct error *err)
{
    struct scan_query q = scan_query_all(kind);
    struct scan_hit hit;
    uint64_t *counts = calloc(g->o->points, sizeof *counts);
    q.from = g->start;
    q.to = g->end;
    struct scan *s = counts ? scan_new(g->t, &q, err) : NULL;
    enum scan_found found = SCAN_FAILED;
    unsigned part = 0;
    while (s && (found = scan_next(s, &hit, err)) == SCAN_HIT) {
        while (part + 1 < g->o->points &&
               hit.place.tick >= point(g, part + 1))
            part++;
        counts[part]++;
    }
    bool ok = found == SCAN_DONE;
    if (found == SCAN_INTERRUPTED)
        error_set(err, ERR_USAGE, "interrupted");
    if (!counts)
        no_memory(err);
    json_t *array = json_array();
    for (unsigned i = 0; ok && i < g->o->points; i++)
        ok = json_array_append_new(array, integer(counts[i])) == 0 ||
             no_memory(err);
    if (json_object_set_new(g->report, name, array) != 0)
        ok = no_memory(err);
    scan_free(s);
    free(counts);
    return ok;
}

/* ---- what was recorded
 * --------------------------------------------------------------------- */

/* An info_event_fn. */
static bool add_event(void *context, uint32_t index, const struct event *event)
{
    struct gathering *g = context;
    json_t *events = json_object_get(g->report, "events");
    (void)index;
    json_t *j = json_pack("[I, s]", (json_int_t)event->tick,
                          event_type_name(event->type));
    return j && json_array_append_new(events, j) == 0 &&
           json_array_size(events) < EVENTS_MAX;
}

/* Bytes as text: what is no printable ASCII is left out, line ends stay. An
 * info_output_fn. */
static bool add_output(void *context, const struct output_chunk *chunk)
{
    struct gathering *g = context;
    json_t *serial = json_object_get(g->report, "serial");
    char text[TEXT_BYTES];
    size_t used = 0;
    if (chunk->channel != OUT_SERIAL)
        return true;
    for (uint32_t i = 0; i < chunk->count; i++) {
        char c = (char)chunk->bytes[i];
        if ((c >= ' ' && c <= '~') || c == '\n' || c == '\t')
            text[used++] = c;
        if (used < sizeof text && i + 1 < chunk->count)
            continue;
        json_t *j = json_pack("[I, s%]", (json_int_t)chunk->tick, text, used);
        if (!j || json_array_append_new(serial, j) != 0)
            return false;
        used = 0;
    }
    return json_array_size(serial) * TEXT_BYTES < SERIAL_MAX * 64u;
}

static bool set_crash(struct gathering *g, struct error *err)
{
    struct crash c;
    if (!crash_find(g->t, &c, err))
        return false;
    json_t *j = json_pack("{s:s, s:s, s:I, s:b}", "kind",
                          crash_kind_name(c.kind), "text", c.text, "tick",
                          (json_int_t)c.place.tick, "at_fault",
                          (int)c.has_fault);
    return (j && json_object_set_new(g->report, "crash", j) == 0) ||
           no_memory(err);
}

static bool begin(struct gathering *g, struct error *err)
{
    const struct session *s = travel_session(g->t);
    g->start = s->start_tick;
    g->end = s->end_tick;
    g->guest = guest_new();
    g->report = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:[], s:[], s:[], s:[], s:{}}",
        "session", g->o->path, "build", s->build, "created",
        (json_int_t)s->created, "cpu_mhz", (json_int_t)s->config.cpu_mhz,
        "start", (json_int_t)g->start, "end", (json_int_t)g->end, "reason",
        s->torn ? "torn" : stop_reason_name(s->end_reason), "points",
        "pictures", "events", "serial", "processes");
    if (!g->report || !g->guest)
        return no_memory(err);
    g->processes = json_object_get(g->report, "processes");
    return true;
}

json_t *report_gather(struct travel *t, const struct report_options *o,
                      const struct report_host *host, struct error *err)
{
    struct gathering g = {.t = t, .o = o, .host = host};
    const struct session *s = travel_session(t);
    bool ok = begin(&g, err) && look(&g, err) && set_jit(&g, err) &&
              count(&g, SCAN_INTERRUPT, "interrupts", err) &&
              count(&g, SCAN_EXCEPTION, "exceptions", err) &&
              info_each_event(s, 0, UINT64_MAX, add_event, &g, err) &&
              info_each_output(s, 0, UINT64_MAX, add_output, &g, err) &&
              set_crash(&g, err);
    if (ok && json_object_set_new(g.report, "version",
                                  json_string(guest_version(g.guest))) != 0)
        ok = no_memory(err);
    guest_free(g.guest);
    screen_fini(&g.screen);
    if (ok)
        return g.report;
    json_decref(g.report);
    return NULL;
}
