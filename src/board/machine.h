/* struct machine: one whole PC. Its state at a tick is a function of the
 * configuration, the media and firmware bytes, and the events injected so far,
 * and of nothing else. It offers an inbox for events and probes for observers;
 * it knows nothing of logs, files or windows. */
#ifndef RELIVE_BOARD_MACHINE_H
#define RELIVE_BOARD_MACHINE_H

#include "base/error.h"
#include "base/stream.h"
#include "board/config.h"
#include "board/event.h"
#include "dev/block.h"
#include "dev/bus.h"
#include "dev/display.h"
#include "jit/jit.h"

#include <stdbool.h>
#include <stdint.h>

struct cpu;
struct machine;

/* Bytes the machine is built from. The machine takes ownership of the blocks;
 * blobs are borrowed during machine_new() only. */
struct blob {
    const void *data;
    size_t bytes;
};
struct machine_media {
    struct block *disk[MACHINE_DISKS]; /* primary master, slave, secondary
                                          slave, (secondary master is the CD) */
    struct block *cdrom;
    struct block *floppy;
    struct blob bios, vgabios;
    struct blob kernel, initrd;
};

/* Opens a medium that a media-change event names; implemented outside. */
typedef struct block *media_open_fn(void *context, const char *path,
                                    struct error *err);

enum stop_reason {
    STOP_TICK,       /* reached until_tick */
    STOP_POWER_OFF,  /* ACPI soft-off */
    STOP_DEBUG_EXIT, /* isa-debug-exit: machine_exit_value() is the status */
    STOP_SHUTDOWN,   /* triple fault: machine_fault_text() says why */
    STOP_MEDIA_ERROR,/* a host image could not be read: machine_error() */
    STOP_REQUEST,    /* machine_request_stop() was called */
    STOP_PROBE       /* board/probe.h; never recorded */
};

/* config is copied. NULL and err on failure. */
struct machine *machine_new(const struct machine_config *config,
                            const struct machine_media *media,
                            struct error *err);
void machine_free(struct machine *m);
void machine_set_media_open(struct machine *m, media_open_fn *open,
                            void *context);

/* Run until tick == until_tick, never past it, or until the guest ends. While
 * halted, ticks pass at once up to the next deadline or until_tick. After a
 * stop other than TICK, REQUEST and PROBE, further calls return the same reason. */
enum stop_reason machine_run(struct machine *m, uint64_t until_tick);

/* Make machine_run() return STOP_REQUEST soon, at an instruction boundary that
 * depends on host timing; safe from other threads and signal handlers. */
void machine_request_stop(struct machine *m);

/* Apply an outside event at the current tick. False (and err) only when a
 * medium it names cannot be opened; the machine is then unchanged. */
bool machine_inject(struct machine *m, const struct event *event,
                    struct error *err);

uint64_t machine_tick(const struct machine *m);
uint64_t machine_insns(const struct machine *m);
bool machine_is_halted(const struct machine *m);
/* The tick at which a halted CPU would next be disturbed: next deadline. */
uint64_t machine_next_deadline(const struct machine *m);
const struct machine_config *machine_config(const struct machine *m);
struct cpu *machine_cpu(struct machine *m); /* debuggers and tests */
struct phys *machine_phys(struct machine *m);
struct dev_bus *machine_bus(struct machine *m);
uint32_t machine_exit_value(const struct machine *m);
const char *machine_fault_text(const struct machine *m);
const struct error *machine_error(const struct machine *m);

/* ---- state ----------------------------------------------------------------- */

/* All state but the contents of RAM and disk layers: sections, canonical. */
void machine_save_devices(const struct machine *m, struct writer *w);
/* Every byte of state: devices, frames, disk layers. */
void machine_save(const struct machine *m, struct writer *w);
/* Into a machine of the same configuration and media. On false the machine is
 * unusable and must be freed. */
bool machine_load(struct machine *m, struct reader *r, struct error *err);
/* What machine_save_devices() wrote, alone: media that events have inserted are
 * opened again; frames and the contents of disk layers are left as they are
 * (the snapshot loader replaces them page by page, through machine_phys() and
 * machine_block(), after this call). Same rules as machine_load(). */
bool machine_load_devices(struct machine *m, struct reader *r,
                          struct error *err);
/* The block devices now in the drives: 0..MACHINE_DISKS-1 the disks, then the
 * CD, then the floppy (MACHINE_BLOCKS in all). NULL: none. Borrowed. */
enum {
    MACHINE_BLOCK_CDROM = MACHINE_DISKS,
    MACHINE_BLOCK_FLOPPY,
    MACHINE_BLOCKS
};
struct block *machine_block(struct machine *m, unsigned index);

struct digest {
    uint8_t cpu[16]; /* XXH3-128 of the canonical CPU and chip state */
    uint8_t io[16];  /* running hash of all I/O and output so far */
    uint8_t mem[16]; /* frames and disk layers */
};
/* Canonical and host-free. Changes nothing the guest sees. */
struct digest machine_digest(struct machine *m);

/* Compare two saved device states section by section, field by field as far as
 * tables reach: writes the name of the first difference ("cpu.r[0]",
 * "pit byte 12") to text. False when equal. */
bool machine_first_difference(const void *a, size_t a_bytes, const void *b,
                              size_t b_bytes, char *text, size_t text_bytes);

/* ---- observers --------------------------------------------------------------- */

/* What the guest sent out, in order, on the vCPU thread. */
typedef void machine_output_fn(void *context, uint64_t tick,
                               enum output_channel channel, const void *bytes,
                               size_t count);
void machine_set_output(struct machine *m, machine_output_fn *fn,
                        void *context);
/* One line about guest behaviour no data sheet defines. */
typedef void machine_log_fn(void *context, uint64_t tick, const char *line);
void machine_set_log(struct machine *m, machine_log_fn *fn, void *context);

/* The interrupt controllers, for debuggers: 0 the master, 1 the slave. */
struct pic_view;
void machine_pic(const struct machine *m, unsigned chip,
                 struct pic_view *out);

/* Pixels or text now. False: out of memory, or (text) not in a text mode. */
bool machine_screen(struct machine *m, struct screen *screen);
bool machine_screen_text(struct machine *m, struct screen_text *text);

/* ---- engines: how guest instructions run; never what they do ----------------- */

struct machine_engine {
    struct engine_config config;
    bool count_lookups;       /* jit_options.count_lookups */
    bool count_memory;        /* jit_options.count_memory */
    uint64_t (*now_ns)(void *context); /* times compilation; NULL: no.
                                          Called on the JIT thread */
    bool times_devices;       /* by now_ns, some 50 ns for each access */
    jit_code_fn *on_code;     /* told of compiled code; NULL: nobody */
    jit_trace_fn *on_trace;   /* told of traces that are freed */
    void *on_code_context;    /* borrowed; of both */
};
/* A new machine interprets. Between runs only; may be called again. */
bool machine_set_engine(struct machine *m, const struct machine_engine *engine,
                        struct error *err);

/* ---- stress (tests): never changes what the guest sees ---------------------- */

struct machine_stress {
    unsigned tlb_entries; /* 0: normal */
    unsigned block_insns; /* 0: as the engine has it */
    uint64_t slice_seed;  /* of random lengths of the CPU's slices; 0: normal */
};
void machine_set_stress(struct machine *m, const struct machine_stress *s);

#endif
