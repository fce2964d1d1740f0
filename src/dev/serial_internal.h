/* State of the 16550A; for serial.c and its tests. */
#ifndef RELIVE_DEV_SERIAL_INTERNAL_H
#define RELIVE_DEV_SERIAL_INTERNAL_H

#include "base/field.h"
#include "dev/serial.h"

enum { SERIAL_FIFO_BYTES = 16, SERIAL_FIELDS = 22 };

struct serial_fifo {
    uint8_t byte[SERIAL_FIFO_BYTES];
    uint8_t first, count;
};

struct serial {
    struct dev_bus *bus; /* borrowed */
    unsigned tx_timer;   /* configuration: handles */
    unsigned rx_timer;
    unsigned idle_timer; /* character timeout */
    unsigned irq;
    /* Saved: */
    uint32_t queue_first, queue_count; /* bytes from outside that wait */
    uint8_t queue[SERIAL_QUEUE_BYTES];
    struct serial_fifo rx, tx;
    uint8_t shift; /* transmitter shift register */
    uint8_t ier, fcr, lcr, mcr, msr, scr;
    uint8_t lines; /* MSR bits 4..7 as last seen, for the deltas */
    uint8_t divisor[2];
    uint8_t last_rx;   /* receiver buffer when nothing new is there */
    bool shifting;     /* the shift register is busy */
    bool overrun;      /* LSR OE */
    bool thre_pending; /* THR empty interrupt not seen yet */
    bool timed_out;    /* character timeout interrupt */
};

extern const struct field serial_fields[SERIAL_FIELDS];

#endif
