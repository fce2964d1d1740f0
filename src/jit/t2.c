/* Traces: from requests to installed code and back out. */
#include "jit/t2.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    JUDGED_EVERY = 1 << 23,  /* ticks */
    JUDGED_COST = 100000,    /* a lower one says nothing; see cost_of() */
    DEFAULT_LEAST = 48, /* below, entering costs more than the trace saves */
};

/* ---- code of heads ------------------------------------------------------- */

uint8_t *t2_emit_counter(struct t2 *t, struct emit *e, struct block_code *k)
{
    if (t->heats == T2_HEATS)
        t->heats = 1; /* shared from here: no matter */
    k->heat = t->heats++;
    k->tier2 = T2_COLD;
    t->heat[k->heat] = (int32_t)t->j->options.tier2_threshold;
    emit_op(e, 4, 0x83, 5, rm_abs(&t->heat[k->heat]), 4, 1); /* sub, 1 */
    emit_u8(e, 1);
    return emit_jump(e, 8); /* js */
}

/* NOPs in place of the counter (SDM vol. 2B, NOP). */
void t2_stop_counting(uint8_t *at)
{
    static const uint8_t nops[T2_HEAT_BYTES] = {
        0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0, 0x0f, 0x1f, 0x40, 0};
    memcpy(at, nops, sizeof nops);
}

static uint8_t *writable(const struct jit *j, const void *exec)
{
    return j->rw + ((const uint8_t *)exec - j->exec);
}

static void jump_at(const struct jit *j, const void *exec, const uint8_t *to)
{
    struct emit e = {.at = writable(j, exec),
                     .end = j->rw + j->bytes,
                     .to_exec = j->exec - j->rw};
    emit_jump_to(&e, 16, to);
}

/* The head counts again, or never more. */
static void let_count(struct t2 *t, struct block_code *k, bool is_failure)
{
    uint8_t *at = writable(t->j, k->code);
    k->attempts += is_failure;
    if (k->attempts >= T2_ATTEMPTS) {
        t2_stop_counting(at);
        k->tier2 = T2_BANNED;
        return;
    }
    struct emit e = {
        .at = at, .end = at + T2_HEAT_BYTES, .to_exec = t->j->exec - t->j->rw};
    emit_op(&e, 4, 0x83, 5, rm_abs(&t->heat[k->heat]), 4, 1);
    emit_u8(&e, 1);
    emit_jump_to(&e, 8, k->refuse);
    t->heat[k->heat] =
        (int32_t)(t->j->options.tier2_threshold * (1u + k->attempts));
    k->tier2 = T2_COLD;
}

/* ---- installing ---------------------------------------------------------- */

static bool is_current(const struct t2 *t, const struct t2_request *q)
{
    if (q->generation != t->generation)
        return false;
    for (unsigned n = 0; n < q->block_count; n++)
        if (!q->blocks[n]->valid)
            return false;
    return q->head->code != NULL;
}

static bool has_room(const struct t2 *t, const struct t2_request *q)
{
    const struct jit *j = t->j;
    return j->used + q->code_bytes + 64 < j->cold_first &&
           j->slot_count + q->link_count < JIT_SLOTS &&
           j->blocks < j->options.blocks_max &&
           t->use_count + q->block_count < T2_USES;
}

static void relocate(struct jit *j, const struct t2_request *q, uint8_t *at)
{
    struct emit e = {.to_exec = j->exec - j->rw};
    uint32_t moved = (uint32_t)(at - j->rw);
    for (unsigned n = 0; n < q->fix_count; n++) {
        uint8_t *site = at + q->fixes[n];
        uint32_t v;
        memcpy(&v, site, 4);
        v -= moved;
        memcpy(site, &v, 4);
    }
    emit_patch(&e, at + q->fallback_at, q->trace->fallback);
    for (unsigned n = 0; n < q->link_count; n++) {
        const struct t2_link *l = &q->links[n];
        uint32_t s = j->slot_count++;
        memcpy(at + l->slot, &s, 4);
        j->slots[s] = (struct slot){.site = at + l->site,
                                    .stub = j->exec + (at - j->rw) + l->stub,
                                    .high = PAGE_BYTES};
    }
}

static void note_uses(struct t2 *t, const struct t2_request *q)
{
    for (unsigned n = 0; n < q->block_count; n++) {
        struct block_code *k = q->blocks[n];
        if (k->traces && t->uses[k->traces].trace == q->trace->id)
            continue; /* the same block again */
        t->uses[t->use_count] = (struct t2_use){q->trace->id, k->traces};
        k->traces = t->use_count++;
    }
}

static void install(struct t2 *t, struct t2_request *q)
{
    struct jit *j = t->j;
    struct t2_trace *trace = q->trace;
    uint8_t *at = j->rw + j->used;
    trace->fallback = (const uint8_t *)q->head->code + T2_HEAT_BYTES;
    trace->entry = at;
    trace->head_block = q->head;
    memcpy(at, q->code, q->code_bytes);
    relocate(j, q, at);
    j->used = (j->used + q->code_bytes + 15) & ~(size_t)15;
    note_uses(t, q);
    memset(&t->near_data->count[trace->id], 0, sizeof *t->near_data->count);
    if (trace->id > t->most_id)
        t->most_id = trace->id;
    jump_at(j, q->head->code, j->exec + (at - j->rw));
    trace->is_installed = true;
    j->blocks++;
    j->stats.tier2_blocks_compiled++;
    if (j->options.on_code) {
        const struct jit_code made = {j->exec + (at - j->rw), q->code_bytes,
                                      trace->head, 2};
        j->options.on_code(j->options.on_code_context, &made);
    }
}

/* Its counts into a total. */
static void sum_up(struct t2_total *to, const struct t2_count *n)
{
    to->ticks += n->ticks;
    for (unsigned k = 0; k < T2_REASONS; k++)
        to->fails[k] += n->fails[k];
}

static void tell_of(const struct t2 *t, const struct t2_trace *trace)
{
    const struct jit_options *options = &t->j->options;
    const struct t2_count *n = &t->near_data->count[trace->id];
    struct jit_trace made = {.guest = trace->head,
                             .insns = trace->insn_count,
                             .ticks = n->ticks,
                             .deopts = n->fails[T2_FAIL_ACCESS]};
    if (!options->on_trace)
        return;
    for (unsigned k = 0; k < T2_REASONS; k++)
        made.guard_fails += k == T2_FAIL_ACCESS ? 0 : n->fails[k];
    options->on_trace(options->on_code_context, &made);
}

static void free_trace(struct t2 *t, uint32_t id)
{
    struct t2_trace *trace = t->traces[id];
    t->traces[id] = NULL;
    if (!trace)
        return;
    tell_of(t, trace);
    sum_up(&t->past, &t->near_data->count[id]);
    memset(&t->near_data->count[id], 0, sizeof *t->near_data->count);
    free(trace->sites);
    free(trace->consts);
    free(trace);
}

void t2_release(struct t2_request *q)
{
    free(q->code);
    free(q->fixes);
    free(q->links);
    q->code = NULL;
    q->fixes = NULL;
    q->links = NULL;
    q->trace = NULL;
    q->is_taken = q->is_sampled = false;
}

void t2_finish(struct t2 *t, struct t2_request *q)
{
    struct jit_stats *s = &t->j->stats;
    s->tier2_ns += q->total_ns;
    for (unsigned n = 0; n < JIT_PASSES; n++)
        s->pass_ns[n] += q->pass_ns[n];
    bool is_mine = q->generation == t->generation;
    q->is_compiled &= !q->is_sampled;
    t2_count_cut(t, q->cut);
    bool ok = q->is_compiled && is_current(t, q) && has_room(t, q);
    if (ok) {
        install(t, q);
    } else {
        uint32_t id = q->trace->id;
        if (is_mine) {
            if (q->head->valid)
                let_count(t, q->head, !q->is_broken);
            free_trace(t, id);
        } else { /* a flush let go of it */
            free(q->trace->sites);
            free(q->trace->consts);
            free(q->trace);
        }
    }
    t2_release(q);
}

void t2_submit(struct t2 *t, struct t2_request *q)
{
    if (t->thread && t2_thread_push(t->thread, q))
        return;
    if (!t->thread)
        t2_compile(&t->compiler, q);
    t2_finish(t, q);
}

/* ---- dropping ------------------------------------------------------------ */

static void uninstall(struct t2 *t, struct t2_trace *trace)
{
    trace->is_installed = false; /* its memory stays until a flush */
    t->j->blocks--;
    t->j->stats.tier2_dropped++;
    jump_at(t->j, t->j->exec + (trace->entry - t->j->rw), trace->fallback);
}

void t2_drop_trace(struct t2 *t, uint32_t id, bool is_head_gone)
{
    struct t2_trace *trace = t->traces[id];
    if (!trace || !trace->is_installed)
        return;
    uninstall(t, trace);
    if (!is_head_gone)
        let_count(t, trace->head_block, true);
}

/* Traces that leave early too often cost more than they save. What leaving
 * costs, in instructions of the trace that save as much. */
static uint64_t cost_of(const uint32_t *fails)
{
    static const uint16_t costs[T2_REASONS] = {
        [T2_FAIL_BRANCH] = 80, [T2_FAIL_TARGET] = 250, [T2_FAIL_HEAD] = 80,
        [T2_FAIL_KEY] = 10,    [T2_FAIL_SPAN] = 0,    [T2_FAIL_ACCESS] = 600};
    uint64_t cost = 0;
    for (unsigned k = 0; k < T2_REASONS; k++)
        cost += (uint64_t)fails[k] * costs[k];
    return cost;
}

static void judge(struct t2 *t, struct t2_trace *trace)
{
    const struct t2_count *n = &t->near_data->count[trace->id];
    uint64_t cost = cost_of(n->fails);
    if (cost - trace->judged_cost < JUDGED_COST)
        return;
    if (n->ticks - trace->judged_ticks < cost - trace->judged_cost) {
        struct block_code *k = trace->head_block;
        bool is_elsewhere = n->ticks == trace->judged_ticks &&
                            n->fails[T2_FAIL_KEY] > trace->judged_keys;
        k->no_spans |= n->fails[T2_FAIL_SPAN] > n->fails[T2_FAIL_ACCESS] / 2;
        uninstall(t, trace);
        let_count(t, k, !is_elsewhere);
    }
    trace->judged_ticks = n->ticks;
    trace->judged_cost = cost;
    trace->judged_keys = n->fails[T2_FAIL_KEY];
}

void t2_judge(struct t2 *t)
{
    uint64_t tick = t->j->cpu->tick;
    if (tick - t->judged < JUDGED_EVERY)
        return;
    t->judged = tick;
    for (uint32_t id = 1; id <= t->most_id; id++)
        if (t->traces[id] && t->traces[id]->is_installed)
            judge(t, t->traces[id]);
}

void t2_dropped(struct t2 *t, struct block_code *k)
{
    for (uint32_t u = k->traces; u; u = t->uses[u].next) {
        struct t2_trace *trace = t->traces[t->uses[u].trace];
        if (trace)
            t2_drop_trace(t, trace->id,
                          trace->head_block == k || !trace->head_block->valid);
    }
    k->traces = 0;
    for (unsigned n = 0; n < T2_REQUESTS; n++) {
        struct t2_request *q = &t->requests[n];
        if (!q->is_taken || !q->is_sampled || q->head != k)
            continue;
        if (t->recording == q)
            t->recording = NULL;
        q->is_compiled = false;
        t2_finish(t, q);
    }
}

void t2_flushed(struct t2 *t)
{
    t->generation++;
    t->heats = 1;
    t->use_count = 1;
    /* Traces of requests on their way belong to those now. */
    for (unsigned n = 0; n < T2_REQUESTS; n++)
        if (t->requests[n].is_taken && t->requests[n].trace)
            t->traces[t->requests[n].trace->id] = NULL;
    for (uint32_t id = 1; id < T2_TRACES; id++)
        if (t->traces[id])
            free_trace(t, id);
    t->recording = NULL;
    for (unsigned n = 0; n < T2_REQUESTS; n++) {
        struct t2_request *q = &t->requests[n];
        q->is_compiled &= !q->is_sampled;
        if (q->is_taken && q->is_sampled)
            t2_finish(t, q);
    }
}

const char *const jit_pass_names[JIT_PASSES] = {
    [JIT_PASS_CONSTANT_FOLDING] = "constant_folding",
    [JIT_PASS_DCE] = "dead_code_elimination",
    [JIT_PASS_CSE] = "common_subexpression_elimination",
    [JIT_PASS_FLAG_ELIMINATION] = "flag_elimination",
    [JIT_PASS_STRENGTH_REDUCTION] = "strength_reduction",
    [JIT_PASS_LICM] = "loop_invariant_code_motion",
    [JIT_PASS_REGISTER_ALLOCATION] = "register_allocation",
    [JIT_PASS_SCHEDULING] = "instruction_scheduling",
    [JIT_PASS_INLINING] = "inlining",
    [JIT_PASS_UNROLLING] = "unrolling"};

/* ---- life ---------------------------------------------------------------- */

static void *map_near(const void *to, size_t bytes)
{
    uintptr_t centre = (uintptr_t)to & ~(uintptr_t)0xffff;
    for (intptr_t step = 1; step < 96; step++) {
        for (int side = -1; side <= 1; side += 2) {
            uintptr_t want = centre + (uintptr_t)(side * step * (8 << 20));
            void *p =
                mmap((void *)want, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
            if (p == (void *)want)
                return p;
            if (p != MAP_FAILED)
                munmap(p, bytes);
        }
    }
    return NULL;
}

static void set_defaults(struct jit_options *o)
{
    if (!o->tier2_threshold)
        o->tier2_threshold = JIT_TIER2_THRESHOLD_STANDARD;
    if (!o->trace_max || o->trace_max > T2_INSNS_MAX)
        o->trace_max = T2_INSNS_MAX;
    if (!o->trace_min)
        o->trace_min = DEFAULT_LEAST;
    if (!o->inline_max)
        o->inline_max = JIT_INLINE_STANDARD;
    if (!o->unroll_max)
        o->unroll_max = JIT_UNROLL_STANDARD;
}

struct t2 *t2_new(struct jit *j, struct error *err)
{
    struct t2 *t = calloc(1, sizeof *t);
    if (!t) {
        error_set(err, ERR_NOMEM, "no memory for tier 2");
        return NULL;
    }
    t->j = j;
    t->next_id = t->heats = t->use_count = 1;
    set_defaults(&j->options);
    t->near_bytes = (sizeof *t->near_data + T2_HEATS * sizeof *t->heat + 4095) &
                    ~(size_t)4095;
    t->near_data = map_near(j->cpu, t->near_bytes);
    t->requests = calloc(T2_REQUESTS, sizeof *t->requests);
    t->uses = calloc(T2_USES, sizeof *t->uses);
    if (!t->near_data || !t->requests || !t->uses) {
        error_set(err, ERR_NOMEM, "no memory for tier 2");
        t2_free(t);
        return NULL;
    }
    t->heat = (int32_t *)(void *)(t->near_data + 1);
    struct emit e = {.at = j->rw + j->used,
                     .end = j->rw + j->cold_first,
                     .to_exec = j->exec - j->rw};
    const uint8_t *slow = t2_make_slow(j, &e, t->near_data);
    j->first = j->used = (size_t)((e.at - j->rw + 63) & ~(ptrdiff_t)63);
    bool ok = !e.full ||
              error_set(err, ERR_USAGE,
                        "expected a code cache that holds more than its fixed "
                        "parts, found one of %zu bytes",
                        j->bytes);
    if (!ok || !t2_compiler_init(&t->compiler, j, t->near_data, slow, err) ||
        (j->options.tier2 == JIT_TIER2_THREAD && !t2_thread_new(t, err))) {
        t2_free(t);
        return NULL;
    }
    return t;
}

void t2_free(struct t2 *t)
{
    if (!t)
        return;
    t2_thread_free(t->thread);
    if (t->requests)
        t2_flushed(t);
    for (unsigned n = 0; t->requests && n < T2_REQUESTS; n++) {
        struct t2_request *q = &t->requests[n];
        if (!q->is_taken)
            continue;
        free(q->trace->sites);
        free(q->trace->consts);
        free(q->trace);
        t2_release(q);
    }
    t2_compiler_fini(&t->compiler);
    if (t->near_data)
        munmap(t->near_data, t->near_bytes);
    free(t->requests);
    free(t->uses);
    free(t);
}

void t2_stats(const struct t2 *t, struct jit_stats *out)
{
    struct t2_total all = t->past;
    for (uint32_t id = 1; id <= t->most_id; id++)
        sum_up(&all, &t->near_data->count[id]);
    out->tier2_ticks = all.ticks;
    out->guard_fail_branch = all.fails[T2_FAIL_BRANCH];
    out->guard_fail_target = all.fails[T2_FAIL_TARGET];
    out->guard_fail_head = all.fails[T2_FAIL_HEAD];
    out->guard_fail_key = all.fails[T2_FAIL_KEY];
    out->guard_fail_span = all.fails[T2_FAIL_SPAN];
    out->deopts = all.fails[T2_FAIL_ACCESS];
    t2_top_cuts(t, out->cuts);
}
