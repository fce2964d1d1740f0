/* State of the 8259A pair; for pic.c and its tests. */
#ifndef RELIVE_DEV_PIC_INTERNAL_H
#define RELIVE_DEV_PIC_INTERNAL_H

#include "base/field.h"
#include "dev/pic.h"

enum { PIC_MASTER, PIC_SLAVE, PIC_CHIPS };

/* What the next byte to the odd port is. */
enum pic_step {
    PIC_READY, /* OCW1 */
    PIC_ICW2,
    PIC_ICW3,
    PIC_ICW4
};

/* Saved field by field: pic_chip_fields. */
struct pic_chip {
    uint64_t rise_tick;  /* when the bits of `rose` went high */
    uint8_t rose;        /* lines that rose at rise_tick */
    uint8_t lines;       /* levels of the IR pins */
    uint8_t latch;       /* edge-triggered requests */
    uint8_t imr;         /* OCW1 */
    uint8_t isr;         /* in service */
    uint8_t elcr;        /* 1: level-triggered */
    uint8_t base;        /* ICW2, low 3 bits 0 */
    uint8_t icw3;        /* master: pins with slaves; slave: its id */
    uint8_t lowest;      /* level with the lowest priority, 0..7 */
    uint8_t step;        /* enum pic_step */
    bool single;         /* ICW1 bit 1: no ICW3 */
    bool wants_icw4;     /* ICW1 bit 0 */
    bool auto_eoi;       /* ICW4 bit 1 */
    bool nested;         /* ICW4 bit 4: special fully nested mode */
    bool rotate_on_aeoi; /* OCW2 */
    bool special_mask;   /* OCW3 */
    bool read_isr;       /* OCW3: even port reads ISR, else IRR */
    bool poll;           /* OCW3: the next read is a poll */
};

struct pic {
    struct dev_bus *bus;   /* borrowed */
    pic_output_fn *output; /* borrowed with board */
    void *board;
    bool intr; /* derived from the chips */
    struct pic_chip chip[PIC_CHIPS];
};

enum { PIC_CHIP_FIELDS = 19 };
extern const struct field pic_chip_fields[PIC_CHIP_FIELDS];

#endif
