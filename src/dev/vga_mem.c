/* The A0000h-BFFFFh window: latches, write modes 0..3, read modes 0 and 1. */
#include "base/bytes.h"
#include "dev/vga_internal.h"

/* One bit per plane to one byte per plane. */
static const uint32_t spread[16] = {
    0x00000000, 0x000000ff, 0x0000ff00, 0x0000ffff, 0x00ff0000, 0x00ff00ff,
    0x00ffff00, 0x00ffffff, 0xff000000, 0xff0000ff, 0xff00ff00, 0xff00ffff,
    0xffff0000, 0xffff00ff, 0xffffff00, 0xffffffff,
};

void vga_store(struct vga *v, uint32_t offset, const void *bytes,
               uint32_t count)
{
    offset &= VGA_VRAM_BYTES - 1;
    phys_frame_write(v->phys, v->first_frame + (offset >> PAGE_SHIFT),
                     offset & (PAGE_BYTES - 1), bytes, count);
}

static bool vbe_linear(const struct vga *v)
{
    return vga_vbe_on(v) && v->vbe[VBE_BPP] > 4;
}

/* Offset inside what GC register 6 maps, or false: nobody answers there. Misc
 * output bit 1 switches the whole window. */
static bool decode(const struct vga *v, uint32_t *offset)
{
    if (vbe_linear(v))
        return *offset < 0x10000;
    if (!(v->misc & 2))
        return false;
    switch (v->gc[GC_MISC] >> 2 & 3) {
    case 0:
        return true;
    case 1:
        return *offset < 0x10000;
    case 2:
        *offset -= 0x10000;
        return *offset < 0x8000;
    default:
        *offset -= 0x18000;
        return *offset < 0x8000;
    }
}

/* Banks of the VBE planar mode reach beyond the VGA's 64 KiB planes. */
static uint32_t planar_group(const struct vga *v, uint32_t offset)
{
    if (!vga_vbe_on(v))
        return offset & (VGA_PLANE_BYTES - 1);
    return (v->vbe[VBE_BANK] * 0x10000u + (offset & 0xffff)) &
           (VGA_VRAM_BYTES / 4 - 1);
}

/* ---- writing ----------------------------------------------------------------
 */

static uint32_t rotated(const struct vga *v, uint8_t value)
{
    unsigned n = v->gc[GC_ROTATE] & 7;
    return ((uint32_t)value >> n | (uint32_t)value << (8 - n)) & 0xff;
}

static uint32_t logic(const struct vga *v, uint32_t data)
{
    switch (v->gc[GC_ROTATE] >> 3 & 3) {
    case 1:
        return data & v->latch;
    case 2:
        return data | v->latch;
    case 3:
        return data ^ v->latch;
    default:
        return data;
    }
}

/* What the graphics controller sends to the four planes. */
static uint32_t gc_data(const struct vga *v, uint8_t value)
{
    uint32_t bits = v->gc[GC_BIT_MASK], data;
    uint32_t set = spread[v->gc[GC_SET_RESET] & 15];
    switch (v->gc[GC_MODE] & 3) {
    case 0: {
        uint32_t enable = spread[v->gc[GC_ENABLE_SET_RESET] & 15];
        data = (rotated(v, value) * 0x01010101u & ~enable) | (set & enable);
        break;
    }
    case 1:
        return v->latch;
    case 2:
        data = spread[value & 15];
        break;
    default:
        data = set;
        bits &= rotated(v, value);
        break;
    }
    bits *= 0x01010101u;
    return (logic(v, data) & bits) | (v->latch & ~bits);
}

static void store_planes(struct vga *v, uint32_t group, unsigned planes,
                         uint32_t data)
{
    uint32_t mask = spread[planes & 15];
    uint32_t offset = group * 4;
    uint32_t old = load_le32(v->vram + offset);
    uint8_t bytes[4];
    store_le32(bytes, (old & ~mask) | (data & mask));
    if (mask)
        vga_store(v, offset, bytes, 4);
}

static void write_byte(struct vga *v, uint32_t offset, uint8_t value)
{
    unsigned planes = v->seq[SEQ_MAP_MASK] & 15;
    uint32_t group;
    if (v->seq[SEQ_MEMORY] & MEMORY_CHAIN_4) {
        planes &= 1u << (offset & 3);
        group = offset >> 2 & (VGA_PLANE_BYTES - 1);
    } else if (!(v->seq[SEQ_MEMORY] & MEMORY_NO_ODD_EVEN)) {
        planes &= offset & 1 ? 0xa : 0x5;
        group = offset >> 1 & (VGA_PLANE_BYTES - 1);
    } else {
        group = planar_group(v, offset);
    }
    store_planes(v, group, planes, gc_data(v, value));
}

/* Chain-4 with a graphics controller that changes nothing: plain memory. */
static bool plain_chain_4(const struct vga *v)
{
    return (v->seq[SEQ_MEMORY] & MEMORY_CHAIN_4) &&
           v->seq[SEQ_MAP_MASK] == 15 && !v->gc[GC_ENABLE_SET_RESET] &&
           !v->gc[GC_ROTATE] && !(v->gc[GC_MODE] & 3) &&
           v->gc[GC_BIT_MASK] == 0xff;
}

static void window_write(void *chip, uint64_t where, uint64_t value,
                         unsigned bytes)
{
    struct vga *v = chip;
    uint32_t offset = (uint32_t)where;
    uint8_t data[8];
    if (!decode(v, &offset))
        return;
    store_le64(data, value);
    if (vbe_linear(v)) {
        vga_store(v, v->vbe[VBE_BANK] * 0x10000u + offset, data, bytes);
    } else if (plain_chain_4(v)) {
        vga_store(v, offset & (4 * VGA_PLANE_BYTES - 1), data, bytes);
    } else {
        for (unsigned i = 0; i < bytes; i++)
            write_byte(v, offset + i, data[i]);
    }
}

/* ---- reading ----------------------------------------------------------------
 */

/* Bits where all planes that are cared for equal the compare colour. */
static uint8_t color_compare(const struct vga *v)
{
    uint32_t differ = (v->latch ^ spread[v->gc[GC_COMPARE] & 15]) &
                      spread[v->gc[GC_DONT_CARE] & 15];
    differ |= differ >> 16;
    differ |= differ >> 8;
    return (uint8_t)~differ;
}

static uint8_t read_byte(struct vga *v, uint32_t offset)
{
    unsigned plane = v->gc[GC_READ_MAP] & 3;
    uint32_t group;
    if (v->seq[SEQ_MEMORY] & MEMORY_CHAIN_4) {
        plane = offset & 3;
        group = offset >> 2 & (VGA_PLANE_BYTES - 1);
    } else if (v->gc[GC_MODE] & 0x10) {
        plane = (plane & 2) | (offset & 1);
        group = offset >> 1 & (VGA_PLANE_BYTES - 1);
    } else {
        group = planar_group(v, offset);
    }
    v->latch = load_le32(v->vram + group * 4);
    if (v->gc[GC_MODE] & 8)
        return color_compare(v);
    return (uint8_t)(v->latch >> plane * 8);
}

static uint64_t window_read(void *chip, uint64_t where, unsigned bytes)
{
    struct vga *v = chip;
    uint32_t offset = (uint32_t)where;
    uint8_t data[8] = {0};
    if (!decode(v, &offset))
        return bytes == 8 ? ~0ull : (1ull << bytes * 8) - 1;
    for (unsigned i = 0; i < bytes; i++) {
        if (vbe_linear(v))
            data[i] = v->vram[(v->vbe[VBE_BANK] * 0x10000u + offset + i) &
                              (VGA_VRAM_BYTES - 1)];
        else
            data[i] = read_byte(v, offset + i);
    }
    return load_le64(data);
}

const struct mmio_ops vga_window_ops = {window_read, window_write};
