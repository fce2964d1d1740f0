/* Registers: which ones a row finds changed, guessed from the last time the
 * instruction was reached, and their values. Streams: wrong guesses of the
 * mask; how a value was guessed; what could not be. */
#include "analysis/trace_code_internal.h"

enum { MASKS, HOW, REST };

enum {
    VALUE_STEP,                    /* changed by as much as last time */
    VALUE_SAME,                    /* what it was last time */
    VALUE_BYTES,                   /* so many bytes, 0 to 8 */
    VALUE_CHANGE = VALUE_BYTES + 9 /* so many bytes of change, 1 to 8 */
};

struct registers {
    uint64_t r[TRACE_REGISTERS];
};

static void learn(struct code_slot *s, uint64_t *reg, uint64_t value)
{
    s->step = value - *reg;
    s->value = value;
    *reg = value;
}

static void put_value(struct trace_coder *t, struct code_slot *s, uint64_t *reg,
                      uint64_t value)
{
    uint64_t change = trace_zigzag(value - *reg);
    unsigned how;
    if (value == *reg + s->step)
        how = VALUE_STEP;
    else if (value == s->value)
        how = VALUE_SAME;
    else if (trace_width(value) <= trace_width(change))
        how = VALUE_BYTES + trace_width(value);
    else
        how = VALUE_CHANGE + trace_width(change) - 1;
    writer_u8(&t->stream[HOW], (uint8_t)how);
    if (how >= VALUE_CHANGE)
        trace_put_bytes(&t->stream[REST], change, how - VALUE_CHANGE + 1);
    else if (how > VALUE_BYTES)
        trace_put_bytes(&t->stream[REST], value, how - VALUE_BYTES);
    learn(s, reg, value);
}

static bool get_value(struct trace_coder *t, struct code_slot *s, uint64_t *reg,
                      uint64_t *value)
{
    struct reader *rest = &t->in[REST];
    unsigned how = reader_u8(&t->in[HOW]);
    if (how >= VALUE_CHANGE + 8u)
        return false;
    if (how == VALUE_STEP)
        *value = *reg + s->step;
    else if (how == VALUE_SAME)
        *value = s->value;
    else if (how >= VALUE_CHANGE)
        *value = *reg +
                 trace_unzigzag(trace_get_bytes(rest, how - VALUE_CHANGE + 1));
    else
        *value = trace_get_bytes(rest, how - VALUE_BYTES);
    learn(s, reg, *value);
    return !t->in[HOW].failed && !rest->failed;
}

/* The site of each row in turn, as walked by the run. */
static uint32_t base_of(const struct trace_coder *t, const struct trace_run *r)
{
    return t->bases.at[t->local_of[r->block]] + r->first;
}

static bool row_out(struct trace_coder *t, uint32_t site, uint32_t mask,
                    const struct trace_chunk *c, size_t *value,
                    struct registers *regs)
{
    unsigned n = 0;
    for (unsigned r = 0; r < TRACE_REGISTERS; r++) {
        if (!(mask >> r & 1))
            continue;
        if (*value == c->values.count)
            return false;
        put_value(t, code_slot(t, site, n++), &regs->r[r],
                  c->values.at[(*value)++]);
    }
    return true;
}

bool code_registers_out(struct trace_coder *t, const struct trace_chunk *c,
                        const struct trace_blocks *b)
{
    struct registers regs = {{0}};
    uint64_t right = 0;
    size_t row = 0, value = 0;
    if (!code_make_sites(t, c, b) || c->masks.count != c->rows)
        return false;
    for (size_t i = 0; i < c->runs.count; i++) {
        uint32_t base = base_of(t, &c->runs.at[i]);
        for (unsigned n = 0; n < c->runs.at[i].count; n++, row++) {
            uint32_t mask = c->masks.at[row];
            struct code_site *s = &t->sites.at[base + n];
            if (mask == s->mask) {
                right++;
            } else {
                trace_put(&t->stream[MASKS], right);
                trace_put(&t->stream[MASKS], mask);
                s->mask = mask;
                right = 0;
            }
            if (!row_out(t, base + n, mask, c, &value, &regs))
                return false;
        }
    }
    trace_put(&t->stream[MASKS], right);
    return value == c->values.count;
}

static bool row_in(struct trace_coder *t, uint32_t site, uint32_t mask,
                   struct trace_chunk *c, struct registers *regs)
{
    unsigned n = 0;
    for (unsigned r = 0; r < TRACE_REGISTERS; r++) {
        uint64_t value;
        if (!(mask >> r & 1))
            continue;
        if (!get_value(t, code_slot(t, site, n++), &regs->r[r], &value))
            return false;
        TRACE_ADD(c, values, value);
    }
    TRACE_ADD(c, masks, mask);
    return !c->failed;
}

bool code_registers_in(struct trace_coder *t, const struct trace_blocks *b,
                       struct trace_chunk *c)
{
    struct registers regs = {{0}};
    struct reader *masks = &t->in[MASKS];
    if (!code_make_sites(t, c, b))
        return false;
    uint64_t right = trace_get(masks);
    for (size_t i = 0; i < c->runs.count; i++) {
        uint32_t base = base_of(t, &c->runs.at[i]);
        for (unsigned n = 0; n < c->runs.at[i].count; n++) {
            struct code_site *s = &t->sites.at[base + n];
            if (right) {
                right--;
            } else {
                uint64_t mask = trace_get(masks);
                if (masks->failed || mask >> TRACE_REGISTERS)
                    return false;
                s->mask = (uint32_t)mask;
                right = trace_get(masks);
            }
            if (!row_in(t, base + n, s->mask, c, &regs))
                return false;
        }
    }
    return right == 0;
}
