#include "dev/piix4_pm.h"

#include "base/bytes.h"
#include "base/field.h"

#include <stdlib.h>

enum {
    REG_COMMAND = 0x04,
    REG_STATUS_HIGH = 0x07,
    REG_PMBASE = 0x40,
    REG_DEVACTB_3 = 0x5B, /* bit 1: APMC_EN */
    REG_PMREGMISC = 0x80, /* bit 0: PM ports enabled */
    REG_SMBBASE = 0x90,
    REG_SMBCFG = 0xD2, /* bit 0: SMBus ports enabled */

    PM_PORTS = 64,
    SMB_PORTS = 16,
    APM_PORT = 0xB2,

    /* General purpose events and the hot-plug registers that SeaBIOS's DSDT
     * for this board names; nothing is ever plugged. */
    GPE_PORT = 0xAFE0,
    GPE_PORTS = 4,
    PCI_PLUG_PORT = 0xAE00,
    PCI_PLUG_PORTS = 0x14,
    CPU_PLUG_PORT = 0xAF00,
    CPU_PLUG_PORTS = 32,

    PM1_TMR = 1 << 0, /* PM1_STS and PM1_EN bits, ACPI 1.0b 4.7.3.1 */
    PM1_GBL = 1 << 5,
    PM1_PWRBTN = 1 << 8,
    PM1_RTC = 1 << 10,
    PM1_RSM = 1 << 15, /* status only */
    PM1_SOURCES = PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_RTC,
    PM1_STS_BITS = PM1_SOURCES | 1 << 4 | PM1_RSM,
    PM1_EN_BITS = PM1_SOURCES,

    CNT_SCI_EN = 1 << 0, /* PM1_CNT */
    CNT_BITS = 0x1C03,
    CNT_SLP_TYP_SHIFT = 10,
    CNT_SLP_EN = 1 << 13,
    SLP_TYP_OFF = 0, /* _S5 of SeaBIOS's DSDT */
    SLP_TYP_RAM = 1, /* _S3 */
    SLP_TYP_DISK = 2,

    APM_ACPI_ENABLE = 0xF1, /* values the FADT announces */
    APM_ACPI_DISABLE = 0xF0,

    TIMER_HZ = 3579545,
    TIMER_HALF = 1 << 23, /* TMR_STS at each change of bit 23 */

    SMB_START = 0x40,
    SMB_DEVICE_ERROR = 0x04,
    SMB_STS_BITS = 0x1E
};

struct piix4_pm {
    struct pci_function pci; /* saved by pci_function_save() */
    struct dev_bus *bus;     /* borrowed */
    struct pci_bus *pci_bus; /* borrowed */
    unsigned timer;          /* fixed handle */
    unsigned sci;            /* fixed handle */
    uint16_t pm1_sts, pm1_en, pm1_cnt;
    uint64_t overflow; /* the PM timer cycle that sets TMR_STS next */
    uint8_t gpe[GPE_PORTS];
    uint8_t apm_control, apm_status;
    uint8_t ports[PM_PORTS]; /* registers of 10h.. that only remember */
    uint8_t smb[SMB_PORTS];
    uint32_t pm_mapped, smb_mapped; /* derived: first port, 0 unmapped */
};

static const struct field pm_fields[] = {
    FIELD_U16(struct piix4_pm, pm1_sts),
    FIELD_U16(struct piix4_pm, pm1_en),
    FIELD_U16(struct piix4_pm, pm1_cnt),
    FIELD_U64(struct piix4_pm, overflow),
    FIELD_U8(struct piix4_pm, gpe),
    FIELD_U8(struct piix4_pm, apm_control),
    FIELD_U8(struct piix4_pm, apm_status),
    FIELD_U8(struct piix4_pm, ports),
    FIELD_U8(struct piix4_pm, smb),
};

/* ---- PM timer and SCI ------------------ */

static uint64_t timer_cycle(const struct piix4_pm *pm)
{
    return bus_cycles_at(pm->bus, bus_tick(pm->bus), TIMER_HZ);
}

/* TMR_STS follows the counter when somebody looks; a bus timer exists only
 * while it would interrupt. */
static void timer_catch_up(struct piix4_pm *pm)
{
    if (timer_cycle(pm) >= pm->overflow)
        pm->pm1_sts |= PM1_TMR;
}

static void update_sci(struct piix4_pm *pm)
{
    timer_catch_up(pm);
    bool gpe = (pm->gpe[0] & pm->gpe[2]) || (pm->gpe[1] & pm->gpe[3]);
    bool level = (pm->pm1_sts & pm->pm1_en & PM1_SOURCES) || gpe;
    bus_irq_set(pm->bus, pm->sci, level && (pm->pm1_cnt & CNT_SCI_EN));
    if ((pm->pm1_en & PM1_TMR) && !(pm->pm1_sts & PM1_TMR))
        bus_timer_set(pm->bus, pm->timer,
                      bus_tick_of_cycle(pm->bus, pm->overflow, TIMER_HZ));
    else
        bus_timer_cancel(pm->bus, pm->timer);
}

static void timer_fire(void *chip)
{
    update_sci(chip);
}

static void schedule_overflow(struct piix4_pm *pm)
{
    pm->overflow = (timer_cycle(pm) | (TIMER_HALF - 1)) + 1;
}

void piix4_pm_power_button(struct piix4_pm *pm)
{
    pm->pm1_sts |= PM1_PWRBTN;
    update_sci(pm);
}

/* ---- PM1 block ------------------ */

static void set_sts_byte(struct piix4_pm *pm, unsigned shift, uint8_t clear)
{
    timer_catch_up(pm);
    uint16_t bits = (uint16_t)(clear << shift);
    if (bits & pm->pm1_sts & PM1_TMR)
        schedule_overflow(pm);
    pm->pm1_sts &= (uint16_t)~bits;
}

static void set_en_byte(struct piix4_pm *pm, unsigned shift, uint8_t value)
{
    uint16_t kept = pm->pm1_en & (uint16_t) ~(0xFF << shift);
    pm->pm1_en = (kept | (uint16_t)(value << shift)) & PM1_EN_BITS;
}

static void enter_sleep(struct piix4_pm *pm)
{
    unsigned type = pm->pm1_cnt >> CNT_SLP_TYP_SHIFT & 7;
    if (type == SLP_TYP_OFF || type == SLP_TYP_DISK) {
        bus_request(pm->bus, REQUEST_POWER_OFF, 0);
        return;
    }
    /* Suspend to RAM is announced by no table here; wake at once. */
    bus_log(pm->bus, "piix4_pm: sleep type %u is not supported", type);
    pm->pm1_sts |= PM1_RSM;
}

static void set_cnt_byte(struct piix4_pm *pm, unsigned shift, uint8_t value)
{
    uint16_t kept = pm->pm1_cnt & (uint16_t) ~(0xFF << shift);
    uint16_t written = (uint16_t)(value << shift);
    pm->pm1_cnt = (kept | written) & CNT_BITS;
    if (written & CNT_SLP_EN)
        enter_sleep(pm);
}

static uint8_t pm_read_byte(struct piix4_pm *pm, unsigned offset)
{
    unsigned shift = 8 * (offset & 1);
    switch (offset) {
    case 0:
    case 1:
        timer_catch_up(pm);
        return (uint8_t)(pm->pm1_sts >> shift);
    case 2:
    case 3:
        return (uint8_t)(pm->pm1_en >> shift);
    case 4:
    case 5:
        return (uint8_t)(pm->pm1_cnt >> shift);
    case 8:
    case 9:
    case 10:
        return (uint8_t)(timer_cycle(pm) >> 8 * (offset - 8));
    case 6: /* reserved, and bits 31:24 of the timer */
    case 7:
    case 11:
        return 0;
    default:
        return pm->ports[offset];
    }
}

static void pm_write_byte(struct piix4_pm *pm, unsigned offset, uint8_t value)
{
    unsigned shift = 8 * (offset & 1);
    switch (offset) {
    case 0:
    case 1:
        set_sts_byte(pm, shift, value);
        break;
    case 2:
    case 3:
        set_en_byte(pm, shift, value);
        break;
    case 4:
    case 5:
        set_cnt_byte(pm, shift, value);
        break;
    case 0x10: /* processor control */
    case 0x11:
    case 0x12:
    case 0x13:
    case 0x34: /* general purpose outputs */
    case 0x35:
    case 0x36:
    case 0x37:
        pm->ports[offset] = value;
        break;
    default: /* GP, global and device status: nothing is ever set */
        break;
    }
}

/* offset + bytes stays inside: a wider access at the end was cut by the bus to
 * ports of ours only when it is aligned, so the sum is checked. */
static uint32_t pm_read(void *chip, uint16_t offset, unsigned bytes)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        unsigned at = offset + i;
        uint8_t b = at < PM_PORTS ? pm_read_byte(chip, at) : 0xFF;
        value |= (uint32_t)b << 8 * i;
    }
    return value;
}

static void pm_write(void *chip, uint16_t offset, uint32_t value,
                     unsigned bytes)
{
    for (unsigned i = 0; i < bytes && offset + i < PM_PORTS; i++)
        pm_write_byte(chip, offset + i, (uint8_t)(value >> 8 * i));
    update_sci(chip);
}

static const struct io_ops pm_io = {
    .read = pm_read, .write = pm_write, .max_bytes = 4};

/* ---- SMBus host: every address answers with silence ------------------ */

/* 82371AB data sheet 7.3. */

static uint32_t smb_read(void *chip, uint16_t offset, unsigned bytes)
{
    const struct piix4_pm *pm = chip;
    (void)bytes;
    return offset < SMB_PORTS ? pm->smb[offset] : 0xFF;
}

static void smb_write(void *chip, uint16_t offset, uint32_t value,
                      unsigned bytes)
{
    struct piix4_pm *pm = chip;
    (void)bytes;
    if (offset == 0) { /* SMBHSTSTS: write 1 to clear */
        pm->smb[0] &= (uint8_t) ~(value & SMB_STS_BITS);
    } else if (offset == 2) { /* SMBHSTCNT */
        pm->smb[2] = value & 0x1D;
        if (value & SMB_START)
            pm->smb[0] |= SMB_DEVICE_ERROR;
    } else if (offset < SMB_PORTS && offset != 1) {
        pm->smb[offset] = (uint8_t)value;
    }
}

static const struct io_ops smb_io = {
    .read = smb_read, .write = smb_write, .max_bytes = 1};

/* ---- APM, GPE, hot-plug ------------------ */

static uint32_t apm_read(void *chip, uint16_t offset, unsigned bytes)
{
    const struct piix4_pm *pm = chip;
    (void)bytes;
    return offset ? pm->apm_status : pm->apm_control;
}

static void apm_write(void *chip, uint16_t offset, uint32_t value,
                      unsigned bytes)
{
    struct piix4_pm *pm = chip;
    (void)bytes;
    if (offset) {
        pm->apm_status = (uint8_t)value;
        return;
    }
    pm->apm_control = (uint8_t)value;
    if (value == APM_ACPI_ENABLE)
        pm->pm1_cnt |= CNT_SCI_EN;
    else if (value == APM_ACPI_DISABLE)
        pm->pm1_cnt &= (uint16_t)~CNT_SCI_EN;
    update_sci(pm);
}

static const struct io_ops apm_io = {
    .read = apm_read, .write = apm_write, .max_bytes = 1};

static uint32_t gpe_read(void *chip, uint16_t offset, unsigned bytes)
{
    const struct piix4_pm *pm = chip;
    (void)bytes;
    return pm->gpe[offset & 3];
}

/* Two status bytes (write 1 to clear), two enable bytes. */
static void gpe_write(void *chip, uint16_t offset, uint32_t value,
                      unsigned bytes)
{
    struct piix4_pm *pm = chip;
    (void)bytes;
    if (offset < 2)
        pm->gpe[offset] &= (uint8_t)~value;
    else
        pm->gpe[offset & 3] = (uint8_t)value;
    update_sci(pm);
}

static const struct io_ops gpe_io = {
    .read = gpe_read, .write = gpe_write, .max_bytes = 1};

static uint32_t pci_plug_read(void *chip, uint16_t offset, unsigned bytes)
{
    (void)chip;
    (void)offset;
    (void)bytes;
    return 0;
}

/* One bit per CPU that is present. */
static uint32_t cpu_plug_read(void *chip, uint16_t offset, unsigned bytes)
{
    (void)chip;
    (void)bytes;
    return offset == 0;
}

static void plug_write(void *chip, uint16_t offset, uint32_t value,
                       unsigned bytes)
{
    (void)chip;
    (void)offset;
    (void)value;
    (void)bytes;
}

static const struct io_ops pci_plug_io = {
    .read = pci_plug_read, .write = plug_write, .max_bytes = 4};
static const struct io_ops cpu_plug_io = {
    .read = cpu_plug_read, .write = plug_write, .max_bytes = 1};

/* ---- where the ports are ------------------ */

/* A base register's ports, or 0. Ranges inside the ISA chips' ports are not
 * decoded; SeaBIOS uses 600h and 700h, above them. */
static uint32_t wanted(const struct piix4_pm *pm, unsigned reg, unsigned enable,
                       uint32_t ports)
{
    uint32_t base = load_le16(&pm->pci.config[reg]) & ~(ports - 1);
    if (!(pm->pci.config[enable] & 1) || base < 0x540 ||
        (base < 0x1000 && base + ports > 0xCF8))
        return 0;
    return base;
}

/* Runs after BARs were mapped: fixed decodes outrank them. */
static void map_ports(void *chip)
{
    struct piix4_pm *pm = chip;
    if (pm->pm_mapped)
        bus_io_map(pm->bus, (uint16_t)pm->pm_mapped, PM_PORTS, &pm_io, pm);
    if (pm->smb_mapped)
        bus_io_map(pm->bus, (uint16_t)pm->smb_mapped, SMB_PORTS, &smb_io, pm);
    bus_io_map(pm->bus, GPE_PORT, GPE_PORTS, &gpe_io, pm);
    bus_io_map(pm->bus, PCI_PLUG_PORT, PCI_PLUG_PORTS, &pci_plug_io, pm);
    bus_io_map(pm->bus, CPU_PLUG_PORT, CPU_PLUG_PORTS, &cpu_plug_io, pm);
}

static void remap_ports(struct piix4_pm *pm)
{
    uint32_t pm_base = wanted(pm, REG_PMBASE, REG_PMREGMISC, PM_PORTS);
    uint32_t smb_base = wanted(pm, REG_SMBBASE, REG_SMBCFG, SMB_PORTS);
    if (pm_base == pm->pm_mapped && smb_base == pm->smb_mapped)
        return;
    if (pm->pm_mapped)
        bus_io_unmap(pm->bus, (uint16_t)pm->pm_mapped, PM_PORTS, pm);
    if (pm->smb_mapped)
        bus_io_unmap(pm->bus, (uint16_t)pm->smb_mapped, SMB_PORTS, pm);
    pm->pm_mapped = pm_base;
    pm->smb_mapped = smb_base;
    pci_remap(pm->pci_bus); /* ends in map_ports() */
}

static void pm_on_write(void *chip, uint8_t offset, unsigned bytes)
{
    (void)offset;
    (void)bytes;
    remap_ports(chip);
}

/* ---- life ------------------ */

static void reset_registers(struct piix4_pm *pm)
{
    uint8_t *config = pm->pci.config;
    for (unsigned i = 0x40; i < 0x100; i++)
        config[i] = 0;
    config[REG_PMBASE] = 1;
    config[REG_SMBBASE] = 1;
    /* As after system management set-up: SeaBIOS then leaves it out. */
    config[REG_DEVACTB_3] = 0x02;
    /* Serial and parallel port decodes are on (82371AB 7.1.16-20). */
    config[0x5F] = 0x10;
    config[0x63] = 0x60;
    config[0x67] = 0x18;
    pm->pm1_sts = pm->pm1_en = pm->pm1_cnt = 0;
    for (unsigned i = 0; i < GPE_PORTS; i++)
        pm->gpe[i] = 0;
    for (unsigned i = 0; i < PM_PORTS; i++)
        pm->ports[i] = 0;
    for (unsigned i = 0; i < SMB_PORTS; i++)
        pm->smb[i] = 0;
    pm->apm_control = pm->apm_status = 0;
}

static void pm_reset(void *chip)
{
    struct piix4_pm *pm = chip;
    pci_function_reset(&pm->pci);
    reset_registers(pm);
    schedule_overflow(pm);
    remap_ports(pm);
    update_sci(pm);
}

static void pm_save(const void *chip, struct writer *w)
{
    const struct piix4_pm *pm = chip;
    pci_function_save(&pm->pci, w);
    fields_save(pm_fields, FIELD_COUNT(pm_fields), pm, w);
}

static bool pm_load(void *chip, struct reader *r, struct error *err)
{
    struct piix4_pm *pm = chip;
    if (!pci_function_load(&pm->pci, r, err) ||
        !fields_load(pm_fields, FIELD_COUNT(pm_fields), pm, r, err))
        return false;
    pm->pm1_en &= PM1_EN_BITS;
    pm->pm1_cnt &= CNT_BITS;
    remap_ports(pm);
    return true;
}

static void set_masks(struct pci_function *f)
{
    static const struct {
        uint8_t first, bytes, mask;
    } open[] = {
        {0x41, 1, 0xFF}, {0x44, 0x24, 0xFF}, {0x68, 0x18, 0xFF},
        {0x80, 1, 0x01}, {0x91, 1, 0xFF},    {0xD2, 5, 0xFF},
    };
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
        for (unsigned k = 0; k < open[i].bytes; k++)
            f->writable[open[i].first + k] = open[i].mask;
    f->writable[REG_PMBASE] = 0xC0;
    f->writable[REG_SMBBASE] = 0xF0;
}

struct piix4_pm *piix4_pm_new(struct dev_bus *bus, struct pci_bus *pci)
{
    struct piix4_pm *pm = calloc(1, sizeof *pm);
    if (!pm)
        return NULL;
    pm->bus = bus;
    pm->pci_bus = pci;
    pm->timer = bus_timer_new(bus, "acpi_pm", timer_fire, pm);
    pm->sci = bus_irq_source(bus, "sci", 9);
    struct pci_function *f = &pm->pci;
    f->device = 1;
    f->function = 3;
    f->chip = pm;
    f->on_write = pm_on_write;
    pci_init_header(f, 0x8086, 0x7113, 0x068000, 0x03, 1);
    f->config[REG_STATUS_HIGH] = 0x02;
    set_masks(f);
    reset_registers(pm);
    schedule_overflow(pm);
    pci_add_function(pci, f);
    pci_set_remapped(pci, map_ports, pm);
    map_ports(pm);
    bus_io_map(bus, APM_PORT, 2, &apm_io, pm);
    return pm;
}

void piix4_pm_free(struct piix4_pm *pm)
{
    free(pm);
}

const struct chip_ops piix4_pm_ops = {.name = "piix4_pm",
                                      .tag = "PM4 ",
                                      .reset = pm_reset,
                                      .save = pm_save,
                                      .load = pm_load};
