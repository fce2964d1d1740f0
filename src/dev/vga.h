/* The VGA of the PC: IBM VGA registers and planes, Bochs VBE extensions and a
 * linear framebuffer, as PCI function 1234:1111 revision 2 (the register layout
 * that QEMU's docs/specs/standard-vga describes and SeaBIOS' vgabios expects).
 *
 * 16 MiB of video memory are ordinary frames behind BAR 0. The VGA's planes are
 * its first 256 KiB: plane p, offset a is byte 4a + p. Addresses that chain-4
 * and odd/even modes form are packed into that order, so mode 13h is linear
 * and a text cell is the first two bytes of each group of four.
 *
 * No retrace interrupt, as on every PCI VGA. */
#ifndef RELIVE_DEV_VGA_H
#define RELIVE_DEV_VGA_H

#include "dev/bus.h"
#include "dev/display.h"
#include "dev/pci.h"

#include <stdbool.h>
#include <stddef.h>

struct vga;

enum { VGA_VRAM_BYTES = 16 << 20 };

/* Adds the function at slot `device`, function 0 and maps the legacy ports and
 * the window. rom is the expansion ROM, copied; NULL for none. */
struct vga *vga_new(struct dev_bus *bus, struct pci_bus *pci, uint8_t device,
                    const void *rom, size_t rom_bytes);
void vga_free(struct vga *v);
extern const struct chip_ops vga_ops;

/* Map A0000h-BFFFFh to this chip (struct vga *). Done by vga_new(); the owner
 * of SMRAM calls it again when it closes. Loading state does not map it. */
void vga_map_window(void *vga);

/* What the monitor shows now: one pixel per dot clock and scan line, so mode
 * 13h is 640x400. False: out of memory. Changes nothing. */
bool vga_screen(const struct vga *v, struct screen *screen);

/* Text on the screen; false when not in a text mode. */
bool vga_screen_text(const struct vga *v, struct screen_text *text);

#endif
