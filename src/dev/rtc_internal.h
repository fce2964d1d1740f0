/* State of the MC146818; for rtc.c and its tests. */
#ifndef RELIVE_DEV_RTC_INTERNAL_H
#define RELIVE_DEV_RTC_INTERNAL_H

#include "base/field.h"
#include "dev/rtc.h"

enum { RTC_BYTES = 256, RTC_FIELDS = 6 };

struct rtc {
    struct dev_bus *bus;     /* borrowed */
    unsigned second_timer;   /* configuration: handles */
    unsigned periodic_timer; /* configuration */
    unsigned irq;            /* configuration */
    uint64_t origin;         /* saved: a 32768 Hz cycle at which a second
                                begins, modulo 2^64 */
    uint64_t periodic_from;  /* saved: cycle up to which PF is accounted */
    uint8_t ram[RTC_BYTES];  /* saved: time, registers A..D, CMOS */
    uint8_t index;           /* saved: port 70h, bit 7 masks NMI */
    uint8_t index_high;      /* saved: port 72h */
    bool connected;          /* saved: IRQ reaches line 8 */
};

extern const struct field rtc_fields[RTC_FIELDS];

#endif
