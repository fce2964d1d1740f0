/* State of the 8254 and port 61h; for pit.c, pit_counter.c and tests. */
#ifndef RELIVE_DEV_PIT_INTERNAL_H
#define RELIVE_DEV_PIT_INTERNAL_H

#include "base/field.h"
#include "dev/pit.h"

/* One counter. Nothing is stepped: the counting element follows from the CLK
 * pulse at which it was loaded. "c" below is a CLK pulse number. */
struct pit_counter {
    uint64_t start;     /* pulse that loaded (or will load) the count */
    uint64_t elapsed;   /* pulses counted when the gate stopped it */
    uint64_t switch_at; /* pulse at which `next` replaces `count` */
    uint32_t count;     /* initial count in use, 1..65536 (10000 in BCD) */
    uint32_t next;      /* count register that waits: for the end of the cycle
                           (modes 2, 3) or a trigger (1, 5); 0: none */
    uint16_t latched;   /* count latch */
    uint16_t value;     /* counting element (as read) until `start` */
    uint8_t control;    /* RW, mode and BCD as written */
    uint8_t low_byte;   /* LSB of a two-byte count */
    uint8_t status;     /* status latch */
    uint8_t latched_bytes; /* unread bytes of the count latch */
    bool status_latched;
    bool write_msb; /* the next write is the MSB */
    bool read_msb;  /* the next read is the MSB */
    bool loaded;    /* count written and, in modes 1 and 5, triggered */
    bool pending;   /* null count: count register not loaded yet */
    bool low_first; /* mode 3: the period at `start` begins low */
    bool before;    /* OUT until `start` */
    bool gate;
    bool stopped; /* the low gate holds `elapsed` still */
};

enum { PIT_COUNTERS = 3, PIT_COUNTER_FIELDS = 20, PIT_FIELDS = 2 };
extern const struct field pit_counter_fields[PIT_COUNTER_FIELDS];

struct pit {
    struct dev_bus *bus; /* borrowed */
    unsigned timer;      /* configuration: handles */
    unsigned irq;
    struct pit_counter counter[PIT_COUNTERS]; /* saved: its own table */
    uint8_t port61;                           /* saved: bits 0..3 */
    bool connected;                           /* saved: OUT 0 reaches IRQ 0 */
};

extern const struct field pit_fields[PIT_FIELDS];

/* pit_counter.c: the counter alone, at pulse c (never going back). */
void pit_counter_reset(struct pit_counter *k, bool gate);
void pit_counter_control(struct pit_counter *k, uint64_t c, uint8_t control);
void pit_counter_write(struct pit_counter *k, uint64_t c, uint8_t value);
uint8_t pit_counter_read(struct pit_counter *k, uint64_t c);
void pit_counter_latch(struct pit_counter *k, uint64_t c);
void pit_counter_latch_status(struct pit_counter *k, uint64_t c);
void pit_counter_gate(struct pit_counter *k, uint64_t c, bool gate);
bool pit_counter_out(struct pit_counter *k, uint64_t c);
/* The first pulse after c at which OUT may change; UINT64_MAX: never. */
uint64_t pit_counter_next_edge(struct pit_counter *k, uint64_t c);
/* Loaded state is usable (counts in range). */
bool pit_counter_valid(const struct pit_counter *k);

#endif
