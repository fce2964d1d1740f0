#include "dev/fwcfg_internal.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

enum {
    VERSION_TRADITIONAL = 1,
    VERSION_DMA = 2,
    SELECT_WRITE = 0x4000, /* flag in the selector, without meaning here */
    DMA_ERROR = 1,
    DMA_READ = 2,
    DMA_SKIP = 4,
    DMA_SELECT = 8,
    DMA_WRITE = 16,
    DIRECTORY_ENTRY = 64 /* bytes */
};

/* ---- contents ----------------------------------------------------------- */

static struct fwcfg_item *find_key(struct fwcfg *fw, uint16_t key)
{
    for (unsigned i = 0; i < fw->items; i++)
        if (fw->item[i].key == key)
            return &fw->item[i];
    return NULL;
}

static struct fwcfg_item *find_name(struct fwcfg *fw, const char *name)
{
    for (unsigned i = 0; i < fw->items; i++)
        if (fw->item[i].name[0] && strcmp(fw->item[i].name, name) == 0)
            return &fw->item[i];
    return NULL;
}

bool fwcfg_add_item(struct fwcfg *fw, uint16_t key, const void *data,
                    size_t bytes)
{
    struct fwcfg_item *item = find_key(fw, key);
    if (bytes > UINT32_MAX || (!item && fw->items == FWCFG_ITEMS))
        return false;
    uint8_t *copy = malloc(bytes ? bytes : 1);
    if (!copy)
        return false;
    if (bytes)
        memcpy(copy, data, bytes);
    if (!item) {
        item = &fw->item[fw->items++];
        item->key = key;
    }
    free(item->data);
    item->data = copy;
    item->bytes = (uint32_t)bytes;
    return true;
}

bool fwcfg_add_u16(struct fwcfg *fw, uint16_t key, uint16_t value)
{
    uint8_t bytes[2];
    store_le16(bytes, value);
    return fwcfg_add_item(fw, key, bytes, sizeof bytes);
}

bool fwcfg_add_u32(struct fwcfg *fw, uint16_t key, uint32_t value)
{
    uint8_t bytes[4];
    store_le32(bytes, value);
    return fwcfg_add_item(fw, key, bytes, sizeof bytes);
}

bool fwcfg_add_u64(struct fwcfg *fw, uint16_t key, uint64_t value)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    return fwcfg_add_item(fw, key, bytes, sizeof bytes);
}

/* The directory: count, then size, key, 0 and name of each file, big-endian. */
static bool build_directory(struct fwcfg *fw)
{
    uint8_t dir[4 + FWCFG_FILES * DIRECTORY_ENTRY] = {0};
    store_be32(dir, fw->files);
    uint8_t *entry = dir + 4;
    for (unsigned i = 0; i < fw->items; i++) {
        const struct fwcfg_item *item = &fw->item[i];
        if (!item->name[0])
            continue;
        store_be32(entry, item->bytes);
        store_be16(entry + 4, item->key);
        memcpy(entry + 8, item->name, FWCFG_NAME_BYTES);
        entry += DIRECTORY_ENTRY;
    }
    return fwcfg_add_item(fw, FWCFG_FILE_DIR, dir, (size_t)(entry - dir));
}

bool fwcfg_add_file(struct fwcfg *fw, const char *name, const void *data,
                    size_t bytes)
{
    size_t length = strlen(name);
    struct fwcfg_item *old = find_name(fw, name);
    if (length == 0 || length >= FWCFG_NAME_BYTES ||
        (!old && fw->files == FWCFG_FILES))
        return false;
    uint16_t key = old ? old->key : (uint16_t)(FWCFG_FILE_FIRST + fw->files);
    if (!fwcfg_add_item(fw, key, data, bytes))
        return false;
    if (!old) {
        memcpy(find_key(fw, key)->name, name, length + 1);
        fw->files++;
    }
    return build_directory(fw);
}

/* ---- reading ------------------------------------------------------------ */

static void select_item(struct fwcfg *fw, uint16_t key)
{
    fw->selector = key & (uint16_t)~SELECT_WRITE;
    fw->current = find_key(fw, fw->selector);
    fw->offset = 0;
}

/* Copies up to count bytes from the position; zeros behind the end. */
static void read_bytes(struct fwcfg *fw, uint8_t *out, uint32_t count)
{
    uint32_t size = fw->current ? fw->current->bytes : 0;
    uint32_t left = fw->offset < size ? size - fw->offset : 0;
    uint32_t n = count < left ? count : left;
    if (n)
        memcpy(out, fw->current->data + fw->offset, n);
    memset(out + n, 0, count - n);
    fw->offset += n;
}

static uint32_t data_read(void *chip, uint16_t offset, unsigned bytes)
{
    uint8_t out[4] = {0};
    (void)offset;
    read_bytes(chip, out, bytes);
    return load_le32(out);
}

/* A word selects; bytes written to the data register are ignored. */
static void selector_write(void *chip, uint16_t offset, uint32_t value,
                           unsigned bytes)
{
    if (offset == 0 && bytes == 2)
        select_item(chip, (uint16_t)value);
}

/* ---- DMA ---------------------------------------------------------------- */

static void dma_read_item(struct fwcfg *fw, uint64_t address, uint32_t length)
{
    uint8_t chunk[PAGE_BYTES];
    while (length) {
        uint32_t n = length < sizeof chunk ? length : (uint32_t)sizeof chunk;
        read_bytes(fw, chunk, n);
        bus_dma_write(fw->bus, address, chunk, n);
        address += n;
        length -= n;
    }
}

static void dma_skip(struct fwcfg *fw, uint32_t length)
{
    uint32_t size = fw->current ? fw->current->bytes : 0;
    uint32_t left = fw->offset < size ? size - fw->offset : 0;
    fw->offset += length < left ? length : left;
}

/* The guest gave the address of {control, length, address}, big-endian; the
 * control word tells it when the work is done: at once. */
static void dma_start(struct fwcfg *fw, uint64_t at)
{
    uint8_t access[16];
    bus_dma_read(fw->bus, at, access, sizeof access);
    uint32_t control = load_be32(access);
    uint32_t length = load_be32(access + 4);
    uint32_t result = 0;
    if (control & DMA_SELECT)
        select_item(fw, (uint16_t)(control >> 16));
    if (control & DMA_READ)
        dma_read_item(fw, load_be64(access + 8), length);
    else if (control & DMA_WRITE)
        result = DMA_ERROR; /* no item is writable */
    else if (control & DMA_SKIP)
        dma_skip(fw, length);
    store_be32(access, result);
    bus_dma_write(fw->bus, at, access, 4);
}

static uint32_t dma_port_read(void *chip, uint16_t offset, unsigned bytes)
{
    static const uint8_t signature[12] = "QEMU CFG";
    (void)chip;
    (void)bytes;
    return load_le32(signature + (offset & 7));
}

/* Big-endian address, high half first; the low half starts. */
static void dma_port_write(void *chip, uint16_t offset, uint32_t value,
                           unsigned bytes)
{
    struct fwcfg *fw = chip;
    if (bytes != 4)
        return;
    if (offset == 0) {
        fw->dma_high = __builtin_bswap32(value);
    } else if (offset == 4) {
        uint64_t at = (uint64_t)fw->dma_high << 32 | __builtin_bswap32(value);
        fw->dma_high = 0;
        dma_start(fw, at);
    }
}

static const struct io_ops data_io = {data_read, selector_write, 2};
static const struct io_ops dma_io = {dma_port_read, dma_port_write, 4};

/* ---- life --------------------------------------------------------------- */

static void fwcfg_reset(void *chip)
{
    struct fwcfg *fw = chip;
    select_item(fw, FWCFG_SIGNATURE);
    fw->dma_high = 0;
}

static bool add_standard_items(struct fwcfg *fw, uint64_t ram_bytes,
                               unsigned cpus)
{
    static const uint8_t no_numa[16] = {0}; /* nodes; apic map of one CPU */
    return fwcfg_add_item(fw, FWCFG_SIGNATURE, "QEMU", 4) &&
           fwcfg_add_u32(fw, FWCFG_ID, VERSION_TRADITIONAL | VERSION_DMA) &&
           fwcfg_add_u64(fw, FWCFG_RAM_SIZE, ram_bytes) &&
           fwcfg_add_u16(fw, FWCFG_NOGRAPHIC, 0) &&
           fwcfg_add_u16(fw, FWCFG_NB_CPUS, (uint16_t)cpus) &&
           fwcfg_add_u16(fw, FWCFG_MAX_CPUS, (uint16_t)cpus) &&
           fwcfg_add_item(fw, FWCFG_NUMA, no_numa, sizeof no_numa) &&
           build_directory(fw);
}

struct fwcfg *fwcfg_new(struct dev_bus *bus, uint64_t ram_bytes, unsigned cpus)
{
    struct fwcfg *fw = calloc(1, sizeof *fw);
    if (!fw)
        return NULL;
    fw->bus = bus;
    if (!add_standard_items(fw, ram_bytes, cpus)) {
        fwcfg_free(fw);
        return NULL;
    }
    bus_io_map(bus, 0x510, 2, &data_io, fw);
    bus_io_map(bus, 0x514, 8, &dma_io, fw);
    fwcfg_reset(fw);
    return fw;
}

void fwcfg_free(struct fwcfg *fw)
{
    if (!fw)
        return;
    for (unsigned i = 0; i < fw->items; i++)
        free(fw->item[i].data);
    free(fw);
}

const struct field fwcfg_fields[FWCFG_FIELDS] = {
    FIELD_U32(struct fwcfg, offset),
    FIELD_U32(struct fwcfg, dma_high),
    FIELD_U16(struct fwcfg, selector),
};

static void fwcfg_save(const void *chip, struct writer *w)
{
    fields_save(fwcfg_fields, FWCFG_FIELDS, chip, w);
}

static bool fwcfg_load(void *chip, struct reader *r, struct error *err)
{
    struct fwcfg *fw = chip;
    if (!fields_load(fwcfg_fields, FWCFG_FIELDS, fw, r, err))
        return false;
    fw->current = find_key(fw, fw->selector);
    return true;
}

const struct chip_ops fwcfg_ops = {
    .name = "fwcfg",
    .tag = "FWCF",
    .reset = fwcfg_reset,
    .save = fwcfg_save,
    .load = fwcfg_load,
};
