/* A bus with PCI, the IDE controller, a disk as primary master and a CD-ROM
 * drive as secondary master, and the protocol steps a driver takes. */
#ifndef RELIVE_TESTS_LIB_IDETEST_H
#define RELIVE_TESTS_LIB_IDETEST_H

#include "dev/ide.h"
#include "tests/lib_devtest.h"

enum {
    IDETEST_SECTORS = 40000, /* of the disk */
    IDETEST_FRAMES = 600,    /* of the CD */
    IDETEST_BM = 0xC000,     /* bus master ports */
    IDE0 = 0x1F0,
    IDE1 = 0x170
};

struct idetest {
    struct devtest t;
    struct pci_bus *pci;
    struct ide *ide;
    struct block *disk, *cd;
};

int idetest_set_up(void **state);
int idetest_tear_down(void **state);

/* A medium of `sectors` whose byte at offset o is o / 512 + o % 512 mod 256. */
struct block *idetest_medium(uint64_t sectors, bool read_only);
uint8_t idetest_byte(uint64_t sector, unsigned offset);

uint32_t idetest_in(struct idetest *i, unsigned port, unsigned bytes);
void idetest_out(struct idetest *i, unsigned port, uint32_t value,
                 unsigned bytes);
/* Let time pass until BSY is clear (10 s at most); the alternate status. */
uint8_t idetest_wait(struct idetest *i, unsigned base);
void idetest_read_words(struct idetest *i, unsigned base, void *to,
                        unsigned bytes);
void idetest_write_words(struct idetest *i, unsigned base, const void *from,
                         unsigned bytes);
/* Send a 12-byte packet (dma: features bit 0) with this byte count limit. */
void idetest_packet(struct idetest *i, const uint8_t *packet, unsigned limit,
                    bool dma);
/* Packet in PIO: returns the bytes read into `to`, -1 after an error. */
int idetest_packet_in(struct idetest *i, const uint8_t *packet, unsigned limit,
                      void *to, unsigned room);
/* One PRD for the channel, and start the bus master. */
void idetest_dma_start(struct idetest *i, unsigned channel, uint32_t address,
                       uint32_t bytes, bool to_memory);

#endif
