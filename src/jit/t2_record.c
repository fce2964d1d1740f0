/* Recording: which paths lead on from a head. Tier 0 runs the blocks meanwhile,
 * so what was recorded is what happened. */
#include "jit/t2.h"

#include <Zydis/Mnemonic.h>
#include <stdlib.h>
#include <string.h>

enum {
    SAMPLES_ALIKE = 5,  /* of paths that are all the same */
    SAMPLES = 24,       /* of those that are not */
    SAMPLES_WIDE = 96,  /* where a branch goes many ways */
    WIDE = 3,
    LONG = 300,         /* instructions of a path that never came back */
    SAMPLES_EARLY = 3,  /* of a head that did not run often, */
    EARLY = 5,          /* executions, or hardly at all: one */
    SAMPLED_FROM = 65,  /* executions: often */
    BROKEN_MAX = 16,    /* samples that something came between */
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
    q->head = k;
    q->trace = trace;
    q->key = trace->key;
    q->generation = t->generation;
    q->is64 = k->mode == MODE_64;
    q->one_page = true;
    q->is_loop = q->is_compiled = q->is_broken = false;
    q->no_spans = k->no_spans;
    q->cut = 0;
    q->code = NULL;
    q->fixes = NULL;
    q->links = NULL;
    q->total_ns = 0;
    memset(q->pass_ns, 0, sizeof q->pass_ns);
    q->samples = q->broken = 0;
    q->is_wide = q->comes_back = false;
    q->nodes[0] = (struct t2_node){.block = k, .rip = trace->head};
    q->node_count = 1;
    q->is_sampled = true;
    t->recording = q;
    t->path_count = t->depth = 0;
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
    t->path_count = t->depth = 0;
}

static void give_up(struct t2 *t, struct t2_request *q, bool is_broken)
{
    q->is_compiled = false;
    q->is_broken = is_broken;
    t2_finish(t, q);
}

/* Other heads in the loop: the one that was hot first has it. */
static void take_over(struct t2 *t, const struct t2_request *q)
{
    for (unsigned n = 0; n < T2_REQUESTS; n++) {
        struct t2_request *other = &t->requests[n];
        for (unsigned k = 1; k < q->block_count; k++)
            if (other->is_taken && other->is_sampled &&
                other->head == q->blocks[k])
                give_up(t, other, true);
    }
}

/* To the compiler. */
static void submit(struct t2 *t, struct t2_request *q)
{
    q->is_sampled = false;
    stop_counting(t, q->head);
    t2_lay_out(q, t->j->options.trace_max);
    q->one_page = true;
    for (unsigned n = 0; n < q->block_count; n++)
        if (page_of(q->starts[n]) != page_of(q->trace->head))
            q->one_page = false;
    q->trace->one_page = q->one_page;
    if (!q->is_loop && q->insn_count < t->j->options.trace_min)
        give_up(t, q, false);
    else {
        if (q->is_loop)
            take_over(t, q);
        t2_submit(t, q);
    }
}

static struct t2_node *node_at(const struct t2 *t, unsigned n)
{
    return &t->recording->nodes[t->path[n].node];
}

static unsigned samples_for(const struct t2_request *q, bool is_alike,
                            uint32_t threshold)
{
    if (threshold < SAMPLED_FROM)
        return threshold < EARLY ? 1 : SAMPLES_EARLY;
    if (q->is_wide)
        return SAMPLES_WIDE;
    return is_alike && !q->head->attempts ? SAMPLES_ALIKE : SAMPLES;
}

/* A path is complete: back at the head, or going on at rip. */
static void end_sample(struct t2 *t, bool is_back, uint64_t rip)
{
    struct t2_request *q = t->recording;
    struct t2_node *last = &q->nodes[t->path[t->path_count - 1].node];
    uint32_t threshold = t->j->options.tier2_threshold;
    bool is_alike;
    t->recording = NULL;
    last->backs += is_back;
    q->comes_back |= is_back;
    last->end = is_back ? last->end : rip;
    q->samples++;
    is_alike = q->node_count == t->path_count && last->count == q->samples;
    if ((q->samples == 1 && !is_back && t->path_insns < t->j->options.trace_min) ||
        q->samples >= samples_for(q, is_alike, threshold)) {
        submit(t, q);
        return;
    }
    t->heat[q->head->heat] = (int32_t)(1 + threshold / 32);
}

/* An interrupt or a fault: no sample. */
static void break_sample(struct t2 *t)
{
    struct t2_request *q = t->recording;
    for (unsigned n = 0; n < t->path_count; n++)
        node_at(t, n)->count--;
    t->recording = NULL;
    t->heat[q->head->heat] =
        (int32_t)(1 + t->j->options.tier2_threshold / 32);
    if (q->broken++ == BROKEN_MAX)
        give_up(t, q, true);
}

/* ---- what ends a path ---------------------------------------------------- */

/* Too often at the same block that is not the head: a loop of its own, where
 * the path ends. */
static bool is_inner_loop(struct t2 *t, uint64_t rip)
{
    unsigned visits = 0, first = 0;
    if (rip > node_at(t, t->path_count - 1)->rip)
        return false; /* no way back */
    for (unsigned n = t->path_count; n-- > 0;)
        if (node_at(t, n)->rip == rip) {
            visits++;
            first = n;
        }
    if (visits < t->j->options.unroll_max || first == 0)
        return false;
    node_at(t, first)->is_excluded = true;
    return true;
}

/* Does a call that has not returned lead there? */
static bool is_open(const struct t2 *t, uint64_t rip)
{
    for (unsigned n = 0; n < t->depth; n++)
        if (node_at(t, t->call_at[n])->rip == rip)
            return true;
    return rip == t->recording->trace->head;
}

static bool count_call_or_return(struct t2 *t, const struct insn *last)
{
    if (last->mnemonic == ZYDIS_MNEMONIC_CALL) {
        if (is_open(t, t->j->cpu->r[REG_RIP]))
            return true; /* recursion */
        if (t->depth == sizeof t->call_at / sizeof t->call_at[0])
            return true;
        t->call_at[t->depth++] = t->path_count;
    } else if (last->mnemonic == ZYDIS_MNEMONIC_RET) {
        if (t->depth == 0)
            return true;
        t->depth--;
    }
    return false;
}

/* Follow calls and returns; true: the path ends here, or in front of a call that
 * is too long to be inlined. */
static bool count_calls(struct t2 *t, const struct insn *last)
{
    if (last->mnemonic == ZYDIS_MNEMONIC_CALL ||
        last->mnemonic == ZYDIS_MNEMONIC_RET) {
        uint64_t begun = now(t);
        bool is_over = count_call_or_return(t, last);
        t->recording->pass_ns[JIT_PASS_INLINING] += now(t) - begun;
        if (is_over)
            return true;
    }
    for (unsigned n = 0; n < t->depth; n++) {
        unsigned at = t->call_at[n];
        if (at < t->path_count &&
            t->path_insns - t->path[at].insns >= t->j->options.inline_max) {
            node_at(t, at)->is_excluded = true;
            return true;
        }
    }
    return false;
}

/* Did the last block run from its first to its last instruction, and nothing
 * else happen? */
static bool is_continuous(const struct t2 *t, const struct block_code *k)
{
    const struct cpu *c = t->j->cpu;
    const struct t2_request *q = t->recording;
    const struct t2_node *node = node_at(t, t->path_count - 1);
    const struct insn *last = &node->block->insns[node->block->count - 1];
    uint64_t rip = c->r[REG_RIP], next = node->rip + node->block->bytes;
    uint64_t taken = next + last->imm;
    if (c->tick != t->expected_tick || key_of(c) != q->key || !k->valid ||
        k->second != UINT64_MAX || c->probe.delivery_tick == c->tick)
        return false;
    if (last->cls == CLASS_NORMAL || t2_passes(last))
        return rip == next;
    bool is_relative =
        last->form == FORM_I && last->mnemonic != ZYDIS_MNEMONIC_RET;
    if (!q->is64)
        taken = (uint32_t)taken;
    return !is_relative || rip == next || rip == taken;
}

/* The node of k behind `at`; 0: no room. */
static unsigned node_of(struct t2_request *q, unsigned at, struct block_code *k,
                        uint64_t rip)
{
    unsigned n = q->nodes[at].child, count = 0;
    for (; n; n = q->nodes[n].sibling, count++)
        if (q->nodes[n].block == k && q->nodes[n].rip == rip)
            return n;
    if (q->node_count == T2_NODES || count == T2_WAYS_MAX)
        return 0;
    q->is_wide |= count >= WIDE;
    n = q->node_count++;
    q->nodes[n] = (struct t2_node){
        .block = k, .rip = rip, .sibling = q->nodes[at].child};
    k->is_held = true;
    q->nodes[at].child = n;
    return n;
}

/* Of the path, in instructions. */
static unsigned longest(const struct t2 *t)
{
    const struct t2_request *q = t->recording;
    unsigned most = t->j->options.trace_max;
    return q->samples == 0 || q->comes_back || most < LONG ? most : LONG;
}

static void step(struct t2 *t, unsigned node)
{
    struct t2_node *n = &t->recording->nodes[node];
    n->count++;
    if (t->path_count == 0)
        t->path_insns = 0;
    t->path[t->path_count++] = (struct t2_step){node, t->path_insns};
    t->path_insns += n->block->count;
    t->expected_tick = t->j->cpu->tick + n->block->count;
}

/* Take note that k is next. */
static void record(struct t2 *t, struct block_code *k)
{
    struct t2_request *q = t->recording;
    uint64_t rip = t->j->cpu->r[REG_RIP];
    if (t->path_count == 0) {
        step(t, 0);
        return;
    }
    if (!is_continuous(t, k)) {
        break_sample(t);
        return;
    }
    unsigned at = t->path[t->path_count - 1].node;
    const struct block_code *before = q->nodes[at].block;
    const struct insn *last = &before->insns[before->count - 1];
    bool is_stopped = last->cls == CLASS_STOP && !t2_passes(last);
    if (is_stopped)
        t2_count_cut(t, last->mnemonic);
    if (rip == q->trace->head && t->depth == 0) {
        end_sample(t, true, rip);
        return;
    }
    bool is_over = count_calls(t, last);
    if (is_over ||
        (k->tier2 == T2_BUSY && t->depth == 0) ||
        is_inner_loop(t, rip) ||
        t->path_insns + k->count > longest(t) ||
        t->path_count == T2_PATH_MAX || is_stopped) {
        end_sample(t, false, rip);
        return;
    }
    unsigned node = node_of(q, at, k, rip);
    if (node && !q->nodes[node].is_excluded)
        step(t, node);
    else
        end_sample(t, false, rip);
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
