#include "board/machine_internal.h"

#include "base/bytes.h"
#include "base/pages.h"
#include "cpu/blocks.h"

#include <stdlib.h>
#include <string.h>

enum {
    /* Ticks between two looks at stop requests from other threads. */
    RUN_SLICE = 1 << 20,
    SLICE_SHIFTS = 21
};

struct machine *machine_new(const struct machine_config *config,
                            const struct machine_media *media,
                            struct error *err)
{
    /* Zeros, in pages of their own: the JIT's code must lie near the CPU, and a
     * sanitizer leaves no address space free around its heap. */
    struct machine *m = pages_reserve(sizeof *m);
    if (!m) {
        error_set(err, ERR_NOMEM, "no memory for a machine");
        return NULL;
    }
    m->config = *config;
    writer_init(&m->scratch);
    if (!machine_config_check(config, err) || !machine_build(m, media, err)) {
        machine_free(m);
        return NULL;
    }
    machine_reset(m);
    return m;
}

void machine_free(struct machine *m)
{
    if (!m)
        return;
    jit_free(m->jit);
    machine_unbuild(m);
    writer_fini(&m->scratch);
    pages_release(m, sizeof *m);
}

/* RESET to the CPU and all chips, in construction order. */
void machine_reset(struct machine *m)
{
    m->reset_pending = m->init_pending = false;
    bus_reset(m->bus);
    cpu_reset(&m->cpu);
    for (unsigned n = 0; n < m->chips; n++)
        m->chip[n].ops->reset(m->chip[n].self);
    lapic_set_base(m->lapic, m->cpu.apic_base);
    machine_rewire(m);
}

void machine_set_media_open(struct machine *m, media_open_fn *open,
                            void *context)
{
    m->media_open = open;
    m->media_context = context;
}

/* ---- running ------------------------------------------------------------------- */

/* What instructions and timers have asked for; true when the machine ended. */
static bool handle_requests(struct machine *m)
{
    if (m->ended)
        return true;
    if (m->reset_pending)
        machine_reset(m);
    if (m->init_pending) {
        m->init_pending = false;
        cpu_init_signal(&m->cpu);
        lapic_init_signal(m->lapic);
        machine_rewire(m);
    }
    for (unsigned n = 0; n < MACHINE_BLOCKS; n++)
        if (m->block[n] && block_failed(m->block[n], &m->error)) {
            m->ended = true;
            m->end_reason = STOP_MEDIA_ERROR;
        }
    return m->ended;
}

/* A halted CPU that nothing wakes at this tick. */
static bool is_asleep(const struct cpu *c)
{
    return c->halted && !(c->intr && (c->flags & FLAG_IF)) &&
           !(c->nmi_pending && !c->nmi_blocked) && !c->debug_pending;
}

/* For observers: when this sleep began. */
static void note_sleep(struct machine *m)
{
    uint64_t insns = machine_insns(m);
    if (m->probe.sleep_insns == insns)
        return;
    m->probe.sleep_insns = insns;
    m->probe.sleep_tick = m->cpu.tick;
}

/* How many ticks the CPU runs before devices are looked at again. For stress
 * runs: 1 to RUN_SLICE, every power of two as often as the next (xorshift64). */
static uint64_t next_slice(struct machine *m)
{
    uint64_t x = m->slice_random;
    if (!x)
        return RUN_SLICE;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    m->slice_random = x;
    return 1 + (x >> 8) % ((((uint64_t)RUN_SLICE - 1) >> x % SLICE_SHIFTS) + 1);
}

enum stop_reason machine_run(struct machine *m, uint64_t until_tick)
{
    struct cpu *c = &m->cpu;
    for (;;) {
        if (handle_requests(m))
            return (enum stop_reason)m->end_reason;
        if (m->probe.stop) {
            m->probe.stop = false;
            return STOP_PROBE;
        }
        if (c->tick >= until_tick)
            return STOP_TICK;
        if (m->stop_requested) {
            m->stop_requested = false;
            return STOP_REQUEST;
        }
        uint64_t deadline = bus_next_deadline(m->bus);
        if (deadline <= c->tick) {
            bus_fire_due(m->bus);
            continue;
        }
        uint64_t limit = deadline < until_tick ? deadline : until_tick;
        if (is_asleep(c)) {
            note_sleep(m);
            c->skew += limit - c->tick;
            c->tick = limit;
            continue;
        }
        uint64_t slice = next_slice(m);
        if (limit - c->tick > slice)
            limit = c->tick + slice;
        cpu_run(c, limit);
    }
}

void machine_request_stop(struct machine *m)
{
    m->stop_requested = true;
}

/* ---- events ---------------------------------------------------------------------- */

/* Put the named medium (empty: none) into drive 0 (CD) or 1 (floppy). */
static bool change_medium(struct machine *m, unsigned drive, const char *path,
                          struct error *err)
{
    unsigned index = MACHINE_BLOCK_CDROM + drive;
    struct block *fresh = NULL;
    if (*path) {
        if (!m->media_open)
            return error_set(err, ERR_USAGE,
                             "%s: expected a machine that can open media, "
                             "found none attached",
                             path);
        fresh = m->media_open(m->media_context, path, err);
        if (!fresh)
            return false;
    }
    if (drive == 0)
        ide_set_cdrom(m->ide, fresh);
    else
        floppy_set_media(m->fdc, 0, fresh);
    block_free(m->block[index]);
    m->block[index] = fresh;
    memset(m->medium[drive], 0, MACHINE_PATH);
    memcpy(m->medium[drive], path, strlen(path));
    return true;
}

static bool inject_media(struct machine *m, const struct event *e,
                         struct error *err)
{
    char path[MACHINE_PATH];
    if (e->bytes < 1 || e->payload[0] > 1 || e->bytes > sizeof path)
        return error_set(err, ERR_INPUT,
                         "media event: expected drive 0 or 1 and a path, found "
                         "%u bytes",
                         e->bytes);
    memcpy(path, e->payload + 1, e->bytes - 1u);
    path[e->bytes - 1] = '\0';
    return change_medium(m, e->payload[0], path, err);
}

static bool event_size_ok(const struct event *e, struct error *err)
{
    static const uint16_t bytes[EVENT_TYPE_COUNT] = {
        [EVENT_TYPE_KEY] = 3, [EVENT_TYPE_MOUSE] = 6, [EVENT_TYPE_CLOCK] = 8};
    if (e->type < EVENT_TYPE_COUNT && e->bytes >= bytes[e->type])
        return true;
    return error_set(err, ERR_INPUT,
                     "event of type %u: expected a known type with its "
                     "payload, found %u bytes",
                     (unsigned)e->type, e->bytes);
}

bool machine_inject(struct machine *m, const struct event *e,
                    struct error *err)
{
    const uint8_t *p = e->payload;
    if (!event_size_ok(e, err))
        return false;
    switch (e->type) {
    case EVENT_TYPE_KEY:
        ps2_key(m->ps2, load_le16(p), p[2] != 0);
        break;
    case EVENT_TYPE_MOUSE:
        ps2_mouse(m->ps2, (int16_t)load_le16(p), (int16_t)load_le16(p + 2),
                  (int8_t)p[4], p[5]);
        break;
    case EVENT_TYPE_SERIAL:
        (void)serial_receive(m->serial, p, e->bytes);
        break;
    case EVENT_TYPE_CLOCK:
        rtc_set_time(m->rtc, (int64_t)load_le64(p));
        break;
    case EVENT_TYPE_MEDIA:
        return inject_media(m, e, err);
    case EVENT_TYPE_RESET:
        machine_reset(m);
        break;
    case EVENT_TYPE_POWER:
        piix4_pm_power_button(m->pm);
        break;
    default:
        break;
    }
    return true;
}

/* ---- looking in -------------------------------------------------------------------- */

uint64_t machine_tick(const struct machine *m)
{
    return m->cpu.tick;
}

uint64_t machine_insns(const struct machine *m)
{
    return m->cpu.tick - m->cpu.skew;
}

bool machine_is_halted(const struct machine *m)
{
    return m->cpu.halted;
}

uint64_t machine_next_deadline(const struct machine *m)
{
    return bus_next_deadline(m->bus);
}

const struct machine_config *machine_config(const struct machine *m)
{
    return &m->config;
}

struct cpu *machine_cpu(struct machine *m)
{
    return &m->cpu;
}

struct phys *machine_phys(struct machine *m)
{
    return m->phys;
}

struct dev_bus *machine_bus(struct machine *m)
{
    return m->bus;
}

struct block *machine_block(struct machine *m, unsigned index)
{
    return index < MACHINE_BLOCKS ? m->block[index] : NULL;
}

uint32_t machine_exit_value(const struct machine *m)
{
    return m->exit_value;
}

const char *machine_fault_text(const struct machine *m)
{
    return m->fault_text;
}

const struct error *machine_error(const struct machine *m)
{
    return &m->error;
}

void machine_set_output(struct machine *m, machine_output_fn *fn,
                        void *context)
{
    m->output = fn;
    m->output_context = context;
}

void machine_set_log(struct machine *m, machine_log_fn *fn, void *context)
{
    m->log = fn;
    m->log_context = context;
}

void machine_pic(const struct machine *m, unsigned chip, struct pic_view *out)
{
    pic_view(m->pic, chip, out);
}

bool machine_screen(struct machine *m, struct screen *screen)
{
    return vga_screen(m->vga, screen);
}

bool machine_screen_text(struct machine *m, struct screen_text *text)
{
    return vga_screen_text(m->vga, text);
}

static enum jit_tier2 tier2_of(const struct engine_config *c)
{
    if (c->kind == ENGINE_TIER1)
        return JIT_TIER2_OFF;
    return c->wait == WAIT_YES ? JIT_TIER2_AT_ONCE : JIT_TIER2_THREAD;
}

/* The smaller of the two limits; 0 is none. */
static void limit_blocks(struct machine *m)
{
    unsigned engine = m->engine_block, stress = m->stress_block;
    blocks_limit(&m->cpu, stress && (!engine || stress < engine) ? stress
                                                                 : engine);
}

bool machine_set_engine(struct machine *m, const struct machine_engine *engine,
                        struct error *err)
{
    const struct engine_config *c = &engine->config;
    const struct jit_options options = {
        .cache_bytes = c->cache_bytes,
        .blocks_max = (uint32_t)c->blocks_max,
        .tier1_threshold = (uint32_t)c->tier1_threshold,
        .tier2 = tier2_of(c),
        .tier2_threshold = (uint32_t)c->tier2_threshold,
        .trace_max = (uint32_t)c->trace_max,
        .inline_max = (uint32_t)c->inline_max,
        .unroll_max = (uint32_t)c->unroll_max,
        .now_ns = engine->now_ns,
        .count_lookups = engine->count_lookups,
        .count_memory = engine->count_memory,
        .on_code = engine->on_code,
        .on_trace = engine->on_trace,
        .on_code_context = engine->on_code_context};
    bus_set_clock(m->bus, engine->times_devices ? engine->now_ns : NULL, NULL);
    phys_set_clock(m->phys, engine->times_devices ? engine->now_ns : NULL,
                   NULL);
    m->engine_block = (unsigned)c->block_max;
    limit_blocks(m);
    jit_free(m->jit);
    m->jit = NULL;
    if (c->kind == ENGINE_INTERP)
        return true;
    m->jit = jit_new(&m->cpu, &options, err);
    return m->jit || c->kind <= ENGINE_AUTO;
}

void machine_set_stress(struct machine *m, const struct machine_stress *s)
{
    mmu_limit_entries(&m->cpu.mmu,
                      s->tlb_entries ? s->tlb_entries : TLB_ENTRIES);
    m->stress_block = s->block_insns;
    limit_blocks(m);
    m->slice_random = s->slice_seed;
}
