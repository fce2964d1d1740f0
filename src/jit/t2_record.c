/* Recording: which path a trace takes. Tier 0 runs the blocks meanwhile, so
 * what was recorded is what happened. */
#include "jit/t2.h"

#include <Zydis/Mnemonic.h>
#include <stdlib.h>
#include <string.h>

enum {
    SAMPLES = 4,       /* after the first, of a head that ran often */
    SAMPLED_FROM = 64, /* executions */
    RETRY = 64, /* executions until a head that found no room tries again */
};

static uint64_t key_of(const struct cpu *c)
{
    return c->mmu.space_key << 2 | c->mode;
}

static uint64_t now(const struct t2 *t)
{
    const struct jit_options *o = &t->j->options;
    return o->now_ns ? o->now_ns(o->now_context) : 0;
}

static uint64_t page_of(uint64_t rip)
{
    return rip & ~(uint64_t)(PAGE_BYTES - 1);
}

static struct t2_request *take_request(struct t2 *t)
{
    for (unsigned n = 0; n < T2_REQUESTS; n++)
        if (!t->requests[n].is_taken)
            return &t->requests[n];
    /* Instead of a head that was hot long ago. */
    struct t2_request *q = &t->requests[t->next_request++ % T2_REQUESTS];
    if (!q->is_sampled)
        return NULL;
    q->is_compiled = false;
    q->is_broken = true;
    t2_finish(t, q);
    return q;
}

static uint32_t take_id(struct t2 *t)
{
    for (unsigned n = 1; n < T2_TRACES; n++) {
        uint32_t id = t->next_id;
        t->next_id = id + 1 == T2_TRACES ? 1 : id + 1;
        if (!t->traces[id])
            return id;
    }
    return 0;
}

/* The counter in front of the block is jumped over from now on. */
static void stop_counting(struct t2 *t, struct block_code *k)
{
    uint8_t *at = t->j->rw + ((const uint8_t *)k->code - t->j->exec);
    t2_stop_counting(at);
    k->tier2 = T2_BUSY;
}

static void begin(struct t2 *t, struct block_code *k)
{
    const struct cpu *c = t->j->cpu;
    struct t2_request *q = take_request(t);
    uint32_t id = q ? take_id(t) : 0;
    t->heat[k->heat] = RETRY;
    if (!id)
        return;
    struct t2_trace *trace = calloc(1, sizeof *trace);
    if (!trace)
        return;
    *trace = (struct t2_trace){.id = id,
                               .head = c->r[REG_RIP],
                               .key = key_of(c),
                               .attempts = k->attempts};
    t->traces[id] = trace;
    q->is_taken = true;
    q->insn_count = q->block_count = q->inlined = 0;
    q->head = k;
    q->trace = trace;
    q->key = trace->key;
    q->generation = t->generation;
    q->is64 = k->mode == MODE_64;
    q->one_page = true;
    q->is_loop = q->is_compiled = q->is_broken = false;
    q->no_spans = k->attempts > 1;
    q->cut = 0;
    q->code = NULL;
    q->fixes = NULL;
    q->links = NULL;
    q->total_ns = 0;
    memset(q->pass_ns, 0, sizeof q->pass_ns);
    q->samples = q->deviations = q->at = 0;
    q->is_sampled = true;
    t->recording = q;
    t->depth = 0;
    k->tier2 = T2_SAMPLED;
}

static struct t2_request *request_of(struct t2 *t, const struct block_code *k)
{
    for (unsigned n = 0; n < T2_REQUESTS; n++)
        if (t->requests[n].is_taken && t->requests[n].head == k &&
            t->requests[n].generation == t->generation)
            return &t->requests[n];
    return NULL;
}

/* The sampled head is hot again. */
static void begin_again(struct t2 *t, struct block_code *k)
{
    struct t2_request *q = request_of(t, k);
    t->heat[k->heat] = (int32_t)(1 + t->j->options.tier2_threshold / 32);
    if (!q || q->key != key_of(t->j->cpu))
        return;
    t->recording = q;
    q->at = 0;
}

static void give_up(struct t2 *t)
{
    struct t2_request *q = t->recording;
    t->recording = NULL;
    q->is_compiled = false;
    q->is_broken = true;
    t2_finish(t, q);
}

/* To the compiler. */
static void submit(struct t2 *t, struct t2_request *q)
{
    t->recording = NULL;
    q->is_sampled = false;
    stop_counting(t, q->head);
    q->one_page = true;
    for (unsigned n = 0; n < q->block_count; n++)
        if (page_of(q->starts[n]) != page_of(q->trace->head))
            q->one_page = false;
    q->trace->one_page = q->one_page;
    if (!q->is_loop && q->insn_count < t->j->options.trace_min) {
        q->is_compiled = false;
        t2_finish(t, q);
        return;
    }
    t2_submit(t, q);
}

/* A sample is over. */
static void end_sample(struct t2 *t)
{
    struct t2_request *q = t->recording;
    uint32_t threshold = t->j->options.tier2_threshold;
    t->recording = NULL;
    if (threshold < SAMPLED_FROM || q->samples++ == SAMPLES ||
        (!q->is_loop && q->insn_count < t->j->options.trace_min)) {
        submit(t, q);
        return;
    }
    t->heat[q->head->heat] = (int32_t)(1 + threshold / 32);
}

/* The path ends here. */
static void complete(struct t2 *t, bool is_loop)
{
    t->recording->is_loop = is_loop;
    end_sample(t);
}

/* Back to the end of block n - 1. */
static void cut(struct t2 *t, unsigned n)
{
    struct t2_request *q = t->recording;
    q->insn_count = q->first[n];
    q->block_count = n;
}

/* ---- what ends a path ---------------------------------------------------- */

/* Too often at the same block that is not the head: a loop of its own. */
static bool is_inner_loop(struct t2 *t, uint64_t rip)
{
    const struct t2_request *q = t->recording;
    unsigned visits = 0, first = 0;
    for (unsigned n = q->block_count; n-- > 0;)
        if (q->starts[n] == rip) {
            visits++;
            first = n;
        }
    if (visits < t->j->options.unroll_max)
        return false;
    cut(t, first);
    return true;
}

/* Does a call that has not returned lead there? */
static bool is_open(const struct t2 *t, uint64_t rip)
{
    const struct t2_request *q = t->recording;
    for (unsigned n = 0; n < t->depth; n++)
        if (q->starts[t->call_at[n]] == rip)
            return true;
    return rip == q->trace->head;
}

/* Follow calls and returns; true: the path ends at block n. */
static bool count_calls(struct t2 *t, const struct insn *last, unsigned *end)
{
    struct t2_request *q = t->recording;
    *end = q->block_count;
    if (last->mnemonic == ZYDIS_MNEMONIC_CALL) {
        if (last->form != FORM_I || is_open(t, t->j->cpu->r[REG_RIP]))
            return true; /* one of many targets, or recursion */
        if (t->depth == sizeof t->call_at / sizeof t->call_at[0])
            return true;
        t->call_at[t->depth++] = q->block_count;
        q->inlined++;
    } else if (last->mnemonic == ZYDIS_MNEMONIC_RET) {
        if (t->depth == 0)
            return true;
        t->depth--;
    } else if (last->mnemonic == ZYDIS_MNEMONIC_JMP && last->form != FORM_I) {
        return true;
    }
    for (unsigned n = 0; n < t->depth; n++) {
        unsigned at = t->call_at[n];
        if (at < q->block_count &&
            q->insn_count - q->first[at] >= t->j->options.inline_max) {
            *end = at; /* too long to be inlined */
            return true;
        }
    }
    return false;
}

static void append(struct t2 *t, struct block_code *k)
{
    struct t2_request *q = t->recording;
    uint64_t rip = t->j->cpu->r[REG_RIP];
    q->starts[q->block_count] = rip;
    q->first[q->block_count] = q->insn_count;
    q->blocks[q->block_count++] = k;
    for (unsigned n = 0; n < k->count; n++) {
        struct t2_insn *i = &q->insns[q->insn_count++];
        i->i = k->insns[n];
        i->original = &k->insns[n];
        i->rip = rip;
        rip += i->i.len;
        i->next = rip;
    }
    t->expected_tick = t->j->cpu->tick + k->count;
}

/* Did the last block run from its first to its last instruction, and nothing
 * else happen? */
static bool is_continuous(const struct t2 *t, const struct block_code *k)
{
    const struct cpu *c = t->j->cpu;
    const struct t2_request *q = t->recording;
    unsigned end =
        q->samples && q->at < q->block_count ? q->first[q->at] : q->insn_count;
    const struct t2_insn *last = &q->insns[end - 1];
    uint64_t rip = c->r[REG_RIP], taken = last->next + last->i.imm;
    if (c->tick != t->expected_tick || key_of(c) != q->key || !k->valid ||
        k->second != UINT64_MAX || c->probe.delivery_tick == c->tick)
        return false;
    if (last->i.cls == CLASS_NORMAL || t2_passes(&last->i))
        return rip == last->next;
    bool is_relative =
        last->i.form == FORM_I && last->i.mnemonic != ZYDIS_MNEMONIC_RET;
    if (!q->is64)
        taken = (uint32_t)taken;
    return !is_relative || rip == last->next || rip == taken;
}

/* Does the path go where it went before? */
static void compare(struct t2 *t, struct block_code *k)
{
    struct t2_request *q = t->recording;
    if (q->at && !is_continuous(t, k)) {
        t->recording = NULL; /* an interrupt: no sample */
        return;
    }
    bool is_end = q->at == q->block_count;
    uint64_t rip = t->j->cpu->r[REG_RIP];
    if (is_end && !(q->is_loop && rip != q->trace->head)) {
        end_sample(t);
        return;
    }
    if (!is_end && q->blocks[q->at] == k && q->starts[q->at] == rip) {
        t->expected_tick = t->j->cpu->tick + k->count;
        q->at++;
        return;
    }
    if (q->deviations++) {
        unsigned at = q->at < q->deviates_at ? q->at : q->deviates_at;
        q->is_loop = false;
        if (at < q->block_count)
            cut(t, at);
    } else {
        q->deviates_at = q->at;
    }
    end_sample(t);
}

/* Take note that k is next. */
static void record(struct t2 *t, struct block_code *k)
{
    struct t2_request *q = t->recording;
    uint64_t rip = t->j->cpu->r[REG_RIP];
    unsigned end;
    if (q->samples) {
        compare(t, k);
        return;
    }
    if (q->block_count == 0) {
        append(t, k);
        return;
    }
    if (!is_continuous(t, k)) {
        give_up(t);
        return;
    }
    struct t2_insn *last = &q->insns[q->insn_count - 1];
    if (last->i.cls != CLASS_NORMAL)
        last->next = rip;
    bool is_stopped = last->i.cls == CLASS_STOP && !t2_passes(&last->i);
    if (is_stopped)
        t2_count_cut(t, last->i.mnemonic);
    if (rip == q->trace->head && t->depth == 0) {
        complete(t, true);
        return;
    }
    uint64_t begun = now(t);
    bool is_over = count_calls(t, &last->i, &end);
    q->pass_ns[JIT_PASS_INLINING] += now(t) - begun;
    if (is_over && end < q->block_count && end > 0)
        cut(t, end);
    if (is_over ||
        ((k->tier2 == T2_BUSY || k->tier2 == T2_SAMPLED) && t->depth == 0) ||
        is_inner_loop(t, rip) ||
        q->insn_count + k->count > t->j->options.trace_max ||
        q->block_count == T2_BLOCKS_MAX || is_stopped) {
        complete(t, false);
        return;
    }
    append(t, k);
}

bool t2_before(struct t2 *t, struct block_code *k)
{
    t2_judge(t);
    if (t->thread) {
        struct t2_request *q;
        while ((q = t2_thread_pop(t->thread)))
            t2_finish(t, q);
    }
    if (t->recording)
        record(t, k);
    if (!t->recording && k->code && t->heat[k->heat] < 0 &&
        (k->tier2 == T2_COLD || k->tier2 == T2_SAMPLED)) {
        if (k->tier2 == T2_COLD)
            begin(t, k);
        else
            begin_again(t, k);
        if (t->recording)
            record(t, k);
    }
    return t->recording != NULL;
}
