#include "dev/ide_internal.h"

#include "base/bytes.h"
#include "base/field.h"

#include <stdlib.h>
#include <string.h>

enum {
    REG_COMMAND = 0x04,
    REG_STATUS = 0x06,
    REG_IDETIM = 0x40, /* 82371SB data sheet 2.4.11-13 */
    BAR_BUS_MASTER = 4,

    CONTROL_NIEN = 0x02,
    CONTROL_SRST = 0x04,
    CONTROL_HOB = 0x80,

    BM_START = 0x01, /* command */
    BM_TO_MEMORY = 0x08,
    BM_ACTIVE = 0x01, /* status */
    BM_ERROR = 0x02,
    BM_INTERRUPT = 0x04,
    BM_CAPABLE = 0x60,

    FLOATING = 0x7F, /* DD7 is pulled down where no drive answers */
    RESET_NS = 100000
};

static const struct field drive_fields[] = {
    FIELD_U8(struct ide_drive, tf.features),
    FIELD_U8(struct ide_drive, tf.count),
    FIELD_U8(struct ide_drive, tf.low),
    FIELD_U8(struct ide_drive, tf.mid),
    FIELD_U8(struct ide_drive, tf.high),
    FIELD_U8(struct ide_drive, tf.device),
    FIELD_U8(struct ide_drive, status),
    FIELD_U8(struct ide_drive, error),
    FIELD_U8(struct ide_drive, command),
    FIELD_U8(struct ide_drive, phase),
    FIELD_BOOL(struct ide_drive, intrq),
    FIELD_U64(struct ide_drive, lba),
    FIELD_U32(struct ide_drive, remaining),
    FIELD_U32(struct ide_drive, buf_at),
    FIELD_U32(struct ide_drive, buf_end),
    FIELD_U8(struct ide_drive, multiple),
    FIELD_U8(struct ide_drive, block_units),
    FIELD_U8(struct ide_drive, udma),
    FIELD_U16(struct ide_drive, heads),
    FIELD_U16(struct ide_drive, spt),
    FIELD_BOOL(struct ide_drive, write_cache),
    FIELD_BOOL(struct ide_drive, look_ahead),
    FIELD_BOOL(struct ide_drive, smart),
    FIELD_BOOL(struct ide_drive, asleep),
    FIELD_BOOL(struct ide_drive, is_write),
    FIELD_U8(struct ide_drive, packet),
    FIELD_U8(struct ide_drive, sense_key),
    FIELD_U8(struct ide_drive, asc),
    FIELD_U8(struct ide_drive, ascq),
    FIELD_U8(struct ide_drive, attention),
    FIELD_U8(struct ide_drive, media_event),
    FIELD_BOOL(struct ide_drive, locked),
    FIELD_BOOL(struct ide_drive, tray_open),
    FIELD_BOOL(struct ide_drive, dma_packet),
    FIELD_U32(struct ide_drive, left),
    FIELD_U32(struct ide_drive, chunk_left),
    FIELD_U32(struct ide_drive, unit_bytes),
    FIELD_U8(struct ide_drive, raw_flags),
};

static const struct field channel_fields[] = {
    FIELD_U8(struct ide_channel, select),
    FIELD_U8(struct ide_channel, control),
    FIELD_U8(struct ide_channel, bm_command),
    FIELD_U8(struct ide_channel, bm_status),
    FIELD_U32(struct ide_channel, bm_table),
};

static struct ide_channel *channel_of(const struct ide_drive *d)
{
    return &d->ide->channel[d->channel];
}

static struct ide_drive *selected(struct ide_channel *c)
{
    return &c->drive[c->select];
}

/* ---- interrupts -----------------------------------------------------------
 */

static void update_line(struct ide_channel *c)
{
    bool level = selected(c)->intrq && !(c->control & CONTROL_NIEN);
    struct dev_bus *bus = c->drive[0].ide->bus;
    if (level && !bus_irq_level(bus, c->irq_source))
        c->bm_status |= BM_INTERRUPT;
    bus_irq_set(bus, c->irq_source, level);
}

void drive_set_intrq(struct ide_drive *d, bool level)
{
    d->intrq = level;
    update_line(channel_of(d));
}

/* ---- steps of commands ------------------------------------------------------
 */

static void set_deadline(struct ide_drive *d, uint64_t ns)
{
    struct dev_bus *bus = d->ide->bus;
    bus_timer_set(bus, d->timer, bus_tick(bus) + bus_ticks_of_ns(bus, ns));
}

void drive_wait(struct ide_drive *d, enum drive_phase phase, uint64_t ns)
{
    d->phase = (uint8_t)phase;
    d->status = ATA_BSY;
    set_deadline(d, ns);
}

void drive_done(struct ide_drive *d, uint8_t error)
{
    d->phase = PHASE_IDLE;
    d->error = error;
    d->status = ATA_DRDY | ATA_DSC | (error ? ATA_ERR : 0);
    d->buf_at = d->buf_end = 0;
    drive_set_intrq(d, true);
}

void drive_present(struct ide_drive *d, enum drive_phase phase, uint32_t bytes,
                   bool interrupt)
{
    d->phase = (uint8_t)phase;
    d->buf_at = 0;
    d->buf_end = bytes;
    /* [0, buf_end) is state: what the host has yet to write is nothing old. */
    if (phase == PHASE_WRITE_DATA || phase == PHASE_PACKET)
        memset(d->buffer, 0, bytes);
    d->status = ATA_DRDY | ATA_DSC | ATA_DRQ;
    if (interrupt)
        drive_set_intrq(d, true);
}

/* ATA/ATAPI-6 9.12, device signatures. */
void drive_signature(struct ide_drive *d)
{
    struct task_file tf = {.device = d->tf.device & DEVICE_SLAVE};
    tf.count[0] = tf.low[0] = 1;
    if (d->kind == DRIVE_CDROM) {
        tf.mid[0] = 0x14;
        tf.high[0] = 0xEB;
    }
    d->tf = tf;
}

void drive_reset_state(struct ide_drive *d)
{
    bus_timer_cancel(d->ide->bus, d->timer);
    d->phase = PHASE_IDLE;
    d->buf_at = d->buf_end = 0;
    d->remaining = d->left = d->chunk_left = 0;
    d->asleep = false;
    d->error = 1; /* diagnostic code: no error */
    d->status = d->kind == DRIVE_DISK ? ATA_DRDY | ATA_DSC : 0;
    drive_signature(d);
}

void identify_text(uint8_t *words, const char *text, unsigned bytes)
{
    size_t length = strlen(text);
    for (unsigned i = 0; i < bytes; i++)
        words[i ^ 1] = i < length ? (uint8_t)text[i] : ' ';
}

static void timer_fire(void *chip)
{
    struct ide_drive *d = chip;
    if (d->phase == PHASE_RESET) {
        bool interrupts = d->command == 0x90 && !d->slave;
        drive_reset_state(d);
        if (interrupts)
            drive_set_intrq(d, true);
        return;
    }
    if (d->phase == PHASE_DMA_WAIT) {
        if (d->kind == DRIVE_DISK)
            ata_dma(d);
        else
            atapi_dma(d);
        return;
    }
    if (d->kind == DRIVE_DISK)
        ata_continue(d);
    else
        atapi_continue(d);
}

/* ---- bus master ------------------ */

bool dma_started(const struct ide_drive *d)
{
    const struct ide_channel *c = channel_of(d);
    return (c->bm_command & BM_START) && pci_can_master(&d->ide->pci);
}

static void try_dma(struct ide_drive *d)
{
    if (d->phase != PHASE_DMA_WAIT || !dma_started(d) ||
        bus_timer_armed(d->ide->bus, d->timer, NULL))
        return;
    set_deadline(d, d->kind == DRIVE_DISK ? ata_dma_ns(d) : atapi_dma_ns(d));
}

void drive_wait_dma(struct ide_drive *d)
{
    d->phase = PHASE_DMA_WAIT;
    d->status = ATA_BSY;
    try_dma(d);
}

void prd_start(const struct ide_drive *d, struct prd_cursor *c)
{
    *c = (struct prd_cursor){.next = channel_of(d)->bm_table};
}

/* 82371SB data sheet 2.4 and "Programming Interface for Bus Master IDE
 * Controller" 1.2: base, then count with EOT in bit 31; count 0 is 64 KiB. */
bool prd_move(struct ide_drive *d, struct prd_cursor *c, uint8_t *buffer,
              uint32_t bytes, bool to_memory)
{
    struct dev_bus *bus = d->ide->bus;
    while (bytes) {
        if (c->left == 0) {
            uint8_t entry[8];
            if (c->last)
                return false;
            bus_dma_read(bus, c->next, entry, sizeof entry);
            c->next += sizeof entry;
            c->address = load_le32(entry) & ~1u;
            c->left = load_le16(entry + 4) & ~1u;
            if (c->left == 0)
                c->left = 65536;
            c->last = entry[7] & 0x80;
        }
        uint32_t n = bytes < c->left ? bytes : c->left;
        if (to_memory)
            bus_dma_write(bus, c->address, buffer, n);
        else
            bus_dma_read(bus, c->address, buffer, n);
        buffer += n;
        bytes -= n;
        c->address += n;
        c->left -= n;
    }
    return true;
}

void dma_done(struct ide_drive *d, const struct prd_cursor *c, uint8_t error)
{
    struct ide_channel *channel = channel_of(d);
    /* A table longer than the transfer leaves ACTIVE set beside INTERRUPT. */
    if (c->last && c->left == 0)
        channel->bm_status &= (uint8_t)~BM_ACTIVE;
    drive_done(d, error);
}

void dma_stuck(struct ide_drive *d)
{
    channel_of(d)->bm_status &= (uint8_t)~BM_ACTIVE;
    d->phase = PHASE_DMA_STUCK;
    d->status = ATA_DRDY | ATA_DSC | ATA_DRQ;
}

static void bm_write_command(struct ide_channel *c, uint8_t value)
{
    bool was = c->bm_command & BM_START;
    c->bm_command = value & (BM_START | BM_TO_MEMORY);
    bool now = c->bm_command & BM_START;
    if (now && !was)
        c->bm_status |= BM_ACTIVE;
    if (!now)
        c->bm_status &= (uint8_t)~BM_ACTIVE;
    for (unsigned i = 0; i < 2; i++) {
        struct ide_drive *d = &c->drive[i];
        if (now)
            try_dma(d);
        else if (d->phase == PHASE_DMA_WAIT)
            bus_timer_cancel(d->ide->bus, d->timer);
    }
}

static uint8_t bm_read_byte(const struct ide_channel *c, unsigned at)
{
    switch (at) {
    case 0:
        return c->bm_command;
    case 2:
        return c->bm_status;
    case 4:
    case 5:
    case 6:
    case 7:
        return (uint8_t)(c->bm_table >> 8 * (at - 4));
    default:
        return 0;
    }
}

static void bm_write_byte(struct ide_channel *c, unsigned at, uint8_t value)
{
    if (at == 0) {
        bm_write_command(c, value);
    } else if (at == 2) {
        uint8_t cleared = value & (BM_ERROR | BM_INTERRUPT);
        c->bm_status =
            (c->bm_status & BM_ACTIVE) | (value & BM_CAPABLE) |
            (c->bm_status & (BM_ERROR | BM_INTERRUPT) & (uint8_t)~cleared);
    } else if (at >= 4) {
        unsigned shift = 8 * (at - 4);
        c->bm_table =
            (c->bm_table & ~(0xFFu << shift)) | ((uint32_t)value << shift);
        c->bm_table &= ~3u;
    }
}

static uint32_t bm_read(void *chip, uint16_t offset, unsigned bytes)
{
    const struct ide *ide = chip;
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        unsigned at = (offset + i) & 15;
        value |= (uint32_t)bm_read_byte(&ide->channel[at >> 3], at & 7)
                 << 8 * i;
    }
    return value;
}

static void bm_write(void *chip, uint16_t offset, uint32_t value,
                     unsigned bytes)
{
    struct ide *ide = chip;
    for (unsigned i = 0; i < bytes; i++) {
        unsigned at = (offset + i) & 15;
        bm_write_byte(&ide->channel[at >> 3], at & 7,
                      (uint8_t)(value >> 8 * i));
    }
}

static const struct io_ops bm_io = {
    .read = bm_read, .write = bm_write, .max_bytes = 4};

/* ---- data register ------------------ */

static uint8_t cd_next_byte(struct ide_drive *d)
{
    if (d->chunk_left == 0)
        return 0;
    d->chunk_left--;
    if (d->buf_at == d->buf_end)
        atapi_refill(d);
    return d->buf_at < d->buf_end ? d->buffer[d->buf_at++] : 0;
}

static uint32_t cd_data_read(struct ide_drive *d, unsigned bytes)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint32_t)cd_next_byte(d) << 8 * i;
    if (d->chunk_left == 0)
        atapi_block_end(d);
    return value;
}

static uint32_t data_read(void *chip, uint16_t offset, unsigned bytes)
{
    struct ide_channel *c = chip;
    struct ide_drive *d = selected(c);
    (void)offset;
    if (d->phase != PHASE_READ_DATA)
        return 0;
    if (d->kind == DRIVE_CDROM && d->chunk_left)
        return cd_data_read(d, bytes);
    uint32_t value = 0;
    uint32_t n = d->buf_end - d->buf_at;
    n = n < bytes ? n : bytes;
    memcpy(&value, d->buffer + d->buf_at, n);
    d->buf_at += n;
    if (d->buf_at == d->buf_end) {
        if (d->kind == DRIVE_DISK)
            ata_block_end(d);
        else
            atapi_block_end(d);
    }
    return value;
}

static void data_write(void *chip, uint16_t offset, uint32_t value,
                       unsigned bytes)
{
    struct ide_channel *c = chip;
    struct ide_drive *d = selected(c);
    (void)offset;
    if (d->phase != PHASE_WRITE_DATA && d->phase != PHASE_PACKET)
        return;
    uint32_t n = d->buf_end - d->buf_at;
    n = n < bytes ? n : bytes;
    memcpy(d->buffer + d->buf_at, &value, n);
    d->buf_at += n;
    if (d->buf_at < d->buf_end)
        return;
    if (d->phase == PHASE_PACKET)
        atapi_packet(d);
    else
        ata_block_end(d);
}

static const struct io_ops data_io = {
    .read = data_read, .write = data_write, .max_bytes = 4};

/* ---- task file ------------------ */

static void start_reset(struct ide_channel *c)
{
    for (unsigned i = 0; i < 2; i++) {
        struct ide_drive *d = &c->drive[i];
        if (d->kind == DRIVE_NONE)
            continue;
        drive_set_intrq(d, false);
        d->tf.device = 0;
        drive_wait(d, PHASE_RESET, RESET_NS);
    }
}

static void write_command(struct ide_channel *c, uint8_t command)
{
    struct ide_drive *d = selected(c);
    bool device_reset = command == 0x08 && d->kind == DRIVE_CDROM;
    if (command == 0x90) { /* EXECUTE DEVICE DIAGNOSTIC: both drives */
        for (unsigned i = 0; i < 2; i++)
            c->drive[i].command = command;
        c->select = 0;
        start_reset(c);
        return;
    }
    if (d->kind == DRIVE_NONE)
        return;
    if ((d->status & ATA_BSY) && !device_reset)
        return; /* the standard leaves it undefined */
    drive_set_intrq(d, false);
    d->command = command;
    d->asleep = false;
    d->error = 0;
    if (d->kind == DRIVE_DISK)
        ata_command(d, command);
    else
        atapi_command(d, command);
}

static void push(uint8_t reg[2], uint8_t value)
{
    reg[1] = reg[0];
    reg[0] = value;
}

static void write_register(struct task_file *tf, unsigned offset, uint8_t value)
{
    switch (offset) {
    case 1:
        push(tf->features, value);
        break;
    case 2:
        push(tf->count, value);
        break;
    case 3:
        push(tf->low, value);
        break;
    case 4:
        push(tf->mid, value);
        break;
    case 5:
        push(tf->high, value);
        break;
    default:
        tf->device = value;
        break;
    }
}

/* The range starts at the features register: offset 0 is port 1F1h. Both drives
 * hear every register; a busy one does not. */
static void task_write(void *chip, uint16_t offset, uint32_t value,
                       unsigned bytes)
{
    struct ide_channel *c = chip;
    unsigned reg = offset + 1U;
    (void)bytes;
    c->control &= (uint8_t)~CONTROL_HOB;
    if (reg == 7) {
        write_command(c, (uint8_t)value);
        return;
    }
    for (unsigned i = 0; i < 2; i++)
        if (!(c->drive[i].status & ATA_BSY))
            write_register(&c->drive[i].tf, reg, (uint8_t)value);
    if (reg == 6) {
        c->select = (value & DEVICE_SLAVE) != 0;
        update_line(c);
    }
}

/* The drive that answers reads: master for an absent slave and vice versa. */
static struct ide_drive *answering(struct ide_channel *c)
{
    struct ide_drive *d = selected(c);
    if (d->kind == DRIVE_NONE)
        d = &c->drive[c->select ^ 1];
    return d->kind == DRIVE_NONE ? NULL : d;
}

static uint8_t read_status(struct ide_channel *c)
{
    if (!answering(c))
        return FLOATING;
    return selected(c)->kind == DRIVE_NONE ? 0 : selected(c)->status;
}

static uint32_t task_read(void *chip, uint16_t offset, unsigned bytes)
{
    struct ide_channel *c = chip;
    const struct ide_drive *d = answering(c);
    unsigned old = c->control & CONTROL_HOB ? 1 : 0;
    uint8_t status;
    (void)bytes;
    if (!d)
        return FLOATING;
    switch (offset + 1) {
    case 1:
        return d->error;
    case 2:
        return d->tf.count[old];
    case 3:
        return d->tf.low[old];
    case 4:
        return d->tf.mid[old];
    case 5:
        return d->tf.high[old];
    case 6:
        return d->tf.device | 0xA0U;
    default:
        status = read_status(c);
        drive_set_intrq(selected(c), false);
        return status;
    }
}

static const struct io_ops task_io = {
    .read = task_read, .write = task_write, .max_bytes = 1};

static uint32_t control_read(void *chip, uint16_t offset, unsigned bytes)
{
    (void)offset;
    (void)bytes;
    return read_status(chip);
}

static void control_write(void *chip, uint16_t offset, uint32_t value,
                          unsigned bytes)
{
    struct ide_channel *c = chip;
    bool was = c->control & CONTROL_SRST;
    (void)offset;
    (void)bytes;
    c->control = value & (CONTROL_NIEN | CONTROL_SRST | CONTROL_HOB);
    bool now = c->control & CONTROL_SRST;
    if (now && !was) {
        c->select = 0;
        c->drive[0].command = c->drive[1].command = 0;
        start_reset(c);
        for (unsigned i = 0; i < 2; i++) /* BSY while the bit is set */
            bus_timer_cancel(c->drive[i].ide->bus, c->drive[i].timer);
    } else if (was && !now) {
        start_reset(c);
    }
    update_line(c);
}

static const struct io_ops control_io = {
    .read = control_read, .write = control_write, .max_bytes = 1};

/* ---- life ------------------ */

static void ide_on_write(void *chip, uint8_t offset, unsigned bytes)
{
    struct ide *ide = chip;
    (void)bytes;
    if (offset > REG_COMMAND)
        return;
    for (unsigned i = 0; i < IDE_UNITS; i++)
        try_dma(&ide->channel[i / 2].drive[i % 2]);
}

static void drive_power_on(struct ide_drive *d)
{
    drive_reset_state(d);
    d->intrq = false;
    d->command = 0;
    d->multiple = 16;
    d->block_units = 1;
    d->udma = 0x22; /* multiword DMA 2, the best PIIX3 can do */
    d->heads = 16;
    d->spt = 63;
    d->write_cache = d->look_ahead = d->smart = true;
    d->is_write = d->locked = d->tray_open = d->dma_packet = false;
    d->lba = 0;
    d->unit_bytes = 0;
    d->raw_flags = 0;
    d->sense_key = d->asc = d->ascq = 0;
    d->attention = ATTENTION_NONE;
    d->media_event = 0;
    memset(d->packet, 0, sizeof d->packet);
    memset(d->buffer, 0, sizeof d->buffer);
}

static void ide_reset(void *chip)
{
    struct ide *ide = chip;
    pci_function_reset(&ide->pci);
    memset(ide->pci.config + REG_IDETIM, 0, 16);
    for (unsigned i = 0; i < 2; i++) {
        struct ide_channel *c = &ide->channel[i];
        c->select = c->control = c->bm_command = 0;
        c->bm_status = 0;
        c->bm_table = 0;
        drive_power_on(&c->drive[0]);
        drive_power_on(&c->drive[1]);
        update_line(c);
    }
}

static void ide_save(const void *chip, struct writer *w)
{
    const struct ide *ide = chip;
    pci_function_save(&ide->pci, w);
    for (unsigned i = 0; i < 2; i++) {
        const struct ide_channel *c = &ide->channel[i];
        fields_save(channel_fields, FIELD_COUNT(channel_fields), c, w);
        for (unsigned k = 0; k < 2; k++) {
            const struct ide_drive *d = &c->drive[k];
            fields_save(drive_fields, FIELD_COUNT(drive_fields), d, w);
            writer_bytes(w, d->buffer, d->buf_end);
        }
    }
}

static bool drive_load(struct ide_drive *d, struct reader *r, struct error *err)
{
    if (!fields_load(drive_fields, FIELD_COUNT(drive_fields), d, r, err))
        return false;
    bool sane =
        d->phase < PHASES && d->buf_at <= d->buf_end &&
        d->buf_end <= IDE_BUFFER && d->multiple <= 16 && d->block_units >= 1 &&
        d->block_units <= 128 && d->heads >= 1 && d->heads <= 16 &&
        d->spt >= 1 && d->spt <= 255 && d->attention <= ATTENTION_CHANGED &&
        (d->unit_bytes == 0 || d->unit_bytes == 2048 || d->unit_bytes == 2352);
    if (!sane) {
        d->buf_at = d->buf_end = 0;
        d->phase = PHASE_IDLE;
        return error_set(err, ERR_INPUT,
                         "ide drive %u.%u: its saved registers are not "
                         "possible",
                         d->channel, d->slave);
    }
    reader_bytes(r, d->buffer, d->buf_end);
    memset(d->buffer + d->buf_end, 0, IDE_BUFFER - d->buf_end);
    return reader_ok(r, "ide drive buffer", err);
}

static bool ide_load(void *chip, struct reader *r, struct error *err)
{
    struct ide *ide = chip;
    if (!pci_function_load(&ide->pci, r, err))
        return false;
    for (unsigned i = 0; i < 2; i++) {
        struct ide_channel *c = &ide->channel[i];
        if (!fields_load(channel_fields, FIELD_COUNT(channel_fields), c, r,
                         err))
            return false;
        c->select &= 1;
        if (!drive_load(&c->drive[0], r, err) ||
            !drive_load(&c->drive[1], r, err))
            return false;
    }
    return true;
}

static const char *const timer_names[IDE_UNITS] = {"ide0.0", "ide0.1", "ide1.0",
                                                   "ide1.1"};

static void init_channel(struct ide *ide, unsigned i)
{
    static const uint16_t ports[2] = {0x1F0, 0x170};
    struct ide_channel *c = &ide->channel[i];
    c->irq_source = bus_irq_source(ide->bus, "ide", 14 + i);
    for (unsigned k = 0; k < 2; k++) {
        struct ide_drive *d = &c->drive[k];
        d->ide = ide;
        d->channel = i;
        d->slave = k;
        d->timer =
            bus_timer_new(ide->bus, timer_names[2 * i + k], timer_fire, d);
        drive_power_on(d);
    }
    /* Always decoded, as if IDETIM bit 15 and the command register said so:
     * a bare BIOS image need not know PIIX3. */
    bus_io_map(ide->bus, ports[i], 1, &data_io, c);
    bus_io_map(ide->bus, ports[i] + 1, 7, &task_io, c);
    bus_io_map(ide->bus, ports[i] + 0x206, 1, &control_io, c);
}

struct ide *ide_new(struct dev_bus *bus, struct pci_bus *pci)
{
    struct ide *ide = calloc(1, sizeof *ide);
    if (!ide)
        return NULL;
    ide->bus = bus;
    struct pci_function *f = &ide->pci;
    f->device = 1;
    f->function = 1;
    f->chip = ide;
    f->on_write = ide_on_write;
    pci_init_header(f, 0x8086, 0x7010, 0x010180, 0x00, 0);
    f->writable[REG_COMMAND] = 0x05;
    f->config[REG_STATUS] = 0x80;
    f->config[REG_STATUS + 1] = 0x02;
    memset(f->writable + REG_IDETIM, 0xFF, 16);
    f->bar[BAR_BUS_MASTER] =
        (struct pci_bar){.kind = PCI_BAR_IO, .bytes = 16, .io = &bm_io};
    pci_add_function(pci, f);
    init_channel(ide, 0);
    init_channel(ide, 1);
    return ide;
}

void ide_free(struct ide *ide)
{
    free(ide);
}

void ide_attach_disk(struct ide *ide, enum ide_unit unit, struct block *disk)
{
    struct ide_drive *d = &ide->channel[unit / 2].drive[unit % 2];
    d->kind = DRIVE_DISK;
    d->block = disk;
    d->medium_units = block_sectors(disk);
    drive_power_on(d);
}

void ide_attach_cdrom(struct ide *ide, enum ide_unit unit)
{
    struct ide_drive *d = &ide->channel[unit / 2].drive[unit % 2];
    d->kind = DRIVE_CDROM;
    ide->cdrom = d;
    drive_power_on(d);
}

void ide_set_cdrom(struct ide *ide, struct block *medium)
{
    if (ide->cdrom)
        atapi_medium(ide->cdrom, medium, bus_tick(ide->bus) != 0);
}

bool ide_cdrom_tray_open(const struct ide *ide)
{
    return ide->cdrom && ide->cdrom->tray_open;
}

const struct chip_ops ide_ops = {.name = "ide",
                                 .tag = "IDE ",
                                 .reset = ide_reset,
                                 .save = ide_save,
                                 .load = ide_load};
