/* ATA disk commands (ATA/ATAPI-6, clause 8). */
#include "dev/ide_internal.h"

#include "base/bytes.h"

#include <string.h>

enum {
    SECTOR = BLOCK_SECTOR_BYTES,
    CHUNK_UNITS = IDE_BUFFER / SECTOR,
    MULTIPLE_MAX = 16,
    COMMAND_NS = 10000, /* a command without data */
    ACCESS_NS = 50000,  /* until the first sector: a fast disk */
    SECTOR_NS = 2560    /* 200 MB/s */
};

/* ---- addresses ------------------ */

static bool is_48(uint8_t command)
{
    return (command >= 0x24 && command <= 0x2F) ||
           (command >= 0x34 && command <= 0x3F) || command == 0x42 ||
           command == 0xCE || command == 0xEA;
}

static uint64_t tf_lba48(const struct task_file *tf)
{
    uint64_t lba = 0;
    for (unsigned i = 2; i-- > 0;)
        lba = lba << 24 | (uint64_t)tf->high[i] << 16 |
              (uint64_t)tf->mid[i] << 8 | tf->low[i];
    return lba;
}

/* The address of a command; false when CHS names no sector. */
static bool tf_address(const struct ide_drive *d, bool ext, uint64_t *lba)
{
    const struct task_file *tf = &d->tf;
    if (ext) {
        *lba = tf_lba48(tf);
        return true;
    }
    uint32_t low =
        (uint32_t)tf->high[0] << 16 | (uint32_t)tf->mid[0] << 8 | tf->low[0];
    uint32_t head = tf->device & 15;
    if (tf->device & DEVICE_LBA) {
        *lba = low | head << 24;
        return true;
    }
    uint32_t sector = tf->low[0];
    if (sector == 0 || sector > d->spt || head >= d->heads)
        return false;
    *lba = ((uint64_t)(low >> 8) * d->heads + head) * d->spt + sector - 1;
    return true;
}

static void tf_set_address(struct ide_drive *d, uint64_t lba)
{
    struct task_file *tf = &d->tf;
    if (is_48(d->command)) {
        for (unsigned i = 0; i < 2; i++, lba >>= 24) {
            tf->low[i] = (uint8_t)lba;
            tf->mid[i] = (uint8_t)(lba >> 8);
            tf->high[i] = (uint8_t)(lba >> 16);
        }
        return;
    }
    if (!(tf->device & DEVICE_LBA)) {
        uint64_t track = lba / d->spt;
        uint64_t cylinder = track / d->heads;
        tf->low[0] = (uint8_t)(lba % d->spt + 1);
        tf->mid[0] = (uint8_t)cylinder;
        tf->high[0] = (uint8_t)(cylinder >> 8);
        tf->device = (tf->device & 0xF0) | (uint8_t)(track % d->heads);
        return;
    }
    tf->low[0] = (uint8_t)lba;
    tf->mid[0] = (uint8_t)(lba >> 8);
    tf->high[0] = (uint8_t)(lba >> 16);
    tf->device = (tf->device & 0xF0) | (lba >> 24 & 15);
}

static void finish(struct ide_drive *d)
{
    if (d->lba)
        tf_set_address(d, d->lba - 1);
    d->tf.count[0] = d->tf.count[1] = 0;
    drive_done(d, 0);
}

/* ---- reading and writing ------------------ */

enum rw_mode { RW_PIO, RW_MULTIPLE, RW_DMA, RW_VERIFY };

struct rw_command {
    uint8_t op;
    uint8_t mode; /* enum rw_mode */
    bool write, ext;
};
static const struct rw_command rw_commands[] = {
    {0x20, RW_PIO, false, false},      {0x21, RW_PIO, false, false},
    {0x24, RW_PIO, false, true},       {0x25, RW_DMA, false, true},
    {0x29, RW_MULTIPLE, false, true},  {0x30, RW_PIO, true, false},
    {0x31, RW_PIO, true, false},       {0x34, RW_PIO, true, true},
    {0x35, RW_DMA, true, true},        {0x39, RW_MULTIPLE, true, true},
    {0x3D, RW_DMA, true, true},        {0x40, RW_VERIFY, false, false},
    {0x41, RW_VERIFY, false, false},   {0x42, RW_VERIFY, false, true},
    {0xC4, RW_MULTIPLE, false, false}, {0xC5, RW_MULTIPLE, true, false},
    {0xC8, RW_DMA, false, false},      {0xC9, RW_DMA, false, false},
    {0xCA, RW_DMA, true, false},       {0xCB, RW_DMA, true, false},
    {0xCE, RW_MULTIPLE, true, true},
};

/* Sectors of the next DRQ block. */
static uint32_t next_block(const struct ide_drive *d)
{
    return d->remaining < d->block_units ? d->remaining : d->block_units;
}

/* Medium access; sectors past the end (a hostile saved state) are not there. */
static void disk_read(struct ide_drive *d, uint32_t count)
{
    if (d->lba >= d->medium_units || count > d->medium_units - d->lba)
        memset(d->buffer, 0, (size_t)count * SECTOR);
    else
        block_read(d->block, d->lba, count, d->buffer);
    d->lba += count;
    d->remaining -= count;
}

static void disk_write(struct ide_drive *d, uint32_t count)
{
    if (d->lba < d->medium_units && count <= d->medium_units - d->lba)
        block_write(d->block, d->lba, count, d->buffer);
    d->lba += count;
    d->remaining -= count;
}

static void start_transfer(struct ide_drive *d, const struct rw_command *c)
{
    d->is_write = c->write;
    d->block_units = c->mode == RW_MULTIPLE ? d->multiple : 1;
    if (c->mode == RW_DMA)
        drive_wait_dma(d);
    else if (c->mode == RW_VERIFY)
        drive_wait(d, PHASE_FINISH,
                   ACCESS_NS + (uint64_t)d->remaining * SECTOR_NS);
    else if (c->write)
        drive_present(d, PHASE_WRITE_DATA, next_block(d) * SECTOR, false);
    else
        drive_wait(d, PHASE_READ_WAIT,
                   ACCESS_NS + (uint64_t)next_block(d) * SECTOR_NS);
}

static void run_rw(struct ide_drive *d, const struct rw_command *c)
{
    uint32_t count = d->tf.count[0];
    uint32_t most = 256;
    if (c->ext) {
        count |= (uint32_t)d->tf.count[1] << 8;
        most = 65536;
    }
    d->remaining = count ? count : most;
    if ((c->mode == RW_MULTIPLE && d->multiple == 0) ||
        (c->write && block_read_only(d->block))) {
        drive_done(d, ATA_ABRT);
        return;
    }
    if (!tf_address(d, c->ext, &d->lba) || d->lba >= d->medium_units ||
        d->remaining > d->medium_units - d->lba) {
        drive_done(d, ATA_IDNF);
        return;
    }
    start_transfer(d, c);
}

uint64_t ata_dma_ns(const struct ide_drive *d)
{
    return ACCESS_NS + (uint64_t)d->remaining * SECTOR_NS;
}

void ata_dma(struct ide_drive *d)
{
    struct prd_cursor cursor;
    prd_start(d, &cursor);
    while (d->remaining) {
        uint32_t n = d->remaining < CHUNK_UNITS ? d->remaining : CHUNK_UNITS;
        if (!d->is_write)
            disk_read(d, n);
        if (!prd_move(d, &cursor, d->buffer, n * SECTOR, !d->is_write)) {
            dma_stuck(d);
            return;
        }
        if (d->is_write)
            disk_write(d, n);
    }
    tf_set_address(d, d->lba - 1);
    d->tf.count[0] = d->tf.count[1] = 0;
    dma_done(d, &cursor, 0);
}

void ata_continue(struct ide_drive *d)
{
    uint32_t n;
    switch (d->phase) {
    case PHASE_READ_WAIT:
        n = next_block(d);
        if (d->command != 0xEC && d->command != 0xB0)
            disk_read(d, n);
        drive_present(d, PHASE_READ_DATA, n * SECTOR, true);
        break;
    case PHASE_WRITE_WAIT:
        disk_write(d, next_block(d));
        if (d->remaining)
            drive_present(d, PHASE_WRITE_DATA, next_block(d) * SECTOR, true);
        else
            finish(d);
        break;
    case PHASE_FINISH:
        if (d->remaining) { /* VERIFY has looked at them all */
            d->lba += d->remaining;
            d->remaining = 0;
            finish(d);
        } else {
            drive_done(d, d->error);
        }
        break;
    default:
        break;
    }
}

void ata_block_end(struct ide_drive *d)
{
    if (d->phase == PHASE_WRITE_DATA) {
        drive_wait(d, PHASE_WRITE_WAIT,
                   ACCESS_NS + (uint64_t)next_block(d) * SECTOR_NS);
        return;
    }
    bool has_address = d->command != 0xEC && d->command != 0xB0;
    if (has_address && d->remaining) {
        drive_wait(d, PHASE_READ_WAIT, (uint64_t)next_block(d) * SECTOR_NS);
        return;
    }
    d->remaining = 0; /* PIO in ends with the last word, no interrupt */
    d->phase = PHASE_IDLE;
    d->status = ATA_DRDY | ATA_DSC;
    d->buf_at = d->buf_end = 0;
    if (has_address && d->lba) {
        tf_set_address(d, d->lba - 1);
        d->tf.count[0] = d->tf.count[1] = 0;
    }
}

/* A 512-byte answer that is in the buffer already. */
static void answer(struct ide_drive *d)
{
    d->remaining = 1;
    d->block_units = 1;
    d->buf_at = 0;
    d->buf_end = SECTOR;
    drive_wait(d, PHASE_READ_WAIT, COMMAND_NS);
}

/* ---- identification ------------------ */

static uint32_t cylinders(const struct ide_drive *d, uint32_t heads,
                          uint32_t spt)
{
    uint64_t c = d->medium_units / (heads * spt);
    return c > 16383 ? 16383 : (uint32_t)c;
}

static void word(struct ide_drive *d, unsigned index, unsigned value)
{
    store_le16(d->buffer + 2 * index, (uint16_t)value);
}

static void identify_geometry(struct ide_drive *d)
{
    uint64_t total = d->medium_units;
    uint32_t lba28 = total > 0x0FFFFFFF ? 0x0FFFFFFF : (uint32_t)total;
    uint32_t now = cylinders(d, d->heads, d->spt);
    uint32_t capacity = now * d->heads * d->spt;
    word(d, 1, cylinders(d, 16, 63));
    word(d, 3, 16);
    word(d, 6, 63);
    word(d, 54, now);
    word(d, 55, d->heads);
    word(d, 56, d->spt);
    store_le32(d->buffer + 2 * 57, capacity);
    store_le32(d->buffer + 2 * 60, lba28);
    store_le64(d->buffer + 2 * 100, total);
}

static void identify_modes(struct ide_drive *d)
{
    unsigned mode = d->udma;
    unsigned selected = 1u << (8 + (mode & 7));
    word(d, 49, 0x0F00); /* IORDY, LBA, DMA */
    word(d, 50, 0x4000);
    word(d, 51, 0x0200);
    word(d, 52, 0x0200);
    word(d, 53, 0x0007);
    word(d, 63, 0x0007 | ((mode & 0xF8) == 0x20 ? selected : 0));
    word(d, 64, 0x0003); /* PIO 3 and 4 */
    for (unsigned i = 65; i <= 68; i++)
        word(d, i, 120); /* ns */
    word(d, 88, 0x003F | ((mode & 0xF8) == 0x40 ? selected : 0));
    word(d, 93, d->slave ? 0x6B00 : 0x600B); /* 80-wire cable */
}

static void identify(struct ide_drive *d)
{
    char serial[] = "RL00000";
    serial[6] = (char)('0' + d->channel * 2 + d->slave);
    memset(d->buffer, 0, SECTOR);
    word(d, 0, 0x0040); /* fixed */
    identify_text(d->buffer + 2 * 10, serial, 20);
    word(d, 20, 3);
    word(d, 21, 512);
    word(d, 22, 4);
    identify_text(d->buffer + 2 * 23, "1.0", 8);
    identify_text(d->buffer + 2 * 27, "RELIVE HARDDISK", 40);
    word(d, 47, 0x8000 | MULTIPLE_MAX);
    word(d, 48, 1);
    word(d, 59, d->multiple ? 0x100u | d->multiple : 0);
    identify_geometry(d);
    identify_modes(d);
    word(d, 80, 0x0070); /* ATA/ATAPI-4 to 6 */
    word(d, 81, 0x0018);
    word(d, 82, 0x4069); /* NOP, look-ahead, write cache, power, SMART */
    word(d, 83, 0x7400); /* FLUSH CACHE (EXT), 48-bit */
    word(d, 84, 0x4000);
    word(d, 85,
         0x4008u | d->smart | (d->write_cache ? 0x20u : 0) |
             (d->look_ahead ? 0x40u : 0));
    word(d, 86, 0x3400);
    word(d, 87, 0x4000);
    answer(d);
}

/* ---- other commands ------------------ */

static void quick(struct ide_drive *d, uint8_t error)
{
    d->remaining = 0;
    d->error = error;
    drive_wait(d, PHASE_FINISH, COMMAND_NS);
}

static bool set_transfer_mode(struct ide_drive *d)
{
    uint8_t mode = d->tf.count[0];
    bool known = mode <= 1 || (mode >= 0x08 && mode <= 0x0C) ||
                 (mode >= 0x20 && mode <= 0x22) ||
                 (mode >= 0x40 && mode <= 0x45);
    if (known && mode >= 0x20)
        d->udma = mode;
    return known;
}

static void set_features(struct ide_drive *d)
{
    bool ok = true;
    switch (d->tf.features[0]) {
    case 0x02:
    case 0x82:
        d->write_cache = d->tf.features[0] == 0x02;
        break;
    case 0xAA:
    case 0x55:
        d->look_ahead = d->tf.features[0] == 0xAA;
        break;
    case 0x03:
        ok = set_transfer_mode(d);
        break;
    case 0x66: /* keep or lose settings at SRST: they are kept */
    case 0xCC:
        break;
    default:
        ok = false;
        break;
    }
    quick(d, ok ? 0 : ATA_ABRT);
}

static void set_multiple(struct ide_drive *d)
{
    uint8_t n = d->tf.count[0];
    bool ok = n <= MULTIPLE_MAX && (n & (n - 1)) == 0;
    if (ok)
        d->multiple = n;
    quick(d, ok ? 0 : ATA_ABRT);
}

static void initialize_parameters(struct ide_drive *d)
{
    uint8_t spt = d->tf.count[0];
    if (spt == 0) {
        quick(d, ATA_ABRT);
        return;
    }
    d->spt = spt;
    d->heads = (d->tf.device & 15) + 1;
    quick(d, 0);
}

static void native_max(struct ide_drive *d)
{
    uint64_t last = d->medium_units - 1;
    if (d->command == 0xF8) {
        if (last > 0x0FFFFFFE)
            last = 0x0FFFFFFE;
        d->tf.device |= DEVICE_LBA;
    }
    tf_set_address(d, last);
    quick(d, 0);
}

/* Attributes and thresholds: revision 16, none listed, good checksum. */
static void smart_data(struct ide_drive *d)
{
    uint8_t sum = 0;
    memset(d->buffer, 0, SECTOR);
    d->buffer[0] = 0x10;
    if (d->tf.features[0] == 0xD0) {
        d->buffer[362] = 0x02; /* off-line collection completed */
        d->buffer[368] = 0x03; /* SMART capability */
    }
    for (unsigned i = 0; i < SECTOR - 1; i++)
        sum = (uint8_t)(sum + d->buffer[i]);
    d->buffer[SECTOR - 1] = (uint8_t)-sum;
    answer(d);
}

static void smart(struct ide_drive *d)
{
    uint8_t sub = d->tf.features[0];
    bool keyed = d->tf.mid[0] == 0x4F && d->tf.high[0] == 0xC2;
    if (!keyed || (!d->smart && sub != 0xD8)) {
        quick(d, ATA_ABRT);
        return;
    }
    switch (sub) {
    case 0xD0:
    case 0xD1:
        smart_data(d);
        break;
    case 0xD8:
    case 0xD9:
        d->smart = sub == 0xD8;
        quick(d, 0);
        break;
    case 0xD2: /* attribute autosave */
    case 0xDA: /* RETURN STATUS: the key unchanged means no failure */
        quick(d, 0);
        break;
    default:
        quick(d, ATA_ABRT);
        break;
    }
}

bool ata_common_command(struct ide_drive *d, uint8_t command)
{
    switch (command) {
    case 0xE5: /* CHECK POWER MODE: active or idle */
    case 0x98:
        d->tf.count[0] = 0xFF;
        quick(d, 0);
        return true;
    case 0xE6: /* SLEEP: the next command wakes it, more kindly than 6.5 */
    case 0x99:
        d->asleep = true;
        quick(d, 0);
        return true;
    case 0xE0: /* STANDBY (IMMEDIATE), IDLE (IMMEDIATE) */
    case 0xE1:
    case 0xE2:
    case 0xE3:
    case 0x94:
    case 0x95:
    case 0x96:
    case 0x97:
    case 0xE7: /* FLUSH CACHE (EXT) */
    case 0xEA:
        quick(d, 0);
        return true;
    case 0xEF:
        set_features(d);
        return true;
    default:
        return false;
    }
}

static void other_command(struct ide_drive *d, uint8_t command)
{
    switch (command) {
    case 0xEC:
        identify(d);
        break;
    case 0xC6:
        set_multiple(d);
        break;
    case 0x91:
        initialize_parameters(d);
        break;
    case 0xF8:
    case 0x27:
        native_max(d);
        break;
    case 0xB0:
        smart(d);
        break;
    default:
        /* 10h-1Fh RECALIBRATE and 70h-7Fh SEEK of ATA-3; the rest is not
         * implemented, which the command abort says. */
        if (command >> 4 == 1 || command >> 4 == 7)
            quick(d, 0);
        else
            drive_done(d, ATA_ABRT);
        break;
    }
}

void ata_command(struct ide_drive *d, uint8_t command)
{
    for (size_t i = 0; i < sizeof rw_commands / sizeof rw_commands[0]; i++) {
        if (rw_commands[i].op == command) {
            run_rw(d, &rw_commands[i]);
            return;
        }
    }
    if (!ata_common_command(d, command))
        other_command(d, command);
}
