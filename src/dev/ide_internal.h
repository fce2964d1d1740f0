/* What ide.c (registers, DMA), ata.c (disk commands) and atapi.c (packet
 * commands) share. Nobody else includes it. */
#ifndef RELIVE_DEV_IDE_INTERNAL_H
#define RELIVE_DEV_IDE_INTERNAL_H

#include "dev/ide.h"

enum {
    ATA_ERR = 0x01, /* status */
    ATA_DRQ = 0x08,
    ATA_DSC = 0x10,
    ATA_DF = 0x20,
    ATA_DRDY = 0x40,
    ATA_BSY = 0x80,

    ATA_ABRT = 0x04, /* error */
    ATA_IDNF = 0x10,

    ATAPI_CD = 0x01, /* interrupt reason, in the count register */
    ATAPI_IO = 0x02,

    DEVICE_LBA = 0x40,
    DEVICE_SLAVE = 0x10,

    IDE_BUFFER = 65536, /* a multiple of 2048, 512 and not of 2352 */
    IDE_PACKET = 12
};

enum drive_kind { DRIVE_NONE, DRIVE_DISK, DRIVE_CDROM };

/* What the drive's timer or the host's next data word continues. */
enum drive_phase {
    PHASE_IDLE,
    PHASE_RESET,       /* SRST or diagnostic: signature at the deadline */
    PHASE_FINISH,      /* command without data: done at the deadline */
    PHASE_READ_WAIT,   /* PIO in: next block at the deadline */
    PHASE_READ_DATA,   /* the host reads the block */
    PHASE_WRITE_DATA,  /* the host writes the block */
    PHASE_WRITE_WAIT,  /* PIO out: the block reaches the disk */
    PHASE_DMA_WAIT,    /* DMA: waits for the bus master or the deadline */
    PHASE_DMA_STUCK,   /* the PRD table ended early: until reset */
    PHASE_PACKET,      /* the host writes the command packet */
    PHASE_PACKET_WAIT, /* the packet command's first data or end */
    PHASES
};

/* The task file. Registers of 48-bit commands are two deep: [0] is what was
 * written last, [1] what was there before. */
struct task_file {
    uint8_t features[2], count[2], low[2], mid[2], high[2];
    uint8_t device;
};

struct ide_drive {
    enum drive_kind kind;  /* fixed */
    struct ide *ide;       /* fixed */
    unsigned channel;      /* fixed */
    bool slave;            /* fixed */
    unsigned timer;        /* fixed handle */
    struct block *block;   /* borrowed: disk, or medium, or NULL */
    uint64_t medium_units; /* derived: sectors of 512 or 2048 bytes */

    /* saved from here on */
    struct task_file tf;
    uint8_t status, error, command;
    uint8_t phase; /* enum drive_phase */
    bool intrq;    /* the drive's interrupt, before select and nIEN */

    uint64_t lba;       /* next unit to transfer */
    uint32_t remaining; /* units still to transfer, buffer not counted */
    uint32_t buf_at, buf_end;
    uint8_t multiple;    /* sectors per DRQ block of READ/WRITE MULTIPLE */
    uint8_t block_units; /* sectors of a DRQ block of this command */
    uint8_t udma;        /* SET FEATURES transfer mode, as in the command */
    uint16_t heads, spt; /* CHS translation now */
    bool write_cache, look_ahead, smart, asleep, is_write;

    /* CD-ROM */
    uint8_t packet[IDE_PACKET];
    uint8_t sense_key, asc, ascq;
    uint8_t attention;   /* enum: what the next command is told */
    uint8_t media_event; /* for GET EVENT STATUS NOTIFICATION */
    bool locked, tray_open, dma_packet;
    uint32_t left;       /* bytes the host still gets for this packet */
    uint32_t chunk_left; /* of the present DRQ block */
    uint32_t unit_bytes; /* 0: reply in the buffer; 2048 or 2352: medium */
    uint8_t raw_flags;   /* READ CD byte 9 */

    uint8_t buffer[IDE_BUFFER]; /* saved: [0, buf_end) */
};

enum attention { ATTENTION_NONE, ATTENTION_REMOVED, ATTENTION_CHANGED };

struct ide_channel {
    unsigned irq_source;
    uint8_t select;  /* saved: bit 4 of the device register, 0 or 1 */
    uint8_t control; /* saved: device control (SRST, nIEN, HOB) */
    uint8_t bm_command, bm_status; /* saved */
    uint32_t bm_table;             /* saved: PRD table pointer */
    struct ide_drive drive[2];
};

struct ide {
    struct pci_function pci; /* saved by pci_function_save() */
    struct dev_bus *bus;     /* borrowed */
    struct ide_channel channel[2];
    struct ide_drive *cdrom; /* fixed: into channel[], or NULL */
};

/* ---- ide.c --------------------------------------------------------------- */

/* Set or clear the drive's INTRQ and with it the line. */
void drive_set_intrq(struct ide_drive *d, bool level);
/* Continue in `phase` after `ns` of guest time, BSY until then. */
void drive_wait(struct ide_drive *d, enum drive_phase phase, uint64_t ns);
/* End the command: status ready (plus ERR with `error`), interrupt. */
void drive_done(struct ide_drive *d, uint8_t error);
/* Present [0, bytes) of the buffer for PIO: DRQ, optionally an interrupt. */
void drive_present(struct ide_drive *d, enum drive_phase phase, uint32_t bytes,
                   bool interrupt);
/* DMA between the buffer and the PRD regions, continuing over calls of one
 * transfer. False: the PRD table ended before `bytes` were moved. */
struct prd_cursor {
    uint32_t next; /* address of the next PRD entry */
    uint32_t address, left;
    bool last;
};
void prd_start(const struct ide_drive *d, struct prd_cursor *c);
bool prd_move(struct ide_drive *d, struct prd_cursor *c, uint8_t *buffer,
              uint32_t bytes, bool to_memory);
/* After the last byte: bus master status and (drive_done) interrupt. */
void dma_done(struct ide_drive *d, const struct prd_cursor *c, uint8_t error);
void dma_stuck(struct ide_drive *d);
bool dma_started(const struct ide_drive *d);
/* Wait for the bus master to be started, then transfer. */
void drive_wait_dma(struct ide_drive *d);
/* Registers after reset: ATA 8 "signature". */
void drive_signature(struct ide_drive *d);
void drive_reset_state(struct ide_drive *d);
/* Words of an IDENTIFY text, padded with blanks, bytes swapped. */
void identify_text(uint8_t *words, const char *text, unsigned bytes);

/* ---- ata.c -----------------------------------------------------------------
 */

void ata_command(struct ide_drive *d, uint8_t command);
/* The deadline passed, or the data block is full or drained. */
void ata_continue(struct ide_drive *d);
void ata_block_end(struct ide_drive *d);
void ata_dma(struct ide_drive *d);
uint64_t ata_dma_ns(const struct ide_drive *d);
/* Commands both kinds of drive have; false: not one of them. */
bool ata_common_command(struct ide_drive *d, uint8_t command);

/* ---- atapi.c ---------------------------------------------------------------
 */

void atapi_command(struct ide_drive *d, uint8_t command);
void atapi_packet(struct ide_drive *d); /* 12 bytes are in the buffer */
void atapi_continue(struct ide_drive *d);
void atapi_block_end(struct ide_drive *d);
void atapi_dma(struct ide_drive *d);
uint64_t atapi_dma_ns(const struct ide_drive *d);
/* Refill the buffer from the medium when it ran dry inside a DRQ block. */
void atapi_refill(struct ide_drive *d);
void atapi_medium(struct ide_drive *d, struct block *medium, bool announce);

#endif
