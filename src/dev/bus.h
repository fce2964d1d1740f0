/* struct dev_bus: the only way a chip reaches the world. It carries guest time,
 * timers, I/O ports, MMIO (through mem/phys.h), interrupt lines, DMA, output and
 * requests to stop. One bus per machine; nothing here is global. */
#ifndef RELIVE_DEV_BUS_H
#define RELIVE_DEV_BUS_H

#include "base/stream.h"
#include "mem/phys.h"

#include <stdbool.h>
#include <stdint.h>

struct dev_bus;

/* ---- time: a pure function of the tick ---------------------------------- */

uint64_t bus_tick(const struct dev_bus *bus);
uint64_t bus_ticks_per_second(const struct dev_bus *bus); /* cpu-mhz * 10^6 */
uint64_t bus_ns(const struct dev_bus *bus);               /* guest ns now */

/* Ticks that make up at least `ns`, rounded up. */
uint64_t bus_ticks_of_ns(const struct dev_bus *bus, uint64_t ns);

/* Cycles of a clock of `hz` that have passed at `tick` (rounded down), and the
 * first tick at which that count is reached. Exact, 128-bit inside. */
uint64_t bus_cycles_at(const struct dev_bus *bus, uint64_t tick, uint64_t hz);
uint64_t bus_tick_of_cycle(const struct dev_bus *bus, uint64_t cycle,
                           uint64_t hz);

/* ---- timers ------------------------------------------------------------- */

/* Timers are created once, in construction order, and fire ordered by
 * (deadline, creation order). fire() runs between two instructions with
 * bus_tick() == deadline and may set the timer again. Deadlines are saved with
 * the bus, so a chip need not save them; a deadline in the past fires at once.
 * Returns the timer's handle. */
typedef void timer_fn(void *chip);
unsigned bus_timer_new(struct dev_bus *bus, const char *name, timer_fn *fire,
                       void *chip);
void bus_timer_set(struct dev_bus *bus, unsigned timer, uint64_t deadline);
void bus_timer_cancel(struct dev_bus *bus, unsigned timer);
bool bus_timer_armed(const struct dev_bus *bus, unsigned timer,
                     uint64_t *deadline);

/* ---- I/O ports ---------------------------------------------------------- */

/* bytes is 1, 2 or 4. An access wider than `max_bytes` is split into accesses
 * of max_bytes in ascending port order, each dispatched to its own port's
 * owner, as the ISA bus does. Ports nobody owns read all ones. offset is
 * port - first. Registering over a taken port replaces it (BARs move). */
struct io_ops {
    uint32_t (*read)(void *chip, uint16_t offset, unsigned bytes);
    void (*write)(void *chip, uint16_t offset, uint32_t value, unsigned bytes);
    unsigned max_bytes;
};
void bus_io_map(struct dev_bus *bus, uint16_t first, unsigned count,
                const struct io_ops *ops, void *chip);
/* Unmap the ports of the range that `chip` still owns. */
void bus_io_unmap(struct dev_bus *bus, uint16_t first, unsigned count,
                  const void *chip);

/* ---- memory ------------------------------------------------------------- */

struct phys *bus_phys(struct dev_bus *bus); /* map MMIO, own frames */
void bus_dma_read(struct dev_bus *bus, uint64_t paddr, void *out,
                  size_t bytes);
void bus_dma_write(struct dev_bus *bus, uint64_t paddr, const void *in,
                   size_t bytes);

/* ---- interrupt lines ---------------------------------------------------- */

/* A source drives one ISA interrupt line 0..15. Lines are the OR of their
 * sources; the board's sink hears of changes of the OR only (PIC and IOAPIC,
 * line 0 arriving at IOAPIC pin 2). PCI functions use pci_irq() of dev/pci.h,
 * which goes through the PIIX3 PIRQ router to one of these lines. Levels are
 * saved with the bus. Returns the source's handle; created in construction
 * order. */
unsigned bus_irq_source(struct dev_bus *bus, const char *name, unsigned line);
void bus_irq_set(struct dev_bus *bus, unsigned source, bool level);
bool bus_irq_level(const struct dev_bus *bus, unsigned source);
/* Move a source to another line (PIRQ routing changed). */
void bus_irq_route(struct dev_bus *bus, unsigned source, unsigned line);
/* Pulse: a rising edge and a falling one at the same tick (edge lines). */
void bus_irq_pulse(struct dev_bus *bus, unsigned source);

/* The board's sink, set once. */
typedef void irq_sink_fn(void *board, unsigned line, bool level);
void bus_set_irq_sink(struct dev_bus *bus, irq_sink_fn *sink, void *board);

/* ---- what leaves the machine -------------------------------------------- */

enum output_channel {
    OUT_SERIAL,   /* bytes a UART transmitted */
    OUT_DEBUGCON, /* port 0xE9 */
    OUT_POST,     /* port 0x80 codes */
    OUT_CHANNELS
};
void bus_output(struct dev_bus *bus, enum output_channel channel,
                const void *bytes, size_t count);
typedef void output_fn(void *board, enum output_channel channel,
                       const void *bytes, size_t count);
void bus_set_output(struct dev_bus *bus, output_fn *fn, void *board);

/* ---- requests to the board ---------------------------------------------- */

enum bus_request {
    REQUEST_RESET,      /* reset line: the CPU and all chips, at this tick,
                           after the current instruction */
    REQUEST_INIT,       /* INIT: the CPU alone (8042 does a full reset on a PC;
                           port 92h bit 0 gives INIT) */
    REQUEST_POWER_OFF,  /* ACPI S5 */
    REQUEST_DEBUG_EXIT, /* isa-debug-exit; value is what was written */
    REQUEST_ATTENTION   /* look at the interrupt lines and the next deadline
                           before the next instruction */
};
void bus_request(struct dev_bus *bus, enum bus_request what, uint32_t value);
typedef void request_fn(void *board, enum bus_request what, uint32_t value);
void bus_set_request(struct dev_bus *bus, request_fn *fn, void *board);

/* One line per site about what a guest did that no data sheet defines; goes to
 * the board's log, never to the guest. */
void bus_log(struct dev_bus *bus, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
typedef void log_fn(void *board, const char *line);
void bus_set_log(struct dev_bus *bus, log_fn *fn, void *board);

/* ---- the bus itself (board and tests) ----------------------------------- */

/* tick: the CPU's tick counter, borrowed, read at every call. */
struct dev_bus *bus_new(struct phys *phys, const uint64_t *tick,
                        uint64_t ticks_per_second);
void bus_free(struct dev_bus *bus);

/* CPU side of the ports. All I/O is folded into the I/O digest. */
uint32_t bus_io_read(struct dev_bus *bus, uint16_t port, unsigned bytes);
void bus_io_write(struct dev_bus *bus, uint16_t port, uint32_t value,
                  unsigned bytes);

/* The earliest deadline, UINT64_MAX when none; fire all that are due now. */
uint64_t bus_next_deadline(const struct dev_bus *bus);
void bus_fire_due(struct dev_bus *bus);

/* Cancel all timers and lower all lines (machine reset), before chips reset. */
void bus_reset(struct dev_bus *bus);

/* Deadlines, levels and the running I/O hash. */
void bus_save(const struct dev_bus *bus, struct writer *w);
bool bus_load(struct dev_bus *bus, struct reader *r, struct error *err);
/* Port accesses of the CPU, bytes moved by DMA; telemetry. */
struct bus_counts {
    uint64_t port_reads, port_writes, dma_read_bytes, dma_write_bytes;
    uint64_t device_ns; /* host time in ports and timers; 0: not timed */
};
/* Time the chips' work by a host clock in nanoseconds; NULL: do not. */
void bus_set_clock(struct dev_bus *bus, uint64_t (*now_ns)(void *context),
                   void *context);
const struct bus_counts *bus_counts(const struct dev_bus *bus);
/* Running hash of all port I/O and output so far. */
uint64_t bus_io_hash(const struct dev_bus *bus);

/* ---- how every chip looks ----------------------------------------------- */

/* A chip X in dev/X.h offers:
 *     struct X *X_new(struct dev_bus *bus, ...);    allocates, maps its ports,
 *                                                   creates timers and sources,
 *                                                   NULL when out of memory
 *     void X_free(struct X *x);                     takes NULL
 *     extern const struct chip_ops X_ops;
 * and its inputs (keys, bytes, media) as functions named X_verb(). */
struct chip_ops {
    const char *name; /* also the section tag's long name in reports */
    char tag[5];      /* four letters: the section in saved state */
    void (*reset)(void *chip);
    void (*save)(const void *chip, struct writer *w);
    /* Everything derived (port and memory maps, PAM, BARs) is rebuilt here. */
    bool (*load)(void *chip, struct reader *r, struct error *err);
};

#endif
