#include "dev/serial_internal.h"

#include <stdlib.h>

enum {
    CRYSTAL_HZ = 22118400, /* 12 times what a PC has; see serial.h */
    CLOCKS_PER_BIT = 16 /* times the divisor */
};

enum {
    IER_RX = 1,
    IER_THRE = 2,
    IER_LINE = 4,
    IER_MODEM = 8,
    FCR_ENABLE = 1,
    FCR_CLEAR_RX = 2,
    FCR_CLEAR_TX = 4,
    LCR_DLAB = 0x80,
    MCR_DTR = 1,
    MCR_RTS = 2,
    MCR_OUT1 = 4,
    MCR_OUT2 = 8,
    MCR_LOOP = 0x10,
    LSR_DR = 1,
    LSR_OE = 2,
    LSR_THRE = 0x20,
    LSR_TEMT = 0x40,
    MSR_TERI = 4,
    MSR_CTS = 0x10,
    MSR_DSR = 0x20,
    MSR_RI = 0x40,
    MSR_DCD = 0x80
};

/* Interrupt identification, in the order of priority (table IV). */
enum {
    IIR_NONE = 1,
    IIR_LINE = 6,
    IIR_RX = 4,
    IIR_TIMEOUT = 12,
    IIR_THRE = 2,
    IIR_MODEM = 0,
    IIR_FIFOS = 0xc0
};

/* ---- FIFOs and time ----------------------------------------------------- */

static void fifo_put(struct serial_fifo *q, uint8_t byte)
{
    q->byte[(q->first + q->count) % SERIAL_FIFO_BYTES] = byte;
    q->count++;
}

static uint8_t fifo_take(struct serial_fifo *q)
{
    uint8_t byte = q->byte[q->first];
    q->first = (uint8_t)((q->first + 1) % SERIAL_FIFO_BYTES);
    q->count--;
    return byte;
}

static bool fifos_on(const struct serial *s)
{
    return s->fcr & FCR_ENABLE;
}

static unsigned fifo_size(const struct serial *s)
{
    return fifos_on(s) ? SERIAL_FIFO_BYTES : 1;
}

/* Receive interrupt trigger level (FCR bits 6 and 7). */
static unsigned trigger(const struct serial *s)
{
    static const uint8_t level[] = {1, 4, 8, 14};
    return fifos_on(s) ? level[s->fcr >> 6] : 1;
}

static uint8_t data_mask(const struct serial *s)
{
    return (uint8_t)(0xff >> (3 - (s->lcr & 3)));
}

/* Ticks for `characters` at the programmed rate and format. Halves of a bit
 * count because 5-bit characters may have 1.5 stop bits. */
static uint64_t character_ticks(const struct serial *s, unsigned characters)
{
    unsigned halves = 2 * (1 + 5 + (s->lcr & 3));
    halves += s->lcr & 8 ? 2 : 0;
    halves += !(s->lcr & 4) ? 2 : (s->lcr & 3) == 0 ? 3 : 4;
    uint64_t divisor = s->divisor[0] | (uint64_t)s->divisor[1] << 8;
    uint64_t clocks = (divisor ? divisor : 65536) * CLOCKS_PER_BIT * halves / 2;
    return bus_tick_of_cycle(s->bus, clocks * characters, CRYSTAL_HZ);
}

static void set_timer(struct serial *s, unsigned timer, unsigned characters)
{
    bus_timer_set(s->bus, timer,
                  bus_tick(s->bus) + character_ticks(s, characters));
}

/* ---- interrupts --------------------------------------------------------- */

static uint8_t interrupt_id(const struct serial *s)
{
    if (s->ier & IER_LINE && s->overrun)
        return IIR_LINE;
    if (s->ier & IER_RX && s->rx.count >= trigger(s))
        return IIR_RX;
    if (s->ier & IER_RX && s->timed_out)
        return IIR_TIMEOUT;
    if (s->ier & IER_THRE && s->thre_pending)
        return IIR_THRE;
    if (s->ier & IER_MODEM && s->msr & 15)
        return IIR_MODEM;
    return IIR_NONE;
}

/* On a PC, OUT2 gates the interrupt to the bus. It does so here by its
 * register bit, in loopback too, where the pin would be inactive: boards differ
 * and test programs expect the interrupt. */
static void update_irq(struct serial *s)
{
    bus_irq_set(s->bus, s->irq,
                s->mcr & MCR_OUT2 && interrupt_id(s) != IIR_NONE);
}

/* ---- receiver ----------------------------------------------------------- */

/* The timeout counts from the last character in or out of a FIFO that is not
 * empty: four character times (8.0, FIFO interrupt mode operation). */
static void restart_timeout(struct serial *s)
{
    s->timed_out = false;
    if (fifos_on(s) && s->rx.count)
        set_timer(s, s->idle_timer, 4);
    else
        bus_timer_cancel(s->bus, s->idle_timer);
}

static void character_timeout(void *chip)
{
    struct serial *s = chip;
    s->timed_out = true;
    update_irq(s);
}

static void receive_character(struct serial *s, uint8_t byte)
{
    byte &= data_mask(s);
    if (s->rx.count < fifo_size(s)) {
        fifo_put(&s->rx, byte);
    } else {
        s->overrun = true; /* FIFO mode keeps the FIFO, loses the character */
        if (!fifos_on(s))
            s->rx.byte[s->rx.first] = byte;
    }
    if (!s->timed_out) /* only a read ends a timeout that has occurred */
        restart_timeout(s);
    update_irq(s);
}

/* Characters from outside keep the line's pace and wait for room. */
static void start_receiving(struct serial *s)
{
    if (s->queue_count && s->rx.count < fifo_size(s) && !(s->mcr & MCR_LOOP) &&
        !bus_timer_armed(s->bus, s->rx_timer, NULL))
        set_timer(s, s->rx_timer, 1);
}

static void character_arrived(void *chip)
{
    struct serial *s = chip;
    if (s->queue_count && s->rx.count < fifo_size(s) && !(s->mcr & MCR_LOOP)) {
        uint8_t byte = s->queue[s->queue_first];
        s->queue_first = (s->queue_first + 1) % SERIAL_QUEUE_BYTES;
        s->queue_count--;
        receive_character(s, byte);
    }
    start_receiving(s);
}

size_t serial_receive(struct serial *s, const void *bytes, size_t count)
{
    const uint8_t *b = bytes;
    size_t taken = 0;
    while (taken < count && s->queue_count < SERIAL_QUEUE_BYTES) {
        s->queue[(s->queue_first + s->queue_count) % SERIAL_QUEUE_BYTES] =
            b[taken++];
        s->queue_count++;
    }
    start_receiving(s);
    return taken;
}

static uint8_t read_rbr(struct serial *s)
{
    if (s->rx.count)
        s->last_rx = fifo_take(&s->rx);
    restart_timeout(s);
    start_receiving(s);
    update_irq(s);
    return s->last_rx;
}

/* ---- transmitter -------------------------------------------------------- */

static void start_shifting(struct serial *s)
{
    if (s->shifting || s->tx.count == 0)
        return;
    s->shift = fifo_take(&s->tx);
    s->shifting = true;
    if (s->tx.count == 0)
        s->thre_pending = true;
    set_timer(s, s->tx_timer, 1);
}

static void character_sent(void *chip)
{
    struct serial *s = chip;
    s->shifting = false;
    uint8_t byte = s->shift & data_mask(s);
    if (s->mcr & MCR_LOOP)
        receive_character(s, byte);
    else
        bus_output(s->bus, OUT_SERIAL, &byte, 1);
    start_shifting(s);
    update_irq(s);
}

static void write_thr(struct serial *s, uint8_t value)
{
    s->thre_pending = false;
    if (s->tx.count < fifo_size(s))
        fifo_put(&s->tx, value);
    else /* the last character written is replaced */
        s->tx.byte[(s->tx.first + s->tx.count - 1u) % SERIAL_FIFO_BYTES] =
            value;
    start_shifting(s);
    update_irq(s);
}

/* ---- modem lines -------------------------------------------------------- */

/* MSR bits 4..7: a peer that is always there, or the MCR bits in loopback. */
static uint8_t modem_lines(const struct serial *s)
{
    if (!(s->mcr & MCR_LOOP))
        return MSR_CTS | MSR_DSR | MSR_DCD;
    return (uint8_t)((s->mcr & MCR_RTS ? MSR_CTS : 0) |
                     (s->mcr & MCR_DTR ? MSR_DSR : 0) |
                     (s->mcr & MCR_OUT1 ? MSR_RI : 0) |
                     (s->mcr & MCR_OUT2 ? MSR_DCD : 0));
}

/* Set the delta bits; RI counts on its trailing edge only. */
static void update_modem(struct serial *s)
{
    uint8_t now = modem_lines(s), changed = now ^ s->lines;
    uint8_t delta = changed >> 4;
    if (!(changed & MSR_RI && s->lines & MSR_RI))
        delta &= (uint8_t)~MSR_TERI;
    s->lines = now;
    s->msr = (uint8_t)((s->msr & 15) | delta | now);
}

/* ---- registers ---------------------------------------------------------- */

static void clear_rx(struct serial *s)
{
    s->rx.count = 0;
    restart_timeout(s);
}

static void clear_tx(struct serial *s)
{
    if (s->tx.count)
        s->thre_pending = true;
    s->tx.count = 0;
}

static void write_fcr(struct serial *s, uint8_t value)
{
    bool switched = (value ^ s->fcr) & FCR_ENABLE;
    if (switched || (value & FCR_ENABLE && value & FCR_CLEAR_RX))
        clear_rx(s);
    if (switched || (value & FCR_ENABLE && value & FCR_CLEAR_TX))
        clear_tx(s);
    s->fcr = value & FCR_ENABLE ? value & 0xc9 : 0;
    restart_timeout(s);
    start_receiving(s);
}

static void write_ier(struct serial *s, uint8_t value)
{
    /* Enabling the interrupt while THR is empty raises it at once. */
    if (value & IER_THRE && !(s->ier & IER_THRE) && s->tx.count == 0)
        s->thre_pending = true;
    s->ier = value & 15;
}

static uint8_t read_iir(struct serial *s)
{
    uint8_t id = interrupt_id(s);
    if (id == IIR_THRE) {
        s->thre_pending = false;
        update_irq(s);
    }
    return (uint8_t)(id | (fifos_on(s) ? IIR_FIFOS : 0));
}

static uint8_t read_lsr(struct serial *s)
{
    uint8_t value =
        (uint8_t)((s->rx.count ? LSR_DR : 0) | (s->overrun ? LSR_OE : 0) |
                  (s->tx.count == 0 ? LSR_THRE : 0) |
                  (s->tx.count == 0 && !s->shifting ? LSR_TEMT : 0));
    s->overrun = false;
    update_irq(s);
    return value;
}

static uint8_t read_msr(struct serial *s)
{
    uint8_t value = s->msr;
    s->msr &= 0xf0;
    update_irq(s);
    return value;
}

static uint32_t serial_read(void *chip, uint16_t offset, unsigned bytes)
{
    struct serial *s = chip;
    (void)bytes;
    if (offset < 2 && s->lcr & LCR_DLAB)
        return s->divisor[offset];
    switch (offset) {
    case 0:
        return read_rbr(s);
    case 1:
        return s->ier;
    case 2:
        return read_iir(s);
    case 3:
        return s->lcr;
    case 4:
        return s->mcr;
    case 5:
        return read_lsr(s);
    case 6:
        return read_msr(s);
    default:
        return s->scr;
    }
}

static void write_register(struct serial *s, uint16_t offset, uint8_t value)
{
    switch (offset) {
    case 1:
        write_ier(s, value);
        break;
    case 2:
        write_fcr(s, value);
        break;
    case 3:
        s->lcr = value;
        break;
    case 4:
        s->mcr = value & 0x1f;
        update_modem(s);
        start_receiving(s);
        break;
    case 7:
        s->scr = value;
        break;
    default: /* LSR and MSR: factory test only */
        break;
    }
    update_irq(s);
}

static void serial_write(void *chip, uint16_t offset, uint32_t value,
                         unsigned bytes)
{
    struct serial *s = chip;
    (void)bytes;
    if (offset < 2 && s->lcr & LCR_DLAB)
        s->divisor[offset] = (uint8_t)value;
    else if (offset == 0)
        write_thr(s, (uint8_t)value);
    else
        write_register(s, offset, (uint8_t)value);
}

static const struct io_ops serial_io = {serial_read, serial_write, 1};

/* ---- life --------------------------------------------------------------- */

/* Master reset (table III); the divisor and scratch registers keep their
 * values, the queue is outside the chip. */
static void serial_reset(void *chip)
{
    struct serial *s = chip;
    s->rx = (struct serial_fifo){0};
    s->tx = (struct serial_fifo){0};
    s->ier = s->fcr = s->lcr = s->mcr = 0;
    s->last_rx = 0;
    s->shift = 0;
    s->shifting = false;
    s->overrun = false;
    s->thre_pending = false;
    s->timed_out = false;
    s->lines = s->msr = modem_lines(s);
    update_irq(s);
    start_receiving(s);
}

struct serial *serial_new(struct dev_bus *bus, uint16_t base, unsigned line)
{
    struct serial *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->bus = bus;
    s->tx_timer = bus_timer_new(bus, "serial tx", character_sent, s);
    s->rx_timer = bus_timer_new(bus, "serial rx", character_arrived, s);
    s->idle_timer = bus_timer_new(bus, "serial idle", character_timeout, s);
    s->irq = bus_irq_source(bus, "serial", line);
    bus_io_map(bus, base, 8, &serial_io, s);
    s->divisor[0] = 12; /* 9600 baud, undefined in the data sheet */
    serial_reset(s);
    return s;
}

void serial_free(struct serial *s)
{
    free(s);
}

const struct field serial_fields[SERIAL_FIELDS] = {
    FIELD_U32(struct serial, queue_first),
    FIELD_U32(struct serial, queue_count),
    FIELD_U8(struct serial, rx.byte),
    FIELD_U8(struct serial, rx.first),
    FIELD_U8(struct serial, rx.count),
    FIELD_U8(struct serial, tx.byte),
    FIELD_U8(struct serial, tx.first),
    FIELD_U8(struct serial, tx.count),
    FIELD_U8(struct serial, shift),
    FIELD_U8(struct serial, ier),
    FIELD_U8(struct serial, fcr),
    FIELD_U8(struct serial, lcr),
    FIELD_U8(struct serial, mcr),
    FIELD_U8(struct serial, msr),
    FIELD_U8(struct serial, scr),
    FIELD_U8(struct serial, lines),
    FIELD_U8(struct serial, divisor),
    FIELD_U8(struct serial, last_rx),
    FIELD_BOOL(struct serial, shifting),
    FIELD_BOOL(struct serial, overrun),
    FIELD_BOOL(struct serial, thre_pending),
    FIELD_BOOL(struct serial, timed_out),
};

/* The queue: only the bytes that wait, from its first one. */
static void serial_save(const void *chip, struct writer *w)
{
    const struct serial *s = chip;
    fields_save(serial_fields, SERIAL_FIELDS, s, w);
    for (uint32_t i = 0; i < s->queue_count; i++)
        writer_u8(w, s->queue[(s->queue_first + i) % SERIAL_QUEUE_BYTES]);
}

static bool serial_load(void *chip, struct reader *r, struct error *err)
{
    struct serial *s = chip;
    if (!fields_load(serial_fields, SERIAL_FIELDS, s, r, err))
        return false;
    if (s->queue_first >= SERIAL_QUEUE_BYTES ||
        s->queue_count > SERIAL_QUEUE_BYTES ||
        s->rx.first >= SERIAL_FIFO_BYTES || s->rx.count > SERIAL_FIFO_BYTES ||
        s->tx.first >= SERIAL_FIFO_BYTES || s->tx.count > SERIAL_FIFO_BYTES) {
        s->queue_count = s->rx.count = s->tx.count = 0;
        return error_set(err, ERR_INPUT,
                         "serial: a buffer has indices out of range");
    }
    for (uint32_t i = 0; i < s->queue_count; i++)
        s->queue[(s->queue_first + i) % SERIAL_QUEUE_BYTES] = reader_u8(r);
    return reader_ok(r, "serial", err);
}

const struct chip_ops serial_ops = {
    .name = "serial",
    .tag = "UART",
    .reset = serial_reset,
    .save = serial_save,
    .load = serial_load,
};
