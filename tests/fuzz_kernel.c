/* Hostile files for --kernel and --initrd: bzImages, Multiboot images with
 * addresses and ELF ones. */
#include "lib_fuzz.h"

#include "base/bytes.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum {
    FILE_BYTES = 8192,
    FILE_MAX = 65536
};

static void make_linux(uint8_t *d)
{
    d[0x1f1] = 4;
    memcpy(d + 0x202, "HdrS", 4);
    store_le16(d + 0x206, 0x20c);
    d[0x211] = 1;
    store_le32(d + 0x22c, 0x7fffffff);
    store_le32(d + 0x238, 255);
    store_le32(d + 0x260, 0x4000);
}

static void make_multiboot(uint8_t *d, uint32_t flags)
{
    uint32_t *h = (uint32_t *)(void *)(d + 512);
    h[0] = 0x1badb002;
    h[1] = flags;
    h[2] = 0 - h[0] - h[1];
    h[3] = 0x100200; /* header, load, load end, bss end, entry */
    h[4] = 0x100000;
    h[5] = 0x101000;
    h[6] = 0x102000;
    h[7] = 0x100300;
}

static void make_elf(uint8_t *d)
{
    Elf32_Ehdr eh = {.e_type = ET_EXEC,
                     .e_machine = EM_386,
                     .e_entry = 0x100000,
                     .e_phoff = sizeof eh,
                     .e_phentsize = sizeof(Elf32_Phdr),
                     .e_phnum = 2};
    Elf32_Phdr ph[2] = {{.p_type = PT_LOAD,
                         .p_offset = 0x400,
                         .p_paddr = 0x100000,
                         .p_filesz = 0x800,
                         .p_memsz = 0x1000},
                        {.p_type = PT_LOAD,
                         .p_offset = 0xc00,
                         .p_paddr = 0x101000,
                         .p_filesz = 0x100,
                         .p_memsz = 0x200}};
    memcpy(eh.e_ident, ELFMAG, SELFMAG);
    eh.e_ident[EI_CLASS] = ELFCLASS32;
    memcpy(d, &eh, sizeof eh);
    memcpy(d + sizeof eh, ph, sizeof ph);
}

static size_t make_file(uint8_t how, uint8_t *d)
{
    memset(d, 0, FILE_MAX);
    switch (how % 5) {
    case 0:
        make_linux(d);
        break;
    case 1:
        make_multiboot(d, 1 << 16);
        break;
    case 2:
        make_multiboot(d, 0);
        make_elf(d);
        break;
    case 3:
        make_multiboot(d, 7);
        make_elf(d);
        break;
    default:
        break;
    }
    return FILE_BYTES;
}

/* BIOS of HLT: the image is placed when the machine is made. */
static struct machine *boot(const struct blob *kernel, size_t initrd_bytes,
                            const char *append, struct error *err)
{
    struct machine_config *c = malloc(sizeof *c);
    uint8_t *bios = malloc(65536), *initrd = calloc(1, initrd_bytes + 1);
    if (!c || !bios || !initrd)
        fuzz_fail("out of memory");
    memset(bios, 0xf4, 65536);
    machine_config_init(c);
    c->mem_bytes = 8 << 20;
    memcpy(c->kernel, "kernel", 7);
    memcpy(c->initrd, "initrd", 7);
    memcpy(c->append, append, strlen(append) + 1);
    const struct machine_media media = {.bios = {bios, 65536},
                                        .kernel = *kernel,
                                        .initrd = {initrd, initrd_bytes}};
    struct machine *m = machine_new(c, &media, err);
    free(c);
    free(bios);
    free(initrd);
    return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin(data, size);
    uint8_t *file = malloc(FILE_MAX);
    char append[256] = "";
    if (!file)
        return 0;
    uint8_t how = fuzz_u8(&f);
    size_t bytes = make_file(how, file), initrd_bytes = fuzz_u16(&f);
    if (how & 0x80)
        initrd_bytes <<= 8;
    if (how & 0x40)
        fuzz_bytes(&f, append, 100);
    if (how & 0x20)
        memcpy(append, "vga=", 4);
    fuzz_edit(&f, file, &bytes, FILE_MAX);
    /* Exactly as long as it says, so that one byte more is found. */
    struct blob kernel = {realloc(file, bytes ? bytes : 1), bytes};
    struct error err = {0};
    struct machine *m = boot(&kernel, initrd_bytes, append, &err);
    if (m) {
        (void)machine_run(m, 100);
        bus_io_write(machine_bus(m), 0x510, 0x11, 2);
        for (unsigned n = 0; n < 64; n++)
            (void)bus_io_read(machine_bus(m), 0x511, 1);
    } else if (!err.text[0]) {
        fuzz_fail("refused without a sentence");
    }
    machine_free(m);
    free((void *)(uintptr_t)kernel.data);
    return 0;
}
