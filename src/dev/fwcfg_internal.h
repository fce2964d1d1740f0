/* Contents and state of the firmware configuration device; for fwcfg.c and its
 * tests. */
#ifndef RELIVE_DEV_FWCFG_INTERNAL_H
#define RELIVE_DEV_FWCFG_INTERNAL_H

#include "base/field.h"
#include "dev/fwcfg.h"

enum {
    FWCFG_NAME_BYTES = 56, /* with its zero */
    FWCFG_ITEMS = FWCFG_FILES + 64,
    FWCFG_FIELDS = 3
};

struct fwcfg_item {
    uint8_t *data; /* owned */
    uint32_t bytes;
    uint16_t key;
    char name[FWCFG_NAME_BYTES]; /* empty: not a file */
};

struct fwcfg {
    struct dev_bus *bus;                 /* borrowed */
    struct fwcfg_item item[FWCFG_ITEMS]; /* configuration */
    const struct fwcfg_item *current;    /* derived from selector, or NULL */
    unsigned items, files;               /* configuration */
    uint32_t offset;                     /* saved: next byte to read */
    uint32_t dma_high;                   /* saved: address bits 32..63 */
    uint16_t selector;                   /* saved */
};

extern const struct field fwcfg_fields[FWCFG_FIELDS];

#endif
