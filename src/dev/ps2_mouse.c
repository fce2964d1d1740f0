/* The mouse: IBM PS/2 mouse, Microsoft IntelliMouse (wheel) and IntelliMouse
 * Explorer (five buttons), chosen by the guest's knocks (IBM PS/2 Hardware
 * Interface Technical Reference, "Mouse"; Microsoft, "IntelliMouse protocol").
 */
#include "dev/ps2_internal.h"

#include <string.h>

enum {
    ACK = 0xfa,
    RESEND = 0xfe,
    BAT_DONE = 0xaa,
    COUNT_MAX = 32767 /* unsent counts saturate here */
};

static int clamp(int v, int limit)
{
    return v > limit ? limit : v < -limit ? -limit : v;
}

/* ---- movement ----------------------------------------------------------- */

static void forget_moves(struct ps2_mouse *m)
{
    memset(m->dx, 0, sizeof m->dx);
    memset(m->dy, 0, sizeof m->dy);
    memset(m->dz, 0, sizeof m->dz);
    if (m->moves)
        m->held = m->buttons[m->moves - 1];
    memset(m->buttons, 0, sizeof m->buttons);
    m->moves = 0;
}

void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz,
                    unsigned buttons)
{
    uint8_t now = buttons & 31;
    uint8_t last = m->moves ? m->buttons[m->moves - 1] : m->held;
    if (!m->moves && now == last && !dx && !dy && !dz)
        return;
    if (!m->reporting && !m->remote) { /* only E9h shows the buttons */
        m->held = now;
        return;
    }
    if (m->moves == 0 || (now != last && m->moves < PS2_MOVES))
        m->moves++;
    unsigned i = m->moves - 1u;
    m->buttons[i] = now;
    m->dx[i] = clamp(m->dx[i] + clamp(dx, COUNT_MAX), COUNT_MAX);
    m->dy[i] = clamp(m->dy[i] + clamp(dy, COUNT_MAX), COUNT_MAX);
    m->dz[i] = clamp(m->dz[i] + clamp(dz, COUNT_MAX), COUNT_MAX);
}

static void drop_oldest(struct ps2_mouse *m)
{
    m->moves--;
    for (unsigned i = 0; i < PS2_MOVES - 1; i++) {
        m->dx[i] = m->dx[i + 1];
        m->dy[i] = m->dy[i + 1];
        m->dz[i] = m->dz[i + 1];
        m->buttons[i] = m->buttons[i + 1];
    }
    m->dx[PS2_MOVES - 1] = m->dy[PS2_MOVES - 1] = m->dz[PS2_MOVES - 1] = 0;
    m->buttons[PS2_MOVES - 1] = 0;
}

/* Scaling 2:1 of stream mode (E7h). */
static int scaled(int v)
{
    static const int small[] = {0, 1, 1, 3, 6, 9};
    int n = v < 0 ? -v : v;
    n = n < 6 ? small[n] : 2 * n;
    return clamp(v < 0 ? -n : n, 255);
}

struct packet {
    uint8_t byte[4];
    unsigned count;
};

/* The oldest unsent movement, at most 255 counts of it; the rest stays. */
static struct packet take_packet(struct ps2_mouse *m, bool scale)
{
    int wheel_limit = m->id == 4 ? 7 : 127;
    int x = 0, y = 0, z = 0;
    if (m->moves) {
        x = clamp(m->dx[0], 255);
        y = clamp(m->dy[0], 255);
        z = m->id ? clamp(m->dz[0], wheel_limit) : m->dz[0];
        m->dx[0] -= x;
        m->dy[0] -= y;
        m->dz[0] -= z;
        m->held = m->buttons[0];
        if (!m->dx[0] && !m->dy[0] && !m->dz[0])
            drop_oldest(m);
    }
    y = -y; /* up is positive on the wire */
    if (scale) {
        x = scaled(x);
        y = scaled(y);
    }
    struct packet p = {.count = m->id ? 4 : 3};
    p.byte[0] = (uint8_t)(8 | (m->held & 7) | (x < 0) << 4 | (y < 0) << 5);
    p.byte[1] = (uint8_t)x;
    p.byte[2] = (uint8_t)y;
    p.byte[3] = (uint8_t)(m->id == 4 ? (z & 15) | (m->held & 0x18) << 1 : z);
    return p;
}

bool ps2_mouse_has_news(const struct ps2_mouse *m)
{
    return m->reporting && !m->remote && !m->wrap && m->moves > 0;
}

bool ps2_mouse_sample(struct ps2_mouse *m)
{
    if (!ps2_mouse_has_news(m))
        return false;
    if (!ps2_fifo_empty(&m->out))
        return true;
    struct packet p = take_packet(m, m->scaling);
    for (unsigned i = 0; i < p.count; i++)
        ps2_fifo_put(&m->out, p.byte[i]);
    return true;
}

/* ---- commands ----------------------------------------------------------- */

static void set_defaults(struct ps2_mouse *m)
{
    m->rate = 100;
    m->resolution = 2;
    m->scaling = false;
    m->reporting = false;
    m->remote = false;
    m->wrap = false;
    m->knock[0] = m->knock[1] = 0;
    ps2_fifo_clear(&m->out);
    forget_moves(m);
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
    *m = (struct ps2_mouse){0};
    set_defaults(m);
}

static bool rate_exists(uint8_t rate)
{
    return rate == 10 || rate == 20 || rate == 40 || rate == 60 || rate == 80 ||
           rate == 100 || rate == 200;
}

/* 200, 100, 80 makes it an IntelliMouse; 200, 200, 80 an Explorer. */
static void set_rate(struct ps2_mouse *m, uint8_t rate)
{
    if (m->knock[0] == 200 && rate == 80) {
        if (m->knock[1] == 100 && m->id == 0)
            m->id = 3;
        else if (m->knock[1] == 200)
            m->id = 4;
    }
    m->knock[0] = m->knock[1];
    m->knock[1] = rate;
    m->rate = rate;
}

static void take_parameter(struct ps2_mouse *m, uint8_t byte)
{
    uint8_t command = m->pending;
    m->pending = 0;
    bool good = command == 0xe8 ? byte <= 3 : rate_exists(byte);
    if (good && command == 0xe8)
        m->resolution = byte;
    else if (good)
        set_rate(m, byte);
    ps2_fifo_reply(&m->out, good ? ACK : RESEND);
}

static void answer_status(struct ps2_mouse *m)
{
    unsigned buttons =
        (m->held & 1u) << 2 | (m->held & 4u) >> 1 | (m->held & 2u) >> 1;
    ps2_fifo_reply(&m->out, ACK);
    ps2_fifo_reply(&m->out, (uint8_t)(m->remote << 6 | m->reporting << 5 |
                                      m->scaling << 4 | buttons));
    ps2_fifo_reply(&m->out, m->resolution);
    ps2_fifo_reply(&m->out, m->rate);
}

static void answer_read_data(struct ps2_mouse *m)
{
    ps2_fifo_reply(&m->out, ACK);
    struct packet p = take_packet(m, false);
    for (unsigned i = 0; i < p.count; i++)
        ps2_fifo_reply(&m->out, p.byte[i]);
}

/* Commands that only change a setting; false: unknown. */
static bool change_setting(struct ps2_mouse *m, uint8_t byte)
{
    switch (byte) {
    case 0xe6:
    case 0xe7:
        m->scaling = byte & 1;
        return true;
    case 0xe8:
    case 0xf3:
        m->pending = byte;
        return true;
    case 0xea:
    case 0xf0:
        m->remote = byte == 0xf0;
        forget_moves(m);
        return true;
    case 0xec:
    case 0xee:
        m->wrap = byte == 0xee;
        return true;
    case 0xf4:
    case 0xf5:
        m->reporting = byte == 0xf4;
        forget_moves(m);
        return true;
    case 0xf6:
        set_defaults(m);
        return true;
    default:
        return false;
    }
}

void ps2_mouse_command(struct ps2_mouse *m, uint8_t byte)
{
    ps2_fifo_clear(&m->out); /* a command ends a report on its way */
    if (m->wrap && byte != 0xec && byte != 0xff) {
        ps2_fifo_reply(&m->out, byte);
        return;
    }
    if (m->pending) {
        take_parameter(m, byte);
        return;
    }
    switch (byte) {
    case 0xe9:
        answer_status(m);
        break;
    case 0xeb:
        answer_read_data(m);
        break;
    case 0xf2:
        ps2_fifo_reply(&m->out, ACK);
        ps2_fifo_reply(&m->out, m->id);
        break;
    case 0xfe:
        ps2_fifo_reply(&m->out, m->out.last);
        break;
    case 0xff:
        ps2_mouse_reset(m);
        ps2_fifo_reply(&m->out, ACK);
        ps2_fifo_reply(&m->out, BAT_DONE);
        ps2_fifo_reply(&m->out, 0);
        break;
    default:
        ps2_fifo_reply(&m->out, change_setting(m, byte) ? ACK : RESEND);
        break;
    }
}

/* ---- state -------------------------------------------------------------- */

const struct field ps2_mouse_fields[PS2_MOUSE_FIELDS] = {
    FIELD_U32(struct ps2_mouse, dx),
    FIELD_U32(struct ps2_mouse, dy),
    FIELD_U32(struct ps2_mouse, dz),
    FIELD_U8(struct ps2_mouse, buttons),
    FIELD_U8(struct ps2_mouse, moves),
    FIELD_U8(struct ps2_mouse, pending),
    FIELD_U8(struct ps2_mouse, id),
    FIELD_U8(struct ps2_mouse, resolution),
    FIELD_U8(struct ps2_mouse, rate),
    FIELD_U8(struct ps2_mouse, knock),
    FIELD_U8(struct ps2_mouse, held),
    FIELD_BOOL(struct ps2_mouse, reporting),
    FIELD_BOOL(struct ps2_mouse, remote),
    FIELD_BOOL(struct ps2_mouse, wrap),
    FIELD_BOOL(struct ps2_mouse, scaling),
};

bool ps2_mouse_valid(const struct ps2_mouse *m)
{
    for (unsigned i = 0; i < PS2_MOVES; i++)
        if (clamp(m->dx[i], COUNT_MAX) != m->dx[i] ||
            clamp(m->dy[i], COUNT_MAX) != m->dy[i] ||
            clamp(m->dz[i], COUNT_MAX) != m->dz[i])
            return false;
    return m->moves <= PS2_MOVES && (m->id == 0 || m->id == 3 || m->id == 4) &&
           m->resolution <= 3 && rate_exists(m->rate);
}
