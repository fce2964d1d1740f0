#include "analysis/trace_make.h"

#include "analysis/trace_make_internal.h"
#include "board/probe.h"
#include "cpu/blocks.h"
#include "cpu/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNK_ROWS = 1 << 20,
    CHUNK_ACCESSES = 1 << 20,
    CHUNK_TABLE_ROWS = 1 << 16
};
_Static_assert((int)BLOCK_INSNS_MAX <= (int)TRACE_BLOCK_INSNS,
               "a trace holds every block whole");

struct maker {
    struct machine *machine;     /* borrowed */
    const struct cpu *cpu;       /* borrowed */
    struct trace_packer *packer; /* owned */
    struct trace_job *job;       /* being filled */
    struct trace_chunk *c;       /* of the job */
    struct cpu_tracer tracer;
    struct trace_blocks blocks;
    uint32_t blocks_told; /* those below are in earlier jobs */
    uint32_t last_block;
    uint32_t chunk_rows;
    uint64_t expected; /* the next row's tick */
    uint64_t row_tick; /* of the run's first row */
    uint32_t row;      /* of the run's first row */
    bool is_inside;    /* between begin and end */
    bool has_events;   /* they are wanted */
    uint64_t cr3;
    uint8_t cpl;
    bool has_space;       /* the two above are told */
    bool is_interrupted;  /* since the last row */
    uint64_t interrupted; /* where */
    uint64_t regs[TRACE_REGISTERS];
};

/* ---- chunks -----------------------------------------------------------------
 */

static void start_job(struct maker *k)
{
    k->job = trace_packer_job(k->packer);
    k->c = &k->job->chunk;
    k->has_space = false;
    memset(k->regs, 0, sizeof k->regs);
}

/* Accesses in front of a row that is not there yet go to the next chunk. */
static void hand_over(struct maker *k)
{
    struct trace_chunk *old = k->c;
    size_t kept = old->accesses.count;
    while (kept && old->accesses.at[kept - 1].row == old->rows)
        kept--;
    size_t moved = old->accesses.count - kept;
    struct trace_access *rest = moved ? malloc(moved * sizeof *rest) : NULL;
    if (moved && !rest)
        old->failed = true;
    if (rest)
        memcpy(rest, old->accesses.at + kept, moved * sizeof *rest);
    old->accesses.count = kept;
    trace_blocks_write(&k->blocks, k->blocks_told, &k->job->blocks);
    k->blocks_told = k->blocks.count;
    k->job->until = k->cpu->tick;
    trace_packer_give(k->packer, k->job);
    start_job(k);
    for (size_t i = 0; rest && i < moved; i++) {
        rest[i].row = 0;
        TRACE_ADD(k->c, accesses, rest[i]);
    }
    free(rest);
    if (trace_packer_failed(k->packer))
        machine_request_stop(k->machine);
}

static bool is_full(const struct maker *k)
{
    return k->c->rows >= k->chunk_rows ||
           k->c->accesses.count >= CHUNK_ACCESSES ||
           k->c->devices.count >= CHUNK_TABLE_ROWS ||
           k->c->events.count >= CHUNK_TABLE_ROWS;
}

/* ---- the flow ---------------------------------------------------------------
 */

/* Code by linear address, without touching devices: what cannot be had is 0. */
static void fetch(const struct maker *k, uint64_t linear, uint8_t *to,
                  unsigned bytes)
{
    struct mmu *mmu = &machine_cpu(k->machine)->mmu;
    memset(to, 0, bytes);
    for (unsigned done = 0; done < bytes;) {
        uint64_t paddr, at = linear + done;
        unsigned n = PAGE_BYTES - (unsigned)(at % PAGE_BYTES);
        struct phys_page page = {0};
        if (n > bytes - done)
            n = bytes - done;
        if (mmu_peek(mmu, at, &paddr))
            phys_lookup(mmu->phys, paddr, PHYS_READ, &page);
        if (page.host)
            memcpy(to + done, page.host + at % PAGE_BYTES, n);
        done += n;
    }
}

static uint32_t find_block(struct maker *k, struct block_code *b,
                           uint64_t linear)
{
    uint8_t lengths[BLOCK_INSNS_MAX], code[BLOCK_INSNS_MAX * 15];
    unsigned bytes = 0;
    for (unsigned i = 0; i < b->count; i++)
        bytes += lengths[i] = b->insns[i].len;
    fetch(k, linear, code, bytes);
    b->trace_id =
        trace_blocks_find(&k->blocks, linear, b->mode, lengths, b->count, code);
    return b->trace_id;
}

static void tell_space(struct maker *k)
{
    struct trace_space s = {.run = (uint32_t)k->c->runs.count,
                            .cpl = k->cpu->cpl,
                            .cr3 = k->cpu->cr3};
    TRACE_ADD(k->c, spaces, s);
    k->has_space = true;
    k->cr3 = s.cr3;
    k->cpl = s.cpl;
}

static void begin(void *context, struct block_code *b, unsigned first,
                  uint64_t linear, bool is_rest)
{
    struct maker *k = context;
    const struct cpu *c = k->cpu;
    if (is_full(k)) {
        k->c->next_rip = k->is_interrupted ? k->interrupted : linear;
        hand_over(k);
    }
    uint32_t id = first ? k->last_block : b->trace_id;
    if (first == 0 && (id == 0 || k->blocks.block[id].linear != linear))
        id = find_block(k, b, linear);
    k->last_block = id;
    if (k->c->rows == 0)
        k->c->first_tick = c->tick;
    else if (c->tick != k->expected)
        TRACE_ADD(k->c, jumps,
                  (struct trace_jump){(uint32_t)k->c->runs.count, c->tick});
    if (!k->has_space || k->cr3 != c->cr3 || k->cpl != c->cpl)
        tell_space(k);
    if (k->is_interrupted)
        TRACE_ADD(
            k->c, entries,
            (struct trace_entry){(uint32_t)k->c->runs.count, k->interrupted});
    k->is_interrupted = false;
    TRACE_ADD(
        k->c, runs,
        (struct trace_run){id, (uint16_t)first, 0, is_rest ? TRACE_REST : 0});
    k->c->failed |= id == 0;
    k->row = k->c->rows;
    k->row_tick = c->tick;
    k->is_inside = true;
}

static void end(void *context, unsigned begun, bool has_faulted)
{
    struct maker *k = context;
    k->is_inside = false;
    k->c->rows += begun;
    k->expected = k->row_tick + begun - has_faulted;
    if (!k->c->runs.count)
        return; /* no memory */
    struct trace_run *r = &k->c->runs.at[k->c->runs.count - 1];
    r->count = (uint16_t)begun;
    if (has_faulted)
        r->flags |= TRACE_FAULTED;
}

/* ---- registers and memory ---------------------------------------------------
 */

static void registers(void *context)
{
    struct maker *k = context;
    const struct cpu *c = k->cpu;
    uint32_t mask = 0;
    for (unsigned i = 0; i < 16; i++)
        if (c->r[i] != k->regs[i]) {
            mask |= 1u << i;
            k->regs[i] = c->r[i];
            TRACE_ADD(k->c, values, c->r[i]);
        }
    uint64_t flags = cpu_rflags(c);
    if (flags != k->regs[16]) {
        mask |= 1u << 16;
        k->regs[16] = flags;
        TRACE_ADD(k->c, values, flags);
    }
    TRACE_ADD(k->c, masks, mask);
}

static void access(void *context, uint64_t vaddr, unsigned bytes, bool is_write,
                   bool is_system, const void *data)
{
    struct maker *k = context;
    struct trace_access a = {.vaddr = vaddr, .row = k->c->rows};
    a.flags = (uint8_t)((is_write ? TRACE_WRITE : 0) |
                        (is_system ? TRACE_SYSTEM : 0));
    if (k->is_inside) {
        a.row = k->row + k->tracer.at;
        a.after = (uint32_t)(k->cpu->tick - k->row_tick - k->tracer.at);
    } else {
        a.flags |= TRACE_DELIVERY;
    }
    for (const uint8_t *at = data; bytes;) {
        a.bytes = (uint8_t)(bytes < 8 ? bytes : 8);
        a.value = 0;
        memcpy(&a.value, at, a.bytes);
        TRACE_ADD(k->c, accesses, a);
        at += a.bytes;
        a.vaddr += a.bytes;
        bytes -= a.bytes;
    }
}

/* ---- devices and events -----------------------------------------------------
 */

static void device(struct maker *k, uint64_t address, unsigned bytes,
                   uint64_t value, unsigned flags)
{
    struct trace_device d = {.tick = k->cpu->tick,
                             .rip = machine_running_insn(k->machine),
                             .address = address,
                             .bytes = (uint8_t)bytes,
                             .flags = (uint8_t)flags};
    memcpy(&d.value, &value, bytes);
    if (is_full(k) && !k->is_inside)
        hand_over(k);
    TRACE_ADD(k->c, devices, d);
}

static void io(void *context, uint16_t port, unsigned bytes, bool is_write,
               uint32_t value)
{
    device(context, port, bytes, value, is_write ? TRACE_WRITE : 0);
}

static void mmio(void *context, uint64_t paddr, unsigned bytes, bool is_write,
                 uint64_t value)
{
    device(context, paddr, bytes, value,
           TRACE_DEVICE_MEMORY | (is_write ? TRACE_WRITE : 0));
}

static void note(void *context, const struct cpu_note *n)
{
    struct maker *k = context;
    const struct cpu *c = k->cpu;
    if (!k->is_inside && !k->is_interrupted) {
        k->is_interrupted = true;
        k->interrupted = machine_running_insn(k->machine);
    }
    if (!k->has_events)
        return;
    struct trace_event e = {.tick = c->tick,
                            .rip = machine_running_insn(k->machine),
                            .cr3 = c->cr3,
                            .value = n->value,
                            .error = n->error,
                            .kind = (uint8_t)n->kind,
                            .vector = n->vector};
    if (n->kind == CPU_NOTE_EXCEPTION && n->vector == 14)
        e.value = c->cr2;
    else if (n->kind == CPU_NOTE_SYSCALL || n->kind == CPU_NOTE_SOFTWARE)
        e.value = c->r[REG_RAX];
    if (is_full(k) && !k->is_inside)
        hand_over(k);
    TRACE_ADD(k->c, events, e);
}

/* ---- the whole --------------------------------------------------------------
 */

static bool start(struct maker *k, struct store *s, struct machine *m,
                  const struct trace_wish *wish, const struct trace_head *head,
                  struct error *err)
{
    k->machine = m;
    k->cpu = machine_cpu(m);
    k->chunk_rows = wish->chunk_rows ? wish->chunk_rows : CHUNK_ROWS;
    k->blocks_told = 1;
    if (!trace_blocks_init(&k->blocks))
        return error_set(err, ERR_NOMEM, "no memory for a trace");
    k->packer = trace_packer_new(s, head, err);
    if (!k->packer)
        return false;
    start_job(k);
    k->tracer =
        (struct cpu_tracer){.context = k,
                            .begin = begin,
                            .insn = wish->what & TRACE_REGS ? registers : NULL,
                            .end = end};
    struct machine_observer o = {.context = k};
    if (wish->what & (TRACE_FLOW | TRACE_MEM | TRACE_REGS))
        o.tracer = &k->tracer;
    if (wish->what & TRACE_MEM)
        o.access = access;
    if (wish->what & TRACE_IO) {
        o.io = io;
        o.mmio = mmio;
    }
    k->has_events = wish->what & TRACE_EVENTS;
    if (k->has_events || o.tracer)
        o.note = note;
    machine_observe(m, &o);
    return true;
}

/* The next free number, and that the name is free. */
static bool choose_id(struct store *s, const char *name, uint32_t *id,
                      struct error *err)
{
    struct trace_head other;
    enum store_found found;
    *id = 1;
    while ((found = trace_head_find(s, *id, &other, err)) == STORE_FOUND) {
        if (strcmp(other.name, name) == 0)
            return error_set(err, ERR_USAGE,
                             "%s: a trace named %s exists already",
                             store_path(s), name);
        *id = other.id + 1;
    }
    return found == STORE_NONE;
}

static bool announce(struct store *s, const struct trace_head *head,
                     struct error *err)
{
    struct store_batch b;
    store_batch_init(&b);
    trace_head_put(&b, head);
    bool ok = store_commit(s, &b, err);
    store_batch_fini(&b);
    return ok;
}

/* Run to `to`. What machine_request_stop() asks for is obeyed. */
static bool run(struct replayer *rp, uint64_t to, struct error *err)
{
    enum replay_stop stop = replayer_run(rp, to, err);
    return stop != REPLAY_FAILED && stop != REPLAY_DIVERGED;
}

static bool go_to(struct replayer *rp, struct machine *m, uint64_t tick,
                  struct error *err)
{
    if (machine_tick(m) == tick)
        return true;
    if (!replayer_seek(rp, tick, err) || !run(rp, tick, err))
        return false;
    return machine_tick(m) == tick ||
           error_set(err, ERR_USAGE,
                     "the trace was interrupted before tick "
                     "%llu",
                     (unsigned long long)tick);
}

static bool check_wish(const struct session *s, const struct trace_wish *wish,
                       struct error *err)
{
    if (!trace_name_ok(wish->name))
        return error_set(err, ERR_USAGE,
                         "expected a trace name of 1 to %d letters, digits, "
                         "'-', '_' and '.', found '%.100s'",
                         TRACE_NAME_MAX, wish->name);
    if (wish->from < s->start_tick || wish->from >= s->end_tick ||
        wish->from >= wish->to)
        return error_set(
            err, ERR_USAGE,
            "expected a part from %llu to %llu, found %llu to "
            "%llu",
            (unsigned long long)s->start_tick, (unsigned long long)s->end_tick,
            (unsigned long long)wish->from, (unsigned long long)wish->to);
    return true;
}

/* Gather while running. */
static bool gather(struct replayer *rp, struct machine *m,
                   const struct trace_wish *wish, struct trace_head *head,
                   struct error *err)
{
    struct store *s = replayer_session(rp)->store;
    struct maker *k = calloc(1, sizeof *k);
    if (!k)
        return error_set(err, ERR_NOMEM, "no memory for a trace");
    bool ok = start(k, s, m, wish, head, err) && run(rp, wish->to, err);
    machine_observe(m, NULL);
    if (k->packer && k->job && ok) {
        const struct cpu *c = k->cpu;
        k->c->next_rip =
            k->is_interrupted
                ? k->interrupted
                : (c->r[REG_RIP] + c->ea_base[SEG_CS]) & c->linear_mask;
        hand_over(k);
    }
    if (k->packer) {
        struct error packing;
        bool packed =
            trace_packer_finish(k->packer, machine_tick(m), head, &packing);
        if (ok && !packed)
            *err = packing;
        ok = ok && packed;
    }
    trace_packer_free(k->packer);
    trace_blocks_fini(&k->blocks);
    free(k);
    return ok;
}

bool trace_make(struct replayer *rp, struct machine *m,
                const struct trace_wish *wish, struct trace_head *head,
                struct error *err)
{
    const struct session *session = replayer_session(rp);
    struct store *s = session->store;
    struct trace_wish full = *wish;
    if (full.what & (TRACE_MEM | TRACE_REGS))
        full.what |= TRACE_FLOW; /* they are told by row */
    *head = (struct trace_head){
        .what = full.what, .from = wish->from, .to = wish->from};
    (void)snprintf(head->name, sizeof head->name, "%s", wish->name);
    if (!check_wish(session, wish, err) ||
        !choose_id(s, wish->name, &head->id, err) ||
        !go_to(rp, m, wish->from, err) || !announce(s, head, err))
        return false;
    return gather(rp, m, &full, head, err);
}

/* ---- names ------------------------------------------------------------------
 */

static const struct {
    const char *name;
    unsigned what;
} words[] = {{"insn", TRACE_FLOW},  {"branch", TRACE_FLOW},
             {"mem", TRACE_MEM},    {"io", TRACE_IO},
             {"irq", TRACE_EVENTS}, {"regs", TRACE_REGS}};

bool trace_what_parse(const char *text, unsigned *what, struct error *err)
{
    *what = 0;
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        unsigned found = 0;
        for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
            if (strlen(words[i].name) == length &&
                memcmp(words[i].name, at, length) == 0)
                found = words[i].what;
        if (!found)
            return error_set(err, ERR_USAGE,
                             "expected insn, branch, mem, io, irq and regs "
                             "with commas between, found '%.100s'",
                             text);
        *what |= found;
        at += length;
        if (!*at)
            return true;
    }
}

void trace_what_text(unsigned what, char *text, size_t text_bytes)
{
    size_t used = 0;
    text[0] = 0;
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        bool is_new = i == 0 || words[i].what != words[i - 1].what;
        if (is_new && (what & words[i].what) && used < text_bytes)
            used += (size_t)snprintf(text + used, text_bytes - used, "%s%s",
                                     used ? "," : "", words[i].name);
    }
}
