#include "analysis/telemetry.h"

#include <jansson.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WINDOW_NS (UINT64_C(1000000) * TELEMETRY_WINDOW_MS)

struct sample {
    uint64_t host_ns;
    struct machine_stats stats;
};

struct telemetry {
    char engine[16];
    uint32_t cpu_mhz;
    struct sample *samples; /* owned */
    size_t count, room;
};

struct telemetry *telemetry_new(const char *engine, uint32_t cpu_mhz)
{
    struct telemetry *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    (void)snprintf(t->engine, sizeof t->engine, "%s", engine);
    t->cpu_mhz = cpu_mhz;
    return t;
}

void telemetry_free(struct telemetry *t)
{
    if (!t)
        return;
    free(t->samples);
    free(t);
}

bool telemetry_due(const struct telemetry *t, uint64_t host_ns)
{
    return t->count == 0 ||
           host_ns - t->samples[t->count - 1].host_ns >=
               WINDOW_NS;
}

void telemetry_sample(struct telemetry *t, uint64_t host_ns,
                      const struct machine_stats *now)
{
    if (t->count == t->room) {
        size_t room = t->room ? 2 * t->room : 64;
        struct sample *more = realloc(t->samples, room * sizeof *more);
        if (!more) { /* the last one gives way: totals stay right */
            if (t->count > 1)
                t->samples[t->count - 1] = (struct sample){host_ns, *now};
            return;
        }
        t->samples = more;
        t->room = room;
    }
    t->samples[t->count++] = (struct sample){host_ns, *now};
}

/* ---- figures ---------------------------------------------------------------- */

static double rate(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0.0;
}

static double mips(const struct sample *a, const struct sample *b)
{
    return 1e3 * rate(b->stats.insns - a->stats.insns,
                      b->host_ns - a->host_ns);
}

/* The figures of one window, from sample a to sample b. */
static struct telemetry_rates rates(const struct sample *a,
                                    const struct sample *b)
{
    const struct jit_stats *j = &a->stats.jit, *k = &b->stats.jit;
    double seconds = (double)(b->host_ns - a->host_ns) / 1e9;
    uint64_t hits = k->lookup_hit - j->lookup_hit;
    uint64_t misses = k->lookup_miss - j->lookup_miss;
    uint64_t ns = k->tier1_ns - j->tier1_ns + k->tier2_ns - j->tier2_ns;
    if (seconds <= 0)
        seconds = 1e-9;
    return (struct telemetry_rates){
        .window_ms = (b->host_ns - a->host_ns) / 1000000,
        .mips = mips(a, b),
        .cache_hit_rate = rate(hits, hits + misses),
        .compile_ms_per_s = (double)ns / 1e6 / seconds,
        .blocks_compiled_per_s =
            (double)(k->blocks_compiled - j->blocks_compiled) / seconds};
}

/* What grew between a and b, as far as a panel shows it. */
static struct machine_stats grown(const struct machine_stats *a,
                                  const struct machine_stats *b)
{
    struct machine_stats d = *b;
    d.insns -= a->insns;
    for (unsigned n = 0; n < 3; n++)
        d.tier_insns[n] -= a->tier_insns[n];
    d.jit.blocks_compiled -= a->jit.blocks_compiled;
    d.jit.tier1_ns -= a->jit.tier1_ns;
    d.jit.tier2_blocks_compiled -= a->jit.tier2_blocks_compiled;
    d.jit.tier2_ns -= a->jit.tier2_ns;
    d.jit.deopts -= a->jit.deopts;
    d.port_reads -= a->port_reads;
    d.port_writes -= a->port_writes;
    d.mmio_reads -= a->mmio_reads;
    d.mmio_writes -= a->mmio_writes;
    d.dma_read_bytes -= a->dma_read_bytes;
    d.dma_write_bytes -= a->dma_write_bytes;
    d.device_ns -= a->device_ns;
    return d;
}

void telemetry_view(const struct telemetry *t, uint64_t host_ns,
                    const struct machine_stats *now,
                    struct telemetry_view *out)
{
    const struct sample here = {host_ns, *now};
    const struct sample *first = t->count ? &t->samples[0] : &here;
    const struct sample *last = t->count ? &t->samples[t->count - 1] : &here;
    if (last != first && host_ns - last->host_ns < WINDOW_NS / 2)
        last--; /* too little has happened since */
    *out = (struct telemetry_view){.total = grown(&first->stats, now),
                                   .mips = mips(first, &here),
                                   .rates = rates(last, &here)};
}

/* ---- JSON ------------------------------------------------------------------- */

static void put(json_t *o, const char *name, json_t *value)
{
    (void)json_object_set_new(o, name, value);
}

static void put_count(json_t *o, const char *name, uint64_t value)
{
    put(o, name, json_integer((json_int_t)value));
}

static void put_ms(json_t *o, const char *name, uint64_t ns)
{
    put(o, name, json_real((double)ns / 1e6));
}

static json_t *exits(const struct jit_stats *a, const struct jit_stats *b)
{
    json_t *o = json_object();
    for (unsigned e = 0; e < JIT_EXITS; e++)
        put_count(o, jit_exit_names[e], b->exit[e] - a->exit[e]);
    return o;
}

/* How many paths of tier 2 ended because of which instruction. */
static json_t *cut_paths(const struct jit_stats *a, const struct jit_stats *b)
{
    json_t *o = json_object();
    for (unsigned n = 0; n < JIT_CUTS && b->cuts[n].mnemonic; n++)
        put_count(o, b->cuts[n].mnemonic,
                  b->cuts[n].paths - jit_cut_paths(a, b->cuts[n].mnemonic));
    return o;
}

static json_t *tier2_totals(const struct jit_stats *a,
                            const struct jit_stats *b)
{
    json_t *o = json_object(), *passes = json_object();
    put_count(o, "blocks_compiled",
              b->tier2_blocks_compiled - a->tier2_blocks_compiled);
    put_ms(o, "compile_ms", b->tier2_ns - a->tier2_ns);
    for (unsigned n = 0; n < JIT_PASSES; n++)
        put_ms(passes, jit_pass_names[n], b->pass_ns[n] - a->pass_ns[n]);
    put(o, "passes_ms", passes);
    put_count(o, "dropped", b->tier2_dropped - a->tier2_dropped);
    put(o, "cuts", cut_paths(a, b));
    put_count(o, "slow_calls", b->slow_calls - a->slow_calls);
    return o;
}

/* Why control left traces early. */
static json_t *deopt_totals(const struct jit_stats *a,
                            const struct jit_stats *b)
{
    json_t *o = json_object(), *reasons = json_object();
    uint64_t branch = b->guard_fail_branch - a->guard_fail_branch;
    uint64_t target = b->guard_fail_target - a->guard_fail_target;
    uint64_t head = b->guard_fail_head - a->guard_fail_head;
    uint64_t key = b->guard_fail_key - a->guard_fail_key;
    uint64_t span = b->guard_fail_span - a->guard_fail_span;
    put_count(o, "count", b->deopts - a->deopts);
    put_count(o, "guard_fail", branch + target + head + key + span);
    put_count(reasons, "branch", branch);
    put_count(reasons, "target", target);
    put_count(reasons, "page_at_loop", head);
    put_count(reasons, "space", key);
    put_count(reasons, "page_span", span);
    put(o, "guard_fail_by_reason", reasons);
    return o;
}

static json_t *jit_totals(const struct jit_stats *a, const struct jit_stats *b)
{
    json_t *totals = json_object(), *tier1 = json_object(),
           *cache = json_object();
    put_count(tier1, "blocks_compiled", b->blocks_compiled - a->blocks_compiled);
    put_ms(tier1, "compile_ms", b->tier1_ns - a->tier1_ns);
    put(totals, "tier1", tier1);
    put(totals, "tier2", tier2_totals(a, b));
    put(totals, "deopt", deopt_totals(a, b));
    put_count(cache, "lookup_hit", b->lookup_hit - a->lookup_hit);
    put_count(cache, "lookup_miss", b->lookup_miss - a->lookup_miss);
    put_count(cache, "return_miss", b->return_misses - a->return_misses);
    put_count(cache, "capacity_bytes", b->capacity_bytes);
    put_count(cache, "used_bytes", b->code_bytes);
    put_count(cache, "blocks", b->blocks);
    put_count(cache, "flushes", b->flushes - a->flushes);
    put_count(cache, "evictions_bytes",
              b->evictions_bytes - a->evictions_bytes);
    put_count(cache, "evictions_blocks",
              b->evictions_blocks - a->evictions_blocks);
    put_ms(cache, "eviction_ms", b->eviction_ns - a->eviction_ns);
    put_ms(cache, "eviction_ms_most", b->eviction_ns_most);
    put_count(cache, "links", b->links - a->links);
    put(totals, "cache", cache);
    put(totals, "exits", exits(a, b));
    put_count(totals, "exit_mmio_calls",
              b->exit_mmio_calls - a->exit_mmio_calls);
    put_count(totals, "handler_calls", b->handler_calls - a->handler_calls);
    return totals;
}

static json_t *rolling(const struct sample *a, const struct sample *b)
{
    struct telemetry_rates r = rates(a, b);
    json_t *o = json_object();
    put_count(o, "window_ms", r.window_ms);
    put(o, "cache_hit_rate", json_real(r.cache_hit_rate));
    put(o, "compile_ms_per_s", json_real(r.compile_ms_per_s));
    put(o, "blocks_compiled_per_s", json_real(r.blocks_compiled_per_s));
    return o;
}

static json_t *jit_section(const struct telemetry *t, const struct sample *a,
                           const struct sample *b)
{
    json_t *o = json_object();
    const struct sample *before = t->count > 1 ? b - 1 : b;
    put(o, "enabled", json_boolean(b->stats.has_jit));
    put(o, "totals", jit_totals(&a->stats.jit, &b->stats.jit));
    put(o, "rolling", rolling(before, b));
    return o;
}

static json_t *cpu_section(const struct telemetry *t, const struct sample *a,
                           const struct sample *b)
{
    static const char *const names[] = {"interp", "tier1", "tier2"};
    json_t *o = json_object(), *share = json_object();
    uint64_t insns = b->stats.insns - a->stats.insns;
    uint64_t ns = b->host_ns - a->host_ns;
    put(o, "engine", json_string(t->engine));
    put_count(o, "ticks", b->stats.ticks - a->stats.ticks);
    put_count(o, "insns", insns);
    put(o, "guest_s",
        json_real((double)(b->stats.ticks - a->stats.ticks) / 1e6 /
                  t->cpu_mhz));
    put(o, "host_s", json_real((double)ns / 1e9));
    put(o, "mips", json_real(mips(a, b)));
    for (unsigned n = 0; n < 3; n++) {
        uint64_t part = b->stats.tier_insns[n] - a->stats.tier_insns[n];
        json_t *tier = json_object();
        put_count(tier, "insns", part);
        put(tier, "share", json_real(rate(part, insns)));
        put(share, names[n], tier);
    }
    put(o, "tiers", share);
    return o;
}

static json_t *mmu_section(const struct machine_stats *a,
                           const struct machine_stats *b)
{
    json_t *o = json_object();
    put_count(o, "translate_slow_calls",
              b->translate_slow_calls - a->translate_slow_calls);
    put_count(o, "guest_mem_ops",
              b->jit.memory_accesses - a->jit.memory_accesses);
    put_count(o, "walks", b->walks - a->walks);
    put_count(o, "l2_hits", b->l2_hits - a->l2_hits);
    put_count(o, "large_hits", b->large_hits - a->large_hits);
    put_count(o, "table_drops", b->table_drops - a->table_drops);
    return o;
}

static json_t *io_section(const struct machine_stats *a,
                          const struct machine_stats *b)
{
    json_t *o = json_object();
    put_count(o, "mmio_reads", b->mmio_reads - a->mmio_reads);
    put_count(o, "mmio_writes", b->mmio_writes - a->mmio_writes);
    put_count(o, "port_reads", b->port_reads - a->port_reads);
    put_count(o, "port_writes", b->port_writes - a->port_writes);
    put_count(o, "dma_read_bytes", b->dma_read_bytes - a->dma_read_bytes);
    put_count(o, "dma_write_bytes", b->dma_write_bytes - a->dma_write_bytes);
    put_ms(o, "device_ms", b->device_ns - a->device_ns);
    put_ms(o, "image_read_ms", b->image_read_ns);
    return o;
}

static json_t *memory_section(const struct machine_stats *b)
{
    json_t *o = json_object();
    put_count(o, "ram_bytes", b->ram_bytes);
    put_count(o, "ram_touched_bytes", b->ram_touched_bytes);
    return o;
}

static json_t *frames_section(const struct frame_figures *f)
{
    json_t *o = json_object();
    put_count(o, "count", f->count);
    put_count(o, "looks", f->looks);
    put_count(o, "slow", f->slow);
    put(o, "total_time_s", json_real(f->total_time_s));
    put(o, "avg_fps", json_real(f->avg_fps));
    put(o, "median_fps", json_real(f->median_fps));
    put(o, "low_1_percent_fps", json_real(f->low_1_percent_fps));
    put(o, "low_01_percent_fps", json_real(f->low_01_percent_fps));
    put(o, "mean_ms", json_real(f->mean_ms));
    put(o, "variance_ms2", json_real(f->variance_ms2));
    put(o, "stdev_ms", json_real(f->stdev_ms));
    put(o, "cov", json_real(f->cov));
    return o;
}

static json_t *window(const struct telemetry *t, const struct sample *a,
                      const struct sample *b)
{
    json_t *o = json_object();
    const struct sample *first = &t->samples[0];
    put_ms(o, "host_ms", b->host_ns - first->host_ns);
    put(o, "guest_ms",
        json_real((double)(b->stats.ticks - first->stats.ticks) / 1e3 /
                  t->cpu_mhz));
    put(o, "jit", rolling(a, b));
    put(o, "cpu", cpu_section(t, a, b));
    put(o, "mmu", mmu_section(&a->stats, &b->stats));
    return o;
}

static json_t *whole(const struct telemetry *t,
                     const struct frame_figures *frames)
{
    const struct sample *a = &t->samples[0], *b = &t->samples[t->count - 1];
    json_t *o = json_object(), *series = json_array();
    put(o, "jit", jit_section(t, a, b));
    put(o, "cpu", cpu_section(t, a, b));
    put(o, "mmu", mmu_section(&a->stats, &b->stats));
    put(o, "memory", memory_section(&b->stats));
    put(o, "io", io_section(&a->stats, &b->stats));
    put(o, "frames", frames_section(frames));
    for (size_t n = 1; n < t->count; n++)
        (void)json_array_append_new(series, window(t, &t->samples[n - 1],
                                                   &t->samples[n]));
    put(o, "series", series);
    return o;
}

bool telemetry_write(const struct telemetry *t,
                     const struct frame_figures *frames, const char *path,
                     struct error *err)
{
    char fresh[4096];
    if (t->count == 0)
        return error_set(err, ERR_USAGE, "%s: nothing was measured", path);
    if ((size_t)snprintf(fresh, sizeof fresh, "%s.new", path) >= sizeof fresh)
        return error_set(err, ERR_USAGE, "%s: the name is too long", path);
    json_t *o = whole(t, frames);
    FILE *file = fopen(fresh, "w");
    bool ok = o && file &&
              json_dumpf(o, file, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0 &&
              fputc('\n', file) != EOF;
    if (file && fclose(file) != 0)
        ok = false;
    json_decref(o);
    if (ok && rename(fresh, path) == 0)
        return true;
    error_set(err, ERR_IO, "%s: cannot write: %s", path, strerror(errno));
    (void)unlink(fresh);
    return false;
}
