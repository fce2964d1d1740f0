#include "dev/vga.h"

#include "base/field.h"
#include "dev/vga_internal.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW_BASE 0xa0000u

static const struct field vga_fields[] = {
    FIELD_U8(struct vga, misc),        FIELD_U8(struct vga, feature),
    FIELD_U8(struct vga, seq_index),   FIELD_U8(struct vga, seq),
    FIELD_U8(struct vga, crtc_index),  FIELD_U8(struct vga, crtc),
    FIELD_U8(struct vga, gc_index),    FIELD_U8(struct vga, gc),
    FIELD_U8(struct vga, attr_index),  FIELD_U8(struct vga, attr),
    FIELD_BOOL(struct vga, attr_data), FIELD_U8(struct vga, pel_mask),
    FIELD_U8(struct vga, dac),         FIELD_U8(struct vga, dac_read),
    FIELD_U8(struct vga, dac_write),   FIELD_U8(struct vga, dac_component),
    FIELD_U8(struct vga, dac_latch),   FIELD_BOOL(struct vga, dac_reading),
    FIELD_U32(struct vga, latch),      FIELD_U16(struct vga, vbe_index),
    FIELD_U16(struct vga, vbe),
};

/* ---- ports
 * -------------------------------------------------------------------- */

static uint32_t mono_read(void *chip, uint16_t offset, unsigned bytes)
{
    (void)bytes;
    return vga_port_read(chip, 0x3b4 + offset);
}

static void mono_write(void *chip, uint16_t offset, uint32_t value,
                       unsigned bytes)
{
    (void)bytes;
    vga_port_write(chip, 0x3b4 + offset, (uint8_t)value);
}

static uint32_t color_read(void *chip, uint16_t offset, unsigned bytes)
{
    (void)bytes;
    return vga_port_read(chip, 0x3c0 + offset);
}

static void color_write(void *chip, uint16_t offset, uint32_t value,
                        unsigned bytes)
{
    (void)bytes;
    vga_port_write(chip, 0x3c0 + offset, (uint8_t)value);
}

static const struct io_ops mono_io = {mono_read, mono_write, 1};
static const struct io_ops color_io = {color_read, color_write, 1};

/* 1CEh index, 1CFh and 1D0h data, words. */
static uint32_t dispi_read(void *chip, uint16_t offset, unsigned bytes)
{
    const struct vga *v = chip;
    uint16_t value = offset ? vga_vbe_read(v, v->vbe_index) : v->vbe_index;
    return bytes == 1 ? value & 0xff : value;
}

static void dispi_write(void *chip, uint16_t offset, uint32_t value,
                        unsigned bytes)
{
    struct vga *v = chip;
    (void)bytes;
    if (offset)
        vga_vbe_write(v, v->vbe_index, (uint16_t)value);
    else
        v->vbe_index = (uint16_t)value;
}

static const struct io_ops dispi_io = {dispi_read, dispi_write, 2};

/* Up to 3BAh: 3BCh..3BFh belong to a parallel port. */
static void map_ports(struct vga *v)
{
    bus_io_map(v->bus, 0x3b4, 7, &mono_io, v);
    bus_io_map(v->bus, 0x3c0, 32, &color_io, v);
    bus_io_map(v->bus, 0x1ce, 3, &dispi_io, v);
}

/* ---- life
 * ---------------------------------------------------------------------- */

void vga_map_window(void *vga)
{
    struct vga *v = vga;
    phys_map_mmio(v->phys, WINDOW_BASE, VGA_WINDOW_BYTES, &vga_window_ops, v, 0,
                  PHYS_READ | PHYS_WRITE);
}

/* Video memory keeps its contents over a reset. */
static void vga_reset(void *chip)
{
    struct vga *v = chip;
    pci_function_reset(&v->pci);
    v->misc = v->feature = 0;
    v->seq_index = v->crtc_index = v->gc_index = v->attr_index = 0;
    memset(v->seq, 0, sizeof v->seq);
    memset(v->crtc, 0, sizeof v->crtc);
    memset(v->gc, 0, sizeof v->gc);
    memset(v->attr, 0, sizeof v->attr);
    memset(v->dac, 0, sizeof v->dac);
    memset(v->dac_latch, 0, sizeof v->dac_latch);
    v->attr_data = v->dac_reading = false;
    v->pel_mask = 0xff;
    v->dac_read = v->dac_write = v->dac_component = 0;
    v->latch = 0;
    v->vbe_index = 0;
    memset(v->vbe, 0, sizeof v->vbe);
    v->vbe[VBE_ID] = 0xb0c5;
}

static void add_rom(struct vga *v, const void *rom, size_t bytes)
{
    uint32_t size = PAGE_BYTES;
    while (size < bytes)
        size *= 2;
    uint32_t first = phys_add_memory(v->phys, "vgabios", size, true);
    for (size_t at = 0; at < bytes; at += PAGE_BYTES) {
        size_t count = bytes - at < PAGE_BYTES ? bytes - at : PAGE_BYTES;
        phys_frame_write(v->phys, first + (uint32_t)(at >> PAGE_SHIFT), 0,
                         (const uint8_t *)rom + at, (uint32_t)count);
    }
    v->pci.rom = (struct pci_bar){
        .kind = PCI_BAR_MEMORY, .bytes = size, .first_frame = first};
}

struct vga *vga_new(struct dev_bus *bus, struct pci_bus *pci, uint8_t device,
                    const void *rom, size_t rom_bytes)
{
    struct vga *v = calloc(1, sizeof *v);
    if (!v)
        return NULL;
    v->bus = bus;
    v->phys = bus_phys(bus);
    v->first_frame =
        phys_add_memory(v->phys, "video memory", VGA_VRAM_BYTES, false);
    v->vram = phys_frame_host(v->phys, v->first_frame);
    pci_init_header(&v->pci, 0x1234, 0x1111, 0x030000, 2, 0);
    v->pci.device = device;
    v->pci.chip = v;
    v->pci.bar[0] = (struct pci_bar){.kind = PCI_BAR_MEMORY,
                                     .bytes = VGA_VRAM_BYTES,
                                     .prefetchable = true,
                                     .first_frame = v->first_frame};
    v->pci.bar[2] = (struct pci_bar){
        .kind = PCI_BAR_MMIO, .bytes = PAGE_BYTES, .mmio = &vga_mmio_ops};
    if (rom && rom_bytes)
        add_rom(v, rom, rom_bytes);
    pci_add_function(pci, &v->pci);
    map_ports(v);
    vga_map_window(v);
    vga_reset(v);
    return v;
}

void vga_free(struct vga *v)
{
    free(v);
}

static void vga_save(const void *chip, struct writer *w)
{
    const struct vga *v = chip;
    pci_function_save(&v->pci, w);
    fields_save(vga_fields, FIELD_COUNT(vga_fields), v, w);
}

static bool vga_load(void *chip, struct reader *r, struct error *err)
{
    struct vga *v = chip;
    if (!pci_function_load(&v->pci, r, err) ||
        !fields_load(vga_fields, FIELD_COUNT(vga_fields), v, r, err))
        return false;
    if (v->dac_component > 2)
        return error_set(err, ERR_INPUT,
                         "vga: expected a DAC component below 3, found %u",
                         v->dac_component);
    v->vbe[VBE_BANK] &= VGA_VRAM_BYTES / 65536 - 1;
    if (vga_vbe_on(v))
        vga_vbe_limit(v);
    return true;
}

const struct chip_ops vga_ops = {.name = "vga",
                                 .tag = "VGA ",
                                 .reset = vga_reset,
                                 .save = vga_save,
                                 .load = vga_load};
