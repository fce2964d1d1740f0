/* Bochs VBE extensions ("dispi", ports 1CEh..1D0h) and the MMIO registers of
 * BAR 2: EDID at 000h, VGA ports at 400h, dispi at 500h, extension at 600h. */
#include "dev/vga_internal.h"

#include <string.h>

enum {
    VBE_FIRST_ID = 0xb0c0,
    VBE_LAST_ID = 0xb0c5,
    MMIO_PORTS = 0x400,
    MMIO_DISPI = 0x500,
    MMIO_EXTENSION = 0x600,
    EXTENSION_BYTES = 8
};
#define LITTLE_ENDIAN_ID 0x1e1e1e1eu

/* VESA E-EDID 1.3, but for the checksum: an analog monitor that prefers
 * 1024x768 at 60 Hz. */
static const uint8_t edid[127] = {
    0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, /* header */
    0x49, 0x96, 0x11, 0x11, 0, 0, 0, 0,             /* "RLV", product, serial */
    1, 34, 1, 3,             /* week 1 of 2024; EDID 1.3 */
    0x08, 32, 24, 120, 0x0a, /* analog, 32x24 cm, gamma 2.2 */
    0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54, /* sRGB */
    0x21, 0x08, 0x00, /* 640x480, 800x600, 1024x768 at 60 Hz */
    0x81, 0x80, 0xa9, 0x40, 0xd1, 0xc0, 0x81, 0xc0, /* 1280x1024, 1600x1200,
                                                       1920x1080, 1280x720 */
    1, 1, 1, 1, 1, 1, 1, 1,
    /* 65 MHz, 1024+320, 768+38, sync 24/136 and 3/6, 320x240 mm */
    0x64, 0x19, 0x00, 0x40, 0x41, 0x00, 0x26, 0x30, 0x18, 0x88, 0x36, 0x00,
    0x40, 0xf0, 0x10, 0, 0, 0x18,
    /* 50..75 Hz, 30..83 kHz, 170 MHz */
    0, 0, 0, 0xfd, 0, 50, 75, 30, 83, 17, 0, 0x0a, ' ', ' ', ' ', ' ', ' ', ' ',
    0, 0, 0, 0xfc, 0, 'r', 'e', 'l', 'i', 'v', 'e', ' ', 'V', 'G', 'A', '\n',
    ' ', ' ',                                                /* name */
    0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* unused */
    0, /* no extension blocks */
};

static uint8_t edid_byte(unsigned at)
{
    if (at < sizeof edid)
        return edid[at];
    uint8_t sum = 0;
    for (unsigned i = 0; at == sizeof edid && i < sizeof edid; i++)
        sum = (uint8_t)(sum - edid[i]);
    return sum;
}

/* ---- the mode
 * ----------------------------------------------------------------- */

static uint32_t line_bytes(uint32_t pixels, unsigned bpp)
{
    return bpp == 4 ? pixels / 8 : pixels * ((bpp + 7) / 8);
}

uint32_t vga_vbe_line_bytes(const struct vga *v)
{
    return line_bytes(v->vbe[VBE_VIRT_WIDTH], v->vbe[VBE_BPP]);
}

static uint16_t clamp(uint32_t value, uint32_t low, uint32_t high)
{
    return (uint16_t)(value < low ? low : value > high ? high : value);
}

static bool bpp_known(unsigned bpp)
{
    return bpp == 4 || bpp == 8 || bpp == 15 || bpp == 16 || bpp == 24 ||
           bpp == 32;
}

void vga_vbe_limit(struct vga *v)
{
    uint16_t *r = v->vbe;
    if (!bpp_known(r[VBE_BPP]))
        r[VBE_BPP] = 8;
    unsigned bpp = r[VBE_BPP];
    uint32_t memory = bpp == 4 ? VGA_VRAM_BYTES / 4 : VGA_VRAM_BYTES;
    r[VBE_XRES] = clamp(r[VBE_XRES] & ~7u, 8, VBE_MAX_XRES);
    r[VBE_YRES] = clamp(r[VBE_YRES], 1, VBE_MAX_YRES);
    r[VBE_VIRT_WIDTH] = clamp(r[VBE_VIRT_WIDTH] & ~7u, r[VBE_XRES], 0xfff8);
    if (line_bytes(r[VBE_VIRT_WIDTH], bpp) * r[VBE_YRES] > memory)
        r[VBE_VIRT_WIDTH] = r[VBE_XRES];
    uint32_t line = line_bytes(r[VBE_VIRT_WIDTH], bpp);
    r[VBE_VIRT_HEIGHT] = clamp(memory / line, r[VBE_YRES], 0xffff);
    r[VBE_X_OFFSET] =
        clamp(r[VBE_X_OFFSET], 0, r[VBE_VIRT_WIDTH] - r[VBE_XRES]);
    r[VBE_Y_OFFSET] =
        clamp(r[VBE_Y_OFFSET], 0, r[VBE_VIRT_HEIGHT] - r[VBE_YRES]);
}

/* Zero the visible part. Frames never touched are zero already. */
static void clear_screen(struct vga *v)
{
    static const uint8_t zeros[PAGE_BYTES];
    uint32_t bytes = vga_vbe_line_bytes(v) * v->vbe[VBE_YRES];
    if (v->vbe[VBE_BPP] == 4)
        bytes *= 4;
    for (uint32_t at = 0; at < bytes; at += PAGE_BYTES) {
        uint32_t frame = v->first_frame + (at >> PAGE_SHIFT);
        uint32_t count = bytes - at < PAGE_BYTES ? bytes - at : PAGE_BYTES;
        if (phys_frame_flags(v->phys, frame) & FRAME_TOUCHED)
            phys_frame_write(v->phys, frame, 0, zeros, count);
    }
}

static void write_enable(struct vga *v, uint16_t value)
{
    bool was = vga_vbe_on(v);
    v->vbe[VBE_ENABLE] = value & (VBE_ENABLED | VBE_GETCAPS | VBE_8BIT_DAC |
                                  VBE_LFB | VBE_NOCLEAR);
    if (!vga_vbe_on(v)) {
        v->vbe[VBE_BANK] = 0;
    } else if (!was) {
        v->vbe[VBE_VIRT_WIDTH] = 0;
        v->vbe[VBE_X_OFFSET] = v->vbe[VBE_Y_OFFSET] = 0;
        vga_vbe_limit(v);
        if (!(value & VBE_NOCLEAR))
            clear_screen(v);
    }
}

uint16_t vga_vbe_read(const struct vga *v, unsigned index)
{
    if (index >= VBE_COUNT)
        return 0;
    if (index == VBE_MEMORY_64K)
        return VGA_VRAM_BYTES / 65536;
    if (v->vbe[VBE_ENABLE] & VBE_GETCAPS) {
        if (index == VBE_XRES)
            return VBE_MAX_XRES;
        if (index == VBE_YRES)
            return VBE_MAX_YRES;
        if (index == VBE_BPP)
            return 32;
    }
    return v->vbe[index];
}

void vga_vbe_write(struct vga *v, unsigned index, uint16_t value)
{
    switch (index) {
    case VBE_ID:
        if (value >= VBE_FIRST_ID && value <= VBE_LAST_ID)
            v->vbe[VBE_ID] = value;
        break;
    case VBE_ENABLE:
        write_enable(v, value);
        break;
    case VBE_BANK:
        v->vbe[VBE_BANK] = value & (VGA_VRAM_BYTES / 65536 - 1);
        break;
    case VBE_XRES:
    case VBE_YRES:
    case VBE_BPP:
    case VBE_VIRT_WIDTH:
    case VBE_VIRT_HEIGHT:
    case VBE_X_OFFSET:
    case VBE_Y_OFFSET:
        v->vbe[index] = value;
        if (vga_vbe_on(v))
            vga_vbe_limit(v);
        break;
    default:
        break;
    }
}

/* ---- BAR 2
 * --------------------------------------------------------------------- */

static uint8_t mmio_read_byte(struct vga *v, uint32_t at)
{
    if (at < MMIO_PORTS)
        return edid_byte(at);
    if (at < MMIO_PORTS + 0x20)
        return vga_port_read(v, (uint16_t)(0x3c0 + at - MMIO_PORTS));
    if (at >= MMIO_DISPI && at < MMIO_DISPI + 2 * VBE_COUNT)
        return (uint8_t)(vga_vbe_read(v, (at - MMIO_DISPI) / 2) >>
                         (at & 1) * 8);
    if (at >= MMIO_EXTENSION && at < MMIO_EXTENSION + EXTENSION_BYTES) {
        uint32_t value = at & 4 ? LITTLE_ENDIAN_ID : EXTENSION_BYTES;
        return (uint8_t)(value >> (at & 3) * 8);
    }
    return at < MMIO_EXTENSION ? 0 : 0xff;
}

static uint64_t mmio_read(void *chip, uint64_t offset, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)mmio_read_byte(chip, (uint32_t)offset + i) << i * 8;
    return value;
}

/* Dispi registers take whole words; a byte sets the low half and clears the
 * high one. The framebuffer stays little-endian whatever is asked for. */
static void mmio_write(void *chip, uint64_t offset, uint64_t value,
                       unsigned bytes)
{
    struct vga *v = chip;
    uint32_t at = (uint32_t)offset;
    if (at >= MMIO_PORTS && at < MMIO_PORTS + 0x20) {
        for (unsigned i = 0; i < bytes; i++)
            vga_port_write(v, (uint16_t)(0x3c0 + ((at + i) & 0x1f)),
                           (uint8_t)(value >> i * 8));
    } else if (at >= MMIO_DISPI && at < MMIO_DISPI + 2 * VBE_COUNT &&
               !(at & 1)) {
        for (unsigned i = 0; i < bytes; i += 2) {
            uint16_t word = (uint16_t)(value >> i * 8);
            vga_vbe_write(v, (at - MMIO_DISPI + i) / 2,
                          bytes == 1 ? word & 0xff : word);
        }
    }
}

const struct mmio_ops vga_mmio_ops = {mmio_read, mmio_write};
