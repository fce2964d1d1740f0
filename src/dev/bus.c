#include "dev/bus.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUS_TIMERS = 128,
    BUS_SOURCES = 64, /* one bit each in struct irq_line */
    BUS_LINES = 16,
    BUS_PORTS = 65536,
    BUS_RANGES = 512,
    BUS_LOG_SITES = 256, /* power of two */
    BUS_LOG_TEXT = 256
};
#define NEVER UINT64_MAX

struct timer {
    uint64_t deadline; /* saved: tick, or NEVER */
    const char *name;  /* borrowed */
    timer_fn *fire;
    void *chip; /* borrowed */
};

struct irq_source {
    const char *name; /* borrowed */
    uint8_t line;     /* saved: PIRQ routing moves it */
    bool level;       /* saved */
};

/* One bus_io_map() call; `ports` counts table entries that point here. */
struct io_range {
    const struct io_ops *ops;
    void *chip; /* borrowed */
    uint16_t first;
    uint32_t ports;
};

struct dev_bus {
    struct phys *phys;      /* borrowed */
    const uint64_t *tick;   /* borrowed: the CPU's counter */
    uint64_t per_second;    /* configuration */
    uint64_t next_deadline; /* derived: the least deadline */
    bool firing;            /* derived: inside bus_fire_due() */
    uint64_t io_hash;       /* saved */
    struct bus_counts counts; /* derived */
    uint64_t (*now_ns)(void *context); /* NULL: nothing is timed */
    void *now_context;                 /* borrowed */
    unsigned timers;        /* configuration */
    struct timer timer[BUS_TIMERS];
    unsigned sources; /* configuration */
    struct irq_source source[BUS_SOURCES];
    uint64_t high[BUS_LINES];     /* derived: bit per source that is high */
    uint16_t range_of[BUS_PORTS]; /* derived: index into range, 0 nobody */
    struct io_range range[BUS_RANGES]; /* derived: chips map on load */
    irq_sink_fn *irq_sink;
    void *irq_board; /* borrowed, as the other boards */
    output_fn *output;
    void *output_board;
    request_fn *request;
    void *request_board;
    log_fn *log;
    void *log_board;
    uint64_t logged[BUS_LOG_SITES]; /* derived: hashes of formats seen */
};

/* ---- construction ------------------------------------------------------- */

struct dev_bus *bus_new(struct phys *phys, const uint64_t *tick,
                        uint64_t ticks_per_second)
{
    assert(ticks_per_second > 0);
    struct dev_bus *bus = calloc(1, sizeof *bus);
    if (!bus)
        return NULL;
    bus->phys = phys;
    bus->tick = tick;
    bus->per_second = ticks_per_second;
    bus->next_deadline = NEVER;
    return bus;
}

void bus_free(struct dev_bus *bus)
{
    free(bus);
}

/* ---- time --------------------------------------------------------------- */

/* floor(a * b / c), saturated. */
static uint64_t scale_down(uint64_t a, uint64_t b, uint64_t c)
{
    unsigned __int128 q = (unsigned __int128)a * b / c;
    return q > UINT64_MAX ? UINT64_MAX : (uint64_t)q;
}

/* ceil(a * b / c), saturated. */
static uint64_t scale_up(uint64_t a, uint64_t b, uint64_t c)
{
    unsigned __int128 q = ((unsigned __int128)a * b + (c - 1)) / c;
    return q > UINT64_MAX ? UINT64_MAX : (uint64_t)q;
}

uint64_t bus_tick(const struct dev_bus *bus)
{
    return *bus->tick;
}

uint64_t bus_ticks_per_second(const struct dev_bus *bus)
{
    return bus->per_second;
}

uint64_t bus_ns(const struct dev_bus *bus)
{
    return scale_down(*bus->tick, 1000000000, bus->per_second);
}

uint64_t bus_ticks_of_ns(const struct dev_bus *bus, uint64_t ns)
{
    return scale_up(ns, bus->per_second, 1000000000);
}

uint64_t bus_cycles_at(const struct dev_bus *bus, uint64_t tick, uint64_t hz)
{
    return scale_down(tick, hz, bus->per_second);
}

uint64_t bus_tick_of_cycle(const struct dev_bus *bus, uint64_t cycle,
                           uint64_t hz)
{
    /* The least t with floor(t * hz / per_second) >= cycle. */
    return scale_up(cycle, bus->per_second, hz);
}

/* ---- timers ------------------------------------------------------------- */

unsigned bus_timer_new(struct dev_bus *bus, const char *name, timer_fn *fire,
                       void *chip)
{
    assert(bus->timers < BUS_TIMERS);
    bus->timer[bus->timers] = (struct timer){
        .deadline = NEVER, .name = name, .fire = fire, .chip = chip};
    return bus->timers++;
}

static void find_next_deadline(struct dev_bus *bus)
{
    uint64_t next = NEVER;
    for (unsigned i = 0; i < bus->timers; i++)
        if (bus->timer[i].deadline < next)
            next = bus->timer[i].deadline;
    bus->next_deadline = next;
}

static void set_deadline(struct dev_bus *bus, unsigned timer, uint64_t deadline)
{
    assert(timer < bus->timers);
    uint64_t old = bus->timer[timer].deadline;
    bus->timer[timer].deadline = deadline;
    if (deadline < bus->next_deadline) {
        bus->next_deadline = deadline;
        bus_request(bus, REQUEST_ATTENTION, 0);
    } else if (old == bus->next_deadline)
        find_next_deadline(bus);
}

void bus_timer_set(struct dev_bus *bus, unsigned timer, uint64_t deadline)
{
    /* A timer set while timers fire is due at the next tick at the earliest,
     * so that a guest's shortest period cannot hold the machine at one tick. */
    uint64_t earliest = *bus->tick + bus->firing;
    set_deadline(bus, timer, deadline < earliest ? earliest : deadline);
}

void bus_timer_cancel(struct dev_bus *bus, unsigned timer)
{
    set_deadline(bus, timer, NEVER);
}

bool bus_timer_armed(const struct dev_bus *bus, unsigned timer,
                     uint64_t *deadline)
{
    assert(timer < bus->timers);
    if (bus->timer[timer].deadline == NEVER)
        return false;
    if (deadline)
        *deadline = bus->timer[timer].deadline;
    return true;
}

uint64_t bus_next_deadline(const struct dev_bus *bus)
{
    return bus->next_deadline;
}

/* Host time now, for bus_counts.device_ns; 0: not timed. */
static uint64_t work_begins(const struct dev_bus *bus)
{
    return bus->now_ns ? bus->now_ns(bus->now_context) : 0;
}

static void work_ends(struct dev_bus *bus, uint64_t begun)
{
    if (bus->now_ns)
        bus->counts.device_ns += bus->now_ns(bus->now_context) - begun;
}

void bus_set_clock(struct dev_bus *bus, uint64_t (*now_ns)(void *context),
                   void *context)
{
    bus->now_ns = now_ns;
    bus->now_context = context;
}

void bus_fire_due(struct dev_bus *bus)
{
    uint64_t begun = work_begins(bus);
    while (bus->next_deadline <= *bus->tick && bus->next_deadline != NEVER) {
        unsigned i = 0; /* creation order decides between equal deadlines */
        while (bus->timer[i].deadline != bus->next_deadline)
            i++;
        set_deadline(bus, i, NEVER);
        bus->firing = true;
        bus->timer[i].fire(bus->timer[i].chip);
        bus->firing = false;
    }
    work_ends(bus, begun);
}

/* ---- I/O ports ---------------------------------------------------------- */

/* An unused slot, or 0. Slot 0 stays empty: it means "nobody". */
static unsigned free_range(const struct dev_bus *bus)
{
    for (unsigned i = 1; i < BUS_RANGES; i++)
        if (bus->range[i].ports == 0)
            return i;
    return 0;
}

static void set_owner(struct dev_bus *bus, uint16_t port, unsigned range)
{
    unsigned old = bus->range_of[port];
    if (old)
        bus->range[old].ports--;
    bus->range_of[port] = (uint16_t)range;
    if (range)
        bus->range[range].ports++;
}

void bus_io_map(struct dev_bus *bus, uint16_t first, unsigned count,
                const struct io_ops *ops, void *chip)
{
    assert(ops->max_bytes == 1 || ops->max_bytes == 2 || ops->max_bytes == 4);
    unsigned slot = free_range(bus);
    if (!slot) {
        bus_log(bus, "I/O ports %#x+%u stay unmapped: too many ranges", first,
                count);
        return;
    }
    bus->range[slot] =
        (struct io_range){.ops = ops, .chip = chip, .first = first};
    for (uint32_t p = first; p < (uint32_t)first + count && p < BUS_PORTS; p++)
        set_owner(bus, (uint16_t)p, slot);
}

void bus_io_unmap(struct dev_bus *bus, uint16_t first, unsigned count,
                  const void *chip)
{
    for (uint32_t p = first; p < (uint32_t)first + count && p < BUS_PORTS;
         p++) {
        unsigned slot = bus->range_of[p];
        if (slot && bus->range[slot].chip == chip)
            set_owner(bus, (uint16_t)p, 0);
    }
}

static uint32_t ones(unsigned bytes)
{
    return UINT32_MAX >> (32 - 8 * bytes);
}

static const struct io_range *owner_of(const struct dev_bus *bus, uint16_t port)
{
    unsigned slot = bus->range_of[port];
    return slot ? &bus->range[slot] : NULL;
}

/* Width in which a port takes an access of `bytes`. */
static unsigned piece_bytes(const struct io_range *owner, unsigned bytes)
{
    unsigned max = owner ? owner->ops->max_bytes : 1;
    return bytes < max ? bytes : max;
}

static uint32_t dispatch_read(struct dev_bus *bus, uint16_t port,
                              unsigned bytes)
{
    uint32_t value = 0;
    for (unsigned done = 0; done < bytes;) {
        uint16_t p = (uint16_t)(port + done);
        const struct io_range *owner = owner_of(bus, p);
        unsigned n = piece_bytes(owner, bytes - done);
        if (n == 3)
            n = 2;
        uint32_t part = UINT32_MAX;
        if (owner)
            part =
                owner->ops->read(owner->chip, (uint16_t)(p - owner->first), n);
        value |= (part & ones(n)) << (8 * done);
        done += n;
    }
    return value;
}

static void dispatch_write(struct dev_bus *bus, uint16_t port, uint32_t value,
                           unsigned bytes)
{
    for (unsigned done = 0; done < bytes;) {
        uint16_t p = (uint16_t)(port + done);
        const struct io_range *owner = owner_of(bus, p);
        unsigned n = piece_bytes(owner, bytes - done);
        if (n == 3)
            n = 2;
        if (owner)
            owner->ops->write(owner->chip, (uint16_t)(p - owner->first),
                              (value >> (8 * done)) & ones(n), n);
        done += n;
    }
}

/* One step of the running hash: an xorshift-multiply round, which is a
 * bijection of the 64-bit state for every datum. */
static uint64_t mix(uint64_t hash, uint64_t datum)
{
    hash = (hash ^ datum) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93u;
    return hash ^ hash >> 29;
}

enum hash_kind { HASH_READ = 1, HASH_WRITE = 2, HASH_OUTPUT = 3 };

static void hash_io(struct dev_bus *bus, enum hash_kind kind, uint16_t port,
                    uint32_t value, unsigned bytes)
{
    bus->io_hash =
        mix(bus->io_hash, (uint64_t)value << 32 | (uint64_t)kind << 24 |
                              (uint64_t)bytes << 16 | port);
}

uint32_t bus_io_read(struct dev_bus *bus, uint16_t port, unsigned bytes)
{
    assert(bytes == 1 || bytes == 2 || bytes == 4);
    uint64_t begun = work_begins(bus);
    uint32_t value = dispatch_read(bus, port, bytes);
    work_ends(bus, begun);
    bus->counts.port_reads++;
    hash_io(bus, HASH_READ, port, value, bytes);
    return value;
}

void bus_io_write(struct dev_bus *bus, uint16_t port, uint32_t value,
                  unsigned bytes)
{
    assert(bytes == 1 || bytes == 2 || bytes == 4);
    value &= ones(bytes);
    hash_io(bus, HASH_WRITE, port, value, bytes);
    bus->counts.port_writes++;
    uint64_t begun = work_begins(bus);
    dispatch_write(bus, port, value, bytes);
    work_ends(bus, begun);
}

const struct bus_counts *bus_counts(const struct dev_bus *bus)
{
    return &bus->counts;
}

uint64_t bus_io_hash(const struct dev_bus *bus)
{
    return bus->io_hash;
}

/* ---- memory ------------------------------------------------------------- */

struct phys *bus_phys(struct dev_bus *bus)
{
    return bus->phys;
}

void bus_dma_read(struct dev_bus *bus, uint64_t paddr, void *out, size_t bytes)
{
    bus->counts.dma_read_bytes += bytes;
    phys_dma_read(bus->phys, paddr, out, bytes);
}

void bus_dma_write(struct dev_bus *bus, uint64_t paddr, const void *in,
                   size_t bytes)
{
    bus->counts.dma_write_bytes += bytes;
    phys_dma_write(bus->phys, paddr, in, bytes);
}

/* ---- interrupt lines ---------------------------------------------------- */

unsigned bus_irq_source(struct dev_bus *bus, const char *name, unsigned line)
{
    assert(bus->sources < BUS_SOURCES && line < BUS_LINES);
    bus->source[bus->sources] =
        (struct irq_source){.name = name, .line = (uint8_t)line};
    return bus->sources++;
}

/* Change one source's part of a line; tell the sink when the OR changed. */
static void drive_line(struct dev_bus *bus, unsigned line, unsigned source,
                       bool level)
{
    uint64_t before = bus->high[line];
    uint64_t bit = (uint64_t)1 << source;
    uint64_t after = level ? before | bit : before & ~bit;
    bus->high[line] = after;
    if ((before != 0) != (after != 0) && bus->irq_sink)
        bus->irq_sink(bus->irq_board, line, after != 0);
}

void bus_irq_set(struct dev_bus *bus, unsigned source, bool level)
{
    assert(source < bus->sources);
    struct irq_source *s = &bus->source[source];
    if (s->level == level)
        return;
    s->level = level;
    drive_line(bus, s->line, source, level);
}

bool bus_irq_level(const struct dev_bus *bus, unsigned source)
{
    assert(source < bus->sources);
    return bus->source[source].level;
}

void bus_irq_route(struct dev_bus *bus, unsigned source, unsigned line)
{
    assert(source < bus->sources && line < BUS_LINES);
    struct irq_source *s = &bus->source[source];
    if (s->line == line)
        return;
    if (s->level)
        drive_line(bus, s->line, source, false);
    s->line = (uint8_t)line;
    if (s->level)
        drive_line(bus, line, source, true);
}

void bus_irq_pulse(struct dev_bus *bus, unsigned source)
{
    bus_irq_set(bus, source, true);
    bus_irq_set(bus, source, false);
}

void bus_set_irq_sink(struct dev_bus *bus, irq_sink_fn *sink, void *board)
{
    bus->irq_sink = sink;
    bus->irq_board = board;
}

/* ---- output, requests, log ---------------------------------------------- */

void bus_output(struct dev_bus *bus, enum output_channel channel,
                const void *bytes, size_t count)
{
    const uint8_t *b = bytes;
    for (size_t i = 0; i < count; i++)
        hash_io(bus, HASH_OUTPUT, (uint16_t)channel, b[i], 1);
    if (bus->output)
        bus->output(bus->output_board, channel, bytes, count);
}

void bus_set_output(struct dev_bus *bus, output_fn *fn, void *board)
{
    bus->output = fn;
    bus->output_board = board;
}

void bus_request(struct dev_bus *bus, enum bus_request what, uint32_t value)
{
    if (bus->request)
        bus->request(bus->request_board, what, value);
}

void bus_set_request(struct dev_bus *bus, request_fn *fn, void *board)
{
    bus->request = fn;
    bus->request_board = board;
}

/* True the first time this text is seen. A full table silences new sites. */
static bool first_time(struct dev_bus *bus, const char *text)
{
    uint64_t hash = 1;
    for (const char *c = text; *c; c++)
        hash = mix(hash, (uint8_t)*c);
    hash |= 1; /* 0 marks a free entry */
    for (unsigned i = 0; i < BUS_LOG_SITES; i++) {
        uint64_t *entry = &bus->logged[(hash + i) & (BUS_LOG_SITES - 1)];
        if (*entry == hash)
            return false;
        if (*entry == 0) {
            *entry = hash;
            return true;
        }
    }
    return false;
}

void bus_log(struct dev_bus *bus, const char *format, ...)
{
    if (!bus->log || !first_time(bus, format))
        return;
    char line[BUS_LOG_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    bus->log(bus->log_board, line);
}

void bus_set_log(struct dev_bus *bus, log_fn *fn, void *board)
{
    bus->log = fn;
    bus->log_board = board;
}

/* ---- reset and state ---------------------------------------------------- */

void bus_reset(struct dev_bus *bus)
{
    for (unsigned i = 0; i < bus->timers; i++)
        bus->timer[i].deadline = NEVER;
    bus->next_deadline = NEVER;
    for (unsigned i = 0; i < bus->sources; i++)
        bus_irq_set(bus, i, false);
}

void bus_save(const struct dev_bus *bus, struct writer *w)
{
    writer_u64(w, bus->io_hash);
    writer_u32(w, bus->timers);
    for (unsigned i = 0; i < bus->timers; i++)
        writer_u64(w, bus->timer[i].deadline);
    writer_u32(w, bus->sources);
    for (unsigned i = 0; i < bus->sources; i++) {
        writer_u8(w, bus->source[i].line);
        writer_u8(w, bus->source[i].level);
    }
}

static bool load_sources(struct dev_bus *bus, struct reader *r,
                         struct error *err)
{
    uint32_t count = reader_u32(r);
    if (count != bus->sources)
        return error_set(err, ERR_INPUT,
                         "bus: expected %u interrupt sources, found %u",
                         bus->sources, count);
    memset(bus->high, 0, sizeof bus->high);
    for (unsigned i = 0; i < bus->sources; i++) {
        struct irq_source *s = &bus->source[i];
        uint8_t line = reader_u8(r);
        uint8_t level = reader_u8(r);
        if (line >= BUS_LINES || level > 1)
            return error_set(err, ERR_INPUT,
                             "bus: interrupt source %s has line %u, level %u",
                             s->name, line, level);
        s->line = line;
        s->level = level;
        bus->high[line] |= (uint64_t)level << i;
    }
    return reader_ok(r, "bus", err);
}

bool bus_load(struct dev_bus *bus, struct reader *r, struct error *err)
{
    bus->io_hash = reader_u64(r);
    uint32_t count = reader_u32(r);
    if (count != bus->timers)
        return error_set(err, ERR_INPUT, "bus: expected %u timers, found %u",
                         bus->timers, count);
    for (unsigned i = 0; i < bus->timers; i++)
        bus->timer[i].deadline = reader_u64(r);
    find_next_deadline(bus);
    return load_sources(bus, r, err);
}
