#include "analysis/origin.h"

#include "analysis/origin_internal.h"
#include "analysis/scan.h"
#include "cpu/blocks.h"
#include "cpu/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS = 1 << 20 /* instructions to look back through for a register */
};
#define WINDOW_FIRST (UINT64_C(1) << 12)
#define WINDOW_LAST  (UINT64_C(1) << 21)

const char *origin_kind_name(enum origin_kind kind)
{
    static const char *const names[] = {
        "copied", "computed", "constant", "input", "dma", "start", "lost"};
    return names[kind];
}

/* An instruction that retired. */
struct row {
    struct machine_place place;
    uint64_t rip;
};

struct finder {
    struct travel *t;
    struct machine *m;
    struct row *rows; /* owned: a ring of ROWS */
    uint64_t count;   /* ever put in */
    /* The run in execution. */
    const struct block_code *block;
    unsigned first;
    uint64_t linear;
    struct machine_place place;
};

static void describe(struct finder *f, const struct origin_bytes *b,
                     struct origin_step *s)
{
    s->is_register = b->is_register;
    s->paddr = b->paddr;
    s->offset = b->offset;
    s->bytes = b->bytes;
    if (b->is_register)
        (void)snprintf(s->name, sizeof s->name, "%s",
                       ZydisRegisterGetString(b->reg));
    (void)f;
}

/* ---- the last store into memory ---------------------------------------------
 */

static enum scan_found last_store(struct finder *f,
                                  const struct origin_bytes *b,
                                  struct machine_place before,
                                  struct scan_hit *hit, struct error *err)
{
    struct scan_query q = scan_query_all(SCAN_STORE);
    enum scan_found found;
    q.first = b->paddr;
    q.last = b->paddr + b->bytes - 1;
    q.to = before.tick + 1;
    q.backwards = true;
    struct scan *s = scan_new(f->t, &q, err);
    if (!s)
        return SCAN_FAILED;
    do
        found = scan_next(s, hit, err);
    while (found == SCAN_HIT && machine_place_compare(hit->place, before) >= 0);
    scan_free(s);
    return found;
}

/* ---- the last writer of a register ------------------------------------------
 */

static void begin(void *context, struct block_code *k, unsigned first,
                  uint64_t linear, bool is_rest)
{
    struct finder *f = context;
    (void)is_rest;
    f->block = k;
    f->first = first;
    f->linear = linear;
    f->place = machine_place(f->m);
}

static void end(void *context, unsigned begun, bool has_faulted)
{
    struct finder *f = context;
    uint64_t rip = f->linear;
    for (unsigned n = 0; n + has_faulted < begun; n++) {
        struct machine_place place = f->place;
        if (n)
            place = (struct machine_place){place.tick + n, 0};
        f->rows[f->count++ % ROWS] = (struct row){place, rip};
        rip += f->block->insns[f->first + n].len;
    }
}

/* Note what retires from a tick up to a place. */
static enum travel_stop note_rows(struct finder *f, uint64_t from,
                                  struct machine_place before,
                                  struct error *err)
{
    struct cpu_tracer tracer = {.context = f, .begin = begin, .end = end};
    const struct machine_observer o = {.context = f, .tracer = &tracer};
    f->count = 0;
    enum travel_stop stop =
        travel_goto(f->t, (struct machine_place){from, 0}, err);
    if (stop != TRAVEL_THERE)
        return stop;
    machine_observe(f->m, &o);
    stop = travel_run(f->t, before.tick + (before.deliveries != 0), err);
    machine_observe(f->m, NULL);
    if (stop == TRAVEL_END)
        stop = TRAVEL_THERE;
    while (f->count && machine_place_compare(
                           f->rows[(f->count - 1) % ROWS].place, before) >= 0)
        f->count--;
    return stop;
}

/* The last row that writes one of the bytes; false: none of those noted. */
static bool find_writer(struct finder *f, const struct origin_bytes *b,
                        struct row *row)
{
    ZydisDisassembledInstruction insn;
    uint64_t most = f->count < ROWS ? f->count : ROWS;
    for (uint64_t k = 1; k <= most; k++) {
        *row = f->rows[(f->count - k) % ROWS];
        if (origin_decode(f->m, row->rip, &insn) && origin_writes(&insn, b))
            return true;
    }
    return false;
}

static enum travel_stop last_writer(struct finder *f,
                                    const struct origin_bytes *b,
                                    struct machine_place before,
                                    struct row *row, bool *found,
                                    struct error *err)
{
    uint64_t start = travel_session(f->t)->start_tick;
    *found = false;
    for (uint64_t window = WINDOW_FIRST; window <= WINDOW_LAST; window *= 8) {
        uint64_t back = before.tick - start;
        uint64_t from = before.tick - (back < window ? back : window);
        enum travel_stop stop = note_rows(f, from, before, err);
        if (stop != TRAVEL_THERE)
            return stop;
        *found = find_writer(f, b, row);
        if (*found || from == start)
            break;
    }
    return TRAVEL_THERE;
}

/* ---- step by step -----------------------------------------------------------
 */

/* The machine goes in front of the instruction of step s, which wrote the bytes
 * of `to`; `to` becomes what it took them from. */
static enum travel_stop enter_step(struct finder *f, struct origin_step *s,
                                   struct origin_bytes *to, struct error *err)
{
    ZydisDisassembledInstruction insn;
    enum travel_stop stop = travel_goto(f->t, s->place, err);
    if (stop != TRAVEL_THERE)
        return stop;
    if (!origin_decode(f->m, s->rip, &insn)) {
        s->kind = ORIGIN_COMPUTED;
        return stop;
    }
    (void)snprintf(s->text, sizeof s->text, "%s", insn.text);
    struct origin_source source = origin_source_of(f->m, &insn, to);
    s->kind = source.kind;
    *to = source.from;
    return stop;
}

static enum travel_stop next_step(struct finder *f, struct origin_bytes *to,
                                  struct machine_place *before,
                                  struct origin_step *s, struct error *err)
{
    *s = (struct origin_step){.kind = ORIGIN_START, .place = *before};
    describe(f, to, s);
    enum travel_stop stop = travel_goto(f->t, *before, err);
    if (stop != TRAVEL_THERE && stop != TRAVEL_END)
        return stop;
    s->value = origin_value(f->m, to);
    if (to->is_register) {
        struct row row;
        bool found;
        stop = last_writer(f, to, *before, &row, &found, err);
        if (stop != TRAVEL_THERE)
            return stop;
        if (!found) {
            s->kind = ORIGIN_LOST;
            return stop;
        }
        s->place = row.place;
        s->rip = row.rip;
    } else {
        struct scan_hit hit;
        enum scan_found found = last_store(f, to, *before, &hit, err);
        if (found == SCAN_DONE)
            return TRAVEL_THERE;
        if (found != SCAN_HIT)
            return found == SCAN_FAILED ? TRAVEL_FAILED : TRAVEL_INTERRUPTED;
        s->place = hit.place;
        s->rip = hit.rip;
        s->kind = ORIGIN_DMA;
        if (hit.is_dma)
            return TRAVEL_THERE;
    }
    *before = s->place;
    return enter_step(f, s, to, err);
}

enum travel_stop origin_find(struct travel *t, uint64_t vaddr, unsigned bytes,
                             uint64_t tick, struct origin_step *steps,
                             unsigned most, unsigned *count, struct error *err)
{
    struct finder f = {.t = t, .m = travel_machine(t)};
    struct machine_place before = {tick, 0};
    struct origin_bytes to = {.bytes = bytes};
    *count = 0;
    enum travel_stop stop = travel_goto(t, before, err);
    if (stop != TRAVEL_THERE && stop != TRAVEL_END)
        return stop;
    bool is_inside =
        vaddr % PAGE_BYTES + bytes <= PAGE_BYTES && bytes >= 1 && bytes <= 8;
    if (!is_inside || !mmu_peek(&machine_cpu(f.m)->mmu, vaddr, &to.paddr))
        return error_set(err, ERR_USAGE,
                         "expected 1 to 8 mapped bytes in one page at tick "
                         "%llu, found %u at %#llx",
                         (unsigned long long)tick, bytes,
                         (unsigned long long)vaddr)
                   ? stop
                   : TRAVEL_FAILED;
    f.rows = malloc(ROWS * sizeof *f.rows);
    if (!f.rows)
        return error_set(err, ERR_NOMEM, "no memory to look back")
                   ? stop
                   : TRAVEL_FAILED;
    stop = TRAVEL_THERE;
    while (*count < most) {
        stop = next_step(&f, &to, &before, &steps[*count], err);
        if (stop != TRAVEL_THERE)
            break;
        if (steps[(*count)++].kind != ORIGIN_COPIED)
            break;
    }
    free(f.rows);
    return stop;
}
