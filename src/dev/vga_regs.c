/* VGA ports 3B0h..3DFh: sequencer, CRTC, graphics and attribute controllers,
 * DAC, and the status registers that follow the beam. */
#include "dev/vga_internal.h"

static const uint8_t seq_mask[SEQ_COUNT] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
static const uint8_t gc_mask[GC_COUNT] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03,
                                          0x7b, 0x0f, 0x0f, 0xff};
static const uint8_t attr_mask[ATTR_COUNT] = {
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0xef, 0xff, 0x3f, 0x0f, 0x0f};

/* ---- time
 * --------------------------------------------------------------------- */

uint32_t vga_display_lines(const struct vga *v)
{
    uint32_t over = v->crtc[CRTC_OVERFLOW];
    return (v->crtc[CRTC_VDISPLAY] | (over & 0x02) << 7 | (over & 0x40) << 3) +
           1;
}

static uint64_t dot_clock(const struct vga *v)
{
    return (v->misc >> 2 & 3) == 1 ? 28322000 : 25175000;
}

static void crtc_timing(const struct vga *v, struct vga_timing *t)
{
    uint32_t over = v->crtc[CRTC_OVERFLOW];
    uint32_t dots = v->seq[SEQ_CLOCKING] & CLOCKING_8_DOTS ? 8 : 9;
    if (v->seq[SEQ_CLOCKING] & CLOCKING_HALF)
        dots *= 2;
    t->line_dots = (v->crtc[CRTC_HTOTAL] + 5) * dots;
    t->display_dots = (v->crtc[CRTC_HDISPLAY] + 1) * dots;
    t->lines =
        (v->crtc[CRTC_VTOTAL] | (over & 0x01) << 8 | (over & 0x20) << 4) + 2;
    t->display_lines = vga_display_lines(v);
    t->retrace_start =
        v->crtc[CRTC_VRETRACE_START] | (over & 0x04) << 6 | (over & 0x80) << 2;
    if (t->retrace_start >= t->lines)
        t->retrace_start = t->lines - 1;
    t->retrace_lines =
        ((v->crtc[CRTC_VRETRACE_END] - t->retrace_start - 1) & 15) + 1;
}

/* VBE modes run at the timing of 640x480 at 60 Hz, whatever their size: dispi
 * has no timing registers. */
struct vga_timing vga_timing(const struct vga *v)
{
    struct vga_timing t = {.line_dots = 800,
                           .display_dots = 640,
                           .lines = 525,
                           .display_lines = 480,
                           .retrace_start = 490,
                           .retrace_lines = 2};
    uint64_t hz = 25175000;
    if (!vga_vbe_on(v)) {
        crtc_timing(v, &t);
        hz = dot_clock(v);
    }
    uint64_t dots = bus_cycles_at(v->bus, bus_tick(v->bus), hz);
    uint64_t per_frame = (uint64_t)t.line_dots * t.lines;
    t.frame = dots / per_frame;
    t.line = (uint32_t)(dots % per_frame / t.line_dots);
    t.dot = (uint32_t)(dots % t.line_dots);
    return t;
}

/* Input status 1: bit 0 not displaying, bit 3 vertical retrace. Reading it
 * points the attribute controller at its index again. */
static uint8_t read_status_1(struct vga *v)
{
    struct vga_timing t = vga_timing(v);
    uint8_t status = 0;
    v->attr_data = false;
    if (t.line >= t.display_lines || t.dot >= t.display_dots)
        status |= 0x01;
    if (t.line - t.retrace_start < t.retrace_lines)
        status |= 0x09;
    return status;
}

/* ---- register files
 * -------------------------------------------------------------- */

static void crtc_write(struct vga *v, uint8_t value)
{
    unsigned index = v->crtc_index;
    bool is_protected = v->crtc[CRTC_VRETRACE_END] & 0x80;
    if (index >= CRTC_COUNT)
        return;
    if (is_protected && index <= CRTC_OVERFLOW) {
        /* Only the line compare bit stays writable. */
        if (index == CRTC_OVERFLOW)
            v->crtc[index] = (v->crtc[index] & ~0x10) | (value & 0x10);
        return;
    }
    v->crtc[index] = value;
}

static uint8_t crtc_read(const struct vga *v)
{
    unsigned index = v->crtc_index;
    if (index == 0x22) /* undocumented by IBM, on every VGA: the latch */
        return (uint8_t)(v->latch >> (v->gc[GC_READ_MAP] & 3) * 8);
    return index < CRTC_COUNT ? v->crtc[index] : 0;
}

static void attr_write(struct vga *v, uint8_t value)
{
    unsigned index = v->attr_index & 0x1f;
    if (!v->attr_data)
        v->attr_index = value & 0x3f;
    else if (index < ATTR_COUNT)
        v->attr[index] = value & attr_mask[index];
    v->attr_data = !v->attr_data;
}

static uint8_t attr_read(const struct vga *v)
{
    unsigned index = v->attr_index & 0x1f;
    return index < ATTR_COUNT ? v->attr[index] : 0;
}

static void dac_start(struct vga *v, uint8_t index, bool reading)
{
    if (reading)
        v->dac_read = index;
    else
        v->dac_write = index;
    v->dac_component = 0;
    v->dac_reading = reading;
}

/* Red, green and blue enter the table together with the third write. */
static void dac_data_write(struct vga *v, uint8_t value)
{
    bool wide = v->vbe[VBE_ENABLE] & VBE_8BIT_DAC;
    v->dac_latch[v->dac_component] = wide ? value : value & 0x3f;
    if (++v->dac_component < 3)
        return;
    for (unsigned i = 0; i < 3; i++)
        v->dac[v->dac_write * 3u + i] = v->dac_latch[i];
    v->dac_component = 0;
    v->dac_write++;
}

static uint8_t dac_data_read(struct vga *v)
{
    uint8_t value = v->dac[v->dac_read * 3u + v->dac_component];
    if (++v->dac_component == 3) {
        v->dac_component = 0;
        v->dac_read++;
    }
    return value;
}

/* ---- ports
 * ----------------------------------------------------------------------- */

/* CRTC and status 1 answer at 3Bxh or 3Dxh, by miscellaneous output bit 0. */
static bool answers(const struct vga *v, uint16_t port)
{
    unsigned group = port & 0xff0;
    return group == 0x3c0 || (group == 0x3d0) == (v->misc & 1);
}

static uint8_t read_common(struct vga *v, uint16_t port)
{
    switch (port) {
    case 0x3c0:
        return v->attr_index;
    case 0x3c1:
        return attr_read(v);
    case 0x3c2:
        return 0x10; /* switch sense: a colour monitor; no interrupt */
    case 0x3c3:
        return 0x01; /* enabled */
    case 0x3c4:
        return v->seq_index;
    case 0x3c5:
        return v->seq_index < SEQ_COUNT ? v->seq[v->seq_index] : 0;
    case 0x3c6:
        return v->pel_mask;
    case 0x3c7:
        return v->dac_reading ? 3 : 0;
    case 0x3c8:
        return v->dac_write;
    case 0x3c9:
        return dac_data_read(v);
    case 0x3ca:
        return v->feature;
    case 0x3cc:
        return v->misc;
    case 0x3ce:
        return v->gc_index;
    case 0x3cf:
        return v->gc_index < GC_COUNT ? v->gc[v->gc_index] : 0;
    default:
        return 0xff;
    }
}

uint8_t vga_port_read(struct vga *v, uint16_t port)
{
    if (!answers(v, port))
        return 0xff;
    if ((port & 0xff0) == 0x3c0)
        return read_common(v, port);
    switch (port & 0xf) {
    case 0x4:
        return v->crtc_index;
    case 0x5:
        return crtc_read(v);
    case 0xa:
        return read_status_1(v);
    default:
        return 0xff;
    }
}

static void write_common(struct vga *v, uint16_t port, uint8_t value)
{
    switch (port) {
    case 0x3c0:
        attr_write(v, value);
        break;
    case 0x3c2:
        v->misc = value & ~0x10;
        break;
    case 0x3c4:
        v->seq_index = value & 7;
        break;
    case 0x3c5:
        if (v->seq_index < SEQ_COUNT)
            v->seq[v->seq_index] = value & seq_mask[v->seq_index];
        break;
    case 0x3c6:
        v->pel_mask = value;
        break;
    case 0x3c7:
        dac_start(v, value, true);
        break;
    case 0x3c8:
        dac_start(v, value, false);
        break;
    case 0x3c9:
        dac_data_write(v, value);
        break;
    case 0x3ce:
        v->gc_index = value & 15;
        break;
    case 0x3cf:
        if (v->gc_index < GC_COUNT)
            v->gc[v->gc_index] = value & gc_mask[v->gc_index];
        break;
    default:
        break;
    }
}

void vga_port_write(struct vga *v, uint16_t port, uint8_t value)
{
    if (!answers(v, port))
        return;
    if ((port & 0xff0) == 0x3c0) {
        write_common(v, port, value);
        return;
    }
    switch (port & 0xf) {
    case 0x4:
        v->crtc_index = value & 0x3f;
        break;
    case 0x5:
        crtc_write(v, value);
        break;
    case 0xa:
        v->feature = value & 0x0b;
        break;
    default:
        break;
    }
}
