#include "dev/floppy.h"

#include "base/field.h"

#include <stdlib.h>
#include <string.h>

enum {
    SECTOR = BLOCK_SECTOR_BYTES,
    SECTOR_CODE = 2, /* N: 512 bytes */
    FIFO_BYTES = 16,
    DMA_CHANNEL = 2,
    IRQ_LINE = 6,

    /* Much faster than the 8 ms of a 500 kbit/s drive, but not instant. */
    SECTOR_NS = 100000,
    STEP_NS = 20000,
    RESET_NS = 100000,
    NO_DISK_NS = 20000000, /* about a tenth of a turn, then give up */

    DOR_SELECT = 0x03,
    DOR_RUN = 0x04, /* 0 holds the controller in reset */
    DOR_DMA_GATE = 0x08,

    MSR_BUSY = 0x10,
    MSR_NON_DMA = 0x20,
    MSR_TO_HOST = 0x40,
    MSR_RQM = 0x80,

    ST0_SEEK_END = 0x20,
    ST0_ABNORMAL = 0x40,
    ST0_INVALID = 0x80,
    ST0_READY_CHANGED = 0xC0,

    ST1_NO_ADDRESS = 0x01,
    ST1_WRITE_PROTECT = 0x02,
    ST1_NO_DATA = 0x04,
    ST1_OVERRUN = 0x10,
    ST1_END = 0x80,
    ST2_WRONG_CYLINDER = 0x10,

    CONFIG_EIS = 0x40, /* implied seek */
    CONFIG_POLL_OFF = 0x10,
    CONFIG_DEFAULT = 0x20, /* FIFO disabled */
    SPECIFY_NON_DMA = 0x01,
    COMMAND_MT = 0x80
};

enum fdc_phase {
    PHASE_COMMAND, /* the host writes command bytes */
    PHASE_EXECUTE, /* until the deadline */
    PHASE_DATA,    /* non-DMA: the host reads or writes the buffer */
    PHASE_RESULT,
    PHASES
};

struct fdc_drive {
    struct block *medium;            /* borrowed, or NULL */
    const struct geometry *geometry; /* derived from the medium */
    uint8_t track;                   /* where the head is; also PCN */
    uint8_t target;                  /* of a running seek */
    bool seeking, seek_done, changed;
};

struct floppy {
    struct dev_bus *bus;                    /* borrowed */
    struct dma *dma;                        /* borrowed */
    unsigned timer, seek_timer, irq_source; /* fixed handles */
    struct fdc_drive drive[FLOPPY_DRIVES];

    /* saved from here on */
    uint8_t dor, tdr, rate;
    uint8_t phase; /* enum fdc_phase */
    bool irq;
    uint8_t reset_sense; /* SENSE INTERRUPTs still owed after a reset */
    uint8_t fifo[FIFO_BYTES];
    uint8_t fifo_at, fifo_end;
    uint8_t specify[2], config, pretrack, perpendicular;
    bool lock, resetting;
    uint8_t st1, st2;
    uint8_t c, h, r; /* next sector of the running transfer */
    uint8_t left;    /* sectors still to FORMAT */
    uint16_t buf_at;
    uint8_t buffer[SECTOR];
};

static const struct field floppy_fields[] = {
    FIELD_U8(struct floppy, dor),
    FIELD_U8(struct floppy, tdr),
    FIELD_U8(struct floppy, rate),
    FIELD_U8(struct floppy, phase),
    FIELD_BOOL(struct floppy, irq),
    FIELD_U8(struct floppy, reset_sense),
    FIELD_U8(struct floppy, fifo),
    FIELD_U8(struct floppy, fifo_at),
    FIELD_U8(struct floppy, fifo_end),
    FIELD_U8(struct floppy, specify),
    FIELD_U8(struct floppy, config),
    FIELD_U8(struct floppy, pretrack),
    FIELD_U8(struct floppy, perpendicular),
    FIELD_BOOL(struct floppy, lock),
    FIELD_BOOL(struct floppy, resetting),
    FIELD_U8(struct floppy, st1),
    FIELD_U8(struct floppy, st2),
    FIELD_U8(struct floppy, c),
    FIELD_U8(struct floppy, h),
    FIELD_U8(struct floppy, r),
    FIELD_U8(struct floppy, left),
    FIELD_U16(struct floppy, buf_at),
    FIELD_U8(struct floppy, buffer),
};

static const struct field drive_fields[] = {
    FIELD_U8(struct fdc_drive, track),
    FIELD_U8(struct fdc_drive, target),
    FIELD_BOOL(struct fdc_drive, seeking),
    FIELD_BOOL(struct fdc_drive, seek_done),
    FIELD_BOOL(struct fdc_drive, changed),
};

/* ---- media ------------------ */

/* rates: bit n: readable with data rate select n (0 500, 1 300, 2 250 kbit/s,
 * 3 1 Mbit/s). */
struct geometry {
    uint16_t sectors; /* in all */
    uint8_t tracks, heads, spt;
    uint8_t rates;
    uint8_t cmos;
};
static const struct geometry geometries[] = {
    {320, 40, 1, 8, 0x06, 1},   {360, 40, 1, 9, 0x06, 1},
    {640, 40, 2, 8, 0x06, 1},   {720, 40, 2, 9, 0x06, 1},
    {1440, 80, 2, 9, 0x04, 3},  {2400, 80, 2, 15, 0x01, 2},
    {2880, 80, 2, 18, 0x01, 4}, {3360, 80, 2, 21, 0x01, 4},
    {3444, 82, 2, 21, 0x01, 4}, {5760, 80, 2, 36, 0x08, 5},
};
enum {
    GEOMETRIES = sizeof geometries / sizeof geometries[0],
    GEOMETRY_1440K = 6,
    GEOMETRY_2880K = 9
};

/* Odd sizes are short images: the rest of a 1.44 MB (2.88 MB) disk is empty. */
static const struct geometry *geometry_of(uint64_t sectors)
{
    for (unsigned i = 0; i < GEOMETRIES; i++)
        if (geometries[i].sectors == sectors)
            return &geometries[i];
    return &geometries[sectors <= 2880 ? GEOMETRY_1440K : GEOMETRY_2880K];
}

unsigned floppy_cmos_type(uint64_t sectors)
{
    return geometry_of(sectors)->cmos;
}

void floppy_set_media(struct floppy *f, unsigned drive, struct block *medium)
{
    if (drive >= FLOPPY_DRIVES)
        return;
    struct fdc_drive *d = &f->drive[drive];
    d->medium = medium;
    d->geometry = medium ? geometry_of(block_sectors(medium)) : NULL;
    d->changed = true;
}

/* The drive a command byte names, NULL for the two that are not connected. */
static struct fdc_drive *drive_of(struct floppy *f, unsigned number)
{
    return (number & 3) < FLOPPY_DRIVES ? &f->drive[number & 3] : NULL;
}

static uint64_t sector_lba(const struct fdc_drive *d, const struct floppy *f)
{
    const struct geometry *g = d->geometry;
    return ((uint64_t)f->c * g->heads + f->h) * g->spt + f->r - 1;
}

static void medium_read(const struct fdc_drive *d, struct floppy *f)
{
    uint64_t lba = sector_lba(d, f);
    if (lba < block_sectors(d->medium))
        block_read(d->medium, lba, 1, f->buffer);
    else
        memset(f->buffer, 0, SECTOR);
}

static void medium_write(const struct fdc_drive *d, struct floppy *f)
{
    uint64_t lba = sector_lba(d, f);
    if (lba < block_sectors(d->medium) && !block_read_only(d->medium))
        block_write(d->medium, lba, 1, f->buffer);
}

/* ---- phases ------------------ */

static void set_irq(struct floppy *f, bool level)
{
    f->irq = level;
    bus_irq_set(f->bus, f->irq_source, level && (f->dor & DOR_DMA_GATE));
}

static void wait_ns(struct floppy *f, uint64_t ns)
{
    f->phase = PHASE_EXECUTE;
    bus_timer_set(f->bus, f->timer,
                  bus_tick(f->bus) + bus_ticks_of_ns(f->bus, ns));
}

static void expect_command(struct floppy *f)
{
    f->phase = PHASE_COMMAND;
    f->fifo_at = f->fifo_end = 0;
}

static void give_result(struct floppy *f, unsigned bytes)
{
    f->phase = PHASE_RESULT;
    f->fifo_at = 0;
    f->fifo_end = (uint8_t)bytes;
}

/* Seven bytes and an interrupt end every command that moves data. */
static void finish(struct floppy *f, uint8_t st0)
{
    uint8_t select = f->fifo[1] & 7;
    f->fifo[0] = (uint8_t)(st0 | (select & 3) | f->h << 2);
    f->fifo[1] = f->st1;
    f->fifo[2] = f->st2;
    f->fifo[3] = f->c;
    f->fifo[4] = f->h;
    f->fifo[5] = f->r;
    f->fifo[6] = SECTOR_CODE;
    give_result(f, 7);
    set_irq(f, true);
}

static void fail(struct floppy *f, uint8_t st1, uint8_t st2)
{
    f->st1 = st1;
    f->st2 = st2;
    finish(f, ST0_ABNORMAL);
}

/* ---- reading, writing, formatting ------------------ */

enum operation { OP_READ, OP_WRITE, OP_FORMAT, OP_VERIFY, OP_READ_ID };

static enum operation operation_of(const struct floppy *f)
{
    switch (f->fifo[0] & 0x1F) {
    case 0x05:
    case 0x09:
        return OP_WRITE;
    case 0x0A:
        return OP_READ_ID;
    case 0x0D:
        return OP_FORMAT;
    case 0x16:
        return OP_VERIFY;
    default:
        return OP_READ;
    }
}

/* Move to the sector after this one; false at the end of the cylinder. The
 * address left behind is the one of 82077AA table 5-3 ("result phase"). */
static bool advance(struct floppy *f)
{
    uint8_t eot = f->fifo[6];
    if (f->r != eot) {
        f->r++;
        return true;
    }
    f->r = 1;
    if ((f->fifo[0] & COMMAND_MT) && f->h == 0) {
        f->h = 1;
        return true;
    }
    if (f->fifo[0] & COMMAND_MT)
        f->h = 0;
    f->c++;
    return false;
}

/* Is the sector there? Otherwise ends the command and says how. */
static bool find_sector(struct floppy *f, const struct fdc_drive *d)
{
    const struct geometry *g = d->geometry;
    if (f->c != d->track) {
        fail(f, ST1_NO_DATA, ST2_WRONG_CYLINDER);
        return false;
    }
    if (f->c >= g->tracks || f->h >= g->heads || f->r == 0 || f->r > g->spt) {
        fail(f, ST1_NO_DATA, 0);
        return false;
    }
    return true;
}

static bool can_transfer(struct floppy *f, const struct fdc_drive *d)
{
    enum operation op = operation_of(f);
    if (!d || !d->medium || !(d->geometry->rates >> f->rate & 1)) {
        fail(f, ST1_NO_ADDRESS, 0);
        return false;
    }
    if ((op == OP_WRITE || op == OP_FORMAT) && block_read_only(d->medium)) {
        fail(f, ST1_WRITE_PROTECT, 0);
        return false;
    }
    return true;
}

/* The sector at (c, h, r) is done; tc: the host wants no more. */
static void sector_done(struct floppy *f, bool tc)
{
    bool more = advance(f);
    if (tc) {
        finish(f, 0);
    } else if (!more) {
        f->st1 = ST1_END;
        finish(f, ST0_ABNORMAL);
    } else {
        wait_ns(f, SECTOR_NS);
    }
}

static void present_data(struct floppy *f)
{
    f->phase = PHASE_DATA;
    f->buf_at = 0;
    set_irq(f, true);
}

static void step_read(struct floppy *f, const struct fdc_drive *d)
{
    bool tc = false;
    medium_read(d, f);
    if (f->specify[1] & SPECIFY_NON_DMA) {
        present_data(f);
        return;
    }
    size_t moved = dma_transfer(f->dma, DMA_CHANNEL, f->buffer, SECTOR,
                                DMA_TO_MEMORY, &tc);
    if (moved < SECTOR && !tc)
        fail(f, ST1_OVERRUN, 0);
    else
        sector_done(f, tc);
}

static void step_write(struct floppy *f, const struct fdc_drive *d)
{
    bool tc = false;
    if (f->specify[1] & SPECIFY_NON_DMA) {
        present_data(f);
        return;
    }
    memset(f->buffer, 0, SECTOR);
    size_t moved = dma_transfer(f->dma, DMA_CHANNEL, f->buffer, SECTOR,
                                DMA_FROM_MEMORY, &tc);
    if (moved < SECTOR && !tc) {
        fail(f, ST1_OVERRUN, 0);
        return;
    }
    medium_write(d, f);
    sector_done(f, tc);
}

/* FORMAT takes C, H, R, N for each sector and fills it with byte 5. */
static void format_sector(struct floppy *f, const struct fdc_drive *d,
                          const uint8_t *id, bool tc)
{
    const struct geometry *g = d->geometry;
    f->c = id[0];
    f->h = id[1] & 1;
    f->r = id[2];
    if (f->c < g->tracks && f->h < g->heads && f->r >= 1 && f->r <= g->spt) {
        memset(f->buffer, f->fifo[5], SECTOR);
        medium_write(d, f);
    }
    if (f->left)
        f->left--;
    if (f->left == 0 || tc)
        finish(f, 0);
    else
        wait_ns(f, SECTOR_NS);
}

static void step_format(struct floppy *f, const struct fdc_drive *d)
{
    uint8_t id[4];
    bool tc = false;
    if (f->specify[1] & SPECIFY_NON_DMA) {
        present_data(f);
        return;
    }
    size_t moved =
        dma_transfer(f->dma, DMA_CHANNEL, id, 4, DMA_FROM_MEMORY, &tc);
    if (moved < 4)
        fail(f, ST1_OVERRUN, 0);
    else
        format_sector(f, d, id, tc);
}

static void step_read_id(struct floppy *f, const struct fdc_drive *d)
{
    f->c = d->track;
    if (f->h >= d->geometry->heads || f->c >= d->geometry->tracks) {
        fail(f, ST1_NO_ADDRESS, 0);
        return;
    }
    f->r = 1;
    finish(f, 0);
}

static void step(struct floppy *f)
{
    struct fdc_drive *d = drive_of(f, f->fifo[1]);
    enum operation op = operation_of(f);
    if (!can_transfer(f, d))
        return;
    if (op == OP_FORMAT) {
        step_format(f, d);
        return;
    }
    if (op == OP_READ_ID) {
        step_read_id(f, d);
        return;
    }
    if (!find_sector(f, d))
        return;
    if (op == OP_READ)
        step_read(f, d);
    else if (op == OP_WRITE)
        step_write(f, d);
    else
        sector_done(f, f->r == f->fifo[6]);
}

static unsigned data_bytes(const struct floppy *f)
{
    return operation_of(f) == OP_FORMAT ? 4 : SECTOR;
}

/* Non-DMA: the host has moved the last byte of the buffer. */
static void data_end(struct floppy *f)
{
    const struct fdc_drive *d = drive_of(f, f->fifo[1]);
    set_irq(f, false);
    if (!can_transfer(f, d)) /* the disk was taken out meanwhile */
        return;
    switch (operation_of(f)) {
    case OP_FORMAT: {
        uint8_t id[4];
        memcpy(id, f->buffer, sizeof id);
        format_sector(f, d, id, false);
        break;
    }
    case OP_WRITE:
        medium_write(d, f);
        sector_done(f, false);
        break;
    default:
        sector_done(f, false);
        break;
    }
}

/* ---- seeking ------------------ */

static void start_seek(struct floppy *f, unsigned number, uint8_t target)
{
    struct fdc_drive *d = drive_of(f, number);
    expect_command(f);
    if (!d)
        return;
    unsigned steps = d->track > target ? d->track - target : target - d->track;
    if (steps && d->medium)
        d->changed = false; /* a step pulse with a disk in */
    d->target = target;
    d->seeking = true;
    bus_timer_set(f->bus, f->seek_timer,
                  bus_tick(f->bus) +
                      bus_ticks_of_ns(f->bus, (steps + 1) * STEP_NS));
}

static void seek_fire(void *chip)
{
    struct floppy *f = chip;
    for (unsigned i = 0; i < FLOPPY_DRIVES; i++) {
        struct fdc_drive *d = &f->drive[i];
        if (!d->seeking)
            continue;
        d->track = d->target;
        d->seeking = false;
        d->seek_done = true;
    }
    set_irq(f, true);
}

/* ---- commands ------------------ */

static void cmd_transfer(struct floppy *f)
{
    struct fdc_drive *d = drive_of(f, f->fifo[1]);
    enum operation op = operation_of(f);
    f->st1 = f->st2 = 0;
    f->h = f->fifo[1] >> 2 & 1;
    if (op == OP_FORMAT) {
        f->left = f->fifo[3];
        f->c = d ? d->track : 0;
        f->r = 1;
    } else if (op != OP_READ_ID) {
        f->c = f->fifo[2];
        f->h = f->fifo[3] & 1;
        f->r = f->fifo[4];
        if (f->fifo[5] != SECTOR_CODE)
            f->r = 0; /* no such sector */
        if (d && (f->config & CONFIG_EIS) && d->track != f->c) {
            d->track = f->c;
            if (d->medium)
                d->changed = false;
        }
    }
    wait_ns(f, d && d->medium ? SECTOR_NS : NO_DISK_NS);
}

static void cmd_specify(struct floppy *f)
{
    f->specify[0] = f->fifo[1];
    f->specify[1] = f->fifo[2];
    expect_command(f);
}

static void cmd_sense_drive(struct floppy *f)
{
    const struct fdc_drive *d = drive_of(f, f->fifo[1]);
    uint8_t st3 = (f->fifo[1] & 7) | 0x28; /* ready, two sides */
    if (d && d->track == 0)
        st3 |= 0x10;
    if (d && d->medium && block_read_only(d->medium))
        st3 |= 0x40;
    f->fifo[0] = st3;
    give_result(f, 1);
}

static void cmd_recalibrate(struct floppy *f)
{
    start_seek(f, f->fifo[1], 0);
}

static void cmd_seek(struct floppy *f)
{
    const struct fdc_drive *d = drive_of(f, f->fifo[1]);
    uint8_t target = f->fifo[2];
    if ((f->fifo[0] & 0x80) && d) /* RELATIVE SEEK, bit 6: inwards */
        target = (uint8_t)(f->fifo[0] & 0x40 ? d->track + f->fifo[2]
                                             : d->track - f->fifo[2]);
    start_seek(f, f->fifo[1], target);
}

static void cmd_sense_interrupt(struct floppy *f)
{
    set_irq(f, false);
    if (f->reset_sense) {
        f->fifo[0] = (uint8_t)(ST0_READY_CHANGED | (4 - f->reset_sense));
        f->fifo[1] = 0;
        f->reset_sense--;
        give_result(f, 2);
        return;
    }
    for (unsigned i = 0; i < FLOPPY_DRIVES; i++) {
        struct fdc_drive *d = &f->drive[i];
        if (!d->seek_done)
            continue;
        d->seek_done = false;
        f->fifo[0] = (uint8_t)(ST0_SEEK_END | i);
        f->fifo[1] = d->track;
        give_result(f, 2);
        return;
    }
    f->fifo[0] = ST0_INVALID;
    give_result(f, 1);
}

static void cmd_dump_registers(struct floppy *f)
{
    uint8_t eot = f->fifo[6];
    f->fifo[0] = f->drive[0].track;
    f->fifo[1] = f->drive[1].track;
    f->fifo[2] = f->fifo[3] = 0;
    f->fifo[4] = f->specify[0];
    f->fifo[5] = f->specify[1];
    f->fifo[6] = eot;
    f->fifo[7] = (uint8_t)(f->lock << 7 | (f->perpendicular & 0x3F));
    f->fifo[8] = f->config;
    f->fifo[9] = f->pretrack;
    give_result(f, 10);
}

static void cmd_version(struct floppy *f)
{
    f->fifo[0] = 0x90; /* 82077AA */
    give_result(f, 1);
}

static void cmd_perpendicular(struct floppy *f)
{
    f->perpendicular = f->fifo[1] & 0x80
                           ? f->fifo[1] & 0x3F
                           : (f->perpendicular & 0x3C) | (f->fifo[1] & 0x03);
    expect_command(f);
}

static void cmd_configure(struct floppy *f)
{
    f->config = f->fifo[2] & 0x7F;
    f->pretrack = f->fifo[3];
    expect_command(f);
}

static void cmd_lock(struct floppy *f)
{
    f->lock = f->fifo[0] & 0x80;
    f->fifo[0] = (uint8_t)(f->lock << 4);
    give_result(f, 1);
}

/* 82077AA data sheet, table 5-1. mask: which bits of the first byte choose. */
static const struct {
    uint8_t op, mask, bytes;
    void (*run)(struct floppy *f);
} commands[] = {
    {0x02, 0x9F, 9, cmd_transfer}, /* READ TRACK, as READ from sector R */
    {0x03, 0xFF, 3, cmd_specify},        {0x04, 0xFF, 2, cmd_sense_drive},
    {0x05, 0x3F, 9, cmd_transfer}, /* WRITE DATA */
    {0x06, 0x1F, 9, cmd_transfer}, /* READ DATA */
    {0x07, 0xFF, 2, cmd_recalibrate},    {0x08, 0xFF, 1, cmd_sense_interrupt},
    {0x09, 0x3F, 9, cmd_transfer}, /* WRITE DELETED DATA */
    {0x0A, 0xBF, 2, cmd_transfer}, /* READ ID */
    {0x0C, 0x1F, 9, cmd_transfer}, /* READ DELETED DATA */
    {0x0D, 0xBF, 6, cmd_transfer}, /* FORMAT TRACK */
    {0x0E, 0xFF, 1, cmd_dump_registers}, {0x0F, 0x3F, 3, cmd_seek},
    {0x10, 0xFF, 1, cmd_version},        {0x12, 0xFF, 2, cmd_perpendicular},
    {0x13, 0xFF, 4, cmd_configure},      {0x14, 0x7F, 1, cmd_lock},
    {0x16, 0x1F, 9, cmd_transfer}, /* VERIFY */
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void command_byte(struct floppy *f, uint8_t value)
{
    f->fifo[f->fifo_at++ % FIFO_BYTES] = value;
    for (unsigned i = 0; i < COMMANDS; i++) {
        if ((f->fifo[0] & commands[i].mask) != commands[i].op)
            continue;
        f->fifo_end = commands[i].bytes;
        if (f->fifo_at >= commands[i].bytes)
            commands[i].run(f);
        return;
    }
    f->fifo[0] = ST0_INVALID;
    give_result(f, 1);
}

/* ---- reset ------------------ */

static void timer_fire(void *chip)
{
    struct floppy *f = chip;
    if (!f->resetting) {
        step(f);
        return;
    }
    f->resetting = false;
    expect_command(f);
    if (f->config & CONFIG_POLL_OFF)
        return;
    f->reset_sense = 4; /* polling finds four drives that became ready */
    set_irq(f, true);
}

/* DOR bit 2 low, or DSR bit 7. LOCK keeps the FIFO parameters. */
static void enter_reset(struct floppy *f)
{
    bus_timer_cancel(f->bus, f->timer);
    bus_timer_cancel(f->bus, f->seek_timer);
    set_irq(f, false);
    expect_command(f);
    f->phase = PHASE_EXECUTE;
    f->resetting = true;
    f->reset_sense = 0;
    for (unsigned i = 0; i < FLOPPY_DRIVES; i++)
        f->drive[i].seeking = f->drive[i].seek_done = false;
    if (!f->lock) {
        f->config = CONFIG_DEFAULT;
        f->pretrack = 0;
    }
    f->config &= (uint8_t)~CONFIG_POLL_OFF;
    f->perpendicular &= 0x3C;
}

static void write_dor(struct floppy *f, uint8_t value)
{
    uint8_t before = f->dor;
    f->dor = value;
    if ((before & DOR_RUN) && !(value & DOR_RUN))
        enter_reset(f);
    else if (!(before & DOR_RUN) && (value & DOR_RUN))
        wait_ns(f, RESET_NS);
    set_irq(f, f->irq);
}

/* ---- ports ------------------ */

static uint8_t read_msr(const struct floppy *f)
{
    uint8_t msr = 0;
    for (unsigned i = 0; i < FLOPPY_DRIVES; i++)
        if (f->drive[i].seeking)
            msr |= (uint8_t)(1 << i);
    switch (f->phase) {
    case PHASE_COMMAND:
        return msr | MSR_RQM | (f->fifo_at ? MSR_BUSY : 0);
    case PHASE_RESULT:
        return msr | MSR_RQM | MSR_TO_HOST | MSR_BUSY;
    case PHASE_DATA:
        msr |= MSR_RQM | MSR_NON_DMA | MSR_BUSY;
        if (operation_of(f) == OP_READ)
            msr |= MSR_TO_HOST;
        return msr;
    default:
        return f->resetting ? msr : msr | MSR_BUSY;
    }
}

static uint8_t read_fifo(struct floppy *f)
{
    if (f->phase == PHASE_DATA && operation_of(f) == OP_READ) {
        uint8_t value = f->buffer[f->buf_at++ % SECTOR];
        if (f->buf_at >= SECTOR)
            data_end(f);
        return value;
    }
    if (f->phase != PHASE_RESULT)
        return 0;
    set_irq(f, false);
    uint8_t value = f->fifo[f->fifo_at++ % FIFO_BYTES];
    if (f->fifo_at >= f->fifo_end)
        expect_command(f);
    return value;
}

static void write_fifo(struct floppy *f, uint8_t value)
{
    if (f->phase == PHASE_COMMAND) {
        command_byte(f, value);
    } else if (f->phase == PHASE_DATA && operation_of(f) != OP_READ) {
        f->buffer[f->buf_at++ % SECTOR] = value;
        if (f->buf_at >= data_bytes(f))
            data_end(f);
    }
}

static uint8_t read_dir(struct floppy *f)
{
    const struct fdc_drive *d = drive_of(f, f->dor & DOR_SELECT);
    bool motor = f->dor >> (4 + (f->dor & DOR_SELECT)) & 1;
    return d && motor && d->changed ? 0x80 : 0;
}

static uint32_t floppy_read(void *chip, uint16_t offset, unsigned bytes)
{
    struct floppy *f = chip;
    (void)bytes;
    switch (offset) { /* from port 3F2h */
    case 0:
        return f->dor;
    case 1:
        return f->tdr | 0xFC;
    case 2:
        return read_msr(f);
    case 3:
        return read_fifo(f);
    default:
        return 0xFF;
    }
}

static void floppy_write(void *chip, uint16_t offset, uint32_t value,
                         unsigned bytes)
{
    struct floppy *f = chip;
    (void)bytes;
    switch (offset) {
    case 0:
        write_dor(f, (uint8_t)value);
        break;
    case 1:
        f->tdr = value & 3;
        break;
    case 2: /* DSR */
        f->rate = value & 3;
        if ((value & 0x80) && (f->dor & DOR_RUN)) {
            enter_reset(f);
            wait_ns(f, RESET_NS);
        }
        break;
    case 3:
        write_fifo(f, (uint8_t)value);
        break;
    default:
        break;
    }
}

static const struct io_ops floppy_io = {
    .read = floppy_read, .write = floppy_write, .max_bytes = 1};

static uint32_t dir_read(void *chip, uint16_t offset, unsigned bytes)
{
    (void)offset;
    (void)bytes;
    return read_dir(chip);
}

static void ccr_write(void *chip, uint16_t offset, uint32_t value,
                      unsigned bytes)
{
    struct floppy *f = chip;
    (void)offset;
    (void)bytes;
    f->rate = value & 3;
}

static const struct io_ops dir_io = {
    .read = dir_read, .write = ccr_write, .max_bytes = 1};

/* ---- life ------------------ */

static void floppy_reset(void *chip)
{
    struct floppy *f = chip;
    f->lock = false;
    f->dor = DOR_DMA_GATE;
    f->tdr = 0;
    f->rate = 2;
    f->specify[0] = f->specify[1] = 0;
    f->perpendicular = 0;
    enter_reset(f);
    memset(f->fifo, 0, sizeof f->fifo);
    memset(f->buffer, 0, sizeof f->buffer);
    f->st1 = f->st2 = 0;
    f->c = f->h = f->r = f->left = 0;
    f->buf_at = 0;
    for (unsigned i = 0; i < FLOPPY_DRIVES; i++) {
        f->drive[i].track = f->drive[i].target = 0;
        f->drive[i].changed = true;
    }
}

static void floppy_save(const void *chip, struct writer *w)
{
    const struct floppy *f = chip;
    fields_save(floppy_fields, FIELD_COUNT(floppy_fields), f, w);
    for (unsigned i = 0; i < FLOPPY_DRIVES; i++)
        fields_save(drive_fields, FIELD_COUNT(drive_fields), &f->drive[i], w);
}

static bool floppy_load(void *chip, struct reader *r, struct error *err)
{
    struct floppy *f = chip;
    if (!fields_load(floppy_fields, FIELD_COUNT(floppy_fields), f, r, err))
        return false;
    for (unsigned i = 0; i < FLOPPY_DRIVES; i++)
        if (!fields_load(drive_fields, FIELD_COUNT(drive_fields), &f->drive[i],
                         r, err))
            return false;
    if (f->phase >= PHASES || f->rate > 3 || f->fifo_at > FIFO_BYTES ||
        f->fifo_end > FIFO_BYTES || f->buf_at >= SECTOR || f->reset_sense > 4 ||
        f->h > 1)
        return error_set(err, ERR_INPUT,
                         "floppy: its saved registers are not possible");
    return true;
}

struct floppy *floppy_new(struct dev_bus *bus, struct dma *dma)
{
    struct floppy *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->bus = bus;
    f->dma = dma;
    f->timer = bus_timer_new(bus, "floppy", timer_fire, f);
    f->seek_timer = bus_timer_new(bus, "floppy_seek", seek_fire, f);
    f->irq_source = bus_irq_source(bus, "floppy", IRQ_LINE);
    floppy_reset(f);
    bus_io_map(bus, 0x3F2, 4, &floppy_io, f);
    bus_io_map(bus, 0x3F7, 1, &dir_io, f);
    return f;
}

void floppy_free(struct floppy *f)
{
    free(f);
}

const struct chip_ops floppy_ops = {.name = "floppy",
                                    .tag = "FDC ",
                                    .reset = floppy_reset,
                                    .save = floppy_save,
                                    .load = floppy_load};
