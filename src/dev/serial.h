/* NS16550A UART (National PC16550D data sheet, June 1995). Characters take their
 * time on the line, both ways, but the crystal is a 22.1184 MHz one (the data
 * sheet allows 24): 12 times faster than a PC's, so that a guest which prints at
 * the 9600 baud of a default does not spend most of its boot waiting for a line
 * that is not there. */
#ifndef RELIVE_DEV_SERIAL_H
#define RELIVE_DEV_SERIAL_H

#include "dev/bus.h"

struct serial;

/* base: first of 8 ports; line: ISA interrupt line. */
struct serial *serial_new(struct dev_bus *bus, uint16_t base, unsigned line);
void serial_free(struct serial *serial);
extern const struct chip_ops serial_ops;

/* Bytes that arrive from outside wait in a queue of SERIAL_QUEUE_BYTES until
 * the UART has room, so none is overrun. Returns how many fitted. */
enum { SERIAL_QUEUE_BYTES = 65536 };
size_t serial_receive(struct serial *serial, const void *bytes, size_t count);

#endif
