/* ATAPI CD-ROM drive: the packet protocol (ATA/ATAPI-6 9.8) and the commands of
 * MMC-3 that a read-only drive has. */
#include "dev/ide_internal.h"

#include "base/bytes.h"

#include <string.h>

enum {
    FRAME = 2048,
    RAW_FRAME = 2352,
    SECTORS_PER_FRAME = FRAME / BLOCK_SECTOR_BYTES,
    BUFFER_FRAMES = IDE_BUFFER / FRAME,

    COMMAND_NS = 20000,
    ACCESS_NS = 100000, /* until the first frame: a fast drive */
    FRAME_NS = 20480,   /* 100 MB/s */

    SENSE_NOT_READY = 2,
    SENSE_ILLEGAL = 5,
    SENSE_ATTENTION = 6,

    ASC_LBA_RANGE = 0x21,
    ASC_INVALID_FIELD = 0x24,
    ASC_INVALID_OPCODE = 0x20,
    ASC_CHANGED = 0x28,
    ASC_NO_MEDIUM = 0x3A,
    ASC_LOCKED = 0x53,
    ASC_WRONG_TRACK = 0x64,

    EVENT_NEW = 2, /* media event codes, MMC-3 table 87 */
    EVENT_REMOVED = 3,

    PROFILE_CD = 0x0008,
    PROFILE_DVD = 0x0010,
    CD_FRAMES_MAX = 450000, /* 100 minutes: more is a DVD */
    LEAD_OUT = 0xAA
};

/* ---- ends of a packet command ------------------ */

static void packet_end(struct ide_drive *d, uint8_t error)
{
    d->left = d->chunk_left = d->remaining = 0;
    d->tf.count[0] = ATAPI_CD | ATAPI_IO;
    drive_done(d, error);
}

static void fail_asc(struct ide_drive *d, uint8_t key, uint8_t asc,
                     uint8_t ascq)
{
    d->sense_key = key;
    d->asc = asc;
    d->ascq = ascq;
    packet_end(d, (uint8_t)(key << 4 | ATA_ABRT));
}

static void fail(struct ide_drive *d, uint8_t key, uint8_t asc)
{
    fail_asc(d, key, asc, 0);
}

static void succeed(struct ide_drive *d)
{
    d->left = 0;
    d->remaining = 0;
    drive_wait(d, PHASE_PACKET_WAIT, COMMAND_NS);
}

/* Send `bytes` of the buffer, as many as the host has room for. */
static void reply(struct ide_drive *d, uint32_t bytes, uint32_t room)
{
    d->left = bytes < room ? bytes : room;
    d->unit_bytes = 0;
    d->remaining = 0;
    d->buf_at = 0;
    d->buf_end = bytes;
    if (d->left == 0)
        succeed(d);
    else if (d->dma_packet)
        drive_wait_dma(d);
    else
        drive_wait(d, PHASE_PACKET_WAIT, COMMAND_NS);
}

static bool has_disc(const struct ide_drive *d)
{
    return d->block && !d->tray_open;
}

/* ---- frames of the medium ------------------ */

static uint8_t to_bcd(uint32_t n)
{
    return (uint8_t)((n / 10 % 10) << 4 | n % 10);
}

/* Minutes, seconds, frames of an address; 2 s of pregap (MMC-3 table 375). */
static void to_msf(uint32_t lba, uint8_t msf[3])
{
    uint32_t n = lba + 150;
    msf[0] = (uint8_t)(n / 75 / 60);
    msf[1] = (uint8_t)(n / 75 % 60);
    msf[2] = (uint8_t)(n % 75);
}

static void read_frames(struct ide_drive *d, uint32_t count, uint8_t *to)
{
    if (!d->block || d->lba >= d->medium_units ||
        count > d->medium_units - d->lba)
        memset(to, 0, (size_t)count * FRAME);
    else
        block_read(d->block, d->lba * SECTORS_PER_FRAME,
                   count * SECTORS_PER_FRAME, to);
}

/* A whole mode 1 frame: sync, header, data, and an empty EDC/ECC field. */
static void build_raw_frame(struct ide_drive *d, uint8_t *frame)
{
    uint8_t msf[3];
    memset(frame, 0, RAW_FRAME);
    memset(frame + 1, 0xFF, 10);
    to_msf((uint32_t)d->lba, msf);
    for (unsigned i = 0; i < 3; i++)
        frame[12 + i] = to_bcd(msf[i]);
    frame[15] = 1;
    read_frames(d, 1, frame + 16);
}

void atapi_refill(struct ide_drive *d)
{
    d->buf_at = d->buf_end = 0;
    if (d->unit_bytes == 0 || d->remaining == 0)
        return;
    uint32_t most = d->unit_bytes == FRAME ? BUFFER_FRAMES : 1;
    uint32_t n = d->remaining < most ? d->remaining : most;
    if (d->unit_bytes == FRAME)
        read_frames(d, n, d->buffer);
    else
        build_raw_frame(d, d->buffer);
    d->lba += n;
    d->remaining -= n;
    d->buf_end = n * d->unit_bytes;
}

static void read_medium(struct ide_drive *d, uint32_t lba, uint32_t count,
                        uint32_t unit_bytes)
{
    if (count == 0) {
        succeed(d);
        return;
    }
    if (lba >= d->medium_units || count > d->medium_units - lba) {
        fail(d, SENSE_ILLEGAL, ASC_LBA_RANGE);
        return;
    }
    if (count > UINT32_MAX / RAW_FRAME) {
        fail(d, SENSE_ILLEGAL, ASC_INVALID_FIELD);
        return;
    }
    d->lba = lba;
    d->remaining = count;
    d->unit_bytes = unit_bytes;
    d->left = count * unit_bytes;
    d->buf_at = d->buf_end = 0;
    if (d->dma_packet)
        drive_wait_dma(d);
    else
        drive_wait(d, PHASE_PACKET_WAIT, ACCESS_NS);
}

/* ---- data phases ------------------ */

/* Bytes of the next DRQ block: the host's limit, even unless it is the last. */
static uint32_t next_chunk(const struct ide_drive *d)
{
    uint32_t limit = (uint32_t)d->tf.high[0] << 8 | d->tf.mid[0];
    if (limit == 0 || limit == 0xFFFF)
        limit = 0xFFFE;
    if (d->left <= limit)
        return d->left;
    return limit > 1 ? limit & ~1u : 2;
}

void atapi_continue(struct ide_drive *d)
{
    if (d->phase != PHASE_PACKET_WAIT) { /* an ATA command without data */
        if (d->phase == PHASE_READ_WAIT)
            drive_present(d, PHASE_READ_DATA, d->buf_end, true);
        else
            drive_done(d, d->error);
        return;
    }
    if (d->left == 0) {
        d->sense_key = d->asc = d->ascq = 0;
        packet_end(d, 0);
        return;
    }
    d->chunk_left = next_chunk(d);
    d->left -= d->chunk_left;
    d->tf.mid[0] = (uint8_t)d->chunk_left;
    d->tf.high[0] = (uint8_t)(d->chunk_left >> 8);
    d->tf.count[0] = ATAPI_IO;
    d->phase = PHASE_READ_DATA;
    d->status = ATA_DRDY | ATA_DSC | ATA_DRQ;
    drive_set_intrq(d, true);
}

void atapi_block_end(struct ide_drive *d)
{
    if (d->command == 0xA1) {
        d->phase = PHASE_IDLE;
        d->status = ATA_DRDY | ATA_DSC;
        d->buf_at = d->buf_end = 0;
        return;
    }
    uint64_t frames = next_chunk(d) / FRAME;
    drive_wait(d, PHASE_PACKET_WAIT, 1000 + frames * FRAME_NS);
}

uint64_t atapi_dma_ns(const struct ide_drive *d)
{
    return d->unit_bytes ? ACCESS_NS + (uint64_t)d->remaining * FRAME_NS
                         : COMMAND_NS;
}

void atapi_dma(struct ide_drive *d)
{
    struct prd_cursor cursor;
    prd_start(d, &cursor);
    while (d->left) {
        if (d->buf_at == d->buf_end)
            atapi_refill(d);
        uint32_t n = d->buf_end - d->buf_at;
        n = n < d->left ? n : d->left;
        if (n == 0 || !prd_move(d, &cursor, d->buffer + d->buf_at, n, true)) {
            dma_stuck(d);
            return;
        }
        d->buf_at += n;
        d->left -= n;
    }
    d->sense_key = d->asc = d->ascq = 0;
    d->tf.count[0] = ATAPI_CD | ATAPI_IO;
    dma_done(d, &cursor, 0);
}

/* ---- commands: what the drive is ------------------ */

static uint8_t *cleared(struct ide_drive *d, uint32_t bytes)
{
    memset(d->buffer, 0, bytes);
    return d->buffer;
}

static void cmd_test_ready(struct ide_drive *d)
{
    succeed(d);
}

static void cmd_request_sense(struct ide_drive *d)
{
    uint8_t room = d->packet[4];
    uint8_t *b = cleared(d, 18);
    b[0] = 0x70;
    b[2] = d->sense_key;
    b[7] = 10;
    b[12] = d->asc;
    b[13] = d->ascq;
    if (d->sense_key == 0 && d->attention == ATTENTION_CHANGED) {
        b[2] = SENSE_ATTENTION;
        b[12] = ASC_CHANGED;
        d->attention = ATTENTION_NONE;
    }
    d->sense_key = d->asc = d->ascq = 0;
    reply(d, 18, room);
}

static void cmd_inquiry(struct ide_drive *d)
{
    uint32_t room = load_be16(d->packet + 3);
    if (d->packet[1] & 1) { /* vital product data: only the list of pages */
        if (d->packet[2] != 0) {
            fail(d, SENSE_ILLEGAL, ASC_INVALID_FIELD);
            return;
        }
        uint8_t *b = cleared(d, 5);
        b[0] = 0x05;
        b[3] = 1;
        reply(d, 5, room);
        return;
    }
    uint8_t *b = cleared(d, 36);
    b[0] = 0x05; /* CD-ROM device */
    b[1] = 0x80; /* removable */
    b[3] = 0x21;
    b[4] = 31;
    memcpy(b + 8, "RELIVE  CD-ROM          1.0 ", 28);
    reply(d, 36, room);
}

static bool is_dvd(const struct ide_drive *d)
{
    return d->medium_units > CD_FRAMES_MAX;
}

static uint32_t feature(uint8_t *b, uint16_t code, uint8_t flags,
                        const uint8_t *data, uint8_t bytes)
{
    store_be16(b, code);
    b[2] = flags;
    b[3] = bytes;
    if (bytes)
        memcpy(b + 4, data, bytes);
    return 4u + bytes;
}

/* MMC-3 5.2 and 6.4: profile list, core, morphing, removable medium, random
 * readable, CD read, DVD read, power management, timeout. */
static void cmd_get_configuration(struct ide_drive *d)
{
    static const struct {
        uint16_t code;
        uint8_t flags, bytes, data[8];
    } features[] = {
        {0x0001, 0x03, 8, {0, 0, 0, 2}}, /* ATAPI */
        {0x0002, 0x07, 4, {2}},
        {0x0003, 0x03, 4, {0x29}}, /* tray, eject, lock */
        {0x0010, 0x00, 8, {0, 0, 8, 0, 0, 1}},
        {0x001E, 0x08, 4, {0}},
        {0x001F, 0x04, 0, {0}},
        {0x0100, 0x03, 0, {0}},
        {0x0105, 0x03, 0, {0}},
    };
    uint8_t *b = cleared(d, 128);
    unsigned how = d->packet[1] & 3;
    uint16_t from = load_be16(d->packet + 2);
    uint16_t profile = !has_disc(d) ? 0 : is_dvd(d) ? PROFILE_DVD : PROFILE_CD;
    uint32_t at = 8;
    store_be16(b + 6, profile);
    if (from == 0) {
        uint8_t list[8] = {0, PROFILE_DVD, profile == PROFILE_DVD, 0,
                           0, PROFILE_CD,  profile == PROFILE_CD,  0};
        at += feature(b + at, 0, 0x03, list, sizeof list);
    }
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
        if (features[i].code < from || (how == 2 && features[i].code != from))
            continue;
        uint8_t flags = features[i].flags;
        if (features[i].code == 0x001E || features[i].code == 0x001F ||
            features[i].code == 0x0010)
            flags |= has_disc(d) && (features[i].code == 0x0010 ||
                                     (features[i].code == 0x001F) == is_dvd(d));
        if (how != 1 || (flags & 1))
            at += feature(b + at, features[i].code, flags, features[i].data,
                          features[i].bytes);
    }
    store_be32(b, at - 4);
    reply(d, at, load_be16(d->packet + 7));
}

/* Only the media class exists, and only polled (MMC-3 6.6). */
static void cmd_get_event(struct ide_drive *d)
{
    uint8_t *b = cleared(d, 8);
    if (!(d->packet[1] & 1)) {
        fail(d, SENSE_ILLEGAL, ASC_INVALID_FIELD);
        return;
    }
    b[3] = 0x10; /* supported: media */
    if (!(d->packet[4] & 0x10)) {
        store_be16(b, 2);
        b[2] = 0x80; /* no event available */
        reply(d, 4, load_be16(d->packet + 7));
        return;
    }
    store_be16(b, 6);
    b[2] = 0x04;
    b[4] = d->media_event;
    b[5] = (d->tray_open ? 1 : 0) | (has_disc(d) ? 2 : 0);
    d->media_event = 0;
    reply(d, 8, load_be16(d->packet + 7));
}

static void cmd_mechanism_status(struct ide_drive *d)
{
    uint8_t *b = cleared(d, 8);
    b[1] = d->tray_open ? 0x10 : 0;
    b[5] = 1;
    reply(d, 8, load_be16(d->packet + 8));
}

/* ---- mode pages ------------------ */

static uint32_t mode_page(struct ide_drive *d, uint8_t page, uint8_t *b)
{
    switch (page) {
    case 0x01: /* read error recovery */
        b[0] = 0x01;
        b[1] = 6;
        b[3] = 5;
        return 8;
    case 0x0E: /* CD audio control: no outputs */
        b[0] = 0x0E;
        b[1] = 14;
        b[2] = 4;
        return 16;
    case 0x2A: /* capabilities, MMC-3 annex: reads CD-R/RW and DVD-ROM */
        b[0] = 0x2A;
        b[1] = 20;
        b[2] = 0x3B;
        b[4] = 0x70;
        b[5] = 0x03;
        b[6] = (uint8_t)(0x29 | (d->locked ? 2 : 0));
        store_be16(b + 8, 8467); /* 48x in kB/s */
        store_be16(b + 12, 512);
        store_be16(b + 14, 8467);
        return 22;
    default:
        return 0;
    }
}

static void mode_sense(struct ide_drive *d, uint32_t header, uint32_t room)
{
    static const uint8_t pages[] = {0x01, 0x0E, 0x2A};
    uint8_t *b = cleared(d, 128);
    uint8_t wanted = d->packet[2] & 0x3F;
    uint32_t at = header;
    if (d->packet[2] >> 6 == 3) { /* saved values */
        fail(d, SENSE_ILLEGAL, 0x39);
        return;
    }
    for (unsigned i = 0; i < sizeof pages; i++)
        if (wanted == 0x3F || wanted == pages[i])
            at += mode_page(d, pages[i], b + at);
    if (at == header) {
        fail(d, SENSE_ILLEGAL, ASC_INVALID_FIELD);
        return;
    }
    uint8_t medium = !has_disc(d) ? (d->tray_open ? 0x71 : 0x70) : 0x01;
    if (header == 8) {
        store_be16(b, (uint16_t)(at - 2));
        b[2] = medium;
    } else {
        b[0] = (uint8_t)(at - 1);
        b[1] = medium;
    }
    reply(d, at, room);
}

static void cmd_mode_sense6(struct ide_drive *d)
{
    mode_sense(d, 4, d->packet[4]);
}

static void cmd_mode_sense10(struct ide_drive *d)
{
    mode_sense(d, 8, load_be16(d->packet + 7));
}

/* ---- commands: tray and speed ------------------ */

static void cmd_start_stop(struct ide_drive *d)
{
    bool start = d->packet[4] & 1;
    bool eject = d->packet[4] & 2;
    if (!eject) {
        succeed(d);
        return;
    }
    if (!start && d->locked) {
        fail_asc(d, d->block ? SENSE_ILLEGAL : SENSE_NOT_READY, ASC_LOCKED, 2);
        return;
    }
    if (!start && !d->tray_open && d->block) {
        d->media_event = EVENT_REMOVED;
        d->attention = ATTENTION_NONE;
    }
    if (start && d->tray_open && d->block)
        d->attention = ATTENTION_CHANGED;
    d->tray_open = !start;
    succeed(d);
}

static void cmd_prevent_removal(struct ide_drive *d)
{
    d->locked = d->packet[4] & 1;
    succeed(d);
}

static void cmd_nothing(struct ide_drive *d)
{
    succeed(d);
}

/* ---- commands: the medium ------------------ */

static void cmd_read_capacity(struct ide_drive *d)
{
    uint8_t *b = cleared(d, 8);
    store_be32(b, (uint32_t)d->medium_units - 1);
    store_be32(b + 4, FRAME);
    reply(d, 8, 8);
}

static void cmd_read10(struct ide_drive *d)
{
    read_medium(d, load_be32(d->packet + 2), load_be16(d->packet + 7), FRAME);
}

static void cmd_read12(struct ide_drive *d)
{
    read_medium(d, load_be32(d->packet + 2), load_be32(d->packet + 6), FRAME);
}

static void cmd_seek(struct ide_drive *d)
{
    if (load_be32(d->packet + 2) >= d->medium_units)
        fail(d, SENSE_ILLEGAL, ASC_LBA_RANGE);
    else
        succeed(d);
}

/* READ CD, byte 9: user data alone, or the whole frame (MMC-3 6.17). */
static void read_cd(struct ide_drive *d, uint32_t lba, uint32_t count)
{
    unsigned type = d->packet[1] >> 2 & 7;
    uint8_t wanted = d->packet[9] & 0xF8;
    if (type == 1) { /* CD-DA: there is no audio track */
        fail(d, SENSE_ILLEGAL, ASC_WRONG_TRACK);
        return;
    }
    switch (wanted) {
    case 0x00:
        succeed(d);
        break;
    case 0x10:
    case 0x50:
        read_medium(d, lba, count, FRAME);
        break;
    case 0xF8:
        read_medium(d, lba, count, RAW_FRAME);
        break;
    default:
        fail(d, SENSE_ILLEGAL, ASC_INVALID_FIELD);
        break;
    }
}

static void cmd_read_cd(struct ide_drive *d)
{
    uint32_t count = load_be32(d->packet + 5) & 0xFFFFFF;
    read_cd(d, load_be32(d->packet + 2), count);
}

static uint32_t from_msf(const uint8_t *msf)
{
    uint32_t n = (msf[0] * 60u + msf[1]) * 75u + msf[2];
    return n < 150 ? UINT32_MAX : n - 150;
}

static void cmd_read_cd_msf(struct ide_drive *d)
{
    uint32_t first = from_msf(d->packet + 3);
    uint32_t end = from_msf(d->packet + 6);
    if (first == UINT32_MAX || end == UINT32_MAX || end < first)
        fail(d, SENSE_ILLEGAL, ASC_INVALID_FIELD);
    else
        read_cd(d, first, end - first);
}

static void toc_address(const struct ide_drive *d, uint32_t lba, uint8_t *b)
{
    store_be32(b, lba);
    if (d->packet[1] & 2) {
        b[0] = 0;
        to_msf(lba, b + 1);
    }
}

static uint32_t toc_tracks(struct ide_drive *d, uint8_t *b)
{
    uint8_t first = d->packet[6];
    uint32_t at = 4;
    b[2] = b[3] = 1;
    if (first <= 1) {
        b[at + 1] = 0x14; /* data track */
        b[at + 2] = 1;
        toc_address(d, 0, b + at + 4);
        at += 8;
    }
    b[at + 1] = 0x14;
    b[at + 2] = LEAD_OUT;
    toc_address(d, (uint32_t)d->medium_units, b + at + 4);
    return at + 8;
}

static uint32_t toc_sessions(struct ide_drive *d, uint8_t *b)
{
    b[2] = b[3] = 1;
    b[5] = 0x14;
    b[6] = 1;
    toc_address(d, 0, b + 8);
    return 12;
}

/* Raw table of contents: points A0, A1, A2 and track 1 (MMC-3 table 236). */
static uint32_t toc_raw(struct ide_drive *d, uint8_t *b)
{
    static const uint8_t points[] = {0xA0, 0xA1, 0xA2, 1};
    uint32_t at = 4;
    b[2] = b[3] = 1;
    for (unsigned i = 0; i < sizeof points; i++, at += 11) {
        b[at] = 1;
        b[at + 1] = 0x14;
        b[at + 3] = points[i];
        if (points[i] <= 1)
            to_msf(0, b + at + 8);
        else if (points[i] == 0xA2)
            to_msf((uint32_t)d->medium_units, b + at + 8);
        else
            b[at + 8] = 1; /* first or last track */
    }
    return at;
}

static void cmd_read_toc(struct ide_drive *d)
{
    uint8_t *b = cleared(d, 64);
    unsigned format = d->packet[2] & 15;
    uint32_t bytes = 0;
    if (format == 0) /* SFF-8020i put it into byte 9 */
        format = d->packet[9] >> 6;
    if (format == 0 && (d->packet[6] <= 1 || d->packet[6] == LEAD_OUT))
        bytes = toc_tracks(d, b);
    else if (format == 1)
        bytes = toc_sessions(d, b);
    else if (format == 2)
        bytes = toc_raw(d, b);
    if (bytes == 0) {
        fail(d, SENSE_ILLEGAL, ASC_INVALID_FIELD);
        return;
    }
    store_be16(b, (uint16_t)(bytes - 2));
    reply(d, bytes, load_be16(d->packet + 7));
}

static void cmd_read_disc_info(struct ide_drive *d)
{
    uint8_t *b = cleared(d, 34);
    store_be16(b, 32);
    b[2] = 0x0E; /* complete disc, complete last session */
    b[3] = b[4] = b[5] = b[6] = 1;
    b[7] = 0x20; /* unrestricted use */
    memset(b + 16, 0xFF, 8);
    reply(d, 34, load_be16(d->packet + 7));
}

static void cmd_read_track_info(struct ide_drive *d)
{
    uint8_t *b = cleared(d, 36);
    store_be16(b, 34);
    b[2] = b[3] = 1;
    b[5] = 0x04; /* data track */
    b[6] = 0x01; /* mode 1 */
    store_be32(b + 24, (uint32_t)d->medium_units);
    reply(d, 36, load_be16(d->packet + 7));
}

static void cmd_read_dvd_structure(struct ide_drive *d)
{
    uint32_t room = load_be16(d->packet + 8);
    uint8_t format = d->packet[7];
    if (!is_dvd(d)) {
        fail_asc(d, SENSE_ILLEGAL, 0x30, 2); /* incompatible format */
        return;
    }
    uint8_t *b = cleared(d, FRAME + 4);
    switch (format) {
    case 0x00: /* physical: DVD-ROM, 120 mm, one layer */
        store_be16(b, FRAME + 2);
        b[4] = 0x01;
        b[5] = 0x0F;
        b[6] = 0x01;
        store_be32(b + 8, 0x30000);
        store_be32(b + 12, 0x30000 + (uint32_t)d->medium_units - 1);
        reply(d, FRAME + 4, room);
        break;
    case 0x01: /* copyright: none */
        store_be16(b, 6);
        reply(d, 8, room);
        break;
    case 0x04: /* manufacturer */
        store_be16(b, FRAME + 2);
        reply(d, FRAME + 4, room);
        break;
    default:
        fail(d, SENSE_ILLEGAL, ASC_INVALID_FIELD);
        break;
    }
}

/* ---- dispatch ------------------ */

enum {
    ANY_TIME = 1, /* runs although a unit attention is pending */
    NEEDS_DISC = 2
};
static const struct {
    uint8_t op, flags;
    void (*run)(struct ide_drive *d);
} packet_commands[] = {
    {0x00, NEEDS_DISC, cmd_test_ready},
    {0x03, ANY_TIME, cmd_request_sense},
    {0x12, ANY_TIME, cmd_inquiry},
    {0x1A, 0, cmd_mode_sense6},
    {0x1B, 0, cmd_start_stop},
    {0x1E, 0, cmd_prevent_removal},
    {0x25, NEEDS_DISC, cmd_read_capacity},
    {0x28, NEEDS_DISC, cmd_read10},
    {0x2B, NEEDS_DISC, cmd_seek},
    {0x2F, NEEDS_DISC, cmd_nothing}, /* VERIFY(10) */
    {0x35, 0, cmd_nothing},          /* SYNCHRONIZE CACHE */
    {0x43, NEEDS_DISC, cmd_read_toc},
    {0x46, ANY_TIME, cmd_get_configuration},
    {0x4A, ANY_TIME, cmd_get_event},
    {0x51, NEEDS_DISC, cmd_read_disc_info},
    {0x52, NEEDS_DISC, cmd_read_track_info},
    {0x5A, 0, cmd_mode_sense10},
    {0xA8, NEEDS_DISC, cmd_read12},
    {0xAD, NEEDS_DISC, cmd_read_dvd_structure},
    {0xB9, NEEDS_DISC, cmd_read_cd_msf},
    {0xBB, 0, cmd_nothing}, /* SET CD SPEED */
    {0xBD, 0, cmd_mechanism_status},
    {0xBE, NEEDS_DISC, cmd_read_cd},
};

/* What a change of medium still has to say: first that it is gone, then that
 * another one came. True when it took the command's place. */
static bool attention_first(struct ide_drive *d, uint8_t flags)
{
    if (d->attention == ATTENTION_REMOVED && (flags & NEEDS_DISC)) {
        d->attention = ATTENTION_CHANGED;
        fail(d, SENSE_NOT_READY, ASC_NO_MEDIUM);
        return true;
    }
    if (d->attention == ATTENTION_CHANGED && !(flags & ANY_TIME)) {
        d->attention = ATTENTION_NONE;
        fail(d, SENSE_ATTENTION, ASC_CHANGED);
        return true;
    }
    return false;
}

static void run_packet(struct ide_drive *d)
{
    for (size_t i = 0; i < sizeof packet_commands / sizeof packet_commands[0];
         i++) {
        if (packet_commands[i].op != d->packet[0])
            continue;
        uint8_t flags = packet_commands[i].flags;
        if (attention_first(d, flags))
            return;
        if ((flags & NEEDS_DISC) && !has_disc(d)) {
            fail(d, SENSE_NOT_READY, ASC_NO_MEDIUM);
            return;
        }
        packet_commands[i].run(d);
        return;
    }
    fail(d, SENSE_ILLEGAL, ASC_INVALID_OPCODE);
}

void atapi_packet(struct ide_drive *d)
{
    memcpy(d->packet, d->buffer, IDE_PACKET);
    d->buf_at = d->buf_end = 0;
    d->unit_bytes = 0;
    d->chunk_left = 0;
    run_packet(d);
}

static void identify_packet(struct ide_drive *d)
{
    uint8_t *b = cleared(d, 512);
    unsigned mode = d->udma;
    unsigned selected = 1u << (8 + (mode & 7));
    store_le16(b, 0x85C0); /* CD-ROM, removable, DRQ in 50 us, 12 bytes */
    identify_text(b + 2 * 10, "RLCD0", 20);
    store_le16(b + 2 * 20, 3);
    store_le16(b + 2 * 21, 512);
    store_le16(b + 2 * 22, 4);
    identify_text(b + 2 * 23, "1.0", 8);
    identify_text(b + 2 * 27, "RELIVE CD-ROM", 40);
    store_le16(b + 2 * 48, 1);
    store_le16(b + 2 * 49, 0x0F00);
    store_le16(b + 2 * 51, 0x0200);
    store_le16(b + 2 * 53, 0x0007);
    store_le16(b + 2 * 63,
               (uint16_t)(7 | ((mode & 0xF8) == 0x20 ? selected : 0)));
    store_le16(b + 2 * 64, 3);
    for (unsigned i = 65; i <= 68; i++)
        store_le16(b + 2 * i, 120);
    store_le16(b + 2 * 71, 30);
    store_le16(b + 2 * 72, 30);
    store_le16(b + 2 * 80, 0x0070);
    store_le16(b + 2 * 82, 0x4210); /* PACKET, DEVICE RESET, NOP */
    store_le16(b + 2 * 83, 0x4000);
    store_le16(b + 2 * 84, 0x4000);
    store_le16(b + 2 * 85, 0x4210);
    store_le16(b + 2 * 87, 0x4000);
    store_le16(b + 2 * 88,
               (uint16_t)(0x3F | ((mode & 0xF8) == 0x40 ? selected : 0)));
    d->chunk_left = 0;
    d->buf_at = 0;
    d->buf_end = 512;
    drive_wait(d, PHASE_READ_WAIT, COMMAND_NS);
}

void atapi_command(struct ide_drive *d, uint8_t command)
{
    d->chunk_left = 0;
    switch (command) {
    case 0xA0: /* PACKET */
        d->dma_packet = d->tf.features[0] & 1;
        d->tf.count[0] = ATAPI_CD;
        drive_present(d, PHASE_PACKET, IDE_PACKET, false);
        break;
    case 0xA1:
        identify_packet(d);
        break;
    case 0x08: /* DEVICE RESET: at once, no interrupt */
        drive_reset_state(d);
        break;
    case 0xEC: /* IDENTIFY DEVICE and READ SECTOR answer with the signature */
    case 0x20:
        drive_signature(d);
        drive_done(d, ATA_ABRT);
        break;
    default:
        if (!ata_common_command(d, command))
            drive_done(d, ATA_ABRT);
        break;
    }
}

void atapi_medium(struct ide_drive *d, struct block *medium, bool announce)
{
    d->block = medium;
    d->medium_units = medium ? block_sectors(medium) / SECTORS_PER_FRAME : 0;
    if (d->medium_units == 0)
        d->block = NULL;
    d->tray_open = false;
    if (!announce)
        return;
    d->attention = d->block ? ATTENTION_REMOVED : ATTENTION_NONE;
    d->media_event = d->block ? EVENT_NEW : EVENT_REMOVED;
}
