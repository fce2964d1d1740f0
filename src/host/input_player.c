#include "host/input_player.h"

#include "base/bytes.h"
#include "base/duration.h"
#include "host/keymap.h"

#include <stdlib.h>
#include <string.h>

/* Guest times. A keyboard byte takes 250 us to arrive and the keyboard holds 16
 * (dev/ps2.h); 15 ms a key leaves a slow guest room. */
#define KEY_NS         UINT64_C(15000000)
#define MOUSE_NS       UINT64_C(10000000)
#define CLICK_NS       UINT64_C(50000000)
#define SERIAL_GRID_NS UINT64_C(1000000)
#define SCREEN_GRID_NS UINT64_C(50000000)

enum {
    SEEN_BYTES = 65536, /* serial output that a wait can look back at */
    MOUSE_STEP = 100    /* counts in one packet: they hold 9 bits */
};

struct input_player {
    const struct input_script *script; /* borrowed */
    const struct input_sink *sink;     /* borrowed */
    uint32_t cpu_mhz;
    enum input_state state;
    struct error error; /* of TIMEOUT and FAILED */

    size_t action;  /* index of the current one */
    bool has_begun; /* its start tick has come; next is its next part */
    uint64_t next;  /* tick of the next step */
    uint64_t start; /* tick at which the current action began */
    size_t part;    /* how far in text, keys or movement */
    unsigned phase; /* of a typed character */
    int left_x, left_y;
    unsigned buttons;

    size_t seen; /* bytes used: what was sent since the last match */
    char seen_serial[SEEN_BYTES];
    struct screen_text screen;
};

static uint64_t ticks_of(const struct input_player *p, uint64_t ns)
{
    uint64_t ticks = duration_ticks(ns, p->cpu_mhz);
    return ticks ? ticks : 1;
}

static uint64_t later(uint64_t tick, uint64_t ticks)
{
    return tick > UINT64_MAX - 1 - ticks ? UINT64_MAX - 1 : tick + ticks;
}

static const struct input_action *current(const struct input_player *p)
{
    return &p->script->actions[p->action];
}

/* The current action (if any) becomes due; `tick`: the one before is done. */
static void schedule(struct input_player *p, uint64_t tick)
{
    p->has_begun = false;
    if (p->action == p->script->count) {
        p->state = INPUT_DONE;
        p->next = UINT64_MAX;
        return;
    }
    const struct input_action *a = current(p);
    uint64_t ticks = duration_ticks(a->when_ns, p->cpu_mhz);
    p->next = tick;
    if (a->when == INPUT_AT && ticks > tick)
        p->next = ticks;
    if (a->when == INPUT_AFTER)
        p->next = later(tick, ticks);
}

static void finish(struct input_player *p, uint64_t tick)
{
    p->action++;
    schedule(p, tick);
}

struct input_player *input_player_new(const struct input_script *script,
                                      const struct input_sink *sink,
                                      uint32_t cpu_mhz, struct error *err)
{
    struct input_player *p = calloc(1, sizeof *p);
    if (!p) {
        error_set(err, ERR_NOMEM, "%s: out of memory", script->name);
        return NULL;
    }
    p->script = script;
    p->sink = sink;
    p->cpu_mhz = cpu_mhz;
    schedule(p, 0);
    return p;
}

void input_player_free(struct input_player *p)
{
    free(p);
}

uint64_t input_player_next(const struct input_player *p)
{
    return p->next;
}

void input_player_saw_serial(struct input_player *p, const void *bytes,
                             size_t count)
{
    const char *from = bytes;
    if (count > SEEN_BYTES / 2) {
        from += count - SEEN_BYTES / 2;
        count = SEEN_BYTES / 2;
    }
    if (p->seen + count > SEEN_BYTES) { /* keep the newer half */
        size_t keep = SEEN_BYTES / 2;
        memmove(p->seen_serial, p->seen_serial + p->seen - keep, keep);
        p->seen = keep;
    }
    memcpy(p->seen_serial + p->seen, from, count);
    p->seen += count;
}

/* ---- events ---------------------------------------------------------------
 */

static bool fail(struct input_player *p)
{
    p->state = INPUT_FAILED;
    p->next = UINT64_MAX;
    return false;
}

static bool inject(struct input_player *p, const struct event *e)
{
    if (p->sink->inject(p->sink->context, e, &p->error))
        return true;
    return fail(p);
}

static bool send_key(struct input_player *p, uint16_t key, bool press)
{
    struct event e = {.type = EVENT_TYPE_KEY, .bytes = 3};
    store_le16(e.payload, key);
    e.payload[2] = press;
    return inject(p, &e);
}

static bool send_mouse(struct input_player *p, int dx, int dy, int wheel)
{
    struct event e = {.type = EVENT_TYPE_MOUSE, .bytes = 6};
    store_le16(e.payload, (uint16_t)dx);
    store_le16(e.payload + 2, (uint16_t)dy);
    e.payload[4] = (uint8_t)wheel;
    e.payload[5] = (uint8_t)p->buttons;
    return inject(p, &e);
}

/* ---- one part of each kind of action --------------------------------------
 */
/* Each does what is due at `tick`, then either sets p->next to a later tick or
 * calls finish(). */

static void step_type(struct input_player *p, uint64_t tick)
{
    const struct input_action *a = current(p);
    uint16_t key = 0;
    bool shift = false;
    (void)keymap_char(a->text[p->part], &key, &shift);
    if (!shift && p->phase == 0)
        p->phase = 1;
    bool is_shift = p->phase == 0 || p->phase == 3;
    if (!send_key(p, is_shift ? KEYMAP_SHIFT : key, p->phase < 2))
        return;
    p->next = later(tick, ticks_of(p, KEY_NS));
    if (p->phase < (shift ? 3u : 2u)) {
        p->phase++;
        return;
    }
    p->phase = 0;
    if (++p->part == a->text_bytes)
        finish(p, p->next);
}

static void step_keys(struct input_player *p, uint64_t tick)
{
    const struct input_action *a = current(p);
    bool down = a->kind != INPUT_RELEASE && p->part < a->keys;
    size_t steps = a->kind == INPUT_KEY ? 2 * a->keys : a->keys;
    size_t index =
        down || a->kind == INPUT_RELEASE ? p->part : steps - 1 - p->part;
    if (!send_key(p, a->key[index], down))
        return;
    p->next = later(tick, ticks_of(p, KEY_NS));
    if (++p->part == steps)
        finish(p, p->next);
}

static int clamp_step(int v)
{
    return v > MOUSE_STEP ? MOUSE_STEP : v < -MOUSE_STEP ? -MOUSE_STEP : v;
}

static void step_move(struct input_player *p, uint64_t tick)
{
    const struct input_action *a = current(p);
    if (p->part++ == 0) {
        p->left_x = a->dx;
        p->left_y = a->dy;
    }
    int dx = clamp_step(p->left_x), dy = clamp_step(p->left_y);
    p->left_x -= dx;
    p->left_y -= dy;
    if (!send_mouse(p, dx, dy, 0))
        return;
    p->next = later(tick, ticks_of(p, MOUSE_NS));
    if (p->left_x == 0 && p->left_y == 0)
        finish(p, p->next);
}

static void step_buttons(struct input_player *p, uint64_t tick)
{
    const struct input_action *a = current(p);
    bool down = a->kind == INPUT_MOUSE_DOWN ||
                (a->kind == INPUT_MOUSE_CLICK && p->part == 0);
    p->buttons = down ? p->buttons | a->buttons : p->buttons & ~a->buttons;
    if (!send_mouse(p, 0, 0, 0))
        return;
    bool is_done = a->kind != INPUT_MOUSE_CLICK || p->part++ == 1;
    p->next = later(tick, ticks_of(p, is_done ? MOUSE_NS : CLICK_NS));
    if (is_done)
        finish(p, p->next);
}

static void step_wheel(struct input_player *p, uint64_t tick)
{
    if (send_mouse(p, 0, 0, current(p)->dy))
        finish(p, later(tick, ticks_of(p, MOUSE_NS)));
}

static void step_serial(struct input_player *p, uint64_t tick)
{
    const struct input_action *a = current(p);
    struct event e = {.type = EVENT_TYPE_SERIAL,
                      .bytes = (uint16_t)a->text_bytes};
    memcpy(e.payload, a->text, a->text_bytes);
    if (inject(p, &e))
        finish(p, tick);
}

static bool serial_matches(struct input_player *p)
{
    const struct input_action *a = current(p);
    const char *found = memmem(p->seen_serial, p->seen, a->text, a->text_bytes);
    if (!found)
        return false;
    size_t used = (size_t)(found - p->seen_serial) + a->text_bytes;
    memmove(p->seen_serial, p->seen_serial + used, p->seen - used);
    p->seen -= used;
    return true;
}

static bool screen_matches(struct input_player *p)
{
    return p->sink->screen_text(p->sink->context, &p->screen) &&
           strstr(p->screen.text, current(p)->text);
}

/* Looks at the multiples of the grid, and once at the start. */
static void step_wait(struct input_player *p, uint64_t tick)
{
    const struct input_action *a = current(p);
    bool is_serial = a->kind == INPUT_WAIT_SERIAL;
    if (is_serial ? serial_matches(p) : screen_matches(p)) {
        finish(p, tick);
        return;
    }
    if (a->within_ns &&
        tick - p->start >= duration_ticks(a->within_ns, p->cpu_mhz)) {
        p->state = INPUT_TIMEOUT;
        p->next = UINT64_MAX;
        error_set(&p->error, ERR_INPUT,
                  "%.300s:%u: the guest did not %s '%.200s' in the time given",
                  p->script->name, a->line, is_serial ? "send" : "show",
                  a->text);
        return;
    }
    uint64_t grid = ticks_of(p, is_serial ? SERIAL_GRID_NS : SCREEN_GRID_NS);
    p->next = later(tick - tick % grid, grid);
}

static void step_medium(struct input_player *p, uint64_t tick)
{
    const struct input_action *a = current(p);
    struct event e = {.type = EVENT_TYPE_MEDIA, .bytes = 1};
    e.payload[0] = (uint8_t)a->drive;
    if (a->kind == INPUT_INSERT) {
        memcpy(e.payload + 1, a->text, a->text_bytes);
        e.bytes = (uint16_t)(1 + a->text_bytes);
    }
    if (inject(p, &e))
        finish(p, tick);
}

static void step_simple(struct input_player *p, uint64_t tick)
{
    const struct input_action *a = current(p);
    struct event e = {.type = a->kind == INPUT_POWER ? EVENT_TYPE_POWER
                                                     : EVENT_TYPE_RESET};
    if (a->kind == INPUT_QUIT) {
        p->state = INPUT_QUITS;
        p->next = UINT64_MAX;
    } else if (a->kind == INPUT_SCREENSHOT) {
        if (p->sink->screenshot(p->sink->context, a->text, &p->error))
            finish(p, tick);
        else
            (void)fail(p);
    } else if (inject(p, &e)) {
        finish(p, tick);
    }
}

typedef void step_fn(struct input_player *p, uint64_t tick);
static step_fn *const steps_of[] = {
    [INPUT_TYPE] = step_type,           [INPUT_KEY] = step_keys,
    [INPUT_PRESS] = step_keys,          [INPUT_RELEASE] = step_keys,
    [INPUT_MOUSE_MOVE] = step_move,     [INPUT_MOUSE_WHEEL] = step_wheel,
    [INPUT_MOUSE_DOWN] = step_buttons,  [INPUT_MOUSE_UP] = step_buttons,
    [INPUT_MOUSE_CLICK] = step_buttons, [INPUT_SERIAL] = step_serial,
    [INPUT_WAIT_SERIAL] = step_wait,    [INPUT_WAIT_SCREEN] = step_wait,
    [INPUT_SCREENSHOT] = step_simple,   [INPUT_POWER] = step_simple,
    [INPUT_RESET] = step_simple,        [INPUT_EJECT] = step_medium,
    [INPUT_INSERT] = step_medium,       [INPUT_QUIT] = step_simple,
};

enum input_state input_player_step(struct input_player *p, uint64_t tick,
                                   struct error *err)
{
    while (p->state == INPUT_RUNNING && p->next <= tick) {
        if (!p->has_begun) {
            p->has_begun = true;
            p->start = tick;
            p->part = 0;
            p->phase = 0;
        }
        steps_of[current(p)->kind](p, tick);
    }
    if (err && (p->state == INPUT_FAILED || p->state == INPUT_TIMEOUT))
        *err = p->error;
    return p->state;
}
