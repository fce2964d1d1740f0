#include "board/probe.h"

#include "board/machine_internal.h"

#include <assert.h>
#include <string.h>

struct machine_place machine_place(const struct machine *m)
{
    const struct cpu *c = &m->cpu;
    return (struct machine_place){
        c->tick, c->probe.delivery_tick == c->tick ? c->probe.deliveries : 0};
}

uint64_t machine_asleep_since(const struct machine *m)
{
    return m->probe.sleep_tick;
}

static void note_hit(struct machine *m, unsigned index, unsigned kind,
                     uint64_t vaddr, unsigned bytes, const void *data)
{
    struct machine_probe *p = &m->probe;
    struct probe_hit hit = {machine_place(m), index, kind, vaddr, bytes};
    if (p->mode == PROBE_OFF)
        return;
    if (p->tally.hits++ == 0)
        p->tally.first = hit;
    p->tally.last = hit;
    if (p->mode == PROBE_TELL && p->observer.hit)
        p->observer.hit(p->observer.context, &hit, data);
    if (p->mode == PROBE_STOP) {
        p->stop = true;
        cpu_attention(&m->cpu);
    }
}

/* A cpu_probe_fn. */
static bool reached(void *context, uint64_t linear)
{
    struct machine *m = context;
    struct machine_probe *p = &m->probe;
    struct machine_place here = machine_place(m);
    if (p->has_stop_at && machine_place_compare(here, p->stop_at) >= 0) {
        p->stop = true;
        return true;
    }
    bool is_skipped = p->has_skip && machine_place_compare(here, p->skip) == 0;
    bool goes_on = m->cpu.probe.rep_tick == here.tick && here.deliveries == 0;
    if (is_skipped || goes_on)
        return false;
    for (unsigned i = 0; i < p->execs; i++)
        if (linear - p->exec[i].first < p->exec[i].count)
            note_hit(m, p->exec_index[i], PROBE_EXEC, linear, 0, NULL);
    return p->stop;
}

/* A mmu_watch_fn. */
static void accessed(void *context, unsigned index, uint64_t vaddr,
                     unsigned bytes, bool is_write, const void *data)
{
    struct machine *m = context;
    note_hit(m, m->probe.data_index[index], is_write ? PROBE_WRITE : PROBE_READ,
             vaddr, bytes, data);
}

static bool same_probes(const struct machine_probe *p,
                        const struct probe *probes, unsigned count)
{
    bool same = p->count == count;
    for (unsigned i = 0; same && i < count; i++)
        same = p->list[i].vaddr == probes[i].vaddr &&
               p->list[i].bytes == probes[i].bytes &&
               p->list[i].kinds == probes[i].kinds;
    return same;
}

static void set_list(struct machine_probe *p, const struct probe *probes,
                     unsigned count)
{
    p->count = count;
    p->execs = p->datas = 0;
    for (unsigned i = 0; i < count; i++) {
        p->list[i] = probes[i];
        if (probes[i].kinds & (PROBE_EXEC | PROBE_RANGE)) {
            p->exec_index[p->execs] = i;
            p->exec[p->execs++] = (struct cpu_probe_range){
                probes[i].vaddr,
                probes[i].kinds == PROBE_EXEC ? 1 : probes[i].bytes};
            continue;
        }
        p->data_index[p->datas] = i;
        p->data[p->datas++] =
            (struct mmu_watch){.vaddr = probes[i].vaddr,
                               .bytes = probes[i].bytes,
                               .reads = (probes[i].kinds & PROBE_READ) != 0,
                               .writes = (probes[i].kinds & PROBE_WRITE) != 0};
    }
}

void machine_set_probes(struct machine *m, const struct probe *probes,
                        unsigned count)
{
    struct machine_probe *p = &m->probe;
    assert(count <= PROBES_MAX);
    machine_probe_mode(m, PROBE_OFF, false);
    if (same_probes(p, probes, count))
        return;
    bool had_data = p->datas != 0;
    set_list(p, probes, count);
    cpu_probe_arm(&m->cpu, reached, m, p->exec, p->execs);
    if (had_data || p->datas)
        mmu_set_watches(&m->cpu.mmu, p->data, p->datas, accessed, m);
}

void machine_probe_mode(struct machine *m, enum probe_mode mode, bool skip_here)
{
    struct machine_probe *p = &m->probe;
    p->mode = mode;
    p->has_skip = skip_here;
    p->skip = machine_place(m);
    p->stop = false;
    memset(&p->tally, 0, sizeof p->tally);
}

const struct probe_tally *machine_probe_tally(const struct machine *m)
{
    return &m->probe.tally;
}

void machine_observe(struct machine *m, const struct machine_observer *o)
{
    static const struct machine_observer nobody;
    struct machine_probe *p = &m->probe;
    p->observer = o ? *o : nobody;
    m->cpu.probe.note = p->observer.note;
    m->cpu.probe.note_context = p->observer.context;
    phys_spy(m->phys, p->observer.store, p->observer.context);
    phys_spy_mmio(m->phys, p->observer.mmio, p->observer.context);
    mmu_observe(&m->cpu.mmu, p->observer.access, p->observer.context);
    cpu_probe_trace(&m->cpu, p->observer.tracer);
}

void machine_spy(struct machine *m, uint32_t frame, bool on)
{
    if (on)
        phys_flag_set(m->phys, frame, FRAME_SPIED);
    else
        phys_flag_clear(m->phys, frame, FRAME_SPIED);
}

void machine_observed_enough(struct machine *m)
{
    m->probe.stop = true;
    cpu_attention(&m->cpu);
}

uint64_t machine_running_insn(const struct machine *m)
{
    const struct cpu *c = &m->cpu;
    return (c->probe.rip + c->ea_base[SEG_CS]) & c->linear_mask;
}

void machine_stop_at(struct machine *m, const struct machine_place *place)
{
    struct machine_probe *p = &m->probe;
    p->has_stop_at = place != NULL;
    if (place)
        p->stop_at = *place;
    m->cpu.probe.fn = reached;
    m->cpu.probe.context = m;
    cpu_probe_every(&m->cpu, place != NULL);
}
