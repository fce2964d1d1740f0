#include "lib_fuzz.h"

#include "base/bytes.h"
#include "cpu/cpu.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- input -------------------------------------------------------------------- */

struct fuzz fuzz_begin(const uint8_t *data, size_t size)
{
    return (struct fuzz){.at = data, .end = data + size};
}

bool fuzz_more(const struct fuzz *f)
{
    return f->at < f->end;
}

void fuzz_bytes(struct fuzz *f, void *out, size_t bytes)
{
    size_t left = (size_t)(f->end - f->at);
    size_t n = bytes < left ? bytes : left;
    if (bytes)
        memset(out, 0, bytes);
    if (n)
        memcpy(out, f->at, n);
    f->at += n;
}

uint8_t fuzz_u8(struct fuzz *f)
{
    return fuzz_more(f) ? *f->at++ : 0;
}

uint16_t fuzz_u16(struct fuzz *f)
{
    uint8_t b[2];
    fuzz_bytes(f, b, sizeof b);
    return load_le16(b);
}

uint32_t fuzz_u32(struct fuzz *f)
{
    uint8_t b[4];
    fuzz_bytes(f, b, sizeof b);
    return load_le32(b);
}

uint64_t fuzz_u64(struct fuzz *f)
{
    uint8_t b[8];
    fuzz_bytes(f, b, sizeof b);
    return load_le64(b);
}

/* ---- inputs out of nothing ---------------------------------------------------
 *
 * There are no corpus files: a third of the inputs are new ones of random
 * bytes, long enough to do a lot, and with many zeros and small numbers where
 * the draw says so. libFuzzer's own mutations work on the rest. */

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
    __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed);

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x * UINT64_C(0x2545f4914f6cdd1d) >> 32;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    (void)next_random(&x);
    if (size > 32 && next_random(&x) % 3)
        return LLVMFuzzerMutate(data, size, max_size);
    size_t n = 1 + next_random(&x) % max_size;
    unsigned zeros = (unsigned)next_random(&x) % 128;
    unsigned small = (unsigned)next_random(&x) % 128;
    for (size_t i = 0; i < n; i++) {
        uint64_t r = next_random(&x);
        unsigned draw = r & 0xff;
        data[i] = draw < zeros           ? 0
                  : draw < zeros + small ? (uint8_t)(r >> 8 & 7)
                                         : (uint8_t)(r >> 8);
    }
    return n;
}

/* ---- edits ------------------------------------------------------------------- */

static size_t edit_place(struct fuzz *f, size_t bytes)
{
    uint32_t at = fuzz_u16(f);
    if (bytes > UINT16_MAX)
        at |= (uint32_t)fuzz_u8(f) << 16;
    return bytes ? at % bytes : 0;
}

static void edit_word(struct fuzz *f, uint8_t *data, size_t bytes)
{
    static const uint64_t values[] = {
        0,          1,          0x7f,       0x80,       0xff,
        0x7fff,     0x8000,     0xffff,     0x7fffffff, 0x80000000,
        0xffffffff, 0x7fffffffffffffff, 0x8000000000000000,
        UINT64_MAX, 0xfffffffffffff000, 0x100000000};
    uint8_t how = fuzz_u8(f), word[8];
    size_t at = edit_place(f, bytes), n = (size_t)1 << (how & 3);
    if (n > bytes - at)
        n = bytes - at;
    store_le64(word, values[how >> 4]);
    if (how & 4)
        fuzz_bytes(f, word, n);
    memcpy(data + at, word, n);
}

void fuzz_edit(struct fuzz *f, uint8_t *data, size_t *bytes, size_t capacity)
{
    unsigned count = 1 + fuzz_u8(f) % 12;
    while (count-- && fuzz_more(f) && *bytes) {
        uint8_t op = fuzz_u8(f);
        size_t at;
        switch (op & 7) {
        case 0:
        case 1:
            at = edit_place(f, *bytes);
            data[at] ^= (uint8_t)(1 << (op >> 5));
            break;
        case 2:
            at = edit_place(f, *bytes);
            data[at] = fuzz_u8(f);
            break;
        case 6:
            if (op < 0xc0)
                break; /* cutting is rarely interesting */
            *bytes = edit_place(f, *bytes);
            break;
        case 7:
            at = fuzz_u16(f);
            if (op < 0xc0 || at > capacity - *bytes)
                break;
            memset(data + *bytes, op, at);
            *bytes += at;
            break;
        default:
            edit_word(f, data, *bytes);
        }
    }
}

void fuzz_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    abort();
}

/* ---- media ---------------------------------------------------------------------- */

/* Every sector differs from every other, and a directory of zeros is no file
 * system that anything would parse. */
static bool read_pattern(void *context, uint64_t offset, void *out,
                         size_t bytes, struct error *err)
{
    uint8_t *p = out;
    (void)context;
    (void)err;
    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)((offset + i) * 7 + ((offset + i) >> 9));
    return true;
}

static void close_nothing(void *context)
{
    (void)context;
}

static struct block *new_block(const char *name, uint64_t sectors,
                               bool read_only)
{
    const struct block_base base = {.bytes = sectors * BLOCK_SECTOR_BYTES,
                                    .read = read_pattern,
                                    .close = close_nothing};
    struct error err;
    struct block *b = block_new(name, &base, read_only, &err);
    if (!b)
        fuzz_fail("%s", err.text);
    return b;
}

static struct block *open_by_name(void *context, const char *path,
                                  struct error *err)
{
    char *end;
    (void)context;
    unsigned long sectors = strtoul(path, &end, 10);
    if (end == path || !sectors || sectors > 1ul << 40) {
        error_set(err, ERR_INPUT, "%s: no such medium", path);
        return NULL;
    }
    return new_block(path, sectors, true);
}

/* ---- firmware -------------------------------------------------------------------- */

enum {
    BIOS_BYTES = 64 << 10
};

/* Points all vectors at a handler that acknowledges both PICs, and sleeps. */
static void write_interrupt_bios(uint8_t *bios)
{
    static const uint8_t start[] = {
        0x31, 0xff,             /* xor di, di */
        0x8e, 0xc7,             /* mov es, di */
        0x8e, 0xd7,             /* mov ss, di */
        0xbc, 0x00, 0x70,       /* mov sp, 0x7000 */
        0xfc,                   /* cld */
        0xb9, 0x00, 0x01,       /* mov cx, 256 */
        0xb8, 0x00, 0xe1, 0xab, /* mov ax, 0xe100; stosw */
        0xb8, 0x00, 0xf0, 0xab, /* mov ax, 0xf000; stosw */
        0xe2, 0xf6,             /* loop */
        0xb0, 0x11, 0xe6, 0x20, 0xe6, 0xa0, /* ICW1 */
        0xb0, 0x08, 0xe6, 0x21, 0xb0, 0x70, 0xe6, 0xa1, /* ICW2: 08h, 70h */
        0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x02, 0xe6, 0xa1, /* ICW3 */
        0xb0, 0x01, 0xe6, 0x21, 0xe6, 0xa1, /* ICW4 */
        0xb0, 0x00, 0xe6, 0x21, 0xe6, 0xa1, /* no masks */
        0xfb, 0xf4, 0xeb, 0xfc  /* sti; hlt; again */
    };
    static const uint8_t handler[] = {
        0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, /* EOI to both */
        0x58, 0xcf                                /* pop ax; iret */
    };
    static const uint8_t entry[] = {0xea, 0x00, 0xe0, 0x00, 0xf0};
    memcpy(bios + 0xe000, start, sizeof start);
    memcpy(bios + 0xe100, handler, sizeof handler);
    memcpy(bios + 0xfff0, entry, sizeof entry);
}

/* ---- machines ---------------------------------------------------------------------- */

static void config_write(struct dev_bus *bus, unsigned dev, unsigned fn,
                         unsigned reg, uint32_t value, unsigned bytes)
{
    bus_io_write(bus, 0xcf8, 0x80000000 | dev << 11 | fn << 8 | (reg & 0xfc),
                 4);
    bus_io_write(bus, (uint16_t)(0xcfc + (reg & 3)), value, bytes);
}

static void set_up_pci(struct dev_bus *bus)
{
    config_write(bus, 1, 1, 0x20, FUZZ_BUS_MASTER | 1, 4);
    config_write(bus, 1, 1, 0x04, 5, 2);
    config_write(bus, 1, 1, 0x40, 0x80008000, 4); /* decode both channels */
    config_write(bus, 1, 3, 0x40, FUZZ_PM | 1, 4);
    config_write(bus, 1, 3, 0x80, 1, 1);
    config_write(bus, 1, 3, 0x04, 1, 2);
    config_write(bus, 2, 0, 0x10, FUZZ_FRAMEBUFFER, 4);
    config_write(bus, 2, 0, 0x04, 3, 2);
    config_write(bus, 1, 0, 0x60, 0x0b0b0a0a, 4); /* PIRQ routes */
}

/* An interrupt or NMI ends in the BIOS, where F000:E100 is HLT or a handler, not
 * in empty RAM. */
static void point_vectors_at_bios(struct machine *m)
{
    static const uint16_t vector[2] = {0xe100, 0xf000};
    for (unsigned n = 0; n < 256; n++)
        phys_write(machine_phys(m), 4 * n, vector, sizeof vector);
}

struct machine *fuzz_machine(unsigned flags, unsigned sectors)
{
    struct machine_config *config = malloc(sizeof *config);
    uint8_t *bios = malloc(BIOS_BYTES);
    struct error err;
    if (!config || !bios)
        fuzz_fail("out of memory");
    machine_config_init(config);
    config->mem_bytes = FUZZ_RAM;
    config->testdev = flags & FUZZ_TESTDEV;
    memset(bios, 0xf4, BIOS_BYTES);
    if (flags & FUZZ_INTERRUPTS)
        write_interrupt_bios(bios);
    struct machine_media media = {.bios = {bios, BIOS_BYTES}};
    sectors = sectors ? sectors : 1;
    if (flags & FUZZ_DISK)
        media.disk[0] = new_block("disk", sectors, false);
    if (flags & FUZZ_SLAVE)
        media.disk[1] = new_block("slave", UINT64_C(1) << 33, true);
    if (flags & FUZZ_CDROM) {
        media.cdrom = new_block("cdrom", sectors, true);
        (void)snprintf(config->cdrom, MACHINE_PATH, "%u", sectors);
    }
    if (flags & FUZZ_FLOPPY) {
        media.floppy = new_block("floppy", 2880, false);
        (void)snprintf(config->floppy, MACHINE_PATH, "2880");
    }
    struct machine *m = machine_new(config, &media, &err);
    if (!m)
        fuzz_fail("%s", err.text);
    machine_set_media_open(m, open_by_name, NULL);
    point_vectors_at_bios(m);
    if (flags & FUZZ_PCI)
        set_up_pci(machine_bus(m));
    free(config);
    free(bios);
    return m;
}

struct machine *fuzz_fork(const struct machine *m, unsigned flags,
                          unsigned sectors)
{
    struct machine *copy = fuzz_machine(flags & ~(unsigned)FUZZ_PCI, sectors);
    struct writer w;
    struct reader r;
    struct error err;
    writer_init(&w);
    machine_save(m, &w);
    if (w.failed)
        fuzz_fail("out of memory");
    reader_init(&r, w.data, w.used);
    if (!machine_load(copy, &r, &err))
        fuzz_fail("what machine_save() wrote does not load: %s", err.text);
    writer_fini(&w);
    return copy;
}

static void run_until(struct machine *m, uint64_t until)
{
    enum stop_reason why = machine_run(m, until);
    if (machine_tick(m) > until ||
        (why == STOP_TICK && machine_tick(m) != until))
        fuzz_fail("run until %llu ended at %llu", (unsigned long long)until,
                  (unsigned long long)machine_tick(m));
}

void fuzz_advance(struct machine *m, uint64_t jump, uint64_t ticks)
{
    uint64_t insns = machine_insns(m);
    run_until(m, machine_tick(m) + 1);
    /* Halted, and nothing woke it: nothing will before the deadline. */
    if (machine_is_halted(m) && machine_insns(m) == insns)
        ticks = jump;
    uint64_t until = machine_tick(m) + ticks;
    uint64_t deadline = machine_next_deadline(m);
    if (ticks == jump && deadline < until)
        until = deadline;
    if (until > machine_tick(m))
        run_until(m, until);
}

static _Noreturn void report_difference(struct machine *a, struct machine *b,
                                        const char *what)
{
    struct writer wa, wb;
    char text[200] = "nothing in the devices";
    writer_init(&wa);
    writer_init(&wb);
    machine_save_devices(a, &wa);
    machine_save_devices(b, &wb);
    (void)machine_first_difference(wa.data, wa.used, wb.data, wb.used, text,
                                   sizeof text);
    struct phys *pa = machine_phys(a), *pb = machine_phys(b);
    for (uint32_t n = 0; n < phys_frames(pa); n++)
        if (memcmp(phys_frame_host(pa, n), phys_frame_host(pb, n),
                   PAGE_BYTES) != 0)
            fuzz_fail("%s: tick %llu: %s; frame %u", what,
                      (unsigned long long)machine_tick(a), text, n);
    fuzz_fail("%s: tick %llu: %s; frames equal", what,
              (unsigned long long)machine_tick(a), text);
}

void fuzz_same(struct machine *a, struct machine *b, const char *what)
{
    struct digest da = machine_digest(a), db = machine_digest(b);
    if (memcmp(&da, &db, sizeof da) != 0)
        report_difference(a, b, what);
}
