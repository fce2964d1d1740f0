/* QEMU's firmware configuration device, the interface SeaBIOS and test kernels
 * read: selector 510h, data 511h, DMA address 514h (QEMU documentation,
 * docs/specs/fw_cfg). Contents are configuration: only the selector, the
 * position and the half-written DMA address are state. */
#ifndef RELIVE_DEV_FWCFG_H
#define RELIVE_DEV_FWCFG_H

#include "dev/bus.h"

struct fwcfg;

enum fwcfg_key {
    FWCFG_SIGNATURE = 0x00,
    FWCFG_ID = 0x01,
    FWCFG_UUID = 0x02,
    FWCFG_RAM_SIZE = 0x03,
    FWCFG_NOGRAPHIC = 0x04,
    FWCFG_NB_CPUS = 0x05,
    FWCFG_BOOT_DEVICE = 0x0c,
    FWCFG_NUMA = 0x0d,
    FWCFG_BOOT_MENU = 0x0e,
    FWCFG_MAX_CPUS = 0x0f,
    FWCFG_FILE_DIR = 0x19,
    FWCFG_FILE_FIRST = 0x20,
    FWCFG_FILES = 64, /* how many files fit */
    FWCFG_IRQ0_OVERRIDE = 0x8002
};

/* Signature, ID, RAM_SIZE, NB_CPUS, MAX_CPUS, NOGRAPHIC and an empty NUMA item
 * are there from the start. ram_bytes as the RAM_SIZE item. */
struct fwcfg *fwcfg_new(struct dev_bus *bus, uint64_t ram_bytes, unsigned cpus);
void fwcfg_free(struct fwcfg *fw);
extern const struct chip_ops fwcfg_ops;

/* Copies data; replaces an item of the same key or name. While the machine is
 * built only. False: out of memory or room. */
bool fwcfg_add_item(struct fwcfg *fw, uint16_t key, const void *data,
                    size_t bytes);
bool fwcfg_add_u16(struct fwcfg *fw, uint16_t key, uint16_t value);
bool fwcfg_add_u32(struct fwcfg *fw, uint16_t key, uint32_t value);
bool fwcfg_add_u64(struct fwcfg *fw, uint16_t key, uint64_t value);
/* name: at most 55 characters. Files are listed in the order added. */
bool fwcfg_add_file(struct fwcfg *fw, const char *name, const void *data,
                    size_t bytes);

#endif
