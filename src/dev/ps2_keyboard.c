/* The keyboard: scan codes, commands, its 16-byte buffer (IBM PS/2 Hardware
 * Interface Technical Reference, "Keyboards (101- and 102-key)"). */
#include "dev/keys.h"
#include "dev/ps2_internal.h"

#include <string.h>

enum {
    ACK = 0xfa,
    RESEND = 0xfe,
    BAT_DONE = 0xaa,
    BREAK = 0xf0 /* break prefix of sets 2 and 3 */
};

enum modifier {
    LEFT_SHIFT = 1,
    RIGHT_SHIFT = 2,
    LEFT_CONTROL = 4,
    RIGHT_CONTROL = 8,
    LEFT_ALT = 16,
    RIGHT_ALT = 32,
    ANY_SHIFT = LEFT_SHIFT | RIGHT_SHIFT,
    ANY_CONTROL = LEFT_CONTROL | RIGHT_CONTROL,
    ANY_ALT = LEFT_ALT | RIGHT_ALT
};

/* ---- scan code tables --------------------------------------------------- */

/* Set 1 code for each set 2 code (8042 translation table); 00h is the
 * keyboard's overrun code. */
static const uint8_t set1_of_set2[128] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, /* 00 */
    0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59, /* 08 */
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, /* 10 */
    0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b, /* 18 */
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, /* 20 */
    0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d, /* 28 */
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, /* 30 */
    0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f, /* 38 */
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, /* 40 */
    0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61, /* 48 */
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, /* 50 */
    0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76, /* 58 */
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, /* 60 */
    0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, /* 68 */
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, /* 70 */
    0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54, /* 78 */
};

/* Set 3 code for each set 1 code without prefix. */
static const uint8_t set3_of_set1[0x59] = {
    0x00, 0x08, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, /* 00: esc, 1.. */
    0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66, 0x0d, /* 08 */
    0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, /* 10: q.. */
    0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x11, 0x1c, 0x1b, /* 18 */
    0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, /* 20: d.. */
    0x52, 0x0e, 0x12, 0x5c, 0x1a, 0x22, 0x21, 0x2a, /* 28 */
    0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7e, /* 30: b.. */
    0x19, 0x29, 0x14, 0x07, 0x0f, 0x17, 0x1f, 0x27, /* 38: alt.. */
    0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x76, 0x5f, 0x6c, /* 40: f6.. */
    0x75, 0x7d, 0x84, 0x6b, 0x73, 0x74, 0x7c, 0x69, /* 48: keypad */
    0x72, 0x7a, 0x70, 0x71, 0x57, 0x00, 0x13, 0x56, /* 50 */
    0x5e,                                           /* 58: f12 */
};

/* The same for keys with the E0h prefix. */
static const uint8_t set3_extended[][2] = {
    {0x1c, 0x79}, {0x1d, 0x58}, {0x35, 0x77}, {0x37, 0x57}, {0x38, 0x39},
    {0x47, 0x6e}, {0x48, 0x63}, {0x49, 0x6f}, {0x4b, 0x61}, {0x4d, 0x6a},
    {0x4f, 0x65}, {0x50, 0x60}, {0x51, 0x6d}, {0x52, 0x67}, {0x53, 0x64},
    {0x5b, 0x8b}, {0x5c, 0x8c}, {0x5d, 0x8d},
};

uint8_t ps2_translate(uint8_t byte)
{
    if (byte < 0x80)
        return set1_of_set2[byte];
    return byte == 0x83 ? 0x41 : byte == 0x84 ? 0x54 : byte;
}

/* F7 and SysRq have codes above 7Fh. */
static uint8_t set2_of_set1(uint8_t code)
{
    if (code == 0x41)
        return 0x83;
    if (code == 0x54)
        return 0x84;
    for (unsigned i = 1; i < 128; i++)
        if (set1_of_set2[i] == code)
            return (uint8_t)i;
    return 0;
}

static uint8_t set3_code(bool extended, uint8_t code)
{
    if (!extended)
        return code < sizeof set3_of_set1 ? set3_of_set1[code] : 0;
    for (size_t i = 0; i < sizeof set3_extended / 2; i++)
        if (set3_extended[i][0] == code)
            return set3_extended[i][1];
    return 0;
}

/* ---- sequences ---------------------------------------------------------- */

/* The bytes one key action sends. */
struct sequence {
    uint8_t byte[12];
    unsigned count;
};

static void add(struct sequence *s, uint8_t byte)
{
    s->byte[s->count++] = byte;
}

/* One code in set 1 or 2, with its prefix (E0h, E1h or 0) and direction. */
static void add_code(const struct ps2_keyboard *k, struct sequence *s,
                     uint8_t prefix, uint8_t code, bool press)
{
    if (prefix)
        add(s, prefix);
    if (k->set == 1) {
        add(s, (uint8_t)(code | (press ? 0 : 0x80)));
        return;
    }
    if (!press)
        add(s, BREAK);
    add(s, set2_of_set1(code));
}

static void add_set3(const struct ps2_keyboard *k, struct sequence *s,
                     uint8_t code, bool press)
{
    if (code == 0)
        return;
    if (!press) {
        if (!(k->breaks[code >> 3] >> (code & 7) & 1))
            return;
        add(s, BREAK);
    }
    add(s, code);
}

/* Alone it wraps itself into a left shift, so that an XT program sees a
 * shifted keypad '*'; with Alt it is SysRq. */
static void add_print_screen(struct ps2_keyboard *k, struct sequence *s,
                             bool press)
{
    if (press)
        k->sys_rq = k->modifiers & ANY_ALT;
    bool bare = !(k->modifiers & (ANY_SHIFT | ANY_CONTROL));
    if (k->sys_rq) {
        add_code(k, s, 0, 0x54, press);
        return;
    }
    if (bare && press)
        add_code(k, s, 0xe0, 0x2a, true);
    add_code(k, s, 0xe0, 0x37, press);
    if (bare && !press)
        add_code(k, s, 0xe0, 0x2a, false);
}

/* All bytes go out when the key is pressed; with Control it is Break. */
static void add_pause(const struct ps2_keyboard *k, struct sequence *s)
{
    if (k->modifiers & ANY_CONTROL) {
        add_code(k, s, 0xe0, 0x46, true);
        add_code(k, s, 0xe0, 0x46, false);
        return;
    }
    add(s, 0xe1);
    add_code(k, s, 0, 0x1d, true);
    add_code(k, s, 0, 0x45, true);
    add(s, 0xe1);
    add_code(k, s, 0, 0x1d, false);
    add_code(k, s, 0, 0x45, false);
}

static void build_sequence(struct ps2_keyboard *k, struct sequence *s,
                           uint16_t key, bool press)
{
    bool extended = key & KEY_EXTENDED;
    uint8_t code = key & 0x7f;
    if (key == KEY_PAUSE) {
        if (k->set == 3)
            add_set3(k, s, 0x62, press);
        else if (press)
            add_pause(k, s);
    } else if (key == KEY_PRINT_SCREEN) {
        if (k->set == 3)
            add_set3(k, s, 0x57, press);
        else
            add_print_screen(k, s, press);
    } else if (k->set == 3) {
        add_set3(k, s, set3_code(extended, code), press);
    } else {
        add_code(k, s, extended ? 0xe0 : 0, code, press);
    }
}

static unsigned modifier_of(uint16_t key)
{
    switch (key) {
    case 0x2a:
        return LEFT_SHIFT;
    case 0x36:
        return RIGHT_SHIFT;
    case 0x1d:
        return LEFT_CONTROL;
    case KEY_EXTENDED | 0x1d:
        return RIGHT_CONTROL;
    case 0x38:
        return LEFT_ALT;
    case KEY_EXTENDED | 0x38:
        return RIGHT_ALT;
    default:
        return 0;
    }
}

/* A sequence that does not fit is lost whole; the overrun code (FFh in set 1,
 * 00h else) takes the last place. */
static void queue_sequence(struct ps2_keyboard *k, const struct sequence *s)
{
    if (s->count < ps2_fifo_room(&k->out)) {
        for (unsigned i = 0; i < s->count; i++)
            ps2_fifo_put(&k->out, s->byte[i]);
        k->overrun = false;
        return;
    }
    if (!k->overrun)
        ps2_fifo_put(&k->out, k->set == 1 ? 0xff : 0x00);
    k->overrun = true;
}

void ps2_keyboard_key(struct ps2_keyboard *k, uint16_t key, bool press)
{
    bool known = key == KEY_PAUSE || key == KEY_PRINT_SCREEN ||
                 (key < 0x200 && (key & 0x7f) != 0 && !(key & 0x80));
    if (!known)
        return;
    unsigned modifier = modifier_of(key);
    if (press)
        k->modifiers |= (uint8_t)modifier;
    else
        k->modifiers &= (uint8_t)~modifier;
    if (!k->scanning)
        return;
    struct sequence s = {.count = 0};
    build_sequence(k, &s, key, press);
    queue_sequence(k, &s);
}

/* ---- commands ----------------------------------------------------------- */

/* Shift, control, alt, caps lock and GUI keys report their release. */
static void default_breaks(struct ps2_keyboard *k)
{
    static const uint8_t codes[] = {0x11, 0x12, 0x14, 0x19, 0x39,
                                    0x58, 0x59, 0x8b, 0x8c};
    memset(k->breaks, 0, sizeof k->breaks);
    for (size_t i = 0; i < sizeof codes; i++)
        k->breaks[codes[i] >> 3] |= (uint8_t)(1u << (codes[i] & 7));
}

static void set_defaults(struct ps2_keyboard *k, bool scanning)
{
    k->set = 2;
    k->typematic = 0x2b; /* 10.9 per second after 500 ms */
    k->overrun = false;
    k->scanning = scanning;
    default_breaks(k);
    ps2_fifo_clear(&k->out);
}

void ps2_keyboard_reset(struct ps2_keyboard *k)
{
    *k = (struct ps2_keyboard){0};
    set_defaults(k, true);
}

static void take_parameter(struct ps2_keyboard *k, uint8_t byte)
{
    uint8_t command = k->pending;
    k->pending = 0;
    switch (command) {
    case 0xed:
        k->leds = byte & 7;
        break;
    case 0xf3:
        k->typematic = byte & 0x7f;
        break;
    case 0xf0:
        if (byte > 3) {
            ps2_fifo_reply(&k->out, RESEND);
            return;
        }
        ps2_fifo_clear(&k->out);
        ps2_fifo_reply(&k->out, ACK);
        if (byte == 0)
            ps2_fifo_reply(&k->out, k->set);
        else
            k->set = byte;
        return;
    case 0xfc: /* make/break; FBh typematic and FDh make only send no break */
        k->breaks[byte >> 3] |= (uint8_t)(1u << (byte & 7));
        k->pending = command;
        break;
    default:
        k->breaks[byte >> 3] &= (uint8_t) ~(1u << (byte & 7));
        k->pending = command;
        break;
    }
    ps2_fifo_reply(&k->out, ACK);
}

static void answer_command(struct ps2_keyboard *k, uint8_t byte)
{
    switch (byte) {
    case 0xed:
    case 0xf0:
    case 0xf3:
    case 0xfb:
    case 0xfc:
    case 0xfd:
        k->pending = byte;
        break;
    case 0xf2:
        ps2_fifo_reply(&k->out, ACK);
        ps2_fifo_reply(&k->out, 0xab);
        ps2_fifo_reply(&k->out, 0x83);
        return;
    case 0xf4:
        ps2_fifo_clear(&k->out);
        k->scanning = true;
        break;
    case 0xf5:
        set_defaults(k, false);
        break;
    case 0xf6:
        set_defaults(k, k->scanning);
        break;
    case 0xf7:
    case 0xf9:
        memset(k->breaks, 0, sizeof k->breaks);
        break;
    case 0xf8:
    case 0xfa:
        memset(k->breaks, 0xff, sizeof k->breaks);
        break;
    case 0xff:
        set_defaults(k, true);
        k->leds = 0;
        ps2_fifo_reply(&k->out, ACK);
        ps2_fifo_reply(&k->out, BAT_DONE);
        return;
    default:
        ps2_fifo_reply(&k->out, RESEND);
        return;
    }
    ps2_fifo_reply(&k->out, ACK);
}

void ps2_keyboard_command(struct ps2_keyboard *k, uint8_t byte)
{
    k->out.reply_count = 0; /* a new byte ends an unfinished answer */
    if (k->pending && byte < 0xed) {
        take_parameter(k, byte);
        return;
    }
    k->pending = 0;
    if (byte == 0xee)
        ps2_fifo_reply(&k->out, 0xee);
    else if (byte == 0xfe)
        ps2_fifo_reply(&k->out, k->out.last);
    else
        answer_command(k, byte);
}

/* ---- state -------------------------------------------------------------- */

const struct field ps2_keyboard_fields[PS2_KEYBOARD_FIELDS] = {
    FIELD_U8(struct ps2_keyboard, pending),
    FIELD_U8(struct ps2_keyboard, leds),
    FIELD_U8(struct ps2_keyboard, set),
    FIELD_U8(struct ps2_keyboard, typematic),
    FIELD_U8(struct ps2_keyboard, modifiers),
    FIELD_U8(struct ps2_keyboard, breaks),
    FIELD_BOOL(struct ps2_keyboard, scanning),
    FIELD_BOOL(struct ps2_keyboard, overrun),
    FIELD_BOOL(struct ps2_keyboard, sys_rq),
};

bool ps2_keyboard_valid(const struct ps2_keyboard *k)
{
    return k->set >= 1 && k->set <= 3;
}
