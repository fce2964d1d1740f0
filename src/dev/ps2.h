/* 8042 keyboard controller at 60h/64h with a PS/2 keyboard and an IntelliMouse
 * Explorer behind it, and port 92h (IBM PS/2 Hardware Interface Technical
 * Reference, keyboard/auxiliary device controller; 82371SB port 92h).
 * A byte from a device takes PS2_BYTE_NS to arrive. A20 is one latch: the
 * output port and port 92h both set it, the last write wins. */
#ifndef RELIVE_DEV_PS2_H
#define RELIVE_DEV_PS2_H

#include "dev/bus.h"

struct ps2;

enum {
    PS2_BYTE_NS = 250000,
    PS2_REPLY_NS = 20000 /* a byte from the controller itself */
};

struct ps2 *ps2_new(struct dev_bus *bus);
void ps2_free(struct ps2 *ps2);
extern const struct chip_ops ps2_ops;

/* Called on every change of the A20 gate, on reset and on load. */
typedef void ps2_a20_fn(void *board, bool enabled);
void ps2_set_a20(struct ps2 *ps2, ps2_a20_fn *fn, void *board);

/* A key (dev/keys.h) goes down or up. The keyboard holds 16 bytes; what a
 * guest does not fetch in time is lost and marked as an overrun. */
void ps2_key(struct ps2 *ps2, uint16_t key, bool press);

/* Movement in counts, right and down positive; wheel towards the user
 * positive; buttons: bit 0 left, 1 right, 2 middle, 3 and 4 side buttons. */
void ps2_mouse(struct ps2 *ps2, int dx, int dy, int wheel, unsigned buttons);

/* Bit 0 scroll lock, 1 num lock, 2 caps lock. */
unsigned ps2_leds(const struct ps2 *ps2);

#endif
