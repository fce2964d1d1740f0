/* --kernel: Linux bzImages (Documentation/arch/x86/boot.rst of the kernel) and
 * Multiboot images (Multiboot Specification 0.6.96), loaded after the firmware
 * has run by an option ROM (board/bootrom.S) that fetches its parts from
 * fw_cfg. */
#include "board/machine_internal.h"

#include "base/bytes.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

extern const uint8_t bootrom_image[], bootrom_image_end[];
extern const uint8_t bootrom_parameters[], bootrom_pnp_header[];

/* fw_cfg keys of QEMU's kernel loading, reused for the same contents. */
enum part_key {
    KEY_KERNEL = 0x11,
    KEY_INITRD = 0x12,
    KEY_CMDLINE = 0x15,
    KEY_SETUP = 0x18
};

enum {
    SETUP_AT = 0x10000,
    CMDLINE_AT = 0x20000,
    HIGH_AT = 0x100000,
    INFO_AT = 0x9000,
    PARTS_MAX = 7,
    ROM_BYTES_MAX = 4096,
    FIRMWARE_TOP = 1 << 20 /* of low RAM, left to the BIOS and its tables */
};

/* The parameter block of the ROM, being filled. */
struct loader {
    struct fwcfg *fw;
    uint32_t kind, entry;
    struct {
        uint32_t key, bytes, at;
    } part[PARTS_MAX];
    unsigned parts;
    uint64_t low_bytes; /* RAM below 4 GiB */
};

static bool add_part(struct loader *l, enum part_key key, const void *data,
                     size_t bytes, uint32_t at, struct error *err)
{
    if (!fwcfg_add_item(l->fw, (uint16_t)key, data, bytes))
        return error_set(err, ERR_NOMEM, "no memory for %zu bytes of kernel",
                         bytes);
    l->part[l->parts].key = key;
    l->part[l->parts].bytes = (uint32_t)bytes;
    l->part[l->parts].at = at;
    l->parts++;
    return true;
}

static uint8_t checksum(const uint8_t *bytes, size_t count)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return (uint8_t)(0 - sum);
}

static bool add_rom(const struct loader *l, struct error *err)
{
    static const char name[] = "genroms/relive-boot.bin";
    static const char order[] = "/rom@genroms/relive-boot.bin\n";
    uint8_t rom[ROM_BYTES_MAX];
    size_t bytes = (size_t)(bootrom_image_end - bootrom_image);
    if (bytes > sizeof rom)
        return error_set(err, ERR_NOMEM, "the loader ROM is %zu bytes", bytes);
    memcpy(rom, bootrom_image, bytes);
    uint8_t *p = rom + (bootrom_parameters - bootrom_image);
    store_le32(p, l->kind);
    store_le32(p + 4, l->entry);
    for (unsigned n = 0; n < l->parts; n++) {
        store_le32(p + 8 + 12 * n, l->part[n].key);
        store_le32(p + 12 + 12 * n, l->part[n].bytes);
        store_le32(p + 16 + 12 * n, l->part[n].at);
    }
    uint8_t *pnp = rom + (bootrom_pnp_header - bootrom_image);
    pnp[9] = checksum(pnp, 32);
    rom[bytes - 1] = checksum(rom, bytes);
    if (!fwcfg_add_file(l->fw, name, rom, bytes) ||
        !fwcfg_add_file(l->fw, "bootorder", order, sizeof order))
        return error_set(err, ERR_NOMEM, "no memory for the loader ROM");
    return true;
}

/* Where a blob of `bytes` ends below both `top` and the firmware's RAM. */
static bool place_high(const struct loader *l, size_t bytes, uint64_t top,
                       uint64_t floor, const char *path, uint32_t *at,
                       struct error *err)
{
    uint64_t end = l->low_bytes - FIRMWARE_TOP;
    if (top < end)
        end = top;
    if (end < floor || end - floor < bytes)
        return error_set(err, ERR_USAGE,
                         "%s: expected room for %zu bytes between %llu and "
                         "%llu MiB of guest memory, found less; use --mem",
                         path, bytes, (unsigned long long)(floor >> 20),
                         (unsigned long long)(end >> 20));
    *at = (uint32_t)((end - bytes) & ~(uint64_t)(PAGE_BYTES - 1));
    return true;
}

/* ---- Linux ------------------------------------------------------------------- */

/* Offsets in the boot sector and setup header. */
enum {
    HDR_SETUP_SECTS = 0x1f1,
    HDR_VID_MODE = 0x1fa,
    HDR_MAGIC = 0x202,
    HDR_VERSION = 0x206,
    HDR_LOADER = 0x210,
    HDR_LOADFLAGS = 0x211,
    HDR_RAMDISK = 0x218,
    HDR_RAMDISK_SIZE = 0x21c,
    HDR_HEAP_END = 0x224,
    HDR_CMDLINE = 0x228,
    HDR_INITRD_MAX = 0x22c,
    HDR_CMDLINE_SIZE = 0x238,
    HDR_INIT_SIZE = 0x260,
    HDR_BYTES = 0x268
};

static bool is_linux(const struct blob *k)
{
    const uint8_t *d = k->data;
    return k->bytes >= 1024 && memcmp(d + HDR_MAGIC, "HdrS", 4) == 0;
}

/* "vga=" of the command line, as boot loaders read it. */
static uint16_t video_mode(const char *append)
{
    const char *at = strstr(append, "vga=");
    if (!at || (at != append && at[-1] != ' '))
        return 0xffff;
    at += 4;
    if (strncmp(at, "normal", 6) == 0)
        return 0xffff;
    if (strncmp(at, "ext", 3) == 0)
        return 0xfffe;
    if (strncmp(at, "ask", 3) == 0)
        return 0xfffd;
    return (uint16_t)strtoul(at, NULL, 0);
}

static void fill_setup(uint8_t *s, const char *append)
{
    s[HDR_LOADER] = 0xff; /* a loader without a number of its own */
    store_le16(s + HDR_VID_MODE, video_mode(append));
    store_le32(s + HDR_CMDLINE, CMDLINE_AT);
    s[HDR_LOADFLAGS] |= 0x80; /* the heap end is valid */
    store_le16(s + HDR_HEAP_END, 0xfe00 - 0x200);
}

static bool add_initrd(struct loader *l, const struct machine_config *c,
                       const struct blob *initrd, uint8_t *setup,
                       uint16_t version, size_t kernel_bytes,
                       struct error *err)
{
    uint32_t at = 0;
    uint64_t top = version >= 0x203
                       ? (uint64_t)load_le32(setup + HDR_INITRD_MAX) + 1
                       : 0x38000000;
    uint64_t need = kernel_bytes;
    if (version >= 0x20a && load_le32(setup + HDR_INIT_SIZE) > need)
        need = load_le32(setup + HDR_INIT_SIZE);
    /* The kernel may move itself up to 16 MiB before it unpacks. */
    if (!place_high(l, initrd->bytes, top, HIGH_AT + need, c->initrd, &at, err))
        return false;
    store_le32(setup + HDR_RAMDISK, at);
    store_le32(setup + HDR_RAMDISK_SIZE, (uint32_t)initrd->bytes);
    return add_part(l, KEY_INITRD, initrd->data, initrd->bytes, at, err);
}

static bool check_linux(const struct machine_config *c, const struct blob *k,
                        size_t setup_bytes, struct error *err)
{
    const uint8_t *d = k->data;
    uint16_t version = load_le16(d + HDR_VERSION);
    if (version < 0x202 || !(d[HDR_LOADFLAGS] & 1))
        return error_set(err, ERR_INPUT,
                         "%s: expected a bzImage of boot protocol 2.02 or "
                         "later, found protocol %u.%02u%s",
                         c->kernel, version >> 8, version & 0xff,
                         d[HDR_LOADFLAGS] & 1 ? "" : ", a zImage");
    if (setup_bytes < HDR_BYTES || setup_bytes > 0x8000 ||
        k->bytes <= setup_bytes)
        return error_set(err, ERR_INPUT,
                         "%s: expected %zu bytes of set-up code and a kernel "
                         "behind it, found a file of %zu bytes",
                         c->kernel, setup_bytes, k->bytes);
    uint32_t most = version >= 0x206 ? load_le32(d + HDR_CMDLINE_SIZE) : 255;
    if (strlen(c->append) > most)
        return error_set(err, ERR_USAGE,
                         "--append: this kernel takes a command line of %u "
                         "bytes, found %zu",
                         most, strlen(c->append));
    return true;
}

static bool add_linux(struct loader *l, const struct machine_config *c,
                      const struct blob *kernel, const struct blob *initrd,
                      struct error *err)
{
    const uint8_t *d = kernel->data;
    unsigned sectors = d[HDR_SETUP_SECTS] ? d[HDR_SETUP_SECTS] : 4;
    size_t setup_bytes = (sectors + 1) * 512u;
    if (!check_linux(c, kernel, setup_bytes, err))
        return false;
    uint16_t version = load_le16(d + HDR_VERSION);
    uint8_t setup[0x8000];
    memcpy(setup, d, setup_bytes);
    fill_setup(setup, c->append);
    if (initrd->bytes &&
        !add_initrd(l, c, initrd, setup, version, kernel->bytes - setup_bytes,
                    err))
        return false;
    l->kind = 0;
    return add_part(l, KEY_SETUP, setup, setup_bytes, SETUP_AT, err) &&
           add_part(l, KEY_CMDLINE, c->append, strlen(c->append) + 1,
                    CMDLINE_AT, err) &&
           add_part(l, KEY_KERNEL, d + setup_bytes, kernel->bytes - setup_bytes,
                    HIGH_AT, err);
}

/* ---- Multiboot ------------------------------------------------------------------ */

enum {
    MB_MAGIC = 0x1badb002,
    MB_SEARCH = 8192,
    MB_HAS_ADDRESSES = 1 << 16,
    MB_IMAGE_MAX = 256 << 20
};

/* The header's offset in the file, or -1. */
static long find_multiboot(const struct blob *k)
{
    const uint8_t *d = k->data;
    size_t end = k->bytes < MB_SEARCH ? k->bytes : MB_SEARCH;
    for (size_t at = 0; at + 12 <= end; at += 4)
        if (load_le32(d + at) == MB_MAGIC &&
            load_le32(d + at) + load_le32(d + at + 4) + load_le32(d + at + 8) ==
                0)
            return (long)at;
    return -1;
}

/* A flat picture of what lies in memory from `at` on. */
struct image {
    uint8_t *data; /* owned */
    uint64_t at, bytes;
    uint32_t entry;
};

static bool image_new(struct image *im, uint64_t at, uint64_t end,
                      const char *path, struct error *err)
{
    if (at < HIGH_AT || end <= at || end - at > MB_IMAGE_MAX)
        return error_set(err, ERR_INPUT,
                         "%s: expected an image between 1 MiB and 4 GiB of at "
                         "most 256 MiB, found %#llx to %#llx",
                         path, (unsigned long long)at,
                         (unsigned long long)end);
    im->at = at;
    im->bytes = end - at;
    im->data = calloc(1, im->bytes);
    if (!im->data)
        return error_set(err, ERR_NOMEM, "%s: no memory for its image", path);
    return true;
}

/* The address fields of the header say what to load where. */
static bool load_by_addresses(struct image *im, const struct blob *k, long at,
                              const char *path, struct error *err)
{
    const uint8_t *d = k->data, *h = d + at;
    if ((size_t)at + 32 > k->bytes)
        return error_set(err, ERR_INPUT, "%s: its Multiboot header is cut off",
                         path);
    uint32_t header = load_le32(h + 12), load = load_le32(h + 16);
    uint32_t end = load_le32(h + 20), bss = load_le32(h + 24);
    uint64_t skip = (uint64_t)header - load;
    if (header < load || skip > (uint64_t)at)
        return error_set(err, ERR_INPUT,
                         "%s: expected header address %#x at or above load "
                         "address %#x by at most %ld bytes",
                         path, header, load, at);
    uint64_t from = (uint64_t)at - skip;
    uint64_t bytes = end ? (uint64_t)end - load : k->bytes - from;
    if ((end && end < load) || bytes > k->bytes - from)
        return error_set(err, ERR_INPUT,
                         "%s: expected %llu bytes to load from byte %llu, "
                         "found a file of %zu",
                         path, (unsigned long long)bytes,
                         (unsigned long long)from, k->bytes);
    uint64_t stop = bss > load + bytes ? bss : load + bytes;
    if (!image_new(im, load, stop, path, err))
        return false;
    memcpy(im->data, d + from, bytes);
    im->entry = load_le32(h + 28);
    return true;
}

/* Program header n, checked against the file. */
static bool elf_segment(const struct blob *k, const Elf32_Ehdr *eh, unsigned n,
                        Elf32_Phdr *ph)
{
    uint64_t at = (uint64_t)eh->e_phoff + (uint64_t)n * eh->e_phentsize;
    if (eh->e_phentsize < sizeof *ph || at + sizeof *ph > k->bytes)
        return false;
    memcpy(ph, (const uint8_t *)k->data + at, sizeof *ph);
    return ph->p_type != PT_LOAD ||
           ((uint64_t)ph->p_offset + ph->p_filesz <= k->bytes &&
            ph->p_filesz <= ph->p_memsz);
}

static bool load_elf(struct image *im, const struct blob *k, const char *path,
                     struct error *err)
{
    Elf32_Ehdr eh;
    Elf32_Phdr ph;
    uint64_t low = UINT64_MAX, high = 0;
    if (k->bytes < sizeof eh || memcmp(k->data, ELFMAG, SELFMAG) != 0 ||
        ((const uint8_t *)k->data)[EI_CLASS] != ELFCLASS32)
        return error_set(err, ERR_INPUT,
                         "%s: expected a Multiboot image that is ELF32 or has "
                         "the address fields, found neither",
                         path);
    memcpy(&eh, k->data, sizeof eh);
    for (unsigned n = 0; n < eh.e_phnum; n++) {
        if (!elf_segment(k, &eh, n, &ph))
            return error_set(err, ERR_INPUT,
                             "%s: ELF program header %u points outside the "
                             "file",
                             path, n);
        if (ph.p_type != PT_LOAD || !ph.p_memsz)
            continue;
        low = ph.p_paddr < low ? ph.p_paddr : low;
        uint64_t end = (uint64_t)ph.p_paddr + ph.p_memsz;
        high = end > high ? end : high;
    }
    if (!image_new(im, low, high, path, err))
        return false;
    for (unsigned n = 0; n < eh.e_phnum; n++)
        if (elf_segment(k, &eh, n, &ph) && ph.p_type == PT_LOAD)
            memcpy(im->data + (ph.p_paddr - im->at),
                   (const uint8_t *)k->data + ph.p_offset, ph.p_filesz);
    im->entry = eh.e_entry;
    return true;
}

/* The information structure with its strings and module list behind it. The ROM
 * adds memory sizes and the map (bytes 4, 8, 44, 48). */
static bool add_multiboot_info(struct loader *l,
                               const struct machine_config *c,
                               uint32_t module_at, size_t module_bytes,
                               struct error *err)
{
    enum {
        MODULE_AT = 0x80,
        NAME_AT = 0x90,
        TEXT_AT = 0xa0
    };
    uint8_t info[TEXT_AT + 2 * MACHINE_PATH + MACHINE_APPEND] = {0};
    char *text = (char *)info + TEXT_AT;
    size_t path = strlen(c->kernel), append = strlen(c->append);
    memcpy(info + NAME_AT, "relive", 7);
    memcpy(text, c->kernel, path);
    if (append) {
        text[path] = ' ';
        memcpy(text + path + 1, c->append, append);
    }
    size_t used = path + append + 2;
    store_le32(info, 1 | 1 << 2 | 1 << 6 | 1 << 9); /* mem, cmdline, map, name */
    store_le32(info + 16, INFO_AT + TEXT_AT);
    store_le32(info + 64, INFO_AT + NAME_AT);
    if (module_bytes) {
        store_le32(info, load_le32(info) | 1 << 3);
        store_le32(info + 20, 1);
        store_le32(info + 24, INFO_AT + MODULE_AT);
        store_le32(info + MODULE_AT, module_at);
        store_le32(info + MODULE_AT + 4, module_at + (uint32_t)module_bytes);
        store_le32(info + MODULE_AT + 8, (uint32_t)(INFO_AT + TEXT_AT + used));
        size_t n = strlen(c->initrd);
        memcpy(text + used, c->initrd, n);
        used += n + 1;
    }
    return add_part(l, KEY_SETUP, info, TEXT_AT + used, INFO_AT, err);
}

static bool add_multiboot(struct loader *l, const struct machine_config *c,
                          const struct blob *kernel, long header,
                          const struct blob *initrd, struct error *err)
{
    struct image im = {0};
    uint32_t flags = load_le32((const uint8_t *)kernel->data + header + 4);
    uint32_t module_at = 0;
    bool ok = flags & MB_HAS_ADDRESSES
                  ? load_by_addresses(&im, kernel, header, c->kernel, err)
                  : load_elf(&im, kernel, c->kernel, err);
    if (ok && im.at + im.bytes > l->low_bytes - FIRMWARE_TOP)
        ok = error_set(err, ERR_USAGE,
                       "%s: expected guest memory up to %llu MiB for it, "
                       "found %llu; use --mem",
                       c->kernel,
                       (unsigned long long)((im.at + im.bytes) >> 20) + 2,
                       (unsigned long long)(l->low_bytes >> 20));
    l->kind = 1;
    l->entry = im.entry;
    if (ok && initrd->bytes)
        ok = place_high(l, initrd->bytes, UINT64_MAX, im.at + im.bytes,
                        c->initrd, &module_at, err) &&
             add_part(l, KEY_INITRD, initrd->data, initrd->bytes, module_at,
                      err);
    ok = ok && add_part(l, KEY_KERNEL, im.data, im.bytes, (uint32_t)im.at, err);
    free(im.data);
    return ok && add_multiboot_info(l, c, module_at, initrd->bytes, err);
}

bool machine_add_kernel(struct fwcfg *fw, const struct machine_config *config,
                        const struct blob *kernel, const struct blob *initrd,
                        struct error *err)
{
    struct loader l = {.fw = fw, .low_bytes = config->mem_bytes};
    if (l.low_bytes > 0xc0000000)
        l.low_bytes = 0xc0000000;
    long header = find_multiboot(kernel);
    bool ok;
    if (is_linux(kernel))
        ok = add_linux(&l, config, kernel, initrd, err);
    else if (header >= 0)
        ok = add_multiboot(&l, config, kernel, header, initrd, err);
    else
        ok = error_set(err, ERR_INPUT,
                       "%s: expected a Linux bzImage or a Multiboot image, "
                       "found neither's header in its first bytes",
                       config->kernel);
    return ok && add_rom(&l, err);
}
