/* Outside events: the one door. The recorder logs what machine_inject() takes;
 * replay feeds the same at the same ticks. Payload layout per type, little-endian:
 *   KEY       u16 key (enum of dev/keys.h), u8 1 press / 0 release
 *   MOUSE     i16 dx, i16 dy (positive: right, down), i8 wheel, u8 buttons
 *             (bit 0 left, 1 right, 2 middle)
 *   SERIAL    bytes received by COM1
 *   CLOCK     i64 seconds since 1970 of the RTC, first event of a recording
 *   MEDIA     u8 drive (0 CD, 1 floppy), then the path; empty path: eject
 *   RESET     nothing: the reset button
 *   POWER     nothing: the power button
 *   END       u8 enum stop_reason, u32 exit value: the recording's last tick */
#ifndef RELIVE_BOARD_EVENT_H
#define RELIVE_BOARD_EVENT_H

#include <stdbool.h>
#include <stdint.h>

enum event_type {
    EVENT_TYPE_KEY = 1,
    EVENT_TYPE_MOUSE,
    EVENT_TYPE_SERIAL,
    EVENT_TYPE_CLOCK,
    EVENT_TYPE_MEDIA,
    EVENT_TYPE_RESET,
    EVENT_TYPE_POWER,
    EVENT_TYPE_END,
    EVENT_TYPE_COUNT
};

enum {
    EVENT_PAYLOAD_MAX = 1100
};

struct event {
    uint64_t tick;
    enum event_type type;
    uint16_t bytes; /* of payload */
    uint8_t payload[EVENT_PAYLOAD_MAX];
};

/* "key", "mouse", ...; NULL for no such type. */
const char *event_type_name(enum event_type type);
/* Is the payload one that its type can have? Bytes from a log are hostile. */
bool event_payload_ok(const struct event *e);
/* Human-readable one-liner of the payload into text. */
void event_describe(const struct event *e, char *text, unsigned text_bytes);

#endif
