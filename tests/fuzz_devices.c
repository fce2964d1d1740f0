/* Every register of every chip: a whole PC with hardly any guest code, and
 * accesses of all sizes to ports, memory and PCI configuration, DMA memory,
 * events and time, in any order. Three machines go the same way: the first; one
 * whose TLB has one entry and whose blocks one instruction; and one that was
 * saved and loaded on the way. They must read the same and end the same. */
#include "lib_fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MACHINES = 3,
    OPS_MAX = 300,
    AWAKE_INSNS = 6000
};

struct lab {
    struct machine *m[MACHINES]; /* NULL: not there */
    unsigned flags, sectors;
    unsigned awake; /* instructions that may still run */
    bool ended;
};

struct range {
    uint32_t first, count;
};

static const struct range ports[] = {
    {0x00, 16},   {0x20, 2},    {0x40, 4},     {0x60, 5},     {0x70, 2},
    {0x80, 16},   {0x92, 1},    {0xa0, 2},     {0xb2, 2},     {0xc0, 32},
    {0xe0, 8},    {0xe9, 1},    {0xf0, 2},     {0xf4, 4},     {0x170, 8},
    {0x1ce, 3},   {0x1f0, 8},   {0x376, 2},    {0x3b0, 16},   {0x3c0, 16},
    {0x3d0, 16},  {0x3f0, 8},   {0x3f8, 8},    {0x4d0, 2},    {0x510, 12},
    {0xb000, 64}, {0xc000, 16}, {0xcf8, 8},    {0x2000, 24},  {0x3f2, 1},
    {0x3f5, 1},   {0x1f0, 1},   {0x170, 1},    {0x3c4, 2},    {0x3ce, 2},
};

static const struct range regions[] = {
    {0xfee00000, 0x400},         {0xfec00000, 0x50},
    {0xfed00000, 0x400},         {0xa0000, 0x20000},
    {0xb8000, 0x1000},           {FUZZ_FRAMEBUFFER, 0x1000000},
    {0xc0000, 0x40000},          {0xff000000, 0x1000},
    {0xfffc0000, 0x3ffff},       {0, 0x110000},
    {FUZZ_RAM - 0x1000, 0x2000}, {0xe1000000, 0x1000},
};

static uint32_t pick(struct fuzz *f, const struct range *r, unsigned count)
{
    r += fuzz_u8(f) % count;
    uint32_t at = r->count > 256 ? fuzz_u32(f) : fuzz_u8(f);
    return r->first + at % r->count;
}
#define PICK(f, table) pick(f, table, sizeof(table) / sizeof(table)[0])

static uint16_t pick_port(struct fuzz *f)
{
    if (fuzz_more(f) && *f->at >= 0xf8) {
        (void)fuzz_u8(f);
        return fuzz_u16(f);
    }
    return (uint16_t)PICK(f, ports);
}

/* A value, mostly a short one. */
static uint32_t pick_value(struct fuzz *f, unsigned bytes)
{
    uint32_t v = 0;
    for (unsigned n = 0; n < bytes; n++)
        v |= (uint32_t)fuzz_u8(f) << 8 * n;
    return v;
}

static void agree(uint64_t a, uint64_t b, const char *what, uint64_t at)
{
    if (a != b)
        fuzz_fail("%s %#llx: %#llx in one machine, %#llx in another", what,
                  (unsigned long long)at, (unsigned long long)a,
                  (unsigned long long)b);
}

/* What an access has asked for happens before the next one. */
static void settle(struct lab *l)
{
    for (unsigned n = 0; n < MACHINES; n++)
        if (l->m[n] &&
            machine_run(l->m[n], machine_tick(l->m[n])) != STOP_TICK)
            l->ended = true;
}

static void port_write(struct lab *l, uint16_t port, uint32_t v,
                       unsigned bytes)
{
    for (unsigned n = 0; n < MACHINES; n++)
        if (l->m[n])
            bus_io_write(machine_bus(l->m[n]), port, v, bytes);
    settle(l);
}

static uint32_t port_read(struct lab *l, uint16_t port, unsigned bytes)
{
    uint32_t v = bus_io_read(machine_bus(l->m[0]), port, bytes);
    for (unsigned n = 1; n < MACHINES; n++)
        if (l->m[n])
            agree(v, bus_io_read(machine_bus(l->m[n]), port, bytes), "port",
                  port);
    settle(l);
    return v;
}

static void memory_write(struct lab *l, uint64_t at, const void *bytes,
                         size_t count)
{
    for (unsigned n = 0; n < MACHINES; n++)
        if (l->m[n])
            phys_write(machine_phys(l->m[n]), at, bytes, count);
    settle(l);
}

/* ---- what an input byte can ask for --------------------------------------- */

static void op_port_write(struct lab *l, struct fuzz *f)
{
    unsigned bytes = 1u << fuzz_u8(f) % 3;
    uint16_t port = pick_port(f);
    port_write(l, port, pick_value(f, bytes), bytes);
}

static void op_port_write_byte(struct lab *l, struct fuzz *f)
{
    uint16_t port = pick_port(f);
    port_write(l, port, fuzz_u8(f), 1);
}

static void op_port_read(struct lab *l, struct fuzz *f)
{
    unsigned bytes = 1u << fuzz_u8(f) % 3;
    (void)port_read(l, pick_port(f), bytes);
}

/* Index and data, as VGA, CMOS and Bochs VBE have them. */
static void op_indexed(struct lab *l, struct fuzz *f)
{
    static const struct {
        uint16_t index, data;
        uint8_t bytes;
    } pairs[] = {{0x3c4, 0x3c5, 1}, {0x3ce, 0x3cf, 1}, {0x3d4, 0x3d5, 1},
                 {0x3c0, 0x3c0, 1}, {0x70, 0x71, 1},   {0x1ce, 0x1cf, 2},
                 {0x3c8, 0x3c9, 1}, {0x510, 0x511, 2}};
    unsigned n = fuzz_u8(f) % 8, bytes = pairs[n].bytes;
    port_write(l, pairs[n].index, fuzz_u8(f), bytes);
    if (fuzz_u8(f) & 1)
        (void)port_read(l, pairs[n].data, n == 7 ? 1 : bytes);
    else
        port_write(l, pairs[n].data, pick_value(f, bytes), bytes);
}

static void op_repeat(struct lab *l, struct fuzz *f)
{
    uint16_t port = pick_port(f);
    unsigned how = fuzz_u8(f), count = fuzz_u8(f) + 1u;
    unsigned bytes = how & 2 ? 2 : 1;
    uint32_t value = fuzz_u8(f);
    for (unsigned n = 0; n < count && !l->ended; n++)
        if (how & 1)
            (void)port_read(l, port, bytes);
        else
            port_write(l, port, value * (n + 1), bytes);
}

static void op_config(struct lab *l, struct fuzz *f)
{
    static const uint8_t functions[] = {0, 8, 9, 11, 16, 10, 1};
    uint8_t how = fuzz_u8(f), reg = fuzz_u8(f);
    uint8_t fn = how >= 0xf0 ? fuzz_u8(f) : functions[(how >> 3) % 7];
    unsigned bytes = 1u << (how & 3) % 3;
    port_write(l, 0xcf8, 0x80000000 | (uint32_t)fn << 8 | (reg & 0xfc), 4);
    uint16_t port = (uint16_t)(0xcfc + (reg & 3 & ~(bytes - 1)));
    if (how & 4)
        (void)port_read(l, port, bytes);
    else
        port_write(l, port, pick_value(f, bytes), bytes);
}

static void op_memory_write(struct lab *l, struct fuzz *f)
{
    uint8_t bytes[16];
    uint8_t how = fuzz_u8(f);
    size_t count = how & 0x80 ? how % 16 + 1u : (size_t)1 << (how & 3);
    uint64_t at = PICK(f, regions);
    fuzz_bytes(f, bytes, count);
    memory_write(l, how & 0x80 ? at : at & ~(count - 1), bytes, count);
}

static void op_memory_read(struct lab *l, struct fuzz *f)
{
    uint8_t how = fuzz_u8(f);
    size_t count = how & 0x80 ? how % 16 + 1u : (size_t)1 << (how & 3);
    uint64_t at = PICK(f, regions), first[2] = {0, 0};
    at = how & 0x80 ? at : at & ~(count - 1);
    for (unsigned n = 0; n < MACHINES; n++) {
        uint64_t got[2] = {0, 0};
        if (!l->m[n])
            continue;
        phys_read(machine_phys(l->m[n]), at, got, count);
        if (n == 0)
            memcpy(first, got, sizeof got);
        agree(first[0], got[0], "memory", at);
        agree(first[1], got[1], "memory", at + 8);
    }
    settle(l);
}

/* A bus master table (PRD) or any other few words, low in RAM. */
static void op_descriptors(struct lab *l, struct fuzz *f)
{
    uint8_t bytes[32];
    size_t count = (fuzz_u8(f) % 4 + 1u) * 8;
    uint64_t at = (uint64_t)fuzz_u8(f) << 8;
    fuzz_bytes(f, bytes, count);
    memory_write(l, at, bytes, count);
}

static void op_advance(struct lab *l, struct fuzz *f)
{
    static const uint64_t most[] = {1, 50, 1000, 3000};
    uint8_t how = fuzz_u8(f);
    unsigned jumps = (how >> 2) % 16 + 1u;
    for (unsigned j = 0; j < jumps && l->awake && !l->ended; j++) {
        uint64_t insns = machine_insns(l->m[0]);
        for (unsigned n = 0; n < MACHINES; n++)
            if (l->m[n]) {
                fuzz_advance(l->m[n], how & 3 ? UINT64_C(1) << 33 : 2,
                             most[how & 3]);
                agree(machine_tick(l->m[0]), machine_tick(l->m[n]), "tick",
                      j);
            }
        insns = machine_insns(l->m[0]) - insns;
        l->awake -= insns < l->awake ? (unsigned)insns : l->awake;
    }
    settle(l);
}

static void op_event(struct lab *l, struct fuzz *f)
{
    struct event e = {.type = fuzz_u8(f) % (EVENT_TYPE_COUNT + 1)};
    bool first = false;
    e.bytes = fuzz_u8(f) % 32;
    if (e.type == EVENT_TYPE_KEY || e.type == EVENT_TYPE_MOUSE)
        e.bytes = e.type == EVENT_TYPE_KEY ? 3 : 6;
    fuzz_bytes(f, e.payload, e.bytes);
    char text[64];
    event_describe(&e, text, sizeof text);
    if (!event_payload_ok(&e))
        return;
    for (unsigned n = 0; n < MACHINES; n++) {
        struct error err;
        if (!l->m[n])
            continue;
        bool taken = machine_inject(l->m[n], &e, &err);
        first = n ? first : taken;
        agree(first, taken, "event", e.type);
    }
    settle(l);
}

static void op_media(struct lab *l, struct fuzz *f)
{
    struct event e = {.type = EVENT_TYPE_MEDIA};
    uint8_t how = fuzz_u8(f);
    e.payload[0] = how & 1;
    int n = how & 2 ? snprintf((char *)e.payload + 1, 20, "%u", fuzz_u16(f))
                    : 0;
    e.bytes = (uint16_t)(n + 1);
    for (unsigned i = 0; i < MACHINES; i++)
        if (l->m[i])
            (void)machine_inject(l->m[i], &e, NULL);
    settle(l);
}

/* A whole ATA command, for mostly nobody writes eight registers by chance. */
static void op_ata(struct lab *l, struct fuzz *f)
{
    static const uint8_t commands[] = {
        0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39, 0xc4, 0xc5, 0xc6,
        0xc8, 0xca, 0xa0, 0xa1, 0xec, 0xef, 0x27, 0x37, 0xf8, 0xf9, 0xe7,
        0xea, 0x10, 0x40, 0x42, 0x70, 0x90, 0x91, 0x08, 0xe0, 0xe5, 0xb0};
    uint8_t how = fuzz_u8(f), command = fuzz_u8(f);
    uint16_t base = how & 1 ? 0x170 : 0x1f0;
    port_write(l, base + 6, 0xa0 | (how >> 1 & 0x50), 1);
    for (unsigned n = 1; n < 6; n++) {
        if (how & 8)
            port_write(l, (uint16_t)(base + n), fuzz_u8(f), 1);
        port_write(l, (uint16_t)(base + n), fuzz_u8(f), 1);
    }
    if (how & 2)
        command = commands[command % sizeof commands];
    port_write(l, base + 7, command, 1);
}

static void op_packet(struct lab *l, struct fuzz *f)
{
    uint8_t how = fuzz_u8(f);
    port_write(l, 0x176, 0xa0, 1);
    port_write(l, 0x171, how & 1, 1);
    port_write(l, 0x174, fuzz_u8(f), 1);
    port_write(l, 0x175, fuzz_u8(f), 1);
    port_write(l, 0x177, 0xa0, 1);
    for (unsigned n = 0; n < 6; n++)
        port_write(l, 0x170, fuzz_u16(f), 2);
}

static void op_bus_master(struct lab *l, struct fuzz *f)
{
    uint8_t how = fuzz_u8(f);
    uint16_t base = (uint16_t)(FUZZ_BUS_MASTER + (how & 1) * 8);
    port_write(l, base + 4, how & 2 ? fuzz_u32(f) : fuzz_u8(f) << 8, 4);
    port_write(l, base, how >> 2 & 9, 1);
}

static void op_screen(struct lab *l, struct fuzz *f)
{
    struct screen screen = {0};
    struct screen_text *text = malloc(sizeof *text);
    (void)f;
    (void)machine_screen(l->m[0], &screen);
    if (text)
        (void)machine_screen_text(l->m[0], text);
    free(text);
    screen_fini(&screen);
}

static void op_fork(struct lab *l, struct fuzz *f)
{
    (void)f;
    machine_free(l->m[2]);
    l->m[2] = fuzz_fork(l->m[0], l->flags, l->sectors);
    fuzz_same(l->m[0], l->m[2], "just loaded");
}

typedef void op_fn(struct lab *, struct fuzz *);
static op_fn *const ops[] = {
    op_port_write,   op_port_write_byte, op_port_write_byte, op_port_read,
    op_port_read,    op_indexed,         op_indexed,         op_repeat,
    op_config,       op_memory_write,    op_memory_write,    op_memory_read,
    op_descriptors,  op_advance,         op_advance,         op_event,
    op_media,        op_ata,             op_packet,          op_bus_master,
};

/* The slow ones only on their own byte. */
static op_fn *choose(uint8_t byte)
{
    if (byte == 0xff)
        return op_screen;
    if (byte == 0xfe)
        return op_fork;
    return ops[byte % (sizeof ops / sizeof ops[0])];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin(data, size);
    const struct machine_stress stress = {.tlb_entries = 1, .block_insns = 1};
    struct lab l = {.flags = fuzz_u8(&f), .awake = AWAKE_INSNS};
    l.sectors = fuzz_u16(&f);
    for (unsigned n = 0; n < 2; n++)
        l.m[n] = fuzz_machine(l.flags, l.sectors);
    machine_set_stress(l.m[1], &stress);
    for (unsigned n = 0; n < OPS_MAX && fuzz_more(&f) && !l.ended; n++)
        choose(fuzz_u8(&f))(&l, &f);
    if (!l.ended)
        op_fork(&l, &f);
    uint8_t tail = 0x3d;
    struct fuzz last = fuzz_begin(&tail, 1);
    op_advance(&l, &last);
    fuzz_same(l.m[0], l.m[1], "one-entry TLB and one-instruction blocks");
    if (l.m[2])
        fuzz_same(l.m[0], l.m[2], "saved and loaded");
    for (unsigned n = 0; n < MACHINES; n++)
        machine_free(l.m[n]);
    return 0;
}
