/* The guest's side of disks, CD-ROM and floppy: whole commands and packets with
 * any parameters, on media of any size, by PIO and DMA. A second machine that
 * was saved and loaded in between must answer the same. */
#include "lib_fuzz.h"

#include <stdio.h>
#include <string.h>

enum {
    FLAGS = FUZZ_DISK | FUZZ_SLAVE | FUZZ_CDROM | FUZZ_FLOPPY | FUZZ_PCI,
    COMMANDS_MAX = 60,
    POLLS = 6
};

struct pair {
    struct machine *a, *b; /* b is NULL until the fork */
};

static void out(struct pair *p, uint16_t port, uint32_t value, unsigned bytes)
{
    bus_io_write(machine_bus(p->a), port, value, bytes);
    if (p->b)
        bus_io_write(machine_bus(p->b), port, value, bytes);
}

static uint32_t in(struct pair *p, uint16_t port, unsigned bytes)
{
    uint32_t a = bus_io_read(machine_bus(p->a), port, bytes);
    uint32_t b = p->b ? bus_io_read(machine_bus(p->b), port, bytes) : a;
    if (a != b)
        fuzz_fail("port %#x reads %#x, and %#x after save and load", port, a,
                  b);
    return a;
}

/* One jump to the next deadline: drives work in milliseconds. */
static void pass_time(struct pair *p)
{
    fuzz_advance(p->a, UINT64_C(1) << 32, 1);
    if (p->b)
        fuzz_advance(p->b, UINT64_C(1) << 32, 1);
}

static uint16_t channel(uint8_t how)
{
    return how & 1 ? 0x170 : 0x1f0;
}

/* Serve what the drive asks for until it is done or bored. */
static void transfer(struct pair *p, struct fuzz *f, uint16_t base, bool write)
{
    unsigned words = fuzz_u8(f) * 3u, polls = POLLS;
    while (polls--) {
        uint32_t status = in(p, (uint16_t)(base + 7), 1);
        if (status & 0x80 || !(status & 8)) {
            pass_time(p);
            continue;
        }
        for (unsigned n = 0; n < words; n++)
            if (write)
                out(p, base, 0x1234 * n, 2);
            else
                (void)in(p, base, n % 5 ? 2 : 4);
    }
    for (unsigned n = 1; n < 8; n++)
        (void)in(p, (uint16_t)(base + n), 1);
}

static void start_dma(struct pair *p, struct fuzz *f, uint16_t base)
{
    uint16_t bm = base == 0x170 ? FUZZ_BUS_MASTER + 8 : FUZZ_BUS_MASTER;
    uint8_t how = fuzz_u8(f), prd[32];
    uint32_t at = how & 0x10 ? fuzz_u32(f) : 0x1000;
    fuzz_bytes(f, prd, how & 7 ? (how & 3) * 8u : sizeof prd);
    phys_write(machine_phys(p->a), 0x1000, prd, sizeof prd);
    if (p->b)
        phys_write(machine_phys(p->b), 0x1000, prd, sizeof prd);
    out(p, bm, 0, 1);
    out(p, (uint16_t)(bm + 2), 6, 1);
    out(p, (uint16_t)(bm + 4), at, 4);
    out(p, bm, 1 | (how & 8), 1);
    for (unsigned n = 0; n < POLLS && how < 0xe0; n++) {
        pass_time(p);
        (void)in(p, (uint16_t)(bm + 2), 1);
    }
}

static void ata_command(struct pair *p, struct fuzz *f)
{
    static const uint8_t commands[] = {
        0x20, 0x24, 0x25, 0x27, 0x29, 0x30, 0x34, 0x35, 0x37, 0x39, 0x40, 0x42,
        0x60, 0x70, 0x90, 0x91, 0xb0, 0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0xe7, 0xea,
        0xec, 0xef, 0xf8, 0xf9, 0x08, 0xa0, 0xa1, 0xe0, 0xe1, 0xe5, 0xe6};
    uint8_t how = fuzz_u8(f), regs[10], command = fuzz_u8(f);
    uint16_t base = channel(how);
    if (how & 8)
        command = commands[command % sizeof commands];
    fuzz_bytes(f, regs, sizeof regs);
    out(p, (uint16_t)(base + 6), 0xa0 | (how & 0x50), 1);
    for (unsigned n = 0; n < 10; n++)
        out(p, (uint16_t)(base + 1 + n % 5), regs[n], 1);
    out(p, (uint16_t)(base + 6), 0xa0 | (how & 0x50) | (regs[0] & 15), 1);
    out(p, (uint16_t)(base + 7), command, 1);
    if (how & 0x20)
        start_dma(p, f, base);
    else if (how & 0x80)
        transfer(p, f, base, how & 4);
}

static void packet(struct pair *p, struct fuzz *f)
{
    static const uint8_t commands[] = {
        0x00, 0x03, 0x12, 0x1a, 0x1b, 0x1e, 0x23, 0x25, 0x28, 0x2b, 0x35, 0x42,
        0x43, 0x44, 0x46, 0x4a, 0x51, 0x52, 0x55, 0x5a, 0xa8, 0xad, 0xb9, 0xbb,
        0xbd, 0xbe, 0xa4, 0xa3, 0x45, 0x47, 0x4b};
    uint8_t how = fuzz_u8(f), bytes[12];
    uint16_t limit = fuzz_u16(f);
    fuzz_bytes(f, bytes, sizeof bytes);
    if (how & 2)
        bytes[0] = commands[bytes[0] % sizeof commands];
    if (how & 4) /* near the start of the medium */
        bytes[2] = bytes[3] = bytes[7] = 0;
    out(p, 0x176, 0xa0, 1);
    out(p, 0x171, how & 1, 1);
    out(p, 0x174, limit & 0xff, 1);
    out(p, 0x175, limit >> 8, 1);
    out(p, 0x177, 0xa0, 1);
    for (unsigned n = 0; n < 6; n++)
        out(p, 0x170, bytes[2 * n] | (uint32_t)bytes[2 * n + 1] << 8, 2);
    if (how & 1)
        start_dma(p, f, 0x170);
    else
        transfer(p, f, 0x170, how & 8);
}

/* The floppy controller and its channel of the DMA controller. */
static void floppy(struct pair *p, struct fuzz *f)
{
    static const uint8_t commands[] = {0x03, 0x04, 0x07, 0x08, 0x0a, 0x0e,
                                       0x0f, 0x10, 0x12, 0x13, 0x18, 0x42,
                                       0x45, 0x46, 0x49, 0x4a, 0x4c, 0x4d,
                                       0x51, 0x94, 0xe6, 0xc5, 0xff};
    uint8_t how = fuzz_u8(f), dma[5];
    fuzz_bytes(f, dma, how & 1 ? sizeof dma : 0);
    if (how & 1) {
        out(p, 0x0c, 0, 1);
        out(p, 0x0b, 0x42 | (dma[0] & 0xbc), 1);
        out(p, 0x04, dma[1], 1);
        out(p, 0x04, dma[2], 1);
        out(p, 0x81, dma[3] & 0x1f, 1);
        out(p, 0x05, dma[4], 1);
        out(p, 0x05, how >> 4, 1);
        out(p, 0x0a, 2, 1);
    }
    out(p, 0x3f2, how & 2 ? 0x1c : 0x14, 1);
    uint8_t command = fuzz_u8(f);
    out(p, 0x3f5, how & 4 ? command : commands[command % sizeof commands], 1);
    for (unsigned n = 0; n < 8; n++)
        out(p, 0x3f5, fuzz_u8(f), 1);
    for (unsigned n = 0; n < POLLS; n++)
        pass_time(p);
    for (unsigned n = 0; n < 10; n++) {
        (void)in(p, 0x3f4, 1);
        (void)in(p, 0x3f5, 1);
    }
}

static void medium(struct pair *p, struct fuzz *f)
{
    struct event e = {.type = EVENT_TYPE_MEDIA};
    uint8_t how = fuzz_u8(f);
    e.payload[0] = how & 1;
    e.bytes = 1;
    if (how & 2)
        e.bytes += (uint16_t)snprintf((char *)e.payload + 1, 20, "%u",
                                      fuzz_u32(f) >> (how >> 3));
    (void)machine_inject(p->a, &e, NULL);
    if (p->b)
        (void)machine_inject(p->b, &e, NULL);
}

static void fork_pair(struct pair *p, unsigned sectors)
{
    (void)machine_run(p->a, machine_tick(p->a));
    machine_free(p->b);
    p->b = fuzz_fork(p->a, FLAGS, sectors);
    fuzz_same(p->a, p->b, "just loaded");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin(data, size);
    unsigned sectors = fuzz_u32(&f) >> (fuzz_u8(&f) & 31), forks = 0;
    struct pair p = {.a = fuzz_machine(FLAGS, sectors)};
    for (unsigned n = 0; n < COMMANDS_MAX && fuzz_more(&f); n++) {
        uint8_t op = fuzz_u8(&f);
        if (op >= 0xf0 && forks++ < 3)
            fork_pair(&p, sectors);
        else if (op >= 0xe0)
            medium(&p, &f);
        else if (op >= 0xd0)
            out(&p, op & 1 ? 0x376 : 0x3f6, fuzz_u8(&f), 1);
        else if (op >= 0xa0)
            floppy(&p, &f);
        else if (op >= 0x50)
            packet(&p, &f);
        else
            ata_command(&p, &f);
    }
    if (p.b)
        fuzz_same(p.a, p.b, "saved and loaded");
    machine_free(p.a);
    machine_free(p.b);
    return 0;
}
