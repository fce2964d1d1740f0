/* Text modes: pixels and characters. */
#include "dev/vga_internal.h"

#include <string.h>

bool vga_is_text(const struct vga *v)
{
    return !vga_vbe_on(v) && !(v->gc[GC_MISC] & 1);
}

/* One character cell in memory: code and attribute. */
static const uint8_t *cell_at(const struct vga *v, uint32_t address)
{
    return v->vram + (address & (VGA_PLANE_BYTES - 1)) * 4;
}

/* Plane 2 offset of a font: character map select bits, low two and the third
 * (the 8 KiB halves between the 16 KiB fonts of the EGA). */
static uint32_t font_offset(unsigned low, unsigned high)
{
    return low << 14 | high << 13;
}

struct text_look {
    uint32_t font[2]; /* by attribute bit 3 */
    uint32_t color[16];
    unsigned char_dots;
    bool blink_attribute, blink_off, line_graphics, mono;
    bool cursor_shown;
    uint32_t cursor_address;
    unsigned cursor_first, cursor_last, underline;
};

/* The cursor blinks with 16 frames, characters with 32. */
static struct text_look text_look(const struct vga *v)
{
    struct text_look k = {0};
    uint32_t rgb[256];
    uint64_t frame = vga_timing(v).frame;
    unsigned map = v->seq[SEQ_CHAR_MAP], mode = v->attr[ATTR_MODE];
    vga_palette(v, rgb);
    vga_attributes(v, rgb, k.color);
    k.font[0] = font_offset(map & 3, map >> 4 & 1);
    k.font[1] = font_offset(map >> 2 & 3, map >> 5 & 1);
    k.char_dots = v->seq[SEQ_CLOCKING] & CLOCKING_8_DOTS ? 8 : 9;
    k.blink_attribute = mode & ATTR_MODE_BLINK;
    k.blink_off = frame & 16;
    k.line_graphics = mode & ATTR_MODE_LINE_GRAPHICS;
    k.mono = mode & ATTR_MODE_MONO;
    k.cursor_shown = !(v->crtc[CRTC_CURSOR_START] & 0x20) && !(frame & 8);
    k.cursor_first = v->crtc[CRTC_CURSOR_START] & 0x1f;
    k.cursor_last = v->crtc[CRTC_CURSOR_END] & 0x1f;
    k.cursor_address =
        (v->crtc[CRTC_CURSOR_HIGH] << 8 | v->crtc[CRTC_CURSOR_LOW]) +
        (v->crtc[CRTC_CURSOR_END] >> 5 & 3u);
    k.underline = v->crtc[CRTC_UNDERLINE] & 0x1f;
    return k;
}

/* The dots of one scan line of a cell, the leftmost in bit 8. */
static unsigned cell_dots(const struct vga *v, const struct text_look *k,
                          uint32_t address, unsigned scan)
{
    const uint8_t *cell = cell_at(v, address);
    uint32_t glyph = k->font[cell[1] >> 3 & 1] + cell[0] * 32u + scan;
    unsigned dots = v->vram[(glyph & (VGA_PLANE_BYTES - 1)) * 4 + 2] * 2u;
    if (k->line_graphics && cell[0] >= 0xc0 && cell[0] <= 0xdf)
        dots |= dots >> 1 & 1;
    if (k->mono && (cell[1] & 7) == 1 && scan == k->underline)
        dots = 0x1ff;
    if (k->blink_attribute && (cell[1] & 0x80) && k->blink_off)
        dots = 0;
    if (k->cursor_shown && scan >= k->cursor_first && scan <= k->cursor_last &&
        ((address ^ k->cursor_address) & (VGA_PLANE_BYTES - 1)) == 0)
        dots = 0x1ff;
    return dots;
}

static void text_line(const struct vga *v, const struct text_look *k,
                      const struct vga_raster *r, uint32_t *out,
                      uint32_t columns)
{
    unsigned pan = vga_raster_pan(v, r);
    uint32_t width = columns * k->char_dots, x = 0;
    for (uint32_t column = 0; x < width; column++) {
        uint32_t address = r->row + column;
        unsigned attribute = cell_at(v, address)[1];
        unsigned dots = cell_dots(v, k, address, r->scan);
        uint32_t ink = k->color[attribute & 15];
        uint32_t paper =
            k->color[attribute >> 4 & (k->blink_attribute ? 7 : 15)];
        unsigned dot = column ? 0 : pan;
        for (; dot < k->char_dots && x < width; dot++)
            out[x++] = dots >> (8 - dot) & 1 ? ink : paper;
    }
}

bool vga_text_screen(const struct vga *v, struct screen *s)
{
    struct text_look k = text_look(v);
    uint32_t columns = v->crtc[CRTC_HDISPLAY] + 1u;
    uint32_t dots = columns * k.char_dots;
    bool half = v->seq[SEQ_CLOCKING] & CLOCKING_HALF;
    struct vga_raster r;
    if (!screen_resize(s, half ? dots * 2 : dots, vga_display_lines(v)))
        return false;
    vga_raster_start(v, &r);
    for (uint32_t y = 0; y < s->height; y++) {
        uint32_t *line = s->pixels + (size_t)y * s->width;
        text_line(v, &k, &r, line, columns);
        for (uint32_t x = dots; half && x-- > 0;)
            line[2 * x] = line[2 * x + 1] = line[x];
        vga_raster_next(v, &r, y);
    }
    return true;
}

/* ---- characters
 * ------------------------------------------------------------------ */

static char to_ascii(uint8_t code)
{
    if (code == 0 || code == 0xff)
        return ' ';
    return code >= 0x20 && code < 0x7f ? (char)code : '?';
}

/* Appends one row, trailing blanks cut; returns the new end. */
static char *append_row(const struct vga *v, uint32_t address, uint32_t columns,
                        char *end)
{
    char *keep = end;
    for (uint32_t i = 0; i < columns; i++) {
        *end = to_ascii(cell_at(v, address + i)[0]);
        if (*end++ != ' ')
            keep = end;
    }
    return keep;
}

bool vga_screen_text(const struct vga *v, struct screen_text *text)
{
    if (!vga_is_text(v))
        return false;
    uint32_t row_lines = (v->crtc[CRTC_MAX_SCAN] & 0x1fu) + 1;
    if (v->crtc[CRTC_MAX_SCAN] & 0x80)
        row_lines *= 2;
    uint32_t columns = v->crtc[CRTC_HDISPLAY] + 1u;
    uint32_t rows = vga_display_lines(v) / row_lines;
    struct vga_raster r;
    vga_raster_start(v, &r);
    text->columns = columns < 132 ? columns : 132;
    text->rows = rows < 61 ? rows : 61;
    char *end = text->text;
    for (uint32_t i = 0; i < text->rows; i++) {
        if (i)
            *end++ = '\n';
        end = append_row(v, r.row + i * v->crtc[CRTC_OFFSET] * 2, text->columns,
                         end);
    }
    *end = '\0';
    return true;
}
