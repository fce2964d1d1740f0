/* dev/vga: planar logic against a plain model, registers, text, VBE. */
#include "dev/pci.h"
#include "dev/vga.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib_devtest.h"

enum { FRAMEBUFFER = 0xe0000000u, REGISTERS = 0xfebf0000u };

struct fix {
    struct phys *phys;
    struct dev_bus *bus;
    struct pci_bus *pci;
    struct vga *v;
    uint64_t tick;
    struct screen screen;
};

static void out8(struct fix *f, uint16_t port, uint8_t value)
{
    bus_io_write(f->bus, port, value, 1);
}

static uint8_t in8(struct fix *f, uint16_t port)
{
    return (uint8_t)bus_io_read(f->bus, port, 1);
}

/* Index in the low byte, value in the high one: one 16-bit OUT. */
static void indexed(struct fix *f, uint16_t port, unsigned index,
                    unsigned value)
{
    bus_io_write(f->bus, port, index | value << 8, 2);
}

static void attr(struct fix *f, uint8_t index, uint8_t value)
{
    (void)in8(f, 0x3da);
    out8(f, 0x3c0, index);
    out8(f, 0x3c0, value);
}

static void dispi(struct fix *f, uint16_t index, uint16_t value)
{
    bus_io_write(f->bus, 0x1ce, index, 2);
    bus_io_write(f->bus, 0x1cf, value, 2);
}

static uint16_t dispi_get(struct fix *f, uint16_t index)
{
    bus_io_write(f->bus, 0x1ce, index, 2);
    return (uint16_t)bus_io_read(f->bus, 0x1cf, 2);
}

static void poke(struct fix *f, uint64_t at, uint8_t value)
{
    phys_write(f->phys, at, &value, 1);
}

static uint8_t peek(struct fix *f, uint64_t at)
{
    uint8_t value = 0;
    phys_read(f->phys, at, &value, 1);
    return value;
}

static void config_write(struct fix *f, uint8_t reg, uint32_t value)
{
    bus_io_write(f->bus, 0xcf8, 0x80001000u | reg, 4);
    bus_io_write(f->bus, 0xcfc, value, 4);
}

static uint32_t config_read(struct fix *f, uint8_t reg)
{
    bus_io_write(f->bus, 0xcf8, 0x80001000u | reg, 4);
    return bus_io_read(f->bus, 0xcfc, 4);
}

static int setup(void **state)
{
    static struct fix f;
    static uint8_t rom[5000] = {0x55, 0xaa, 10};
    struct error err;
    f = (struct fix){0};
    f.phys = phys_new(32 << 20, &err);
    if (!f.phys)
        return -1;
    f.bus = bus_new(f.phys, &f.tick, 1000000000);
    f.pci = pci_bus_new(f.bus);
    rom[4999] = 0x77;
    f.v = vga_new(f.bus, f.pci, 2, rom, sizeof rom);
    if (!f.v)
        return -1;
    config_write(&f, 0x10, FRAMEBUFFER);
    config_write(&f, 0x18, REGISTERS);
    config_write(&f, 0x04, 3);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;
    screen_fini(&f->screen);
    vga_free(f->v);
    pci_bus_free(f->pci);
    bus_free(f->bus);
    phys_free(f->phys);
    return 0;
}

/* ---- BIOS modes, as the IBM tables give them -------------------------------
 */

struct mode {
    uint8_t misc, seq[5], crtc[25], gc[9], attr_mode, attr_planes, pan;
};

static const struct mode text_80x25 = {
    .misc = 0x67,
    .seq = {3, 0, 3, 0, 2},
    .crtc = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00,
             0x4f, 0x0d, 0x0e, 0,    0,    0,    0,    0x9c, 0x8e,
             0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff},
    .gc = {0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff},
    .attr_mode = 0x0c,
    .attr_planes = 0x0f,
    .pan = 8,
};
static const struct mode mode_12h = {
    .misc = 0xe3,
    .seq = {3, 1, 0xf, 0, 6},
    .crtc = {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00,
             0x40, 0,    0,    0,    0,    0,    0,    0xea, 0x8c,
             0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff},
    .gc = {0, 0, 0, 0, 0, 0, 5, 0xf, 0xff},
    .attr_mode = 0x01,
    .attr_planes = 0x0f,
};
static const struct mode mode_13h = {
    .misc = 0x63,
    .seq = {3, 1, 0xf, 0, 0xe},
    .crtc = {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00,
             0x41, 0,    0,    0,    0,    0,    0,    0x9c, 0x8e,
             0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff},
    .gc = {0, 0, 0, 0, 0, 0x40, 5, 0xf, 0xff},
    .attr_mode = 0x41,
    .attr_planes = 0x0f,
};
static const struct mode mode_4 = {
    .misc = 0x63,
    .seq = {3, 9, 3, 0, 2},
    .crtc = {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00,
             0xc1, 0,    0,    0,    0,    0,    0,    0x9c, 0x8e,
             0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff},
    .gc = {0, 0, 0, 0, 0, 0x30, 0xf, 0xf, 0xff},
    .attr_mode = 0x01,
    .attr_planes = 0x03,
};
static const struct mode mode_6 = {
    .misc = 0x63,
    .seq = {3, 1, 1, 0, 6},
    .crtc = {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00,
             0xc1, 0,    0,    0,    0,    0,    0,    0x9c, 0x8e,
             0x8f, 0x28, 0x00, 0x96, 0xb9, 0xc2, 0xff},
    .gc = {0, 0, 0, 0, 0, 0, 0xd, 0xf, 0xff},
    .attr_mode = 0x01,
    .attr_planes = 0x01,
};

/* DAC entry i is red i/4 (6 bits), green 63 - that, blue i % 64. */
static uint32_t color(unsigned i)
{
    unsigned r = i / 4, g = 63 - r, b = i & 63;
    return (r << 2 | r >> 4) << 16 | (g << 2 | g >> 4) << 8 | (b << 2 | b >> 4);
}

static void set_mode(struct fix *f, const struct mode *m)
{
    out8(f, 0x3c2, m->misc);
    for (unsigned i = 0; i < 5; i++)
        indexed(f, 0x3c4, i, m->seq[i]);
    indexed(f, 0x3d4, 0x11, 0);
    for (unsigned i = 0; i < 25; i++)
        indexed(f, 0x3d4, i, m->crtc[i]);
    for (unsigned i = 0; i < 9; i++)
        indexed(f, 0x3ce, i, m->gc[i]);
    for (uint8_t i = 0; i < 16; i++)
        attr(f, i, i);
    attr(f, 0x10, m->attr_mode);
    attr(f, 0x12, m->attr_planes);
    attr(f, 0x13, m->pan);
    out8(f, 0x3c0, 0x20);
    out8(f, 0x3c6, 0xff);
    out8(f, 0x3c8, 0);
    for (unsigned i = 0; i < 256; i++) {
        out8(f, 0x3c9, (uint8_t)(i / 4));
        out8(f, 0x3c9, (uint8_t)(63 - i / 4));
        out8(f, 0x3c9, i & 63);
    }
}

static uint32_t pixel(struct fix *f, uint32_t x, uint32_t y)
{
    assert_true(vga_screen(f->v, &f->screen));
    assert_true(x < f->screen.width && y < f->screen.height);
    return f->screen.pixels[y * f->screen.width + x];
}

static void assert_size(struct fix *f, uint32_t width, uint32_t height)
{
    assert_true(vga_screen(f->v, &f->screen));
    assert_int_equal(f->screen.width, width);
    assert_int_equal(f->screen.height, height);
}

/* ---- planar logic against a bit-by-bit model --------------------------------
 */

struct model {
    uint8_t plane[4][256], latch[4];
    uint8_t seq[5], gc[9];
};

static unsigned bit(unsigned value, unsigned n)
{
    return value >> n & 1;
}

static unsigned model_bit(const struct model *m, unsigned p, unsigned n,
                          unsigned value)
{
    unsigned rotate = m->gc[3] & 7, mode = m->gc[5] & 3;
    unsigned cpu = bit(value, (n + rotate) & 7), old = bit(m->latch[p], n);
    unsigned data = cpu, use = bit(m->gc[8], n);
    if (mode == 1)
        return old;
    if (mode == 0 && bit(m->gc[1], p))
        data = bit(m->gc[0], p);
    if (mode == 2)
        data = bit(value, p);
    if (mode == 3) {
        data = bit(m->gc[0], p);
        use = use && cpu;
    }
    switch (m->gc[3] >> 3) {
    case 1:
        data &= old;
        break;
    case 2:
        data |= old;
        break;
    case 3:
        data ^= old;
        break;
    }
    return use ? data : old;
}

/* Which planes an address reaches, and where in them (packed). */
static unsigned model_planes(const struct model *m, unsigned at,
                             unsigned *offset)
{
    if (m->seq[4] & 8) {
        *offset = at / 4;
        return 1u << at % 4;
    }
    if (!(m->seq[4] & 4)) {
        *offset = at / 2;
        return at % 2 ? 10 : 5;
    }
    *offset = at;
    return 15;
}

static void model_write(struct model *m, unsigned at, unsigned value)
{
    unsigned offset, planes = model_planes(m, at, &offset) & m->seq[2];
    for (unsigned p = 0; p < 4; p++) {
        unsigned byte = 0;
        for (unsigned n = 0; n < 8; n++)
            byte |= model_bit(m, p, n, value) << n;
        if (bit(planes, p))
            m->plane[p][offset] = (uint8_t)byte;
    }
}

static uint8_t model_read(struct model *m, unsigned at)
{
    unsigned offset, p = m->gc[4];
    (void)model_planes(m, at, &offset);
    if (m->seq[4] & 8)
        p = at % 4;
    else if (!(m->seq[4] & 4))
        p = (p & 2) | at % 2;
    for (unsigned i = 0; i < 4; i++)
        m->latch[i] = m->plane[i][offset];
    if (!(m->gc[5] & 8))
        return m->latch[p];
    unsigned same = 0xff;
    for (unsigned n = 0; n < 8; n++)
        for (unsigned i = 0; i < 4; i++)
            if (bit(m->gc[7], i) && bit(m->latch[i], n) != bit(m->gc[2], i))
                same &= ~(1u << n);
    return (uint8_t)same;
}

static unsigned random_below(uint64_t *seed, unsigned n)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(*seed >> 33) % n;
}

static void random_registers(struct fix *f, struct model *m, uint64_t *seed)
{
    static const uint8_t limit[9] = {16, 16, 16, 32, 4, 4, 1, 16, 0};
    static const uint8_t memory[3] = {2, 6, 14};
    m->seq[2] = (uint8_t)random_below(seed, 16);
    m->seq[4] = memory[random_below(seed, 3)];
    for (unsigned i = 0; i < 9; i++)
        m->gc[i] = (uint8_t)random_below(seed, limit[i] ? limit[i] : 256);
    m->gc[5] |= (uint8_t)(random_below(seed, 2) * 8);
    if (!(m->seq[4] & 4))
        m->gc[5] |= 0x10;
    m->gc[6] = 5;
    for (unsigned i = 2; i < 5; i++)
        indexed(f, 0x3c4, i, m->seq[i]);
    for (unsigned i = 0; i < 9; i++)
        indexed(f, 0x3ce, i, m->gc[i]);
}

static void planar_logic_equals_a_bit_by_bit_model(void **state)
{
    struct fix *f = *state;
    static struct model m;
    uint64_t seed = 20240601;
    m = (struct model){0};
    set_mode(f, &mode_12h);
    for (unsigned round = 0; round < 3000; round++) {
        if (round % 4 == 0)
            random_registers(f, &m, &seed);
        unsigned at = random_below(&seed, 256);
        unsigned value = random_below(&seed, 256);
        if (random_below(&seed, 3) == 0) {
            assert_int_equal(peek(f, 0xa0000 + at), model_read(&m, at));
        } else {
            poke(f, 0xa0000 + at, (uint8_t)value);
            model_write(&m, at, value);
        }
    }
    for (unsigned at = 0; at < 256; at++)
        for (unsigned p = 0; p < 4; p++)
            assert_int_equal(peek(f, FRAMEBUFFER + at * 4 + p), m.plane[p][at]);
}

static void wide_stores_are_bytes_in_order(void **state)
{
    struct fix *f = *state;
    uint64_t in = 0x1122334455667788, out = 0;
    set_mode(f, &mode_12h);
    indexed(f, 0x3c4, 2, 4);
    phys_write(f->phys, 0xa0010, &in, 8);
    indexed(f, 0x3ce, 4, 2);
    phys_read(f->phys, 0xa0010, &out, 8);
    assert_true(in == out);
    assert_int_equal(peek(f, FRAMEBUFFER + 0x11 * 4 + 2), 0x77);
    set_mode(f, &mode_13h);
    phys_write(f->phys, 0xa0020, &in, 8);
    phys_read(f->phys, FRAMEBUFFER + 0x20, &out, 8);
    assert_true(in == out);
}

/* ---- window and ports
 * ----------------------------------------------------------- */

static void window_answers_where_graphics_register_6_says(void **state)
{
    struct fix *f = *state;
    set_mode(f, &text_80x25); /* B8000h, 32 KiB */
    poke(f, 0xa0000, 1);
    assert_int_equal(peek(f, 0xa0000), 0xff);
    assert_int_equal(peek(f, 0xb0000), 0xff);
    poke(f, 0xb8000, 'A');
    assert_int_equal(peek(f, 0xb8000), 'A');
    indexed(f, 0x3ce, 6, 0x08); /* B0000h */
    assert_int_equal(peek(f, 0xb0000), 'A');
    assert_int_equal(peek(f, 0xb8000), 0xff);
    out8(f, 0x3c2, 0x65); /* RAM off */
    assert_int_equal(peek(f, 0xb0000), 0xff);
}

static void crtc_answers_at_mono_or_color_ports(void **state)
{
    struct fix *f = *state;
    out8(f, 0x3c2, 0x01);
    indexed(f, 0x3d4, 0x0e, 0x12);
    assert_int_equal(in8(f, 0x3d5), 0x12);
    assert_int_equal(in8(f, 0x3b5), 0xff);
    out8(f, 0x3c2, 0x00);
    assert_int_equal(in8(f, 0x3d5), 0xff);
    assert_int_equal(in8(f, 0x3b5), 0x12);
}

static void crtc_protection_leaves_line_compare_bit(void **state)
{
    struct fix *f = *state;
    set_mode(f, &text_80x25);
    indexed(f, 0x3d4, 0x11, 0x8e);
    indexed(f, 0x3d4, 0x00, 0x11);
    indexed(f, 0x3d4, 0x07, 0x00);
    out8(f, 0x3d4, 0);
    assert_int_equal(in8(f, 0x3d5), 0x5f);
    out8(f, 0x3d4, 7);
    assert_int_equal(in8(f, 0x3d5), 0x0f);
}

static void status_read_resets_the_attribute_flip_flop(void **state)
{
    struct fix *f = *state;
    set_mode(f, &text_80x25);
    (void)in8(f, 0x3da);
    out8(f, 0x3c0, 0x33); /* index */
    (void)in8(f, 0x3da);
    out8(f, 0x3c0, 0x13); /* index again */
    out8(f, 0x3c0, 0x05);
    out8(f, 0x3c0, 0x33);
    assert_int_equal(in8(f, 0x3c1), 0x05);
    assert_int_equal(in8(f, 0x3c0), 0x33);
}

static void dac_steps_through_components_and_entries(void **state)
{
    struct fix *f = *state;
    out8(f, 0x3c8, 10);
    for (uint8_t i = 1; i <= 6; i++)
        out8(f, 0x3c9, i | 0xc0);
    assert_int_equal(in8(f, 0x3c8), 12);
    assert_int_equal(in8(f, 0x3c7), 0);
    out8(f, 0x3c7, 10);
    assert_int_equal(in8(f, 0x3c7), 3);
    for (uint8_t i = 1; i <= 6; i++)
        assert_int_equal(in8(f, 0x3c9), i);
}

static void retrace_follows_guest_time_at_70_hz(void **state)
{
    struct fix *f = *state;
    unsigned rises = 0, last = 0;
    set_mode(f, &text_80x25);
    for (f->tick = 0; f->tick < 1000000000; f->tick += 20000) {
        unsigned now = in8(f, 0x3da) & 8;
        rises += now && !last;
        last = now;
    }
    assert_int_equal(rises, 70);
}

/* ---- pictures
 * --------------------------------------------------------------------- */

/* An 8x16 font in which glyph c, line n is c ^ n. */
static void load_font(struct fix *f, uint32_t offset)
{
    indexed(f, 0x3c4, 2, 4);
    indexed(f, 0x3c4, 4, 7);
    indexed(f, 0x3ce, 5, 0);
    indexed(f, 0x3ce, 6, 0);
    for (unsigned c = 0; c < 256; c++)
        for (unsigned n = 0; n < 16; n++)
            poke(f, 0xa0000 + offset + c * 32 + n, (uint8_t)(c ^ n));
    indexed(f, 0x3c4, 2, 3);
    indexed(f, 0x3c4, 4, 2);
    indexed(f, 0x3ce, 5, 0x10);
    indexed(f, 0x3ce, 6, 0x0e);
}

static void print(struct fix *f, unsigned at, const char *text, uint8_t look)
{
    for (; *text; text++, at++) {
        poke(f, 0xb8000 + at * 2, (uint8_t)*text);
        poke(f, 0xb8000 + at * 2 + 1, look);
    }
}

static void text_is_recognised(void **state)
{
    struct fix *f = *state;
    static struct screen_text text;
    set_mode(f, &text_80x25);
    print(f, 0, "Booting from Hard Disk...", 7);
    print(f, 80 + 2, "C:\\>\xc4", 7);
    assert_true(vga_screen_text(f->v, &text));
    assert_int_equal(text.columns, 80);
    assert_int_equal(text.rows, 25);
    assert_int_equal(
        strncmp(text.text, "Booting from Hard Disk...\n  C:\\>?\n\n", 35), 0);
    indexed(f, 0x3d4, 0x0d, 80); /* scrolled by one row */
    assert_true(vga_screen_text(f->v, &text));
    assert_int_equal(strncmp(text.text, "  C:\\>?\n", 8), 0);
    indexed(f, 0x3ce, 6, 5);
    assert_false(vga_screen_text(f->v, &text));
}

static void text_pixels_come_from_the_font(void **state)
{
    struct fix *f = *state;
    set_mode(f, &text_80x25);
    load_font(f, 0);
    print(f, 1, "Z\xc3", 0x1e);
    indexed(f, 0x3d4, 0x0a, 0x20); /* no cursor */
    assert_size(f, 720, 400);
    for (unsigned y = 0; y < 16; y++)
        for (unsigned x = 0; x < 9; x++) {
            unsigned a = x < 8 && bit('Z' ^ y, 7 - x);
            unsigned b = bit(0xc3 ^ y, x < 8 ? 7 - x : 0);
            const uint32_t *line = f->screen.pixels + y * 720;
            assert_int_equal(line[9 + x], color(a ? 14 : 1));
            assert_int_equal(line[18 + x], color(b ? 14 : 1));
        }
}

static void attribute_bit_3_selects_the_second_font(void **state)
{
    struct fix *f = *state;
    set_mode(f, &text_80x25);
    load_font(f, 0x6000); /* character map 5 */
    indexed(f, 0x3c4, 3, 0x24);
    indexed(f, 0x3d4, 0x0a, 0x20);
    print(f, 0, "\xf0", 0x0f);
    print(f, 1, "\xf0", 0x07);
    assert_int_equal(pixel(f, 0, 0), color(15));
    assert_int_equal(pixel(f, 9, 0), color(0));
}

static void cursor_and_characters_blink_by_frames(void **state)
{
    struct fix *f = *state;
    set_mode(f, &text_80x25);
    load_font(f, 0);
    indexed(f, 0x3d4, 0x0f, 3);
    print(f, 3, " ", 7);
    print(f, 5, "\xff", 0x87);
    const uint64_t frame = 14268256; /* 449 x 900 dots at 28.322 MHz, in ns */
    assert_int_equal(pixel(f, 27, 13), color(7));
    assert_int_equal(pixel(f, 45, 0), color(7));
    f->tick = frame * 8 + frame / 2;
    assert_int_equal(pixel(f, 27, 13), color(bit(' ' ^ 13, 7) ? 7 : 0));
    f->tick = frame * 16 + frame / 2;
    assert_int_equal(pixel(f, 27, 13), color(7));
    assert_int_equal(pixel(f, 45, 0), color(0));
}

static void mode_13h_is_linear_and_doubled(void **state)
{
    struct fix *f = *state;
    set_mode(f, &mode_13h);
    poke(f, 0xa0000 + 320 * 7 + 33, 200);
    assert_size(f, 640, 400);
    assert_int_equal(pixel(f, 66, 14), color(200));
    assert_int_equal(pixel(f, 67, 15), color(200));
    assert_int_equal(pixel(f, 68, 15), color(0));
    out8(f, 0x3c6, 0x0f);
    assert_int_equal(pixel(f, 66, 14), color(200 & 15));
}

static void mode_x_pages_and_plane_writes(void **state)
{
    struct fix *f = *state;
    set_mode(f, &mode_13h);
    indexed(f, 0x3c4, 4, 6);
    indexed(f, 0x3d4, 0x14, 0);
    indexed(f, 0x3d4, 0x17, 0xe3);
    indexed(f, 0x3c4, 2, 2); /* plane 1 */
    poke(f, 0xa0000 + 0x8000 + 80 * 3 + 5, 99);
    indexed(f, 0x3d4, 0x0c, 0x80);
    assert_int_equal(pixel(f, (5 * 4 + 1) * 2, 6), color(99));
    assert_int_equal(pixel(f, (5 * 4 + 2) * 2, 6), color(0));
}

static void mode_12h_combines_planes_and_pans(void **state)
{
    struct fix *f = *state;
    set_mode(f, &mode_12h);
    indexed(f, 0x3c4, 2, 9); /* planes 0 and 3 */
    poke(f, 0xa0000 + 80 * 100 + 2, 0x10);
    assert_size(f, 640, 480);
    assert_int_equal(pixel(f, 19, 100), color(9));
    attr(f, 0x33, 3);
    assert_int_equal(pixel(f, 16, 100), color(9));
    attr(f, 0x32, 1); /* plane 0 alone */
    assert_int_equal(pixel(f, 16, 100), color(1));
}

static void line_compare_starts_again_at_address_0(void **state)
{
    struct fix *f = *state;
    set_mode(f, &mode_12h);
    indexed(f, 0x3c4, 2, 15);
    poke(f, 0xa0000, 0xff);
    indexed(f, 0x3d4, 0x0c, 0x10);
    indexed(f, 0x3d4, 0x07, 0x2e);
    indexed(f, 0x3d4, 0x09, 0x00);
    indexed(f, 0x3d4, 0x18, 99);
    assert_int_equal(pixel(f, 0, 0), color(0));
    assert_int_equal(pixel(f, 0, 100), color(15));
    assert_int_equal(pixel(f, 0, 101), color(0));
}

static void cga_modes_interleave_scan_lines(void **state)
{
    struct fix *f = *state;
    set_mode(f, &mode_4);
    poke(f, 0xb8000 + 80 * 2 + 1, 0x1b);
    poke(f, 0xb8000 + 0x2000 + 80 * 2 + 1, 0xc0);
    assert_size(f, 640, 400);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pixel(f, (4 + i) * 2, 8), color(i));
    assert_int_equal(pixel(f, 8, 10), color(3));
    set_mode(f, &mode_6);
    poke(f, 0xb8000 + 0x2000 + 80 + 3, 0x80);
    assert_size(f, 640, 400);
    assert_int_equal(pixel(f, 24, 6), color(1));
    assert_int_equal(pixel(f, 25, 6), color(0));
}

static void screen_off_and_palette_off_blank(void **state)
{
    struct fix *f = *state;
    set_mode(f, &mode_13h);
    assert_int_equal(pixel(f, 0, 0), color(0));
    (void)in8(f, 0x3da);
    out8(f, 0x3c0, 0);
    assert_int_equal(pixel(f, 0, 0), 0);
    out8(f, 0x3c0, 0);
    (void)in8(f, 0x3da);
    out8(f, 0x3c0, 0x20);
    indexed(f, 0x3c4, 1, 0x21);
    assert_int_equal(pixel(f, 0, 0), 0);
}

/* ---- VBE and PCI
 * ------------------------------------------------------------------- */

static void vbe_mode(struct fix *f, uint16_t x, uint16_t y, uint16_t bpp)
{
    dispi(f, 4, 0);
    dispi(f, 1, x);
    dispi(f, 2, y);
    dispi(f, 3, bpp);
    dispi(f, 4, 0x41);
}

static void dispi_registers_say_what_they_are(void **state)
{
    struct fix *f = *state;
    assert_int_equal(dispi_get(f, 0), 0xb0c5);
    dispi(f, 0, 0xb0c2);
    assert_int_equal(dispi_get(f, 0), 0xb0c2);
    dispi(f, 0, 0x1234);
    assert_int_equal(dispi_get(f, 0), 0xb0c2);
    assert_int_equal(dispi_get(f, 10), 256);
    dispi(f, 4, 2);
    assert_int_equal(dispi_get(f, 1), 2560);
    assert_int_equal(dispi_get(f, 2), 1600);
    assert_int_equal(dispi_get(f, 3), 32);
    assert_int_equal(bus_io_read(f->bus, 0x1d0, 2), 32);
}

static void vbe_pixels_have_their_formats(void **state)
{
    struct fix *f = *state;
    uint32_t value = 0x00123456;
    vbe_mode(f, 1920, 1200, 32);
    phys_write(f->phys, FRAMEBUFFER + (1199 * 1920 + 1919) * 4, &value, 4);
    assert_size(f, 1920, 1200);
    assert_int_equal(pixel(f, 1919, 1199), 0x123456);
    vbe_mode(f, 800, 600, 24);
    phys_write(f->phys, FRAMEBUFFER + 801 * 3, &value, 3);
    assert_int_equal(pixel(f, 1, 1), 0x123456);
    value = 0xf81f;
    vbe_mode(f, 640, 480, 16);
    phys_write(f->phys, FRAMEBUFFER, &value, 2);
    assert_int_equal(pixel(f, 0, 0), 0xff00ff);
    value = 0x03e0;
    vbe_mode(f, 640, 480, 15);
    phys_write(f->phys, FRAMEBUFFER, &value, 2);
    assert_int_equal(pixel(f, 0, 0), 0x00ff00);
}

static void vbe_8_bit_modes_use_the_dac(void **state)
{
    struct fix *f = *state;
    set_mode(f, &mode_13h);
    vbe_mode(f, 640, 480, 8);
    poke(f, FRAMEBUFFER + 640 + 1, 77);
    assert_int_equal(pixel(f, 1, 1), color(77));
    dispi(f, 4, 0x61);
    out8(f, 0x3c8, 77);
    out8(f, 0x3c9, 0xfe);
    out8(f, 0x3c9, 0x12);
    out8(f, 0x3c9, 0x80);
    assert_int_equal(pixel(f, 1, 1), 0xfe1280);
}

static void vbe_bank_moves_the_window(void **state)
{
    struct fix *f = *state;
    vbe_mode(f, 1024, 768, 8);
    dispi(f, 5, 3);
    poke(f, 0xa0000 + 10, 0x5a);
    assert_int_equal(peek(f, FRAMEBUFFER + 3 * 65536 + 10), 0x5a);
    assert_int_equal(peek(f, 0xa000a), 0x5a);
    assert_int_equal(peek(f, 0xb000a), 0xff);
}

static void vbe_planar_mode_uses_the_planes(void **state)
{
    struct fix *f = *state;
    set_mode(f, &mode_12h);
    vbe_mode(f, 800, 600, 4);
    assert_size(f, 800, 600);
    indexed(f, 0x3c4, 2, 6);
    poke(f, 0xa0000 + 100 * 5 + 1, 0x80);
    assert_int_equal(pixel(f, 8, 5), color(6));
}

static void vbe_virtual_screen_scrolls(void **state)
{
    struct fix *f = *state;
    uint32_t value = 0xabcdef;
    vbe_mode(f, 640, 480, 32);
    dispi(f, 6, 1000);
    assert_int_equal(dispi_get(f, 6), 1000);
    assert_int_equal(dispi_get(f, 7), (16 << 20) / 4000);
    dispi(f, 8, 100);
    dispi(f, 9, 50);
    phys_write(f->phys, FRAMEBUFFER + (50 * 1000 + 101) * 4, &value, 4);
    assert_int_equal(pixel(f, 1, 0), 0xabcdef);
    dispi(f, 8, 0xffff);
    assert_int_equal(dispi_get(f, 8), 360);
}

static void vbe_modes_stay_inside_video_memory(void **state)
{
    struct fix *f = *state;
    static const uint16_t odd[] = {0, 1, 3, 777, 4096, 0xffff};
    static const uint16_t depths[] = {0, 4, 8, 15, 16, 24, 32, 0xffff};
    for (unsigned i = 0; i < 6 * 6 * 8; i++) {
        vbe_mode(f, odd[i % 6], odd[i / 6 % 6], depths[i / 36]);
        dispi(f, 6, odd[(i + 1) % 6]);
        dispi(f, 8, 0xffff);
        dispi(f, 9, 0xffff);
        unsigned bytes = (dispi_get(f, 3) + 7u) / 8;
        if (dispi_get(f, 3) == 4)
            continue;
        assert_true((dispi_get(f, 9) + dispi_get(f, 2)) *
                        (dispi_get(f, 6) * bytes) <=
                    16u << 20);
    }
    assert_true(vga_screen(f->v, &f->screen));
}

static void enabling_clears_unless_told_not_to(void **state)
{
    struct fix *f = *state;
    poke(f, FRAMEBUFFER + 5000, 1);
    dispi(f, 1, 640);
    dispi(f, 2, 480);
    dispi(f, 3, 32);
    dispi(f, 4, 0xc1);
    assert_int_equal(peek(f, FRAMEBUFFER + 5000), 1);
    dispi(f, 4, 0);
    dispi(f, 4, 0x41);
    assert_int_equal(peek(f, FRAMEBUFFER + 5000), 0);
}

static void mmio_bar_has_edid_ports_and_dispi(void **state)
{
    struct fix *f = *state;
    uint8_t edid[128], sum = 0;
    uint16_t id = 0;
    uint32_t value = 0;
    phys_read(f->phys, REGISTERS, edid, sizeof edid);
    for (unsigned i = 0; i < 128; i++)
        sum = (uint8_t)(sum + edid[i]);
    assert_int_equal(sum, 0);
    assert_int_equal(load_le64(edid), 0x00ffffffffffff00);
    assert_int_equal(edid[54 + 2], 0x00); /* 1024 low byte of the timing */
    assert_int_equal(edid[75], 0xfd);
    phys_read(f->phys, REGISTERS + 0x500, &id, 2);
    assert_int_equal(id, 0xb0c5);
    id = 1024;
    phys_write(f->phys, REGISTERS + 0x502, &id, 2);
    assert_int_equal(dispi_get(f, 1), 1024);
    id = 0x0702; /* sequencer map mask = 7 */
    phys_write(f->phys, REGISTERS + 0x404, &id, 2);
    assert_int_equal(in8(f, 0x3c5), 7);
    phys_read(f->phys, REGISTERS + 0x604, &value, 4);
    assert_int_equal(value, 0x1e1e1e1e);
}

static void pci_identity_and_rom(void **state)
{
    struct fix *f = *state;
    assert_int_equal(config_read(f, 0), 0x11111234);
    assert_int_equal(config_read(f, 8), 0x03000002);
    config_write(f, 0x30, 0xffffffff);
    assert_int_equal(config_read(f, 0x30), 0xffffe001);
    config_write(f, 0x30, 0xfeb00001);
    assert_int_equal(peek(f, 0xfeb00000), 0x55);
    assert_int_equal(peek(f, 0xfeb00000 + 4999), 0x77);
    poke(f, 0xfeb00000, 0);
    assert_int_equal(peek(f, 0xfeb00000), 0x55);
}

/* ASan and asserts judge. */
static void random_guests_never_leave_video_memory(void **state)
{
    struct fix *f = *state;
    uint64_t seed = 99;
    for (unsigned round = 0; round < 30000; round++) {
        unsigned value = random_below(&seed, 0x10000);
        unsigned port = 0x3b0 + random_below(&seed, 0x30);
        uint64_t wide = seed;
        if (round % 16 == 0)
            dispi(f, (uint16_t)random_below(&seed, 12), (uint16_t)value);
        else
            bus_io_write(f->bus, (uint16_t)port, value, 2);
        (void)bus_io_read(f->bus, (uint16_t)port, 2);
        uint64_t at = 0xa0000 + random_below(&seed, 0x3fff) * 8;
        phys_write(f->phys, at, &wide, 8);
        phys_read(f->phys, at, &wide, 8);
        at = REGISTERS + random_below(&seed, 0x1ff) * 8;
        phys_write(f->phys, at, &wide, 8);
        phys_read(f->phys, at, &wide, 8);
        if (round % 1000 == 0)
            assert_true(vga_screen(f->v, &f->screen));
    }
}

static void state_survives_save_and_hostile_loads(void **state)
{
    struct fix *f = *state;
    set_mode(f, &mode_12h);
    vbe_mode(f, 800, 600, 32);
    out8(f, 0x3c7, 3);
    (void)in8(f, 0x3c9);
    assert_true(devtest_copy(&vga_ops, f->v, f->v));
    devtest_hostile_loads(&vga_ops, f->v, f->v);
    (void)vga_screen(f->v, &f->screen);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(planar_logic_equals_a_bit_by_bit_model),
        T(wide_stores_are_bytes_in_order),
        T(window_answers_where_graphics_register_6_says),
        T(crtc_answers_at_mono_or_color_ports),
        T(crtc_protection_leaves_line_compare_bit),
        T(status_read_resets_the_attribute_flip_flop),
        T(dac_steps_through_components_and_entries),
        T(retrace_follows_guest_time_at_70_hz),
        T(text_is_recognised),
        T(text_pixels_come_from_the_font),
        T(attribute_bit_3_selects_the_second_font),
        T(cursor_and_characters_blink_by_frames),
        T(mode_13h_is_linear_and_doubled),
        T(mode_x_pages_and_plane_writes),
        T(mode_12h_combines_planes_and_pans),
        T(line_compare_starts_again_at_address_0),
        T(cga_modes_interleave_scan_lines),
        T(screen_off_and_palette_off_blank),
        T(dispi_registers_say_what_they_are),
        T(vbe_pixels_have_their_formats),
        T(vbe_8_bit_modes_use_the_dac),
        T(vbe_bank_moves_the_window),
        T(vbe_planar_mode_uses_the_planes),
        T(vbe_virtual_screen_scrolls),
        T(vbe_modes_stay_inside_video_memory),
        T(enabling_clears_unless_told_not_to),
        T(mmio_bar_has_edid_ports_and_dispi),
        T(pci_identity_and_rom),
        T(random_guests_never_leave_video_memory),
        T(state_survives_save_and_hostile_loads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
