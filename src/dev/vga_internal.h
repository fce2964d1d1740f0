/* Shared by the vga*.c files only. Register names and bits: IBM "Video Graphics
 * Array" technical reference; R. Ferraro, Programmer's Guide to the EGA, VGA
 * and Super VGA Cards. */
#ifndef RELIVE_DEV_VGA_INTERNAL_H
#define RELIVE_DEV_VGA_INTERNAL_H

#include "dev/vga.h"

enum {
    VGA_PLANE_BYTES = 65536, /* of each of the four planes */
    VGA_WINDOW_BYTES = 0x20000
};

enum crtc_reg {
    CRTC_HTOTAL = 0x00,
    CRTC_HDISPLAY = 0x01,
    CRTC_VTOTAL = 0x06,
    CRTC_OVERFLOW = 0x07,
    CRTC_PRESET_ROW = 0x08,
    CRTC_MAX_SCAN = 0x09,
    CRTC_CURSOR_START = 0x0a,
    CRTC_CURSOR_END = 0x0b,
    CRTC_START_HIGH = 0x0c,
    CRTC_START_LOW = 0x0d,
    CRTC_CURSOR_HIGH = 0x0e,
    CRTC_CURSOR_LOW = 0x0f,
    CRTC_VRETRACE_START = 0x10,
    CRTC_VRETRACE_END = 0x11,
    CRTC_VDISPLAY = 0x12,
    CRTC_OFFSET = 0x13,
    CRTC_UNDERLINE = 0x14,
    CRTC_MODE = 0x17,
    CRTC_LINE_COMPARE = 0x18,
    CRTC_COUNT = 0x19
};

enum seq_reg {
    SEQ_CLOCKING = 1,
    SEQ_MAP_MASK = 2,
    SEQ_CHAR_MAP = 3,
    SEQ_MEMORY = 4,
    SEQ_COUNT = 5
};
enum {
    CLOCKING_8_DOTS = 1,
    CLOCKING_HALF = 8,
    CLOCKING_SCREEN_OFF = 0x20,
    MEMORY_NO_ODD_EVEN = 4,
    MEMORY_CHAIN_4 = 8
};

enum gc_reg {
    GC_SET_RESET = 0,
    GC_ENABLE_SET_RESET = 1,
    GC_COMPARE = 2,
    GC_ROTATE = 3,
    GC_READ_MAP = 4,
    GC_MODE = 5,
    GC_MISC = 6,
    GC_DONT_CARE = 7,
    GC_BIT_MASK = 8,
    GC_COUNT = 9
};

enum attr_reg {
    ATTR_MODE = 0x10,
    ATTR_OVERSCAN = 0x11,
    ATTR_PLANES = 0x12,
    ATTR_PAN = 0x13,
    ATTR_COLOR_SELECT = 0x14,
    ATTR_COUNT = 0x15
};
enum {
    ATTR_MODE_MONO = 2,
    ATTR_MODE_LINE_GRAPHICS = 4,
    ATTR_MODE_BLINK = 8,
    ATTR_MODE_PAN_COMPAT = 0x20,
    ATTR_MODE_P54 = 0x80,
    ATTR_PAS = 0x20 /* in the index: the screen uses the palette */
};

enum vbe_reg {
    VBE_ID,
    VBE_XRES,
    VBE_YRES,
    VBE_BPP,
    VBE_ENABLE,
    VBE_BANK,
    VBE_VIRT_WIDTH,
    VBE_VIRT_HEIGHT,
    VBE_X_OFFSET,
    VBE_Y_OFFSET,
    VBE_MEMORY_64K,
    VBE_COUNT
};
enum {
    VBE_ENABLED = 1,
    VBE_GETCAPS = 2,
    VBE_8BIT_DAC = 0x20,
    VBE_LFB = 0x40,
    VBE_NOCLEAR = 0x80,
    VBE_MAX_XRES = 2560,
    VBE_MAX_YRES = 1600
};

struct vga {
    struct pci_function pci; /* saves itself */
    uint8_t misc, feature;
    uint8_t seq_index, seq[SEQ_COUNT];
    uint8_t crtc_index, crtc[CRTC_COUNT];
    uint8_t gc_index, gc[GC_COUNT];
    uint8_t attr_index, attr[ATTR_COUNT];
    bool attr_data; /* flip-flop: the next write to 3C0h is data */
    uint8_t pel_mask;
    uint8_t dac[768];
    uint8_t dac_read, dac_write, dac_component; /* component 0..2 */
    uint8_t dac_latch[3];
    bool dac_reading; /* what 3C7h reports */
    uint32_t latch;   /* plane p in byte p */
    uint16_t vbe_index, vbe[VBE_COUNT];
    struct dev_bus *bus; /* borrowed */
    struct phys *phys;   /* borrowed */
    uint32_t first_frame;
    uint8_t *vram; /* borrowed: host view of the frames, for reading */
};

/* vga_mem.c */
extern const struct mmio_ops vga_window_ops;
/* Store into video memory; inside one page. */
void vga_store(struct vga *v, uint32_t offset, const void *bytes,
               uint32_t count);

/* vga_regs.c: ports 3B0h..3DFh by number. */
uint8_t vga_port_read(struct vga *v, uint16_t port);
void vga_port_write(struct vga *v, uint16_t port, uint8_t value);

/* What the CRTC does with time: dot clocks and lines of one frame, and where
 * the beam is now. */
struct vga_timing {
    uint64_t frame; /* frames since power-on at this timing */
    uint32_t line, dot;
    uint32_t line_dots, lines, display_dots, display_lines;
    uint32_t retrace_start, retrace_lines;
};
struct vga_timing vga_timing(const struct vga *v);
/* Scan lines shown. */
uint32_t vga_display_lines(const struct vga *v);

/* vga_vbe.c */
extern const struct mmio_ops vga_mmio_ops;
uint16_t vga_vbe_read(const struct vga *v, unsigned index);
void vga_vbe_write(struct vga *v, unsigned index, uint16_t value);
/* Bring the registers of an enabled mode into what video memory can hold. */
void vga_vbe_limit(struct vga *v);
/* Bytes from line to line; 4 bpp: of a plane. */
uint32_t vga_vbe_line_bytes(const struct vga *v);
static inline bool vga_vbe_on(const struct vga *v)
{
    return v->vbe[VBE_ENABLE] & VBE_ENABLED;
}

/* vga_render.c: the path of the raster through display memory. */
struct vga_raster {
    uint32_t row;       /* memory address (in groups of 4) of the row's start */
    unsigned scan;      /* scan line inside the row */
    bool second, split; /* double scan: second pass; below the line compare */
};
void vga_raster_start(const struct vga *v, struct vga_raster *r);
void vga_raster_next(const struct vga *v, struct vga_raster *r, uint32_t line);
/* Pixels to shift left, in dots of `char_dots` wide characters. */
unsigned vga_raster_pan(const struct vga *v, const struct vga_raster *r);
/* 0x00RRGGBB of the 256 DAC entries behind the mask, of the 16 attributes. */
void vga_palette(const struct vga *v, uint32_t rgb[256]);
void vga_attributes(const struct vga *v, const uint32_t rgb[256],
                    uint32_t color[16]);

/* vga_text.c */
bool vga_is_text(const struct vga *v);
bool vga_text_screen(const struct vga *v, struct screen *s);

#endif
