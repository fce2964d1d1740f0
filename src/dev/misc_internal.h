/* State of the board's small ports; for misc.c and its tests. */
#ifndef RELIVE_DEV_MISC_INTERNAL_H
#define RELIVE_DEV_MISC_INTERNAL_H

#include "base/field.h"
#include "dev/misc.h"

enum { MISC_FIELDS = 2 };

struct misc {
    struct dev_bus *bus;  /* borrowed */
    misc_ignne_fn *ignne; /* borrowed with board */
    void *board;
    unsigned irq13; /* configuration: handle */
    uint8_t post;   /* saved: last POST code */
    bool ferr;      /* saved: FERR# as the CPU drives it */
};

extern const struct field misc_fields[MISC_FIELDS];

#endif
