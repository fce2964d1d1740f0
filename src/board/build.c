/* Which chips make this PC, and their wiring: an i440FX/PIIX3 board as SeaBIOS
 * and Windows 7's inbox drivers know it. */
#include "board/machine_internal.h"

#include "cpu/model.h"
#include "cpu/x87.h"

#include <stdlib.h>
#include <string.h>

#define LOW_RAM_MAX  0xe0000000u /* RAM up to here needs no split */
#define LOW_RAM_SPLIT 0xc0000000u /* else the PCI hole starts here */
#define ROM_BYTES_MAX (64u << 20)  /* video memory, ROMs, bench RAM */

/* ---- wires ----------------------------------------------------------------- */

static void on_intr(void *context, bool asserted)
{
    struct machine *m = context;
    m->cpu.intr = asserted;
    if (asserted)
        cpu_attention(&m->cpu);
}

static void on_nmi(void *context)
{
    struct machine *m = context;
    m->cpu.nmi_pending = true;
    cpu_attention(&m->cpu);
}

static void on_eoi(void *context, uint8_t vector)
{
    struct machine *m = context;
    ioapic_eoi(m->ioapic, vector);
}

static bool on_ioapic_message(void *context, const struct lapic_message *msg)
{
    struct machine *m = context;
    return lapic_receive(m->lapic, msg);
}

static void on_pic_intr(void *board, bool intr)
{
    struct machine *m = board;
    lapic_set_lint(m->lapic, 0, intr);
}

/* ISA line 0 arrives at IOAPIC pin 2, as the MADT's override says; line 2 is the
 * PIC's cascade and goes nowhere else. */
static void on_irq_line(void *board, unsigned line, bool level)
{
    struct machine *m = board;
    pic_set_line(m->pic, line, level);
    if (line != 2)
        ioapic_set_pin(m->ioapic, line == 0 ? 2 : line, level);
}

static void on_hpet_legacy(void *context, bool on)
{
    struct machine *m = context;
    pit_connect_irq(m->pit, !on);
    rtc_connect_irq(m->rtc, !on);
}

static void on_hpet_pin(void *context, unsigned pin, bool level)
{
    struct machine *m = context;
    ioapic_set_pin(m->ioapic, pin, level);
}

static void on_a20(void *board, bool enabled)
{
    struct machine *m = board;
    if (phys_a20(m->phys) != enabled)
        phys_set_a20(m->phys, enabled);
    cpu_attention(&m->cpu);
}

static void on_ignne(void *board)
{
    struct machine *m = board;
    x87_ignne(&m->cpu);
}

static void on_output(void *board, enum output_channel channel,
                      const void *bytes, size_t count)
{
    struct machine *m = board;
    if (m->output)
        m->output(m->output_context, m->cpu.tick, channel, bytes, count);
}

static void on_log(void *board, const char *line)
{
    struct machine *m = board;
    if (m->log)
        m->log(m->log_context, m->cpu.tick, line);
}

static void end_machine(struct machine *m, enum stop_reason reason)
{
    if (!m->ended) {
        m->ended = true;
        m->end_reason = (uint8_t)reason;
    }
}

static void on_request(void *board, enum bus_request what, uint32_t value)
{
    struct machine *m = board;
    switch (what) {
    case REQUEST_RESET:
        m->reset_pending = true;
        break;
    case REQUEST_INIT:
        m->init_pending = true;
        break;
    case REQUEST_POWER_OFF:
        end_machine(m, STOP_POWER_OFF);
        break;
    case REQUEST_DEBUG_EXIT:
        m->exit_value = value;
        end_machine(m, STOP_DEBUG_EXIT);
        break;
    case REQUEST_ATTENTION:
        break;
    }
    cpu_attention(&m->cpu);
}

/* ---- the CPU's side --------------------------------------------------------- */

static uint32_t cpu_io_read(void *context, uint16_t port, unsigned bytes)
{
    struct machine *m = context;
    const struct machine_observer *o = &m->probe.observer;
    uint32_t value = bus_io_read(m->bus, port, bytes);
    if (o->io)
        o->io(o->context, port, bytes, false, value);
    return value;
}

static void cpu_io_write(void *context, uint16_t port, uint32_t value,
                         unsigned bytes)
{
    struct machine *m = context;
    const struct machine_observer *o = &m->probe.observer;
    if (o->io)
        o->io(o->context, port, bytes, true, value);
    bus_io_write(m->bus, port, value, bytes);
}

static uint8_t cpu_acknowledge(void *context)
{
    struct machine *m = context;
    int vector = lapic_acknowledge(m->lapic);
    return vector == LAPIC_EXTINT ? pic_acknowledge(m->pic) : (uint8_t)vector;
}

static uint8_t cpu_tpr_read(void *context)
{
    struct machine *m = context;
    return lapic_tpr(m->lapic);
}

static void cpu_tpr_write(void *context, uint8_t cr8)
{
    struct machine *m = context;
    lapic_set_tpr(m->lapic, cr8);
}

static void cpu_apic_base_write(void *context, uint64_t value)
{
    struct machine *m = context;
    lapic_set_base(m->lapic, value);
}

static void cpu_ferr(void *context, bool level)
{
    struct machine *m = context;
    misc_ferr(m->misc, level);
}

static void cpu_triple_fault(void *context, const char *text)
{
    struct machine *m = context;
    size_t n = strlen(text);
    if (n >= sizeof m->fault_text)
        n = sizeof m->fault_text - 1;
    memcpy(m->fault_text, text, n);
    m->fault_text[n] = '\0';
    end_machine(m, STOP_SHUTDOWN);
}

/* ---- memory and firmware ------------------------------------------------------ */

static bool build_memory(struct machine *m, const struct blob *bios,
                         struct i440fx_memory *memory, struct error *err)
{
    uint64_t ram = m->config.mem_bytes;
    if (bios->bytes < 64 << 10 || bios->bytes > 256 << 10 ||
        bios->bytes % (64 << 10))
        return error_set(err, ERR_INPUT,
                         "%s: expected a BIOS image of 64, 128, 192 or 256 "
                         "KiB, found %zu bytes",
                         m->config.bios, bios->bytes);
    m->phys = phys_new(ram + ROM_BYTES_MAX, err);
    if (!m->phys)
        return false;
    memory->ram_frame = phys_add_memory(m->phys, "ram", ram, false);
    memory->bios_frame = phys_add_memory(m->phys, "bios", bios->bytes, true);
    memory->bios_bytes = (uint32_t)bios->bytes;
    memory->low_bytes = ram > LOW_RAM_MAX ? LOW_RAM_SPLIT : ram;
    memory->high_bytes = ram - memory->low_bytes;
    for (size_t at = 0; at < bios->bytes; at += PAGE_BYTES)
        phys_frame_write(m->phys,
                         memory->bios_frame + (uint32_t)(at / PAGE_BYTES), 0,
                         (const uint8_t *)bios->data + at, PAGE_BYTES);
    return true;
}

/* CMOS as a set-up program leaves it, where SeaBIOS looks (RAM sizes: bytes 15h
 * to 18h and 30h, 31h, 34h, 35h, 5Bh to 5Dh). */
static void fill_cmos(struct machine *m, const struct i440fx_memory *memory)
{
    uint64_t low_kib = memory->low_bytes >> 10;
    uint64_t ext = low_kib > 1024 ? low_kib - 1024 : 0;
    uint64_t above16 = low_kib > 16384 ? (low_kib - 16384) / 64 : 0;
    uint64_t high = memory->high_bytes >> 16;
    if (ext > 63 * 1024)
        ext = 63 * 1024;
    if (above16 > 0xffff)
        above16 = 0xffff;
    const struct block *floppy = m->block[MACHINE_BLOCK_FLOPPY];
    unsigned floppy_type = floppy ? floppy_cmos_type(block_sectors(floppy)) : 0;
    static const struct {
        char boot;
        uint8_t order, third; /* 1 floppy, 2 disk, 3 CD */
    } orders[] = {{'c', 0x32, 0x10}, {'d', 0x23, 0x10}, {'a', 0x21, 0x30}};
    const struct {
        uint8_t index, value;
    } bytes[] = {
        {0x15, 640 & 0xff},
        {0x16, 640 >> 8},
        {0x17, (uint8_t)ext},
        {0x18, (uint8_t)(ext >> 8)},
        {0x30, (uint8_t)ext},
        {0x31, (uint8_t)(ext >> 8)},
        {0x34, (uint8_t)above16},
        {0x35, (uint8_t)(above16 >> 8)},
        {0x5b, (uint8_t)high},
        {0x5c, (uint8_t)(high >> 8)},
        {0x5d, (uint8_t)(high >> 16)},
        {0x10, (uint8_t)(floppy_type << 4)},
        {0x14, (uint8_t)(0x06 | (floppy_type ? 0x01 : 0))},
    };
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++)
        rtc_set_cmos(m->rtc, bytes[i].index, bytes[i].value);
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++)
        if (orders[i].boot == m->config.boot) {
            rtc_set_cmos(m->rtc, 0x3d, orders[i].order);
            /* Bit 0: no floppy signature check. */
            rtc_set_cmos(m->rtc, 0x38, orders[i].third | 1);
        }
}

/* ---- chips --------------------------------------------------------------------- */

static bool add_chip(struct machine *m, const struct chip_ops *ops, void *self,
                     struct error *err)
{
    if (!self)
        return error_set(err, ERR_NOMEM, "no memory for chip %s", ops->name);
    m->chip[m->chips++] = (struct chip){ops, self};
    return true;
}

/* Interrupt controllers first: others raise lines while they reset. */
static bool build_interrupts(struct machine *m, struct error *err)
{
    const struct lapic_wires lapic = {
        .intr = on_intr, .nmi = on_nmi, .eoi = on_eoi};
    const struct hpet_wires hpet = {.legacy = on_hpet_legacy,
                                    .pin = on_hpet_pin};
    return add_chip(m, &lapic_ops, m->lapic = lapic_new(m->bus, &lapic, m),
                    err) &&
           add_chip(m, &ioapic_ops,
                    m->ioapic = ioapic_new(m->bus, on_ioapic_message, m),
                    err) &&
           add_chip(m, &pic_ops, m->pic = pic_new(m->bus), err) &&
           add_chip(m, &pit_ops, m->pit = pit_new(m->bus), err) &&
           add_chip(m, &rtc_ops, m->rtc = rtc_new(m->bus), err) &&
           add_chip(m, &hpet_ops, m->hpet = hpet_new(m->bus, &hpet, m), err);
}

static bool build_legacy(struct machine *m, struct error *err)
{
    return add_chip(m, &dma_ops, m->dma = dma_new(m->bus), err) &&
           add_chip(m, &ps2_ops, m->ps2 = ps2_new(m->bus), err) &&
           add_chip(m, &serial_ops, m->serial = serial_new(m->bus, 0x3f8, 4),
                    err) &&
           add_chip(m, &misc_ops, m->misc = misc_new(m->bus), err) &&
           add_chip(m, &floppy_ops, m->fdc = floppy_new(m->bus, m->dma), err) &&
           add_chip(m, &fwcfg_ops,
                    m->fwcfg = fwcfg_new(m->bus, m->config.mem_bytes, 1),
                    err) &&
           /* SeaBIOS then names IOAPIC pin 2 as the timer's in its MADT. */
           (fwcfg_add_u32(m->fwcfg, FWCFG_IRQ0_OVERRIDE, 1) ||
            error_set(err, ERR_NOMEM, "no memory for the firmware's items"));
}

static bool build_pci(struct machine *m, const struct i440fx_memory *memory,
                      const struct blob *vgabios, struct error *err)
{
    if (!add_chip(m, &pci_bus_ops, m->pci = pci_bus_new(m->bus), err) ||
        !add_chip(m, &i440fx_ops,
                  m->i440fx = i440fx_new(m->bus, m->pci, memory), err) ||
        !add_chip(m, &piix3_ops, m->piix3 = piix3_new(m->bus, m->pci), err) ||
        !add_chip(m, &ide_ops, m->ide = ide_new(m->bus, m->pci), err) ||
        !add_chip(m, &piix4_pm_ops, m->pm = piix4_pm_new(m->bus, m->pci),
                  err) ||
        !add_chip(m, &vga_ops,
                  m->vga = vga_new(m->bus, m->pci, 2, vgabios->data,
                                   vgabios->bytes),
                  err))
        return false;
    i440fx_set_vga(m->i440fx, vga_map_window, m->vga);
    if (!m->config.testdev)
        return true;
    return add_chip(m, &testdev_ops, m->testdev = testdev_new(m->bus), err);
}

static void attach_media(struct machine *m, const struct machine_media *media)
{
    static const enum ide_unit places[MACHINE_DISKS] = {
        IDE_PRIMARY_MASTER, IDE_PRIMARY_SLAVE, IDE_SECONDARY_SLAVE};
    for (unsigned n = 0; n < MACHINE_DISKS; n++) {
        m->block[n] = media->disk[n];
        if (m->block[n])
            ide_attach_disk(m->ide, places[n], m->block[n]);
    }
    ide_attach_cdrom(m->ide, IDE_SECONDARY_MASTER);
    m->block[MACHINE_BLOCK_CDROM] = media->cdrom;
    m->block[MACHINE_BLOCK_FLOPPY] = media->floppy;
    ide_set_cdrom(m->ide, media->cdrom);
    floppy_set_media(m->fdc, 0, media->floppy);
    memcpy(m->medium[0], m->config.cdrom, MACHINE_PATH);
    memcpy(m->medium[1], m->config.floppy, MACHINE_PATH);
}

static void connect_wires(struct machine *m)
{
    bus_set_irq_sink(m->bus, on_irq_line, m);
    bus_set_output(m->bus, on_output, m);
    bus_set_request(m->bus, on_request, m);
    bus_set_log(m->bus, on_log, m);
    pic_set_output(m->pic, on_pic_intr, m);
    ps2_set_a20(m->ps2, on_a20, m);
    misc_set_ignne(m->misc, on_ignne, m);
}

static bool build_cpu(struct machine *m, struct error *err)
{
    const struct cpu_board board = {
        .context = m,
        .io_read = cpu_io_read,
        .io_write = cpu_io_write,
        .acknowledge = cpu_acknowledge,
        .tpr_read = cpu_tpr_read,
        .tpr_write = cpu_tpr_write,
        .apic_base_write = cpu_apic_base_write,
        .ferr = cpu_ferr,
        .a_fault = cpu_triple_fault,
    };
    const struct cpu_model *model = cpu_model_find(m->config.cpu);
    if (!model)
        return error_set(err, ERR_USAGE,
                         "expected a CPU model name such as %s, found '%s'",
                         CPU_MODEL_DEFAULT, m->config.cpu);
    return cpu_init(&m->cpu, m->phys, model, &board, err);
}

bool machine_build(struct machine *m, const struct machine_media *media,
                   struct error *err)
{
    struct i440fx_memory memory = {0};
    /* Media are the machine's from here on, whatever fails. */
    for (unsigned n = 0; n < MACHINE_DISKS; n++)
        m->block[n] = media->disk[n];
    m->block[MACHINE_BLOCK_CDROM] = media->cdrom;
    m->block[MACHINE_BLOCK_FLOPPY] = media->floppy;
    if (!build_memory(m, &media->bios, &memory, err) || !build_cpu(m, err))
        return false;
    m->bus = bus_new(m->phys, &m->cpu.tick,
                     (uint64_t)m->config.cpu_mhz * 1000000);
    if (!m->bus)
        return error_set(err, ERR_NOMEM, "no memory for the device bus");
    if (!build_interrupts(m, err) || !build_legacy(m, err) ||
        !build_pci(m, &memory, &media->vgabios, err))
        return false;
    connect_wires(m);
    attach_media(m, media);
    fill_cmos(m, &memory);
    rtc_set_time(m->rtc, m->config.rtc_seconds);
    return !media->kernel.bytes ||
           machine_add_kernel(m->fwcfg, &m->config, &media->kernel,
                              &media->initrd, err);
}

void machine_unbuild(struct machine *m)
{
    testdev_free(m->testdev);
    vga_free(m->vga);
    piix4_pm_free(m->pm);
    ide_free(m->ide);
    piix3_free(m->piix3);
    i440fx_free(m->i440fx);
    pci_bus_free(m->pci);
    fwcfg_free(m->fwcfg);
    floppy_free(m->fdc);
    misc_free(m->misc);
    serial_free(m->serial);
    ps2_free(m->ps2);
    dma_free(m->dma);
    hpet_free(m->hpet);
    rtc_free(m->rtc);
    pit_free(m->pit);
    pic_free(m->pic);
    ioapic_free(m->ioapic);
    lapic_free(m->lapic);
    bus_free(m->bus);
    cpu_fini(&m->cpu);
    phys_free(m->phys);
    for (unsigned n = 0; n < MACHINE_BLOCKS; n++)
        block_free(m->block[n]);
}

void machine_rewire(struct machine *m)
{
    m->cpu.intr = lapic_intr(m->lapic);
}
