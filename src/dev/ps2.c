#include "dev/ps2_internal.h"

#include <stdlib.h>

enum {
    STATUS_OBF = 0x01,
    STATUS_SYSTEM = 0x04,
    STATUS_COMMAND = 0x08, /* last write went to 64h */
    STATUS_UNLOCKED = 0x10,
    STATUS_AUX = 0x20 /* the output buffer holds a mouse byte */
};

enum {
    OUTPUT_RUN = 0x01, /* 0: the reset line is low */
    OUTPUT_A20 = 0x02,
    OUTPUT_IRQ1 = 0x10,
    OUTPUT_IRQ12 = 0x20,
    OUTPUT_ONES = 0xcc /* clock and data lines, pulled up */
};

/* ---- output buffer ------------------------------------------------------ */

static void update_irqs(struct ps2 *p)
{
    bool full = p->status & STATUS_OBF, aux = p->status & STATUS_AUX;
    bus_irq_set(p->bus, p->irq1, full && !aux && p->ram[0] & CCB_IRQ1);
    bus_irq_set(p->bus, p->irq12, full && aux && p->ram[0] & CCB_IRQ12);
}

static bool keyboard_ready(const struct ps2 *p)
{
    return !(p->ram[0] & CCB_KEYBOARD_OFF) && !ps2_fifo_empty(&p->keyboard.out);
}

static bool mouse_ready(const struct ps2 *p)
{
    return !(p->ram[0] & CCB_MOUSE_OFF) && !ps2_fifo_empty(&p->mouse.out);
}

/* Start the next byte on its way when the output buffer is free. */
static void kick(struct ps2 *p)
{
    if (p->status & STATUS_OBF || bus_timer_armed(p->bus, p->byte_timer, NULL))
        return;
    if (p->reply_kind == PS2_REPLY_NONE && !keyboard_ready(p) &&
        !mouse_ready(p))
        return;
    uint64_t ns = p->reply_kind ? PS2_REPLY_NS : PS2_BYTE_NS;
    bus_timer_set(p->bus, p->byte_timer,
                  bus_tick(p->bus) + bus_ticks_of_ns(p->bus, ns));
}

static void fill(struct ps2 *p, uint8_t byte, bool aux)
{
    p->data = byte;
    p->status &= (uint8_t)~STATUS_AUX;
    p->status |= STATUS_OBF | (aux ? STATUS_AUX : 0);
    update_irqs(p);
}

/* The controller's own byte overtakes a device byte that is on its way. */
static void reply(struct ps2 *p, uint8_t byte, enum ps2_reply kind)
{
    p->reply = byte;
    p->reply_kind = (uint8_t)kind;
    bus_timer_cancel(p->bus, p->byte_timer);
    kick(p);
}

/* Translation swallows F0h and sets bit 7 of the code that follows. */
static void fill_from_keyboard(struct ps2 *p)
{
    while (!ps2_fifo_empty(&p->keyboard.out)) {
        bool is_reply;
        uint8_t byte = ps2_fifo_take(&p->keyboard.out, &is_reply);
        if (p->ram[0] & CCB_TRANSLATE) {
            if (!is_reply && byte == 0xf0) {
                p->break_prefix = true;
                continue;
            }
            byte = ps2_translate(byte);
            if (!is_reply && p->break_prefix && byte < 0xe0) {
                byte |= 0x80;
                p->break_prefix = false;
            }
        }
        fill(p, byte, false);
        return;
    }
}

static void byte_arrived(void *chip)
{
    struct ps2 *p = chip;
    if (p->status & STATUS_OBF)
        return;
    if (p->reply_kind != PS2_REPLY_NONE) {
        bool aux = p->reply_kind == PS2_REPLY_MOUSE;
        p->reply_kind = PS2_REPLY_NONE;
        fill(p, p->reply, aux);
    } else if (keyboard_ready(p)) {
        fill_from_keyboard(p);
    } else if (mouse_ready(p)) {
        bool is_reply;
        fill(p, ps2_fifo_take(&p->mouse.out, &is_reply), true);
    }
    kick(p);
}

/* ---- A20 and reset ------------------------------------------------------ */

static void set_a20(struct ps2 *p, bool enabled)
{
    if (p->a20 == enabled)
        return;
    p->a20 = enabled;
    if (p->a20_fn)
        p->a20_fn(p->board, enabled);
}

static uint8_t output_port(const struct ps2 *p)
{
    bool full = p->status & STATUS_OBF, aux = p->status & STATUS_AUX;
    return (uint8_t)(OUTPUT_ONES | OUTPUT_RUN | (p->a20 ? OUTPUT_A20 : 0) |
                     (full && !aux ? OUTPUT_IRQ1 : 0) |
                     (full && aux ? OUTPUT_IRQ12 : 0));
}

static void write_output_port(struct ps2 *p, uint8_t value)
{
    set_a20(p, value & OUTPUT_A20);
    if (!(value & OUTPUT_RUN))
        bus_request(p->bus, REQUEST_RESET, 0);
}

/* ---- controller commands ------------------------------------------------ */

static void set_command_byte(struct ps2 *p, uint8_t value)
{
    p->ram[0] = value;
    if (value & CCB_SYSTEM)
        p->status |= STATUS_SYSTEM;
    else
        p->status &= (uint8_t)~STATUS_SYSTEM;
    update_irqs(p);
    kick(p);
}

static void simple_command(struct ps2 *p, uint8_t command)
{
    switch (command) {
    case 0xa4: /* no password is installed */
        reply(p, 0xf1, PS2_REPLY_KEYBOARD);
        break;
    case 0xa7:
        set_command_byte(p, p->ram[0] | CCB_MOUSE_OFF);
        break;
    case 0xa8:
        set_command_byte(p, p->ram[0] & (uint8_t)~CCB_MOUSE_OFF);
        break;
    case 0xa9: /* both interface tests find no error */
    case 0xab:
        reply(p, 0x00, PS2_REPLY_KEYBOARD);
        break;
    case 0xaa:
        set_command_byte(p, p->ram[0] | CCB_SYSTEM);
        reply(p, 0x55, PS2_REPLY_KEYBOARD);
        break;
    case 0xad:
        set_command_byte(p, p->ram[0] | CCB_KEYBOARD_OFF);
        break;
    case 0xae:
        set_command_byte(p, p->ram[0] & (uint8_t)~CCB_KEYBOARD_OFF);
        break;
    case 0xc0: /* input port: keyboard not locked */
        reply(p, 0x80, PS2_REPLY_KEYBOARD);
        break;
    case 0xd0:
        reply(p, output_port(p), PS2_REPLY_KEYBOARD);
        break;
    case 0xdd: /* A20 off and on, as most clones have it */
    case 0xdf:
        set_a20(p, command & 2);
        break;
    case 0xe0: /* test inputs T0, T1 */
        reply(p, 0x00, PS2_REPLY_KEYBOARD);
        break;
    default:
        bus_log(p->bus, "ps2: unknown controller command %#x", command);
        break;
    }
}

static void write_command(struct ps2 *p, uint8_t command)
{
    p->status |= STATUS_COMMAND;
    p->pending = 0;
    if (command >= 0x20 && command < 0x40)
        reply(p, p->ram[command & 31], PS2_REPLY_KEYBOARD);
    else if ((command >= 0x60 && command < 0x80) ||
             (command >= 0xd1 && command <= 0xd4))
        p->pending = command;
    else if (command >= 0xf0) { /* pulse: a 0 bit lowers its output line */
        if (!(command & OUTPUT_RUN))
            bus_request(p->bus, REQUEST_RESET, 0);
    } else
        simple_command(p, command);
}

/* Bytes for a device switch its interface on. */
static void send_to_keyboard(struct ps2 *p, uint8_t value)
{
    p->ram[0] &= (uint8_t)~CCB_KEYBOARD_OFF;
    ps2_keyboard_command(&p->keyboard, value);
    if (p->keyboard.out.count == 0)
        p->break_prefix = false;
    kick(p);
}

static void arm_sample_timer(struct ps2 *p)
{
    bus_timer_set(p->bus, p->sample_timer,
                  bus_tick(p->bus) +
                      bus_ticks_of_ns(p->bus, 1000000000u / p->mouse.rate));
}

static void send_to_mouse(struct ps2 *p, uint8_t value)
{
    p->ram[0] &= (uint8_t)~CCB_MOUSE_OFF;
    ps2_mouse_command(&p->mouse, value);
    if (ps2_mouse_has_news(&p->mouse) &&
        !bus_timer_armed(p->bus, p->sample_timer, NULL))
        arm_sample_timer(p);
    kick(p);
}

static void write_data(struct ps2 *p, uint8_t value)
{
    uint8_t command = p->pending;
    p->pending = 0;
    p->status &= (uint8_t)~STATUS_COMMAND;
    switch (command) {
    case 0:
        send_to_keyboard(p, value);
        break;
    case 0x60:
        set_command_byte(p, value);
        break;
    case 0xd1:
        write_output_port(p, value);
        break;
    case 0xd2:
        reply(p, value, PS2_REPLY_KEYBOARD);
        break;
    case 0xd3:
        reply(p, value, PS2_REPLY_MOUSE);
        break;
    case 0xd4:
        send_to_mouse(p, value);
        break;
    default:
        p->ram[command & 31] = value;
        break;
    }
}

/* ---- ports -------------------------------------------------------------- */

static uint32_t data_read(void *chip, uint16_t offset, unsigned bytes)
{
    struct ps2 *p = chip;
    (void)offset;
    (void)bytes;
    uint8_t value = p->data;
    if (p->status & STATUS_OBF) {
        p->status &= (uint8_t) ~(STATUS_OBF | STATUS_AUX);
        update_irqs(p);
        kick(p);
    }
    return value;
}

static void data_write(void *chip, uint16_t offset, uint32_t value,
                       unsigned bytes)
{
    (void)offset;
    (void)bytes;
    write_data(chip, (uint8_t)value);
}

static uint32_t status_read(void *chip, uint16_t offset, unsigned bytes)
{
    const struct ps2 *p = chip;
    (void)offset;
    (void)bytes;
    return p->status;
}

static void command_write(void *chip, uint16_t offset, uint32_t value,
                          unsigned bytes)
{
    (void)offset;
    (void)bytes;
    write_command(chip, (uint8_t)value);
}

static uint32_t port92_read(void *chip, uint16_t offset, unsigned bytes)
{
    const struct ps2 *p = chip;
    (void)offset;
    (void)bytes;
    return p->port92 | (p->a20 ? 2u : 0u);
}

static void port92_write(void *chip, uint16_t offset, uint32_t value,
                         unsigned bytes)
{
    struct ps2 *p = chip;
    (void)offset;
    (void)bytes;
    bool init = value & 1 && !(p->port92 & 1);
    p->port92 = value & 1;
    set_a20(p, value & 2);
    if (init)
        bus_request(p->bus, REQUEST_INIT, 0);
}

static const struct io_ops data_io = {data_read, data_write, 1};
static const struct io_ops command_io = {status_read, command_write, 1};
static const struct io_ops port92_io = {port92_read, port92_write, 1};

/* ---- inputs ------------------------------------------------------------- */

void ps2_key(struct ps2 *p, uint16_t key, bool press)
{
    ps2_keyboard_key(&p->keyboard, key, press);
    kick(p);
}

static void sample(void *chip)
{
    struct ps2 *p = chip;
    if (ps2_mouse_sample(&p->mouse))
        arm_sample_timer(p);
    kick(p);
}

void ps2_mouse(struct ps2 *p, int dx, int dy, int wheel, unsigned buttons)
{
    ps2_mouse_move(&p->mouse, dx, dy, wheel, buttons);
    if (!bus_timer_armed(p->bus, p->sample_timer, NULL))
        sample(p);
}

unsigned ps2_leds(const struct ps2 *p)
{
    return p->keyboard.leds;
}

void ps2_set_a20(struct ps2 *p, ps2_a20_fn *fn, void *board)
{
    p->a20_fn = fn;
    p->board = board;
}

/* ---- life --------------------------------------------------------------- */

static void ps2_reset(void *chip)
{
    struct ps2 *p = chip;
    ps2_keyboard_reset(&p->keyboard);
    ps2_mouse_reset(&p->mouse);
    for (unsigned i = 0; i < PS2_RAM_BYTES; i++)
        p->ram[i] = 0;
    p->ram[0] = CCB_IRQ1 | CCB_IRQ12;
    p->status = STATUS_COMMAND | STATUS_UNLOCKED;
    p->data = 0;
    p->pending = 0;
    p->reply = 0;
    p->reply_kind = PS2_REPLY_NONE;
    p->port92 = 0;
    p->break_prefix = false;
    p->a20 = true; /* the reset vector lies above it */
    if (p->a20_fn)
        p->a20_fn(p->board, true);
    update_irqs(p);
}

struct ps2 *ps2_new(struct dev_bus *bus)
{
    struct ps2 *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->bus = bus;
    p->byte_timer = bus_timer_new(bus, "ps2 byte", byte_arrived, p);
    p->sample_timer = bus_timer_new(bus, "ps2 mouse sample", sample, p);
    p->irq1 = bus_irq_source(bus, "keyboard", 1);
    p->irq12 = bus_irq_source(bus, "mouse", 12);
    bus_io_map(bus, 0x60, 1, &data_io, p);
    bus_io_map(bus, 0x64, 1, &command_io, p);
    bus_io_map(bus, 0x92, 1, &port92_io, p);
    ps2_reset(p);
    return p;
}

void ps2_free(struct ps2 *p)
{
    free(p);
}

const struct field ps2_fields[PS2_FIELDS] = {
    FIELD_U8(struct ps2, ram),
    FIELD_U8(struct ps2, status),
    FIELD_U8(struct ps2, data),
    FIELD_U8(struct ps2, pending),
    FIELD_U8(struct ps2, reply),
    FIELD_U8(struct ps2, reply_kind),
    FIELD_U8(struct ps2, port92),
    FIELD_BOOL(struct ps2, a20),
    FIELD_BOOL(struct ps2, break_prefix),
};

static void ps2_save(const void *chip, struct writer *w)
{
    const struct ps2 *p = chip;
    fields_save(ps2_fields, PS2_FIELDS, p, w);
    fields_save(ps2_keyboard_fields, PS2_KEYBOARD_FIELDS, &p->keyboard, w);
    fields_save(ps2_fifo_fields, PS2_FIFO_FIELDS, &p->keyboard.out, w);
    fields_save(ps2_mouse_fields, PS2_MOUSE_FIELDS, &p->mouse, w);
    fields_save(ps2_fifo_fields, PS2_FIFO_FIELDS, &p->mouse.out, w);
}

static bool ps2_load(void *chip, struct reader *r, struct error *err)
{
    struct ps2 *p = chip;
    if (!fields_load(ps2_fields, PS2_FIELDS, p, r, err) ||
        !fields_load(ps2_keyboard_fields, PS2_KEYBOARD_FIELDS, &p->keyboard, r,
                     err) ||
        !ps2_fifo_load(&p->keyboard.out, r, err) ||
        !fields_load(ps2_mouse_fields, PS2_MOUSE_FIELDS, &p->mouse, r, err) ||
        !ps2_fifo_load(&p->mouse.out, r, err))
        return false;
    if (p->reply_kind > PS2_REPLY_MOUSE || p->port92 > 1 ||
        !ps2_keyboard_valid(&p->keyboard) || !ps2_mouse_valid(&p->mouse))
        return error_set(err, ERR_INPUT,
                         "ps2: a register holds a value it cannot have");
    if (p->a20_fn)
        p->a20_fn(p->board, p->a20);
    return true;
}

const struct chip_ops ps2_ops = {
    .name = "ps2",
    .tag = "PS2 ",
    .reset = ps2_reset,
    .save = ps2_save,
    .load = ps2_load,
};
