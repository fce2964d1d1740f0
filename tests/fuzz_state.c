/* Saved states that lie. What machine_load() accepts must run, save and load
 * again to the same digest; what it refuses must come with a sentence. */
#include "lib_fuzz.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

enum {
    FLAGS = FUZZ_TESTDEV | FUZZ_DISK | FUZZ_CDROM | FUZZ_FLOPPY | FUZZ_PCI |
            FUZZ_INTERRUPTS,
    SECTORS = 5000,
    SECTIONS_MAX = 40,
    RUN_TICKS = 3000,
    GROWTH = 65536
};

/* A machine in the middle of things: disk DMA under way, bytes in queues. */
static struct machine *lively_machine(void)
{
    static const struct {
        uint16_t port;
        uint8_t bytes;
        uint32_t value;
    } writes[] = {
        {FUZZ_BUS_MASTER + 4, 4, 0x1000}, {0x1f6, 1, 0xe0}, {0x1f2, 1, 4},
        {0x1f7, 1, 0xc8},  {FUZZ_BUS_MASTER, 1, 9}, {0x177, 1, 0xa0},
        {0x170, 2, 0x12},  {0x60, 1, 0xf2},  {0x64, 1, 0xd4},
        {0x60, 1, 0xf4},   {0x3f2, 1, 0x1c}, {0x3f5, 1, 0xe6},
        {0x3f8, 1, 0x41},  {0x43, 1, 0x34},  {0x40, 1, 0x10},
        {0x40, 1, 0x10},   {0x70, 1, 0x0b},  {0x71, 1, 0x72},
        {0x3c4, 1, 2},     {0x510, 2, 0x19}, {0x511, 1, 0},
        {0x92, 1, 2},      {0xcf8, 4, 0x80001160}};
    static const uint32_t prd[2] = {0x2000, 0x80000800};
    struct machine *m = fuzz_machine(FLAGS, SECTORS);
    phys_write(machine_phys(m), 0x1000, prd, sizeof prd);
    (void)machine_run(m, 5000);
    for (unsigned n = 0; n < sizeof writes / sizeof writes[0]; n++)
        bus_io_write(machine_bus(m), writes[n].port, writes[n].value,
                     writes[n].bytes);
    (void)machine_run(m, 6000);
    return m;
}

struct base {
    struct writer bytes;
    struct {
        size_t at, bytes; /* payload */
    } section[SECTIONS_MAX];
    unsigned sections;
};

/* The sections of DEVS: an edit goes to a chip first, for the frames behind
 * them are most of the bytes. */
static void find_sections(struct base *b)
{
    size_t end = 8 + load_le32(b->bytes.data + 4);
    for (size_t at = 8; at + 8 <= end && b->sections < SECTIONS_MAX;) {
        size_t n = load_le32(b->bytes.data + at + 4);
        b->section[b->sections].at = at + 8;
        b->section[b->sections++].bytes = n;
        at += 8 + n;
    }
}

static const struct base *base_state(void)
{
    static struct base b;
    if (b.bytes.used)
        return &b;
    struct machine *m = lively_machine();
    writer_init(&b.bytes);
    machine_save(m, &b.bytes);
    machine_free(m);
    find_sections(&b);
    return &b;
}

/* Values of a field's size somewhere in a chip's section. */
static void edit_sections(struct fuzz *f, const struct base *b, uint8_t *data)
{
    unsigned count = fuzz_u8(f) % 24;
    while (count-- && fuzz_more(f)) {
        unsigned n = fuzz_u8(f) % b->sections;
        uint8_t how = fuzz_u8(f), value[8];
        size_t bytes = (size_t)1 << (how & 3);
        size_t at = fuzz_u16(f) & (how & 4 ? 0xffff : 0x1ff);
        if (!b->section[n].bytes)
            continue;
        at %= b->section[n].bytes;
        if (bytes > b->section[n].bytes - at)
            bytes = b->section[n].bytes - at;
        memset(value, how & 8 ? 0xff : 0, sizeof value);
        fuzz_bytes(f, value, how & 16 ? 1 : bytes);
        memcpy(data + b->section[n].at + at, value, bytes);
    }
}

static void run_on(struct machine *m)
{
    uint64_t start = machine_tick(m);
    for (unsigned n = 0; n < 20; n++)
        fuzz_advance(m, UINT64_C(1) << 32, RUN_TICKS / 20);
    if (machine_tick(m) < start)
        fuzz_fail("the tick went back");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct base *b = base_state();
    struct fuzz f = fuzz_begin(data, size);
    size_t bytes = b->bytes.used;
    uint8_t *state = malloc(bytes + GROWTH);
    struct error err = {0};
    struct reader r;
    if (!state)
        return 0;
    memcpy(state, b->bytes.data, bytes);
    edit_sections(&f, b, state);
    fuzz_edit(&f, state, &bytes, bytes + GROWTH);
    struct machine *m = fuzz_machine(FLAGS & ~FUZZ_PCI, SECTORS);
    reader_init(&r, state, bytes);
    if (machine_load(m, &r, &err)) {
        struct machine *copy = fuzz_fork(m, FLAGS, SECTORS);
        fuzz_same(m, copy, "loaded, saved and loaded");
        run_on(m);
        run_on(copy);
        fuzz_same(m, copy, "after running on");
        machine_free(copy);
    } else if (!err.text[0]) {
        fuzz_fail("refused without a sentence");
    }
    machine_free(m);
    free(state);
    return 0;
}
