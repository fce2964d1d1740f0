/* State of the 8042 and of the two devices behind it. */
#ifndef RELIVE_DEV_PS2_INTERNAL_H
#define RELIVE_DEV_PS2_INTERNAL_H

#include "base/field.h"
#include "dev/ps2.h"

enum {
    PS2_FIFO_BYTES = 16,
    PS2_REPLY_BYTES = 8,
    PS2_RAM_BYTES = 32,
    PS2_MOVES = 16
};

/* Bytes that wait to be sent. `replies` answer commands and go first. */
struct ps2_fifo {
    uint8_t byte[PS2_FIFO_BYTES];
    uint8_t first, count;
    uint8_t reply[PS2_REPLY_BYTES];
    uint8_t reply_first, reply_count;
    uint8_t last; /* what FEh sends again */
};

struct ps2_keyboard {
    struct ps2_fifo out;
    uint8_t pending;    /* command that waits for its parameter, or 0 */
    uint8_t leds;       /* EDh */
    uint8_t set;        /* scan code set 1..3 */
    uint8_t typematic;  /* F3h; accepted, the front end repeats keys */
    uint8_t modifiers;  /* held: enum in ps2_keyboard.c */
    uint8_t breaks[32]; /* set 3: bit per code that sends a break code */
    bool scanning;      /* F4h, F5h */
    bool overrun;       /* the overrun code has been queued */
    bool sys_rq;        /* Print Screen went down as SysRq */
};

/* Movement not sent yet, one entry per button change. */
struct ps2_mouse {
    int32_t dx[PS2_MOVES], dy[PS2_MOVES], dz[PS2_MOVES];
    uint8_t buttons[PS2_MOVES];
    struct ps2_fifo out;
    uint8_t moves;      /* entries in use; entry 0 is the oldest */
    uint8_t pending;    /* command that waits for its parameter, or 0 */
    uint8_t id;         /* 0 PS/2, 3 IntelliMouse, 4 Explorer */
    uint8_t resolution; /* E8h */
    uint8_t rate;       /* F3h: reports per second */
    uint8_t knock[2];   /* the two rates before the current one */
    uint8_t held;       /* buttons as last reported */
    bool reporting;     /* F4h */
    bool remote;        /* F0h */
    bool wrap;          /* EEh */
    bool scaling;       /* E7h */
};

enum {
    PS2_FIFO_FIELDS = 7,
    PS2_KEYBOARD_FIELDS = 9,
    PS2_MOUSE_FIELDS = 15,
    PS2_FIELDS = 9
};

enum ps2_reply {
    PS2_REPLY_NONE,
    PS2_REPLY_KEYBOARD, /* looks like a keyboard byte */
    PS2_REPLY_MOUSE     /* D3h: looks like a mouse byte */
};

struct ps2 {
    struct dev_bus *bus; /* borrowed */
    ps2_a20_fn *a20_fn;  /* borrowed with board */
    void *board;
    unsigned byte_timer, sample_timer; /* configuration: handles */
    unsigned irq1, irq12;
    struct ps2_mouse mouse; /* saved: own tables */
    struct ps2_keyboard keyboard;
    uint8_t ram[PS2_RAM_BYTES]; /* byte 0 is the command byte */
    uint8_t status;
    uint8_t data;       /* output buffer */
    uint8_t pending;    /* controller command that waits for data, or 0 */
    uint8_t reply;      /* byte of the controller itself on its way */
    uint8_t reply_kind; /* enum ps2_reply */
    uint8_t port92;     /* bit 0 */
    bool a20;
    bool break_prefix; /* translation swallowed F0h */
};

/* The command byte (IBM, "Keyboard controller command byte"). */
enum {
    CCB_IRQ1 = 0x01,
    CCB_IRQ12 = 0x02,
    CCB_SYSTEM = 0x04,
    CCB_KEYBOARD_OFF = 0x10,
    CCB_MOUSE_OFF = 0x20,
    CCB_TRANSLATE = 0x40
};

/* ---- ps2_fifo.c --------------------------------------------------------- */

void ps2_fifo_clear(struct ps2_fifo *q);
unsigned ps2_fifo_room(const struct ps2_fifo *q);
void ps2_fifo_put(struct ps2_fifo *q, uint8_t byte);
void ps2_fifo_reply(struct ps2_fifo *q, uint8_t byte);
bool ps2_fifo_empty(const struct ps2_fifo *q);
/* is_reply: the byte answers a command. */
uint8_t ps2_fifo_take(struct ps2_fifo *q, bool *is_reply);
extern const struct field ps2_fifo_fields[PS2_FIFO_FIELDS];
bool ps2_fifo_load(struct ps2_fifo *q, struct reader *r, struct error *err);

/* ---- ps2_keyboard.c ----------------------------------------------------- */

void ps2_keyboard_reset(struct ps2_keyboard *k);
void ps2_keyboard_command(struct ps2_keyboard *k, uint8_t byte);
void ps2_keyboard_key(struct ps2_keyboard *k, uint16_t key, bool press);
/* The 8042's translation of a set 2 byte to set 1, F0h aside. */
uint8_t ps2_translate(uint8_t byte);
extern const struct field ps2_keyboard_fields[PS2_KEYBOARD_FIELDS];
bool ps2_keyboard_valid(const struct ps2_keyboard *k);

/* ---- ps2_mouse.c -------------------------------------------------------- */

void ps2_mouse_reset(struct ps2_mouse *m);
void ps2_mouse_command(struct ps2_mouse *m, uint8_t byte);
void ps2_mouse_move(struct ps2_mouse *m, int dx, int dy, int dz,
                    unsigned buttons);
/* A sample interval has passed: queue a report if there is news and the last
 * one has left. False: nothing to report any more. */
bool ps2_mouse_sample(struct ps2_mouse *m);
/* Stream mode has something to report. */
bool ps2_mouse_has_news(const struct ps2_mouse *m);
extern const struct field ps2_mouse_fields[PS2_MOUSE_FIELDS];
bool ps2_mouse_valid(const struct ps2_mouse *m);

extern const struct field ps2_fields[PS2_FIELDS];

#endif
