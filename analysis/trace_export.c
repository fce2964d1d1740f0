#include "analysis/trace_export.h"

#include "analysis/trace_stacks.h"
#include "base/bytes.h"
#include "cpu/probe.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct out {
    struct trace *trace;
    const struct trace_export *options;
    FILE *file;
    const char *path;
    struct error *err;
    bool any; /* chrome: something was written already */
};

typedef bool row_fn(struct out *o, const struct trace_row *row, void *context);

/* All rows of a table in the part that is wanted; none when the trace does not
 * hold it. */
static bool each(struct out *o, enum trace_table table, row_fn *fn,
                 void *context)
{
    static const uint8_t what[] = {TRACE_FLOW, TRACE_FLOW, TRACE_MEM, TRACE_IO,
                                   TRACE_EVENTS};
    struct trace_query q = trace_query_all(table);
    struct trace_row row;
    enum trace_found found = TRACE_DONE;
    bool ok = true;
    if (!(trace_head_of(o->trace)->what & what[table]))
        return true;
    q.from = o->options->from;
    q.to = o->options->to;
    struct trace_cursor *c = trace_select(o->trace, &q, o->err);
    if (!c)
        return false;
    while (ok && (found = trace_next(c, &row, o->err)) == TRACE_ROW)
        ok = fn(o, &row, context);
    trace_cursor_free(c);
    return ok && found != TRACE_BAD;
}

static const char *kind_name(unsigned kind)
{
    static const char *const names[] = {[CPU_NOTE_INTERRUPT] = "interrupt",
                                        [CPU_NOTE_EXCEPTION] = "exception",
                                        [CPU_NOTE_SOFTWARE] = "int",
                                        [CPU_NOTE_CR3] = "cr3",
                                        [CPU_NOTE_SYSCALL] = "syscall"};
    return kind < sizeof names / sizeof names[0] ? names[kind] : "event";
}

/* ---- csv --------------------------------------------------------------------
 */

static bool csv_row(struct out *o, const struct trace_row *r, void *context)
{
    const char *table = context;
    (void)fprintf(o->file,
                  "%" PRIu64 ",%s,%#" PRIx64 ",%#" PRIx64 ",%u,%#" PRIx64
                  ",%#" PRIx64 ",%u,%s,%s,%u,%#x\n",
                  r->tick, table, r->rip, r->cr3, r->cpl, r->address, r->value,
                  r->bytes, r->flags & TRACE_WRITE ? "write" : "",
                  strcmp(table, "event") == 0 ? kind_name(r->kind) : "",
                  r->vector, r->error);
    return true;
}

static bool write_csv(struct out *o)
{
    static const char *const tables[] = {"insn", NULL, "access", "device",
                                         "event"};
    (void)fprintf(o->file, "tick,table,rip,cr3,cpl,address,value,bytes,write,"
                           "kind,vector,error\n");
    for (unsigned t = 0; t < 5; t++)
        if (tables[t] && !each(o, (enum trace_table)t, csv_row,
                               (void *)(uintptr_t)tables[t]))
            return false;
    return true;
}

/* ---- names ------------------------------------------------------------------
 */

static void name_of(const struct out *o, uint64_t address, char *text,
                    size_t bytes)
{
    if (!o->options->name ||
        !o->options->name(o->options->context, address, text, bytes))
        (void)snprintf(text, bytes, "%#" PRIx64, address);
}

/* ---- chrome -----------------------------------------------------------------
 */

enum { THREAD_CALLS = 1, THREAD_EVENTS, THREAD_DEVICES };

/* One event object up to its arguments. */
static void chrome_begin(struct out *o, const char *name, char phase,
                         uint64_t tick, unsigned thread)
{
    (void)fprintf(o->file, "%s{\"name\":\"", o->any ? ",\n" : "");
    for (const char *p = name; *p; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < 0x20)
            (void)fprintf(o->file, "\\u%04x", (unsigned char)*p);
        else
            (void)fputc(*p, o->file);
    (void)fprintf(o->file,
                  "\",\"ph\":\"%c\",\"ts\":%.4f,\"pid\":1,\"tid\":%u%s", phase,
                  (double)tick / o->options->cpu_mhz, thread,
                  phase == 'i' ? ",\"s\":\"t\"" : "");
    o->any = true;
}

struct chrome {
    struct trace_stacks *stacks;
    struct out *out;
    uint64_t tick;
};

static void chrome_ended(void *context, const struct trace_frame *frame)
{
    struct chrome *k = context;
    char name[200];
    name_of(k->out, frame->entry, name, sizeof name);
    chrome_begin(k->out, name, 'X', frame->tick, THREAD_CALLS);
    (void)fprintf(k->out->file, ",\"dur\":%.4f}",
                  (double)(k->tick - frame->tick) / k->out->options->cpu_mhz);
}

static enum trace_turn turn(const struct out *o, const struct trace_row *r)
{
    const struct trace_blocks *b = trace_blocks_of(o->trace);
    return trace_turn_of(trace_code(o->trace, r), r->length,
                         b->block[r->block].mode);
}

static bool chrome_branch(struct out *o, const struct trace_row *r,
                          void *context)
{
    struct chrome *k = context;
    k->tick = r->tick + 1;
    switch (turn(o, r)) {
    case TRACE_TURN_CALL:
        trace_stacks_call(k->stacks, r->address, r->rip + r->length, r->tick);
        break;
    case TRACE_TURN_RETURN:
        (void)trace_stacks_return(k->stacks, r->address, chrome_ended, k);
        break;
    default:
        break;
    }
    return true;
}

static bool chrome_event(struct out *o, const struct trace_row *r,
                         void *context)
{
    char name[64];
    (void)context;
    if (r->kind == CPU_NOTE_CR3 || r->kind == CPU_NOTE_SYSCALL)
        (void)snprintf(name, sizeof name, "%s %#" PRIx64, kind_name(r->kind),
                       r->value);
    else
        (void)snprintf(name, sizeof name, "%s %u", kind_name(r->kind),
                       r->vector);
    chrome_begin(o, name, 'i', r->tick, THREAD_EVENTS);
    (void)fprintf(o->file,
                  ",\"args\":{\"tick\":%" PRIu64 ",\"rip\":\"%#" PRIx64
                  "\",\"error\":%u}}",
                  r->tick, r->rip, r->error);
    return true;
}

static bool chrome_device(struct out *o, const struct trace_row *r,
                          void *context)
{
    char name[64];
    (void)context;
    (void)snprintf(name, sizeof name, "%s %#" PRIx64,
                   r->flags & TRACE_DEVICE_MEMORY
                       ? r->flags & TRACE_WRITE ? "store" : "load"
                   : r->flags & TRACE_WRITE ? "out"
                                            : "in",
                   r->address);
    chrome_begin(o, name, 'i', r->tick, THREAD_DEVICES);
    (void)fprintf(o->file,
                  ",\"args\":{\"tick\":%" PRIu64 ",\"rip\":\"%#" PRIx64
                  "\",\"value\":\"%#" PRIx64 "\"}}",
                  r->tick, r->rip, r->value);
    return true;
}

static bool write_chrome(struct out *o)
{
    static const char *const threads[] = {"calls", "events", "devices"};
    struct chrome k = {.stacks = trace_stacks_new(), .out = o};
    if (!k.stacks)
        return error_set(o->err, ERR_NOMEM, "%s: out of memory", o->path);
    (void)fprintf(o->file, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
    for (unsigned i = 0; i < 3; i++) {
        (void)fprintf(o->file,
                      "%s{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,"
                      "\"tid\":%u,\"args\":{\"name\":\"%s\"}}",
                      i ? ",\n" : "", i + 1, threads[i]);
        o->any = true;
    }
    bool ok = each(o, TRACE_BRANCHES, chrome_branch, &k) &&
              each(o, TRACE_EVENT_ROWS, chrome_event, NULL) &&
              each(o, TRACE_DEVICE_ROWS, chrome_device, NULL);
    /* What has not returned lasts to the end. */
    for (unsigned n = trace_stacks_now(k.stacks)->depth; ok && n-- > 0;)
        chrome_ended(&k, &trace_stacks_now(k.stacks)->frame[n]);
    (void)fprintf(o->file, "\n]}\n");
    trace_stacks_free(k.stacks);
    return ok;
}

/* ---- perf script ------------------------------------------------------------
 */

struct samples {
    struct trace_stacks *stacks;
    uint64_t next; /* tick of the next sample */
    uint64_t period;
};

static void sample_line(struct out *o, uint64_t address)
{
    char name[200];
    name_of(o, address, name, sizeof name);
    (void)fprintf(o->file, "\t%16" PRIx64 " %s (guest)\n", address, name);
}

static void sample(struct out *o, const struct samples *s,
                   const struct trace_row *r)
{
    const struct trace_stack *k = trace_stacks_now(s->stacks);
    (void)fprintf(o->file, "%s %" PRIu64 " [000] %.9f: %" PRIu64 " insns:\n",
                  r->cpl == 3 ? "user" : "kernel", r->cr3 >> 12,
                  (double)r->tick / o->options->cpu_mhz / 1e6, s->period);
    sample_line(o, r->rip);
    for (unsigned n = k->depth; n-- > 0;)
        sample_line(o, k->frame[n].back);
    (void)fputc('\n', o->file);
}

static bool perf_branch(struct out *o, const struct trace_row *r, void *context)
{
    struct samples *s = context;
    /* Up to here execution was in the function that the branch is in. */
    for (; s->next <= r->tick; s->next += s->period)
        sample(o, s, r);
    switch (turn(o, r)) {
    case TRACE_TURN_CALL:
        trace_stacks_call(s->stacks, r->address, r->rip + r->length, r->tick);
        break;
    case TRACE_TURN_RETURN:
        (void)trace_stacks_return(s->stacks, r->address, NULL, NULL);
        break;
    default:
        break;
    }
    return true;
}

static bool write_perf(struct out *o)
{
    uint64_t from = trace_head_of(o->trace)->from;
    struct samples s = {
        .stacks = trace_stacks_new(),
        .next = from > o->options->from ? from : o->options->from,
        .period = o->options->period ? o->options->period : 10007};
    if (!s.stacks)
        return error_set(o->err, ERR_NOMEM, "%s: out of memory", o->path);
    bool ok = each(o, TRACE_BRANCHES, perf_branch, &s);
    trace_stacks_free(s.stacks);
    return ok;
}

/* ---- drcov ------------------------------------------------------------------
 */

enum { REGIONS_MAX = 4096 };
#define REGION_GAP  (UINT64_C(16) << 20)
#define REGION_SPAN (UINT64_C(1) << 31)

/* Offsets have 32 bits, so code is told in regions. */
struct region {
    uint64_t first, end;
};

static int by_address(const void *a, const void *b)
{
    const struct trace_block *const *x = a, *const *y = b;
    return ((*x)->linear > (*y)->linear) - ((*x)->linear < (*y)->linear);
}

static bool grow_region(struct region *r, const struct trace_block *k)
{
    uint64_t end = k->linear + k->code_bytes;
    if (k->linear > r->end + REGION_GAP || end - r->first > REGION_SPAN)
        return false;
    r->end = end > r->end ? end : r->end;
    return true;
}

static unsigned find_regions(const struct trace_block **sorted, size_t count,
                             struct region *regions)
{
    unsigned n = 0;
    for (size_t i = 0; i < count; i++) {
        const struct trace_block *k = sorted[i];
        if (n && grow_region(&regions[n - 1], k))
            continue;
        if (n == REGIONS_MAX)
            break;
        regions[n++] = (struct region){k->linear & ~UINT64_C(0xfff),
                                       k->linear + k->code_bytes};
    }
    return n;
}

static void put_blocks(FILE *f, const struct trace_block **sorted, size_t count,
                       const struct region *regions, unsigned n)
{
    unsigned r = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t entry[8];
        const struct trace_block *k = sorted[i];
        while (r + 1 < n && k->linear >= regions[r + 1].first)
            r++;
        store_le32(entry, (uint32_t)(k->linear - regions[r].first));
        store_le16(entry + 4, k->code_bytes);
        store_le16(entry + 6, (uint16_t)r);
        (void)fwrite(entry, 1, sizeof entry, f);
    }
}

/* Which blocks were executed in the part that is wanted. */
static bool mark(struct out *o, const struct trace_row *r, void *context)
{
    uint8_t *seen = context;
    (void)o;
    seen[r->block] = 1;
    return true;
}

static bool write_drcov(struct out *o)
{
    const struct trace_blocks *b = trace_blocks_of(o->trace);
    uint8_t *seen = calloc(b->count, 1);
    const struct trace_block **sorted = calloc(b->count, sizeof(void *));
    struct region *regions = calloc(REGIONS_MAX, sizeof *regions);
    size_t count = 0;
    bool ok = seen && sorted && regions;
    if (!ok)
        error_set(o->err, ERR_NOMEM, "%s: out of memory", o->path);
    ok = ok && each(o, TRACE_INSNS, mark, seen);
    for (uint32_t i = 1; ok && i < b->count; i++)
        if (seen[i])
            sorted[count++] = &b->block[i];
    if (ok) {
        qsort(sorted, count, sizeof(void *), by_address);
        unsigned n = find_regions(sorted, count, regions);
        (void)fprintf(o->file,
                      "DRCOV VERSION: 2\nDRCOV FLAVOR: relive\n"
                      "Module Table: version 2, count %u\n"
                      "Columns: id, base, end, entry, checksum, timestamp, "
                      "path\n",
                      n);
        for (unsigned i = 0; i < n; i++)
            (void)fprintf(o->file,
                          " %u, %#" PRIx64 ", %#" PRIx64
                          ", 0x0, 0x0, 0x0, region-%" PRIx64 "\n",
                          i, regions[i].first, regions[i].end,
                          regions[i].first);
        (void)fprintf(o->file, "BB Table: %zu bbs\n", count);
        put_blocks(o->file, sorted, count, regions, n);
    }
    free(seen);
    free(sorted);
    free(regions);
    return ok;
}

/* ---- the whole --------------------------------------------------------------
 */

static const struct {
    const char *name;
    bool (*write)(struct out *o);
    uint8_t what; /* needed */
} formats[] = {{"csv", write_csv, 0},
               {"chrome", write_chrome, 0},
               {"perf", write_perf, TRACE_FLOW},
               {"drcov", write_drcov, TRACE_FLOW}};
enum { FORMATS = sizeof formats / sizeof formats[0] };

static int find(const char *format)
{
    for (int i = 0; i < FORMATS; i++)
        if (strcmp(formats[i].name, format) == 0)
            return i;
    return -1;
}

bool trace_export_known(const char *format)
{
    return find(format) >= 0;
}

bool trace_export(struct trace *t, const char *format, const char *path,
                  const struct trace_export *options, struct error *err)
{
    int n = find(format);
    char *temporary = malloc(strlen(path) + 5);
    struct out o = {.trace = t, .options = options, .path = path, .err = err};
    bool ok = temporary != NULL && n >= 0;
    if (!ok)
        error_set(err, temporary ? ERR_USAGE : ERR_NOMEM,
                  "%s: expected csv, chrome, perf or drcov, found '%.100s'",
                  path, format);
    else if (formats[n].what & ~trace_head_of(t)->what)
        ok = error_set(err, ERR_USAGE,
                       "%s: trace %s was made without --what insn", path,
                       trace_head_of(t)->name);
    if (ok) {
        (void)sprintf(temporary, "%s.tmp", path);
        o.file = fopen(temporary, "wb");
        ok = o.file && formats[n].write(&o);
        if (!o.file)
            error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    }
    if (o.file) {
        bool written = !ferror(o.file);
        written = fclose(o.file) == 0 && written;
        if (ok && (!written || rename(temporary, path) != 0))
            ok = error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
        if (!ok)
            (void)remove(temporary);
    }
    free(temporary);
    return ok;
}
