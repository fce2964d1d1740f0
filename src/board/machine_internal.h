/* What the files of struct machine share. */
#ifndef RELIVE_BOARD_MACHINE_INTERNAL_H
#define RELIVE_BOARD_MACHINE_INTERNAL_H

#include "board/machine.h"
#include "board/probe.h"
#include "cpu/cpu.h"
#include "dev/dma.h"
#include "dev/floppy.h"
#include "dev/fwcfg.h"
#include "dev/hpet.h"
#include "dev/i440fx.h"
#include "dev/ide.h"
#include "dev/ioapic.h"
#include "dev/lapic.h"
#include "dev/misc.h"
#include "dev/pci.h"
#include "dev/pic.h"
#include "dev/piix3.h"
#include "dev/piix4_pm.h"
#include "dev/pit.h"
#include "dev/ps2.h"
#include "dev/rtc.h"
#include "dev/serial.h"
#include "dev/testdev.h"
#include "dev/vga.h"
#include "jit/jit.h"

enum {
    MACHINE_CHIPS = 24
};

/* One chip in save, load and reset order, which is construction order. */
struct chip {
    const struct chip_ops *ops;
    void *self;
};

/* All of it derived: an observer's. */
struct machine_probe {
    enum probe_mode mode;
    bool stop; /* machine_run() is to return STOP_PROBE */
    bool has_stop_at, has_skip;
    struct machine_place stop_at, skip;
    uint64_t sleep_insns; /* retired when a sleep began; UINT64_MAX: none */
    uint64_t sleep_tick;
    struct probe_tally tally;
    struct machine_observer observer;
    unsigned count, execs, datas;
    struct probe list[PROBES_MAX];
    struct cpu_probe_range exec[PROBES_MAX];
    unsigned exec_index[PROBES_MAX]; /* into list */
    struct mmu_watch data[PROBES_MAX];
    unsigned data_index[PROBES_MAX];
};

struct machine {
    struct machine_config config; /* fixed */
    struct cpu cpu;               /* saved */
    struct jit *jit;              /* owned, derived; NULL: tier 0 alone */
    unsigned engine_block, stress_block; /* limits of blocks; 0: none */
    struct phys *phys;            /* owned, saved */
    struct dev_bus *bus;          /* owned, saved */
    struct chip chip[MACHINE_CHIPS];
    unsigned chips;

    /* Owned and saved through chip[]. */
    struct pci_bus *pci;
    struct i440fx *i440fx;
    struct piix3 *piix3;
    struct piix4_pm *pm;
    struct ide *ide;
    struct pic *pic;
    struct pit *pit;
    struct rtc *rtc;
    struct ps2 *ps2;
    struct serial *serial;
    struct dma *dma;
    struct floppy *fdc;
    struct misc *misc;
    struct fwcfg *fwcfg;
    struct lapic *lapic;
    struct ioapic *ioapic;
    struct hpet *hpet;
    struct vga *vga;
    struct testdev *testdev; /* NULL without --testdev */

    struct block *block[MACHINE_BLOCKS]; /* owned; layers saved */
    char medium[2][MACHINE_PATH]; /* saved: names of the CD and floppy media;
                                     empty: none */
    media_open_fn *media_open;    /* borrowed */
    void *media_context;

    bool ended;                  /* saved */
    uint8_t end_reason;          /* saved: enum stop_reason */
    uint32_t exit_value;         /* saved */
    bool reset_pending;          /* derived: never live between run calls */
    bool init_pending;           /* derived, as above */
    _Atomic bool stop_requested; /* written by other threads */
    char fault_text[400];        /* derived: explains a triple fault */
    struct error error;          /* derived: of STOP_MEDIA_ERROR */

    machine_output_fn *output; /* borrowed observers */
    void *output_context;
    machine_log_fn *log;
    void *log_context;

    struct writer scratch; /* derived: reused by machine_digest() */
    struct machine_probe probe; /* derived */
    uint64_t slice_random;      /* derived: see next_slice(); 0: not random */
};

/* board/build.c */
bool machine_build(struct machine *m, const struct machine_media *media,
                   struct error *err);
void machine_unbuild(struct machine *m);
/* Levels that are functions of chip state: the CPU's INTR pin, LINT0, who drives
 * lines 0 and 8. After load and reset. */
void machine_rewire(struct machine *m);

/* board/machine.c: the reset button. */
void machine_reset(struct machine *m);

/* board/boot.c: put what --kernel needs into fw_cfg: an option ROM and the
 * parts it loads. Refuses files that are no kernel. */
bool machine_add_kernel(struct fwcfg *fw, const struct machine_config *config,
                        const struct blob *kernel, const struct blob *initrd,
                        struct error *err);

#endif
