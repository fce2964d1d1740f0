/* MC146818 real-time clock with 256 bytes of CMOS RAM: 70h/71h reach the first
 * 128 bytes, 72h/73h the second (82371SB/AB, RTC index and data registers). */
#ifndef RELIVE_DEV_RTC_H
#define RELIVE_DEV_RTC_H

#include "dev/bus.h"

struct rtc;

struct rtc *rtc_new(struct dev_bus *bus);
void rtc_free(struct rtc *rtc);
extern const struct chip_ops rtc_ops;

/* Set date and time (no time zone applied); the second begins now. */
void rtc_set_time(struct rtc *rtc, int64_t seconds_since_1970);

/* The battery-backed bytes, past the time registers 0..0Dh: what a set-up
 * program would have stored. index 0..255. Kept across reset. */
void rtc_set_cmos(struct rtc *rtc, uint8_t index, uint8_t value);
uint8_t rtc_cmos(const struct rtc *rtc, uint8_t index);

/* Bit 7 of port 70h: NMI does not reach the CPU. */
bool rtc_nmi_masked(const struct rtc *rtc);

/* HPET legacy replacement takes IRQ 8 away (false). Saved; true after reset. */
void rtc_connect_irq(struct rtc *rtc, bool connected);

#endif
