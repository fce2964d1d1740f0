/* Pixels of graphics and VBE modes. */
#include "base/bytes.h"
#include "dev/vga_internal.h"

#include <string.h>

/* ---- colours
 * ------------------------------------------------------------------ */

static uint32_t dac_color(const struct vga *v, unsigned index)
{
    const uint8_t *c = &v->dac[(index & v->pel_mask) * 3];
    uint32_t rgb = 0;
    for (unsigned i = 0; i < 3; i++) {
        uint32_t level = c[i];
        if (!(v->vbe[VBE_ENABLE] & VBE_8BIT_DAC))
            level = (level << 2 | (level >> 4 & 3)) & 0xff;
        rgb = rgb << 8 | level;
    }
    return rgb;
}

void vga_palette(const struct vga *v, uint32_t rgb[256])
{
    for (unsigned i = 0; i < 256; i++)
        rgb[i] = dac_color(v, i);
}

void vga_attributes(const struct vga *v, const uint32_t rgb[256],
                    uint32_t color[16])
{
    unsigned select = v->attr[ATTR_COLOR_SELECT];
    for (unsigned i = 0; i < 16; i++) {
        unsigned index = v->attr[i] & 0x3f;
        if (v->attr[ATTR_MODE] & ATTR_MODE_P54)
            index = (index & 0x0f) | (select & 3) << 4;
        color[i] = rgb[index | (select & 0xc) << 4];
    }
}

/* ---- the raster
 * ----------------------------------------------------------------- */

static uint32_t line_compare(const struct vga *v)
{
    return v->crtc[CRTC_LINE_COMPARE] | (v->crtc[CRTC_OVERFLOW] & 0x10u) << 4 |
           (v->crtc[CRTC_MAX_SCAN] & 0x40u) << 3;
}

void vga_raster_start(const struct vga *v, struct vga_raster *r)
{
    unsigned preset = v->crtc[CRTC_PRESET_ROW];
    *r = (struct vga_raster){.scan = preset & 0x1f};
    r->row = (v->crtc[CRTC_START_HIGH] << 8 | v->crtc[CRTC_START_LOW]) +
             (preset >> 5 & 3);
}

/* From `line` to the one below it. */
void vga_raster_next(const struct vga *v, struct vga_raster *r, uint32_t line)
{
    if (line == line_compare(v)) {
        *r = (struct vga_raster){.split = true};
        return;
    }
    if ((v->crtc[CRTC_MAX_SCAN] & 0x80) && !r->second) {
        r->second = true;
        return;
    }
    r->second = false;
    if (r->scan == (v->crtc[CRTC_MAX_SCAN] & 0x1f)) {
        r->scan = 0;
        r->row += v->crtc[CRTC_OFFSET] * 2u;
    } else {
        r->scan = (r->scan + 1) & 0x1f;
    }
}

unsigned vga_raster_pan(const struct vga *v, const struct vga_raster *r)
{
    unsigned pan = v->attr[ATTR_PAN] & 15;
    bool nine = vga_is_text(v) && !(v->seq[SEQ_CLOCKING] & CLOCKING_8_DOTS);
    if (r->split && (v->attr[ATTR_MODE] & ATTR_MODE_PAN_COMPAT))
        pan = nine ? 8 : 0;
    if (nine)
        return pan >= 8 ? 0 : pan + 1;
    return pan & 7;
}

/* ---- VGA graphics
 * ---------------------------------------------------------------- */

/* CGA and Hercules layouts: scan line bits in place of address bits 13 and 14
 * (CRTC mode control bits 0 and 1); in word mode our packed groups count words,
 * so the bits are one lower. */
static uint32_t group_address(const struct vga *v, const struct vga_raster *r,
                              uint32_t column)
{
    uint32_t address = r->row + column;
    unsigned mode = v->crtc[CRTC_MODE], bit = mode & 0x40 ? 13 : 12;
    if (!(mode & 1))
        address = (address & ~(1u << bit)) | (r->scan & 1u) << bit;
    if (!(mode & 2))
        address = (address & ~(2u << bit)) | (r->scan & 2u) << bit;
    return (address & (VGA_PLANE_BYTES - 1)) * 4;
}

/* Four bits, one of each plane; dot 0 is the leftmost of the eight. */
static unsigned planar_dot(uint32_t group, unsigned dot)
{
    uint32_t bits = group >> (7 - dot) & 0x01010101;
    return (bits | bits >> 7 | bits >> 14 | bits >> 21) & 15;
}

/* Two bits from planes 0 or 1, two more from planes 2 or 3. */
static unsigned interleaved_dot(uint32_t group, unsigned dot)
{
    unsigned byte = dot >> 2, shift = 6 - 2 * (dot & 3);
    unsigned low = group >> (byte * 8 + shift) & 3;
    unsigned high = group >> (16 + byte * 8 + shift) & 3;
    return low | high << 2;
}

static void graphics_line(const struct vga *v, const struct vga_raster *r,
                          const uint32_t rgb[256], const uint32_t color[16],
                          uint32_t *out, uint32_t dots)
{
    unsigned pan = vga_raster_pan(v, r);
    unsigned planes = v->attr[ATTR_PLANES] & 15;
    unsigned shift_mode = v->gc[GC_MODE] >> 5 & 3;
    for (uint32_t x = 0; x < dots; x++) {
        uint32_t dot = x + pan;
        uint32_t group = load_le32(v->vram + group_address(v, r, dot >> 3));
        dot &= 7;
        if (shift_mode >= 2) /* 256 colours: a pixel is two dots */
            out[x] = rgb[group >> (dot >> 1) * 8 & 0xff];
        else if (shift_mode == 1)
            out[x] = color[interleaved_dot(group, dot) & planes];
        else
            out[x] = color[planar_dot(group, dot) & planes];
    }
}

static void double_dots(uint32_t *line, uint32_t dots)
{
    for (uint32_t x = dots; x-- > 0;)
        line[2 * x] = line[2 * x + 1] = line[x];
}

static bool graphics_screen(const struct vga *v, struct screen *s)
{
    uint32_t dots = (v->crtc[CRTC_HDISPLAY] + 1u) * 8;
    bool half = v->seq[SEQ_CLOCKING] & CLOCKING_HALF;
    uint32_t rgb[256], color[16];
    struct vga_raster r;
    if (!screen_resize(s, half ? dots * 2 : dots, vga_display_lines(v)))
        return false;
    vga_palette(v, rgb);
    vga_attributes(v, rgb, color);
    vga_raster_start(v, &r);
    for (uint32_t y = 0; y < s->height; y++) {
        uint32_t *line = s->pixels + (size_t)y * s->width;
        graphics_line(v, &r, rgb, color, line, dots);
        if (half)
            double_dots(line, dots);
        vga_raster_next(v, &r, y);
    }
    return true;
}

/* ---- VBE
 * ---------------------------------------------------------------------------
 */

static uint32_t widen(uint32_t value, unsigned bits)
{
    return value << (8 - bits) | value >> (2 * bits - 8);
}

static uint32_t direct_pixel(const uint8_t *p, unsigned bpp)
{
    uint32_t w = load_le16(p);
    switch (bpp) {
    case 15:
        return widen(w >> 10 & 31, 5) << 16 | widen(w >> 5 & 31, 5) << 8 |
               widen(w & 31, 5);
    case 16:
        return widen(w >> 11, 5) << 16 | widen(w >> 5 & 63, 6) << 8 |
               widen(w & 31, 5);
    default:
        return w | (uint32_t)p[2] << 16;
    }
}

static void vbe_planar_line(const struct vga *v, uint32_t first,
                            const uint32_t color[16], uint32_t *out,
                            uint32_t width)
{
    unsigned planes = v->attr[ATTR_PLANES] & 15;
    for (uint32_t x = 0; x < width; x++) {
        uint32_t dot = v->vbe[VBE_X_OFFSET] + x;
        uint32_t at = (first + dot / 8) * 4 & (VGA_VRAM_BYTES - 1);
        uint32_t group = load_le32(v->vram + at);
        out[x] = color[planar_dot(group, dot & 7) & planes];
    }
}

static bool vbe_screen(const struct vga *v, struct screen *s)
{
    unsigned bpp = v->vbe[VBE_BPP], bytes = (bpp + 7) / 8;
    uint32_t pitch = vga_vbe_line_bytes(v), rgb[256], color[16];
    if (!screen_resize(s, v->vbe[VBE_XRES], v->vbe[VBE_YRES]))
        return false;
    vga_palette(v, rgb);
    vga_attributes(v, rgb, color);
    for (uint32_t y = 0; y < s->height; y++) {
        uint32_t *line = s->pixels + (size_t)y * s->width;
        uint32_t first = (v->vbe[VBE_Y_OFFSET] + y) * pitch;
        if (bpp == 4) {
            vbe_planar_line(v, first, color, line, s->width);
            continue;
        }
        const uint8_t *from = v->vram + first + v->vbe[VBE_X_OFFSET] * bytes;
        for (uint32_t x = 0; x < s->width; x++)
            line[x] =
                bpp == 8 ? rgb[from[x]] : direct_pixel(from + x * bytes, bpp);
    }
    return true;
}

/* ---- the door
 * ------------------------------------------------------------------------ */

static bool blanked(const struct vga *v)
{
    return !(v->attr_index & ATTR_PAS) ||
           (v->seq[SEQ_CLOCKING] & CLOCKING_SCREEN_OFF);
}

bool vga_screen(const struct vga *v, struct screen *screen)
{
    if (vga_vbe_on(v))
        return vbe_screen(v, screen);
    bool ok = vga_is_text(v) ? vga_text_screen(v, screen)
                             : graphics_screen(v, screen);
    if (ok && blanked(v))
        memset(screen->pixels, 0,
               (size_t)screen->width * screen->height * sizeof *screen->pixels);
    return ok;
}
