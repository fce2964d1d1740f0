#include "replay/station.h"

#include "board/probe.h"
#include "cpu/cpu.h"
#include "dev/bus.h"
#include "mem/phys.h"
#include "replay/gdb_monitor.h"
#include "replay/gdb_target.h"
#include "replay/place.h"
#include "replay/session.h"
#include "replay/snapshot.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* With more samples than this, one that no mark follows is made of what
 * instructions change: the CPU, memory and the hash of all I/O. Saving all
 * chips takes ten times as long. */
enum { FULL_SAMPLES = 1 << 16 };

struct station {
    struct replayer *replayer;   /* borrowed */
    struct machine *machine;     /* borrowed */
    struct place_keeper *places; /* borrowed: the replayer's */
    struct place begun; /* where the last run began; devices NULL: none did */
    bool has_ended;     /* the guest, in the last run */
    struct writer scratch;
};

struct station *station_new(struct replayer *rp, struct machine *m,
                            struct error *err)
{
    struct station *s = calloc(1, sizeof *s);
    if (!s) {
        error_set(err, ERR_NOMEM, "no memory to compare states");
        return NULL;
    }
    s->replayer = rp;
    s->machine = m;
    writer_init(&s->scratch);
    replayer_set_verify(rp, false);
    s->places = replayer_places(rp, err);
    if (!s->places) {
        station_free(s);
        return NULL;
    }
    return s;
}

void station_free(struct station *s)
{
    if (!s)
        return;
    place_fini(&s->begun);
    writer_fini(&s->scratch);
    free(s);
}

/* ---- running ----------------------------------------------------------------
 */

/* On to a tick. A guest that ends before it stays where it ended. */
static bool run_to(struct station *s, uint64_t tick, struct error *err)
{
    if (s->has_ended || machine_tick(s->machine) >= tick)
        return true;
    for (;;) {
        switch (replayer_run(s->replayer, tick, err)) {
        case REPLAY_UNTIL:
            return true;
        case REPLAY_FAILED:
            return false;
        case REPLAY_REQUEST:
        case REPLAY_PROBE:
            continue;
        default: /* of the recording, or an end of its own */
            s->has_ended = true;
            return true;
        }
    }
}

static bool load(struct station *s, const struct place *p, struct error *err)
{
    s->has_ended = false;
    return place_load(s->places, p, err) &&
           replayer_resume(s->replayer, p->events_before, err);
}

/* Stand at a tick, cold, and remember the state for the next time. */
static bool begin(struct station *s, uint64_t tick, struct error *err)
{
    struct place place;
    if (s->begun.devices && s->begun.tick == tick)
        return load(s, &s->begun, err);
    place_fini(&s->begun);
    enum store_found found = place_find(s->places, tick, false, &place, err);
    if (found == STORE_NONE)
        error_set(err, ERR_INPUT,
                  "the session has no snapshot at or below tick %llu",
                  (unsigned long long)tick);
    if (found != STORE_FOUND)
        return false;
    bool ok = load(s, &place, err) && run_to(s, tick, err);
    place_fini(&place);
    ok = ok && place_keep(s->places, replayer_events_fed(s->replayer),
                          &s->begun, err);
    return ok && load(s, &s->begun, err);
}

/* ---- looking ----------------------------------------------------------------
 */

static void look(struct station *s, bool is_full, XXH3_state_t *hash)
{
    struct machine *m = s->machine;
    uint64_t tick = machine_tick(m);
    XXH3_128bits_update(hash, &tick, sizeof tick);
    if (is_full) {
        struct digest d = machine_digest(m);
        XXH3_128bits_update(hash, d.cpu, sizeof d.cpu);
        XXH3_128bits_update(hash, d.io, sizeof d.io);
        XXH3_128bits_update(hash, d.mem, sizeof d.mem);
        return;
    }
    uint8_t memory[16];
    uint64_t io = bus_io_hash(machine_bus(m));
    writer_reset(&s->scratch);
    cpu_save(machine_cpu(m), &s->scratch);
    phys_digest(machine_phys(m), memory);
    XXH3_128bits_update(hash, s->scratch.data, s->scratch.used);
    XXH3_128bits_update(hash, &io, sizeof io);
    XXH3_128bits_update(hash, memory, sizeof memory);
}

static void mark(const struct station *s, const XXH3_state_t *hash,
                 struct station_mark *out)
{
    XXH128_hash_t h = XXH3_128bits_digest(hash);
    out->tick = machine_tick(s->machine);
    memcpy(out->hash, &h, sizeof out->hash);
}

static uint64_t next_sample(const struct stretch *w, uint64_t tick)
{
    if (!w->every)
        return w->to;
    uint64_t next = (tick / w->every + 1) * w->every;
    return next < w->to ? next : w->to;
}

static bool take_samples(struct station *s, const struct stretch *w,
                         XXH3_state_t *hash,
                         struct station_mark marks[STATION_MARKS_MAX],
                         unsigned *count, struct error *err)
{
    uint64_t samples = w->every ? (w->to - w->from) / w->every + 1 : 1;
    uint64_t group = samples / (STATION_MARKS_MAX - 1) + 1, n = 0;
    bool is_done = false;
    while (!is_done) {
        uint64_t next = next_sample(w, machine_tick(s->machine));
        if (!run_to(s, next, err))
            return false;
        is_done = s->has_ended || machine_tick(s->machine) >= w->to;
        bool is_marked = ++n % group == 0 || is_done;
        look(s, is_marked || samples <= FULL_SAMPLES, hash);
        if (is_marked)
            mark(s, hash, &marks[(*count)++]);
    }
    return true;
}

bool station_run(struct station *s, const struct stretch *w,
                 struct station_mark marks[STATION_MARKS_MAX], unsigned *count,
                 struct error *err)
{
    const struct machine_stress stress = {.block_insns = w->block};
    *count = 0;
    machine_stop_at(s->machine, NULL);
    machine_set_stress(s->machine, &stress);
    XXH3_state_t *hash = XXH3_createState();
    if (!hash)
        return error_set(err, ERR_NOMEM, "no memory to compare states");
    (void)XXH3_128bits_reset(hash);
    bool ok = begin(s, w->start, err) && run_to(s, w->from, err) &&
              take_samples(s, w, hash, marks, count, err);
    (void)XXH3_freeState(hash);
    return ok;
}

/* ---- one state --------------------------------------------------------------
 */

void station_devices(struct station *s, struct writer *out)
{
    machine_save_devices(s->machine, out);
}

void station_frames(struct station *s, struct writer *out)
{
    struct phys *phys = machine_phys(s->machine);
    uint32_t count = phys_frames(phys);
    for (uint32_t i = 0; i < count; i++) {
        if (!(phys_frame_flags(phys, i) & FRAME_TOUCHED))
            continue;
        const uint8_t *data = phys_frame_host(phys, i);
        if (snapshot_is_zero(data))
            continue;
        XXH128_hash_t h = XXH3_128bits(data, PAGE_BYTES);
        writer_u32(out, i);
        writer_u64(out, h.low64);
        writer_u64(out, h.high64);
    }
}

/* Where the CPU finds a frame, from 0 up. */
static uint64_t address_of(const struct phys *phys, uint32_t frame)
{
    uint64_t end = UINT64_C(1) << 32;
    uint64_t ram = (uint64_t)phys_frames(phys) * PAGE_BYTES;
    for (uint64_t at = 0; at < end + ram; at += PAGE_BYTES) {
        struct phys_page page;
        phys_lookup(phys, at, PHYS_READ, &page);
        if (page.host && page.frame == frame)
            return at;
    }
    return UINT64_MAX;
}

bool station_frame(struct station *s, uint32_t frame, const uint8_t **contents,
                   uint64_t *paddr)
{
    struct phys *phys = machine_phys(s->machine);
    if (frame >= phys_frames(phys))
        return false;
    *contents = phys_frame_host(phys, frame);
    *paddr = address_of(phys, frame);
    return true;
}

void station_layers(struct station *s, struct writer *out)
{
    for (unsigned i = 0; i < MACHINE_BLOCKS; i++) {
        uint8_t digest[16] = {0};
        struct block *b = machine_block(s->machine, i);
        if (b)
            block_digest(b, digest);
        writer_bytes(out, digest, sizeof digest);
    }
}

/* ---- code -------------------------------------------------------------------
 */

/* In front of the first instruction behind `place` and before tick `to`. False:
 * there is none. */
static bool stand_before(struct station *s, struct machine_place place,
                         uint64_t to, struct error *err)
{
    machine_stop_at(s->machine, &place);
    enum replay_stop stop = replayer_run(s->replayer, to, err);
    machine_stop_at(s->machine, NULL);
    return stop == REPLAY_PROBE;
}

/* One line of the lot: "TICK  ADDRESS  INSTRUCTION". */
static void put_insn(struct station *s, struct writer *text)
{
    struct machine_place at = machine_place(s->machine);
    struct writer line;
    writer_init(&line);
    gdb_disassemble(s->machine, gdb_linear_pc(s->machine), 1, &line);
    gdb_print(text, "%llu", (unsigned long long)at.tick);
    if (at.deliveries)
        gdb_print(text, "+%u", at.deliveries);
    gdb_print(text, "  ");
    if (line.used > 3) /* behind the arrow */
        writer_bytes(text, line.data + 3, line.used - 3);
    writer_fini(&line);
}

bool station_code(struct station *s, uint64_t to, unsigned most,
                  struct writer *text, struct error *err)
{
    uint64_t here = machine_tick(s->machine);
    err->text[0] = 0;
    if (most && to - here > most && !run_to(s, to - most, err))
        return false;
    struct machine_place next = machine_place(s->machine);
    while (!s->has_ended && machine_tick(s->machine) < to &&
           stand_before(s, next, to, err)) {
        put_insn(s, text);
        next = machine_place(s->machine);
        next.deliveries++;
    }
    return true;
}
